"""What a run is measured by: when it settles, and what a run that never does counts."""

from collections.abc import Callable

import numpy as np

from .descent import walk
from .errors import ShapeError


def settle(rule, grad: Callable, x0, inside: Callable, steps: int, stay: float = 0.25) -> np.ndarray:
    """The step from which on a run stays inside, inf unless it stays for the last `stay` of all steps. Shape (..., 1).

    `inside(x)` is true where x is close enough; NaN is outside. The first visit counts for nothing, and neither does
    being inside when the clock happens to stop: a run that hops in and out every other step never settles.
    """
    if not (steps >= 1 and 0 <= stay < 1):
        raise ShapeError(f"settle needs steps >= 1 and stay in [0, 1), got steps={steps}, stay={stay}")
    last = None
    with np.errstate(all="ignore"):
        for t, now in zip(range(1, steps + 1), walk(rule, grad, x0), strict=False):
            outside = ~inside(now.x)
            last = np.zeros(outside.shape) if last is None else last
            np.copyto(last, t, where=outside)
    return np.where(last < (1 - stay) * steps, last + 1, np.inf)


def times_as_long(slow, fast, steps: int) -> np.ndarray:
    """Ratio of settling times, run by run; a run that did not settle counts 10 * steps."""
    return capped(slow, steps) / capped(fast, steps)


def capped(times, steps: int):
    """Settling times with 10 * steps for every run that did not settle, so that ratios and means exist."""
    return np.where(np.isfinite(times), times, 10 * steps)


def penalised(times, steps: int):
    """Mean of `capped` over the last axis.  Hutter et al. (2009): penalised average run time, PAR10."""
    return capped(times, steps).mean(-1)
