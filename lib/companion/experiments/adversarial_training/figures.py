"""The pictures and tables of the chapter on adversarial training; runs are made in `bilinear_game`, `robustness` and `defenses`."""

import numpy as np

from companion.evidence import student
from companion.evidence.figures import WIDTH, ends, error_bars, legend_below, method, panels, plain_ticks, plt

from .attacks import Target, walk_in_ball
from .bilinear_game import cycle_radius, cycles, plays
from .classifiers import Classifier
from .robustness import ATTACKERS, BALLS, EUCLIDEAN, MATCHED, Duel, apart, generators, title


def phase_figure(turns: int, every: int = 7):
    """Three plays of gradient steps, and Adam from both sides of its cycle."""
    _, axes = plt.subplots(2, 2, figsize=(WIDTH, 6.4))
    course = {"both at once": "outwards", "in turns": "round and round", "looking ahead": "inwards"}
    for ax, (name, path) in zip(axes.flat, plays().items(), strict=False):
        ax.plot(*path.T, ".-", color=method("SGD")["color"], ms=4, lw=0.8)
        ax.plot(*path[0], "o", color="black", ms=5)
        ax.set_title(f"{name}: {course[name]}")
    path, R = cycles(turns=turns, every=every)
    ax = axes[1, 1]
    for k, colour in ((1, method("AMSGrad")["color"]), (0, method("Adam")["color"])):
        ax.plot(*path[: len(path) // 3, k].T / R, lw=0.4, color=colour, rasterized=True)
        ax.plot(*path[0, k] / R, "o", color="black", ms=5)
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(angle), np.sin(angle), color="black", lw=1.6, ls="--")
    ax.set_title("Adam: onto a circle")
    for ax in axes.flat:
        limit = 1.15 * max(np.abs(line.get_xydata()).max() for line in ax.lines)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        ax.set(xlabel="x, wants the product low", ylabel="y, wants it high")
    axes[1, 1].set(xlabel="x / R", ylabel="y / R")
    return axes


def radius_figure(beta1s, beta2s, measured):
    """Predicted radius (lines) and measured (points, from both sides) against the forgetting of the second moment."""
    _, ax = plt.subplots(figsize=(WIDTH, 3.8))
    forget = np.geomspace(0.5 * (1 - max(beta2s)), 2 * (1 - min(beta2s)), 50)
    for j, (beta1, style) in enumerate(zip(beta1s, ("-", "--", ":"), strict=False)):
        ax.plot(
            forget, cycle_radius(1.0, beta1, 1 - forget), style, color=method("Adam")["color"], label=f"β₁ = {beta1:g}"
        )
        for side, marker in enumerate("^v"):
            ax.plot(1 - np.array(beta2s), measured[:, j, side], marker, color="black", ms=6, mfc="none", ls="")
    for marker, words in zip("^v", ("from inside", "from outside"), strict=True):
        ax.plot([], [], marker, color="black", mfc="none", ls="", label=f"measured {words}")
    ax.set(xscale="log", yscale="log", xlabel="1 − β₂", ylabel="radius / α")
    ax.legend()
    return ax


def curve_figure(raced: dict[str, dict[str, Duel]]):
    """Robust accuracy on the tuning models against the attacker's rate: a panel per ball, and one for the Euclidean projection."""
    _, axes = plt.subplots(len(raced) + 1, figsize=(WIDTH, 1 + 3.0 * (len(raced) + 1)))
    own = {kind: [name for name in duels if name not in EUCLIDEAN.values()] for kind, duels in raced.items()}
    shown = [(kind, f"{kind} ball", own[kind]) for kind in raced]
    shown.append(
        ("L2", "L2 ball, the rules with a rate per pixel projected in the Euclidean metric", tuple(EUCLIDEAN.values()))
    )
    for ax, (kind, words, names) in zip(axes, shown, strict=True):
        for name in names:
            d = raced[kind][name]
            if d.lr is not None:
                style = method(name) | {"label": title(name), "markevery": 2}
                ax.plot(d.rates / BALLS[kind].radius, 100 * d.curve, **style)
        ax.axvline(0.25, color="black", lw=0.8, ls=":")
        ax.set(xscale="log", xlim=(3e-3, 1e4), ylabel="robust accuracy, %", title=words)
    axes[-1].set(xlabel="attacker's rate / radius", ylim=axes[-2].get_ylim())
    legend_below(axes[0], ncols=2)
    return axes


def _points(i):
    return f"{i.estimate:.1f} ± {(i.high - i.low) / 2:.1f}"


def duel_table(raced: dict[str, dict[str, Duel]]):
    """A row per ball and attacker: robust accuracy at its own and at the lazy rate, the difference to the matched attacker."""
    import pandas as pd

    rows = {}
    for kind, duels in raced.items():
        for name, d in duels.items():
            gap = "–" if name == MATCHED[kind] else _points(apart(d.tuned, duels[MATCHED[kind]].tuned))
            rate = "none" if d.lr is None else f"{d.lr:.2g}" + (" (edge)" if d.at_edge else "")
            grid = "" if d.lr is None else f"{d.rates[0]:.2g} … {d.rates[-1]:.2g}"
            rows[kind, title(name)] = {
                "rate": rate,
                "grid": grid,
                "% standing": _points(student(d.tuned)),
                "minus matched": gap,
                "% at the lazy rate": "" if d.lr is None else f"{d.lazy.mean():.1f}",
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = [f"{kind}: {name}" for kind, name in rows]
    return table


def mask_figure(scales, masks: dict[str, np.ndarray], share):
    """Robust accuracy and the share of gradients below eps, against the scale of the logits."""
    _, (top, low) = panels(2, 2.4)
    styles = {"Adam, ε = 0": method("Adam") | {"linestyle": ":", "markerfacecolor": "white"}}
    for name, values in masks.items():
        style = styles.get(name, method(name.partition(",")[0]))
        top.plot(scales, values.mean(1), **style | {"label": name, "markevery": 1})
    low.plot(scales, 100 * share, "o-", color="black")
    top.set(ylabel="robust accuracy, %", ylim=(0, 100), xscale="log")
    low.set(ylabel="% of gradients < 10⁻⁸", xlabel="factor on the logits", ylim=(0, 100))
    plain_ticks(low.xaxis, scales)
    top.legend()
    return top, low


def defender_figure(cells: dict[str, dict], opponents):
    """Clean and robust accuracy of every defender: models as dots, their mean with its interval."""
    rows = [len(names) for names in opponents.values()]
    _, axes = plt.subplots(2, figsize=(WIDTH, 1 + 0.31 * sum(rows)), sharex=True, gridspec_kw={"height_ratios": rows})
    for ax, (kind, names) in zip(axes, opponents.items(), strict=True):
        for row, name in enumerate(names):
            cell = cells[f"{kind} | {name}"]
            i, style = student(cell["robust"]), method(name)
            ax.plot(cell["robust"], np.full(len(cell["robust"]), row), ".", color=style["color"], alpha=0.35, ms=5)
            ax.plot(np.mean(cell["clean"]), row, "|", color="black", ms=9)
            error_bars(ax, [row], *ends([i]), horizontal=True, color=style["color"], marker="o", ms=5)
        ax.set_yticks(range(len(names)), [title(name) for name in names])
        ax.invert_yaxis()
        ax.set_title(f"trained and judged in the {kind} ball")
    axes[-1].set_xlabel("% right: before the judge (dots), clean (bars)")
    return axes


def defender_table(cells: dict[str, dict]):
    """A row per cell: rates with their edges, accuracies, paired difference to plain ascent with a tuned rate."""
    import pandas as pd

    rows = {}
    for name, cell in cells.items():
        kind, opponent = name.split(" | ")
        control = cells[f"{kind} | SGD"]["robust"]
        rows[f"{kind}: {title(opponent)}"] = {
            "learner's rate": f"{cell['lr']:g}" + (" (edge)" if cell["lr_at_edge"] else ""),
            "attacker's rate": f"{cell['attacker_lr']:.2g}" if cell["attacker_lr"] else "none",
            "% clean": f"{np.mean(cell['clean']):.1f}",
            "% before the judge": _points(student(cell["robust"])),
            "minus tuned plain ascent": "–" if opponent == "SGD" else _points(apart(cell["robust"], control)),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def strip_figure(classifier: Classifier, x, images, raced, seed: int, rows=(0, 3, 7), steps: int = 10):
    """Digits, and what three attackers add to them in the L2 ball, at their tuned rates."""
    ball, shown = BALLS["L2"], ("normalised SGD", "Adam", EUCLIDEAN["Adam"])
    picked = images[list(rows)]
    target, columns = Target.of(classifier, x[:1], picked), [picked.u.numpy()]
    for name in shown:
        rule = ATTACKERS[name].rule(raced["L2"][name].lr)
        columns.append(walk_in_ball(rule, target, ball, steps, generators((seed,), 1)).delta[0, 0].numpy())
    _, axes = plt.subplots(len(rows), len(columns), figsize=(WIDTH, 1.65 * len(rows)))
    for line, row in zip(axes, range(len(rows)), strict=True):
        for ax, values, words in zip(
            line, columns, ("image", "normalised ascent", "Adam", "Adam, Euclidean"), strict=True
        ):
            bounds = (0, 1) if words == "image" else (-0.35, 0.35)
            ax.imshow(
                values[row].reshape(8, 8),
                cmap="gray_r" if words == "image" else "RdBu_r",
                vmin=bounds[0],
                vmax=bounds[1],
            )
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            if row == 0:
                ax.set_title(words, fontsize="small", loc="center")
    return axes
