"""Choosing a rate: the least statistic on tuning problems, the first among equals, and never on what is reported."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutants import mutant
from stepsize.errors import EvidenceError, ShapeError
from stepsize.tuning import choose, require_apart, tune

GRID = np.logspace(-2, 1, 7)
LRS = np.array([0.1, 0.2, 0.4, 0.8])


@given(st.lists(st.integers(0, 5), min_size=12, max_size=12))
def test_the_choice_is_the_first_of_the_smallest_setting_by_setting(values):
    curve = np.reshape(values, (3, 4)).astype(float)
    best = min((v, s, r) for s, row in enumerate(curve) for r, v in enumerate(row))
    choice = choose(curve, LRS, "abc")
    assert (curve[choice.index], *choice.index) == best
    assert (choice.setting, choice.lr) == ("abc"[best[1]], LRS[best[2]])
    assert choice.at_edge == (best[2] in (0, 3))
    alone = choose(curve[best[1]], LRS)
    assert (alone.lr, alone.index, alone.setting) == (choice.lr, choice.index[1:], None)


def test_the_last_of_equals_would_be_seen():
    last = mutant(choose, "score.argmin()", "score.size - 1 - score[..., ::-1].argmin()")
    assert choose([1.0, 0, 0, 1], LRS).lr == 0.2 != last([1.0, 0, 0, 1], LRS).lr


def test_what_is_not_a_number_is_never_chosen_and_nothing_finite_is_no_choice():
    assert choose([np.nan, np.inf, 7.0, np.nan], LRS).lr == 0.4
    careless = mutant(choose, "np.where(np.isnan(curve), np.inf, curve)", "curve")
    with pytest.raises(EvidenceError):
        careless([np.nan, np.inf, 7.0, np.nan], LRS)
    with pytest.raises(EvidenceError, match=r"0\.1 \.\.\. 0\.8 .* widen it"):
        choose([np.nan, np.inf, np.inf, np.inf], LRS)


def test_a_curve_that_does_not_fit_its_grid_is_refused():
    for curve, settings in (([1.0, 2], None), (np.ones((2, 4)), "abc"), (np.ones((1, 4)), None)):
        with pytest.raises(ShapeError, match="curve has shape"):
            choose(curve, LRS, settings)
    with pytest.raises(ShapeError, match="lrs must rise"):
        choose([1.0, 2, 3, 4], LRS[::-1])


def test_sets_of_seeds_are_kept_apart():
    require_apart(range(5), range(5, 9))
    for sets, words in ((([], [1]), "at least one"), (([1, 2], [2]), "both sets"), (([1], [2, 2]), "repeat")):
        with pytest.raises(EvidenceError, match=words):
            require_apart(*sets)


def noisy_parabola(lrs, seeds, best=0.0):
    """Loss (log10 lr - best)^2 + noise of the seed."""
    noise = np.array([np.random.default_rng(seed).normal(0, 0.01) for seed in seeds])
    return (np.log10(lrs)[:, None] - best) ** 2 + noise


def test_tune_finds_the_best_rate_and_reports_other_seeds():
    tuned = tune(noisy_parabola, GRID, range(8), range(100, 120))
    assert tuned.lr == pytest.approx(1.0)
    assert not tuned.at_edge
    assert tuned.scores.shape == (20,)
    np.testing.assert_array_equal(tuned.scores, noisy_parabola(np.array([tuned.lr]), range(100, 120))[0])
    assert tuned.curve.shape == (7,)


@pytest.mark.parametrize(("best", "lr"), [(-9, 0.01), (9, 10)])
def test_tune_says_when_the_best_rate_is_at_the_edge(best, lr):
    tuned = tune(partial(noisy_parabola, best=best), GRID, range(8), range(100, 105))
    assert tuned.at_edge
    assert tuned.lr == pytest.approx(lr)


def test_a_loss_that_is_not_finite_counts_as_infinite():
    def run(lrs, seeds):
        loss = noisy_parabola(lrs, seeds)
        loss[lrs > 0.5] = np.nan
        return loss

    assert tune(run, GRID, range(5), range(10, 15)).lr == pytest.approx(10**-0.5)


def test_a_statistic_that_is_nan_for_one_rate_does_not_win():
    def spread(row):
        with np.errstate(invalid="ignore"):
            return np.std(row)

    def run(lrs, seeds):
        loss = noisy_parabola(lrs, seeds) * lrs[:, None]
        loss[3:] = np.inf
        return loss

    assert tune(run, GRID, range(5), range(10, 15), spread).lr == GRID[0]


def test_tuning_never_sees_a_reporting_seed():
    seen = []

    def run(lrs, seeds):
        seen.append((len(lrs), set(seeds)))
        return noisy_parabola(lrs, seeds)

    tune(run, GRID, range(5), range(10, 15))
    assert seen == [(7, set(range(5))), (1, set(range(10, 15)))]


def test_a_setting_is_chosen_along_with_its_rate_and_only_the_choice_is_reported():
    seen = []

    def run(lrs, seeds, offset):
        seen.append((offset, len(lrs), tuple(seeds)))
        return noisy_parabola(lrs, seeds, best=offset) + (offset - 0.5) ** 2

    choice = tune(run, GRID, range(3), range(10, 14), settings=(-1.0, 0.5, 9.0))
    assert (choice.setting, choice.index, choice.at_edge) == (0.5, (1, 5), False)
    assert choice.curve.shape == (3, 7)
    assert seen == [(s, 7, (0, 1, 2)) for s in (-1.0, 0.5, 9.0)] + [(0.5, 1, (10, 11, 12, 13))]
    np.testing.assert_array_equal(choice.scores, run(GRID[5:6], range(10, 14), 0.5)[0])
    apart = [tune(partial(run, offset=s), GRID, range(3), range(10, 14)) for s in (-1.0, 0.5, 9.0)]
    np.testing.assert_array_equal(choice.curve, [c.curve for c in apart])


def test_reporting_on_the_seeds_of_the_choice_would_be_seen():
    broken = mutant(
        tune, "losses(lrs[rate : rate + 1], reporting, *setting)", "losses(lrs[rate : rate + 1], tuning, *setting)"
    )
    assert broken(noisy_parabola, GRID, range(8), range(100, 120)).scores.shape != (20,)
