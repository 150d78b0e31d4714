"""Checkpoints and copies: what is saved, what is loaded and what goes on, in the same and in another dtype and place."""

import copy
import io
import pickle

import pytest
import torch
import torch.distributed as dist
from torch import nn

from references import TORCH
from stepsize.optim import Optimizer
from twins import MODES, both_refuse, compare, equal, normal, uses, walk

x = normal


def parameters(*sizes, dtype=torch.float64):
    return [nn.Parameter(x(size, seed=k, dtype=dtype)) for k, size in enumerate(sizes or (3, 2, 1))]


def groups(ps):
    return [{"params": ps[:1]}, {"params": ps[1:], "lr": 0.07}]


def through_a_file(thing, **how):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, **how)


def goes_on(copied):
    """A use: steps, then `copied(make, optimizer, ps)` gives an optimizer and its parameters, which go on.

    The first one does not: torch's shares its memory with whoever has loaded its state_dict, ours is copied.
    """

    def use(make):
        ps = parameters()
        optimizer = make(groups(ps))
        walk(optimizer, ps[:2], 4)  # the third has no state yet
        heir, others = copied(make, optimizer, ps)
        return [*walk(heir, others, 3), [group["lr"] for group in heir.param_groups]]

    return use


def loaded(change=lambda saved: saved):
    def copied(make, optimizer, ps):
        others = [nn.Parameter(p.detach().clone()) for p in ps]
        heir = make(groups(others))
        heir.load_state_dict(change(optimizer.state_dict()))
        return heir, others

    return copied


def together(function):
    def copied(make, optimizer, ps):
        return function((optimizer, ps))

    return copied


def loaded_twice(make, optimizer, ps):
    heir, others = loaded(copy.deepcopy)(make, optimizer, ps)
    walk(heir, others, 2)
    for p, q in zip(others, ps, strict=True):
        p.data.copy_(q)
    heir.load_state_dict(optimizer.state_dict())
    return heir, others


def loaded_into_itself(make, optimizer, ps):
    optimizer.load_state_dict(optimizer.state_dict())
    return optimizer, ps


def wound_back(make, optimizer, ps):
    """A step is tried and taken back, as line searches do."""
    saved, weights = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in ps]
    walk(optimizer, ps, 2)
    optimizer.load_state_dict(saved)
    for p, w in zip(ps, weights, strict=True):
        p.data.copy_(w)
    return optimizer, ps


def unstepped(make, optimizer, ps):
    heir, others = loaded()(make, optimizer, ps)
    heir.load_state_dict(make(groups(parameters())).state_dict())
    return heir, others


def by_a_module(make, optimizer, ps):
    """Parameters are moved in place by module.to, and the optimizer keeps them."""
    module = nn.ParameterList(ps)
    module.to("cpu").to(torch.float64)
    return optimizer, list(module)


def other_group_values(saved):
    saved["param_groups"][0]["lr"] = 0.3
    return saved


COPIES = {
    "state_dict": goes_on(loaded()),
    "state_dict through a file": goes_on(loaded(lambda saved: through_a_file(saved, weights_only=True))),
    "state_dict through pickle": goes_on(loaded(lambda saved: pickle.loads(pickle.dumps(saved)))),
    "state_dict deepcopied": goes_on(loaded(copy.deepcopy)),
    "state_dict changed": goes_on(loaded(other_group_values)),
    "state_dict mapped to the CPU": goes_on(loaded(lambda saved: through_a_file(saved, map_location="cpu"))),
    "loaded twice": goes_on(loaded_twice),
    "loaded into itself": goes_on(loaded_into_itself),
    "wound back": goes_on(wound_back),
    "unstepped": goes_on(unstepped),
    "module.to": goes_on(by_a_module),
    "deepcopy": goes_on(together(copy.deepcopy)),
    "pickle": goes_on(together(lambda both: pickle.loads(pickle.dumps(both)))),
    "torch.save of the optimizer": goes_on(together(lambda both: through_a_file(both, weights_only=False))),
}


@MODES
@pytest.mark.parametrize("name", ["HeavyBall", "AMSGrad"])
@uses(COPIES)
def test_a_copy_goes_on_as_torchs(use, name, compiled):
    equal(use, name, compiled)


# ---------------------------------------------------------------- another dtype, another place


def in_other_dtype(before, after):
    """A use: the model and its checkpoint go on in another dtype."""

    def use(make):
        ps = parameters(dtype=before)
        optimizer = make(ps)
        walk(optimizer, ps, 3)
        others = [nn.Parameter(p.detach().to(after)) for p in ps]
        heir = make(others)
        heir.load_state_dict(optimizer.state_dict())
        return walk(heir, others, 3)

    return use


@MODES
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (torch.float64, torch.float32),
        (torch.float32, torch.float64),
        (torch.float32, torch.bfloat16),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.bfloat16),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["HeavyBall", "Adam"])
def test_a_checkpoint_goes_on_in_another_dtype_as_with_torch(name, before, after, compiled):
    """To the precision of the coarser: torch keeps the state of half precision in half precision, ours is float32."""
    equal(in_other_dtype(before, after), name, compiled, 8 * max(torch.finfo(dtype).eps for dtype in (before, after)))


def test_a_checkpoint_goes_to_the_device_of_its_parameters():
    def use(make):
        ps = parameters()
        optimizer = make(ps)
        walk(optimizer, ps)
        others = [nn.Parameter(torch.empty_like(p, device="meta")) for p in ps]
        heir = make(others)
        heir.load_state_dict(optimizer.state_dict())
        places = {
            leaf.device.type
            for memory in heir.state.values()
            for leaf in memory.values()
            if isinstance(leaf, torch.Tensor) and leaf.dim()
        }
        return [sorted(places), len(heir.state)]

    equal(use)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_checkpoint_goes_to_a_gpu_and_back():
    def use(make):
        ps = parameters()
        optimizer = make(ps)
        walk(optimizer, ps)
        for place in ("cuda", "cpu"):
            ps = [nn.Parameter(p.detach().to(place)) for p in ps]
            heir = make(ps)
            heir.load_state_dict(optimizer.state_dict())
            optimizer = heir
            walk(optimizer, ps, gradient=lambda t, p: x(*p.shape, seed=t).to(p.device))
        return [p.detach() for p in ps]

    equal(use)


# ---------------------------------------------------------------- what a checkpoint is


def structure(make):
    ps = parameters()
    optimizer = make(groups(ps))
    walk(optimizer, ps[:2])
    saved = optimizer.state_dict()
    return [
        sorted(saved),
        sorted(saved["state"]),
        [group["params"] for group in saved["param_groups"]],
        [group["lr"] for group in saved["param_groups"]],
        [group["betas"] for group in saved["param_groups"]],
    ]


def aliases(make):
    """A saved state lies in the optimizer's own memory, the groups are copies."""
    ps = parameters()
    optimizer = make(ps)
    walk(optimizer, ps)
    saved = optimizer.state_dict()
    shared = [
        any(a is b for b in optimizer.state[ps[0]].values())
        for a in saved["state"][0].values()
        if isinstance(a, torch.Tensor)
    ]
    saved["param_groups"][0]["lr"] = 9.0
    return [all(shared), optimizer.param_groups[0]["lr"]]


def loading_copies(make):
    """What is loaded is nobody else's memory, in the groups neither."""
    ps = parameters()
    optimizer, heir = make(ps), make(ps)
    walk(optimizer, ps)
    saved = optimizer.state_dict()
    heir.load_state_dict(saved)
    heir.param_groups[0]["lr"] = 9.0
    return [optimizer.param_groups[0]["lr"], saved["param_groups"][0]["lr"], saved["param_groups"][0]["params"]]


def foreign_entries(make):
    ps = parameters()
    optimizer = make(ps)
    walk(optimizer, ps)
    saved = optimizer.state_dict()
    saved["state"]["epoch"] = {"number": 7}
    saved["param_groups"][0]["note"] = "mine"
    heir = make(ps)
    heir.load_state_dict(saved)
    return [heir.state_dict()["state"]["epoch"], heir.param_groups[0]["note"], walk(heir, ps)]


def names_are_kept(make):
    optimizer = make([("a", parameters()[0])])
    heir = make([("b", parameters()[0])])
    heir.load_state_dict(optimizer.state_dict())
    return [heir.param_groups[0]["param_names"]]


def hooks_do_not_travel(make):
    ps, seen = parameters(), []
    optimizer = make(ps)
    optimizer.register_step_post_hook(print)
    heir = copy.deepcopy(optimizer)
    heir.register_step_post_hook(lambda *_: seen.append(1))
    heir.step()
    return [seen]


def a_copy_has_its_own_groups(make):
    ps = parameters()
    optimizer = make(ps)
    heir, others = copy.deepcopy((optimizer, ps))
    heir.add_param_group({"params": [nn.Parameter(x(2))]})
    heir.param_groups[0]["lr"] = 3.0
    return [
        len(optimizer.param_groups),
        optimizer.param_groups[0]["lr"],
        heir.param_groups[0]["params"][0] is others[0],
    ]


@MODES
@uses(
    [
        structure,
        aliases,
        loading_copies,
        foreign_entries,
        names_are_kept,
        hooks_do_not_travel,
        a_copy_has_its_own_groups,
    ]
)
def test_a_checkpoint_is_built_as_torchs(use, compiled):
    equal(use, compiled=compiled)


def load(saved_sizes, own_sizes):
    def use(make):
        saved = make([{"params": parameters(*sizes)} for sizes in saved_sizes]).state_dict()
        make([{"params": parameters(*sizes)} for sizes in own_sizes]).load_state_dict(saved)

    return use


NOT = {
    "fewer groups": (ValueError, load([(3,), (2,)], [(3,)])),
    "more groups": (ValueError, load([(3,)], [(3,), (2,)])),
    "fewer parameters": (ValueError, load([(3,)], [(3, 2)])),
    "an empty dictionary": (KeyError, lambda make: make(parameters()).load_state_dict({})),
}


@MODES
@pytest.mark.parametrize("case", NOT)
def test_a_checkpoint_that_torch_does_not_take_ours_does_not_take_either(case, compiled):
    error, use = NOT[case]
    both_refuse(use, error, compiled=compiled)


# ---------------------------------------------------------------- torch's helpers for checkpoints of many processes


@pytest.fixture
def helpers():
    from torch.distributed.checkpoint import state_dict  # takes a second: not for every test

    return state_dict


def model():
    m = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)).double()
    for p in m.parameters():
        p.data.copy_(x(*p.shape))
    return m


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("flat", [False, True], ids=["by name", "flat"])
@pytest.mark.parametrize("name", ["HeavyBall", "Adam"])
def test_distributed_checkpoints_name_and_restore_the_state_as_with_torch(helpers, name, flat):
    options = helpers.StateDictOptions(flatten_optimizer_state_dict=flat)

    def use(make):
        before = model()
        optimizer = make(before.parameters())
        walk(optimizer, list(before.parameters()))
        saved = helpers.get_optimizer_state_dict(before, optimizer, options=options)
        after = model()
        after.load_state_dict(before.state_dict())
        heir = make(after.parameters())
        helpers.set_optimizer_state_dict(after, heir, saved, options=options)
        keys = list(saved) if flat else [f"state.{name}." for name in saved["state"]]
        seen = [name for name, _ in after.named_parameters() if any(key.startswith(f"state.{name}.") for key in keys)]
        return [seen, walk(heir, list(after.parameters()))]

    equal(use, name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_optimizer_whose_state_is_shared_between_processes_steps_as_with_torch(monkeypatch):
    from torch.distributed.optim import ZeroRedundancyOptimizer  # takes a second

    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        rule, theirs = TORCH["Adam"]
        ends = []
        for kind, settings in ((theirs.func, theirs.keywords), (Optimizer, {"rule": rule})):
            ps = parameters()
            optimizer = ZeroRedundancyOptimizer(ps, optimizer_class=kind, **settings)
            path = walk(optimizer, ps)
            optimizer.consolidate_state_dict(0)
            heir = ZeroRedundancyOptimizer(ps, optimizer_class=kind, **settings)
            heir.load_state_dict(optimizer.state_dict())
            ends.append(path + walk(heir, ps))
        compare(*reversed(ends), 1e-12)
    finally:
        dist.destroy_process_group()
