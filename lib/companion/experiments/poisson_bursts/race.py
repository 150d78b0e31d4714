"""Races of online rules over count streams with a burst, each stream beside its twin without one, and backtests on real counts."""

from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from companion.evidence import geometric
from companion.experiments.autoclip import AutoClip
from stepsize.responses import adagrad_ratio, adam_ratio
from stepsize.rules import SGD, AdaGrad, Adam, AMSGrad, Prodigy, RMSProp
from stepsize.transforms import ClipByNorm, chain
from stepsize.tuning import Choice, choose, tune
from stepsize.wrappers import ScheduleFree

from .streams import EWMA, ImplicitSGD, Stream, follow, length, level, log_rate, poisson_stream, recorded_kl

_MOMENTUM = [Adam(beta1=0.0), Adam(beta1=0.5), Adam()]
_MEMORY = [RMSProp(beta=0.9), RMSProp(), RMSProp(beta=0.999)]
_FREE = [ScheduleFree(Adam(0.0025, beta1=0.0), beta) for beta in (0.9, 0.5, 0.98)]
_CLIP = ClipByNorm(5.0)

#: method -> rule; the rate is tuned.
METHODS = {
    "SGD": SGD(),
    "AdaGrad": AdaGrad(),
    "RMSProp": _MEMORY[1],
    "Adam": _MOMENTUM[2],
    "RMSProp, β = 0.999": _MEMORY[2],
    "Adam, β₂ = 0.99": Adam(beta2=0.99),
    "Adam without momentum": _MOMENTUM[0],
    "AMSGrad": AMSGrad(),
    "clipped SGD": chain(_CLIP, SGD()),
    "clipped AdaGrad": chain(_CLIP, AdaGrad()),
    "clipped RMSProp": chain(_CLIP, RMSProp()),
    "clipped Adam": chain(_CLIP, Adam()),
    "implicit SGD": ImplicitSGD(),
    "EWMA": EWMA(cells=np.array([1.0, 0, 0, 0])),
}
#: Percentiles of all norms so far that a limit may stand at: 100 clips nothing.
PERCENTILES = 10, 50, 90, 99, 99.9, 100
#: method -> rules of which one is chosen along with the rate.
CHOICES = {
    "RMSProp, β tuned": _MEMORY,
    "Adam, β₁ tuned": _MOMENTUM,
    "Schedule-Free Adam, β tuned": _FREE,
} | {
    f"{name}, percentile clip": [AutoClip(METHODS[name], percentile) for percentile in PERCENTILES]
    for name in ("AdaGrad", "RMSProp")
}
#: method -> rule with the rate that its library, or for Schedule-Free and Prodigy its authors' code, gives it.
UNTUNED = {
    "AdaGrad, as it is": AdaGrad(),
    "RMSProp, as it is": RMSProp(),
    "Adam, as it is": Adam(),
    "Prodigy, as it is": Prodigy(),
    "Schedule-Free Adam, as it is": _FREE[0],
}


def at_rate(rule, lr):
    """`rule` with another learning rate, however deep it is wrapped."""
    return replace(rule, rule=at_rate(rule.rule, lr)) if hasattr(rule, "rule") else replace(rule, lr=lr)


def schedule(steps: int):
    """A burst after a third of the time, lasting a sixtieth; the slopes turn at half time: `kind` and the named windows."""
    start, stop, flip = steps // 3, steps // 3 + steps // 60, steps // 2
    first, turned = steps // 12, 2 * steps // 3
    edges = {"whole": (first, steps), "before": (first, start), "burst": (start, stop), "recovery": (stop, flip),
             "turn": (flip, turned), "late": (turned, steps), "after": (flip, steps)}  # fmt: skip
    return {"start": start, "stop": stop, "flip": flip}, {name: slice(*span) for name, span in edges.items()}


class Race(NamedTuple):
    """The choice `tuned[goal][method]` and the cost per step `cost[goal][method][window]`, of shape (members,)."""

    tuned: dict[str, dict[str, Choice]]
    cost: dict[str, dict[str, dict[str, np.ndarray]]]

    def ratio(self, name, rival="AdaGrad", goal="whole"):
        """Cost of `name` over that of `rival`, stream by stream: each tuned for `goal` and scored on it."""
        return self.cost[goal][name][goal] / self.cost[goal][rival][goal]

    def rule(self, name, goal="whole"):
        """The rule that was chosen for a goal, at its rate."""
        return at_rate(self.tuned[goal][name].setting, self.tuned[goal][name].lr)


def race(
    methods: dict, lrs, tuning, reporting, windows: dict[str, slice], goals, statistic=geometric, untuned=None, **kind
) -> Race:
    """KL(lam, mu) per step of each method; goal by goal its rate is chosen on tuning seeds and reported on others.

    A method is a rule, or a list of rules of which one is chosen along with the rate: `Choice.setting`. The rules `untuned`
    keep their own rate. `goals` name the windows that are tuned for, each for itself; `kind` goes to `poisson_stream`.
    """
    kind = {"steps": max(w.stop for w in windows.values())} | kind
    streams = {tuple(seeds): poisson_stream(seeds, **kind) for seeds in (tuning, reporting)}

    @cache
    def costs(rule, lrs, seeds):
        stream = streams[seeds]
        cost = follow(at_rate(rule, np.reshape(lrs, (-1, 1, 1))), stream, nonfinite="record").mu
        for first in range(0, len(cost), 64):  # in blocks that stay in the cache
            block = slice(first, first + 64)
            cost[block] = recorded_kl(stream.lam[block, None], cost[block])
        return {window: cost[at].mean(0) for window, at in windows.items()}

    def run(goal, lrs, seeds, rule):
        return costs(rule, tuple(lrs), tuple(seeds))[goal]

    def scored(choice):
        return {window: cost[0] for window, cost in costs(choice.setting, (choice.lr,), tuple(reporting)).items()}

    lists = {name: rules if isinstance(rules, list) else [rules] for name, rules in methods.items()}
    fixed = {name: Choice(rule.lr, rule, (), False, np.empty(0)) for name, rule in (untuned or {}).items()}
    tuned = {
        goal: {
            name: tune(partial(run, goal), lrs, tuning, reporting, statistic, rules) for name, rules in lists.items()
        }
        | fixed
        for goal in goals
    }
    return Race(tuned, {goal: {name: scored(c) for name, c in of.items()} for goal, of in tuned.items()})


class Twins(NamedTuple):
    """Logarithm of the rate and length of the step, each (2, T, members): on the stream with the burst, on its twin without."""

    log_rate: np.ndarray
    length: np.ndarray

    @property
    def ratio(self):
        """Rate with the burst over rate without, (T, members)."""
        return np.exp(self.log_rate[0] - self.log_rate[1])

    def path_length(self, window: slice):
        """The sum of the steps' lengths in a window, over the twin's, (members,)."""
        return self.length[0, window].sum(0) / self.length[1, window].sum(0)


def twins(method, seeds, **kind) -> Twins:
    """`method` on streams with a burst and on the same streams without: what the burst alone changed."""
    pair = [poisson_stream(seeds, **kind | only) for only in ({}, {"burst": 1})]
    x, y = (
        np.concatenate([np.moveaxis(part[i], 1, -1) for part in pair], -1) for i in (0, 1)
    )  # side by side in one walk
    beside = Stream(np.moveaxis(x, -1, 1), y)
    watched = follow(method, beside, watch=lambda now: (log_rate(now), length(now))).watched
    apart = watched.reshape(len(y), 2, 2, -1)  # time, quantity, with or without the burst, members
    return Twins(*apart.transpose(1, 2, 0, 3))


def law(pair: Twins, rule, stop: int):
    """The ratio of rates from `stop` on, (T - stop,), predicted stream by stream from the end of the burst, then averaged: `adam_ratio`, `adagrad_ratio`.

    The geometric mean comes last: log r_k is concave in log r_0, so that the law of a mean lies above the mean of the laws.
    """
    beta = getattr(rule, "beta2", getattr(rule, "beta", None))
    if beta is not None:
        since = np.arange(1, len(pair.ratio) - stop + 1)[:, None]
        return geometric(adam_ratio(pair.ratio[stop - 1], beta, since), axis=1)
    energy = np.exp(-2 * pair.log_rate)  # the sum of squared gradients, in units of lr^2
    return geometric(adagrad_ratio(energy[1, stop:], energy[0, stop - 1] - energy[1, stop - 1]), axis=1)


class Backtest(NamedTuple):
    """A learning rate chosen on the past, and the forecasts (T, members) it makes."""

    choice: Choice
    mu: np.ndarray


def backtest(method, lrs, stream: Stream, past: slice, warm: int, statistic=geometric) -> Backtest:
    """Forecasts of every count, the learning rate chosen by the deviance over `past` alone; start from `level(warm)`.

    A method is a rule, or a list of rules of which one is chosen along with the rate.
    """
    theta, until = level(stream, warm), past.stop or len(stream.y)
    before = Stream(
        stream.x[:until], stream.y[:until], None, None if stream.exposure is None else stream.exposure[:until]
    )

    def curve(rule):
        tried = follow(at_rate(rule, np.reshape(lrs, (-1, 1, 1))), before, theta, nonfinite="record")
        return statistic(2 * recorded_kl(before.y[:, None], tried.mu)[past].mean(0), axis=1)

    rules = method if isinstance(method, list) else [method]
    choice = choose([curve(rule) for rule in rules], lrs, rules)
    return Backtest(choice, follow(at_rate(choice.setting, choice.lr), stream, theta).mu)
