"""Federated learning in one process: clients that keep their data, what they send, and the rounds of a server.

    clients = LeastSquares.of(X, y)                  # X (..., clients, n, d), y (..., clients, n)
    theta, weights = simulate(clients, FedAvg(lr=0.1, steps=5), rounds=100)

A federation is a batch: the last axis but one of every array counts clients, axes before it are independent runs.
The same functions serve a real federation, where each client is a process and has no such axis (`companion.experiments.federated_learning.flower`).
The rules are in `aggregation`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from companion.errors import FederationError
from companion.experiments.inputs import number, numbers, whole
from stepsize.contract import require_rule
from stepsize.metric import apply


class Fit(NamedTuple):
    """A client's own model, from its data alone: theta (..., d), and with shape (..., 1) the variance of its
    residuals (n - d degrees of freedom) and the mean variance of theta's coordinates."""

    theta: Any
    noise: Any
    spread: Any


class Report(NamedTuple):
    """What a client sends after a round: its theta (..., d); of shape (..., 1) its number of examples, its loss at the
    theta it was given, the variance of its own fit's residuals and its spread; its own fit's theta (..., d).

    The server sees nothing else. Even so: noise tells a hospital's quality, and is what the hospital says it is.
    """

    theta: Any
    n: Any
    loss: Any
    noise: Any
    spread: Any
    own: Any


def _data(X, y, present):
    """X, y and how often each row counts, as floats that fit; what is absent may be anything but is read as 0."""
    y, X = np.asarray(y), np.asarray(X)
    remedy = "fill it, or leave the row out by `present`"
    present = (
        np.ones(y.shape) if present is None else numbers(present, "present", remedy, least=0, error=FederationError)
    )
    broadcast = present.shape[-1:] == y.shape[-1:] and all(
        a in (1, b) for a, b in zip(present.shape[::-1], y.shape[::-1], strict=False)
    )
    if X.ndim < 2 or not X.size or X.shape[:-1] != y.shape or not broadcast:
        raise FederationError(
            f"X {X.shape}, y {y.shape} and present {present.shape} do not fit; give (..., rows, d), (..., rows), (..., rows)"
        )
    absent = np.broadcast_to(present, y.shape) == 0
    if absent.any():
        X, y = np.where(absent[..., None], 0.0, X), np.where(absent, 0.0, y)
    if (present.sum(-1) == 0).any():
        raise FederationError(
            f"client {tuple(np.argwhere(present.sum(-1) == 0)[0].tolist())} has no examples; leave it out"
        )
    return *(numbers(a, name, remedy, error=FederationError) for a, name in ((X, "X"), (y, "y"))), present


def _inverse(matrix, who):
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        rank = np.linalg.matrix_rank(matrix, hermitian=True)
        client = tuple(np.argwhere(rank < matrix.shape[-1])[0].tolist()) if (rank < matrix.shape[-1]).any() else "?"
        raise FederationError(
            f"{who}: the covariates of client {client} are linearly dependent, so its own fit is not unique; "
            "drop a covariate or give a ridge"
        ) from None


def _rows(n, d, who):
    if (np.asarray(n) <= d).any():
        raise FederationError(
            f"a {who} client has {int(np.min(n))} examples for {d} parameters, so its own fit leaves no residual; give it more"
        )


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """F(theta) = |y - X theta|^2 / 2n.  Gauss (1809); all that a round needs is X'X/n, X'y/n and y'y/n.

    gram (..., d, d), moment (..., d), power and n (..., 1).
    """

    gram: Any
    moment: Any
    power: Any
    n: Any

    @classmethod
    def of(cls, X, y, present=None):
        """From X (..., rows, d), y (..., rows) and, where clients differ in size, how often each row counts (..., rows)."""
        X, y, present = _data(X, y, present)
        return cls._outcomes(X, present)(y)

    @classmethod
    def outcomes(cls, X, present):
        """y -> `LeastSquares.of(X, y, present)` for many finite outcomes of the same covariates: their products are taken once."""
        X, _, present = _data(X, np.zeros(np.shape(X)[:-1]), present)
        return cls._outcomes(X, present)

    @classmethod
    def _outcomes(cls, X, present):
        n, root = present.sum(-1, keepdims=True), np.sqrt(present)
        X = X * root[..., None]
        flat = np.swapaxes(X, -1, -2)
        with np.errstate(over="ignore"):
            gram = flat @ X / n[..., None]

        def of(y):
            y = y * root
            with np.errstate(over="ignore"):
                power = (y * y).sum(-1, keepdims=True) / n
            if not (np.isfinite(gram).all() and np.isfinite(power).all()):
                raise FederationError("the squares of X or y overflow; measure them in a larger unit")
            return cls(gram, apply(flat, y) / n, power, n)

        return of

    def gradient(self, theta):
        return apply(self.gram, theta) - self.moment

    def loss(self, theta):
        """Shape (..., 1)."""
        return ((apply(self.gram, theta) / 2 - self.moment) * theta).sum(-1, keepdims=True) + self.power / 2

    def fit(self) -> Fit:
        d = self.moment.shape[-1]
        _rows(self.n, d, "least squares")
        inverse = _inverse(self.gram, "least squares")
        theta = apply(inverse, self.moment)
        left = np.maximum(self.power - (self.moment * theta).sum(-1, keepdims=True), 0.0)  # rounding can leave -1e-17
        noise = left * self.n / (self.n - d)
        return Fit(theta, noise, noise * np.trace(inverse, axis1=-2, axis2=-1)[..., None] / (self.n * d))


@dataclass(frozen=True, eq=False)
class Logistic:
    """F(theta) = mean log(1 + exp(-(2y - 1) x'theta)) + ridge |theta|^2 / 2.  Cox (1958).

    X (..., rows, d), y (..., rows) of 0 and 1, n (..., 1); `present` (..., rows) counts a row: 0 where it is absent, 2 where it came twice.
    """

    X: Any
    y: Any
    present: Any
    n: Any
    ridge: float = 1e-2

    @classmethod
    def of(cls, X, y, present=None, ridge: float = 1e-2):
        """From X (..., rows, d), y (..., rows) and, where clients differ in size, the rows that are present."""
        X, y, present = _data(X, y, present)
        if (y < 0).any() or (y > 1).any():
            raise FederationError(f"y is {y[(y < 0) | (y > 1)][0]:g}; labels are 0 and 1, or a chance between them")
        number(ridge, "ridge", "a finite number of at least 0", lambda v: 0 <= v < np.inf, FederationError)
        return cls(X, y, present, present.sum(-1, keepdims=True), ridge)

    def _chance(self, theta):
        return 0.5 * (1 + np.tanh(0.5 * apply(self.X, theta)))

    def gradient(self, theta):
        wrong = (self._chance(theta) - self.y) * self.present
        return (wrong[..., None, :] @ self.X)[..., 0, :] / self.n + self.ridge * theta

    def loss(self, theta):
        """Shape (..., 1)."""
        score = apply(self.X, theta)
        terms = (np.logaddexp(0, score) - self.y * score) * self.present
        return terms.sum(-1, keepdims=True) / self.n + self.ridge * (theta * theta).sum(-1, keepdims=True) / 2

    def curvature(self, theta):
        """The Hessian, (..., d, d)."""
        p = self._chance(theta)
        scaled = self.X * (p * (1 - p) * self.present)[..., None]
        return np.swapaxes(scaled, -1, -2) @ self.X / self.n[..., None] + self.ridge * np.eye(self.X.shape[-1])

    def fit(self, steps: int = 12) -> Fit:
        """Newton's method from 0; with the ridge a dozen steps suffice."""
        d = self.X.shape[-1]
        _rows(self.n, d, "logistic")
        theta = np.zeros((*self.y.shape[:-1], d))
        for _ in range(steps):
            curvature = self.curvature(theta)
            try:
                theta = theta - np.linalg.solve(curvature, self.gradient(theta)[..., None])[..., 0]
            except np.linalg.LinAlgError:
                _inverse(curvature, "logistic regression")
                raise
        left = ((self.y - self._chance(theta)) ** 2 * self.present).sum(-1, keepdims=True)
        if not np.isfinite(theta).all():
            raise FederationError("Newton's method diverged; are the two classes separable? give a ridge above 0")
        inverse = _inverse(self.curvature(theta), "logistic regression")
        return Fit(theta, left / (self.n - d), np.trace(inverse, axis1=-2, axis2=-1)[..., None] / (self.n * d))

    def dispersion(self) -> Any:
        """Mean of (y - p)^2 / p(1 - p) at the own fit, about 1 whatever the shares of 0 and 1.  Pearson (1900)."""
        p = self._chance(self.fit().theta)
        terms = (self.y - p) ** 2 / np.maximum(p * (1 - p), 1e-12) * self.present
        return terms.sum(-1, keepdims=True) / (self.n - self.X.shape[-1])


def local_update(client, theta, rule, steps: int = 1, prox=0.0):
    """theta after `steps` full gradient steps of a library rule on F(theta) + prox |theta - start|^2 / 2.  Li et al. (2020), FedProx.

    theta (..., d), one for every client; with prox 0 and SGD this is the client's half of FedAvg.
    """
    require_rule(rule, "local_update")
    numbers(prox, "prox", "prox must be finite and at least 0", least=0, some=True)
    x, state = theta, rule.init(theta)
    for _ in range(whole(steps, "local_update: steps", 1)):
        state, rate, direction = rule.step(state, client.gradient(x) + prox * (x - theta), x)
        x = x - rate * direction
    return x


def answer(client, fit: Fit, theta, rule) -> Report:
    """One round of a client, or of all clients at once: from the server's theta to the report."""
    after = local_update(client, theta, rule.local(fit), rule.steps, rule.prox)
    return Report(after, client.n, client.loss(theta), fit.noise, fit.spread, fit.theta)


def check(report: Report, d: int, client: str) -> Report:
    """The report of one client itself; FederationError that names the client where a server must not use it."""
    for name, value in report._asdict().items():
        value = np.asarray(value)
        if value.dtype.kind not in "fiu":
            raise FederationError(f"client {client} sent {name} of type {value.dtype}; rejected, it must be numbers")
        expected = d if name in ("theta", "own") else 1
        if value.shape != (expected,):
            raise FederationError(
                f"client {client} sent {name} of shape {value.shape}, expected ({expected},); rejected"
            )
        if not np.isfinite(value).all():
            raise FederationError(
                f"client {client} sent a {name} that is NaN or infinite; rejected, look at its data or rate"
            )
        if name in ("n", "noise", "spread") and (value < 0).any():
            raise FederationError(f"client {client} sent {name} = {value[0]:g}, which cannot be negative; rejected")
    if report.n[0] == 0:
        raise FederationError(f"client {client} sent n = 0; rejected, a client without examples has nothing to say")
    return report


def heard(report: Report, who, shape) -> Report:
    """The reports of the clients `who` (..., m) out of reports that broadcast to `shape`, (..., clients, d)."""
    at = np.broadcast_to(np.asarray(who)[..., None], (*shape[:-2], np.shape(who)[-1], 1))
    every = (np.broadcast_to(a, (*shape[:-1], np.shape(a)[-1])) for a in report)
    return Report(*(np.take_along_axis(a, at, -2) for a in every))


class History(NamedTuple):
    """theta (rounds + 1, ..., d) from the start on; weights (rounds, ..., clients, 1) of every round."""

    theta: np.ndarray
    weights: np.ndarray


def simulate(clients, rule, rounds: int, theta=None, sampled=None) -> History:
    """`rounds` rounds of a federation.  McMahan et al. (2017), algorithm 1, full batches.

    Every client takes part, or those of `sampled` (rounds, ..., m), m different clients a round; weights are theirs then.
    theta is the start, (..., d), zeros if not given; hyper-parameters of the rule broadcast against theta with an axis
    for the clients before the last, so that lr of shape (rates, 1, 1, 1) runs a grid of rates on runs of federations.
    """
    whole(rounds, "rounds", 1, error=FederationError)
    if theta is not None:
        theta = numbers(theta, "theta", "start from a finite model", error=FederationError)
    fit = clients.fit()
    shape = np.broadcast_shapes(fit.theta.shape, np.shape(rule.lr), np.shape(rule.prox))
    try:
        theta = np.broadcast_to(0.0 if theta is None else theta, (*shape[:-2], shape[-1]))
    except ValueError:
        raise FederationError(
            f"theta {theta.shape} does not fit; give models of shape {(*shape[:-2], shape[-1])}"
        ) from None
    state, path, weights = rule.init(theta), [theta], []
    for t in range(rounds):
        with np.errstate(over="ignore", invalid="ignore"):
            given = theta[..., None, :]
            given = np.broadcast_to(given, np.broadcast_shapes(given.shape, shape))
            report = answer(clients, fit, given, rule)
            if sampled is not None:
                report = heard(report, sampled[t], given.shape)
            state, theta, w = rule.aggregate(state, theta, report)
        path.append(theta)
        weights.append(w)
    if not np.isfinite(theta).any():
        raise FederationError(f"all runs diverged within {rounds} rounds; lower the learning rate")
    return History(np.stack(np.broadcast_arrays(*path)), np.stack(np.broadcast_arrays(*weights)))
