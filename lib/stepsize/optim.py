"""Any rule as a `torch.optim.Optimizer`: groups, schedulers, closures, checkpoints, sparse gradients. No formula is here.

A dense parameter is one run, flattened to shape (d,). All parameters of a group are stepped by one call of machine code on
the CPU, by one launch of a kernel on a GPU. Where there is none, the rule sees their storage on the CPU as NumPy arrays, in
blocks that stay in the cache; on other devices, and for subclasses of tensors, it sees tensors, whole. A parameter with
sparse gradients has one run per row, shape (rows, d), each with its own clock; rows that a batch does not touch cost nothing
and do not change.
"""

from functools import lru_cache
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch

from . import gpu
from .addresses import PLAIN, Batch, addressable, flat, has_address, on_cpu, packed, shares_storage
from .checks import (
    WIDE,
    betas_of,
    blueprint,
    kind_faults,
    leaf_names,
    names_of,
    require_settings,
    runs,
    state_faults,
    step_faults,
    structure,
)
from .contract import hyperparameters, leaves, named, rebuild, require_rule, substitute
from .conversion import from_torch, to_torch
from .errors import HyperparameterError, ShapeError, TraceError
from .kernels import batch_kernel, coalesce, kernel, row_kernel

#: Coordinates per block: the arrays of one step of Adam, about ten of 4 bytes, fill most of a 2 MB cache.
BLOCK = 2**15


@lru_cache(maxsize=256)
def _with_values(rule, values):
    return substitute(rule, iter(values))


@lru_cache(maxsize=256)
def _has_kernel(rule):
    try:
        kernel(rule)
    except TraceError:
        return False
    return True


def _plain(value):
    """A number as a checkpoint may hold it; a tensor stays, a scheduler writes into it."""
    return value if isinstance(value, torch.Tensor) else float(value)


def _numbers(values):
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise HyperparameterError("Optimizer takes one number per hyper-parameter; use groups for more") from None


def _arrays(*tensors):
    """The memory of the tensors as NumPy arrays where all have theirs here, else the tensors."""
    return [t.numpy() for t in tensors] if all(map(on_cpu, tensors)) else list(tensors)


class _Look(NamedTuple):
    """What a group was at its last check: its entries' names, its rule, the values of the rule, its betas."""

    names: tuple
    rule: Any
    values: tuple[float, ...]
    betas: tuple[float, ...] | None


def _unchanged(group, names, seen):
    try:
        now = tuple([group[name] for name in names])
        return now == seen.values and group.get("betas") == seen.betas and tuple(group) == seen.names
    except (KeyError, ValueError, RuntimeError):  # an entry is missing, or an array
        return False


class Optimizer(torch.optim.Optimizer):
    """x <- x - rate * direction in place, for every parameter that has a gradient; all of them, or none where one does not fit.

    A group may override any hyper-parameter of the rule by its name, wrapped rules included; schedulers set
    them there. `betas`, which OneCycleLR and CyclicLR write, is another name for beta1 and beta2. Other entries of a group
    are kept, but not a setting that would have no effect. State entries are named as in the rule's formula. float16 and
    bfloat16 parameters keep float32 state and arithmetic, and are rounded once per step. Gradients are not searched for
    NaN: that is the business of a gradient scaler or of `torch.nn.utils.get_total_norm`.

    On the CPU an elementwise rule runs as one loop of machine code (numba; the first step of a rule takes half a second),
    over all dense parameters of a group, on `torch.get_num_threads()` threads where they are large, or over the active rows
    of a sparse one. compiled=True refuses a rule for which there is none, compiled=False takes NumPy. Results agree to
    rounding.

    On a GPU an elementwise rule, also behind `ClipByNorm`, is one Triton kernel over all dense parameters of a group, without
    a synchronisation; a CUDA graph may capture it, with the hyper-parameters of that moment. One that is itself a tensor on
    the GPU is read back at every step, which waits. As torch's fused optimizers, it divides gradients by `grad_scale` and does
    nothing where `found_inf` is not 0, two attributes that a gradient scaler sets; the gradients themselves stay scaled.
    """

    def __init__(self, params, rule, *, compiled: bool | None = None):
        self.rule, self.compiled, self._batches, self._looks = require_rule(rule, "Optimizer"), compiled, {}, {}
        if compiled:
            kernel(rule)  # a rule without a formula is refused here, not at the first step
        params = params if isinstance(params, (torch.Tensor, dict)) else list(params)
        if isinstance(params, list) and not params:
            raise ShapeError("Optimizer got no parameters; pass model.parameters(), and a generator only once")
        values = hyperparameters(rule)
        _numbers(values.values())
        defaults = {name: _plain(value) for name, value in values.items()}
        if names := betas_of(rule):
            defaults["betas"] = _numbers(defaults[name] for name in names)
        super().__init__(params, defaults)

    @classmethod
    def from_torch(cls, optimizer: torch.optim.Optimizer, *, compiled: bool | None = None):
        """One that goes on as torch's Adam, AdamW, RMSprop, Adagrad or SGD would, in the middle of a training.

        The state is copied. HyperparameterError where no rule makes the same steps. A schedule is to be made anew.
        """
        rule, groups, states = from_torch(optimizer)
        ours = cls(groups, rule, compiled=compiled)
        ours.state.update(states)
        return ours

    def to_torch(self) -> torch.optim.Optimizer:
        """torch's optimizer that goes on as this one would, with a copy of the state; the way back from `from_torch`."""
        return to_torch(self)

    # ------------------------------------------------------------ groups

    def add_param_group(self, param_group):
        """Checks the group's hyper-parameters as the rule itself would, and refuses settings that it would ignore."""
        group = {**self.defaults, **param_group}
        values, betas = self._values(group, self.defaults.get("betas"))
        rule = _with_values(self.rule, values)
        param_group.update(group, **{name: _plain(group[name]) for name in names_of(self.rule)})
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if fault := next(kind_faults(p), None):
                self.param_groups.pop()
                raise ShapeError(f"a parameter of shape {tuple(p.shape)} {fault}")
        self._looks[len(self.param_groups) - 1] = _Look(tuple(param_group), rule, values, betas)

    def _values(self, group, agreed):
        """The hyper-parameters of a group as numbers, and its betas.

        beta1 and beta2 are there twice: under their own names, and as `betas`. Whichever differs from what they agreed on
        last has been set since, and counts.
        """
        # torch itself puts differentiable=False among the defaults of what comes from a pickle
        require_settings(self.rule, tuple(name for name in group if name != "differentiable" or group[name]))
        betas = None
        if names := betas_of(self.rule):
            own = _numbers(group[name] for name in names)
            betas = _numbers(group.get("betas", own))
            if own != betas:
                if len(betas) != len(names) or agreed not in (own, betas, None):
                    raise HyperparameterError(
                        f"a group has betas {betas}, but {' and '.join(names)} {own}; set one of them"
                    )
                betas = own if betas == agreed else betas
                group.update(zip(names, betas, strict=True))
            group["betas"] = betas
        return _numbers(group[name] for name in names_of(self.rule)), betas

    def _seen(self, k):
        """Rule, values and betas of group `k`, checked where an entry has changed since the last look."""
        group, seen = self.param_groups[k], self._looks.get(k)
        if seen is None or not _unchanged(group, names_of(self.rule), seen):
            values, betas = self._values(group, seen and seen.betas)
            self._looks[k] = seen = _Look(tuple(group), _with_values(self.rule, values), values, betas)
        return seen

    # ------------------------------------------------------------ one step

    def step(self, closure=None):
        """One step; `closure`, where given, computes the loss and its gradients again and is called once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if torch.compiler.is_compiling():
            self._step_outside_graphs()
        else:
            self._step()
        return loss

    @torch._disable_dynamo  # as torch.optim does: torch.compiler.disable imports the compiler at once, for a second
    def _step_outside_graphs(self):
        self._step()

    @property
    def _step_supports_amp_scaling(self):
        """What a gradient scaler asks: whether `step` itself looks at `grad_scale` and `found_inf`, on the device."""
        members = [p for group in self.param_groups for p in group["params"]]
        dense = all(p.grad is None or p.grad.layout is torch.strided for p in members)
        return dense and all(map(self._on_device, members))

    def _scaling(self):
        return {name: t for name in ("found_inf", "grad_scale") if (t := getattr(self, name, None)) is not None}

    def _on_device(self, p):
        return self.compiled is not False and gpu.on_device(p) and gpu.has_kernel(self.rule)

    def _step(self):
        if self._scaling() and not self._step_supports_amp_scaling:
            raise HyperparameterError(
                "grad_scale and found_inf are for kernels on a GPU; scale gradients before the step"
            )
        # all parameters are checked before the first one moves
        moves = [move for k in range(len(self.param_groups)) for move in self._moves(k)]
        for move, *arguments in moves:
            move(*arguments)

    def _moves(self, k):
        """The steps of a group, still to be made: one for its dense parameters of one kind, one for each sparse one."""
        seen = self._seen(k)
        members = self.param_groups[k]["params"]
        gradients = [g for p in members if (g := p.grad) is not None]
        params = members if len(gradients) == len(members) else [p for p in members if p.grad is not None]
        if self._checked_before(k, params, gradients):
            return [(self._run, self._batches[k], params, gradients, seen.values)]
        moves, kinds = [], {}
        for p in params:
            if p.numel():
                kinds.setdefault((p.grad.layout, p.dtype, p.device), []).append(p)
        for kind, alike in kinds.items():
            key, gradients = (k, kind) if len(alike) < len(params) else k, [p.grad for p in alike]
            if self._checked_before(key, alike, gradients):
                moves.append((self._run, self._batches[key], alike, gradients, seen.values))
                continue
            for p in alike:
                if fault := next(step_faults(self.rule, p, self.state.get(p, {})), None):
                    raise ShapeError(f"{self.called(p)} of shape {tuple(p.shape)} {fault}")
            if kind[0] is torch.strided:
                moves.append((self._step_dense, seen, alike, key))
            else:
                moves += [(self._step_rows, seen, p) for p in alike]
        return moves

    def _checked_before(self, key, params, gradients):
        """Whether nothing has changed since machine code stepped these parameters last."""
        if key not in self._batches:
            return False
        names = leaf_names(self.rule)
        try:
            memory = [kept[name] for kept in map(self.state.__getitem__, params) for name in names]
            return self._batches[key].fits(params, memory, gradients)
        except (
            AttributeError,
            KeyError,
            TypeError,
            RuntimeError,
        ):  # no state, tensor or storage: `step_faults` says it
            return False

    def _kept(self, p):
        return [self.state[p][name] for name in leaf_names(self.rule)]

    def called(self, p) -> str:
        """A parameter by its name, or else by its place: parameter 2 of group 0."""
        for k, group in enumerate(self.param_groups):
            for i, (q, name) in enumerate(zip_longest(group["params"], group.get("param_names", ()))):
                if q is p:
                    return f"parameter {i} of group {k}" if name is None else f"parameter {name!r}"

    def _memory(self, rule, p, rows):
        """The leaves of the state of `p`, made at its first gradient."""
        if not self.state[p]:
            x = p.detach().to(WIDE[p.dtype]).reshape(runs(rule, p, rows))
            begin = {name: leaf.clone() for name, leaf in named(leaves(rule.init(x))).items()}
            self.state[p] = begin | {"rows": rows}
        memory = self.state[p]
        for name in leaf_names(self.rule):
            if has_address(p) and not packed(memory[name]):
                memory[name] = flat(memory[name], memory[name].dtype).view(memory[name].shape)
        return self._kept(p)

    @torch.no_grad()
    def _step_dense(self, seen, params, key):
        """Dense parameters of one kind: in one call of machine code, or one by one where memory is shared or there is none."""
        wide, gpu_kernel = WIDE[params[0].dtype], all(map(self._on_device, params))
        if not gpu_kernel and (self.compiled is False or not all(map(on_cpu, params)) or not _has_kernel(self.rule)):
            for p in params:
                self._step_whole(seen.rule, p)
            return
        # a kernel on the GPU converts numbers where it reads and writes them
        own = params[0].dtype if gpu_kernel else wide
        flats = [p if packed(p) and p.dtype == own else flat(p, own) for p in params]
        memory = [self._memory(seen.rule, p, False) for p in params]
        if gpu_kernel:
            first, *others = {p.grad.dtype for p in params}
            readable = first in gpu.READABLE and not others
            batch = gpu.DeviceBatch(self.rule, flats, memory, first if readable else wide, wide)
        else:
            batch = Batch(batch_kernel(self.rule, str(wide).removeprefix("torch.")), flats, memory)
        if not batch.disjoint and len(params) > 1:
            for p in params:
                self._step_dense(seen, [p], key)
            return
        self._run(batch, params, [flat(p.grad, batch.gradient_dtype) for p in params], seen.values)
        copies = [(p, x) for p, x in zip(params, flats, strict=True) if x is not p]
        for p, x in copies:
            p.copy_(x.view_as(p))
        if not copies:
            self._batches[key] = batch

    def _run(self, batch, params, gradients, values):
        batch.step(gradients, values, **self._scaling())
        torch.autograd.graph.increment_version(params)  # autograd sees neither machine code nor NumPy write

    @np.errstate(all="ignore")  # an infinite gradient is no news to NumPy alone
    def _step_whole(self, rule, p):
        memory, wide = self._memory(rule, p, False), WIDE[p.dtype]
        x, g = (flat(t, wide).view(runs(rule, p, False)) for t in (p, p.grad))
        if on_cpu(p) and shares_storage(g, (p, *memory)):
            g = g.clone()
        self._step_blocks(rule, *_arrays(x, g, *memory))
        if type(p) not in PLAIN or x.data_ptr() != p.data_ptr():  # x is a copy, or may be
            p.copy_(x.view_as(p))
        torch.autograd.graph.increment_version(p)

    def _step_blocks(self, rule, x, g, *memory):
        """In place on flat arrays; a rule that looks at the whole gradient, or tensors elsewhere, make one block."""
        d = x.shape[0]
        size = BLOCK if getattr(rule, "elementwise", False) and isinstance(x, np.ndarray) else max(d, 1)
        per_coordinate, new = [leaf.shape[0] == d for leaf in memory], ()
        for block in (slice(start, start + size) for start in range(0, d, size)):
            old = (leaf[block] if own else leaf for leaf, own in zip(memory, per_coordinate, strict=True))
            state, rate, direction = rule.step(rebuild(structure(self.rule), old), g[block], x[block])
            new = [leaf for _, leaf in leaves(state)]
            for leaf, value, own in zip(memory, new, per_coordinate, strict=True):
                if own:
                    leaf[block] = value
            x[block] -= rate * direction
        for leaf, value, own in zip(memory, new, per_coordinate, strict=False):
            if not own:  # a run's clock moves once, after its last block
                leaf[...] = value

    @torch.no_grad()
    @np.errstate(all="ignore")
    def _step_rows(self, seen, p):
        if not p.grad._nnz():
            return
        memory, wide = self._memory(seen.rule, p, True), WIDE[p.dtype]
        if self.compiled is not False and p.dtype == wide and addressable(p) and _has_kernel(self.rule):
            self._step_rows_compiled(p, memory, seen.values)
        else:
            grad = p.grad.coalesce()
            size = max(1, BLOCK * len(p) // max(1, p.numel()))
            for rows, values in zip(grad.indices()[0].split(size), grad.values().split(size), strict=True):
                x, g = (a.to(wide).reshape(len(rows), -1) for a in (p.detach().index_select(0, rows), values))
                x, g, *old = _arrays(x, g, *(leaf.index_select(0, rows) for leaf in memory))
                state, rate, direction = seen.rule.step(rebuild(structure(self.rule), iter(old)), g, x)
                for leaf, (_, value) in zip(memory, leaves(state), strict=True):
                    leaf.index_copy_(0, rows, torch.as_tensor(value))
                x = torch.as_tensor(x - rate * direction)
                p.detach().index_copy_(0, rows, x.reshape(values.shape).to(p.dtype))
        torch.autograd.graph.increment_version(p)

    def _step_rows_compiled(self, p, memory, values):
        rows = p.grad._indices()[0].numpy()
        g = flat(p.grad._values(), p.dtype)
        if shares_storage(g, (p, *memory)):
            g = g.clone()
        g = g.view(len(rows), -1).numpy()
        if not p.grad.is_coalesced():
            rows, g = coalesce(rows, g)
        x = p.detach().view(len(p), -1).numpy()
        row_kernel(self.rule)(x, g, rows, [leaf.numpy() for leaf in memory], values)

    @torch.no_grad()
    def next_step(self, p) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(x, rate, direction): the weights, and what `step()` would now multiply and subtract; nothing changes.

        Of the shape of `p`; where its gradient is sparse, of its active rows. Computed from the rule, not by machine code.
        """
        k = next((k for k, group in enumerate(self.param_groups) if any(p is q for q in group["params"])), None)
        if k is None or p.grad is None:
            raise ShapeError(f"a parameter of shape {tuple(p.shape)} is not this optimizer's or has no gradient")
        if fault := next(step_faults(self.rule, p, self.state.get(p, {})), None):
            raise ShapeError(f"{self.called(p)} of shape {tuple(p.shape)} {fault}")
        rule, x, g = self._seen(k).rule, p.detach(), p.grad
        memory = [self.state[p][name] for name in leaf_names(rule)] if self.state.get(p) else None
        if g.is_sparse:
            rows, g = g.coalesce().indices()[0], g.coalesce().values()
            x, memory = x[rows], memory and [leaf[rows] for leaf in memory]
        shape = runs(rule, x, p.grad.is_sparse)
        flat_x, flat_g, *memory = _arrays(*(flat(t, WIDE[p.dtype]).view(shape) for t in (x, g)), *(memory or ()))
        state = rebuild(structure(rule), iter(memory)) if memory else rule.init(flat_x)
        _, rate, direction = rule.step(state, flat_g, flat_x)
        return x, *(torch.broadcast_to(torch.as_tensor(t), shape).reshape(x.shape) for t in (rate, direction))

    # ------------------------------------------------------------ checkpoints

    def state_dict(self):
        """As torch's; hyper-parameters are plain floats, so that `torch.load(weights_only=True)` reads it."""
        for k, group in enumerate(self.param_groups):
            self._values(group, self._looks[k].betas if k in self._looks else None)
            group.update({name: _plain(group[name]) for name in names_of(self.rule)})
        return super().state_dict()

    def load_state_dict(self, state_dict):
        """As torch's, hooks included, but state keeps its own dtype and is copied, and what does not fit is refused before
        anything is loaded: ShapeError, HyperparameterError."""
        final = {}

        def check(_, after_hooks):
            self._require_fit(after_hooks)
            final.update(after_hooks)

        def keep_dtype(_):
            for index, p in self._indexed(final):
                if memory := final["state"].get(index):
                    like = blueprint(self.rule, runs(self.rule, p, memory["rows"]), WIDE[p.dtype])
                    copies = {
                        name: memory[name].detach().to(p.device, leaf.dtype, copy=True) for name, leaf in like.items()
                    }
                    self.state[p] = {**copies, "rows": memory["rows"]}

        # after the caller's own pre-hooks, whose result counts, and before the caller's post-hooks
        handles = [
            self.register_load_state_dict_pre_hook(check),
            self.register_load_state_dict_post_hook(keep_dtype, prepend=True),
        ]
        try:
            super().load_state_dict(state_dict)
        finally:
            for handle in handles:
                handle.remove()

    def _indexed(self, state_dict):
        saved = (index for group in state_dict["param_groups"] for index in group["params"])
        return zip(saved, (p for group in self.param_groups for p in group["params"]), strict=True)

    def _require_fit(self, state_dict):
        saved, own = (
            [len(group["params"]) for group in groups] for groups in (state_dict["param_groups"], self.param_groups)
        )
        if saved != own:
            raise ShapeError(
                f"state_dict has groups of {saved} parameters, the optimizer of {own}; make the groups alike"
            )
        for index, p in self._indexed(state_dict):
            if fault := next(state_faults(self.rule, p, state_dict["state"].get(index, {})), None):
                raise ShapeError(f"{self.called(p)} of shape {tuple(p.shape)} {fault}")
        for group in state_dict["param_groups"]:
            _with_values(self.rule, self._values(dict(group), None)[0])

    def __getstate__(self):
        return super().__getstate__() | {"rule": self.rule, "compiled": self.compiled}

    def __setstate__(self, state):
        self._batches, self._looks = {}, {}
        super().__setstate__(state)

    def __repr__(self):
        return f"{self.rule!r} as {super().__repr__()}"
