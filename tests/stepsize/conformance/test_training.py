"""torch's tools of training around the optimizer: averages of weights, mixed precision, compiled graphs, several processes."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.optim import swa_utils
from torch.utils.checkpoint import checkpoint

from small_book import ROOT
from twins import MODES, both_refuse, compare, equal, network, normal, train, uses, values

x = normal
NAMES = pytest.mark.parametrize("name", ["HeavyBall", "Adam", "AMSGrad", "AdamW", "RMSProp, coupled"])


@MODES
@NAMES
def test_a_network_trains_as_with_torch(name, compiled):
    def use(make):
        model, loss = network()
        return train(model, loss, make(model.parameters()), range(12)) + values(model)

    equal(use, name, compiled)


EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "chapters/api.md").read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_the_api_page_run(example):
    exec(example, {})


# ---------------------------------------------------------------- averages of weights


def averaged(average, schedule=False):
    """A use: the average of the weights beside the training, and the statistics of a batch norm for it."""

    def use(make):
        model, loss = network()
        model.append(nn.BatchNorm1d(2).double())
        optimizer, mean = make(model.parameters()), average(model)
        scheduler = swa_utils.SWALR(optimizer, swa_lr=0.01, anneal_epochs=3) if schedule else None

        def after(t):
            mean.update_parameters(model)
            if scheduler:
                scheduler.step()

        train(model, loss, optimizer, range(8), after)
        swa_utils.update_bn([x(8, 1, 6, seed=t) for t in range(3)], mean)
        return [*values(model), *mean.state_dict().values()]

    return use


def averaged_in_a_hook(make):
    model, loss = network()
    optimizer, mean = make(model.parameters()), swa_utils.AveragedModel(model)
    optimizer.register_step_post_hook(lambda *_: mean.update_parameters(model))
    train(model, loss, optimizer, range(6))
    return values(mean)


def exponential(decay):
    return partial(swa_utils.AveragedModel, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay))


AVERAGES = {
    "SWA": averaged(swa_utils.AveragedModel),
    "SWA with SWALR": averaged(swa_utils.AveragedModel, schedule=True),
    "EMA": averaged(exponential(0.9)),
    "EMA with buffers": averaged(partial(exponential(0.5), use_buffers=True)),
    "SWA in a hook": averaged_in_a_hook,
}


@MODES
@uses(AVERAGES)
def test_an_average_of_the_weights_is_that_of_torchs_training(use, compiled):
    equal(use, compiled=compiled)


# ---------------------------------------------------------------- mixed precision


def scaled(unscale=False, overflow=(), clip=None):
    """A use: loss scaling, with infinite gradients at the steps `overflow`."""

    def use(make):
        model, loss = network()
        optimizer = make(model.parameters())
        scaler, seen = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2), []
        for t in range(8):
            optimizer.zero_grad()
            scaler.scale(loss(t) * (float("inf") if t in overflow else 1.0)).backward()
            if unscale:
                scaler.unscale_(optimizer)
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            seen.append(scaler.step(optimizer))
            scaler.update()
            seen.append(scaler.get_scale())
        return [*seen, *values(model)]

    return use


def scaled_with_two_optimizers(make):
    model, loss = network()
    first, second = make(list(model.parameters())[:2]), make(list(model.parameters())[2:])
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    for t in range(4):
        for optimizer in (first, second):
            optimizer.zero_grad()
        scaler.scale(loss(t)).backward()
        for optimizer in (first, second):
            scaler.step(optimizer)
        scaler.update()
    return values(model)


PRECISION = {
    "GradScaler": scaled(),
    "GradScaler, overflow": scaled(overflow=(0, 3, 4)),
    "GradScaler, unscale_": scaled(unscale=True, overflow=(2,)),
    "GradScaler, unscale_ and clip": scaled(unscale=True, clip=0.1),
    "GradScaler, two optimizers": scaled_with_two_optimizers,
}


@MODES
@uses(PRECISION)
def test_a_loss_scaler_steps_and_skips_as_with_torch(use, compiled):
    equal(use, compiled=compiled)


@MODES
def test_autocast_trains_as_with_torch(compiled):
    def use(make):
        model, loss = network(torch.float32)
        optimizer = make(model.parameters())
        for t in range(4):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                value = loss(t)
            value.backward()
            optimizer.step()
        return values(model)

    equal(use, compiled=compiled, tolerance=1e-3)  # a last bit of a weight may be a last bit of bfloat16


# ---------------------------------------------------------------- other graphs


def checkpointed(make):
    model, _ = network()
    optimizer = make(model.parameters())
    for t in range(4):
        optimizer.zero_grad()
        checkpoint(model, x(8, 1, 6, seed=t), use_reentrant=False).square().mean().backward()
        optimizer.step()
    return values(model)


def by_functional_gradients(make):
    model, _ = network()
    parameters = dict(model.named_parameters())
    optimizer = make(list(parameters.items()))

    def functional(weights, t):
        return torch.func.functional_call(model, weights, (x(8, 1, 6, seed=t),)).square().mean()

    for t in range(4):
        gradients = torch.func.grad(functional)({name: p.detach() for name, p in parameters.items()}, t)
        for name, p in parameters.items():
            p.grad = gradients[name]
        optimizer.step()
    return values(model)


def layers_are_unfrozen(make):
    model, loss = network()
    for p in model[:3].parameters():
        p.requires_grad_(False)
    optimizer = make(p for p in model.parameters() if p.requires_grad)
    train(model, loss, optimizer, range(3))
    model[:3].requires_grad_(True)
    optimizer.add_param_group({"params": model[:3].parameters(), "lr": 0.01})
    return train(model, loss, optimizer, range(3, 6)) + values(model)


def pruned(make):
    model, loss = network()
    prune.l1_unstructured(model[2], "weight", 0.5)
    optimizer = make(model.parameters())
    return train(model, loss, optimizer, range(4)) + values(model)


def adversarial(make):
    """Two players, each with an optimizer of its own."""
    a, b = nn.Parameter(x(3)), nn.Parameter(x(3, seed=1))
    first, second = make([a]), make([b])
    for _ in range(6):
        for optimizer, sign in ((first, 1), (second, -1)):
            optimizer.zero_grad()
            (sign * (a * b).sum() + 0.1 * (a**2).sum()).backward()
            optimizer.step()
    return [a.detach(), b.detach()]


@MODES
@uses([checkpointed, by_functional_gradients, layers_are_unfrozen, pruned, adversarial])
def test_a_training_of_another_form_goes_as_with_torch(use, compiled):
    equal(use, compiled=compiled)


# ---------------------------------------------------------------- compiled graphs


@pytest.mark.slow
@MODES
def test_a_compiled_model_trains_as_with_torch(compiled):
    def use(make):
        torch._dynamo.reset()
        model, _ = network()
        faster, optimizer = torch.compile(model, backend="aot_eager"), make(model.parameters())
        for t in range(4):
            optimizer.zero_grad()
            faster(x(8, 1, 6, seed=t)).square().mean().backward()
            optimizer.step()
        return values(model)

    equal(use, compiled=compiled)


@pytest.mark.slow
@MODES
@pytest.mark.parametrize(("name", "tolerance"), [("HeavyBall", 1e-12), ("Adam", 1e-5)])
def test_a_compiled_step_steps_as_torchs(name, tolerance, compiled):
    """torch's Adam counts steps in float32 and, compiled, corrects its bias in float32 too."""

    def use(make):
        torch._dynamo.reset()
        model, loss = network()
        optimizer = make(model.parameters())
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

        @torch.compile(backend="eager")
        def step():
            optimizer.step()

        for t in range(3):
            optimizer.zero_grad()
            loss(t).backward()
            step()
            scheduler.step()
        return values(model)

    equal(use, name, compiled, tolerance)


@pytest.mark.slow
def test_no_optimizer_is_one_graph():
    def use(make):
        torch._dynamo.reset()
        p = nn.Parameter(x(3))
        p.grad = x(3)
        torch.compile(make([p]).step, backend="eager", fullgraph=True)()

    both_refuse(use, torch._dynamo.exc.Unsupported)


# ---------------------------------------------------------------- two processes


@pytest.mark.slow
def test_two_processes_train_as_with_torch(tmp_path):
    """DistributedDataParallel with accumulation, with unused parameters, and with the state shared between the processes."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    env["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT / "lib", ROOT / "tests")))
    command = [sys.executable, Path(__file__).with_name("ddp.py")]
    processes = [
        subprocess.Popen([*command, str(rank), tmp_path], env=env, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        logs = [p.communicate(timeout=120)[1] for p in processes]
    finally:
        for p in processes:
            if p.poll() is None:
                p.kill()
                p.wait()
    assert [p.returncode for p in processes] == [0, 0], "\n".join(logs)
    for rank in range(2):
        ends = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert len(ends) == 6
        for what in ("plain", "shared state", "unused"):
            compare(ends[f"ours, {what}"], ends[f"theirs, {what}"], 1e-12)
