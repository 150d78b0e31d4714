"""Rows of the chapter's claims, condition -> interval or the sample of one, and the numbers that its prose takes from the run."""

import numpy as np

from companion.evidence.intervals import Interval, exact, proportion

from .filtering import excess, expected_proxy, mean_share, overstatement
from .race import LONGER, Lesson, Units, as_ratio
from .theory import SPREAD, both_costs, implied_aversion, quoted_rate, sampled_rate, two_sided_rate

RESTING = "it is Adam's and the gradient stands still"


def excesses(q: float, runs: int, steps: int, seeds) -> dict[str, np.ndarray]:
    """`excess` of m over the posterior mean of a true gradient that wanders with the variance q per step, with none, and with 10 q."""
    speeds = {
        "the true gradient is a random walk with q/r = (1 − β₁)²/β₁": q,
        "the true gradient stands still": 0.0,
        "the true gradient wanders with ten times the variance": 10 * q,
    }
    pairs = zip(speeds.items(), seeds, strict=True)
    return {condition: excess(speed, runs=runs, steps=steps, seed=seed) for (condition, speed), seed in pairs}


def training_excess(learned: Lesson) -> dict[str, np.ndarray]:
    """`Lesson.excess` along a training, over the memories of the claim and over longer ones: condition -> (reporting seeds,)."""
    training = "the gradient is that of a logistic regression in training"
    return {
        training: learned.excess(),
        f"{training}, memories up to the mean of all gradients so far": learned.excess(LONGER),
    }


def negative_share(values) -> Interval:
    """The share of values (runs,) below zero."""
    return proportion(int((values < 0).sum()), values.size)


def beliefs(q: float, steps: int, runs: int, seeds) -> tuple[dict, dict]:
    """`overstatement` of Adam's averages in front of a gradient that stands still, and of one memory of 0.9 in front of a walk of variance q."""
    still, moving = seeds
    return (
        overstatement(0.0, steps=steps, runs=runs, seed=still),
        overstatement(q, beta2=0.9, steps=steps, runs=runs, seed=moving),
    )


def overstatements(still: dict, moving: dict) -> dict[str, np.ndarray]:
    """v - m^2, as it is and cured, over the squared error of m, from `beliefs`: condition -> (runs,)."""
    cured = "one memory serves both, 1 − ρ is divided out, the rest is multiplied by"
    pace = "the gradient wanders as its filter assumes"
    return {
        RESTING: still["two betas"],
        f"both averages have the memory of m and {pace}": moving["two betas"],
        f"{cured} ρ, and the gradient stands still": still["share of it"],
        f"{cured} 1 − β₁, and {pace}": moving["share of it"],
    }


def aversion_ratio() -> dict[str, Interval]:
    """Largest over smallest `implied_aversion` of Adam; it falls with the noise."""
    low, high = implied_aversion(1.0, np.array([0.1, 10.0]))
    return {"the noise grows from a tenth to ten times the signal": exact(low / high, 2)}


def agent_numbers(doubts, h: float, aversion: float) -> dict[str, tuple]:
    """What the formulas of the agent and of its belief say: key -> (value, format).

    cara: how far the mean-variance cost is from the certainty equivalent, over the rates of the first figure.
    """
    rates, low_high = np.linspace(0, 1.9, 60), implied_aversion(1.0, np.array([0.1, 10.0]))
    gaps = [np.subtract(*both_costs(rates, s, h, aversion)) for s in doubts]
    return {
        "cara": (np.abs(gaps).max(), ".0e"),
        "quoted": (quoted_rate(1, 1, 1, 1) / float(sampled_rate(1, 1, 1, 1)), ".0%"),
        "lambda-low": (low_high[0], ".0f"),
        "lambda-high": (low_high[1], ".2f"),
        "bias": (expected_proxy() - 1, ".1%"),
        "times": (1 / mean_share(0.9), ".0f"),
        "rate-before": (two_sided_rate(*SPREAD[0]), ".5f"),
        "rate-after": (two_sided_rate(*SPREAD[1]), ".5f"),
    }


def race_numbers(ratio: dict, worst: dict) -> dict[str, str]:
    """Losses over Adam's as ratios with their intervals: of four rules on every problem, and tails of the risk-averse rule."""
    rules = {"sgd": "SGD", "ra": "risk-averse", "ivon": "IVON", "bayes": "AdaBayes"}
    keys = zip(("const", "unrel", "prop", "lsq", "logit"), ratio.values(), strict=True)
    return {f"{short}-{key}": as_ratio(found[rule]) for key, found in keys for short, rule in rules.items()} | {
        f"tail-{kind}": as_ratio(found["risk-averse"]) for kind, found in worst.items()
    }


def training_numbers(learned: Lesson) -> dict[str, tuple]:
    """What a gradient teaches along a training, the best memory, and by how much m's error exceeds that of the best of short and of longer ones."""
    return {
        "informed": (learned.informed.mean(), ".0%"),
        "beta": (learned.best(), "g"),
        "excess": (learned.excess().mean(), ".0%"),
        "excess-longer": (learned.excess(LONGER).mean(), ".0%"),
    }


def several_numbers(several: dict, memory: tuple) -> dict[str, tuple]:
    """Median factors of IVON with a tuned memory, signals of one size and of several, and of Adam's, from `misfits_tuned`, and the two memories."""
    one, many, adam = map(np.median, several.values())
    return {
        "misfit-tuned": (one, ".2f"),
        "misfit-several": (many, ".0f"),
        "misfit-several-adam": (adam, ".0f"),
        "memory": (memory[0], "g"),
        "memory-several": (memory[1], "g"),
    }


def misfit_numbers(unlike: dict, ivon: Units) -> dict[str, tuple]:
    """Median factors between the rates of Adam, of AdaBayes and of IVON and those of the best agent, from `misfits`, and that of IVON's mean over its streams."""
    return {
        "misfit": (np.median(unlike["the method is Adam"]), ".1f"),
        "misfit-bayes": (np.median(unlike["the method is AdaBayes and its two rates are equal"]), ".1f"),
        "misfit-ivon": (np.median(ivon.misfits()), ".2f"),
        "misfit-typical": (ivon.typical(), ".3f"),
    }
