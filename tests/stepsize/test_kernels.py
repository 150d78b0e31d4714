"""The loop of machine code makes the steps of the rule that it was traced from."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sympy
import torch
from torch import nn

from mutants import mutant
from references import CURVATURE, NOISE, RULES, START, STEPS
from stepsize import SGD, Adam, AMSGrad, ClipByNorm, Decoupled, SignDescent, chain, kernels
from stepsize.contract import hyperparameters, leaves
from stepsize.errors import ShapeError, TraceError
from stepsize.kernels import kernel, source
from stepsize.optim import Optimizer

ELEMENTWISE = {name: rule for name, rule in RULES.items() if rule.elementwise}


def interpreted(rule):
    """The kernel's text run by Python, without compiling it."""
    space = {"np": np, "sqrt": np.sqrt}
    exec(source(rule), space)
    return lambda x, g, state, values: space["run"](x, g, *state, *values, True)


def deviation(rule, run, dtype=float):
    """Largest difference between a rule's steps and its kernel's over 200 noisy steps, iterates and state."""
    x, mine = START.astype(dtype), START.astype(dtype)
    h, state, worst = CURVATURE.astype(dtype), rule.init(x), 0.0
    memory = [leaf.copy() for _, leaf in leaves(state)]
    for t in range(STEPS):
        noise = NOISE[t].astype(dtype)
        state, rate, direction = rule.step(state, h * x + noise, x)
        x = x - rate * direction
        run(mine, h * mine + noise, memory, hyperparameters(rule).values())
        expected = [x, *(leaf for _, leaf in leaves(state))]
        pairs = zip([mine, *memory], expected, strict=True)
        worst = max([worst, *(np.max(np.abs(a - b) / np.maximum(1, np.abs(b))) for a, b in pairs)])
    return worst


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_text_of_a_kernel_makes_the_steps_of_its_rule(name):
    assert deviation(RULES[name], interpreted(RULES[name])) <= 1e-12


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["AdamW", "AMSGrad", "AdaBelief", "RMSProp", "AdaGrad", "SignDescent", "ClipByValue"])
def test_machine_code_makes_the_steps_of_its_rule(name, dtype):
    assert deviation(RULES[name], kernel(RULES[name]), dtype) <= (1e-12 if dtype is np.float64 else 2e-5)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("root if e.exp.q == 2 else self._atom(e.base)", "self._atom(e.base)", "RMSProp"),
        ("[base] * abs(e.exp.p)", "[base]", "Adam"),
        ("(fixed, *sympy.Mul.make_args(over))", "(fixed / fixed, *sympy.Mul.make_args(over))", "Adam"),
        ("([fixed] if fixed else [])", "[]", "Adam"),
        ("(fixed, *sympy.Mul.make_args(over))", "(fixed, *sympy.Mul.make_args(under))", "AMSGrad"),
    ],
)
def test_a_kernel_written_wrongly_is_caught(monkeypatch, old, new, name):
    monkeypatch.setattr(kernels, "parts", kernels.parts.__wrapped__)  # without its memory
    monkeypatch.setattr(kernels, "_Loop", mutant(kernels._Loop, old, new))
    with np.errstate(all="ignore"):
        assert not deviation(RULES[name], interpreted(RULES[name])) <= 1e-9


def test_a_kernel_whose_clock_stands_is_caught(monkeypatch):
    stopped = mutant(kernels.source, 'f"        {name}_[0] = {t.new[name]}"', 'f"        {name}_[0] = {name}"')
    monkeypatch.setitem(globals(), "source", stopped)
    assert not deviation(RULES["Adam"], interpreted(RULES["Adam"])) <= 1e-9


def test_one_kernel_serves_all_values_of_the_hyperparameters():
    assert source(Adam(0.1, 0.5)) == source(Adam())
    assert kernels._compile(source(Adam(0.1, 0.5))) is kernels._compile(source(Adam()))


def test_one_minus_beta_is_formed_in_double_precision():
    """1 - 0.999 in float32 is off by 1e-5; the second moment would be too."""
    x, g = np.zeros(3, np.float32), np.ones(3, np.float32)
    memory = [leaf for _, leaf in leaves(Adam().init(x))]
    kernel(Adam())(x, g, memory, hyperparameters(Adam()).values())
    assert memory[2].tolist() == np.full(3, 1 - 0.999, np.float32).tolist()


def test_nan_is_kept_by_maxima_and_signs():
    for rule in (AMSGrad(0.1), SignDescent(0.1)):
        x, g = np.zeros(3), np.array([np.nan, 1.0, -1.0])
        memory = [leaf for _, leaf in leaves(rule.init(x))]
        kernel(rule)(x, g, memory, hyperparameters(rule).values())
        assert np.isnan(x).tolist() == [True, False, False]


def test_a_rule_that_looks_at_whole_gradients_has_no_loop():
    with pytest.raises(TraceError, match="whole gradients"):
        kernel(chain(ClipByNorm(1.0), SGD()))
    with pytest.raises(TraceError, match="whole gradients"):
        Optimizer([nn.Parameter(torch.ones(1))], chain(ClipByNorm(1.0), SGD()), compiled=True)


def test_arrays_that_do_not_fit_never_reach_machine_code():
    rule, x = AMSGrad(0.1), np.zeros(4)
    memory, values = [leaf for _, leaf in leaves(rule.init(x))], list(hyperparameters(rule).values())
    run = kernel(rule)
    for k, name in enumerate(("m", "w_m", "v", "w_v", "peak")):
        for wrong in (np.zeros(3), np.zeros(9), np.zeros((4, 1))):
            with pytest.raises(ShapeError, match=rf"{name} of shape \({4 if name[0] != 'w' else 1},\), got"):
                run(x, np.ones(4), [*memory[:k], wrong, *memory[k + 1 :]], values)
    with pytest.raises(ShapeError, match=r"g of shape \(4,\), got \(5,\)"):
        run(x, np.ones(5), memory, values)
    with pytest.raises(ShapeError, match="m, w_m, v, w_v, peak; got 6 of these 7"):
        run(x, np.ones(4), memory[:4], values)
    assert not x.any()


def test_an_unknown_function_is_refused():
    g = sympy.Symbol("g", real=True)
    for e in (sympy.exp(g), g ** sympy.Rational(1, 3), g ** sympy.Symbol("p")):
        with pytest.raises(TraceError, match="no machine code"):
            kernels._Loop({g}).code(e)


# ---------------------------------------------------------------- in the optimizer


def descent(compiled, rule, shape=(3, 5), dtype=torch.float64):
    p = nn.Parameter(torch.arange(15, dtype=dtype).reshape(shape) / 7)
    optimizer = Optimizer([p], rule, compiled=compiled)
    for t in range(60):
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + t)
        p.grad = (p.detach() - 1) * (1 + t % 3)
        optimizer.step()
        if t == 30:
            saved, optimizer = optimizer.state_dict(), Optimizer([p], rule, compiled=compiled)
            optimizer.load_state_dict(saved)
    return p.detach()


@pytest.mark.parametrize("rule", [Adam(0.1), Decoupled(AMSGrad(0.1), 0.1), SGD(0.1)])
def test_a_compiled_optimizer_goes_the_same_way_through_schedule_and_checkpoint(rule):
    assert (descent(True, rule) - descent(False, rule)).abs().max() <= 1e-12
    for dtype in (torch.float32, torch.bfloat16):
        gap = (descent(True, rule, dtype=dtype) - descent(False, rule, dtype=dtype)).abs().max()
        assert gap <= (1e-5 if dtype == torch.float32 else 0.01)


def test_a_compiled_optimizer_steps_odd_layouts_empty_tensors_and_sparse_rows():
    p = nn.Parameter(torch.ones(4, 3, dtype=torch.float64).t())
    empty = nn.Parameter(torch.ones(0))
    table = nn.Parameter(torch.ones(5, 2))
    optimizer = Optimizer([p, empty, table], Adam(0.1), compiled=True)
    for _ in range(3):
        p.grad, empty.grad = torch.ones(3, 4, dtype=torch.float64), torch.ones(0)
        table.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 2), (5, 2), check_invariants=True)
        optimizer.step()
    assert p.detach().flatten().tolist() == pytest.approx([0.7] * 12, abs=1e-7)
    assert table.detach()[:2, 0].tolist() == pytest.approx([1, 0.7], abs=1e-6)


def test_compiling_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        descent(True, RULES["AdamW"])


WORKER = """
import sys
import numpy as np
import stepsize
from stepsize.contract import hyperparameters, leaves
from stepsize.kernels import _row_loop, row_kernel

for name in sys.argv[1:]:
    rule = getattr(stepsize, name)(0.1)
    x, g = np.ones((3, 2)), np.array([[1.0, -2.0], [3.0, -4.0], [5.0, 6.0]])
    state = rule.init(x)
    _, rate, direction = rule.step(state, g, x)
    moved = x.copy()
    row_kernel(rule)(moved, g, np.arange(3), [np.array(a) for _, a in leaves(state)], list(hyperparameters(rule).values()))
    assert np.allclose(moved, x - rate * direction, rtol=1e-12, atol=0), name
    print(name, *_row_loop(rule)[0].stats.cache_hits.values())
"""


@pytest.mark.slow
def test_machine_code_is_kept_for_later_processes_and_kernels_are_told_apart(tmp_path):
    """Three kernels of equal types, each the first of its process, written at the same time; then all in one process."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def start(*names):
        return subprocess.Popen([sys.executable, "-c", WORKER, *names], stdout=subprocess.PIPE, text=True, env=env)

    names = ("HeavyBall", "AdaGrad", "RMSProp", "AdaGrad")
    for name, worker in [(name, start(name)) for name in names]:
        assert worker.communicate()[0].split()[0] == name
    assert start(*names[:3]).communicate()[0].split() == ["HeavyBall", "1", "AdaGrad", "1", "RMSProp", "1"]


def test_a_kernel_is_compiled_where_no_folder_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    assert kernels._written("def run(): pass", tmp_path / "file", "run") == ""
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file")}
    run = subprocess.run([sys.executable, "-c", WORKER, "SGD"], capture_output=True, text=True, env=env)
    assert run.stdout.split() == ["SGD"], run.stderr
