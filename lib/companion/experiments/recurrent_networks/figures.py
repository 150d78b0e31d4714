"""The figures of the chapter on recurrent networks; what they show is computed elsewhere."""

from itertools import pairwise

import numpy as np

from companion.evidence import geometric
from companion.evidence.figures import WIDTH, band, error_bars, forest, legend_below, method, panels, plain_ticks, plt
from stepsize.responses import spike_brake

from .comparisons import PROBLEMS_IN_WORDS, paired
from .gradient_flow import Watched
from .race import PROBLEMS
from .spikes import corrected

WORDS = {
    "gain 0.3": "0.3", "gain 0.5": "0.5", "gain 1": "1", "gain 1.5": "1.5", "gain 2": "2", "gain 3": "3",
    "orthogonal": "rotation", "soft orthogonality": "1, pulled",
}  # fmt: skip


def growth_figure(profiles: dict):
    """|dL / dh_t| over |dL / dh_T| against the steps back, profiles[name] of shape (seeds, T): median and middle half."""
    _, axes = plt.subplots(figsize=(WIDTH, 4.2))
    lines = "-", "--", "-.", ":", (0, (1, 1)), (0, (5, 1, 1, 1))
    for k, (name, size) in enumerate(profiles.items()):
        back = np.arange(size.shape[1])
        low, middle, high = np.quantile(size[:, ::-1], [0.25, 0.5, 0.75], axis=0)
        colour = plt.cm.viridis(k / len(profiles))
        axes.plot(back, middle, color=colour, ls=lines[k % len(lines)], lw=2)
        axes.fill_between(back, low, high, color=colour, alpha=0.18, lw=0)
        shift = {"1": -9, "rotation": 9}.get(name, 0)  # points; these two ends meet
        at = (back[-1], middle[-1])
        axes.annotate(name, at, xytext=(4, shift), textcoords="offset points", va="center", fontsize="small")
    axes.axhline(1, color="black", lw=0.8)
    axes.set(yscale="log", xlabel="steps back from the last input", ylabel="gradient / gradient at the last step")
    axes.margins(x=0)
    return axes


def start_figure(races: dict, problem: str = "adding"):
    """Scores over that at chance level, by start, medians with the middle half: above without a clip, below with it."""
    task, starts, *_ = PROBLEMS[problem]
    _, axes = panels(2, 2.7, sharey=True)
    names = [cell[2] for cell in races if cell[:2] == (problem, starts[0])]
    for panel, clipped in zip(axes, (False, True), strict=True):
        shown = [name for name in names if name.startswith("clipped") == clipped]
        for shift, name in zip(np.linspace(-0.26, 0.26, len(shown)), shown, strict=True):
            scores = np.array([races[problem, start, name]["scores"] for start in starts]) / task.chance
            quartiles = np.minimum(np.quantile(scores, [0.25, 0.5, 0.75], axis=1), 3)
            error_bars(panel, np.arange(len(starts)) + shift, *quartiles, **method(name))
        panel.axhline(1, color="black", lw=0.8)
        panel.set(yscale="log", title="with a clip" if clipped else "without a clip", ylabel="error / chance level")
        plain_ticks(panel.yaxis, [0.1, 0.2, 0.5, 1])
        panel.set_ylim(0.06, 3.5)
        # where nothing is learned there is room
        panel.legend(fontsize="x-small", loc="lower center", bbox_to_anchor=(0.635, 0.0), labelspacing=0.3)
    axes[1].set_xticks(range(len(starts)), [WORDS[start] for start in starts])
    axes[1].set_xlabel("gain of the recurrent weights at the start")
    return axes


def reach_figure(watched: dict, far: dict):
    """Growth per step back in time during training, {method: (steps, growth (times, seeds))}, above on one task, below on another."""
    _, axes = panels(2, 2.2, sharey=True)
    titles = "something to learn from nearby: the adding problem", "everything far back: recall"
    for panel, trainings, title in zip(axes, (watched, far), titles, strict=True):
        for name, (steps, value, *_) in trainings.items():
            band(panel, steps, value, name)
        panel.set(title=title, ylabel="growth per step back", ylim=(0.2, 1.1))
        panel.axhline(1, color="black", lw=0.8)
    axes[1].legend(ncols=3, loc="upper left", bbox_to_anchor=(0, 0.85), fontsize="small")
    axes[1].set_xlabel("training step")
    return axes


def brake_figure(exploding: dict[tuple[str, int], Watched], gain: int, betas: dict[str, float]):
    """Brake by v (above) and by m (below) against the size of the spike, in the better half of the networks of a gain.

    Lines: `spike_brake` after a quiet time, at the last gradient of the training; the bands reach down to the first that has a hundred before it.
    """
    _, axes = panels(2, 2.6)
    observed = {name: run.better_spikes() for (name, of), run in exploding.items() if of == gain}
    sizes = np.geomspace(3, 1000, 200)
    edges = np.geomspace(3, 1000, 9)
    for name, beta2 in betas.items():
        first, last = (
            spike_brake(sizes, corrected(t, beta2)) for t in (102, len(exploding[name, gain].brakes.size) + 1)
        )
        label = f"after a quiet time, β₂ = {beta2}"
        axes[0].plot(sizes, last, **method(name) | {"marker": "", "label": label})
        axes[0].fill_between(sizes, first, last, color=method(name)["color"], alpha=0.25, lw=0)
    axes[0].plot(sizes, 3 / sizes, color="black", ls="--", lw=1, label="a clip at 3")
    axes[1].plot(sizes, 3 / sizes, color="black", ls="--", lw=1)
    for shift, (name, rows) in zip(np.linspace(0.92, 1.08, len(observed)), observed.items(), strict=True):
        bins = [rows[(rows[:, 0] >= a) & (rows[:, 0] < b)] for a, b in pairwise(edges)]
        bins = [b for b in bins if len(b) >= 10]
        for panel, column in zip(axes, (2, 1), strict=True):
            quartiles = np.array([np.quantile(b[:, column], [0.25, 0.5, 0.75]) for b in bins]).reshape(-1, 3).T
            if len(bins) and np.ptp(rows[:, column]) > 1e-9:
                error_bars(panel, [shift * geometric(b[:, 0]) for b in bins], *quartiles, **method(name))
    for panel, title in zip(axes, ("by the second moment", "by the first moment"), strict=True):
        panel.set(xscale="log", yscale="log", ylabel="factor on the step", title=title, ylim=(0.02, 1.6))
        plain_ticks(panel.yaxis, [0.03, 0.1, 0.3, 1])
    legend_below(axes[0], ncols=3)
    plain_ticks(axes[1].xaxis, [3, 10, 30, 100, 300, 1000])
    axes[1].set_xlabel("size of the spike, in typical gradients")
    return axes


def clip_figure(races: dict):
    """What the clip multiplies the error by, rule by rule and start by start: a panel for each problem, `forest` rows."""
    rules, problems = ("SGD", "heavy ball", "RMSProp", "Adam"), ("adding", "digits")
    _, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.8))
    for panel, problem in zip(axes, problems, strict=True):
        starts = "gain 1", "gain 3", "orthogonal", "soft orthogonality"
        rows = {
            WORDS[s]: {r: paired(races, problem, ((s, f"clipped {r}"), (s, r))).map(np.log) for r in rules}
            for s in starts
        }
        forest(panel, rows)
        panel.set(title=PROBLEMS_IN_WORDS[problem], xlabel="error with clip / without")
        plain_ticks(panel.xaxis, {"adding": [0.5, 1, 2, 5], "digits": [0.7, 0.8, 0.9, 1]}[problem])
    axes[0].set_ylabel("gain at the start")
    axes[1].set_yticklabels([])
    legend_below(axes[0], ncols=4)
    return axes
