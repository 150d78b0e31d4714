"""Classifiers trained against one attacker each, judged by an attack that none of them trained on, kept as a file.

python -m companion.experiments.adversarial_training.defenses [cell ...]     # the cells that the file lacks, or those named

A cell is a ball and an attacker, as "L2 | Adam"; all randomness comes from the seed of the file. Learner's rate and attacker's rate are chosen together, on models of their own
and validation images, by Auto-PGD; the reporting models are judged on test images.
"""

import sys
from itertools import product

import numpy as np
import torch

from companion.experiments.archive import GRIDS
from stepsize.rules import SGD
from stepsize.tuning import choose

from .attacks import Target, auto_pgd, judge
from .classifiers import Classifier, digits, train
from .robustness import (
    ATTACKERS,
    BALLS,
    BATCH,
    EUCLIDEAN,
    Duel,
    Victims,
    duel,
    generators,
    lazy_rate,
    learner,
    standard,
    trainer,
)

DEFENDERS = GRIDS["defenders"]

NOBODY, LAZY, AUTO = "nobody", "SGD, lazy", "Auto-PGD"
_BOTH = (NOBODY, LAZY, "SGD", "sign", "normalised SGD", "Adam", AUTO, "pooled Adam", "RMSProp")
#: In the box the projection makes no difference.
OPPONENTS = {"L∞": _BOTH, "L2": (*_BOTH, EUCLIDEAN["Adam"], EUCLIDEAN["RMSProp"])}
CELLS = tuple(f"{kind} | {opponent}" for kind in BALLS for opponent in OPPONENTS[kind])

SEED = DEFENDERS.facts["seed"]
TUNING, REPORTING = range(SEED + 200, SEED + 202), range(SEED, SEED + 20)
EPOCHS, STEPS = 20, 10
LRS = (0.001, 0.003, 0.01, 0.03, 0.1)
#: Attackers' rates that training tries, as multiples of the one tuned on standard models.
FACTORS = (1.0, 3.0)


def opposed(cell: str, lr, attacker_lr, seeds, epochs: int = EPOCHS):
    """Weights (runs, d) after training in the cell; `lr` and `attacker_lr` are numbers or one per run."""
    kind, opponent = cell.split(" | ")
    train_images, _, _ = digits(SEED)
    attack = None
    if opponent != NOBODY:
        rule = None
        if opponent != AUTO:
            make = SGD if opponent == LAZY else ATTACKERS[opponent].rule
            rule = make(_runs(attacker_lr, 3))
        attack = trainer(rule, BALLS[kind], STEPS)
    return train(Classifier(), learner(_runs(lr, 1), epochs), seeds, train_images, epochs, BATCH, attack)


def _runs(values, axes):
    """One value per run, or a number for all, with `axes` axes of one behind."""
    return torch.as_tensor(np.asarray(values, float)).reshape(-1, *[1] * axes)


def candidates(cell: str):
    """The attacker's rates among which training chooses; [0] where there is no choice."""
    kind, opponent = cell.split(" | ")
    if opponent == LAZY:
        return np.array([lazy_rate(BALLS[kind])])
    if opponent in (NOBODY, AUTO):
        return np.zeros(1)
    images, validation, _ = digits(SEED)
    x = standard(TUNING, EPOCHS, images)
    victims = Victims(Classifier(), x, x[:1], (TUNING, REPORTING[:1]))
    return duel(opponent, victims, BALLS[kind], STEPS, validation, validation[:1]).lr * np.array(FACTORS)


def tuned(cell: str) -> dict:
    """The pair of rates with the best robust accuracy under Auto-PGD on validation images, and the whole grid."""
    kind, _ = cell.split(" | ")
    _, validation, _ = digits(SEED)
    attacker_lrs = candidates(cell)
    pairs = np.array(list(product(LRS, attacker_lrs)))
    each = np.repeat(pairs, len(TUNING), axis=0)
    seeds = list(TUNING) * len(pairs)
    x = opposed(cell, each[:, 0], each[:, 1], seeds)
    robust = auto_pgd(Target.of(Classifier(), x, validation), BALLS[kind], 20, generators(seeds, 0)).robust
    curve = robust.numpy().reshape(len(LRS), len(attacker_lrs), len(TUNING)).mean(-1)
    choice = choose(-curve.T, LRS, attacker_lrs)
    return {
        "lr": choice.lr,
        "attacker_lr": float(choice.setting),
        "lr_at_edge": choice.at_edge,
        "curve": (100 * curve).round(2).tolist(),
    }


def judged(cell: str, lr: float, attacker_lr: float, seeds=REPORTING) -> dict:
    """Clean accuracy and the share of test images that stand before the judge, in per cent, for every seed."""
    kind, _ = cell.split(" | ")
    _, _, test = digits(SEED)
    x = opposed(cell, lr, attacker_lr, seeds)
    stands = judge(Classifier(), x, test, BALLS[kind], SEED)
    shares = {"clean": Classifier().right(x, test), "robust": stands.double().mean(-1)}
    return {name: (100 * share).numpy().round(2).tolist() for name, share in shares.items()}


def compute(cell: str) -> dict:
    """One cell: tuned, then judged at the chosen rates."""
    choice = tuned(cell)
    return choice | judged(cell, choice["lr"], choice["attacker_lr"])


def by_strength(duels: dict[str, Duel], kind: str, least: float = 1.0) -> list[tuple[str, str]]:
    """(stronger, weaker): all pairs of attackers in training that leave at least `least` points apart standing.

    What they leave standing is the mean over the models of `duels`; the lazy attacker is plain ascent at the lazy rate.
    """
    standing = {name: duels[name].tuned.mean() for name in OPPONENTS[kind] if name in duels}
    standing[LAZY] = duels["SGD"].lazy.mean()
    return [(a, b) for a, b in product(standing, standing) if standing[b] - standing[a] >= least]


if __name__ == "__main__":
    torch.set_num_threads(1)
    DEFENDERS.fill(CELLS, compute, sys.argv[1:])
