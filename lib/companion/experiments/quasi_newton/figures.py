"""The figures of the chapter on secants; what they show is computed in `secant` and `race`."""

import numpy as np

from companion.evidence.figures import method, panels, plt


def margins_figure(margins: dict):
    """A histogram of the margins, any shape, for every update: sign(margin) log10(1 + 10^6 |margin|)."""
    _, axes = panels(len(margins))
    for panel, (name, values) in zip(axes, margins.items(), strict=True):
        scaled = np.sign(values).ravel() * np.log10(1 + np.abs(values).ravel() * 1e6)
        panel.hist(scaled, bins=np.linspace(-6, 6, 121), histtype="stepfilled", color=method(name)["color"])
        panel.axvline(0, color="black", lw=1)
        panel.set(title=f"competitors of {name}", ylabel="competitors")
    axes[-1].set_xlabel(r"sign(margin) · log$_{10}$(1 + 10$^6$ |margin|)")
    return axes


def balls_figure(metrics, hessian):
    """The unit balls z'Bz = 1 of three metrics of a plane, and of the Hessian."""
    figure, axes = plt.subplots(figsize=(5.4, 3.8))
    turn = np.linspace(0, 2 * np.pi, 200)
    looks = zip(
        ("after 0 secants", "after 1 secant", "after 2 secants", "Hessian"), (*metrics, hessian), ("-", "-.", "-", "--"),
        ("#B5568C", "#0072B2", "#B87700", "black"), (3, 2.5, 2, 1.5), strict=True,
    )  # fmt: skip
    for name, metric, line, colour, width in looks:
        ball = np.linalg.solve(np.linalg.cholesky(metric).T, np.stack([np.cos(turn), np.sin(turn)]))
        axes.plot(*ball, line, color=colour, lw=width, label=name)
    axes.set(aspect="equal", xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
    figure.legend(loc="outside right upper")
    return axes


def _quartiles(values):
    low, mid, high = np.quantile(values, [0.25, 0.5, 0.75], axis=-1, method="inverted_cdf")
    return mid, np.stack([mid - low, high - mid])


def rotation_figure(counts: dict, angles, unsolved: int):
    """Medians and quartiles of counts (angles, valleys) for every method; those above `unsolved` are drawn there, on a line."""
    _, axes = plt.subplots(figsize=(6.5, 4.2))
    place = np.arange(len(angles))
    for name, count in counts.items():
        mid, bars = _quartiles(np.minimum(count, unsolved))
        axes.errorbar(place, mid, bars, capsize=3, **(method(name) | {"markevery": 1}))
    axes.axhline(unsolved, color="black", lw=0.8, ls=":")
    axes.annotate("not solved", (0, unsolved), (0, 4), textcoords="offset points", fontsize="small")
    axes.set(yscale="log", xlabel="angle (radians)", ylabel="gradient evaluations")
    axes.set_xticks(place, [f"{a:g}" for a in angles])
    axes.legend(ncols=2)
    return axes


def stream_figure(loss: dict):
    """Medians and quartiles of losses (frames, streams) for every method: the last frame is open, one before it filled."""
    _, axes = plt.subplots(figsize=(6.5, 5.2))
    for row, (name, frames) in enumerate(loss.items()):
        for turned, values in enumerate(frames, 2 - len(frames)):
            mid, bars = _quartiles(values)
            look = {"color": method(name)["color"], "mfc": "white" if turned else None}
            axes.errorbar(mid, row + 0.22 * turned - 0.11, xerr=bars[:, None], fmt="o", capsize=3, **look)
    axes.set(xscale="log", xlabel="excess loss / initial excess loss")
    axes.set_yticks(range(len(loss)), list(loss))
    axes.invert_yaxis()
    return axes
