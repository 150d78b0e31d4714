"""Graphs with hubs: degrees, the symmetric adjacency of graph convolutions, and generated graphs with heavy tails."""

from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np

from companion.experiments.datasets import load
from stepsize.errors import ShapeError

#: Degrees at which the book's bins begin.
BINS = (1, 3, 8, 25)
BIN_NAMES = ("1–2", "3–7", "8–24", "≥ 25")


@dataclass(frozen=True, eq=False)
class Graph:
    """n nodes, edges (m, 2) without loops or repeats; label (n,), -1 where unknown; features (n, F)."""

    n: int
    edges: np.ndarray
    label: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    features: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self):
        e = self.edges
        if e.ndim != 2 or e.shape[1] != 2 or not np.issubdtype(e.dtype, np.integer):
            raise ShapeError(
                f"edges need shape (m, 2) and whole numbers, got {e.shape} of {e.dtype}; stack pairs of nodes"
            )
        if e.size and (e.min() < 0 or e.max() >= self.n):
            raise ShapeError(f"edges name node {e.max() if e.max() >= self.n else e.min()} of 0 ... {self.n - 1}")
        if (e[:, 0] == e[:, 1]).any():
            raise ShapeError("edges contain a loop; the adjacency adds one to every node by itself")
        if len(np.unique(e.min(1) * self.n + e.max(1))) < len(e):
            raise ShapeError("an edge stands twice; give each pair once, in either direction")

    @cached_property
    def degree(self) -> np.ndarray:
        """Neighbours of every node, (n,)."""
        return np.bincount(self.edges.ravel(), minlength=self.n)

    @cached_property
    def near(self) -> np.ndarray:
        """Whether two nodes are neighbours, or one and the same, (n, n)."""
        near = np.eye(self.n, dtype=bool)
        u, v = self.edges.T
        near[u, v] = near[v, u] = True
        return near

    def relabelled(self, order) -> "Graph":
        """The same graph with node i renamed order[i]: labels and features travel along."""
        back = np.argsort(order)
        carried = (a[back] if len(a) else a for a in (self.label, self.features))
        return Graph(self.n, np.asarray(order)[self.edges], *carried)

    def with_edges(self, edges) -> "Graph":
        """The same nodes with other edges."""
        return Graph(self.n, edges, self.label, self.features)

    def without(self, node: int) -> "Graph":
        """The graph without a node and its edges; those after it move up by one."""
        kept = self.edges[(self.edges != node).all(1)]
        carried = (np.delete(a, node, axis=0) if len(a) else a for a in (self.label, self.features))
        return Graph(self.n - 1, kept - (kept > node), *carried)


def adjacency(graph: Graph, aggregate: str = "symmetric", dtype=np.float64, loops: bool = True):
    """A of shape (n, n) as scipy CSR, loops added.  Kipf & Welling (2017), section 2.

    symmetric: D^-1/2 (A + I) D^-1/2, which is its own transpose; mean: D^-1 (A + I); sum: A + I. D counts the loop.
    Without `loops` there is no I, and D is the degree, as in LightGCN.
    """
    from scipy.sparse import csr_array

    own = np.arange(graph.n if loops else 0)
    u = np.concatenate([graph.edges[:, 0], graph.edges[:, 1], own])
    v = np.concatenate([graph.edges[:, 1], graph.edges[:, 0], own])
    d = graph.degree + float(loops)
    weights = {"symmetric": 1 / np.sqrt(d[u] * d[v]), "mean": 1 / d[u], "sum": np.ones(len(u))}
    if aggregate not in weights:
        raise ShapeError(f"no aggregation {aggregate!r}; there are {', '.join(weights)}")
    return csr_array((weights[aggregate].astype(dtype), (u, v)), shape=(graph.n, graph.n))


def bins(degree) -> np.ndarray:
    """The bin of each degree: 0 ... 3 by `BINS`, -1 below 1."""
    return np.searchsorted(BINS, degree, side="right") - 1


def power_law(n: int, mean_degree: float = 10.0, exponent: float = 2.2, seed: int = 0) -> Graph:
    """Expected degrees ~ rank^(-1 / (exponent - 1)), edges independent given them.  Chung & Lu (2002).

    Endpoints are drawn in proportion to the expected degrees; loops and repeats are dropped, so the mean comes out a little lower.
    """
    rng = np.random.default_rng(seed)
    weight = np.arange(1, n + 1) ** (-1 / (exponent - 1))
    ends = rng.choice(n, size=(int(n * mean_degree / 2), 2), p=weight / weight.sum())
    ends = np.sort(rng.permutation(n)[ends], 1)
    return Graph(n, np.unique(ends[ends[:, 0] < ends[:, 1]], axis=0))


#: Name -> data set of the committed graphs.
COMMITTED = {"torch": "imports_torch", "sympy": "imports_sympy", "wordnet": "wordnet_nouns"}


@cache
def committed_graph(name: str = "torch") -> Graph:
    """A graph of `COMMITTED`, its bags of words as features, which sum to 1 in every node.  Kipf & Welling (2017), section 5.2."""
    data = load(COMMITTED[name])
    n = len(data["label"])
    features = np.zeros((n, len(data["vocabulary"])), np.float32)
    features[np.repeat(np.arange(n), np.diff(data["word_start"])), data["word"]] = 1
    features /= np.maximum(features.sum(1, keepdims=True), 1)
    return Graph(n, data["edges"].astype(int), data["label"].astype(int), features)
