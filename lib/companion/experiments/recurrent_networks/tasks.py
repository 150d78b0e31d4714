"""Sequences whose answer lies far back: the adding problem, and handwritten digits read pixel by pixel."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from companion.experiments.datasets import load

from .network import FlatNet, TanhNet, cross_entropy, squared

CHUNK = 50  # steps of a stream that are drawn at once


class Task:
    """A stream of batches for each seed, and a score on sequences that no training sees; `chance` is the score at chance level, of the best constant answer."""

    def stream(self, seeds) -> Iterator:
        """Endless pairs: inputs (seeds, T, B, I), targets (seeds, B, O). A seed's sequences depend on nothing but the seed."""
        rngs = [np.random.default_rng([seed, 1]) for seed in seeds]
        while True:
            drawn, targets = zip(*(self.draw((CHUNK, self.B), rng) for rng in rngs), strict=True)
            _, B, T, I = drawn[0].shape
            inputs = np.empty((CHUNK, len(rngs), T, B, I))  # one after the other in time, as they are read
            for k, of_seed in enumerate(drawn):
                inputs[:, k] = of_seed.swapaxes(1, 2)
            yield from zip(torch.from_numpy(inputs), torch.from_numpy(np.stack(targets, 1)), strict=True)

    def outputs(self, x, inputs) -> torch.Tensor:
        """Outputs (runs, sequences, O) of networks x (runs, d) on shared inputs (sequences, T, I)."""
        shared = torch.from_numpy(inputs).transpose(0, 1).expand(len(x), -1, -1, -1)
        return self.net.outputs_of(x, shared)


@dataclass(frozen=True)
class Adding(Task):
    """T pairs (u, marker), u uniform on [0, 1], one marker in either half; the target is the sum of the two marked u.  Hochreiter & Schmidhuber (1997), experiment 4.

    The best constant answer is 1, its mean square error, chance level, 1/6. B sequences are a batch.
    """

    T: int = 30
    B: int = 16
    hidden: int = 16
    loss: Callable = squared
    kind: type[FlatNet] = TanhNet
    chance, constant = 1 / 6, 1.0

    @property
    def net(self) -> FlatNet:
        return self.kind(2, self.hidden, 1)

    def draw(self, shape, rng):
        """inputs (*shape, T, 2) and targets (*shape, 1)."""
        u, half = rng.random((*shape, self.T)), self.T // 2
        marks = np.zeros_like(u)
        for place in (rng.integers(half, size=shape), half + rng.integers(self.T - half, size=shape)):
            np.put_along_axis(marks, place[..., None], 1.0, -1)
        return np.stack([u, marks], -1), (u * marks).sum(-1, keepdims=True)

    def _tests(self, size):
        return self.draw((size,), np.random.default_rng([0, 2]))

    def score(self, x, size: int = 500) -> np.ndarray:
        """Mean square error (runs,) on `size` sequences."""
        inputs, targets = self._tests(size)
        return squared(self.outputs(x, inputs), torch.from_numpy(targets))[0].numpy()

    def score_of_constant(self, size: int = 500) -> float:
        """Mean square error of the best constant answer, `constant`, on the sequences of `score`, of which `chance` is the expectation."""
        return float(((self._tests(size)[1] - self.constant) ** 2).mean())


@cache
def _images():
    """Pixels (images, 64, 1) between 0 and 1, and classes as one-hot rows (images, 10)."""
    digits = load("digits")
    return digits["pixels"][..., None] / 16.0, np.eye(10)[digits["digit"]]


@dataclass(frozen=True)
class Digits(Task):
    """8 x 8 images of digits, one pixel at a time, T = 64; the class is asked for at the end.  After Le, Jaitly & Hinton (2015), section 4.2.

    The last 500 images are for testing alone.
    """

    B: int = 16
    hidden: int = 16
    loss: Callable = cross_entropy
    chance = 0.9

    @property
    def net(self) -> TanhNet:
        return TanhNet(1, self.hidden, 10)

    def draw(self, shape, rng):
        """inputs (*shape, 64, 1) and one-hot targets (*shape, 10)."""
        pixels, classes = _images()
        chosen = rng.integers(len(pixels) - 500, size=shape)
        return pixels[chosen], classes[chosen]

    def score(self, x) -> np.ndarray:
        """Share of errors (runs,) on the 500 images; 1 where the network has overflowed."""
        pixels, classes = _images()
        outputs = self.outputs(x, pixels[-500:])
        right = (outputs.argmax(-1) == torch.from_numpy(classes[-500:]).argmax(-1)) & outputs.isfinite().all(-1)
        return 1 - right.double().mean(1).numpy()


@dataclass(frozen=True)
class Recall(Adding):
    """T values u, uniform on [0, 1]; the target is the first. Everything that could teach stands T steps back: the adding problem without its near half.

    The best constant answer is 1/2, its mean square error, chance level, 1/12.
    """

    chance, constant = 1 / 12, 0.5

    def draw(self, shape, rng):
        """inputs (*shape, T, 2), the marker at the first step, and targets (*shape, 1)."""
        u = rng.random((*shape, self.T))
        marks = np.zeros_like(u)
        marks[..., 0] = 1.0
        return np.stack([u, marks], -1), u[..., :1]
