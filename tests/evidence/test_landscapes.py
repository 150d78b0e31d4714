"""The explorer's landscapes are those of the chapters, their gradients are derivatives, and their noise has its law."""

import numpy as np
import pytest
from scipy import stats

from companion.evidence import landscapes as module
from companion.evidence.landscapes import KINDS, LANDSCAPES, OUTLIER, SPIKES, Noise, draws, normals, uniform
from companion.experiments.adversarial_training.bilinear_game import Bilinear
from companion.experiments.plateau_and_valley.landscapes import PlateauValley
from companion.experiments.poisson_bursts.streams import gradient
from mutants import mutant
from stepsize.errors import EvidenceError
from stepsize.quadratic import Quadratic

QUIET = Noise()
POINTS = np.random.default_rng(0).uniform(-2, 2, (50, 2))


def quiet(name, **values):
    return LANDSCAPES[name].at(QUIET, **values)


@pytest.mark.parametrize("name", [n for n, land in LANDSCAPES.items() if land.forces is None])
def test_the_gradient_is_the_derivative_of_the_loss(name):
    land, h = quiet(name), 1e-6
    x = POINTS[:, : land.d] * np.array(
        [float(s.subs(symbols(land)) if hasattr(s, "subs") else s) for s in land.scale[: land.d]]
    )
    step = h * np.eye(land.d)
    numerical = np.stack([(land.loss(x + e) - land.loss(x - e)) / (2 * h) for e in step], -1)
    np.testing.assert_allclose(land.grad(x), numerical, rtol=1e-5, atol=1e-5)


def symbols(land):
    return {module.parameter(name): value for name, value in land.values.items()}


@pytest.mark.parametrize("name", LANDSCAPES)
def test_no_loss_is_negative(name):
    land = quiet(name)
    assert land.loss(POINTS[:, : land.d]).min() >= 0


def test_the_valley_is_the_library_s_quadratic():
    for condition, turn in ((1.0, 0.0), (100.0, 20.0), (1e4, 45.0)):
        theirs = Quadratic([1.0, condition], np.radians(turn))
        ours = quiet("valley", condition=condition, turn=turn)
        np.testing.assert_allclose(ours.loss(POINTS), theirs.f(POINTS), rtol=1e-11)
        np.testing.assert_allclose(ours.grad(POINTS), theirs.grad(POINTS), rtol=1e-9, atol=1e-9)


def test_the_plateau_is_the_chapter_s():
    values = {"slope": 0.02, "curvature": 300.0, "width": 0.4}
    theirs, ours, x = PlateauValley(length=3.0, **values), quiet("plateau", **values), POINTS[:, :1]
    np.testing.assert_allclose(ours.loss(x), theirs.f(x)[:, 0], rtol=1e-12)
    np.testing.assert_allclose(ours.grad(x), theirs.grad(x), rtol=1e-12)


def test_the_game_is_the_chapter_s():
    np.testing.assert_array_equal(quiet("game", strength=2.0).grad(POINTS), Bilinear(2.0)(POINTS))


def test_the_gradient_of_a_count_is_the_chapter_s():
    land = LANDSCAPES["counts"].at(Noise("counts", 0.0, 5), base=0.5)
    for t in (0, 2000, 2050, 2100):
        y = land.values["base"] - draws(land.noise, t, land.values)
        theirs = [gradient(np.array([theta]), np.ones(1), count)[0] for theta, count in zip(POINTS[0], y, strict=True)]
        np.testing.assert_allclose(land.grad(POINTS[0], t), theirs, rtol=1e-12)
        assert np.array_equal(y, y.astype(int))


def test_the_rare_coordinate_has_a_gradient_at_one_step_in_t():
    land = quiet("rare", every=7)
    seen = [land.grad(np.zeros(2), t)[1] != 0 for t in range(70)]
    assert [t for t, s in enumerate(seen) if s] == list(range(6, 70, 7))


def test_the_hash_is_uniform_and_its_draws_are_independent():
    # three tests at 1e-4: a false alarm in 3000 seeds, and the seed is fixed
    u = np.array([uniform(7, t, np.arange(3)) for t in range(5000)])
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-4
    assert stats.kstest(np.array([normals(7, t) for t in range(5000)]).ravel(), "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(np.c_[u[:-1], u[1:]].T) - np.eye(6)).max() < 4 / 5000**0.5


def test_a_hash_without_a_round_is_noticed(monkeypatch):
    monkeypatch.setattr(module, "_hash", mutant(module._hash, "(h ^ (h >> np.uint32(13)))", "(h & np.uint32(1))"))
    u = np.array([module.uniform(7, t, np.arange(3)) for t in range(5000)])
    assert stats.kstest(u.ravel(), "uniform").pvalue < 1e-9


def test_heavy_tails_are_student_s_with_two_degrees_of_freedom():
    sample = np.array([draws(Noise("tails", 2.0, 3), t, {}) for t in range(4000)])
    assert stats.kstest(sample.ravel() / 2, stats.t(2).cdf).pvalue > 1e-4


def test_spikes_and_the_outlier_hit_the_whole_vector():
    plain, spiky, one = (
        np.array([draws(Noise(kind, 1.0, 2), t, {}) for t in range(2000)]) for kind in ("normal", "spikes", "outlier")
    )
    factor = spiky / plain
    assert set(np.unique(factor.round(6))) == {1.0, SPIKES[1]}
    assert np.array_equal(factor[:, 0].round(6), factor[:, 1].round(6))
    assert stats.binomtest(int((factor[:, 0] > 2).sum()), 2000, SPIKES[0]).pvalue > 1e-4
    assert np.flatnonzero((one / plain)[:, 0] > 2).tolist() == [OUTLIER[0]]


def test_counts_are_poisson_with_a_burst():
    values = LANDSCAPES["counts"].values
    y = values["base"] - np.array([draws(Noise("counts", 0.0, 4), t, values) for t in range(4000)])
    burst = slice(int(values["begin"]), int(values["begin"] + values["length"]))
    mean, twin = y[burst].mean(0)
    assert mean == pytest.approx(values["base"] * values["burst"], abs=4 * (30 / 100) ** 0.5)
    assert twin == pytest.approx(values["base"], abs=4 * (0.5 / 100) ** 0.5)
    assert y[:2000].mean() == pytest.approx(values["base"], abs=4 * (0.5 / 4000) ** 0.5)


def test_every_kind_of_noise_has_its_draws():
    values = LANDSCAPES["counts"].values
    assert all(np.isfinite(draws(Noise(kind, 1.0, 1), 100, values)).all() for kind in KINDS)


def test_an_unknown_parameter_is_refused():
    with pytest.raises(EvidenceError, match="no parameter 'depth'; it has condition, turn"):
        LANDSCAPES["valley"].at(depth=1)


def test_every_formula_is_set_by_the_browser():
    for land in LANDSCAPES.values():
        formula = land.data()["formula"]
        assert formula.startswith("<math")
        assert formula.endswith("</math>")
        assert "InvisibleTimes" not in formula
        assert "piecewise" not in formula.lower()
