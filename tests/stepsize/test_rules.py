"""What each rule does, as identities."""

import ast
import inspect
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st

import stepsize
from mutants import mutant
from references import CURVATURE, NOISE, RULES
from small_book import ROOT
from stepsize import (
    ADOPT,
    SGD,
    AdaBelief,
    AdaGrad,
    Adam,
    AMSGrad,
    Coupled,
    Decoupled,
    HeavyBall,
    InverseRoot,
    LinearDecay,
    Lion,
    Pooled,
    Prodigy,
    RMSProp,
    RowAdaGrad,
    ScheduleFree,
    SignDescent,
    contract,
    matrix_rules,
    rules,
    wrappers,
)
from stepsize.contract import hyperparameters, leaves, named, rebuild, substitute
from stepsize.signals import ZOO

EVERY = {
    **{rule.__name__: rule(0.1) for rule in ZOO.values()},
    "Decoupled": Decoupled(Adam(0.1), 0.1),
    "Coupled": Coupled(RMSProp(0.1), 0.1),
    "InverseRoot": InverseRoot(SGD(0.1)),
    "LinearDecay": LinearDecay(Decoupled(AMSGrad(0.1)), 20),
    "ScheduleFree": ScheduleFree(Adam(0.1)),
}
ELEMENTWISE = {name: rule for name, rule in EVERY.items() if rule.elementwise}


def history(rule, gradients, x=None):
    """(rate, direction, state) after each of the gradients, at a fixed or a moving x."""
    x = np.zeros_like(gradients[0]) if x is None else x
    state, out = rule.init(x), []
    for g in gradients:
        state, rate, direction = rule.step(state, g, x)
        out.append((rate, direction, state))
    return out


def steps(rule, gradients):
    return np.array([rate * direction for rate, direction, _ in history(rule, gradients)])


# ---------------------------------------------------------------- runs


def batch(rule, make, runs=64):
    """40 steps on a noisy quadratic, elementwise, from `runs` starts."""
    x = make(np.random.default_rng(1).standard_normal((runs, 7)))
    noise = [make(n) for n in np.random.default_rng(2).standard_normal((40, runs, 7))]
    h = make(CURVATURE)

    def walk(x, noise, rule):
        state = rule.init(x)
        for n in noise:
            state, rate, direction = rule.step(state, h * x + n, x)
            x = x - rate * direction
        return np.asarray(x)

    return walk(x, noise, rule), lambda i, rule: walk(x[i], [n[i] for n in noise], rule)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["arrays", "tensors"])
@pytest.mark.parametrize("name", EVERY)
def test_a_batch_of_64_runs_equals_the_runs_apart_bit_for_bit(name, make):
    together, apart = batch(EVERY[name], make)
    for i in range(64):
        np.testing.assert_array_equal(together[i], apart(i, EVERY[name]))


def settings(rule, count):
    """Columns of different values for every hyper-parameter, shape (count, 1) each."""
    rng = np.random.default_rng(5)
    return [np.asarray(value) * rng.uniform(0.5, 1.0, (count, 1)) for value in hyperparameters(rule).values()]


@pytest.mark.parametrize("name", EVERY)
def test_a_grid_of_every_hyperparameter_equals_the_rules_apart_bit_for_bit(name):
    columns = settings(EVERY[name], 64)
    together, apart = batch(substitute(EVERY[name], iter(columns)), np.asarray)
    for i in range(0, 64, 7):
        single = substitute(EVERY[name], iter([float(column[i, 0]) for column in columns]))
        np.testing.assert_array_equal(together[i], apart(i, single))


@pytest.mark.parametrize("name", EVERY)
def test_one_start_and_a_column_of_learning_rates_make_a_grid(name):
    rule, lrs = EVERY[name], np.logspace(-3, 0, 5)[:, None]
    index = list(hyperparameters(rule)).index("lr")
    values = list(hyperparameters(rule).values())
    x = np.arange(3.0)
    _, rate, direction = substitute(rule, iter([*values[:index], lrs, *values[index + 1 :]])).step(
        rule.init(x), x + 1, x
    )
    assert np.broadcast_shapes(np.shape(rate), np.shape(direction)) == (5, 3)


# ---------------------------------------------------------------- identities


@given(st.sampled_from([Adam, AMSGrad, RMSProp, AdaGrad]), st.integers(-12, 12))
def test_without_eps_the_step_does_not_feel_the_gradients_scale(cls, power):
    scale, rule = 10.0**power, cls(0.1, eps=0.0)
    here, there = history(rule, NOISE[:30]), history(rule, NOISE[:30] * scale)
    for (rate, direction, _), (scaled_rate, scaled_direction, _) in zip(here, there, strict=True):
        np.testing.assert_allclose(scaled_rate * scale, rate, rtol=1e-12)
        np.testing.assert_allclose(scaled_rate * scaled_direction, rate * direction, rtol=1e-12)


def test_with_eps_it_does():
    assert steps(Adam(0.1, eps=1.0), np.array([[1.0, 10.0]]))[0].tolist() == pytest.approx([0.1 / 2, 1 / 11], rel=1e-14)


@given(st.integers(0, 1000), st.floats(0, 0.99), st.floats(0, 0.999))
def test_amsgrad_peak_never_falls_and_its_rate_never_rises_but_by_the_weight(seed, beta1, beta2):
    gradients = np.random.default_rng(seed).standard_normal((60, 3)) * np.linspace(2, 0.1, 60)[:, None]
    past = history(AMSGrad(0.1, beta1, beta2, 0.0), gradients)
    peaks = np.array([state.peak for *_, state in past])
    assert np.all(np.diff(peaks, axis=0) >= 0)
    bare = np.array([rate / np.sqrt(state.v.weight) for rate, _, state in past])
    assert np.all(np.diff(bare, axis=0) <= 1e-14 * bare[1:])


def test_adams_rate_does_rise_where_amsgrads_peak_stands():
    gradients = np.append(np.full((20, 1), 10.0), np.full((200, 1), 0.1), 0)
    adam = [rate[0] for rate, *_ in history(Adam(0.1, beta2=0.9), gradients)]
    ams = [rate[0] for rate, *_ in history(AMSGrad(0.1, beta2=0.9), gradients)]
    assert adam[-1] > 50 * adam[19]
    assert ams[-1] < 1.1 * ams[19]


@given(st.floats(1e-8, 1e8))
def test_adagrad_walks_a_plateau_by_the_root_law_whatever_its_slope(slope):
    """distance = alpha (2 sqrt T + zeta(1/2) + 1 / (2 sqrt T) + O(T^-3/2)); zeta(1/2) = -1.4603545..."""
    distance = steps(AdaGrad(0.1, eps=0.0), np.full((1000, 1), slope)).sum()
    law = 0.1 * (2 * math.sqrt(1000) - 1.4603545088095868 + 0.5 / math.sqrt(1000))
    assert abs(distance - law) <= 0.1 / 24 * 1000**-1.5 * 1.001 + 1e-11


@given(st.floats(0, 0.9999), st.floats(-1e6, 1e6).filter(lambda g: abs(g) > 1e-6))
def test_rmsprop_begins_with_a_step_of_lr_over_root_one_minus_beta(beta, g):
    step = steps(RMSProp(0.1, beta, 0.0), np.array([[g]]))[0, 0]
    assert step == pytest.approx(math.copysign(0.1 / math.sqrt(1 - beta), g), rel=1e-12)


@given(st.floats(0, 0.99), st.floats(0, 0.9999), st.floats(-1e6, 1e6).filter(lambda g: abs(g) > 1e-6))
def test_adam_begins_with_a_step_of_lr_in_the_direction_of_the_sign(beta1, beta2, g):
    assert steps(Adam(0.1, beta1, beta2, 0.0), np.array([[g]]))[0, 0] == pytest.approx(math.copysign(0.1, g), rel=1e-12)


@given(st.floats(0, 0.95), st.floats(-100, 100))
def test_heavy_ball_grows_to_g_over_one_minus_momentum(momentum, g):
    direction = history(HeavyBall(0.1, momentum), np.full((2000, 1), g))[-1][1][0]
    assert direction == pytest.approx(g / (1 - momentum), rel=1e-12, abs=1e-300)


def test_heavy_ball_without_momentum_is_gradient_descent():
    np.testing.assert_array_equal(steps(HeavyBall(0.1, 0.0), NOISE), steps(SGD(0.1), NOISE))


def test_adam_without_memory_is_sign_descent():
    np.testing.assert_allclose(steps(Adam(0.1, 0.0, 0.0, 0.0), NOISE), steps(SignDescent(0.1), NOISE), rtol=1e-15)


def test_adam_with_equal_averages_of_a_constant_gradient_moves_lr_a_step():
    np.testing.assert_allclose(steps(Adam(0.1, eps=0.0), np.full((500, 2), -3.0)), -0.1, rtol=1e-12)


def test_sign_descent_rests_where_the_gradient_is_zero_and_never_divides():
    assert steps(SignDescent(0.1), np.array([[0.0, -2.0, 5.0]])).tolist() == [[0, -0.1, 0.1]]


def test_adabelief_steps_far_where_the_gradient_is_as_expected():
    constant = np.full((500, 1), 2.0)
    surprised = np.where(np.arange(500)[:, None] % 2, 2.0, -2.0)
    believed = history(AdaBelief(0.1, beta2=0.9), constant)[-1][0][0]
    assert believed > 100 * history(AdaBelief(0.1, beta2=0.9), surprised)[-1][0][0]
    assert believed > 100 * history(Adam(0.1, beta2=0.9), constant)[-1][0][0]


# ---------------------------------------------------------------- Lion


@given(st.integers(0, 1000), st.floats(0, 0.99), st.floats(0, 0.99))
def test_every_step_of_lion_is_lr_or_nothing(seed, beta1, beta2):
    gradients = np.random.default_rng(seed).integers(-1, 2, size=(40, 5)).astype(float)
    gradients[:, 0] = 0.0
    sizes = np.abs(steps(Lion(0.1, beta1, beta2), gradients))
    assert set(sizes.ravel().tolist()) <= {0.0, 0.1}
    assert not sizes[:, 0].any()


def test_lion_without_memory_in_its_direction_is_sign_descent():
    np.testing.assert_array_equal(steps(Lion(0.1, 0.0), NOISE), steps(SignDescent(0.1), NOISE))


def test_a_new_sign_turns_lion_when_the_gradient_outweighs_the_memory():
    """After a long run of 1, a gradient -g turns the step if 0.1 g > 0.9: no sooner, no later."""
    _, _, state = history(Lion(0.1), np.ones((2000, 1)))[-1]
    turns = [Lion(0.1).step(state, np.array([-g]), np.zeros(1))[2][0] for g in (8.9, 9.1)]
    assert turns == [1, -1]


# ---------------------------------------------------------------- ADOPT


def rates_at_the_end(rule, gradients, last):
    return [history(rule, np.append(gradients, [[g]], 0))[-1][0][0] for g in last]


@given(st.integers(0, 1000), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_no_gradient_has_a_part_in_its_own_rate_under_adopt(seed, one, other):
    gradients = np.random.default_rng(seed).standard_normal((20, 1))
    assert len(set(rates_at_the_end(ADOPT(0.1), gradients, (one, other)))) == 1


def test_it_has_under_adam_and_would_under_a_broken_adopt():
    gradients = np.random.default_rng(0).standard_normal((20, 1))
    hasty = mutant(ADOPT, "self.lr / size", "self.lr / maximum(sqrt(v.total), constant(self.eps, g))")
    for rule in (Adam(0.1), hasty(0.1)):
        assert len(set(rates_at_the_end(rule, gradients, (1.0, 2.0)))) == 2


def test_adopts_first_gradient_makes_the_scale_and_no_step():
    (_, first, _), (rate, second, _) = history(ADOPT(0.1), np.array([[2.0, -5.0], [1.0, 5.0]]))
    assert first.tolist() == [0, 0]
    assert rate.tolist() == [0.1 / 2, 0.1 / 5]
    np.testing.assert_allclose(rate * second, 0.1 * 0.1 * np.array([1 / 2, 5 / 5]), rtol=1e-14)


def test_an_outlier_is_braked_by_adam_in_its_own_step_and_by_adopt_only_afterwards():
    """Adam's step is bounded by lr (1 - beta1) / sqrt(1 - beta2), about 3 lr, however large the gradient; ADOPT's is not."""
    for spike, longest in ((1e3, 1e2), (1e6, 1e5)):
        gradients = np.append(np.ones((2000, 1)), [[spike]], 0)
        assert abs(steps(Adam(1.0), gradients)[-1, 0]) < 4
        assert abs(steps(ADOPT(1.0), gradients)[-1, 0]) == pytest.approx(longest, rel=0.02)
    assert rates_at_the_end(ADOPT(1.0), gradients, (1.0,))[0] < 1e-3


# ---------------------------------------------------------------- rows and whole vectors


@given(st.permutations(range(7)))
def test_the_order_of_the_coordinates_of_a_row_is_nothing_to_its_rate(order):
    straight, permuted = history(RowAdaGrad(0.1), NOISE[:20]), history(RowAdaGrad(0.1), NOISE[:20, order])
    for (rate, direction, _), (other, turned, _) in zip(straight, permuted, strict=True):
        np.testing.assert_allclose(other, rate, rtol=1e-14)
        np.testing.assert_array_equal(turned, direction[order])


def test_row_wise_adagrad_is_pooled_adagrad_with_one_number_of_memory_a_row():
    rows = np.random.default_rng(0).standard_normal((30, 4, 6))
    own, pooled = RowAdaGrad(0.1, initial=0.3), Pooled(AdaGrad(0.1, initial=0.3))
    np.testing.assert_allclose(steps(own, rows), steps(pooled, rows), rtol=1e-13)
    assert own.init(rows[0]).shape == (4, 1)


def test_in_one_dimension_row_wise_adagrad_is_adagrad():
    np.testing.assert_allclose(steps(RowAdaGrad(0.1), NOISE[:, :1]), steps(AdaGrad(0.1), NOISE[:, :1]), rtol=1e-13)


def distances(rule, curvature, x, count=300):
    """d after every step on the bowl sum h x^2 / 2."""
    state, out = rule.init(x), []
    for _ in range(count):
        state, rate, direction = rule.step(state, curvature * x, x)
        x = x - rate * direction
        out.append(state.d[0])
    return np.array(out)


@given(st.integers(0, 1000), st.floats(1e-8, 1e-2), st.floats(0.1, 2.0))
def test_prodigys_distance_never_falls_and_on_a_bowl_never_exceeds_the_true_one(seed, d0, lr):
    """Convexity: <g, x0 - x> <= <g, x0 - x*>, so r <= |s|_1 max |x0 - x*|; here x* = 0."""
    random = np.random.default_rng(seed)
    x, curvature = random.standard_normal(5), np.exp(random.uniform(-2, 2, 5))
    d = distances(Prodigy(lr, d0=d0), curvature, x)
    assert np.all(np.diff(d) >= 0)
    assert d0 <= d[-1] <= max(d0, np.abs(x).max()) * (1 + 1e-12)


def test_prodigys_distance_grows_from_a_millionth_to_the_true_order():
    x, curvature = np.array([3.0, -2.0, 1.0]), np.array([1.0, 2.0, 0.5])
    assert 0.3 < distances(Prodigy(), curvature, x)[-1] <= 3
    assert distances(mutant(Prodigy, "norm1(s)", "norm1(s) / 9")(), curvature, x)[-1] > 3


def test_prodigy_does_not_feel_the_gradients_scale():
    x, curvature = np.array([3.0, -2.0, 1.0]), np.array([1.0, 2.0, 0.5])
    rule = Prodigy(eps=0.0)
    np.testing.assert_allclose(distances(rule, 1e6 * curvature, x), distances(rule, curvature, x), rtol=1e-9)


def test_without_a_gradient_prodigy_waits():
    state, _, direction = Prodigy().step(Prodigy().init(np.ones(2)), np.zeros(2), np.ones(2))
    assert (state.d[0], direction.tolist()) == (1e-6, [0, 0])


@pytest.mark.parametrize("name", EVERY)
def test_every_rule_finds_the_minimum_of_a_bowl(name):
    """From x = 1 on x^2 / 2, under a rate that falls to 0, the end is closer than the start by a factor of 5."""
    rule, x = LinearDecay(EVERY[name], 300), np.ones(3)
    state = rule.init(x)
    for _ in range(300):
        state, rate, direction = rule.step(state, x, x)
        x = x - rate * direction
    assert np.abs(x).max() < 0.2


# ---------------------------------------------------------------- wrappers


@pytest.mark.parametrize("cls", ZOO.values())
def test_decoupled_decay_shrinks_x_by_lr_times_decay_whatever_the_rate(cls):
    x, g = np.random.default_rng(0).standard_normal((2, 5))
    plain = cls(0.05)
    _, rate, direction = plain.step(plain.init(x), g, x)
    wrapped = Decoupled(plain, 0.3)
    _, decayed_rate, decayed = wrapped.step(wrapped.init(x), g, x)
    np.testing.assert_array_equal(decayed_rate, rate)
    np.testing.assert_allclose(decayed_rate * decayed - rate * direction, 0.05 * 0.3 * x, rtol=1e-12, atol=1e-15)


def test_without_decay_both_wrappers_change_nothing():
    for wrapper in (Decoupled, Coupled):
        np.testing.assert_array_equal(steps(wrapper(Adam(), 0.0), NOISE), steps(Adam(), NOISE))


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_a_learning_rate_of_zero_pauses_the_weights_and_not_the_averages(make):
    x, rule = make(np.ones(3)), Decoupled(Adam(0.0), 0.1)
    state, rate, direction = rule.step(rule.init(x), x, x)
    assert np.asarray(rate * direction).tolist() == [0, 0, 0]
    assert state.m.total[0] > 0
    unguarded = mutant(Decoupled, "positive(rate)", "rate")(Adam(0.0), 0.1)
    with np.errstate(all="ignore"):
        assert np.isnan(np.asarray(unguarded.step(rule.init(x), x, x)[2])).all()


def test_a_schedule_outside_scales_the_decay_too_and_inside_it_does_not():
    x, g = np.ones(1), np.zeros(1)
    outside, inside = InverseRoot(Decoupled(SGD(0.1), 0.5)), Decoupled(InverseRoot(SGD(0.1)), 0.5)

    def fourth(rule):
        state = rule.init(x)
        for _ in range(4):
            state, rate, direction = rule.step(state, g, x)
        return (rate * direction)[0]

    assert fourth(outside) == pytest.approx(0.1 * 0.5 / 2, rel=1e-14)
    assert fourth(inside) == pytest.approx(0.1 * 0.5, rel=1e-14)


def test_linear_decay_comes_to_rest_and_stays():
    rates = [float(rate[0]) for rate, *_ in history(LinearDecay(SGD(0.1), 4), np.ones((7, 1)))]
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025, 0, 0, 0], abs=1e-16)


# ---------------------------------------------------------------- contract


def test_hyperparameters_are_named_through_all_wrappers_and_repeats_are_told_apart():
    rule = Decoupled(Coupled(stepsize.chain(stepsize.ClipByNorm(2.0), Adam(0.1)), 0.3), 0.4)
    names = {"limit": 2.0, "lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.3, "decay_2": 0.4}
    assert hyperparameters(rule) == names
    assert list(hyperparameters(substitute(rule, iter([1, 2, 0.5, 0.6, 0.7, 8, 9]))).values()) == [
        1,
        2,
        0.5,
        0.6,
        0.7,
        8,
        9,
    ]


@pytest.mark.parametrize("name", EVERY)
def test_a_state_is_rebuilt_from_its_leaves(name):
    state = history(EVERY[name], NOISE[:3])[-1][2]
    again = rebuild(state, (leaf for _, leaf in leaves(state)))
    assert type(again) is type(state)
    for (key, leaf), (other_key, other) in zip(leaves(state), leaves(again), strict=True):
        assert key == other_key
        np.testing.assert_array_equal(leaf, other)


def test_leaves_are_named_as_in_the_formula_and_apart():
    assert list(named(leaves(InverseRoot(InverseRoot(AMSGrad())).init(np.zeros(1))))) == [
        *("m", "w_m", "v", "w_v", "peak", "t", "t_2")
    ]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_step_on_symbols_gives_the_numbers_of_the_step_on_arrays(name):
    rule, g, x = EVERY[name], 0.7, -1.3
    _, rate, direction = rule.step(rule.init(np.zeros(1)), np.array([g]), np.array([x]))
    start = rule.init(np.zeros(1))
    zero = rebuild(start, (sympy.Float(leaf[0]) for _, leaf in leaves(start)))
    _, symbolic_rate, symbolic_direction = rule.step(zero, sympy.Float(g, 30), sympy.Float(x, 30))
    assert float(symbolic_rate) == pytest.approx(rate[0], rel=1e-12)
    assert float(symbolic_direction) == pytest.approx(direction[0], rel=1e-12)


def test_every_elementwise_rule_may_be_cut_into_blocks():
    assert set(EVERY) - set(ELEMENTWISE) == {"Prodigy", "RowAdaGrad"}
    for rule in ELEMENTWISE.values():
        whole = steps(rule, NOISE[:5])
        parts = [steps(rule, NOISE[:5, i : i + 3]) for i in range(0, 7, 3)]
        np.testing.assert_array_equal(np.concatenate(parts, 1), whole)


def test_the_zoo_is_short_and_does_not_branch():
    for module, lines in ((rules, 250), (matrix_rules, 150), (wrappers, 250)):
        source = inspect.getsource(module)
        assert source.count("\n") <= lines
        assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.If, ast.IfExp, ast.While))]


def test_the_package_has_few_names_and_all_of_them():
    assert len(stepsize.__all__) == len(set(stepsize.__all__)) <= 45
    assert {name for name in stepsize.__all__ if not hasattr(stepsize, name)} == set()
    assert {rule.__name__ for rule in ZOO.values()} | {"Decoupled", "Pooled", "Muon"} <= set(stepsize.__all__)
    assert "Moments" not in stepsize.__all__


def test_the_package_imports_numpy_and_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import stepsize\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) == {"numpy", "stepsize"}


EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_the_readme_run(example):
    exec(example, {})


def test_hyperparameters_of_every_rule_are_checked():
    """A field whose name is not in DOMAINS would pass unchecked."""
    for name, rule in (EVERY | RULES).items():
        assert {key.partition("_")[0] for key in hyperparameters(rule)} <= set(contract.DOMAINS), name
