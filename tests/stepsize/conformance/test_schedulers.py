"""Every scheduler of torch moves the settings of ours as it moves those of torch's optimizer, and the steps follow."""

import copy
import pickle
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as lrs
from torch.optim.swa_utils import SWALR

from stepsize import Adam
from stepsize.optim import Optimizer
from twins import MODES, both_refuse, compare, equal, normal, uses, walk

x = normal


def sequence(optimizer):
    parts = [lrs.ConstantLR(optimizer, 0.1, 2), lrs.ExponentialLR(optimizer, 0.9), lrs.CosineAnnealingLR(optimizer, 5)]
    return lrs.SequentialLR(optimizer, parts, [2, 6])


def chained(optimizer):
    return lrs.ChainedScheduler([lrs.LinearLR(optimizer, 0.3, total_iters=4), lrs.ExponentialLR(optimizer, 0.9)])


RATES = {
    "LambdaLR": partial(lrs.LambdaLR, lr_lambda=lambda t: 0.0 if t < 2 else 0.9**t),
    "LambdaLR for each group": partial(lrs.LambdaLR, lr_lambda=[lambda t: 0.9**t, lambda t: 1 / (1 + t)]),
    "MultiplicativeLR": partial(lrs.MultiplicativeLR, lr_lambda=lambda t: 0.8),
    "StepLR": partial(lrs.StepLR, step_size=3, gamma=0.5),
    "MultiStepLR": partial(lrs.MultiStepLR, milestones=[2, 5], gamma=0.3),
    "ConstantLR": partial(lrs.ConstantLR, factor=0.2, total_iters=4),
    "LinearLR": partial(lrs.LinearLR, start_factor=0.1, total_iters=6),
    "ExponentialLR": partial(lrs.ExponentialLR, gamma=0.8),
    "PolynomialLR": partial(lrs.PolynomialLR, total_iters=8, power=2),
    "CosineAnnealingLR": partial(lrs.CosineAnnealingLR, T_max=5, eta_min=1e-3),
    "CosineAnnealingWarmRestarts": partial(lrs.CosineAnnealingWarmRestarts, T_0=3, T_mult=2),
    "OneCycleLR": partial(lrs.OneCycleLR, max_lr=0.1, total_steps=12, cycle_momentum=False),
    "OneCycleLR for each group": partial(lrs.OneCycleLR, max_lr=[0.1, 0.2], total_steps=12, cycle_momentum=False),
    "CyclicLR": partial(lrs.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=3, cycle_momentum=False),
    "CyclicLR, triangular2": partial(
        lrs.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=2, mode="triangular2", cycle_momentum=False
    ),
    "CyclicLR, exp_range": partial(
        lrs.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=2, mode="exp_range", gamma=0.9, cycle_momentum=False
    ),
    "SequentialLR": sequence,
    "ChainedScheduler": chained,
    "SWALR": partial(SWALR, swa_lr=0.01, anneal_epochs=4),
    "SWALR for each group": partial(SWALR, swa_lr=[0.01, 0.02], anneal_epochs=4, anneal_strategy="linear"),
}
MOMENTA = {
    "OneCycleLR": partial(lrs.OneCycleLR, max_lr=0.1, total_steps=12),
    "OneCycleLR, three phases": partial(
        lrs.OneCycleLR, max_lr=0.1, total_steps=12, three_phase=True, anneal_strategy="linear"
    ),
    "CyclicLR": partial(lrs.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=3),
    "CyclicLR, momenta": partial(
        lrs.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=3, base_momentum=0.5, max_momentum=0.7
    ),
}


def test_all_schedulers_of_torch_are_here():
    here = {getattr(each, "func", each) for each in [*RATES.values(), *MOMENTA.values()]}
    every = {getattr(lrs, name) for name in lrs.__all__} - {lrs.LRScheduler, lrs.ReduceLROnPlateau}  # which has its own
    assert every - here == {lrs.SequentialLR, lrs.ChainedScheduler}  # made in a function


def two_groups(make):
    ps = [nn.Parameter(x(3)), nn.Parameter(x(2))]
    return ps, make([{"params": ps[:1]}, {"params": ps[1:], "lr": 0.07}])


def path(make, schedule, entries=("lr", "initial_lr"), steps=10, middle=None):
    """Settings and parameters after each step; `middle` may put others in the place of parameters, optimizer, scheduler."""
    ps, optimizer = two_groups(make)
    scheduler, seen = schedule(optimizer), []
    for t in range(steps):
        if t == steps // 2 and middle:
            ps, optimizer, scheduler = middle(ps, optimizer, scheduler)
        walk(optimizer, ps, 1, gradient=lambda _, p, t=t: x(*p.shape, seed=t))
        scheduler.step()
        seen.append([[group[name] for name in entries] for group in optimizer.param_groups])
        seen.append([p.detach().clone() for p in ps] + [scheduler.get_last_lr()])
    return seen


@MODES
@uses(RATES)
def test_a_scheduler_of_rates_acts_as_on_torchs_optimizer(use, compiled):
    equal(lambda make: path(make, use), "Adam", compiled)


@MODES
@uses(MOMENTA)
def test_a_scheduler_that_cycles_momentum_acts_as_on_torchs_optimizer(use, compiled):
    equal(lambda make: path(make, use, ("lr", "momentum")), "HeavyBall", compiled)


@MODES
@uses(MOMENTA)
def test_a_scheduler_that_cycles_betas_moves_ours_as_torchs(use, compiled):
    """The steps differ: torch's bias correction takes the present beta to the power t, ours remembers what the betas were."""

    def settings(make):
        return path(make, use, ("lr", "betas"))[::2]

    equal(settings, "Adam", compiled)


@MODES
@pytest.mark.parametrize("how", [{"min_lr": [0.01, 0.02]}, {"mode": "max", "threshold": 0.1}, {"cooldown": 1}])
def test_reduce_on_plateau_acts_as_on_torchs_optimizer(how, compiled):
    def use(make):
        ps, optimizer = two_groups(make)
        scheduler, seen = lrs.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, **how), []
        for t in range(12):
            walk(optimizer, ps, 1)
            scheduler.step([3.0, 2.0, 2.5][t % 3])
            seen.append([group["lr"] for group in optimizer.param_groups])
        return [*seen, *(p.detach() for p in ps)]

    equal(use, "Adam", compiled)


# ---------------------------------------------------------------- taken up again, copied, misused

PICKLED = {name: RATES[name] for name in ("StepLR", "CosineAnnealingLR", "SequentialLR", "ChainedScheduler", "SWALR")}


def resumed(schedule, make):
    def middle(ps, optimizer, scheduler):
        fresh = [nn.Parameter(p.detach().clone()) for p in ps]
        heir = make([{"params": fresh[:1]}, {"params": fresh[1:]}])
        follower = schedule(heir)
        heir.load_state_dict(optimizer.state_dict())
        follower.load_state_dict(scheduler.state_dict())
        return fresh, heir, follower

    return middle


@MODES
@uses({name: each for name, each in RATES.items() if "each group" not in name} | {"momentum": MOMENTA["OneCycleLR"]})
def test_a_schedule_goes_on_from_a_checkpoint_as_with_torch(use, compiled):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some ask to save the scheduler too, which is done
        equal(lambda make: path(make, use, ("lr",), middle=resumed(use, make)), "HeavyBall", compiled)


@pytest.mark.filterwarnings("ignore:Seems like")  # of torch's copies too
@uses(PICKLED)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda all_: pickle.loads(pickle.dumps(all_))], ids=["copy", "pickle"]
)
def test_copies_with_their_schedule_go_on_as_torchs(use, copied):
    equal(lambda make: path(make, use, ("lr",), middle=lambda *all_: copied(all_)))


def a_tensor_is_written(make):
    """A scheduler writes into a tensor, and does not replace it."""
    ps, optimizer = two_groups(make)
    held = optimizer.param_groups[0]["lr"] = torch.tensor(0.1, dtype=torch.float64)
    scheduler, seen = lrs.ExponentialLR(optimizer, 0.5), []
    for _ in range(4):
        walk(optimizer, ps, 1)
        scheduler.step()
        seen.append([held, optimizer.param_groups[0]["lr"] is held])
    return [*seen, *(p.detach() for p in ps)]


def stepped_before_the_optimizer(make):
    ps, optimizer = two_groups(make)
    scheduler = lrs.StepLR(optimizer, 1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        scheduler.step()
        walk(optimizer, ps, 1)
        scheduler.step()
    return ["before `optimizer.step()`" in str(warning.message) for warning in seen]


def stepped_after_the_optimizer(make):
    ps, optimizer = two_groups(make)
    scheduler = lrs.StepLR(optimizer, 1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        walk(optimizer, ps, 1)
        scheduler.step()
    return [len(seen)]


def two_schedulers(make):
    ps, optimizer = two_groups(make)
    schedulers, seen = [lrs.ExponentialLR(optimizer, 0.9), lrs.StepLR(optimizer, 2)], []
    for _ in range(6):
        walk(optimizer, ps, 1)
        for scheduler in schedulers:
            scheduler.step()
        seen.append([group["lr"] for group in optimizer.param_groups])
    return seen


def begun_in_the_middle(make):
    ps, optimizer = two_groups(make)
    for group in optimizer.param_groups:
        group["initial_lr"] = 0.4
    scheduler = lrs.ExponentialLR(optimizer, 0.5, last_epoch=3)
    walk(optimizer, ps, 2)
    scheduler.step()
    return [group["lr"] for group in optimizer.param_groups]


def a_scheduler_of_ones_own(make):
    class Harmonic(lrs.LRScheduler):
        def get_lr(self):
            return [base / (1 + self.last_epoch) for base in self.base_lrs]

    return path(make, Harmonic)


def closure_under_a_scheduler(make):
    """A scheduler wraps `step`: the closure and its loss pass through."""
    _, optimizer = two_groups(make)
    lrs.StepLR(optimizer, 1)
    return [optimizer.step(lambda: 3.0), optimizer._opt_called]


def hooks_under_a_scheduler(make):
    (ps, optimizer), seen = two_groups(make), []
    lrs.StepLR(optimizer, 1)
    optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
    optimizer.register_step_post_hook(lambda *_: seen.append("post"))
    walk(optimizer, ps, 2)
    return seen


@MODES
@uses(
    [
        a_tensor_is_written,
        stepped_before_the_optimizer,
        stepped_after_the_optimizer,
        two_schedulers,
        begun_in_the_middle,
        a_scheduler_of_ones_own,
        closure_under_a_scheduler,
        hooks_under_a_scheduler,
    ]
)
def test_a_scheduler_and_ours_meet_as_with_torch(use, compiled):
    equal(use, compiled=compiled)


def test_a_rate_given_as_a_tensor_stays_that_tensor():
    ends = []
    for make in (torch.optim.Adam, lambda ps, lr: Optimizer(ps, Adam(lr))):
        p, lr = nn.Parameter(x(3)), torch.tensor(0.1, dtype=torch.float64)
        optimizer = make([p], lr)
        first = walk(optimizer, [p])
        lr.fill_(0.3)
        ends.append(first + walk(optimizer, [p]))
    compare(*reversed(ends), 1e-12)


def test_momentum_is_not_cycled_where_there_is_none():
    for schedule in (partial(lrs.CyclicLR, base_lr=0.01), partial(lrs.OneCycleLR, total_steps=9)):
        both_refuse(lambda make, s=schedule: s(make([nn.Parameter(x(3))]), max_lr=0.1), ValueError, "AdaGrad")
