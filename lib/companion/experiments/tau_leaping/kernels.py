"""Machine code for reaction networks: random streams, exact events, leaps. Compiled once for all networks.

All kernels live in one file on purpose: numba's cache notices a change of the file a kernel stands in, not of
files that it calls. `net` is `Network.program`, one row per reaction (one plain array: a tuple of arrays costs
reference counting at every access, up to 20 times the run time), `c` (M,) rate constants, `x` (S,) counts as float64, `a` (M,)
propensities, `s` (4,) the state of a run's own random stream, so that a batch of runs equals the runs apart.
`halt` (1,) is set by another thread to stop a kernel that holds no lock of Python's.
"""

import math

import numpy as np
from numba import njit

DONE, SPENT, EXPLODED = range(3)
FIXED, CAO, ACTIVITY, ABSOLUTE, FIRINGS = range(5)
EULER, MIDPOINT, TRAPEZOID = range(3)
REFUSE, CLIP, ALLOW = range(3)
KIND, FIRST, SECOND, REACTANTS, CHANGES, AFFECTED, END = range(7)
_U = np.uint64
_HUGE = 1e15


@njit(cache=True, error_model="numpy")
def start_stream(s, key, run):
    """Fill s from (key, run) by the SplitMix64 sequence.  Steele, Lea & Flood (2014), figure 17."""
    z = _U(key) + (_U(run) << _U(2)) * _U(0x9E3779B97F4A7C15)
    for i in range(4):
        z += _U(0x9E3779B97F4A7C15)
        y = (z ^ (z >> _U(30))) * _U(0xBF58476D1CE4E5B9)
        y = (y ^ (y >> _U(27))) * _U(0x94D049BB133111EB)
        s[i] = y ^ (y >> _U(31))


@njit(cache=True, error_model="numpy")
def uniform(s):
    """A number inside (0, 1), 52 bits of xoshiro256++.  Blackman & Vigna (2021), figure 3."""
    b = s[0] + s[3]
    b = ((b << _U(23)) | (b >> _U(41))) + s[0]
    t = s[1] << _U(17)
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= t
    s[3] = (s[3] << _U(45)) | (s[3] >> _U(19))
    return (float(b >> _U(12)) + 0.5) * 2.220446049250313e-16


@njit(cache=True, error_model="numpy")
def _poisson_large(s, mean):
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    while True:
        u = uniform(s) - 0.5
        v = uniform(s)
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2.0):
            return k
        if k < 0.0 or (us < 0.013 and v > us):
            continue
        if math.log(v * inverse_alpha / (a / (us * us) + b)) <= k * math.log(mean) - mean - math.lgamma(k + 1.0):
            return k


@njit(cache=True, error_model="numpy")
def poisson(s, mean):
    """A Poisson count: inversion below 10, transformed rejection PTRS above.  Hörmann (1993), section 3.

    Above 1e30 the mean itself, from which the count differs by less than rounding.
    """
    k = 0.0
    if mean > _HUGE * _HUGE:  # an explosion, and where it overflows rejection would never end
        k = mean
    elif mean >= 10.0:
        k = _poisson_large(s, mean)
    elif mean > 0.0:
        p, u = math.exp(-mean), uniform(s)
        while u > p and k < 200.0:
            u -= p
            k += 1.0
            p *= mean / k
    return k


@njit(cache=True, error_model="numpy")
def _binomial_large(s, n, p):
    q = 1.0 - p
    sd = math.sqrt(n * p * q)
    b = 1.15 + 2.53 * sd
    a = -0.0873 + 0.0248 * b + 0.01 * p
    alpha = (2.83 + 5.1 / b) * sd
    mode = math.floor((n + 1.0) * p)
    top = math.lgamma(mode + 1.0) + math.lgamma(n - mode + 1.0)
    while True:
        u = uniform(s) - 0.5
        v = uniform(s)
        us = 0.5 - abs(u)
        k = math.floor((2.0 * a / us + b) * u + n * p + 0.5)
        if us >= 0.07 and v <= 0.92 - 4.2 / b:
            return k
        if k < 0.0 or k > n:
            continue
        density = top - math.lgamma(k + 1.0) - math.lgamma(n - k + 1.0) + (k - mode) * math.log(p / q)
        if math.log(v * alpha / (a / (us * us) + b)) <= density:
            return k


@njit(cache=True, error_model="numpy")
def binomial(s, n, p):
    """Successes among n trials: inversion below a mean of 10, transformed rejection BTRS above.  Hörmann (1993), section 2.

    p is taken into [0, 1]; above one half the failures are counted.
    """
    p = min(max(p, 0.0), 1.0)
    few = min(p, 1.0 - p)
    k = 0.0
    if n * few >= 10.0:
        k = _binomial_large(s, n, few)
    elif n * few > 0.0:
        share, u = (1.0 - few) ** n, uniform(s)
        while u > share and k < n:
            u -= share
            k += 1.0
            share *= few / (1.0 - few) * (n - k + 1.0) / k
    return k if p <= 0.5 else n - k


@njit(cache=True, error_model="numpy")
def gamma(s, shape):
    """A Gamma time of mean `shape`, at least 1, in units of the mean of one event.  Marsaglia & Tsang (2000), section 4."""
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = math.sqrt(-2.0 * math.log(uniform(s))) * math.cos(2.0 * math.pi * uniform(s))
        v = (1.0 + c * x) ** 3
        if v > 0.0 and math.log(uniform(s)) < 0.5 * x * x + d - d * v + d * math.log(v):
            return d * v


@njit(inline="always", error_model="numpy")
def renew(net, amount, c, x, a, j):
    """a_i = c_i prod binomial(x, n) for every i that depends on reaction j; returns by how much their sum rose.

    Row M of `net` belongs to no reaction and lists them all. Inlined, with one return: as a call it would count
    references in the innermost loop, at up to ten times the run time.
    """
    rise = 0.0
    for k in range(net[j, AFFECTED], net[j, END]):
        i = net[j, k]
        kind = net[i, KIND]
        new = c[i]
        if kind == 2:
            new *= x[net[i, FIRST]]
        elif kind == 3:
            new *= x[net[i, FIRST]] * x[net[i, SECOND]]
        elif kind == 4:
            new *= 0.5 * x[net[i, FIRST]] * (x[net[i, FIRST]] - 1.0)
        elif kind == 5:
            new *= 0.5 * x[net[i, FIRST]] * x[net[i, SECOND]] * (x[net[i, SECOND]] - 1.0)
        elif kind == 6:
            n = x[net[i, FIRST]]
            new *= n * (n - 1.0) * (n - 2.0) / 6.0
        elif kind == 0:
            for m in range(net[i, REACTANTS], net[i, CHANGES]):
                for copy in range(int(amount[i, m])):
                    new *= max(x[net[i, m]] - copy, 0.0) / (copy + 1.0)
        rise += new - a[i]
        a[i] = new
    return rise


@njit(cache=True, error_model="numpy")
def propensities(net, amount, c, x, a):
    """All propensities into `a`, zero where a count is not positive or falls short; returns their sum."""
    renew(net, amount, c, x, a, a.size)
    total = 0.0
    for j in range(a.size):
        low = 1.0
        for k in range(net[j, REACTANTS], net[j, CHANGES]):
            low = min(low, x[net[j, k]])
        a[j] = max(a[j], 0.0) if low > 0.0 else 0.0
        total += a[j]
    return total


@njit(cache=True, error_model="numpy")
def fire_until(net, amount, c, x, a, s, t, stop, budget, halt):
    """Exact events from t to `stop`, at most `budget`: direct method.  Gillespie (1977), section III.

    Only propensities in the dependency graph are renewed. Their sum is carried along and summed afresh
    before rounding can matter. Returns (time, events); the time is `stop` unless the budget was spent or the run
    was halted, and NaN if the sum is not finite.
    """
    last = a.size - 1
    total = propensities(net, amount, c, x, a)
    low = total / 64.0
    fresh = 0
    events = 0
    while events < budget:
        if total <= low or fresh > 4096:
            total = 0.0
            for j in range(last + 1):
                total += a[j]
            low = total / 64.0
            fresh = 0
            if total <= 0.0:
                return stop, events
            if not total < np.inf:
                return np.nan, events
            if halt[0] != 0:
                return t, events
        t -= math.log(uniform(s)) / total
        if t >= stop:
            return stop, events
        target = uniform(s) * total
        j = 0
        reached = a[0]
        while reached < target and j < last:
            j += 1
            reached += a[j]
        if a[j] <= 0.0:
            low = np.inf
            continue
        for k in range(net[j, CHANGES], net[j, AFFECTED]):
            x[net[j, k]] += amount[j, k]
        total += renew(net, amount, c, x, a, j)
        events += 1
        fresh += 1
    return t, events


@njit(cache=True, error_model="numpy")
def put(x, y):
    """x <- y. Written out: for x[:] = y numba compiles a message about shapes, and all that texts need, for seconds."""
    for i in range(x.size):
        x[i] = y[i]


@njit(cache=True, nogil=True, error_model="numpy")
def ssa_runs(
    net, amount, c, x0, stop, record, reset_row, reset_who, reset_count, key, budget, out, events, status, ends, halt
):
    """Every run of an ensemble through all stops: record the state, after the resets that fall on the stop.

    The first run that cannot be finished ends them all.
    """
    a = np.empty(c.shape[1])
    s = np.empty(4, np.uint64)
    x = np.empty(x0.shape[1])
    for r in range(out.shape[0]):
        start_stream(s, key, r)
        put(x, x0[r % x0.shape[0]])
        cr = c[r % c.shape[0]]
        t = 0.0
        for k in range(stop.size):
            before = t
            t, n = fire_until(net, amount, cr, x, a, s, t, stop[k], budget - events[r], halt)
            events[r] += n
            if events[r] >= budget:
                status[r] = SPENT
            elif t < stop[k]:
                return
            elif t != stop[k]:
                status[r] = EXPLODED
                t = before
            if status[r] != DONE:
                ends[r] = t
                return
            for i in range(reset_row[k], reset_row[k + 1]):
                x[reset_who[i]] = reset_count[i]
            if record[k] >= 0:
                put(out[r, record[k]], x)
        ends[r] = t


@njit(cache=True, error_model="numpy")
def relative_change(highest, count, i, eps):
    """max(eps x_i / g_i, 1): how far a count may move.  Cao, Gillespie & Petzold (2006), equations 27 and 33.

    g_i = (p / n)(n + sum_k k / (x_i - k)), k = 1 ... n - 1, for n copies in a reaction of order p; their table is
    this formula for p <= 3.
    """
    n = highest[i, 1]
    g = float(n)
    for k in range(1, n):
        g += k / (count - k) if count > k else np.inf
    return max(eps * count * n / (g * highest[i, 0]), 1.0)


@njit(cache=True, error_model="numpy")
def moments(net, amount, x, a, critical, mu, var):
    """Drift and variance per unit time of every count, over the reactions that are not critical."""
    mu[:] = 0.0
    var[:] = 0.0
    for j in range(a.size):
        if not critical[j]:
            for k in range(net[j, CHANGES], net[j, AFFECTED]):
                mu[net[j, k]] += amount[j, k] * a[j]
                var[net[j, k]] += amount[j, k] * amount[j, k] * a[j]


@njit(cache=True, error_model="numpy")
def choose_step(net, amount, highest, x, a, rule, size, threshold, critical, mu, var):
    """The leap that a rule proposes at x, and the propensity of the critical reactions (CAO only)."""
    total, critical_total = 0.0, 0.0
    for j in range(a.size):
        critical[j] = False
        total += a[j]
        if rule == CAO and a[j] > 0.0:
            for k in range(net[j, CHANGES], net[j, AFFECTED]):
                if amount[j, k] < 0.0 and math.floor(x[net[j, k]] / -amount[j, k]) < threshold:
                    critical[j] = True
            if critical[j]:
                critical_total += a[j]
    tau = np.inf
    if rule == FIXED:
        tau = size
    elif rule in (ACTIVITY, FIRINGS):
        tau = size / total
    else:
        moments(net, amount, x, a, critical, mu, var)
        for i in range(x.size):
            if rule == ABSOLUTE:
                tau = min(tau, size / math.sqrt(mu[i] * mu[i] + var[i]))
            elif highest[i, 0] > 0 and var[i] > 0.0:
                room = relative_change(highest, x[i], i, size)
                tau = min(tau, room * room / var[i], room / abs(mu[i]))
    return tau, critical_total


@njit(inline="always", error_model="numpy")
def fire(net, amount, y, j, times):
    for k in range(net[j, CHANGES], net[j, AFFECTED]):
        y[net[j, k]] += amount[j, k] * times


@njit(cache=True, error_model="numpy")
def lowest(y):
    low = y[0]
    for i in range(1, y.size):
        low = min(low, y[i])
    return low


@njit(cache=True, error_model="numpy")
def leap(net, amount, c, x, y, a, a2, mu, s, tau, scheme, critical):
    """y <- x after one leap of the reactions that are not critical.

    EULER: Poisson(a tau).  Gillespie (2001), equation 8. MIDPOINT: Poisson(a(x + drift tau / 2) tau), his
    equation 19 without rounding. TRAPEZOID: half a leap with a to x', then half a leap with
    (2 a(x') - a)+, weakly of second order.  Anderson & Koyama (2012), algorithm 2 with theta = 1/2.
    """
    for i in range(x.size):
        y[i] = x[i]
    for j in range(a.size):
        a2[j] = a[j]
    if scheme == MIDPOINT:
        for j in range(a.size):
            if not critical[j]:
                fire(net, amount, y, j, 0.5 * a[j] * tau)
        propensities(net, amount, c, y, a2)
        for i in range(x.size):
            y[i] = x[i]
    if scheme == TRAPEZOID:
        tau *= 0.5
        for j in range(a.size):
            if not critical[j]:
                fire(net, amount, y, j, poisson(s, a[j] * tau))
        propensities(net, amount, c, y, a2)
        for j in range(a.size):
            a2[j] = 2.0 * a2[j] - a[j]
    for j in range(a.size):
        if not critical[j]:
            fire(net, amount, y, j, poisson(s, a2[j] * tau))


@njit(cache=True, error_model="numpy")
def fire_together(net, amount, x, y, a, s, firings):
    """y <- x after so many firings, of reaction j with probability a_j / sum a.  Auger, Chatelain & Koumoutsakos (2006).

    Their multinomial is drawn reaction by reaction, a binomial of the firings left.
    """
    rest = 0.0
    for i in range(x.size):
        y[i] = x[i]
    for j in range(a.size):
        rest += a[j]
    for j in range(a.size):
        if firings > 0.0 and a[j] > 0.0:
            times = binomial(s, firings, a[j] / rest)
            fire(net, amount, y, j, times)
            firings -= times
        rest -= a[j]


@njit(cache=True, nogil=True, error_model="numpy")
def leap_runs(
    net, amount, highest, c, x0, stop, record, reset_row, reset_who, reset_count, key, budget, out, count, status, ends, taus,
    rule, size, threshold, burst, scheme, below, halt,
):  # fmt: skip
    """Every run of an ensemble by leaps. count[r] = leaps, exact events, refused leaps, leaps that went below zero.

    CAO is algorithm 2 of Cao, Gillespie & Petzold (2006): no leap worth ten events, then `burst` exact events, which any
    other rule with a burst has of it; else at most one critical event ends the leap. FIRINGS draws the time in which `size` reactions fire; of a leap that a
    stop cuts, all firings but the last fall independently and evenly before and after the stop. A leap that would go below
    zero is refused and halved. The first run that cannot be finished ends them all.
    """
    a, a2, critical = np.empty(c.shape[1]), np.empty(c.shape[1]), np.zeros(c.shape[1], np.bool_)
    x, y, mu, var = np.empty(x0.shape[1]), np.empty(x0.shape[1]), np.empty(x0.shape[1]), np.empty(x0.shape[1])
    s = np.empty(4, np.uint64)
    for r in range(out.shape[0]):
        start_stream(s, key, r)
        put(x, x0[r % x0.shape[0]])
        cr = c[r % c.shape[0]]
        t = 0.0
        for k in range(stop.size):
            while t < stop[k] and status[r] == DONE:
                total = propensities(net, amount, cr, x, a)
                if total <= 0.0:
                    t = stop[k]
                    break
                if not total < np.inf:
                    status[r] = EXPLODED
                    break
                if halt[0] != 0:
                    return
                longest, critical_total = choose_step(
                    net, amount, highest, x, a, rule, size, threshold, critical, mu, var
                )
                firings = math.floor(size + uniform(s)) if rule == FIRINGS else 0.0  # on average `size`
                until = np.inf
                if critical_total > 0.0:
                    until = -math.log(uniform(s)) / critical_total
                while True:
                    if burst > 0 and longest < 10.0 / total:
                        t, n = fire_until(net, amount, cr, x, a, s, t, stop[k], burst, halt)
                        count[r, 1] += n
                        break
                    tau = min(longest, until)
                    if rule == FIRINGS:
                        tau = gamma(s, firings) / total
                    here = t + tau * (1.0 + 1e-9) >= stop[k]
                    if rule == FIRINGS:
                        if here:
                            firings = binomial(s, firings - 1.0, (stop[k] - t) / tau)
                        fire_together(net, amount, x, y, a, s, firings)
                    if here:
                        tau = stop[k] - t
                    if rule != FIRINGS:
                        leap(net, amount, cr, x, y, a, a2, mu, s, tau, scheme, critical)
                    if not here and until <= longest:
                        target = uniform(s) * critical_total
                        chosen = -1
                        for j in range(a.size):
                            if critical[j] and target > 0.0:
                                chosen = j
                                target -= a[j]
                        fire(net, amount, y, chosen, 1.0)
                    if lowest(y) < 0.0:
                        count[r, 3] += 1
                        if below == REFUSE:
                            count[r, 2] += 1
                            longest = 0.5 * tau
                            firings = max(math.floor(0.5 * firings), 1.0)
                            continue
                        if below == CLIP:
                            for i in range(y.size):
                                y[i] = max(y[i], 0.0)
                    put(x, y)
                    if count[r, 0] < taus.shape[1] and r < taus.shape[0]:
                        taus[r, count[r, 0]] = tau
                    count[r, 0] += 1
                    t = stop[k] if here else t + tau
                    break
                for i in range(x.size):
                    if not x[i] <= _HUGE:
                        status[r] = EXPLODED
                if count[r, 0] + count[r, 1] + count[r, 2] >= budget:
                    status[r] = SPENT
            if status[r] != DONE:
                ends[r] = t
                return
            for i in range(reset_row[k], reset_row[k + 1]):
                x[reset_who[i]] = reset_count[i]
            if record[k] >= 0:
                put(out[r, record[k]], x)
        ends[r] = t


@njit(cache=True, error_model="numpy")
def uniformise(row, column, value, start, weights):
    """sum_k weights_k (1 + Q)^k start, Q sparse by rows. Terms below 1e-250 are dropped: denormal numbers are slow.

    A term is 0 outside low ... high - 1, which grows by the matrix's bandwidth at each k; nothing is done there.
    """
    n = start.size
    before, after = 0, 0
    for i in range(n):
        for k in range(row[i], row[i + 1]):
            before = max(before, column[k] - i)
            after = max(after, i - column[k])
    total, term, rise = np.zeros(n), start.copy(), np.zeros(n)
    low, high = 0, n
    for weight in weights:
        while low < high and term[low] == 0.0:
            low += 1
        while low < high and term[high - 1] == 0.0:
            high -= 1
        if weight > 0.0:
            for i in range(low, high):
                total[i] += weight * term[i]
        low, high = max(low - before, 0), min(high + after, n)
        for i in range(low, high):
            rise[i] = 0.0
            for k in range(row[i], row[i + 1]):
                rise[i] += value[k] * term[column[k]]
        for i in range(low, high):
            term[i] += rise[i]
            if term[i] < 1e-250:
                term[i] = 0.0
    return total
