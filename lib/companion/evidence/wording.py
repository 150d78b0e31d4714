"""Numbers, regions, medians and shares as the book prints them."""

import math
import re
import unicodedata

import numpy as np

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def typeset(text: str) -> str:
    """The text that Python gives a number, with a minus sign for its hyphen and a power of ten for its exponent."""
    digits, exponent, power = text.partition("e")
    if not digits.strip("-0.%"):
        digits = digits.lstrip("-")  # what is rounded to zero has no sign
    return digits.replace("-", "−") + (f" × 10{str(int(power)).translate(SUPERSCRIPTS)}" if exponent else "")


def quoted(phrase: str) -> str:
    """A phrase of the text with a Greek letter in place of the formula that names it, as in τ."""

    def letter(name):
        return unicodedata.lookup(f"GREEK SMALL LETTER {name[1].upper()}")

    return re.sub(r"\$\\([a-z]+)\$", letter, phrase)


def number(value: float) -> str:
    """A number as the book prints it: three significant digits, whole from 1000 on, powers of ten where they are shorter."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "NaN"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return typeset(f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}")
    return typeset(f"{value:.1e}")


def attains(share: float) -> str:
    """What a control attains of the effect: a share in per cent, and from twice the effect on how many times it is."""
    if abs(share) < 2:
        return f"{typeset(f'{share:.0%}')} of the effect"
    return f"{number(float(f'{share:.2g}') if abs(share) < 10 else share)} times the effect"


def apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers as the book prints them, with as many more digits as it takes until unlike numbers print unlike."""
    words = number(a), number(b)
    for digits in range(4, 18):
        if words[0] != words[1] or a == b:
            break
        words = typeset(f"{a:.{digits}g}"), typeset(f"{b:.{digits}g}")
    return words


def describe_region(region: tuple[float, float]) -> str:
    """A region in words."""
    low, high = map(number, region)
    return f"at most {high}" if low == "−∞" else f"at least {low}" if high == "∞" else f"{low} to {high}"


def median(times):
    """The median of settling times, where inf is larger than every number; for a table, with a line for inf."""
    value = np.quantile(times, 0.5, method="inverted_cdf")
    return f"{value:,.0f}" if np.isfinite(value) else "–"


def share(times):
    """The share of runs that settled, as a percentage."""
    return f"{np.isfinite(times).mean():.0%}"
