"""Node classification by a two-layer graph convolution, many runs at once: logits = A relu(A X W0) W1.

A is symmetric, so a gradient passes back through A again; A X is computed once. Parameters are one flat vector per run.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from stepsize.errors import ShapeError

from .graphs import Graph, adjacency

#: Numbers in one hidden layer of the runs that go through the network together: they should stay in the cache.
CACHED = 2**15


class Backward(NamedTuple):
    """Losses (runs,), gradient (runs, d), and |dL / dh_i| of every node (runs, n), h = relu(A X W0).

    `term` (runs, n) is the square of what a node adds to the gradient, see `squared_terms`.
    """

    loss: np.ndarray
    gradient: np.ndarray
    signal: np.ndarray
    term: np.ndarray


def squared_terms(of_features, delta, hidden, spread):
    """|G_i|^2 = |(A X)_i|^2 |delta_i|^2 + |h_i|^2 |s_i|^2 of every node, (runs, n).

    G_i = ((A X)_i^T delta_i, h_i^T s_i) is the term of node i in the gradient of the shared weights, which is their sum over i: the
    gradient of the copy that node i uses, had every node a copy of (W0, W1). Its own are the row i of A X and of h, not the row
    of the output that is asked for. `delta` (runs, n, hidden) is the gradient at (A X W0)_i, `spread` (runs, n, classes) that
    at (h W1)_i, and `of_features` (n,) is |(A X)_i|^2: an outer product is as long as the product of its two lengths.
    """
    delta, hidden, spread = (np.einsum("rnk,rnk->rn", a, a) for a in (delta, hidden, spread))
    return of_features * delta + hidden * spread


def side_by_side(A, a):
    """A @ a[run] for every run, a (runs, m, k), as one product with all runs' columns side by side: A is read once."""
    runs, m, k = a.shape
    wide = A @ np.ascontiguousarray(a.transpose(1, 0, 2)).reshape(m, runs * k)
    return np.ascontiguousarray(wide.reshape(-1, runs, k).transpose(1, 0, 2))


@dataclass(frozen=True, eq=False)
class GCN:
    """Z = softmax(A relu(A X W0) W1).  Kipf & Welling (2017), equation 9.

    `smoothed` is A X, (n, F), shared by all runs, sparse where X = I; d = F hidden + hidden classes. No parameter belongs
    to a node, unless X = I.
    """

    A: object
    back: object
    smoothed: object
    hidden: int
    classes: int

    @classmethod
    def of(cls, graph: Graph, hidden: int = 16, aggregate: str = "symmetric", dtype=np.float32) -> "GCN":
        """The network on a labelled graph with features; without any, X = I and row i of W0 belongs to node i."""
        if not (graph.label >= 0).any():
            raise ShapeError("a graph without labels cannot be classified; pass label (n,), -1 where unknown")
        A = adjacency(graph, aggregate, dtype)
        smoothed = A @ graph.features.astype(dtype) if graph.features.size else A
        return cls(A, A if aggregate == "symmetric" else A.T.tocsr(), smoothed, hidden, int(graph.label.max()) + 1)

    @property
    def d(self) -> int:
        return (self.smoothed.shape[1] + self.classes) * self.hidden

    @cached_property
    def of_features(self) -> np.ndarray:
        """|(A X)_i|^2 of every node, (n,)."""
        squares = self.smoothed.multiply(self.smoothed) if hasattr(self.smoothed, "multiply") else self.smoothed**2
        return np.asarray(squares.sum(1)).ravel()

    def start(self, seed: int) -> np.ndarray:
        """Glorot's uniform start, (d,)."""
        rng, F = np.random.default_rng([seed, 2]), self.smoothed.shape[1]
        W0 = rng.uniform(-1, 1, (F, self.hidden)) * np.sqrt(6 / (F + self.hidden))
        W1 = rng.uniform(-1, 1, (self.hidden, self.classes)) * np.sqrt(6 / (self.hidden + self.classes))
        return np.concatenate([W0.ravel(), W1.ravel()]).astype(self.smoothed.dtype)

    def weights(self, x):
        """W0 (runs, F, hidden) and W1 (runs, hidden, classes), views of x (runs, d)."""
        if x.ndim != 2 or x.shape[1] != self.d:
            raise ShapeError(f"GCN expects x of shape (runs, {self.d}), got {x.shape}; flatten the weights of each run")
        first = self.smoothed.shape[1] * self.hidden
        return x[:, :first].reshape(len(x), -1, self.hidden), x[:, first:].reshape(len(x), self.hidden, -1)

    def units(self, x):
        """The hidden layer relu(A X W0), (runs, n, hidden)."""
        return np.maximum(side_by_side(self.smoothed, self.weights(x)[0]), 0)

    def logits(self, x, units=None):
        """(runs, n, classes); `units` are `units(x)` where they are known."""
        units = self.units(x) if units is None else units
        return side_by_side(self.A, units @ self.weights(x)[1])

    def backward(self, x, label, rows, keep=None, units=None) -> Backward:
        """Mean cross entropy over the nodes `rows` (runs, k) of each run, and its gradient; label (n,).

        `keep` (runs, n, hidden) multiplies the hidden layer: dropout has 0 there, or one over the share that it keeps.
        `units` are `units(x)` where they are known.
        """
        block = max(16, CACHED // (self.smoothed.shape[0] * self.hidden))
        cuts = [slice(c, c + block) for c in range(0, len(x), block)]
        keep = np.ones((len(x), 1, 1), x.dtype) if keep is None else keep
        parts = [
            self._backward(x[c], rows[c], keep[c], self.units(x[c]) if units is None else units[c], label) for c in cuts
        ]
        return Backward(*map(np.concatenate, zip(*parts, strict=True)))

    def _backward(self, x, rows, keep, units, label):
        _, W1 = self.weights(x)
        hidden = units * keep
        runs, k = rows.shape
        which, asked = np.arange(runs)[:, None], np.unique(rows)
        rows, label = np.searchsorted(asked, rows), label[asked]  # in what follows: of the nodes that some run asks for
        out = side_by_side(self.A[asked], hidden @ W1)
        known = out[which, rows]
        known = known - known.max(-1, keepdims=True)
        chance = np.exp(known)
        chance /= chance.sum(-1, keepdims=True)
        of_truth = chance[which, np.arange(k), label[rows]]
        slope = np.zeros_like(out)
        chance[which, np.arange(k), label[rows]] -= 1
        slope[which, rows] = chance / k
        spread = side_by_side(self.back[:, asked], slope)  # dL / d(hidden W1)
        inner = spread @ W1.transpose(0, 2, 1)
        signal = np.sqrt(np.einsum("rnk,rnk->rn", inner, inner))
        inner *= hidden > 0
        inner *= keep
        parts = side_by_side(self.smoothed.T, inner), hidden.transpose(0, 2, 1) @ spread
        term = squared_terms(self.of_features, inner, hidden, spread)
        loss = -np.log(np.maximum(of_truth, np.finfo(out.dtype).tiny)).mean(1)
        return Backward(loss, np.concatenate([p.reshape(runs, -1) for p in parts], 1), signal, term)


def split(graph: Graph, seed: int):
    """10 %, 10 % and 80 % of the labelled nodes: to learn from, to stop by, to be judged by."""
    known = np.random.default_rng([seed, 3]).permutation(np.flatnonzero(graph.label >= 0))
    tenth = len(known) // 10
    return known[:tenth], known[tenth : 2 * tenth], known[2 * tenth :]
