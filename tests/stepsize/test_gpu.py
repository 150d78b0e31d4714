"""The kernel for GPUs makes the steps of the rule that it was traced from: run by Triton's interpreter, on tensors on the CPU."""

import pytest
import torch
from torch.nn import Parameter

from references import RULES
from stepsize import (
    SGD,
    AdaGrad,
    Adam,
    AMSGrad,
    ClipByNorm,
    ClipByValue,
    Decoupled,
    Muon,
    Pooled,
    Prodigy,
    RMSProp,
    SignDescent,
    chain,
    gpu,
)
from stepsize.addresses import Batch
from stepsize.contract import Elementwise, hyperparameters
from stepsize.errors import HyperparameterError, TraceError
from stepsize.optim import Optimizer

triton = pytest.importorskip("triton", reason="Triton is not installed: kernels for GPUs are not tested")

CLIPPED = {
    "ClipByNorm before AdamW": chain(ClipByNorm(0.5), Decoupled(Adam(0.1, 0.8, 0.99, 1e-3), 0.1)),
    "two clips": chain(ClipByNorm(0.5), ClipByValue(0.01), RMSProp(0.1)),
}
KERNELS = {name: rule for name, rule in (RULES | CLIPPED).items() if gpu.has_kernel(rule)}
SIZES = [1, 7, 2047, 2048, 0, 2049]


@pytest.fixture(autouse=True)
def interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")


def parameters(sizes, dtype=torch.float64, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [Parameter(torch.randn(size, generator=random, dtype=torch.float64).to(dtype)) for size in sizes]


def give_gradients(params, t, dtype=None, factor=1.0):
    random = torch.Generator().manual_seed(100 + t)
    for p in params:
        g = factor * torch.randn(p.shape, generator=random, dtype=torch.float64)
        p.grad_dtype = dtype or p.dtype
        p.grad = g.to(dtype or p.dtype)


def trained(rule, compiled, sizes=SIZES, dtype=torch.float64, steps=2, gradient_dtype=None):
    """Parameters and states after some steps: by the kernel, or by the rule itself where `compiled` is False."""
    params = parameters(sizes, dtype)
    optimizer = Optimizer(params, rule, compiled=compiled)
    for t in range(steps):
        give_gradients(params, t, gradient_dtype)
        optimizer.step()
    return [(p.detach(), *(optimizer.state[p][name] for name in optimizer.state[p] if name != "rows")) for p in params]


def deviation(one, other):
    """Largest difference between two trainings, relative where numbers are larger than one."""
    pairs = [pair for a, b in zip(one, other, strict=True) for pair in zip(a, b, strict=True) if pair[0].numel()]
    return max(((a.double() - b.double()).abs() / b.double().abs().clamp(min=1)).max().item() for a, b in pairs)


# ---------------------------------------------------------------- the same steps


def test_every_elementwise_rule_has_a_kernel():
    assert set(RULES) - set(KERNELS) == {"RowAdaGrad", "Prodigy", "Pooled"}


@pytest.mark.parametrize("name", KERNELS)
def test_the_kernel_makes_the_steps_of_its_rule(name):
    assert deviation(trained(KERNELS[name], None), trained(KERNELS[name], False)) <= 1e-12


def test_a_tensor_of_many_blocks_moves_its_clocks_once():
    rule = RULES["ScheduleFree"]
    assert deviation(trained(rule, None, [10001]), trained(rule, False, [10001])) <= 1e-12


@pytest.mark.parametrize("name", ["AdamW", "RMSProp", "AMSGrad", "ClipByNorm before AdamW"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # float32: rounding; bfloat16: the interpreter cuts digits off where a GPU rounds, in each of two steps
    [(torch.float32, 2e-6), (torch.float16, 2**-10), (torch.bfloat16, 2 * 2**-7)],
)
def test_parameters_of_every_dtype(name, dtype, tolerance):
    ours, rule = trained(KERNELS[name], None, dtype=dtype), KERNELS[name]
    assert all(leaf.dtype is torch.float32 for _, *state in ours for leaf in state)
    assert deviation(ours, trained(rule, False, dtype=dtype)) <= tolerance


@pytest.mark.parametrize(
    ("dtype", "gradient_dtype"),
    [
        (torch.float32, torch.bfloat16),
        (torch.float32, torch.float64),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("name", ["RMSProp", "ClipByNorm"])
def test_gradients_of_another_dtype_are_converted(name, dtype, gradient_dtype):
    both = (trained(KERNELS[name], c, [7, 2049], dtype, gradient_dtype=gradient_dtype) for c in (None, False))
    assert deviation(*both) <= (2e-6 if dtype is torch.float32 else 2 * 2**-7)


def with_memory(make):
    """One step of AdamW for parameters and gradients that `make` gives: by the kernel and by the rule."""
    made = []
    for compiled in (None, False):
        params = make()
        Optimizer(params, RULES["AdamW"], compiled=compiled).step()
        made.append([(p.detach(),) for p in params])
    return deviation(*made)


def test_memory_of_any_layout():
    def transposed():
        params = [Parameter(torch.arange(12.0).reshape(3, 4).t()), Parameter(torch.ones(4, 3))]
        params[0].grad, params[1].grad = torch.ones(4, 3), torch.arange(12.0).reshape(3, 4).t()
        return params

    def unaligned():
        params = [Parameter(torch.arange(2060.0)[3:]), Parameter(torch.ones(5))]
        params[0].grad, params[1].grad = torch.arange(2061.0)[4:], torch.ones(6)[1:]
        return params

    def overlapping():
        memory = torch.arange(6.0)
        params = [Parameter(memory[:4]), Parameter(memory[2:])]
        params[0].grad, params[1].grad = memory[2:], torch.ones(4)
        return params

    def scalar():
        params = [Parameter(torch.tensor(2.0))]
        params[0].grad = torch.tensor(3.0)
        return params

    for make in (transposed, unaligned, overlapping, scalar):
        assert with_memory(make) <= 1e-6, make.__name__


def test_a_gradient_that_lies_in_its_parameter_is_read_before_it_is_written():
    p = Parameter(torch.arange(1.0, 5.0))
    p.grad = p.detach()
    Optimizer([p], SGD(0.5)).step()
    assert p.tolist() == [0.5, 1.0, 1.5, 2.0]


def test_nan_is_kept_by_maxima_and_signs():
    for rule in (AMSGrad(0.1), SignDescent(0.1), chain(ClipByValue(1.0), SGD(0.1))):
        p = Parameter(torch.zeros(3))
        p.grad = torch.tensor([torch.nan, 1.0, -1.0])
        Optimizer([p], rule).step()
        assert p.isnan().tolist() == [True, False, False]


# ---------------------------------------------------------------- one launch


@pytest.fixture
def launches(monkeypatch):
    """The batch of every launch, in their order."""
    seen, call = [], gpu.DeviceBatch._call

    def counted(batch, *arguments, **scaling):
        seen.append((batch, batch.table))
        call(batch, *arguments, **scaling)

    monkeypatch.setattr(gpu.DeviceBatch, "_call", counted)
    return seen


def test_a_step_of_a_group_is_one_launch_and_its_table_is_kept(launches):
    params = parameters([3, 5, 2049])
    optimizer = Optimizer(params, Adam())
    give_gradients(params, 0)
    for _ in range(3):
        optimizer.step()
    assert len(launches) == 3
    assert len({id(table) for _, table in launches}) == 1


def test_what_triton_has_compiled_is_launched_again_without_it(monkeypatch):
    """Once for gradients as they are and once for scaled ones, with all arguments of the kernel in their order."""
    through_triton, again = [], []

    class Compiled:
        def __getitem__(self, grid):
            return lambda *arguments: again.append((grid, arguments))

    class Triton:
        def __getitem__(self, grid):
            return lambda *arguments, num_warps: through_triton.append((grid, arguments)) or Compiled()

    monkeypatch.setattr(gpu, "kernel", lambda rule: Triton())
    params = parameters([3, 2 * gpu.BLOCK])
    optimizer = Optimizer(params, Adam())
    give_gradients(params, 0)
    for _ in range(3):
        optimizer.step()
    optimizer.grad_scale = torch.tensor(2.0)
    for _ in range(2):
        optimizer.step()
    assert [grid for grid, _ in through_triton + again] == [(3, 1, 1)] * 5
    (_, plain), (_, scaled) = through_triton
    assert [arguments[-3] for _, arguments in through_triton + again] == [False, True, False, False, True]
    for (_, arguments), like in zip(again, (plain, plain, scaled), strict=True):
        assert all(a is b or a == b for a, b in zip(arguments, like, strict=True))


def test_the_table_follows_gradients_that_move(launches):
    params = parameters([3, 5])
    optimizer, kept = Optimizer(params, SGD(1.0)), []
    for t in range(3):
        before = [p.detach().clone() for p in params]
        give_gradients(params, t)
        kept.append([p.grad for p in params])  # so that the next ones lie elsewhere
        optimizer.step()
        assert all(torch.equal(p, b - p.grad) for p, b in zip(params, before, strict=True))
    assert len({id(batch) for batch, _ in launches}) == 1
    assert len({id(table) for _, table in launches}) == 3


def test_what_a_graph_has_captured_stays_as_it_is(monkeypatch, launches):
    """A capture may pin no memory, and its replays read tables again that a step has long replaced."""
    monkeypatch.setattr(gpu, "_CAPTURED", [])
    params = parameters([3, 5])
    optimizer = Optimizer(params, SGD(1.0))
    give_gradients(params, 0)
    optimizer.step()
    batch = optimizer._batches[0]
    with monkeypatch.context() as during:
        during.setattr(gpu.DeviceBatch, "_capturing", lambda batch: True)
        (spare,) = batch.spare
        for t in (0, 1):  # with the table of before, and with one of its own
            kept = [p.grad for p in params]
            if t:
                give_gradients(params, t)
            optimizer.step()
    assert [captured[1] is table for captured, (_, table) in zip(gpu._CAPTURED, launches[1:], strict=True)] == [
        True
    ] * 2
    assert gpu._CAPTURED[1][0] is spare
    before = gpu._CAPTURED[1][1].clone()
    optimizer.step()  # the same gradients: a table that was captured has not arrived before the first replay
    assert launches[3][1] is not launches[2][1]
    assert batch.spare
    assert batch.spare[0] is not spare
    give_gradients(params, 2)
    optimizer.step()
    assert torch.equal(gpu._CAPTURED[1][1], before)
    del kept


def test_a_parameter_that_joins_late_has_clocks_of_its_own():
    both = []
    for compiled in (None, False):
        params = parameters([4, 6])
        optimizer = Optimizer(params, Adam(0.1), compiled=compiled)
        for t in range(4):
            give_gradients(params, t)
            if t < 2:
                params[1].grad = None
            optimizer.step()
        both.append([(p.detach(), optimizer.state[p]["w_m"], optimizer.state[p]["w_v"]) for p in params])
    assert deviation(*both) <= 1e-12
    assert both[0][0][1] > both[0][1][1]


def test_groups_and_schedules_reach_the_kernel():
    both = []
    for compiled in (None, False):
        params = parameters([4, 6])
        groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.5, "beta": 0.5}]
        optimizer = Optimizer(groups, RMSProp(0.1), compiled=compiled)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for t in range(3):
            give_gradients(params, t)
            optimizer.step()
            schedule.step()
        both.append([(p.detach(), optimizer.state[p]["s"]) for p in params])
    assert deviation(*both) <= 1e-12


# ---------------------------------------------------------------- gradient scalers


def scaled_training(compiled, rule):
    """Three steps under a scaler, the second with an infinite gradient, as in float16."""
    params = parameters([5, 2049], torch.float32)
    optimizer, scaler = Optimizer(params, rule, compiled=compiled), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for t in range(3):
        give_gradients(params, t, factor=scaler.get_scale() if t else 2.0**10)
        scaler.scale(torch.zeros(1))  # a scaler that has scaled nothing refuses to step
        if t == 1:
            params[0].grad[2] = torch.inf
        scaler.step(optimizer)
        scaler.update()
    assert not hasattr(optimizer, "found_inf")
    return scaler.get_scale(), [(p.detach(), optimizer.state[p]["w_m"], optimizer.state[p]["m"]) for p in params]


@pytest.mark.parametrize("name", ["AdamW", "ClipByNorm before AdamW"])
def test_a_scaler_s_step_is_that_without_a_kernel(name):
    (scale, ours), (expected_scale, expected) = (scaled_training(c, KERNELS[name]) for c in (None, False))
    assert scale == expected_scale == 2.0**9
    assert deviation(ours, expected) <= 2e-6


def test_the_scaler_does_not_read_back_and_gradients_stay_scaled():
    params = parameters([5], torch.float32)
    optimizer = Optimizer(params, SGD(1.0))
    start = params[0].detach().clone()
    params[0].grad = torch.full((5,), 6.0)
    optimizer.found_inf, optimizer.grad_scale = torch.tensor(0.0), torch.tensor(3.0)
    optimizer.step()
    assert torch.equal(params[0], start - 2)
    assert params[0].grad.tolist() == [6.0] * 5
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert torch.equal(params[0], start - 2)


def test_a_clip_by_the_norm_of_all_gradients_is_a_scale():
    limit, made = 0.3, []
    for ours in (True, False):
        params = parameters([5, 2049])
        optimizer = Optimizer(params, RULES["AdamW"], compiled=None if ours else False)
        for t in range(3):
            give_gradients(params, t)
            if ours:
                norm = torch.nn.utils.get_total_norm([p.grad for p in params])
                optimizer.grad_scale = (norm / limit).clamp(min=1)
            else:
                torch.nn.utils.clip_grad_norm_(params, limit)
            optimizer.step()
        made.append([(p.detach(),) for p in params])
    assert deviation(*made) <= 1e-5  # torch adds 1e-6 to the norm; a scale is a number of float32


def test_scales_are_refused_where_no_kernel_looks_at_them():
    params = parameters([5])
    give_gradients(params, 0)
    optimizer = Optimizer(params, SGD(), compiled=False)
    assert not optimizer._step_supports_amp_scaling
    for name in ("grad_scale", "found_inf"):
        setattr(optimizer, name, torch.tensor(1.0))
        with pytest.raises(HyperparameterError, match="scale gradients before the step"):
            optimizer.step()
        delattr(optimizer, name)


# ---------------------------------------------------------------- rules and machines without a kernel


@pytest.mark.parametrize("rule", [Pooled(AdaGrad(0.1)), Prodigy(), Muon(0.1), chain(ClipByNorm(1.0), Prodigy())])
def test_a_rule_without_a_kernel_runs_as_before(rule, launches):
    both = [trained(rule, compiled, [(3, 5), (4, 2)]) for compiled in (None, False)]
    assert deviation(*both) == 0
    assert launches == []


def test_a_clip_after_a_change_of_the_gradient_has_no_kernel():
    with pytest.raises(TraceError, match="norm"):
        gpu.source(chain(ClipByValue(1.0), ClipByNorm(1.0), SGD()))


def test_powers_in_constants_are_refused():
    class Squared(SGD):
        def step(self, state, g, x):
            return state, self.lr**2 + 0 * g, g

    with pytest.raises(TraceError, match="powers"):
        gpu.kernel(Squared())
    assert deviation(*(trained(Squared(), compiled, [4]) for compiled in (None, False))) <= 1e-12


def test_without_triton_a_rule_runs_without_a_kernel(monkeypatch, launches):
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    with pytest.raises(TraceError, match="pip install triton"):
        gpu.kernel(Adam())

    class Unseen(Elementwise):
        init, step = SGD(0.1).init, SGD(0.1).step

    assert not gpu.has_kernel(Unseen())


def test_without_the_interpreter_the_cpu_has_its_own_machine_code(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    params = parameters([4])
    give_gradients(params, 0)
    optimizer = Optimizer(params, Adam())
    optimizer.step()
    assert type(optimizer._batches[0]) is Batch


# ---------------------------------------------------------------- a broken line is noticed


def unlike(rule, monkeypatch, old, new):
    """How far the kernel's steps are from its rule's with `old` in its text replaced."""
    text = gpu.source(rule)
    assert old in text
    expected = trained(rule, False)
    monkeypatch.setattr(gpu, "source", lambda rule: text.replace(old, new))
    return deviation(trained(rule, None), expected)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("(c0 * m) + (c1 * g)", "(c0 * m) - (c1 * g)", "AdamW"),
        ("a / b", "a", "AdamW"),
        ("tl.sqrt(a)", "a", "AdamW"),
        ("beta2*w_v - beta2 + 1", "beta2*w_v + 1", "AdamW"),
        ("tl.where(a > b, a,", "tl.where(a > b, b,", "AMSGrad"),
        ("tl.where(a < b, a,", "tl.where(a < b, b,", "ClipByValue"),
        ("tl.where(a > 0, 1,", "tl.where(a > 0, 2,", "Lion"),
        ("tl.where(a < 0, -1, a)", "a", "Lion"),
        ("TABLE + 7 * K", "TABLE", "AdamW"),
        ("tl.program_id(0) + 1) * BLOCK", "tl.program_id(0) + 1)", "AdamW"),
        ("START + BLOCK <= SIZE", "START + BLOCK < SIZE - BLOCK", "AdamW"),
        ("mask=AT < SIZE", "mask=AT < SIZE - 1", "AdamW"),
        ("array(ROW + 2, DTYPE, ALIGNED)", "array(ROW + 4, DTYPE, ALIGNED)", "AdamW"),
        ("tl.store(m_ + AT", "tl.store(v_ + AT", "AdamW"),
        ("tl.store(w_m_, ", "tl.store(w_v_, ", "AdamW"),
        ("== (SIZE - 1) // BLOCK", "== 0", "AdamW"),
        ("== (SIZE - 1) // BLOCK", "== SIZE // BLOCK", "AdamW"),
        ("tl.store(TURNS + K, 0)", "pass", "AdamW"),
        ("tl.load(NORMS + K)", "tl.load(NORMS)", "ClipByNorm before AdamW"),
    ],
)
def test_a_broken_line_of_a_kernel_is_noticed(monkeypatch, old, new, name):
    if old == "START + BLOCK <= SIZE":  # of masks and whole blocks the last word is the mask's: slower, and not wrong
        assert unlike(KERNELS[name], monkeypatch, old, new) <= 1e-12
    else:
        assert not unlike(KERNELS[name], monkeypatch, old, new) <= 1e-9


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("g = quotient(g, UNIT)", "pass"),
        ("tl.load(FOUND) == 0", "tl.load(FOUND) == tl.load(FOUND)"),
        ("        if FINITE:\n            w", "        if True:\n            w"),
        ("/ tl.load(SCALE).to(tl.float64)", ""),
    ],
)
def test_a_broken_line_of_scaling_is_noticed(monkeypatch, old, new):
    rule = KERNELS["ClipByNorm before AdamW"]
    text = gpu.source(rule)
    assert old in text
    expected = scaled_training(False, rule)[1]
    monkeypatch.setattr(gpu, "source", lambda rule: text.replace(old, new))
    assert not deviation(scaled_training(None, rule)[1], expected) <= 1e-4


def test_a_wrong_hint_of_alignment_is_never_given(launches):
    params = [Parameter(torch.arange(2060.0)[3:]), Parameter(torch.arange(8.0))]
    give_gradients(params, 0)
    for some, aligned in (([params[0]], False), ([params[1]], True), (params, False)):
        optimizer = Optimizer(some, RMSProp())
        optimizer.step()
        assert launches[-1][0].aligned == aligned


# ---------------------------------------------------------------- compiled for a card that is not here


@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_the_kernel_compiles_for_a_gpu(monkeypatch, name):
    """What the interpreter runs, the compiler takes: for an H100, to machine code, whole blocks in loads of 4 coordinates."""
    monkeypatch.delenv("TRITON_INTERPRET")
    rule, types = KERNELS[name], triton.language
    pointers = {"TABLE": "*i64", "WORK": "*i64", "TURNS": "*i32", "FOUND": "*fp32", "SCALE": "*fp32"}
    for dtype, wide in ((types.float32,) * 2, (types.float64,) * 2, (types.bfloat16, types.float32)):
        fixed = {"X_TYPE": dtype, "G_TYPE": dtype, "DTYPE": wide, "SCALED": True, "ALIGNED": True, "BLOCK": gpu.BLOCK}
        signature = pointers | {"NORMS": "*fp64" if wide is types.float64 else "*fp32"}
        signature |= dict.fromkeys(hyperparameters(rule), "fp64") | dict.fromkeys(fixed, "constexpr")
        text = triton.compiler.ASTSource(gpu.kernel(rule), signature, fixed)
        target = triton.backends.compiler.GPUTarget("cuda", 90, 32)
        compiled = triton.compile(text, target=target, options={"num_warps": gpu.WARPS})
        assert compiled.asm["cubin"]
        assert wide is types.float64 or f"ld.global.v{4 if dtype is wide else 2}.b32" in compiled.asm["ptx"]
        assert f"sizePerThread = [{2 if wide is types.float64 else 4}]" in compiled.asm["ttgir"]
