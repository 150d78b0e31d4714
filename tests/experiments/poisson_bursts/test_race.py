"""Races and the laws of recovery: identities of the second moment after a burst, and the honesty of the tuning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.experiments.poisson_bursts.race import at_rate, backtest, race, schedule, twins
from companion.experiments.poisson_bursts.streams import EWMA, Stream, poisson_stream
from mutants import mutant
from stepsize import AdaGrad, Adam, ClipByNorm, Decoupled, RMSProp, chain
from stepsize.errors import EvidenceError
from stepsize.responses import adagrad_ratio, adam_ratio, steps_until, time_debt


def rates(rule, gradients):
    """The rate after every gradient of a series of numbers."""
    x, state, out = np.zeros(1), rule.init(np.zeros(1)), []
    for g in gradients:
        state, rate, _ = rule.step(state, np.array([g]), x)
        out.append(rate[0])
    return np.array(out)


QUIET, BURST, AFTER = np.full(400, 0.7), np.full(30, 25.0), np.full(3000, 0.7)


def test_adagrad_after_a_burst_is_adagrad_later_on_the_quiet_stream():
    # 25^2 - 0.5^2 = 2499 quiet steps of 0.5^2 = 1/4 exactly: 9996 a step of burst, minus nothing that floats lose
    quiet, steps = 0.5, 6
    debt = int(time_debt(steps * 25.0**2, quiet**2))
    burst = rates(AdaGrad(1.0), np.r_[np.full(100, quiet), np.full(steps, 25.0), np.full(500, quiet)])
    calm = rates(AdaGrad(1.0), np.full(100 + debt + 500, quiet))
    np.testing.assert_array_equal(burst[106:], calm[100 + debt :])
    assert mutant(time_debt, "burst / quiet", "burst * quiet")(steps * 25.0**2, quiet**2) != debt


def test_adagrads_ratio_to_its_twin_is_the_root_of_the_energies():
    with_burst = rates(AdaGrad(1.0, eps=0), np.r_[QUIET, BURST, AFTER])
    without = rates(AdaGrad(1.0, eps=0), np.r_[QUIET, QUIET[:30], AFTER])
    energy = 1 / without[429:] ** 2
    extra = (BURST**2 - QUIET[:30] ** 2).sum()
    ratio = with_burst[429:] / without[429:]
    np.testing.assert_allclose(ratio, adagrad_ratio(energy, extra), rtol=1e-12)
    assert (np.diff(ratio) > 0).all()
    broken = mutant(adagrad_ratio, "quiet / (quiet + burst)", "quiet / burst")
    assert np.abs(broken(energy, extra) / ratio - 1).max() > 1e-3


def test_adagrad_needs_three_times_its_sum_to_halve_again_and_never_rises():
    g = rates(AdaGrad(1.0, eps=0), np.full(4 * 64, 0.5))
    assert g[63] == 2 * g[4 * 64 - 1]
    assert (np.diff(rates(AdaGrad(1.0), np.r_[QUIET, BURST, AFTER])) <= 0).all()


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_the_rate_of_an_exponential_memory_recovers_by_the_law(beta2):
    series = rates(RMSProp(1.0, beta=beta2, eps=0), np.r_[np.full(40_000, 0.7), BURST, AFTER])
    ratio = series[40_029:] / series[39_999]
    law = adam_ratio(ratio[0], beta2, np.arange(len(ratio)))
    np.testing.assert_allclose(ratio, law, rtol=1e-10)
    forgets_slowly = mutant(adam_ratio, "np.power(beta2, steps)", "np.power(beta2, steps / 2)")
    assert np.abs(forgets_slowly(ratio[0], beta2, np.arange(len(ratio))) / ratio - 1).max() > 0.3


def test_adams_rate_follows_the_same_law_once_its_average_is_full():
    series = rates(Adam(1.0, beta2=0.99, eps=0), np.r_[np.full(5000, 0.7), BURST, AFTER])
    ratio = series[5029:] / series[4999]
    np.testing.assert_allclose(ratio, adam_ratio(ratio[0], 0.99, np.arange(len(ratio))), rtol=1e-9)


@given(st.floats(1e-3, 0.5), st.sampled_from([0.9, 0.99, 0.999]), st.floats(0.6, 0.999))
def test_steps_until_inverts_the_law(ratio, beta2, restored):
    np.testing.assert_allclose(adam_ratio(ratio, beta2, steps_until(restored, ratio, beta2)), restored, rtol=1e-9)


def test_the_rate_doubles_in_two_half_lives_of_the_second_moment():
    half_life = np.log(2) / np.log(1 / 0.999)
    np.testing.assert_allclose(half_life, 692.8, atol=0.05)
    np.testing.assert_allclose(steps_until(2e-6, 1e-6, 0.999), 2 * half_life, rtol=1e-9)
    broken = mutant(steps_until, "np.square(ratio) - 1", "ratio - 1")
    assert abs(broken(2e-6, 1e-6, 0.999) / (2 * half_life) - 1) > 0.1


def test_a_dense_memory_seen_every_pth_step_forgets_beta_to_the_p():
    p, g = 24, np.random.default_rng(0).standard_normal(50)
    dense = np.zeros(50 * p)
    dense[::p] = g
    v_dense = 1 / rates(RMSProp(1.0, beta=0.999, eps=0), dense)[::p] ** 2
    v, expected = 0.0, []
    for value in g:
        v = 0.999**p * v + 0.001 * value**2
        expected.append(v)
    np.testing.assert_allclose(v_dense, expected, rtol=1e-12)


def test_at_rate_reaches_the_innermost_rule():
    rule = at_rate(Decoupled(chain(ClipByNorm(2.0), Adam(beta2=0.9)), 0.1), 0.5)
    assert (rule.lr, rule.rule.rule.beta2, rule.decay) == (0.5, 0.9, 0.1)
    assert rule.rule.transforms[0].limit == 2.0


KIND = {"start": 100, "stop": 110, "flip": 200}
WINDOWS = {"whole": slice(20, 300), "after": slice(200, 300)}


def test_a_race_tunes_each_goal_on_its_own_seeds_and_reports_on_others():
    lrs = np.array([1e-3, 1e-2, 0.1, 1.0])
    found = race({"AdaGrad": AdaGrad()}, lrs, range(50, 58), range(6), WINDOWS, ("whole", "after"), **KIND)
    for goal in ("whole", "after"):
        tuned, cost = found.tuned[goal]["AdaGrad"], found.cost[goal]["AdaGrad"]
        assert tuned.lr == lrs[np.argmin(tuned.curve)]
        np.testing.assert_array_equal(cost[goal], tuned.scores)
        assert cost["after"].shape == (6,)
        assert (found.ratio("AdaGrad", goal=goal) == 1).all()
    with pytest.raises(EvidenceError, match="in both sets"):
        race({"AdaGrad": AdaGrad()}, lrs, range(5), range(4, 9), WINDOWS, ("whole",), **KIND)


def test_a_mean_of_windows_is_the_mean_of_the_whole():
    windows = {"a": slice(0, 100), "b": slice(100, 300), "all": slice(0, 300)}
    w = race({"r": RMSProp()}, [1e-3, 1e-2], [9], range(3), windows, ("all",), **KIND).cost["all"]["r"]
    np.testing.assert_allclose((w["a"] + 2 * w["b"]) / 3, w["all"])


def test_the_report_draws_every_method_and_tabulates_every_cost():
    matplotlib = pytest.importorskip("matplotlib", reason="figures need matplotlib: pip install 'stepsize[book]'")
    matplotlib.use("Agg")
    from companion.experiments.poisson_bursts.figures import (
        cost_figure,
        daily_figure,
        recovery_figure,
        scores,
        window_figure,
    )

    methods = {"AdaGrad": AdaGrad(0.5), "Adam": Adam(0.03)}
    found = race(methods, [0.01, 0.1], range(50, 53), range(6), WINDOWS, ("whole", "after"), **KIND)
    for axes, lines in ((cost_figure(found), 2), (window_figure(found, list(methods), ["whole", "after"]), 2)):
        assert len(axes.containers) == lines * (2 if axes.get_yticklabels()[0].get_text() in methods else 1)
    pairs = {name: twins(rule, range(3), steps=400, **KIND) for name, rule in methods.items()}
    above, below = recovery_figure(pairs, methods, 100, 110)
    assert len([line for line in above.lines if len(line.get_xdata()) == 290]) == 2
    assert {line.get_label() for line in below.lines} >= set(methods)
    assert set(scores(found).index) == set(methods)
    date = np.repeat(np.arange(np.datetime64("2020-01-01"), np.datetime64("2020-01-11")), 24)
    observed = daily_figure(date, np.ones((240, 2)), {}, "2020-01-03", "2020-01-05").lines[0]
    np.testing.assert_array_equal(observed.get_ydata(), [48, 48, 48])


def test_a_schedule_covers_the_scored_time_without_gap():
    kind, w = schedule(6000)
    assert kind == {"start": 2000, "stop": 2100, "flip": 3000}
    parts = [w[name] for name in ("before", "burst", "recovery", "turn", "late")]
    assert [p.start for p in parts] + [6000] == [500] + [p.stop for p in parts]
    assert (w["whole"], w["after"]) == (slice(500, 6000), slice(3000, 6000))


def test_twins_agree_until_the_burst_and_differ_by_it_alone():
    t = twins(AdaGrad(0.5), range(4), steps=200, **KIND | {"flip": 150})
    assert (t.ratio[:100] == 1).all()
    assert (t.ratio[110:] < 0.7).all()
    assert (t.way(slice(0, 100)) == 1).all()
    assert (t.way(slice(100, 105)) > 5).mean() > 0.5
    assert (np.diff(t.log_rate, axis=1) <= 1e-15).all()


def test_a_backtest_chooses_by_the_past_alone():
    s = poisson_stream(range(5), steps=300, start=150, stop=160, flip=300)
    lrs = np.array([1e-3, 1e-2, 0.1])
    first = backtest(RMSProp(), lrs, s, past=slice(20, 100), warm=20)
    future = Stream(s.x, np.where(np.arange(300)[:, None] < 100, s.y, 7))
    second = backtest(RMSProp(), lrs, future, past=slice(20, 100), warm=20)
    assert first.lr == second.lr
    np.testing.assert_array_equal(first.mu[:101], second.mu[:101])
    assert backtest(EWMA(cells=np.array([1.0, 0, 0, 0])), lrs, s, past=slice(20, 100), warm=20).mu.shape == (300, 5)
