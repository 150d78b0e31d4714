"""Many small image classifiers at once: logits, gradients by the weights and by the image, and how rules train them.

The weights of a classifier are one flat vector, x of shape (runs, d), so that every rule of the library trains them as it
stands. float64 in one thread: a classifier in an ensemble and the same one alone differ by rounding.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from .datasets import load
from .errors import ShapeError


class Images(NamedTuple):
    """Images (n, 64) with pixels from 0 to 1 and their labels (n,)."""

    u: torch.Tensor
    y: torch.Tensor

    def __getitem__(self, rows):
        return Images(self.u[rows], self.y[rows])


def digits(train: int = 1000, validation: int = 297) -> tuple[Images, Images, Images]:
    """The 1,797 digits as training, validation and test images, in an order that seed 0 fixes."""
    data = load("digits")
    order = np.random.default_rng(0).permutation(len(data["digit"]))
    every = Images(torch.tensor(data["pixels"][order] / 16.0), torch.tensor(data["digit"][order]))
    return every[:train], every[train : train + validation], every[train + validation :]


@dataclass(frozen=True)
class Classifier:
    """z = relu(relu(u W1 + b1) W2 + b2) W3 + b3, times `scale`; the loss is the cross-entropy of softmax(z).

    `sizes` are the widths of all layers, inputs and classes included. A scale changes the logits, never the answer.
    """

    sizes: tuple[int, ...] = (64, 64, 64, 10)
    scale: float = 1.0

    @property
    def d(self) -> int:
        return sum((rows + 1) * columns for rows, columns in pairwise(self.sizes))

    def start(self, seeds) -> torch.Tensor:
        """x0 (seeds, d): weights normal with variance 2 / rows (He et al. 2015, eq. 10), biases 0; each seed its own stream."""
        return torch.tensor(np.stack([self._start_one(np.random.default_rng([seed, 0])) for seed in seeds]))

    def _start_one(self, rng):
        layers = [
            np.r_[rng.standard_normal((r, c)) * (2 / r) ** 0.5, np.zeros((1, c))] for r, c in pairwise(self.sizes)
        ]
        return np.concatenate([layer.ravel() for layer in layers])

    def layers(self, x) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(W, b) of every layer, views of x (runs, d): shapes (runs, rows, columns) and (runs, 1, columns)."""
        if x.ndim != 2 or x.shape[1] != self.d:
            raise ShapeError(
                f"Classifier needs x of shape (runs, {self.d}), got {tuple(x.shape)}; flatten leading axes"
            )
        shapes = [(rows + 1, columns) for rows, columns in pairwise(self.sizes)]
        parts = x.split([rows * columns for rows, columns in shapes], dim=1)
        both = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
        return [(whole[:, :-1], whole[:, -1:]) for whole in both]

    def _forward(self, layers, u):
        """The input of every layer and the logits; u (runs, n, inputs)."""
        inputs = [u]
        for W, b in layers[:-1]:
            inputs.append(torch.baddbmm(b, inputs[-1], W).relu_())
        W, b = layers[-1]
        return inputs, self.scale * torch.baddbmm(b, inputs[-1], W)

    def logits(self, x, u) -> torch.Tensor:
        """z (runs, n, classes) for images u (n, inputs), the same for every run, or (runs, n, inputs)."""
        layers = self.layers(x)
        return self._forward(layers, u.expand(len(x), *u.shape[-2:]))[1]

    def by_image(self, layers, u, y, loss):
        """logits, and the gradient of each image's `loss` by that image; u (runs, n, inputs), y (n,) or (runs, n)."""
        inputs, z = self._forward(layers, u)
        back = self.scale * loss(z, y)
        for (W, _), active in zip(layers[:0:-1], inputs[:0:-1], strict=True):
            back = torch.bmm(back, W.mT).mul_(active > 0)
        return z, torch.bmm(back, layers[0][0].mT)

    def by_weights(self, x, u, y):
        """The gradient of the mean cross-entropy by the weights, (runs, d), and the mean losses (runs,)."""
        layers = self.layers(x)
        inputs, z = self._forward(layers, u)
        back, parts = self.scale * cross_entropy(z, y) / u.shape[-2], []
        for (W, _), below in zip(layers[::-1], inputs[::-1], strict=True):
            parts.append(torch.cat([torch.bmm(below.mT, back), back.sum(-2, keepdim=True)], -2).flatten(1))
            back = torch.bmm(back, W.mT).mul_(below > 0)
        return torch.cat(parts[::-1], 1), losses(z, y).mean(-1)

    def right(self, x, images: Images) -> torch.Tensor:
        """Share of right answers of each run, (runs,)."""
        return (self.logits(x, images.u).argmax(-1) == images.y).double().mean(-1)


def _of(z, y):
    """The labels with the leading axes of the logits and a last axis of one, for gather and scatter."""
    return y.expand(z.shape[:-1])[..., None]


def losses(z, y) -> torch.Tensor:
    """log sum exp z - z_y, the cross-entropy of every image."""
    return z.logsumexp(-1) - z.gather(-1, _of(z, y))[..., 0]


def cross_entropy(z, y) -> torch.Tensor:
    """d loss / dz: p_j for the wrong classes, minus their sum for the right one.

    p_y - 1 would round to a multiple of 1e-16; as a sum of the others it keeps its digits however sure the model is.
    """
    p = z.softmax(-1).scatter(-1, _of(z, y), 0.0)
    return p.scatter(-1, _of(z, y), -p.sum(-1, keepdim=True))


def margin(z, y) -> torch.Tensor:
    """z_y - max over the others: an image is answered rightly where this is positive."""
    return (z.gather(-1, _of(z, y)) - z.scatter(-1, _of(z, y), -torch.inf).amax(-1, keepdim=True))[..., 0]


def runner_up(z, y) -> torch.Tensor:
    """d(-margin) / dz: 1 for the best of the wrong classes, -1 for the right one.  Carlini & Wagner (2017), loss 6."""
    rival = z.scatter(-1, _of(z, y), -torch.inf).argmax(-1, keepdim=True)
    return torch.zeros_like(z).scatter(-1, rival, 1.0).scatter(-1, _of(z, y), -1.0)


def train(classifier: Classifier, rule, seeds, images: Images, epochs: int, batch: int = 100, attack=None, watch=None):
    """x (runs, d) after `epochs` passes of `rule`, with lr of shape (runs, 1) or a number, over shuffled batches.

    `attack(layers, u, y, rng)` replaces every batch u (runs, batch, inputs) before the rule sees it; `watch(x)` is called
    after every pass. Each seed has its own start, order and randomness.
    """
    x, rngs = classifier.start(seeds), [np.random.default_rng([seed, 1]) for seed in seeds]
    state, n = rule.init(x), len(images.y)
    for _ in range(epochs):
        orders = torch.tensor(np.stack([rng.permutation(n) for rng in rngs]))
        for rows in orders.split(batch, dim=1):
            u, y = images.u[rows], images.y[rows]
            if attack is not None:
                u = attack(classifier.layers(x), u, y, rngs)
            g, _ = classifier.by_weights(x, u, y)
            state, rate, direction = rule.step(state, g, x)
            x = x - rate * direction
        if watch is not None:
            watch(x)
    return x
