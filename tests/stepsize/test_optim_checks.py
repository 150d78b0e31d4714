"""No array reaches machine code unchecked: what does not fit is named before anything moves, the rest goes as in torch."""

import json
import multiprocessing
import os
import subprocess
import sys
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, AMSGrad, ClipByNorm, Decoupled, HeavyBall, RMSProp, addresses, chain, optim
from stepsize.addresses import pieces
from stepsize.errors import HyperparameterError, ShapeError, StepsizeError
from stepsize.optim import Optimizer

MODES = pytest.mark.parametrize("compiled", [None, False], ids=["machine code", "NumPy"])


def parameter(*shape, dtype=torch.float32, g=1.0):
    p = nn.Parameter(torch.zeros(shape, dtype=dtype))
    p.grad = torch.full(shape, g, dtype=dtype)
    return p


def stepped(params, rule=None, steps=1, **how):
    optimizer = Optimizer(params, rule or Adam(0.1), **how)
    for _ in range(steps):
        optimizer.step()
    return optimizer


def table(rows, columns, indices, compiled):
    p = nn.Parameter(torch.zeros(rows, columns))
    p.grad = rows_of(indices, p)
    return p, Optimizer([p], Adam(0.1), compiled=compiled)


def rows_of(indices, p):
    values = torch.ones(len(indices), *p.shape[1:], dtype=p.dtype)
    return torch.sparse_coo_tensor([indices], values, p.shape, check_invariants=False)


# ---------------------------------------------------------------- states that do not fit


@MODES
def test_a_state_of_other_shapes_is_refused_and_nothing_of_it_is_loaded(compiled):
    a, b = parameter(8), parameter(4096)
    saved = stepped([a, b]).state_dict()
    optimizer = Optimizer([b, a], Adam(), compiled=compiled)
    with pytest.raises(ShapeError, match=r"parameter 0 of group 0 of shape \(4096,\).*\(8,\).*order of the saved"):
        optimizer.load_state_dict(saved)
    assert not optimizer.state


def test_a_parameter_is_called_by_its_name_where_it_has_one():
    saved = stepped([("head.weight", parameter(3))]).state_dict()
    with pytest.raises(ShapeError, match=r"parameter 'body.bias' of shape \(5,\)"):
        Optimizer([("body.bias", parameter(5))], Adam()).load_state_dict(saved)


@MODES
def test_a_state_of_a_smaller_table_is_refused(compiled):
    _, small = table(4, 2, [1, 2], compiled)
    small.step()
    _, large = table(2_000_000, 2, [1_999_999], compiled)
    with pytest.raises(ShapeError, match=r"\(4, 2\) in its state, \(2000000, 2\) fits"):
        large.load_state_dict(small.state_dict())


@MODES
@pytest.mark.parametrize("size", [2, 5, 100_000])
def test_a_state_put_in_by_hand_is_checked_before_the_step(compiled, size):
    p = parameter(3)
    optimizer = stepped([p], compiled=compiled, steps=2)
    before = p.detach().clone()
    optimizer.state[p]["v"] = torch.zeros(size)
    with pytest.raises(ShapeError, match=rf"v of shape \({size},\)"):
        optimizer.step()
    assert torch.equal(p.detach(), before)


@MODES
@pytest.mark.parametrize("value", [None, 1.0, "v", torch.zeros(3).to_sparse(), torch.zeros(3, dtype=torch.complex64)])
def test_a_state_that_is_no_tensor_of_real_numbers_is_named(compiled, value):
    p = parameter(3)
    optimizer = stepped([p], compiled=compiled)
    optimizer.state[p]["v"] = value
    with pytest.raises(ShapeError, match=r"v = .*a dense tensor of real numbers"):
        optimizer.step()
    del optimizer.state[p]["v"]
    with pytest.raises(ShapeError, match="Adam keeps"):
        optimizer.step()


def test_a_state_that_is_begun_anew_is_a_remedy():
    p = parameter(3)
    optimizer = stepped([p])
    p.data, p.grad = torch.zeros(50), torch.ones(50)
    with pytest.raises(ShapeError, match=r"begin anew: del optimizer.state\[parameter\]"):
        optimizer.step()
    del optimizer.state[p]
    optimizer.step()
    assert p.detach().tolist() == pytest.approx([-0.1] * 50)


@MODES
@pytest.mark.parametrize("shape", [(100_000,), (2,), (1, 3), ()])
def test_a_parameter_whose_data_was_swapped_needs_a_gradient_of_its_shape(compiled, shape):
    p = parameter(3)
    optimizer = stepped([p], compiled=compiled)
    p.data = torch.zeros(shape)
    with pytest.raises(ShapeError, match=r"gradient of shape \(3,\).*compute the gradient again"):
        optimizer.step()


@MODES
@pytest.mark.parametrize("rows", [6, 2])
def test_a_table_that_has_grown_or_shrunk_is_refused(compiled, rows):
    p, optimizer = table(4, 2, [1], compiled)
    optimizer.step()
    p.data = torch.zeros(rows, 2)
    p.grad = rows_of([1], p)
    with pytest.raises(ShapeError, match=rf"\(4, 2\) in its state, \({rows}, 2\) fits"):
        optimizer.step()


@MODES
@pytest.mark.parametrize("indices", [[0, 4], [-1, 0], [10**12]])
def test_a_row_beyond_the_table_is_refused(compiled, indices):
    _, optimizer = table(4, 2, indices, compiled)
    with pytest.raises(ShapeError, match=r"rows are 0 \.\.\. 3"):
        optimizer.step()
    assert not optimizer.state


@MODES
def test_all_parameters_step_or_none(compiled):
    a, b, c = parameter(3), parameter(2, 2), parameter(4, 2)
    c.grad = rows_of([9], c)
    optimizer = Optimizer([{"params": [a, b]}, {"params": [c]}], Adam(), compiled=compiled)
    with pytest.raises(ShapeError, match="parameter 0 of group 1"):
        optimizer.step()
    assert not optimizer.state
    assert not any(p.detach().any() for p in (a, b, c))


@MODES
def test_a_value_that_a_rule_refuses_stops_all_groups(compiled):
    a, b = parameter(3), parameter(3)
    optimizer = Optimizer([{"params": [a]}, {"params": [b]}], Adam(), compiled=compiled)
    optimizer.param_groups[1]["lr"] = float("nan")
    with pytest.raises(HyperparameterError, match="lr must be finite"):
        optimizer.step()
    assert not a.detach().any()


def test_a_storage_that_was_resized_is_noticed():
    p = parameter(1000)
    optimizer = stepped([p], steps=2)
    for t in (p, p.grad, optimizer.state[p]["m"]):
        size = t.untyped_storage().nbytes()
        t.untyped_storage().resize_(16)
        with pytest.raises(ShapeError, match="storage"):
            optimizer.step()
        t.untyped_storage().resize_(size)
    optimizer.step()


@MODES
def test_a_parameter_that_becomes_double_says_how_its_state_follows(compiled):
    p = parameter(3)
    optimizer = stepped([p], compiled=compiled)
    p.data, p.grad = p.data.double(), p.grad.double()
    with pytest.raises(ShapeError, match=r"float64.*float32.*load_state_dict\(optimizer.state_dict\(\)\)"):
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step()
    assert optimizer.state[p]["v"].dtype == torch.float64
    assert p.detach().tolist() == pytest.approx([-0.2] * 3, rel=1e-5)


# ---------------------------------------------------------------- odd tensors


@MODES
@pytest.mark.filterwarnings("ignore:Sparse CSR")  # torch calls it beta
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.to(torch.complex64),
        torch.Tensor.to_sparse_csr,
        torch.Tensor.to_sparse_coo,
        lambda t: t.to(torch.int64),
        lambda t: t.to(torch.float8_e4m3fn),
    ],
    ids=["complex", "CSR", "COO", "integer", "float8"],
)
def test_what_no_rule_can_step_is_refused_at_the_start(compiled, change):
    odd = change(torch.eye(3))
    p = nn.Parameter(odd, requires_grad=odd.dtype != torch.int64)
    with pytest.raises(ShapeError, match=rf"layout {odd.layout} and dtype {odd.dtype}.*real floats"):
        Optimizer([p], Adam(), compiled=compiled)


@MODES
def test_several_numbers_in_one_place_are_refused_as_by_torch(compiled):
    base = torch.zeros(6)
    for data in (torch.zeros(1).expand(5), torch.zeros(2, 1).expand(2, 3), base.as_strided((3, 2), (1, 1))):
        p = nn.Parameter(data)
        p.grad = torch.ones(p.shape)
        with pytest.raises(ShapeError, match=r"several numbers in one place.*clone"):
            Optimizer([p], Adam(), compiled=compiled).step()
    p = nn.Parameter(torch.zeros(1).expand(5))
    p.grad = torch.ones(5)
    with pytest.raises(RuntimeError, match="single memory location"):
        torch.optim.SGD([p]).step()


@MODES
@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x.t().contiguous().t(),
        lambda x: torch.stack([x, x], -1)[..., 1],
        lambda x: torch.cat([x, x])[: len(x)],
        lambda x: torch.flip(x.contiguous(), (0,)).flip(0),
        lambda x: torch._neg_view(-x),
    ],
    ids=["transposed", "strided", "view", "copy", "negative"],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_layouts_of_parameters_gradients_and_states_do_not_matter(compiled, layout, dtype):
    start, *gradients = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 4, 6))).to(dtype)
    ends = []
    for laid in (lambda x: x, layout):
        p = nn.Parameter(laid(start.clone()))
        optimizer = Optimizer([p], Adam(0.1), compiled=compiled)
        for g in gradients:
            p.grad = laid(g.clone())
            optimizer.step()
            optimizer.state[p]["m"] = laid(optimizer.state[p]["m"][:, None])[:, 0]
        ends.append(p.detach().clone(memory_format=torch.contiguous_format))
    assert torch.equal(*ends)


@MODES
@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (2, 0), (3, 1, 2)])
def test_any_shape_steps_as_in_torch(compiled, shape):
    p, q = (parameter(*shape, dtype=torch.float64, g=0.5) for _ in range(2))
    ours, theirs = Optimizer([p], Adam(0.1), compiled=compiled), torch.optim.Adam([q], 0.1)
    for _ in range(3):
        ours.step()
        theirs.step()
    torch.testing.assert_close(p, q, rtol=1e-14, atol=0)


def overlapping():
    """Tensors that share memory in part, in full, and interleaved."""
    base = torch.linspace(-1, 1, 40, dtype=torch.float64)
    return base, [base[:10], base[5:15], base[20:30], base[20:30], base[30::2], base[31::2]]


@MODES
@pytest.mark.parametrize("rule", [SGD(0.1), Adam(0.1)])
def test_parameters_that_share_memory_step_one_after_the_other_as_in_torch(compiled, rule):
    ends = []
    for make in (
        partial(Optimizer, rule=rule, compiled=compiled),
        partial(torch.optim.SGD if isinstance(rule, SGD) else torch.optim.Adam, lr=0.1, foreach=False),
    ):
        base, views = overlapping()
        params = [nn.Parameter(view) for view in views]
        optimizer = make(params)
        for t in range(4):
            for k, p in enumerate(params):
                p.grad = torch.full_like(p, 1.0 + k + t)
            optimizer.step()
        ends.append(base)
    assert torch.allclose(*ends, rtol=1e-13, atol=0)


@MODES
@pytest.mark.parametrize("shift", [-2, -1, 0, 1, 2])
def test_a_gradient_in_the_memory_of_a_parameter_counts_as_it_was(compiled, shift):
    base = torch.linspace(1, 2, 14, dtype=torch.float64)
    p, q = nn.Parameter(base[2:12]), nn.Parameter(base[2:12].clone())
    q.grad = base[2 + shift : 12 + shift].clone()
    p.grad = base[2 + shift : 12 + shift]
    for x in (p, q):
        Optimizer([x], HeavyBall(0.5), compiled=compiled).step()
    assert torch.equal(p, q)
    other = nn.Parameter(torch.zeros(10, dtype=torch.float64))
    other.grad = p.detach()
    optimizer = Optimizer([other, p], SGD(1.0), compiled=compiled)
    for _ in range(3):  # the copy of one step must not serve the next
        before = p.detach().clone(), other.detach().clone()
        p.grad = torch.ones(10, dtype=torch.float64)
        optimizer.step()
        assert torch.equal(other.detach(), before[1] - before[0])


#: What a gradient may become after a step that machine code made.
LATER = {
    "another dtype": lambda g: g.double(),
    "transposed": lambda g: g.t().contiguous().t(),
    "to be negated": torch._neg_view,
    "a subclass": lambda g: g.as_subclass(Marked),
}


def changed_after_a_step(change):
    ends = []
    for compiled in (None, False):
        p = parameter(3, 4, dtype=torch.float32)
        optimizer = stepped([p], compiled=compiled)
        p.grad_dtype = None
        p.grad = change(torch.linspace(-1, 2, 12).reshape(3, 4))
        optimizer.step()
        ends.append(p.detach())
    return torch.allclose(*ends, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", LATER)
def test_a_gradient_that_changes_its_kind_after_a_step_counts_as_it_is(kind):
    assert changed_after_a_step(LATER[kind])


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("another dtype", "{*map(_dtype, gradients)} == {self.gradient_dtype}"),
        ("transposed", "all(map(_contiguous, gradients))"),
        ("to be negated", "not any(map(_negative, gradients))"),
    ],
)
def test_a_gradient_that_is_not_looked_at_again_is_caught(monkeypatch, kind, check):
    monkeypatch.setattr(addresses.Batch, "fits", mutant(addresses.Batch, check, "True").fits)
    assert not changed_after_a_step(LATER[kind])


def test_a_gradient_read_where_it_is_written_is_caught(monkeypatch):
    wrong = mutant(addresses.Batch, "gradients[k] = gradients[k].clone()", "pass")
    monkeypatch.setattr("stepsize.optim.Batch", wrong)

    def both_directions():
        for shift in (1, -1):
            test_a_gradient_in_the_memory_of_a_parameter_counts_as_it_was(None, shift)

    with pytest.raises(AssertionError):
        both_directions()


@MODES
def test_two_leaves_in_one_place_go_as_they_are(compiled):
    """Nonsense, but no crash: what the state says is what is stepped."""
    p = parameter(3)
    optimizer = stepped([p], compiled=compiled)
    optimizer.state[p]["m"] = optimizer.state[p]["v"]
    optimizer.step()
    assert torch.isfinite(p).all()


@MODES
def test_a_row_that_pads_changes_nothing_as_in_sparse_adam(compiled):
    first, E = parameter(3), nn.Embedding(5, 1, padding_idx=0, sparse=True)
    before = E.weight.detach().clone()
    optimizer = Optimizer([first, *E.parameters()], Adam(0.1), compiled=compiled)
    for _ in range(2):
        E(torch.tensor([0])).sum().backward()
        assert E.weight.grad._nnz() == 0
        optimizer.step()
    assert torch.equal(E.weight.detach(), before)
    assert first.detach().tolist() == pytest.approx([-0.2] * 3)
    E.weight.grad = None
    E(torch.tensor([0, 3])).sum().backward()
    optimizer.step()
    assert (E.weight.detach() != before).flatten().tolist() == [False, False, False, True, False]


@MODES
def test_gradients_of_a_table_may_lie_anywhere(compiled):
    """Expanded values, as the gradient of a sum has them; values in the memory of the table itself."""
    p = nn.Parameter(torch.zeros(5, 2, dtype=torch.float64))
    optimizer = Optimizer([p], SGD(1.0), compiled=compiled)
    p.grad = torch.sparse_coo_tensor(
        [[1, 3]], torch.ones(1, 1, dtype=torch.float64).expand(2, 2), p.shape, check_invariants=True
    )
    optimizer.step()
    assert p.detach().sum(1).tolist() == [0, -2, 0, -2, 0]
    for coalesced in (False, True):
        before = p.detach().clone()
        p.grad = torch.sparse_coo_tensor([[1, 2]], p.detach()[:2], p.shape, check_invariants=True)._coalesced_(
            coalesced
        )
        optimizer.step()
        assert torch.equal(p.detach()[1:3], before[1:3] - before[:2])


class Marked(torch.Tensor):
    """A subclass as libraries make them: everything is as in a tensor, but for the type."""


@pytest.mark.parametrize("rule", [Decoupled(Adam(0.1)), chain(ClipByNorm(1.0), SGD(0.1))])
def test_a_subclass_of_tensors_takes_the_path_of_tensors(rule):
    start, g = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 4)))
    ends = []
    for data, gradient in ((start, g), (start.as_subclass(Marked), g.as_subclass(Marked))):
        p = nn.Parameter(data.clone())
        optimizer = Optimizer([p], rule)
        for _ in range(3):
            p.grad = gradient.clone()
            optimizer.step()
        ends.append(p.detach().as_subclass(torch.Tensor))
    assert torch.allclose(*ends, rtol=1e-13, atol=0)


# ---------------------------------------------------------------- any state at all

SHAPES = st.sampled_from(
    [(), (0,), (1,), (2,), (3,), (4,), (6,), (7,), (2, 3), (3, 2), (3, 1), (1, 1), (2, 1), (6, 1), (100_000,)]
)
DTYPES = st.sampled_from([torch.float16, torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64])
LAYOUTS = st.sampled_from([lambda t: t, lambda t: t.to_sparse(), lambda t: t[..., None].expand(*t.shape, 2)[..., 0]])
NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=3), st.just([]))
TENSORS = st.builds(lambda shape, dtype, layout: layout(torch.ones(shape, dtype=dtype)), SHAPES, DTYPES, LAYOUTS)
#: leaves that fit a parameter of shape (2, 3), mostly; then anything
FITTING = {"m": (6,), "v": (6,), "w_m": (1,), "w_v": (1,)}
MEMORIES = st.one_of(
    st.fixed_dictionaries(
        {name: st.one_of(st.just(torch.full(shape, 0.5)), TENSORS, NUMBERS) for name, shape in FITTING.items()}
        | {"rows": st.one_of(st.booleans(), NUMBERS)}
    ),
    st.fixed_dictionaries(
        {name: st.just(torch.full((2, shape[0] // 2 or 1), 0.5)) for name, shape in FITTING.items()}
        | {"rows": st.booleans()}
    ),
    st.dictionaries(st.sampled_from([*FITTING, "rows", "step"]), st.one_of(TENSORS, NUMBERS)),
    NUMBERS,
)
ADAM = Adam(0.1)  # traced once
KEYS = st.one_of(st.sampled_from([0, 1, 2]), st.sampled_from(["x", -1, 7]))
ENTRIES = st.dictionaries(
    st.sampled_from(["lr", "beta1", "betas", "eps", "lr_scale", "weight_decay"]),
    st.one_of(st.floats(0, 0.9), NUMBERS),
    max_size=2,
)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(KEYS, MEMORIES, max_size=3),
    ENTRIES,
    st.sampled_from([[0, 1], [1, 0], [0], [0, 1, 2], [0, 0]]),
    st.booleans(),
)
def test_any_state_is_loaded_and_stepped_or_refused_by_name(states, entries, indices, after_a_step):
    """What loads makes finite steps, in machine code as in NumPy; what does not load leaves everything as it was."""
    ends = []
    for compiled in (None, False):
        p, q = parameter(2, 3, dtype=torch.float64), parameter(3, dtype=torch.float64)
        optimizer = Optimizer([p, q], ADAM, compiled=compiled)
        if after_a_step:
            optimizer.step()
        kept = [(x, name, leaf) for x, memory in optimizer.state.items() for name, leaf in memory.items()]
        group = optimizer.state_dict()["param_groups"][0] | entries | {"params": indices}
        try:
            optimizer.load_state_dict({"state": states, "param_groups": [group]})
        except StepsizeError:
            assert all(optimizer.state[x][name] is leaf for x, name, leaf in kept)
            optimizer.step()
        else:
            refused = any(optimizer.state.get(x, {}).get("rows") for x in (p, q))
            with pytest.raises(ShapeError, match="sparse and dense") if refused else nullcontext():
                optimizer.step()
        ends.append(torch.cat([x.detach().flatten() for x in (p, q)]))
    assert torch.isfinite(ends[0]).all()
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- one call, threads, processes


def network(compiled, sizes=((3, 5), (5,), (4, 4), ()), dtype=torch.float64, rule=None, steps=5):
    rng = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, generator=rng, dtype=dtype)) for shape in sizes]
    optimizer = Optimizer(params, rule or Decoupled(AMSGrad(0.1)), compiled=compiled)
    for _ in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=rng, dtype=dtype)
        optimizer.step()
    return optimizer, params


def test_one_call_steps_all_tensors_of_a_group_and_the_check_is_made_once(monkeypatch):
    checks, calls = [], []
    monkeypatch.setattr(optim, "step_faults", lambda rule, p, memory: checks.append(p) or iter(()))
    step = addresses.Batch.step
    monkeypatch.setattr(addresses.Batch, "step", lambda self, *a: calls.append(len(self.sizes)) or step(self, *a))
    network(True)
    assert calls == [4] * 5
    assert len(checks) == 4


def test_a_gradient_that_comes_and_goes_changes_who_steps():
    ends = []
    for compiled in (None, False):
        params = [parameter(3, dtype=torch.float64) for _ in range(3)]
        optimizer = Optimizer(params, Adam(0.1), compiled=compiled)
        for t in range(9):
            for k, p in enumerate(params):
                p.grad = None if (t + k) % 3 == 0 else torch.full((3,), 1.0 + t, dtype=torch.float64)
            optimizer.step()
        ends.append(torch.stack([p.detach() for p in params]))
    assert torch.allclose(*ends, rtol=1e-13, atol=0)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 6))
def test_pieces_hold_every_coordinate_once_and_are_alike(sizes, parts):
    shares = pieces(sizes, parts)
    held = [(k, i) for share in shares for k, start, stop in share for i in range(start, stop)]
    assert sorted(held) == [(k, i) for k, size in enumerate(sizes) for i in range(size)]
    lengths = [int((share[:, 2] - share[:, 1]).sum()) for share in shares]
    assert max(lengths) - min(lengths) <= 1


@pytest.fixture
def three_threads(monkeypatch):
    monkeypatch.setattr(addresses, "GRAIN", 4)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_threads_change_no_bit(three_threads, monkeypatch, dtype):
    several, shared = network(True, dtype=dtype)
    monkeypatch.setattr(addresses, "GRAIN", 10**9)
    one, alone = network(True, dtype=dtype)
    for p, q in zip(shared, alone, strict=True):
        assert torch.equal(p, q)
        assert all(torch.equal(a, one.state[q][name]) for name, a in several.state[p].items() if name != "rows")


STILL = "(self.addresses, share, False, *values)"


def test_a_clock_that_moves_with_every_piece_is_caught(three_threads, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(addresses.Batch, "_call", mutant(addresses.Batch, STILL, STILL.replace("False", "True"))._call)
        several, _ = network(True, sizes=((50,),))
    one, _ = network(True, sizes=((50,),))
    assert [memory["w_m"] for memory in several.state.values()] != [memory["w_m"] for memory in one.state.values()]


def _forked(queue):
    queue.put(torch.cat([p.detach().flatten() for p in network(True)[1]]).tolist())


def test_a_forked_process_has_threads_of_its_own(three_threads):
    expected = torch.cat([p.detach().flatten() for p in network(True)[1]]).tolist()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_forked, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=60) == expected
    finally:
        child.join(timeout=10)
        if child.is_alive():
            child.kill()


@pytest.mark.parametrize("rule", [RMSProp(0.1), AdaGrad(0.1), chain(ClipByNorm(1.0), SGD(0.1))])
def test_machine_code_is_the_default_where_there_is_any(rule):
    optimizer, params = network(None, rule=rule)
    plain, others = network(False, rule=rule)
    assert bool(optimizer._batches) == getattr(rule, "elementwise", False)
    assert not plain._batches
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=0)


class Branching(SGD):
    """Takes a branch on data: no formula, no machine code."""

    def step(self, state, g, x):
        return super().step(state, g if float(abs(g).max()) < 1e3 else 0 * g, x)


def test_a_rule_without_a_formula_runs_as_it_is_written():
    optimizer, params = network(None, rule=Branching(0.1))
    _, others = network(False, rule=SGD(0.1))
    assert not optimizer._batches
    assert all(torch.equal(p, q) for p, q in zip(params, others, strict=True))


def test_a_compiled_graph_steps_as_without():
    """torch.compile leaves the step out of its graph."""
    p = parameter(4, dtype=torch.float64)
    optimizer = Optimizer([p], Adam(0.1))

    @torch.compile(backend="eager")
    def train():
        optimizer.zero_grad()
        ((p - 1) ** 2).sum().backward()
        optimizer.step()

    for _ in range(3):
        train()
    q = parameter(4, dtype=torch.float64)
    theirs = torch.optim.Adam([q], 0.1)
    for _ in range(3):
        q.grad = 2 * (q.detach() - 1)
        theirs.step()
    torch.testing.assert_close(p, q, rtol=1e-13, atol=0)
    assert np.isfinite(p.detach().numpy()).all()


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
import torch
from stepsize import Adam
from stepsize.errors import TraceError
from stepsize.optim import Optimizer

p = torch.nn.Parameter(torch.zeros(3))
p.grad = torch.ones(3)
Optimizer([p], Adam(0.1)).step()
print(p.detach().tolist())
try:
    Optimizer([p], Adam(0.1), compiled=True)
except TraceError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_numba_the_optimizer_runs_in_numpy_and_machine_code_on_request_is_refused():
    run = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, env=os.environ)
    moved, error = run.stdout.splitlines()
    assert json.loads(moved) == pytest.approx([-0.1] * 3, rel=1e-6)
    assert "pip install numba" in error
