"""Link prediction by dot products: one row per node, many runs at once, gradients summed pair by pair in machine code."""

from dataclasses import dataclass

import numpy as np

from companion.experiments.compiled import compiled
from stepsize.errors import ShapeError

from .gcn import side_by_side
from .graphs import Graph


def _pair_gradient(z, u, v, y, out):
    """out <- gradient of -mean log sigma(+-z_u . z_v) per positive pair; z and out (n, k), u, v, y (pairs,), y 1 or 0.

    The gradient of a pair is (sigma(z_u . z_v) - y) z_v for row u and the same with z_u for row v.
    """
    out[:] = 0
    k, scale = z.shape[1], 1 / y.sum()
    for p in range(len(u)):
        a, b = u[p], v[p]
        dot = 0.0
        for j in range(k):
            dot += z[a, j] * z[b, j]
        residual = scale * (1 / (1 + np.exp(-dot)) - y[p])
        for j in range(k):
            out[a, j] += residual * z[b, j]
            out[b, j] += residual * z[a, j]


pair_gradient = compiled(_pair_gradient)


@compiled
def rank_above(z, u, v, decoys, out):
    """out[q] <- share of decoys w of query u_q with z_u . z_w < z_u . z_v, ties one half; decoys (queries, K)."""
    k = z.shape[1]
    for q in range(len(u)):
        true = 0.0
        for j in range(k):
            true += z[u[q], j] * z[v[q], j]
        beaten = 0.0
        for w in decoys[q]:
            dot = 0.0
            for j in range(k):
                dot += z[u[q], j] * z[w, j]
            beaten += 1.0 if dot < true else 0.5 if dot == true else 0.0
        out[q] = beaten / decoys.shape[1]


def light_gcn(A, z):
    """(z + A z + A^2 z) / 3 for z (runs, n, k), A symmetric without loops.  LightGCN with two layers: He et al. (2020), equations 3, 4.

    A is its own transpose, so the gradient for z is this function of the gradient for its value.
    """
    once = side_by_side(A, z)
    with np.errstate(over="ignore", invalid="ignore"):  # a run at a rate too large
        return (z + once + side_by_side(A, once)) / 3


class Queries:
    """Held-out edges asked from both ends: u knows v; `decoys` (queries, K) are no neighbours of u, `draw(v)` gives one for each v."""

    def __init__(self, edges, graph: Graph, count, draw):
        self.u, self.v = np.concatenate([edges, edges[:, ::-1]]).T.copy()
        partners = np.repeat(self.v[:, None], count, axis=1)
        self.decoys = draw(partners)
        asking, drawn, again = self.u.repeat(count), self.decoys.reshape(-1), np.arange(self.decoys.size)
        for _ in range(100):  # draw again what is a neighbour, or the node itself
            again = again[graph.near[asking[again], drawn[again]]]
            if not again.size:
                break
            drawn[again] = draw(partners.reshape(-1)[again])

    def auc(self, z) -> np.ndarray:
        """Share of decoys that rank below the true neighbour, one number per query; z (n, k)."""
        out = np.empty(len(self.u))
        rank_above(z, self.u, self.v, self.decoys, out)
        return out


def negative_table(degree, power: float = 0.75, size: int = 2**16) -> np.ndarray:
    """Nodes in proportion to degree^power, as a table to draw from.  Mikolov et al. (2013), section 2.2."""
    share = np.cumsum(np.asarray(degree, float) ** power * (np.asarray(degree) > 0))
    return np.searchsorted(share / share[-1], (np.arange(size) + 0.5) / size)


def like_degree(degree, rng, width: int = 10):
    """draw(v): for each node of v one of the 2 `width` + 1 nodes nearest to it in the order of degrees; nodes of degree 0 are not drawn."""
    order = np.argsort(degree, kind="stable")[np.count_nonzero(degree == 0) :]
    rank = sum(np.searchsorted(degree[order], degree, side) for side in ("left", "right")) // 2
    low = np.clip(rank - width, 0, len(order) - 2 * width - 1)
    return lambda v: order[low[v] + rng.integers(2 * width + 1, size=v.shape)]


def visits(degree, negatives: int = 3) -> np.ndarray:
    """Expected pairs of a batch that touch each node, per edge drawn: (2 + negatives) d / sum(d) + negatives d^0.75 / sum(d^0.75).

    A node is met at either end of its own edges, brings its negatives when it asks, and is drawn as a negative of others.
    """
    d = np.asarray(degree, float)
    return (2 + negatives) * d / d.sum() + negatives * d**0.75 / (d**0.75).sum()


def propagated_visits(A, met):
    """(M o M) met with M = (I + A + A^2) / 3: a row's mean squared gradient in LightGCN if all nodes' pulls are independent, of mean 0.

    A node that is met `met` times on average has pulls of the variance `met`, and M passes them on with its own weights.
    """
    M = light_gcn(A, np.eye(A.shape[0])[None])[0]
    return M**2 @ met


@dataclass(frozen=True, eq=False)
class LinkTask:
    """One seed's split of a graph, 80 % of the edges to learn from, 10 % to stop by and 10 % to be judged by; and its batches.

    A step sees `batch` edges and, for one end of each, `negatives` wrong partners. Decoys are drawn like these; with
    `matched` those of the test are nodes of like degree instead, among which ranking by degree is close to chance.
    """

    graph: Graph
    seed: int
    dim: int = 16
    batch: int = 512
    negatives: int = 3
    matched: bool = False

    def __post_init__(self):
        if self.graph.n < 10 or len(self.graph.edges) < 50:
            raise ShapeError(
                f"a graph of {self.graph.n} nodes and {len(self.graph.edges)} edges is too small to split; use a larger one"
            )
        rng = np.random.default_rng([self.seed, 1])
        edges = rng.permutation(self.graph.edges)
        tenth = len(edges) // 10
        train = self.graph.with_edges(edges[2 * tenth :])
        table = negative_table(train.degree)

        def like_negatives(v):
            return table[rng.integers(len(table), size=v.shape)]

        asked = like_degree(train.degree, np.random.default_rng([self.seed, 5])) if self.matched else like_negatives
        parts = {
            "train": train,
            "table": table,
            "validation": Queries(edges[:tenth], self.graph, 10, like_negatives),
            "test": Queries(edges[tenth : 2 * tenth], self.graph, 50, asked),
            "start": 0.1 * rng.standard_normal((self.graph.n, self.dim)).astype(np.float32),
            "rng": rng,
        }
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    @property
    def degree(self) -> np.ndarray:
        """Degrees in the edges to learn from: the only ones a method may know."""
        return self.train.degree

    def draw(self):
        """u, v, y of one step; the next call gives the next. Edges are turned at random, so that both ends meet negatives."""
        e = self.train.edges[self.rng.integers(len(self.train.edges), size=self.batch)]
        turn = self.rng.integers(2, size=self.batch)
        u, v = e[np.arange(self.batch), turn], e[np.arange(self.batch), 1 - turn]
        wrong = self.table[self.rng.integers(len(self.table), size=self.batch * self.negatives)]
        y = np.zeros(self.batch * (1 + self.negatives), np.float32)
        y[: self.batch] = 1
        return np.concatenate([u, np.repeat(u, self.negatives)]), np.concatenate([v, wrong]), y
