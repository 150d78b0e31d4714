"""How much hospitals differ in noise, the variance of a continuous outcome about what the covariates explain.

A binary outcome has no such noise: its variance is that of its share.
"""

import math

import numpy as np

from companion.evidence import Interval
from companion.evidence.intervals import at_any_level, percent

from .clients import LeastSquares
from .fairness import around
from .patients import Patients, prepare


def clients(patients: Patients) -> LeastSquares:
    """Every hospital with all its patients, covariates filled and standardised over all hospitals."""
    X = prepare(patients, np.zeros((1, *patients.y.shape), bool))[0]
    return LeastSquares.of(X, patients.y, patients.present)


def log_variances(patients: Patients, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """log s_k^2 of every hospital's own fit and its sampling variance if noise were shared, each (hospitals,).

    Shared noise: the residuals of all hospitals, each over its own s_k, form one pool, from which every hospital draws its
    noise `draws` times; the fit is repeated. So tails that are not normal count, and the bias of log s_k^2 is taken off.
    """
    X, own = prepare(patients, np.zeros((1, *patients.y.shape), bool))[0], clients(patients).fit()
    left = (patients.y - (X @ own.theta[..., None])[..., 0]) * np.sqrt(1 / own.noise)
    rows, d = patients.present.sum(-1, keepdims=True), X.shape[-1]
    pool = (left * np.sqrt(rows / (rows - d)))[patients.present]
    rng, drawn, redrawn = np.random.default_rng(seed), [], LeastSquares.outcomes(X, patients.present)
    for _ in range(draws):
        shared = redrawn(rng.choice(pool - pool.mean(), patients.y.shape))
        drawn.append(np.log(shared.fit().noise[..., 0]))
    middle = np.mean(drawn, axis=0) - math.log(pool.var())
    return np.log(own.noise[..., 0]) - middle, np.var(drawn, axis=0)


def heterogeneity(estimates, variances, target: float) -> float:
    """tau^2 >= 0 with sum_k w_k (y_k - ybar)^2 = target, w_k = 1 / (v_k + tau^2); 0 where the sum is below it already.

    Paule & Mandel (1982) for the target K - 1.
    """
    y, v = np.asarray(estimates, float), np.asarray(variances, float)

    def q(tau2):
        w = 1 / (v + tau2)
        return (w * (y - (w * y).sum() / w.sum()) ** 2).sum()

    low, high = 0.0, 1.0
    if q(0.0) <= target:
        return 0.0
    while q(high) > target:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if q(middle) > target else (low, middle)
    return (low + high) / 2


@at_any_level
def spread(estimates, variances, *, level, seed) -> Interval:
    """Standard deviation between hospitals of what `estimates` estimate, beyond their sampling `variances`.  Viechtbauer (2007), Q profile.

    Hospitals are the units: a sample of a normal population of them. The ends solve Q(tau^2) = quantiles of chi^2, K - 1.
    """
    from scipy import stats

    k = len(estimates)
    targets = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], k - 1)
    low, middle, high = (math.sqrt(heterogeneity(estimates, variances, t)) for t in (targets[0], k - 1, targets[1]))
    return Interval(middle, low, high, f"Q profile over hospitals, {percent(level)}", k)


@at_any_level
def true_extremes(estimates, variances, *, level, seed, draws: int = 20_000) -> Interval:
    """Largest over smallest true noise variance of these hospitals: exp(max theta_k - min theta_k), posterior median and quantiles.

    Model: y_k ~ N(theta_k, v_k), theta_k ~ N(mu, tau^2), y_k = `estimates` of log s_k^2 with sampling `variances`, flat priors on
    mu and tau. Gelman et al. (2013), section 5.4: tau from its marginal posterior on a grid, then mu, then theta. The largest
    estimates are the luckiest, and are drawn in.
    """
    y, v = np.asarray(estimates, float), np.asarray(variances, float)
    taus = np.linspace(0, 4 * np.std(y), 2001)[1:]
    w = 1 / (v + taus[:, None] ** 2)
    middle = (w * y).sum(-1) / w.sum(-1)
    log_density = (np.log(w).sum(-1) - np.log(w.sum(-1)) - (w * (y - middle[:, None]) ** 2).sum(-1)) / 2
    density = np.exp(log_density - log_density.max())
    rng, drawn = np.random.default_rng(seed), max(draws, round(40 / (1 - level)))
    at = rng.choice(len(taus), size=drawn, p=density / density.sum())
    mu = middle[at] + rng.standard_normal(drawn) / np.sqrt(w[at].sum(-1))
    prior = 1 / taus[at, None] ** 2
    precision = 1 / v + prior
    theta = (y / v + mu[:, None] * prior) / precision + rng.standard_normal((drawn, len(y))) / np.sqrt(precision)
    low, centre, high = np.exp(np.quantile(np.ptp(theta, axis=-1), [(1 - level) / 2, 0.5, (1 + level) / 2]))
    return Interval(float(centre), float(low), float(high), f"posterior, {percent(level)}", len(y))


@at_any_level
def ratio_of_extremes(patients: Patients, *, level, seed, splits: int = 1000, resamples: int = 1000) -> Interval:
    """Residual variance of the noisiest hospital over that of the quietest, geometric mean over random halves of the patients.

    One half of each hospital chooses the pair, the other measures it, and the reverse. Patients are resampled within their
    hospitals and stay in one half with their copies.
    """
    X = prepare(patients, np.zeros((1, *patients.y.shape), bool))[0]
    full = np.concatenate([X, patients.y[..., None]], axis=-1)
    products = (full[..., :, None] * full[..., None, :]).reshape(*patients.y.shape, -1)
    d, rng = X.shape[-1], np.random.default_rng(seed)

    def noise(counts):
        """counts (..., hospitals, rows) -> residual variances (..., hospitals)."""
        n = counts.sum(-1)[..., None]
        table = np.einsum("...kr,krm->...km", counts, products, optimize=True).reshape(*n.shape[:-1], d + 1, d + 1)
        table = table / n[..., None]
        return LeastSquares(table[..., :d, :d], table[..., :d, d], table[..., d:, d], n).fit().noise[..., 0]

    def log_ratio(counts, times):
        half = rng.random((times, *patients.y.shape)) < 0.5
        one, other = noise(counts * half), noise(counts * ~half)
        pairs = (one, other), (other, one)
        return np.mean([_extremes(chosen, np.log(measured)) for chosen, measured in pairs])

    def resampled():
        counts = np.zeros(patients.y.shape)
        for k, present in enumerate(patients.present):
            n = present.sum()
            counts[k, :n] = rng.multinomial(n, np.full(n, 1 / n))
        return log_ratio(counts, 10)

    estimate = float(np.exp(log_ratio(patients.present.astype(float), splits)))
    drawn = np.exp([resampled() for _ in range(max(resamples, round(40 / (1 - level))))])
    method = f"percentile bootstrap over patients, {splits} random halves, {percent(level)}"
    return around(estimate, drawn, level, method, int(patients.present.sum()))


def _extremes(chosen, values):
    """values at the largest minus values at the smallest of `chosen`, both (..., hospitals); mean over all else."""
    values, row = values.reshape(-1, values.shape[-1]), np.arange(chosen.size // chosen.shape[-1])
    return np.mean(values[row, chosen.argmax(-1).ravel()] - values[row, chosen.argmin(-1).ravel()])
