"""Choosing a learning rate honestly: on problems that are not reported."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import EvidenceError, ShapeError


class Choice(NamedTuple):
    """A learning rate, and where there are several settings one of them, chosen on tuning problems.

    `curve` (lrs,) or (settings, lrs) is the statistic on the tuning problems, `index` the place of the choice in it, `at_edge`
    whether the rate is the first or last of its grid; `scores` is the result on the reporting problems, where there is one.
    """

    lr: float
    setting: Any
    index: tuple[int, ...]
    at_edge: bool
    curve: np.ndarray
    scores: np.ndarray | None = None


def _grid(lrs) -> np.ndarray:
    lrs = np.asarray(lrs, float)
    if lrs.ndim != 1 or lrs.size < 2:
        raise ShapeError(f"lrs must be a grid of at least two learning rates, got shape {lrs.shape}")
    if not np.all(np.diff(lrs) > 0):
        raise ShapeError("lrs must rise, or the edge of the grid means nothing; pass np.sort(lrs)")
    return lrs


def choose(curve, lrs, settings: Sequence | None = None) -> Choice:
    """argmin of `curve`: the rate of smallest statistic, and with `settings` the setting, curve of shape (settings, lrs).

    `lrs` rises. NaN counts as infinite. Among equals the first setting is chosen, and of its rates the smallest. What
    should be large, such as an accuracy, is passed with a minus sign. EvidenceError where nothing is finite.
    """
    lrs, curve = _grid(lrs), np.asarray(curve, float)
    shape = lrs.shape if settings is None else (len(settings), lrs.size)
    if curve.shape != shape:
        raise ShapeError(f"curve has shape {curve.shape}, expected one number for each choice, {shape}")
    score = np.where(np.isnan(curve), np.inf, curve)
    index = np.unravel_index(score.argmin(), shape)
    if not np.isfinite(score[index]):
        raise EvidenceError(
            f"no learning rate of the grid {lrs[0]:g} ... {lrs[-1]:g} has a finite statistic; "
            "widen it downwards or use a median"
        )
    setting = None if settings is None else settings[index[0]]
    return Choice(float(lrs[index[-1]]), setting, index, index[-1] in (0, lrs.size - 1), curve)


def require_apart(tuning, reporting) -> None:
    """EvidenceError unless both sets have seeds, none is in both, and no reporting seed counts twice."""
    if not len(tuning) or not len(reporting):
        raise EvidenceError("a choice needs at least one tuning seed and one reporting seed")
    if common := set(tuning) & set(reporting):
        raise EvidenceError(f"seeds {sorted(common)[:5]} are in both sets; tune on seeds that are not reported")
    if len(set(reporting)) < len(reporting):
        raise EvidenceError("reporting seeds repeat, which counts one run twice; give each seed once")


def tune(
    run: Callable, lrs, tuning, reporting, statistic: Callable = np.mean, settings: Sequence | None = None
) -> Choice:
    """The rate of `lrs` with the smallest `statistic` of run(lrs, tuning), scored on the disjoint seeds `reporting`.

    `run(lrs, seeds)` returns losses of shape (len(lrs), len(seeds)); one that is not finite counts as infinite. With
    `settings` it is run(lrs, seeds, setting), and the setting is chosen along with the rate, by `choose`.
    """
    lrs, tuning, reporting = _grid(lrs), list(tuning), list(reporting)
    require_apart(tuning, reporting)

    def losses(rates, seeds, *setting):
        loss = np.asarray(run(rates, seeds, *setting), float)
        if loss.shape != (len(rates), len(seeds)):
            raise ShapeError(f"run returned shape {loss.shape}, expected (lrs, seeds) = {(len(rates), len(seeds))}")
        return np.where(np.isfinite(loss), loss, np.inf)

    def curve(*setting):
        return [statistic(row) for row in losses(lrs, tuning, *setting)]

    chosen = choose(curve() if settings is None else list(map(curve, settings)), lrs, settings)
    setting, rate = () if settings is None else (chosen.setting,), chosen.index[-1]
    return chosen._replace(scores=losses(lrs[rate : rate + 1], reporting, *setting)[0])
