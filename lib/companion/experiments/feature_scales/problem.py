"""One feature in other units: least squares with a feature multiplied by S, and how long each rule takes to fit it.

Two sets of coordinates: the weights w, which the rule moves, and u = s w, what they do to the prediction. The units
of the features are in s alone; u, the loss and its minimiser are the same at every S.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from stepsize.contract import hyperparameters, leaves, rebuild, substitute
from stepsize.descent import descend, walk
from stepsize.errors import HyperparameterError
from stepsize.rules import SGD
from stepsize.signals import respond


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
        return self._excess(e, e @ self.H)[..., None]

    def _excess(self, e, slope):
        return np.einsum("pri,pri->pr", slope, e) / self._first

    def look(self, w, t):
        """(excess, shape (p, runs), gradient of step t) at w: one product with H for both."""
        e = w * self.scale - self.home
        slope = e @ self.H
        return self._excess(e, slope), slope * self.scale

    @cached_property
    def _first(self):
        """f(0) - min f, twice, shape (p, 1)."""
        return np.einsum("pri,pij,prj->pr", self.home, self.H, self.home)

    def single(self, w):
        """Gradients of every example apart, (p, n, d), at w of shape (p, 1, d)."""
        u = w * self.scale
        return self.X * self.scale * ((self.X * u).sum(-1) - self.y)[..., None]


@dataclass(frozen=True, eq=False)
class Minibatches(Regression):
    """The same problems, but step t sees the gradient of `size` examples only, drawn with replacement; all problems the same ones."""

    size: int
    seed: int

    @classmethod
    def of(cls, land: Regression, size: int, seed: int) -> "Minibatches":
        return cls(land.X, land.y, land.H, land.home, land.scale, size, seed)

    def grad(self, w, t=0):
        rows = np.random.default_rng((self.seed, t)).integers(self.y.shape[1], size=self.size)
        X, y = self.X[:, rows], self.y[:, None, rows]
        error = (w * self.scale) @ np.swapaxes(X, 1, 2) - y
        return error @ X / self.size * self.scale

    def look(self, w, t):
        return self.excess(w)[..., 0], self.grad(w, t)


@dataclass(frozen=True, eq=False)
class MatrixRegression:
    """f(W) = mean |(scale W) x - y|^2 / 2 for p problems with m outputs at once, as its excess over the minimum; W (p, runs, m, d) starts at 0.

    Entry i, j of `scale`, (runs, m, d), is the factor of output i times that of feature j. U = scale W is what the weights
    do to the predictions; U, the loss and its minimiser home (p, 1, m, d) are the same at every scale.
    """

    H: np.ndarray
    home: np.ndarray
    scale: np.ndarray

    @classmethod
    def sample(cls, seeds, n: int = 256, d: int = 4, m: int = 4) -> "MatrixRegression":
        """One problem per seed, each m of `Regression` on the same features: the j-th output has the true weights and the noise of its own."""

        def draw(seed):
            rng = np.random.default_rng([seed, n, d, m])
            X = np.sqrt(0.7) * rng.normal(size=(n, d)) + np.sqrt(0.3) * rng.normal(size=(n, 1))
            return X, X @ rng.normal(size=(d, m)) + 0.5 * rng.normal(size=(n, m))

        X, y = map(np.stack, zip(*map(draw, seeds), strict=True))
        H = np.swapaxes(X, 1, 2) @ X / n
        home = np.swapaxes(np.linalg.solve(H, np.swapaxes(X, 1, 2) @ y / n), 1, 2)
        return cls(H[:, None], home[:, None], np.ones((1, m, d)))

    def sized(self, sizes) -> "MatrixRegression":
        """The same problems with feature 0 and output 0 multiplied by the first and second number of each of `sizes`, (runs, 2)."""
        feature, output = np.asarray(sizes, float).T
        scale = np.ones((feature.size, *self.home.shape[-2:]))
        scale[:, :, 0] *= feature[:, None]
        scale[:, 0] *= output[:, None]
        return replace(self, scale=scale)

    @property
    def start(self):
        return np.zeros((len(self.H), *self.scale.shape))

    def grad(self, W, t=0):
        return ((W * self.scale - self.home) @ self.H) * self.scale

    def excess(self, W):
        """(f(W) - min f) / (f(0) - min f), shape (p, runs, 1)."""
        return self.look(W, 0)[0][..., None]

    @cached_property
    def _first(self):
        """f(0) - min f, twice, shape (p, 1)."""
        return (self.home @ self.H * self.home).sum((-1, -2))

    def look(self, W, t):
        """(excess, shape (p, runs), gradient) at W: one product with H for both."""
        E = W * self.scale - self.home
        slope = E @ self.H
        return (slope * E).sum((-1, -2)) / self._first, slope * self.scale


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


@np.errstate(all="ignore")
def time_and_peak(
    rule, land: Regression, steps: int, target: float = 1e-4, hold: int = 500, drop: Callable | None = None
):
    """(time, peak) of every run, each (p, runs). Time: the first step of `hold` in a row with excess <= target.

    It is inf where that does not happen within `steps`; peak is the largest excess before. What comes after `hold`
    steps counts for nothing: training would have stopped. `drop(t, time, peak)`, asked every 25 steps once a run can have
    ended, names runs, (runs,), that need not be followed on any problem; they keep the time and the peak of that step.
    """
    x, shape = land.start, land.start.shape[:2]
    state, followed = rule.init(x), np.arange(shape[1])
    times, peaks = np.full(shape, np.inf), np.ones(shape)
    last, peak, time, running = 0, np.ones(shape), np.full(shape, np.inf), True
    _, g = land.look(x, 0)
    for t in range(1, steps + hold):
        state, rate, direction = rule.step(state, g, x)
        x = x - rate * direction
        loss, g = land.look(x, t)
        last = np.where(loss <= target, last, t)
        peak = np.where(running, np.maximum(peak, loss), peak)
        if t >= hold:
            time = np.where(running & (t - last >= hold), last + 1, time)
            running = np.isinf(time)
            if not running.any():
                break
            if drop and t % 25 == 0:
                times[:, followed], peaks[:, followed] = time, peak
                running &= np.isfinite(x).all(tuple(range(2, x.ndim)))  # what has overflowed never comes back
                kept = running.any(0) & ~drop(t, times, peaks)[followed]
                if not kept.any():
                    break
                if not kept.all():
                    rule, land, state = _thinned(rule, kept), replace(land, scale=land.scale[kept]), _kept(state, kept)
                    x, g, last, peak, time, running = (a[:, kept] for a in (x, g, last, peak, time, running))
                    followed = followed[kept]
    times[:, followed], peaks[:, followed] = time, peak
    return times, np.where(np.isnan(peaks), np.inf, peaks)  # NaN, once there, stays the maximum


def _thinned(rule, kept):
    """The rule of some of the runs: hyper-parameters that have a run axis, the first, keep these."""
    return substitute(rule, (a[kept] if np.ndim(a) > 1 else a for a in hyperparameters(rule).values()))


def _kept(state, kept):
    """A state, leaves (p, runs, ...), of some of the runs."""
    return rebuild(state, (leaf[:, kept] for _, leaf in leaves(state)))


def paces(rule, land: Regression, steps: int):
    """How much farther weight 0 moves per step than the others: (in weights, in predictions), each (p, runs).

    Mean |step| over `steps` steps; weight j moves the prediction by s_j times as much. Over the mean of the others.
    """
    total = np.zeros(land.start.shape)
    for _, now in zip(range(steps), walk(rule, land.grad, land.start), strict=False):
        total = total + np.abs(now.rate * now.direction)
    return tuple(a[..., 0] / a[..., 1:].mean(-1) for a in (total, total * land.scale))


@np.errstate(all="ignore")
def later_pace(rule, land: Regression, within: int, fall: float = 0.1, steps: int = 100, hold: int = 500) -> np.ndarray:
    """sum |step of weight 0| / mean_j sum |step of weight j|, (p, runs), over the first `steps` of the first `hold` steps in a row with excess <= `fall`.

    So the window opens after the last step with a larger excess, and what comes after `hold` steps is not asked for. NaN
    where that step is `within` or a later one.
    """
    total, last = np.zeros(land.start.shape), np.zeros(land.start.shape[:2], int)
    for t, now in zip(range(1, within + hold + 1), walk(rule, land.grad, land.start), strict=False):
        total += np.where((t - last <= steps)[..., None], np.abs(now.rate * now.direction), 0)
        above = ~(land.excess(now.x)[..., 0] <= fall) & (t - last <= hold)  # NaN is above
        total[above], last[above] = 0, t
        if (t - last >= hold).all():
            break
    return np.where(last < within, total[..., 0] / total[..., 1:].mean(-1), np.nan)


def rate_slopes(rules, seed: int, size: float = 1000.0, steps: int = 200, runs: int = 64) -> dict[str, float]:
    """Slope of log rate in log S between normal gradients and `size` times them, over all steps and runs the one farthest from -1."""
    g = np.random.default_rng(seed).normal(size=(steps, runs, 1))
    farthest = {}
    for rule in rules:
        slope = np.log(respond(rule, size * g).rate / respond(rule, g).rate) / np.log(size)
        farthest[type(rule).__name__] = float(slope.flat[np.abs(slope + 1).argmax()])
    return farthest


def magnifications(land: Regression, size: float, seed: int, steps: int = 50, batch: int = 16) -> dict[str, np.ndarray]:
    """The gradient's magnification over S, (p,), under six readings: 1 means exactly S times as large.

    Against the same weight in the old units; against the other weights at the start; and there, after `steps` steps of
    gradient descent at 1 / curvature, in the root mean square over single examples, in the full batch, and in the root mean
    square over minibatches. The last is the full batch again, after as many steps on minibatches, drawn by `seed`.
    """
    one, big = land.sized(1.0), land.sized(size)
    rule, noisy = SGD(1 / curvature(big)), Minibatches.of(big, batch, seed)
    w, noisy_w = (descend(rule, problem.grad, big.start, steps).x[-1] for problem in (big, noisy))
    mean, square = big.grad(w)[:, 0] ** 2, (big.single(w) ** 2).mean(1)
    ratios = {
        "predictions are the same": big.grad(big.start)[..., 0] / one.grad(one.start)[..., 0],
        "training begins, and the others are the measure": imbalance(big.grad(big.start)),
        "gradients are of single examples": imbalance(np.sqrt(square)),
        f"the gradient is of the full batch, after {steps} steps": imbalance(big.grad(w)),
        # batches are drawn with replacement: the square of their mean is that of the mean and a share of the variance
        f"the gradient is of minibatches of {batch}, after {steps} steps": imbalance(
            np.sqrt(mean + (square - mean) / batch)
        ),
        f"the gradient is of the full batch, after {steps} steps on minibatches of {batch}": imbalance(
            big.grad(noisy_w)
        ),
    }
    return {name: np.round(np.ravel(ratio) / size, 9) for name, ratio in ratios.items()}


def descent_peaks(land: Regression, before: float, tuned: float, steps: int = 2000) -> dict[str, np.ndarray]:
    """The largest loss over the first of gradient descent within `steps`, (p, 1), at four rates: tuned before and after the feature grew, and 1 % beside 2/λ."""
    edge = 2 / curvature(land)
    rates = {
        "the rate was tuned before the feature grew": before,
        "the rate is tuned with the large feature": tuned,
        "the rate is 1 % above 2/λ": 1.01 * edge,
        "the rate is 1 % below 2/λ": 0.99 * edge,
    }
    return {name: time_and_peak(SGD(rate), land, steps)[1] for name, rate in rates.items()}
