"""The rules for matrices: each equals a reference, no mutant does, and what is true of it alone."""

import ast
import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from mutants import mutant
from stepsize import SOAP, Adafactor, AdaGrad, Adam, Decoupled, LinearDecay, Muon, Shampoo, descend, matrix_rules
from stepsize.contract import leaves
from stepsize.errors import HyperparameterError, NonFiniteError, ShapeError
from stepsize.matrix_rules import NEWTON_SCHULZ, orthogonalized

STEPS = 120
WIDE, TALL, SQUARE = (3, 5), (5, 3), (4, 4)


@cache
def problem(shape):
    """A start, curvatures of the two sides, and noise: f = tr(X' A X B) / 2 + noise."""
    rng = np.random.default_rng(7)
    A, B = (np.diag(np.geomspace(0.1, 3, k)) + 0.05 for k in shape)
    return rng.standard_normal(shape), A, B, rng.standard_normal((STEPS, *shape))


def gradient(X, t):
    _, A, B, noise = (torch.as_tensor(a) if isinstance(X, torch.Tensor) else a for a in problem(tuple(X.shape[-2:])))
    return A @ X @ B + noise[t]


def iterates(rule, x, gradient=gradient, steps=STEPS):
    """The iterates of `rule` from `x`, an array or a tensor, by the contract alone."""
    state, path = rule.init(x), []
    for t in range(steps):
        state, rate, direction = rule.step(state, gradient(x, t), x)
        x = x - rate * direction
        path.append(np.asarray(x))
    return np.array(path)


class Reference(NamedTuple):
    """What a rule must equal: the iterates that `path` makes from the start; mutants are (function or class, old, new)."""

    rule: Any
    path: Callable
    mutants: list
    shapes: tuple = (WIDE, TALL)


REFERENCES = {}


def reference(name, rule, mutants, shapes=(WIDE, TALL)):
    def register(path):
        REFERENCES[name] = Reference(rule, path, mutants, shapes)
        return path

    return register


def torch_path(x, make):
    """The iterates of a torch optimizer."""
    p = torch.nn.Parameter(torch.tensor(x))
    optimizer, path = make([p]), []
    for t in range(STEPS):
        p.grad = gradient(p.detach(), t)
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.array(path)


@reference(
    "Adafactor",
    Adafactor(0.1, 0.8, 1.05, 1e-30, 0.4),
    [
        (Adafactor, "square.mean(-1)[..., None]", "abs(g).mean(-1)[..., None]"),
        (Adafactor, "square.mean(-2)[..., None, :]", "g.mean(-2)[..., None, :] ** 2"),
        (Adafactor, "t**-self.power * (square.mean(-1)[..., None] - row)", "0.1 * (square.mean(-1)[..., None] - row)"),
        (Adafactor, "t**-self.power * (square.mean(-2)[..., None, :] - column)", "square.mean(-2)[..., None, :]"),
        (Adafactor, "row * column / row.mean(-2)[..., None, :]", "row * column"),
        (Adafactor, "row * column / row.mean(-2)[..., None, :]", "row + 0 * column"),
        (Adafactor, "maximum(_rms(x), constant(self.eps2, t))", "_rms(x)"),
        (Adafactor, "maximum(_rms(x), constant(self.eps2, t))", "constant(self.eps2, t)"),
        (Adafactor, "minimum(constant(self.lr, t), t**-0.5)", "constant(self.lr, t)"),
        (Adafactor, "minimum(constant(self.lr, t), t**-0.5)", "t**-0.5"),
        (Adafactor, "maximum(_rms(g / root) / self.limit, constant(1, t))", "constant(1, t)"),
        (Adafactor, "maximum(_rms(g / root) / self.limit, constant(1, t))", "_rms(g / root) / self.limit"),
        (Adafactor, "maximum(_rms(g / root) / self.limit, constant(1, t))", "maximum(_rms(g / root), constant(1, t))"),
        (Adafactor, "state.t + 1", "state.t + 2"),
        (matrix_rules._rms, "(M * M).mean((-1, -2))", "(M * M).sum((-1, -2))"),
    ],
)
def adafactor(x):
    """torch's floors, eps1 of a mean and eps1^2 of V, are not reached here."""
    return torch_path(x, lambda ps: torch.optim.Adafactor(ps, lr=0.1, beta2_decay=-0.8, eps=(None, 0.4), d=1.05))


@reference(
    "Adafactor with eps1",
    Adafactor(0.05, 0.8, 1.0, 0.7, 1e-3),
    [
        (Adafactor, "g * g + self.eps1", "g * g"),
        (Adafactor, "g * g + self.eps1", "g * g + self.eps1**2"),
        (Adafactor, "self.eps1", "self.eps2"),
    ],
)
def adafactor_of_the_paper(x):
    """Shazeer & Stern (2018), algorithm 4, entry by entry with their sums."""
    (m, n), path = x.shape, []
    R, C = [0.0] * m, [0.0] * n
    for t in range(1, STEPS + 1):
        g, beta = gradient(x, t - 1), 1 - t**-0.8
        square = g**2 + 0.7
        R = [beta * R[i] + (1 - beta) * math.fsum(square[i]) for i in range(m)]
        C = [beta * C[j] + (1 - beta) * math.fsum(square[:, j]) for j in range(n)]
        U = np.array([[g[i, j] / math.sqrt(R[i] * C[j] / math.fsum(R)) for j in range(n)] for i in range(m)])
        U = U / max(1.0, math.sqrt((U**2).mean()))
        x = x - max(1e-3, math.sqrt((x**2).mean())) * min(0.05, 1 / math.sqrt(t)) * U
        path.append(x)
    return np.array(path)


@reference(
    "Muon",
    Muon(0.02, 0.8, 3.0),
    [
        (Muon, "b = self.momentum * b + (1 - self.momentum) * g", "b = self.momentum * b + g"),
        (Muon, "b = self.momentum * b + (1 - self.momentum) * g", "b = g"),
        (Muon, "ahead = self.momentum * b + (1 - self.momentum) * g", "ahead = b"),
        (Muon, "ahead = self.momentum * b + (1 - self.momentum) * g", "ahead = self.momentum * b + g"),
        (Muon, "max(1, g.shape[-2] / g.shape[-1]) ** 0.5", "1"),
        (Muon, "max(1, g.shape[-2] / g.shape[-1]) ** 0.5", "max(1, g.shape[-2] / g.shape[-1])"),
        (Muon, "max(1, g.shape[-2] / g.shape[-1])", "(g.shape[-2] / g.shape[-1])"),
        (Muon, "orthogonalized(ahead, self.eps)", "orthogonalized(ahead)"),
        (Muon, "orthogonalized(ahead, self.eps)", "ahead"),
        (Muon, "self.lr", "1"),
        (orthogonalized, "maximum(size, constant(eps, size))", "size"),
        (orthogonalized, "maximum(size, constant(eps, size))", "(size + eps)"),
        (orthogonalized, "b * A + c * A @ A", "b * A"),
        (orthogonalized, "b * A + c * A @ A", "b * A + c * A"),
        (orthogonalized, "b * A + c * A @ A", "b * A - c * A @ A"),
        (orthogonalized, "a * X", "X"),
        (orthogonalized, "NEWTON_SCHULZ", "NEWTON_SCHULZ[1:]"),
    ],
)
def muon(x):
    """By singular values: the momentum of torch's code, and the polynomial on each number."""
    b, path = np.zeros_like(x), []
    for t in range(STEPS):
        g = gradient(x, t)
        b = b + (1 - 0.8) * (g - b)
        U, s, V = np.linalg.svd(g + 0.8 * (b - g), full_matrices=False)
        s = s / max(np.sqrt((s**2).sum()), 3.0)
        for _ in range(5):
            s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
        x = x - 0.02 * math.sqrt(max(1.0, x.shape[0] / x.shape[1])) * (U * s) @ V
        path.append(x)
    return np.array(path)


@reference(
    "Shampoo",
    Shampoo(0.3, 0.2),
    [
        (Shampoo, "state.left + g @ g.mT", "g @ g.mT"),
        (Shampoo, "state.left + g @ g.mT", "state.left - g @ g.mT"),
        (Shampoo, "state.right + g.mT @ g", "g.mT @ g"),
        (Shampoo, "self._root(left) @ g @ self._root(right)", "g @ self._root(right)"),
        (Shampoo, "self._root(left) @ g @ self._root(right)", "self._root(left) @ g"),
        (Shampoo, "w**-0.25", "w**-0.5"),
        (Shampoo, "w**-0.25", "w**0.25"),
        (Shampoo, "Q * w**-0.25 @ Q.mT", "Q * w**-0.25"),
        (
            Shampoo,
            "maximum(w, zeros_like(w))[..., None, :] + self.eps",
            "maximum(w, zeros_like(w))[..., None, :] + 1e-6",
        ),
        (Shampoo, "constant(self.lr, g)", "constant(self.lr**2, g)"),
    ],
)
def shampoo(x):
    """Gupta, Koren & Singer (2018), algorithm 1, the roots by Schur decompositions."""
    (m, n), path = x.shape, []
    L, R = 0.2 * np.eye(m), 0.2 * np.eye(n)
    for t in range(STEPS):
        g = gradient(x, t)
        L, R = L + g @ g.T, R + g.T @ g
        left, right = (np.real(scipy.linalg.fractional_matrix_power(M, -0.25)) for M in (L, R))
        x = x - 0.3 * left @ g @ right
        path.append(x)
    return np.array(path)


@reference(
    "SOAP",
    SOAP(0.03, 0.8, 0.9, 0.05),
    [
        (SOAP, "m.push(g, 1 - seen * (1 - self.beta1))", "m.push(g, self.beta1)"),
        (SOAP, "m.push(g, 1 - seen * (1 - self.beta1))", "m.push(g, 1 - seen * (1 - self.beta2))"),
        (SOAP, "(P.mT @ g @ Q) ** 2", "g**2"),
        (SOAP, "(P.mT @ g @ Q) ** 2", "(P @ g @ Q.mT) ** 2"),
        (SOAP, "1 - seen * (1 - self.beta2)", "self.beta2"),
        (SOAP, "left.push(g @ g.mT, self.beta2)", "left.push(g.mT @ g, self.beta2)"),
        (SOAP, "left.push(g @ g.mT, self.beta2)", "left.push(g @ g.mT, self.beta1)"),
        (SOAP, "right.push(g.mT @ g, self.beta2)", "right.push(g.mT @ g, self.beta1)"),
        (SOAP, "P.mT @ m_mean @ Q", "m_mean"),
        (SOAP, "constant(self.lr, g)", "constant(1, g)"),
        (SOAP, "a.total / positive(a.weight)", "a.total"),
        (SOAP, "sqrt(v_mean) + self.eps", "sqrt(v_mean + self.eps)"),
        (
            SOAP,
            "P @ (P.mT @ m_mean @ Q / (sqrt(v_mean) + self.eps)) @ Q.mT",
            "P.mT @ m_mean @ Q / (sqrt(v_mean) + self.eps)",
        ),
    ],
    shapes=(
        SQUARE,
    ),  # elsewhere one gradient leaves part of the basis open, and NumPy and torch may complete it differently
)
def soap(x):
    """Vyas et al. (2025), algorithm 3, with a step counter; the basis by singular vectors, the largest first."""
    M, V, L, R, path = np.zeros_like(x), np.zeros_like(x), 0 * x @ x.T, 0 * x.T @ x, []
    for t in range(STEPS):
        g = gradient(x, t)
        if t:
            P, Q = np.linalg.svd(L)[0], np.linalg.svd(R)[0]
            M, V = 0.8 * M + 0.2 * g, 0.9 * V + 0.1 * (P.T @ g @ Q) ** 2
            step = P.T @ (M / (1 - 0.8**t)) @ Q / (np.sqrt(V / (1 - 0.9**t)) + 0.05)
            x = x - 0.03 * P @ step @ Q.T
        L, R = 0.9 * L + 0.1 * g @ g.T, 0.9 * R + 0.1 * g.T @ g
        path.append(x)
    return np.array(path)


@cache
def expected(name, shape):
    return REFERENCES[name].path(problem(shape)[0].copy())


def deviation(rule, name, shape, make=np.asarray):
    """Largest deviation from the reference, relative to the iterate where that is larger than 1."""
    path = expected(name, shape)
    return np.max(np.abs(iterates(rule, make(problem(shape)[0])) - path) / np.maximum(1, np.abs(path)))


CASES = [(name, shape) for name, each in REFERENCES.items() for shape in each.shapes]


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["arrays", "tensors"])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_rule_equals_its_reference(name, shape, make):
    assert deviation(REFERENCES[name].rule, name, shape, make) <= 1e-12


MUTANTS = [(name, *each) for name, one in REFERENCES.items() for each in one.mutants]


@pytest.mark.parametrize(("name", "whole", "old", "new"), MUTANTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_formula_is_caught(name, whole, old, new, monkeypatch):
    rule, broken = REFERENCES[name].rule, mutant(whole, old, new)
    if isinstance(whole, type):
        rule = broken(**vars(rule))
    else:
        monkeypatch.setattr(matrix_rules, whole.__name__, broken)
    with np.errstate(all="ignore"):
        assert not max(deviation(rule, name, shape) for shape in REFERENCES[name].shapes) <= 1e-6


def test_every_rule_for_matrices_has_a_reference_and_mutants():
    assert {type(each.rule).__name__ for each in REFERENCES.values() if each.mutants} == set(matrix_rules.__all__)


# ---------------------------------------------------------------- torch's Muon


def torch_muon(shape, decay):
    return torch_path(
        problem(shape)[0],
        lambda ps: torch.optim.Muon(ps, lr=0.02, momentum=0.8, weight_decay=decay, eps=1e-3),
    )


@pytest.mark.parametrize("shape", [WIDE, TALL])
def test_muon_is_torchs_where_torch_is_made_to_compute_in_double_precision(shape, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda g: g.clone())
    for decay in (0.0, 0.3):
        path = torch_muon(shape, decay)
        rule = Decoupled(Muon(0.02, 0.8, 1e-3), decay)
        assert np.abs(iterates(rule, problem(shape)[0]) - path).max() <= 1e-12


def test_torchs_own_bfloat16_is_a_few_percent_off_in_each_direction():
    """Eight bits round to 1 in 256; the five steps of the polynomial make 1.5 % of it in the median, 5 % at worst."""
    for seed in range(20):
        g = np.random.default_rng(seed).standard_normal(TALL)
        p = torch.nn.Parameter(torch.zeros(TALL, dtype=torch.float64))
        p.grad = torch.tensor(g)
        torch.optim.Muon([p], lr=1.0, momentum=0.0, nesterov=False, weight_decay=0.0).step()
        own = iterates(Muon(1.0, 0.0), np.zeros(TALL), lambda x, t, g=g: g, 1)[0]
        assert 1e-3 < np.linalg.norm(p.detach().numpy() - own) / np.linalg.norm(own) < 0.06


# ---------------------------------------------------------------- Muon


def matrix(seed, shape):
    """A matrix with singular values between 0.01 and 1, so that none is less than 0.002 of its Frobenius norm."""
    rng = np.random.default_rng(seed)
    U, _, V = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    return (U * 10 ** rng.uniform(-2, 0, min(shape))) @ V


SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 7))


@given(st.integers(0, 1000), SHAPES)
def test_singular_values_go_to_one_within_the_stated_error_of_the_polynomial(seed, shape):
    s = np.linalg.svd(orthogonalized(matrix(seed, shape)), compute_uv=False)
    assert 0.68 < s.min() <= s.max() < 1.21


def test_the_stated_error_is_that_of_the_polynomial_on_the_whole_interval():
    s = np.geomspace(1e-9, 1, 200_001)
    big = s >= 2e-3
    for a, b, c in NEWTON_SCHULZ:
        s = a * s + b * s**3 + c * s**5
    assert 0.68 < s[big].min() < 0.69
    assert 1.20 < s.max() < 1.21


@given(st.integers(0, 1000), SHAPES)
def test_the_singular_vectors_stay(seed, shape):
    """G' O is symmetric and positive, as G' U V' = V S V' is."""
    G = matrix(seed, shape)
    product = G.T @ orthogonalized(G)
    np.testing.assert_allclose(product, product.T, atol=1e-12)
    assert np.linalg.eigvalsh(product).min() > -1e-12


@given(st.integers(0, 1000), SHAPES, st.floats(1e-3, 1e6))
def test_orthogonalization_turns_with_its_matrix_transposes_with_it_and_does_not_feel_its_scale(seed, shape, scale):
    G, O = matrix(seed, shape), orthogonalized(matrix(seed, shape))
    m, n = shape
    A, B = (ortho_group.rvs(k, random_state=seed) if k > 1 else np.eye(1) for k in (m, n))
    np.testing.assert_allclose(orthogonalized(A @ G @ B), A @ O @ B, atol=1e-12)
    np.testing.assert_allclose(orthogonalized(G.T), O.T, atol=1e-12)
    np.testing.assert_allclose(orthogonalized(scale * G), O, atol=1e-12)


def turned_run(rule):
    """Iterates, and those of the problem in turned axes, turned back."""
    x, *_ = problem(SQUARE)
    A, B = ortho_group.rvs(4, 2, random_state=3)
    turned = iterates(rule, A @ x @ B.T, lambda X, t: A @ gradient(A.T @ X @ B, t) @ B.T)
    return iterates(rule, x), A.T @ turned @ B


@pytest.mark.parametrize("rule", [Muon(0.02), Shampoo(0.3), SOAP(0.03, eps=1e-3)], ids=lambda r: type(r).__name__)
def test_a_run_in_turned_axes_is_the_run_turned(rule):
    straight, back = turned_run(rule)
    np.testing.assert_allclose(back, straight, atol=1e-9)


@pytest.mark.parametrize("rule", [Adam(0.03), Adafactor(0.03)], ids=lambda r: type(r).__name__)
def test_a_rule_that_goes_by_entries_depends_on_the_axes(rule):
    straight, back = turned_run(rule)
    assert np.abs(back - straight).max() > 0.01


# ---------------------------------------------------------------- Shampoo


def directions(rule, gradients):
    x, state, out = np.zeros_like(gradients[0]), rule.init(np.zeros_like(gradients[0])), []
    for g in gradients:
        state, _, direction = rule.step(state, g, x)
        out.append(direction)
    return np.array(out)


@given(st.integers(0, 1000), SHAPES, st.floats(1e-4, 10), st.floats(0.1, 10))
def test_on_a_gradient_of_rank_one_shampoo_divides_by_the_root_of_its_sum_of_squares(seed, shape, eps, size):
    """L = eps I + t size^2 u u', R likewise, so that step t of a constant size u v' is size u v' / sqrt(eps + t size^2)."""
    rng = np.random.default_rng(seed)
    u, v = (a / np.linalg.norm(a) for a in (rng.standard_normal(k) + 2 for k in shape))
    g = size * np.outer(u, v)
    for t, direction in enumerate(directions(Shampoo(eps=eps), [g] * 4), 1):
        np.testing.assert_allclose(direction, g / math.sqrt(eps + t * size**2), atol=1e-9 * size / math.sqrt(eps))


def test_on_diagonal_gradients_shampoo_is_adagrad():
    d = np.random.default_rng(0).standard_normal((30, 4))
    own = directions(Shampoo(eps=1e-12), d[:, :, None] * np.eye(4))
    state, plain = AdaGrad(1.0, 0.0).init(d[0]), []
    for g in d:
        state, rate, direction = AdaGrad(1.0, 0.0).step(state, g, g)
        plain.append(rate * direction)
    np.testing.assert_allclose(own, np.array(plain)[:, :, None] * np.eye(4), rtol=1e-7, atol=1e-12)


# ---------------------------------------------------------------- SOAP


def test_in_shampoos_eigenbasis_soap_is_adam():
    """Gradients U D V' with diagonal D of rising entries keep the basis U, V; the first one only makes it."""
    rng = np.random.default_rng(1)
    U, V = ortho_group.rvs(4, 2, random_state=4)
    D = rng.uniform(0.8, 1.2, (30, 4)) * [1, 2, 4, 8] * np.where(rng.random((30, 4)) < 0.5, 1, -1)
    own = directions(SOAP(1.0, 0.9, 0.95, 1e-2), U @ (D[:, :, None] * np.eye(4)) @ V.T)
    adam = Adam(1.0, 0.9, 0.95, 1e-2)
    state, plain = adam.init(D[0]), []
    for d in D[1:]:
        state, rate, direction = adam.step(state, d, d)
        plain.append(rate * direction)
    np.testing.assert_allclose(own[1:], U @ (np.array(plain)[:, :, None] * np.eye(4)) @ V.T, atol=1e-11)
    assert not own[0].any()


# ---------------------------------------------------------------- Adafactor


@given(st.integers(0, 1000), SHAPES)
def test_squares_of_rank_one_are_known_exactly_from_their_rows_and_columns(seed, shape):
    """g^2 = r c' at every step, up to a factor: V is its average, and the unclipped direction Adam's without momentum."""
    rng = np.random.default_rng(seed)
    r, c = (np.exp(rng.standard_normal(k)) for k in shape)
    rule, x = Adafactor(limit=1e9), np.ones(shape)
    state, V = rule.init(x), 0.0
    for t in range(1, 20):
        g = np.sqrt(rng.uniform(0.5, 2) * np.outer(r, c)) * np.where(rng.random(shape) < 0.5, 1, -1)
        V = V + t**-0.8 * (g * g - V)
        state, rate, direction = rule.step(state, g, x)
        np.testing.assert_allclose(rate * direction, min(0.01, t**-0.5) * g / np.sqrt(V), rtol=1e-12)


def test_adafactor_remembers_m_plus_n_numbers():
    shapes = {name: leaf.shape for name, leaf in leaves(Adafactor().init(np.ones((50, 30))))}
    assert shapes == {"left": (50, 1), "right": (1, 30), "t": (1, 1)}


@given(st.floats(0.1, 2))
def test_no_step_of_adafactor_is_longer_than_its_limit_allows(limit):
    gradients = np.random.default_rng(0).standard_normal((20, 5, 4)) * np.geomspace(1, 1e6, 20)[:, None, None]
    rule, x = Adafactor(limit=limit), np.ones((5, 4))
    state = rule.init(x)
    for g in gradients:
        state, rate, direction = rule.step(state, g, x)
        assert np.sqrt(((rate * direction) ** 2).mean()) <= 0.01 * limit * (1 + 1e-12)


# ---------------------------------------------------------------- the contract


EVERY = {"Adafactor": Adafactor(0.1), "Muon": Muon(0.1), "Shampoo": Shampoo(0.3), "SOAP": SOAP(0.1, eps=1e-3)}


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_of_matrices_equals_the_matrices_apart(name):
    x = np.random.default_rng(2).standard_normal((6, *SQUARE))
    together = iterates(EVERY[name], x, steps=30)
    for i in range(6):
        np.testing.assert_allclose(together[:, i], iterates(EVERY[name], x[i], steps=30), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", EVERY)
def test_a_column_of_learning_rates_makes_a_grid(name):
    lrs, x = np.array([0.01, 0.1]), problem(SQUARE)[0]
    cls = type(EVERY[name])
    grid = iterates(cls(lrs[:, None, None]), np.stack([x, x]), steps=20)
    for i, lr in enumerate(lrs):
        np.testing.assert_allclose(grid[:, i], iterates(cls(lr), x, steps=20), rtol=1e-9, atol=1e-9)


def spoilt(rule):
    """Two runs together, the first of which meets an infinite gradient."""
    x = np.stack([problem(SQUARE)[0]] * 2)
    with np.errstate(all="ignore"):
        return iterates(
            rule, x, lambda x, t: gradient(x, t) * np.array([np.inf if t == 3 else 1, 1])[:, None, None], 10
        )


@pytest.mark.parametrize("name", EVERY)
def test_a_run_that_diverges_takes_no_other_with_it(name):
    path = spoilt(EVERY[name])
    assert not np.isfinite(path[-1, 0]).all()
    np.testing.assert_allclose(path[:, 1], iterates(EVERY[name], problem(SQUARE)[0], steps=10), rtol=1e-9, atol=1e-11)


def test_without_its_guard_lapack_would_refuse_both(monkeypatch):
    bare = mutant(matrix_rules._eigh, "xp.nan_to_num(M, nan=0.0, posinf=0.0, neginf=0.0)", "M")
    monkeypatch.setattr(matrix_rules, "_eigh", bare)
    with pytest.raises(np.linalg.LinAlgError):
        spoilt(EVERY["Shampoo"])


@pytest.mark.parametrize("name", EVERY)
def test_every_rule_finds_the_minimum_of_a_bowl_and_rests_where_the_gradient_is_zero(name):
    end = descend(LinearDecay(EVERY[name], 300), lambda x, t: x, np.eye(4) + 1.0, 300).x[-1]
    assert np.abs(end).max() < 0.4
    _, _, direction = EVERY[name].step(EVERY[name].init(end), 0 * end, end)
    assert np.all(direction == 0)


def test_divergence_is_raised_as_for_any_rule():
    with pytest.raises(NonFiniteError):
        descend(Shampoo(), lambda x, t: x * np.nan, np.ones((2, 2)), 3)


@pytest.mark.parametrize("name", EVERY)
def test_single_precision_stays(name):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    state, rate, direction = EVERY[name].step(EVERY[name].init(x), x, x)
    assert {a.dtype for a in (rate, direction, *(leaf for _, leaf in leaves(state)))} == {torch.float32}


@pytest.mark.parametrize("name", EVERY)
def test_a_vector_is_refused_by_name_and_remedy(name):
    with pytest.raises(ShapeError, match=rf"{name} needs matrices.*got shape \(7,\).*Adam"):
        EVERY[name].init(np.zeros(7))


def test_hyperparameters_are_checked():
    for wrong in (
        lambda: Muon(momentum=1.0),
        lambda: SOAP(beta2=-0.1),
        lambda: Adafactor(eps1=-1),
        lambda: Shampoo(lr=np.nan),
    ):
        with pytest.raises(HyperparameterError):
            wrong()


def test_the_rules_do_not_branch():
    tree = ast.parse(inspect.getsource(matrix_rules))
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.If, ast.IfExp, ast.While))]
