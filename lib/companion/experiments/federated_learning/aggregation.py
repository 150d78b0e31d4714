"""Rules of aggregation: who counts how much, and what the server does with the weighted mean of the clients' moves.

Every rule says the same four things. `local(fit)` is the library rule that a client runs, `steps` how long, `weigh`
the weights of the reports (..., clients, 1), which sum to 1; `aggregate` hands minus the weighted mean move, the
server's pseudo-gradient, to `server`, again a rule of this library: SGD(1) adds the move, Adam makes FedAdam of FedAvg.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from companion.errors import FederationError
from stepsize.backend import sign, sqrt
from stepsize.contract import Checked, require_rule
from stepsize.errors import HyperparameterError
from stepsize.rules import SGD, AdaGrad, Adam, Moments


class Memory(NamedTuple):
    """State of the weights and state of the server's rule."""

    weights: Any
    server: Any


def shares(raw, cap: float = 1.0):
    """raw >= 0 over its sum along the clients, shape (..., clients, 1); no share above `cap`, which is at least 1 / clients.

    What is cut off goes to the others in proportion; a client alone in its weight cannot take it all.
    """
    cap = max(cap, 1 / raw.shape[-2])
    raw = raw / raw.max(-2, keepdims=True)
    full = np.zeros(raw.shape, bool)
    for _ in range(raw.shape[-2]):
        rest = np.where(full, 0.0, raw)
        left = 1 - cap * full.sum(-2, keepdims=True)
        w = np.where(full, cap, left * rest / np.maximum(rest.sum(-2, keepdims=True), np.finfo(float).tiny))
        if not (w > cap).any():
            break
        full = full | (w > cap)
    return w


@dataclass(frozen=True, eq=False)
class FedAvg(Checked):
    """theta <- theta + sum_k w_k (theta_k - theta), w_k = n_k / n, theta_k after `steps` local steps.  McMahan et al. (2017), algorithm 1.

    `prox` pulls the local steps back: FedProx, Li et al. (2020), equation 2. A `server` other than SGD(1) is the
    adaptive server of Reddi et al. (2021), algorithm 2; ours carry the bias correction, which they leave out.
    """

    lr: Any = 0.1
    steps: int = 1
    prox: Any = 0.0
    server: Any = field(default_factory=lambda: SGD(1.0))

    def __post_init__(self):
        super().__post_init__()
        require_rule(self.server, type(self).__name__)
        if not (isinstance(self.steps, (int, np.integer)) and self.steps >= 1):
            raise HyperparameterError(
                f"{type(self).__name__}: steps must be a whole number of at least 1, got {self.steps}"
            )
        if not np.all(np.asarray(self.prox) >= 0):
            raise HyperparameterError(f"{type(self).__name__}: prox must be at least 0, got {self.prox}")

    def init(self, theta) -> Memory:
        return Memory((), self.server.init(theta))

    def local(self, fit):
        return SGD(self.lr)

    def weigh(self, memory, report):
        return memory, shares(report.n)

    def centre(self, moves, w):
        """The move of the federation from those of its clients (..., clients, d) and their weights."""
        return (w * moves).sum(-2)

    def aggregate(self, state: Memory, theta, report):
        """The next state, the next theta (..., d), and the weights (..., clients, 1) of this round."""
        memory, w = self.weigh(state.weights, report)
        pseudo = -self.centre(report.theta - theta[..., None, :], w)
        inner, rate, direction = self.server.step(state.server, pseudo, theta)
        return Memory(memory, inner), theta - rate * direction, w


@dataclass(frozen=True, eq=False)
class Equal(FedAvg):
    """w_k = 1 / K: a hospital is a hospital, whatever its size."""

    def weigh(self, memory, report):
        return memory, shares(np.ones_like(report.loss))


@dataclass(frozen=True, eq=False)
class Without(FedAvg):
    """FedAvg of the others: what an oracle would do who knows that `client` is the bad one."""

    client: int = -1

    def weigh(self, memory, report):
        n = np.array(np.broadcast_to(report.n, report.loss.shape))
        n[..., self.client, :] = 0
        return memory, shares(n)


@dataclass(frozen=True, eq=False)
class TrimmedMean(Equal):
    """Coordinate by coordinate the mean of the moves without the `cut` largest and smallest.  Yin et al. (2018), definition 2.

    With all but one or two cut off it is the median of their definition 1.
    """

    cut: int = 1

    def centre(self, moves, w):
        kept = np.sort(moves, axis=-2)
        return kept[..., self.cut : kept.shape[-2] - self.cut, :].mean(-2)


@dataclass(frozen=True, eq=False)
class Krum(FedAvg):
    """The move of one client, that with the least sum of squared distances to its K - `bad` - 2 nearest.  Blanchard et al. (2017)."""

    bad: int = 1

    def weigh(self, memory, report):
        apart = ((report.theta[..., :, None, :] - report.theta[..., None, :, :]) ** 2).sum(-1)
        nearest = np.sort(apart, axis=-1)[..., 1 : max(apart.shape[-1] - self.bad - 1, 2)]  # the first is its own
        score = nearest.sum(-1)
        return memory, 1.0 * (np.arange(score.shape[-1]) == score.argmin(-1)[..., None])[..., None]


@dataclass(frozen=True, eq=False)
class InverseVariance(FedAvg):
    """w_k ~ n_k / s_k^2, s_k^2 the residual variance of client k's own fit.  Aitken (1935); Cochran (1937).

    No client gets more than `cap` of the weight, nor counts as quieter than 1e-9 of the noisiest: s_k^2 is what the client says it is.
    """

    cap: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.cap <= 1:
            raise HyperparameterError(f"{type(self).__name__}: cap must lie in (0, 1], got {self.cap}")

    def weigh(self, memory, report):
        loudest = report.noise.max(-2, keepdims=True)
        noise = np.maximum(report.noise, np.where(loudest > 0, 1e-9 * loudest, 1.0))
        return memory, shares(report.n / noise, self.cap)


@dataclass(frozen=True, eq=False)
class ClientRate(FedAvg):
    """Equal weights, but client k steps with lr / s_k^2: the text's rule, a client's rate by its own noise.

    `lr` carries the unit of a variance.
    """

    def local(self, fit):
        return SGD(self.lr / fit.noise)

    def weigh(self, memory, report):
        return memory, shares(np.ones_like(report.loss))


@dataclass(frozen=True, eq=False)
class RandomEffects(FedAvg):
    """w_k ~ 1 / (v_k + tau^2), v_k the variance of client k's estimate, tau^2 that of the true thetas.  DerSimonian & Laird (1986), their method of moments.

    Pooled over the coordinates; tau^2 = 0 gives inverse variances, a large one equal weights.
    """

    def weigh(self, memory, report):
        w, d = 1 / report.spread, report.own.shape[-1]
        total, k = w.sum(-2, keepdims=True), w.shape[-2]
        middle = (w * report.own).sum(-2, keepdims=True) / total
        q = (w * (report.own - middle) ** 2).sum((-2, -1), keepdims=True) / d
        tau2 = np.maximum(q - (k - 1), 0) / (total - (w * w).sum(-2, keepdims=True) / total)
        return memory, shares(1 / (report.spread + tau2))


@dataclass(frozen=True, eq=False)
class QFair(FedAvg):
    """w_k ~ n_k F_k(theta)^q, the gradient of sum n_k F_k^(q+1) / (q+1).  Li et al. (2020), q-FFL, equation 2.

    q = 0 is FedAvg, q -> infinity the worst client's loss. q = -1 is the gradient of sum n_k log F_k: inverse variances by
    the residuals of the *global* model. Weights are normalised where the paper estimates a step size; fixed points agree.
    """

    q: float = 1.0

    def weigh(self, memory, report):
        return memory, shares(report.n * (report.loss / report.loss.max(-2, keepdims=True)) ** self.q)


def simplex(v):
    """The nearest point of the simplex to v, shape (..., clients, 1).  Held, Wolfe & Crowder (1974)."""
    u = -np.sort(-v, axis=-2)
    rank = np.arange(1, v.shape[-2] + 1)[:, None]
    excess = (np.cumsum(u, axis=-2) - 1) / rank
    last = (u > excess).sum(-2, keepdims=True) - 1
    return np.maximum(v - np.take_along_axis(excess, last, axis=-2), 0.0)


@dataclass(frozen=True, eq=False)
class Agnostic(FedAvg):
    """w <- the nearest point of the simplex to w + ascent F(theta): the worst mixture of clients.  Mohri, Sivek & Suresh (2019), AFL, algorithm 1.

    Every client must take part in every round: w is the memory of all of them.
    """

    ascent: float = 0.1

    def weigh(self, memory, report):
        if isinstance(memory, tuple):
            memory = np.full(report.loss.shape, 1 / report.loss.shape[-2])
        if memory.shape != report.loss.shape:
            raise FederationError(
                f"Agnostic remembers {memory.shape[-2]} clients and got {report.loss.shape[-2]}; it needs all of them in every round"
            )
        w = simplex(memory + self.ascent * report.loss)
        return w, w


@dataclass(frozen=True, eq=False)
class Yogi(Adam):
    """v <- v - (1 - beta2) sign(v - g^2) g^2, otherwise Adam.  Zaheer et al. (2018), algorithm 2.

    v starts at `initial`, as there, and has no bias correction; m keeps it.
    """

    initial: Any = 1e-6

    def init(self, x):
        start = super().init(x)
        return start._replace(v=start.v._replace(total=start.v.total + self.initial, weight=start.v.weight + 1))

    def step(self, state, g, x):
        m, v = state.m.push(g, self.beta1), state.v.total
        v = v - (1 - self.beta2) * sign(v - g * g) * g * g
        return Moments(m, state.v._replace(total=v)), self.lr / (sqrt(v) + self.eps), m.mean


def fed_adam(lr=0.1, steps: int = 1, server_lr=0.1, eps: float = 1e-3) -> FedAvg:
    """FedAvg with Adam as the server.  Reddi et al. (2021), algorithm 2, with their beta1 = 0.9, beta2 = 0.99, tau = eps."""
    return FedAvg(lr, steps, server=Adam(server_lr, 0.9, 0.99, eps))


def fed_yogi(lr=0.1, steps: int = 1, server_lr=0.1, eps: float = 1e-3) -> FedAvg:
    """FedAvg with Yogi as the server.  Reddi et al. (2021), algorithm 2."""
    return FedAvg(lr, steps, server=Yogi(server_lr, 0.9, 0.99, eps))


def fed_adagrad(lr=0.1, steps: int = 1, server_lr=0.1, eps: float = 1e-3) -> FedAvg:
    """FedAvg with AdaGrad as the server.  Reddi et al. (2021), algorithm 2, there with momentum."""
    return FedAvg(lr, steps, server=AdaGrad(server_lr, eps))
