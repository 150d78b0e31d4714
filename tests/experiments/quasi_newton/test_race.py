"""Turned valleys: the angle changes the axes and nothing else; sampled gradients are unbiased; settling is for good."""

import numpy as np

from companion.experiments.quasi_newton import race
from companion.experiments.quasi_newton.race import (
    RATES,
    Noisy,
    StreamingRegression,
    TurnedValley,
    bfgs_evaluations,
    censored_geometric_mean,
    censored_median,
    exact_race,
    generators,
    learned_axes,
    learned_metrics,
    noisy_race,
    one_metric_one_step,
    rotation,
    settling_time,
    solved_in,
)
from companion.experiments.quasi_newton.secant import gaussian_divergence
from mutants import mutant
from stepsize import SGD, Adam, HeavyBall, walk
from stepsize.tuning import Choice
from stepsize.wrappers import LinearDecay


def streams(angle):
    return StreamingRegression.sample(4, angle, condition=100, d=6, seed=2)


def test_rotations_are_orthogonal_and_start_at_the_identity():
    K = generators(5, 7, 0)
    R = rotation(0.7, K)
    assert np.abs(R @ np.swapaxes(R, 1, 2) - np.eye(7)).max() < 1e-13
    assert np.abs(rotation(0.0, K) - np.eye(7)).max() < 1e-13
    np.testing.assert_allclose(rotation(0.3, K) @ rotation(0.4, K), R, atol=1e-13)


def test_the_angle_changes_neither_the_start_nor_the_noise_floor():
    a, b = TurnedValley.sample(5, 0.0), TurnedValley.sample(5, 1.0)
    np.testing.assert_allclose(a.f(a.x0), b.f(b.x0), rtol=1e-12)
    p, q = streams(0.0), streams(1.0)
    np.testing.assert_allclose(p.excess(np.zeros_like(p.w)), q.excess(np.zeros_like(q.w)), rtol=1e-12)


def test_the_sampled_gradient_is_unbiased():
    # mean of 4000 batches against A (w - w*); 20 coordinates at |z| < 5: false alarms below 2e-5
    p = StreamingRegression.sample(2, 0.6, condition=10, d=5, seed=3, batch=8)
    w = np.ones_like(p.w)
    draws = np.stack([p.grad(w, t) for t in range(4000)])
    A = (p.R * np.logspace(0, -1, 5)) @ np.swapaxes(p.R, 1, 2)
    exact = (A @ (w - p.w)[..., None])[..., 0]
    assert np.abs((draws.mean(0) - exact) / (draws.std(0) / np.sqrt(4000))).max() < 5
    np.testing.assert_array_equal(p.grad(w, 7), p.grad(w, 7))


def test_settling_counts_the_last_visit_above_the_goal():
    p = TurnedValley.sample(3, 0.2, condition=10, d=4)
    rule = LinearDecay(Adam(0.1), 300)
    steps = settling_time(rule, p, 300, 1e-4)
    values = np.stack([p.f(now.x) for _, now in zip(range(300), walk(rule, p.grad, p.x0), strict=False)])
    below = values <= 1e-4 * p.f(p.x0)
    for run, first in enumerate(steps.astype(int)):
        assert below[first - 1 :, run].all()
        assert not below[first - 2, run]


def test_two_exact_searches_learn_the_metric_of_a_plane():
    p = TurnedValley.sample(6, 0.7, condition=10, d=2, seed=3)
    for A, x0 in zip(p.A, p.x0, strict=True):
        start, _, end = (gaussian_divergence(B, A) for B in learned_metrics(A, x0, 2))
        assert abs(end) < 1e-10 * start


def test_bfgs_does_not_see_the_angle():
    a, b = (bfgs_evaluations(TurnedValley.sample(3, angle, condition=100, d=5)) for angle in (0.0, 1.0))
    assert np.abs(a - b).max() <= 2


def test_the_race_with_exact_gradients_counts_evaluations_on_valleys_that_no_rate_was_chosen_on():
    counts = exact_race([0.0, 1.0], 10, 3, 5, 400, 0, names=("heavy ball", "BFGS"))
    valleys = TurnedValley.sample(5, 1.0, 10, seed=1)
    np.testing.assert_array_equal(counts["BFGS"][1], bfgs_evaluations(valleys))
    alone = settling_time(HeavyBall(RATES[:, None, None], 0.98), valleys, 400)
    assert (counts["heavy ball"][1] == alone).all(-1).any()
    # the angle is nothing to a rule with one rate
    np.testing.assert_allclose(counts["heavy ball"][0], counts["heavy ball"][1], atol=2)


def test_a_race_without_a_winner_still_ranks():
    assert censored_median([1, np.inf, np.inf]) == np.finfo(float).max
    assert censored_median([1, 2, np.inf]) == 2


def test_one_diverged_stream_puts_a_choice_behind_all_that_never_diverge():
    np.testing.assert_allclose(censored_geometric_mean(np.array([[0.1, 0.001], [0.5, 0.5]])), [0.01, 0.5])
    hidden, everywhere = np.array([1.0] + 23 * [1e-9]), np.full(24, np.inf)
    assert 1 < censored_geometric_mean(hidden) < censored_geometric_mean(everywhere) < np.inf


def test_a_rate_that_diverges_in_the_second_stage_of_tuning_is_not_chosen(monkeypatch):
    def make(lr, stream):
        return SGD(np.where((lr == 1) & (len(stream.w) == 8), 1e9, lr))

    monkeypatch.setattr(race, "NOISY_RULES", {"SGD": Noisy(make)})
    (run,) = noisy_race([0.0], 10, 4, 3, 60, 0)["SGD"]
    best, second = np.argsort(run.curve[0])[:2]
    assert RATES[best] == 1
    assert run.lr == RATES[second]


def test_one_metric_makes_one_step():
    for name, apart in one_metric_one_step(20, 3).items():
        assert apart.max() < 1e-12, name


def test_a_median_that_was_not_solved_is_said_so():
    assert solved_in([3, 5, np.inf], 10) == "5"
    assert solved_in([3, np.inf, np.inf], 10) == "more than 10"


def test_a_rule_without_axes_runs_once_and_one_with_axes_in_every_frame():
    runs = noisy_race([0.0, 0.5], 10, 3, 3, 20, 0)
    assert {name for name, choices in runs.items() if len(choices) == 2} == {
        "AdaGrad", "Adam", "AdaHessian", "Shampoo", "SOAP",
    }  # fmt: skip


def test_probes_are_random_signs_of_every_stream_and_step():
    p = streams(0.0)
    z = np.stack([p.probe(t) for t in range(400)])
    assert set(z.ravel()) == {-1.0, 1.0}
    np.testing.assert_array_equal(z[7], p.probe(7))
    # 24 means of 400 signs and 276 products of two: |z| < 5 has a false alarm below 2e-4
    z = z.reshape(400, -1)
    assert np.abs(z.mean(0)).max() < 5 / 20
    assert np.abs(z.T @ z / 400 - np.eye(24)).max() < 5 / 20


def test_every_method_of_the_noisy_race_beats_standing_still():
    # a lazy pair may diverge: that is the finding
    runs = noisy_race([0.3], 10, 5, 5, 60, 0)
    assert {name for name, (run,) in runs.items() if not np.median(run.scores) < 1} <= {"lazy BFGS"}


def mixed_axes(stream=StreamingRegression):
    """Mean square over 4000 batches of what a unit step along axis i adds to the gradient along j, (i, j), over that of its own curvatures."""
    p = stream.sample(1, 0.0, condition=100, d=4, seed=5, batch=8)
    steps = np.eye(4)[:, None]
    change = np.stack([p.grad(steps, t) - p.grad(0 * steps, t) for t in range(4000)])[:, :, 0]
    curvature = np.logspace(0, -2, 4)
    return (change**2).mean(0) / (curvature[:, None] * curvature)


def test_a_batch_mixes_the_axes_by_the_root_of_their_curvatures():
    # entries of the sample covariance of m normals: E (sum z_i z_j / m)^2 = (1 + [i = j] (m + 1)) / m in units of the curvatures
    expected = (1 + 9 * np.eye(4)) / 8
    # a square of a mean of 8 products has a standard deviation below twice its mean: five standard errors are 16 %
    np.testing.assert_allclose(mixed_axes(), expected, rtol=0.16)
    broken = type("Broken", (StreamingRegression,), {"grad": mutant(StreamingRegression.grad, "z.mT", "z.mT / 2")})
    assert (mixed_axes(broken) < expected / 2).all()


def covariance_at_the_minimum(stream=StreamingRegression):
    """Covariance of 4000 batch gradients at the true weights, times batch over noise variance, in the frame of the Hessian's roots."""
    p = stream.sample(1, 0.7, condition=100, d=4, seed=5, batch=8, noise=0.3)
    g = np.stack([p.grad(p.w, t)[0] for t in range(4000)]) @ (p.R[0] / p._root)
    return g.T @ g / 4000 * 8 / 0.3**2


def test_at_the_minimum_the_covariance_of_sampled_gradients_is_the_hessian_but_for_a_factor():
    # an entry's standard error is below 2 / sqrt(4000): five of them, a false alarm in two million for each of ten
    assert np.abs(covariance_at_the_minimum() - np.eye(4)).max() < 10 / np.sqrt(4000)
    broken = type("Broken", (StreamingRegression,), {"grad": mutant(StreamingRegression.grad, "z.mT", "z.mT**2")})
    assert np.abs(covariance_at_the_minimum(broken) - np.eye(4)).max() > 0.3


def known_axes(function, monkeypatch):
    monkeypatch.setattr(StreamingRegression, "grad", lambda self, w, t: (w - self.w) * race._axes(self.condition, 20))
    return function("lazy BFGS", Choice(1.0, (), (0, 0), False, np.zeros(1)), 10, 3, 100, 0)


def test_with_exact_pairs_a_secant_method_knows_every_axis(monkeypatch):
    known, left = known_axes(learned_axes, monkeypatch)
    assert np.abs(np.log(known)).max() < np.log(2)
    np.testing.assert_allclose(left.sum(-1), 1, rtol=1e-12)
    broken = mutant(learned_axes, "np.diagonal(path.state.state.H, axis1=-2, axis2=-1)", "path.state.state.H[..., 0]")
    assert known_axes(broken, monkeypatch)[0].min() < 0.5


def test_noise_lets_the_lazy_metric_shrink_and_hides_the_flat_axes_from_the_online_one():
    lazy, _ = learned_axes("lazy BFGS", Choice(1.0, (), (0, 0), False, np.zeros(1)), 1e4, 8, 400, 3)
    online, left = learned_axes("online BFGS", Choice(0.3, (0.0,), (0, 0), False, np.zeros(1)), 1e4, 8, 400, 3)
    assert np.median(lazy, axis=0).max() < 0.1
    # the steepest axes are known within a factor of three, the flattest quarter not to a tenth
    assert np.abs(np.log(np.median(online[:, :5], axis=0))).max() < np.log(3)
    assert np.median(online[:, 15:], axis=0).max() < 0.1
    assert np.median(left[:, 15:].sum(-1)) > 0.5
