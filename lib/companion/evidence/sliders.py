"""A family of curves that the reader moves with sliders. Everything is computed beforehand; the page only looks it up."""

import json
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from stepsize.errors import ShapeError

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 44

# Looks up the curve and the levels of the chosen settings. `root` is the picture's own element.
_SCRIPT = """
(() => {
  const root = document.getElementById(NAME), data = DATA;
  const inputs = [...root.querySelectorAll("input")], say = root.querySelector("output");
  const draw = () => {
    const at = inputs.map(i => +i.value), cell = at.reduce((n, a, i) => n * data.sizes[i] + a, 0);
    root.querySelector(".curve").setAttribute("points", data.x.map((x, i) => x + "," + data.y(data.curves[cell][i])).join(" "));
    data.levels.forEach((level, i) => {
      const g = root.querySelectorAll(".level")[i];
      g.setAttribute("transform", "translate(0," + data.y(level[cell]) + ")");
      g.querySelector("text").textContent = data.words[i] + " " + level[cell].toFixed(2);
    });
    inputs.forEach((input, i) => {
      input.previousElementSibling.lastElementChild.textContent = data.labels[i][at[i]];
      input.setAttribute("aria-valuetext", data.labels[i][at[i]]);
    });
    say.textContent = data.says[cell];
  };
  data.y = v => +(data.y0 - data.dy * Math.log10(v / data.bottom)).toFixed(1);
  inputs.forEach(input => input.addEventListener("input", draw));
  draw();
})();
"""


@dataclass(frozen=True, eq=False)
class Movable:
    """curves (settings ..., points) over x on logarithmic axes, with horizontal levels (settings ...), one slider per setting.

    `settings` maps the name of each slider to the words for its positions, `start` says where the sliders stand at first;
    `says` (settings ...) is a sentence for every combination, read out by screen readers when it changes.
    """

    name: str
    title: str
    axes: tuple[str, str]
    x: Any
    curves: Any
    levels: dict[str, Any]
    settings: dict[str, list[str]]
    says: Any
    start: tuple[int, ...]

    def __post_init__(self):
        sizes = tuple(map(len, self.settings.values()))
        shapes = {"says": np.shape(self.says)} | {name: np.shape(level) for name, level in self.levels.items()}
        if wrong := [f"{name} has shape {shape}" for name, shape in shapes.items() if shape != sizes]:
            raise ShapeError(f"{self.name}: {wrong[0]}, the sliders make {sizes}")
        if np.shape(self.curves) != (*sizes, len(self.x)):
            raise ShapeError(
                f"{self.name}: curves have shape {np.shape(self.curves)}, expected {(*sizes, len(self.x))}"
            )
        if not np.all(np.isfinite(self.curves) & (np.asarray(self.curves) > 0)):
            raise ShapeError(f"{self.name}: curves must be finite and above 0 for a logarithmic axis")

    def _scales(self):
        """Pixels of x; pixels per decade of y, the lowest y and its pixel."""
        every = np.concatenate([np.ravel(self.curves), *(np.ravel(level) for level in self.levels.values())])
        low, high = np.log10(every.min()), np.log10(every.max())
        decades = np.log10(np.asarray(self.x, float) / self.x[0])
        px = _LEFT + (_WIDTH - _LEFT - _RIGHT) * decades / decades[-1]
        return px, (_HEIGHT - _TOP - _BOTTOM) / (high - low + 0.1), 10 ** (low - 0.05), _HEIGHT - _BOTTOM

    def _axis(self, px, dy, bottom, y0):
        """Ticks at powers of ten; y also at 2 and 5."""
        x = np.asarray(self.x, float)
        for tick in 10.0 ** np.arange(np.ceil(np.log10(x[0])), np.floor(np.log10(x[-1])) + 1):
            at = np.interp(np.log10(tick), np.log10(x), px)
            yield f'<text x="{at:.0f}" y="{y0 + 17}" text-anchor="middle">{tick:g}</text><path d="M{at:.1f} {y0}v4"/>'
        top = bottom * 10 ** ((y0 - _TOP) / dy)
        for tick in (m * 10.0**p for p in range(-3, 5) for m in (1, 2, 5)):
            if bottom <= tick <= top:
                at = y0 - dy * np.log10(tick / bottom)
                yield f'<text x="{_LEFT - 8}" y="{at + 4:.0f}" text-anchor="end">{tick:g}</text>'
                yield f'<path class="grid" d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}"/>'

    def _repr_html_(self):
        px, dy, bottom, y0 = self._scales()
        flat = np.reshape(self.curves, (-1, len(self.x)))
        sizes, labels = [len(v) for v in self.settings.values()], list(self.settings.values())
        data = {
            "sizes": sizes,
            "x": [round(float(v), 1) for v in px],
            "curves": [[float(f"{v:.4g}") for v in curve] for curve in flat],
            "levels": [[float(f"{v:.4g}") for v in np.ravel(level)] for level in self.levels.values()],
            "words": list(self.levels),
            "labels": labels,
            "says": np.ravel(self.says).tolist(),
            "y0": y0,
            "dy": float(dy),
            "bottom": float(bottom),
        }
        cell = int(np.ravel_multi_index(self.start, sizes))
        points = " ".join(f"{a:.1f},{y0 - dy * np.log10(v / bottom):.1f}" for a, v in zip(px, flat[cell], strict=True))
        levels = "".join(
            f'<g class="level" transform="translate(0,{y0 - dy * np.log10(np.ravel(level)[cell] / bottom):.1f})">'
            f'<path d="M{_LEFT} 0H{_WIDTH - _RIGHT}"/><text x="{_WIDTH - _RIGHT}" y="-5" text-anchor="end">{escape(word)}</text></g>'
            for word, level in self.levels.items()
        )
        sliders = "".join(
            f"<label>{escape(name)}: <b>{escape(words[at])}</b></label>"
            f'<input type="range" min="0" max="{len(words) - 1}" value="{at}" aria-label="{escape(name)}"/>'
            for (name, words), at in zip(self.settings.items(), self.start, strict=True)
        )
        script = _SCRIPT.replace("NAME", json.dumps(self.name)).replace(
            "DATA", json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
        )
        return (
            f'<figure class="movable" id="{escape(self.name)}"><style>{_STYLE}</style>'
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(self.title)}">'
            f'<g class="axis">{"".join(self._axis(px, dy, bottom, y0))}<path d="M{_LEFT} {_TOP}V{y0}H{_WIDTH - _RIGHT}"/>'
            f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{escape(self.axes[0])}</text>'
            f'<text x="{_LEFT + 8}" y="{_TOP + 10}">{escape(self.axes[1])}</text></g>{levels}<polyline class="curve" points="{points}"/></svg>'
            f'<div class="sliders">{sliders}</div><output aria-live="polite">{escape(str(np.ravel(self.says)[cell]))}</output>'
            f"<figcaption>{escape(self.title)}</figcaption><script>{script}</script></figure>"
        )

    def __repr__(self):
        return f"{self.title} ({' × '.join(str(len(v)) for v in self.settings.values())} settings)"


_STYLE = """
.movable{margin:1.2rem 0 1.8rem;max-width:42rem}
.movable svg{width:100%;height:auto;overflow:visible;font:13px sans-serif}
.movable text{fill:currentColor}
.movable .axis path{stroke:currentColor;fill:none}
.movable .axis .grid{opacity:.15}
.movable .curve{fill:none;stroke:#2f8fc4;stroke-width:2.6;stroke-linejoin:round}
.movable .level path{stroke:currentColor;stroke-dasharray:5 4}
.movable .sliders{display:grid;grid-template-columns:minmax(9rem,auto) 1fr;gap:.35rem .9rem;align-items:center}
.movable input{width:100%;accent-color:#2f8fc4;min-height:1.6rem}
.movable output{display:block;font-weight:600;margin:.4rem 0}
@media (max-width:30rem){.movable .sliders{grid-template-columns:1fr;gap:0}.movable svg{font-size:20px}}
"""
