"""Rows of the chapter's claims, condition -> interval, and the numbers of its prose.

Gains are those of `race`: gains[tail][measure] is a ratio for every run, with the clip over without it.
"""

import numpy as np

from companion.evidence import Interval, bootstrap, exact, geometric
from stepsize.rules import Adam
from stepsize.signals import respond
from stepsize.transforms import ClipByNorm, chain

from .heavy_tails import heavy_tailed, rms_ceiling, rms_step
from .race import resampled
from .rules import ClippedStep

#: Tails in the words of the claims.
WORDS = {
    "normal": "the noise is normal",
    "t1.5": "the noise is heavy-tailed",
    "spikes": "the noise has rare spikes",
    "t1.1": "the noise is nearly Cauchy",
}


def typical(ratios) -> Interval:
    """The geometric mean with its interval."""
    return bootstrap(ratios, geometric)


def moment_rows(g, limit: float) -> dict[str, Interval]:
    """Largest |v / v' - 1| for a clip before and behind Adam, v' the moment of the clipped gradients; g as `respond` takes it."""
    clip = ClipByNorm(limit)
    fed = respond(Adam(), clip(g)).state.v.mean
    places = {"before": chain(clip, Adam()), "behind": ClippedStep(Adam(), limit)}
    return {
        f"the clip stands {where} the rule": exact(np.abs(respond(rule, g).state.v.mean / fed - 1).max())
        for where, rule in places.items()
    }


def least_rate_gain(noise, limits) -> Interval:
    """The least ratio of Adam's rates, eps = 0, with a clip over without it: over all signals `noise`, all limits and all steps."""
    raw, g = Adam(1.0, eps=0), np.stack(list(noise), 1)  # all signals at once
    rate = respond(raw, g).rate
    ratios = [(respond(chain(ClipByNorm(limit), raw), g).rate / rate).min() for limit in limits]
    return exact(min(ratios), g.shape[1] * len(limits))


def gain_rows(measure: str, alone: dict, trained: dict, tails=tuple(WORDS)) -> dict[str, Interval]:
    """Typical gains in one measure: under noise alone for `tails`, then in training for all that were trained."""
    rows = {WORDS[tail]: typical(alone[tail][measure]) for tail in tails}
    return rows | {f"in training, {WORDS[tail]}": typical(of[measure]) for tail, of in trained.items()}


def percentile_rows(measure: str, alone: dict, trained: dict) -> dict[str, Interval]:
    """As `gain_rows`, for limits at a percentile p of the norms: alone[p] and trained[p] are gains."""
    rows = {}
    for p, gains in alone.items():
        for tail, of in gains.items():
            limit = f"the limit is the {p}th percentile, {WORDS[tail]}"
            rows[limit] = typical(of[measure])
            rows[f"in training, {limit}"] = typical(trained[p][tail][measure])
    return rows


def loss_ratios(placed: dict) -> dict[str, Interval]:
    """Late loss of every placement of `place` over that of Adam without a clip on the same bowl: typical ratios."""
    raw = placed["Adam"].scores
    return {name: typical(run.scores / raw) for name, run in placed.items() if name != "Adam"}


def loss_rows(ratio: dict) -> dict[str, Interval]:
    """The rows of the claim that a clip is a hazard, from ratio[tail] = `loss_ratios`."""
    places = {
        "the clip stands before the rule": "clip before, c = 1",
        "the clip stands before the rule, the rate is not tuned again": "clip before, not tuned again",
        "the clip stands in v alone": "clip v only, c = 1",
    }
    return {f"{words} and {WORDS[tail]}": of[name] for words, name in places.items() for tail, of in ratio.items()}


def retuning_rows(words: str, statistic, retuned: dict) -> dict[str, Interval]:
    """A statistic of `Retuning` for every tail, rates and bowls resampled."""
    return {f"{words}, {WORDS[tail]}": resampled(statistic, of) for tail, of in retuned.items()}


def gain_numbers(gain: dict, trained: dict, follows: dict, followed: dict) -> dict:
    """Gains for the prose: of the clip under noise alone and in training, of the percentiles alone (`follows`) and in training (`followed`)."""
    rate = {tail: geometric(of["rate, median"]) for tail, of in gain.items()}
    longest = {tail: geometric(of["step, longest"]) for tail, of in gain.items()}
    p10, p90 = ({tail: geometric(of["rate, median"]) for tail, of in follows[p].items()} for p in (10, 90))
    return {
        "rate-normal": (rate["normal"] - 1, ".0%"),
        "rate-spikes": (rate["spikes"], ".0f"),
        "rate-p10": (p10["normal"], ".1f"),
        "rate-p90": (p90["normal"] - 1, ".0%"),
        "rate-p10-spikes": (p10["spikes"], ".0f"),
        "rate-p90-spikes": (p90["spikes"], ".0f"),
        "rate-p90-trained": (geometric(followed[90]["normal"]["rate, median"]) - 1, ".1%"),
        "rms": (geometric(gain["t1.5"]["step, root mean square"]), ".2f"),
        "rms-law": (rms_step() / rms_step(1.5), ".2f"),
        "ceiling": (rms_ceiling(), ".3f"),
        "longest": (max(longest.values()), ".0%"),
        "longest-spikes": (longest["spikes"], ".0%"),
        "median-trained": (geometric(trained["normal"]["step, median"]), ".2f"),
        "longest-trained": (geometric(trained["normal"]["step, longest"]), ".2f"),
    }


def loss_numbers(races: dict, ratio: dict) -> dict:
    """Late losses for the prose: over those of Adam without a clip, and of one clip over another."""
    places = {
        "cure": ("spikes", "clip before, c = 1"),
        "normal": ("normal", "clip before, c = 1"),
        "kept": ("normal", "clip before, not tuned again"),
        "v-normal": ("normal", "clip v only, c = 1"),
        "short": ("spikes", "Adam, β₂ = 0.9"),
        "behind": ("spikes", "clip the step, c = 0.1"),
        "p10-t15": ("t1.5", "percentile clip, p = 10"),
        "p10-spikes": ("spikes", "percentile clip, p = 10"),
        "p90-t15": ("t1.5", "percentile clip, p = 90"),
        "p90-spikes": ("spikes", "percentile clip, p = 90"),
    }
    numbers = {key: (ratio[tail][name].estimate, ".1%") for key, (tail, name) in places.items()}
    for tail, placed in races.items():
        clipped, key = placed["clip before, c = 1"].scores, tail.replace(".", "")
        numbers[f"sgd-{key}"] = geometric(placed["clipped SGD"].scores / clipped), ".0%"
        numbers[f"tight-{key}"] = geometric(clipped / placed["clip before, c = 10"].scores), ".0%"
    return numbers


def listed(values, spec: str) -> str:
    """a, b and c, formatted alike."""
    *first, last = (format(value, spec) for value in values)
    return f"{', '.join(first)} and {last}"


def limit_numbers(races: dict, rng, n: int = 100_000, d: int = 10) -> dict:
    """What limits do, by the tails of `races`: the share of vectors of noise alone that they clip, of n in d dimensions; best rates over that without a clip."""
    norms = [np.linalg.norm(heavy_tailed(tail, (n, d), rng), axis=-1) for tail in races]
    numbers = {
        f"clipped-{key}": listed([(norm > c * d**0.5).mean() for norm in norms], ".1%")
        for key, c in {"tight": 1, "wide": 10}.items()
    }
    places = {"tight": "clip before, c = 1", "wide": "clip before, c = 10", "p10": "percentile clip, p = 10"}
    for key, name in places.items():
        numbers[f"grid-{key}"] = listed([placed[name].lr / placed["Adam"].lr for placed in races.values()], ".2g")
    return numbers


def sequence_rows(longest) -> dict[str, Interval]:
    """The longest step with the clip over that without along one sequence of gradients; `longest` is with, without."""
    clipped, raw = longest
    return {"no noise but one outlier, then gradients of one sign": exact(clipped / raw)}


def retuning_numbers(best: dict, cost: dict, wide: dict, bowls: dict) -> dict:
    """Ratios of best rates, costs of the rate kept, and numbers of bowls, by tail; `best`, `cost` and `wide` as `retuning_rows` made them."""
    rates = [i.estimate for i in best.values()]
    numbers = {"best-least": (min(rates), ".2f"), "best-most": (max(rates), ".2f")}
    for tail, rate, kept, high in zip(bowls, rates, cost.values(), wide.values(), strict=True):
        key = tail.replace(".", "")
        numbers |= {f"best-{key}": (rate, ".2f"), f"keep-{key}": (kept.estimate, ".2f")}
        numbers |= {f"wide-{key}": (high.estimate, ".2f"), f"retuning-{key}": (bowls[tail], ",d")}
    return numbers
