"""Any rule is a real torch optimizer."""

import copy
import io
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from mutants import mutant
from references import RULES, TORCH
from stepsize import (
    SGD,
    SOAP,
    AdaBelief,
    Adafactor,
    AdaGrad,
    Adam,
    AMSGrad,
    ClipByNorm,
    ClipByValue,
    Decoupled,
    HeavyBall,
    InverseRoot,
    LinearDecay,
    Muon,
    RMSProp,
    Shampoo,
    SignDescent,
    chain,
    optim,
)
from stepsize.errors import HyperparameterError, ShapeError
from stepsize.optim import Optimizer


def net(dtype=torch.float64, seed=0):
    """A small network with a bias, a weight and a layer norm, and its data."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 1)).to(dtype)
        return model, torch.randn(32, 5, dtype=dtype), torch.randn(32, 1, dtype=dtype)


def loss_of(model, x, y, t=0):
    """A minibatch's loss: noisy, but the same for every optimizer."""
    rows = torch.as_tensor(np.random.default_rng(t).permutation(32)[:8])
    return ((model(x[rows]) - y[rows]) ** 2).mean()


def train(optimizer, model, x, y, times, scheduler=None):
    for t in times:
        optimizer.zero_grad()
        loss_of(model, x, y, t).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trained(make, steps=100, schedule=None):
    model, x, y = net()
    optimizer = make(model.parameters())
    return train(optimizer, model, x, y, range(steps), schedule and schedule(optimizer))


def restart(rule, schedule, weights_only=True):
    """Like `trained`, but saved to a file after 37 of 100 steps and taken up by fresh objects."""
    model, x, y = net()
    optimizer = Optimizer(model.parameters(), rule)
    scheduler = schedule(optimizer)
    train(optimizer, model, x, y, range(37), scheduler)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in (model, optimizer, scheduler)], file)
    file.seek(0)
    model, x, y = net(seed=9)[0], x, y
    optimizer = Optimizer(model.parameters(), rule)
    scheduler = schedule(optimizer)
    for part, saved in zip((model, optimizer, scheduler), torch.load(file, weights_only=weights_only), strict=True):
        part.load_state_dict(saved)
    return train(optimizer, model, x, y, range(37, 100), scheduler)


cosine = partial(lr_scheduler.CosineAnnealingLR, T_max=40)


@pytest.mark.parametrize("name", TORCH)
def test_a_network_trains_as_with_torch_under_a_schedule_and_through_a_checkpoint(name):
    rule, factory = TORCH[name]
    theirs = trained(factory, schedule=cosine)
    assert (trained(lambda ps: Optimizer(ps, rule), schedule=cosine) - theirs).abs().max() <= 1e-10
    assert (restart(rule, cosine) - theirs).abs().max() <= 1e-10


@pytest.mark.parametrize("name", [*RULES, "nested"])
def test_a_checkpoint_changes_nothing_for_any_rule(name):
    rule = (RULES | {"nested": InverseRoot(InverseRoot(Decoupled(AMSGrad(0.1))))})[name]
    straight = trained(lambda ps: Optimizer(ps, rule), schedule=cosine)
    assert torch.equal(restart(rule, cosine), straight)


@pytest.mark.parametrize("name", RULES)
def test_the_optimizer_makes_the_steps_of_its_rule_on_the_flattened_parameter(name, monkeypatch):
    monkeypatch.setattr(optim, "BLOCK", 5)
    rule, rng = RULES[name], np.random.default_rng(0)
    p = nn.Parameter(torch.tensor(rng.standard_normal((3, 7))))
    optimizer = Optimizer([p], rule, compiled=False)
    x = p.detach().numpy().ravel().copy()
    state = rule.init(x)
    for _ in range(20):
        g = rng.standard_normal((3, 7))
        p.grad = torch.tensor(g)
        optimizer.step()
        state, rate, direction = rule.step(state, g.ravel(), x)
        x = x - rate * direction
        np.testing.assert_array_equal(p.detach().numpy().ravel(), x)


def test_blocks_change_no_bit_and_a_clock_that_ticked_per_block_would(monkeypatch):
    whole = trained(lambda ps: Optimizer(ps, Adam(0.05), compiled=False))
    monkeypatch.setattr(optim, "BLOCK", 3)
    assert torch.equal(trained(lambda ps: Optimizer(ps, Adam(0.05), compiled=False)), whole)
    hasty = mutant(
        optim.Optimizer,
        "                if own:\n                    leaf[block] = value",
        "                leaf[block if own else ...] = value",
    )
    assert not torch.equal(trained(lambda ps: hasty(ps, Adam(0.05), compiled=False)), whole)


def test_a_rule_that_looks_at_the_whole_gradient_is_not_cut(monkeypatch):
    monkeypatch.setattr(optim, "BLOCK", 2)
    p = nn.Parameter(torch.zeros(5, dtype=torch.float64))
    p.grad = torch.full((5,), 3.0, dtype=torch.float64)
    Optimizer([p], chain(ClipByNorm(1.0), SGD(1.0))).step()
    assert float(p.detach().norm()) == pytest.approx(1.0, rel=1e-14)


def test_the_tensors_path_of_other_devices_equals_the_arrays_path(monkeypatch):
    arrays = {name: trained(lambda ps, r=rule: Optimizer(ps, r), 30) for name, rule in RULES.items()}
    monkeypatch.setattr(optim, "on_cpu", lambda tensor: False)
    for name, rule in RULES.items():
        assert (trained(lambda ps, r=rule: Optimizer(ps, r), 30) - arrays[name]).abs().max() <= 1e-12, name


# ---------------------------------------------------------------- groups and schedules


def test_groups_override_any_hyperparameter_wrapped_rules_included():
    def groups(model, **second):
        first, *rest = model.parameters()
        return [{"params": [first]}, {"params": rest, **second}]

    def ours(beta1, decay):
        model, x, y = net()
        rule = Decoupled(Adam(0.05), 0.1)
        optimizer = Optimizer(groups(model, lr=0.01, beta1=beta1, decay=decay), rule)
        assert optimizer.param_groups[0]["decay"] == 0.1
        return train(optimizer, model, x, y, range(50))

    model, x, y = net()
    theirs = torch.optim.AdamW(groups(model, lr=0.01, betas=(0.5, 0.999), weight_decay=0.3), lr=0.05, weight_decay=0.1)
    assert (ours(0.5, 0.3) - train(theirs, model, x, y, range(50))).abs().max() <= 1e-12


def test_a_group_may_override_what_a_state_begins_with():
    p, q = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    optimizer = Optimizer([{"params": [p]}, {"params": [q], "initial": 3.0}], AdaGrad(0.1, eps=0.0))
    p.grad, q.grad = torch.ones(2, 2, dtype=torch.float64)
    optimizer.step()
    assert [p[0].item(), q[0].item()] == pytest.approx([0.9, 0.95], rel=1e-12)


@pytest.mark.parametrize(
    "schedule",
    [
        partial(lr_scheduler.StepLR, step_size=7),
        partial(lr_scheduler.LambdaLR, lr_lambda=lambda t: 0.0 if t < 3 else 0.9**t),
        partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=50, cycle_momentum=False),
        partial(lr_scheduler.CosineAnnealingWarmRestarts, T_0=9),
    ],
)
@pytest.mark.parametrize("name", ["AdamW", "RMSProp, coupled"])
def test_torchs_schedulers_act_as_on_torchs_optimizers(schedule, name):
    """The second one starts at a learning rate of 0, where lr / rate is 0 / 0."""
    rule, factory = TORCH[name]
    ours = trained(lambda ps: Optimizer(ps, rule), 50, schedule)
    assert (ours - trained(factory, 50, schedule)).abs().max() <= 1e-10


def test_a_scheduler_may_move_momentum_too():
    schedule = partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=50)
    rule, factory = TORCH["HeavyBall"]
    ours = trained(lambda ps: Optimizer(ps, rule), 50, schedule)
    assert (ours - trained(factory, 50, schedule)).abs().max() <= 1e-10


@pytest.mark.parametrize(
    "schedule",
    [
        partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=50),
        partial(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=7),
    ],
)
@pytest.mark.parametrize("rule", [Adam(0.05, 0.8), Decoupled(AMSGrad(0.05))])
def test_schedulers_that_cycle_momentum_move_beta1_as_with_torch(schedule, rule):
    """The bias correction is another: torch takes beta1 to the power t, whatever beta1 was before."""

    def cycled(make):
        model, x, y = net()
        optimizer, path = make(model.parameters()), []
        scheduler = schedule(optimizer)
        for t in range(20):
            path.append([optimizer.param_groups[0][name] for name in ("lr", "betas")])
            train(optimizer, model, x, y, [t], scheduler)
        return optimizer, path

    optimizer, ours = cycled(lambda ps: Optimizer(ps, rule))
    betas = optimizer.defaults["betas"]
    assert ours == cycled(lambda ps: torch.optim.Adam(ps, 0.05, betas=betas))[1]
    assert len({betas for _, betas in ours}) > 5
    optimizer.state_dict()
    group = optimizer.param_groups[0]
    assert group["betas"] == (group["beta1"], group["beta2"])


def test_a_cycled_momentum_is_the_one_that_is_stepped_with():
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = Optimizer([p], Adam(0.1))
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=20)
    totals, expected = [], [0.0]
    for t in range(10):
        p.grad = torch.ones(1, dtype=torch.float64)
        beta1 = optimizer.param_groups[0]["betas"][0]
        optimizer.step()
        scheduler.step()
        totals.append(float(optimizer.state[p]["m"]))
        expected.append(beta1 * expected[-1] + 1 - beta1)
        if t == 5:  # the scheduler has written betas, and the step has not seen it yet
            saved, optimizer_2 = optimizer.state_dict(), Optimizer([p], Adam(0.7))
            optimizer_2.load_state_dict(saved)
            assert optimizer_2.param_groups[0]["beta1"] == optimizer.param_groups[0]["betas"][0]
    assert totals == pytest.approx(expected[1:], rel=1e-12)


def test_betas_and_their_names_say_the_same_whichever_is_set():
    p = nn.Parameter(torch.ones(2))
    optimizer = Optimizer([{"params": [p], "betas": (0.5, 0.99)}], Adam())
    group = optimizer.param_groups[0]
    assert (group["beta1"], group["beta2"]) == (0.5, 0.99)
    group["beta1"] = 0.6
    optimizer.step()
    assert group["betas"] == (0.6, 0.99)
    group["betas"] = (0.7, 0.9)
    optimizer.step()
    assert (group["beta1"], group["beta2"]) == (0.7, 0.9)
    group["beta2"], group["betas"] = 0.8, (0.1, 0.2)
    with pytest.raises(HyperparameterError, match="set one of them"):
        optimizer.step()
    group["betas"] = (0.7,)
    with pytest.raises(HyperparameterError, match="set one of them"):
        optimizer.step()
    assert Optimizer([{"params": [p], "beta1": 0.5}], Adam()).param_groups[0]["betas"] == (0.5, 0.999)


def test_a_rule_without_momentum_says_so_to_a_scheduler_that_would_cycle_it():
    with pytest.raises(ValueError, match="momentum"):
        lr_scheduler.OneCycleLR(Optimizer([nn.Parameter(torch.ones(1))], RMSProp()), max_lr=0.1, total_steps=9)


def test_entries_of_others_are_kept_and_a_setting_without_effect_is_refused():
    p = nn.Parameter(torch.ones(2))
    optimizer = Optimizer([{"params": [p], "lr_scale": 0.5, "layer": "head"}], Adam())
    optimizer.param_groups[0]["swa_lr"] = 0.1
    optimizer.step()
    heir = Optimizer([p], Adam())
    heir.load_state_dict(optimizer.state_dict())
    assert [heir.param_groups[0][name] for name in ("lr_scale", "layer", "swa_lr")] == [0.5, "head", 0.1]
    for name in ("weight_decay", "momentum", "maximize", "decay", "beta", "eps1"):
        group = optimizer.param_groups[0]
        group[name] = 0
        with pytest.raises(HyperparameterError, match=f"{name}.*lacks and would ignore.*lr, beta1, beta2, eps, betas"):
            optimizer.step()
        with pytest.raises(HyperparameterError, match="would ignore"):
            Optimizer([{"params": [p], name: 0}], Adam())
        del group[name]
    del optimizer.param_groups[0]["eps"]
    with pytest.raises(HyperparameterError, match=r"lacks \['eps'\]"):
        optimizer.step()


def test_a_learning_rate_may_be_a_tensor():
    def make(ps):
        optimizer = Optimizer(ps, Adam(0.05))
        optimizer.param_groups[0]["lr"] = torch.tensor(0.05, dtype=torch.float64)
        return optimizer

    assert torch.equal(trained(make, 20), trained(lambda ps: Optimizer(ps, Adam(0.05)), 20))


def test_a_group_may_be_added_in_the_middle():
    def run(make, **settings):
        model, x, y = net()
        first, *rest = model.parameters()
        optimizer = make([first])
        train(optimizer, model, x, y, range(10))
        optimizer.add_param_group({"params": rest, **settings})
        return train(optimizer, model, x, y, range(10, 30))

    ours = run(lambda ps: Optimizer(ps, Adam(0.05)), lr=0.01)
    assert (ours - run(lambda ps: torch.optim.Adam(ps, 0.05), lr=0.01)).abs().max() <= 1e-12


# ---------------------------------------------------------------- what may be missing, and odd tensors


def test_a_parameter_without_a_gradient_rests_and_so_does_its_clock():
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    ours, theirs = Optimizer([p], Adam(0.1)), torch.optim.Adam([q], 0.1)
    for t in range(12):
        p.grad = q.grad = None if t % 3 else torch.full((2,), 1.0 + t)
        ours.step()
        theirs.step()
    assert float(ours.state[p]["w_m"]) == pytest.approx(1 - 0.9**4, rel=1e-6)
    torch.testing.assert_close(p, q, rtol=1e-6, atol=0)


def test_a_closure_is_called_once_with_gradients_on_and_its_loss_returned():
    model, x, y = net()
    optimizer, losses = Optimizer(model.parameters(), Adam(0.05)), []

    def closure():
        optimizer.zero_grad()
        losses.append(loss_of(model, x, y))
        losses[-1].backward()
        return losses[-1]

    for count in range(1, 30):
        assert optimizer.step(closure) is losses[-1]
        assert len(losses) == count
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("rule", [SGD(0.1), Adam(0.1), chain(ClipByNorm(1.0), Decoupled(AMSGrad(0.1)))])
def test_the_layout_of_a_parameter_does_not_matter(rule):
    data, grads = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 6, 4)))
    layouts = {
        "plain": data.clone(),
        "transposed": data.t().contiguous().t(),
        "strided": torch.stack([data, data], -1)[..., 0],
    }
    ends = {}
    for name, layout in layouts.items():
        p = nn.Parameter(layout)
        assert p.is_contiguous() == (name == "plain")
        optimizer = Optimizer([p], rule)
        for grad in (grads, grads.t().contiguous().t(), grads[:1].expand(6, 4)):
            p.grad = grad
            optimizer.step()
        ends[name] = p.detach().contiguous()
    assert torch.equal(ends["transposed"], ends["plain"])
    assert torch.equal(ends["strided"], ends["plain"])


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (2, 0)])
def test_scalars_and_empty_parameters_are_parameters(shape):
    p = nn.Parameter(torch.ones(shape))
    optimizer = Optimizer([p], Decoupled(AMSGrad(0.1)))
    for _ in range(3):
        p.grad = torch.ones(shape)
        optimizer.step()
    assert p.shape == shape
    assert (p < 1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_float32_state_and_rounds_once(dtype):
    """Each step equals the float32 step from the rounded iterate, rounded; also through a checkpoint."""
    rng = torch.Generator().manual_seed(0)
    p = nn.Parameter(torch.randn(50, generator=rng).to(dtype))
    wide = nn.Parameter(p.detach().float())
    optimizer, reference = Optimizer([p], Adam(0.01)), Optimizer([wide], Adam(0.01))
    for t in range(30):
        g = torch.randn(50, generator=rng).to(dtype)
        p.grad, wide.grad = g, g.float()
        optimizer.step()
        reference.step()
        wide.data = wide.data.to(dtype).float()
        assert torch.equal(p.detach().float(), wide.detach())
        if t == 10:
            saved = optimizer.state_dict()
            optimizer = Optimizer([p], Adam(0.01))
            optimizer.load_state_dict(saved)
    assert {leaf.dtype for name, leaf in optimizer.state[p].items() if name != "rows"} == {torch.float32}
    assert p.dtype == dtype


def test_a_checkpoint_in_torchs_way_would_round_half_precision_state():
    p = nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
    p.grad = torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)
    optimizer = Optimizer([p], Adam())
    optimizer.step()
    again = Optimizer([p], Adam())
    torch.optim.Optimizer.load_state_dict(again, optimizer.state_dict())
    assert again.state[p]["v"].dtype == torch.bfloat16


def test_float32_stays_float32():
    p = nn.Parameter(torch.ones(9))
    for rule in RULES.values():
        optimizer = Optimizer([p], rule)
        p.grad = torch.ones(9)
        optimizer.step()
        assert p.dtype == torch.float32
        assert {leaf.dtype for name, leaf in optimizer.state[p].items() if name != "rows"} <= {torch.float32}


def test_a_loss_scaler_skips_the_step_of_an_overflowed_gradient():
    p = nn.Parameter(torch.ones(3))
    optimizer, scaler = Optimizer([p], Adam(0.1)), torch.amp.GradScaler("cpu", init_scale=4.0)
    for factor, moved in ((float("inf"), False), (1.0, True)):
        before = p.detach().clone()
        optimizer.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(before, p.detach()) != moved


def test_autograd_is_told_that_the_parameter_has_changed():
    p = nn.Parameter(torch.ones(3))
    loss = (p**2).sum()
    p.grad = torch.ones(3)
    Optimizer([p], SGD(0.1)).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# ---------------------------------------------------------------- copies and words


def test_copies_and_pickles_go_on_as_the_original():
    model, x, y = net()
    optimizer = Optimizer(model.parameters(), Decoupled(AMSGrad(0.05)))
    train(optimizer, model, x, y, range(5))
    model_2, optimizer_2 = copy.deepcopy((model, optimizer))
    model_3, optimizer_3 = pickle.loads(pickle.dumps((model, optimizer)))
    end = train(optimizer, model, x, y, range(5, 15))
    assert torch.equal(train(optimizer_2, model_2, x, y, range(5, 15)), end)
    assert torch.equal(train(optimizer_3, model_3, x, y, range(5, 15)), end)
    optimizer_3.add_param_group({"params": [nn.Parameter(torch.ones(2))]})


def test_a_loaded_state_is_a_copy():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    donor, heir = Optimizer([p], Adam()), Optimizer([p], Adam())
    donor.step()
    heir.load_state_dict(donor.state_dict())
    before = donor.state[p]["m"].clone()
    heir.step()
    assert torch.equal(donor.state[p]["m"], before)


def test_state_entries_are_tensors_named_as_in_the_formula():
    p = nn.Parameter(torch.ones(2, 3))
    p.grad = torch.ones(2, 3)
    optimizer = Optimizer([p], AMSGrad())
    optimizer.step()
    shapes = {name: tuple(leaf.shape) for name, leaf in optimizer.state[p].items() if name != "rows"}
    assert shapes == {"m": (6,), "w_m": (1,), "v": (6,), "w_v": (1,), "peak": (6,)}


def test_an_optimizer_says_which_rule_it_runs():
    text = repr(Optimizer([nn.Parameter(torch.ones(1))], Decoupled(Adam(0.25))))
    assert text.startswith(
        "Decoupled(rule=Adam(lr=0.25, beta1=0.9, beta2=0.999, eps=1e-08), decay=0.01) as Optimizer ("
    )
    assert "decay: 0.01" in text


# ---------------------------------------------------------------- lazy rows


def sparse(rows, values, size):
    return torch.sparse_coo_tensor(np.array([rows]), values, size, check_invariants=True)


ROW_RULES = [
    Adam(0.1),
    AMSGrad(0.1),
    AdaBelief(0.1),
    AdaGrad(0.1),
    RMSProp(0.1),
    HeavyBall(0.1),
    SGD(0.1),
    SignDescent(0.1),
    Decoupled(Adam(0.1), 0.1),
    InverseRoot(SGD(0.1)),
    LinearDecay(SGD(0.1), 5),
    chain(ClipByNorm(1.0), ClipByValue(0.5), Adam(0.1)),
]


@pytest.mark.parametrize("block", [1, 2**15])
@pytest.mark.parametrize("rule", ROW_RULES, ids=lambda rule: type(rule).__name__)
def test_a_row_with_sparse_gradients_is_a_run_of_its_own(rule, block, monkeypatch):
    """Each row equals a descent of its own that sees only the steps at which it was touched; duplicates add up."""
    monkeypatch.setattr(optim, "BLOCK", block)
    rng = np.random.default_rng(0)
    table = rng.standard_normal((6, 4))
    p = nn.Parameter(torch.tensor(table))
    optimizer = Optimizer([p], rule, compiled=False)
    alone = [(rule.init(row), row) for row in table]
    for t in range(15):
        rows = rng.integers(0, 5, size=4)  # row 5 is never touched
        values = rng.standard_normal((4, 4)) * (1 + t)
        p.grad = sparse(rows, values, (6, 4))
        optimizer.step()
        for row in set(rows.tolist()):
            state, x = alone[row]
            state, rate, direction = rule.step(state, np.asarray(p.grad.to_dense()[row]), x)
            alone[row] = state, x - rate * direction
    np.testing.assert_array_equal(p.detach().numpy(), [x for _, x in alone])
    np.testing.assert_array_equal(p.detach().numpy()[5], table[5])


def test_rows_that_are_always_touched_together_follow_sparse_adam():
    """With one common clock there is nothing between the two; a late row begins with a step of lr here, larger there.

    torch adds eps before its correction, so it is made to vanish.
    """
    table = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p, q = nn.Parameter(table.clone()), nn.Parameter(table.clone())
    ours, theirs = Optimizer([p], Adam(0.1, eps=1e-30)), torch.optim.SparseAdam([q], 0.1, eps=1e-30)
    for t in range(200):
        p.grad = q.grad = sparse([0, 2, 3], np.random.default_rng(t).standard_normal((3, 4)), (6, 4))
        ours.step()
        theirs.step()
    assert (p - q).abs().max() <= 1e-12
    before_p, before_q = p.detach().clone(), q.detach().clone()
    p.grad = q.grad = sparse([5], np.ones((1, 4)), (6, 4))
    ours.step()
    theirs.step()
    assert (before_p - p.detach())[5] == pytest.approx(0.1, rel=1e-6)
    # torch corrects by the common clock: (1 - beta1) / (1 - beta1^t) over the root of the same in beta2
    law = 0.1 * 0.1 / (1 - 0.9**201) / (0.001 / (1 - 0.999**201)) ** 0.5
    assert (before_q - q.detach())[5] == pytest.approx(law, rel=1e-6)


def test_an_embedding_trains_with_dense_parameters_beside_it():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        table, head = nn.Embedding(50, 3, sparse=True), nn.Linear(3, 1)
        target = torch.randn(50, 1)
    optimizer = Optimizer([*table.parameters(), *head.parameters()], Adam(0.05))
    losses = []
    for t in range(200):
        rows = torch.as_tensor(np.random.default_rng(t).integers(0, 50, 32))
        optimizer.zero_grad()
        losses.append(((head(table(rows)) - target[rows]) ** 2).mean())
        losses[-1].backward()
        optimizer.step()
    assert np.mean([loss.item() for loss in losses[-20:]]) < 0.1 * losses[0].item()
    weights = optimizer.state[table.weight]["w_m"]
    assert weights.shape == (50, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_lazy_rows_survive_a_checkpoint_in_every_dtype(dtype):
    def run(save):
        p = nn.Parameter(torch.ones(4, 2, dtype=dtype))
        optimizer = Optimizer([p], Adam(0.05))
        for t in range(10):
            p.grad = sparse([t % 3, 1], np.full((2, 2), 1.0 + t), (4, 2)).to(dtype)
            optimizer.step()
            if save and t == 4:
                saved, optimizer = optimizer.state_dict(), Optimizer([p], Adam(0.05))
                optimizer.load_state_dict(saved)
        return p.detach()

    assert torch.equal(run(True), run(False))
    assert run(False).dtype == dtype


def test_a_parameter_is_sparse_or_dense_but_not_both():
    p = nn.Parameter(torch.ones(4, 2))
    optimizer = Optimizer([p], Adam())
    p.grad = sparse([1], np.ones((1, 2), np.float32), (4, 2))
    optimizer.step()
    p.grad = torch.ones(4, 2)
    with pytest.raises(ShapeError, match="sparse and dense"):
        optimizer.step()


# ---------------------------------------------------------------- matrices


@pytest.mark.parametrize("rule", [Muon(0.1), Adafactor(0.1), Shampoo(0.1), SOAP(0.1), Decoupled(Muon(0.1), 0.1)])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 1), (3, 2, 2)])
def test_a_rule_of_matrices_sees_the_weight_as_a_matrix_with_its_first_axis(rule, shape):
    rng = np.random.default_rng(0)
    p = nn.Parameter(torch.tensor(rng.standard_normal(shape)))
    optimizer = Optimizer([p], rule)
    x = p.detach().numpy().reshape(shape[0], -1).copy()
    state = rule.init(x)
    for t in range(6):
        g = rng.standard_normal(shape)
        p.grad = torch.tensor(g)
        optimizer.step()
        state, rate, direction = rule.step(state, g.reshape(x.shape), x)
        x = x - rate * direction
        np.testing.assert_allclose(p.detach().numpy().reshape(x.shape), x, rtol=1e-12, atol=0)
        if t == 3:
            saved, optimizer = optimizer.state_dict(), Optimizer([p], rule)
            optimizer.load_state_dict(saved)


def test_a_rule_of_matrices_refuses_vectors_and_tables():
    vector, table = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(4, 2))
    vector.grad, table.grad = torch.ones(3), sparse([1], np.ones((1, 2), np.float32), (4, 2))
    for p in (vector, table):
        with pytest.raises(ShapeError, match="Muon needs dense matrices, give the other parameters"):
            Optimizer([p], Muon()).step()
