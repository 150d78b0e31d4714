"""Gradients through time: against autograd, against the forward mode, and how fast they grow."""

import numpy as np
import pytest
import torch

from companion.experiments.recurrent_networks import network
from companion.experiments.recurrent_networks.network import TanhNet, cross_entropy, growth, orthogonality, squared
from mutants import mutant
from stepsize.errors import ShapeError

NET = TanhNet(3, 7, 2)


def problem(net=NET, runs=4, T=9, B=5, seed=0):
    rng = np.random.default_rng(seed)
    inputs = torch.from_numpy(rng.standard_normal((runs, T, B, net.inputs)))
    targets = torch.from_numpy(rng.random((runs, B, net.outputs)))
    return net.start(1.3, range(runs)), inputs, targets


def by_autograd(x, inputs, targets, loss, cut=0):
    """The same network written for autograd; the state after `cut` steps is taken for a constant."""
    x = x.clone().requires_grad_()
    W, U, b, V, c = NET.parts(x)
    h = x.new_zeros(len(x), inputs.shape[2], NET.hidden)
    for t in range(inputs.shape[1]):
        h = torch.tanh(h @ W + inputs[:, t] @ U + b)
        h = h.detach() if t + 1 == cut else h
    value = loss(h @ V + c, targets)
    value.sum().backward()
    return value.detach(), x.grad


def plain(loss):
    return {
        squared: lambda y, z: ((y - z) ** 2).mean((1, 2)),
        cross_entropy: lambda y, z: -(z * torch.log_softmax(y, -1)).sum(-1).mean(-1),
    }[loss]


def gap(a, b):
    return (a - b).abs().max().item()


@pytest.mark.parametrize("loss", [squared, cross_entropy])
def test_the_gradient_through_time_is_autograds(loss):
    x, inputs, targets = problem()
    if loss is cross_entropy:
        targets = torch.nn.functional.one_hot(targets.argmax(-1), 2).double()
    found = NET.backward(x, inputs, targets, loss)
    value, gradient = by_autograd(x, inputs, targets, plain(loss))
    assert gap(found.loss, value) < 1e-13
    assert gap(found.gradient, gradient) < 1e-13


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(1 - h[r, t + 1, i, j] * h[r, t + 1, i, j])", "(1 - h[r, t, i, j] * h[r, t, i, j])"),
        ("W_back = W.T.copy()", "W_back = W.copy()"),
        ("h[r, last:T].reshape", "h[r, last + 1 :].reshape"),
        ("h[r, T].T", "h[r, T - 1].T"),
    ],
)
def test_a_mutant_of_the_backward_pass_is_not_autograd(monkeypatch, old, new):
    monkeypatch.setattr(network, "backpropagate", mutant(network._backpropagate, old, new))
    x, inputs, targets = problem()
    assert (
        gap(NET.backward(x, inputs, targets, squared).gradient, by_autograd(x, inputs, targets, plain(squared))[1])
        > 1e-4
    )


@pytest.mark.parametrize("reach", [1, 4, 9, None])
def test_a_truncated_gradient_is_autograd_with_an_older_state_held_constant(reach):
    x, inputs, targets = problem()
    found = NET.backward(x, inputs, targets, squared, reach).gradient
    cut = inputs.shape[1] - (reach or inputs.shape[1])
    assert gap(found, by_autograd(x, inputs, targets, plain(squared), cut)[1]) < 1e-13


def test_the_states_are_those_of_torchs_rnn():
    x, inputs, _ = problem()
    W, U, b, _, _ = (part[0] for part in NET.parts(x))
    cell = torch.nn.RNN(3, 7, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for weight, value in zip(cell.parameters(), (U.T, W.T, b[0], torch.zeros(7)), strict=True):
            weight.copy_(value)
        found = cell(inputs[0].transpose(0, 1))[0]
    assert gap(NET.states(x, inputs)[0, 1:].transpose(0, 1), found) < 1e-13


def test_an_exploding_gradient_is_no_fault_of_the_backward_pass():
    """A derivative carried forward along with the state is the same number, and as large."""
    net = TanhNet(3, 16, 1)
    _, inputs, targets = problem(net, runs=6, T=30)
    x = net.start(4.0, range(6))
    found = net.backward(x, inputs, targets, squared, watch=True)
    assert growth(found.through_time).min() > 1.05
    along = torch.from_numpy(np.random.default_rng(1).standard_normal(x.shape))

    def loss(y):
        return squared(torch.baddbmm(net.parts(y).c, net_states(net, y, inputs), net.parts(y).V), targets)[0]

    forward = loss(x + 1e-100j * along).imag / 1e-100  # a complex step: no difference is taken, nothing cancels
    # rounding, 1e-16, explodes along with everything else
    assert ((found.gradient * along).sum(1) / forward - 1).abs().max() < 1e-9


def net_states(net, x, inputs):
    W, U, b, _, _ = net.parts(x)
    h = x.new_zeros(len(x), inputs.shape[2], net.hidden)
    for t in range(inputs.shape[1]):
        h = torch.tanh(h @ W + inputs[:, t].to(x.dtype) @ U + b)
    return h


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_without_inputs_a_scaled_rotation_multiplies_the_gradient_by_its_scale(factor):
    net = TanhNet(1, 12, 1)
    x = net.start(None, range(3))
    net.parts(x).W.mul_(factor)
    found = net.backward(
        x, torch.zeros(3, 40, 4, 1, dtype=x.dtype), torch.ones(3, 4, 1, dtype=x.dtype), squared, watch=True
    )
    np.testing.assert_allclose(growth(found.through_time), factor, rtol=1e-12)


def test_starts_are_rotations_or_normal_with_the_gain_and_a_seed_is_a_seed():
    net = TanhNet(2, 64, 1)
    W = net.parts(net.start(None, range(3))).W
    assert gap(W @ W.transpose(1, 2), torch.eye(64, dtype=W.dtype)) < 1e-12
    assert net.parts(net.start(2.5, range(20))).W.std().item() == pytest.approx(2.5 / 8, rel=0.01)
    torch.testing.assert_close(net.start(1.0, [4, 7])[1], net.start(1.0, [7])[0], rtol=0, atol=0)


def test_the_pull_is_the_gradient_of_the_distance_from_a_rotation():
    x = NET.start(1.3, range(3)).requires_grad_()
    W = NET.parts(x).W
    (0.3 * ((W.transpose(1, 2) @ W - torch.eye(7, dtype=x.dtype)) ** 2).sum()).backward()
    assert gap(orthogonality(NET, x.detach(), 0.3), x.grad) < 1e-12
    turned = NET.start(None, range(3))
    assert orthogonality(NET, turned, 1.0).abs().max() < 1e-12
    bent = mutant(orthogonality, "W.transpose(1, 2)", "W")
    assert gap(bent(NET, x.detach(), 0.3), x.grad) > 1e-3


def test_networks_in_an_ensemble_do_not_meet():
    x, inputs, targets = problem()
    together = NET.backward(x, inputs, targets, squared, watch=True)
    for i in range(len(x)):
        alone = NET.backward(x[i : i + 1], inputs[i : i + 1], targets[i : i + 1], squared, watch=True)
        assert gap(together.gradient[i : i + 1], alone.gradient) < 1e-14
        assert gap(together.through_time[i : i + 1], alone.through_time) < 1e-14


def test_sequences_may_be_views_and_shared():
    x, inputs, targets = problem()
    views = inputs.transpose(1, 2).contiguous().transpose(1, 2)
    assert not views.is_contiguous()
    assert (
        gap(NET.backward(x, views, targets, squared).gradient, NET.backward(x, inputs, targets, squared).gradient) == 0
    )
    shared = inputs[:1].expand(4, -1, -1, -1)
    assert gap(NET.states(x, shared), NET.states(x, shared.contiguous())) == 0


def test_a_network_that_overflows_takes_no_other_along():
    x, inputs, targets = problem()
    sound = NET.backward(x, inputs, targets, squared).gradient
    x[2, 5] = torch.nan
    found = NET.backward(x, inputs, targets, squared).gradient
    assert not found[2].isfinite().any()
    assert gap(found[[0, 1, 3]], sound[[0, 1, 3]]) == 0


def test_parameters_of_another_network_are_refused():
    with pytest.raises(ShapeError, match=r"expects x of shape \(runs, 93\)"):
        NET.parts(torch.zeros(4, 5))
