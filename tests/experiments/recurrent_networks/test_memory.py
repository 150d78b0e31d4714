"""Networks with gates and with a linear memory: ensembles against torch.nn and against their recursions, and how they start."""

import numpy as np
import pytest
import torch

from companion.experiments.recurrent_networks.memory import LSTM, DiagonalNet
from companion.experiments.recurrent_networks.network import TanhNet, squared
from mutants import mutant

RUNS, T, B = 4, 11, 5
FORGET = "f.sigmoid() * cell + i.sigmoid() * g.tanh()"


def problem(net, gain=0.8, seed=0):
    rng = np.random.default_rng(seed)
    x = net.start(gain, range(RUNS))
    x = x + 0.1 * torch.from_numpy(rng.standard_normal(x.shape))
    inputs = torch.from_numpy(rng.standard_normal((RUNS, T, B, net.inputs)))
    return x, inputs, torch.from_numpy(rng.random((RUNS, B, net.outputs)))


def torchs_lstm(net, x, inputs, targets):
    """Losses and gradients (runs, d) of torch.nn.LSTM and a linear layer, network by network, in our layout."""
    losses, gradients = [], []
    for r, (W, U, b, V, c) in enumerate(zip(*net.parts(x), strict=True)):
        cell = torch.nn.LSTM(net.inputs, net.hidden, batch_first=True, dtype=x.dtype)
        read = torch.nn.Linear(net.hidden, net.outputs, dtype=x.dtype)
        ours = U.T, W.T, b[0], torch.zeros(4 * net.hidden), V.T, c[0]
        theirs = [*cell.parameters(), *read.parameters()]
        with torch.no_grad():
            for parameter, value in zip(theirs, ours, strict=True):
                parameter.copy_(value)
        loss = ((read(cell(inputs[r].transpose(0, 1))[0][:, -1]) - targets[r]) ** 2).mean()
        loss.backward()
        losses.append(loss.detach())
        dU, dW, db, _, dV, dc = (parameter.grad for parameter in theirs)
        gradients.append(torch.cat([part.flatten() for part in (dW.T, dU.T, db, dV.T, dc)]))
    return torch.stack(losses), torch.stack(gradients)


def gap(a, b):
    return (a - b).abs().max().item()


def test_an_ensemble_of_lstms_is_torchs_network_by_network():
    net = LSTM(3, 7, 2)
    x, inputs, targets = problem(net)
    found, (loss, gradient) = net.backward(x, inputs, targets, squared), torchs_lstm(net, x, inputs, targets)
    assert gap(found.loss, loss) < 1e-12
    assert gap(found.gradient, gradient) < 1e-12


@pytest.mark.parametrize("wrong", ["i.sigmoid() * cell + f.sigmoid() * g.tanh()", "f.sigmoid() * cell + g.tanh()"])
def test_a_mutant_of_the_gates_is_not_torchs(monkeypatch, wrong):
    net = LSTM(3, 7, 2)
    x, inputs, targets = problem(net)
    monkeypatch.setattr(LSTM, "outputs_of", mutant(LSTM.outputs_of, FORGET, wrong))
    assert gap(net.backward(x, inputs, targets, squared).gradient, torchs_lstm(net, x, inputs, targets)[1]) > 1e-4


def by_recursion(net, x, inputs, targets):
    """The linear memory step by step, and its gradient."""
    x = x.clone().requires_grad_()
    W, U, b, V, c = net.parts(x)
    a, h = torch.exp(-torch.exp(W)), 0
    for t in range(inputs.shape[1]):
        h = a * h + torch.sqrt(1 - a**2) * torch.tanh(inputs[:, t] @ U + b)
    loss = squared(h @ V + c, targets)[0]
    loss.sum().backward()
    return loss.detach(), x.grad


@pytest.mark.parametrize("gain", [0.3, None])
def test_a_linear_memory_is_its_recursion(gain):
    net = DiagonalNet(3, 7, 2)
    x, inputs, targets = problem(net, gain)
    found, (loss, gradient) = net.backward(x, inputs, targets, squared), by_recursion(net, x, inputs, targets)
    assert gap(found.loss, loss) < 1e-12
    assert gap(found.gradient, gradient) < 1e-12


@pytest.mark.parametrize(("old", "new"), [("-decay * back", "-decay * back / 2"), ("-2 * decay[:, 0]", "-decay[:, 0]")])
def test_a_mutant_of_the_memory_is_not_its_recursion(monkeypatch, old, new):
    net = DiagonalNet(3, 7, 2)
    x, inputs, targets = problem(net)
    monkeypatch.setattr(DiagonalNet, "outputs_of", mutant(DiagonalNet.outputs_of, old, new))
    assert gap(net.backward(x, inputs, targets, squared).gradient, by_recursion(net, x, inputs, targets)[1]) > 1e-4


def test_the_eigenvalue_is_what_one_step_back_multiplies_the_gradient_by():
    net = DiagonalNet(2, 6, 1)
    inputs = torch.zeros(3, T, B, 2, dtype=torch.float64).requires_grad_()
    net.outputs_of(net.start(0.3, range(3)), inputs).sum().backward()
    size = inputs.grad.norm(dim=(2, 3))
    np.testing.assert_allclose((size[:, :-1] / size[:, 1:]).numpy(), 0.3, rtol=1e-10)
    near_one = net.parts(net.start(None, range(50))).W
    assert 0.9 <= np.exp(-np.exp(near_one.numpy())).min() < np.exp(-np.exp(near_one.numpy())).max() <= 0.999


def test_the_forget_gate_starts_open_and_the_other_biases_at_zero():
    net = LSTM(2, 5, 1)
    _, _, b, _, c = net.parts(net.start(0.3, range(3)))
    assert b.reshape(3, 4, 5).sum(-1).tolist() == [[0, 5, 0, 0]] * 3
    assert not c.any()


@pytest.mark.parametrize("kind", [LSTM, DiagonalNet, TanhNet])
def test_a_network_that_overflows_takes_no_other_along(kind):
    net = kind(3, 7, 2)
    x, inputs, targets = problem(net)
    sound = net.backward(x, inputs, targets, squared).gradient
    x[2, 5] = torch.nan
    found = net.backward(x, inputs, targets, squared).gradient
    assert not found[2].isfinite().all()
    assert gap(found[[0, 1, 3]], sound[[0, 1, 3]]) == 0
