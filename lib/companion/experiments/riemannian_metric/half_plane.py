"""The normal distributions as a curved surface: the Fisher metric of (mu, sigma) is a hyperbolic half-plane.

theta = (mu, sigma), sigma > 0, of shape (..., 2). The loss is the divergence from the target N(0, 1); any other
target is this one after a change of origin and unit, which is an isometry.
"""

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

import numpy as np

from stepsize.descent import walk
from stepsize.errors import NonFiniteError
from stepsize.metric import apply, inner, pull_back, solve
from stepsize.rules import Adam

from .single_examples import adam_on_singles


def loss(theta):
    """KL(N(0, 1) || N(mu, sigma^2)) = log sigma + (1 + mu^2) / (2 sigma^2) - 1/2."""
    mu, sigma = theta[..., 0], theta[..., 1]
    return np.log(sigma) + (1 + mu**2) / (2 * sigma**2) - 0.5


def grad(theta, t=None):
    """(mu / sigma^2, 1 / sigma - (1 + mu^2) / sigma^3); `t` is ignored, so that `descend` can call it."""
    mu, sigma = theta[..., 0], theta[..., 1]
    return np.stack([mu / sigma**2, 1 / sigma - (1 + mu**2) / sigma**3], -1)


def fisher(theta):
    """diag(1, 2) / sigma^2.  Rao (1945)."""
    return np.array([1.0, 2.0])[:, None] * np.eye(2) / theta[..., 1, None, None] ** 2


def distance(a, b):
    """sqrt(2) arcosh(1 + ((mu_a - mu_b)^2 / 2 + (sigma_a - sigma_b)^2) / (2 sigma_a sigma_b)).  Atkinson & Mitchell (1981).

    Computed as 2 sqrt(2) arsinh(sqrt(...)), which keeps its digits for close points.
    """
    gap = (a[..., 0] - b[..., 0]) ** 2 / 2 + (a[..., 1] - b[..., 1]) ** 2
    return 2 * np.sqrt(2) * np.arcsinh(np.sqrt(gap / (4 * a[..., 1] * b[..., 1])))


def geodesic(a, b, n: int = 200):
    """n points of the shortest path: an ellipse about the line sigma = 0, or a vertical line. Points a and b of shape (2,)."""
    p, q = (np.array([c[0] / np.sqrt(2), c[1]]) for c in (a, b))
    share = np.linspace(0, 1, n)
    if np.isclose(p[0], q[0], rtol=0, atol=1e-9):
        return np.stack([np.full(n, a[0]), p[1] * (q[1] / p[1]) ** share], -1)
    centre = (q @ q - p @ p) / (2 * (q[0] - p[0]))
    radius = np.hypot(p[0] - centre, p[1])
    # evenly spaced in length: u = log tan(angle / 2)
    u = [np.log(np.tan(np.arctan2(c[1], c[0] - centre) / 2)) for c in (p, q)]
    angle = 2 * np.arctan(np.exp(u[0] + (u[1] - u[0]) * share))
    return np.stack([np.sqrt(2) * (centre + radius * np.cos(angle)), radius * np.sin(angle)], -1)


def length(path):
    """Fisher length of a polygon, leg by leg along geodesics: points (n, ..., 2) -> (...)."""
    return distance(path[:-1], path[1:]).sum(0)


class Chart(NamedTuple):
    """Coordinates phi on the surface: theta = point(phi), J = d theta / d phi; `stretch` is J's diagonal where J is diagonal."""

    name: str
    point: Callable
    coordinates: Callable
    jacobian: Callable
    stretch: Callable | None = None

    def covector(self, phi, g):
        """A gradient g on the surface in these coordinates, J'g."""
        if self.stretch is None:
            return apply(np.swapaxes(self.jacobian(phi), -1, -2), g)
        return self.stretch(phi) * g

    def grad(self, phi, t=None):
        """Gradient of the loss in these coordinates, J' grad."""
        return self.covector(phi, grad(self.point(phi)))

    def fisher(self, phi):
        """Fisher information in these coordinates, J'FJ."""
        return pull_back(fisher(self.point(phi)), self.jacobian(phi))


def _rows(a, b, c, d):
    return np.stack([np.stack(np.broadcast_arrays(a, b), -1), np.stack(np.broadcast_arrays(c, d), -1)], -2)


_AFFINE = np.array([[2.0, 0.5], [-0.3, 1.5]])

PLAIN = Chart(
    "μ, σ", lambda phi: phi, lambda theta: theta, lambda phi: np.broadcast_to(np.eye(2), (*phi.shape, 2)), np.ones_like
)
LOG = Chart(
    "μ, log σ",
    lambda phi: np.stack([phi[..., 0], np.exp(phi[..., 1])], -1),
    lambda theta: np.stack([theta[..., 0], np.log(theta[..., 1])], -1),
    lambda phi: _rows(np.ones_like(phi[..., 0]), 0.0, 0.0, np.exp(phi[..., 1])),
    lambda phi: np.stack([np.ones_like(phi[..., 0]), np.exp(phi[..., 1])], -1),
)
#: (mu / sigma^2, 1 / (2 sigma^2)): the coordinates in which the family is an exponential one, the sign of the second turned.
NATURAL = Chart(
    "natural",
    lambda phi: np.stack([phi[..., 0] / (2 * phi[..., 1]), (2 * phi[..., 1]) ** -0.5], -1),
    lambda theta: np.stack([theta[..., 0], np.full_like(theta[..., 0], 0.5)], -1) / theta[..., 1:] ** 2,
    lambda phi: _rows(1 / (2 * phi[..., 1]), -phi[..., 0] / (2 * phi[..., 1] ** 2), 0.0, -((2 * phi[..., 1]) ** -1.5)),
)
AFFINE = Chart(
    "affine",
    lambda phi: apply(_AFFINE, phi),
    lambda theta: apply(np.linalg.inv(_AFFINE), theta),
    lambda phi: np.broadcast_to(_AFFINE, (*phi.shape, 2)),
)
CHARTS = (PLAIN, LOG, NATURAL, AFFINE)


def score_moment(theta):
    """E g g' of the gradients g of single examples y ~ N(0, 1), of shape (..., 2, 2); the Fisher information at the target alone."""
    mu, sigma = theta[..., 0], theta[..., 1]
    mixed = mu / sigma**3 - (mu**3 + 3 * mu) / sigma**5
    spread = 1 / sigma**2 - 2 * (1 + mu**2) / sigma**4 + (3 + 6 * mu**2 + mu**4) / sigma**6
    return _rows((1 + mu**2) / sigma**4, mixed, mixed, spread)


def flow(chart: Chart, natural: bool, starts, time: float = 30.0, points: int = 400, *, adam: bool = False):
    """The gradient flow in a chart, mapped back: phi' = -grad, or -F^-1 grad if natural, or with `adam` -grad / sqrt(E g^2) of
    single examples, the limit of Adam for small rates. Points (points, ..., 2), to 1e-10.

    The last point is the target, approached to about e^-time; length() of the result is the length of the polygon.
    """
    from scipy.integrate import solve_ivp

    starts = np.asarray(starts, float)

    def velocity(t, phi):
        phi = phi.reshape(starts.shape)
        g = chart.grad(phi)
        if adam:
            moment = pull_back(score_moment(chart.point(phi)), chart.jacobian(phi))
            return -(g / np.sqrt(np.diagonal(moment, axis1=-2, axis2=-1))).ravel()
        return -(solve(chart.fisher(phi), g) if natural else g).ravel()

    # a grid that is fine at first, when the flow is fast
    when = time * np.linspace(0, 1, points) ** 3
    # a trial step may leave the surface, sigma <= 0; what it finds there is not a number, and the solver shortens it
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        solved = solve_ivp(
            velocity, (0, time), chart.coordinates(starts).ravel(), "DOP853", when, rtol=1e-9, atol=1e-11
        )
    if not (solved.success and np.isfinite(solved.y).all()):
        raise NonFiniteError(f"the flow could not be integrated: {solved.message}")
    return chart.point(solved.y.T.reshape(points, *starts.shape))


def approach(path, radius: float = 0.05):
    """A walk up to its first point within Fisher distance `radius` of the target, which is held from there on and then reached.

    A rule with a fixed rate oscillates about the target for ever; what it does there is no part of its path to it.
    """
    target = np.array([0.0, 1.0])
    near = distance(path, target) <= radius
    if not near.any(0).all():
        raise NonFiniteError(f"a walk never came within {radius} of the target; let it take more steps")
    first = near.argmax(0)
    held = np.take_along_axis(path, first[None, ..., None], 0)
    path = np.where((np.arange(len(path)).reshape(-1, *[1] * first.ndim) < first)[..., None], path, held)
    return np.concatenate([path, np.broadcast_to(target, path[:1].shape)])


def until_near(points, start, steps: int, radius: float = 0.05, often: int = 250):
    """`start` (..., 2) and the first `steps` of the points that follow; every `often` of them it is seen whether any run is still on
    its way, since what follows after the last has come within `radius` of the target is no part of a path: `approach` drops it.
    """
    path, near = [np.asarray(start, float)], False
    while len(path) <= steps and not np.all(near):
        more = list(islice(points, min(often, steps + 1 - len(path))))
        near = near | (distance(np.stack(more), np.array([0.0, 1.0])) <= radius).any(0)
        path += more
    return np.stack(path)


def detour(path):
    """Mean angle in degrees, weighted with Fisher length, between a path and the steepest descent of the manifold, -F^-1 grad."""
    middle, leg = (path[1:] + path[:-1]) / 2, path[1:] - path[:-1]
    G, g = fisher(middle), grad(middle)
    weight = np.sqrt(inner(G, leg, leg))
    steepness = np.sqrt((g * solve(G, g)).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.where(weight > 0, -(leg * g).sum(-1) / (weight * steepness), 1.0)
    return (weight * np.degrees(np.arccos(np.clip(cosine, -1, 1)))).sum(0) / weight.sum(0)


def around(rng, runs: int, near: float = 1.5, far: float = 3.0):
    """Random starts at Fisher distance `near` to `far` from the target, in every direction of the surface."""
    r = rng.uniform(near, far, runs) / np.sqrt(2)
    a = rng.uniform(0, 2 * np.pi, runs)
    # from the disc to the half-plane: w = tanh(r / 2) e^ia, z = i (1 + w) / (1 - w)
    w = np.tanh(r / 2) * np.exp(1j * a)
    z = 1j * (1 + w) / (1 - w)
    return np.stack([np.sqrt(2) * z.real, z.imag], -1)


def chart_defect(chart: Chart, theta, lr, natural: bool = True, steps: int = 1):
    """Fisher distance between `steps` steps of descent taken in (mu, sigma) and taken in `chart`, both from theta."""

    def walk(chart):
        phi = chart.coordinates(theta)
        for _ in range(steps):
            g = chart.grad(phi)
            phi = phi - lr * (solve(chart.fisher(phi), g) if natural else g)
        return chart.point(phi)

    return distance(walk(PLAIN), walk(chart))


def sampled_grad(theta, batch: int, rng):
    """The gradient of the mean loss of `batch` examples y ~ N(0, 1), theta (..., 2): (-a / sigma^2, 1 / sigma - b / sigma^3).

    a and b, the means of y - mu and of (y - mu)^2, are drawn at once: the mean of the y is N(0, 1 / batch), and the sum of
    squares about it is chi-squared with batch - 1 degrees of freedom.
    """
    mu, sigma = theta[..., 0], theta[..., 1]
    a = rng.standard_normal(mu.shape) / np.sqrt(batch) - mu
    b = a**2 + 2 * rng.standard_gamma((batch - 1) / 2, mu.shape) / batch
    return np.stack([-a / sigma**2, 1 / sigma - b / sigma**3], -1)


def sampled_walk(chart: Chart, starts, batch: int, seed: int, runs: int = 32, lr: float = 5e-3, steps: int = 4000):
    """The mean path of `runs` walks of Adam on gradients of `batch` examples, in a chart, up to the target: (points, starts, 2)."""
    rng, starts = np.random.default_rng(seed), np.asarray(starts, float)

    def grad(phi, t):
        return chart.covector(phi, sampled_grad(chart.point(phi), batch, rng))

    begin = np.broadcast_to(chart.coordinates(starts), (runs, *starts.shape))
    means = (chart.point(now.x).mean(0) for now in walk(Adam(lr), grad, begin))
    return approach(until_near(means, starts, steps))


def single_walk(chart: Chart, starts, seed: int, runs: int, lr: float = 5e-3, steps: int = 4000, often: int = 250):
    """`sampled_walk` on batches of one in PLAIN or LOG, start by start in machine code: every start has examples of its own, and
    its walks end once their mean is near the target."""  # fmt: skip
    rule, paths = Adam(lr), []
    for k, start in enumerate(np.asarray(starts, float)):
        rng, seen, path = np.random.default_rng([seed, k]), 0, [start[None]]
        x = np.repeat(chart.coordinates(start)[:, None], runs, 1)
        m, v = np.zeros_like(x), np.zeros_like(x)
        while seen < steps and not (seen and (distance(path[-1], np.array([0.0, 1.0])) <= 0.05).any()):
            path.append(np.empty((min(often, steps - seen), 2)))
            y = rng.standard_normal((len(path[-1]), runs))
            adam_on_singles(y, x, m, v, seen, chart is LOG, rule.lr, rule.beta1, rule.beta2, rule.eps, path[-1])
            seen += len(y)
        paths.append(np.concatenate(path))
    longest = max(map(len, paths))
    return approach(np.stack([np.pad(path, ((0, longest - len(path)), (0, 0)), "edge") for path in paths], 1))


def walks(starts, charts=(PLAIN, LOG, NATURAL), lr: float = 1e-2, steps: int = 6000) -> dict:
    """(method, chart) -> path to the target, (points, starts, 2): geodesic, natural flow, gradient flow and Adam, in each of the charts."""
    target = np.array([0.0, 1.0])
    shortest = np.stack([geodesic(start, target) for start in starts], 1)
    natural, paths = approach(flow(PLAIN, True, starts, 60.0)), {}
    for chart in charts:
        begin = chart.coordinates(starts)
        adam = (chart.point(now.x) for now in walk(Adam(lr), chart.grad, begin))
        gradient = flow(chart, False, starts, 400.0, 800)
        paths |= {
            ("geodesic", chart.name): shortest,
            ("natural gradient", chart.name): natural,
            ("SGD", chart.name): approach(gradient),
            ("Adam", chart.name): approach(until_near(adam, chart.point(begin), steps)),
        }
    return paths


def all_walks(starts, seeds, runs: int = 256) -> dict:
    """`walks`, and Adam with sampled gradients: the mean of `runs` walks on batches of one, in two charts, and that of an eighth as
    many, whose noise is less, on batches of 16; and the limit of small rates.

    The further keys are ("Adam, batches of 1" or "Adam, batches of 16", chart), and ("Adam, small rates", chart) for batches of one.
    """
    paths = walks(starts)
    for chart, seed in zip((PLAIN, LOG), seeds, strict=False):
        paths["Adam, batches of 1", chart.name] = single_walk(chart, starts, seed, runs)
    paths["Adam, batches of 16", PLAIN.name] = sampled_walk(PLAIN, starts, 16, seeds[2], -(-runs // 8))
    for chart in (PLAIN, LOG):
        paths["Adam, small rates", chart.name] = approach(flow(chart, False, starts, adam=True))
    return paths


_CHARTS = {
    "μ, σ": "mean and deviation",
    "μ, log σ": "mean and log deviation",
    "natural": "natural parameters, where gradient descent strays most",
}
_WALKS = {
    "Adam": "Adam walks in {}",
    "Adam, batches of 1": "Adam walks in {}, batches of one",
    "Adam, batches of 16": "with batches of 16, in {}",
    "Adam, small rates": "in the limit of small rates, batches of one, {}",
}


def strays(off: dict) -> dict:
    """Degrees by which paths stray further than gradient descent in their chart, from `detour` of `all_walks`: condition -> (starts,)."""
    strays = {
        words.format(_CHARTS[chart]): degrees - off["SGD", chart]
        for walked, words in _WALKS.items()
        for (name, chart), degrees in off.items()
        if name == walked
    }
    return strays | {"the metric is the exact Fisher information": off["natural gradient", "μ, σ"] - off["SGD", "μ, σ"]}


#: Nearer and farther than the starts of `all_walks`: Fisher distances of the nearest and of the farthest start.
_ELSEWHERE = {"nearer starts, 0.3 to 1": (0.3, 1.0), "farther starts, 2.5 to 4": (2.5, 4.0)}


def strays_elsewhere(seeds, starts: int, steps: int = 30000) -> dict:
    """angle(Adam) - angle(gradient flow) in degrees, `detour` of each, from nearer and farther starts: condition -> (starts,).

    In natural parameters Adam sees full gradients, in (mu, sigma) it is the limit of small rates on batches of one.
    """
    strays = {}
    for (words, ring), seed in zip(_ELSEWHERE.items(), seeds, strict=True):
        begin = around(np.random.default_rng(seed), starts, *ring)
        adam = (NATURAL.point(now.x) for now in walk(Adam(1e-2), NATURAL.grad, NATURAL.coordinates(begin)))
        pairs = {
            "natural parameters": (NATURAL, approach(until_near(adam, begin, steps))),
            "limit of small rates, batches of one, mean and deviation": (
                PLAIN,
                approach(flow(PLAIN, False, begin, 60.0, 800, adam=True)),
            ),
        }
        for where, (chart, walked) in pairs.items():
            gradient = approach(flow(chart, False, begin, 400.0, 800))
            strays[f"{words}, {where}"] = detour(walked) - detour(gradient)
    return strays
