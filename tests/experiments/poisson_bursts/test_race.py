"""Races through bursts: every goal tuned for itself, on streams that are not reported."""

import inspect

import numpy as np
import pytest

from companion.experiments.autoclip import AutoClip
from companion.experiments.poisson_bursts.race import (
    CHOICES,
    METHODS,
    PERCENTILES,
    UNTUNED,
    Backtest,
    at_rate,
    backtest,
    race,
    schedule,
    twins,
)
from companion.experiments.poisson_bursts.streams import EWMA, Stream, follow, kl, poisson_stream
from stepsize import AdaGrad, Adam, ClipByNorm, Decoupled, RMSProp, chain
from stepsize.errors import EvidenceError


def test_at_rate_reaches_the_innermost_rule():
    rule = at_rate(Decoupled(chain(ClipByNorm(2.0), Adam(beta2=0.9)), 0.1), 0.5)
    assert (rule.lr, rule.rule.rule.beta2, rule.decay) == (0.5, 0.9, 0.1)
    assert rule.rule.transforms[0].limit == 2.0


KIND = {"start": 100, "stop": 110, "flip": 200}
WINDOWS = {"whole": slice(20, 300), "after": slice(200, 300)}


def test_a_race_tunes_each_goal_on_its_own_seeds_and_reports_on_others():
    lrs = np.array([1e-3, 1e-2, 0.1, 1.0])
    raced = race({"AdaGrad": AdaGrad()}, lrs, range(50, 58), range(6), WINDOWS, ("whole", "after"), **KIND)
    for goal in ("whole", "after"):
        tuned, cost = raced.tuned[goal]["AdaGrad"], raced.cost[goal]["AdaGrad"]
        assert tuned.lr == lrs[np.argmin(tuned.curve)]
        np.testing.assert_array_equal(cost[goal], tuned.scores)
        assert cost["after"].shape == (6,)
        assert (raced.ratio("AdaGrad", goal=goal) == 1).all()
    with pytest.raises(EvidenceError, match="in both sets"):
        race({"AdaGrad": AdaGrad()}, lrs, range(5), range(4, 9), WINDOWS, ("whole",), **KIND)


def test_a_setting_is_chosen_along_with_the_rate_and_an_untuned_rule_keeps_its_own():
    lrs, rules = np.array([1e-3, 1e-2, 0.1]), [Adam(beta1=0.0), Adam()]
    methods = {"without": rules[0], "with": rules[1], "either": rules}
    raced = race(methods, lrs, range(50, 58), range(6), WINDOWS, ("whole",), untuned={"as it is": Adam(0.02)}, **KIND)
    tuned, cost = raced.tuned["whole"], raced.cost["whole"]
    least = min(("without", "with"), key=lambda name: tuned[name].curve.min())
    assert tuned["either"].setting is tuned[least].setting
    np.testing.assert_array_equal(cost["either"]["whole"], cost[least]["whole"])
    assert tuned["as it is"].lr == 0.02
    assert (raced.rule("either").lr, raced.rule("either").beta1) == (tuned["either"].lr, tuned[least].setting.beta1)
    stream = poisson_stream(range(6), steps=300, **KIND)
    alone = kl(stream.lam, follow(Adam(0.02), stream).mu)[WINDOWS["whole"]].mean(0)
    np.testing.assert_allclose(cost["as it is"]["whole"], alone, rtol=1e-12)


def test_every_method_of_the_race_follows_a_stream_and_rules_as_they_are_have_the_rates_of_torch():
    stream = poisson_stream([3], steps=40, start=20, stop=22, flip=30)
    of_choices = [rule for rules in CHOICES.values() for rule in rules]
    for rule in [*METHODS.values(), *of_choices, *UNTUNED.values()]:
        assert np.isfinite(follow(at_rate(rule, 0.01), stream).mu).all()
    torch = pytest.importorskip("torch")
    for name, peer in (("AdaGrad", torch.optim.Adagrad), ("RMSProp", torch.optim.RMSprop), ("Adam", torch.optim.Adam)):
        assert UNTUNED[f"{name}, as it is"].lr == inspect.signature(peer).parameters["lr"].default


def test_the_grid_of_percentiles_ends_with_no_clip():
    stream, (*_, last) = (
        poisson_stream(range(3), steps=200, **KIND | {"flip": 150}),
        CHOICES["AdaGrad, percentile clip"],
    )
    assert [rule.percentile for rule in CHOICES["RMSProp, percentile clip"]] == [*PERCENTILES]
    np.testing.assert_array_equal(follow(at_rate(last, 0.5), stream).mu, follow(AdaGrad(0.5), stream).mu)
    acts = follow(at_rate(CHOICES["AdaGrad, percentile clip"][-2], 0.5), stream).mu
    assert (acts != follow(AdaGrad(0.5), stream).mu).any()


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
        epidemic_figure,
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
    with_untuned = race(
        methods, [0.01, 0.1], range(50, 53), range(6), WINDOWS, ("whole", "after"), untuned=UNTUNED, **KIND
    )
    assert {label.get_text() for label in cost_figure(with_untuned).get_yticklabels()} == set(methods)
    assert len([line for line in above.lines if len(line.get_xdata()) == 290]) == 2
    assert {line.get_label() for line in below.lines} >= set(methods)
    assert set(scores(found).index) == set(methods)
    date = np.repeat(np.arange(np.datetime64("2020-01-01"), np.datetime64("2020-01-11")), 24)
    observed = daily_figure(date, np.ones((240, 2)), {}, "2020-01-03", "2020-01-05").lines[0]
    np.testing.assert_array_equal(observed.get_ydata(), [48, 48, 48])
    forecast = Backtest(None, np.full((240, 2), 0.5))
    both = {"AdaGrad": forecast, "Adam": forecast}
    _, drawn = daily_figure(date, np.ones((240, 2)), both, "2020-01-03", "2020-01-05").lines
    assert drawn.get_label() == "AdaGrad"
    np.testing.assert_array_equal(drawn.get_ydata(), [24, 24, 24])
    trace = backtest(AdaGrad(), [0.01, 0.1], Stream(np.ones((9, 1, 1)), np.arange(9.0)[:, None]), slice(2, None), 2)
    points, line = epidemic_figure(np.arange(9.0), {"AdaGrad": trace}, ["AdaGrad"]).lines
    np.testing.assert_array_equal(points.get_ydata(), [0.7, *range(1, 9)])
    np.testing.assert_array_equal(line.get_ydata(), trace.mu[:, 0])


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
    assert (t.path_length(slice(0, 100)) == 1).all()
    assert (t.path_length(slice(100, 105)) > 5).mean() > 0.5
    assert (np.diff(t.log_rate, axis=1) <= 1e-15).all()


def test_a_backtest_chooses_by_the_past_alone():
    s = poisson_stream(range(5), steps=300, start=150, stop=160, flip=300)
    lrs = np.array([1e-3, 1e-2, 0.1])
    first = backtest(RMSProp(), lrs, s, past=slice(20, 100), warm=20)
    future = Stream(s.x, np.where(np.arange(300)[:, None] < 100, s.y, 7))
    second = backtest(RMSProp(), lrs, future, past=slice(20, 100), warm=20)
    assert first.choice.lr == second.choice.lr
    np.testing.assert_array_equal(first.mu[:101], second.mu[:101])
    assert backtest(EWMA(cells=np.array([1.0, 0, 0, 0])), lrs, s, past=slice(20, 100), warm=20).mu.shape == (300, 5)


def test_a_backtest_chooses_a_setting_along_with_the_rate():
    s = poisson_stream(range(5), steps=300, start=150, stop=160, flip=300)
    lrs, rules = np.array([1e-3, 1e-2, 0.1]), [AutoClip(AdaGrad(), 10), AutoClip(AdaGrad(), 90), AdaGrad()]
    apart = [backtest(rule, lrs, s, past=slice(20, 100), warm=20) for rule in rules]
    together = backtest(rules, lrs, s, past=slice(20, 100), warm=20)
    best = min(apart, key=lambda tried: tried.choice.curve.min())
    assert (together.choice.lr, together.choice.setting) == (best.choice.lr, best.choice.setting)
    np.testing.assert_array_equal(together.mu, best.mu)
    assert together.choice.curve.shape == (3, 3)
