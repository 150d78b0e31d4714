"""Rows of the chapter's claims, condition -> interval or the sample of one, and the numbers that its prose takes from the run."""

import numpy as np

from companion.evidence.intervals import Interval, exact, middle
from stepsize.measures import log_slope
from stepsize.metric import DiagonalPower, steepest

from .half_plane import length
from .natural_gradient import KINDS, directions, gains, predicted_steps, share_of_gain, spread, stretched

_AXES = "only the units differ, along the axes"
#: The kinds of regressions in the words of the claims.
_WORDS = {kind: kind for kind in KINDS} | {"unequal units": _AXES}
_ON_MATRICES = {"Adam, g / √v": "Adam"} | {name: name for name in ("Shampoo", "Shampoo, twice the power", "K-FAC")}


def worst(deviations) -> Interval:
    """The largest of deviations (cases,) that are zero by an identity, up to rounding."""
    return exact(np.max(deviations), np.size(deviations))


def euclidean_deviations(g):
    """Largest coordinate of the difference between -g / |g| and the steepest step of length one in G = I: (runs, d) -> (runs,)."""
    unit = g / np.linalg.norm(g, axis=-1, keepdims=True)
    return np.abs(steepest(np.eye(g.shape[-1]), unit) + unit).max(-1)


def tensor_law(defects: dict) -> dict[str, Interval]:
    """The law of a metric, from `law_defects`: the largest defect where the law is an identity, the median where it is broken."""
    return {
        "v is taken without its root and only units change": worst(defects["v, units"]),
        "the whole matrix V is kept, without a root": worst(defects["V, both"]),
        "√v is used and units change": middle(defects["√v, units"]),
        "v is used and the coordinates turn": middle(defects["v, rotation"]),
    }


def step_exponents(scales, snr: float, seeds, model, x) -> dict[str, np.ndarray]:
    """Exponent of a coordinate's step in its scale, condition -> (runs,): noisy gradients in units of `scales` at a signal of `snr`
    noise deviations, and the directions at x of a model, whose scale in a coordinate is the root of its Fisher information."""  # fmt: skip
    noisy = {p: stretched(DiagonalPower(1.0, 0.999, p), scales, snr, seeds)[1] for p in (0.5, 1.0)}
    u, scale = directions(model, x), np.sqrt(np.diagonal(model.fisher(x), axis1=-2, axis2=-1))
    return {
        "the metric is v, without its root": log_slope(scales, noisy[1.0]),
        "the metric is √v, as in Adam": log_slope(scales, noisy[0.5]),
        "the metric is the Fisher information": log_slope(scale, u["natural gradient"]),
        "the metric is √v, on the same regressions": log_slope(scale, u["Adam, g / √v"]),
    }


def degrees_nearer(apart: dict) -> dict[str, np.ndarray]:
    """`gains` of Adam, and of the exact diagonal of F as a control, over all kinds: condition -> (runs,)."""
    adam, best = gains(apart, "Adam, g / √v"), gains(apart, "diagonal Fisher")
    return {_WORDS[kind]: of for kind, of in adam.items()} | {
        f"the exact diagonal of F, {_WORDS[kind]}": of for kind, of in best.items()
    }


def proportionality(information, v: dict) -> dict[str, np.ndarray]:
    """`spread` of metric over Fisher information, from `batch_moments` of 1, 8 and all examples: condition -> (runs,)."""
    ratios = {
        "the metric is v and batches hold at most 8 examples": v[8] / information,
        "the metric is v and the batch is the whole data set": v[max(v)] / information,
        "the metric is √v and units differ a hundredfold": np.sqrt(v[1]) / information,
    }
    return {condition: spread(ratio) for condition, ratio in ratios.items()}


def shares(apart: dict, factored: dict) -> dict[str, Interval]:
    """`share_of_gain` over the exact diagonal of F: Adam's on vectors, all kinds, and that of four rules on matrices, unequal units."""
    adam, best = gains(apart, "Adam, g / √v"), gains(apart, "diagonal Fisher")
    share = {_WORDS[kind]: share_of_gain(adam[kind], best[kind]) for kind in adam}
    most = gains(factored, "diagonal Fisher")["unequal units"]
    for name, words in _ON_MATRICES.items():
        gain = gains(factored, name)["unequal units"]
        share[f"{words} on a weight matrix, {_AXES}"] = share_of_gain(gain, most)
    return share


def matrix_degrees_nearer(factored: dict) -> dict[str, np.ndarray]:
    """`gains` of two Kronecker factors where units differ, along the axes and rotated: condition -> (runs,)."""
    return {
        f"{name} on a weight matrix, {_WORDS[kind]}": gains(factored, name)[kind]
        for name in ("Shampoo", "K-FAC")
        for kind in ("unequal units", "unequal units, rotated")
    }


def angle_numbers(apart: dict, factored: dict) -> dict[str, tuple]:
    """Mean degrees from the natural gradient where the units are unequal, on vectors and on matrices, and mean gains, Euclid's metric."""
    vector, matrix = (
        {name: degrees[0].mean() for name, degrees in of["unequal units"].items()} for of in (apart, factored)
    )
    adam = gains(apart, "Adam, g / √v")["unequal units"].mean()
    best = {kind: gain.mean() for kind, gain in gains(apart, "diagonal Fisher").items()}
    return {
        "angle-sgd": (vector["SGD"], ".0f"),
        "angle-adam": (vector["Adam, g / √v"], ".0f"),
        "angle-diag": (vector["diagonal Fisher"], ".0f"),
        "gain-adam": (adam, ".0f"),
        "gain-diag": (best["unequal units"], ".0f"),
        "share-units": (adam / best["unequal units"], ".2f"),
        "gain-rest": (max(gain for kind, gain in best.items() if kind != "unequal units"), ".1f"),
        "kfac": (matrix["K-FAC"], ".0f"),
        "matrix-diag": (matrix["diagonal Fisher"], ".0f"),
        "matrix-adam": (matrix["Adam, g / √v"], ".0f"),
        "shampoo": (matrix["Shampoo"], ".0f"),
        "twice": (matrix["Shampoo, twice the power"], ".0f"),
    }


def metric_numbers(information, v: dict, roads: dict) -> dict[str, tuple]:
    """Medians of how far v is from proportional to the Fisher information, in batches of 8 and in the whole, and of how far apart the
    metrics of two roads are on arrival."""  # fmt: skip
    small, whole, _ = proportionality(information, v).values()
    arrived, _ = roads.values()
    return {
        "spread-8": (np.median(small), ".2f"),
        "spread-n": (np.median(whole), ".0f"),
        "roads": (np.median(arrived), ".0f"),
    }


def step_numbers(middle: dict, distances, needed: dict, cap: int = 4000) -> dict[str, tuple]:
    """Median steps with equal units, the predicted exponent between the two largest distances, and how many data sets the empirical
    rule does not solve within `cap` steps from some distance."""  # fmt: skip
    far = distances[-2:]
    return {
        "adam-unit": (middle["Adam", "unit scales"].estimate, ".0f"),
        "heavy-unit": (middle["heavy ball", "unit scales"].estimate, ".0f"),
        "rmsprop-unit": (middle["RMSProp", "unit scales"].estimate, ".0f"),
        "predicted": (log_slope(far, predicted_steps(far)), ".2f"),
        "never": ((needed["empirical Fisher"] > cap).any(0).sum(), "d"),
    }


def arrivals(raced: dict, cap: int) -> dict[str, int | str]:
    """On how many of the reported data sets Adam, Adam without momentum, heavy ball and RMSProp arrive within `cap` steps, units equal
    or unequal; and for which of the first three no rate of the grid arrives on any tuning data set, units unequal.
    """
    rules = {"adam": "Adam", "plain": "Adam without momentum", "heavy": "heavy ball", "rmsprop": "RMSProp"}
    kinds = {"unit": "unit scales", "unequal": "unequal units"}
    nowhere = [name for name in list(rules.values())[:3] if np.min(raced[name, "unequal units"].curve) >= cap + 1]
    return {
        f"arrive-{rule}-{kind}": int((raced[name, words].scores <= cap).sum())
        for rule, name in rules.items()
        for kind, words in kinds.items()
    } | {"nowhere": ", ".join(nowhere) or "none of them"}


def elsewhere_numbers(elsewhere: dict) -> dict[str, tuple]:
    """mean(stray) from nearer and from farther starts, in natural parameters and in the limit of small rates, of `strays_elsewhere`."""
    keys = "near-natural", "near-limit", "far-natural", "far-limit"
    return {key: (degrees.mean(), "+.1f") for key, degrees in zip(keys, elsewhere.values(), strict=True)}


def path_numbers(off: dict, paths: dict) -> dict[str, tuple]:
    """Mean angles of the paths in (mu, sigma) to the steepest descent of the surface, and how much longer than geodesics they are."""
    chart = "μ, σ"
    strayed = {
        "sgd": "SGD",
        "adam": "Adam",
        "one": "Adam, batches of 1",
        "16": "Adam, batches of 16",
        "limit": "Adam, small rates",
    }
    longer = {"ng": "natural gradient", "sgd": "SGD", "adam": "Adam"}
    shortest = length(paths["geodesic", chart])
    extra = {key: 100 * (length(paths[name, chart]) / shortest - 1).mean() for key, name in longer.items()}
    return (
        {f"off-{key}": (off[name, chart].mean(), ".1f") for key, name in strayed.items()}
        | {f"extra-{key}": (percent, ".1f") for key, percent in extra.items()}
        | {"worse": ((off["Adam", chart] > off["SGD", chart]).mean(), ".0%")}
    )
