"""Choosing a learning rate honestly: on seeds that are not reported."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .errors import EvidenceError, ShapeError


class Tuned(NamedTuple):
    """A learning rate chosen on tuning seeds and what it scored on others.

    `curve` (learning rates) is the statistic on the tuning seeds, `scores` (reporting seeds) the result,
    `at_edge` whether the choice is the first or last of the grid.
    """

    lr: float
    curve: np.ndarray
    scores: np.ndarray
    at_edge: bool


def tune(run: Callable, lrs, tuning_seeds, reporting_seeds, statistic: Callable = np.mean) -> Tuned:
    """The rate of `lrs` with the smallest `statistic` of run(lrs, tuning_seeds), scored on disjoint reporting seeds.

    `lrs` rises. `run(lrs, seeds)` returns losses of shape (len(lrs), len(seeds)); one that is not finite counts as infinite.
    """
    lrs, tuning_seeds, reporting_seeds = np.asarray(lrs, float), list(tuning_seeds), list(reporting_seeds)
    if lrs.ndim != 1 or lrs.size < 2:
        raise ShapeError(f"lrs must be a grid of at least two learning rates, got shape {lrs.shape}")
    if not np.all(np.diff(lrs) > 0):
        raise ShapeError("lrs must rise, or the edge of the grid means nothing; pass np.sort(lrs)")
    if not tuning_seeds or not reporting_seeds:
        raise EvidenceError("tune needs at least one tuning seed and one reporting seed")
    if common := set(tuning_seeds) & set(reporting_seeds):
        raise EvidenceError(f"seeds {sorted(common)[:5]} are in both sets; tune on seeds that are not reported")
    if len(set(reporting_seeds)) < len(reporting_seeds):
        raise EvidenceError("reporting seeds repeat, which counts one run twice; give each seed once")

    def losses(rates, seeds):
        loss = np.asarray(run(rates, seeds), float)
        if loss.shape != (len(rates), len(seeds)):
            raise ShapeError(f"run returned shape {loss.shape}, expected (lrs, seeds) = {(len(rates), len(seeds))}")
        return np.where(np.isfinite(loss), loss, np.inf)

    curve = np.array([statistic(row) for row in losses(lrs, tuning_seeds)])
    best = int(np.argmin(np.where(np.isnan(curve), np.inf, curve)))
    if not np.isfinite(curve[best]):
        raise EvidenceError(
            f"no learning rate of the grid {lrs[0]:g} ... {lrs[-1]:g} has a finite "
            f"{getattr(statistic, '__name__', 'statistic')}; widen it downwards or use a median"
        )
    return Tuned(float(lrs[best]), curve, losses(lrs[best : best + 1], reporting_seeds)[0], best in (0, lrs.size - 1))
