"""Five noisy problems with known true gradients and minimisers: noise that has nothing to do with curvature, and noise that follows it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from companion.experiments.regression import Logistic
from stepsize.errors import HyperparameterError, short
from stepsize.measures import log_slope

#: Curvatures of the quadratics: condition number 100.
CURVATURES = np.geomspace(0.01, 1.0, 10)


class Problem(NamedTuple):
    """Start (seeds, d), noisy gradient grad(x, t), true gradient full(x), loss above its minimum excess(x), minimiser, curvatures there.

    Noise depends on the seed and on t alone: every rule and every rate meets the same.
    """

    x0: np.ndarray
    grad: Callable
    full: Callable
    excess: Callable
    best: np.ndarray
    curvature: np.ndarray


def side_by_side(problem: Problem) -> Problem:
    """The same problem with x of shape (..., seeds d): a rule that looks at single coordinates walks the same, in fewer and longer loops."""

    def apart(x):
        return x.reshape(*x.shape[:-1], *problem.x0.shape)

    def grad(x, t):
        return problem.grad(apart(x), t).reshape(x.shape)

    return problem._replace(
        x0=problem.x0.ravel(),
        grad=grad,
        full=lambda x: problem.full(apart(x)).reshape(x.shape),
        excess=lambda x: problem.excess(apart(x)),
    )


def through(A, x, error: Callable):
    """A' error(A x) for A (seeds, batch, d) and x (..., seeds, d); `error` is given (seeds, ..., batch). All runs of a seed are one
    product of matrices."""
    runs = np.moveaxis(x.reshape(-1, len(A), A.shape[-1]), 0, 1)
    back = error(runs @ np.swapaxes(A, -1, -2)) @ A
    return np.ascontiguousarray(np.moveaxis(back, 1, 0)).reshape(x.shape)


def _generators(seeds, key):
    return [np.random.default_rng([seed, key]) for seed in seeds]


def quadratic(noise: str, tail: str = "normal") -> Callable:
    """sum h x^2 / 2, h from 0.01 to 1, gradient noise of size `noise`: 'constant' 1; 'unrelated' 0.1 to 10, shuffled; 'proportional' 10 h.

    `tail` 't3': Student's t with 3 degrees of freedom, scaled to the same variance.
    """
    sizes = {"constant": np.ones(10), "unrelated": np.geomspace(0.1, 10, 10), "proportional": 10 * CURVATURES}
    if noise not in sizes:
        raise HyperparameterError(f"no noise is called {short(noise)}; choose from {', '.join(sizes)}")
    if tail not in ("normal", "t3"):
        raise HyperparameterError(f"no tail is called {short(tail)}; choose from normal, t3")

    def sample(seeds, steps: int) -> Problem:
        rng, h = _generators(seeds, 0), CURVATURES
        s = np.stack([r.permutation(sizes[noise]) if noise == "unrelated" else sizes[noise] for r in rng])
        x0 = np.stack([3 * r.standard_normal(10) for r in rng])
        if tail == "normal":
            draws = [r.standard_normal((steps, 10)) for r in rng]
        else:
            draws = [r.standard_t(3, (steps, 10)) / 3**0.5 for r in rng]
        eta, h = np.stack(draws, axis=1) * s, h + 0 * x0
        return Problem(x0, lambda x, t: h * x + eta[t], lambda x: h * x, lambda x: (h * x**2).sum(-1) / 2, 0 * x0,
                       h + 0 * x0)  # fmt: skip

    return sample


def least_squares(seeds, steps: int, batch: int = 4, distance: float = 3.0) -> Problem:
    """A stream of y = a'w + noise, inputs a of sizes 0.1 to 1, `batch` new examples per step, w about `distance` from 0 in each coordinate."""
    size, rng = np.geomspace(0.1, 1.0, 10), _generators(seeds, 1)
    w = np.stack([distance * r.standard_normal(10) for r in rng])
    A = np.stack([r.standard_normal((steps, batch, 10)) * size for r in rng], axis=1)
    noise = np.stack([r.standard_normal((steps, batch)) for r in rng], axis=1)

    def grad(x, t):
        return through(A[t], x - w, lambda seen: seen - noise[t][:, None]) / batch

    return Problem(0 * w, grad, lambda x: size**2 * (x - w), lambda x: ((size * (x - w)) ** 2).sum(-1) / 2, w,
                   size**2 + 0 * w)  # fmt: skip


def logistic(seeds, steps: int, batch: int = 8, n: int = 400, d: int = 10) -> Problem:
    """Logistic regression on n examples with inputs of sizes spread over 1.5 decades, `batch` drawn at every step."""
    rng = _generators(seeds, 2)
    X = np.stack([r.standard_normal((n, d)) * r.permutation(np.geomspace(10**-1.5, 1, d)) for r in rng])
    w = np.stack([r.standard_normal(d) for r in rng]) / np.sqrt((X**2).mean(1)) / 2
    y = np.stack([r.random(n) < p for r, p in zip(rng, Logistic(X, 0).mean(w), strict=True)]).astype(float)
    rows = np.stack([r.integers(n, size=(steps, batch)) for r in rng], axis=1)
    model, each = Logistic(X, y), np.arange(len(rng))[:, None]
    best, slope = model.minimiser(), ((0.5 - y)[..., None] * X).mean(1)

    def loss(x):
        # log(1 + e^z) - y z is |z| / 2 + log(1 + e^-|z|) + (1/2 - y) z; seed by seed, whose products stay in the cache
        runs, total = x.reshape(-1, len(X), d), (x * slope).sum(-1).reshape(-1, len(X))
        for k, inputs in enumerate(X):
            z = np.abs(runs[:, k] @ inputs.T)
            total[:, k] += z.mean(-1) / 2
            np.exp(np.negative(z, out=z), out=z)
            total[:, k] += np.log1p(z, out=z).mean(-1)
        return total.reshape(x.shape[:-1])

    least = loss(best)

    def grad(x, t):
        at = each, rows[t]
        return through(X[at], x, lambda z: (1 + np.tanh(z / 2)) / 2 - y[at][:, None]) / batch

    return Problem(np.zeros_like(w), grad, model.grad,
                   lambda x: loss(x) - least, best, np.diagonal(model.fisher(best), axis1=-2, axis2=-1))  # fmt: skip


PROBLEMS = {
    "noise constant": quadratic("constant"),
    "noise unrelated to curvature": quadratic("unrelated"),
    "noise proportional to curvature": quadratic("proportional"),
    "least squares, stream": least_squares,
    "logistic regression": logistic,
}


def noise_law(sample: Callable, seeds, steps: int = 400) -> np.ndarray:
    """Slope of log s in log h over the coordinates, at the minimiser: s the size of the gradient noise, h the curvature; (seeds,)."""
    problem = sample(seeds, steps)
    s = np.std([problem.grad(problem.best, t) for t in range(steps)], axis=0)
    return log_slope(problem.curvature, s)


def noise_laws(seeds) -> dict[str, np.ndarray]:
    """`noise_law` of all problems: name -> (seeds,)."""
    return {name: noise_law(sample, seeds) for name, sample in PROBLEMS.items()}
