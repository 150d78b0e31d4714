"""Tables of the primer on rules and the numbers of its prose. A path is that of `respond`, paths[rule][signal] that of a signal."""

import math

import numpy as np
import pandas as pd

from companion.evidence.intervals import Interval, bootstrap, middle
from stepsize.signals import step_size
from stepsize.tuning import Choice

from .figures import counter_corrected


def response_table(paths: dict, steps: int) -> pd.DataFrame:
    """In units of the learning rate: the last rate under a constant gradient, the longest step from the impulse on, and the root
    mean square step under every other signal, averaged over the second half of the steps.
    """
    rows = {}
    for name, by_signal in paths.items():
        size = {key: step_size(path) for key, path in by_signal.items()}
        longest = size.pop("impulse")[steps // 4 :].max()
        rows[name] = {"rate": by_signal["constant"].rate[-1, 0, 0], "impulse": longest}
        rows[name] |= {key: series[steps // 2 :].mean() for key, series in size.items()}
    return pd.DataFrame(rows).T


def half_lives(rate, beta) -> pd.DataFrame:
    """Steps of silence until v = rate^-2 is below half of its first value and the rate above twice, a row for every beta."""
    v = rate**-2.0
    lives = {"v has halved": (v < v[0] / 2).argmax(0), "rate has doubled": (rate > 2 * rate[0]).argmax(0)}
    return pd.DataFrame(lives, index=[f"β = {b}" for b in beta[:, 0]])


def tuning_table(results: dict[str, Choice]) -> pd.DataFrame:
    """What was chosen for every rule, whether at the edge of the grid, and the median loss on the reporting seeds."""
    rows = {}
    for name, result in results.items():
        i = middle(result.scores)
        edge, span = "yes" if result.at_edge else "no", f"{i.low:.4f} to {i.high:.4f}"
        rows[name] = f"{result.lr:.2g}", edge, f"{i.estimate:.4f}", span
    return pd.DataFrame(rows, index=["chosen lr", "at the edge of the grid", "median loss", "95 % interval"]).T


def reported(results: dict[str, Choice], lrs, anchor: str) -> dict:
    """What `Chapter.race` takes of the tuned rules: each with its scores, whose median is its cost."""
    entries = {name: (result, lrs) for name, result in results.items()}
    return {"entries": entries, "unit": "late loss", "statistic": np.median, "anchor": anchor}


def response_numbers(adam: dict, table: pd.DataFrame, steps: int) -> dict:
    """Adam's steps under signs, its fall of the rate and its step at the impulse, and how far AdaBelief's rate has climbed."""
    after = step_size(adam["impulse"])[steps // 4 :]
    return {
        "random_step": (table.loc["Adam", "random signs"], ".2f"),
        "alternating_step": (table.loc["Adam", "alternating"], ".3f"),
        "dip": (1 / adam["impulse"].rate[steps // 4 :].min(), ".1f"),
        "kick": (after.max(), ".2f"),
        "longer": (after > 1).sum(),
        "belief": (table.loc["AdaBelief", "rate"], ".0f"),
    }


def average_numbers(total, betas) -> dict:
    """How far off the step counter is at the first step with another beta, and by how much Adam's rate would fall."""
    wrong = counter_corrected(total, betas)[np.flatnonzero(np.diff(betas))[0] + 1]
    return {"counter": (wrong, ".0f"), "counter_rate": (wrong**0.5, ".1f")}


def decay_numbers(shrunk: pd.DataFrame) -> dict:
    """What two weights keep of themselves: the quiet and the loud one under coupled decay, their mean under decoupled decay."""
    quiet, loud = shrunk.loc["Coupled"]
    return {"quiet": (quiet, ".2f"), "loud": (loud, ".2f"), "decoupled": (shrunk.loc["Decoupled"].mean(), ".2f")}


def paired_losses(results: dict[str, Choice], best: str) -> dict[str, Interval]:
    """median(loss of a rule / loss of `best`), seed by seed, which met the same noise, for every other rule.

    The intervals hold jointly over all pairs of the k rules, each at 1 - 0.05 / (k (k - 1) / 2): so they do whichever rule is the best.
    """
    pairs = math.comb(len(results), 2)
    others = {name: result.scores / results[best].scores for name, result in results.items() if name != best}
    return {name: bootstrap(ratio, np.median, level=1 - 0.05 / pairs) for name, ratio in others.items()}


def tuning_numbers(results: dict[str, Choice]) -> dict:
    """The factor between the largest and the smallest chosen rate, the rule with the lowest median loss, who cannot be told from it,
    by intervals of median ratios of paired losses that reach 1, and the nearest of the others.
    """
    lrs = [result.lr for result in results.values()]
    best = min(results, key=lambda name: np.median(results[name].scores))
    paired = paired_losses(results, best)
    level = [name for name, i in paired.items() if i.low <= 1]
    nearest = min(paired, key=lambda name: paired[name].low)
    i = paired[nearest]
    return {
        "spread": (max(lrs) / min(lrs), ".0f"),
        "best": best,
        "level": ", ".join(level) or "none",
        "nearest": nearest,
        "nearest-loss": f"{i.estimate:.2f} [{i.low:.2f}, {i.high:.2f}]",
    }
