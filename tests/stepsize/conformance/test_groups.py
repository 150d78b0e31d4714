"""Groups, their settings and the optimizer's attributes go as with torch's optimizer."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from stepsize import Adam
from stepsize.errors import HyperparameterError
from twins import MODES, both_refuse, equal, normal, uses, walk

x = normal


def params(*sizes):
    return [nn.Parameter(x(size, seed=k)) for k, size in enumerate(sizes or (3, 2))]


def halves(ps, **second):
    return [{"params": ps[:1]}, {"params": ps[1:], **second}]


def grouped(ps, **second):
    """A use: two groups, the second with settings of its own."""

    def use(make):
        mine = params()
        return walk(make(halves(mine, **second)), mine)

    return use


def changed(change, make_groups=halves):
    """A use: some steps, `change(optimizer, ps)`, and some more."""

    def use(make):
        ps = params()
        optimizer = make(make_groups(ps))
        before = walk(optimizer, ps)
        change(optimizer, ps)
        every = [p for group in optimizer.param_groups for p in group["params"]]
        return before + walk(optimizer, every)

    return use


def set_lr(value):
    return changed(lambda o, ps: o.param_groups[1].update(lr=value))


def write_lr(o, ps):
    o.param_groups[0]["lr"].fill_(0.01)


def tensor_lr(ps):
    return [{"params": ps[:1], "lr": torch.tensor(0.2, dtype=torch.float64)}, {"params": ps[1:]}]


def swap_members(o, ps):
    a, b = o.param_groups
    a["params"], b["params"] = b["params"], a["params"]


def move_over(o, ps):
    o.param_groups[0]["params"].append(o.param_groups[1]["params"].pop())


def replaced(o, ps):
    """As sharding libraries do: another tensor in the place of the first, with its own state."""
    new = nn.Parameter(x(4, seed=9))
    o.state.pop(o.param_groups[0]["params"][0])
    o.param_groups[0]["params"] = [new]


def rebuilt(o, ps):
    o.param_groups = [dict(group) for group in reversed(o.param_groups)]


SETTINGS = {
    "a group's lr": grouped(None, lr=0.2),
    "lr is 0": grouped(None, lr=0.0),
    "lr is an integer": grouped(None, lr=1),
    "lr is a NumPy number": grouped(None, lr=np.float64(0.1)),
    "lr is a 0-dim array": grouped(None, lr=np.array(0.1).item()),
    "a group's betas": grouped(None, betas=(0.5, 0.9)),
    "betas are a list": grouped(None, betas=[0.5, 0.9]),
    "betas of 0": grouped(None, betas=(0.0, 0.0)),
    "a group's eps": grouped(None, eps=0.1),
    "all three": grouped(None, lr=0.2, betas=(0.3, 0.4), eps=0.5),
    "entry of a caller": grouped(None, lr_scale=0.5, layer="head"),
    "lr set later": set_lr(0.5),
    "lr set to 0 later": set_lr(0),
    "lr multiplied": changed(lambda o, ps: [g.update(lr=0.1 * g["lr"]) for g in o.param_groups]),
    "betas set later": changed(lambda o, ps: o.param_groups[0].update(eps=0.3)),
    "lr is a tensor that is written": changed(write_lr, tensor_lr),
    "lr becomes a tensor": changed(lambda o, ps: o.param_groups[0].update(lr=torch.tensor(0.3).double())),
    "a group is added": changed(lambda o, ps: o.add_param_group({"params": params(4), "lr": 0.3})),
    "an empty group": changed(lambda o, ps: o.add_param_group({"params": []})),
    "one tensor is a group": changed(lambda o, ps: o.add_param_group({"params": params(4)[0]})),
    "a generator is a group": changed(lambda o, ps: o.add_param_group({"params": (p for p in params(4))})),
    "a group is removed": changed(lambda o, ps: o.param_groups.pop()),
    "groups are reversed": changed(lambda o, ps: o.param_groups.reverse()),
    "groups are rebuilt": changed(rebuilt),
    "members are swapped": changed(swap_members),
    "a member moves over": changed(move_over),
    "a member is replaced": changed(replaced),
    "the state is cleared": changed(lambda o, ps: o.state.clear()),
    "one state is deleted": changed(lambda o, ps: o.state.pop(ps[0])),
    "defaults are changed": changed(lambda o, ps: o.defaults.update(lr=9.0)),
    "defaults are changed before a group": changed(
        lambda o, ps: (o.defaults.update(lr=0.5), o.add_param_group({"params": params(4)}))
    ),
}


@MODES
@uses(SETTINGS)
def test_settings_of_groups_count_as_with_torch(use, compiled):
    equal(use, compiled=compiled)


@MODES
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("HeavyBall", {"momentum": 0.3}),
        ("RMSProp", {"alpha": 0.5}),
        ("AdamW", {"weight_decay": 0.5}),
        ("AdamW", {"weight_decay": 0.0}),
        ("Adam, coupled", {"weight_decay": 0.5}),
        ("SGD, coupled", {"weight_decay": 0.0}),
        ("AMSGrad", {"betas": (0.3, 0.6)}),
        ("AdaGrad", {"eps": 0.5}),
    ],
)
def test_a_setting_of_a_rule_counts_as_torchs_of_that_name(name, setting, compiled):
    def use(make):
        ps = params()
        return walk(make(ps, **setting), ps)

    equal(use, name, compiled)


@pytest.mark.parametrize("setting", [{"lr": -0.1}, {"lr": float("nan")}, {"betas": (1.0, 0.9)}, {"eps": -1.0}])
def test_a_value_that_torch_refuses_the_rule_refuses(setting):
    with pytest.raises(ValueError, match="Invalid"):
        torch.optim.Adam(params(), **setting)
    names = {"betas": "beta1"}
    with pytest.raises(HyperparameterError, match="must be finite"):
        Adam(**{names.get(key, key): value[0] if key == "betas" else value for key, value in setting.items()})


# ---------------------------------------------------------------- attributes


def attributes(make):
    ps = params()
    optimizer = make(halves(ps, lr=0.3))
    walk(optimizer, ps)
    return [
        isinstance(optimizer, torch.optim.Optimizer),
        len(optimizer.param_groups),
        [group["lr"] for group in optimizer.param_groups],
        [len(group["params"]) for group in optimizer.param_groups],
        all(a is b for a, b in zip(ps, [p for g in optimizer.param_groups for p in g["params"]], strict=True)),
        sorted(name for name in ("lr", "betas", "eps") if name in optimizer.defaults),
        [p in optimizer.state for p in ps],
        type(optimizer.state).__name__,
        repr(optimizer).count("Parameter Group"),
    ]


def state_before_the_first_step(make):
    ps = params()
    optimizer = make(ps)
    return [len(optimizer.state), len(optimizer.state_dict()["state"])]


def states_are_those_of_stepped_parameters(make):
    ps = params()
    optimizer = make(ps)
    walk(optimizer, ps[:1])
    return [p in optimizer.state and len(optimizer.state[p]) > 0 for p in ps]


def names(make):
    model = nn.Linear(2, 1).double()
    optimizer = make(list(model.named_parameters()))
    return [optimizer.param_groups[0]["param_names"], optimizer.state_dict()["param_groups"][0]["param_names"]]


def names_of_groups(make):
    a, b = params()
    optimizer = make([{"params": [("a", a)]}, {"params": [("b", b)], "lr": 0.2}])
    optimizer.add_param_group({"params": [("c", nn.Parameter(x(2)))]})
    return [group["param_names"] for group in optimizer.param_groups]


def zero_grad(make):
    ps = params()
    optimizer = make(ps)
    seen = []
    for how in (True, False):
        for p in ps:
            p.grad = x(*p.shape)
        held = ps[0].grad
        optimizer.zero_grad(set_to_none=how)
        seen += [ps[0].grad is None, ps[0].grad is held, held]
    return seen


def a_parameter_twice_in_a_group(make):
    ps = params(3)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        optimizer = make(ps + ps)
    return [len(seen), "duplicate" in str(seen[0].message), walk(optimizer, ps, 1)]


def compare_by_identity(make):
    ps = params()
    a, b = make(ps), make(ps)
    return [a == a, a == b, len({a, b})]


@uses(
    [
        attributes,
        state_before_the_first_step,
        states_are_those_of_stepped_parameters,
        names,
        names_of_groups,
        zero_grad,
        a_parameter_twice_in_a_group,
        compare_by_identity,
    ]
)
@MODES
def test_what_can_be_read_is_what_torch_shows(use, compiled):
    equal(use, compiled=compiled)


# ---------------------------------------------------------------- what neither takes

NOT = {
    "lr is a word": (
        (TypeError, ValueError),
        lambda make: walk(make([{"params": (ps := params()), "lr": "fast"}]), ps),
    ),
    "lr of several numbers": (
        (TypeError, ValueError),
        lambda make: walk(make([{"params": (ps := params(2, 3)), "lr": torch.ones(2)}]), ps),
    ),
    "betas of one": (
        (ValueError, TypeError),
        lambda make: walk(make([{"params": (ps := params()), "betas": (0.9,)}]), ps),
    ),
    "a setting is missing later": (
        (KeyError, ValueError),
        lambda make: [(o := make(ps := params())).param_groups[0].pop("eps"), walk(o, ps)],
    ),
    "a group is no dictionary": (TypeError, lambda make: make(params()).add_param_group(params(2))),
    "a group without parameters": (KeyError, lambda make: make(params()).add_param_group({"lr": 0.1})),
    "a group that is a set": (TypeError, lambda make: make(params()).add_param_group({"params": set(params(2))})),
    "a parameter is there already": (ValueError, lambda make: make(ps := params()).add_param_group({"params": ps})),
    "a group without names": (
        ValueError,
        lambda make: make([("a", params(2)[0])]).add_param_group({"params": params(3)}),
    ),
    "an unknown argument": (TypeError, lambda make: make(params()).step(gradients=1)),
}


@MODES
@pytest.mark.parametrize("case", NOT)
def test_settings_that_torch_does_not_take_ours_does_not_take_either(case, compiled):
    error, use = NOT[case]
    both_refuse(use, error, compiled=compiled)


def test_a_refused_group_leaves_the_optimizer_as_it_was():
    def use(make):
        ps = params()
        optimizer = make(ps)
        for group in ({"params": ps}, {"params": [2 * ps[0]]}, {"params": [1.0]}):
            with pytest.raises((ValueError, TypeError)):
                optimizer.add_param_group(group)
        return [len(optimizer.param_groups), walk(optimizer, ps)]

    equal(use)
