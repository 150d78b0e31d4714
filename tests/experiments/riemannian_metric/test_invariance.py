"""Which preconditioner walks the same path under which change of the problem: the whole table."""

import numpy as np
import pytest

from companion.experiments.riemannian_metric import invariance
from companion.experiments.riemannian_metric.invariance import (
    PRECONDITIONERS,
    Action,
    Problem,
    actions,
    defect,
    logistic_problem,
)
from mutants import mutant
from stepsize import Adam
from stepsize.errors import ShapeError

RATES = dict(zip(PRECONDITIONERS, invariance.RATES, strict=True))
#                 loss   signs  units  rotation affine
TABLE = {
    "1 (gradient descent)": "0 1 0 1 0",
    "diag v^¼": "0 1 0 0 0",
    "diag v^½ (Adam)": "1 1 0 0 0",
    "diag v^¾": "0 1 0 0 0",
    "diag v": "0 1 1 0 0",
    "full V^½ (AdaGrad type)": "1 1 0 1 0",
    "full V": "0 1 1 1 1",
    "Fisher (natural gradient)": "0 1 1 1 1",
}


@pytest.fixture(scope="module")
def problem():
    return logistic_problem(range(20), 0)


def row(name, problem, steps=50):
    group = actions(np.random.default_rng(1), *problem.x0.shape)
    return [defect(lambda p: PRECONDITIONERS[name](p, RATES[name]), problem, a, steps) for a in group]


@pytest.mark.parametrize("name", TABLE)
def test_fifty_steps_are_invariant_exactly_where_the_theorem_says(name, problem):
    for kept, measured in zip(TABLE[name].split(), row(name, problem), strict=True):
        if kept == "1":
            assert measured.max() < 1e-12
        else:
            assert measured.min() > 1e-2


def test_permutations_and_signs_change_no_bit_of_a_diagonal_rule(problem):
    for name in list(TABLE)[:5]:
        assert row(name, problem)[1].max() == 0


@pytest.mark.parametrize(
    ("old", "new", "name", "column"),
    [
        (
            "action.scale * apply(transposed, self.grad(action.point(phi), t))",
            "apply(transposed, self.grad(action.point(phi), t))",
            "diag v",
            0,
        ),
        (
            "apply(transposed, self.grad(action.point(phi), t))",
            "apply(A, self.grad(action.point(phi), t))",
            "full V",
            4,
        ),
        ("pull_back(self.metric(action.point(phi)), A)", "self.metric(phi)", "Fisher (natural gradient)", 4),
        ("action.coordinates(self.probes)", "self.probes", "full V", 4),
    ],
)
def test_a_wrong_change_of_coordinates_turns_its_cell_of_the_table(old, new, name, column, problem):
    expected = TABLE[name].split()[column] == "1"
    measured = row(name, mutant(Problem, old, new)(*problem), steps=20)[column]
    assert (measured.max() < 1e-12) != expected


def test_eps_costs_the_invariance_to_the_scale_of_the_loss(problem):
    tiny = Action("loss × 1e-6", np.eye(6), np.zeros(6), 1e-6)
    exact = defect(lambda p: Adam(0.02, eps=0.0), problem, tiny, 50)
    usual = defect(lambda p: Adam(0.02, eps=1e-8), problem, tiny, 50)
    assert exact.max() < 1e-12
    assert usual.min() > 1e-3


def test_adam_ignores_a_rescaled_gradient_but_not_rescaled_parameters(problem):
    units = np.exp(np.linspace(-1, 1, 6))
    rule = Adam(0.02, eps=0.0)
    g = np.random.default_rng(0).standard_normal(6)
    step, scaled = (np.prod(rule.step(rule.init(g), a, g)[1:], axis=0) for a in (g, units * g))
    assert np.abs(step - scaled).max() < 1e-16
    assert np.abs(units * scaled - step).max() > 0.01


def test_an_action_and_its_inverse_are_the_identity():
    for action in actions(np.random.default_rng(0), 7, 4):
        x = np.random.default_rng(1).standard_normal((7, 4))
        assert np.abs(action.point(action.coordinates(x)) - x).max() < 1e-13


def test_paths_of_different_shape_are_refused(problem):
    with pytest.raises(ShapeError, match="one per run"):
        defect(lambda p: Adam(), problem, Action("two", np.broadcast_to(np.eye(6), (2, 6, 6)), np.zeros(6)), 2)
