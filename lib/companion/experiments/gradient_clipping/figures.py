"""The figures of the chapter on clips; what they show is computed in `race` and `rows`."""

import numpy as np

from companion.evidence import geometric
from companion.evidence.figures import ends, error_bars, plt
from stepsize.responses import adam_ratio, spike_brake

from .heavy_tails import TAILS, rms_step
from .race import MEASURES


def spread_figure(gain: dict):
    """Geometric means over runs of gain[tail][measure], a line for every measure over the tails; spikes, no tail of the series, stand apart.

    Bars: what `rms_step` predicts for the root mean square under infinite variance.
    """
    _, axes = plt.subplots()
    looks = zip(MEASURES, "osD^", ("black", "#0072B2", "#00805F", "#D55E00"), strict=True)
    for name, marker, colour in looks:
        *series, spikes = (geometric(gain[tail][name]) for tail in TAILS)
        axes.plot(TAILS[:-1], series, marker=marker, color=colour, label=name)
        axes.plot(TAILS[-1], spikes, marker=marker, color=colour)
    law = [rms_step() / rms_step(float(tail[1:])) for tail in ("t1.5", "t1.1")]
    axes.plot(("t1.5", "t1.1"), law, "k_", ms=18, mew=2, label="predicted", zorder=5)
    axes.axhline(1, color="grey", lw=0.8)
    axes.set(yscale="log", ylabel="with clip / without", xlabel="noise")
    axes.legend()
    return axes


def recovery_figure(rate, sizes, back, beta2=0.999):
    """rate (steps, sizes) after one outlier of each size, over that before it; dashes: `adam_ratio`; a triangle at the step back[i], if it is above 0."""
    _, axes = plt.subplots()
    k = np.arange(len(rate))
    for i, size in enumerate(sizes):
        colour = plt.cm.viridis(i / (len(sizes) + 1))
        axes.plot(k, rate[:, i], label=f"outlier of {size:,g}", color=colour, lw=3)
        axes.plot(k, adam_ratio(spike_brake(size, beta2), beta2, k), "--", color="white", lw=1)
        if back[i] > 0:
            axes.plot(back[i], 1 / 1.1, "^", color=colour)
    axes.set(xlabel="steps after the outlier", ylabel="rate / rate before")
    axes.legend()
    return axes


def placements_figure(ratio: dict):
    """A forest of ratio[tail][placement], all `Interval`s: a row for every placement, a marker for every tail."""
    _, axes = plt.subplots(figsize=(6.5, 5.2))
    looks = zip(ratio.items(), (-0.22, 0, 0.22), "os^", ("#6B6B6B", "#0072B2", "#D55E00"), strict=True)
    for (tail, row), shift, marker, colour in looks:
        places = np.arange(len(row)) + shift
        error_bars(axes, places, *ends(row.values()), horizontal=True, marker=marker, color=colour, label=tail)
    axes.axvline(1, color="black", lw=0.8)
    axes.set(xscale="log", xlabel="loss / loss of Adam without a clip")
    axes.set_yticks(range(len(row)), list(row))
    axes.invert_yaxis()
    axes.legend(title="noise", loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3)
    return axes
