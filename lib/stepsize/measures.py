"""What a run is measured by: when it arrives, when it settles, how large its loss is late; and exponents.

Divergence is a result here, not an accident: overflow and NaN raise no warning, and count as outside or infinite.
"""

from collections.abc import Callable, Iterator

import numpy as np

from .descent import walk
from .errors import ShapeError


def monitor(
    rule, grad: Callable, x0, steps: int, measure: Callable, first: int = 1, every: int = 1
) -> Iterator[tuple[int, np.ndarray]]:
    """(t, measure(x_t)) along a walk, for every `every`-th t from `first` to `steps`; x_1 is where the first step ends."""
    iterates = walk(rule, grad, x0)
    for t in range(1, steps + 1):
        # around each step, not around the loop: a generator would leave its caller unguarded
        with np.errstate(all="ignore"):
            x = next(iterates).x
            value = measure(x) if t >= first and t % every == 0 else None
        if value is not None:
            yield t, value


def settle(rule, grad: Callable, x0, inside: Callable, steps: int, stay: float = 0.25) -> np.ndarray:
    """The step from which on a run stays inside, inf unless it stays for the last `stay` of all steps. Shape of `inside`.

    `inside(x)` is true where x is close enough; NaN is outside. The first visit counts for nothing, and neither does
    being inside when the clock happens to stop: a run that hops in and out every other step never settles.
    """
    if not (steps >= 1 and 0 <= stay < 1):
        raise ShapeError(f"settle needs steps >= 1 and stay in [0, 1), got steps={steps}, stay={stay}")
    last = 0.0
    for t, now in monitor(rule, grad, x0, steps, inside):
        last = np.where(now, last, t)
    return np.where(last < (1 - stay) * steps, last + 1, np.inf)


def first_hit(rule, grad: Callable, x0, inside: Callable, steps: int) -> np.ndarray:
    """The first step that ends inside, inf where none of `steps` does. Shape of `inside`."""
    hit = np.inf
    for t, now in monitor(rule, grad, x0, steps, inside):
        hit = np.where(now, np.minimum(hit, t), hit)
        if np.isfinite(hit).all():
            break
    return hit


@np.errstate(all="ignore")
def late_loss(rule, grad: Callable, x0, loss: Callable, steps: int, last: int, every: int = 1) -> np.ndarray:
    """Mean of loss(x_t) over the `last` steps of `steps`, at every `every`-th of them; infinite where it is not finite.

    last=1 is the final loss. Shape of `loss`.
    """
    late = [value for _, value in monitor(rule, grad, x0, steps, loss, steps - last + 1, every)]
    if not late:
        raise ShapeError(f"no step of the last {last} of {steps} is a multiple of {every}; make `last` larger")
    mean = sum(late) / len(late)
    return np.where(np.isfinite(mean), mean, np.inf)


def times_as_long(slow, fast, steps: int) -> np.ndarray:
    """Ratio of settling times, run by run; a run that did not settle counts 10 * steps."""
    return capped(slow, steps) / capped(fast, steps)


def capped(times, steps: int):
    """Settling times with 10 * steps for every run that did not settle, so that ratios and means exist."""
    return np.where(np.isfinite(times), times, 10 * steps)


def penalised(times, steps: int):
    """Mean of `capped` over the last axis.  Hutter et al. (2009): penalised average run time, PAR10."""
    return capped(times, steps).mean(-1)


def log_slope(x, y) -> np.ndarray:
    """Least-squares slope of log |y| on log |x| over the last axis: the exponent p of y ~ x^p, run by run."""
    x, y = (np.log(np.abs(a)) - np.log(np.abs(a)).mean(-1, keepdims=True) for a in np.broadcast_arrays(x, y))
    return (x * y).sum(-1) / (x * x).sum(-1)
