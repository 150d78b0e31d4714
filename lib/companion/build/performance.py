"""The performance page: the record of the benchmarks as strips on one axis, tables, and curves of growth. Nothing is timed here."""

import json
import math
import re
from pathlib import Path

from companion.evidence.cards import GUTTER, SAYS, Axis, environment
from companion.evidence.wording import describe_region, number

RECORDS = ("benchmarks/results.json", "benchmarks/gpu.json")
TITLES = {
    "step": "One optimizer step on a processor",
    "gpu": "One optimizer step on a GPU",
    "ensembles": "Ensembles of small trainings",
    "lazy_rows": "Embedding tables",
    "reactions": "Stochastic chemical kinetics",
    "streams": "Streams",
    "gcn": "Graph convolution",
    "secant": "Quasi-Newton methods",
}
#: What a ratio says of its target, in the strips' terms, and in words.
MET = {"supports": "met", "undecided": "met in the median", "contradicts": "missed"}
TEMPLATES = environment(Path(__file__).parent / "templates")


def read(root: Path) -> list[dict]:
    """The rows on record below `root`; measurements on a GPU replace the planned rows of that benchmark."""
    processor, gpu = (
        json.loads(path.read_text(encoding="utf-8")) if (path := root / name).is_file() else [] for name in RECORDS
    )
    if not gpu:
        return processor
    rows = [row for row in processor if row["benchmark"] != "gpu"]
    at = next((k for k, row in enumerate(processor) if row["benchmark"] == "gpu"), len(rows))
    return (
        rows[:at]
        + [{"benchmark": "gpu", "measure": "time of the peer / time of stepsize"} | row for row in gpu]
        + rows[at:]
    )


def region(target: str | float) -> tuple[float, float]:
    """What "≥ 4", "≤ 1.1", or the number 4, which is the least, allow."""
    found = re.fullmatch(r"\s*(≥|>=|≤|<=)?\s*([0-9.]+)\s*(?:×|x)?\s*", str(target))
    if found is None:
        raise ValueError(f"target {target!r} is no bound; write it as in '≥ 4' or '≤ 1.1'")
    bound = float(found[2])
    return (-math.inf, bound) if found[1] in ("≤", "<=") else (bound, math.inf)


def says(row: dict) -> str | None:
    """supports: all rounds within the target; undecided: the median, not all rounds; contradicts; None: not measured."""
    if row.get("ratio") is None:
        return None
    low, high = region(row["target"])
    if not low <= row["ratio"] <= high:
        return "contradicts"
    return "supports" if low <= row["low"] and row["high"] <= high else "undecided"


def _drawn(row: dict, axis: Axis | None) -> dict:
    """A row with its strip, where it is measured."""
    said = says(row)
    if said is None:
        return row | {"says": None, "why": row.get("missing") or row.get("error")}
    low, high = sorted((row["low"], row["high"]))
    sentence = (
        f"{row['work']}, against {row['peer']}: {row['measure']} is {number(row['ratio'])}, {number(low)} to {number(high)} "
        f"over the rounds; target {describe_region(region(row['target']))}; {MET[said]}."
    )
    drawn = {
        "says": said,
        "control": False,
        "interval": low < high,
        "beyond": [],
        "sentence": sentence,
        "sign": SAYS[said][0],
    }
    places = {"at": axis.place(row["ratio"]), "low": axis.place(low), "high": axis.place(high)}
    return (
        row
        | drawn
        | places
        | {"span": f"[{number(low)}, {number(high)}]", "estimate": number(row["ratio"]), "met": MET[said]}
    )


def strips(rows: list[dict]) -> list[dict]:
    """The rows of one benchmark, a group for each measure and target, on an axis of its own with the target as its band."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["measure"], region(row["target"])), []).append(row)
    drawn = []
    for (measure, bounds), mine in groups.items():
        values = [row[name] for row in mine if says(row) for name in ("ratio", "low", "high")]
        axis = Axis.of(values, bounds) if values else None
        group = {"measure": measure, "target": describe_region(bounds), "rows": [_drawn(row, axis) for row in mine]}
        if axis:
            edges = [axis.place(e) for e in bounds if GUTTER <= axis.place(e) <= 100 - GUTTER]
            finite = [e for e in bounds if math.isfinite(e)]
            group |= {
                "from": axis.place(bounds[0]), "to": axis.place(bounds[1]), "edges": edges, "ticks": axis.ticks(finite),
                "log": axis.log, "ends": (),
            }  # fmt: skip
        drawn.append(group | {"axis": axis})
    return drawn


def circumstances(rows: list[dict]) -> list[str]:
    """Where, when and with what the measured rows came about, each once."""
    lines = []
    for row in rows:
        if says(row):
            versions = ", ".join(f"{name} {v}" for name, v in (row.get("versions") or {}).items())
            threads = row.get("threads")
            on = f", {threads} thread{'s' * (threads > 1)}" if threads else ""
            clock = f", {row['clock']} time" if "clock" in row else ""
            lines.append(f"{row['date']}: {row['device']}{on}{clock}; {versions}.")
    return list(dict.fromkeys(lines))


def counted(rows: list[dict]) -> str:
    """How many rows meet their target, in words."""
    said = [says(row) for row in rows]
    return (
        f"{len(rows)} rows: {said.count('supports')} meet their target in every round, {said.count('undecided')} in the median "
        f"alone, {said.count('contradicts')} miss it, {said.count(None)} are not measured."
    )


def growth(rows: list[dict], path: Path) -> str:
    """The curves on record as a drawing, a panel each; returns the alternative text, '' without any curve."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "book", "svg.fonttype": "none"}
    curves = [row["curve"] for row in rows if says(row) and "curve" in row]
    figure, panels = plt.subplots(max(len(curves), 1), squeeze=False, figsize=(6.5, 0.2 + 2.7 * max(len(curves), 1)))
    words = []
    for axes, curve in zip(panels[:, 0], curves, strict=False):
        said = []
        for k, (name, points) in enumerate(curve["points"].items()):
            sizes, times = list(map(int, points)), list(points.values())
            axes.plot(sizes, times, marker="os^Dv"[k % 5], linestyle=("-", "--", ":", "-.")[k % 4], label=name)
            said.append(f"{name} {number(times[0])} to {number(times[-1])}")
        words.append(
            f"{curve['milliseconds']}, {min(sizes):,} to {max(sizes):,} {curve['size']}, in milliseconds: {', '.join(said)}."
        )
        axes.set(xscale="log", yscale="log", xlabel=curve["size"], ylabel="ms")
        axes.set_title(curve["milliseconds"], loc="left", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None}, transparent=True)
    plt.close(figure)
    return " ".join(["Logarithmic axes.", *words]) if curves else ""


def page(root: Path, target: Path) -> str:
    """MyST text of the page's tables; the curves go to growth.svg in `target`."""
    rows = read(root)
    alt = growth(rows, target / "growth.svg")
    named = {
        name: [row for row in rows if row["benchmark"] == name] for name in dict.fromkeys(r["benchmark"] for r in rows)
    }
    parts = [counted(rows) if rows else "There is no record; `make bench` makes one.", ""]
    for name, mine in named.items():
        body = TEMPLATES.get_template("performance.html").render(groups=strips(mine), circumstances=circumstances(mine))
        parts += [f"## {TITLES.get(name, name)}", "", "```{raw} html", body, "```", ""]
    if alt:
        caption = "Median time against the size of the problem, in the rounds of which the tables give the ratios."
        parts += [
            "## Growth",
            "",
            "```{figure} _generated/growth.svg",
            ":name: performance-fig-growth",
            f":alt: {alt}",
            "",
            caption,
            "```",
            "",
        ]
    return "\n".join(parts)
