"""The chemical master equation, solved without sampling: the oracle for everything that samples."""

from functools import cached_property

import numpy as np

from companion.errors import NetworkError
from companion.experiments.inputs import number, numbers, whole

from .kernels import uniformise
from .network import Network


class MasterEquation:
    """p' = Q p on the states that can be reached from x0.  Gillespie (1992), equation 4.

    States are found by breadth-first search. `ceiling` cuts an open network: no count above it is kept, and what
    would go there is lost; `1 - p.sum()` is exactly that loss and bounds the error of every probability.
    """

    def __init__(self, network: Network, ceiling: int | None = None, max_states: int = 200_000):
        self.network = network
        if network.resets:
            raise NetworkError("the master equation knows no resets; solve it piece by piece between them")
        ceiling = ceiling if ceiling is None else whole(ceiling, "ceiling", 0, error=NetworkError)
        whole(max_states, "max_states", 1, error=NetworkError)
        start = tuple(int(n) for n in network.x0)
        free = [i for i in range(len(start)) if network.change[:, i].any()]
        if ceiling is not None and max(start[i] for i in free) > ceiling:
            raise NetworkError(f"ceiling {ceiling} lies below the initial counts {start}; raise it")
        self._index, frontier = {start: 0}, [start]
        needs = [
            [(network.species.index(s), n) for s, n in reaction.reactants.items()] for reaction in network.reaction_list
        ]
        moves = network.change.astype(int)
        while frontier:
            reached = []
            for x in frontier:
                for need, move in zip(needs, moves, strict=True):
                    y = tuple(int(n) for n in np.add(x, move))
                    if y in self._index or any(x[i] < n for i, n in need):
                        continue
                    if ceiling is None or max(y[i] for i in free) <= ceiling:
                        self._index[y] = len(self._index)
                        reached.append(y)
            if len(self._index) > max_states:
                raise NetworkError(f"more than {max_states} states can be reached; pass a ceiling or simulate instead")
            frontier = reached

    @cached_property
    def states(self) -> np.ndarray:
        """All states, (n, S), in lexicographic order."""
        return np.array(sorted(self._index))

    @cached_property
    def generator(self):
        """Q as a sparse matrix, column = from: columns sum to 0, or to minus the rate at which they leak."""
        from scipy import sparse

        rows, columns, values = [], [], []
        order = {tuple(x): i for i, x in enumerate(self.states.tolist())}
        for reaction, move in zip(self.network.reaction_list, self.network.change.astype(int), strict=True):
            a = np.full(len(self.states), reaction.rate)
            for s, n in reaction.reactants.items():
                x = self.states[:, self.network.species.index(s)]
                for k in range(n):
                    a = a * np.maximum(x - k, 0) / (k + 1)
            if not move.any():
                continue
            there = [order.get(tuple(y), -1) for y in (self.states + move).tolist()]
            for i in np.flatnonzero(a > 0):
                rows += [i] if there[i] < 0 else [there[i], i]
                columns += [i] if there[i] < 0 else [i, i]
                values += [-a[i]] if there[i] < 0 else [a[i], -a[i]]
        n = len(self.states)
        return sparse.csr_matrix((values, (rows, columns)), shape=(n, n))

    def solve(self, times, start=None, tolerance: float = 1e-15) -> np.ndarray:
        """p(t) = sum_k Poisson(k; L t) P^k p(0), P = 1 + Q / L: uniformisation.  Jensen (1953).

        Shape (times, n). All terms are non-negative, so nothing cancels; the sum stops where less than
        `tolerance` of the Poisson weights is left.
        """
        from scipy import special, stats

        remedy = "times must be finite, at least 0 and in order; sort them"
        times = np.atleast_1d(numbers(times, "times", remedy, least=0, error=NetworkError))
        if times.ndim != 1 or not times.size or (np.diff(times) < 0).any():
            raise NetworkError(remedy)
        number(tolerance, "tolerance", "above 0 and below 1", lambda v: 0 < v < 1, NetworkError)
        q = self.generator
        fastest = float(-q.diagonal().min())
        if not fastest * times[-1] < 1e8:
            raise NetworkError(
                f"t = {times[-1]:g} holds {fastest * times[-1]:.1g} events; shorten it or simulate instead"
            )
        p = np.zeros(len(self.states))
        if start is None:
            p[self.find(self.network.x0)] = 1.0
        else:
            p[:] = self._law(start, "start", (len(self.states),))
        solutions, now = [], 0.0
        for t in times:
            mean = fastest * (t - now)
            if mean > 0:
                last = int(stats.poisson.isf(tolerance, mean)) + 10
                k = np.arange(last + 1)
                weights = np.exp(special.xlogy(k, mean) - mean - special.gammaln(k + 1))
                weights /= weights.sum()
                p = uniformise(q.indptr, q.indices, q.data / fastest, p, weights)
            solutions.append(p)
            now = t
        return np.array(solutions)

    def _law(self, p, what, shape=None):
        remedy = f"give probabilities of the {len(self.states)} states"
        p = numbers(p, what, remedy, least=0, error=NetworkError)
        if p.shape[-1:] != (len(self.states),) or (shape and p.shape != shape):
            raise NetworkError(f"{what} has shape {p.shape}; {remedy}")
        if (p.sum(-1) > 1 + 1e-6).any():
            raise NetworkError(f"{what} adds up to {p.sum(-1).max():g}; {remedy}")
        return p

    def find(self, x) -> int:
        """Row of a state."""
        x = np.atleast_1d(numbers(x, "the state", "give a count for every species", error=NetworkError))
        hits = np.flatnonzero((self.states == x).all(1)) if x.shape == self.states.shape[1:] else np.empty(0)
        if not hits.size:
            raise NetworkError(f"state {tuple(x)} cannot be reached from {tuple(self.network.x0)}; check the counts")
        return int(hits[0])

    def marginal(self, p: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Values 0 ... max of one species and their probabilities, (n,) and (..., n)."""
        if name not in self.network.species:
            raise NetworkError(f"{name!r} is no species; there are {', '.join(self.network.species)}")
        p, x = self._law(p, "p"), self.states[:, self.network.species.index(name)]
        pmf = np.stack([np.bincount(x, row) for row in np.atleast_2d(p)])
        return np.arange(pmf.shape[1]), pmf.reshape(*p.shape[:-1], -1)

    def moments(self, p: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of a species or a rule under p of shape (..., n)."""
        p, x = self._law(p, "p"), self.network.read(self.states.astype(float), name)
        mean = p @ x
        return mean, p @ (x * x) - mean**2
