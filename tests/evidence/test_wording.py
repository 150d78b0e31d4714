"""Numbers and regions as the book prints them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.evidence.wording import apart, attains, describe_region, number, quoted, typeset
from mutants import mutant


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (0.12345, "0.123"),
        (12.345, "12.3"),
        (999.4, "999"),
        (999.9, "1,000"),
        (1234.5, "1,234"),
        (99999, "99,999"),
        (123456, "1.2 × 10⁵"),
        (0.001, "0.001"),
        (0.00012, "1.2 × 10⁻⁴"),
        (-3.5e-17, "−3.5 × 10⁻¹⁷"),
        (-0.25, "−0.25"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "NaN"),
    ],
)
def test_a_number_as_the_book_prints_it(value, text):
    assert number(value) == text


@given(st.floats(-1e15, 1e15).filter(lambda x: abs(x) > 1e-15))
def test_a_printed_number_is_within_five_percent(value):
    text = number(value).translate(str.maketrans("−⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "--0123456789"))
    assert "e" not in text
    assert float(text.replace(",", "").replace(" × 10", "e")) == pytest.approx(value, rel=0.051)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.62, "62% of"),
        (0.0, "0% of"),
        (-0.001, "0% of"),
        (-0.5, "−50% of"),
        (1.99, "199% of"),
        (2.0, "2 times"),
        (8.04, "8 times"),
        (2.37, "2.4 times"),
        (-8.04, "−8 times"),
        (9.97, "10 times"),
        (129.0, "129 times"),
        (math.inf, "∞ times"),
    ],
)
def test_a_share_far_above_the_whole_is_said_as_a_multiple(share, words):
    assert attains(share) == f"{words} the effect"


def test_with_the_border_elsewhere_a_share_would_read_otherwise():
    assert mutant(attains, "abs(share) < 2", "abs(share) < 10")(8.04) == "804% of the effect"


@pytest.mark.parametrize(
    ("text", "printed"),
    [("-0.00", "0.00"), ("-0", "0"), ("-0%", "0%"), ("-0.01", "−0.01"), ("0.00", "0.00"), ("-1e-05", "−1 × 10⁻⁵")],
)
def test_what_is_rounded_to_zero_has_no_sign(text, printed):
    assert typeset(text) == printed


def test_a_region_in_words():
    assert describe_region((-math.inf, 2)) == "at most 2"
    assert describe_region((0.5, math.inf)) == "at least 0.5"
    assert describe_region((1, 2000)) == "1 to 2,000"


def test_unlike_numbers_print_unlike_and_like_ones_alike():
    assert apart(0.8, 0.93) == ("0.8", "0.93")
    assert apart(1 - 1e-12, 1.0) == ("0.999999999999", "1")
    assert apart(12345.1, 12345.2) == ("12345.1", "12345.2")
    assert apart(0.25, 0.25) == ("0.25", "0.25")
    x = 1 / 3
    assert len(set(apart(x, np.nextafter(x, 1)))) == 2


def test_a_formula_of_a_greek_letter_is_quoted_as_the_letter():
    assert quoted(r"that $\tau$ be small") == "that τ be small"
    assert quoted("at $5 a piece") == "at $5 a piece"
