"""Flat tensors on the CPU as a table of addresses, so that one compiled call steps all parameters of a group.

Machine code sees neither shapes nor strides. What it relies on is checked when a table is made, and compared before every call.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain, pairwise
from operator import attrgetter, ge
from weakref import ref

import numpy as np
import torch

# to be mapped over many tensors
_address, _numel, _contiguous = torch.Tensor.data_ptr, torch.Tensor.numel, torch.Tensor.is_contiguous
_negative, _dtype, _device = torch.Tensor.is_neg, attrgetter("dtype"), attrgetter("device")

#: What may be addressed; a subclass, as DTensor is, may keep its numbers elsewhere.
PLAIN = {torch.Tensor, torch.nn.Parameter}

#: Coordinates for which a thread of its own is worth the hand-over, about 30 microseconds.
GRAIN = 2**17


def on_cpu(t: torch.Tensor) -> bool:
    """Whether the numbers of `t` lie in the memory of this process."""
    return t.is_cpu and has_address(t)


def has_address(t: torch.Tensor) -> bool:
    """Whether the numbers of `t` lie where its address and strides say, in memory or on a GPU."""
    return type(t) in PLAIN and (t.is_cpu or t.is_cuda) and t.layout is torch.strided


def addressable(t: torch.Tensor) -> bool:
    """Whether an address and a length say all about `t`: contiguous, not to be negated, and within its storage."""
    return on_cpu(t) and packed(t)


def packed(t: torch.Tensor) -> bool:
    """The same of a tensor with an address, on a GPU too."""
    return t.is_contiguous() and not t.is_neg() and t.data_ptr() + t.nbytes <= _end(t.untyped_storage())


def _end(storage):
    return storage.data_ptr() + storage.nbytes()


def beyond_storage(t: torch.Tensor) -> bool:
    """Whether a tensor with an address reaches beyond its storage, which somebody has resized."""
    last = sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True))
    return t.numel() > 0 and t.data_ptr() + (last + 1) * t.element_size() > _end(t.untyped_storage())


def overlaps_itself(t: torch.Tensor) -> bool:
    """Whether two numbers of a tensor have one place in memory, as after `expand`."""
    reach = 1
    for stride, size in sorted((stride, size) for size, stride in zip(t.shape, t.stride(), strict=True) if size > 1):
        if stride < reach:
            return True
        reach += stride * (size - 1)
    return False


def shares_storage(a: torch.Tensor, tensors) -> bool:
    """Whether `a` lies in the storage of one of the tensors."""
    return a.untyped_storage().data_ptr() in {t.untyped_storage().data_ptr() for t in tensors}


def flat(t: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`t` as one run of shape (d,): its own memory where that is contiguous and of this dtype, else a copy."""
    t = t.detach().to(dtype)
    return t.view(-1) if addressable(t) else t.resolve_neg().reshape(-1).contiguous()


def pieces(sizes: list[int], parts: int) -> list[np.ndarray]:
    """Runs of these sizes in `parts` shares of equal length, each as rows (run, start, stop)."""
    ends = np.cumsum([0, *sizes])
    cuts = np.linspace(0, ends[-1], parts + 1).astype(np.int64)
    shares = []
    for low, high in pairwise(cuts):
        start, stop = (np.clip(cut - ends[:-1], 0, sizes) for cut in (low, high))
        (runs,) = np.nonzero(stop > start)
        shares.append(np.stack([runs, start[runs], stop[runs]], axis=1))
    return shares


class Batch:
    """Parameters with the leaves of their states, contiguous and of one dtype on the CPU, stepped in place by one compiled call.

    `run` is a `kernels.batch_kernel`; leaves[i] belong to params[i], gradients have the dtype of the parameters or the one
    given. `disjoint` says that no two of the tensors share memory; others are stepped one by one. The storages are not kept
    alive, but while they live nobody else gets their addresses.
    """

    def __init__(
        self, run: Callable, params: list[torch.Tensor], leaves: list[list[torch.Tensor]], gradient_dtype=None
    ):
        tensors = [*params, *chain.from_iterable(leaves)]
        self.run, self.gradients, self.shares = run, None, {}
        self.device, self.gradient_dtype = params[0].device, gradient_dtype or params[0].dtype
        self.shapes, self.sizes = [p.shape for p in params], [p.numel() for p in params]
        self.lengths = [n * self.gradient_dtype.itemsize for n in self.sizes]
        self.total, rows = sum(self.sizes), zip(params, leaves, strict=True)
        self.storages = [ref(t.untyped_storage()) for t in tensors]
        self.seats = self._seats(params, tensors[len(params) :])
        self.addresses = np.array([[p.data_ptr(), 0, *map(_address, own)] for p, own in rows], np.int64)
        spans = sorted((t.data_ptr(), t.data_ptr() + t.nbytes) for t in tensors)
        self.starts, self.ends = np.array([*spans, (2**63 - 1, 2**63 - 1)]).T
        self.disjoint = bool((self.starts[1:] >= self.ends[:-1]).all())

    def _seats(self, params, leaves):
        """What must not change between a check and a call; AttributeError where a storage is no more."""
        tensors = [*params, *leaves]
        return [
            *map(id, tensors),
            *map(_address, tensors),
            *[storage().nbytes() for storage in self.storages],
            *map(_dtype, params),
            *map(_numel, params),
            all(map(_contiguous, params)),
        ]

    def fits(self, params: list[torch.Tensor], leaves: list[torch.Tensor], gradients: list[torch.Tensor]) -> bool:
        """Whether these are the tensors that were checked, where and as they were, and gradients readable."""
        size = self.gradient_dtype.itemsize
        rooms = (g.untyped_storage().nbytes() - size * g.storage_offset() for g in gradients)
        return (
            [g.shape for g in gradients] == self.shapes
            and self._seats(params, leaves) == self.seats
            and {*map(type, gradients)} <= PLAIN
            and {*map(_dtype, gradients)} == {self.gradient_dtype}
            and {*map(_device, gradients)} == {self.device}
            and all(map(_contiguous, gradients))
            and not any(map(_negative, gradients))
            and all(map(ge, rooms, self.lengths))
        )

    def step(self, gradients: list[torch.Tensor], values: tuple[float, ...], **scaling: torch.Tensor | None) -> None:
        """One step of every run. A gradient, as long as its run, is copied first where it lies in memory that is written."""
        addresses = list(map(_address, gradients))
        if addresses != self.gradients:
            self.gradients = addresses if self._point_to(gradients, np.array(addresses)) else None
        self._call(gradients, values, **scaling)

    def _call(self, gradients, values):
        threads = min(torch.get_num_threads(), 1 + self.total // GRAIN)
        if threads == 1:
            self.run(self.addresses, self._shares(1)[0], True, *values)
        else:
            calls = [(self.addresses, share, False, *values) for share in self._shares(threads)]
            list(_pool(threads, os.getpid()).map(lambda call: self.run(*call), calls))
            # clocks move once, when all pieces are done: pieces of no length
            self.run(self.addresses, self._shares(1)[0] * [1, 0, 0], True, *values)

    def _point_to(self, gradients, starts) -> bool:
        """Fill in the addresses of gradients, or of copies; whether there was nothing to copy."""
        written = self.starts[np.searchsorted(self.ends, starts, side="right")] < starts + self.lengths
        for k in np.nonzero(written)[0]:
            gradients[k] = gradients[k].clone()
            starts[k] = gradients[k].data_ptr()
        self.addresses[:, 1] = starts
        return not written.any()

    def _shares(self, threads):
        if threads not in self.shares:
            self.shares[threads] = pieces(self.sizes, threads)
        return self.shares[threads]


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """A forked process has none of its parent's threads: it starts its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="stepsize")
