"""Recurrent networks that were built against the vanishing gradient, as ensembles: one with gates, one with a linear memory.

The interface is that of `network.TanhNet`; their gradient is torch's own.
"""

import numpy as np
import torch

from .network import Backward, FlatNet


class ByAutograd(FlatNet):
    """A network that says what it answers, `outputs_of(x, inputs)` -> (runs, B, O), and leaves the gradient to torch."""

    def backward(self, x, inputs, targets, loss) -> Backward:
        """Losses and their gradient, `loss(outputs, targets) -> (losses, dL / d outputs)`; norms through time are not taken."""
        x = x.detach().requires_grad_()
        outputs = self.outputs_of(x, inputs)
        value, slope = loss(outputs.detach(), targets)
        outputs.backward(slope)
        return Backward(value, x.grad, None)


class LSTM(ByAutograd):
    """c_t = s(f) c_{t-1} + s(i) tanh(g), h_t = s(o) tanh(c_t), s the logistic function.  Hochreiter & Schmidhuber (1997), with a forget gate.

    (i, f, g, o) = h_{t-1} W + u_t U + b, in torch's order; W (H, 4 H), U (I, 4 H), one bias where torch has two.
    """

    @property
    def shapes(self):
        I, H, O = self.inputs, self.hidden, self.outputs
        return (H, 4 * H), (I, 4 * H), (1, 4 * H), (H, O), (1, O)

    def recurrent(self, gain: float, normal, rng) -> np.ndarray:
        """W at the start: normal with standard deviation gain / sqrt(H), in every gate."""
        return gain * normal

    def _start_one(self, gain, rng):
        """The forget gate starts with bias 1.  Jozefowicz, Zaremba & Sutskever (2015)."""
        x, H = super()._start_one(gain, rng), self.hidden
        forget = 4 * H * (H + self.inputs) + H
        x[forget : forget + H] = 1.0
        return x

    def outputs_of(self, x, inputs) -> torch.Tensor:
        W, U, b, V, c = self.parts(x)
        fed = inputs @ U[:, None] + b[:, None]
        h = cell = x.new_zeros(len(x), inputs.shape[2], self.hidden)
        for t in range(inputs.shape[1]):
            i, f, g, o = torch.baddbmm(fed[:, t], h, W).chunk(4, -1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            h = o.sigmoid() * cell.tanh()
        return torch.baddbmm(c, h, V)


class DiagonalNet(ByAutograd):
    """h_t = a h_{t-1} + sqrt(1 - a^2) tanh(u_t U + b), a = exp(-exp(W)), output h_T V + c.  After Orvieto et al. (2023), the linear recurrent unit.

    The memory is linear, unit by unit, and its eigenvalue is a parameter between 0 and 1: W (1, H). Deviations: real eigenvalues,
    one layer, whose nonlinear part stands before the memory.
    """

    @property
    def shapes(self):
        return (1, self.hidden), *super().shapes[1:]

    def recurrent(self, gain: float | None, normal, rng) -> np.ndarray:
        """All eigenvalues are `gain`, or where that is None, their squares uniform between 0.9^2 and 0.999^2."""
        a = np.sqrt(rng.uniform(0.9**2, 0.999**2, normal.shape)) if gain is None else np.full(normal.shape, gain)
        return np.log(-np.log(a))

    def outputs_of(self, x, inputs) -> torch.Tensor:
        W, U, b, V, c = self.parts(x)
        decay = W.exp()[:, None]
        back = torch.arange(inputs.shape[1] - 1, -1, -1, dtype=x.dtype)[:, None, None]
        kept = ((inputs @ U[:, None] + b[:, None]).tanh() * (-decay * back).exp()).sum(1)
        return torch.baddbmm(c, kept * (-torch.expm1(-2 * decay[:, 0])).sqrt(), V)
