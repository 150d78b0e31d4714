"""Many small image classifiers at once: logits, gradients by the weights and by the image, and how rules train them.

The weights of a classifier are one flat vector, x of shape (runs, d), so that every rule of the library trains them as it
stands. float64 in one thread: a classifier in an ensemble and the same one alone differ by rounding. The passes through the
layers are compiled loops that finish one classifier before the next; the loss between them is torch's.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from companion.experiments.compiled import add_product, compiled
from companion.experiments.datasets import load
from stepsize.contract import hyperparameters, substitute
from stepsize.errors import ShapeError


class Images(NamedTuple):
    """Images (n, 64) with pixels from 0 to 1 and their labels (n,)."""

    u: torch.Tensor
    y: torch.Tensor

    def __getitem__(self, rows):
        return Images(self.u[rows], self.y[rows])


def digits(seed: int, train: int = 1000, validation: int = 297) -> tuple[Images, Images, Images]:
    """The 1,797 digits in a random order, as training, validation and test images."""
    data = load("digits")
    order = np.random.default_rng(seed).permutation(len(data["digit"]))
    every = Images(torch.tensor(data["pixels"][order] / 16.0), torch.tensor(data["digit"][order]))
    return every[:train], every[train : train + validation], every[train + validation :]


def _forward(x, sizes, u, hidden, z):
    """z (runs, n, classes) for images u (n, inputs) of each run, or of all if there is one u; hidden (runs, n * units) is written.

    `hidden` holds the relus of one layer after the other; x (runs, d), sizes (layers + 1,).
    """
    n, layers = z.shape[1], len(sizes) - 1
    for r in range(len(x)):
        below, w, at = u[r % len(u)], 0, 0
        for k in range(layers):
            rows, columns = sizes[k], sizes[k + 1]
            out = z[r] if k == layers - 1 else hidden[r, at : at + n * columns].reshape(n, columns)
            out[:] = x[r, w + rows * columns : w + (rows + 1) * columns]
            add_product(below, x[r, w : w + rows * columns].reshape(rows, columns), out)
            if k < layers - 1:
                for i in range(n):
                    for j in range(columns):
                        out[i, j] = 0.0 if out[i, j] < 0 else out[i, j]
            below, w, at = out, w + (rows + 1) * columns, at + n * columns


def _backpropagate(x, sizes, u, hidden, slope, by_x, by_u):
    """From slope = dL / dz (runs, n, classes) through the layers: by_x <- dL / dx (runs, d), by_u <- dL / du (runs, n, inputs).

    One of the two is empty and left out. `hidden` is what `_forward` wrote.
    """
    by_x[:] = 0
    n, layers = slope.shape[1], len(sizes) - 1
    for r in range(len(x)):
        back, w, at = slope[r], x.shape[1], hidden.shape[1]
        for k in range(layers - 1, -1, -1):
            rows, columns = sizes[k], sizes[k + 1]
            w, at = w - (rows + 1) * columns, at - n * rows
            below = u[r % len(u)] if k == 0 else hidden[r, at : at + n * rows].reshape(n, rows)
            if by_x.size:
                add_product(below.T, back, by_x[r, w : w + rows * columns].reshape(rows, columns))
                for i in range(n):
                    by_x[r, w + rows * columns : w + (rows + 1) * columns] += back[i]
            if k > 0 or by_u.size:
                W_back = x[r, w : w + rows * columns].reshape(rows, columns).T.copy()
                out = by_u[r] if k == 0 else np.empty((n, rows))
                out[:] = 0
                add_product(back, W_back, out)
                if k > 0:
                    for i in range(n):
                        for j in range(rows):
                            out[i, j] *= below[i, j] > 0
                back = out


def _slopes(z, y, out):
    """out <- p = softmax(z), but minus the sum of the others at y; z and out (n, classes), y (n,)."""
    for i in range(len(z)):
        top = z[i, 0]
        for j in range(z.shape[1]):
            top = max(top, z[i, j])
        for j in range(z.shape[1]):
            out[i, j] = np.exp(z[i, j] - top)
        right, out[i, y[i]] = out[i, y[i]], 0
        others = out[i].sum()
        out[i, y[i]] = -others
        for j in range(z.shape[1]):
            out[i, j] *= 1 / (others + right)


def _leads(z, y, out):
    """out <- z_y - max over the others; z (n, classes), y and out (n,)."""
    for i in range(len(z)):
        rival = -np.inf
        for j in range(z.shape[1]):
            rival = rival if j == y[i] else max(rival, z[i, j])
        out[i] = z[i, y[i]] - rival


forward, backpropagate, slopes, leads = (compiled(loop) for loop in (_forward, _backpropagate, _slopes, _leads))


@compiled
def _fall(x, sizes, scale, u, delta, y, lead, g):
    """lead <- margins (models, n) at u + delta (models, n, inputs); g <- minus d loss / du, or nothing if it is empty.

    128 images of one model at a time, whose layers stay in the cache.
    """
    for r in range(len(x)):
        for first in range(0, u.shape[1], 128):
            end = min(first + 128, u.shape[1])
            at = np.empty((1, end - first, u.shape[2]))
            at[0] = u[r, first:end] + delta[r, first:end]
            z, hidden = np.empty((1, end - first, sizes[-1])), np.empty((1, (end - first) * sizes[1:-1].sum()))
            forward(x[r : r + 1], sizes, at, hidden, z)
            z *= scale
            leads(z[0], y[r, first:end], lead[r, first:end])
            if g.size:
                slope = np.empty(z.shape)
                slopes(z[0], y[r, first:end], slope[0])
                slope *= -scale
                backpropagate(x[r : r + 1], sizes, at, hidden, slope, np.empty((0, 0)), at)
                g[r, first:end] = at[0]


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

    @property
    def _widths(self):
        return np.array(self.sizes)

    def start(self, seeds) -> torch.Tensor:
        """x0 (seeds, d): weights normal with variance 2 / rows (He et al. 2015, eq. 10), biases 0; each seed its own stream."""
        x = np.zeros((len(seeds), self.d))
        for seed, own in zip(seeds, x, strict=True):
            rng, w = np.random.default_rng([seed, 0]), 0
            for rows, columns in pairwise(self.sizes):
                rng.standard_normal(out=own[w : w + rows * columns])
                own[w : w + rows * columns] *= (2 / rows) ** 0.5
                w += (rows + 1) * columns
        return torch.from_numpy(x)

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

    def _forward(self, x, u):
        """x and u as arrays, the hidden layers, and the logits as a tensor; u (n, inputs) or (runs, n, inputs)."""
        self.layers(x)  # refuses weights of another size
        if not u.dtype == x.dtype == torch.float64:
            raise ShapeError(f"images are {u.dtype} and weights {x.dtype}; pass both as float64, such as u.double()")
        if u.shape[-1] != self.sizes[0] or u.ndim not in (2, 3) or (u.ndim == 3 and len(u) not in (1, len(x))):
            raise ShapeError(
                f"images of shape {tuple(u.shape)} do not fit {len(x)} models; give (n, {self.sizes[0]}) or (models, n, {self.sizes[0]})"
            )
        arrays = [a.contiguous().numpy() for a in (x, u if u.ndim == 3 else u[None])]
        n = u.shape[-2]
        hidden, z = np.empty((len(x), n * sum(self.sizes[1:-1]))), x.new_empty(len(x), n, self.sizes[-1])
        forward(arrays[0], self._widths, arrays[1], hidden, z.numpy())
        return *arrays, hidden, z.mul_(self.scale)

    def logits(self, x, u) -> torch.Tensor:
        """z (runs, n, classes) for images u (n, inputs), the same for every run, or (runs, n, inputs)."""
        return self._forward(x, u)[-1]

    def by_image(self, x, u, y, loss):
        """logits, and the gradient of each image's `loss` by that image; u (runs, n, inputs), y (n,) or (runs, n)."""
        x, u, hidden, z = self._forward(x, u)
        g, slope = z.new_empty(u.shape), loss(z, y).mul_(self.scale)
        backpropagate(x, self._widths, u, hidden, slope.numpy(), np.empty((0, 0)), g.numpy())
        return z, g

    def by_weights(self, x, u, y):
        """logits, and the gradient of the mean cross-entropy by the weights, (runs, d)."""
        x, u, hidden, z = self._forward(x, u)
        g, slope = z.new_empty(x.shape), cross_entropy(z, y).mul_(self.scale / z.shape[1])
        backpropagate(x, self._widths, u, hidden, slope.numpy(), g.numpy(), np.empty((0, 0, 0)))
        return z, g

    def fall(self, x, u, delta, y, steepest=True):
        """Margins (models, n) at u + delta (models, n, inputs), and minus the gradient of each image's cross-entropy by the image.

        Without `steepest` the margins alone. Labels y (models, n), integers. ShapeError where shapes, types or labels do not fit.
        """
        self.layers(x)  # refuses weights of another size
        fits = u.shape == delta.shape == (len(x), *y.shape[1:], self.sizes[0]) and y.shape == u.shape[:2]
        if not fits or not u.dtype == delta.dtype == x.dtype == torch.float64:
            raise ShapeError(
                f"images {tuple(u.shape)} {u.dtype}, steps {tuple(delta.shape)} {delta.dtype} and labels {tuple(y.shape)} "
                f"do not fit {len(x)} models; give (models, n, {self.sizes[0]}) twice, as float64, and (models, n)"
            )
        require_labels(y, self.sizes[-1])
        lead, g = u.new_empty(y.shape), torch.empty_like(u if steepest else u[:, :0])
        x, u, delta, y = (a.contiguous().numpy() for a in (x, u, delta, y))
        _fall(x, self._widths, self.scale, u, delta, y, lead.numpy(), g.numpy())
        return lead, g

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
    out = torch.empty(z.shape, dtype=z.dtype)
    slopes(*_rows(z, y), out.view(-1, z.shape[-1]).numpy())
    return out


def margin(z, y) -> torch.Tensor:
    """z_y - max over the others: an image is answered rightly where this is positive."""
    out = torch.empty(z.shape[:-1], dtype=z.dtype)
    leads(*_rows(z, y), out.view(-1).numpy())
    return out


def require_labels(y, classes: int) -> None:
    """Compiled loops index by labels: ShapeError where one is no class."""
    if not isinstance(y, torch.Tensor) or y.dtype.is_floating_point or y.dtype.is_complex or y.dtype == torch.bool:
        raise ShapeError(
            f"labels have the dtype {getattr(y, 'dtype', None)}; pass a tensor of whole numbers, such as y.long()"
        )
    if y.numel() and not (y.amin() >= 0 and y.amax() < classes):
        raise ShapeError(f"labels go from {int(y.amin())} to {int(y.amax())}; they must lie from 0 to {classes - 1}")


def _rows(z, y):
    """Logits (n, classes) and labels (n,) as arrays, without the leading axes."""
    require_labels(y, z.shape[-1])
    if y.ndim > z.ndim - 1 or any(a not in (1, b) for a, b in zip(y.shape[::-1], z.shape[-2::-1], strict=False)):
        raise ShapeError(f"labels {tuple(y.shape)} do not fit logits {tuple(z.shape)}; give one for each image")
    return z.reshape(-1, z.shape[-1]).numpy(), y.expand(z.shape[:-1]).reshape(-1).numpy()


BLOCK = (
    2**16
)  # numbers in the batches of the runs that are trained together: they share the cost of a call and stay in the cache


def of_runs(rule, runs: slice, axes: int):
    """The rule for some of the runs: hyper-parameters of shape (all runs, 1, ...) with `axes` axes are cut."""
    values = hyperparameters(rule).values()
    return substitute(rule, iter(v[runs] if np.ndim(v) == axes and len(v) > 1 else v for v in values))


def train(classifier: Classifier, rule, seeds, images: Images, epochs: int, batch: int = 100, attack=None, watch=None):
    """x (runs, d) after `epochs` passes of `rule`, with lr of shape (runs, 1) or a number, over shuffled batches.

    `attack(runs)`, for a slice of the runs, is a function (x, u, y, rngs) -> u that replaces every batch u (runs, batch,
    inputs) of theirs before the rule sees it; `watch(x)` is called after every pass. Each seed has its own start, order and
    randomness.
    """
    x, together = classifier.start(seeds), max(1, BLOCK // (batch * classifier.sizes[0]))
    blocks = [slice(k, k + together) for k in range(0, len(x), together)]
    passes = [
        _passes(classifier, of_runs(rule, runs, 2), x[runs], seeds[runs], images, batch, attack and attack(runs))
        for runs in blocks
    ]
    for _ in range(epochs):
        x = torch.cat([next(own) for own in passes])
        if watch is not None:
            watch(x)
    return x


def _passes(classifier, rule, x, seeds, images, batch, attack):
    """x after one pass, after two, and so on."""
    rngs = [np.random.default_rng([seed, 1]) for seed in seeds]
    state, n = rule.init(x), len(images.y)
    while True:
        orders = torch.from_numpy(np.stack([rng.permutation(n) for rng in rngs]))
        for rows in orders.split(batch, dim=1):
            u, y = images[rows]
            if attack is not None:
                u = attack(x, u, y, rngs)
            _, g = classifier.by_weights(x, u, y)
            state, rate, direction = rule.step(state, g, x)
            x = x - rate * direction
        yield x
