"""Batched classifiers: gradients are torch's own, members are the single runs, sure models keep their gradients."""

import numpy as np
import pytest
import torch

from companion.experiments.adversarial_training import classifiers
from companion.experiments.adversarial_training.classifiers import (
    Classifier,
    Images,
    cross_entropy,
    digits,
    losses,
    margin,
    train,
)
from mutants import mutant
from stepsize import Adam
from stepsize.errors import ShapeError
from stepsize.wrappers import LinearDecay

NET, NET_OF_DIGITS = Classifier((6, 5, 4, 3)), Classifier((64, 8, 10))
RNG = np.random.default_rng(0)
X = NET.start(range(3)) + torch.tensor(RNG.normal(size=(3, NET.d))) * 0.1
U = torch.tensor(RNG.uniform(size=(3, 7, 6)))
Y = torch.tensor(RNG.integers(3, size=(3, 7)))


def plain_losses(net, x, u, y):
    """Mean cross-entropies (runs,), written for autograd."""
    z = u
    for k, (W, b) in enumerate(net.layers(x)):
        z = (z.relu() if k else z) @ W + b
    return losses(net.scale * z, y).mean(-1)


def test_both_gradients_are_those_of_automatic_differentiation(monkeypatch):
    net = Classifier(NET.sizes, scale=1.7)
    x, u = X.clone().requires_grad_(), U.clone().requires_grad_()
    total = plain_losses(net, x, u, Y)
    by_x, by_u = torch.autograd.grad(total.sum(), (x, u))
    z, g = net.by_weights(X, U, Y)
    assert (g - by_x).abs().max() < 1e-14
    assert (losses(z, Y).mean(-1) - total.detach()).abs().max() < 1e-13
    _, own = net.by_image(X, U, Y, cross_entropy)
    assert (own / 7 - by_u).abs().max() < 1e-14  # each image's own loss, not the mean
    monkeypatch.setattr(
        classifiers, "backpropagate", mutant(classifiers._backpropagate, "below[i, j] > 0", "below[i, j] >= 0")
    )
    assert (net.by_image(X, U, Y, cross_entropy)[1] / 7 - by_u).abs().max() > 1e-4
    assert (net.by_weights(X, U, Y)[1] - by_x).abs().max() > 1e-4


def test_images_may_be_shared_by_all_runs():
    assert torch.equal(NET.logits(X, U[0]), NET.logits(X, U[:1].expand(3, -1, -1)))


def test_the_loss_is_torchs_cross_entropy():
    z = torch.tensor(RNG.normal(size=(20, 5)))
    y = torch.tensor(RNG.integers(5, size=20))
    assert (losses(z, y) - torch.nn.functional.cross_entropy(z, y, reduction="none")).abs().max() < 1e-14


def test_a_sure_model_keeps_the_digits_of_its_gradient():
    z, y = torch.tensor([[100.0, 0.0, -1.0]], dtype=torch.float64), torch.tensor([0])
    expected = -np.exp(-100.0) * (1 + np.exp(-1.0))
    assert float(cross_entropy(z, y)[0, 0]) == pytest.approx(expected, rel=1e-12)
    assert float(z.softmax(-1)[0, 0] - 1) == 0.0  # what the usual formula makes of it


def test_the_slope_of_the_loss_is_autograds():
    z, y = torch.tensor(RNG.normal(size=(2, 3, 20, 5))), torch.tensor(RNG.integers(5, size=20))
    z.requires_grad_()
    (by_z,) = torch.autograd.grad(losses(z, y).sum(), z)
    assert (cross_entropy(z.detach(), y) - by_z).abs().max() < 1e-15


def test_the_margin_is_positive_exactly_where_the_answer_is_right():
    z, y = torch.tensor(RNG.normal(size=(50, 4))), torch.tensor(RNG.integers(4, size=50))
    assert torch.equal(margin(z, y) > 0, z.argmax(-1) == y)
    rival = z.scatter(-1, y[:, None], -torch.inf).amax(-1)
    assert torch.equal(margin(z, y), z.gather(-1, y[:, None])[:, 0] - rival)


def test_a_scale_of_the_logits_changes_no_answer():
    a, b = (Classifier(NET.sizes, c).logits(X, U) for c in (1.0, 30.0))
    assert torch.equal(a.argmax(-1), b.argmax(-1))
    assert (b / 30 - a).abs().max() < 1e-14


def test_classifiers_trained_together_are_those_trained_apart():
    images = digits(0)[0][:200]
    together = train(Classifier(), Adam(torch.tensor([[0.01], [0.003], [0.01]])), (4, 5, 6), images, 2)
    for k, (seed, lr) in enumerate(zip((4, 5, 6), (0.01, 0.003, 0.01), strict=True)):
        alone = train(Classifier(), Adam(lr), [seed], images, 2)
        assert (alone[0] - together[k]).abs().max() < 1e-6


def test_blocks_of_runs_are_all_of_them_and_keep_their_rates(monkeypatch):
    images, lrs = digits(0)[0][:60], torch.tensor([[0.01], [0.003], [0.02], [0.001], [0.05]])
    seen = []

    def runs(watch=None):
        return train(NET_OF_DIGITS, LinearDecay(Adam(lrs), 12), range(5), images, 2, 10, watch=watch)

    whole = runs()
    monkeypatch.setattr(classifiers, "BLOCK", 2)
    assert torch.equal(runs(seen.append), whole)
    assert [len(x) for x in seen] == [5, 5]
    assert torch.equal(seen[-1], whole)


def test_a_start_is_the_seeds_own_and_has_the_variance_of_its_layer():
    x = NET_OF_DIGITS.start(range(200))
    assert torch.equal(x[7], NET_OF_DIGITS.start([7])[0])
    for (W, b), rows in zip(NET_OF_DIGITS.layers(x), NET_OF_DIGITS.sizes, strict=False):
        assert float(W.std()) == pytest.approx((2 / rows) ** 0.5, rel=0.02)
        assert not b.any()


def test_training_learns_and_watches():
    images, validation, _ = digits(0)
    seen = []
    x = train(Classifier(), Adam(0.01), [0], images, 3, watch=seen.append)
    assert len(seen) == 3
    assert float(Classifier().right(x, validation)[0]) > 0.85
    assert float(Classifier().right(Classifier().start([0]), validation)[0]) < 0.4


def test_the_digits_are_split_without_overlap():
    parts = digits(0)
    assert [len(part.y) for part in parts] == [1000, 297, 500]
    every = torch.cat([part.u for part in parts])
    assert (float(every.min()), float(every.max())) == (0.0, 1.0)
    assert isinstance(parts[0][:3], Images)
    assert np.array_equal(
        np.bincount(torch.cat([p.y for p in parts])), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    )


def test_weights_of_another_size_are_refused():
    with pytest.raises(ShapeError, match="flatten"):
        classifiers.Classifier().layers(torch.zeros(2, 7))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("delta", lambda a: a[:, :2]),
        ("delta", lambda a: a.float()),
        ("u", lambda a: a[..., :-1]),
        ("y", lambda a: a[:, :2]),
        ("y", lambda a: a + 99),
        ("y", lambda a: -1 - a),
        ("y", lambda a: a.double()),
        ("x", lambda a: a[:, 1:]),
    ],
)
def test_a_step_of_an_attack_sees_only_arrays_that_fit(name, spoil):
    x = Classifier().start([1, 2])
    u = torch.zeros(2, 3, Classifier().sizes[0], dtype=torch.float64)
    given = {"x": x, "u": u, "delta": u.clone(), "y": torch.zeros(2, 3, dtype=torch.int64)}
    Classifier().fall(**given)
    with pytest.raises(ShapeError):
        Classifier().fall(**given | {name: spoil(given[name])})
