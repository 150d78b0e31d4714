"""Four real hospitals as a federation: cross-validation in which every patient is predicted by models that never saw him."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from companion.evidence import Interval
from stepsize.metric import apply

from .aggregation import Agnostic, Equal, FedAvg, InverseVariance, QFair, Without
from .clients import LeastSquares, Logistic, simulate
from .fairness import by_patient
from .patients import NAMES, Patients, disease, heart_rate, prepare, split


def own_intercepts(X):
    """The common 1 replaced by one indicator per hospital: a coordinate that the server passes on but only one client moves."""
    return np.concatenate(
        [np.broadcast_to(np.eye(len(NAMES))[:, None], (*X.shape[:-1], len(NAMES))), X[..., 1:]], axis=-1
    )


def flip(patients: Patients, hospital: int, share: float, splits: int, seed: int = 0):
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
    "q-FFL, q = −1": lambda lr: QFair(lr, q=-1.0),
    "q-FFL, q = 1": lambda lr: QFair(lr, q=1.0),
    "AFL": lambda lr: Agnostic(lr, ascent=0.05),
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


def predict_disease(
    repeats: int, rounds: int, flipped=None, seed: int = 0, lr: float = 1.5, rules=tuple(RULES)
) -> Predicted:
    """Every rule, every hospital alone, and shared slopes with own intercepts; `flipped` = (hospital, share) spoils training labels."""
    patients = disease()
    test = split(patients, repeats, seed=seed)
    X = prepare(patients, test)
    y = flip(patients, *flipped, len(test), seed) if flipped else np.broadcast_to(patients.y, test.shape)
    train = patients.present & ~test
    clients = Logistic.of(X, y, train)
    chosen = {name: RULES[name](lr) for name in rules}
    if flipped:
        chosen["without it"] = Without(lr, client=flipped[0])
    scores, weights, residual = _shared(clients, chosen, rounds, X)
    scores["own model"] = apply(X, clients.fit().theta)
    apart = own_intercepts(X)
    scores |= _shared(Logistic.of(apart, y, train), {"own intercept": FedAvg(lr)}, rounds, apart)[0]
    return _predicted(log_loss, patients, test, repeats, scores, weights, residual)


def predict_heart_rate(
    repeats: int,
    rounds: int,
    own: bool = False,
    noise=None,
    seed: int = 0,
    lr: float = 0.3,
    rules=("FedAvg", "inverse variance"),
) -> Predicted:
    """Squared errors of the highest heart rate, in (beats per minute)^2. `own`: every hospital subtracts its own training means.

    `noise` = (hospital, sd) spoils training outcomes.
    """
    patients = heart_rate()
    test = split(patients, repeats, seed=seed)
    X, train = prepare(patients, test), patients.present & ~test
    y = np.broadcast_to(patients.y, test.shape)
    if noise:
        bad = np.zeros(test.shape)
        bad[:, noise[0]] = noise[1] * np.random.default_rng(seed).standard_normal((len(test), test.shape[-1]))
        y = y + bad
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

    Attainable is the loss of shared slopes with own intercepts, trained on unspoiled labels, on the same patients.
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


def study(repeats: int, rounds: int, share: float = 0.4) -> Study:
    """Setting 0: labels as they are. Settings 1 ... 4: a `share` of one hospital's training labels is wrong, each hospital in turn."""
    settings = {"as recorded": predict_disease(repeats, rounds)}
    for k, name in enumerate(NAMES):
        settings[f"{name} spoiled"] = predict_disease(repeats, rounds, (k, share))
    methods = settings["as recorded"].methods
    attained = methods.index("own intercept")
    raw = [
        np.stack([p.losses[k][:, [p.methods.index(m) for m in methods]] for p in settings.values()], axis=1)
        for k in range(4)
    ]
    excess = [table - table[:, :1, attained, None] for table in raw]
    return Study(excess, raw, methods, settings)


def bystanders(study: Study) -> Interval:
    """Loss of the three sound hospitals under FedAvg minus that without the spoiled one, mean over the four turns."""
    spoiled = list(study.settings.values())[1:]
    tables = [
        np.stack(
            [
                p.losses[k][:, p.methods.index("FedAvg")] - p.losses[k][:, p.methods.index("without it")]
                for p in spoiled
            ],
            axis=1,
        )
        for k in range(4)
    ]
    sound = ~np.eye(4, dtype=bool)
    return by_patient(tables, lambda means: np.where(sound, means, 0).sum((-2, -1)) / 12)


class Noise(NamedTuple):
    """Ratio of the noise of two hospitals with bootstrap values (resamples,), and which pair each half had chosen."""

    ratio: float
    resampled: np.ndarray
    pairs: tuple

    @property
    def interval(self) -> Interval:
        low, high = np.quantile(self.resampled, [0.025, 0.975])
        return Interval(
            float(self.ratio),
            min(float(low), self.ratio),
            max(float(high), self.ratio),
            "percentile bootstrap over patients, pair chosen on the other half, 95%",
            920,
        )


def noise_ratio(patients: Patients, model: str, resamples: int = 400, seed: int = 0) -> Noise:
    """Noise of the noisiest over that of the quietest hospital: a pair chosen on one half of the patients and measured on
    the other, and the reverse; geometric mean of the two.

    model: "linear" (residual variance of the own fit), "binary" (the same of a logistic model) or "dispersion" (the same over p(1 - p)).
    """
    rng = np.random.default_rng(seed)
    half = split(patients, 1, folds=2, seed=seed)[:1]
    X = prepare(patients, half)[0]

    def noise(weight):
        if model == "linear":
            return LeastSquares.of(X, patients.y, weight).fit().noise[..., 0]
        rows = np.broadcast_to(X, (*weight.shape, X.shape[-1]))
        clients = Logistic.of(rows, np.broadcast_to(patients.y, weight.shape), weight)
        return clients.fit().noise[..., 0] if model == "binary" else clients.dispersion()[..., 0]

    ratios, pairs, halves = 1.0, [], (half[0], patients.present & ~half[0])
    for one, other in (halves, halves[::-1]):
        chosen = noise(one[None].astype(float))[0]
        top, low = int(chosen.argmax()), int(chosen.argmin())
        drawn = np.zeros((resamples + 1, *patients.y.shape))
        for k in range(len(NAMES)):
            members = np.flatnonzero(other[k])
            drawn[0, k, members] = 1
            drawn[1:, k, members] = rng.multinomial(
                len(members), np.full(len(members), 1 / len(members)), size=resamples
            )
        values = noise(drawn)
        ratios = ratios * np.sqrt(values[:, top] / values[:, low])
        pairs.append((NAMES[top], NAMES[low]))
    return Noise(float(ratios[0]), ratios[1:], tuple(pairs))
