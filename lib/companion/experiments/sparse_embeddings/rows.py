"""Rows of the chapter's claims: condition -> one value per training; and the numbers of its prose."""

import numpy as np

from companion.evidence import Interval, student
from stepsize.responses import reach

from . import by_word, epochs, readings
from .race import GOALS, Raced, chosen, grid, slopes, speedup, table
from .skip_gram import BINS, corpus

ADAPTIVE = "AdaGrad", "RMSProp", "Adam", "lazy Adam, shared clock"
#: Those whose second moments are read; "lazy Adam" has a clock for every row, as DGL's SparseAdam and this library have it.
WITH_MOMENTS = "AdaGrad", "RMSProp", "Adam", "lazy Adam", "lazy Adam, shared clock"
RAREST = "1-2"
STATIC = "SGD, 1/√count"


def title(name: str) -> str:
    """A rule as the registered conditions call it."""
    return "dense Adam" if name == "Adam" else name


def exponents(raced: dict[str, Raced], field: str, words: str, minus: str = "") -> dict[str, np.ndarray]:
    """Slope of log `field`, "rate", "moment" or "distance", against log count, training by training; less that of the rule `minus`."""
    slope = {name: slopes(getattr(run, field), run.visits) for name, run in raced.items() if name in WITH_MOMENTS}
    less = slopes(getattr(raced[minus], field), raced[minus].visits) if minus else 0.0
    return {f"{words} {title(name)}": slope[name] - less for name in WITH_MOMENTS}


def five_epochs(field: str, words: str = "", minus: str = "", of: str = "all") -> dict[str, np.ndarray]:
    """As `exponents`, after five epochs; `of` is a key of `readings.LEAST`."""
    lead = "five epochs, words visited 1,000 times or more," if of == "often" else "five epochs,"
    less = readings.exponents(minus, field, of) if minus else 0.0
    return {
        " ".join(filter(None, (lead, words, title(name)))): readings.exponents(name, field, of) - less
        for name in ADAPTIVE
    }


def kinship() -> dict[str, np.ndarray]:
    """Share of rare words' neighbours that are of their WordNet category, minus chance, after five epochs."""
    classes = {"seen once or twice": RAREST, "seen 3 to 9 times": "3-9"}
    return {
        f"WordNet, {said}, {title(name)}": readings.kinship(name, words)
        for said, words in classes.items()
        for name in ADAPTIVE
    }


def beside_common(raced: dict[str, Raced]) -> dict[str, np.ndarray]:
    """Loss of rare words with their own vectors minus that with the common one: after five epochs, mixed, and after a fifth of one."""
    rows = {f"the rule is {title(name)}": epochs.against_common(name, RAREST) for name in epochs.NAMES}
    for name in ADAPTIVE:
        run = raced[name]
        rows |= {
            f"words seen 3 to 9 times, {title(name)}": epochs.against_common(name, "3-9"),
            f"mixed with the common vector, {title(name)}": epochs.best_mixture(name, RAREST)[1],
            f"a fifth of an epoch, {title(name)}": (run.loss - run.common)[0, :, 1],
        }
    return rows


def over_words() -> dict[str, Interval]:
    """As the stated rows of N6, after five epochs, with intervals over words in place of trainings."""
    classes = {"seen once or twice": RAREST, "seen 3 to 9 times": "3-9"}
    return {
        f"words resampled, {said}, {title(name)}": by_word.resampled(name, of)
        for said, of in classes.items()
        for name in by_word.NAMES
    }


def beside_sgd(raced: dict[str, Raced]) -> dict[str, np.ndarray]:
    """Loss of words seen once or twice minus that of tuned SGD, by name of the rule."""
    return {name: (run.loss - raced["SGD"].loss)[0, :, 1] for name, run in raced.items() if name != "SGD"}


def after_five_epochs() -> dict[str, np.ndarray]:
    """As `beside_sgd`, after five epochs, by condition: of the recorded trainings of N6, each rule at its rate for all words."""
    at = 1 + list(BINS).index(RAREST)
    losses = {name: np.array(readings.recorded()[name]["loss"])[:, at] for name in ("SGD", *ADAPTIVE)}
    losses[STATIC] = epochs.recorded()[STATIC]["reporting"][:, -1, at]
    return {f"five epochs, {title(name)}": losses[name] - losses["SGD"] for name in (*ADAPTIVE, STATIC)}


def race_entries(raced: dict[str, Raced]) -> dict:
    """Method -> its choice of a rate, with the losses of rare words, and its rates, for the page that compares races."""
    rare = GOALS["rare words"]
    return {
        name: (chosen(name)._replace(curve=rare(table()[name]).mean(1), scores=rare(run.loss)[0]), grid(name))
        for name, run in raced.items()
    }


def numbers(raced: dict[str, Raced]) -> dict:
    """key -> (number, format) of the prose on words and their trainings."""
    first, whole = (1 - 0.9) / 0.001**0.5, reach(1e6)
    said = {"first": (first, ".2f"), "whole": (whole, ".2f"), "idle_share": (1 - first / whole, ".0%")}
    said |= {f"root{gap}": (reach(gap) / gap**0.5, ".3f") for gap in (10, 100, 1000)}
    said |= {"words": (len(corpus().counts), ","), "pairs": f"{len(corpus().train) / 1e6:.1f} million"}
    for name in ("SGD", *WITH_MOMENTS):
        said[f"moved-{name}"] = (slopes(raced[name].distance, raced[name].visits).mean(), "+.2f")
    for name in WITH_MOMENTS:
        said[f"rate-{name}"] = (slopes(raced[name].rate, raced[name].visits).mean(), "+.2f")
    said |= {f"gain-{name}": (gain.mean(), "+.2f") for name, gain in beside_sgd(raced).items()}
    every = {name: run.loss[0, :, 0].mean() for name, run in raced.items()}
    static = (every["SGD"] - every["SGD, 1/√count"]) / (every["SGD"] - every["Adam"])
    said["static_share"] = (static, ".0%")
    for key, name in (("lost", "lazy Adam"), ("left", "lazy Adam × D(gap)")):
        said[key] = ((raced[name].loss - raced["Adam"].loss)[0, :, 1].mean(), ".2f")
    dense = raced["Adam"]
    said["early-Adam"] = ((dense.loss - dense.common)[0, :, 1].mean(), "+.2f")
    said["unread"] = ((dense.visits[:, corpus().counts <= 2] == 0).mean(), ".0%")
    return said | _of_epochs()


def _of_epochs() -> dict:
    """The numbers that the recorded five epochs give."""
    asked = {"own-Adam": ("Adam", RAREST), "own-AdaGrad": ("AdaGrad", RAREST), "own-static": ("SGD, 1/√count", RAREST)}
    asked |= {"few-Adam": ("Adam", "3-9"), "some-Adam": ("Adam", "10-49")}
    weight, mixed = epochs.best_mixture("Adam", RAREST)
    said = {key: (epochs.against_common(*of).mean(), "+.3f") for key, of in asked.items()}
    said |= {"epochs": epochs.EPOCHS, "mixed-Adam": (mixed.mean(), "+.3f"), "weight": (weight.mean(), ".2f")}
    for name in ADAPTIVE:
        for of, key in (("all", "late"), ("often", "late-often")):
            said[f"{key}-{name}"] = (readings.exponents(name, "rate", of).mean(), "+.2f")
    for words, key in ((RAREST, "rarest"), ("3-9", "few"), ("10-49", "some"), ("300-1999", "many")):
        points = [100 * readings.kinship(name, words).mean() for name in ADAPTIVE]
        said |= {f"kin-{key}-low": (min(points), "+.1f"), f"kin-{key}-high": (max(points), "+.1f")}
        said[f"kin-{key}-SGD"] = (100 * readings.kinship("SGD", words).mean(), "+.1f")
        points = [100 * readings.kinship(name, words, chance=2).mean() for name in ADAPTIVE]
        said |= {f"dealt-{key}-low": (min(points), "+.1f"), f"dealt-{key}-high": (max(points), "+.1f")}
    said |= _of_words()
    *adaptive, static = (gain.mean() for gain in after_five_epochs().values())
    said |= {"five-low": (min(adaptive), "+.2f"), "five-high": (max(adaptive), "+.2f"), "five-static": (static, "+.2f")}
    chance = np.array(readings.recorded()["Adam"]["agreement"]["category"])[:, 1, 0].mean()
    known = (corpus().counts >= readings.KNOWN) & (readings.meanings()["category"] >= 0)
    kinds = len(np.unique(readings.meanings()["category"])) - 1
    return said | {"kin-chance": (chance, ".1%"), "known": (known.sum(), ","), "kinds": kinds}


def _of_words() -> dict:
    """How much wider the stated intervals of N6 are over words than over trainings, and how many of how many rules lie beside zero, at 95 %."""
    over = {of: [by_word.resampled(name, of) for name in by_word.NAMES] for of in by_word.RARE}
    trained = [student(epochs.against_common(name, of)) for of in by_word.RARE for name in by_word.NAMES]
    wide = [i for intervals in over.values() for i in intervals]
    wider = [(i.high - i.low) / (j.high - j.low) for i, j in zip(wide, trained, strict=True)]
    above, below = sum(i.low > 0 for i in over[RAREST]), sum(i.high < 0 for i in over["3-9"])
    return {
        "words-wider": (np.median(wider), ".0f"),
        "words-above": above,
        "words-below": below,
        "words-rules": len(by_word.NAMES),
    }


def cost_numbers(costs: dict[str, Interval], memory: dict[str, Interval]) -> dict:
    """key -> (number, format) of the prose on cost, from the rows of N3."""
    million = "{}, 1,000,000 rows".format
    paid = speedup("dense Adam, fused (torch)", "lazy Adam, idle steps paid", 10**6)
    return {
        "torch-1000000": (costs[million("SparseAdam (torch)")].estimate, ".0f"),
        "torch-10000": (costs["SparseAdam (torch), 10,000 rows"].estimate, ".2f"),
        "ours-1000000": (costs[million("lazy Adam")].estimate, ".0f"),
        "torch-together": (costs[million("all rules in one race, SparseAdam (torch)")].estimate, ".0f"),
        "ours-together": (costs[million("all rules in one race, lazy Adam")].estimate, ".0f"),
        "paid": (np.median(paid), ".0f"),
        "row-wise-time": (costs[million("row-wise AdaGrad")].estimate, ".0f"),
        "factored-time": (1 / costs[million("Adafactor")].estimate, ".1f"),
        "gradient": (memory["memory of the gradient is meant"].estimate, ".0f"),
        "row-wise": (memory["state of row-wise AdaGrad"].estimate, ".0f"),
        "factored": (memory["state of Adafactor"].estimate, ".0f"),
    }
