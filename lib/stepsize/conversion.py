"""torch's Adam, AdamW, RMSprop, Adagrad and SGD as rules with their states, and back, in the middle of a training.

An average of ours carries the weight 1 - beta^t where torch keeps t; all else has another name, and state of ours is flat.
What torch's optimizers can do and no rule does, as `maximize`, is refused by name, and the other way round.
"""

from math import expm1, log, log1p
from typing import Any, NamedTuple

import torch

from .errors import HyperparameterError, ShapeError
from .rules import SGD, AdaGrad, Adam, AMSGrad, HeavyBall, RMSProp
from .wrappers import Coupled, Decoupled


class Pair(NamedTuple):
    """A rule and torch's optimizer: names of settings and of leaves, ours -> theirs, and what theirs must be set to."""

    rule: type
    theirs: type
    settings: dict[str, str]
    leaves: dict[str, str]
    fixed: dict[str, Any]


_ADAM = {name: name for name in ("lr", "betas", "eps")}, {"m": "exp_avg", "v": "exp_avg_sq"}
_RMSPROP = {"lr": "lr", "beta": "alpha", "eps": "eps"}, {"s": "square_avg"}
_ADAGRAD = {"lr": "lr", "eps": "eps", "initial": "initial_accumulator_value"}, {"s": "sum"}

#: What is not in `settings` or `fixed` does not change the steps. The first that fits is taken.
PAIRS = [
    Pair(Adam, torch.optim.Adam, *_ADAM, {"amsgrad": False}),
    Pair(AMSGrad, torch.optim.Adam, _ADAM[0], _ADAM[1] | {"peak": "max_exp_avg_sq"}, {"amsgrad": True}),
    Pair(RMSProp, torch.optim.RMSprop, *_RMSPROP, {"momentum": 0, "centered": False}),
    Pair(AdaGrad, torch.optim.Adagrad, *_ADAGRAD, {"lr_decay": 0}),
    Pair(SGD, torch.optim.SGD, {"lr": "lr"}, {}, {"momentum": 0}),
    Pair(
        HeavyBall,
        torch.optim.SGD,
        {"lr": "lr", "momentum": "momentum"},
        {"s": "momentum_buffer"},
        {"dampening": 0, "nesterov": False},
    ),
]

#: Leaf -> the leaf of its weight, and the place of its beta in `betas`.
WEIGHTS = {"m": ("w_m", 0), "v": ("w_v", 1)}


def from_torch(optimizer: torch.optim.Optimizer):
    """(rule, groups, states) with which an `Optimizer` goes on as `optimizer` would; states by parameter.

    HyperparameterError where no rule makes the same steps.
    """
    groups, kind = optimizer.param_groups, type(optimizer)
    plain = torch.optim.Adam if kind is torch.optim.AdamW else kind
    pairs = [p for p in PAIRS if p.theirs is plain and all(g[k] == v for g in groups for k, v in p.fixed.items())]
    if not pairs or any(group["maximize"] for group in groups):
        settings = {k: v for k, v in groups[0].items() if k != "params"}
        raise HyperparameterError(
            f"no rule makes the steps of {kind.__name__} with {settings}; keep torch's optimizer for these"
        )
    decoupled = {group.get("decoupled_weight_decay", False) for group in groups if group["weight_decay"]}
    if len(decoupled) > 1:
        raise HyperparameterError(
            "some groups have decoupled weight decay and some have not; make an optimizer of each kind"
        )
    pair, settings = pairs[0], pairs[0].settings | ({"decay": "weight_decay"} if decoupled else {})
    rule = pair.rule()
    for is_decoupled in decoupled:
        rule = (Decoupled if is_decoupled else Coupled)(rule)
    others = set(optimizer.defaults)
    own = [
        {name: value for name, value in group.items() if name not in others | {"params", "param_names"}}
        | {name: group[theirs] for name, theirs in settings.items()}
        | {"params": _named(group)}
        for group in groups
    ]
    states = {
        p: _state(pair, group, p, optimizer.state[p])
        for group in groups
        for p in group["params"]
        if all(optimizer.state.get(p, {}).get(key) is not None for key in pair.leaves.values())
    }
    return rule, own, states


def _named(group):
    """Parameters as an optimizer takes them, with their names where they have some."""
    return list(zip(group["param_names"], group["params"], strict=True)) if "param_names" in group else group["params"]


def _state(pair, group, p, theirs):
    wide = torch.float64 if p.dtype == torch.float64 else torch.float32
    rows = p.grad is not None and p.grad.is_sparse
    shape = (len(p), -1) if rows else (-1,)
    state = {name: theirs[key].detach().to(wide, copy=True).reshape(shape) for name, key in pair.leaves.items()}
    for leaf in state.keys() & WEIGHTS:
        weight, place = WEIGHTS[leaf]
        # 1 - beta^t, with all its digits
        value = -expm1(float(theirs["step"]) * log(float(group["betas"][place]) or 1e-300))
        state[weight] = torch.full((1,), value, dtype=wide, device=p.device)
    return state | {"rows": rows}


def to_torch(optimizer) -> torch.optim.Optimizer:
    """torch's optimizer that goes on as an `Optimizer` would. HyperparameterError or ShapeError where there is none."""
    rule, wrapper = optimizer.rule, None
    if type(rule) in (Coupled, Decoupled):
        rule, wrapper = rule.rule, type(rule)
    pairs = [pair for pair in PAIRS if pair.rule is type(rule)]
    if not pairs or (wrapper is Decoupled and pairs[0].theirs is not torch.optim.Adam):
        raise HyperparameterError(f"torch has no optimizer that makes the steps of {optimizer.rule}; keep ours")
    pair, own = pairs[0], set(optimizer.defaults)
    make = torch.optim.AdamW if wrapper is Decoupled else pair.theirs
    groups = [
        {name: value for name, value in group.items() if name not in own | {"params", "param_names"}}
        | {theirs: group[name] for name, theirs in pair.settings.items()}
        | pair.fixed
        | {"weight_decay": group.get("decay", 0.0), "params": _named(group)}
        for group in optimizer.param_groups
    ]
    theirs = make(groups)
    for group in optimizer.param_groups:
        for p in group["params"]:
            if state := optimizer.state.get(p):
                theirs.state[p] |= _as_theirs(pair, group, p, state)
    return theirs


def _as_theirs(pair, group, p, state):
    memory = {key: state[name].to(p.dtype, copy=True).view_as(p) for name, key in pair.leaves.items()}
    if pair.theirs is not torch.optim.SGD:
        memory["step"] = torch.tensor(0.0)
    weights = {WEIGHTS[leaf] for leaf in pair.leaves if leaf in WEIGHTS}
    if weights:
        if state["rows"]:
            raise ShapeError(
                f"a table of shape {tuple(p.shape)} has a clock for each row, torch's one for all; keep ours"
            )
        memory["step"] = torch.tensor(
            _steps([(float(state[w]), float(group["betas"][k])) for w, k in weights], state["w_v"].dtype)
        )
    return memory


def _steps(weights, dtype) -> float:
    """t from the weights 1 - beta^t: from the one that tells most of it, and the other must agree."""
    eps = torch.finfo(dtype).eps
    # beyond this 1 - beta^t is 1 to rounding, whatever t
    t = max(log1p(-min(w, 1 - eps / 2)) / log(beta or 1e-300) for w, beta in weights)
    t = round(t)
    if any(abs(w + expm1(t * log(beta or 1e-300))) > 1e3 * eps for w, beta in weights):
        raise HyperparameterError(
            "the betas have changed during the training; torch's bias correction knows only the last"
        )
    return float(t)
