"""The presets of the explorer: races that replay what chapters show.

A preset takes its parameters from where they stand: the cells of a chapter and the modules of its experiment are read as
text; nothing is typed twice and nothing is executed.
"""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stepsize.contract import hyperparameters
from stepsize.errors import EvidenceError
from stepsize.rules import Adam
from stepsize.signals import ZOO
from stepsize.wrappers import Decoupled, Pooled

from .landscapes import LANDSCAPES, OUTLIER

#: name -> rule: the rules of the library by the names of the figures, and two wrapped ones.
RULES = {name: rule() for name, rule in ZOO.items()} | {"AdamW": Decoupled(Adam()), "pooled Adam": Pooled(Adam())}

BOOK = Path(__file__).resolve().parents[3]


@cache
def written(path: str) -> dict[str, Any]:
    """Literals in a chapter's cells or a module, each where it stands first.

    "name": an assigned value, or what a loop runs over; "call.keyword", "call.0": an argument; "function.argument": a default.
    """
    text = (BOOK / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        cells = re.findall(
            r"^```\{code-cell\}[^\n]*\n(?:---\n.*?\n---\n)?((?:.*?\n)??)```$", text, re.MULTILINE | re.DOTALL
        )
        text = re.sub(r"^:.*\n", "", "\n".join(cells), flags=re.MULTILINE)
    found: dict[str, Any] = {}

    def note(name, value):
        try:
            found.setdefault(name, ast.literal_eval(value))
        except ValueError:
            return

    nodes = (node for node in ast.walk(ast.parse(text)) if hasattr(node, "lineno"))
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.For(target=ast.Name(id=name), iter=value):
                note(name, value)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for name, value in zip(names, values, strict=True):
                    note(ast.unparse(name), value)
            case ast.Call(func=function, args=args, keywords=keywords):
                for k, value in enumerate(args):
                    note(f"{ast.unparse(function)}.{k}", value)
                for keyword in keywords:
                    note(f"{ast.unparse(function)}.{keyword.arg}", keyword.value)
            case ast.FunctionDef(name=name, args=arguments):
                defaults = arguments.defaults
                for argument, value in zip(
                    arguments.args[len(arguments.args) - len(defaults) :], defaults, strict=True
                ):
                    note(f"{name}.{argument.arg}", value)
    return found


def value(path: str, name: str):
    """One literal of `written`."""
    known = written(path)
    if name not in known:
        raise EvidenceError(
            f"{path} has no literal {name!r} any more; a preset of the explorer reads it: correct the preset"
        )
    return known[name]


def lane(rule: str, lr: float | None = None, clip: str = "none", limit: float = 1.0, **changes) -> dict:
    """One rule of a race; lr None is tuned by the page."""
    known = {name: float(v) for name, v in hyperparameters(RULES[rule]).items()}
    if unknown := set(changes) - set(known):
        raise EvidenceError(f"{rule} has no {unknown.pop()!r}; it has {', '.join(known)}")
    return {"rule": rule, "p": known | changes | {"lr": lr}, "clip": clip, "limit": limit}


def state(landscape: str, lanes: list[dict], start=None, noise=None, steps=None, first=0, t=0, box=None, linked=False, show="both", **values) -> dict:  # fmt: skip
    """Everything that the page shows; what is not given is the landscape's own."""
    land = LANDSCAPES[landscape].at(**values)
    return {
        "landscape": landscape, "values": land.values, "start": list(start or land.start), "noise": (noise or land.noise)._asdict(),
        "steps": steps or land.steps, "first": first, "t": t, "box": box or land.box, "linked": linked, "show": show, "lanes": lanes,
    }  # fmt: skip


def presets() -> list[dict]:
    """The presets in the order of the page: a question, answers, what is revealed, and the chapter whose parameters it replays."""
    plateau, scales, clipping, sparse = (f"chapters/{n}.md" for n in ("plateau_and_valley", "feature_scales", "gradient_clipping", "sparse_embeddings"))  # fmt: skip
    game, streams = (f"lib/companion/experiments/{n}.py" for n in ("adversarial_training/bilinear_game", "poisson_bursts/streams"))  # fmt: skip
    tails, regression = (f"lib/companion/experiments/{n}.py" for n in ("gradient_clipping/heavy_tails", "feature_scales/problem"))  # fmt: skip
    at_the_lip = value(plateau, "figures.lip_figure.1")
    cliff = {name: value(plateau, f"PlateauValley.{name}") for name in ("slope", "curvature", "width")}
    length = value(plateau, "PlateauValley.length")
    burst = {name: value(streams, f"poisson_stream.{name}") for name in ("base", "burst", "start", "stop")}
    begin, lasts = burst["start"], burst["stop"] - burst["start"]
    spike = value(tails, "SPIKE_SIZE")
    sized = value(scales, "test.sized.0")
    gap = max(value(sparse, "gap"))
    turned = value("chapters/quasi_newton.md", "condition")
    degrees = max(value(plateau, "degrees"))
    h, turns = (value(game, f"plays.{name}") for name in ("lr", "turns"))
    orbit = value(plateau, "Adam.0"), value(plateau, "Adam.eps")
    noise = LANDSCAPES["bowl"].noise
    outlier = noise._replace(kind="outlier", size=1.0, seed=3)
    if spike != OUTLIER[1]:
        raise EvidenceError(
            f"the chapter's outlier has size {spike:g}, the landscape's {OUTLIER[1]:g}; make them equal"
        )
    return [
        {
            "name": "cliff", "title": "Cliff", "numbers": ["plateau_and_valley"], "also": ["the_rules"],
            "question": "Adam comes from a plateau to a cliff. Its learning rate falls at once. What does its step do?",
            "answers": ["It shrinks", "It stays as it was", "It grows"], "right": 2,
            "reveal": "Within {span} steps Adam’s rate falls to {rate} of what it was, and its step grows {step}-fold: the gradient grew by more than the rate fell, and the step is their product.",
            "measures": {"rate": ["rate", 0, 0, "min", 1000, 1020, 995], "step": ["step", 0, 0, "max", 1000, 1020, 995], "span": 20},
            "state": state("plateau", [lane("Adam", at_the_lip["Adam"]), lane("AdaGrad", at_the_lip["AdaGrad"])],
                           start=[-(length + cliff["width"])], steps=1080, first=985, t=985, **cliff),
        },
        {
            "name": "millimetres", "title": "Millimetres", "numbers": ["feature_scales"], "also": [],
            "question": f"Feature 1 is given in millimetres instead of metres: its numbers are {sized:,.0f} times larger. Adam moves both weights equally far. What does the prediction feel of weight 1?",
            "answers": ["As much as of weight 2", f"{sized:,.0f} times as much", "Next to nothing"], "right": 1,
            "reveal": "The first steps are equally long in both weights, and a step of weight 1 counts {size} times in the prediction: to the map, which is drawn in predictions, Adam jumps sideways. One rate cannot suit both.",
            "measures": {"size": sized},
            "state": state("units", [lane("Adam", 0.003, eps=value(scales, "Adam.eps")), lane("SGD")],
                           box=[[-3.5, 5.5], [-2.4, 4.35]], steps=400, size=sized, correlation=value(regression, "sample.correlation")),
        },
        {
            "name": "outlier", "title": "Outlier", "numbers": ["gradient_clipping"], "also": ["recurrent_networks", "federated_learning"],
            "question": f"At step {OUTLIER[0]} a single gradient is {spike:,.0f} times too large. For how long does it hold Adam up?",
            "answers": ["About 10 steps, the memory of m", "About 1000 steps, the memory of v", "Longer than that"], "right": 2,
            "reveal": "{late} steps later Adam’s rate is still {rate} of what it was: the outlier fades from v with a memory of 1000 steps, from a million times the usual. The clip in front of the rule, the other lane, has hardly noticed.",
            "measures": {"rate": ["rate", 0, 0, "min", 1900, 1900, 99], "late": 1800},
            "state": state("bowl", [lane("Adam", 0.01), lane("Adam", 0.01, clip="before", limit=value(clipping, "ClipByNorm.0"))], noise=outlier, steps=2000, start=[2.0, 2.0], show="1"),
        },
        {
            "name": "word", "title": "Rare word", "numbers": ["sparse_embeddings"], "also": ["graph_hubs"],
            "question": f"Coordinate 2 is a rare word: its gradient is zero but at one step in {gap}. How much of Adam’s motion for that word happens while its gradient is zero?",
            "answers": ["None of it", "About half", "Nearly all of it"], "right": 2,
            "reveal": "{idle} of the distance is covered after the gradient is gone: the first moment remembers it. Sign descent moves once.",
            "measures": {"idle": ["step", 0, 1, "idle", gap - 1, gap + 99, gap - 1]},
            "state": state("rare", [lane("Adam", 0.02), lane("sign", 0.02), lane("AdaGrad", 0.2)], steps=gap + 100, first=gap - 20, t=gap - 20, every=gap),
        },
        {
            "name": "game", "title": "Game", "numbers": ["adversarial_training"], "also": [],
            "question": "x wants xy low, y wants it high, and both follow their gradients at the same moment. Where does the play end?",
            "answers": ["At the equilibrium", "On a circle", "It spirals outwards"], "right": 2,
            "reveal": "Gradient steps spiral outwards: after {turns} turns the players are {far} times as far from the equilibrium. Looking at the sign or at old gradients, as the other lanes do, does not bring them home either.",
            "measures": {"far": ["distance", 0, 0, "max", turns, turns, 0], "turns": turns},
            "state": state("game", [lane("SGD", h), lane("Adam", h), lane("sign", h)], start=[1.0, 0.0], steps=turns),
        },
        {
            "name": "burst", "title": "Burst", "numbers": ["poisson_bursts"], "also": [],
            "question": f"For {lasts} steps counts arrive {burst['burst']:.0f} times as often (coordinate 1; coordinate 2 is the twin without a burst). When will AdaGrad’s rate be that of the twin again?",
            "answers": ["When the burst is over", "About a thousand steps later", "Not in this run"], "right": 2,
            "reveal": "{late} steps after the burst AdaGrad’s rate is still {rate} of what it was before: a sum forgets nothing. RMSProp, whose memory is 100 steps, is long back.",
            "measures": {"rate": ["rate", 0, 0, "min", 5900, 5900, begin - 1], "late": 5900 - begin - lasts},
            "state": state("counts", [lane("AdaGrad", 0.3), lane("RMSProp", 0.03), lane("Adam", 0.03)], steps=value("chapters/poisson_bursts.md", "steps"), first=begin - 200, t=begin - 200,
                           start=[float(np.log(burst["base"]))] * 2, base=burst["base"], burst=burst["burst"], begin=begin, length=lasts, box=[[-1.5, 4.5], [-2.5, 2.0]]),
        },
        {
            "name": "turn", "title": "Turned valley", "numbers": ["quasi_newton", "plateau_and_valley"], "also": ["riemannian_metric"],
            "question": f"Adam runs straight through this valley. Turn valley and start together by {degrees} degrees: same shape, same start. What becomes of Adam?",
            "answers": ["Nothing: it adapts", "It loses its advantage", "It diverges"], "right": 1,
            "reveal": "Its rates belong to the axes, not to the valley: turned, and with its best rate for the turned valley, its loss is {lost} times what it was. Heavy ball, which has no axes, does not notice the turn.",
            "measures": {"lost": "first"}, "then": {"values": {"turn": degrees}, "tune": True},
            "state": state("valley", [lane("Adam"), lane("heavy ball"), lane("SGD")], steps=300, condition=turned, turn=0),
        },
        {
            "name": "rest", "title": "At rest?", "numbers": ["plateau_and_valley"], "also": ["tau_leaping"],
            "question": "A round bowl, no noise, a constant learning rate. Does Adam come to rest at the bottom?",
            "answers": ["Yes", "Yes, but slowly", "No"], "right": 2,
            "reveal": "It comes close, its rate climbs as v forgets, until the minimum repels it: in the last {late} steps Adam is thrown back to {adam} from the minimum. AMSGrad, whose v never falls, is at {amsgrad} and stays there.",
            "measures": {"adam": ["distance", 0, 0, "maxabs", 3000, 4000, None], "amsgrad": ["distance", 1, 0, "maxabs", 3000, 4000, None], "late": 1000},
            "state": state("bowl", [lane("Adam", orbit[0], eps=orbit[1]), lane("AMSGrad", orbit[0], eps=orbit[1])], noise=noise._replace(kind="none", size=0.0), steps=4000, start=[2.0, 2.0], condition=1),
        },
        {
            "name": "fair", "title": "One rate for all?", "numbers": [], "also": ["the_rules", "risk_aversion"],
            "question": "A noisy valley, and every rule gets the same learning rate. Adam wins by far. If each rule gets its own best rate, what remains of the victory?",
            "answers": ["It grows", "It stays", "It vanishes"], "right": 2,
            "reveal": "At one rate the worst loss is {before} times the best; with a rate of its own for every rule, {after} times, and sign descent, which remembers nothing, is level with Adam. A learning rate means another thing to every rule.",
            "measures": {"before": "spread", "after": "spread"}, "then": {"tune": True},
            "state": state("valley", [lane(name, 0.03) for name in ("Adam", "SGD", "sign", "heavy ball")], noise=noise._replace(size=1.0), condition=10, turn=30, steps=300, linked=True, show="1"),
        },
    ]  # fmt: skip
