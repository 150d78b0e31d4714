"""The loop over active rows makes the steps of the rule that it was traced from, on each row's own clock."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mutants import mutant
from references import RULES
from stepsize import SGD, AdaGrad, Adam, ClipByNorm, Decoupled, chain, kernels, optim
from stepsize.contract import hyperparameters, leaves, named, rebuild
from stepsize.errors import ShapeError, TraceError
from stepsize.kernels import coalesce, row_kernel, row_source
from stepsize.lazy import IdleHeavyBall
from stepsize.optim import Optimizer
from stepsize.tables import Table

ELEMENTWISE = {name: rule for name, rule in RULES.items() if rule.elementwise}


def interpreted(rule, text=None):
    """The kernel's text run by Python, without compiling it."""
    space = {"np": np, "sqrt": np.sqrt}
    exec(text or row_source(rule), space)
    return lambda x, g, rows, memory, values: space["run"](
        x, g, rows, *memory, *(np.full((len(x), 1), v) for v in values)
    )


def deviation(rule, run, dtype=float, steps=60):
    """Largest difference from the rule applied to gathered rows, iterates and state."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(7, 3)).astype(dtype)
    mine, state = x.copy(), rule.init(x)
    memory = [np.array(leaf) for leaf in named(leaves(state)).values()]
    old = [np.array(leaf) for leaf in memory]
    for _ in range(steps):
        rows = rng.permutation(7)[: rng.integers(1, 5)]
        g = rng.normal(size=(len(rows), 3)).astype(dtype)
        after, rate, direction = rule.step(rebuild(state, iter([leaf[rows] for leaf in old])), g, x[rows])
        for leaf, (_, value) in zip(old, leaves(after), strict=True):
            leaf[rows] = value
        x[rows] = x[rows] - rate * direction
        run(mine, g, rows, memory, hyperparameters(rule).values())
    pairs = zip([mine, *memory], [x, *old], strict=True)
    return max(np.max(np.abs(a - b) / np.maximum(1, np.abs(b))) for a, b in pairs)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_text_of_a_row_kernel_makes_the_steps_of_its_rule(name):
    assert deviation(RULES[name], interpreted(RULES[name])) <= 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_machine_code_makes_the_steps_of_its_rule_row_by_row(dtype):
    rule = Decoupled(Adam(0.1), 0.1)
    assert deviation(rule, row_kernel(rule), dtype) <= (1e-12 if dtype is np.float64 else 2e-5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('f"        {name}_[row, 0] = {t.new[name]}"', 'f"        {name}_[row, 0] = {name}"'),
        ('"            x_[row, i] = x - rate * direction"', '"            x_[k, i] = x - rate * direction"'),
    ],
)
def test_a_row_kernel_written_wrongly_is_caught(old, new):
    broken = mutant(kernels.row_source, old, new)(Adam(0.1))
    assert not deviation(Adam(0.1), interpreted(Adam(0.1), broken)) <= 1e-9


def test_a_rule_that_looks_at_whole_gradients_has_no_row_kernel():
    with pytest.raises(TraceError, match="whole gradients"):
        row_kernel(chain(ClipByNorm(1.0), SGD()))


def test_arrays_that_do_not_fit_never_reach_machine_code():
    rule, x = Adam(0.1), np.zeros((4, 2))
    run, values = row_kernel(rule), list(hyperparameters(rule).values())
    memory = [np.array(leaf) for _, leaf in leaves(rule.init(x))]
    rows, g = np.array([0, 3]), np.ones((2, 2))
    for wrong in ([0, 4], [-1, 0], [0, 2**40]):
        with pytest.raises(ShapeError, match=r"rows must lie in 0 \.\.\. 3"):
            run(x, g, np.array(wrong), memory, values)
    with pytest.raises(ShapeError, match=r"g of shape \(2, 2\), got \(3, 2\)"):
        run(x, np.ones((3, 2)), rows, memory, values)
    with pytest.raises(ShapeError, match=r"w_m of shape \(4, 1\), got \(3, 1\)"):
        run(x, g, rows, [memory[0], np.zeros((3, 1)), *memory[2:]], values)
    with pytest.raises(ShapeError, match=r"lr of shape \(4, 1\), got \(2, 1\)"):
        run(x, g, rows, memory, [np.ones((2, 1)), *values[1:]])
    with pytest.raises(ShapeError, match="g, m, w_m, v, w_v, lr, beta1, beta2, eps; got 8 of these 9"):
        run(x, g, rows, memory[:3], values)
    with pytest.raises(ShapeError, match="n indices and values"):
        coalesce(rows, np.ones((3, 2)))
    assert not x.any()


@pytest.mark.parametrize("rule", [Adam(0.1), IdleHeavyBall(0.1)])
def test_a_table_whose_array_was_swapped_and_rows_beyond_it_are_refused(rule):
    table = Table(rule, np.zeros((4, 2)))
    table.step([0], np.ones((1, 2)))
    for ask in (lambda rows: table.step(rows, np.ones((1, 2))), table.read):
        for rows in ([4], [-9], [2**40]):
            with pytest.raises((ShapeError, IndexError), match=r"rows must lie in 0 \.\.\. 3|out of bounds"):
                ask(rows)
    table.x = np.zeros((9, 2))
    with pytest.raises(ShapeError, match="had 4 rows and has 9"):
        table.step([0], np.ones((1, 2)))


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=60), st.integers(0, 2**32))
def test_gradients_of_one_row_are_summed_whatever_the_indices(indices, seed):
    indices = np.array(indices)
    values = np.random.default_rng(seed).normal(size=(len(indices), 2))
    rows, sums = coalesce(indices, values)
    assert rows.tolist() == list(dict.fromkeys(indices.tolist()))
    np.testing.assert_allclose(sums, [values[indices == row].sum(0) for row in rows], rtol=1e-12, atol=1e-12)


def walk(rule, compiled, dtype=torch.float64, sparse=True):
    p = nn.Parameter(torch.linspace(-1, 1, 60, dtype=dtype).reshape(20, 3))
    optimizer, rng = Optimizer([p], rule, compiled=compiled), np.random.default_rng(0)
    for t in range(40):
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + t)
        indices = torch.as_tensor(rng.integers(20, size=(1, 9)))
        values = torch.as_tensor(rng.normal(size=(9, 3)), dtype=dtype)
        p.grad = torch.sparse_coo_tensor(indices, values, p.shape, check_invariants=True)
        if t % 3 == 0:
            p.grad = p.grad.coalesce()
        optimizer.step()
    return p.detach()


@pytest.mark.parametrize("rule", [Adam(0.1), AdaGrad(0.1)])
def test_a_compiled_optimizer_steps_sparse_rows_as_it_does_without(rule):
    assert (walk(rule, True) - walk(rule, False)).abs().max() <= 1e-12
    assert (walk(rule, True, torch.bfloat16) - walk(rule, False, torch.bfloat16)).abs().max() == 0


def test_a_compiled_optimizer_that_forgets_to_sum_is_caught(monkeypatch):
    monkeypatch.setattr(optim, "coalesce", lambda rows, g: (rows, g))
    assert (walk(Adam(0.1), True) - walk(Adam(0.1), False)).abs().max() > 1e-3
