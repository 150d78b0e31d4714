"""Rows of the chapter's claims, condition -> interval, and the numbers that its prose takes from the run."""

import numpy as np

from companion.evidence import exact, student
from companion.evidence.intervals import Interval, each, middle

from .accuracy import PACE, Score, best_gains, gain
from .theory import Demand, Rest, Spread, log_ratio_of_variances

Scores = dict[str, dict[str, Score]]


def exponents(demands: dict[str, Demand], above: float = 0.0) -> dict[str, Interval]:
    """Exponents of the demanded leap in the activity, less the exponent `above` of another rule: closed forms."""
    return {name: exact(d.slope - above) for name, d in demands.items()}


def allowed(demands: dict[str, Demand]) -> dict[str, Interval]:
    """The longest leap at the lowest activity over that at the highest, the demands read backwards: closed forms."""
    less = "ten thousand times less activity, by fewer"
    return {name.replace("more", less): exact(d.step[0] / d.step[-1]) for name, d in demands.items()}


def variance_at_rest(spread: Spread) -> Interval:
    """Variance over its small-step limit of the one step of a `Spread`: the mean of squared deviations, with its t interval."""
    x = spread.x[0]
    return student((x - x.mean()) ** 2)


def gains(
    scores: Scores, course: bool = False, rule: str = "relative change", over: str = "fixed"
) -> dict[str, Interval]:
    """log(error of `over` / error of `rule`), at the end or over the course, by the titles of `PACE`.

    Another rule than Cao's stands before the title, and so does another rival than the fixed step.
    """
    lead, when = "" if rule == "relative change" else f"{rule}: ", ", over the course" if course else ""
    if over != "fixed":
        lead += f"against {over.replace('fixed,', 'a fixed step')}: "
    return {f"{lead}{PACE[name]}{when}": student(gain(rules, rule, over, course)) for name, rules in scores.items()}


def shared_law(zs, molecules: Spread, gradients: Spread) -> dict[str, Interval]:
    """log of the variance of molecules over that of SGD, each relative to its small-step limit, for every step z."""
    return {
        f"a fixed step of {z:g} relaxation times": student(log_ratio_of_variances(x, y))
        for z, x, y in zip(zs, molecules.x, gradients.x, strict=True)
    }


def log_losses(raced: dict, rule: str, over: str) -> np.ndarray:
    """log(loss of `rule` / loss of `over`) on each reporting seed of a race."""
    return np.log(raced[rule].scores / raced[over].scores)


def transfer(raced: dict) -> dict[str, Interval]:
    """log(loss / Adam's) of the leap rule as a learning rate, coordinate by coordinate and as one number: medians."""
    how = {
        "one for each coordinate, curvatures given": "leap rule",
        "one for all coordinates": "leap rule, one for all",
    }
    return {
        f"the leap rule sets learning rates, {words}": middle(log_losses(raced, rule, "Adam"))
        for words, rule in how.items()
    }


def adaptation(leaping: Scores, published: Scores, raced: dict) -> dict[str, Interval]:
    """log(error of the static step / error of the best adaptive one): `best_gains` of both comparisons, and two races of learning rates."""
    learned = {
        "curvatures unknown": ("SGD", "Adam"),
        "curvatures given": ("constant share of 1/h", "leap rule"),
    }
    return each(best_gains(leaping, published), student) | {
        f"a quadratic is learned, {words}": middle(log_losses(raced, static, adaptive))
        for words, (static, adaptive) in learned.items()
    }


def ratio(log: Interval) -> str:
    """exp of an interval of logarithms, for the prose."""
    return f"{np.exp(log.estimate):.2g} [{np.exp(log.low):.2g}, {np.exp(log.high):.2g}]"


def two_errors(variance: float, error: float) -> str:
    """A relative variance plus or minus two standard errors, for the prose."""
    return f"{variance:.3g} ± {2 * error:.1g}"


#: Problems by the words under which the prose asks for them.
_TOLD = {
    "pairs": "pairs vanish",
    "slow": "pairs vanish slowly",
    "product": "product of the dimers",
    "join": "pairs come and go",
    "decay": "decay",
}


def ratios(key: str, rows: dict[str, Interval], when: str = "", lead: str = "") -> dict[str, str]:
    """`gains` as ratios of errors for the prose, key-problem -> ratio; titles of the rows begin with `lead` and end with `when`."""
    return {f"{key}-{word}": ratio(rows[f"{lead}{PACE[problem]}{when}"]) for word, problem in _TOLD.items()}


def dearer(scores: Scores, event: float, rule: str = "relative change") -> dict[str, tuple]:
    """(leaps + `event` x exact events) / work of the runs of a rule, for the prose: how the work allowed to its rivals grows at another price of an event."""
    grown = {}
    for word, problem in _TOLD.items():
        score = scores[problem][rule]
        work = np.mean([(e.leaps + e.refused + event * e.events).mean() for e in score.ensembles])
        grown[f"dearer-{word}"] = (work / score.cost, ".2f")
    return grown


def numbers(edge: Rest, small: Spread, large: Spread, work, clock, scores: Scores, raced: dict) -> dict:
    """The other numbers of the prose, key -> value or (value, format).

    `edge` is Cao's rule at rest in the largest system, `small` and `large` are one step in two systems, `work` the table of
    `accuracy.work_table`, `clock` the ensembles of the genetic clock with and without exact events.
    """
    spread, steady = work["longest / shortest"], ["relaxation", "prey and predators"]
    mixed, alone = clock
    alike = raced["leap rule, one for all"]
    return {
        "beyond": ((edge.z > 2).mean(), ".0%"),
        "edge": two_errors(edge.ratio, edge.error),
        "large": two_errors(large.ratio[0], large.error[0]),
        "small": two_errors(small.ratio[0], small.error[0]),
        "spread-changing": (spread.drop(["decay", "rest", *steady]).min(), ".2g"),
        "spread-steady": (spread[steady].max(), ".2g"),
        "clock-leaps": (mixed.leaps.mean(), ",.0f"),
        "clock-events": (mixed.events.mean(), ",.0f"),
        "clock-alone": (alone.leaps.mean(), ",.0f"),
        "adam-gain": ratio(middle(log_losses(raced, "SGD", "Adam"))),
        "one-for-all": ratio(middle(log_losses(raced, "leap rule, one for all", "Adam"))),
        "no-floor": (alike.curve[0].min() / alike.curve.min(), ".2g"),
        "floor": alike.setting,
        **{
            f"text-{word}": ratio(student(-gain(scores[problem], "1 / activity")))
            for word, problem in (
                ("pairs", "pairs vanish"),
                ("dimers", "decaying dimers"),
                ("product", "product of the dimers"),
            )
        },
    }
