"""A rule as one Triton kernel, traced from its `step`: all tensors of a group in one launch, by the table of their addresses.

    kernel(Adam())     the kernel, compiled for each dtype at its first launch
    DeviceBatch(...)   parameters of an Optimizer with their states, on the GPU, stepped by it

Hyper-parameters are arguments of the launch. Clocks and weights stay on the device, where the last block of a tensor
moves them: a step needs no synchronisation, and a CUDA graph that captured one makes the next at every replay.
With TRITON_INTERPRET=1 the kernels run on tensors on the CPU, slowly: that is how they are tested without a GPU.
"""

import hashlib
import linecache
import os
from contextlib import nullcontext
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch

from .addresses import Batch, has_address
from .errors import TraceError
from .kernels import Dialect, parts

#: Coordinates per block, and warps that share them: 8 coordinates a thread, in two loads.
BLOCK, WARPS = 1024, 4

#: What CUDA graphs read at their replays, whoever keeps them, for as long as the process lives: some kilobytes a capture.
_CAPTURED = []

#: What the kernel converts by itself when it reads a gradient.
READABLE = {torch.float16, torch.bfloat16, torch.float32, torch.float64}

TRITON = Dialect(
    {"Max": "max", "Min": "min", "sign": "sign", "sqrt": "sqrt"},
    "quotient({}, {})",
    "tl.full((), {}, DTYPE)",
    norm="norm_",
)

#: Division and root are those of IEEE 754, as on the CPU; Triton's own round otherwise in float32. NaN is kept.
_FUNCTIONS = """
import triton
import triton.language as tl


@triton.jit
def quotient(a, b):
    return tl.div_rn(a, b) if b.dtype == tl.float32 else a / b


@triton.jit
def sqrt(a):
    return tl.sqrt_rn(a) if a.dtype == tl.float32 else tl.sqrt(a)


@triton.jit
def max(a, b):
    return tl.where(a > b, a, tl.where(a == a, b, a))


@triton.jit
def min(a, b):
    return tl.where(a < b, a, tl.where(a == a, b, a))


@triton.jit
def sign(a):
    return tl.where(a > 0, 1, tl.where(a < 0, -1, a))


@triton.jit
def array(PLACE, TYPE: tl.constexpr, ALIGNED: tl.constexpr):
    pointer = tl.load(PLACE).to(tl.pointer_type(TYPE))
    # 4 coordinates a load, also of 16 bits: with 8 each thread would get 8 of the 32 bits beside them, in half-used lines
    return tl.multiple_of(pointer, 8 if TYPE.primitive_bitwidth == 16 else 16) if ALIGNED else pointer
"""


def source(rule) -> str:
    """The kernel of a rule as text. A row of TABLE holds the addresses of x, g and the leaves, and the number of coordinates.

    A row of WORK holds what a block does: its run, and its place among the blocks of that run. Nothing is written where FOUND
    is not 0; g is divided by SCALE. TURNS counts the blocks of a run that have read its clocks: the last one moves them.

    The count is relaxed, as any stronger order makes a block wait for its stores. It needs none: what a warp stores depends on
    the clocks, so these have been read when it reaches the barrier behind its stores, and the count is behind the barrier.
    The last block writes clocks only if its count says so, and no block reads what another has written in the same launch.
    """
    t, per_run, arrays, before, body = parts(rule, TRITON)
    if powers := [line for line in before if "**" in line]:
        raise TraceError(f"no kernel for powers in the constants of a rule, as in {powers[0]}; multiply instead")
    columns = {name: c for c, name in enumerate(("x", "g", *t.state))}
    types = {"x": "X_TYPE", "g": "G_TYPE"}
    clips = any(TRITON.norm in line for line in before)

    def coordinates(mask):
        return [
            f"x = tl.load(x_ + AT{mask}).to(DTYPE)",
            f"g = tl.load(g_ + AT{mask}).to(DTYPE)",
            "if SCALED:",
            "    g = quotient(g, UNIT)",
            *(f"{name} = tl.load({name}_ + AT{mask})" for name in arrays),
            *before,  # after the loads, which need not wait for double precision
            *body,
            *(f"tl.store({name}_ + AT, {t.new[name]}{mask})" for name in arrays),
            f"tl.store(x_ + AT, (x - rate * direction).to(X_TYPE){mask})",
        ]

    lines = [
        '@triton.jit(do_not_specialize_on_alignment=["FOUND", "SCALE", "NORMS"])',
        f"def run(TABLE, WORK, TURNS, FOUND, SCALE, NORMS, {''.join(f'{h}: tl.float64, ' for h in t.hyperparameters)}"
        "X_TYPE: tl.constexpr, G_TYPE: tl.constexpr, DTYPE: tl.constexpr, SCALED: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr):",
        "    K = tl.load(WORK + 2 * tl.program_id(0))",
        "    START = tl.load(WORK + 2 * tl.program_id(0) + 1) * BLOCK",
        f"    ROW = TABLE + {len(columns) + 1} * K",
        f"    SIZE = tl.load(ROW + {len(columns)})",
        "    FINITE = tl.load(FOUND) == 0",
        "    UNIT = tl.load(SCALE).to(DTYPE)",
        *(["    norm_ = tl.load(NORMS + K).to(tl.float64) / tl.load(SCALE).to(tl.float64)"] if clips else []),
        *(f"    {name}_ = array(ROW + {columns[name]}, DTYPE, False)" for name in per_run),
        *(f"    {name} = tl.load({name}_).to(tl.float64)" for name in per_run),
        *(
            f"    {name}_ = array(ROW + {columns[name]}, {types.get(name, 'DTYPE')}, ALIGNED)"
            for name in ("x", "g", *arrays)
        ),
        "    AT = START + tl.arange(0, BLOCK)",
        "    if FINITE & (START + BLOCK <= SIZE):",
        *(f"        {line}" for line in coordinates("")),
        "    elif FINITE:",
        *(f"        {line}" for line in coordinates(", mask=AT < SIZE")),
    ]
    if per_run:
        lines += [
            "    tl.debug_barrier()",  # all warps of this block have read the clocks
            "    if tl.atomic_add(TURNS + K, 1, sem='relaxed') == (SIZE - 1) // BLOCK:",
            "        tl.store(TURNS + K, 0)",
            "        if FINITE:",
            *(f"            {line}" for line in before[: len(per_run)]),
            *(f"            tl.store({name}_, tl.full((), {t.new[name]}, DTYPE))" for name in per_run),
        ]
    return "\n".join([_FUNCTIONS, "", *lines, ""])


@lru_cache
def _compiled(text: str, interpreted: bool):
    """The text's kernel; Triton decides at this moment whether it will be interpreted, and reads the lines of a function."""
    name = f"<kernel {hashlib.sha256(text.encode()).hexdigest()[:24]}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    space = {"__name__": __name__}
    exec(compile(text, name, "exec"), space)
    return space["run"]


def _interpreted():
    return os.environ.get("TRITON_INTERPRET") == "1"


def kernel(rule):
    """The Triton kernel of a rule, see `source`. TraceError where it has no formula by coordinates, or Triton is missing."""
    if not find_spec("triton"):
        raise TraceError("a kernel for the GPU is compiled by Triton, which is not installed; pip install triton")
    return _compiled(source(rule), _interpreted())


@lru_cache(maxsize=256)
def has_kernel(rule) -> bool:
    """Whether the rule has a kernel here; another runs on the GPU by torch's operators."""
    try:
        kernel(rule)
    except TraceError:
        return False
    return True


def on_device(t: torch.Tensor) -> bool:
    """Whether a kernel can reach the numbers of `t`."""
    return has_address(t) and (t.is_cuda or _interpreted())


class DeviceBatch(Batch):
    """As `Batch`, on a GPU: parameters of one dtype, gradients of another, states and arithmetic of `wide`."""

    def __init__(self, rule, params, leaves, gradient_dtype, wide):
        super().__init__(kernel(rule), params, leaves, gradient_dtype)
        traced, per_run, *_ = parts(rule, TRITON)
        self.arrays = [0, 1, *(c for c, name in enumerate(traced.state, 2) if name not in per_run)]
        self.clips, self.spare = TRITON.norm in "\n".join(parts(rule, TRITON)[3]), []
        self.cuda, self.block, self.launchers = self.device.type == "cuda", BLOCK, {}
        blocks = -(-np.array(self.sizes) // BLOCK)
        runs = np.repeat(np.arange(len(params)), blocks)
        places = np.arange(len(runs)) - np.repeat(np.cumsum(blocks) - blocks, blocks)
        (_, self.work), self.grid = self._sent(np.stack([runs, places], axis=1)), (len(runs), 1, 1)
        self.turns = torch.zeros(len(params), dtype=torch.int32, device=self.device)
        self.zero, self.one = (f(1, dtype=torch.float32, device=self.device) for f in (torch.zeros, torch.ones))
        self.here = torch.cuda.device(self.device) if self.cuda else nullcontext()
        self.exact = torch.promote_types(wide, gradient_dtype)
        language = import_module("triton.language")
        dtypes = params[0].dtype, gradient_dtype, wide
        self.types = [getattr(language, str(dtype).removeprefix("torch.")) for dtype in dtypes]

    def _capturing(self):
        return self.cuda and torch.cuda.is_current_stream_capturing()

    def _sent(self, numbers):
        """The numbers in pinned memory, and on the device, where they arrive without anybody's waiting."""
        numbers = torch.from_numpy(np.ascontiguousarray(numbers))
        if self._capturing() and self.spare:
            pinned = self.spare.pop().copy_(numbers)  # during a capture no memory is to be pinned
        else:
            pinned = numbers.pin_memory() if self.cuda else numbers
        return pinned, pinned.to(self.device, non_blocking=True)

    def _point_to(self, gradients, starts):
        nothing_to_copy = super()._point_to(gradients, starts)
        self.aligned = not (self.addresses[:, self.arrays] % 16).any()
        table = np.column_stack([self.addresses, self.sizes])
        self.pinned, self.table = self._sent(table)
        if not self._capturing() and not self.spare:
            self.spare = [torch.empty(table.shape, dtype=torch.int64, pin_memory=self.cuda)]
        return nothing_to_copy

    def _call(self, gradients, values, found_inf=None, grad_scale=None):
        if self._capturing():  # every replay reads these again; and a table made now arrives at the first one
            _CAPTURED.append((self.pinned, self.table, self.work, self.turns, self.zero, self.one))
            self.gradients = None
        found, scale = (
            one if t is None else t.to(self.device, torch.float32, non_blocking=True)
            for t, one in ((found_inf, self.zero), (grad_scale, self.one))
        )
        norms = torch.stack(torch._foreach_norm(gradients, 2, self.exact)) if self.clips else self.zero
        fixed = grad_scale is not None, self.aligned
        pointers = self.table, self.work, self.turns, found, scale, norms
        arguments = *pointers, *values, *self.types, *fixed, self.block
        with self.here:
            if fixed in self.launchers:
                self.launchers[fixed](*arguments)
            elif compiled := self.run[self.grid](*arguments, num_warps=WARPS):  # the interpreter gives nothing
                # these two and the batch fix all that Triton compiles for, and what it would look up at every launch
                self.launchers[fixed] = compiled[self.grid]
