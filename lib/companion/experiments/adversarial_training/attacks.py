"""Attackers are the library's rules, walking on the input of a classifier inside a ball; and one attack without a rate.

A perturbation has shape (models, rates, images, pixels): each image is a run of its own, and a rule whose lr has shape
(rates, 1, 1) attacks with a whole grid at once. Rules descend, so they are given minus the gradient of the loss; each
image's own loss, so that neither the batch nor its size enters a step. A step that leaves the ball is projected back in
the metric in which the rule makes it, diag(1 / rate); for a rule with one rate for all pixels that is Euclid's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from companion.experiments.compiled import compiled
from companion.experiments.inputs import number, whole
from stepsize.backend import constant, norm, positive, sign
from stepsize.contract import Checked, Wrapper, hyperparameters, leaves, rebuild, require_rule, substitute
from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError, short

from .classifiers import Classifier, cross_entropy, losses, margin, require_labels


@dataclass(frozen=True, eq=False)
class Unit(Checked):
    """g / |g|, the norm over the last axis; 0 where g is.  In front of SGD: steepest ascent in Euclid's norm."""

    def __call__(self, g):
        scaled = g / positive(abs(g).amax(-1, keepdim=True))  # g^2 of a small gradient would underflow
        return scaled / positive(norm(scaled))


@dataclass(frozen=True, eq=False)
class EuclideanProjection(Wrapper):
    """rate = 1, direction = rate direction of the rule: the same steps, projected in Euclid's metric instead of the rule's."""

    rule: Any

    def step(self, state, g, x):
        state, rate, direction = self.rule.step(state, g, x)
        return state, constant(1.0, g), rate * direction


def _nearest(y, rate, radius):
    """y <- argmin of sum (z_i - y_i)^2 / rate_i over |z| <= radius, row by row; y and rate (n, pixels).

    z_i = y_i / (1 + s rate_i) with the s >= 0 at which |z| = radius. 1 / |z| is concave in s: Newton's method from s = 0
    rises to the root and never passes it.  Moré & Sorensen (1983), for the trust region.
    """
    for i in range(len(y)):
        largest = rate[i].max()
        s, length = 0.0, np.sqrt((y[i] ** 2).sum())
        outside = length > radius and largest > 0
        while outside:
            square, slope = 0.0, 0.0
            for j in range(y.shape[1]):
                a = rate[i, j] / largest
                z = y[i, j] / (1 + s * a)
                square += z * z
                slope += z * z * a / (1 + s * a)
            length = np.sqrt(square)
            following = s + (length / radius - 1) * square / slope
            outside = length > radius and following > s * (1 + 1e-15)
            s = following if outside else s
        for j in range(y.shape[1]):
            y[i, j] /= 1 + s * rate[i, j] / largest
        if length > radius:  # by rounding
            y[i] *= radius / length


nearest = compiled(_nearest)


class _Ball:
    def __post_init__(self):
        name = f"{type(self).__name__}: radius"
        number(self.radius, name, "a finite number of at least 0", lambda v: 0 <= v < np.inf)


@dataclass(frozen=True)
class Box(_Ball):
    """|delta_i| <= radius for every pixel: the ball of the maximum norm."""

    radius: float

    def project(self, delta):
        """The nearest point of the ball, in every diagonal metric."""
        _require_finite(delta)
        return delta.clamp(-self.radius, self.radius)

    def project_in_metric(self, delta, rate):
        return self.project(delta)

    def steepest(self, g):
        """sign(g): of all steps of length 1 in the maximum norm the one with the largest g . step, which is |g|_1."""
        return sign(g)

    def length(self, delta):
        return delta.abs().amax(-1)

    def random(self, rngs, shape):
        """Uniform in the ball, (generators, *shape)."""
        share = np.empty((len(rngs), *shape))
        for rng, own in zip(rngs, share, strict=True):
            rng.random(out=own)
        share -= 0.5
        share *= 2 * self.radius
        return share


@dataclass(frozen=True)
class Disc(_Ball):
    """|delta| <= radius in Euclid's norm."""

    radius: float

    def project(self, delta):
        """The nearest point of the ball in Euclid's metric."""
        _require_finite(delta)
        return delta * (self.radius / positive(norm(delta).clamp(min=self.radius)))

    def project_in_metric(self, delta, rate):
        """argmin of sum (z_i - delta_i)^2 / rate_i over the ball.  Duchi, Hazan & Singer (2011), section 1.1; Reddi et al. (2018), algorithm 2."""
        _require_finite(delta)
        z = delta.contiguous().clone()
        rates = rate.expand(z.shape).contiguous()
        nearest(z.view(-1, z.shape[-1]).numpy(), rates.view(-1, z.shape[-1]).numpy(), self.radius)
        return z

    def steepest(self, g):
        """g / |g|: of all steps of Euclidean length 1 the one with the largest g . step, which is |g|."""
        return Unit()(g)

    def length(self, delta):
        return norm(delta)[..., 0]

    def random(self, rngs, shape):
        """Uniform in the ball, (generators, *shape): a direction, and a radius whose d-th power is uniform."""
        direction, share = np.empty((len(rngs), *shape)), np.empty((len(rngs), *shape[:-1], 1))
        for rng, own, length in zip(rngs, direction, share, strict=True):
            rng.standard_normal(out=own)
            rng.random(out=length)
        length = self.radius * share ** (1 / shape[-1])
        return length * direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def confine(ball, u, delta):
    """The nearest perturbation in the ball, then each pixel clipped so that u + delta lies in [0, 1].

    In this order the result obeys both: u itself is an image, so clipping pixels only shortens delta.
    """
    _require_tensors(u=u, delta=delta)
    axes = zip(delta.shape[::-1], u.shape[::-1], strict=False)
    if delta.shape[-1:] != u.shape[-1:] or any(a != b and 1 not in (a, b) for a, b in axes):
        raise ShapeError(
            f"a perturbation {tuple(delta.shape)} does not fit images {tuple(u.shape)}; give one of each image"
        )
    _require_pixels(u)
    return ball.project(delta).clamp(-u, 1 - u)


def _require_tensors(**tensors):
    for name, a in tensors.items():
        if not (isinstance(a, torch.Tensor) and a.dtype == torch.float64):
            got = getattr(a, "dtype", None) or short(a)
            raise ShapeError(
                f"{name} must be a torch tensor of float64, got {got}; convert it by torch.tensor(...).double()"
            )


def _require_finite(delta):
    _require_tensors(delta=delta)
    if not (torch.isfinite(delta.sum()) or torch.isfinite(delta).all()):  # the sum alone is quicker, and may overflow
        raise NonFiniteError("the perturbation has NaN or infinite pixels; lower the attack's rate")


def _require_pixels(u):
    if not u.numel():
        raise ShapeError(f"there are no images in u of shape {tuple(u.shape)}; give one at least")
    if not (u.amin() >= -1e-9 and u.amax() <= 1 + 1e-9):  # NaN neither
        raise HyperparameterError(
            f"pixels must lie from 0 to 1, got {float(u.amin()):g} to {float(u.amax()):g}; scale the images"
        )


class WorstPoint(NamedTuple):
    """The worst point of a walk: its perturbation (models, rates, images, pixels) and its margin (models, rates, images)."""

    delta: torch.Tensor
    margin: torch.Tensor

    @property
    def robust(self) -> torch.Tensor:
        """Share of images that no visited point has fooled, (models, rates)."""
        return (self.margin > 0).double().mean(-1)


class Target(NamedTuple):
    """What is attacked: a classifier, the weights x (models, d) of its models, images (models, images, pixels) and labels.

    `loss` is the gradient of the attacked loss by the logits; `value` that loss, for an attack that watches it.
    """

    classifier: Classifier
    x: torch.Tensor
    u: torch.Tensor
    y: torch.Tensor
    loss: Callable = cross_entropy
    value: Callable = losses

    @classmethod
    def of(cls, classifier, x, images, **loss):
        """Models with weights x (models, d) that all look at the same images."""
        _require_tensors(x=x, u=images.u)
        require_labels(images.y, classifier.sizes[-1])
        if images.u.ndim != 2 or tuple(images.y.shape) != (len(images.u),):
            raise ShapeError(
                f"images {tuple(images.u.shape)} and labels {tuple(images.y.shape)} do not fit; give (n, pixels), (n,)"
            )
        u = images.u.expand(len(x), *images.u.shape)
        return cls(classifier, x, u, images.y.expand(u.shape[:2]), **loss)

    def of_images(self, rows: slice):
        """The same attack on some of the images; `loss` must treat all images alike, as the cross-entropy does."""
        return self._replace(u=self.u[:, rows], y=self.y[:, rows])

    def check(self, ball) -> None:
        """An error that names what cannot be attacked: weights, pixels, labels or ball."""
        _require_tensors(x=self.x, u=self.u)
        self.classifier.layers(self.x)
        inputs, classes = self.classifier.sizes[0], self.classifier.sizes[-1]
        if (
            self.u.ndim != 3
            or len(self.u) != len(self.x)
            or self.u.shape[-1] != inputs
            or self.y.shape != self.u.shape[:2]
        ):
            raise ShapeError(
                f"weights {tuple(self.x.shape)}, images {tuple(self.u.shape)} and labels {tuple(self.y.shape)} do not fit; "
                f"give (models, d), (models, images, {inputs}), (models, images)"
            )
        if not (sound := torch.isfinite(self.x).all(-1)).all():
            raise NonFiniteError(
                f"model {int((~sound).nonzero()[0])} has NaN or infinite weights; its training diverged"
            )
        _require_pixels(self.u)
        require_labels(self.y, classes)
        if not (hasattr(ball, "project_in_metric") and hasattr(ball, "random")):
            raise HyperparameterError(f"{short(ball)} is no ball; give Box(radius) or Disc(radius)")

    def look(self, delta):
        """logits and gradient by the image at u + delta, both (models, rates, images, ...)."""
        models, rates, n, _ = delta.shape
        y = self.y[:, None].expand(models, rates, n).reshape(models, rates * n)
        z, g = self.classifier.by_image(self.x, self._at(delta), y, self.loss)
        return z.reshape(models, rates, n, -1), g.reshape(delta.shape)

    def fall(self, delta, steepest=True):
        """Margins (models, rates, images) at u + delta, and minus the gradient by the image; without `steepest` the margins alone."""
        if self.loss is not cross_entropy:
            z, g = self.look(delta)
            return margin(z, self.y[:, None]), g.neg_()
        u = self.u[:, None].expand(delta.shape)
        y = self.y[:, None].expand(delta.shape[:-1]).flatten(1)
        lead, g = self.classifier.fall(self.x, u.flatten(1, 2), delta.flatten(1, 2), y, steepest)
        return lead.reshape(delta.shape[:-1]), g.reshape(delta.shape) if steepest else g

    def _at(self, delta):
        return (self.u[:, None] + delta).flatten(1, 2)

    def start(self, ball, rngs):
        """A random point of the ball for every image, the same for all rates; `rngs` has one generator per model."""
        self.check(ball)
        if len(rngs) != len(self.u):
            raise ShapeError(f"{len(self.u)} models need as many generators, got {len(rngs)}; one default_rng each")
        return confine(ball, self.u, torch.from_numpy(ball.random(rngs, self.u.shape[1:])))[:, None]

    def room(self):
        """The least and the largest perturbation that leaves an image of each image, (models, 1, images, pixels)."""
        return -self.u[:, None], 1 - self.u[:, None]


@compiled
def _keep_worse(delta, kept, worth, least):
    """kept, least <- delta, worth of the images whose worth is below their least; (images, pixels) and (images,)."""
    for i in range(len(worth)):
        if worth[i] < least[i]:
            least[i] = worth[i]
            kept[i] = delta[i]


def _keep(best: WorstPoint, delta, worth):
    """`best`, in place, with the points of smaller margin taken over; its arrays must be its own."""
    points = (a.view(worth.numel(), -1).numpy() for a in (delta.contiguous(), best.delta))
    margins = (a.view(-1).numpy() for a in (worth, best.margin))
    _keep_worse(*points, *margins)
    return best


def _own(a):
    return a.clone(memory_format=torch.contiguous_format)


def walk_in_ball(rule, target: Target, ball, steps: int, rngs) -> WorstPoint:
    """`steps` steps of a rule from a random point, confined after each; the visited point of smallest margin is kept.

    One gradient per step. The state begins empty for every attack, and every image has its own. Confined as by `confine`,
    but projected in the metric of the rule.
    """
    return walk_from(target.start(ball, rngs), rule, target, ball, steps)


def walk_from(delta, rule, target: Target, ball, steps: int) -> WorstPoint:
    """`walk_in_ball` from the points delta (models, 1, images, pixels) that `target.start` gave."""
    room = target.room()
    state, best = require_rule(rule, "walk_in_ball").init(delta), None
    for _ in range(whole(steps, "walk_in_ball: steps", 1)):
        worth, g = target.fall(delta)
        best = WorstPoint(_own(delta), worth) if best is None else _keep(best, delta, worth)
        state, rate, direction = rule.step(state, g, delta)
        delta = ball.project_in_metric(torch.addcmul(delta, rate, direction, value=-1), rate).clamp_(*room)
        if best.delta.shape != delta.shape:  # the rule brought its rates along
            best = WorstPoint(_own(best.delta.expand_as(delta)), _own(best.margin.expand(delta.shape[:-1])))
    return _keep(best, delta, target.fall(delta, steepest=False)[0])


def stands_walk(delta, rule, target: Target, ball, steps: int) -> torch.Tensor:
    """Whether no visited point of `walk_from` fools the image, (1, rates, images): what is fooled walks no further.

    For one model and the cross-entropy. `delta` may hold several starts, (1, starts, images, pixels), for a rule with one
    rate; a rule with rates lr (rates, 1, 1) has one start. Each start or rate of each image is a row, and rows that fall are
    taken out.
    """
    many = [
        delta.shape[1],
        *(len(v) for v in hyperparameters(require_rule(rule, "stands_walk")).values() if np.ndim(v)),
    ]
    shape = (max(many), *delta.shape[2:])
    x, image = target.x.contiguous(), torch.arange(shape[1]).repeat(shape[0])
    u, y, delta = target.u[0, image], target.y[0, image], delta[0].expand(shape).reshape(-1, shape[2])
    rule = _of_rows(rule, lambda v: v.reshape(-1, 1).repeat_interleave(shape[1], 0) if len(v) > 1 else v.reshape(1, 1))
    state, rows, stands = rule.init(delta), torch.arange(len(u)), torch.ones(len(u), dtype=torch.bool)
    for left in range(whole(steps, "stands_walk: steps", 1), -1, -1):
        lead, g = (a[0] for a in target.classifier.fall(x, u[None], delta[None], y[None], left > 0))
        up = lead > 0
        stands[rows[~up]] = False
        if up.sum() < 0.9 * len(rows):
            on = up.nonzero()[:, 0]
            rows, u, y, delta, g = rows[on], u[on], y[on], delta[on], g[on] if left else g
            state = rebuild(state, iter([leaf[on] for _, leaf in leaves(state)]))
            rule = _of_rows(rule, lambda v, on=on: v[on] if len(v) > 1 else v)
        if left and len(rows):
            state, rate, direction = rule.step(state, g, delta)
            delta = ball.project_in_metric(torch.addcmul(delta, rate, direction, value=-1), rate)
            torch.clamp(delta, -u, 1 - u, out=delta)
    return stands.reshape(1, *shape[:-1])


def _of_rows(rule, cut):
    """The rule with `cut` applied to each hyper-parameter that is no number."""
    return substitute(rule, iter([cut(v) if np.ndim(v) else v for v in hyperparameters(rule).values()]))


def checkpoints(steps: int) -> list[int]:
    """p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06), times `steps`.  Croce & Hein (2020), section 3.2."""
    whole(steps, "checkpoints: steps", 1)
    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    return [int(np.ceil(round(q * steps, 9))) for q in p if q <= 1]


def auto_pgd(target: Target, ball, steps: int, rngs, inertia: float = 0.75, rho: float = 0.75) -> WorstPoint:
    """z = P(x + eta s), x <- P(x + inertia (z - x) + (1 - inertia)(x - x_prev)).  Croce & Hein (2020), algorithm 1.

    s is the steepest step of the ball. eta begins at twice the radius; at a checkpoint it is halved, image by image, and the
    walk goes back to its best point, if less than `rho` of the steps since the last one raised the loss, or if neither
    eta nor the best loss has changed. No rate is to be chosen. Here P is `confine`, for both of the algorithm's projections.
    """
    whole(steps, "auto_pgd: steps, between which it compares losses,", 2)
    for name, share in (("inertia", inertia), ("rho", rho)):
        number(share, f"auto_pgd: {name}", "from 0 to 1", lambda v: 0 <= v <= 1)
    x, u, y = target.start(ball, rngs), target.u[:, None], target.y[:, None]
    eta = torch.full((*x.shape[:-1], 1), 2.0 * ball.radius, dtype=x.dtype)
    z, g = target.look(x)
    value, best = target.value(z, y), WorstPoint(_own(x), margin(z, y))
    top, top_x, top_g = value, x, g  # the highest loss, where it was, its gradient
    previous, marks = x, checkpoints(steps)
    rises, old_top, reduced = torch.zeros_like(value), value, torch.ones_like(value, dtype=torch.bool)
    mark = 0
    for k in range(1, steps + 1):
        ahead = confine(ball, u, x + eta * ball.steepest(g))
        pull = 1.0 if k == 1 else inertia
        moved = confine(ball, u, x + pull * (ahead - x) + (1 - pull) * (x - previous))
        z, g = target.look(moved)
        new = target.value(z, y)
        rises, previous, x, value = rises + (new > value), x, moved, new
        best = _keep(best, x, margin(z, y))
        higher = value > top
        top, top_x, top_g = (
            torch.where(higher, value, top),
            torch.where(higher[..., None], x, top_x),
            torch.where(higher[..., None], g, top_g),
        )
        if k in marks and k > mark:
            slow = rises < rho * (k - mark)
            stuck = ~reduced & (top <= old_top)
            reduced = slow | stuck
            eta = torch.where(reduced[..., None], eta / 2, eta)
            x, g = (torch.where(reduced[..., None], a, b) for a, b in ((top_x, x), (top_g, g)))
            value = torch.where(reduced, top, value)
            rises, old_top, mark = torch.zeros_like(rises), top, k
    return best


class Rival(NamedTuple):
    """Loss z_target - z_y towards the `rank`-th of the wrong classes, ordered by the logits of the clean image."""

    chosen: Any

    @classmethod
    def ranked(cls, classifier, x, images, rank):
        whole(rank, "Rival: rank", 0, classifier.sizes[-1] - 2)
        require_labels(images.y, classifier.sizes[-1])
        z = classifier.logits(x, images.u)
        wrong = z.scatter(-1, images.y.expand(z.shape[:-1])[..., None], -torch.inf)
        return cls(wrong.argsort(-1, descending=True)[..., rank])

    def _at(self, z):
        return self.chosen.reshape(len(self.chosen), -1)[..., None] if z.ndim == 3 else self.chosen[:, None, :, None]

    def loss(self, z, y):
        return torch.zeros_like(z).scatter(-1, self._at(z), 1.0).scatter(-1, y[..., None], -1.0)

    def value(self, z, y):
        return (z.gather(-1, self._at(z)) - z.gather(-1, y.expand(z.shape[:-1])[..., None]))[..., 0]


def judge(classifier: Classifier, x, images, ball, seed: int, steps: int = 50, rivals: int = 4) -> torch.Tensor:
    """Whether each image stands every attack of the judge, (models, images): the strictest measure of robustness here.

    Auto-PGD on the cross-entropy, and on the difference of two logits towards each of the `rivals` likeliest wrong classes,
    after the targeted attack of Croce & Hein (2020), section 4.2. No defender of the book trains against these targets.
    """
    whole(seed, "judge: seed", 0)
    Target.of(classifier, x, images).check(ball)
    aims = [{}]
    for rank in range(whole(rivals, "judge: rivals", 0, classifier.sizes[-1] - 1)):
        rival = Rival.ranked(classifier, x, images, rank)
        aims.append({"loss": rival.loss, "value": rival.value})
    stands = torch.ones(len(x), len(images.y), dtype=torch.bool)
    for k, aim in enumerate(aims):
        rngs = [np.random.default_rng([seed, 2, k]) for _ in x]
        stands &= auto_pgd(Target.of(classifier, x, images, **aim), ball, steps, rngs).margin[:, 0] > 0
    return stands
