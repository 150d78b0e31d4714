"""Where ours is not as torch's optimizer: what it refuses, what it takes beyond torch, and what it does otherwise on purpose.

Ours refuses, with an error of its own that says what to do; torch runs:

- parameters that are complex, sparse (COO, CSR) or jagged: rules need dense tensors of real floats
- gradients that are sparse in two axes; sparse and dense gradients in turn, where the rule has a state
- settings that the rule lacks: maximize, differentiable, foreach, fused, capturable, amsgrad, weight_decay, nesterov, centered ...
- values out of a rule's domain in a group, at any time: lr below 0 or NaN, betas of 1
- a scheduler that cycles the momentum of a rule without one (torch's RMSprop has one, 0 by default)
- a checkpoint of torch's optimizer, of another rule, or of parameters of other shapes

Ours takes, torch refuses: sparse gradients for any elementwise rule; float32 gradients of bfloat16 parameters; a first step in
inference mode; a parameter that has become float64, after its state is loaded again.

Ours does otherwise: a state that is loaded is a copy; half-precision parameters keep float32 state; the bias correction
remembers what the betas were; a sparse row has its own clock, and momentum that rests while it is not visited.
"""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from references import TORCH
from stepsize import RMSProp
from stepsize.errors import ShapeError
from stepsize.optim import Optimizer
from twins import MODES, maker, normal, only_ours_refuses, only_torch_refuses, walk

x = normal


def step_of(data, gradient):
    def use(make):
        p = nn.Parameter(data())
        p.grad = gradient() if gradient else p.detach().clone()
        optimizer = make([p])
        optimizer.step()

    return use


def in_a_group(**settings):
    def use(make):
        p = nn.Parameter(x(3))
        return walk(make([{"params": [p], **settings}]), [p])

    return use


def set_later(**settings):
    def use(make):
        p = nn.Parameter(x(3))
        optimizer = make([p])
        walk(optimizer, [p])
        optimizer.param_groups[0].update(settings)
        return walk(optimizer, [p])

    return use


def table_of(*kinds):
    """A use: a parameter with these gradients, one after the other."""

    def use(make):
        p = nn.Parameter(x(4, 2))
        optimizer = make([p])
        for kind in kinds:
            p.grad = None
            p.grad = kind(x(4, 2))
            optimizer.step()
        return p.detach()

    return use


def dense(g):
    return g


def by_row(g):
    return g.to_sparse(1)


def torchs_checkpoint(make):
    p = nn.Parameter(x(3))
    theirs = torch.optim.Adam([p])
    walk(theirs, [p])
    saved = theirs.state_dict()
    saved["param_groups"] = make([p]).state_dict()["param_groups"]
    make([p]).load_state_dict(saved)


def checkpoint_of_other_shapes(make):
    p, q = nn.Parameter(x(3)), nn.Parameter(x(4))
    optimizer = make([p])
    walk(optimizer, [p])
    make([q]).load_state_dict(optimizer.state_dict())


def jagged():
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)


KIND = "rules need dense tensors of real floats"
IDLE = "lacks and would ignore; it has lr"
REFUSED = {
    "complex": ("SGD", KIND, step_of(lambda: x(2).to(torch.complex128), None)),
    "COO": ("SGD", KIND, step_of(lambda: torch.eye(3).to_sparse(), None)),
    "CSR": ("SGD", KIND, step_of(lambda: torch.eye(3).to_sparse_csr(), None)),
    "jagged": ("SGD", KIND, step_of(jagged, None)),
    "two sparse axes": ("SGD", "sparse in its first axis only", step_of(lambda: x(2, 2), lambda: x(2, 2).to_sparse())),
    "sparse, then dense": ("AdaGrad", "sparse and dense gradients; choose one", table_of(by_row, dense)),
    "dense, then sparse": ("AdaGrad", "sparse and dense gradients; choose one", table_of(dense, by_row)),
    "lr below 0": ("Adam", "lr must be finite and at least 0, got -1", in_a_group(lr=-1.0)),
    "lr below 0 later": ("Adam", "lr must be finite and at least 0, got -1", set_later(lr=-1.0)),
    "lr NaN later": ("Adam", "lr must be finite", set_later(lr=float("nan"))),
    "beta1 of 1 later": ("AMSGrad", r"beta1 must be finite and in \[0, 1\)", set_later(betas=(1.1, 0.9))),
    "torch's checkpoint": ("Adam", r"exp_avg.*Adam keeps.*Optimizer\.from_torch", torchs_checkpoint),
    "checkpoint of other shapes": ("Adam", r"m of shape \(3,\) in its state, \(4,\) fits", checkpoint_of_other_shapes),
}
SETTINGS = {
    "Adam": {
        "maximize": True,
        "differentiable": True,
        "foreach": True,
        "fused": True,
        "amsgrad": True,
        "weight_decay": 0.1,
    },
    "SGD": {"momentum": 0.9, "dampening": 0.1},
    "RMSProp": {"momentum": 0.9, "centered": True},
    "AdaGrad": {"lr_decay": 0.1},
}
for name, settings in SETTINGS.items():
    for setting, value in settings.items():
        REFUSED[f"{setting} of {name}"] = name, f"{setting}.*{IDLE}", in_a_group(**{setting: value})
for setting in ("maximize", "weight_decay"):
    REFUSED[f"{setting} later"] = "Adam", f"{setting}.*{IDLE}", set_later(**{setting: 0.1})


@MODES
@pytest.mark.filterwarnings("ignore")  # torch calls some layouts beta
@pytest.mark.parametrize("case", REFUSED)
def test_what_torch_takes_and_ours_does_not_is_refused_clearly(case, compiled):
    name, words, use = REFUSED[case]
    only_ours_refuses(use, words, name, compiled)


def test_momentum_of_a_rule_without_one_is_not_cycled():
    def schedule(optimizer):
        lr_scheduler.CyclicLR(optimizer, 0.01, 0.1)

    schedule(torch.optim.RMSprop([nn.Parameter(x(3))]))
    with pytest.raises(ValueError, match="momentum"):
        schedule(Optimizer([nn.Parameter(x(3))], RMSProp()))


# ---------------------------------------------------------------- beyond torch


def first_in_inference_mode(make):
    p = nn.Parameter(x(3))
    optimizer = make([p])
    with torch.inference_mode():
        walk(optimizer, [p], 1)
    walk(optimizer, [p], 1)
    return p.detach()


def wide_gradients(make):
    p = nn.Parameter(x(3, dtype=torch.bfloat16))
    p.grad_dtype = torch.float32
    walk(make([p]), [p], gradient=lambda t, p: torch.ones(3))
    return p.detach()


def grown_to_float64(make):
    p = nn.Parameter(x(3, dtype=torch.float32))
    optimizer = make([p])
    walk(optimizer, [p], 2)
    p.grad, p.data = None, p.data.double()
    if isinstance(optimizer, Optimizer):
        with pytest.raises(ShapeError, match="converts it"):
            walk(optimizer, [p], 1)
        optimizer.load_state_dict(optimizer.state_dict())
    walk(optimizer, [p], 1)
    return p.detach()


BEYOND = {
    "sparse gradients": table_of(by_row, by_row),
    "a first step in inference mode": first_in_inference_mode,
    "wide gradients": wide_gradients,
    "grown to float64": grown_to_float64,
}


@MODES
@pytest.mark.parametrize("case", BEYOND)
def test_what_torch_refuses_and_ours_takes(case, compiled):
    assert torch.isfinite(only_torch_refuses(BEYOND[case], "Adam", compiled)).all()


@MODES
def test_a_rule_without_a_state_takes_sparse_and_dense_gradients_in_turn(compiled):
    use = table_of(by_row, dense, by_row, dense)
    torch.testing.assert_close(use(maker("SGD", compiled)), use(TORCH["SGD"][1]), rtol=1e-14, atol=0)


# ---------------------------------------------------------------- otherwise, on purpose


def both(use, name="Adam"):
    return use(TORCH[name][1]), use(maker(name))


def test_torch_shares_the_state_that_it_loads_and_ours_is_a_copy():
    def use(make):
        ps = [nn.Parameter(x(3))]
        optimizer, heir = make(ps), make(ps)
        walk(optimizer, ps)
        heir.load_state_dict(optimizer.state_dict())
        own = [leaf for leaf in optimizer.state[ps[0]].values() if isinstance(leaf, torch.Tensor)]
        return any(a is b for a in own for b in heir.state[ps[0]].values())

    assert both(use) == (True, False)


def test_torch_rounds_the_state_of_half_precision_and_ours_is_float32():
    def use(make):
        p = nn.Parameter(x(3, dtype=torch.bfloat16))
        optimizer = make([p])
        walk(optimizer, [p], 1)
        return {
            leaf.dtype for leaf in optimizer.state[p].values() if isinstance(leaf, torch.Tensor) and leaf.shape == (3,)
        }

    assert both(use) == ({torch.bfloat16}, {torch.float32})


def test_the_bias_correction_of_torch_forgets_what_the_betas_were():
    """A constant gradient has itself as its average whatever the betas were: ours still makes steps of lr."""

    def use(make):
        p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = make([p], betas=(0.9, 0.999), eps=0.0, lr=1.0)
        path = walk(optimizer, [p], 3, gradient=lambda t, p: torch.ones_like(p))
        optimizer.param_groups[0]["betas"] = (0.5, 0.9)
        path += walk(optimizer, [p], 1, gradient=lambda t, p: torch.ones_like(p))
        return (path[-2][0] - path[-1][0]).item()

    theirs, ours = both(use)
    assert ours == pytest.approx(1, abs=1e-12)
    assert abs(theirs - 1) > 0.05


def test_momentum_of_a_row_rests_while_it_is_not_visited():
    def use(make):
        p = nn.Parameter(torch.zeros(2, 1, dtype=torch.float64))
        optimizer = make([p])
        for row in (0, 1):
            p.grad = torch.sparse_coo_tensor([[row]], torch.ones(1, 1).double(), (2, 1), check_invariants=True)
            optimizer.step()
        return p.detach()[0].item()

    assert both(use, "HeavyBall") == pytest.approx((-0.02 - 0.02 * 0.8, -0.02))


@pytest.mark.parametrize("judge", [partial(only_ours_refuses, words="."), only_torch_refuses])
def test_a_judge_of_errors_notices_where_there_is_none(judge):
    with pytest.raises(pytest.fail.Exception):
        judge(in_a_group())
