"""The landscapes of the explorer: each is written once, on symbols, and read as NumPy, as JavaScript and as a formula.

A landscape gives the oracle of `descend`, grad(x, t) for x of shape (..., d). Its noise comes from a hash of (seed, step,
draw), so that Python and the page draw the same numbers, in any order.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import sympy
from sympy.printing.mathml import MathMLPresentationPrinter

from stepsize.errors import EvidenceError
from stepsize.javascript import Printer

X = sympy.symbols("theta_1 theta_2", real=True)


class Parameter(NamedTuple):
    """What a slider moves: its words and symbol, the ends of its range, its first value, and whether it is logarithmic."""

    label: str
    low: float
    high: float
    value: float
    log: bool = False


class Noise(NamedTuple):
    """What is added to the gradient: a kind of `KINDS`, its size and its seed."""

    kind: str = "none"
    size: float = 0.0
    seed: int = 1


QUIET = Noise()

#: kind of noise -> its words; "counts" belongs to the landscape of that name alone.
KINDS = {"none": "no noise", "normal": "normal", "tails": "heavy tails (t, 2 d.f.)", "spikes": "rare spikes", "outlier": "normal, one outlier", "counts": "counts, with a burst"}  # fmt: skip

#: Share and size of spikes; step and size of the one outlier.
SPIKES, OUTLIER = (0.005, 1000.0), (100, 1000.0)


def uniform(seed, t, draw):
    """(h + 1/2) / 2^32 in (0, 1): h from the finaliser of MurmurHash3 (Appleby 2011), of the counter behind a hash of the seed."""
    with np.errstate(over="ignore"):
        h = _hash(np.asarray(seed, np.uint32) + np.uint32(0x9E3779B9))
        h = _hash(h ^ (np.asarray(t, np.uint32) * np.uint32(8) + np.asarray(draw, np.uint32)))
    return (h + 0.5) / 2.0**32


def _hash(h):
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def normals(seed, t):
    """Two independent normal numbers at step t, shape (2,).  Box & Muller (1958)."""
    radius, angle = np.sqrt(-2 * np.log(uniform(seed, t, 0))), 2 * np.pi * uniform(seed, t, 1)
    return np.array([radius * np.cos(angle), radius * np.sin(angle)])


def draws(noise: Noise, t: int, values: dict) -> np.ndarray:
    """What is added to the two gradients at step t, shape (2,). Heavy tails: Student's t with 2 degrees of freedom, by its quantile."""
    u = uniform(noise.seed, t, np.arange(3))
    if noise.kind == "none":
        return np.zeros(2)
    if noise.kind == "tails":
        return noise.size * (2 * u[:2] - 1) / np.sqrt(2 * u[:2] * (1 - u[:2]))
    if noise.kind == "counts":
        bursting = values["begin"] <= t < values["begin"] + values["length"]
        means = values["base"] * np.array([values["burst"] if bursting else 1.0, 1.0])
        return values["base"] - np.array([_poisson(m, v) for m, v in zip(means, u, strict=False)])
    hit = u[2] < SPIKES[0] if noise.kind == "spikes" else noise.kind == "outlier" and t == OUTLIER[0]
    return noise.size * normals(noise.seed, t) * ((SPIKES if noise.kind == "spikes" else OUTLIER)[1] if hit else 1)


def _poisson(mean, u):
    """The smallest k whose distribution function exceeds u, by summation."""
    k, p = 0, np.exp(-mean)
    total = p
    while total < u and k < 10_000:
        k += 1
        p *= mean / k
        total += p
    return k


@dataclass(frozen=True, eq=False)
class Landscape:
    """A loss f >= 0 of one or two coordinates, or a field of its own (a game), with parameters and a first view.

    `f` and `forces` are SymPy expressions of `X`, t and the parameters' symbols; the gradient is the derivative of f where
    there are none. `box` is the first view, ((low, high), ...), in units of `scale`. `turns`: the start turns with `turn`.
    """

    title: str
    f: Any
    start: tuple
    box: tuple
    parameters: dict[str, Parameter] = field(default_factory=dict)
    forces: tuple | None = None
    scale: tuple = (1, 1)
    shown: Any = None  # the formula, where f has a longer form
    shown_forces: tuple | None = None
    note: str = ""
    height: Any = None  # what the map shows, where it is not f
    noise: Noise = QUIET
    steps: int = 300
    turns: bool = False
    values: dict[str, float] | None = None

    def __post_init__(self):
        known = {name: p.value for name, p in self.parameters.items()}
        if unknown := set(self.values or {}) - set(known):
            raise EvidenceError(f"{self.title}: no parameter {unknown.pop()!r}; it has {', '.join(known) or 'none'}")
        object.__setattr__(self, "values", known | (self.values or {}))

    def at(self, noise: Noise | None = None, **values) -> "Landscape":
        """The same landscape with other parameters or another noise."""
        return replace(self, values=self.values | values, noise=noise or self.noise)

    @property
    def d(self) -> int:
        return len(self.start)

    @property
    def gradient(self) -> tuple:
        return self.forces or tuple(sympy.diff(self.f, x) for x in X[: self.d])

    @property
    def symbols(self):
        return [*X[: self.d], T, *map(parameter, self.parameters)]

    @cached_property
    def _numpy(self):
        return sympy.lambdify(self.symbols, [self.f, *self.gradient], "numpy")

    def _call(self, x, t):
        x = np.asarray(x, float)
        parts = self._numpy(*np.moveaxis(x, -1, 0), t, *self.values.values())
        return [np.broadcast_to(part, x.shape[:-1]) for part in parts]

    def loss(self, x, t=0):
        """f at x of shape (..., d): shape (...)."""
        return self._call(x, t)[0]

    def grad(self, x, t=0):
        """The gradient or field at x of shape (..., d), the noise of step t included."""
        return np.stack(self._call(x, t)[1:], -1) + draws(self.noise, t, self.values)[: self.d]

    def data(self) -> dict:
        """Everything that the page needs but the functions."""
        return {
            "title": self.title,
            "formula": mathml(self.f if self.shown is None else self.shown, self.shown_forces or self.forces),
            "note": self.note,
            "start": self.start,
            "box": self.box,
            "parameters": {name: p._asdict() for name, p in self.parameters.items()},
            "values": self.values,
            "noise": self.noise._asdict(),
            "steps": self.steps,
            "turns": self.turns,
        }

    def javascript(self) -> str:
        """{f, height, g, scale}: functions of (x, t, p) of one point; of p alone for the scale."""
        parts = {"f": [self.f], "height": [self.f if self.height is None else self.height], "g": self.gradient}
        printed = [f"{name}: (x, t, p) => {{ {self._body(e, name == 'g')} }}" for name, e in parts.items()]
        return f"{{{', '.join(printed)}, scale: (p) => {{ {self._body(self.scale, True)} }}}}"

    def _body(self, expressions, several: bool) -> str:
        places = {x: f"x[{i}]" for i, x in enumerate(X)} | {parameter(n): f"p.{n}" for n in self.parameters}
        shared, results = sympy.cse([sympy.sympify(e) for e in expressions], sympy.numbered_symbols("k"))
        printed = Printer(places).doprint
        lines = "".join(f"const {name} = {printed(e)}; " for name, e in shared)
        values = ", ".join(printed(e) for e in results)
        return " ".join(f"{lines}return {f'[{values}]' if several else values};".split())


T = sympy.Symbol("t", real=True)
#: How formulas write the parameters; SymPy knows the Greek letters by name.
LETTERS = {
    "condition": "kappa", "turn": "phi", "slope": "g", "curvature": "h", "width": "W", "size": "S", "correlation": "rho",
    "strength": "B", "every": "T", "base": "lambda", "bend": "b",
}  # fmt: skip


def parameter(name: str) -> sympy.Symbol:
    return sympy.Symbol(name, real=True)


def mathml(f, forces=None) -> str:
    """The formula as the browser sets it, printed from the expression that runs."""
    letters = {parameter(name): sympy.Symbol(letter, real=True) for name, letter in LETTERS.items()}
    printer = MathMLPresentationPrinter()

    def written(e):
        return printer._print(sympy.sympify(e).xreplace(letters)).toxml().replace("<mo>&InvisibleTimes;</mo>", "")

    inside = written(f) if not f.has(sympy.Piecewise) else ""
    if forces:
        inside = f"<mo>(</mo>{'<mo>,</mo>'.join(map(written, forces))}<mo>)</mo>"
    elif not inside:
        rows = (f"<mtr><mtd>{written(e)}</mtd><mtd>{written(when) if when != True else '<mtext>otherwise</mtext>'}</mtd></mtr>" for e, when in f.args)  # fmt: skip  # noqa: E712
        inside = f"<mo>{{</mo><mtable columnalign='left'>{''.join(rows)}</mtable>"
    return f'<math display="inline"><mrow><mi>{"F" if forces else "f"}</mi><mo>=</mo>{inside}</mrow></math>'


def _valley():
    condition, turn = parameter("condition"), parameter("turn") * sympy.pi / 180
    a, b = sympy.symbols("a b", real=True)
    c, s, u, v = sympy.cos(turn), sympy.sin(turn), X[0], X[1]
    return (c * u + s * v) ** 2 / 2 + condition * (c * v - s * u) ** 2 / 2, (a**2 + condition * b**2) / 2


def _landscapes() -> dict[str, Landscape]:
    x, y = X
    slope, curvature, width, size, r = map(parameter, ("slope", "curvature", "width", "size", "correlation"))
    strength, every, base, bend = map(parameter, ("strength", "every", "base", "bend"))
    condition = parameter("condition")
    valley, in_its_axes = _valley()
    lip = curvature * width**2 / 2 - slope * (x + width)
    e = size * x - 1, y - 1
    seen = sympy.Piecewise((1, sympy.Eq(sympy.Mod(T + 1, every), 0)), (0, True))
    return {
        "valley": Landscape(
            "valley", valley, (1.0, -1.0), ((-1.6, 1.6), (-1.2, 1.2)),
            {"condition": Parameter("condition number κ", 1, 1e4, 100, True), "turn": Parameter("turn φ, degrees", 0, 45, 20)},
            shown=in_its_axes, turns=True, note="a along the valley’s floor, b across it",
        ),
        "plateau": Landscape(
            "plateau and cliff", sympy.Piecewise((lip, x < -width), (curvature * x**2 / 2, True)), (-4.3,), ((-0.45, 0.32),),
            {"slope": Parameter("slope of the plateau", 1e-4, 1, 0.01, True), "curvature": Parameter("curvature of the valley", 1, 1e4, 1000, True),
             "width": Parameter("half width of the valley", 0.01, 1, 0.3, True)}, steps=1100,
        ),
        "rosenbrock": Landscape(
            "Rosenbrock", (1 - x) ** 2 + bend * (y - x**2) ** 2, (-1.2, 1.0), ((-2, 2), (-1, 3)),
            {"bend": Parameter("steepness b", 1, 1000, 100, True)}, steps=1000,
        ),
        "saddle": Landscape(
            "saddle", x**2 / 2 + (y**2 - 1) ** 2 / 4, (1.5, 0.001), ((-2, 2), (-1.5, 1.5)), {},
        ),
        "units": Landscape(
            "two features in different units", (e[0] ** 2 + 2 * r * e[0] * e[1] + e[1] ** 2) / 2, (0.0, 0.0), ((-1.5, 3.5), (-0.9, 2.85)),
            {"size": Parameter("size S of feature 1", 1, 1e4, 10, True), "correlation": Parameter("correlation ϱ", 0, 0.95, 0.3)},
            scale=(1 / size, 1), steps=400, note="the map is drawn in predictions: θ₁ times S",
        ),
        "game": Landscape(
            "bilinear game", (x**2 + y**2) / 2, (1.0, 0.0), ((-4, 4), (-3, 3)), {"strength": Parameter("strength B", 0.1, 10, 1, True)},
            forces=(strength * y, -strength * x), height=x * y, steps=100, note="the loss is half the squared distance from the equilibrium; the map shows xy",
        ),
        "rare": Landscape(
            "rare coordinate", ((x - 1) ** 2 + (y - 1) ** 2) / 2, (0.0, 0.0), ((-0.5, 2), (-0.5, 1.375)),
            {"every": Parameter("coordinate 2 has a gradient every T steps", 1, 2000, 50, True)},
            forces=(x - 1, seen * (y - 1)), shown_forces=(x - 1, parameter("delta") * (y - 1)), steps=400, note="δ is 1 at every T-th step and else 0",
        ),
        "bowl": Landscape(
            "noisy bowl", (x**2 + condition * y**2) / 2, (2.0, 2.0), ((-2.4, 2.8), (-1.4, 2.5)),
            {"condition": Parameter("condition number κ", 1, 100, 1, True)}, noise=Noise("normal", 1.0), steps=1000,
        ),
        "counts": Landscape(
            "counts with a burst, and their twin", sympy.exp(x) + sympy.exp(y) - base * (x + y) - 2 * base * (1 - sympy.log(base)),
            (1.0, 1.0), ((-2, 4), (-2, 2.5)),
            {"base": Parameter("mean count λ", 0.1, 5, 0.5, True), "burst": Parameter("burst, times as many", 1, 100, 60, True),
             "begin": Parameter("the burst begins at step", 0, 4000, 2000), "length": Parameter("and lasts, steps", 1, 1000, 100, True)},
            noise=Noise("counts"), steps=4000, note="the gradient is exp θ minus a Poisson count",
        ),
    }  # fmt: skip


LANDSCAPES = _landscapes()
