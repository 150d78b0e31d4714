"""The rows of the claims and the numbers of the prose are made of the right samples."""

from types import SimpleNamespace

import numpy as np
import pytest

from companion.evidence.intervals import exact
from companion.experiments.riemannian_metric import half_plane, rows
from companion.experiments.riemannian_metric.natural_gradient import KINDS, batch_moments, regression, spread
from mutants import mutant

RUNS = 6
OFF = np.linspace(0.0, 1.0, RUNS)


def degrees(**euclid):
    """{direction: (2, RUNS)} with these mean degrees in Euclid's metric, and others in the Fisher metric."""
    words = {"sgd": "SGD", "adam": "Adam, g / √v", "best": "diagonal Fisher", "twice": "Shampoo, twice the power"}
    words |= {"kfac": "K-FAC", "shampoo": "Shampoo"}
    return {words[name]: np.stack([a + OFF - 0.5, 0 * OFF]) for name, a in euclid.items()}


APART = {kind: degrees(sgd=10, adam=9, best=8) for kind in KINDS} | {"unequal units": degrees(sgd=80, adam=50, best=20)}
FACTORED = {
    kind: degrees(sgd=80, adam=60, best=40, kfac=10, shampoo=72, twice=50)
    for kind in ("unit scales", "unequal units", "unequal units, rotated")
}


def test_the_worst_of_many_deviations_is_exact_and_counts_them():
    assert rows.worst([1e-16, 3e-15, 2e-16]) == exact(3e-15, 3)


def test_gradient_descent_is_the_steepest_step_in_the_identity_and_a_wrong_sign_is_seen():
    g = np.random.default_rng(0).standard_normal((5, 8))
    assert rows.euclidean_deviations(g).shape == (5,)
    assert rows.euclidean_deviations(g).max() < 1e-15
    assert mutant(rows.euclidean_deviations, "steepest(np.eye(g.shape[-1]), unit) + unit", "unit")(g).min() > 0.1


def test_the_law_is_judged_by_the_worst_where_it_holds_and_by_the_median_where_it_does_not():
    law = rows.tensor_law({name: OFF for name in ("v, units", "V, both", "√v, units", "v, rotation")})
    assert law["the whole matrix V is kept, without a root"] == exact(1.0, RUNS)
    assert law["v is taken without its root and only units change"] == exact(1.0, RUNS)
    assert law["√v is used and units change"].estimate == np.median(OFF)
    assert law["v is used and the coordinates turn"].estimate == np.median(OFF)


def test_a_step_falls_with_the_scale_in_a_metric_and_not_in_a_root_of_one():
    model = regression("unequal units", range(20))
    x = 0.5 * model.minimiser()
    found = {name: e.mean() for name, e in rows.step_exponents(np.logspace(-3, 3, 7), 0.3, range(5), model, x).items()}
    assert found["the metric is v, without its root"] == pytest.approx(-1, abs=0.02)
    assert found["the metric is √v, as in Adam"] == pytest.approx(0, abs=0.02)
    # standard normal inputs in units c: the gradient goes as c, its square and F as c^2
    assert found["the metric is the Fisher information"] == pytest.approx(-1, abs=0.15)
    assert found["the metric is √v, on the same regressions"] == pytest.approx(0, abs=0.15)


def test_adam_and_the_exact_diagonal_have_a_row_for_every_kind():
    nearer = {condition: gain.mean() for condition, gain in rows.degrees_nearer(APART).items()}
    assert len(nearer) == 2 * len(KINDS)
    assert nearer["collinear"] == pytest.approx(1)
    assert nearer["only the units differ, along the axes"] == pytest.approx(30)
    assert nearer["the exact diagonal of F, only the units differ, along the axes"] == pytest.approx(60)


def test_v_is_proportional_to_the_fisher_information_in_small_batches_and_its_root_is_not():
    model = regression("unequal units", range(10))
    information, v = batch_moments(model, 0.5 * model.minimiser(), (1, 8, 500))
    small, whole, root = rows.proportionality(information, v).values()
    assert np.median(small) < 2
    assert np.median(whole) > 10
    np.testing.assert_array_equal(root, spread(v[1] ** 0.5 / information))
    assert np.median(root) > 50


def test_shares_are_of_the_gain_of_the_exact_diagonal():
    share = rows.shares(APART, FACTORED)
    axes = "only the units differ, along the axes"
    assert len(share) == len(KINDS) + 4
    assert share[axes].estimate == pytest.approx(0.5)
    assert share["collinear"].estimate == pytest.approx(0.5)
    on_matrices = {"Adam": 0.5, "Shampoo": 0.2, "Shampoo, twice the power": 0.75, "K-FAC": 1.75}
    for name, expected in on_matrices.items():
        assert share[f"{name} on a weight matrix, {axes}"].estimate == pytest.approx(expected)


def test_two_kronecker_factors_are_compared_with_the_gradient_in_two_coordinate_systems():
    nearer = rows.matrix_degrees_nearer(FACTORED)
    assert len(nearer) == 4
    assert nearer["K-FAC on a weight matrix, unequal units, rotated"].mean() == pytest.approx(70)
    assert nearer["Shampoo on a weight matrix, only the units differ, along the axes"].mean() == pytest.approx(8)


def test_the_numbers_of_the_metric_are_medians():
    information = np.ones((3, 2))
    v = {1: information, 8: np.array([[1.0, 2], [1, 3], [1, 9]]), 500: np.array([[1.0, 40], [1, 50], [60, 1]])}
    numbers = rows.metric_numbers(information, v, {"arrived": np.array([2.0, 7, 9]), "rested": np.ones(3)})
    assert {key: format(*value) for key, value in numbers.items()} == {
        "spread-8": "3.00",
        "spread-n": "50",
        "roads": "7",
    }


def test_the_numbers_of_the_angles_are_means_in_euclids_metric():
    numbers = {key: format(*value) for key, value in rows.angle_numbers(APART, FACTORED).items()}
    assert [numbers[key] for key in ("angle-sgd", "angle-adam", "angle-diag")] == ["80", "50", "20"]
    assert [numbers[key] for key in ("gain-adam", "gain-diag", "share-units", "gain-rest")] == [
        "30",
        "60",
        "0.50",
        "2.0",
    ]
    matrix = ("matrix-adam", "matrix-diag", "kfac", "shampoo", "twice")
    assert [numbers[key] for key in matrix] == ["60", "40", "10", "72", "50"]


def test_the_numbers_of_the_steps_count_data_sets_that_are_never_solved():
    middle = {(name, "unit scales"): exact(k) for k, name in enumerate(("Adam", "heavy ball", "RMSProp"), 7)}
    needed = {"empirical Fisher": np.array([[5, 5, 101], [9, 101, 101]])}
    numbers = rows.step_numbers(middle, [1.0, 10.0, 100.0], needed, cap=100)
    numbers = {key: format(*value) for key, value in numbers.items()}
    # 3/2 D^2 + log D + 8.9 at 10 and 100: log10(15013.5 / 161.2)
    assert numbers == {"adam-unit": "7", "heavy-unit": "8", "rmsprop-unit": "9", "predicted": "1.97", "never": "2"}


def test_arrivals_are_counted_within_the_cap():
    names, kinds = ("Adam", "Adam without momentum", "heavy ball", "RMSProp"), ("unit scales", "unequal units")
    # on the tuning sets some rate solves a share, but none of them for Adam without momentum
    curves = {"Adam without momentum": [101.0, 101.0]}
    raced = {
        (name, kind): SimpleNamespace(scores=np.array([k, 100, 101, 101]), curve=curves.get(name, [101.0, 100.9]))
        for k, (name, kind) in enumerate(((n, kind) for n in names for kind in kinds), start=97)
    }
    counts = rows.arrivals(raced, 100)
    assert counts == {
        "arrive-adam-unit": 2, "arrive-adam-unequal": 2, "arrive-plain-unit": 2, "arrive-plain-unequal": 2,
        "arrive-heavy-unit": 1, "arrive-heavy-unequal": 1, "arrive-rmsprop-unit": 1, "arrive-rmsprop-unequal": 1,
        "nowhere": "Adam without momentum",
    }  # fmt: skip
    for name in names[:3]:
        raced[name, "unequal units"].curve = [100.5, 101.0]
    assert rows.arrivals(raced, 100)["nowhere"] == "none of them"


def test_the_numbers_from_elsewhere_are_the_means_of_its_four_rows():
    found = half_plane.strays_elsewhere([7, 8], 2)
    near, far = ([w for w in found if w.startswith(which)] for which in ("nearer", "farther"))
    numbers = {key: value for key, (value, _) in rows.elsewhere_numbers(found).items()}
    assert numbers == {
        f"{where}-{what}": found[next(w for w in words if part in w)].mean()
        for where, words in (("near", near), ("far", far))
        for what, part in (("natural", "natural parameters"), ("limit", "small rates"))
    }


def test_the_numbers_of_the_paths_are_angles_and_extra_lengths_in_one_chart():
    names = ("SGD", "Adam", "Adam, batches of 1", "Adam, batches of 16", "Adam, small rates")
    off = {(name, "μ, σ"): k + OFF for k, name in enumerate(names)}
    off["Adam", "μ, σ"] = 0.5 + 0 * OFF
    # up the line mu = 0 the length of a path from sigma = 1 is sqrt(2) log sigma
    paths = {}
    for name, longer in {"geodesic": 1.0, "natural gradient": 1.01, "SGD": 1.05, "Adam": 1.1}.items():
        ends = np.stack([np.ones(RUNS), np.exp(longer * (1 + OFF))])
        paths[name, "μ, σ"] = np.stack([0 * ends, ends], axis=-1)
    numbers = {key: format(*value) for key, value in rows.path_numbers(off, paths).items()}
    off = {"off-sgd": "0.5", "off-adam": "0.5", "off-one": "2.5", "off-16": "3.5", "off-limit": "4.5"}
    assert numbers == off | {"extra-ng": "1.0", "extra-sgd": "5.0", "extra-adam": "10.0", "worse": "50%"}
