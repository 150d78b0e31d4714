"""Four real hospitals as a federation: cross-validation in which every patient is predicted by models trained on others."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from companion.evidence import Interval
from stepsize.metric import apply

from .aggregation import Equal, EqualWithout, FedAvg, InverseVariance, Without
from .clients import LeastSquares, Logistic, simulate
from .fairness import by_patient
from .patients import NAMES, Patients, disease, heart_rate, prepare, split


def own_intercepts(X):
    """The common 1 replaced by one indicator per hospital: a coordinate that the server passes on but only one client moves."""
    return np.concatenate(
        [np.broadcast_to(np.eye(len(NAMES))[:, None], (*X.shape[:-1], len(NAMES))), X[..., 1:]], axis=-1
    )


def flip(patients: Patients, hospital: int, share: float, splits: int, seed: int):
    """Labels to train on, (splits, hospitals, rows): in one hospital a `share` of them is wrong, others in every split."""
    rng = np.random.default_rng(seed)
    wrong = np.zeros((splits, *patients.y.shape), bool)
    wrong[:, hospital] = rng.random((splits, patients.y.shape[-1])) < share
    return np.where(wrong, 1 - patients.y, patients.y)


#: The rules as they run on the hospitals: the problem is convex, so what differs is where they rest.
RULES: dict[str, Callable] = {
    "FedAvg": lambda lr: FedAvg(lr),
    "equal weights": lambda lr: Equal(lr),
    "inverse variance": lambda lr: InverseVariance(lr),
}


def log_loss(score, y):
    """-log of the probability given to what happened, in nats."""
    return np.logaddexp(0, score) - y * score


class Predicted(NamedTuple):
    """losses[k] (patients of hospital k, methods): a patient's test loss, mean over repeats; weights[method] (hospitals,), mean over splits;
    residual, the largest coordinate of the last move of any shared model."""

    losses: list
    weights: dict
    methods: tuple
    residual: float


def _shared(clients, rules: dict, rounds: int, X):
    """Of the shared model of every rule its scores X theta and its weights, mean over splits; and the largest last move."""
    scores, weights, residual = {}, {}, 0.0
    for name, rule in rules.items():
        ran = simulate(clients, rule, rounds)
        scores[name] = apply(X, ran.theta[-1][:, None])
        weights[name] = ran.weights[-1, ..., 0].mean(0)
        residual = max(residual, np.abs(ran.theta[-1] - ran.theta[-2]).max())
    return scores, weights, float(residual)


def _predicted(loss: Callable, patients: Patients, test, repeats: int, scores: dict, weights, residual) -> Predicted:
    """`loss(score, y)` of the tested patients under every method of `scores`, (splits, hospitals, rows) each."""
    table = np.stack([np.where(test, loss(s, patients.y), 0.0).sum(0) / repeats for s in scores.values()], axis=-1)
    return Predicted([table[k][p] for k, p in enumerate(patients.present)], weights, tuple(scores), residual)


def predict_disease(repeats: int, rounds: int, seed: int, flipped=None, lr: float = 1.5) -> Predicted:
    """Every rule of `RULES`, and shared slopes with own intercepts; `flipped` = (hospital, share) corrupts training labels."""
    patients = disease()
    test = split(patients, repeats, seed)
    X = prepare(patients, test)
    y = flip(patients, *flipped, len(test), seed + 1) if flipped else np.broadcast_to(patients.y, test.shape)
    train = patients.present & ~test
    clients = Logistic.of(X, y, train)
    chosen = {name: make(lr) for name, make in RULES.items()}
    if flipped:
        chosen["without it"] = Without(lr, client=flipped[0])
        chosen["equal weights without it"] = EqualWithout(lr, client=flipped[0])
    scores, weights, residual = _shared(clients, chosen, rounds, X)
    apart = own_intercepts(X)
    own, _, last = _shared(Logistic.of(apart, y, train), {"own intercept": FedAvg(lr)}, rounds, apart)
    return _predicted(log_loss, patients, test, repeats, scores | own, weights, max(residual, last))


def predict_heart_rate(
    repeats: int, rounds: int, seed: int, own: bool = False, lr: float = 0.3, rules=("FedAvg", "inverse variance")
) -> Predicted:
    """Squared errors of the highest heart rate, in (beats per minute)^2. `own`: every hospital subtracts its own training means."""
    patients = heart_rate()
    test = split(patients, repeats, seed)
    X, train = prepare(patients, test), patients.present & ~test
    y = np.broadcast_to(patients.y, test.shape)
    shift = 0.0
    if own:
        n = train.sum(-1, keepdims=True)
        shift = (y * train).sum(-1, keepdims=True) / n
        X = X[..., 1:]
        X = X - (X * train[..., None]).sum(-2, keepdims=True) / n[..., None]
    clients = LeastSquares.of(X, y - shift, train)
    scores, weights, residual = _shared(clients, {name: RULES[name](lr) for name in rules}, rounds, X)
    scores = {name: score + shift for name, score in scores.items()}
    return _predicted(lambda score, y: (score - y) ** 2, patients, test, repeats, scores, weights, residual)


class Study(NamedTuple):
    """Excess losses over what a hospital can attain: excess[k] (patients, settings, methods); the `Predicted` of every setting.

    Attainable is the loss of shared slopes with own intercepts, trained on sound labels, on the same patients.
    """

    excess: list
    raw: list
    methods: tuple
    settings: dict

    def change(
        self, method: str, measure: Callable, settings, of: str = "excess", rival: str = "FedAvg", hospitals=slice(None)
    ) -> Interval:
        """measure(method) - measure(rival), mean over `settings` (positions), with its interval over patients."""
        a, b = self.methods.index(method), self.methods.index(rival)

        def statistic(means):
            means = means[..., settings, :, :][..., hospitals]
            return (measure(means[..., a, :]) - measure(means[..., b, :])).mean(-1)

        return by_patient(getattr(self, of), statistic)

    def changes(self, method: str, measure: Callable, corrupted: str, of: str = "excess") -> dict[str, Interval]:
        """`change` with the labels as recorded, and as the mean over the turns in which one hospital is corrupted, under that name."""
        turns = {"the hospitals are four real ones, labels as recorded": [0], corrupted: [1, 2, 3, 4]}
        return {condition: self.change(method, measure, at, of) for condition, at in turns.items()}


def study(repeats: int, rounds: int, seed: int, share: float = 0.4) -> Study:
    """Setting 0: labels as they are. Settings 1 ... 4: a `share` of one hospital's training labels is wrong, each hospital in turn."""
    settings = {"as recorded": predict_disease(repeats, rounds, seed)}
    for k, name in enumerate(NAMES):
        settings[f"{name} corrupted"] = predict_disease(repeats, rounds, seed, (k, share))
    methods = settings["as recorded"].methods
    attained = methods.index("own intercept")
    raw = [
        np.stack([p.losses[k][:, [p.methods.index(m) for m in methods]] for p in settings.values()], axis=1)
        for k in range(4)
    ]
    excess = [table - table[:, :1, attained, None] for table in raw]
    return Study(excess, raw, methods, settings)


def bystanders(study: Study, rule: str = "FedAvg", alone: str = "without it") -> Interval:
    """Loss of the three sound hospitals under `rule` minus that under `alone`, which leaves the corrupted one out; mean over the four turns."""
    corrupted = list(study.settings.values())[1:]
    tables = [
        np.stack(
            [p.losses[k][:, p.methods.index(rule)] - p.losses[k][:, p.methods.index(alone)] for p in corrupted],
            axis=1,
        )
        for k in range(4)
    ]
    sound = ~np.eye(4, dtype=bool)
    return by_patient(tables, lambda means: np.where(sound, means, 0).sum((-2, -1)) / 12)
