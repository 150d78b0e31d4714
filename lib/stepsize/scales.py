"""One feature in other units: least squares with a feature multiplied by S, and how long each rule takes to fit it.

Two sets of coordinates: the weights w, which the rule moves, and u = s w, what they do to the prediction. The units
of the features are in s alone; u, the loss and its minimiser are the same at every S.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .descent import walk
from .errors import EvidenceError, HyperparameterError
from .intervals import bootstrap
from .rules import AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp, SignDescent
from .settling import capped, penalised


@dataclass(frozen=True, eq=False)
class Regression:
    """f(w) = mean (X (s w) - y)^2 / 2 for p problems at once, as its excess over the minimum; gradient s H (s w - home).

    X (p, n, d) and y (p, n) are the data in their own units, H = X'X / n, home (p, 1, d) the minimiser in u. `scale`
    s has shape (d,), (runs, d) or (p, 1, d). Weights have shape (p, runs, d) and start at 0, the same prediction in all units.
    """

    X: np.ndarray
    y: np.ndarray
    H: np.ndarray
    home: np.ndarray
    scale: np.ndarray

    @classmethod
    def sample(cls, seeds, n: int = 256, d: int = 8, correlation: float = 0.3) -> "Regression":
        """One problem per seed: unit features with one correlation between all pairs, true weights normal, noise 0.5."""
        if not 0 <= correlation < 1:
            raise HyperparameterError(f"correlation must be in [0, 1), got {correlation}; 0 makes independent features")

        def draw(seed):
            rng = np.random.default_rng(seed)
            z, shared = rng.normal(size=(n, d)), rng.normal(size=(n, 1))
            X = np.sqrt(1 - correlation) * z + np.sqrt(correlation) * shared
            return X, X @ rng.normal(size=d) + 0.5 * rng.normal(size=n)

        X, y = map(np.stack, zip(*map(draw, seeds), strict=True))
        H, b = np.swapaxes(X, 1, 2) @ X / n, (y[:, None] @ X) / n
        return cls(X, y, H, np.swapaxes(np.linalg.solve(H, np.swapaxes(b, 1, 2)), 1, 2), np.ones(d))

    def sized(self, sizes) -> "Regression":
        """The same problems with feature 0 multiplied by each of `sizes`, one run per size."""
        sizes = np.atleast_1d(np.asarray(sizes, float))
        if not (sizes > 0).all():
            raise HyperparameterError(f"sizes must be above 0, got {sizes.min():g}; a feature of size 0 is no feature")
        scale = np.ones((sizes.size, self.home.shape[-1]))
        scale[:, 0] = sizes
        return replace(self, scale=scale)

    def standardised(self) -> "Regression":
        """Every feature divided by its root mean square on the data: the same problem whatever the units were."""
        return replace(self, scale=1 / np.sqrt((self.X**2).mean(1, keepdims=True)))

    @property
    def start(self):
        return np.zeros((len(self.H), np.atleast_2d(self.scale).shape[-2], self.home.shape[-1]))

    def grad(self, w, t=0):
        return ((w * self.scale - self.home) @ self.H) * self.scale

    def excess(self, w):
        """(f(w) - min f) / (f(0) - min f), shape (p, runs, 1)."""
        e = w * self.scale - self.home
        whole = np.einsum("pri,pij,prj->pr", self.home, self.H, self.home)
        return np.einsum("pri,pri->pr", e @ self.H, e)[..., None] / whole[..., None]

    def single(self, w):
        """Gradients of every example apart, (p, n, d), at w of shape (p, 1, d)."""
        u = w * self.scale
        return self.X * self.scale * ((self.X * u).sum(-1) - self.y)[..., None]


def curvature(land: Regression):
    """Largest eigenvalue of the Hessian s H s, shape (p, runs, 1): gradient descent explodes above 2 / curvature."""
    return np.linalg.eigvalsh(_hessian(land))[..., -1:]


def _hessian(land):
    s = np.atleast_2d(land.scale)
    return s[..., :, None] * land.H[:, None] * s[..., None, :]


def descent_time(land: Regression, lr, target: float = 1e-4):
    """Steps of gradient descent until excess <= target, without walking them; inf where lr * curvature >= 2. Shape (p, runs).

    In the eigenbasis excess(t) = sum lambda c^2 (1 - lr lambda)^(2t) / (the same at t = 0) falls with t: bisection.
    """
    h, V = np.linalg.eigh(_hessian(land))
    c = np.einsum("prij,pri->prj", V, land.home / land.scale)
    part = h * c**2 / (h * c**2).sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        log = 2 * np.log(np.abs(1 - np.asarray(lr, float)[..., None] * h))
    low, high = np.zeros(part.shape[:-1]), np.full(part.shape[:-1], 2.0**50)
    for _ in range(51):
        middle = np.floor((low + high) / 2)
        # 0 steps times log 0 is no progress
        with np.errstate(over="ignore"):
            there = (part * np.exp(np.where(middle[..., None] > 0, middle[..., None] * log, 0))).sum(-1) <= target
        low, high = np.where(there, low, middle), np.where(there, middle, high)
    return np.where((log < 0).all(-1), high, np.inf)


def response(r):
    """r / (1 + r), r = |g| / eps: the first step of Adam, RMSProp (times sqrt(1 - beta)) and AdaGrad over that at eps = 0."""
    r = np.asarray(r, float)
    return r / (1 + r)


def drift(beta1=0.9, beta2=0.999):
    """r / (1 - r), r = beta1 / sqrt(beta2): all further steps in lr, added up, once a long constant gradient has become 0."""
    r = beta1 / np.sqrt(beta2)
    return r / (1 - r)


def imbalance(g):
    """|g_0| over the root mean square of the other coordinates, over the last axis."""
    return np.abs(g[..., 0]) / np.sqrt((g[..., 1:] ** 2).mean(-1))


#: method -> setting -> lr -> rule. eps is 0: what it adds is measured apart.
METHODS: dict[str, dict[str, Callable]] = {
    "heavy ball": {f"μ = {mu}": lambda lr, mu=mu: HeavyBall(lr, mu) for mu in (0.9, 0.97, 0.99, 0.997)},
    "sign": {"": lambda lr: SignDescent(lr)},
    "AdaGrad": {"": lambda lr: AdaGrad(lr, eps=0.0)},
    "RMSProp": {"": lambda lr: RMSProp(lr, eps=0.0)},
    "Adam": {"": lambda lr: Adam(lr, eps=0.0)},
    "Adam, β₂ = 0.9": {"": lambda lr: Adam(lr, beta2=0.9, eps=0.0)},
    "AMSGrad": {"": lambda lr: AMSGrad(lr, eps=0.0)},
}

#: Learning rates: those of the curvature, down to the stable ones at S = 10^4; and those of a weight's own size.
FINE, COARSE = 10 ** np.arange(-9, 0.01, 0.25), 10 ** np.arange(-4.5, 1.51, 0.25)


class Race(NamedTuple):
    """A method at every size S, with the setting and the rate of least mean capped time on the tuning problems.

    `lr`, `setting`, `at_edge` of shape (sizes,); lr is NaN where no rate got any tuning problem home. On the reported
    problems, (sizes, problems): `times` in steps, inf where it did not get home, `peak`, the largest loss over the first.
    """

    lr: np.ndarray
    setting: list[str]
    at_edge: np.ndarray
    times: np.ndarray
    peak: np.ndarray


def ride(rule, land: Regression, steps: int, target: float = 1e-4, hold: int = 500):
    """(time, peak) of every run, each (p, runs). Time: the first step of `hold` in a row with excess <= target.

    It is inf where that does not happen within `steps`; peak is the largest excess before. What comes after `hold`
    steps counts for nothing: training would have stopped.
    """
    last, peak, time = 0, 1.0, np.inf
    with np.errstate(all="ignore"):
        for t, now in zip(range(1, steps + hold), walk(rule, land.grad, land.start), strict=False):
            loss = land.excess(now.x)[..., 0]
            last = np.where(loss <= target, last, t)
            peak = np.where(np.isinf(time), np.fmax(peak, np.where(np.isnan(loss), np.inf, loss)), peak)
            time = np.where(np.isinf(time) & (t - last >= hold), last + 1, time)
            if np.isfinite(time).all():
                break
    return time, peak


def _problems(tuning, reporting, correlation=0.3):
    """Problems 0 ... tuning - 1 to choose on, and the `reporting` ones after them."""
    if tuning < 1 or reporting < 1:
        raise EvidenceError(f"a race needs problems to tune on and others to report, got {tuning} and {reporting}")
    seeds = range(tuning + reporting)
    return (Regression.sample(part, correlation=correlation) for part in (seeds[:tuning], seeds[tuning:]))


def race(method: str, sizes, tuning: int, reporting: int, steps: int, ceilings=(np.inf,), correlation: float = 0.3):
    """One `Race` per ceiling. A run whose loss exceeds `ceiling` times its first value counts as not home, in tuning and after."""
    makers, lrs = METHODS[method], FINE if method == "heavy ball" else COARSE
    sizes = np.asarray(sizes, float)
    practice, land = _problems(tuning, reporting, correlation)
    practice, lr = practice.sized(np.repeat(sizes, lrs.size)), np.tile(lrs, sizes.size)[:, None]
    tried = [ride(make(lr), practice, steps) for make in makers.values()]
    shape = len(makers), sizes.size, lrs.size

    def at(ceiling):
        score = np.reshape([penalised(np.where(peak <= ceiling, time, np.inf).T, steps) for time, peak in tried], shape)
        times, peaks = np.full((2, sizes.size, reporting), np.inf)
        best = [np.unravel_index(s.argmin(), s.shape) for s in score.swapaxes(0, 1)]
        home = score.min((0, 2)) < 10 * steps
        for i in np.flatnonzero(home):
            make, rate = list(makers.values())[best[i][0]], lrs[best[i][1]]
            time, peak = ride(make(np.full((1, 1), rate)), land.sized(sizes[i]), steps)
            times[i], peaks[i] = np.where(peak <= ceiling, time, np.inf)[:, 0], peak[:, 0]
        rate = np.array([j for _, j in best])
        edge = home & np.isin(rate, (0, lrs.size - 1))
        return Race(np.where(home, lrs[rate], np.nan), [list(makers)[k] for k, _ in best], edge, times, peaks)

    return [at(ceiling) for ceiling in ceilings]


def descent_race(sizes, tuning: int, reporting: int, standardised: bool = False, correlation: float = 0.3) -> Race:
    """The same for gradient descent, by `descent_time` and so without an end; on raw or on standardised features."""
    practice, land = _problems(tuning, reporting, correlation)
    rates, times = [], []
    for size in np.asarray(sizes, float):
        first, second = (a.standardised() if standardised else a.sized(size) for a in (practice, land))
        score = [np.mean(descent_time(first, lr)) for lr in FINE]
        rates.append(int(np.argmin(score)))
        times.append(descent_time(second, FINE[rates[-1]])[:, 0])
    edge = np.isin(rates, (0, FINE.size - 1))
    return Race(FINE[rates], [""] * len(rates), edge, np.stack(times), np.ones((len(rates), reporting)))


def exponent(sizes, times, least: float = 10.0, points: int = 4):
    """(slope of log median time in log S as an `Interval`, sizes used): sizes from `least` on at which 3/4 of the problems came home.

    The largest `points` of them, at least two. Problems are resampled whole, with all their sizes.
    """
    sizes = np.asarray(sizes, float)
    used = np.flatnonzero((np.isfinite(times).mean(1) >= 0.75) & (sizes >= least * (1 - 1e-9)))[-points:]
    if used.size < 2:
        raise EvidenceError(f"an exponent needs two sizes at which 3/4 came home, got {used.size}; add steps")
    x = np.log(sizes[used])
    x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()

    def slope(problems, axis):
        return x @ np.log(np.median(times[used][:, problems.astype(int)], axis=-1))

    return bootstrap(np.arange(times.shape[1]), slope), sizes[used]


def slowdown(race: Race, i: int, steps: int):
    """log of time at size i over time at the first size, problem by problem; unfinished runs count 10 * steps."""
    return np.log(capped(race.times[i], steps) / capped(race.times[0], steps))


def paces(rule, land: Regression, steps: int):
    """How much farther weight 0 moves per step than the others: (in weights, in predictions), each (p, runs).

    Mean |step| over `steps` steps; weight j moves the prediction by s_j times as much. Over the mean of the others.
    """
    total = np.zeros(land.start.shape)
    for _, now in zip(range(steps), walk(rule, land.grad, land.start), strict=False):
        total = total + np.abs(now.rate * now.direction)
    return tuple(a[..., 0] / a[..., 1:].mean(-1) for a in (total, total * land.scale))
