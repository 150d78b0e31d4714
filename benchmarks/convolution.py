"""Graph convolution in torch on a symmetric adjacency: its own way back, no second sparse matrix, no extension to install."""

import warnings

import numpy as np
import torch

from companion.experiments.compiled import compiled
from companion.experiments.graph_hubs.graphs import Graph, adjacency
from stepsize.errors import ShapeError

#: Columns up to which torch's sparse product is the faster one.
NARROW = 32


def _wide_product(start, neighbour, weight, x, out):
    """out <- A x, rows of A from start[i] to start[i + 1]; four neighbours at a time, so that a sum is stored a fourth as often."""
    columns = x.shape[1]
    for i in range(start.size - 1):
        total, e, end = out[i], start[i], start[i + 1]
        total[:] = 0
        while e + 4 <= end:
            a, b, c, d = weight[e], weight[e + 1], weight[e + 2], weight[e + 3]
            p, q, r, s = x[neighbour[e]], x[neighbour[e + 1]], x[neighbour[e + 2]], x[neighbour[e + 3]]
            for k in range(columns):
                total[k] += a * p[k] + b * q[k] + c * r[k] + d * s[k]
            e += 4
        for last in range(e, end):
            a, p = weight[last], x[neighbour[last]]
            for k in range(columns):
                total[k] += a * p[k]


wide_product = compiled(_wide_product)


def _product(A, x):
    if x.shape[1] <= NARROW:
        return A @ x
    out, parts = torch.empty_like(x), (A.crow_indices(), A.col_indices(), A.values(), x.detach())
    wide_product(*(part.numpy() for part in parts), out.numpy())
    return out


class _Symmetric(torch.autograd.Function):
    """y = A x with A = A^T, so that dL/dx = A dL/dy: autograd's own backward would transpose A at every step."""

    @staticmethod
    def forward(ctx, A, x):
        ctx.A = A
        return _product(A, x.contiguous())

    @staticmethod
    def backward(ctx, y):
        return None, _product(ctx.A, y.contiguous())


class _Hidden(torch.autograd.Function):
    """y = relu(s W0) W1 for many rows and few columns: s (n, F), W0 (F, h), W1 (h, k).

    Products with a long and a short side take the long side as columns, W1^T h^T: a third of the time of the other way
    around. Autograd has the other one on its way back, and hands relu's mask a transposed gradient to read in strides.
    """

    @staticmethod
    def forward(ctx, s, W0, W1):
        h = (s @ W0).relu_()
        ctx.save_for_backward(s, h, W0, W1)
        return (W1.T @ h.T).T.contiguous()

    @staticmethod
    def backward(ctx, y):
        s, h, W0, W1 = ctx.saved_tensors
        y = y.contiguous()
        inner = torch.ops.aten.threshold_backward(y @ W1.T, h, 0)
        return inner @ W0.T if ctx.needs_input_grad[0] else None, s.T @ inner, (y.T @ h).T


class Propagation:
    """x -> D^-1/2 (A + I) D^-1/2 x for x (n, k), differentiable.  Kipf & Welling (2017), section 2.

    CSR with 32-bit indices: half the index traffic of torch's default, and what its multiplication is compiled for.
    """

    def __init__(self, graph: Graph, dtype=torch.float32):
        A = adjacency(graph, dtype=torch.empty(0, dtype=dtype).numpy().dtype)
        parts = A.indptr.astype(np.int32), A.indices.astype(np.int32), A.data
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
            self.A = torch.sparse_csr_tensor(*map(torch.from_numpy, parts), size=A.shape, check_invariants=True)

    def __call__(self, x):
        if x.ndim != 2 or x.shape[0] != self.A.shape[0]:
            raise ShapeError(
                f"Propagation expects x of shape ({self.A.shape[0]}, k), got {tuple(x.shape)}; one row per node"
            )
        if (x.dtype, x.device) != (self.A.dtype, self.A.device):
            raise ShapeError(
                f"Propagation has {self.A.dtype} on {self.A.device}, x {x.dtype} on {x.device}; pass dtype= or convert x"
            )
        return _Symmetric.apply(self.A, x)


class TwoLayers(torch.nn.Module):
    """A relu(A X W0) W1.  Kipf & Welling (2017), equation 9. `smoothed` is A X, computed once; see `Propagation`."""

    def __init__(self, features: int, hidden: int, classes: int, generator: torch.Generator | None = None):
        super().__init__()
        self.W0, self.W1 = (torch.nn.Parameter(torch.empty(s)) for s in ((features, hidden), (hidden, classes)))
        for W in (self.W0, self.W1):
            torch.nn.init.xavier_uniform_(W, generator=generator)

    def forward(self, propagate: Propagation, smoothed):
        return propagate(_Hidden.apply(smoothed, self.W0, self.W1))
