"""Landscapes: gradient, value and minimiser belong together; what the rules cannot see in them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.experiments.plateau_and_valley.landscapes import PlateauValley, PlateauValleyInPlane
from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp, SignDescent, descend
from stepsize.errors import HyperparameterError, ShapeError
from stepsize.quadratic import TINY, Quadratic
from stepsize.wrappers import Pooled

LAND = PlateauValley.sample(40, seed=3)
TURNED = Quadratic([1.0, 100.0], np.array([0.0, 0.3, 1.2]))
NORMALISED = [AdaGrad(0.1, eps=0.0), RMSProp(0.1, eps=0.0), Adam(0.1, eps=0.0), AMSGrad(0.1, eps=0.0), SignDescent(0.1)]


def slope_defect(land, x, h=5e-5):
    """|central difference of f - gradient| / |gradient|, along every coordinate."""
    g, worst = land.grad(x), 0.0
    for i in range(x.shape[-1]):
        e = np.zeros(x.shape[-1])
        e[i] = h
        rise = (land.f(x + e) - land.f(x - e)) / (2 * h)
        rise = rise[..., 0] if rise.shape == x.shape else rise
        worst = max(worst, (np.abs(rise - g[..., i]) / np.abs(g).max(-1)).max())
    return worst


def points(land, where):
    """Points before the lip (where < 0) and behind it, in lengths and in widths."""
    return np.where(where < 0, -land.width + where * land.length, -land.width + where * land.width + 1e-4)


@pytest.mark.parametrize("where", [-0.7, -0.01, 0.0, 0.4, 1.7, 30.0])
def test_the_gradient_is_the_slope_of_the_value(where):
    x = points(LAND, where)
    assert slope_defect(LAND, x) < 1e-5
    if where > 0:
        assert slope_defect(with_gradient("self.curvature * (x + self.width)"), x) > 1e-2


def with_gradient(valley, land=LAND):
    """`land` with another gradient behind the lip, in the operators of NumPy."""
    broken = mutant(
        PlateauValley,
        "_gradient(x, self.slope, self.curvature, self.width)",
        f"np.where(x < -self.width, -self.slope, {valley})",
    )
    return broken(**vars(land))


def test_the_compiled_gradient_is_that_of_numpy_to_the_last_bit():
    x = LAND.start * np.geomspace(1e-8, 1, 50)[:, None, None] * np.random.default_rng(7).uniform(-0.2, 1, (50, 40, 1))
    assert np.array_equal(LAND.grad(x), with_gradient("self.curvature * (x + TINY)").grad(x))


def test_the_value_is_continuous_at_the_lip_and_the_gradient_jumps_there():
    lip, h = -LAND.width, 1e-12
    assert np.abs(LAND.f(lip - h) - LAND.f(lip + h)).max() < 1e-8
    assert np.array_equal(LAND.grad(lip - h), -LAND.slope)
    assert np.abs(LAND.grad(lip) / (-LAND.curvature * LAND.width) - 1).max() < 1e-12
    assert np.abs(lip - LAND.start - LAND.length).max() < 1e-14


def test_no_point_lies_below_the_minimiser():
    x = np.linspace(-3, 3, 301)[:, None, None]
    assert (LAND.f(x) >= LAND.f(LAND.minimiser)).all()
    assert np.array_equal(LAND.f(LAND.minimiser), np.zeros((40, 1)))


def test_the_gradient_vanishes_nowhere_and_rounding_cannot_hold_a_run():
    x = np.array([1e-290, -1e-290, 1e-16, -3.0])
    assert np.array_equal(x + TINY, x)
    assert (LAND.grad(LAND.minimiser) > 0).all()
    # sign descent with a rate that divides the distance lands on 0 exactly, and has to leave it again
    land = PlateauValley(0.1, 10.0, 1.75, 0.25)
    path = descend(SignDescent(0.25), land.grad, land.start, 12)
    assert 0.0 in path.x[:, 0]
    assert (np.diff(path.x[:, 0]) != 0).all()
    still = with_gradient("self.curvature * x", land)
    assert (descend(SignDescent(0.25), still.grad, land.start, 12).x[-3:] == 0).all()


def test_a_sample_is_reproducible_inside_its_ranges_and_can_be_cut():
    again = PlateauValley.sample(40, seed=3)
    part = again[[5, 7]]
    for name, low, high in (("slope", 1e-4, 0.1), ("curvature", 10, 1e4), ("length", 2, 10), ("width", 0.01, 10**-0.5)):
        value = getattr(LAND, name)
        assert value.shape == (40, 1)
        assert low <= value.min() <= value.max() <= high
        assert np.array_equal(value, getattr(again, name))
        assert np.array_equal(value[[5, 7]], getattr(part, name))
    assert not np.array_equal(LAND.slope, PlateauValley.sample(40, seed=4).slope)


def test_a_batch_of_landscapes_equals_the_landscapes_apart():
    together = descend(Adam(0.01), LAND.grad, LAND.start, 300).x
    apart = [descend(Adam(0.01), LAND[i].grad, LAND[i].start, 300).x for i in range(40)]
    assert np.array_equal(together, np.stack(apart, 1))


@pytest.mark.parametrize("rule", NORMALISED, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("power", [-20, -3, 7])
def test_a_normalised_step_does_not_see_the_scale_of_f_to_the_last_bit(rule, power):
    scaled = replace(LAND, slope=LAND.slope * 2.0**power, curvature=LAND.curvature * 2.0**power)
    path = descend(rule, LAND.grad, LAND.start, 400).x
    assert np.array_equal(path, descend(rule, scaled.grad, LAND.start, 400).x)
    with_eps = replace(Adam(0.1), eps=1e-2)
    if power == -20:
        seen = [descend(with_eps, land.grad, LAND.start, 400).x for land in (LAND, scaled)]
        assert not np.allclose(*seen)


@pytest.mark.parametrize("rule", NORMALISED[:3], ids=lambda rule: type(rule).__name__)
def test_for_any_scale_of_f_the_paths_agree_to_rounding(rule):
    scaled = replace(LAND, slope=LAND.slope / 3, curvature=LAND.curvature / 3)
    path, other = (descend(rule, land.grad, LAND.start, 30).x for land in (LAND, scaled))
    assert np.abs(path - other).max() < 1e-9
    moved = [descend(SGD(0.01), land.grad, LAND.start, 30).x for land in (LAND, scaled)]
    assert np.abs(moved[0] - moved[1]).max() > 1e-3


def test_units_of_x_turn_into_units_of_the_rate():
    # x -> 4 x, lr -> 4 lr, curvature -> curvature / 16: the same walk, four times as large
    bowl, wide = Quadratic([3.0]), Quadratic([3.0 / 16])
    small = descend(Adam(0.5, eps=0.0), bowl.grad, [1.7], 2000).x
    large = descend(Adam(2.0, eps=0.0), wide.grad, [6.8], 2000).x
    assert np.array_equal(4 * small, large)


def plane_defect(land):
    """|central difference of f - gradient| / |gradient| of landscapes in the plane, away from the lip."""
    x, h, worst = land.start * np.array([[[0.9]], [[0.5]]]), 1e-6, 0.0
    g = land.grad(x)
    for i in range(2):
        e = h * np.eye(2)[i]
        worst = max(worst, np.abs((land.f(x + e) - land.f(x - e)) / (2 * h) - g[..., i]).max() / np.abs(g).max())
    return worst


def test_a_plateau_and_valley_in_the_plane_is_the_sum_of_its_two_directions():
    land = PlateauValleyInPlane.sample(12, 5, [0, 30])
    assert land.start.shape == (2, 12, 2)
    assert np.array_equal(land.start[0], np.concatenate([land.along.start, land.offset], -1))
    assert (np.abs(land.offset) <= land.along.length).all()
    assert np.abs(np.linalg.norm(land.start[1], axis=-1) / np.linalg.norm(land.start[0], axis=-1) - 1).max() < 1e-14
    assert plane_defect(land) < 1e-6
    assert plane_defect(mutant(PlateauValleyInPlane, "c * b - s * a", "c * b + s * a")(**vars(land))) > 0.1
    assert plane_defect(mutant(PlateauValleyInPlane, "s * a + c * b", "c * b - s * a")(**vars(land))) > 1e-4
    in_the_middle = np.zeros((2, 12, 2))
    assert land.settled(in_the_middle).all()
    assert not land.settled(in_the_middle + 0.1 * land.along.width).any()
    again = PlateauValleyInPlane.sample(12, 5)
    assert np.array_equal(again.across.curvature, land.across.curvature)
    assert ((again.across.curvature >= 1) & (again.across.curvature <= 100)).all()


def test_in_the_plane_a_rule_with_one_rate_turns_along_and_adam_does_not():
    land = PlateauValleyInPlane.sample(6, 5, [0, 30])
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    for rule, turns in ((Pooled(Adam(0.01, eps=0.0)), True), (Adam(0.01, eps=0.0), False)):
        x = descend(rule, land.grad, land.start, 200).x
        straight = np.stack([c * x[:, 0, :, 0] - s * x[:, 0, :, 1], s * x[:, 0, :, 0] + c * x[:, 0, :, 1]], -1)
        defect = np.abs(x[:, 1] - straight).max()
        assert defect < 1e-9 if turns else defect > 1e-2


@given(angle=st.floats(-7, 7), a=st.floats(-5, 5), b=st.floats(-5, 5))
def test_turning_leaves_curvatures_and_lengths_alone(angle, a, b):
    land = Quadratic([1.0, 100.0], angle)
    hessian = np.stack([land.grad(np.array([1.0, 0])), land.grad(np.array([0, 1.0]))])
    assert np.abs(np.linalg.eigvalsh(hessian) - [1, 100]).max() < 1e-10
    x = np.array([a, b])
    assert abs(land.f(x) - x @ hessian @ x / 2) < 1e-8
    assert land.condition == 100


def test_the_gradient_of_a_turned_valley_is_its_slope():
    x = np.random.default_rng(0).normal(size=(9, 3, 2))
    assert slope_defect(TURNED, x) < 1e-7
    broken = mutant(Quadratic, "cross * a", "-cross * a")
    assert slope_defect(broken(**vars(TURNED)), x) > 0.1
    assert np.array_equal(Quadratic([2.0, 3.0, 5.0]).grad(np.ones(3)), [2, 3, 5])


@pytest.mark.parametrize("memory", ["C", "F"])
def test_the_order_of_memory_changes_nothing_and_is_kept(memory):
    x = np.random.default_rng(1).normal(size=(3, 50, 2))
    land = Quadratic(TURNED.curvature, TURNED.angle[:, None])
    g = land.grad(np.asarray(x, order=memory))
    assert np.array_equal(g, land.grad(x))
    assert g.flags[f"{memory}_CONTIGUOUS"]


@pytest.mark.parametrize(
    ("rule", "turns"),
    [
        (SGD(0.005), True),
        (HeavyBall(0.005), True),
        (Pooled(Adam(0.05)), True),
        (Pooled(AdaGrad(0.5)), True),
        (Pooled(AMSGrad(0.05)), True),
        (Adam(0.05), False),
        (AdaGrad(0.5), False),
    ],
    ids=lambda value: type(getattr(value, "rule", value)).__name__,
)
def test_a_rule_with_one_rate_turns_along_with_the_valley(rule, turns):
    c, s = np.cos(TURNED.angle), np.sin(TURNED.angle)
    turn = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    x0 = np.array([0.6, 0.8])
    straight = descend(rule, Quadratic(TURNED.curvature).grad, x0, 200).x
    turned = descend(rule, TURNED.grad, turn @ x0, 200).x
    defect = np.abs(turned - np.einsum("kij,tj->tki", turn, straight)).max()
    assert defect < 1e-11 if turns else defect > 1e-3


def test_with_one_coordinate_one_rate_is_the_rule_itself():
    for rule in (AdaGrad(0.1), RMSProp(0.1), Adam(0.1), AMSGrad(0.1)):
        paths = [descend(r, LAND.grad, LAND.start, 500).x for r in (rule, Pooled(rule))]
        assert np.array_equal(*paths)
    two = Quadratic([1.0, 100.0])
    each, one = (descend(r, two.grad, [1.0, 1.0], 50).x for r in (Adam(0.1), Pooled(Adam(0.1))))
    assert np.abs(each - one).max() > 0.01
    split = mutant(Pooled, "rms(g)", "rms(g) * g.shape[-1] ** 0.5")(Adam(0.1, eps=0.0))
    both = [descend(r, lambda x, t: np.ones(2), [1.0, 1.0], 9).x for r in (split, Pooled(Adam(0.1, eps=0.0)))]
    assert np.abs(both[0] - both[1]).max() > 0.01


@pytest.mark.parametrize(
    ("field", "value"), [("slope", 0.0), ("width", -1.0), ("curvature", np.nan), ("length", np.inf)]
)
def test_a_landscape_that_is_none_is_refused(field, value):
    with pytest.raises(HyperparameterError, match=field):
        PlateauValley(**({"slope": 1.0, "curvature": 1.0, "length": 1.0, "width": 1.0} | {field: value}))


def test_a_turned_valley_needs_two_coordinates():
    for curvature, angle in ((3.0, 0.0), ([3.0], 0.1)):
        with pytest.raises(ShapeError, match="curvature"):
            Quadratic(curvature, angle)
    with pytest.raises(HyperparameterError, match="angle"):
        Quadratic([1.0, 2.0], np.nan)
