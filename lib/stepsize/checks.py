"""What keeps an `Optimizer` from a step, in words: settings, states, parameters and gradients that do not fit.

A fault is a phrase that goes on "parameter 2 of group 0 of shape (3, 4) ...", with its remedy.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache

import numpy as np
import torch

from .addresses import PLAIN, beyond_storage, has_address, overlaps_itself
from .contract import DOMAINS, hyperparameters, leaves, named
from .errors import HyperparameterError, ShapeError, short

#: dtype of a parameter -> of its state and of the arithmetic.
WIDE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}

#: What torch and its schedulers keep in a group beside the hyper-parameters.
_BOOKKEEPING = {"params", "param_names", "name", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"}

#: Settings of torch's optimizers; a rule that lacks one would ignore it.
_SETTINGS = {
    "weight_decay",
    "decoupled_weight_decay",
    "lr_decay",
    "momentum",
    "momentum_decay",
    "dampening",
    "nesterov",
}
_SETTINGS |= {"betas", "alpha", "centered", "amsgrad", "rho", "etas", "step_sizes", "lambd", "t0"}
_SETTINGS |= {"initial_accumulator_value", "maximize", "foreach", "fused", "capturable"}
_SETTINGS |= {"differentiable"}


@lru_cache(maxsize=256)
def axes(rule):
    """The number of axes of one run: 2 for a rule of `matrix_rules`, which refuses anything less."""
    try:
        rule.init(np.zeros(1))
    except ShapeError:
        return 2
    return 1


@lru_cache(maxsize=256)
def structure(rule):
    return rule.init(np.zeros((1,) * axes(rule)))


@lru_cache(maxsize=256)
def leaf_names(rule):
    return tuple(named(leaves(structure(rule))))


@lru_cache(maxsize=256)
def names_of(rule):
    return tuple(hyperparameters(rule))


@lru_cache(maxsize=256)
def betas_of(rule):
    """The hyper-parameters that torch's schedulers know as `betas`."""
    return tuple(name for name in ("beta1", "beta2") if {name, "beta1"} <= set(names_of(rule)))


@lru_cache(maxsize=256)
def blueprint(rule, shape, dtype):
    """name -> a leaf without memory, of the shape and dtype that the rule keeps for runs of this shape."""
    return named(leaves(rule.init(torch.empty(shape, dtype=dtype, device="meta"))))


@lru_cache(maxsize=256)
def require_settings(rule, given):
    """HyperparameterError where a group lacks a hyper-parameter, or has a setting that the rule would ignore.

    Entries that are no setting, as `lr_scale`, are the caller's own.
    """
    names = (*names_of(rule), "betas") if betas_of(rule) else names_of(rule)
    others = [name for name in given if name not in names and name not in _BOOKKEEPING]
    idle = [
        name
        for name in others
        if name in _SETTINGS or name in DOMAINS or get_close_matches(str(name), names, cutoff=0.75)
    ]
    if idle:
        raise HyperparameterError(
            f"group has {idle}, which {type(rule).__name__} lacks and would ignore; it has {', '.join(names)}"
        )
    if missing := [name for name in names_of(rule) if name not in given]:
        raise HyperparameterError(f"group lacks {missing}; {type(rule).__name__} has {', '.join(names)}")


def runs(rule, p, rows):
    """The shape of the runs of a parameter: its rows, or all of it, as a matrix with its first axis if the rule needs one."""
    return (len(p), p[0].numel()) if rows or axes(rule) == 2 else (p.numel(),)


def state_faults(rule, p, memory) -> Iterator[str]:
    """What keeps `memory` from being the state of `p`, in words; an empty one is still to begin."""
    if memory == {}:
        return
    if not isinstance(memory, dict) or set(memory) != {*leaf_names(rule), "rows"}:
        yield (
            f"has a state of {short(sorted(map(str, memory)) if isinstance(memory, dict) else memory)}, "
            f"{type(rule).__name__} keeps {sorted([*leaf_names(rule), 'rows'])}; load it into an Optimizer of the same rule, "
            "or into torch's optimizer where it is one of torch's, and then use Optimizer.from_torch"
        )
    elif not isinstance(memory["rows"], bool) or ((memory["rows"] or axes(rule) == 2) and not (p.dim() and p.numel())):
        yield f"has a state with rows = {short(memory['rows'])}; True is for a table of one or more rows, else False"
    else:
        for name, like in blueprint(rule, runs(rule, p, memory["rows"]), WIDE[p.dtype]).items():
            leaf = memory[name]
            if not isinstance(leaf, torch.Tensor) or leaf.layout is not torch.strided or leaf.is_complex():
                yield f"has {name} = {short(leaf)} in its state; it must be a dense tensor of real numbers"
            elif leaf.shape != like.shape:
                yield (
                    f"has {name} of shape {tuple(leaf.shape)} in its state, {tuple(like.shape)} fits; give the parameters in the "
                    "order of the saved ones, or begin anew: del optimizer.state[parameter]"
                )
            elif has_address(leaf) and beyond_storage(leaf):
                yield f"has {name} in its state that reaches beyond its storage; do not resize storages"


def kind_faults(p) -> Iterator[str]:
    """What keeps a tensor from being a parameter of any rule."""
    if p.layout is not torch.strided or p.dtype not in WIDE:
        yield f"has layout {p.layout} and dtype {p.dtype}; rules need dense tensors of real floats, 16 to 64 bits"


def step_faults(rule, p, memory) -> Iterator[str]:
    """What keeps a parameter with this state from its step."""
    g = p.grad
    yield from kind_faults(p)
    if g.shape != p.shape or g.device != p.device or g.is_complex():
        yield (
            f"on {p.device} has a gradient of shape {tuple(g.shape)} and {g.dtype} on {g.device}; "
            "compute the gradient again after a change of the parameter"
        )
    if axes(rule) == 2 and (p.dim() < 2 or g.is_sparse):
        yield (
            f"has a gradient of layout {g.layout}; {type(rule).__name__} needs dense matrices, give the other "
            "parameters to an Optimizer of their own, with a rule such as Adam"
        )
    for t in (p, g) if type(p) not in PLAIN else ():
        try:
            t.detach().reshape(-1)
        except RuntimeError as error:  # a DTensor whose shards are not alike
            yield f"cannot be flattened: {short(error)}"
    if has_address(p) and overlaps_itself(p):
        yield f"has strides {p.stride()}, several numbers in one place of memory; clone() it before it becomes a parameter"
    if any(has_address(t) and beyond_storage(t) for t in (p, g)):
        yield "reaches beyond its storage, or its gradient does; give it its memory back before the step"
    yield from state_faults(rule, p, memory)
    if memory:
        for name in leaf_names(rule):
            if memory[name].dtype != WIDE[p.dtype] or memory[name].device != p.device:
                yield (
                    f"has become {p.dtype} on {p.device}, its state has {name} in {memory[name].dtype} on "
                    f"{memory[name].device}; optimizer.load_state_dict(optimizer.state_dict()) converts it"
                )
        if leaf_names(rule) and memory["rows"] != g.is_sparse:
            yield "had sparse and dense gradients; choose one, as with Embedding(sparse=...)"
    if g.is_sparse:
        yield from _row_faults(p, g)


def _row_faults(p, g):
    indices, values = g._indices(), g._values()
    if len(indices) != 1 or values.shape != (indices.shape[1], *p.shape[1:]):
        yield "has a sparse gradient; it must be sparse in its first axis only"
    elif any(has_address(t) and beyond_storage(t) for t in (indices, values)):
        yield "has a sparse gradient that reaches beyond its storage; do not resize storages"
    elif indices.numel():
        low, high = (int(i) for i in indices.aminmax())
        if not 0 <= low <= high < len(p):
            yield f"has a gradient for rows {low} ... {high}; its rows are 0 ... {len(p) - 1}"
