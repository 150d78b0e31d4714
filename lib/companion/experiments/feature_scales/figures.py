"""Figures and tables of the chapter on feature scales; runs are made in `problem` and `race`."""

import numpy as np

from companion.evidence import bootstrap
from companion.evidence.figures import method, panels, plt
from companion.evidence.wording import median, typeset
from stepsize.descent import descend, walk
from stepsize.rules import AdaGrad, Adam, RMSProp
from stepsize.signals import respond
from stepsize.wrappers import Coupled, Decoupled

from .precision import FORMATS, WIDE
from .problem import Regression, response
from .race import Race
from .rows import slope

#: Names of this chapter in the house style's.
STYLES = {"gradient descent": "SGD", "standardised": "standardised SGD"}


def style(name):
    """The house style of a method under this chapter's name for it."""
    return method(STYLES.get(name, name)) | {"label": name, "markevery": 1}


def _median(times):
    return np.quantile(times, 0.5, axis=1, method="inverted_cdf")


def time_figure(sizes, free: dict[str, Race], calm: dict[str, Race]):
    """Median steps against S, logarithmic; above any loss is allowed on the way, below at most ten times the first."""
    figure, axes = panels(2, 3.0)
    for panel, races in zip(axes, (free, calm), strict=True):
        for name, race in races.items():
            times = _median(race.times)
            panel.plot(sizes, np.where(np.isfinite(times), times, np.nan), **style(name))
        panel.set(xscale="log", yscale="log", ylabel="steps", ylim=(8, 1e5))
    # guides where no curve runs
    for power, words, first, start in ((2, "$S^2$", 2, 1500), (1, "$S$", 400, 150)):
        line = first * np.array([1, 4 ** (2 / power)])
        axes[1].plot(line, start * (line / first) ** power, "-", color="black", lw=0.8)
        axes[1].annotate(words, (line[1], start * 16), ha="left", va="bottom")
    axes[0].set_title("any loss on the way")
    axes[1].set_title("the loss never above ten times the first")
    axes[1].set_xlabel("size $S$ of one feature")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize="small")
    return axes


def _with_interval(times) -> str:
    i = bootstrap(times, lambda a, axis: np.quantile(a, 0.5, axis=axis, method="inverted_cdf"))
    ends = (f"{a:,.0f}" if np.isfinite(a) else "∞" for a in (i.low, i.high))
    return f"{median(times)} [{', '.join(ends)}]" if np.isfinite(i.estimate) else "–"


def case_table(cases, races: dict[str, Race]):
    """Median steps of every method in every case, the sizes of its race by their names, with intervals; a dash: half are not done."""
    import pandas as pd

    rows = {name: dict(zip(cases, map(_with_interval, race.times), strict=True)) for name, race in races.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def time_table(sizes, races: dict[str, Race], shown=(1.0, 10.0, 100.0, 1000.0)):
    """`case_table` at some sizes, and the exponent."""
    where = [int(np.argmin(np.abs(np.asarray(sizes) - s))) for s in shown]
    table = case_table(
        [f"S = {s:g}" for s in shown], {n: race._replace(times=race.times[where]) for n, race in races.items()}
    )
    return table.assign(exponent=[slope(sizes, race) for race in races.values()])


def pace_figure(land: Regression, rules: dict, steps: int):
    """How far the weight of the large feature and the others move per step: above as weights, below in the prediction."""
    _, axes = panels(2, 2.3)
    for (name, rule), line in zip(rules.items(), ("-", "--"), strict=True):
        moves = [now.rate * now.direction for _, now in zip(range(steps), walk(rule, land.grad, land.start))]  # noqa: B905
        size = np.abs(np.stack(moves))[:, :, 0]  # (steps, p, d)
        for panel, factor in zip(axes, (1.0, land.scale.ravel()), strict=True):
            for part, words, colour in (
                (slice(0, 1), "the large feature", "#D55E00"),
                (slice(1, None), "the others", "#0072B2"),
            ):
                shown = np.median((size * factor)[..., part], axis=(1, 2))
                panel.plot(np.arange(1, steps + 1), shown, line, color=colour, label=f"{words}, {name}")
    for panel, words in zip(axes, ("weight", "prediction"), strict=True):
        panel.set(yscale="log", ylabel=f"step in the {words}")
    axes[0].legend(fontsize="x-small", ncols=2)
    axes[1].set_xlabel("step")
    return axes


def response_figure(eps=1e-8):
    """The first step over the step without eps, against |g| / eps: the formula, and three rules as points."""
    _, axes = plt.subplots(figsize=(6.5, 3.2))
    r = np.logspace(-3, 4, 15)
    line = np.logspace(-3, 4, 200)
    axes.plot(line, response(line), **method("reference") | {"label": "$r/(1+r)$"})
    # RMSProp's first accumulator is (1 - beta) g^2, so that it meets eps earlier
    for name, rule, full in (
        ("Adam", Adam(1.0, eps=eps), 1),
        ("AdaGrad", AdaGrad(1.0, eps=eps), 1),
        ("RMSProp", RMSProp(1.0, eps=eps), 10),
    ):
        moved = np.abs(respond(rule, (r * eps)[None, :, None]).x[-1, :, 0]) / full
        axes.plot(r, moved, **method(name) | {"linestyle": "", "markevery": 1})
    axes.set(xscale="log", yscale="log", xlabel="$r = |g| / \\varepsilon$", ylabel="first step / step without ε")
    axes.legend()
    return axes


def format_table(tables: dict[str, dict[str, dict[str, float]]], optimizers=("torch Adam", *WIDE)):
    """Steps made, in learning rates, as a table: rows are cases and optimizers, columns number formats."""
    import pandas as pd

    def words(a):
        return "NaN" if np.isnan(a) else ("∞" if a > 0 else "−∞") if np.isinf(a) else typeset(f"{a:,.4g}")

    rows = {
        (case, name): {format: words(table[name][format]) for format in FORMATS}
        for case, table in tables.items()
        for name in optimizers
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def decay_runs(decays, steps: int = 500, lr: float = 1e-3):
    """Weights without any gradient under weight decay: {coupled, decoupled} -> share lost, (steps + 1, decays)."""
    decay = np.asarray(decays, float)[:, None]
    rules = {"coupled": Coupled(Adam(lr), decay), "decoupled": Decoupled(Adam(lr), decay)}
    start = np.ones((len(decay), 1))
    return {name: 1 - descend(rule, lambda x, t: 0 * x, start, steps).x[..., 0] for name, rule in rules.items()}


def decay_figure(decays, lost):
    """The share of a weight without a gradient that decay has removed, against steps; coupled curves that coincide have one name."""
    _, axes = plt.subplots(figsize=(6.5, 3.6))
    lines = [(2.4 - 0.6 * i, line) for i, line in enumerate(("-", "--", ":"))]
    for (width, line), decay, share in zip(lines, decays, lost["coupled"][1:].T, strict=True):
        label = None if decay != decays[0] else f"coupled, all {len(decays)} λ: the curves coincide"
        axes.plot(share, line, color="#D55E00", lw=width, label=label)
    for (width, line), decay, share in zip(lines, decays, lost["decoupled"][1:].T, strict=True):
        label = f"decoupled, $\\lambda = 10^{{{np.log10(decay):.0f}}}$"
        axes.plot(share, line, color=method("AdamW")["color"], lw=width, label=label)
    axes.set(yscale="log", xlabel="steps", ylabel="share of the weight lost")
    axes.legend(fontsize="small", ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return axes
