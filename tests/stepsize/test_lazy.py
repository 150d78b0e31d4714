"""A row is a run: what lazy rules share with dense ones, what they lose, and how it can be paid back."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, HeavyBall, RMSProp, descend, lazy
from stepsize.contract import leaves
from stepsize.errors import HyperparameterError, ShapeError
from stepsize.lazy import GapScaled, IdleAdam, IdleHeavyBall, IdleRMSProp, Replayed, SharedClock
from stepsize.responses import reach
from stepsize.tables import Table

ROWS, D, STEPS = 40, 3, 700


@cache
def visits(seed=0, rows=ROWS):
    """Active rows by Zipf's law, and gradients that span six powers of ten."""
    rng, p, each = np.random.default_rng(seed), 1 / np.arange(1, rows + 1), []
    for _ in range(STEPS):
        active = np.unique(rng.choice(rows, 5, p=p / p.sum()))
        each.append((active, rng.normal(size=(len(active), D)) * 10 ** rng.uniform(-3, 3, (len(active), 1))))
    return each


def lazily(rule, **kwargs):
    table = Table(rule, np.zeros((kwargs.get("rows", ROWS), D)))
    for active, g in visits(**kwargs):
        table.read(active)
        table.step(active, g)
    return table.settle().copy()


def densely(make, **kwargs):
    p = nn.Parameter(torch.zeros(kwargs.get("rows", ROWS), D, dtype=torch.float64))
    optimizer = make([p])
    for active, g in visits(**kwargs):
        p.grad = torch.zeros_like(p)
        p.grad[torch.as_tensor(active)] = torch.as_tensor(g)
        optimizer.step()
    return p.detach().numpy()


def sparsely(make, **kwargs):
    p = nn.Parameter(torch.zeros(ROWS, D, dtype=torch.float64))
    optimizer = make([p])
    for active, g in visits(**kwargs):
        p.grad = torch.sparse_coo_tensor(
            torch.as_tensor(active)[None], torch.as_tensor(g), p.shape, check_invariants=True
        )
        optimizer.step()
    return p.detach().numpy()


def apart(a, b):
    return np.abs(a - b).max() / np.maximum(1, np.abs(b).max())


# ---------------------------------------------------------------- which rules may be lazy


def test_lazy_adagrad_is_dense_adagrad():
    dense = densely(lambda ps: torch.optim.Adagrad(ps, 0.1))
    assert apart(lazily(AdaGrad(0.1)), dense) <= 1e-15
    assert apart(lazily(mutant(AdaGrad, "s + g * g", "0.999 * s + g * g")(0.1)), dense) > 1e-3


def test_lazy_sgd_is_dense_sgd():
    assert apart(lazily(SGD(0.1)), densely(lambda ps: torch.optim.SGD(ps, 0.1))) <= 1e-15


def test_lazy_adam_is_not_dense_adam():
    dense = densely(lambda ps: torch.optim.Adam(ps, 1.0))
    assert np.abs(lazily(Adam(1.0)) - dense).max() > 10
    assert np.abs(lazily(SharedClock(1.0)) - dense).max() > 10


@pytest.mark.parametrize("seed", range(3))
def test_a_shared_clock_makes_torchs_sparse_adam(seed):
    theirs = sparsely(lambda ps: torch.optim.SparseAdam(ps, 0.1), seed=seed)
    assert apart(lazily(SharedClock(0.1), seed=seed), theirs) <= 1e-12
    assert apart(lazily(Adam(0.1), seed=seed), theirs) > 1e-2


@pytest.mark.parametrize(
    ("method", "old", "new"),
    [
        ("idle", "wait(a, b, gap).weight", "a.weight"),
        ("step", "self.lr * sqrt(v.weight) / (sqrt(v.total) + self.eps)", "self.lr / (sqrt(v.mean) + self.eps)"),
    ],
)
def test_a_shared_clock_that_stands_or_another_place_of_eps_is_caught(method, old, new):
    theirs = sparsely(lambda ps: torch.optim.SparseAdam(ps, 0.1, eps=1e-3))
    assert apart(lazily(SharedClock(0.1, eps=1e-3)), theirs) <= 1e-12
    assert apart(lazily(mutant(SharedClock, old, new)(0.1, eps=1e-3)), theirs) > 1e-6


# ---------------------------------------------------------------- debts paid


def test_replayed_adam_is_torchs_dense_adam():
    dense = densely(lambda ps: torch.optim.Adam(ps, 0.1))
    assert apart(lazily(Replayed(Adam(0.1))), dense) <= 1e-12
    assert apart(lazily(mutant(Replayed, "gap > k", "gap > k + 1")(Adam(0.1))), dense) > 1e-3


CLOSED = {
    "RMSProp": (IdleRMSProp(0.1), lambda ps: torch.optim.RMSprop(ps, 0.1)),
    "heavy ball": (IdleHeavyBall(0.1), lambda ps: torch.optim.SGD(ps, 0.1, momentum=0.9)),
    "Adam": (IdleAdam(0.1), lambda ps: torch.optim.Adam(ps, 0.1, eps=0.0)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_idle_steps_in_closed_form_make_the_dense_rule(name):
    rule, dense = CLOSED[name]

    def whole(ps):  # without eps torch divides 0 by 0 where a row was never seen
        optimizer = dense(ps)
        optimizer.register_step_post_hook(lambda *_: [p.data.nan_to_num_(0.0) for p in ps])
        return optimizer

    assert apart(lazily(rule, rows=12), densely(whole, rows=12)) <= 1e-12


@cache
def replayed(rule):
    plain = {IdleRMSProp: RMSProp(0.1), IdleHeavyBall: HeavyBall(0.1), IdleAdam: Adam(0.1, eps=lazy.TINY)}
    return lazily(Replayed(plain[rule]))


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        (IdleRMSProp, "v * self.beta**gap", "v"),
        (IdleHeavyBall, "b * left", "b"),
        (IdleHeavyBall, "1 - self.momentum", "1"),
        (IdleAdam, "rho**gap", "1"),
        (IdleAdam, "state.t + gap", "state.t"),
        (IdleAdam, "wait(state.v, self.beta2, gap)", "state.v"),
    ],
)
def test_a_debt_reckoned_wrongly_is_caught(rule, old, new):
    assert apart(lazily(rule(0.1)), replayed(rule)) <= 1e-12
    assert apart(lazily(mutant(rule, old, new)(0.1)), replayed(rule)) > 1e-6


@pytest.mark.parametrize(
    "rule", [SharedClock(0.1), IdleRMSProp(0.1), IdleHeavyBall(0.1), IdleAdam(0.1), GapScaled(0.1)]
)
def test_idle_times_add_up(rule):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, D))
    state, *_ = rule.step(rule.init(x), rng.normal(size=x.shape), x)
    gap = np.array([[0.0], [1], [7], [400], [2000]])
    once, twice = rule.idle(state, x, gap + 30), rule.idle(*rule.idle(state, x, gap), 30.0)
    for (_, a), (_, b) in zip(leaves(once[0]), leaves(twice[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(once[1], twice[1], rtol=1e-12)


# ---------------------------------------------------------------- how far one visit leads


def journey(rule, start, steps=600, g=1.0, quiet=60_000):
    """Displacement, in units of lr, after one gradient g to a row at rest and `steps` zeros; the table has run for `quiet` steps."""
    state, x = rule.init(np.zeros(1)), np.zeros(1)
    state, x = start(state, quiet), x
    moved = []
    for t in range(steps):
        state, rate, direction = rule.step(state, np.full(1, g if t == 0 else 0.0), x)
        x = x - rate * direction
        moved.append(-x[0])
    return np.array(moved)


def warm(state, quiet):
    return type(state)(*(lazy.wait(a, b, quiet) for a, b in zip(state, (0.9, 0.999), strict=True)))


@pytest.mark.parametrize("g", [1e-3, 1.0, 1e3])
def test_a_warm_dense_adam_moves_31_77_rates_on_one_gradient_nine_tenths_of_them_at_gradient_zero(g):
    rho = 0.9 / 0.999**0.5
    way = journey(Adam(1.0, eps=0.0), warm, g=g)
    whole = 0.1 / 0.001**0.5 / (1 - rho)
    assert whole == pytest.approx(31.7656, abs=5e-4)
    assert way[-1] == pytest.approx(whole, rel=1e-12)
    assert way[0] == pytest.approx(0.1 / 0.001**0.5, rel=1e-12)  # 3.16
    assert 1 - way[0] / way[-1] == pytest.approx(rho, rel=1e-12)
    assert reach(1e5) == pytest.approx(whole, rel=1e-12)


def test_lazy_adam_moves_1_rate_on_its_own_clock_and_3_16_on_a_shared_one():
    own = journey(Adam(1.0, eps=0.0), lambda s, _: s, steps=1)
    shared = journey(SharedClock(1.0, eps=0.0), warm, steps=1)
    assert own[0] == pytest.approx(1.0, rel=1e-12)
    assert shared[0] == pytest.approx(0.1 / 0.001**0.5, rel=1e-12)


def test_dense_adam_moves_reach_of_the_gap_between_two_visits():
    """A gradient of 1 at every T-th step, until the past is forgotten; walked without a closed form, all T at once."""
    gaps, steps = np.array([1, 2, 10, 100, 1000, 3000]), 33_000
    path = descend(Adam(1.0, eps=0.0), lambda x, t: (t % gaps == 0)[:, None] * 1.0, np.zeros((len(gaps), 1)), steps)
    last = (steps // gaps) * gaps
    moved = [path.x[t - gap, k, 0] - path.x[t, k, 0] for k, (t, gap) in enumerate(zip(last, gaps, strict=True))]
    np.testing.assert_allclose(moved, reach(gaps), rtol=1e-12)
    for wrong in (
        mutant(reach, "1 - rho**gap", "1.0"),
        mutant(reach, "((1 - beta2**gap) / (1 - beta2)) ** 0.5", "(1 - beta2**gap) / (1 - beta2)"),
    ):
        assert not np.allclose(moved, wrong(gaps), rtol=1e-6)


def test_the_way_between_visits_grows_with_the_root_of_the_gap_up_to_the_memory():
    gaps = np.array([1, 2, 5, 10])
    np.testing.assert_allclose(reach(gaps) / np.sqrt(gaps), 1, atol=0.01)
    assert reach(100) / 10 == pytest.approx(0.98, abs=0.01)
    assert reach(1000) / np.sqrt(1000) == pytest.approx(0.80, abs=0.01)


def test_the_gap_factor_moves_a_row_as_far_as_dense_adam_would():
    for gap in (1, 20, 300, 5000):
        table = Table(GapScaled(1.0, eps=0.0), np.zeros((2, 1)))
        for _ in range(3):
            for _ in range(gap - 1):
                table.step(np.array([1]), np.ones((1, 1)))
            before = table.x[0, 0]
            table.step(np.array([0]), np.ones((1, 1)))
        assert before - table.x[0, 0] == pytest.approx(reach(gap), rel=1e-12)


# ---------------------------------------------------------------- the table


def test_untouched_rows_do_not_change_by_a_bit():
    start = np.random.default_rng(1).normal(size=(9, D))
    table = Table(Adam(0.1), start.copy())
    memory = [leaf.copy() for leaf in table.memory]
    table.step(np.array([4, 2]), np.ones((2, D)))
    rest = np.setdiff1d(np.arange(9), [4, 2])
    assert (table.x[rest] == start[rest]).all()
    assert all((a[rest] == b[rest]).all() for a, b in zip(table.memory, memory, strict=True))


@pytest.mark.parametrize("rule", [AdaGrad, IdleHeavyBall, IdleAdam])
def test_a_learning_rate_may_differ_from_row_to_row(rule):
    lr = np.linspace(0.05, 0.2, ROWS)[:, None]
    found = lazily(rule(lr))
    for row in (0, 7, ROWS - 1):
        assert apart(found[row], lazily(rule(lr[row, 0]))[row]) <= 1e-14


def test_a_table_refuses_what_it_cannot_step():
    table = Table(Adam(), np.zeros((4, 2)))
    with pytest.raises(ShapeError, match="named twice"):
        table.step([2, 1, 2], np.zeros((3, 2)))
    for row in (4, -1):
        with pytest.raises(ShapeError, match=r"must lie in 0 \.\.\. 3"):
            table.step([row], np.zeros((1, 2)))
    table.step([2, 1], np.ones((2, 2)))  # a refused step leaves no trace
    assert (table.x[:, 0] != 0).tolist() == [False, True, True, False]
    with pytest.raises(ShapeError, match="got gradients of shape"):
        table.step([1], np.zeros((1, 3)))
    with pytest.raises(ShapeError, match="contiguous"):
        Table(Adam(), np.zeros((4, 2)).T)


def test_idle_adam_asks_for_what_its_sum_needs():
    with pytest.raises(HyperparameterError, match="beta1 < sqrt"):
        IdleAdam(beta1=0.9, beta2=0.8)
