"""A family of curves that the reader moves with sliders. Everything is computed beforehand; the page only looks it up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from stepsize.errors import ShapeError

from .cards import environment

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 44

_HOME = Path(__file__).parent / "templates"
PAGES = environment(_HOME)
PAGES.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}


def part(name: str) -> Markup:
    """A style sheet or script among the templates; a page carries its own, so that it also lives in a notebook."""
    return Markup((_HOME / name).read_text(encoding="utf-8"))


@dataclass(frozen=True, eq=False)
class SliderPlot:
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

    def _repr_html_(self):
        x, (px, dy, bottom, y0) = np.asarray(self.x, float), self._scales()
        curves = np.reshape(self.curves, (-1, len(x)))
        sizes = [len(words) for words in self.settings.values()]
        cell = int(np.ravel_multi_index(self.start, sizes))

        def y(value):
            return float(y0 - dy * np.log10(value / bottom))

        decades = 10.0 ** np.arange(np.ceil(np.log10(x[0])), np.floor(np.log10(x[-1])) + 1)
        steps = [m * 10.0**p for p in range(-3, 5) for m in (1, 2, 5)]
        return PAGES.get_template("sliders.html").render(
            name=self.name,
            title=self.title,
            axes=self.axes,
            width=_WIDTH,
            height=_HEIGHT,
            left=_LEFT,
            right=_WIDTH - _RIGHT,
            top=_TOP,
            y0=y0,
            x_ticks=[(float(np.interp(np.log10(t), np.log10(x), px)), f"{t:g}") for t in decades],
            y_ticks=[(y(t), f"{t:g}") for t in steps if _TOP <= y(t) <= y0],
            points=" ".join(f"{a:.1f},{y(v):.1f}" for a, v in zip(px, curves[cell], strict=True)),
            levels=[(word, y(np.ravel(level)[cell])) for word, level in self.levels.items()],
            sliders=[(label, words, at) for (label, words), at in zip(self.settings.items(), self.start, strict=True)],
            says=str(np.ravel(self.says)[cell]),
            style=part("sliders.css"),
            script=part("sliders.js"),
            data={
                "sizes": sizes,
                "x": [round(float(v), 1) for v in px],
                "curves": [[float(f"{v:.4g}") for v in curve] for curve in curves],
                "levels": [[float(f"{v:.4g}") for v in np.ravel(level)] for level in self.levels.values()],
                "words": list(self.levels),
                "labels": list(self.settings.values()),
                "says": np.ravel(self.says).tolist(),
                "y0": y0,
                "dy": float(dy),
                "bottom": float(bottom),
            },
        )

    def __repr__(self):
        return f"{self.title} ({' × '.join(str(len(v)) for v in self.settings.values())} settings)"
