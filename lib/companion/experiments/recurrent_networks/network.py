"""A whole ensemble of small recurrent networks at once: states, gradients through time, and how fast those grow.

Parameters are one flat vector per network, x of shape (runs, d), so that every rule of the library trains them as it stands.
float64, so that an ensemble and its members apart differ by rounding alone. The passes through time are compiled loops that
finish one network before the next; the loss between them is torch's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from companion.experiments.compiled import add_product, compiled, tanh
from stepsize.errors import ShapeError


class Parts(NamedTuple):
    """W, U, b, V (runs, H, O), c (runs, 1, O), views of the flat parameters; of a `TanhNet` W (runs, H, H), U (runs, I, H), b (runs, 1, H)."""

    W: torch.Tensor
    U: torch.Tensor
    b: torch.Tensor
    V: torch.Tensor
    c: torch.Tensor


class Backward(NamedTuple):
    """Losses (runs,), gradient (runs, d), and |dL / dh_t| (runs, T + 1), the norm over batch and units at t = 0 ... T."""

    loss: torch.Tensor
    gradient: torch.Tensor
    through_time: torch.Tensor | None


@compiled
def _matrices(x, H, I):
    """W (H, H), U (I, H), b (H,) and V (H, O) of one network, and where c begins: views of its parameters x (d,)."""
    V = H * (H + I + 1)
    c = V + (x.size - V) // (H + 1) * H
    return x[: H * H].reshape(H, H), x[H * H : V - H].reshape(I, H), x[V - H : V], x[V:c].reshape(H, -1), c


@compiled
def _fill(out, row):
    """Every row of out (n, k) <- row (k,). A loop, for an assignment to a slice takes ten times as long to compile."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = row[j]


def _forward(x, u, h):
    """h_0 = 0, h_t = tanh(h_{t-1} W + u_t U + b): x (runs, d), u (runs, T, B, I), h (runs, T + 1, B, H) is written."""
    runs, T, _, I = u.shape
    zero = np.zeros(h.shape[3])
    for r in range(runs):
        W, U, b, _, _ = _matrices(x[r], h.shape[3], I)
        _fill(h[r, 0], zero)
        for t in range(T):
            z = h[r, t + 1]
            _fill(z, b)
            add_product(u[r, t], U, z)
            add_product(h[r, t], W, z)
            tanh(z)


def _backpropagate(x, u, h, slope, last, g, size):
    """From slope = dL / d outputs (runs, B, O) to the last-th input: dL / dx is added to g (runs, d).

    size (runs, T + 1) <- |dL / dh_t|, from t = last on.
    """
    runs, T, B, I = u.shape
    H = h.shape[3]
    d, inner = np.empty((B, H)), np.empty((T - last, B, H))  # dL / dh_t, and dL / d(the argument of tanh)
    seen, zero = np.empty((T - last, B, I)), np.zeros(H)
    for r in range(runs):
        W, _, _, V, _ = _matrices(x[r], H, I)
        W_back = W.T.copy()
        _fill(d, zero)
        add_product(slope[r], V.T.copy(), d)
        for t in range(T - 1, last - 1, -1):
            squares = 0.0
            for i in range(B):
                for j in range(H):
                    inner[t - last, i, j] = d[i, j] * (1 - h[r, t + 1, i, j] * h[r, t + 1, i, j])
                    squares += d[i, j] * d[i, j]
                    d[i, j] = 0
            size[r, t + 1] = np.sqrt(squares)
            add_product(inner[t - last], W_back, d)
        size[r, last] = np.sqrt((d * d).sum())
        gW, gU, gb, gV, c = _matrices(g[r], H, I)
        rows = inner.reshape(-1, H)
        for t in range(T - last):
            for i in range(B):
                for j in range(I):
                    seen[t, i, j] = u[r, last + t, i, j]
        add_product(h[r, last:T].reshape(-1, H).T, rows, gW)
        add_product(seen.reshape(-1, I).T, rows, gU)
        add_product(h[r, T].T, slope[r], gV)
        for i in range(len(rows)):
            for j in range(H):
                gb[j] += rows[i, j]
        for i in range(B):
            for j in range(slope.shape[2]):
                g[r, c + j] += slope[r, i, j]


forward, backpropagate = compiled(_forward), compiled(_backpropagate)


@dataclass(frozen=True)
class FlatNet:
    """A recurrent network with `inputs` I, `hidden` H and `outputs` O, its parameters `Parts` of these shapes in one vector of length d."""

    inputs: int
    hidden: int
    outputs: int

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        I, H, O = self.inputs, self.hidden, self.outputs
        return (H, H), (I, H), (1, H), (H, O), (1, O)

    @property
    def d(self) -> int:
        return sum(rows * columns for rows, columns in self.shapes)

    def parts(self, x) -> Parts:
        """The five matrices of each network, views of x (runs, d)."""
        if x.ndim != 2 or x.shape[1] != self.d:
            name = type(self).__name__
            raise ShapeError(f"{name} expects x of shape (runs, {self.d}), got {tuple(x.shape)}; flatten leading axes")
        sizes = [rows * columns for rows, columns in self.shapes]
        return Parts(*(p.reshape(-1, *s) for p, s in zip(x.split(sizes, dim=1), self.shapes, strict=True)))

    def start(self, gain: float | None, seeds) -> torch.Tensor:
        """x0 (seeds, d): W as `recurrent` has it, U and V normal with variance 1 / rows, biases 0. Each seed has its own stream."""
        return torch.from_numpy(np.stack([self._start_one(gain, np.random.default_rng([seed, 0])) for seed in seeds]))

    def _start_one(self, gain, rng):
        W, U, b, V, c = (rng.standard_normal(shape) / shape[0] ** 0.5 for shape in self.shapes)
        return np.concatenate([part.ravel() for part in (self.recurrent(gain, W, rng), U, 0 * b, V, 0 * c)])


class TanhNet(FlatNet):
    """h_t = tanh(h_{t-1} W + u_t U + b), h_0 = 0; output h_T V + c, read once, after the last input.  Elman (1990).

    Rows of h are sequences; d = H^2 + I H + H + H O + O.
    """

    def recurrent(self, gain: float | None, normal: np.ndarray, rng) -> np.ndarray:
        """W at the start: normal with standard deviation gain / sqrt(H), or a random rotation where `gain` is None."""
        if gain is not None:
            return gain * normal
        Q, R = np.linalg.qr(normal)
        return Q * np.sign(np.diag(R))  # uniform over all rotations and reflections

    def states(self, x, inputs) -> torch.Tensor:
        """h_0 ... h_T of shape (runs, T + 1, B, H) for inputs (runs, T, B, I)."""
        runs, T, B, _ = inputs.shape
        h = x.new_empty(runs, T + 1, B, self.hidden)
        forward(x.contiguous().numpy(), inputs.contiguous().numpy(), h.numpy())
        return h

    def outputs_of(self, x, inputs) -> torch.Tensor:
        """(runs, B, O), read after the last input."""
        net = self.parts(x)
        return torch.baddbmm(net.c, self.states(x, inputs)[:, -1], net.V)

    def backward(self, x, inputs, targets, loss: Callable, reach: int | None = None, watch: bool = False) -> Backward:
        """The gradient through time of `loss(outputs, targets) -> (losses, dL / d outputs)`.  Werbos (1990), backpropagation through time.

        `reach` stops the pass back after that many steps (Williams & Peng 1990, truncated); None goes to the first input.
        Norms through time are taken where `watch` asks for them, else None.
        """
        net, x, inputs, T = self.parts(x), x.contiguous(), inputs.contiguous(), inputs.shape[1]
        h = self.states(x, inputs)
        value, slope = loss(torch.baddbmm(net.c, h[:, -1], net.V), targets)
        last, g, size = max(0, T - (reach or T)), torch.zeros_like(x), x.new_empty(len(x), T + 1)
        backpropagate(*(a.numpy() for a in (x, inputs, h, slope.contiguous())), last, g.numpy(), size.numpy())
        return Backward(value, g, size[:, last:] if watch else None)


def squared(outputs, targets):
    """mean (y - target)^2 over the batch, and its slope; targets (runs, B, 1)."""
    miss = outputs - targets
    return (miss**2).mean((1, 2)), 2 * miss / miss[0].numel()


def cross_entropy(outputs, targets):
    """mean -log softmax(y)[class] over the batch, and its slope; targets: classes as one-hot rows (runs, B, O)."""
    logs = outputs - outputs.logsumexp(-1, keepdim=True)
    return -(logs * targets).sum(-1).mean(-1), (logs.exp() - targets) / outputs.shape[1]


def orthogonality(net: TanhNet, x, weight: float) -> torch.Tensor:
    """Gradient (runs, d) of weight |W' W - I|^2: 4 weight W (W' W - I), 0 elsewhere.  Vorontsov et al. (2017), equation 6."""
    W = net.parts(x).W
    pull = 4 * weight * torch.bmm(W, torch.bmm(W.transpose(1, 2), W) - torch.eye(net.hidden, dtype=x.dtype))
    return torch.nn.functional.pad(pull.flatten(1), (0, net.d - net.hidden**2))


def growth(through_time) -> np.ndarray:
    """(|dL / dh_1| / |dL / dh_T|)^(1 / (T - 1)) per run: the factor by which one step back in time multiplies the gradient."""
    size = np.asarray(through_time)[..., 1:]
    return (size[..., 0] / size[..., -1]) ** (1 / (size.shape[-1] - 1))
