"""Two cells of the recorded grid against each other, network by network."""

import numpy as np

from companion.evidence import Interval, bootstrap, geometric
from companion.evidence.intervals import at_any_level, percent

from .race import PROBLEMS, TAMED

PROBLEMS_IN_WORDS = {"adding": "adding problem", "digits": "digits"}
#: What joins Adam: pairs of a cell with it and one without, each as (start, method).
COMPANY = {
    "a clip joins": [((where, "clipped Adam"), (where, "Adam")) for where in TAMED],
    "W starts as a rotation": [(("orthogonal", "Adam"), ("gain 1", "Adam"))],
    "W is pulled towards a rotation": [(("soft orthogonality", "Adam"), ("gain 1", "Adam"))],
}


def paired(races: dict, problem: str, *pairs: tuple[tuple[str, str], tuple[str, str]], worst: float = 10.0) -> Interval:
    """Scores of one (start, method) over those of another, network by network, all pairs together: geometric means.

    A score counts as at most `worst` times chance level: farther off is no worse.
    """
    cap = worst * PROBLEMS[problem].task.chance
    ratios = [
        np.divide(*(np.minimum(races[problem, start, name]["scores"], cap) for start, name in pair)) for pair in pairs
    ]
    return bootstrap(geometric(ratios, axis=0), geometric)


@at_any_level
def paired_with_choice(races: dict, problem: str, *pairs: tuple, level, seed, worst: float = 10.0) -> Interval:
    """As `paired`, and in every resample rates and limits are chosen anew, on a resample of the tuning networks.

    Networks are the same for all cells, and so are the resamples. Cells need the scores at all rates (`race.WHOLE`).
    """
    rng, n = np.random.default_rng(seed), max(4000, round(40 / (1 - level)))
    cap, cells = worst * PROBLEMS[problem].task.chance, {cell for pair in pairs for cell in pair}
    tuned, reported = (
        {cell: np.minimum(races[problem, *cell][key], cap) for cell in cells}
        for key in ("tuning scores", "reported scores")
    )

    def ratios(tuning, reporting):
        """One for each row of network numbers, tuning (n, tuning networks) and reporting (n, reported networks)."""
        logs = {}
        for cell in cells:
            medians = np.median(tuned[cell][..., tuning], axis=-1).reshape(-1, len(tuning))
            scores = reported[cell].reshape(-1, reported[cell].shape[-1])
            logs[cell] = np.log(scores[medians.argmin(0)[:, None], reporting]).mean(1)
        return np.exp(np.mean([logs[one] - logs[other] for one, other in pairs], axis=0))

    sizes = [next(iter(scores.values())).shape[-1] for scores in (tuned, reported)]
    estimate = float(ratios(*(np.arange(size)[None] for size in sizes))[0])
    drawn = ratios(*(rng.integers(size, size=(n, size)) for size in sizes))
    low, high = map(float, np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
    method = f"percentile bootstrap of networks and of the choice of rates, {percent(level)}"
    return Interval(estimate, min(low, estimate), max(high, estimate), method, sizes[1])
