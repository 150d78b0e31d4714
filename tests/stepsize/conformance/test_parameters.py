"""Every kind of parameter and gradient goes as with torch's optimizer."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef

from stepsize import Adam
from stepsize.optim import Optimizer
from twins import MODES, both_refuse, equal, normal, only_torch_refuses, uses, walk

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
x = normal


class Special(nn.Parameter):
    """A subclass of Parameter, as quantizers and sharders make them."""


class Marked(torch.Tensor):
    """A subclass of tensors that is one in all but its type."""


def alike(*tensors):
    return [t if isinstance(t, nn.Parameter) else nn.Parameter(t) for t in tensors]


def parts(base, *slices):
    return alike(*(base[part] for part in slices))


KINDS = {
    "0-dim": lambda: alike(x()),
    "one number": lambda: alike(x(1)),
    "0-size": lambda: alike(x(0), x(0, 3), x(2)),
    "several shapes": lambda: alike(x(3, 4), x(4), x(), x(2, 1, 3)),
    "sixty": lambda: alike(*(x(k % 5 + 1, seed=k) for k in range(60))),
    "longer than a block": lambda: alike(x(70_001)),
    "transposed": lambda: alike(x(4, 3).t()),
    "slice": lambda: alike(x(4, 6)[:, ::2]),
    "column": lambda: alike(x(4, 6)[:, 1]),
    "channels_last": lambda: alike(x(2, 3, 4, 4).to(memory_format=torch.channels_last)),
    "channels_last_3d": lambda: alike(x(1, 2, 2, 3, 2).to(memory_format=torch.channels_last_3d)),
    "axes of size one expanded": lambda: alike(x(3).as_strided((1, 3), (0, 1))),
    "negative view": lambda: alike(torch._neg_view(x(5))),
    "real part of a complex": lambda: alike(torch.complex(x(3, 2), x(3, 2)).real),
    "halves of a storage": lambda: parts(x(6), slice(3), slice(3, 6)),
    "interleaved in a storage": lambda: parts(x(6), slice(0, 6, 2), slice(1, 6, 2)),
    "overlapping in a storage": lambda: parts(x(6), slice(4), slice(2, 6)),
    "one storage, two shapes": lambda: (lambda base: alike(base, base.view(2, 3)))(x(6)),
    "memory of NumPy": lambda: alike(torch.from_numpy(np.linspace(-1, 1, 7))),
    "shared between processes": lambda: alike(x(5).share_memory_()),
    "leaf that is no Parameter": lambda: [x(5).requires_grad_()],
    "not requires_grad": lambda: [nn.Parameter(x(4), requires_grad=False), *alike(x(3))],
    "subclass of Parameter": lambda: [Special(x(3, 2)), *alike(x(3))],
    "subclass of tensors": lambda: alike(x(3, 2).as_subclass(Marked), x(4)),
    "two dtypes": lambda: alike(x(3), x(3, dtype=torch.float32), x(2)),
}


@MODES
@pytest.mark.parametrize("name", ["HeavyBall", "Adam"])
@uses(KINDS)
def test_a_kind_of_parameter_steps_as_with_torch(use, name, compiled):
    def stepped(make):
        params = use()
        return walk(make(params), params)

    equal(stepped, name, compiled)


@MODES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["SGD", "HeavyBall", "Adam", "RMSProp"])
def test_a_dtype_steps_as_with_torch_to_its_precision(name, dtype, compiled):
    """torch rounds the state of half-precision parameters to half precision, we keep it in float32: hence the tolerance."""

    def stepped(make):
        params = alike(x(40, dtype=dtype), x(2, 3, dtype=dtype))
        return walk(make(params), params)

    equal(stepped, name, compiled)


def test_a_rate_that_is_off_by_a_millionth_is_noticed():
    def off(params):
        return Optimizer(params, Adam(0.05 * (1 + 1e-6), 0.8, 0.99, 1e-3))

    def stepped(make):
        params = alike(x(3))
        return walk(make(params), params)

    equal(stepped)
    with pytest.raises(AssertionError):
        equal(stepped, ours=off)


# ---------------------------------------------------------------- gradients


def alternating(t, p):
    return None if t % 2 else x(*p.shape, seed=t)


def shared_gradient():
    """One tensor is the gradient of all, and lies still between the steps."""
    g = x(4, 6)
    return lambda t, p: g


def with_a_graph(t, p):
    (p * p).sum().backward(create_graph=True, inputs=[p])
    return p.grad


GRADIENTS = {
    "zeros": lambda t, p: torch.zeros_like(p),
    "expanded": lambda t, p: x(6, seed=t).expand(4, 6),
    "expanded from a scalar": lambda t, p: x(seed=t).expand(4, 6),
    "transposed": lambda t, p: x(6, 4, seed=t).t(),
    "slice": lambda t, p: x(4, 12, seed=t)[:, ::2],
    "negative view": lambda t, p: torch._neg_view(x(4, 6, seed=t)),
    "none": lambda t, p: None,
    "every other step": alternating,
    "NaN": lambda t, p: torch.full_like(p, np.nan if t == 2 else 1),
    "infinite": lambda t, p: torch.full_like(p, -np.inf if t == 3 else 1),
    "tiny": lambda t, p: torch.full_like(p, 1e-310),
    "huge": lambda t, p: torch.full_like(p, 1e200),
    "one for all": shared_gradient(),
    "with a graph": with_a_graph,
    "that requires a gradient": lambda t, p: x(4, 6, seed=t).requires_grad_(),
    "the parameter's values": lambda t, p: p.detach().clone(),
    "subclass": lambda t, p: x(4, 6, seed=t).as_subclass(Marked),
}


@MODES
@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
@pytest.mark.parametrize("name", ["HeavyBall", "AMSGrad"])
@uses(GRADIENTS)
def test_a_kind_of_gradient_steps_as_with_torch(use, name, compiled):
    def stepped(make):
        params = alike(x(4, 6), x(4, 6, seed=1))
        return walk(make(params), params, gradient=use)

    equal(stepped, name, compiled)


@MODES
def test_a_gradient_of_another_dtype_steps_as_with_torchs_sgd(compiled):
    """torch's Adam refuses it, see test_differences.py."""

    def stepped(make):
        p = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
        p.grad_dtype = torch.float32
        return walk(make([p]), [p], gradient=lambda t, p: torch.full((3,), 0.5))

    equal(stepped, "SGD", compiled)


def rows(t, p, indices=(0, 2), coalesced=True, width=2):
    values = x(len(indices), width, seed=t)
    g = torch.sparse_coo_tensor([indices], values, (5, width), check_invariants=True)
    return g.coalesce() if coalesced else g


SPARSE = {
    "coalesced": rows,
    "repeated rows": partial(rows, indices=(3, 1, 3), coalesced=False),
    "all rows": partial(rows, indices=range(5)),
    "no rows": partial(rows, indices=()),
    "other rows each time": lambda t, p: rows(t, p, indices=(t % 5,)),
    "every other step": lambda t, p: rows(t, p) if t % 2 else None,
}


@MODES
@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("name", ["SGD", "AdaGrad"])
@uses(SPARSE)
def test_a_sparse_gradient_steps_as_with_torch(use, name, compiled):
    def stepped(make):
        params = alike(x(5, 2))
        return walk(make(params), params, gradient=use)

    equal(stepped, name, compiled)


@MODES
@pytest.mark.parametrize("name", ["Adam", "RMSProp"])
def test_rules_whose_sparse_gradients_torch_refuses_step_their_rows(name, compiled):
    def stepped(make):
        (p,) = alike(x(5, 2))
        walk(make([p]), [p], gradient=rows)
        return p.detach()

    assert (only_torch_refuses(stepped, name, compiled) != x(5, 2)).all(1).tolist() == [True, False, True, False, False]


@MODES
def test_adam_on_all_rows_is_torchs_sparse_adam(compiled):
    """torch adds eps before the bias correction: with eps = 0 they are the same."""
    ends = []
    for make in (partial(Optimizer, rule=Adam(0.1, eps=0), compiled=compiled), partial(torch.optim.SparseAdam, lr=0.1)):
        params = alike(x(5, 2))
        optimizer = make(params)
        optimizer.param_groups[0]["eps"] = 0.0
        ends.append(walk(optimizer, params, gradient=SPARSE["all rows"])[-1][0])
    torch.testing.assert_close(*ends, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- what changes between steps


def frozen(make):
    """requires_grad_(False) does not stop a step, a gradient of None does."""
    params = alike(x(3), x(2))
    optimizer = make(params)
    walk(optimizer, params)
    params[0].requires_grad_(False)
    path = walk(optimizer, params[1:])
    params[0].grad = None
    return path + walk(optimizer, params[1:]) + walk(optimizer, params)


def zeroed_gradients(make):
    params = alike(x(3))
    optimizer = make(params)
    walk(optimizer, params)
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()
    optimizer.zero_grad()
    optimizer.step()
    return [params[0].grad is None, params[0].detach()]


def tied(make):
    """Two layers with one weight: model.parameters() gives it once."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).double()
    for p in model.parameters():
        p.data.copy_(x(*p.shape))
    model[1].weight = model[0].weight
    optimizer = make(model.parameters())
    for t in range(4):
        optimizer.zero_grad()
        model(x(5, 3, seed=t)).square().sum().backward()
        optimizer.step()
    return list(model.state_dict().values())


def other_data(make):
    """Memory changes under the optimizer, as in an exchange of weights."""
    params = alike(x(3))
    optimizer = make(params)
    walk(optimizer, params)
    params[0].data = x(3, seed=7)
    return walk(optimizer, params)


def data_of_another_layout(make):
    params = alike(x(4, 6))
    optimizer = make(params)
    walk(optimizer, params)
    params[0].data = params[0].detach().t().contiguous().t()
    return walk(optimizer, params)


def written_in_place(make):
    params = alike(x(3))
    optimizer = make(params)
    walk(optimizer, params)
    nn.init.constant_(params[0], 2.0)
    return walk(optimizer, params)


def moved_to_shared_memory(make):
    """Parameters and states get other addresses under the optimizer."""
    params = alike(x(3))
    optimizer = make(params)
    walk(optimizer, params)
    for t in [*params, *optimizer.state[params[0]].values()]:
        if isinstance(t, torch.Tensor):
            t.share_memory_()
    return walk(optimizer, params)


def swapped_tensors(make):
    """As a module's conversion does with torch.__future__.set_swap_module_params_on_conversion."""
    params = alike(x(3))
    optimizer = make(params)
    walk(optimizer, params)
    params[0].grad = None
    torch.utils.swap_tensors(params[0], nn.Parameter(x(3, seed=9)))
    return walk(optimizer, params)


def in_threads(make):
    """Four trainings at a time, each with an optimizer of its own."""

    def trained(seed):
        params = alike(x(50, seed=seed))
        return walk(make(params), params, 20)[-1]

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(trained, range(8)))


def memory_is_given_back(make):
    """Nothing holds the numbers of a parameter that has moved, as in offloading, or of a state that is cleared."""
    params = alike(x(100))
    optimizer = make(params)
    walk(optimizer, params)
    state = [t for t in optimizer.state[params[0]].values() if isinstance(t, torch.Tensor)]
    held = [StorageWeakRef(t.untyped_storage()) for t in [*params, params[0].grad, *state]]
    params[0].data, params[0].grad = x(100, seed=9), None
    del state
    optimizer.state.clear()
    return [all(storage.expired() for storage in held), walk(optimizer, params)]


def lazy_module(make):
    """A parameter without a shape when the optimizer is made."""
    model = nn.LazyLinear(2, dtype=torch.float64)
    optimizer = make(model.parameters())
    model(x(4, 3))
    for p in model.parameters():
        p.data.copy_(x(*p.shape))
    return walk(optimizer, list(model.parameters()))


def accumulated(make):
    (p,) = alike(x(3))
    optimizer = make([p])
    for t in range(6):
        (p * x(3, seed=t)).square().sum().backward()
        if t % 2:
            optimizer.step()
            optimizer.zero_grad()
    return p.detach()


def stepped_in_backward(make):
    """One optimizer for each parameter, stepped where its gradient is ready."""
    params = alike(x(3), x(2))
    optimizers = {p: make([p]) for p in params}

    def step(p):
        optimizers[p].step()
        p.grad = None

    for p in params:
        p.register_post_accumulate_grad_hook(step)
    for _ in range(4):
        sum((p**3).sum() for p in params).backward()
    return [p.detach() for p in params]


def two_optimizers(make):
    """Both hold the parameter: each has a state of its own."""
    params = alike(x(3))
    first, second = make(params), make(params)
    walk(first, params)
    walk(second, params)
    return walk(first, params)


def in_inference_mode(make):
    params = alike(x(3))
    optimizer = make(params)
    walk(optimizer, params, 2)
    with torch.inference_mode():
        optimizer.step()
    return params[0].detach()


def under_detect_anomaly(make):
    params = alike(x(3))
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        return walk(make(params), params)


def deterministic(make):
    params = alike(x(3))
    torch.use_deterministic_algorithms(True)
    try:
        return walk(make(params), params)
    finally:
        torch.use_deterministic_algorithms(False)


def another_default_dtype(make):
    params = alike(x(3))
    torch.set_default_dtype(torch.float64)
    try:
        return walk(make(params), params)
    finally:
        torch.set_default_dtype(torch.float32)


def under_autocast(make):
    params = alike(x(3, 3))
    with torch.autocast("cpu", torch.bfloat16):
        return walk(make(params), params)


def under_a_default_device(make):
    params = alike(x(3))
    optimizer = make(params)
    params[0].grad = x(3, seed=1)
    with torch.device("meta"):
        optimizer.step()
        optimizer.step()
    return params[0].detach()


def with_fake_tensors(make):
    with FakeTensorMode():
        params = alike(torch.ones(3))
        params[0].grad = torch.ones(3)
        make(params).step()
        return [type(params[0]).__name__, list(params[0].shape)]


def parameters_in_collections(make):
    """Values and items of a dictionary, a tuple, a generator, names with parameters."""
    a, b = alike(x(3), x(2))
    pairs = {"a": a, "b": b}
    kinds = [pairs.values(), pairs.items(), (a, b), (p for p in (a, b)), iter([{"params": a}, {"params": (b,)}])]
    return [walk(make(kind), [a, b], 2) for kind in kinds]


def version_counters(make):
    """Autograd knows that a parameter has changed, and one without gradient has not."""
    params = alike(x(3), x(2), x(0))
    optimizer, before = make(params), [p._version for p in params]
    walk(optimizer, params[:1], 1)
    return [p._version > v for p, v in zip(params[:2], before, strict=False)]


def gradient_mode_after_the_step(make):
    params = alike(x(3))
    walk(make(params), params)
    seen = [torch.is_grad_enabled(), params[0].requires_grad, params[0].is_leaf]
    with torch.no_grad():
        walk(make(params), params)
        return [*seen, torch.is_grad_enabled()]


def gradients_stay(make):
    params = alike(x(3))
    optimizer = make(params)
    params[0].grad = g = x(3, seed=3)
    optimizer.step()
    return [params[0].grad is g, g]


def parametrized(make):
    layer = nn.Linear(3, 2).double()
    for p in layer.parameters():
        p.data.copy_(x(*p.shape))
    nn.utils.parametrizations.weight_norm(layer)
    optimizer = make(layer.parameters())
    for t in range(4):
        optimizer.zero_grad()
        layer(x(5, 3, seed=t)).square().sum().backward()
        optimizer.step()
    return list(layer.state_dict().values())


def clipped(make):
    params = alike(x(3), x(2, 2))
    optimizer, path = make(params), []
    for t in range(4):
        for p in params:
            p.grad = 10 * x(*p.shape, seed=t)
        path.append(nn.utils.clip_grad_norm_(params, 1.0))
        nn.utils.clip_grad_value_(params, 0.3)
        optimizer.step()
    return path + [p.detach() for p in params]


def from_a_vector(make):
    params = alike(x(3), x(2, 2))
    optimizer = make(params)
    walk(optimizer, params)
    nn.utils.vector_to_parameters(x(7, seed=5), params)
    walk(optimizer, params)
    return nn.utils.parameters_to_vector(params).detach()


CHANGES = [
    frozen,
    zeroed_gradients,
    tied,
    other_data,
    data_of_another_layout,
    written_in_place,
    moved_to_shared_memory,
    memory_is_given_back,
    swapped_tensors,
    in_threads,
    lazy_module,
    accumulated,
    stepped_in_backward,
    two_optimizers,
    in_inference_mode,
    under_detect_anomaly,
    deterministic,
    another_default_dtype,
    under_autocast,
    under_a_default_device,
    with_fake_tensors,
    parameters_in_collections,
    version_counters,
    gradient_mode_after_the_step,
    gradients_stay,
    parametrized,
    clipped,
    from_a_vector,
]


@MODES
@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.filterwarnings("ignore:Anomaly")
@uses(CHANGES)
def test_what_happens_between_steps_counts_as_with_torch(use, compiled):
    equal(use, compiled=compiled)


def test_a_meta_parameter_steps_without_numbers():
    def stepped(make):
        params = [nn.Parameter(torch.empty(3, device="meta"))]
        optimizer = make(params)
        params[0].grad = torch.empty(3, device="meta")
        optimizer.step()
        return [str(params[0].device), list(params[0].shape)]

    equal(stepped)


# ---------------------------------------------------------------- what neither takes


def expanded(make):
    walk(make(params := alike(x(1).expand(5))), params)


def state_changed(change):
    """A use: a part of the state is replaced by a view of it, at the same address."""

    def use(make):
        params = alike(x(6))
        optimizer = make(params)
        walk(optimizer, params)
        state = optimizer.state[params[0]]
        name = next(name for name, leaf in state.items() if isinstance(leaf, torch.Tensor) and leaf.shape == (6,))
        state[name] = change(state[name])
        walk(optimizer, params)

    return use


NEITHER = {
    "no parameters": (ValueError, lambda make: make([])),
    "a spent generator": (ValueError, lambda make: make(p for p in ())),
    "a tensor": (TypeError, lambda make: make(nn.Parameter(x(3)))),
    "a set": (TypeError, lambda make: make([{"params": set(alike(x(3)))}])),
    "numbers": (TypeError, lambda make: make([1.0])),
    "arrays": (TypeError, lambda make: make([np.ones(3)])),
    "no leaf": (ValueError, lambda make: make([2 * nn.Parameter(x(3))])),
    "some with names": (ValueError, lambda make: make([("a", nn.Parameter(x(3))), nn.Parameter(x(2))])),
    "twice, in two groups": (ValueError, lambda make: make([{"params": p} for p in alike(x(3)) * 2])),
    "a shorter state": ((RuntimeError, ValueError), state_changed(lambda leaf: leaf[:2])),
    "a state of integers": ((RuntimeError, ValueError), state_changed(lambda leaf: leaf.view(torch.int64))),
    "a state of float32": ((RuntimeError, ValueError), state_changed(torch.Tensor.float)),
    "expanded": ((RuntimeError, ValueError), expanded),
}


@MODES
@pytest.mark.parametrize("case", NEITHER)
def test_what_torch_does_not_take_ours_does_not_take_either(case, compiled):
    error, use = NEITHER[case]
    both_refuse(use, error, compiled=compiled)
