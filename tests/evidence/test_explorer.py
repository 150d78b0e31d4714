"""What the page computes is what the library computes, and its presets say what their chapters say."""

import json
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

import explorer_page
from companion.evidence import explorer
from companion.evidence import presets as module
from companion.evidence.landscapes import LANDSCAPES, OUTLIER, Noise
from companion.evidence.presets import RULES, lane, presets, state, value, written
from companion.experiments.adversarial_training import bilinear_game
from companion.experiments.gradient_clipping.heavy_tails import SPIKE_SIZE
from companion.experiments.gradient_clipping.rules import ClippedStep
from companion.experiments.poisson_bursts.race import schedule
from explorer_page import SCRIPT, core
from node import needs_node
from small_book import ROOT
from stepsize import ClipByNorm, chain, descend
from stepsize.contract import hyperparameters, substitute
from stepsize.errors import EvidenceError

STEPS = 500
RUN = """STATES.map((s) => {
  const p = core.run(data, s, s.lanes[0]);
  return Object.fromEntries(["x", "g", "rate", "direction", "loss"].map((k) => [k, Array.from(p[k])]).concat([["n", p.n]]));
})"""
#: Learning rates at which no race diverges or turns chaotic, where the last digit decides; every other rule takes DEFAULT.
DEFAULT = {"rosenbrock": 5e-4, "units": 3e-3}
RATES = {("valley", "SGD"): 1e-3, ("valley", "heavy ball"): 1e-3, ("plateau", "SGD"): 1e-3, ("plateau", "heavy ball"): 1e-3,
         ("rosenbrock", "SGD"): 1e-4, ("rosenbrock", "heavy ball"): 1e-4, ("units", "SGD"): 1e-3, ("units", "heavy ball"): 1e-3}  # fmt: skip


def race(landscape, rule, lane_settings=None, **settings):
    """A race off the axes, so that no gradient is zero by symmetry."""
    lr = 1.0 if rule == "Prodigy" else RATES.get((landscape, rule), DEFAULT.get(landscape, 0.02))
    start = [0.97 * v + 0.013 for v in LANDSCAPES[landscape].start]
    return state(landscape, [lane(rule, lr, **(lane_settings or {}))], start=start, steps=STEPS, **settings)


def in_numpy(s):
    """The same race by `descend`: x, rate, direction and loss at its steps."""
    one = s["lanes"][0]
    land = LANDSCAPES[s["landscape"]].at(Noise(**s["noise"]), **s["values"])
    rule = substitute(RULES[one["rule"]], iter([one["p"][name] for name in hyperparameters(RULES[one["rule"]])]))
    rule = {"before": lambda: chain(ClipByNorm(one["limit"]), rule), "behind": lambda: ClippedStep(rule, one["limit"])}.get(one["clip"], lambda: rule)()  # fmt: skip
    path = descend(rule, land.grad, s["start"], s["steps"])
    x = path.x[:-1]
    return {"x": x, "rate": path.rate, "direction": path.direction, "loss": land.loss(x)}


def assert_equal(s, seen):
    ours = in_numpy(s)
    assert seen["n"] == s["steps"] + 1, "the race diverges; choose a smaller rate in RATES"
    for name, expected in ours.items():
        got = np.reshape(np.array(seen[name], float), (s["steps"] + 1, -1))[:-1]
        got = got[:, 0] if name == "loss" else got
        # a difference of positions or losses is measured by their largest value
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * max(1, np.abs(expected).max()), err_msg=name)


@needs_node
@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_the_page_races_as_the_library_does(landscape):
    states = [race(landscape, rule) for rule in RULES]
    for s, seen in zip(states, core(RUN.replace("STATES", json.dumps(states))), strict=True):
        assert_equal(s, seen)


@needs_node
@pytest.mark.parametrize("kind", ["none", "normal", "tails", "spikes", "outlier"])
def test_the_page_draws_the_library_s_noise(kind):
    s = race("bowl", "Adam", noise=Noise(kind, 0.3, 20261127))
    assert_equal(s, core(RUN.replace("STATES", json.dumps([s])))[0])


@needs_node
@pytest.mark.parametrize("clip", ["before", "behind"])
@pytest.mark.parametrize("rule", ["Adam", "SGD", "AdaGrad", "AMSGrad"])
def test_the_page_clips_as_the_chapter_does(rule, clip):
    s = race("bowl", rule, {"clip": clip, "limit": 0.5}, noise=Noise("tails", 1.0, 3))
    assert_equal(s, core(RUN.replace("STATES", json.dumps([s])))[0])


@needs_node
@pytest.mark.parametrize(
    ("old", "new"),
    [("xi - rate[i] * direction[i]", "xi - rate[i] * direction[i] * (1 + 1e-10)"), ("0x85ebca6b", "0x85ebca6d"), ("lane.limit * p.lr", "lane.limit")],
)  # fmt: skip
def test_a_script_with_another_formula_is_noticed(old, new):
    source = SCRIPT.read_text(encoding="utf-8")
    assert source.count(old) == 1
    s = race("bowl", "Adam", {"clip": "behind", "limit": 0.5}, noise=Noise("normal", 1.0, 3))
    with pytest.raises(AssertionError):
        assert_equal(s, core(RUN.replace("STATES", json.dumps([s])), source.replace(old, new))[0])


@needs_node
def test_a_race_that_diverges_ends_where_descend_says():
    s = race("valley", "SGD")
    s["lanes"][0]["p"]["lr"] = 1.0
    land = LANDSCAPES["valley"]
    path = descend(RULES["SGD"].__class__(1.0), land.grad, s["start"], STEPS, nonfinite="record")
    assert core(f"core.run(data, {json.dumps(s)}, {json.dumps(s['lanes'][0])}).diverged") == path.diverged


@needs_node
@pytest.mark.parametrize("k", range(len(presets())), ids=[p["name"] for p in presets()])
def test_a_link_restores_the_state(k):
    s = core(f"(s => {{ s.lanes.forEach(l => l.p.lr ??= core.best(data, s, l)); return [s, core.decode(data, core.encode(s))]; }})({json.dumps(presets()[k]['state'])})")  # fmt: skip
    assert s[0] == s[1]


@needs_node
@pytest.mark.parametrize("clip", ["none", "before", "behind"])
def test_the_copied_python_runs_and_agrees(clip, tmp_path):
    s = race("valley", "AdamW", {"clip": clip, "limit": 0.5}, noise=Noise("normal", 0.1, 9))
    code, loss = core(f"(s => [core.python(data, s, s.lanes[0]), Array.from(core.run(data, s, s.lanes[0]).loss).at(-1)])({json.dumps(s)})")  # fmt: skip
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "lib", check=True)
    assert float(ran.stdout) == pytest.approx(loss, rel=1e-11)


def test_presets_replay_their_chapters():
    states = {p["name"]: p["state"] for p in presets()}
    text = (ROOT / "chapters/plateau_and_valley.md").read_text(encoding="utf-8")
    slope, curvature, length, width = map(float, re.search(r"PlateauValley\(slope=(.+?), curvature=(.+?), length=(.+?), width=(.+?)\)", text).groups())  # fmt: skip
    cliff = states["cliff"]
    assert cliff["values"] == {"slope": slope, "curvature": curvature, "width": width}
    assert cliff["start"] == [-(length + width)]
    shown = json.loads(re.search(r"lip_figure\(land, (\{.*?\})\)", text)[1])
    assert {one["rule"]: one["p"]["lr"] for one in cliff["lanes"]}.items() <= shown.items()
    assert f"condition = {states['turn']['values']['condition']:.0e}".replace("e+04", "e4") in (ROOT / "chapters/quasi_newton.md").read_text(encoding="utf-8")  # fmt: skip
    assert states["turn"]["values"]["condition"] == value("lib/companion/experiments/plateau_and_valley/race.py", "turned_race.condition")  # fmt: skip
    assert len(bilinear_game.plays()["both at once"]) - 1 == states["game"]["steps"]
    assert bilinear_game.plays()["both at once"][-1] == pytest.approx(in_numpy_end(states["game"]), rel=1e-12)
    kind, _ = schedule(states["burst"]["steps"])
    burst = states["burst"]["values"]
    assert (burst["begin"], burst["begin"] + burst["length"]) == (kind["start"], kind["stop"])
    assert OUTLIER[1] == SPIKE_SIZE
    assert f"test.sized({states['millimetres']['values']['size']})" in (ROOT / "chapters/feature_scales.md").read_text(encoding="utf-8")  # fmt: skip


def in_numpy_end(s):
    land = LANDSCAPES["game"].at(**s["values"])
    return descend(RULES["SGD"].__class__(s["lanes"][0]["p"]["lr"]), land.grad, s["start"], s["steps"]).x[-1]


def test_a_preset_notices_that_its_chapter_has_changed():
    with pytest.raises(EvidenceError, match=r"has no literal 'PlateauValley[.]depth' any more"):
        value("chapters/plateau_and_valley.md", "PlateauValley.depth")


MEASURED = """((p) => {
  const s = p.state, run = () => s.lanes.map((l) => core.run(data, s, l));
  s.lanes.forEach((l) => (l.p.lr ??= core.best(data, s, l)));
  const measure = (paths) => Object.fromEntries(Object.entries(p.measures).map(([k, m]) => [k, core.measure(paths, m)]));
  const before = measure(run());
  Object.assign(s.values, p.then?.values);
  if (p.then?.values) s.start = core.rotate(s.start, p.then.values.turn);
  if (p.then?.tune) s.lanes.forEach((l) => (l.p.lr = core.best(data, s, l)));
  return [before, measure(run()), s.lanes.map((l) => core.lateLoss(core.run(data, s, l)))];
})"""
#: What makes the answer that a preset calls right the right one.
RIGHT = {
    "cliff": lambda b, a, loss: a["step"] > 2 and a["rate"] < 0.01,
    "millimetres": lambda b, a, loss: a["size"] == 1000,
    "outlier": lambda b, a, loss: a["rate"] < 0.5 and loss[1] < loss[0] / 10,
    "word": lambda b, a, loss: a["idle"] > 0.8,
    "game": lambda b, a, loss: a["far"] > 1.5,
    "burst": lambda b, a, loss: a["rate"] < 0.5,
    "turn": lambda b, a, loss: a["lost"] > 1e3 * b["lost"] and loss[0] > loss[1],
    "rest": lambda b, a, loss: a["adam"] > 0.1 and a["amsgrad"] < 1e-9,
    "fair": lambda b, a, loss: b["before"] > 20 and a["after"] < 2 and loss[2] < 1.2 * loss[0],
}


@needs_node
@pytest.mark.parametrize("preset", presets(), ids=lambda p: p["name"])
def test_the_answer_of_a_preset_is_right(preset):
    before, after, losses = core(MEASURED + f"({json.dumps(preset)})")
    assert RIGHT[preset["name"]](before, after, losses), (before, after, losses)
    assert set(re.findall(r"\{(\w+)\}", preset["reveal"])) <= set(preset["measures"])


def test_literals_are_read_where_they_stand_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BOOK", tmp_path)
    cell = "```{code-cell} ipython3\n:tags: [x]\n\nf(1, a=[Adam(2.0)])\nb = 3  # once\nb = 4\nfor c in (5, 6):\n    Adam(7)\n```\n"
    (tmp_path / "page.md").write_text(f"# Page\n\nb = 9\n\n{cell}\nAdam(8)\n")
    (tmp_path / "code.py").write_text("def f(x, a=1, b='two'):\n    c, d = 3, 4\n")
    assert written("page.md") == {"f.0": 1, "Adam.0": 2.0, "b": 3, "c": (5, 6)}
    assert written("code.py") == {"f.a": 1, "f.b": "two", "c": 3, "d": 4}


def test_presets_and_chapters_are_linked_both_ways():
    linked = {}
    for path in (ROOT / "chapters").glob("*.md"):
        for name in re.findall(r'href="explorer\.html#preset=(\w+)"', path.read_text(encoding="utf-8")):
            linked.setdefault(name, set()).add(path.stem)
    told = {p["name"]: set(p["numbers"]) | set(p["also"]) for p in presets()}
    assert {name: told[name] >= chapters for name, chapters in linked.items()} == dict.fromkeys(linked, True)
    assert set(linked) == set(told)
    page = (ROOT / "chapters/explorer.md").read_text(encoding="utf-8")
    assert re.findall(r'id="preset=(\w+)"', page) == [p["name"] for p in presets()]


def test_the_script_is_small_and_asks_no_other_host():
    source = SCRIPT.read_text(encoding="utf-8")
    assert SCRIPT.stat().st_size <= 60_000
    assert set(re.findall(r"https?://[^\"' ]+", source + explorer_page.data())) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML"} & set(re.findall(r"https?://[^\"' ]+", source + explorer_page.data()))  # fmt: skip


def test_the_still_shows_the_rate_fall_and_the_step_grow():
    figure = explorer.still()
    rate, step = (axes.lines[0].get_ydata() for axes in figure.axes[1:])
    assert rate.min() < rate[0] / 100
    assert step.max() > 2 * step[0]
    plt.close(figure)
