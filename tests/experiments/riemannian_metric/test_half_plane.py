"""The surface of normal distributions: its distance, its charts, its gradient flows."""

import numpy as np
import pytest

from companion.experiments.riemannian_metric import half_plane
from companion.experiments.riemannian_metric.half_plane import (
    AFFINE,
    CHARTS,
    LOG,
    NATURAL,
    PLAIN,
    approach,
    around,
    chart_defect,
    detour,
    distance,
    flow,
    geodesic,
    length,
)
from mutants import mutant
from stepsize import Adam, descend
from stepsize.errors import NonFiniteError

TARGET = np.array([0.0, 1.0])
STARTS = around(np.random.default_rng(0), 12, 1.0, 2.5)


def expectation(f, theta, nodes=40):
    """E f(y) for y ~ N(mu, sigma^2), exact for polynomials."""
    t, w = np.polynomial.hermite_e.hermegauss(nodes)
    return (w * f(theta[0] + theta[1] * t)).sum() / w.sum()


@pytest.mark.parametrize("theta", [(0.0, 1.0), (1.3, 0.4), (-2.0, 3.0)])
def test_the_fisher_information_is_the_mean_of_the_score_products(theta):
    theta = np.array(theta)
    mu, sigma = theta
    score = [lambda y: (y - mu) / sigma**2, lambda y: ((y - mu) ** 2 - sigma**2) / sigma**3]
    F = [[expectation(lambda y, a=a, b=b: a(y) * b(y), theta) for b in score] for a in score]
    assert np.abs(half_plane.fisher(theta) - F).max() < 1e-12 * np.abs(F).max()


def test_the_gradient_is_the_derivative_of_the_loss():
    h = 1e-6
    slope = [(half_plane.loss(STARTS + h * e) - half_plane.loss(STARTS - h * e)) / (2 * h) for e in np.eye(2)]
    assert np.abs(half_plane.grad(STARTS) - np.stack(slope, -1)).max() < 1e-6


def metric_length(path):
    """Length by the metric alone: sqrt(dx' F dx) at the middle of each leg."""
    leg = np.diff(path, axis=0)
    F = half_plane.fisher((path[1:] + path[:-1]) / 2)
    return np.sqrt(np.einsum("ni,nij,nj->n", leg, F, leg)).sum()


def test_the_geodesic_has_the_length_of_the_distance_and_every_other_path_is_longer():
    rng = np.random.default_rng(1)
    for start in STARTS:
        path = geodesic(start, TARGET, 4000)
        d = distance(start, TARGET)
        assert metric_length(path) == pytest.approx(d, rel=1e-6)
        assert length(path) == pytest.approx(d, rel=1e-12)
        bump = np.sin(np.pi * np.linspace(0, 1, 4000))[:, None] * rng.normal(0, 0.05, 2)
        assert metric_length(path + bump) > d
    vertical = geodesic(np.array([0.0, 3.0]), TARGET)
    assert length(vertical) == pytest.approx(np.sqrt(2) * np.log(3), rel=1e-13)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(a[..., 0] - b[..., 0]) ** 2 / 2", "(a[..., 0] - b[..., 0]) ** 2"),
        ("2 * np.sqrt(2)", "2"),
        ("4 * a[..., 1]", "2 * a[..., 1]"),
    ],
)
def test_a_wrong_distance_is_noticed(old, new):
    d = mutant(distance, old, new)(STARTS[0], TARGET)
    assert abs(d / metric_length(geodesic(STARTS[0], TARGET, 2000)) - 1) > 0.01


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_a_chart_goes_there_and_back_and_its_jacobian_is_its_derivative(chart):
    phi = chart.coordinates(STARTS)
    assert np.abs(chart.point(phi) - STARTS).max() < 1e-13
    h = 1e-30
    J = np.stack([np.imag(chart.point(phi + 1j * h * e)) / h for e in np.eye(2)], -1)
    assert np.abs(chart.jacobian(phi) - J).max() < 1e-12 * np.abs(J).max()


@pytest.fixture(scope="module")
def natural_flow():
    return flow(PLAIN, True, STARTS)


def test_the_natural_flow_is_a_straight_line_in_the_mean_parameters(natural_flow):
    # E y = mu and E y^2 = mu^2 + sigma^2 approach (0, 1) at the rate e^-t, whatever the start
    mean = np.stack([natural_flow[..., 0], natural_flow[..., 0] ** 2 + natural_flow[..., 1] ** 2], -1)
    time = 30 * np.linspace(0, 1, len(mean)) ** 3
    exact = TARGET + np.exp(-time)[:, None, None] * (mean[0] - TARGET)
    assert np.abs(mean - exact).max() < 1e-6


@pytest.mark.parametrize("chart", [LOG, NATURAL, AFFINE], ids=lambda chart: chart.name)
def test_the_natural_flow_is_the_same_in_every_chart_and_the_gradient_flow_in_none(chart, natural_flow):
    assert distance(flow(chart, True, STARTS), natural_flow).max() < 1e-5
    plain, other = flow(PLAIN, False, STARTS, 50), flow(chart, False, STARTS, 50)
    assert abs(length(other) - length(plain)).max() > 0.01


def test_a_wrong_pull_back_bends_the_natural_flow(monkeypatch, natural_flow):
    monkeypatch.setattr(
        half_plane, "pull_back", mutant(half_plane.pull_back, "np.swapaxes(J, -1, -2) @ G @ J", "G @ J")
    )
    assert distance(flow(LOG, True, STARTS), natural_flow).max() > 0.05


def test_the_natural_flow_follows_the_steepest_descent_of_the_manifold_but_not_the_geodesic(natural_flow):
    assert detour(natural_flow[:-60]).max() < 0.5
    assert detour(flow(PLAIN, False, STARTS, 30)[:-60]).mean() > 5
    excess = length(natural_flow) / distance(STARTS, TARGET) - 1
    assert excess.min() > -1e-9
    assert excess.max() > 0.02


def order(chart, natural, globally):
    """Slope of the log defect against the log rate, at a point where the charts differ."""
    rates = np.array([0.01, 0.005, 0.0025])
    theta = np.array([1.0, 0.7])
    defects = [chart_defect(chart, theta, lr, natural, round(0.5 / lr) if globally else 1) for lr in rates]
    return np.polyfit(np.log(rates), np.log(defects), 1)[0]


@pytest.mark.parametrize("chart", [LOG, NATURAL], ids=lambda chart: chart.name)
def test_a_natural_step_is_invariant_to_second_order_and_a_natural_walk_to_first(chart):
    assert order(chart, natural=True, globally=False) == pytest.approx(2, abs=0.05)
    assert order(chart, natural=True, globally=True) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("chart", [LOG, NATURAL], ids=lambda chart: chart.name)
def test_a_gradient_step_is_not_invariant_at_first_order_nor_its_walk_at_all(chart):
    assert order(chart, natural=False, globally=False) == pytest.approx(1, abs=0.1)
    assert order(chart, natural=False, globally=True) == pytest.approx(0, abs=0.05)


def test_under_an_affine_map_the_natural_step_is_exact():
    assert chart_defect(AFFINE, np.array([1.0, 0.7]), 0.1, True, 10) < 1e-13
    assert chart_defect(AFFINE, np.array([1.0, 0.7]), 0.1, False, 10) > 0.01


def test_random_starts_lie_in_their_ring():
    d = distance(around(np.random.default_rng(0), 500, 1.0, 2.5), TARGET)
    assert (d > 1).all()
    assert (d < 2.5).all()


def test_a_walk_is_cut_where_it_comes_near_and_one_that_never_does_is_an_error():
    path = np.array([[[0.0, 2.0]], [[0.0, 1.01]], [[0.0, 0.9]]])
    cut = approach(path, 0.05)
    assert length(cut) == pytest.approx(distance(path[0], TARGET))
    with pytest.raises(NonFiniteError, match="more steps"):
        approach(path[:1], 0.05)


@pytest.mark.parametrize("batch", [1, 5])
def test_the_sampled_gradient_has_the_mean_and_the_square_of_drawn_examples(batch):
    theta, rng, n = np.array([0.7, 0.8]), np.random.default_rng(3), 200_000
    y = rng.standard_normal((n, batch))
    drawn = np.stack([-(y - 0.7).mean(1) / 0.8**2, 1 / 0.8 - ((y - 0.7) ** 2).mean(1) / 0.8**3], -1)
    made = half_plane.sampled_grad(np.broadcast_to(theta, (n, 2)), batch, rng)
    assert np.abs(made.mean(0) - half_plane.grad(theta)).max() < 0.03
    np.testing.assert_allclose((made**2).mean(0), (drawn**2).mean(0), rtol=0.05)
    broken = mutant(half_plane.sampled_grad, "(batch - 1) / 2", "batch / 2")
    assert np.abs(broken(np.broadcast_to(theta, (n, 2)), batch, rng).mean(0) - half_plane.grad(theta)).max() > 0.1


def test_the_moment_of_the_scores_is_the_mean_of_their_products_and_that_at_the_target_the_fisher_information():
    theta = np.array([0.7, 0.8])
    score = [lambda y: -(y - 0.7) / 0.8**2, lambda y: 1 / 0.8 - (y - 0.7) ** 2 / 0.8**3]
    moment = [[expectation(lambda y, a=a, b=b: a(y) * b(y), TARGET) for b in score] for a in score]
    np.testing.assert_allclose(half_plane.score_moment(theta), moment, rtol=1e-12)
    np.testing.assert_allclose(half_plane.score_moment(TARGET), half_plane.fisher(TARGET), atol=1e-14)
    assert np.abs(mutant(half_plane.score_moment, "6 * mu**2", "3 * mu**2")(theta) - moment).max() > 0.1


def test_the_walk_on_large_batches_is_adam_on_the_mean_loss():
    sampled = half_plane.sampled_walk(LOG, STARTS[:3], 10**8, 0, runs=2, lr=1e-2)
    full = half_plane.walks(STARTS[:3], (LOG,))["Adam", LOG.name]
    np.testing.assert_allclose(length(sampled), length(full), rtol=1e-3)
    assert np.abs(detour(sampled) - detour(full)).max() < 0.1


@pytest.mark.parametrize("chart", [PLAIN, LOG])
def test_walks_on_single_examples_are_those_of_adam(chart):
    y = np.random.default_rng([5, 0]).standard_normal((250, 7))

    def gradient(phi, t):
        theta = chart.point(phi)
        mu, sigma = theta[..., 0], theta[..., 1]
        off = y[t] - mu
        g = np.stack([-off / sigma**2, 1 / sigma - off**2 / sigma**3], -1)
        return (np.swapaxes(chart.jacobian(phi), -1, -2) @ g[..., None])[..., 0]

    start = np.array([1.0, 0.6])
    x0 = np.tile(chart.coordinates(start), (7, 1))
    walked = chart.point(descend(Adam(5e-3), gradient, x0, 250).x).mean(1)
    alone = half_plane.single_walk(chart, start[None], 5, 7, steps=4000)[:251, 0]
    np.testing.assert_allclose(alone, walked, rtol=1e-12)


def test_a_start_s_walks_depend_on_no_other_start_and_stop_with_it():
    both = half_plane.single_walk(PLAIN, STARTS[:2], 5, 8)
    alone = half_plane.single_walk(PLAIN, STARTS[:1], 5, 8)
    np.testing.assert_allclose(detour(both)[:1], detour(alone), rtol=1e-12)
    np.testing.assert_array_equal(both[-1], np.broadcast_to(TARGET, both[-1].shape))


def test_from_elsewhere_the_walks_are_those_of_the_charts_and_start_in_their_rings():
    found = half_plane.strays_elsewhere([7, 8], 4)
    assert len(found) == 4
    for words, seed, ring in (("nearer starts, 0.3 to 1", 7, (0.3, 1.0)), ("farther starts, 2.5 to 4", 8, (2.5, 4.0))):
        begin = around(np.random.default_rng(seed), 4, *ring)
        paths = half_plane.walks(begin, (NATURAL,), steps=30000)
        full = detour(paths["Adam", NATURAL.name]) - detour(paths["SGD", NATURAL.name])
        np.testing.assert_allclose(found[f"{words}, natural parameters"], full, atol=1e-9)
        limit = detour(approach(flow(PLAIN, False, begin, 60.0, 800, adam=True)))
        plain = detour(approach(flow(PLAIN, False, begin, 400.0, 800)))
        small = found[f"{words}, limit of small rates, batches of one, mean and deviation"]
        np.testing.assert_allclose(small, limit - plain, atol=1e-9)
    turned = mutant(
        half_plane.strays_elsewhere, "detour(walked) - detour(gradient)", "detour(gradient) - detour(walked)"
    )
    wrong = turned([7, 8], 4)["nearer starts, 0.3 to 1, natural parameters"]
    assert np.abs(wrong - found["nearer starts, 0.3 to 1, natural parameters"]).max() > 1


@pytest.mark.parametrize("chart", CHARTS)
def test_a_covector_is_carried_by_the_transposed_jacobian(chart):
    phi, g = chart.coordinates(STARTS), np.random.default_rng(0).standard_normal(STARTS.shape)
    carried = np.einsum("...ji,...j->...i", chart.jacobian(phi), g)
    np.testing.assert_allclose(chart.covector(phi, g), carried, rtol=1e-14)


def test_every_walk_ends_at_the_target_and_the_natural_one_strays_least_and_the_geodesic_is_shortest():
    paths = half_plane.walks(STARTS[:4], steps=4000)
    assert len(paths) == 12
    assert all(distance(path[-1], TARGET).max() < 1e-12 for path in paths.values())
    strays = {key: detour(path).max() for key, path in paths.items()}
    assert min(strays, key=strays.get)[0] == "natural gradient"
    lengths = {key: length(path).sum() for key, path in paths.items()}
    assert min(lengths, key=lengths.get)[0] == "geodesic"


def test_all_walks_are_the_walks_and_adam_with_sampled_gradients_as_said_in_the_evidence():
    paths = half_plane.all_walks(STARTS[:2], [4, 5, 6], runs=16)
    alone = half_plane.single_walk(LOG, STARTS[:2], 5, 16)
    np.testing.assert_array_equal(paths["Adam, batches of 1", LOG.name], alone)
    sixteen = half_plane.sampled_walk(PLAIN, STARTS[:2], 16, 6, 2)
    np.testing.assert_array_equal(paths["Adam, batches of 16", PLAIN.name], sixteen)
    off = {key: detour(path) for key, path in paths.items()}
    strays = half_plane.strays(off)
    # every path but gradient descent, the geodesic and the copies of the natural flow is evidence
    assert len(strays) == len([key for key in paths if key[0].startswith("Adam")]) + 1
    natural = strays["the metric is the exact Fisher information"]
    np.testing.assert_array_equal(natural, off["natural gradient", "μ, σ"] - off["SGD", "μ, σ"])
    np.testing.assert_array_equal(
        strays["with batches of 16, in mean and deviation"], off["Adam, batches of 16", "μ, σ"] - off["SGD", "μ, σ"]
    )
    log = strays["in the limit of small rates, batches of one, mean and log deviation"]
    np.testing.assert_array_equal(log, off["Adam, small rates", LOG.name] - off["SGD", LOG.name])
