"""Attackers against classifiers, both tuned: all rates and models at once. Robustness as a table of attackers, victims, balls.

Attackers are tuned on validation images and models of their own, and reported on test images and other models.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from companion.evidence import Interval, student
from stepsize.contract import hyperparameters
from stepsize.rules import SGD, AdaGrad, Adam, AMSGrad, RMSProp, SignDescent
from stepsize.transforms import chain
from stepsize.tuning import choose, require_apart
from stepsize.wrappers import InverseRoot, LinearDecay, Pooled

from .attacks import Box, Disc, EuclideanProjection, Target, Unit, WorstPoint, auto_pgd, stands_walk, walk_in_ball
from .classifiers import BLOCK, Classifier, losses, of_runs, train

#: Radii at which a standard model errs on about half of the images and a person reads nearly all.
BALLS = {"L∞": Box(0.1), "L2": Disc(0.6)}

BATCH, STANDARD = 100, Classifier()


def learner(lr, epochs: int, images: int = 1000):
    """The rule with which every classifier learns: Adam, its rate falling linearly to 0."""
    return LinearDecay(Adam(lr), epochs * -(-images // BATCH))


def normalised(lr):
    """Steepest ascent in Euclid's norm."""
    return chain(Unit(), SGD(lr))


def falling(lr):
    """Steepest ascent in Euclid's norm, its rate lr / sqrt(t) at step t: RMSProp's fall while its second moment fills, and no pixels."""
    return InverseRoot(normalised(lr))


def pooled_adam(lr):
    """Adam with one second moment per image instead of one per pixel."""
    return Pooled(Adam(lr))


def pooled_rmsprop(lr):
    """RMSProp with one second moment per image instead of one per pixel."""
    return Pooled(RMSProp(lr))


class Attacker(NamedTuple):
    """A rule as lr -> rule and its grid of rates: in units of the radius, but for plain ascent, whose gradients have units."""

    rule: Callable
    lrs: np.ndarray
    relative: bool = True

    def rates(self, ball) -> np.ndarray:
        return self.lrs * (ball.radius if self.relative else 1.0)


_STEPS = np.logspace(-1.5, 2.5, 17)
ATTACKERS = {
    "SGD": Attacker(SGD, np.logspace(-2, 7, 19), relative=False),
    "normalised SGD": Attacker(normalised, _STEPS),
    "sign": Attacker(SignDescent, _STEPS),
    "AdaGrad": Attacker(AdaGrad, _STEPS),
    "RMSProp": Attacker(RMSProp, _STEPS / 10),  # its first step is ten rates long
    "Adam": Attacker(Adam, _STEPS),
    "AMSGrad": Attacker(AMSGrad, _STEPS),
    "pooled Adam": Attacker(pooled_adam, _STEPS),
}
#: Rules with a rate per pixel. Projected in Euclid's metric they are other attackers; in the box they are the same.
ADAPTIVE = ("AdaGrad", "RMSProp", "Adam", "AMSGrad")
EUCLIDEAN = {name: f"{name}, Euclidean projection" for name in ADAPTIVE}
ATTACKERS |= {
    words: ATTACKERS[name]._replace(rule=lambda lr, rule=ATTACKERS[name].rule: EuclideanProjection(rule(lr)))
    for name, words in EUCLIDEAN.items()
}
#: What `race` pits against each other, unless told otherwise: the last two are only compared with RMSProp.
RACED = tuple(ATTACKERS)
ATTACKERS |= {
    "pooled RMSProp": Attacker(pooled_rmsprop, _STEPS / 10),
    "normalised SGD, falling": Attacker(falling, _STEPS),
}
_TITLES = {"SGD, lazy": "plain ascent, lazy rate", "SGD": "plain ascent", "normalised SGD": "normalised ascent"}


def title(name: str) -> str:
    """What an attacker is called in tables and pictures: rules descend, attackers ascend."""
    return _TITLES.get(name, name)


#: The attacker that climbs steepest in the norm of each ball.
MATCHED = {"L∞": "sign", "L2": "normalised SGD"}


def lazy_rate(ball) -> float:
    """A quarter of the radius: a rate such as one sets once, for whatever attacker."""
    return ball.radius / 4


def generators(seeds, start: int):
    """The randomness of the `start`-th random start, one generator per model."""
    return [np.random.default_rng([seed, 3, start]) for seed in seeds]


def _across(rates):
    return torch.as_tensor(np.asarray(rates, float))[:, None, None]


class Duel(NamedTuple):
    """One attacker against one kind of victim in one ball; accuracies are shares of images that stand.

    `curve` (rates,): mean on the tuning models. `fate` (2 rates, models, images): whether each test image stands, at the
    tuned rate and at the lazy one. `lr` and `at_edge` are None for an attack without a rate.
    """

    lr: float | None
    at_edge: bool | None
    rates: np.ndarray
    curve: np.ndarray
    fate: np.ndarray

    @property
    def tuned(self) -> np.ndarray:
        """Robust accuracy of every reporting model at the tuned rate, (models,), in per cent."""
        return 100 * self.fate[0].mean(-1)

    @property
    def lazy(self) -> np.ndarray:
        """The same at the lazy rate."""
        return 100 * self.fate[1].mean(-1)


class Victims(NamedTuple):
    """A classifier, weights of the tuning and of the reporting models, and their seeds."""

    classifier: Classifier
    tuning: torch.Tensor
    reporting: torch.Tensor
    seeds: tuple


def _walk(rule, target, ball, steps, rngs) -> WorstPoint:
    return auto_pgd(target, ball, steps, rngs) if rule is None else walk_in_ball(rule, target, ball, steps, rngs)


def _attack(rule, classifier, x, images, ball, steps, rngs) -> WorstPoint:
    """Against one model after the other: what it needs stays in the cache from step to step."""
    targets = (Target.of(classifier, x[k : k + 1], images) for k in range(len(x)))
    rules = (rule and of_runs(rule, slice(k, k + 1), 4) for k in range(len(x)))
    walks = [_walk(*own, ball, steps, [rng]) for *own, rng in zip(rules, targets, rngs, strict=True)]
    return WorstPoint(*map(torch.cat, zip(*walks, strict=True)))


def _standing(rule, classifier, x, images, ball, steps, *starts) -> torch.Tensor:
    """Whether each image stands, (models, rates or starts, images): one model after the other, a rule some images at a time.

    `starts` has the generators of one random start or of several, the latter for a rule with one rate per model.
    """
    if rule is None:
        return _attack(rule, classifier, x, images, ball, steps, *starts).margin > 0
    models = []
    for one in (slice(k, k + 1) for k in range(len(x))):
        target, own = Target.of(classifier, x[one], images), of_runs(rule, one, 4)
        start = torch.cat([target.start(ball, rngs[one]) for rngs in starts], 1)
        rates = max(math.prod(np.shape(v)) for v in hyperparameters(own).values())
        few = max(1, 2 * BLOCK // (max(rates, len(starts)) * start.shape[-1]))
        parts = (slice(k, k + few) for k in range(0, len(images.y), few))
        models.append(
            torch.cat([stands_walk(start[:, :, rows], own, target.of_images(rows), ball, steps) for rows in parts], 2)
        )
    return torch.cat(models)


def _share(stands) -> torch.Tensor:
    """Share of images that stand."""
    return stands.double().mean(-1)


def duel(name: str, victims: Victims, ball, steps: int, validation, test) -> Duel:
    """Tune the attacker on the tuning models and validation images, then let it loose on the reporting models."""
    tuning, reporting = victims.seeds
    require_apart(tuning, reporting)
    model, lr, edge, rates, curve, rule = victims.classifier, None, None, np.array([]), np.array([]), None
    if name != "Auto-PGD":
        make, rates = ATTACKERS[name].rule, ATTACKERS[name].rates(ball)
        stands = _standing(make(_across(rates)), model, victims.tuning, validation, ball, steps, generators(tuning, 0))
        lr, _, _, edge, curve, _ = choose(_share(stands).mean(0), rates)
        rule = make(_across([lr, lazy_rate(ball)]))
    stands = _standing(rule, model, victims.reporting, test, ball, steps, generators(reporting, 1))
    fate = stands.numpy().transpose(1, 0, 2)
    return Duel(lr, edge, rates, curve, np.broadcast_to(fate, (2, *fate.shape[1:])))


def race(kind: str, x, seeds, tuned_on: int, steps: int, validation, test, names=None) -> dict[str, Duel]:
    """The duels of all attackers that differ in one ball, or of those named, against models x.

    The first `tuned_on` models are for tuning; `seeds`, one for each model, are for the random starts.
    """
    victims = Victims(Classifier(), x[:tuned_on], x[tuned_on:], (seeds[:tuned_on], seeds[tuned_on:]))
    names = names or [name for name in RACED if kind == "L2" or name not in EUCLIDEAN.values()] + ["Auto-PGD"]
    return {name: duel(name, victims, BALLS[kind], steps, validation, test) for name in names}


def race_rivals(x, seeds, tuned_on: int, steps: int, validation, test) -> dict[str, dict[str, Duel]]:
    """What RMSProp is compared with, against models x as in `race`: one second moment per image, and in L2 steepest ascent at a falling rate."""
    names = {"L∞": ("pooled RMSProp",), "L2": ("pooled RMSProp", "normalised SGD, falling")}
    return {kind: race(kind, x, seeds, tuned_on, steps, validation, test, names[kind]) for kind in BALLS}


def rematch(hardened: dict, seeds, tuned_on: int, steps: int, validation, test) -> dict[str, dict[str, Duel]]:
    """`race` in each ball against its hardened models, of plain ascent, the attackers that the text names and the steepest."""
    return {
        kind: race(kind, h.x, seeds, tuned_on, steps, validation, test, ("SGD", "Adam", "RMSProp", MATCHED[kind]))
        for kind, h in hardened.items()
    }


def rate_of_each(x, seeds, names: dict, images, steps: int) -> dict[str, dict[str, np.ndarray]]:
    """The rate of lowest robust accuracy on each model alone: ball -> attacker -> (models,), for the `names` of each ball."""
    out = {kind: {} for kind in names}
    for kind, name in ((kind, name) for kind, of in names.items() for name in of):
        rates, rngs = ATTACKERS[name].rates(BALLS[kind]), generators(seeds, 0)
        stands = _standing(ATTACKERS[name].rule(_across(rates)), Classifier(), x, images, BALLS[kind], steps, rngs)
        out[kind][name] = np.array([choose(curve, rates).lr for curve in _share(stands)])
    return out


def dependence_on_start(x, seeds, lrs: dict[str, dict[str, np.ndarray]], images, steps: int, starts: int) -> dict:
    """Probability, in per cent, that an image falls from one random start and stands from another: ball -> attacker -> (models,).

    The mean over images and over all pairs of `starts` starts; each attacker has its rate of `lrs`, (models,) or one for all.
    """
    out = {kind: {} for kind in lrs}
    for kind, name, lr in ((kind, name, lr) for kind, of in lrs.items() for name, lr in of.items()):
        rule = ATTACKERS[name].rule(torch.as_tensor(lr).reshape(-1, 1, 1, 1))
        again = [generators(seeds, 1 + start) for start in range(starts)]
        share = _standing(rule, Classifier(), x, images, BALLS[kind], steps, *again).double().mean(1)
        out[kind][name] = (200 * starts / (starts - 1) * share * (1 - share)).mean(-1).numpy()
    return out


def spread_of_lengths(x, images) -> np.ndarray:
    """90 % over 10 % quantile, over the images, of the length of the gradient of the loss by the image; one number per model."""
    target = Target.of(Classifier(), x, images)
    low, high = (
        target.look(torch.zeros_like(target.u)[:, None])[1][:, 0]
        .norm(dim=-1)
        .quantile(torch.tensor([0.1, 0.9], dtype=x.dtype), -1)
    )
    return (high / low).numpy()


def reached(kind: str, x, seeds, images, steps: int) -> dict[str, np.ndarray]:
    """Mean loss that an attacker reaches, as a share of the most that any attack here reaches; one number per model.

    The most is taken image by image over Auto-PGD with ten times the steps and the attackers themselves. Each attacker is
    taken at its last-kept point, the one of smallest margin.
    """
    ball, net = BALLS[kind], Classifier()
    matched = ATTACKERS[MATCHED[kind]].rule(ball.radius)
    rules = {
        "the steepest of its ball": (matched, steps),
        "plain ascent at the lazy rate": (SGD(lazy_rate(ball)), steps),
    }
    loss = {}
    for name, (rule, n) in (rules | {"best": (None, 10 * steps)}).items():
        target = Target.of(net, x, images)
        delta = _attack(rule, net, x, images, ball, n, generators(seeds, 0)).delta
        loss[name] = losses(target.look(delta)[0], target.y[:, None])[:, 0]
    top = torch.stack(list(loss.values())).amax(0).mean(-1)
    return {name: (loss[name].mean(-1) / top).numpy() for name in rules}


def trainer(rule, ball, steps: int, classifier: Classifier = STANDARD):
    """What `train` asks for attacks on batches: by `rule`, lr a number or (runs, 1, 1, 1), from fresh random starts; None is Auto-PGD."""

    def of(runs):
        own = rule and of_runs(rule, runs, 4)

        def attack(x, u, y, rngs):
            target = Target(classifier, x, u, y)
            return u + _walk(own, target, ball, steps, rngs).delta[:, 0]

        return attack

    return of


def standard(seeds, epochs: int, images, lr: float = 0.01) -> torch.Tensor:
    """Classifiers that were trained on clean images."""
    return train(Classifier(), learner(lr, epochs, len(images.y)), seeds, images, epochs, BATCH)


class Hardened(NamedTuple):
    """Weights (models, d) and robust accuracy on validation images after every pass, (passes, models), in per cent."""

    x: torch.Tensor
    watched: np.ndarray

    @property
    def worst_drop(self) -> np.ndarray:
        """The largest fall of robust accuracy from one pass to the next, after the first quarter of them; points, (models,)."""
        late = self.watched[len(self.watched) // 4 :]
        return -np.diff(late, axis=0).min(0)


def harden(kind: str, seeds, epochs: int, steps: int, images, validation, gradients=None, lr: float = 0.01) -> Hardened:
    """Classifiers trained against the matched attacker of the ball `kind`, at the radius as its rate, and watched.

    The attacker of the training has `gradients`, or as many as the one that watches, `steps`.
    """
    ball, net, seen = BALLS[kind], Classifier(), []
    rule = ATTACKERS[MATCHED[kind]].rule(ball.radius)

    def watch(x):
        stands = _standing(rule, net, x, validation[:100], ball, steps, generators(seeds, 0))
        seen.append(100 * _share(stands)[:, 0].numpy())

    rate = learner(lr, epochs, len(images.y))
    x = train(net, rate, seeds, images, epochs, BATCH, trainer(rule, ball, gradients or steps), watch)
    return Hardened(x, np.stack(seen))


def masked(scales, x, seeds, images, steps: int, rules: dict[str, Callable]) -> dict[str, np.ndarray]:
    """Robust accuracy in the box in per cent, (scales, models), of the same models with their logits multiplied by each scale.

    Every attacker has its best of five rates for each scale, on these images: if it fails, the rate is not to blame.
    """
    ball, out = BALLS["L∞"], {name: [] for name in rules}
    rates = ball.radius * np.logspace(-0.75, 0.75, 5)
    for scale in scales:
        for name, make in rules.items():
            net, rngs = Classifier(scale=scale), generators(seeds, 0)
            robust = 100 * _share(_standing(make(_across(rates)), net, x, images, ball, steps, rngs)).numpy()
            out[name].append(robust[:, robust.mean(0).argmin()])
    return {name: np.stack(values) for name, values in out.items()}


def unseen(scales, x, images, eps: float = 1e-8) -> np.ndarray:
    """Share of the pixels' gradients, at the clean images, that are smaller than `eps`, for every scale of the logits."""
    shares = []
    for scale in scales:
        target = Target.of(Classifier(scale=scale), x, images)
        _, g = target.look(torch.zeros_like(target.u)[:, None])
        shares.append(float((g.abs() < eps).double().mean()))
    return np.array(shares)


def apart(a, b) -> Interval:
    """Mean paired difference over models with its t interval."""
    return student(np.asarray(a) - np.asarray(b))
