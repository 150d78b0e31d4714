"""Figures and tables of the chapter on plateaus and valleys; they return axes, a table or a slider. Runs are made in `race`."""

import numpy as np
from matplotlib.colors import ListedColormap, LogNorm

from companion.evidence.figures import WIDTH, method, panels, plt
from companion.evidence.intervals import settled
from companion.evidence.sliders import SliderPlot
from companion.evidence.wording import median
from stepsize import responses
from stepsize.descent import descend

from .landscapes import PlateauValley
from .network import Training
from .race import METHODS, Raced, at_every_angle, lower_median


def title(name: str) -> str:
    """Gradients are exact here, so the baseline goes by its own name; colours are those of SGD."""
    return name.replace("SGD", "gradient descent")


def lip_figure(land: PlateauValley, rates: dict[str, float], before=30, after=60):
    """One landscape from close by, with the iterates of the last of `rates`; below, rate and step around the lip."""
    _, axes = plt.subplots(3, figsize=(WIDTH, 7.2), height_ratios=[1.1, 1, 1])
    ground, rate, step = axes
    for name, lr in rates.items():
        path = descend(METHODS[name][""](lr), land.grad, land.start, 1500)
        x, size = path.x[:-1, 0], np.abs(path.rate * path.direction)[:, 0]
        k = int(np.argmax(x >= -land.width))  # the first gradient of the valley
        window, style = slice(k - before, k + after), method(name) | {"markevery": 8}
        since = np.arange(1 - before, after + 1)
        rate.plot(since, path.rate[window, 0] / path.rate[k - 1, 0], **style)
        step.plot(since, size[window] / size[k - 1], **style)
        top = size[k : k + after].argmax()
        word = f"× {size[k + top] / size[k - 1]:.0f}"
        place = {"xytext": (-6, -4), "ha": "right"} if top == 0 else {"xytext": (12, 6), "ha": "left"}
        spot = (top + 1, size[k + top] / size[k - 1])
        step.annotate(word, spot, textcoords="offset points", color=style["color"], **place)
    grid = np.linspace(x[k - before], 0.7 * float(land.width), 400)[:, None]
    ground.plot(grid, land.f(grid), color="#6B6B6B")
    near = path.x[k - before : k + 14]
    ground.plot(near, land.f(near), "o", color=method(name)["color"], ms=4, label=f"{name}, step by step")
    ground.annotate("lip", (-float(land.width), float(land.f(-land.width))), (10, -4), textcoords="offset points")
    ground.set(xlabel="x", ylabel="f(x)")
    ground.legend(loc="lower left")
    for ax, name in ((rate, "rate"), (step, "step")):
        ax.axvline(0.5, color="black", lw=0.8, ls=":")
        ax.axhline(1, color="black", lw=0.8)
        ax.set(yscale="log", ylabel=f"{name} / last {name}\non the plateau")
    rate.set_title("the rate falls …")
    step.set(title="… and the step grows", xlabel="steps since the lip")
    rate.legend(loc="upper right")
    return axes


def cliff_figure(beta1=0.9, beta2s=(0.9, 0.99, 0.999)):
    """u_k for several beta2, with the published and the tight bound of the last; below, all three against 1 - beta2."""
    _, axes = plt.subplots(2, figsize=(WIDTH, 6.4))
    top, low = axes
    k = np.unique(np.geomspace(1, 5000, 300).astype(int))
    for beta2 in beta2s:
        name = "Adam" if beta2 == 0.999 else f"Adam, β₂ = {beta2}"
        top.plot(k, responses.adam_cliff(k, beta1, beta2), **method(name) | {"label": f"β₂ = {beta2}"})
    for level, words in (
        (responses.adam_spike(beta1, beta2), "published bound"),
        (responses.adam_worst(np.inf, beta1, beta2), "tight bound"),
    ):
        top.axhline(level, color="black", lw=1, ls="--")
        top.annotate(
            f"{words}, {level:.3f}", (5000, level), (0, 3), textcoords="offset points", ha="right", fontsize="small"
        )
    top.set(xscale="log", ylim=(0, 8.4), xlabel="steep steps k", ylabel="step / α", title="after an endless plateau")
    top.legend(loc="center right", bbox_to_anchor=(1, 0.64))
    forget = np.geomspace(1e-4, 0.15, 80)
    peak = [responses.adam_cliff_peak(beta1, 1 - a)[1] for a in forget]
    low.plot(forget, responses.adam_worst(np.inf, beta1, 1 - forget), color="black", label="tight bound")
    low.plot(forget, np.maximum(peak, 1), color=method("Adam")["color"], label="longest step at a cliff")
    low.plot(forget, responses.adam_spike(beta1, 1 - forget), color="black", ls="--", label="published bound")
    low.axvline(1 - beta1, color="black", lw=0.8, ls=":")
    low.annotate("β₂ = β₁", (1 - beta1, 20), (-4, 0), textcoords="offset points", ha="right", fontsize="small")
    low.set(
        xscale="log",
        yscale="log",
        xlabel="1 − β₂",
        ylabel="step / α",
        title="the shorter the memory, the shorter the step",
    )
    low.legend(loc="upper center")
    return axes


def heat_figure(
    raced: dict[str, Raced], land: PlateauValley, lrs, steps: int, shown=("SGD", "sign", "AdaGrad", "Adam")
):
    """Settling times of every rate on every test landscape, the steepest dilemma on top; a line at the one rate chosen."""
    fig, axes = plt.subplots(len(shown), figsize=(WIDTH, 0.8 + 1.75 * len(shown)), sharex=True)
    order = np.argsort((land.curvature * land.length / land.slope)[:, 0])
    # without its brightest end, which on a dark page, where figures are inverted, would vanish
    colours = ListedColormap(plt.get_cmap("viridis_r")(np.linspace(0.2, 1, 256)))
    edges = np.log10(lrs[0]) + (np.arange(len(lrs) + 1) - 0.5) * np.log10(lrs[1] / lrs[0])
    for ax, name in zip(axes, shown, strict=True):
        r = raced[name]
        times = np.ma.masked_invalid(r.times[:, order].T)
        image = ax.pcolormesh(
            edges, np.arange(len(order) + 1), times, norm=LogNorm(10, steps), cmap=colours, rasterized=True
        )
        ax.axvline(np.log10(r.choice.lr), color="#D55E00", lw=1.4)
        ax.set(title=title(name), ylabel="landscapes", xlim=(-4.2, 3.1))
        ax.set_yticks([0.5, len(order) - 0.5], ["easiest", "hardest"])
        ax.grid(False)
    axes[-1].set_xlabel("log₁₀ learning rate")
    fig.colorbar(image, ax=axes, label="steps to settle", location="bottom", shrink=0.7, aspect=40)
    return axes


def turned_figure(degrees, turned: dict[str, list[Raced]], pooled: dict[str, list[Raced]], steps: int):
    """Median settling time against the angle of the valley; a pooled twin that is raced at every angle is drawn hollow."""
    _, ax = plt.subplots(figsize=(WIDTH, 4.6))
    place = np.arange(len(degrees))
    for group, hollow in (
        (turned, {}),
        (at_every_angle(pooled, turned), {"markerfacecolor": "white", "linestyle": (0, (1, 2))}),
    ):
        for name, races in group.items():
            y = [min(lower_median(r.one), 1.6 * steps) for r in races]
            style = method(name) | {"markevery": 1} | hollow
            ax.plot(place, y, **style | {"label": f"{title(name)}, pooled" if hollow else title(name)})
    ax.axhline(1.6 * steps, color="black", lw=0.8, ls=":")
    ax.annotate("not settled", (place[0], 1.6 * steps), (0, -12), textcoords="offset points", fontsize="small")
    ax.set(yscale="log", xlabel="angle between valley and axis (degrees)", ylabel="median steps to settle")
    ax.set_xticks(place, [f"{a:g}" for a in degrees])
    ax.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return ax


def orbit_figure(path, curvature: float, threshold: float, first: int, last: int):
    """Distance from the bottom of a parabola, and rate * curvature against the threshold, between two steps."""
    _, axes = plt.subplots(2, figsize=(WIDTH, 5.2), sharex=True)
    far, rate = axes
    t = np.arange(first, last)
    far.plot(t, np.abs(path.x[t, 0]), color=method("Adam")["color"], lw=0.7, rasterized=True)
    rate.plot(t, path.rate[t, 0] * curvature, color=method("Adam")["color"])
    rate.axhline(threshold, color="black", lw=1, ls="--", label=f"unstable above {threshold:.0f}")
    rate.legend(loc="lower right", bbox_to_anchor=(1, 0.97))  # above the axes: the curve crosses the line everywhere
    far.set(yscale="log", ylabel="|x| / α")
    rate.set(xlabel="step", ylabel="rate × curvature")
    return axes


def sharpness_figure(training: Training, lrs, threshold: float):
    """Largest eigenvalue of rate times Hessian (above) and loss (below) for each learning rate: median of the networks, and their range."""
    _, axes = panels(2, 2.5)
    style = method("Adam") | {"marker": ""}
    for i, (lr, dash) in enumerate(zip(lrs, ("-", "--", ":"), strict=False)):
        for ax, runs in zip(axes, (training.sharpness, training.loss), strict=True):
            ax.plot(training.time, np.median(runs[:, i], 1), **style | {"linestyle": dash, "label": f"α = {lr:g}"})
            ax.fill_between(training.time, runs[:, i].min(1), runs[:, i].max(1), color=style["color"], alpha=0.12, lw=0)
    line = axes[0].axhline(threshold, color="black", lw=1, ls="--", label=f"unstable above {threshold:.0f}")
    axes[0].legend(handles=[line], loc="upper right")
    axes[0].set(ylabel="largest eigenvalue of\nrate × Hessian", ylim=(0, 1.45 * threshold))
    axes[1].set(yscale="log", xlabel="step", ylabel="loss")
    axes[1].legend(loc="upper right")
    return axes


def race_table(raced: dict[str, Raced], lrs):
    """One row per method: share and median with each landscape's own best rate, the same with one rate for all, the window."""
    import pandas as pd

    def percent(times):
        i = settled(times)
        return f"{100 * i.estimate:.0f}\u00a0[{100 * i.low:.0f},\u00a0{100 * i.high:.0f}]"

    rows = {
        title(name): {
            "own best rate: % settled": percent(r.oracle),
            "steps": median(r.oracle),
            "one rate for all: % settled": percent(r.one),
            "steps ": median(r.one),
            "the one rate": f"{r.choice.lr:.2g}" + (f", {r.choice.setting}" if r.choice.setting else ""),
            "decades that work": f"{np.median(r.window(lrs)):.2f}",
        }
        for name, r in raced.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def movable_cliff(beta1=0.9) -> SliderPlot:
    """Adam's steps on a cliff, for any forgetting of the second moment and any length of the plateau before it."""
    k = np.unique(np.r_[1:16, np.geomspace(16, 3000, 30).astype(int)])
    forget = 10.0 ** -np.linspace(1, 4, 19)
    plateau = np.unique(np.geomspace(1, 30_000, 18).astype(int))
    u = responses.adam_cliff(k, beta1, 1 - forget[:, None, None], plateau[:, None], 1e6)
    spike, tight = (
        f(beta1, 1 - forget) for f in (responses.adam_spike, lambda *betas: responses.adam_worst(np.inf, *betas))
    )
    top, height = k[u.argmax(-1)], u.max(-1)
    says = [
        [
            f"Longest step: {h:.2f} α, at steep step {t}; the published bound is {s:.2f} α."
            for h, t in zip(*row, strict=True)
        ]
        for *row, s in zip(height, top, spike, strict=True)
    ]
    beside = np.ones(len(plateau))
    return SliderPlot(
        "plateau-movable-cliff",
        "Adam's step at a cliff. Move the memory and the plateau.",
        ("steep steps k", "step / α"),
        k,
        u,
        {"published bound": spike[:, None] * beside, "tight bound": tight[:, None] * beside},
        {"β₂": [f"{1 - a:.4f}" for a in forget], "plateau": [f"{n:,} steps" for n in plateau]},
        says,
        (12, len(plateau) - 1),
    )
