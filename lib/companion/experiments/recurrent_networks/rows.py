"""Rows of the chapter's claims: condition -> interval."""

import numpy as np

from companion.evidence.intervals import Interval, middle, proportion

from .gradient_flow import far_share, survivors
from .race import STARTS, Problem, failed


def reach_rows(untrained: dict[str, np.ndarray], gains) -> dict[str, Interval]:
    """|dL / dh_1| / |dL / dh_T|: medians over networks, from what `gradient_reach` returned for each gain by its name."""
    return {f"the gain is {gain:g}": middle(untrained[f"{gain:g}"][:, 0]) for gain in gains}


def far_rows(task, gain: float, seeds, reach: int = 5) -> dict[str, Interval]:
    """`far_share` beyond `reach` steps of untrained networks: the median."""
    return {f"the gain is {gain:g}": middle(far_share(task, task.net.start(gain, seeds), seeds, reach))}


def finite_rows(
    races: dict, problems: dict[str, tuple[str, Problem]], seeds, factor: float = 10.0
) -> dict[str, Interval]:
    """The share of networks from gain 3 that are finite after training at `factor` times the tuned rate, for Adam, heavy ball and SGD.

    `problems`: words -> (name in `races`, problem to train on).
    """
    rows = {}
    for words, (where, problem) in problems.items():
        for name in ("Adam", "heavy ball", "SGD"):
            kept = survivors(name, races[where, "gain 3", name], problem, STARTS["gain 3"], seeds, factor)
            lead = "" if name == "Adam" else f"{name}: "
            rows[f"{lead}weights stay finite, {words}"] = proportion(kept.sum(), kept.size)
    return rows


def learned_share(over_chance: np.ndarray) -> Interval:
    """The share of networks whose score, over that at chance level, is below 0.9."""
    learned = ~failed(over_chance, chance=1.0)
    return proportion(learned.sum(), learned.size)
