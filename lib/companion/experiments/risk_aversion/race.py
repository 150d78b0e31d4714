"""Risk-averse rules against the others: two numbers tuned for every rule, by the mean or by the tail; and what single gradients teach."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from companion.evidence import bootstrap, geometric
from stepsize.descent import descend, walk
from stepsize.measures import late_loss
from stepsize.rules import SGD, AdaBelief, AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp
from stepsize.tuning import Choice, choose, require_apart

from .filtering import averaged
from .problems import PROBLEMS, Problem, quadratic, side_by_side
from .rules import IVON, MSVAG, AdaBayes, InverseDeviation, Observing, RiskAverse


class Entry(NamedTuple):
    """A rule make(lr, second) with the seven values from which its second number is chosen."""

    make: Callable
    second: str
    values: tuple


#: Every rule has its rate and one more number to choose. Long memories are 0.99, short ones 0.9, unless they are that number.
ENTRIES = {
    "SGD": Entry(HeavyBall, "momentum", (0.0, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)),
    "Adam": Entry(lambda lr, eps: Adam(lr, beta2=0.99, eps=eps), "ε", (1e-8, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)),
    "AdaBelief": Entry(lambda lr, eps: AdaBelief(lr, beta2=0.99, eps=eps), "ε", (1e-16, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1)),
    "M-SVAG": Entry(MSVAG, "β", (0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998)),
    "risk-averse": Entry(lambda lr, a: RiskAverse(lr, beta2=0.99, aversion=a), "λ", (0.1, 1.0, 3.0, 30.0, 300.0, 3e3, 3e4)),
    "inverse deviation": Entry(lambda lr, eps: InverseDeviation(lr, beta2=0.99, eps=eps), "ε", (1e-8, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)),
    "AdaBayes": Entry(lambda lr, c: AdaBayes(lr, beta2=0.99, damping=c), "rate / SGD's", (1e-8, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)),
    "IVON": Entry(lambda lr, ess: IVON(lr, ess, beta2=0.99), "ess", (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)),
}  # fmt: skip

RATES = 10 ** np.arange(-5, 2.01, 0.25)


def late_excess(rule, problem: Problem, steps: int):
    """Mean excess over the last tenth of the steps, at every fifth of them: (..., seeds), infinite where a run diverged."""
    return late_loss(rule, problem.grad, problem.x0, problem.excess, steps, last=steps // 10, every=5)


def late_excess_of_mean(rule: IVON, problem: Problem, seeds, steps: int):
    """`late_excess` of the mean of IVON's belief; every seed has perturbations of its own, the same for all rates."""
    draws = np.stack([np.random.default_rng([seed, 3]).standard_normal((steps + 1, 10)) for seed in seeds], axis=1)
    rule, x, late = replace(rule, draws=draws.reshape(-1, *problem.x0.shape)), problem.x0, []
    state = rule.init(x)
    with np.errstate(all="ignore"):
        for t in range(1, steps + 1):
            state, rate, direction = rule.step(state, problem.grad(x + state.noise, t - 1), x)
            x = x - rate * direction
            if t > steps - steps // 10 and t % 5 == 0:
                late.append(problem.excess(x))
    mean = np.mean(late, axis=0)
    return np.where(np.isfinite(mean), mean, np.inf)


def race(
    sample: Callable, tuning, reporting, steps: int, entries=tuple(ENTRIES), statistic=geometric, rates=RATES
) -> dict[str, Choice]:
    """Each entry's late excess on `sample`: rate and second number of least `statistic` on tuning seeds, scores on the reporting seeds."""
    require_apart(tuning, reporting)
    tuned, reported = ((seeds, side_by_side(sample(seeds, steps))) for seeds in (tuning, reporting))

    def losses(make, values, lrs, seeds, problem):
        rule = make(np.reshape(lrs, (-1, 1)), np.reshape(values, (-1, 1, 1)))
        if isinstance(rule, IVON):
            return late_excess_of_mean(rule, problem, seeds, steps)
        return late_excess(Observing(rule), problem, steps)

    raced = {}
    for name in entries:
        make, _, values = ENTRIES[name]
        # in two parts, whose arrays stay in the cache
        parts = [losses(make, part, rates, *tuned) for part in (values[:4], values[4:])]
        chosen = choose([[statistic(row) for row in of] for part in parts for of in part], rates, values)
        raced[name] = chosen._replace(scores=losses(make, [chosen.setting], [chosen.lr], *reported)[0, 0])
    return raced


def races(tuning, reporting, steps: int) -> dict[str, dict[str, Choice]]:
    """`race` of every entry on every problem: {problem: {rule: choice}}."""
    return {name: race(sample, tuning, reporting, steps) for name, sample in PROBLEMS.items()}


def entered(raced: dict[str, Choice]) -> dict[str, tuple]:
    """rule -> (choice, its rates), for `Chapter.race`; the entry SGD has a momentum and is called heavy ball there."""
    return {("heavy ball" if rule == "SGD" else rule): (choice, RATES) for rule, choice in raced.items()}


def over_adam(raced: dict[str, Choice]) -> dict:
    """Log of each entry's loss over Adam's on the same problems, as an interval."""
    return {name: bootstrap(np.log(choice.scores / raced["Adam"].scores)) for name, choice in raced.items()}


def tail(values, axis=None):
    """The 90 % quantile: nine seeds in ten do better. Infinite values are allowed."""
    return np.quantile(values, 0.9, axis=axis, method="inverted_cdf")


def tail_ratio(scores, rival):
    """Log of the ratio of two tails over the same seeds, with a bootstrap interval that keeps the pairs together."""

    def statistic(rows, axis):
        a, b = (tail(np.asarray(s)[rows.astype(int)], axis) for s in (scores, rival))
        return np.log(a / b)

    return bootstrap(np.arange(len(scores)), statistic)


def tails(kind: str, tuning, reporting, steps: int) -> dict:
    """rule -> `tail_ratio` to Adam on the bowl with shuffled noise of that tail, every rule tuned for its own tail."""
    raced = race(quadratic("unrelated", kind), tuning, reporting, steps, ("SGD", "Adam", "risk-averse"), tail)
    return {rule: tail_ratio(c.scores, raced["Adam"].scores) for rule, c in raced.items() if rule != "Adam"}


def as_ratio(i) -> str:
    """An interval of a logarithm as the ratio, with its ends: "1.08 [0.95, 1.23]"."""
    return f"{np.exp(i.estimate):.2f} [{np.exp(i.low):.2f}, {np.exp(i.high):.2f}]"


#: Averages among which the best one is looked for; and longer ones, up to the mean of all gradients so far, the longest memory there is.
BETAS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
LONGER = (*BETAS, 0.998, 0.999, 0.9995, 0.9999, 1 - 1e-9)


class Lesson(NamedTuple):
    """What single gradients teach along a path of SGD: `informed` is the share of the squared error of m that the next one can remove,
    (reporting seeds,); `tuned` and `reported` are squared errors of averages by beta, the mean of the tuning seeds and (reporting seeds,)."""

    informed: np.ndarray
    tuned: dict[float, float]
    reported: dict[float, np.ndarray]

    def best(self, betas=BETAS) -> float:
        """The beta of least error on the tuning seeds."""
        return min(betas, key=self.tuned.get)

    def excess(self, betas=BETAS, beta1: float = 0.9) -> np.ndarray:
        """Squared error of m beyond that of the best average of `betas`, (reporting seeds,)."""
        return self.reported[beta1] / self.reported[self.best(betas)] - 1


def lesson(sample: Callable, lr: float, tuning, reporting, steps: int, beta1: float = 0.9) -> Lesson:
    """Train with SGD and compare averages of the gradients with the true gradient; the gain and the best beta come from tuning seeds."""

    def errors(seeds):
        problem = sample(seeds, steps)
        walked = descend(SGD(lr), problem.grad, problem.x0, steps).x[:-1]
        g = np.stack([problem.grad(x, t) for t, x in enumerate(walked)])
        true = np.stack([problem.full(x) for x in walked])
        m = {beta: averaged(g, beta) for beta in {*LONGER, beta1}}
        wrong, news = (a[1:] - m[beta1][:-1] for a in (true, g))
        return wrong, news, {beta: ((m[beta] - true) ** 2).mean((0, 2)) for beta in m}

    wrong, news, tuned = errors(tuning)
    gain = (wrong * news).sum() / (news * news).sum()
    wrong, news, reported = errors(reporting)
    informed = 1 - ((wrong - gain * news) ** 2).sum((0, 2)) / (wrong**2).sum((0, 2))
    return Lesson(informed, {beta: float(of.mean()) for beta, of in tuned.items()}, reported)


def lessons(tuning, reporting, steps: int) -> dict[str, Lesson]:
    """`lesson` on a bowl, on a stream and in a training on fixed data, each at a rate at which SGD learns."""
    where = {
        "a bowl with noise": ("noise constant", 0.1),
        "least squares on a stream": ("least squares, stream", 0.1),
        "logistic regression": ("logistic regression", 1.0),
    }
    return {words: lesson(PROBLEMS[name], lr, tuning, reporting, steps) for words, (name, lr) in where.items()}


def log_rates(rule, sizes, runs: int, steps: int, seed: int, signal=1.0) -> np.ndarray:
    """Log of a rule's rate under gradients N(signal, s^2), mean of the second half of the steps: (sizes, runs).

    `signal` is one number or, like `sizes`, one for each row.
    """
    z = np.random.default_rng(seed).standard_normal((steps, 1, runs, 1))
    sizes, signal, total = np.asarray(sizes, float)[:, None, None], np.reshape(signal, (-1, 1, 1)), 0.0
    walked = walk(rule, lambda x, t: signal + sizes * z[t], np.zeros((len(sizes), runs, 1)))
    for t, now in zip(range(steps), walked, strict=False):
        if t >= steps // 2:
            total = total + np.log(now.rate[..., 0])
    return total / (steps - steps // 2)


def typical_rates(rules: dict, sizes, runs: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """exp of the mean of `log_rates` over the runs, rule by rule: name -> (sizes,)."""
    return {name: np.exp(log_rates(rule, sizes, runs, steps, seed).mean(-1)) for name, rule in rules.items()}


def rate_exponent(rule, low: float, high: float, runs: int, steps: int, seed: int) -> np.ndarray:
    """Slope of `log_rates` in log s between s = low and high: (runs,)."""
    first, last = log_rates(rule, (low, high), runs, steps, seed)
    return (last - first) / np.log(high / low)


def powers_of_noise(runs: int, steps: int, loud: int, clear: int) -> dict[str, np.ndarray]:
    """`rate_exponent` of five methods under noise of ten to a hundred times the signal, of Adam under a tenth too: condition -> (runs,)."""
    noisy = "and the noise is ten to a hundred times the signal"
    powers = {
        f"the method is {make.__name__} {noisy}": rate_exponent(make(1.0, eps=0), 10, 100, runs, steps, loud)
        for make in (Adam, RMSProp, AdaGrad, AMSGrad, AdaBelief)
    }
    quiet = rate_exponent(Adam(1.0, eps=0), 0.1, 0.2, runs, steps, clear)
    return powers | {"the method is Adam and the noise is a tenth of the signal": quiet}


#: Sizes of the noise, in units of the signal, over which a method is compared with agents.
SIZES = np.geomspace(0.1, 100, 13)


def misfits(runs: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """`misfit` of four methods over `SIZES`: condition -> (runs,)."""
    rules = {make.__name__: make(1.0, eps=0) for make in (Adam, RMSProp, AdaGrad)}
    rules["AdaBayes and its two rates are equal"] = AdaBayes(1.0, damping=1.0)
    return {
        f"the method is {name}": misfit(log_rates(rule, SIZES, runs, steps, seed), SIZES)
        for name, rule in rules.items()
    }


class Units(NamedTuple):
    """Mean log rates (points, streams) of a rule, and the sizes (points,) of the noise: every size of `SIZES` times every signal."""

    rates: np.ndarray
    sizes: np.ndarray

    def misfits(self) -> np.ndarray:
        """`misfit` of every stream, (streams,), one agent for all points of a stream: what `misfits` has of other methods."""
        return misfit(self.rates, self.sizes)

    def typical(self) -> float:
        """`misfit` of the mean log rates over the streams."""
        return misfit(self.rates.mean(-1, keepdims=True), self.sizes).item()


def units(rule, streams: int, steps: int, seed: int, signals=(1.0,)) -> Units:
    """`log_rates` over `SIZES` and signals."""
    signal, sizes = np.repeat(signals, len(SIZES)), np.outer(signals, SIZES).ravel()
    return Units(log_rates(rule, sizes, streams, steps, seed, signal), sizes)


def ivon_units(streams: int, steps: int, seed: int, beta2: float = 0.99, signals=(1.0,)) -> Units:
    """`units` of IVON with perturbations of its own and an aversion of one, ess = 2 / (1 - beta2).

    Its h wanders about its balance like an exponential variable, so that one stream says little of the typical rate.
    """
    draws = np.random.default_rng([seed, 3]).standard_normal((steps + 1, streams, 1))
    return units(IVON(1.0, ess=2 / (1 - beta2), beta2=beta2, draws=draws), streams, steps, seed, signals)


#: Values of beta2 from which IVON's memory is chosen, and the signals that one agent has to serve.
MEMORIES = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
SIGNALS = (0.1, 1.0, 10.0)


def tuned_memory(streams: int, steps: int, seed: int, signals) -> float:
    """The beta2 of `MEMORIES` of least median misfit of the streams of `ivon_units`."""
    return min(MEMORIES, key=lambda beta2: np.median(ivon_units(streams, steps, seed, beta2, signals).misfits()))


def misfits_tuned(streams: int, steps: int, tuning: int, reporting: int) -> tuple[dict, tuple]:
    """condition -> `Units.misfits`: IVON with the memory of least misfit on tuning streams, on other streams, signals of one
    size and of `SIGNALS`; Adam on the latter. And the two memories that were chosen."""  # fmt: skip
    chosen = [tuned_memory(streams, steps, tuning, signals) for signals in ((1.0,), SIGNALS)]
    one, many = (
        ivon_units(4 * streams, steps, reporting, beta2, signals)
        for beta2, signals in zip(chosen, ((1.0,), SIGNALS), strict=True)
    )
    several = "the signals are of sizes from 0.1 to 10"
    off = {
        "the method is IVON, its memory tuned, and the signals are of one size": one,
        f"the method is IVON, its memory tuned, and {several}": many,
        f"the method is Adam and {several}": units(Adam(1.0, eps=0), streams, steps, reporting, SIGNALS),
    }
    return {condition: of.misfits() for condition, of in off.items()}, tuple(chosen)


def misfit(rates, sizes, grid: int = 2001) -> np.ndarray:
    """max_i |log rate_i - log 1 / (h + l s_i^2)| of the best agent, curvature h and aversion l free, as a factor: logs (sizes, runs) -> (runs,).

    Minimax: for each ratio l / h of a fine grid the best scale lies midway between the largest and smallest deviation.
    """
    s2 = np.square(np.asarray(sizes, float))
    ratio = np.geomspace(1e-3 / s2.max(), 1e3 / s2.min(), grid)
    least = np.inf
    for agent in ratio:
        off = rates + np.log1p(agent * s2)[:, None]
        least = np.minimum(least, np.ptp(off, axis=0))
    return np.exp(least / 2)
