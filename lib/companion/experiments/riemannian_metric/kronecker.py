"""Between the diagonal and the full matrix: Kronecker factors of a softmax regression, whose weights are a matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from companion.experiments.regression import outer_mean
from stepsize.metric import solve

from .natural_gradient import angle, coordinates


@dataclass(frozen=True, eq=False)
class Softmax:
    """P(class i | x) proportional to exp((W x)_i), and to 1 for one class more: W (..., k, d), X (..., n, d), Y (..., n, k) of 0 and 1.

    Leading axes are data sets. A row of zeros in Y is the class without weights; its logit is fixed, so that F has full rank.
    """

    X: Any
    Y: Any

    def probabilities(self, W):
        """P(class | x) of the k classes that have weights, (..., n, k)."""
        logits = self.X @ np.swapaxes(W, -1, -2)
        most = np.maximum(logits.max(-1, keepdims=True), 0)
        p = np.exp(logits - most)
        return p / (p.sum(-1, keepdims=True) + np.exp(-most))

    def scores(self, W):
        """Gradient of every example's negative log-likelihood, (..., n, k, d)."""
        return (self.probabilities(W) - self.Y)[..., None] * self.X[..., None, :]

    def output_information(self, W):
        """Fisher information of the logits of each example, diag p - p p', (..., n, k, k)."""
        p = self.probabilities(W)
        return p[..., None] * np.eye(p.shape[-1]) - p[..., :, None] * p[..., None, :]

    def fisher(self, W):
        """Mean of (diag p - p p') ⊗ x x', (..., k d, k d), for the weights row by row; exact, also the Hessian."""
        size = W.shape[-2] * W.shape[-1]
        F = np.einsum("...nij,...na,...nb->...iajb", self.output_information(W), self.X, self.X, optimize=True)
        return F.reshape(*F.shape[:-4], size, size) / self.X.shape[-2]


def softmax_regression(kind: str, seeds, n: int = 500, d: int = 8, k: int = 3) -> tuple[Softmax, Any]:
    """Softmax regressions with k + 1 classes under one of the `natural_gradient.KINDS` of inputs, and their true weights (runs, k, d).

    Normal inputs, true weights of length about 1.5 for each class. In other units the weights predict the same.
    """

    def draw(seed):
        rng = np.random.default_rng([seed, n, d, k])
        X, W = rng.standard_normal((n, d)), rng.standard_normal((k, d)) * 1.5 / d**0.5
        logits = np.concatenate([X @ W.T, np.zeros((n, 1))], 1)
        labels = (logits + rng.gumbel(size=logits.shape)).argmax(1)
        units, turn = coordinates(kind, rng, d)
        return X @ units @ turn, np.eye(k + 1)[labels, :k], np.linalg.solve(units @ turn, W.T).T

    X, Y, W = map(np.stack, zip(*map(draw, seeds), strict=True))
    return Softmax(X, Y), W


def power(M, p):
    """M^p of symmetric positive definite matrices."""
    w, Q = np.linalg.eigh(M)
    return Q * w[..., None, :] ** p @ np.swapaxes(Q, -1, -2)


def polar(G):
    """U V' of G = U S V': the steepest direction if length is the largest singular value.  Bernstein & Newhouse (2024)."""
    U, _, V = np.linalg.svd(G, full_matrices=False)
    return U @ V


def directions(model: Softmax, W) -> dict[str, Any]:
    """What the preconditioners make of the full gradient at W, each (runs, k, d).

    Adam and Shampoo (Gupta, Koren & Singer 2018) accumulate gradients of single examples at W, the first their squares, the second
    L = mean s s' and R = mean s's. K-FAC (Martens & Grosse 2015) has mean (diag p - p p') ⊗ mean x x' for F.
    """
    s, F, X = model.scores(W), model.fisher(W), model.X
    g, transposed = s.mean(-3), np.swapaxes(s, -1, -2)
    L, R = (s @ transposed).mean(-3), (transposed @ s).mean(-3)
    B, A = model.output_information(W).mean(-3), outer_mean(X)
    flat = g.reshape(*g.shape[:-2], -1)
    return {
        "natural gradient": solve(F, flat).reshape(g.shape),
        "K-FAC": power(B, -1) @ g @ power(A, -1),
        "Shampoo, twice the power": power(L, -0.5) @ g @ power(R, -0.5),
        "Shampoo": power(L, -0.25) @ g @ power(R, -0.25),
        "polar factor, as Muon": polar(g),
        "diagonal Fisher": g / np.diagonal(F, axis1=-2, axis2=-1).reshape(g.shape),
        "Adam, g / √v": g / np.sqrt((s**2).mean(-3)),
        "sign": np.sign(g),
        "SGD": g,
    }


def matrix_angles(model: Softmax, W) -> dict[str, Any]:
    """Degrees of every direction from the natural gradient at W: (2, runs), in Euclid's and in the Fisher metric."""
    flat = {name: u.reshape(len(u), -1) for name, u in directions(model, W).items()}
    natural, F = flat.pop("natural gradient"), model.fisher(W)
    return {name: np.stack([angle(G, u, natural) for G in (np.eye(len(F[0])), F)]) for name, u in flat.items()}


#: The kinds of inputs over which directions on a weight matrix are compared.
FACTORED = ("unit scales", "unequal units", "unequal units, rotated")


def angles_by_kind(seeds) -> dict[str, dict]:
    """`matrix_angles` of softmax regressions at half of their true weights: {kind: {direction: (2, runs)}}."""
    drawn = {kind: softmax_regression(kind, seeds) for kind in FACTORED}
    return {kind: matrix_angles(model, W / 2) for kind, (model, W) in drawn.items()}
