"""Checkpoints: plain values, hooks that count, helpers of torch that save and load for many processes."""

import io

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.optim import lr_scheduler

from mutants import mutant
from stepsize import AdaBelief, AdaGrad, Adam, Decoupled, InverseRoot, conversion
from stepsize.errors import HyperparameterError, ShapeError
from stepsize.optim import Optimizer


def parameter(*shape, g=1.0):
    p = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    p.grad = torch.full(shape, g, dtype=torch.float64)
    return p


def stepped(params, rule=None, steps=1):
    optimizer = Optimizer(params, rule or Adam(0.1))
    for _ in range(steps):
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("number", [np.float64(0.01), np.float32(0.01), np.array(0.01), 1])
def test_a_checkpoint_holds_plain_numbers(number):
    p = parameter(3)
    optimizer = stepped([{"params": [p], "beta2": number * 0.5}], Decoupled(Adam(lr=number), decay=number))
    group = optimizer.param_groups[0]
    group["lr"] = group["lr"] * np.float64(0.5)  # as a scheduler of one's own may
    group["betas"] = (np.float64(0.8), np.float64(0.9))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    values = {k: v for k, v in saved["param_groups"][0].items() if k != "params"}
    assert {type(v) for v in (*values.pop("betas"), *values.values())} == {float}
    assert saved["param_groups"][0]["beta1"] == 0.8


def test_the_result_of_a_pre_hook_counts_as_in_torch():
    p = parameter(3)
    saved = stepped([p]).state_dict()
    for make in (lambda: Optimizer([p], Adam(0.1)), lambda: torch.optim.SGD([p], 0.1)):
        optimizer = make()

        def changed(_, state_dict):
            groups = [group | {"lr": 0.7} for group in state_dict["param_groups"]]
            return {"state": {}, "param_groups": groups}

        optimizer.register_load_state_dict_pre_hook(changed)
        optimizer.load_state_dict(saved)
        assert optimizer.param_groups[0]["lr"] == 0.7
        assert not optimizer.state


def test_a_pre_hook_may_drop_what_would_be_refused():
    p = parameter(3)
    saved = stepped([p], AdaGrad()).state_dict()
    optimizer = Optimizer([p], Adam(0.1))
    own = optimizer.state_dict()["param_groups"]
    optimizer.register_load_state_dict_pre_hook(lambda _, d: d | {"state": {}, "param_groups": own})
    optimizer.load_state_dict(saved)
    assert not optimizer.state
    assert len(optimizer._optimizer_load_state_dict_pre_hooks) == 1
    assert not optimizer._optimizer_load_state_dict_post_hooks


def test_a_pre_hook_may_add_the_parameters_that_the_checkpoint_knows():
    p, q = parameter(3), parameter(2)
    saved = stepped([{"params": [p]}, {"params": [q], "lr": 0.3}]).state_dict()
    optimizer = Optimizer([p], Adam(0.1))
    optimizer.register_load_state_dict_pre_hook(lambda o, _: o.add_param_group({"params": [q]}))
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[1]["lr"] == 0.3
    assert optimizer.state[q]["m"].shape == (2,)


def test_what_a_post_hook_assigns_stays_and_is_checked_at_the_step():
    p = parameter(3)
    saved = stepped([p]).state_dict()
    optimizer = Optimizer([p], Adam(0.1))
    handle = optimizer.register_load_state_dict_post_hook(lambda o: o.state[p].update(m=torch.full((3,), 7.0).double()))
    optimizer.load_state_dict(saved)
    assert optimizer.state[p]["m"].tolist() == [7.0] * 3
    optimizer.step()
    assert optimizer.state[p]["m"].tolist() == pytest.approx([0.9 * 7 + 0.1] * 3)
    handle.remove()
    optimizer.register_load_state_dict_post_hook(lambda o: o.state[p].update(m=torch.zeros(4)))
    optimizer.load_state_dict(saved)
    with pytest.raises(ShapeError, match=r"m of shape \(4,\)"):
        optimizer.step()


def test_hooks_on_saving_count_too():
    p = parameter(3)
    optimizer = stepped([p])
    optimizer.register_state_dict_post_hook(lambda _, d: d | {"run": "a"})
    assert optimizer.state_dict()["run"] == "a"


def test_what_belongs_to_no_parameter_is_kept_as_by_torch():
    p = parameter(3)
    saved = stepped([p]).state_dict()
    saved["state"]["phase"] = {"epoch": 7}
    heir = Optimizer([p], Adam())
    heir.load_state_dict(saved)
    heir.step()
    assert heir.state_dict()["state"]["phase"] == {"epoch": 7}


def test_groups_that_are_not_alike_are_named():
    p, q = parameter(3), parameter(2)
    with pytest.raises(ShapeError, match=r"groups of \[2\] parameters, the optimizer of \[1\]"):
        Optimizer([p], Adam()).load_state_dict(stepped([p, q]).state_dict())


@pytest.mark.parametrize(
    ("entry", "says"),
    [({"lr": -1.0}, "lr must be"), ({"lr": "fast"}, "one number"), ({"weight_decay": 0.1}, "would ignore")],
)
def test_a_saved_group_is_checked_before_it_is_loaded(entry, says):
    p = parameter(3)
    saved = stepped([p]).state_dict()
    saved["param_groups"][0] |= entry
    optimizer = Optimizer([p], Adam(0.2))
    with pytest.raises(HyperparameterError, match=says):
        optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.2
    assert not optimizer.state


def test_a_checkpoint_from_before_betas_had_two_names_loads():
    p = parameter(3)
    saved = stepped([p], Adam(0.1, beta1=0.7)).state_dict()
    del saved["param_groups"][0]["betas"]
    optimizer = Optimizer([p], Adam())
    optimizer.load_state_dict(saved)
    optimizer.step()
    assert optimizer.param_groups[0]["betas"] == (0.7, 0.999)


def test_a_table_of_rows_in_another_order_is_read_by_name():
    p = parameter(3)
    optimizer = stepped([p], steps=3)
    saved = optimizer.state_dict()
    saved["state"][0] = dict(reversed(saved["state"][0].items()))
    heir = Optimizer([q := parameter(3)], Adam(0.1))
    q.data.copy_(p.data)
    heir.load_state_dict(saved)
    heir.step()
    optimizer.step()
    assert torch.equal(p, q)


@pytest.fixture
def one_process(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, when this module of it is imported
def test_the_optimizer_whose_state_is_shared_between_processes_takes_ours(one_process):
    from torch.distributed.optim import ZeroRedundancyOptimizer  # takes a second: not for every test

    ends = []
    for make in (lambda ps, rule: ZeroRedundancyOptimizer(ps, optimizer_class=Optimizer, rule=rule), Optimizer):
        params = [parameter(3), parameter(2, 2)]
        optimizer = make(params, rule=Adam(0.1))
        scheduler = lr_scheduler.StepLR(optimizer, 2)
        for t in range(6):
            for p in params:
                p.grad = torch.full_like(p, 1.0 + t)
            optimizer.step()
            scheduler.step()
        ends.append(torch.cat([p.detach().flatten() for p in params]))
    assert torch.equal(*ends)


# ---------------------------------------------------------------- torch's optimizers, taken over and handed back

TAKEN_OVER = {
    "Adam": (torch.optim.Adam, {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-3}),
    "Adam, coupled": (torch.optim.Adam, {"lr": 0.05, "weight_decay": 0.1}),
    "AMSGrad": (torch.optim.Adam, {"lr": 0.05, "amsgrad": True}),
    "AdamW": (torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.1}),
    "AdamW with AMSGrad": (torch.optim.AdamW, {"lr": 0.05, "amsgrad": True}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "eps": 1e-3}),
    "RMSprop, coupled": (torch.optim.RMSprop, {"lr": 0.01, "weight_decay": 0.1}),
    "Adagrad": (torch.optim.Adagrad, {"lr": 0.3, "initial_accumulator_value": 0.2}),
    "SGD": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.1}),
    "momentum": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.8}),
}


def problem():
    rng = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, generator=rng, dtype=torch.float64)) for shape in ((3, 4), (4,), ())]
    return params, [torch.randn(p.shape, generator=rng, dtype=torch.float64) for p in params]


def descend(optimizer, params, noise, times):
    for t in times:
        for k, (p, z) in enumerate(zip(params, noise, strict=True)):
            # one parameter begins late, as an unfrozen layer does
            p.grad = None if k == 1 and t < 5 else p.detach() * (1 + k) + z * np.sin(t)
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in params])


def split(params, **second):
    return [{"params": params[:1]}, {"params": params[1:], **second}]


@pytest.mark.parametrize("steps", [0, 1, 40])
@pytest.mark.parametrize("name", TAKEN_OVER)
def test_a_training_with_torch_goes_on_with_ours_and_again_with_torchs(name, steps):
    factory, settings = TAKEN_OVER[name]
    params, noise = problem()
    theirs = factory(split(params, lr=0.03), **settings)
    straight = descend(theirs, params, noise, range(steps + 40))
    params, noise = problem()
    theirs = factory(split(params, lr=0.03), **settings)
    descend(theirs, params, noise, range(steps))
    ours = Optimizer.from_torch(theirs)
    assert ours.param_groups[1]["lr"] == 0.03
    descend(ours, params, noise, range(steps, steps + 20))
    back = ours.to_torch()
    assert type(back) is factory
    assert back.state_dict()["param_groups"] == theirs.state_dict()["param_groups"]
    end = descend(back, params, noise, range(steps + 20, steps + 40))
    torch.testing.assert_close(end, straight, rtol=1e-12, atol=1e-12)


def test_a_weight_that_is_wrong_is_caught(monkeypatch):
    monkeypatch.setattr(
        conversion, "_state", mutant(conversion._state, 'float(theirs["step"])', '(float(theirs["step"]) + 1)')
    )
    with pytest.raises(AssertionError):
        test_a_training_with_torch_goes_on_with_ours_and_again_with_torchs("Adam", 1)


def test_the_number_of_steps_is_found_in_the_weights_until_they_are_one():
    for dtype in (torch.float32, torch.float64):
        for t in (1, 2, 10, 100, 1000, 5000):
            weights = [(float(torch.tensor(1 - b**t, dtype=dtype)), b) for b in (0.9, 0.999)]
            assert conversion._steps(weights, dtype) == pytest.approx(t, abs=0 if t <= 1000 else 0.02 * t)
    assert conversion._steps([(1.0, 0.9), (1.0, 0.999)], torch.float64) > 3e4


def test_names_and_entries_of_others_go_along():
    p = parameter(3)
    theirs = torch.optim.Adam([{"params": [("weight", p)], "lr_scale": 0.5}], 0.1)
    lr_scheduler.StepLR(theirs, 2)
    ours = Optimizer.from_torch(theirs)
    back = ours.to_torch()
    for optimizer in (ours, back):
        group = optimizer.param_groups[0]
        assert (group["param_names"], group["lr_scale"], group["initial_lr"]) == (["weight"], 0.5, 0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_state_in_other_formats_is_taken_over(dtype):
    p = nn.Parameter(torch.ones(4, dtype=dtype))
    p.grad = torch.full((4,), 0.5, dtype=dtype)
    theirs = torch.optim.Adam([p], 0.1)
    theirs.step()
    ours = Optimizer.from_torch(theirs)
    ours.step()
    assert {leaf.dtype for name, leaf in ours.state[p].items() if name != "rows"} == {torch.float32}
    assert p.detach().float().tolist() == pytest.approx([0.8] * 4, rel=1e-2)
    ours.to_torch().step()
    assert p.detach().float().tolist() == pytest.approx([0.7] * 4, rel=1e-2)


@pytest.mark.parametrize(
    ("factory", "settings"),
    [
        (torch.optim.Adam, {"maximize": True}),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1}),
        (torch.optim.RMSprop, {"centered": True}),
        (torch.optim.Adagrad, {"lr_decay": 0.1}),
        (torch.optim.Adadelta, {}),
    ],
)
def test_what_no_rule_does_is_refused_by_name(factory, settings):
    with pytest.raises(
        HyperparameterError, match=f"no rule makes the steps of {factory.__name__} with .*{next(iter(settings), 'rho')}"
    ):
        Optimizer.from_torch(factory([parameter(2)], **settings))


def test_what_torch_does_not_do_is_refused_by_name():
    for rule in (AdaBelief(), InverseRoot(Adam()), Decoupled(AdaGrad())):
        with pytest.raises(HyperparameterError, match="torch has no optimizer"):
            Optimizer([parameter(2)], rule).to_torch()
    p = parameter(3)
    optimizer = stepped([p], steps=5)
    optimizer.param_groups[0]["betas"] = (0.5, 0.9)
    optimizer.step()
    with pytest.raises(HyperparameterError, match="betas have changed"):
        optimizer.to_torch()
    table = nn.Parameter(torch.zeros(4, 2))
    table.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (4, 2), check_invariants=True)
    with pytest.raises(ShapeError, match="a clock for each row"):
        stepped([table]).to_torch()
