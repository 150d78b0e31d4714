"""Formats and eps: where 0 / 0 is NaN, where a square is lost, and that wide arithmetic prevents both."""

import numpy as np
import pytest
import torch

from companion.experiments.feature_scales import precision
from companion.experiments.feature_scales.precision import FORMATS, OPTIMIZERS, moved, smallest, table, zero_gradients
from stepsize import optim
from stepsize.errors import HyperparameterError

NARROW = [name for name in OPTIMIZERS if name.startswith("torch") and "fused" not in name]
WIDE = [name for name in OPTIMIZERS if name not in NARROW]


def test_the_optimizers_of_the_evidence_are_torchs_in_its_own_format_and_two_in_float32():
    assert set(precision.PLAIN) == set(NARROW)
    assert set(precision.WIDE) < set(WIDE)
    usual, tenfold = (
        {name: dict.fromkeys(FORMATS, (i, format)) for name in OPTIMIZERS} for i, format in enumerate(("a", "b"))
    )
    usual["torch AdamW"]["float32"] = "here"
    cases = zero_gradients(usual, tenfold)
    assert cases["torch computes in float32"][1] == "here"
    assert cases["it is float16, but ε = 10⁻⁷"] == [(1, "b")] * 4
    assert cases["float16 weights are updated in float32"] == [(0, "a")] * 2


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("format", ["bfloat16", "float32", "float64"])
def test_eps_makes_zero_over_zero_zero_where_the_format_holds_it(optimizer, format):
    assert moved(optimizer, format, 0.0, 1e-8) == 0


@pytest.mark.parametrize("optimizer", NARROW)
def test_the_default_eps_is_zero_in_float16_and_so_zero_gradients_give_nan(optimizer):
    assert torch.tensor(1e-8, dtype=torch.float16) == 0
    assert np.isnan(moved(optimizer, "float16", 0.0, 1e-8))
    assert moved(optimizer, "float16", 0.0, 1e-7) == 0


@pytest.mark.parametrize("optimizer", WIDE)
def test_wide_arithmetic_keeps_eps_alive_in_float16(optimizer):
    assert moved(optimizer, "float16", 0.0, 1e-8) == 0


def test_wide_arithmetic_is_what_keeps_it_alive(monkeypatch):
    monkeypatch.setitem(optim.WIDE, torch.float16, torch.float16)
    assert np.isnan(moved("our Adam", "float16", 0.0, 1e-8))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("format", FORMATS)
def test_without_eps_zero_gradients_give_nan_in_every_format(optimizer, format):
    if optimizer != "torch Adam, fused":  # compiled: says so only in some formats
        assert np.isnan(moved(optimizer, format, 0.0, 0.0))


def test_a_square_that_underflows_leaves_eps_alone_in_the_denominator():
    # 1e-4 squared is 0 in float16: Adam divides by eps and steps 840 times too far
    assert moved("torch Adam", "float16", 1e-4, 1e-7) / moved("torch Adam", "float32", 1e-4, 1e-7) > 800
    assert moved("torch Adam", "float16", 1e-4, 1e-8) == np.inf
    assert moved("our Adam", "float16", 1e-4, 1e-7) == pytest.approx(3, rel=2e-3)


def test_a_state_in_float16_makes_step_t_of_the_fused_adam_about_root_t_times_too_long():
    # (1 - beta2) g^2 = 1e-11 is lost whenever v is stored, while the correction for its weight goes on
    t = np.arange(1, 101)
    expected = np.sqrt((1 - 0.999**t) / 0.001).sum()
    assert moved("torch Adam, fused", "float16", 1e-4, 1e-8, steps=100) == pytest.approx(expected, rel=3e-3)
    assert moved("our Adam", "float16", 1e-4, 1e-8, steps=100) == pytest.approx(100, rel=1e-2)


def test_float32_loses_the_square_of_a_gradient_of_1e_minus_23():
    assert moved("torch Adam", "float32", 1e-23, 0.0) == np.inf
    assert moved("torch Adam", "float64", 1e-23, 0.0) == pytest.approx(3, rel=1e-12)


@pytest.mark.parametrize(
    ("format", "least", "square"),
    [("float16", 2.0**-24, 2.0**-12), ("bfloat16", 2.0**-133, 2.0**-66), ("float32", 2.0**-149, 2.0**-74)],
)
def test_the_smallest_number_and_the_smallest_gradient_of_a_format(format, least, square):
    assert smallest(format) == (least, square)


def test_a_table_has_every_format():
    assert set(table(0.0, 1e-8, ("our Adam",))["our Adam"]) == set(FORMATS)


@pytest.mark.parametrize("names", [("Adam", "float16"), ("our Adam", "half")])
def test_unknown_names_are_named(names):
    with pytest.raises(HyperparameterError, match="unknown"):
        moved(*names, 0.0, 1e-8)
