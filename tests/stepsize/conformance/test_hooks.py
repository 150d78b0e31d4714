"""Hooks are called when torch's optimizer calls them, with what it passes, and what they return counts as there."""

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from twins import MODES, both_refuse, compare, equal, normal, uses, walk

x = normal


def parameter():
    p = nn.Parameter(x(3))
    p.grad = x(3, seed=1)
    return p


def order_of_step_hooks(make):
    p, seen = parameter(), []
    optimizer, before = make([p]), p.detach().clone()

    def note(word):
        return lambda *args: seen.append(f"{word}, {len(args)} arguments, moved {not torch.equal(p.detach(), before)}")

    handles = [
        register_optimizer_step_post_hook(note("global post")),
        register_optimizer_step_pre_hook(note("global pre")),
        optimizer.register_step_post_hook(note("post")),
        optimizer.register_step_pre_hook(note("pre")),
        optimizer.register_step_pre_hook(note("second pre")),
    ]
    try:
        optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    optimizer.step()
    return seen


def arguments_of_step_hooks(make):
    p, seen = parameter(), []
    optimizer = make([p])
    optimizer.register_step_pre_hook(lambda o, a, k: seen.append([o is optimizer, len(a), list(k)]))
    optimizer.register_step_post_hook(lambda o, a, k: seen.append([o is optimizer, len(a), list(k)]))
    optimizer.step()
    optimizer.step(lambda: 1.0)
    optimizer.step(closure=lambda: 1.0)
    return seen


def a_pre_hook_gives_another_closure(make):
    optimizer, called = make([parameter()]), []
    optimizer.register_step_pre_hook(lambda o, a, k: ((o, lambda: called.append("other") or 7.0), {}))
    return [optimizer.step(lambda: called.append("own") or 3.0), called]


def a_pre_hook_changes_the_gradient(make):
    p = parameter()
    optimizer = make([p])

    def halve(*_):
        p.grad *= 0.5

    optimizer.register_step_pre_hook(halve)
    return walk(optimizer, [p])


def a_pre_hook_sets_the_lr(make):
    p = parameter()
    optimizer = make([p])
    optimizer.register_step_pre_hook(lambda o, a, k: o.param_groups[0].update(lr=0.2))
    return walk(optimizer, [p])


def a_pre_hook_adds_a_group(make):
    p, late = parameter(), parameter()
    optimizer = make([p])
    handle = optimizer.register_step_pre_hook(lambda o, a, k: o.add_param_group({"params": [late]}))
    optimizer.step()
    handle.remove()
    return walk(optimizer, [p, late])


def a_post_hook_clips_the_weights(make):
    p = parameter()
    optimizer = make([p])
    optimizer.register_step_post_hook(lambda o, a, k: p.data.clamp_(-0.5, 0.5))
    return walk(optimizer, [p])


def a_hook_is_removed_by_itself(make):
    p, seen = parameter(), []
    optimizer = make([p])
    handle = optimizer.register_step_post_hook(lambda *a: (seen.append(1), handle.remove()))
    walk(optimizer, [p], 3)
    return seen


def closures(make):
    p = nn.Parameter(x(3))
    optimizer, seen = make([p]), []

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        seen.append(torch.is_grad_enabled())
        return loss

    losses = []
    for t in range(4):
        with torch.no_grad() if t % 2 else torch.enable_grad():
            losses.append(optimizer.step(closure).item())
    return [losses, seen, p.detach()]


def a_step_without_a_closure_returns(make):
    return [make([parameter()]).step()]


def a_closure_returns_a_number(make):
    return [make([parameter()]).step(lambda: 3)]


def profiled(make):
    optimizer = make([parameter()])
    with torch.profiler.profile() as profile:
        optimizer.step()
        optimizer.zero_grad()
    names = {event.name for event in profile.events()}
    kind = type(optimizer).__name__
    return [f"Optimizer.step#{kind}.step" in names, f"Optimizer.zero_grad#{kind}.zero_grad" in names]


def on_saving(make):
    p, seen = parameter(), []
    optimizer = make([p])
    optimizer.step()
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("pre") or o.param_groups[0].update(lr=0.7))
    optimizer.register_state_dict_post_hook(lambda o, d: seen.append(f"post, {sorted(d)}"))
    optimizer.register_state_dict_post_hook(lambda o, d: seen.append("first post"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "run": "a"})
    saved = optimizer.state_dict()
    return [seen, saved["param_groups"][0]["lr"], saved["run"]]


def on_loading(make):
    p, seen = parameter(), []
    optimizer = make([p])
    optimizer.step()
    saved = optimizer.state_dict()
    heir = make([parameter()])
    heir.register_load_state_dict_pre_hook(lambda o, d: seen.append(f"pre, {len(o.state)}"))
    heir.register_load_state_dict_pre_hook(lambda o, d: seen.append("first pre"), prepend=True)
    heir.register_load_state_dict_post_hook(lambda o: seen.append(f"post, {len(o.state)}"))
    heir.register_load_state_dict_post_hook(lambda o: seen.append("first post"), prepend=True)
    heir.load_state_dict(saved)
    return seen


def a_pre_hook_changes_what_is_loaded(make):
    optimizer = make([parameter()])
    optimizer.step()
    saved = optimizer.state_dict()
    heir = make([p := parameter()])
    heir.register_load_state_dict_pre_hook(
        lambda o, d: {**d, "param_groups": [{**group, "lr": 0.7} for group in d["param_groups"]]}
    )
    heir.load_state_dict(saved)
    return [saved["param_groups"][0]["lr"] == 0.7, heir.param_groups[0]["lr"], walk(heir, [p])]


def a_post_hook_of_loading_sets_the_lr(make):
    optimizer = make([parameter()])
    optimizer.step()
    heir = make([p := parameter()])
    heir.register_load_state_dict_post_hook(lambda o: o.param_groups[0].update(lr=0.7))
    heir.load_state_dict(optimizer.state_dict())
    return walk(heir, [p])


USES = [
    order_of_step_hooks,
    arguments_of_step_hooks,
    a_pre_hook_gives_another_closure,
    a_pre_hook_changes_the_gradient,
    a_pre_hook_sets_the_lr,
    a_pre_hook_adds_a_group,
    a_post_hook_clips_the_weights,
    a_hook_is_removed_by_itself,
    closures,
    a_step_without_a_closure_returns,
    a_closure_returns_a_number,
    on_saving,
    on_loading,
    a_pre_hook_changes_what_is_loaded,
    a_post_hook_of_loading_sets_the_lr,
]


@MODES
@uses(USES)
def test_hooks_and_closures_act_as_with_torch(use, compiled):
    equal(use, compiled=compiled)


def test_a_profiler_sees_the_step_by_the_optimizers_name():
    equal(profiled)


def test_an_error_in_a_hook_or_closure_passes_through():
    def failing(*_):
        raise ZeroDivisionError

    def in_a_hook(make):
        optimizer = make([parameter()])
        optimizer.register_step_pre_hook(failing)
        optimizer.step()

    for use in (in_a_hook, lambda make: make([parameter()]).step(failing)):
        both_refuse(use, ZeroDivisionError)


def test_a_pre_hook_that_returns_neither_nothing_nor_arguments_is_refused():
    def use(make):
        optimizer = make([parameter()])
        optimizer.register_step_pre_hook(lambda o, a, k: 3)
        optimizer.step()

    both_refuse(use, RuntimeError)


def test_the_comparison_notices_a_number_a_word_and_a_key():
    for ours, theirs in ((1.0, 1.1), (["a"], ["b"]), ({"a": 1.0}, {"b": 1.0}), (x(2), x(2) + 1e-9), ([1], [1, 2])):
        compare(theirs, theirs, 1e-12)
        with pytest.raises(AssertionError):
            compare(ours, theirs, 1e-12)
