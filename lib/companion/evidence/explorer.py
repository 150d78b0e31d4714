"""What the explorer's page computes with: rules and landscapes printed from the library, presets, and a still picture.

The page itself is chapters/_static/explorer.js; the site's build writes `script` and `still` beside it.
"""

import json
import re
from dataclasses import fields, is_dataclass

import numpy as np
from matplotlib.markers import MarkerStyle

from stepsize.contract import hyperparameters
from stepsize.descent import descend
from stepsize.javascript import javascript
from stepsize.rules import SGD, Adam
from stepsize.transforms import ClipByNorm, chain

from .figures import method, panels
from .landscapes import KINDS, LANDSCAPES, OUTLIER, SPIKES
from .presets import BOOK, RULES, presets

#: Rules whose variant with a clip in front has a style of its own.
CLIPPED = ("SGD", "heavy ball", "AdaGrad", "RMSProp", "Adam")


def constructor(rule, names=None) -> str:
    """The rule as Python, a {name} in the place of each hyper-parameter: "Decoupled(Adam(lr={lr}, ...), decay={decay})"."""
    names = iter(hyperparameters(rule)) if names is None else names

    def argument(name, value):
        return constructor(value, names) if is_dataclass(value) else f"{name}={{{next(names)}}}"

    return f"{type(rule).__name__}({', '.join(argument(f.name, getattr(rule, f.name)) for f in fields(rule))})"


def style(name: str) -> dict:
    """Colour, dash in pixels and marker, a polygon of unit radius, of a method as in the book's figures."""
    look = method(name)
    marker = MarkerStyle(look["marker"] or "o")
    corners = marker.get_transform().transform_path(marker.get_path()).to_polygons(closed_only=False)[0]
    dash = {"-": (), "--": (6, 4), ":": (2, 3), "-.": (7, 3, 2, 3)}.get(look["linestyle"])
    dash = [1.5 * part for part in look["linestyle"][1]] if dash is None else dash
    corners = np.array(corners) / np.abs(corners).max() * [1, -1]
    return {"colour": look["color"], "dash": dash, "marker": corners.round(2).tolist()}


def still():
    """The first preset as a picture for readers without a script, and for print: the cliff, Adam's steps on it, rate and step."""
    shown = presets()[0]["state"]
    land, adam = LANDSCAPES[shown["landscape"]].at(**shown["values"]), shown["lanes"][0]["p"]
    path = descend(Adam(**adam), land.grad, shown["start"], shown["steps"])
    seen = slice(shown["first"], shown["first"] + 50)
    figure, axes = panels(3, height=1.5, sharex=False)
    x = np.linspace(*shown["box"][0], 400)
    axes[0].fill_between(x, land.loss(x[:, None]), color="#dce6ee")
    axes[0].plot(path.x[seen, 0], land.loss(path.x[seen]) + 2, "o", ms=3, color=method("Adam")["color"])
    axes[0].set(yticks=[], xlabel="position", title="Adam at a cliff, a dot a step")
    for ax, values, words in zip(axes[1:], (path.rate, abs(path.rate * path.direction)), ("rate", "step"), strict=True):
        ax.plot(np.arange(shown["steps"])[seen], values[seen, 0], color=method("Adam")["color"])
        ax.set(yscale="log", title=f"the {words}")
    axes[2].set_xlabel("time")
    return figure


def _title(chapter: str) -> str:
    return re.search(r"^# (.+)", (BOOK / "chapters" / f"{chapter}.md").read_text(encoding="utf-8"), re.MULTILINE)[1]


def script() -> str:
    """explorer_data.js: `explorerData`, what chapters/_static/explorer.js computes with."""
    rules = [
        f"{json.dumps(name)}: {{...{javascript(rule)}, python: {json.dumps(constructor(rule))}, ...{json.dumps(style(name))}}}"
        for name, rule in RULES.items()
    ]
    lands = [
        f"{json.dumps(n)}: {{...{land.javascript()}, ...{json.dumps(land.data())}}}" for n, land in LANDSCAPES.items()
    ]
    titles = {name: _title(name) for preset in presets() for name in preset["numbers"] + preset["also"]}
    plain = {"titles": titles, "kinds": KINDS, "spikes": SPIKES, "outlier": OUTLIER, "presets": presets()}
    clipped = {name: style(f"clipped {name}") for name in CLIPPED}
    clip = f"clip: {javascript(chain(ClipByNorm(1.0), SGD(1.0)))}, clipped: {json.dumps(clipped)}"
    rest = ", ".join(f"{name}: {json.dumps(part)}" for name, part in plain.items())
    return f"globalThis.explorerData = {{rules: {{{', '.join(rules)}}}, landscapes: {{{', '.join(lands)}}}, {clip}, {rest}}};\n"
