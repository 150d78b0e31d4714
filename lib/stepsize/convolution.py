"""Graph convolution in torch on a symmetric adjacency: its own way back, no second sparse matrix, no extension to install."""

import numpy as np
import torch

from .errors import ShapeError
from .graphs import Graph, adjacency


class _Symmetric(torch.autograd.Function):
    """y = A x with A = A^T, so that dL/dx = A dL/dy: autograd's own backward would transpose A at every step."""

    @staticmethod
    def forward(ctx, A, x):
        ctx.A = A
        return A @ x

    @staticmethod
    def backward(ctx, y):
        return None, ctx.A @ y.contiguous()


class Propagation:
    """x -> D^-1/2 (A + I) D^-1/2 x for x (n, k), differentiable.  Kipf & Welling (2017), section 2.

    CSR with 32-bit indices: half the index traffic of torch's default, and what its multiplication is compiled for.
    """

    def __init__(self, graph: Graph, dtype=torch.float32):
        A = adjacency(graph, dtype=torch.empty(0, dtype=dtype).numpy().dtype)
        parts = A.indptr.astype(np.int32), A.indices.astype(np.int32), A.data
        self.A = torch.sparse_csr_tensor(*map(torch.from_numpy, parts), size=A.shape, check_invariants=True)

    def __call__(self, x):
        if x.ndim != 2 or x.shape[0] != self.A.shape[0]:
            raise ShapeError(
                f"Propagation expects x of shape ({self.A.shape[0]}, k), got {tuple(x.shape)}; one row per node"
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
        return propagate(torch.relu(smoothed @ self.W0) @ self.W1)
