"""The pictures and the table of the chapter on federated learning; experiments are made in `synthetic` and `hospitals`."""

import numpy as np

from companion.evidence import bootstrap
from companion.evidence.figures import WIDTH, ends, error_bars, method, panels, plt

from .hospitals import Study
from .patients import NAMES
from .synthetic import Raced
from .theory import crossover, effective_share, noisy_error


def round_figure():
    """One round: the server sends theta, every hospital takes local steps on data that stay there, and the server averages the reports."""
    _, ax = plt.subplots(figsize=(WIDTH, 2.9))
    ax.set(xlim=(0, 3), ylim=(0, 1), xticks=[], yticks=[])
    ax.axis("off")
    box = {"boxstyle": "round,pad=0.4", "facecolor": "none", "edgecolor": "black"}
    middle = {"ha": "center", "va": "center"}
    ax.text(1.5, 0.88, r"server:  $\theta \leftarrow \theta + \sum_k w_k\,(\theta_k - \theta)$", bbox=box, **middle)
    for at, name in enumerate("12K"):
        x, top = at + 0.5, 1.5 + 0.45 * (at - 1)
        ax.text(x, 0.16, f"hospital {name}\nE steps, rate $\\eta_{name}$\non its own patients", bbox=box, **middle)
        sent, reported = {"arrowstyle": "->", "color": "#0072B2"}, {"arrowstyle": "->", "color": "#D55E00"}
        ax.annotate("", (x - 0.06, 0.36), (top - 0.06, 0.78), arrowprops=sent)
        ax.annotate("", (top + 0.06, 0.78), (x + 0.06, 0.36), arrowprops=reported)
    ax.text(0.42, 0.6, r"sends $\theta$", color="#0072B2", ha="right")
    ax.text(
        2.58,
        0.6,
        "reports $\\theta_k$, $n_k$, its loss\nand residual variance",
        color="#D55E00",
        ha="left",
        va="center",
    )
    return ax


def race_table(races: dict[float, dict[str, Raced]]):
    """A row per rule: excess of the quiet clients and of the outlier for every shift, and the rates, with (edge) at an end of the grid
    and (fixed) where there is none.

    "diverges" where the mean is above 100; before it learns, a model of these federations has about 8.
    """
    import pandas as pd

    def mean(values, digits):
        return f"{values.mean():.{digits}f}" if values.mean() < 100 else "diverges"

    def rate(choice):
        note = " (fixed)" if choice.curve.size == 1 else " (edge)" * choice.at_edge
        return f"{choice.lr:.2g}{note}"

    rows = {name: {} for name in next(iter(races.values()))}
    for shift, raced in races.items():
        for name, race in raced.items():
            rows[name] |= {
                f"shift {shift:g}: quiet": mean(race.clean, 4),
                f"{shift:g}: outlier": mean(race.outlier, 3),
                f"{shift:g}: rate": rate(race.choice),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def shift_figure(
    races: dict[float, dict[str, Raced]],
    variance,
    d: int,
    n: int,
    names=("FedAvg", "inverse variance", "random effects", "q-FFL, q = 1"),
):
    """Excess of the quiet clients and of the outlier against the shift, and the law of who gains."""
    shifts = np.array(list(races))
    _, axes = panels(2, height=2.6)
    for ax, part, title in zip(
        axes, ("clean", "outlier"), ("the quiet clients", "the noisy client, which lies elsewhere"), strict=True
    ):
        for name in names:
            low, middle, high = ends(bootstrap(getattr(races[s][name], part)) for s in shifts)
            style = method(name)
            ax.plot(shifts, middle, **style | {"markevery": 1})
            ax.fill_between(shifts, low, high, color=style["color"], alpha=0.2, lw=0)
        ax.set(yscale="log", ylabel="excess risk", title=title)
    fine = np.linspace(0, shifts[-1], 200)
    equal = np.full(len(variance), 1 / len(variance))
    inverse = (1 / np.array(variance)) / (1 / np.array(variance)).sum()
    for w in (equal, inverse):
        axes[1].plot(fine, [noisy_error(s, variance, d, n, w) for s in fine], color="black", lw=0.8, ls=":")
    axes[1].axvline(crossover(variance, d, n), color="black", lw=0.8)
    axes[1].set(xlabel="distance of the noisy client's θ from the others'")
    axes[0].legend(ncols=2, loc="upper left", bbox_to_anchor=(0, 0.8))
    return axes


def steps_figure(rates, measured: dict[int, float]):
    """The shares of a quiet and of the noisy client, the last, against the number of local steps: law and simulation."""
    steps = np.unique(np.geomspace(1, 1e5, 60).astype(int))
    _, ax = plt.subplots(figsize=(WIDTH, 3.2))
    shares = effective_share(rates, steps)
    ax.plot(steps, shares[:, 0], color="#0072B2", ls="--", label="each quiet client, 1 − (1 − rate)ᴱ")
    ax.plot(steps, shares[:, -1], color="black", label="the noisy client, 1 − (1 − rate)ᴱ")
    ax.plot(list(measured), list(measured.values()), "o", color="#D55E00", label="the noisy client, simulated")
    ax.axhline(1 / len(rates), color="#6B6B6B", ls="--", lw=1)
    ax.annotate("equal weights", (1.2, 1 / len(rates)), xytext=(0, -12), textcoords="offset points", color="#6B6B6B")
    ax.set(xscale="log", yscale="log", xlabel="local steps E between two rounds", ylabel="share of the pull")
    ax.legend()
    return ax


def hospitals_figure(study: Study):
    """For every setting and hospital the change of loss from FedAvg to inverse variances, with intervals over patients."""
    settings = list(study.settings)
    _, ax = plt.subplots(figsize=(WIDTH, 4.6))
    marks = zip(NAMES, ("o", "s", "^", "D"), ("#0072B2", "#B87700", "#00805F", "#B5568C"), strict=True)
    for k, (name, marker, colour) in enumerate(marks):
        rows = np.arange(len(settings))
        change = ends(study.change("inverse variance", lambda a: a[..., 0], [j], hospitals=[k]) for j in rows)
        at = rows + 0.17 * (k - 1.5)
        error_bars(ax, at, *change, horizontal=True, color=colour, marker=marker, label=name)
    ax.axvline(0, color="black", lw=0.8)
    ax.set_yticks(
        range(len(settings)),
        [s.replace(" ", "\n", 1) if len(s) < 18 else s.replace(" corrupted", "\ncorrupted") for s in settings],
    )
    ax.invert_yaxis()
    ax.set(xlabel="log loss, inverse variances − FedAvg: left is a gain")
    ax.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.45, 1.2))
    return ax


def axis_figure(served: dict[str, np.ndarray]):
    """Mean excess against the Gini coefficient, one point per rule, the points of q-FFL joined."""
    middle = {name: values.mean(-1) for name, values in served.items()}
    joined = np.array([value for name, value in middle.items() if name != "IV"])
    _, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.plot(joined[:, 1], joined[:, 0], **method("q-FFL") | {"label": "q-FFL from q = −1 to ∞", "markevery": 1})
    style = method("inverse variance") | {"label": "inverse variance, own fits", "linestyle": "", "markevery": 1}
    ax.plot(middle["IV"][1:], middle["IV"][:1], **style | {"markersize": 9})
    places = {"-1": ((-6, -14), "right"), "0": ((7, 5), "left"), "1": ((8, -3), "left"), "∞": ((8, -3), "left")}
    for name, (place, side) in places.items():
        spot = middle[name][::-1]
        ax.annotate(f"q = {name.replace('-', '−')}", spot, xytext=place, ha=side, textcoords="offset points")
    ax.margins(0.15)
    ax.set(
        yscale="log",
        xlabel="Gini coefficient of the excess: left is more equal",
        ylabel="mean excess risk: down is better",
    )
    ax.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    ax.set_yticks([], minor=True)
    ax.legend(loc="upper right")
    return ax


def shares_figure(shares):
    """From `synthetic.shares_of_the_different`: the share of a client that is different but as quiet as the others: by the residuals of its own fit, and of the global model."""
    shifts, own, other = shares
    _, ax = plt.subplots(figsize=(WIDTH, 3.0))
    for values, name in ((own, "own fit"), (other, "global model")):
        style = method("inverse variance" if name == "own fit" else "q-FFL")
        middle, (low, high) = values.mean(1), np.quantile(values, [0.1, 0.9], axis=1)
        ax.plot(shifts, middle, **style | {"label": f"residuals of the {name}", "markevery": 1})
        ax.fill_between(shifts, low, high, color=style["color"], alpha=0.15, lw=0)
    ax.axhline(1 / 6, color="black", lw=0.8, ls=":")
    ax.set(xlabel="distance of the client's θ from the others'", ylabel="its share of the weight", ylim=(0, None))
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.42))
    return ax
