"""Rules of aggregation: who counts how much, and what the server does with the weighted mean of the clients' moves.

Every rule says the same four things. `local(fit)` is the library rule that a client runs, `steps` how long, `weigh`
the weights of the reports (..., clients, 1), which sum to 1; `aggregate` hands minus the weighted mean move, the
server's pseudo-gradient, to `server`, again a rule of this library: SGD(1) adds the move, Adam makes FedAdam of FedAvg.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from companion.errors import FederationError
from companion.experiments.inputs import number, numbers, whole
from stepsize.backend import sign, sqrt
from stepsize.contract import Checked, require_rule
from stepsize.rules import SGD, AdaGrad, Adam, Moments


class Memory(NamedTuple):
    """State of the weights and state of the server's rule."""

    weights: Any
    server: Any


#: No variance or loss counts as less than this share of the largest: what a client says of itself cannot take all weight.
FLOOR = 1e-9


def _floored(values, what):
    """`values` (..., clients, 1), none below `FLOOR` of the largest along the clients; all 1 where none is above 0."""
    values = _clients(values, what)
    negative = values < -FLOOR * abs(values).max(-2, keepdims=True)  # what rounding leaves below 0 is 0
    if negative.any():
        client = np.argwhere(negative)[0, -2]
        raise FederationError(f"{what} of client {client} is negative; leave the client out")
    largest = values.max(-2, keepdims=True)
    return np.maximum(values, np.where(largest > 0, FLOOR * largest, 1.0))


def _clients(a, what):
    """`a` as floats (..., clients, 1), NaN only where a run has diverged and not in all runs."""
    a = np.asarray(a)
    if a.dtype.kind not in "biuf" or a.ndim < 2 or a.shape[-1] != 1 or not a.shape[-2]:
        raise FederationError(f"{what} is {a.dtype} of shape {a.shape}; give numbers (..., clients, 1)")
    lost = ~np.isfinite(a).all((-2, -1))
    if lost.all():
        client = np.argwhere(~np.isfinite(a))[0, -2]
        raise FederationError(
            f"{what} of client {client} is NaN or infinite: the run diverged; lower the learning rate"
        )
    return np.where(lost[..., None, None], np.nan, a.astype(float, copy=False))


def shares(raw, cap: float = 1.0):
    """raw >= 0 over its sum along the clients, shape (..., clients, 1); no share above `cap`, which is at least 1 / clients.

    What is cut off goes to the others in proportion; a client alone in its weight cannot take it all. In a batch of runs
    those with NaN or infinity have diverged, and their shares are NaN; where all have, it is an error.
    """
    raw = _clients(raw, "the weight")
    number(cap, "cap", "in (0, 1]", lambda v: 0 < v <= 1, FederationError)
    if (raw < 0).any() or (raw.max(-2) == 0).any():
        raise FederationError("weights must be at least 0 and one of them above; look at what the clients report")
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
        whole(self.steps, f"{type(self).__name__}: steps", 1)
        numbers(self.prox, f"{type(self).__name__}: prox", "prox must be finite and at least 0", least=0, some=True)

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
        for name, value in zip(report._fields, map(np.asarray, report), strict=True):
            width = theta.shape[-1] if name in ("theta", "own") else 1
            if value.dtype.kind not in "iuf" or value.shape[-2:] != (report.theta.shape[-2:-1] or (0,)) + (width,):
                raise FederationError(
                    f"the reports have {name} {value.dtype} of shape {value.shape} and the model {theta.shape}; "
                    f"give numbers (..., clients, {width})"
                )
        if not report.theta.size:
            raise FederationError("there are no reports; wait for a client")
        memory, w = self.weigh(state.weights, report)
        pseudo = -self.centre(report.theta - theta[..., None, :], w)
        inner, rate, direction = self.server.step(state.server, pseudo, theta)
        following = theta - rate * direction
        if not np.isfinite(following).all(-1).any():
            raise FederationError(
                "the model became NaN or infinite, in all runs: they diverged, or a client sent what is no number; "
                "lower the learning rate, `check` the reports"
            )
        return Memory(memory, inner), following, w


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
        clients = n.shape[-2]
        if clients < 2 or not -clients <= whole(self.client, "Without: client", -clients) < clients:
            raise FederationError(f"client {self.client} cannot be left out of {clients}; name one of several")
        n[..., self.client, :] = 0
        return memory, shares(n)


@dataclass(frozen=True, eq=False)
class EqualWithout(Without):
    """w_k = 1 / (K - 1) of the others: `Without`, whatever their size."""

    def weigh(self, memory, report):
        return super().weigh(memory, report._replace(n=np.ones_like(report.loss)))


@dataclass(frozen=True, eq=False)
class TrimmedMean(Equal):
    """Coordinate by coordinate the mean of the moves without the `cut` largest and smallest.  Yin et al. (2018), definition 2.

    With all but one or two cut off it is the median of their definition 1.
    """

    cut: int = 1

    def __post_init__(self):
        super().__post_init__()
        whole(self.cut, "TrimmedMean: cut", 0)

    def centre(self, moves, w):
        if 2 * self.cut >= moves.shape[-2]:
            raise FederationError(f"a cut of {self.cut} at both ends leaves none of {moves.shape[-2]} moves; cut less")
        kept = np.sort(moves, axis=-2)
        return kept[..., self.cut : kept.shape[-2] - self.cut, :].mean(-2)


@dataclass(frozen=True, eq=False)
class Krum(FedAvg):
    """The move of one client, that with the least sum of squared distances to its K - `bad` - 2 nearest.  Blanchard et al. (2017)."""

    bad: int = 1

    def __post_init__(self):
        super().__post_init__()
        whole(self.bad, "Krum: bad", 0)

    def weigh(self, memory, report):
        apart = ((report.theta[..., :, None, :] - report.theta[..., None, :, :]) ** 2).sum(-1)
        nearest = np.sort(apart, axis=-1)[..., 1 : max(apart.shape[-1] - self.bad - 1, 2)]  # the first is its own
        score = np.nan_to_num(nearest.sum(-1), nan=np.inf)  # argmin would choose NaN
        return memory, 1.0 * (np.arange(score.shape[-1]) == score.argmin(-1)[..., None])[..., None]


@dataclass(frozen=True, eq=False)
class InverseVariance(FedAvg):
    """w_k ~ n_k / s_k^2, s_k^2 the residual variance of client k's own fit.  Aitken (1935); Cochran (1937).

    No client gets more than `cap` of the weight, nor counts as quieter than `FLOOR` of the noisiest: s_k^2 is what the client says it is.
    """

    cap: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        number(self.cap, f"{type(self).__name__}: cap", "in (0, 1]", lambda v: 0 < v <= 1)

    def weigh(self, memory, report):
        return memory, shares(report.n / _floored(report.noise, "the noise"), self.cap)


@dataclass(frozen=True, eq=False)
class ClientRate(FedAvg):
    """Equal weights, but client k steps with lr / s_k^2: the text's rule, a client's rate by its own noise.

    `lr` carries the unit of a variance.
    """

    def local(self, fit):
        if (np.asarray(fit.noise) == 0).any():
            raise FederationError(
                "a client's own fit leaves no residual, so its rate lr / s^2 is infinite; floor its noise"
            )
        return SGD(self.lr / fit.noise)

    def weigh(self, memory, report):
        return memory, shares(np.ones_like(report.loss))


@dataclass(frozen=True, eq=False)
class RandomEffects(FedAvg):
    """w_k ~ 1 / (v_k + tau^2), v_k the variance of client k's estimate, tau^2 that of the true thetas.  DerSimonian & Laird (1986), their method of moments.

    Pooled over the coordinates; tau^2 = 0 gives inverse variances, a large one equal weights. No v_k counts as less than
    `FLOOR` of the largest.
    """

    def weigh(self, memory, report):
        spread = _floored(report.spread, "the spread")
        w, d = 1 / spread, report.own.shape[-1]
        total, k = w.sum(-2, keepdims=True), w.shape[-2]
        middle = (w * report.own).sum(-2, keepdims=True) / total
        q = (w * (report.own - middle) ** 2).sum((-2, -1), keepdims=True) / d
        apart = total - (w * w).sum(-2, keepdims=True) / total
        tau2 = np.maximum(q - (k - 1), 0) / np.where(apart > 0, apart, np.inf)  # 0 of a client alone
        return memory, shares(1 / (spread + np.minimum(tau2, np.finfo(float).max / 2)))


@dataclass(frozen=True, eq=False)
class QFair(FedAvg):
    """w_k ~ n_k F_k(theta)^q, the gradient of sum n_k F_k^(q+1) / (q+1).  Li et al. (2020), q-FFL, equation 2.

    q = 0 is FedAvg, q -> infinity the worst client's loss. q = -1 is the gradient of sum n_k log F_k: inverse variances by
    the residuals of the *global* model. Weights are normalised where the paper estimates a step size; fixed points agree.
    """

    q: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        number(self.q, "QFair: q", "a finite number", np.isfinite)

    def weigh(self, memory, report):
        loss = _floored(report.loss, "the loss")
        return memory, shares(report.n * (loss / loss.max(-2, keepdims=True)) ** self.q)


def simplex(v):
    """The nearest point of the simplex to v, shape (..., clients, 1).  Held, Wolfe & Crowder (1974).

    NaN in a batch as for `shares`.
    """
    v = _clients(v, "the point")
    top = v.max(-2, keepdims=True)
    v = v - np.where(abs(top) > 1e8, top, 0.0)  # the nearest point is the same, and 1 is not lost in rounding
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

    def __post_init__(self):
        super().__post_init__()
        number(self.ascent, "Agnostic: ascent", "at least 0", lambda v: 0 <= v < np.inf)

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
