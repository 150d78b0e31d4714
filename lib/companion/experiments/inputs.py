"""What may enter a public function: numbers of the right kind, or one line that names the offender and the remedy."""

import math
import operator

import numpy as np

from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError, short


def numbers(
    value, what: str, remedy: str, *, least: float = -math.inf, some: bool = False, error: type | None = None,
    lead: str | None = None,
) -> np.ndarray:  # fmt: skip
    """`value` as an array of floats, all of them finite and at least `least`.

    Raises `error`, or by default ShapeError for what is no array of numbers, NonFiniteError for NaN and infinity and
    HyperparameterError for what is too small. `some` refuses an empty array; `lead` is what the first axis counts, such as "step".
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # rows of different lengths
        raise (error or ShapeError)(f"{what} is no array of numbers: {short(value)}; {remedy}") from None
    if array.dtype.kind not in "biuf":
        raise (error or ShapeError)(f"{what} has the type {array.dtype}, not numbers; {remedy}")
    if some and not array.size:
        raise (error or ShapeError)(f"{what} is empty; {remedy}")
    array = array.astype(float, copy=False)
    # a sum is finite if all its terms are, and takes no memory; where it overflows the entries are looked at
    with np.errstate(invalid="ignore", over="ignore"):
        total = array.sum()
    if not np.isfinite(total) and not (finite := np.isfinite(array)).all():
        raise (error or NonFiniteError)(f"{_place(array, ~finite, what, lead)}; {remedy}")
    if array.size and array.min() < least:
        raise (error or HyperparameterError)(f"{_place(array, array < least, what, lead)}, below {least:g}; {remedy}")
    return array


def _place(array, bad, what, lead):
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    at = f"[{', '.join(map(str, index))}]" if index else ""
    return f"{what}{at} is {array[index]:g}" + (f" at {lead} {index[0]}" if lead and index else "")


def number(value, what: str, domain: str, inside, error: type = HyperparameterError) -> float:
    """`value` as a float for which inside(value); `domain` says in words what that means, NaN is never inside."""
    try:
        good = not isinstance(value, (str, bytes, bool)) and np.ndim(value) == 0 and bool(inside(float(value)))
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise error(f"{what} must be {domain}, got {_shown(value)}")
    return float(value)


def whole(value, what: str, least: int, most: float = math.inf, error: type = HyperparameterError) -> int:
    """`value` as an int between `least` and `most`; what is no whole number is refused, 2.0 too."""
    try:
        integer = operator.index(value)
    except TypeError:
        integer = None
    if integer is None or isinstance(value, bool) or not least <= integer <= most:
        limit = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise error(f"{what} must be a whole number {limit}, got {_shown(value)}")
    return integer


def _shown(value):
    return short(value.item() if isinstance(value, np.generic) else value)
