"""Running a rule on a problem given by its gradient, and choosing a learning rate honestly."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .contract import require_rule
from .errors import NonFiniteError, ShapeError


class Step(NamedTuple):
    """One step of a walk: the iterate it arrives at, and what took it there. Arrays of shape (..., d)."""

    x: Any
    rate: Any
    direction: Any
    state: Any


class Path(NamedTuple):
    """A recorded walk. Time leads: `x` has shape (n + 1, ..., d) and begins with x0, `rate` and `direction` (n, ..., d).

    `time` holds the step numbers of `x`. `diverged` of shape (...) is the first step with a non-finite
    gradient or iterate of each run, -1 where there was none.
    """

    x: np.ndarray
    rate: np.ndarray
    direction: np.ndarray
    time: np.ndarray
    diverged: np.ndarray
    state: Any


def _start(x0):
    x = np.array(x0)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeError(f"x0 needs shape (..., d) with d >= 1, got {x.shape}; write [x] for one number")
    if not np.issubdtype(x.dtype, np.floating):
        raise ShapeError(f"x0 has dtype {x.dtype}; pass floats, such as np.asarray(x0, float)")
    if not np.isfinite(x).all():
        raise NonFiniteError("x0 has NaN or infinite coordinates; start from a finite point")
    return x


def _fits(gradient, iterate):
    """A gradient may bring more runs than the iterate has, never fewer, and always as many coordinates."""
    try:
        return gradient == iterate or (
            np.broadcast_shapes(gradient, iterate) == gradient and gradient[-1] == iterate[-1]
        )
    except ValueError:
        return False


def _finite(a):
    return np.isfinite(a).all(-1)


def walk(rule, grad: Callable, x0) -> Iterator[Step]:
    """x <- x - rate * direction, without end and without a guard; `grad(x, t)` is called with t = 0, 1, ...

    x0 has shape (..., d); leading axes are independent runs. A rule whose hyper-parameters carry more
    runs than x0 broadcasts x at the first step.
    """
    x = _start(x0)
    state, t = require_rule(rule, "walk").init(x), 0
    while True:
        g = np.asarray(grad(x, t))
        if not _fits(g.shape, x.shape):
            raise ShapeError(f"grad returned shape {g.shape} at step {t} for x of shape {x.shape}; they must agree")
        state, rate, direction = rule.step(state, g, x)
        x, t = x - rate * direction, t + 1
        yield Step(x, rate, direction, state)


def descend(rule, grad: Callable, x0, steps: int, *, every: int = 1, nonfinite: str = "raise") -> Path:
    """`steps` steps of `rule` from x0, recorded at every `every`-th step.

    nonfinite="raise" stops at the first NaN or infinity with the step and the run's index;
    "record" lets the other runs go on and notes the step in `Path.diverged`.
    """
    if nonfinite not in ("raise", "record"):
        raise ShapeError(f"nonfinite must be 'raise' or 'record', got {nonfinite!r}")
    if not all(isinstance(n, (int, np.integer)) and n >= 1 for n in (steps, every)):
        raise ShapeError(f"steps and every must be whole numbers of at least 1, got steps={steps}, every={every}")
    records, seen, diverged = [], [], None

    def watched(x, t):
        g = np.asarray(grad(x, t))
        seen[:] = [g]
        return g

    with np.errstate(
        all="ignore" if nonfinite == "record" else "warn", over="ignore", under="ignore", invalid="ignore"
    ):
        for t, now in zip(range(1, steps + 1), walk(rule, watched, x0), strict=False):
            # a bounded rule such as sign descent makes a finite step of an infinite gradient
            finite = _finite(now.x) & _finite(seen[0])
            diverged = np.full(finite.shape, -1) if diverged is None else diverged
            if nonfinite == "raise" and not finite.all():
                run = tuple(int(i) for i in np.argwhere(~finite)[0])
                raise NonFiniteError(
                    f"non-finite gradient or iterate at step {t}, run {run or 0}; lower the learning rate, "
                    "clip the gradient, or pass nonfinite='record' where divergence is the finding"
                )
            diverged[(diverged < 0) & ~finite] = t
            if t % every == 0 or t == steps:
                records.append((now.x, now.rate, now.direction, t))
    x, rate, direction, time = zip(*records, strict=True)
    x = (np.broadcast_to(np.array(x0, x[0].dtype), x[0].shape), *x)
    shape = x[0].shape
    rate, direction = (np.stack([np.broadcast_to(a, shape) for a in series]) for series in (rate, direction))
    return Path(np.stack(x), rate, direction, np.array([0, *time]), diverged, now.state)
