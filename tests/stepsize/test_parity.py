"""Every rule equals an independent reference over 200 noisy steps, and no mutant of its formula does."""

from functools import cache

import numpy as np
import pytest
import torch

import stepsize.rules
from mutants import mutant
from references import RULES, START, TORCH, iterates, reference
from stepsize import SGD, Adam, Average, Coupled, Decoupled, InverseRoot, chain, rules
from stepsize.transforms import Chain

reference = cache(reference)


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


#: name of the reference, text of the rule's formula, and what it is broken to
MUTANTS = [
    ("SGD", "constant(self.lr, g), g", "constant(self.lr, g), -g"),
    ("SGD", "constant(self.lr, g)", "constant(self.lr, g) ** 2"),
    ("HeavyBall", "self.momentum * b + g", "self.momentum * b - g"),
    ("HeavyBall", "self.momentum * b + g", "self.momentum * b + (1 - self.momentum) * g"),
    ("HeavyBall", "return b, constant(self.lr, g), b", "return b, constant(self.lr, g), g"),
    ("HeavyBall", "return b,", "return g,"),
    ("AdaGrad", "sqrt(s) + self.eps", "sqrt(s + self.eps)"),
    ("AdaGrad", "s + g * g", "s + abs(g)"),
    ("AdaGrad", "s = s + g * g", "s = g * g"),
    ("AdaGrad", "constant(self.initial, x)", "zeros_like(x)"),
    ("AdaGrad", "self.lr / (", "-self.lr / ("),
    ("RMSProp", "sqrt(v) + self.eps", "sqrt(v + self.eps)"),
    ("RMSProp", "self.lr / (sqrt(v)", "self.lr / (v"),
    ("RMSProp", "self.beta * v + (1 - self.beta) * g * g", "(1 - self.beta) * v + self.beta * g * g"),
    ("RMSProp", "(1 - self.beta) * g * g", "g * g"),
    ("RMSProp", "self.lr / (", "-self.lr / ("),
    ("Adam", "sqrt(v.mean) + self.eps", "sqrt(v.mean + self.eps)"),
    ("Adam", "+ self.eps", "- self.eps"),
    ("Adam", "sqrt(v.mean) + self.eps", "sqrt(v.total) + self.eps"),
    ("Adam", "self.eps), m.mean", "self.eps), m.total"),
    ("Adam", "self.eps), m.mean", "self.eps), g"),
    ("Adam", "push(g, self.beta1)", "push(g, self.beta2)"),
    ("Adam", "push(g * g, self.beta2)", "push(g * g, self.beta1)"),
    ("Adam", "push(g * g,", "push(abs(g),"),
    ("Adam", "self.lr / (", "-self.lr / ("),
    ("AMSGrad", "maximum(state.peak, v.total)", "v.total"),
    ("AMSGrad", "maximum(state.peak, v.total)", "maximum(state.peak, v.mean)"),
    ("AMSGrad", "sqrt(peak / v.weight) + self.eps", "sqrt(peak) + self.eps"),
    ("AMSGrad", "PeakMoments(m, v, peak)", "PeakMoments(m, v, state.peak)"),
    ("AMSGrad", "sqrt(peak / v.weight) + self.eps", "sqrt(peak / v.weight + self.eps)"),
    ("AMSGrad", "self.eps), m.mean", "self.eps), m.total"),
    ("AMSGrad", "push(g, self.beta1)", "push(g, self.beta2)"),
    ("AdamW", "direction + self.decay", "direction - self.decay"),
    ("AdamW", "(self.lr / positive(rate)) * x", "x"),
    ("AdamW", "(self.lr / positive(rate)) * x", "(self.lr / positive(rate))"),
    (
        "AdamW",
        "return state, rate, direction + self.decay * (self.lr / positive(rate)) * x",
        "return state, rate, direction",
    ),
    ("Adam, coupled", "g + self.decay * x", "g - self.decay * x"),
    ("Adam, coupled", "g + self.decay * x", "g + self.decay * self.lr * x"),
    ("SGD, coupled", "g + self.decay * x", "g"),
    ("SignDescent", "g), sign(g)", "g), g"),
    ("SignDescent", "g), sign(g)", "g), -sign(g)"),
    ("AdaBelief", "(g - m.total) ** 2", "g * g"),
    ("AdaBelief", "(g - m.total) ** 2", "(g - m.mean) ** 2"),
    ("AdaBelief", "(g - m.total) ** 2", "(g - state.m.total) ** 2"),
    ("AdaBelief", "v.total + self.eps", "v.total"),
    ("AdaBelief", "sqrt(v.mean) + self.eps", "sqrt(v.mean)"),
    ("AdaBelief", "push(g, self.beta1)", "push(g, self.beta2)"),
    ("InverseRoot", "rate / sqrt(t), direction", "rate / t, direction"),
    ("InverseRoot", "rate / sqrt(t), direction", "rate / sqrt(state.t + 2), direction"),
    ("InverseRoot", "rate / sqrt(t), direction", "rate, direction"),
    ("LinearDecay", "maximum(share, zeros_like(share))", "share"),
    ("LinearDecay", "1 - state.t", "1 - (state.t + 1)"),
    ("LinearDecay", "rate * maximum", "rate + maximum"),
    ("Pooled", "step(state.size, rms(g)", "step(state.size, g"),
    ("Pooled", "each, _, direction", "each, rate, direction"),
    ("Pooled", "step(state.size", "step(self.rule.init(first(x))"),
    ("ClipByNorm", "maximum(length, constant(self.limit, length))", "length"),
    ("ClipByNorm", "g * (self.limit", "g * (1"),
    ("ClipByValue", "maximum(g, -bound)", "g"),
    ("ClipByValue", "minimum(maximum(g, -bound), bound)", "maximum(g, -bound)"),
]


def broken(name, old, new):
    """The rule of `name` with its formula, or that of its outermost wrapper or transform, replaced."""
    rule = RULES[name]
    if isinstance(rule, Chain):
        transform = rule.transforms[0]
        return chain(mutant(type(transform), old, new)(transform.limit), rule.rule)
    return mutant(type(rule), old, new)(**vars(rule))


@pytest.mark.parametrize(("name", "old", "new"), MUTANTS)
def test_a_broken_formula_is_caught(name, old, new):
    with np.errstate(all="ignore"):
        assert not deviation(broken(name, old, new), name) <= 1e-6


def test_every_rule_of_the_library_has_a_mutant():
    mutated = {name.partition(",")[0] for name, *_ in MUTANTS}
    exported = {part for part in vars(stepsize) if hasattr(getattr(stepsize, part), "step")} - {"Coupled", "Decoupled"}
    assert exported <= mutated
    assert {type(RULES[name]) for name, *_ in MUTANTS} >= {Coupled, Decoupled, InverseRoot, Chain}


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
