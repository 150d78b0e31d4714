"""Every rule equals an independent reference over 200 noisy steps, and no mutant of its formula does."""

import numpy as np
import pytest
import torch

from mutants import mutant
from references import REFERENCES, RULES, START, TORCH, iterates, reference
from stepsize import SGD, Adam, Average, Coupled, Decoupled, chain, rules, transforms, wrappers
from stepsize.signals import ZOO
from stepsize.transforms import Chain


def deviation(rule, name, x=START):
    """Largest deviation from the reference, relative to the iterate where that is larger than 1."""
    expected = reference(name)
    return np.max(np.abs(iterates(rule, x) - expected) / np.maximum(1, np.abs(expected)))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_on_arrays_equals_its_reference(name):
    assert deviation(RULES[name], name) <= 1e-12


@pytest.mark.parametrize("name", RULES)
def test_a_rule_on_tensors_equals_its_reference(name):
    assert deviation(RULES[name], name, torch.tensor(START)) <= 1e-12


def broken(name, old, new):
    """The rule of `name` with its formula, or that of its outermost wrapper or transform, replaced."""
    rule = RULES[name]
    if isinstance(rule, Chain):
        transform = rule.transforms[0]
        return chain(mutant(type(transform), old, new)(transform.limit), rule.rule)
    return mutant(type(rule), old, new)(**vars(rule))


MUTANTS = [(name, old, new) for name, each in REFERENCES.items() for old, new in each.mutants]


@pytest.mark.parametrize(("name", "old", "new"), MUTANTS)
def test_a_broken_formula_is_caught(name, old, new):
    with np.errstate(all="ignore"):
        assert not deviation(broken(name, old, new), name) <= 1e-6


def unguarded(references):
    """Rules, wrappers and transforms of the library that have no reference, or one without mutants."""
    guarded = [reference.rule for reference in references.values() if reference.mutants]
    guarded = {type(part) for rule in guarded for part in (rule, *getattr(rule, "transforms", ()))}
    maps = [c for c in vars(transforms).values() if isinstance(c, type) and "__call__" in vars(c)]
    every = {*ZOO.values(), *map(vars(wrappers).get, wrappers.__all__), *maps}
    return sorted(c.__name__ for c in every - guarded)


def test_every_rule_has_a_reference_and_mutants():
    assert unguarded(REFERENCES) == [], "add an entry to tests/references.py"


def test_a_rule_without_either_would_be_named():
    assert unguarded(REFERENCES | {"SGD": REFERENCES["SGD"]._replace(mutants=[])}) == ["SGD"]
    assert unguarded({name: each for name, each in REFERENCES.items() if name != "ClipByNorm"}) == ["ClipByNorm"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("beta * self.total + (1 - beta) * value", "beta * self.total + value"),
        ("beta * self.total + (1 - beta) * value", "(1 - beta) * self.total + beta * value"),
        ("beta * self.weight + (1 - beta)", "beta * self.weight + 1"),
        ("beta * self.weight + (1 - beta)", "self.weight * 0 + 1"),
        ("self.total / self.weight", "self.total"),
    ],
)
def test_a_broken_average_is_caught_by_adam(monkeypatch, old, new):
    monkeypatch.setattr(rules, "Average", mutant(Average, old, new))
    assert not deviation(RULES["Adam"], "Adam") <= 1e-6


def test_a_chain_that_forgets_its_transforms_is_caught():
    forgetful = mutant(Chain, "g = transform(g)", "transform(g)")
    assert deviation(forgetful(RULES["ClipByNorm"].transforms, SGD(0.05)), "ClipByNorm") > 1e-6


def test_the_order_of_clip_and_decay_matters():
    clip = RULES["ClipByValue"].transforms[0]
    inside, outside = Coupled(chain(clip, SGD(0.05)), 0.5), chain(clip, Coupled(SGD(0.05), 0.5))
    assert np.abs(iterates(inside, START) - iterates(outside, START)).max() > 1e-3


def test_torch_default_settings_are_ours_where_torch_has_the_rule():
    for name, fields in {
        "Adam": {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8},
        "AdamW": {"weight_decay": 1e-2},
        "RMSProp": {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8},
        "AdaGrad": {"lr": 1e-2, "eps": 1e-10},
    }.items():
        defaults = TORCH[name][1].func([torch.nn.Parameter(torch.zeros(1))]).defaults
        assert fields.items() <= defaults.items()
    assert (Adam().lr, Adam().beta1, Adam().beta2, Adam().eps) == (1e-3, 0.9, 0.999, 1e-8)
    assert (rules.RMSProp().lr, rules.RMSProp().beta, rules.RMSProp().eps) == (1e-2, 0.99, 1e-8)
    assert (rules.AdaGrad().lr, rules.AdaGrad().eps, Decoupled(Adam()).decay) == (1e-2, 1e-10, 1e-2)
