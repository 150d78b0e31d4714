"""Rows of the chapter's claims, condition -> interval, and the numbers of its prose, key -> value and format."""

from dataclasses import replace

import numpy as np

from companion.evidence.intervals import Interval, each, exact, middle
from companion.evidence.verdict import Verdict, decide, joint
from companion.evidence.wording import median, number, share
from stepsize import responses

from .landscapes import PlateauValley
from .network import Training
from .race import Raced, at_every_angle, chosen, decided_cost, lower_median, settling_times, twin_cost, twin_cost_alone
from .transients import Entry, thrown_back


def passage_rows(entries: dict[str, Entry], measure: str) -> dict[str, Interval]:
    """The median of one measure of `Entry` over the landscapes that a rule enters; with fewer than five it has no row."""
    seen = {name: getattr(entry, measure)[entry.arrived] for name, entry in entries.items()}
    return {f"the rule is {name}": middle(values) for name, values in seen.items() if values.size >= 5}


def passage_numbers(entries: dict[str, Entry], equal: str = "Adam, β₁ = β₂ = 0.95") -> dict:
    """By how much the step grows and the rate falls at the lip, and what becomes of AdaGrad; `equal` is counted apart."""
    peak = {name: entry.peak[entry.arrived] for name, entry in entries.items()}
    longer = np.concatenate([values > 1 for name, values in peak.items() if name != equal])
    typical = {
        f"{name.lower()}-peak": (np.median(values), ".1f") if values.size else "–"
        for name, values in peak.items()
        if name != equal
    }
    adam, adagrad = entries["Adam"], entries["AdaGrad"]
    return typical | {
        "grew": f"{longer.sum()} of {longer.size}",
        "equal-peak": (peak[equal].max(), ".3f"),
        "rate_fall": (1 / np.median(adam.rate[adam.arrived]), ".0f"),
        "first_fall": (1 / np.median(adam.first_rate[adam.arrived]), ".0f"),
        "ejected": (adagrad.ejected.mean(), ".0%"),
        "overshoot": (np.median(adagrad.overshoot), ".1f"),
    }


def floor_rows(far: dict[str, np.ndarray]) -> dict[str, Interval]:
    """The largest distance in the later of two windows of `peaks` over that in both: 1 for a floor, to nine digits."""
    left = {name: windows[-1] / np.fmax(windows.max(0), 1e-12) for name, windows in far.items()}
    return each({name: np.round(ratio, 9) for name, ratio in left.items()})


def rest_numbers(path, short, far: dict[str, np.ndarray], training: Training, begin: int = 10_000) -> dict:
    """Of Adam in x^2 / 2 how far it is thrown, `short` with beta2 = 0.9 and 0.99, by default in `far`; of its orbit from step `begin`
    on the typical distance and the time between bursts; quantiles of the sharpness in the second half of all trainings.
    """
    floors = *short, far["Adam keeps its learning rate"][-1]
    above = path.rate[begin:, 0] > responses.ema_threshold()
    crossings = np.flatnonzero(~above[:-1] & above[1:])
    late = np.quantile(training.sharpness[len(training.time) // 2 :], [0.05, 0.5, 0.95])
    return (
        {f"floor_{k}": (np.median(floor), ".2g") for k, floor in zip((9, 99, 999), floors, strict=True)}
        | {"typical": number(np.median(np.abs(path.x[begin:]))), "period": (np.diff(crossings).mean(), ".0f")}
        | {key: (value, ".0f") for key, value in zip(("edge_low", "edge", "edge_high"), late, strict=True)}
    )


def rate_rows(kept: dict[str, np.ndarray], warm: dict[str, float]) -> dict[str, Interval]:
    """Shares of the first rate that are left: of each rule the least over all slopes, of an accumulator above zero slope by slope."""
    least = {f"the rule is {name}": shares.min() for name, shares in kept.items()}
    return each(least | {f"AdaGrad begins at 0.1, the slope is {slope}": left for slope, left in warm.items()}, exact)


def rate_numbers(warm: dict[str, float]) -> dict:
    """What is left of the rate on the three slopes where the accumulator begins above zero."""
    return {f"warm_{k}": (left, ".0%") for k, left in zip((6, 3, 0), warm.values(), strict=True)}


def flatness_rows(kept: dict[str, np.ndarray], warm: dict[str, float], decades: float) -> dict[str, Interval]:
    """How much more of the rate is left per decade of flatter slope, relative; slopes rise by so many `decades` from first to last."""

    def gain(shares):
        return (shares[0] / shares[-1]) ** (1 / decades) - 1

    gains = {
        "accumulators begin at 0": max(map(gain, kept.values())),
        "AdaGrad's accumulator begins at 0.1": gain(list(warm.values())),
    }
    return each({condition: round(value, 9) for condition, value in gains.items()}, exact)


def cost_rows(where: str, costs: dict[str, np.ndarray]) -> dict[str, Interval]:
    """The median of what each method pays for one rate; a row needs five runs of which one of the twins settles."""
    return {f"{where}, {name}": middle(cost) for name, cost in costs.items() if cost.size >= 5}


def alone_rows(method: str, raced: dict[str, Raced], land: PlateauValley, steps: int) -> dict[str, Interval]:
    """The cost of one rate where there is one parameter, on the landscapes that `raced` reports."""
    return cost_rows("there is one parameter", twin_cost_alone(method, raced, land, steps))


def turned_rows(turned: dict[str, list[Raced]], pooled: dict[str, list[Raced]], steps: int) -> dict[str, Interval]:
    """The cost of one rate at the first angle, of every pooled method, and at the last of those that are raced there."""
    return cost_rows("the valley lies along an axis", twin_cost(pooled, turned, 0, steps)) | cost_rows(
        "the valley is turned by 45°", twin_cost(at_every_angle(pooled, turned), turned, -1, steps)
    )


def plane_rows(plane: dict[str, list[Raced]], pooled: dict[str, Raced], steps: int) -> dict[str, Interval]:
    """The cost of one rate where a plateau leads into the valley, at both angles, of runs of which one twin settles."""
    rows = {}
    for i, where in enumerate(("along an axis", "turned by 45°")):
        costs = {name: decided_cost(pooled[name], plane[name][i], steps) for name in plane}
        rows |= cost_rows(f"a plateau leads into the valley, {where}", costs)
    return rows


def patient_rows(pooled: Raced, turned: Raced, steps: int) -> dict[str, Interval]:
    """The cost of one rate to Adam where the valley is turned and the horizon is long."""
    return cost_rows("given twice the steps, turned by 45°", {"Adam": decided_cost(pooled, turned, steps)})


def verdict_of_all(verdict: Verdict, but: str) -> str:
    """The verdict if every row were stated, except where the condition says `but`; intervals hold jointly over all of them."""
    rows = [replace(row, setting="stated") for row in verdict.evidence if but not in row.condition]
    return decide(verdict.claim.quantifier, [row.says for row in joint(rows)])


def turned_numbers(turned: dict[str, list[Raced]], pooled: dict[str, list[Raced]], degrees, steps: int) -> dict:
    """Steps and shares at the first two angles and at the last, and what AMSGrad gains at each from a rate for each coordinate."""
    first = {
        f"{name}_{i}": median(turned[name][i].one) for name, i in (("heavy ball", 0), ("AdaGrad", 0), ("AdaGrad", 1))
    }
    last = {f"{name} turned": share(turned[name][-1].one) for name in ("AdaGrad", "Adam")}
    last["quickest turned"] = min(turned, key=lambda name: lower_median(turned[name][-1].one))
    gains = {
        angle: np.median(twin_cost({"AMSGrad": pooled["AMSGrad"]}, turned, i, steps)["AMSGrad"])
        for i, angle in enumerate(degrees)
    }
    return first | last | {f"gain_{angle}": (gain, ".2g") for angle, gain in gains.items()}


def plane_numbers(plane: dict[str, list[Raced]], pooled: dict[str, Raced], patient: list[Raced]) -> dict:
    """Shares of landscapes with a plateau that are settled, along the axes, turned and pooled; Adam's steps in twice the time."""
    each_way = {name: zip((0, 45, "pooled"), (*plane[name], pooled[name]), strict=True) for name in plane}
    shares = {f"plane {name} {key}": share(raced.one) for name, races in each_way.items() for key, raced in races}
    return shares | {
        "patient pooled": median(patient[0].one),
        "patient each": median(patient[1].one),
        "patient": share(patient[1].one),
    }


def race_numbers(raced: dict[str, Raced], land: PlateauValley, steps: int) -> dict:
    """Shares that settle with one rate and with the best one, Adam's in five times the time, median steps; and of gradient descent,
    on how many landscapes no stable rate crosses the plateau in time, and how often a quick one is thrown back.
    """
    names = "SGD", "heavy ball", "clipped SGD", "sign", "sign, 1/√t", "ADOPT"
    slow, fast = (lower_median(raced[name].one) for name in ("Adam", "Adam, β₂ = 0.9"))
    too_long = land.curvature * land.length / (2 * land.slope) > 0.75 * steps
    return (
        {f"one {name}": share(raced[name].one) for name in names}
        | {f"own {name}": share(raced[name].oracle) for name in names}
        | {f"steps {name}": median(raced[name].oracle) for name in ("Adam", "sign")}
        | {
            "slower": (slow / fast, ".1f"),
            "limit": raced["clipped SGD"].choice.setting,
            "later": share(settling_times(chosen("Adam", raced["Adam"]), land, 5 * steps)),
            "too_slow": (too_long.mean(), ".0%"),
            "thrown": (thrown_back(land, steps / 8, steps), ".0%"),
        }
    )


def closed_form_numbers() -> dict:
    """What the propositions say of Adam's step, with its defaults unless the key says otherwise, and of AdaGrad's distance."""
    k, u = responses.adam_cliff_peak()
    return {
        "u_at": k,
        "u_max": (u, ".2f"),
        "spike": (responses.adam_spike(), ".3f"),
        "sup": (responses.adam_worst(), ".4f"),
        "sup_99": (responses.adam_worst(beta2=0.99), ".2f"),
        "distance": (responses.adagrad_distance(10_000), ".4f"),
        "young": (responses.adam_cliff(np.arange(1, 99), plateau=100).max(), ".2f"),
    }
