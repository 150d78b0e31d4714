"""The chapters' moving pictures: rules and landscapes printed from the library, first states, and their numbers at the start.

The pictures themselves are chapters/_static/pictures.js; the site's build writes `script` beside it, and the directive
{picture} puts `words` and the numbers of the first state on the page for readers without a script.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepsize.average import Average
from stepsize.javascript import javascript
from stepsize.lazy import SharedClock
from stepsize.metric import diagonal, law_defect, pull_back
from stepsize.responses import adam_ratio, reach, spike_brake, steps_until
from stepsize.rules import Adam
from stepsize.signals import ZOO, respond, signals
from stepsize.transforms import ClipByNorm, chain

from .explorer import style
from .landscapes import LANDSCAPES, uniform

#: The rules of the pictures by the names of the figures; what else has a colour and a dash there.
RULES = {name: ZOO[name]() for name in ("SGD", "heavy ball", "sign", "AdaGrad", "RMSProp", "Adam", "AMSGrad", "AdaBelief")}  # fmt: skip
RULES |= {"clipped Adam": chain(ClipByNorm(1.0), Adam()), "lazy Adam, shared clock": SharedClock()}
COLOURED = ("lazy Adam", "FedAvg", "inverse variance", "natural gradient", "BFGS")
STEPS, BEFORE = 60, 500  # gradients that are drawn, and gradients of 1 before them
COINS = 5  # seed of their random signs


def drawn() -> dict[str, np.ndarray]:
    """`signals` with the coins of the page, which has no generator of NumPy's: shapes (STEPS,)."""
    every = {name: signal[:, 0, 0] for name, signal in signals(STEPS).items()}
    return every | {"random signs": np.where(uniform(COINS, np.arange(STEPS), 0) < 0.5, -1.0, 1.0)}


def _rules(state):
    gradients, t = np.append(np.ones(BEFORE), state["gradients"])[:, None], BEFORE + state["t"]
    path = respond(ZOO[state["rule"]](lr=1.0), gradients)
    rate, direction = path.rate[t, 0], path.direction[t, 0]
    return {"gradient": gradients[t, 0], "rate": rate, "direction": direction, "step": rate * direction}


def _clipping(state):
    brakes = spike_brake(np.array([state["size"], min(state["size"], state["clip"])]))
    lost = (1 - adam_ratio(brakes[:, None], 0.999, np.arange(9000))).sum(-1)
    frozen = [np.ceil(steps_until(1 / 1.1, b, 0.999)) if b < 1 / 1.1 else 0 for b in brakes]
    names = ("lowest", "frozen", "lost")
    (raw, clipped) = zip(brakes, frozen, lost, strict=True)
    return dict(zip(names, raw, strict=True)) | {f"{n}_clip": v for n, v in zip(names, clipped, strict=True)}


def _sparse(state):
    gap, rule = state["gap"], Adam(1.0, eps=0.0)
    old = Average(np.zeros(1), 1.0)
    moved, now, x = [], type(rule.init(np.zeros(1)))(old, old), np.zeros(1)
    for t in range(gap):
        now, rate, direction = rule.step(now, np.full(1, float(t == 0)), x)
        moved.append(float((rate * direction)[0]))
    return {"dense": sum(moved), "idle": 1 - moved[0] / sum(moved), "shared": moved[0], "own": 1.0, "reach": reach(gap)}


def _game(state):
    start, h = np.hypot(*state["start"]), state["rate"]
    return {"start": start, "end": start * np.sqrt(1 + h**2) ** 60, "factor": np.sqrt(1 + h**2)}


def _federated(state):
    variance = 0.3**2 * np.array([1.0] * 5 + [state["noise"] ** 2])
    weights = {"equal": np.full(6, 1 / 6), "inverse": 1 / variance / (1 / variance).sum()}
    found = {}
    for who, own in (("quiet", 0), ("noisy", 1)):
        for name, w in weights.items():
            found[f"{who}_{name}"] = 8 / 40 * (w**2 * variance).sum() + ((own - w[-1]) * state["shift"]) ** 2
    return found


def _tau(state):
    return {"law": 1 / (1 - state["z"] / 2)}


def _metric(state):
    angle = np.radians(state["angle"])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    still = np.array([state["stretch"] ** 2, 1.0])
    V = pull_back(diagonal(still), turn)
    v = np.diagonal(V)
    found = {"v1": v[0], "v2": v[1], "defect_second": law_defect(V, V), "defect_v": law_defect(diagonal(v), V)}
    return found | {"defect_root": law_defect(diagonal(np.sqrt(v)), pull_back(diagonal(np.sqrt(still)), turn))}


def _secants(state):
    eigenvalues = np.array([1.0, state["condition"]])
    return {"count": len(state["secants"]), "divergence": ((1 / eigenvalues).sum() - 2 + np.log(eigenvalues).sum()) / 2}


@dataclass(frozen=True)
class Picture:
    """What a picture shows at first: in words (`alt`), as a state, and in numbers, name -> words; `numbers` gives those that the library knows."""

    alt: str
    start: dict[str, Any]
    words: dict[str, str]
    numbers: Callable[[dict], dict]


def pictures() -> dict[str, Picture]:
    """By the chapter in which the picture stands."""
    return {
        "the_rules": Picture(
            "Four strips over sixty steps: the gradient, and what Adam makes of it as rate, direction and step. At first the gradient is 1 throughout but for one of 100 at step 15; there the rate falls to a fifth and the step doubles.",
            {"rule": "Adam", "gradients": drawn()["impulse"].tolist(), "t": 15},
            {"gradient": "gradient", "rate": "rate", "direction": "direction", "step": "step, in learning rates"},
            _rules,
        ),
        "gradient_clipping": Picture(
            "Above, gradients of size one with an outlier of a thousand and a clip at ten. Below, Adam's rate over ten thousand steps: without the clip it falls to a thirtieth and needs thousands of steps to come back, with the clip it falls by a few per cent.",
            {"size": 1000.0, "clip": 10.0},
            {"lowest": "lowest rate, without the clip", "frozen": "steps below 1/1.1 of the rate", "lost": "full steps lost",
             "lowest_clip": "lowest rate, with the clip", "frozen_clip": "steps below 1/1.1, with the clip", "lost_clip": "full steps lost, with the clip"},
            _clipping,
        ),
        "sparse_embeddings": Picture(
            "Displacement of a rare word over five visits, on a logarithmic axis. Dense Adam climbs on between the visits, shaded, to more than thirty learning rates at each; lazy Adam on the table's clock makes a stair of about three, on the row's clock a stair of one.",
            {"gap": 100},
            {"dense": "dense Adam, first visit until the next", "idle": "share at gradient zero", "shared": "lazy Adam, the table's clock", "own": "lazy Adam, the row's clock", "reach": "dense Adam after many visits, D(T)"},
            _sparse,
        ),
        "adversarial_training": Picture(
            "The plane of the two players with a path of sixty gradient steps, both at once. It starts at (1, 0), which the reader can drag, and spirals outwards.",
            {"play": "once", "start": [1.0, 0.0], "rate": 0.15, "memory": 100},
            {"start": "distance from the equilibrium, start", "end": "distance, end", "factor": "factor per step, by the law"},
            _game,
        ),
        "federated_learning": Picture(
            "Expected squared error against the distance of the noisy client's truth, on a logarithmic axis, for equal weights and for inverse variance. For the others inverse variance is lower throughout. For the noisy client the two curves cross at a distance of about 0.4.",
            {"shift": 0.2, "noise": 10.0},
            {"quiet_equal": "error of the others, equal weights", "quiet_inverse": "error of the others, inverse variance", "noisy_equal": "error of the noisy client, equal weights", "noisy_inverse": "error of the noisy client, inverse variance"},
            _federated,
        ),
        "tau_leaping": Picture(
            "Two clouds over sixty steps from a common start, molecules that leap and SGD that steps, with the law's band of two standard deviations around each. The two clouds have the same width, and both swell as the step z approaches 2.",
            {"z": 1.0},
            {"law": "variance at rest, in units of the small-step limit: 1/(1 − z/2)"},
            _tau,
        ),
        "riemannian_metric": Picture(
            "Left, a cloud of gradients, long along one axis, which the reader can turn. Right, the unit balls of three metrics: the ball of the whole second moment turns along with the cloud; those of its diagonal and of the root stay with the axes and become rounder.",
            {"angle": 30, "stretch": 4.0},
            {"v1": "v, first coordinate", "v2": "v, second coordinate", "defect_second": "a length is mismeasured by up to, V", "defect_v": "a length is mismeasured by up to, v", "defect_root": "a length is mismeasured by up to, √v"},
            _metric,
        ),
        "quasi_newton": Picture(
            "The unit ball of the metric, a circle at first, and the dashed ellipse of the Hessian. An arrow, which the reader can turn, is the direction of the next secant; each secant added pulls the ball towards the ellipse along that direction.",
            {"secants": [], "next": 70, "condition": 10.0, "turn": 30.0},
            {"count": "secants", "divergence": "divergence from the Hessian"},
            _secants,
        ),
    }  # fmt: skip


def script() -> str:
    """pictures_data.js: `picturesData`, what chapters/_static/pictures.js computes with."""
    rules = [f"{json.dumps(n)}: {{...{javascript(r)}, ...{json.dumps(_line(n))}}}" for n, r in RULES.items()]
    rules += [f"{json.dumps(n)}: {json.dumps(_line(n))}" for n in COLOURED]
    shown = {name: {"start": p.start, "words": p.words} for name, p in pictures().items()}
    game = LANDSCAPES["game"].javascript()
    plain = {"signals": {name: g.tolist() for name, g in drawn().items()}, "pictures": shown}
    rest = ", ".join(f"{name}: {json.dumps(part, ensure_ascii=False)}" for name, part in plain.items())
    return f"globalThis.picturesData = {{rules: {{{', '.join(rules)}}}, game: {game}, {rest}}};\n"


def _line(name: str) -> dict:
    look = style(name)
    return {"colour": look["colour"], "dash": list(look["dash"])}
