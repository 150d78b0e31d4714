"""What the moving pictures compute is what the library computes, under node: the same file that the pages load."""

import inspect
import json
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from companion.evidence import pictures as module
from companion.evidence.landscapes import _poisson, normals, uniform
from companion.evidence.pictures import BEFORE, drawn, pictures
from companion.evidence.presets import value
from companion.experiments.adversarial_training import bilinear_game
from companion.experiments.feature_scales.problem import Regression, paces, time_and_peak
from companion.experiments.federated_learning.theory import crossover, noisy_error
from companion.experiments.plateau_and_valley.landscapes import PlateauValley
from companion.experiments.plateau_and_valley.transients import enter
from companion.experiments.poisson_bursts.figures import law
from companion.experiments.poisson_bursts.race import Twins
from companion.experiments.poisson_bursts.streams import Stream, follow, length, log_rate, poisson_stream
from companion.experiments.quasi_newton.race import learned_metrics
from companion.experiments.quasi_newton.secant import bfgs_metric, gaussian_divergence
from companion.experiments.sparse_embeddings.race import journey
from companion.experiments.tau_leaping.theory import linear_law, stationary_inflation
from node import evaluate, needs_node
from small_book import ROOT
from stepsize import SGD, AdaGrad, Adam, ClipByNorm, chain, descend
from stepsize.measures import settle
from stepsize.metric import diagonal, law_defect, unit_circle
from stepsize.responses import adam_ratio, reach, spike_brake, steps_until, time_debt
from stepsize.signals import ZOO, respond, signals

SCRIPT = ROOT / "chapters" / "_static" / "pictures.js"
PICTURES = pictures()


@pytest.fixture
def script() -> str:
    return SCRIPT.read_text(encoding="utf-8")


@cache
def data() -> str:
    return module.script()


def core(expression: str, script: str | None = None):
    """An expression of `core`, what the script exports, and `data`, evaluated by node; NaN and infinities survive."""
    finite = "(_, v) => Number.isFinite(v) || typeof v !== 'number' ? v : String(v)"
    return evaluate(expression, data(), script or SCRIPT.read_text(encoding="utf-8"), "picturesData", finite)


def shown(name: str, states: list[dict], script: str | None = None) -> list[dict]:
    """What a picture computes in states that differ from its first by these changes."""
    every = json.dumps([PICTURES[name].start | change for change in states])
    return core(f"{every}.map((s) => core.compute.{name}(s, data))", script)


def square(m):
    """[[a, b], [b, c]], which the script keeps as [a, b, c]."""
    return np.array([[m[0], m[1]], [m[1], m[2]]])


def near(got, expected, scale=1.0):
    np.testing.assert_allclose(np.array(got, float), expected, rtol=1e-12, atol=1e-12 * scale)


@needs_node
@pytest.mark.parametrize("rule", ["SGD", "heavy ball", "sign", "AdaGrad", "RMSProp", "Adam", "AMSGrad", "AdaBelief"])
def test_a_drawn_gradient_meets_the_rule_of_the_library(rule, script):
    inputs = [*drawn().values(), np.random.default_rng(1).normal(size=60) * np.geomspace(0.01, 100, 60)]
    for g, seen in zip(inputs, shown("the_rules", [{"rule": rule, "gradients": g.tolist()} for g in inputs], script), strict=True):  # fmt: skip
        path = respond(ZOO[rule](lr=1.0), np.append(np.ones(BEFORE), g)[:, None])
        near(seen["path"]["rate"], path.rate[BEFORE:, 0])
        near(seen["path"]["direction"], path.direction[BEFORE:, 0], 100)
        near(seen["path"]["step"], (path.rate * path.direction)[BEFORE:, 0], 100)


def test_the_signals_of_the_page_are_the_chapter_s():
    theirs = signals(60)
    for name in ("constant", "impulse", "alternating"):
        assert np.array_equal(drawn()[name], theirs[name][:, 0, 0])
    assert 20 < (drawn()["random signs"] > 0).sum() < 40


def exact(name, lr, **settings):
    rule = ZOO[name](lr=lr, **settings)
    return replace(rule, eps=0.0) if hasattr(rule, "eps") else rule


def plateau(slope):
    return PlateauValley(*(np.array([[v]]) for v in (slope, 1000.0, 4.0, 0.3)))


@needs_node
@pytest.mark.parametrize(
    "state",
    [
        {},
        {"memory": 10, "t": 3},
        {"rule": "AdaGrad", "lr": 0.063, "t": 90},
        {"rule": "RMSProp", "slope": 1e-3, "t": -30},
        {"rule": "sign", "lr": 0.01, "slope": 1.0},
        {"rule": "SGD", "lr": 0.5},
    ],
    ids=str,
)
def test_the_walker_enters_the_valley_as_the_library_s_does(state, script):
    (seen,) = shown("plateau_and_valley", [state], script)
    s = PICTURES["plateau_and_valley"].start | state
    land, n, lip, steps = plateau(s["slope"]), seen["numbers"], seen["lip"], 5000
    rule = exact(s["rule"], s["lr"], **{"beta2": 1 - 1 / s["memory"]} if s["rule"] == "Adam" else {})
    path, entry, end = descend(rule, land.grad, land.start, steps), enter(rule, land, steps), slice(0, lip + 100)
    x, rate, step = path.x[:, 0, 0], path.rate[:, 0, 0], np.abs(path.rate * path.direction)[:, 0, 0]
    near(seen["x"][end], x[end])
    near(seen["rate"][end], rate[end] / rate[lip - 1])
    near(seen["step"][end], step[end] / step[lip - 1])
    near([n["lowest"], n["longest"]], [entry.rate[0], entry.peak[0]])
    here = lip - 1 + s["t"]
    near([n["gradient"], n["rate"], n["step"]], [land.grad(path.x[here])[0, 0], rate[here] / rate[lip - 1], step[here] / step[lip - 1]])  # fmt: skip
    assert seen["back"] == entry.ejected
    assert float(n["settled"]) == settle(rule, land.grad, land.start, land.settled, steps)


@needs_node
def test_gradient_descent_at_a_stable_rate_does_not_come_to_the_lip():
    (seen,) = shown("plateau_and_valley", [{"rule": "SGD", "lr": 0.0019}])
    land = plateau(0.01)
    assert not seen["arrived"]
    assert not enter(SGD(0.0019), land, 5000).arrived
    near(seen["x"][-1], descend(SGD(0.0019), land.grad, land.start, 5000).x[-1, 0, 0])


@needs_node
def test_paces_and_times_of_two_features_are_those_of_the_chapter(script):
    states = [
        {},
        {"size": 20.0, "lr": 0.01},
        {"lr": 0.003},
        {"lr": 0.001},
        {"rule": "AdaGrad", "size": 100.0, "lr": 0.3},
        {"rule": "heavy ball", "size": 10.0, "lr": 0.01},
        {"rule": "SGD", "size": 1000.0, "lr": 1e-6},
        {"rule": "SGD", "size": 10.0, "lr": 0.1},
    ]
    H, home = np.array([[[1.0, 0.3], [0.3, 1.0]]]), np.ones((1, 1, 2))
    land = Regression(np.zeros((1, 1, 2)), np.zeros((1, 1)), H, home, np.ones(2))
    for state, seen in zip(states, shown("feature_scales", states, script), strict=True):
        s, n = PICTURES["feature_scales"].start | state, seen["numbers"]
        rule, big = exact(s["rule"], s["lr"]), land.sized(s["size"])
        done, peak = time_and_peak(rule, big, 1000, hold=200)
        assert float(n["done"]) == done
        assert float(n["equal"]) == time_and_peak(rule, land, 1000, hold=200)[0]
        if peak > 1e12:
            assert float(n["peak"]) == np.inf
            continue
        near(n["peak"], peak)
        near([n["weights"], n["prediction"]], np.ravel(paces(rule, big, 100)))
        for k in (0, 10):
            near([seen["weights"][k], seen["prediction"][k]], [[10 ** (k / 10), pace] for pace in np.ravel(paces(rule, land.sized(10 ** (k / 10)), 100))])  # fmt: skip


@needs_node
@pytest.mark.parametrize("state", [{}, {"size": 7.0, "memory": 100}], ids=str)
def test_a_burst_and_its_twin_are_followed_as_the_chapter_follows_them(state, script):
    (seen,) = shown("poisson_bursts", [state], script)
    s, n = PICTURES["poisson_bursts"].start | state, seen["numbers"]
    quiet = [_poisson(0.5, uniform(1, t, 0)) for t in range(6000)]
    burst = [_poisson(0.5 * (s["size"] - 1), uniform(1, t, 1)) if 2000 <= t < 2100 else 0 for t in range(6000)]
    assert seen["counts"] == np.add(quiet, burst).tolist()
    both = Stream(np.ones((6000, 2, 1)), np.stack([seen["counts"], quiet], -1))
    rules = {
        "AdaGrad": AdaGrad(1.0, 0.0),
        "clipped AdaGrad": chain(ClipByNorm(5.0), AdaGrad(3.2, 0.0)),
        "Adam": Adam(0.032, beta2=1 - 1 / s["memory"], eps=0.0),
    }
    for name, rule in rules.items():
        followed, lane = follow(rule, both, watch=lambda now: (log_rate(now), length(now))), seen["lanes"][name]
        pair = Twins(*(followed.watched[:, k].T[..., None] for k in (0, 1)))
        near(lane["forecast"][:-1], followed.mu[:, 0])
        near(lane["rate"], pair.ratio[:, 0])
        near(lane["law"], law(pair, rule, 2100))
        near(lane["moved"], [pair.path_length(slice(t, t + 100))[0] for t in range(0, 6000, 100)])
        near(n[f"{name} kept"], pair.ratio[2099, 0])
        near(n[f"{name} burst"], pair.path_length(slice(2000, 2100))[0])
        near(n[f"{name} late"], pair.path_length(slice(2500, 3500))[0])
        if name == "AdaGrad":
            sums = np.exp(-2 * pair.log_rate[:, 2099, 0])
            near(n["debt"], time_debt(sums[0] - sums[1], sums[1] / 2100))
        if name == "Adam":
            near(n["until"], steps_until(0.9, pair.ratio[2099, 0], 1 - 1 / s["memory"]))


def test_the_pictures_begin_with_the_chapters_parameters():
    walker, feature = PICTURES["plateau_and_valley"].start, PICTURES["feature_scales"].start
    plateau_page, scales_page = (f"chapters/{name}.md" for name in ("plateau_and_valley", "feature_scales"))
    assert walker["lr"] == value(plateau_page, "figures.lip_figure.1")["Adam"]
    there = {name: value(plateau_page, f"PlateauValley.{name}") for name in ("slope", "curvature", "length", "width")}
    assert there == {"slope": walker["slope"], "curvature": 1000.0, "length": 4.0, "width": 0.3}
    assert feature["size"] == value(scales_page, "test.sized.0")
    assert inspect.signature(Regression.sample).parameters["correlation"].default == 0.3
    there = inspect.signature(poisson_stream).parameters
    assert [there[k].default for k in ("base", "start", "stop", "steps")] == [0.5, 2000, 2100, 6000]
    assert there["burst"].default == PICTURES["poisson_bursts"].start["size"]


@needs_node
def test_the_freeze_follows_the_closed_form(script):
    states = [{"size": s, "clip": c} for s, c in ((1000.0, 10.0), (300.0, 1.0), (20.0, 50.0), (1.0, 1.0))]
    for s, seen in zip(states, shown("gradient_clipping", states, script), strict=True):
        for lane, size in (("raw", s["size"]), ("clipped", min(s["size"], s["clip"]))):
            brake = spike_brake(size)
            near(seen[lane], adam_ratio(brake, 0.999, np.arange(9000)))
            frozen = seen["numbers"]["frozen" + "_clip" * (lane == "clipped")]
            assert frozen == (np.ceil(steps_until(1 / 1.1, brake, 0.999)) if brake < 1 / 1.1 else 0)


@needs_node
def test_the_three_adams_move_a_rare_row_as_the_library_s_do(script):
    gaps = (1, 7, 100, 1000)
    for gap, seen in zip(gaps, shown("sparse_embeddings", [{"gap": g} for g in gaps], script), strict=True):
        n = seen["numbers"]
        first = journey(Adam(1.0, eps=0.0), 60_000, gap)
        near(np.cumsum(seen["steps"]["dense"])[:gap], first)
        near([n["dense"], n["idle"], n["shared"], n["own"]], [first[-1], 1 - first[0] / first[-1], first[0], 1.0])
        near(n["reach"], reach(gap))
        visit = np.arange(1, 6)
        near(seen["steps"]["shared"], (1 - 0.9**visit) / np.sqrt(1 - 0.999**visit))
        near(seen["steps"]["own"], np.ones(5))


@needs_node
@pytest.mark.parametrize("play", ["once", "turns", "ahead", "Adam"])
def test_the_game_is_played_by_the_library_s_rules(play, script):
    h, start, memory = 0.3, [0.7, -0.4], 100
    (seen,) = shown("adversarial_training", [{"play": play, "start": start, "rate": h, "memory": memory}], script)
    game, path = bilinear_game.Bilinear(), np.array(seen["path"])
    R = bilinear_game.cycle_radius(1.0, 0.9, 0.99)
    expected = {
        "once": lambda: descend(SGD(h), game, start, 60).x,
        "turns": lambda: bilinear_game.alternate(SGD(h), game, start, 60),
        "ahead": lambda: descend(SGD(h), bilinear_game.looking_ahead(game, h), start, 60).x,
        "Adam": lambda: descend(Adam(1 / R, 0.9, 0.99, 1e-9), game, start, 500).x,
    }[play]()
    near(path[: len(expected)], expected, 10)
    n = seen["numbers"]
    near(n["circle"], R)
    if play == "Adam":
        assert n["end"] == pytest.approx(1, abs=0.05), "it ends on the predicted circle"
    else:
        law = {"once": bilinear_game.gda_law(h)[0], "turns": 1.0, "ahead": bilinear_game.extragradient_law(h)}[play]
        near(n["factor"], law)
        near(n["end"], bilinear_game.radius(expected[-1]))


@needs_node
def test_who_pays_is_what_the_theory_says(script):
    states = [{"shift": d, "noise": r} for d in (0.0, 0.4, 2.0) for r in (1.5, 10.0)]
    for s, seen in zip(states, shown("federated_learning", states, script), strict=True):
        variance = 0.09 * np.array([1.0] * 5 + [s["noise"] ** 2])
        equal, inverse = np.full(6, 1 / 6), 1 / variance / (1 / variance).sum()
        n = seen["numbers"]
        for name, w in (("equal", equal), ("inverse", inverse)):
            near(n[f"noisy_{name}"], noisy_error(s["shift"], variance, 8, 40, w))
            # seen from a quiet client the others' truth is its own, and the model is off by w_K shift
            near(n[f"quiet_{name}"], noisy_error(0.0, variance, 8, 40, w) + (w[-1] * s["shift"]) ** 2)
            near(seen["curves"][f"noisy_{name}"][40], [1.0, noisy_error(1.0, variance, 8, 40, w)])
        near(n["crossover"], crossover(variance, 8, 40))


@needs_node
@pytest.mark.parametrize("z", [0.3, 1.0, 1.9, 2.1])
def test_both_clouds_obey_the_recursion_and_its_law(z, script):
    (seen,) = shown("tau_leaping", [{"z": z}], script)
    walkers, n, refused = range(0, 60, 13), 100, 0
    for w in walkers:
        counts, x = [n], [0.0]
        for t in range(60):
            x.append(x[-1] - z * (x[-1] + normals(w, t)[0]))
            born, dead = _poisson(n * z, uniform(w, t, 2)), _poisson(counts[-1] * z, uniform(w, t, 3))
            after = counts[-1] + born - dead
            refused += after < 0
            counts.append(after if after >= 0 else counts[-1])
        near(seen["clouds"]["molecules"][w], (np.array(counts) - n) / np.sqrt(n))
        near(seen["clouds"]["gradients"][w], np.array(x) / np.sqrt(z / 2), 1e3)
    assert seen["numbers"]["refused"] >= refused
    near(seen["law"], linear_law(z, 2 * z, np.arange(61))[1])
    near(seen["numbers"]["law"], stationary_inflation(z))
    if z < 1.5:
        expected = seen["numbers"]["expected"]
        assert seen["numbers"]["molecules"] == pytest.approx(expected, rel=0.15)
        assert seen["numbers"]["gradients"] == pytest.approx(expected, rel=0.15)


@needs_node
def test_the_balls_are_those_of_the_library(script):
    states = [{"angle": a, "stretch": k} for a in (0, 30, 45, 90) for k in (2.0, 4.0)]
    every = shown("riemannian_metric", states, script)
    pairs = json.dumps([[seen["V"], seen["metrics"]["root"]] for seen in every])
    balls = core(
        f"{pairs}.map(([V, root]) => [core.ball(V, (V[0] * V[2] - V[1] * V[1]) ** 0.25), core.lawDefect(root, V)])",
        script,
    )
    for s, seen, (ball, defect) in zip(states, every, balls, strict=True):
        expected = PICTURES["riemannian_metric"].numbers(s)
        near(
            [seen["numbers"][k] for k in expected], list(expected.values()), 1e4
        )  # a defect is a root of rounding errors
        V, root = square(seen["V"]), diagonal(np.sqrt([seen["V"][0], seen["V"][2]]))
        near(square(seen["metrics"]["root"]), root)
        for points in (np.array(ball), unit_circle(V)):
            near(np.einsum("ni,ij,nj->n", points, V, points), np.linalg.det(V) ** 0.5)
        near(defect, law_defect(root, V))


@needs_node
def test_secants_are_added_as_bfgs_adds_them(script):
    angles = [70, 20, 131]
    (seen,) = shown("quasi_newton", [{"secants": angles}], script)
    A, B = square(seen["A"]), np.eye(2)
    near(np.linalg.eigvalsh(A), [1, 10])
    for degrees, metric in zip(angles, seen["metrics"][1:], strict=True):
        s = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        B = bfgs_metric(B, s, A @ s)
        near(square(metric), B, 10)
    near(seen["numbers"]["divergence"], gaussian_divergence(B, A))
    assert seen["numbers"]["newest"] < 1e-14 < seen["numbers"]["oldest"]
    # two that are conjugate give the Hessian, as two exact line searches do
    (one,) = shown("quasi_newton", [{"secants": [70]}], script)
    (two,) = shown("quasi_newton", [{"secants": [70, one["conjugate"]]}], script)
    near(square(two["metrics"][-1]), A, 10)
    near(learned_metrics(A, np.array([1.0, 0.3]), 2)[-1], A, 10)


@needs_node
@pytest.mark.parametrize("name", PICTURES)
def test_the_numbers_without_a_script_are_those_with_one(name):
    (seen,) = shown(name, [{}])
    expected = PICTURES[name].numbers(PICTURES[name].start)
    assert set(expected) == set(PICTURES[name].words)
    near([seen["numbers"][k] for k in expected], list(expected.values()), 1e4)


#: In the script, an expression, what to put there, and the test that must notice.
MUTANTS = [
    ("      s = next;\n", "", test_a_drawn_gradient_meets_the_rule_of_the_library, "Adam"),
    ("v / values[lip - 1]", "v / values[lip]", test_the_walker_enters_the_valley_as_the_library_s_does, {}),
    ("hold: 200", "hold: 2", test_paces_and_times_of_two_features_are_those_of_the_chapter),
    ("[S, S * v]", "[S, v]", test_paces_and_times_of_two_features_are_those_of_the_chapter),
    ("base * (size - 1)", "base * size", test_a_burst_and_its_twin_are_followed_as_the_chapter_follows_them, {}),
    (
        "owed * twin.rate[end + k]",
        "owed * own.rate[end + k]",
        test_a_burst_and_its_twin_are_followed_as_the_chapter_follows_them,
        {},
    ),
    ("limit: clip", "limit: 2 * clip", test_the_freeze_follows_the_closed_form),
    ("visits, settled(shared, 0)", "visits", test_the_three_adams_move_a_rare_row_as_the_library_s_do),
    ("v - r[0] * d[0]", "v - 1.001 * r[0] * d[0]", test_the_game_is_played_by_the_library_s_rules, "turns"),
    ("(1 - w[last]) ** 2 * delta", "(1 - w[last]) * delta", test_who_pays_is_what_the_theory_says),
    ("+ 2 * z)", "+ z)", test_both_clouds_obey_the_recursion_and_its_law, 1.0),
    ("root: turned(stretch, 1, angle)", "root: V", test_the_balls_are_those_of_the_library),
    ("(Bs[i] * Bs[j]) / sBs", "(Bs[i] * Bs[j]) / sy", test_secants_are_added_as_bfgs_adds_them),
]


@needs_node
@pytest.mark.parametrize(("old", "new", "test", "arguments"), [(a, b, c, rest) for a, b, c, *rest in MUTANTS])
def test_a_picture_with_another_formula_is_noticed(old, new, test, arguments):
    source = SCRIPT.read_text(encoding="utf-8")
    assert source.count(old) == 1
    with pytest.raises(AssertionError):
        test(*arguments, script=source.replace(old, new))


def test_the_script_is_small_and_asks_no_other_host():
    source = SCRIPT.read_text(encoding="utf-8") + data()
    assert SCRIPT.stat().st_size + SCRIPT.with_suffix(".css").stat().st_size <= 55_000
    assert set(re.findall(r"https?://[^\"' ]+", source)) == {"http://www.w3.org/2000/svg"}


def test_a_picture_stands_in_its_chapter_once_and_is_described():
    for path in (ROOT / "chapters").glob("*.md"):
        found = re.findall(r"^`{3,}\{picture\} (\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert found == [path.stem] * (path.stem in PICTURES)
    assert all(len(p.alt.split()) > 20 for p in PICTURES.values())
