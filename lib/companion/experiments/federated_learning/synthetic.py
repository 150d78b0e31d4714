"""Federations with a known truth: linear hospitals, the last one noisy or different; and the race between rules."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from stepsize.tuning import Choice, choose, require_apart

from .aggregation import (
    Agnostic,
    ClientRate,
    Equal,
    FedAvg,
    InverseVariance,
    Krum,
    QFair,
    RandomEffects,
    TrimmedMean,
    Without,
    fed_adagrad,
    fed_adam,
    fed_yogi,
)
from .clients import LeastSquares, Logistic, simulate
from .fairness import gini
from .scaffold import scaffold
from .theory import aitken, matrix_average, resting_point


class Federation(NamedTuple):
    """Clients of many runs with their truth: theta (runs, clients, d), their common centre (runs, d), sigma (clients, 1). The last client is the outlier."""

    clients: LeastSquares
    theta: np.ndarray
    centre: np.ndarray
    sigma: np.ndarray

    def excess(self, theta):
        """|theta - theta_k|^2: the squared error of every client beyond its own noise, for inputs N(0, I); (..., runs, clients).

        No test data are needed and no noise floor is in it.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return ((theta[..., None, :] - self.theta) ** 2).sum(-1)


def sample(seeds, **kwargs) -> Federation:
    """The federations of `sampled_at`, kept: every rule of a race runs on the same."""
    return sampled_at(tuple(seeds), **kwargs)


@lru_cache(64)
def sampled_at(
    seeds: tuple,
    shift: float = 0.0,
    tau: float = 0.0,
    sigma: float = 3.0,
    quiet: float = 0.3,
    clients: int = 6,
    n: int = 40,
    d: int = 8,
) -> Federation:
    """Linear clients of n patients and d covariates N(0, 1); the last one has noise `sigma`, the others `quiet`.

    The centre is N(0, I). Every client's theta is the centre + tau N(0, I), the last one's lies `shift` further away
    in a random direction. One generator per seed.
    """
    noise = np.full((clients, 1), quiet)
    noise[-1] = sigma
    X, y, truth, centre = [], [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        centre.append(rng.standard_normal(d))
        away = rng.standard_normal(d)
        theta = centre[-1] + tau * rng.standard_normal((clients, d))
        theta[-1] += shift * away / np.linalg.norm(away)
        X.append(rng.standard_normal((clients, n, d)))
        y.append((X[-1] @ theta[..., None])[..., 0] + noise * rng.standard_normal((clients, n)))
        truth.append(theta)
    return Federation(LeastSquares.of(np.array(X), np.array(y)), np.array(truth), np.array(centre), noise)


#: Every rule as make(lr); all run the same rounds and see the same federations. ClientRate's lr is in units of the quiet variance.
RULES: dict[str, Callable] = {
    "FedAvg": lambda lr, steps=5: FedAvg(lr, steps),
    "without it": lambda lr, steps=5: Without(lr, steps, client=-1),
    "FedProx": lambda lr, steps=5: FedAvg(lr, steps, prox=0.1),
    "FedAdam": lambda lr, steps=5: fed_adam(0.1, steps, server_lr=lr[..., 0]),
    "FedYogi": lambda lr, steps=5: fed_yogi(0.1, steps, server_lr=lr[..., 0]),
    "FedAdagrad": lambda lr, steps=5: fed_adagrad(0.1, steps, server_lr=lr[..., 0]),
    "inverse variance": lambda lr, steps=5: InverseVariance(lr, steps),
    "client rate": lambda lr, steps=5: ClientRate(0.09 * lr, steps),
    "random effects": lambda lr, steps=5: RandomEffects(lr, steps),
    "q-FFL, q = −1": lambda lr, steps=5: QFair(lr, steps, q=-1.0),
    "q-FFL, q = 1": lambda lr, steps=5: QFair(lr, steps, q=1.0),
    "AFL": lambda lr, steps=5: Agnostic(lr, steps, ascent=0.1),
}

#: Rules of robust aggregation, which know of no noise: controls for "robust". Of six moves the median is the mean of two.
CONTROLS: dict[str, Callable] = {
    "coordinate median": lambda lr, steps=5: TrimmedMean(lr, steps, cut=2),
    "trimmed mean": lambda lr, steps=5: TrimmedMean(lr, steps, cut=1),
    "Krum": lambda lr, steps=5: Krum(lr, steps),
}

# the last rate is two over the largest curvature of an unlucky client: beyond it local training diverges in some federations
LRS = 10 ** np.arange(-2.5, -0.24, 0.25)


#: Rules for the worst client are given a rate at which they rest within the rounds, if all clients answer: the mean excess over the
#: clients, by which the others are tuned, would have them stop on the way.
RESTING = {"q-FFL, q = 1": 0.1, "AFL": 0.1}

#: The same, corrected for the drift of local steps (`scaffold`): with equal weights the published SCAFFOLD.
CORRECTED: dict[str, Callable] = {
    "SCAFFOLD": lambda lr, steps=5: Equal(lr, steps),
    "SCAFFOLD, client rate": RULES["client rate"],
    "SCAFFOLD, inverse variance": RULES["inverse variance"],
}


def final(rule, federation: Federation, rounds: int, sampled=None, corrected: bool = False):
    """Excess of every client after the last round, (..., runs, clients); infinite where a run diverged."""
    if corrected:
        theta = scaffold(federation.clients, rule, rounds, sampled)
    else:
        theta = simulate(federation.clients, rule, rounds, sampled=sampled).theta[-1]
    excess = federation.excess(theta)
    return np.where(np.isfinite(excess), excess, np.inf)


class Raced(NamedTuple):
    """Excess (runs, clients) on the reporting federations at the rate of `choice`."""

    excess: np.ndarray
    choice: Choice

    @property
    def clean(self):
        """Mean over the quiet clients, (runs,)."""
        return self.excess[:, :-1].mean(-1)

    @property
    def outlier(self):
        """The last client's, (runs,)."""
        return self.excess[:, -1]

    @property
    def macro(self):
        """Mean over all clients, (runs,)."""
        return self.excess.mean(-1)


def draw(seeds, rounds: int, clients: int, m: int) -> np.ndarray:
    """Which m of the clients answer, (rounds, runs, m), drawn anew in every round without replacement. One generator per seed."""
    order = [np.random.default_rng([seed, m]).random((rounds, clients)).argsort(-1)[:, :m] for seed in seeds]
    return np.stack(order, axis=1)


def race(
    name: str, tuning, reporting, rounds: int = 60, steps: int = 5, lrs=LRS, answering: int = 0, **kwargs
) -> Raced:
    """A rule's excess at the rate of least mean excess over clients on the tuning federations, or at that of `RESTING`; `kwargs` go to `sample`.

    Every client answers in every round, or only `answering` of them, drawn at random.
    """
    require_apart(tuning, reporting)
    fixed = [RESTING[name]] if name in RESTING and not answering else []

    def excess(rates, seeds):
        rule = (RULES | CONTROLS | CORRECTED)[name](np.asarray(rates)[:, None, None, None], steps)
        federation: Federation = sample(seeds, **kwargs)
        sampled = draw(seeds, rounds, len(federation.sigma), answering) if answering else None
        return final(rule, federation, rounds, sampled, name in CORRECTED)

    curve = excess(fixed or lrs, tuning).mean(-1).mean(-1)
    choice = Choice(*fixed, None, (0,), False, curve) if fixed else choose(curve, lrs)
    return Raced(excess([choice.lr], reporting)[0], choice)


def undone(rival: Raced, rule: Raced, best: Raced) -> np.ndarray:
    """Share of FedAvg's damage to the quiet clients that a rule undoes, run by run over the mean damage: 1 is all, 0 nothing."""
    return (rival.clean - rule.clean) / (rival.clean - best.clean).mean()


def own_estimate(seeds, **kwargs) -> np.ndarray:
    """The last client's estimate of its noise from its own fit, over the true one: (runs,)."""
    federation = sample(seeds, **kwargs)
    return federation.clients.fit().noise[:, -1, 0] / federation.sigma[-1, 0] ** 2


def global_estimate(seeds, rounds: int = 60, **kwargs) -> np.ndarray:
    """Every client's estimate from the residuals of FedAvg's global model, over the true one: (runs, clients)."""
    federation = sample(seeds, **kwargs)
    theta = simulate(federation.clients, FedAvg(0.1, 5), rounds).theta[-1]
    return (2 * federation.clients.loss(theta[:, None]) / federation.sigma**2)[..., 0]


def prevalence_estimate(seeds, odds: float, n: int = 400, d: int = 8) -> np.ndarray:
    """Residual variance of a hospital with log-odds `odds` over that of one with log-odds 0, same slopes, no wrong label: (runs,)."""
    X, y = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        slopes = rng.standard_normal(d) / np.sqrt(d)
        X.append(np.concatenate([np.ones((2, n, 1)), rng.standard_normal((2, n, d))], axis=-1))
        score = X[-1][..., 1:] @ slopes + np.array([[0.0], [odds]])
        y.append(rng.random((2, n)) < 1 / (1 + np.exp(-score)))
    noise = Logistic.of(np.array(X), np.array(y)).fit().noise[..., 0]
    return noise[:, 1] / noise[:, 0]


def centre_error(rule, federation: Federation, rounds: int) -> np.ndarray:
    """|theta - centre|^2 after the last round: (runs,)."""
    return ((simulate(federation.clients, rule, rounds).theta[-1] - federation.centre) ** 2).sum(-1)


def loss_by_random_effects(seeds, rounds: int = 200, lr: float = 0.3) -> np.ndarray:
    """Squared error of the centre under inverse variances over that under random effects, where every client has its own truth: (runs,)."""
    many = sample(seeds, tau=0.5, sigma=0.1, quiet=1.0)
    by_noise, by_effects = (centre_error(rule, many, rounds) for rule in (InverseVariance(lr), RandomEffects(lr)))
    return by_noise / by_effects


def axis_of_fairness(
    seeds, shift: float, qs=(-1, -0.5, 0, 0.5, 1, 2), rounds: int = 200, lr: float = 0.03
) -> dict[str, np.ndarray]:
    """Mean excess and Gini coefficient, (2, runs) per rule, along q-FFL's axis from q = -1 to the worst client alone (AFL)."""
    federation: Federation = sample(seeds, shift=shift)
    rules = {f"{q:g}": QFair(lr, 5, q=q) for q in qs} | {
        "∞": Agnostic(lr, 5, ascent=0.01),
        "IV": InverseVariance(lr, 5),
    }
    served = {}
    for name, rule in rules.items():
        excess = federation.excess(simulate(federation.clients, rule, rounds).theta[-1])
        served[name] = np.stack([excess.mean(-1), gini(excess)])
    return served


def simulated_share(rates, steps: int) -> float:
    """The last client's share of the pull, read off a simulated federation of curvature 1 in which it alone sits at 1, the others at 0."""
    k = len(rates)
    clients = LeastSquares(np.ones((k, 1, 1)), np.eye(k)[-1][:, None], np.eye(k)[-1][:, None], np.full((k, 1), 10.0))
    rule = Equal(np.asarray(rates)[:, None], steps)
    return float(simulate(clients, rule, 3 + 900 // steps).theta[-1, 0])


def shares_of_the_different(seeds, shifts=(0.0, 0.2, 0.4, 0.6, 1.0, 2.0)):
    """The shifts; the share of a quiet client at each by own fits and by the residuals of the global model, (shifts, runs)."""
    federations = [sample(seeds, shift=s, sigma=0.3).clients for s in shifts]
    own, other = (
        np.array([simulate(clients, rule, 150).weights[-1, :, -1, 0] for clients in federations])
        for rule in (InverseVariance(0.1), QFair(0.1, q=-1.0))
    )
    return np.array(shifts), own, other


def undone_at_rest(seeds, steps: int, rival: Raced, best: Raced, lr: float = 0.1) -> np.ndarray:
    """`undone` of the text's rule at its resting point for `steps` local steps at a rate that suits one: (runs,)."""
    federation = sample(seeds)
    rates = lr * 0.09 / federation.clients.fit().noise
    theta = resting_point(federation.clients, rates, steps, np.full((len(federation.sigma), 1), 1.0))
    return (rival.clean - federation.excess(theta)[:, :-1].mean(-1)) / (rival.clean - best.clean).mean()


def undone_by_client_rates(race: Callable, seeds, rival: Raced, best: Raced) -> dict[str, np.ndarray]:
    """`undone` of the text's rule by condition: rates tuned to the local steps, a rate that suits one, and with the drift corrected.

    race(name, steps=..., lrs=...) races on `seeds`.
    """

    def tuned(name, steps):
        return undone(rival, race(name, steps=steps, lrs=np.logspace(-5, 0, 21)), best)

    rows = {f"there are {e} local steps and the rate is tuned to them": tuned("client rate", e) for e in (1, 5, 50)}
    rows |= {
        f"there are {e} local steps at the rate for one": undone_at_rest(seeds, e, rival, best)
        for e in (10, 1000, 10_000)
    }
    return rows | {"the drift of 5 local steps is corrected, the rate tuned": tuned("SCAFFOLD, client rate", 5)}


def blue_error(federations: int, seed: int) -> float:
    """Largest relative distance between the average with matrix weights and Aitken's estimate over random federations."""
    rng, distances = np.random.default_rng(seed), []
    for _ in range(federations):
        k, d = rng.integers(2, 9), rng.integers(1, 8)
        X = rng.standard_normal((k, d + 20, d)) * rng.uniform(0.3, 3, (k, 1, d))
        variance = 10 ** rng.uniform(-2, 2, (k, 1))
        y = (X @ rng.standard_normal(d)) + np.sqrt(variance) * rng.standard_normal((k, d + 20))
        best = aitken(LeastSquares.of(X, y), variance)
        gap = matrix_average(LeastSquares.of(X, y), variance) - best
        distances.append(np.linalg.norm(gap) / np.linalg.norm(best))
    return max(distances)
