"""torch's optimizer and ours with the same rule, put to the same use: what one does, the other must do.

A use is a function of `make`, which builds an optimizer from parameters and settings as torch's constructors do. It returns
what is to be compared: tensors, numbers, and words, in lists, tuples and dictionaries. It says its name in the test's id.
"""

import pytest
import torch
from torch import nn

from references import TORCH
from stepsize.errors import StepsizeError
from stepsize.optim import Optimizer

MODES = pytest.mark.parametrize("compiled", [None, False], ids=["compiled", "eager"])

#: The settings of a rule that torch calls by another name.
NAMES = {"weight_decay": "decay", "alpha": "beta"}


def uses(each, *marks):
    """The test once for each use of a list of functions or a dictionary."""
    items = each.items() if isinstance(each, dict) else [(use.__name__, use) for use in each]
    return pytest.mark.parametrize("use", [pytest.param(use, id=name, marks=marks) for name, use in items])


def maker(name="Adam", compiled=None):
    """What builds our optimizer with the rule of `name`, from torch's names of settings."""

    def make(params, **settings):
        optimizer = Optimizer(params, TORCH[name][0], compiled=compiled)
        for group in optimizer.param_groups:
            group.update({NAMES.get(key, key): value for key, value in settings.items()})
        return optimizer

    return make


def equal(use, name="Adam", compiled=None, tolerance=1e-12, ours=None):
    """torch runs, ours runs, and both return the same to `tolerance`, absolute and relative; words exactly.

    Tensors of less precision than float64 may differ by eight roundings.
    """
    theirs = use(TORCH[name][1])
    compare(use(ours or maker(name, compiled)), theirs, tolerance)


def compare(ours, theirs, tolerance):
    if isinstance(theirs, (list, tuple)):
        assert isinstance(ours, (list, tuple))
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b, tolerance)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        compare(list(ours.values()), list(theirs.values()), tolerance)
    elif isinstance(theirs, torch.Tensor):
        if theirs.is_floating_point():
            tolerance = max(tolerance, 8 * torch.finfo(theirs.dtype).eps)
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=tolerance, abs=tolerance, nan_ok=True)
    else:
        assert ours == theirs


def both_refuse(use, error, name="Adam", compiled=None):
    """Both raise `error`; what torch says is its own affair."""
    for make in (TORCH[name][1], maker(name, compiled)):
        with pytest.raises(error):
            use(make)


def only_ours_refuses(use, words, name="Adam", compiled=None):
    """torch runs; ours raises an error of the library that says `words`."""
    use(TORCH[name][1])
    with pytest.raises(StepsizeError, match=words):
        use(maker(name, compiled))


def only_torch_refuses(use, name="Adam", compiled=None):
    """Ours runs, and torch raises; returns what ours returned."""
    with pytest.raises(Exception):  # noqa: B017, PT011
        use(TORCH[name][1])
    return use(maker(name, compiled))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def walk(optimizer, params, steps=5, gradient=None):
    """Steps with noisy gradients, or with those of `gradient(t, p)`; the values of the parameters after each."""
    rng, path = generator(1), []
    for t in range(steps):
        for p in params:
            g = torch.randn(p.shape, generator=rng, dtype=torch.float64).to(p.dtype)
            p.grad = g if gradient is None else gradient(t, p)
        optimizer.step()
        path.append([p.detach().clone() for p in params])
    return path


def network(dtype=torch.float64, seed=0):
    """A small network with a convolution, a norm and shared weights, and the loss of a batch by its number."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv1d(1, 3, 3), nn.Flatten(), nn.Linear(12, 12), nn.LayerNorm(12), nn.Tanh(), nn.Linear(12, 2)
        )
    model = model.to(dtype)

    def loss(t, model=model):
        x = normal(8, 1, 6, seed=t).to(dtype)
        return (model(x) - x.mean(2)).square().mean()

    return model, loss


def train(model, loss, optimizer, times, after=lambda t: None):
    """Steps on the batches of these numbers; the losses on the way."""
    losses = []
    for t in times:
        optimizer.zero_grad()
        value = loss(t, model)
        value.backward()
        optimizer.step()
        after(t)
        losses.append(value.item())
    return losses


def values(model):
    return [p.detach().clone() for p in model.parameters()]
