"""A watch sees the rates and directions with which the optimizer steps, and changes nothing."""

from functools import partial
from time import process_time
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from stepsize import SGD, SOAP, Adam, ClipByNorm, Decoupled, chain
from stepsize.errors import HyperparameterError
from stepsize.optim import Optimizer
from stepsize.watch import SAMPLE, watch


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
        (step, name) for step in (0, 5, 10) for name in ("first", "second")
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


def one_look(x, g, rule=None, **settings):
    optimizer = Optimizer([nn.Parameter(x)], rule or SGD(1.0))
    seen = watch(optimizer, **settings)
    optimizer.param_groups[0]["params"][0].grad = g
    optimizer.step()
    return seen


def test_a_weight_of_zero_that_does_not_move_has_not_changed():
    assert one_look(torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])).rows[0].change == (0, 0, np.inf)


def test_a_gradient_that_is_not_a_number_is_seen_at_every_level():
    (row,) = one_look(torch.ones(5), torch.tensor([1.0, 2.0, np.nan, 3.0, 4.0])).rows
    assert np.isnan([row.direction, row.change]).all()
    assert row.rate == (1, 1, 1)


@pytest.mark.parametrize("shape", [(SAMPLE,), (3, SAMPLE)])
def test_quantiles_of_a_large_parameter_are_those_of_a_sample(shape):
    g = torch.linspace(0, 1, int(np.prod(shape)), dtype=torch.float64).reshape(shape)
    levels = np.array([0.05, 0.5, 0.95])
    error = np.subtract(one_look(torch.ones_like(g), g, levels=levels).rows[0].direction, levels)
    deviations = np.sqrt(levels * (1 - levels) / SAMPLE)
    assert (np.abs(error) < 4.5 * deviations).all()  # for a sample's three levels: a chance of 2e-5 of a false alarm
    assert (np.abs(error).max() < 1 / SAMPLE) == (len(shape) == 1)  # all of one that is small enough


def test_a_writer_gets_every_quantile_when_it_is_seen():
    scalars = {}
    writer = SimpleNamespace(add_scalar=lambda tag, value, step: scalars.update({(tag, step): value}))
    seen = one_look(torch.full((4,), 2.0), torch.arange(4.0), levels=(0, 1), writer=writer)
    name = "parameter 0 of group 0"
    assert scalars == {
        (f"{quantity}/{name}/{level}", 0): value
        for quantity, values in (("rate", (1, 1)), ("direction", (0, 3)), ("change", (0, 1.5)))
        for level, value in enumerate(values)
    }
    assert seen.rows[0].change == (0, 1.5)


def test_a_figure_has_a_line_for_each_parameter_or_for_those_that_are_chosen():
    _, seen = trained(Adam(0.1), every=5)
    axes = seen.plot(plt.figure().subplots())
    assert [line.get_label() for line in axes.lines] == ["first", "second"]
    for line in axes.lines:
        middle = [(row.step, row.rate[1]) for row in seen.rows if row.parameter == line.get_label()]
        np.testing.assert_array_equal(line.get_xydata(), middle)
    axes = seen.plot(plt.figure().subplots(), "change", {"second": {"label": "head", "ls": "--"}})
    (line,) = axes.lines
    assert (line.get_label(), line.get_linestyle(), axes.get_ylabel()) == ("head", "--", "|step| / |x|")
    np.testing.assert_array_equal(line.get_ydata(), [row.change[1] for row in seen.rows[1::2]])
    plt.close("all")


def test_a_watch_that_is_removed_leaves_no_hook():
    optimizer = Optimizer([nn.Parameter(torch.ones(1))], SGD())
    watch(optimizer).remove()
    assert not optimizer._optimizer_step_pre_hooks


def test_a_look_costs_little_of_a_hundred_steps():
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = Optimizer(model.parameters(), Adam())
    seen, batch = watch(optimizer), torch.ones(32, 64)

    def train():
        for _ in range(100):
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()

    def seconds(work):
        start = process_time()
        work()
        return process_time() - start

    train()
    steps, looks = [], []
    for _ in range(5):
        looks.append(seconds(partial(seen._before, optimizer, (), {})))
        seen.step = 1
        steps.append(seconds(train))
        seen.step = 0
    assert min(looks) < 0.2 * min(steps)  # 0.03 on a quiet machine


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
    for every, levels in ((0, (0.5,)), (1, (50,)), (1, ())):
        with pytest.raises(HyperparameterError, match="every >= 1 and levels in"):
            watch(optimizer, every, levels)
