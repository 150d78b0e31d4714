"""When does a run settle for good? Ensembles of landscapes times learning rates, walked at once in constant memory."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from stepsize.backend import norm
from stepsize.contract import hyperparameters, leaves, rebuild, substitute
from stepsize.descent import walk
from stepsize.errors import EvidenceError
from stepsize.measures import penalised, settle, times_as_long
from stepsize.quadratic import Quadratic
from stepsize.rules import ADOPT, SGD, AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp, SignDescent
from stepsize.transforms import ClipByNorm, chain
from stepsize.tuning import Choice, choose
from stepsize.wrappers import InverseRoot, Pooled

from .landscapes import PlateauValley, PlateauValleyInPlane


class Raced(NamedTuple):
    """What a method does on an ensemble. Settling times in steps, inf where a run did not settle.

    `choice` is the setting and the rate chosen on the tuning landscapes for all landscapes. On the test landscapes: `one` (n,)
    with this one choice, `oracle` (n,) with each landscape's own best rate and setting, `times` (rates, n) with the chosen setting.
    """

    choice: Choice
    one: np.ndarray
    oracle: np.ndarray
    times: np.ndarray

    @classmethod
    def of(cls, times: dict[str, np.ndarray], lrs, tuning: int, steps: int) -> "Raced":
        """From times (rates, landscapes) for every setting: the first `tuning` landscapes choose, the others report."""
        stacked = np.stack(list(times.values()))
        if not 0 < tuning < stacked.shape[-1]:
            raise EvidenceError(
                f"{tuning} of {stacked.shape[-1]} landscapes for tuning leaves none for one of the two; give both some"
            )
        choice = choose(penalised(stacked[..., :tuning], steps), lrs, list(times))
        test = stacked[..., tuning:]
        return cls(choice, test[choice.index], test.min((0, 1)), test[choice.index[0]])

    def window(self, lrs):
        """Decades of rates that settle each landscape, counted in steps of the grid, shape (n,)."""
        return np.isfinite(self.times).sum(0) * np.log10(lrs[1] / lrs[0])


def reported(raced: dict[str, Raced], lrs, steps: int, anchor: str) -> dict:
    """What `Chapter.race` takes of a race: every method's choice and its settling times with one rate, as PAR10."""
    return {
        "anchor": anchor,
        "entries": {name: (r.choice._replace(scores=r.one), lrs) for name, r in raced.items()},
        "unit": "steps to settle",
        "limit": steps,
        "statistic": partial(penalised, steps=steps),
    }


#: method -> setting -> lr -> rule. eps is 0: it would be a second learning rate. ADOPT's must be positive and lies far below
#: every gradient of the plateau.
METHODS: dict[str, dict[str, Callable]] = {
    "SGD": {"": lambda lr: SGD(lr)},
    "heavy ball": {f"μ = {mu}": lambda lr, mu=mu: HeavyBall(lr, mu) for mu in (0.9, 0.98)},
    "clipped SGD": {f"c = {c}": lambda lr, c=c: chain(ClipByNorm(c), SGD(lr)) for c in (1e-4, 1e-3, 1e-2)},
    "sign": {"": lambda lr: SignDescent(lr)},
    "sign, 1/√t": {"": lambda lr: InverseRoot(SignDescent(lr))},
    "AdaGrad": {"": lambda lr: AdaGrad(lr, eps=0.0)},
    "RMSProp": {"": lambda lr: RMSProp(lr, eps=0.0)},
    "Adam": {"": lambda lr: Adam(lr, eps=0.0)},
    "Adam, β₂ = 0.99": {"": lambda lr: Adam(lr, beta2=0.99, eps=0.0)},
    "Adam, β₂ = 0.9": {"": lambda lr: Adam(lr, beta2=0.9, eps=0.0)},
    "Adam, β₁ = β₂ = 0.95": {"": lambda lr: Adam(lr, 0.95, 0.95, eps=0.0)},
    "AMSGrad": {"": lambda lr: AMSGrad(lr, eps=0.0)},
    "ADOPT": {"": lambda lr: ADOPT(lr, eps=1e-12)},
}


def chosen(method: str, raced: Raced):
    """The rule of a method with the setting and the rate that were chosen for it."""
    return METHODS[method][raced.choice.setting](raced.choice.lr)


def settling_times(rule, land: PlateauValley, steps: int) -> np.ndarray:
    """When a rule settles on each landscape, shape (..., n); leading axes are those of its hyper-parameters."""
    return settle(rule, land.grad, land.start, land.settled, steps)[..., 0]


def plateau_race(method: str, land: PlateauValley, lrs, tuning: int, steps: int) -> Raced:
    """Every rate of `lrs` on every landscape; the first `tuning` of them choose, the others report."""
    lr = np.asarray(lrs, float)[:, None, None]
    times = {
        name: settle_together(make(lr), land.grad, land.start, land.settled, steps, axis=-3)[..., 0]
        for name, make in METHODS[method].items()
    }
    return Raced.of(times, lrs, tuning, steps)


@np.errstate(all="ignore")
def settle_together(
    rule, grad: Callable, x0, inside: Callable, steps: int, axis: int, stay: float = 0.25, every: int = 250
):
    """`measures.settle` to the last bit, without what cannot settle any more: at every `every`-th step places along `axis` are left
    behind of which all runs have overflowed, or have been outside too late.

    `axis`, from the end of x, is that of the rates or of the runs: neither `grad` nor `inside` depends on the place along it.
    """
    x, state, last, times, followed, late = x0, rule.init(x0), 0.0, None, None, (1 - stay) * steps

    def places(a, along):
        """True where any of `a` is, along one axis."""
        return a.any(tuple(i for i in range(a.ndim) if i != along % a.ndim))

    for t in range(1, steps + 1):
        state, rate, direction = rule.step(state, grad(x, t - 1), x)
        x = x - rate * direction
        last = np.where(inside(x), last, t)
        if t % every and t != steps:
            continue
        if times is None:
            times, followed = np.full(last.shape, np.inf), np.arange(x.shape[axis])
        along = axis + x.ndim - last.ndim
        kept = places(np.isfinite(x).all(-1, keepdims=True), axis) & places(last < late, along)
        if not kept.any():
            return times
        if not kept.all():
            followed, last = followed[kept], _along(last, kept, along)
            rule = substitute(rule, (_along(a, kept, axis) for a in hyperparameters(rule).values()))
            state = rebuild(state, (_along(leaf, kept, axis) for _, leaf in leaves(state)))
            x = _along(x, kept, axis)
    times[(slice(None),) * (along % times.ndim) + (followed,)] = np.where(last < late, last + 1, np.inf)
    return times


def _along(a, kept, axis: int):
    """`a` at the places `kept` along an axis, counted from its end, if it has them; the axis before the last stays the one along memory."""
    if np.ndim(a) < -axis or a.shape[axis] != kept.size:
        return a
    return a.swapaxes(-1, -2).compress(kept, -1).swapaxes(-1, -2) if axis == -2 else a.compress(kept, axis)


def finite(rule, grad: Callable, x0, steps: int) -> np.ndarray:
    """Which runs have not overflowed after some steps, shape (...): those that have need not be followed any further."""
    with np.errstate(all="ignore"):
        return np.isfinite(next(islice(walk(rule, grad, x0), steps - 1, None)).x).all(-1)


def turned_race(
    method: str, degrees, lrs, tuning: int, reporting: int, steps: int, seed: int, condition=1e4, pooled=False
):
    """One `Raced` per angle: a valley of curvatures 1 and `condition` in the plane, starts on the unit circle, settled within 1/1000.

    The rate is chosen for every angle anew, on `tuning` starts; the same starts serve every angle and method.
    """
    n, rates = tuning + reporting, len(lrs)
    phase = 2 * np.pi * np.random.default_rng(seed).random(n)
    # all runs on one axis and the two coordinates apart in memory: loops run along the runs
    x0 = np.stack([np.tile(a(phase), rates) for a in (np.cos, np.sin)]).T
    lr = np.repeat(np.asarray(lrs, float), n)[:, None]
    land = Quadratic(np.array([1.0, condition]), np.deg2rad(np.asarray(degrees, float))[:, None])
    # the Hessian by its columns, once for all steps
    (h11, h12), (_, h22) = (np.split(land.grad(e), 2, -1) for e in np.eye(2)[:, None])
    diagonal, times = np.concatenate([h11, h22], -1), {}

    def grad(x, t):
        return diagonal * x + h12 * x[..., ::-1]

    for name, make in METHODS[method].items():
        twin = (lambda lr, make=make: Pooled(make(lr))) if pooled else make
        alive = finite(twin(lr), grad, x0, max(1, steps // 100)).any(0)
        start = x0.T.compress(alive, 1).T
        flat = np.full((len(degrees), len(x0), 1), np.inf)
        flat[:, alive] = settle_together(twin(lr[alive]), grad, start, lambda x: norm(x) <= 1e-3, steps, axis=-2)
        times[name] = flat.reshape(len(degrees), rates, n)
    return [Raced.of({name: t[i] for name, t in times.items()}, lrs, tuning, steps) for i in range(len(degrees))]


def plane_race(
    method: str, degrees, lrs, tuning: int, reporting: int, steps: int, seed: int, pooled=False
) -> list[Raced]:
    """One `Raced` per angle: a plateau that leads into a valley in two parameters, both turned; the rate is chosen for every angle anew."""
    land = PlateauValleyInPlane.sample(tuning + reporting, seed, degrees)
    lr, times = np.asarray(lrs, float)[:, None, None, None], {}
    for name, make in METHODS[method].items():
        rule = Pooled(make(lr)) if pooled else make(lr)
        times[name] = settle_together(rule, land.grad, land.start, land.settled, steps, axis=-4)
    return [Raced.of({name: t[:, i] for name, t in times.items()}, lrs, tuning, steps) for i in range(len(degrees))]


def lower_median(times) -> float:
    """The lower one of the two times in the middle, inf if that run did not settle: the time of one of the runs, as tables print it."""
    return float(np.quantile(times, 0.5, method="inverted_cdf"))


def at_every_angle(pooled: dict[str, list[Raced]], turned: dict[str, list[Raced]]) -> dict[str, list[Raced]]:
    """Those of `pooled` that are raced at as many angles as their twins in `turned`."""
    return {name: races for name, races in pooled.items() if len(races) == len(turned[name])}


def decided_cost(pooled: Raced, turned: Raced, steps: int) -> np.ndarray:
    """How much longer it takes with one rate for all coordinates, where at least one of the two settles; the others say nothing."""
    decided = np.isfinite(pooled.one) | np.isfinite(turned.one)
    return times_as_long(pooled.one, turned.one, steps)[decided]


def twin_cost(pooled: dict, turned: dict, angle: int, steps: int) -> dict[str, np.ndarray]:
    """How much longer each method takes at one angle when it has one rate for all coordinates, start by start."""
    return {name: times_as_long(pooled[name][angle].one, turned[name][angle].one, steps) for name in pooled}


def twin_cost_alone(method: str, raced: dict, land: PlateauValley, steps: int) -> dict[str, np.ndarray]:
    """`twin_cost` where there is one coordinate, on the landscapes that `raced` reports, at the rate chosen there."""
    pooled = settling_times(Pooled(chosen(method, raced[method])), land, steps)
    return {method: times_as_long(pooled, raced[method].one, steps)}
