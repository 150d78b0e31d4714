"""Products of matrices that are too small for BLAS, and tanh, for compiled loops that finish one network before the next.

A batched product of torch takes a pass through all networks for every operation. Here what belongs to one network stays in the
cache, and a call from compiled code costs nothing.
"""

import numba

#: Sums may be reordered for vector units; NaN and infinity are kept.
compiled = numba.njit(cache=True, fastmath={"reassoc", "contract"}, error_model="numpy")

#: 1 / n!, n = 1 ... 10.
_C1, _C2, _C3, _C4, _C5 = 1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120
_C6, _C7, _C8, _C9, _C10 = 1 / 720, 1 / 5040, 1 / 40320, 1 / 362880, 1 / 3628800


def _add_product(a, M, out):
    """out <- out + a M for a (n, m), M (m, k), out (n, k); the rows of M and out are contiguous, a may be a transpose.

    Four rows of M at once, so that out is read and written a quarter as often; two rows of out, so that what is loaded of M
    serves both; 64 rows of out in turn, so that they stay in the cache meanwhile.
    """
    n, m = a.shape
    whole = m - m % 4
    for first in range(0, n, 64):
        end = min(first + 64, n)
        for k in range(0, whole, 4):
            for i in range(first, end - 1, 2):
                a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
                b0, b1, b2, b3 = a[i + 1, k], a[i + 1, k + 1], a[i + 1, k + 2], a[i + 1, k + 3]
                for j in range(M.shape[1]):
                    m0, m1, m2, m3 = M[k, j], M[k + 1, j], M[k + 2, j], M[k + 3, j]
                    out[i, j] += a0 * m0 + a1 * m1 + a2 * m2 + a3 * m3
                    out[i + 1, j] += b0 * m0 + b1 * m1 + b2 * m2 + b3 * m3
            for i in range(end - (end - first) % 2, end):
                a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
                for j in range(M.shape[1]):
                    out[i, j] += a0 * M[k, j] + a1 * M[k + 1, j] + a2 * M[k + 2, j] + a3 * M[k + 3, j]
        for k in range(whole, m):
            for i in range(first, end):
                a0 = a[i, k]
                for j in range(M.shape[1]):
                    out[i, j] += a0 * M[k, j]


add_product = compiled(_add_product)


@compiled
def tanh(z):
    """z <- tanh z = -m / (m + 2) with m = exp(-2 z) - 1, for z (n, k); to 1e-15, relative.

    m is the power series at -2 z / 256 and eight doublings, m <- m (m + 2). Neither tables nor branches, so that vector units
    do it without a library of theirs. Beyond 20 tanh is 1 to rounding; NaN stays.
    """
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            y = z[i, j]
            y = 20.0 if y > 20.0 else y
            y = -20.0 if y < -20.0 else y
            y *= -2 / 256
            m = y * (
                _C1
                + y
                * (_C2 + y * (_C3 + y * (_C4 + y * (_C5 + y * (_C6 + y * (_C7 + y * (_C8 + y * (_C9 + y * _C10))))))))
            )
            m *= m + 2
            m *= m + 2
            m *= m + 2
            m *= m + 2
            m *= m + 2
            m *= m + 2
            m *= m + 2
            m *= m + 2
            z[i, j] = -m / (m + 2)
