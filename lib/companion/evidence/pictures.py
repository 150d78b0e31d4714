"""The chapters' moving pictures: rules and landscapes printed from the library, first states, and their numbers at the start.

The pictures themselves are chapters/_static/pictures.js; the site's build writes `script` beside it, and the directive
{picture} puts `words` and the numbers of the first state on the page for readers without a script.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stepsize.average import Average
from stepsize.descent import descend
from stepsize.javascript import javascript
from stepsize.lazy import SharedClock
from stepsize.metric import diagonal, law_defect, pull_back
from stepsize.responses import adam_ratio, reach, spike_brake, steps_until, time_debt
from stepsize.rules import AdaGrad, Adam
from stepsize.signals import ZOO, respond, signals
from stepsize.transforms import ClipByNorm, chain

from .explorer import style
from .landscapes import LANDSCAPES, _poisson, uniform

#: The rules of the pictures by the names of the figures; what else has a colour and a dash there.
RULES = {name: ZOO[name]() for name in ("SGD", "heavy ball", "sign", "AdaGrad", "RMSProp", "Adam", "AMSGrad", "AdaBelief")}  # fmt: skip
RULES |= {
    "clipped Adam": chain(ClipByNorm(1.0), Adam()),
    "clipped AdaGrad": chain(ClipByNorm(5.0), AdaGrad()),
    "lazy Adam, shared clock": SharedClock(),
}
COLOURED = ("lazy Adam", "FedAvg", "inverse variance", "natural gradient", "BFGS")
STEPS, BEFORE = 60, 500  # gradients that are drawn, and gradients of 1 before them
COINS = 5  # seed of their random signs
#: Of the counts: their mean, the steps from and to which the burst lasts, all steps, and a thousand long after it; rates as the chapter tunes them.
BASE, BEGIN, END, COUNTS, LATE = 0.5, 2000, 2100, 6000, slice(2500, 3500)
WATCHED = {
    "AdaGrad": AdaGrad(1.0, 0.0),
    "clipped AdaGrad": chain(ClipByNorm(5.0), AdaGrad(3.2, 0.0)),
    "Adam": Adam(0.032, eps=0.0),
}


def drawn() -> dict[str, np.ndarray]:
    """`signals` with the coins of the page, which has no generator of NumPy's: shapes (STEPS,)."""
    every = {name: signal[:, 0, 0] for name, signal in signals(STEPS).items()}
    return every | {"random signs": np.where(uniform(COINS, np.arange(STEPS), 0) < 0.5, -1.0, 1.0)}


def _rules(state):
    gradients, t = np.append(np.ones(BEFORE), state["gradients"])[:, None], BEFORE + state["t"]
    path = respond(ZOO[state["rule"]](lr=1.0), gradients)
    rate, direction = path.rate[t, 0], path.direction[t, 0]
    return {"gradient": gradients[t, 0], "rate": rate, "direction": direction, "step": rate * direction}


def _exact(name, **settings):
    """A rule of the zoo at eps = 0, where it has one."""
    rule = ZOO[name](**settings)
    return replace(rule, eps=0.0) if hasattr(rule, "eps") else rule


def _plateau(state, steps=5000, soon=100):
    land, memory = LANDSCAPES["plateau"].at(slope=state["slope"]), {"beta2": 1 - 1 / state["memory"]}
    rule = _exact(state["rule"], lr=state["lr"], **memory if state["rule"] == "Adam" else {})
    path, width = descend(rule, land.grad, land.start, steps), land.values["width"]
    x, rate, step = path.x[:, 0], path.rate[:, 0], np.abs(path.rate * path.direction)[:, 0]
    lip, last = int(np.argmax(x >= -width)), int(np.flatnonzero(np.abs(x) > 0.05 * width)[-1])
    here = lip - 1 + state["t"]
    found = {
        "arrived": lip,
        "gradient": land.grad(path.x[here])[0],
        "rate": rate[here] / rate[lip - 1],
        "step": step[here] / step[lip - 1],
    }
    found |= {
        "lowest": rate[lip : lip + soon].min() / rate[lip - 1],
        "longest": step[lip : lip + soon].max() / step[lip - 1],
    }
    return found | {"settled": last + 1 if last < 0.75 * steps else np.inf}


def _scales(state, steps=1000, hold=200):  # for longer Adam at eps = 0 is chaotic, and another rounding another run
    found = {}
    for name, size in (("equal", 1.0), ("done", state["size"])):
        land = LANDSCAPES["units"].at(size=size)
        path = descend(_exact(state["rule"], lr=state["lr"]), land.grad, land.start, steps + hold - 1)
        loss = land.loss(path.x) / land.loss(path.x[0])
        outside = np.append(np.flatnonzero(loss > 1e-4), len(loss))
        calm = outside[:-1][np.diff(outside) > hold]
        found[name] = calm[0] + 1 if calm.size else np.inf
        found["peak"] = loss[: calm[0] + 1 if calm.size else None].max()
        own, other = np.abs(path.rate * path.direction)[:100].sum(0)
        found["weights"], found["prediction"] = own / other, size * own / other
    return found


def _bursts(state):
    t, beta2 = np.arange(COUNTS), 1 - 1 / state["memory"]
    quiet = np.array([_poisson(BASE, u) for u in uniform(1, t, 0)])
    extra = [_poisson(BASE * (state["size"] - 1), u) for u in uniform(1, t[BEGIN:END], 1)]
    counts = np.stack([quiet, quiet], -1)
    counts[BEGIN:END, 0] += extra
    found = {}
    for name, rule in (WATCHED | {"Adam": replace(WATCHED["Adam"], beta2=beta2)}).items():
        path = descend(rule, lambda x, t: np.exp(x) - counts[t][:, None], np.zeros((2, 1)), COUNTS)
        rate, step = path.rate[END - 1, :, 0], np.abs(path.rate * path.direction)[..., 0]
        moved = [step[when].sum(0) for when in (slice(BEGIN, END), LATE)]
        found |= {
            f"{name} kept": rate[0] / rate[1],
            f"{name} burst": moved[0][0] / moved[0][1],
            f"{name} late": moved[1][0] / moved[1][1],
        }
        if name == "AdaGrad":
            burst, twin = rate**-2.0
            found["debt"] = time_debt(burst - twin, twin / END)
    return found | {"until": max(0.0, steps_until(0.9, found["Adam kept"], beta2))}


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
        "plateau_and_valley": Picture(
            "Three panels. Above, the end of a plateau and a valley behind it, with Adam's iterates as dots: crowded on the flat, they spring apart behind the lip, and the reader can drag the walker along them. Below, over the steps since the lip and relative to the last step of the plateau: the rate falls to a three-thousandth, and the step grows to nearly five times its length.",
            {"rule": "Adam", "lr": 0.004, "slope": 0.01, "memory": 1000, "t": 12},
            {"arrived": "steps on the plateau", "gradient": "gradient here", "rate": "rate here, over the last on the plateau", "step": "step here, over the last on the plateau",
             "lowest": "lowest rate within 100 steps, over the last on the plateau", "longest": "longest step within 100, over the last on the plateau", "settled": "steps until it has settled"},
            _plateau,
        ),
        "feature_scales": Picture(
            "Above, on logarithmic axes, how far the weight of a large feature moves under Adam, over the other weight, against the size of the feature, which the reader can drag: in weights about as far at every size, in the prediction in proportion to the size. Below, the loss over the steps: with a feature a thousand times as large it rises to thousands of times the first before it falls, and takes three times as many steps as with equal units.",
            {"rule": "Adam", "size": 1000.0, "lr": 0.1},
            {"weights": "pace over the other’s, in weights", "prediction": "pace over the other’s, in the prediction", "peak": "largest loss, over the first", "done": "steps until the loss is a ten-thousandth", "equal": "the same with equal units"},
            _scales,
        ),
        "poisson_bursts": Picture(
            "Three panels. Above, small counts with a burst of sixty times as many, which the reader can drag, and the forecasts of AdaGrad, AdaGrad with a clip, and Adam. In the middle, their rates over those of twins without the burst: Adam's falls deepest and comes back, AdaGrad's rises slowly, with a clip it falls least. Below, their steps over the twins': several times as long in the burst, and shorter long after it.",
            {"size": 60.0, "memory": 1000},
            {"AdaGrad kept": "AdaGrad’s rate after the burst, over its twin’s", "debt": "quiet steps that would do the same", "clipped AdaGrad kept": "AdaGrad’s rate with a clip, over its twin’s", "Adam kept": "Adam’s rate after the burst, over its twin’s", "until": "steps until Adam’s rate is at 90 %, by the law",
             "AdaGrad burst": "steps in the burst, over the twin’s, AdaGrad", "clipped AdaGrad burst": "steps in the burst, clipped AdaGrad", "Adam burst": "steps in the burst, Adam",
             "AdaGrad late": "steps long after it, over the twin’s, AdaGrad", "clipped AdaGrad late": "steps long after it, clipped AdaGrad", "Adam late": "steps long after it, Adam"},
            _bursts,
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
    lands = ", ".join(f"{name}: {LANDSCAPES[name].javascript()}" for name in ("game", "plateau", "units"))
    plain = {"signals": {name: g.tolist() for name, g in drawn().items()}, "pictures": shown}
    rest = ", ".join(f"{name}: {json.dumps(part, ensure_ascii=False)}" for name, part in plain.items())
    return f"globalThis.picturesData = {{rules: {{{', '.join(rules)}}}, {lands}, {rest}}};\n"


def _line(name: str) -> dict:
    look = style(name)
    return {"colour": look["colour"], "dash": list(look["dash"])}
