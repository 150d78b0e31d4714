"""A valley in which the reader walks: the page computes every step itself, with the JavaScript of the library's rules."""

import json
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from stepsize.javascript import javascript
from stepsize.rules import SGD, AdaGrad, Adam, HeavyBall, RMSProp, SignDescent

#: name -> rule; sliders change what the rule has of lr, beta2 (or beta) and momentum (or beta1).
RULES = {"Adam": Adam(), "RMSProp": RMSProp(), "AdaGrad": AdaGrad(), "sign descent": SignDescent(), "heavy ball": HeavyBall(1e-2, 0.9), "SGD": SGD()}  # fmt: skip

#: label, lowest, highest and first position of a slider; the script turns positions into values.
SLIDERS = {
    "lr": ("learning rate", -3, 1, -1),
    "slow": ("memory of the squares, 1/(1 − β₂)", 0, 4, 3),
    "fast": ("memory of the gradient, 1/(1 − β₁)", 0, 2, 1),
    "ratio": ("steep curvature / flat curvature", 0, 4, 2),
    "angle": ("turn of the valley, degrees", 0, 45, 20),
    "noise": ("size of the gradient noise", 0, 2, 0),
}

# The walk alone, so that a test can run it: no page, no picture.
WALK = """
const walk = (rule, v, noise, steps) => {
  const p = Object.assign({}, rule.p, {lr: v.lr}), c = Math.cos(v.angle), s = Math.sin(v.angle);
  for (const [name, value] of [["beta2", v.slow], ["beta", v.slow], ["beta1", v.fast], ["momentum", v.fast]])
    if (name in p) p[name] = value;
  let x = [c + s, s - c], states = [rule.state, rule.state], path = [x], rates = [];
  for (let t = 0; t < steps; t++) {
    const a = c * x[0] + s * x[1], b = v.ratio * (c * x[1] - s * x[0]);
    const g = [c * a - s * b + v.noise * noise[t][0], s * a + c * b + v.noise * noise[t][1]];
    const done = g.map((gi, i) => rule.step(states[i], gi, x[i], p));
    states = done.map(d => d[0]);
    rates.push(done.map(d => d[1]));
    x = x.map((xi, i) => xi - done[i][1] * done[i][2]);
    path.push(x);
  }
  return {path, rates};
};
"""

_SCRIPT = """
(() => {
  const root = document.getElementById("explorer"), rules = RULES, noise = NOISE, steps = noise.length;
  WALK
  const select = root.querySelector("select"), inputs = [...root.querySelectorAll("input")], say = root.querySelector("output");
  const value = {lr: u => 10 ** u, slow: u => 1 - 10 ** -u, fast: u => 1 - 10 ** -u, ratio: u => 10 ** u, angle: u => u * Math.PI / 180, noise: u => +u};
  const word = {lr: v => +v.toPrecision(2), slow: v => (1 / (1 - v)).toFixed(0), fast: v => (1 / (1 - v)).toFixed(1), ratio: v => +v.toPrecision(2),
                angle: v => (v * 180 / Math.PI).toFixed(0), noise: v => v.toFixed(2)};
  const clip = z => Math.max(-999, Math.min(999, z)), at = z => (150 + 90 * clip(z)).toFixed(1);
  const draw = () => {
    const v = {}, rule = rules[select.value];
    for (const i of inputs) {
      v[i.name] = value[i.name](+i.value);
      i.previousElementSibling.lastElementChild.textContent = word[i.name](v[i.name]);
      i.setAttribute("aria-valuetext", word[i.name](v[i.name]));
    }
    for (const [name, of] of [["slow", ["beta2", "beta"]], ["fast", ["beta1", "momentum"]]])
      inputs.find(i => i.name === name).disabled = !of.some(k => k in rule.p);
    const {path, rates} = walk(rule, v, noise, steps), finite = path.filter(x => x.every(Number.isFinite));
    const turn = -v.angle * 180 / Math.PI, level = Math.sqrt(1 + v.ratio);
    root.querySelectorAll("ellipse").forEach((e, k) => {
      const r = 90 * level * (k + 1) / 3;
      e.setAttribute("rx", r); e.setAttribute("ry", r / Math.sqrt(v.ratio)); e.setAttribute("transform", "rotate(" + turn + " 150 150)");
    });
    root.querySelector(".path").setAttribute("points", finite.map(x => at(x[0]) + "," + at(-x[1])).join(" "));
    const logs = rates.flat().map(Math.log10).filter(Number.isFinite), low = Math.min(...logs) - 0.1, high = Math.max(...logs) + 0.1;
    root.querySelectorAll(".rate").forEach((line, i) => line.setAttribute("points", rates.map((r, t) =>
      Number.isFinite(Math.log10(r[i])) ? (360 + 250 * t / steps).toFixed(1) + "," + (270 - 240 * (Math.log10(r[i]) - low) / (high - low)).toFixed(1) : "").join(" ")));
    root.querySelector(".low").textContent = +(10 ** low).toPrecision(2); root.querySelector(".high").textContent = +(10 ** high).toPrecision(2);
    const f = ([a, b]) => { const c = Math.cos(v.angle), s = Math.sin(v.angle); return ((c * a + s * b) ** 2 + v.ratio * (c * b - s * a) ** 2) / 2; };
    const last = f(path[steps]) / f(path[0]);
    say.textContent = Number.isFinite(last) ? "After " + steps + " steps the loss is " + last.toPrecision(2) + " of what it was." : "The walk diverges.";
  };
  [select, ...inputs].forEach(e => e.addEventListener("input", draw));
  draw();
})();
"""


def valley(ratio: float, degrees: float):
    """Hessian (2, 2) and start (2,) of the page's valley: curvatures 1 and `ratio`, axes turned by `degrees`, start at (1, -1) in these axes."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    R = np.array([[c, s], [-s, c]])
    return R.T @ np.diag([1.0, ratio]) @ R, R.T @ [1.0, -1.0]


@dataclass(frozen=True, eq=False)
class Explorer:
    """f = (a^2 + ratio b^2) / 2 in turned axes a, b; from one start, `steps` steps of any of the `RULES`, and the rates on the way.

    Noise is drawn here, once, and scaled by the page. Needs a browser with scripts; nothing is loaded from elsewhere.
    """

    steps: int = 300
    seed: int = 0
    rules: dict[str, Any] = field(default_factory=lambda: RULES)

    @property
    def noise(self) -> np.ndarray:
        """Standard normal draws of shape (steps, 2), to three digits."""
        return np.random.default_rng(self.seed).standard_normal((self.steps, 2)).round(3)

    @property
    def script(self) -> str:
        rules = ", ".join(f"{json.dumps(name)}: {javascript(rule)}" for name, rule in self.rules.items())
        return (
            _SCRIPT.replace("RULES", f"{{{rules}}}")
            .replace("NOISE", json.dumps(self.noise.tolist()))
            .replace("WALK", WALK)
        )

    def _repr_html_(self):
        options = "".join(f"<option>{escape(name)}</option>" for name in self.rules)
        sliders = "".join(
            f'<label>{escape(label)}: <b></b></label><input type="range" name="{name}" min="{low}" max="{high}" step="0.05" '
            f'value="{at}" aria-label="{escape(label)}"/>'
            for name, (label, low, high, at) in SLIDERS.items()
        )
        return (
            f'<figure class="movable" id="explorer"><style>{_STYLE}</style>'
            '<div class="sliders"><label>rule</label><select aria-label="rule">' + options + "</select></div>"
            '<svg viewBox="0 0 630 300" role="img" aria-label="Left: the path through a valley drawn as ellipses of equal loss. Right: the rates of the two coordinates, on a logarithmic axis.">'
            '<svg x="0" y="0" width="300" height="300" viewBox="0 0 300 300" style="overflow:hidden">'
            '<ellipse class="hill" cx="150" cy="150"/><ellipse class="hill" cx="150" cy="150"/><ellipse class="hill" cx="150" cy="150"/>'
            '<polyline class="curve path"/></svg>'
            '<g class="axis"><path d="M360 20V270H610"/><text x="610" y="290" text-anchor="end">step</text><text x="368" y="16">rates: θ₁ solid, θ₂ dashed</text>'
            '<text class="high" x="354" y="34" text-anchor="end"></text><text class="low" x="354" y="272" text-anchor="end"></text></g>'
            '<polyline class="curve rate"/><polyline class="curve rate second"/></svg>'
            f'<div class="sliders">{sliders}</div><output aria-live="polite"></output>'
            f"<figcaption>One valley, six rules, {self.steps} steps from the same start</figcaption><script>{self.script}</script></figure>"
        )

    def __repr__(self):
        return f"Explorer of {', '.join(self.rules)}: {self.steps} steps in a valley"


_STYLE = """
.movable{margin:1.2rem 0 1.8rem;max-width:42rem}
.movable svg{width:100%;height:auto;font:13px sans-serif}
.movable svg svg{width:300px;height:300px}
.movable text{fill:currentColor}
.movable .axis path{stroke:currentColor;fill:none}
.movable .hill{fill:none;stroke:currentColor;opacity:.35}
.movable .curve{fill:none;stroke:#2f8fc4;stroke-width:2;stroke-linejoin:round}
.movable .second{stroke:#b5568c;stroke-dasharray:6 4}
.movable .sliders{display:grid;grid-template-columns:minmax(9rem,auto) 1fr;gap:.35rem .9rem;align-items:center}
.movable input{width:100%;accent-color:#2f8fc4;min-height:1.6rem}
.movable select{font:inherit;padding:.2rem .5rem;color:inherit;background:transparent;border:1px solid currentColor}
.movable option{color:#111;background:#fff}
.movable output{display:block;font-weight:600;margin:.4rem 0}
@media (max-width:30rem){.movable .sliders{grid-template-columns:1fr;gap:0}.movable svg{font-size:20px}}
"""
