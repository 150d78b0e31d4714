"""Any rule as a `torch.optim.Optimizer`: groups, schedulers, closures, checkpoints, sparse gradients. No formula is here.

A dense parameter is one run, flattened to shape (d,). On the CPU its storage is handed to the rule as NumPy arrays,
in blocks that stay in the cache; on other devices as tensors, whole. A parameter with sparse gradients has one run
per row, shape (rows, d), each with its own clock; rows that a batch does not touch cost nothing and do not change.
"""

from functools import lru_cache

import numpy as np
import torch

from .contract import hyperparameters, leaves, named, rebuild, require_rule, substitute
from .errors import HyperparameterError, ShapeError

#: Coordinates per block: the arrays of one step of Adam, about ten of 4 bytes, fill most of a 2 MB cache.
BLOCK = 2**15

#: What torch's schedulers and helpers keep in a group beside the hyper-parameters.
_BOOKKEEPING = {"params", "param_names", "name", "initial_lr", "max_lr", "min_lr"}


@lru_cache(maxsize=256)
def _with_values(rule, values):
    return substitute(rule, iter(values))


@lru_cache(maxsize=256)
def _structure(rule):
    return rule.init(np.zeros(1))


@lru_cache(maxsize=256)
def _names(rule):
    return tuple(hyperparameters(rule))


def _wide(dtype):
    """The dtype of state and arithmetic: the parameter's, but float32 for half precision."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _array(tensor):
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


class Optimizer(torch.optim.Optimizer):
    """x <- x - rate * direction in place, for every parameter that has a gradient.

    A group may override any hyper-parameter of the rule by its name, wrapped rules included; schedulers set
    them there. State entries are named as in the rule's formula. float16 and bfloat16 parameters keep float32
    state and arithmetic, and are rounded once per step. Gradients are not searched for NaN: that is the
    business of a gradient scaler or of `torch.nn.utils.get_total_norm`.

    compiled=True runs an elementwise rule as one loop of machine code on the CPU (numba; the first step takes half a
    second), over a dense parameter or over the active rows of a sparse one; what else there is runs as before. Results
    agree to rounding.
    """

    def __init__(self, params, rule, *, compiled: bool = False):
        self.rule, self.compiled = require_rule(rule, "Optimizer"), compiled
        if compiled:
            self._kernel()  # a rule without a formula is refused here, not at the first step
        params = params if isinstance(params, (torch.Tensor, dict)) else list(params)
        if isinstance(params, list) and not params:
            raise ShapeError("Optimizer got no parameters; pass model.parameters(), and a generator only once")
        super().__init__(params, hyperparameters(rule))

    def add_param_group(self, param_group):
        """Checks the group's hyper-parameters as the rule itself would, and refuses names that it does not have."""
        if unknown := set(param_group) - _BOOKKEEPING - set(names := _names(self.rule)):
            raise HyperparameterError(
                f"group has {sorted(unknown)}, which {type(self.rule).__name__} lacks; it has {', '.join(names)}"
            )
        self._rule({**self.defaults, **param_group})
        super().add_param_group(param_group)
        if odd := [p for p in self.param_groups[-1]["params"] if not p.is_floating_point()]:
            self.param_groups.pop()
            raise ShapeError(f"a parameter has dtype {odd[0].dtype}; rules need real floats")

    def _values(self, group):
        try:
            return tuple(float(group[name]) for name in _names(self.rule))
        except (TypeError, ValueError):
            raise HyperparameterError("Optimizer takes one number per hyper-parameter; use groups for more") from None

    def _rule(self, group):
        return _with_values(self.rule, self._values(group))

    def _kernel(self):
        from .kernels import kernel

        return kernel(self.rule)

    @torch.no_grad()
    def step(self, closure=None):
        """One step; `closure`, where given, computes the loss and its gradients again and is called once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rule = self._rule(group)
            for p in group["params"]:
                if p.grad is not None and p.numel():
                    (self._step_rows if p.grad.is_sparse else self._step_whole)(rule, p)
                    torch.autograd.graph.increment_version(p)  # NumPy writes are invisible to autograd
        return loss

    def _memory(self, rule, p, shape):
        """The state of `p` as tensors by name, made at its first gradient for runs of this shape."""
        memory = self.state[p]
        if "rows" not in memory:
            x = p.detach().to(_wide(p.dtype)).reshape(shape)
            memory |= {name: leaf.clone() for name, leaf in named(leaves(rule.init(x))).items()}
            memory["rows"] = len(shape) == 2
        elif memory["rows"] != (len(shape) == 2):
            raise ShapeError(
                f"a parameter of shape {tuple(p.shape)} had sparse and dense gradients; choose one, as with Embedding(sparse=...)"
            )
        return [leaf for name, leaf in memory.items() if name != "rows"]

    def _step_whole(self, rule, p):
        memory = [_array(leaf) for leaf in self._memory(rule, p, (-1,))]
        x, g = (a.detach().to(_wide(p.dtype)).reshape(-1) for a in (p, p.grad))
        if self.compiled and p.device.type == "cpu":
            self._kernel()(_array(x), _array(g), memory, hyperparameters(rule).values())
        else:
            self._step_blocks(rule, _array(x), _array(g), memory)
        if not p.is_contiguous() or x.dtype != p.dtype:  # x is a copy
            p.copy_(x.view_as(p))

    def _step_blocks(self, rule, x, g, memory):
        """In place on flat arrays; a rule that looks at the whole gradient, or tensors elsewhere, make one block."""
        d = x.shape[0]
        size = BLOCK if getattr(rule, "elementwise", False) and isinstance(x, np.ndarray) else max(d, 1)
        per_coordinate, new = [leaf.shape[0] == d for leaf in memory], ()
        for block in (slice(start, start + size) for start in range(0, d, size)):
            old = (leaf[block] if own else leaf for leaf, own in zip(memory, per_coordinate, strict=True))
            state, rate, direction = rule.step(rebuild(_structure(self.rule), old), g[block], x[block])
            new = [leaf for _, leaf in leaves(state)]
            for leaf, value, own in zip(memory, new, per_coordinate, strict=True):
                if own:
                    leaf[block] = value
            x[block] -= rate * direction
        for leaf, value, own in zip(memory, new, per_coordinate, strict=False):
            if not own:  # a run's clock moves once, after its last block
                leaf[...] = value

    def _step_rows(self, rule, p):
        if p.grad.sparse_dim() != 1:
            raise ShapeError(f"a sparse gradient of shape {tuple(p.shape)} must be sparse in its first axis only")
        memory = self._memory(rule, p, (len(p), -1))
        if self.compiled and p.device.type == "cpu" and p.dtype == _wide(p.dtype) and p.is_contiguous():
            return self._step_rows_compiled(p, memory, hyperparameters(rule).values())
        grad = p.grad.coalesce()
        size = max(1, BLOCK * len(p) // max(1, p.numel()))
        for rows, values in zip(grad.indices()[0].split(size), grad.values().split(size), strict=True):
            x, g = (a.to(_wide(p.dtype)).reshape(len(rows), -1) for a in (p.detach().index_select(0, rows), values))
            old = (_array(leaf.index_select(0, rows)) for leaf in memory)
            state, rate, direction = rule.step(rebuild(_structure(self.rule), old), _array(g), _array(x))
            for leaf, (_, value) in zip(memory, leaves(state), strict=True):
                leaf.index_copy_(0, rows, torch.as_tensor(value))
            x = torch.as_tensor(_array(x) - rate * direction)
            p.detach().index_copy_(0, rows, x.reshape(values.shape).to(p.dtype))

    def _step_rows_compiled(self, p, memory, values):
        from .row_kernels import coalesce, row_kernel

        values = [float(v) for v in values]
        indices, g = p.grad._indices()[0].numpy(), p.grad._values().detach().reshape(p.grad._nnz(), -1).numpy()
        rows, g = (indices, g) if p.grad.is_coalesced() else coalesce(indices, np.ascontiguousarray(g))
        row_kernel(self.rule)(p.detach().view(len(p), -1).numpy(), g, rows, [leaf.numpy() for leaf in memory], values)

    def load_state_dict(self, state_dict):
        """As torch's, but state keeps its own dtype and is copied; a state of another rule is refused."""
        expected = {*named(leaves(_structure(self.rule))), "rows"}
        for memory in state_dict["state"].values():
            if set(memory) != expected:
                raise ShapeError(
                    f"state_dict holds {sorted(memory)}, {type(self.rule).__name__} keeps {sorted(expected)}; "
                    "load it into an Optimizer of the same rule"
                )
        super().load_state_dict(state_dict)
        saved = (index for group in state_dict["param_groups"] for index in group["params"])
        for index, p in zip(saved, (p for group in self.param_groups for p in group["params"]), strict=True):
            for name, leaf in state_dict["state"].get(index, {}).items():
                if name != "rows":
                    self.state[p][name] = leaf.to(p.device, _wide(p.dtype), copy=True)

    def __getstate__(self):
        return super().__getstate__() | {"rule": self.rule, "compiled": self.compiled}

    def __repr__(self):
        return f"{self.rule!r} as {super().__repr__()}"
