"""Figures of the primer on rules; they draw what the chapter has computed and return axes. A path is that of `respond`."""

import numpy as np

from companion.evidence.figures import WIDTH, method, panels, plt
from stepsize.signals import step_size

FOUR = "heavy ball", "AdaGrad", "RMSProp", "Adam"


def response_figure(paths: dict, first: int = 600):
    """Rate (left) and root mean square step (right) of four rules, paths[rule][signal], for three signals of size 1, one a row."""
    _, axes = plt.subplots(3, 2, figsize=(WIDTH, 6.8), sharex=True, sharey=True)
    for (rate, step), key in zip(axes, ("constant", "random signs", "alternating"), strict=True):
        for name in FOUR:
            rate.plot(paths[name][key].rate[:first, 0, 0], **method(name))
            step.plot(step_size(paths[name][key])[:first], **method(name))
        rate.set(title=f"{key}: rate", ylabel="units of lr", yscale="log", ylim=(0.02, 20))
        step.set_title(f"{key}: step")
    axes[0, 0].figure.supxlabel("step number", fontsize="medium")
    _legend_above(axes[0, 0])
    return axes


def impulse_figure(paths: dict, steps: int, before: int = 10, after: int = 80):
    """Rate (above) and step (below) of four rules around the impulse, which `signals` puts at a quarter of the steps."""
    _, axes = panels(2, height=2.4)
    window, since = slice(steps // 4 - before, steps // 4 + after), range(-before, after)
    for name in FOUR:
        path = paths[name]["impulse"]
        for panel, series in zip(axes, (path.rate[:, 0, 0], step_size(path)), strict=True):
            panel.plot(since, series[window], **method(name))
    axes[0].set(yscale="log", ylabel="rate / lr")
    axes[1].set(yscale="log", ylabel="step / lr", xlabel="steps after the impulse")
    _legend_above(axes[0])
    return axes


def average_figure(total, mean, betas, beta: float = 0.999):
    """What averages make of the constant 1: with one `beta` (above) and with `betas` (below), whose `total` a step counter divides."""
    _, axes = panels(2)
    t, (above, below) = np.arange(1, len(betas) + 1), axes
    above.plot(t, 1 - beta**t, **method("RMSProp") | {"label": "total, no correction"})
    above.plot(t, np.ones(len(t)), **method("Adam") | {"label": "total / weight"})
    below.plot(t, counter_corrected(total, betas), **method("AdaGrad") | {"label": "total / (1 − βᵗ), a step counter"})
    below.plot(t, mean, **method("Adam") | {"label": "total / weight"})
    change = np.flatnonzero(np.diff(betas))[0] + 1
    titles = f"β = {beta}", f"β = {betas[0]}, from step {change + 1} on {betas[-1]}"
    for panel, title in zip(axes, titles, strict=True):
        panel.set(yscale="log", ylabel="estimate of 1", title=title)
        panel.legend()
    below.set_xlabel("step number")
    return axes


def counter_corrected(total, betas):
    """total / (1 - beta_t^t): Adam's bias correction by a step counter, which is right as long as beta does not change."""
    return total / (1 - betas ** np.arange(1, len(betas) + 1))


def half_life_figure(rate, beta):
    """Second moment (falling) and rate (rising) of RMSProp in silence, over their first values; one beta a column of `rate`."""
    _, axes = panels(1, height=3)
    relative = rate / rate[0]
    for i, name in enumerate(("Adam, β₂ = 0.9", "Adam, β₂ = 0.99", "Adam")):
        axes.plot(relative[:, i] ** -2.0, **method(name) | {"label": f"β = {beta[i, 0]}"})
        axes.plot(relative[:, i], **method(name) | {"label": None})
    axes.hlines([0.5, 2], 1, len(rate), "black", "--", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlim=(1, len(rate)), ylim=(0.1, 10))
    axes.set(xlabel="steps of silence", ylabel="relative to the start")
    axes.text(1.1, 2.2, "rate")
    axes.text(1.1, 0.36, "v")
    axes.legend(loc="upper left", bbox_to_anchor=(0.1, 1))
    return axes


def eps_figure(path, sizes, eps):
    """Adam's last rate (above) and step (below) under constant gradients of these sizes, a curve for each eps."""
    _, axes = panels(2)
    for i, name in enumerate(("Adam", "Adam, β₂ = 0.99", "Adam, β₂ = 0.9")):
        style = method(name) | {"label": f"eps = $10^{{{np.log10(eps[i, 0]):.0f}}}$"}
        for panel, series in zip(axes, (path.rate, path.rate * path.direction), strict=True):
            panel.plot(sizes, series[-1, i], **style)
    axes[0].set(xscale="log", yscale="log", ylabel="rate / lr")
    axes[1].set(yscale="log", ylabel="step / lr", xlabel="size of the gradient")
    axes[0].legend()
    return axes


def tuning_figure(results: dict, lrs, worst: float = 1000.0):
    """Loss on the tuning seeds against the learning rate, for every rule; a curve ends where it is not below `worst`."""
    _, axes = panels(1, height=3.4)
    for name, result in results.items():
        shown = np.where(result.curve < worst, result.curve, np.nan)
        axes.plot(lrs, shown, **method(name) | {"markevery": 1})
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="median loss, tuning seeds")
    _legend_above(axes)
    return axes


def _legend_above(axes):
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4)
