"""What the watch saw of the transformer: medians as tables, and one panel for each kind of parameter."""

import pandas as pd

from companion.evidence.figures import WIDTH, plt
from stepsize.watch import QUANTITIES, Watch

from .transformer import Training

_KINDS = {
    "query and key": ("query", "key"),
    "value and output": ("value", "output"),
    "MLP": ("up", "down"),
    "layer norms, gains": ("norm_attention", "norm_mlp"),
}


def medians(seen: Watch, quantity: str) -> pd.DataFrame:
    """The median of a quantity over the coordinates of every matrix: steps are rows, matrices columns."""
    middle = len(seen.levels) // 2
    rows = [row for row in seen.rows if "norm" not in row.parameter]
    table = pd.DataFrame(rows).pivot(index="step", columns="parameter", values=quantity)
    return table[list(dict.fromkeys(row.parameter for row in rows))].map(lambda quantiles: quantiles[middle])


def spread(table: pd.DataFrame) -> pd.Series:
    """The largest over the smallest of the medians, step by step."""
    return table.max(axis=1) / table.min(axis=1)


def _styles():
    """Title of a panel -> parameter -> properties of its line: a colour for each kind, dashes in the second layer."""
    ends = ("characters", "positions", "head")
    panels = {"embeddings and head": {f"{name}.weight": {"label": name} for name in ends}}
    for title, kinds in _KINDS.items():
        panels[title] = {
            f"layers.{layer}.{kind}.weight": {
                "label": f"{kind.replace('norm_', 'before ')} {layer + 1}",
                "color": f"C{k}",
                "ls": ("-", "--")[layer],
            }
            for k, kind in enumerate(kinds)
            for layer in range(2)
        }
    return panels


def layers_figure(training: Training, quantity: str, pairs: float | None = None):
    """Five panels of medians over time. In the sixth the loss and that of `pairs`, where given, else the spread."""
    figure, panels = plt.subplots(3, 2, figsize=(WIDTH, 8), sharex=True)
    *five, last = panels.ravel()
    for axes in five[1:]:
        axes.sharey(five[0])
    for axes, (title, styles) in zip(five, _styles().items(), strict=True):
        training.seen.plot(axes, quantity, styles).set(title=title, xlabel="", ylabel="")
        axes.legend(ncols=2, fontsize="x-small")
    if pairs:
        last.plot(pd.Series(training.losses).rolling(20, min_periods=1).mean(), color="black", label="transformer")
        last.axhline(pairs, color="black", ls=":", lw=1, label="pairs of characters")
        last.set(title="loss, nats per character")
    else:
        for name, ls in (("change", "-"), ("rate", "--")):
            last.plot(spread(medians(training.seen, name)), color="black", ls=ls, label=QUANTITIES[name])
        last.set(title="matrices: largest / smallest", yscale="log")
    last.legend(fontsize="x-small")
    figure.supxlabel("step", fontsize="medium")
    figure.supylabel(f"median {QUANTITIES[quantity]}", fontsize="medium")
    return panels
