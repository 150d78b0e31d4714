"""A watch sees the rates and directions with which the optimizer steps, and changes nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from stepsize import SGD, SOAP, Adam, ClipByNorm, Decoupled, chain
from stepsize.errors import HyperparameterError
from stepsize.optim import Optimizer
from stepsize.watch import watch


def trained(rule, steps=12, every=None, **how):
    rng = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, generator=rng, dtype=torch.float64)) for shape in ((3, 4), (2, 5))]
    optimizer = Optimizer([("first", params[0]), ("second", params[1])], rule, **how)
    seen = every and watch(optimizer, every, levels=(0, 0.5, 1))
    for _ in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=rng, dtype=torch.float64)
        optimizer.step()
    return params, seen


@pytest.mark.parametrize("rule", [Decoupled(Adam(0.1), 0.1), chain(ClipByNorm(1.0), SGD(0.1)), SOAP(0.1)])
def test_rate_times_direction_is_what_the_step_subtracts(rule):
    params, _ = trained(rule, 5)
    optimizer = Optimizer(params, rule)
    for _ in range(4):
        for p in params:
            x, rate, direction = optimizer.next_step(p)
            before = p.detach().clone()
            assert torch.equal(x, before)
            assert rate.shape == direction.shape == p.shape
            optimizer.step()
            torch.testing.assert_close(before - rate * direction, p.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("compiled", [None, False])
def test_a_training_is_the_same_with_a_watch_and_without(compiled):
    watched, seen = trained(Adam(0.1), every=5, compiled=compiled)
    assert all(torch.equal(p, q) for p, q in zip(watched, trained(Adam(0.1), compiled=compiled)[0], strict=True))
    assert [(row.step, row.parameter) for row in seen.rows] == [
        (step, f"parameter {name!r}") for step in (0, 5, 10) for name in ("first", "second")
    ]


def test_quantiles_are_those_of_the_coordinates():
    p = nn.Parameter(torch.tensor([1.0, -2.0, 0.0, 8.0], dtype=torch.float64))
    optimizer = Optimizer([p], SGD(0.5))
    seen = watch(optimizer, levels=(0, 1 / 3, 1))
    p.grad = torch.tensor([2.0, -1.0, 4.0, 0.0], dtype=torch.float64)
    optimizer.step()
    (row,) = seen.rows
    assert (row.rate, row.direction, row.change) == ((0.5, 0.5, 0.5), (0.0, 1.0, 4.0), (0.0, 0.25, np.inf))
    seen.remove()
    for _ in range(200):
        optimizer.step()
    assert len(seen.rows) == 1


def test_the_first_step_of_adam_has_the_rate_that_makes_it_lr_whatever_the_gradient():
    p = nn.Parameter(torch.zeros(5, 2))
    p.grad = torch.sparse_coo_tensor([[3, 1, 3]], torch.full((3, 2), 4.0), (5, 2), check_invariants=True)
    optimizer = Optimizer([p], Adam(0.1))
    seen = watch(optimizer, levels=(0, 1))
    optimizer.step()
    (row,) = seen.rows
    assert row.direction == pytest.approx((4, 8), rel=1e-6)
    assert row.rate == pytest.approx((0.1 / 8, 0.1 / 4), rel=1e-6)
    x, rate, direction = optimizer.next_step(p)
    assert x.shape == rate.shape == direction.shape == (2, 2)


def test_a_watch_that_cannot_look_is_refused():
    optimizer = Optimizer([nn.Parameter(torch.ones(1))], SGD())
    for every, levels in ((0, (0.5,)), (1, (50,))):
        with pytest.raises(HyperparameterError, match="every >= 1 and levels in"):
            watch(optimizer, every, levels)
