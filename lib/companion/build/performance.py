"""The performance page: the record of the benchmarks as strips on one axis, tables, and curves of growth. Nothing is timed here."""

import json
import math
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
    """The rows on record below `root`; those on a GPU once for each card with a report of benchmarks/gpu.py."""
    rows, reports = (
        json.loads(path.read_text(encoding="utf-8")) if (path := root / name).is_file() else [] for name in RECORDS
    )
    filled = []
    for row in rows:
        cards = [on_gpu(row, report) for report in reports] if row["benchmark"] == "gpu" else []
        filled += cards or [row]
    return filled


def on_gpu(row: dict, report: dict) -> dict:
    """A planned row with what the report has for it: wall time for a small network, the device's own for the others.

    The report has the least and the largest time of each program: the least ratio is that of the upper's least and the lower's
    largest.
    """
    work, rule, peer = row["key"].split(", ", 2)
    row = row | {"work": f"{row['work']}, {report['card']}"}
    kind, part = "wall" if work == "small" else "device", "compile" if peer == "torch.compile" else "time"
    absent = {"error": f"no row '{rule}, {work}' in the report"}
    entry = next((e for e in report["rows"] if (e["part"], e["name"]) == (part, f"{rule}, {work}")), absent)
    if "error" in entry:
        return row | {"missing": entry["error"]}
    ours = entry["times"]["ours"]
    if peer == "floor":
        above, below = ours["device"], [ours["device"][0] / ours["floors"]] * 3
    else:
        above, below = entry["times"][peer][kind], ours[kind]
    ratios = {"ratio": above[0] / below[0], "low": above[1] / below[2], "high": above[2] / below[1]}
    return (
        row | ratios | {"device": report["card"], "date": report["date"], "versions": report["versions"], "clock": kind}
    )


def region(target: str) -> tuple[float, float]:
    """What "≥ 4" or "≤ 1.1" allows."""
    sign, _, bound = target.partition(" ")
    if sign not in ("≥", "≤"):
        raise ValueError(f"target {target!r} is no bound; write it as in '≥ 4' or '≤ 1.1'")
    return (float(bound), math.inf) if sign == "≥" else (-math.inf, float(bound))


def says(row: dict) -> str | None:
    """supports: all rounds within the target; undecided: the median, not all rounds; contradicts; None: not measured."""
    if row.get("ratio") is None:
        return None
    low, high = region(row["target"])
    if not low <= row["ratio"] <= high:
        return "contradicts"
    return "supports" if low <= row["low"] and row["high"] <= high else "undecided"


def _drawn(row: dict, axis: Axis) -> dict:
    """A measured row with its strip, on which its own target is the band."""
    bounds, said = region(row["target"]), says(row)
    value, low, high = (number(row[name]) for name in ("ratio", "low", "high"))
    sentence = (
        f"{row['work']}, against {row['peer']}: {row['measure']} is {value}, {low} to {high} over the rounds; "
        f"target {describe_region(bounds)}; {MET[said]}."
    )
    return {
        "work": row["work"], "peer": row["peer"], "target": row["target"], "met": MET[said], "sentence": sentence,
        "says": said, "sign": SAYS[said][0], "estimate": value, "span": f"[{low}, {high}]", "control": False,
        "at": axis.place(row["ratio"]), "low": axis.place(row["low"]), "high": axis.place(row["high"]),
        "interval": row["low"] < row["high"], "beyond": [], "from": axis.place(bounds[0]), "to": axis.place(bounds[1]),
        "edges": [axis.place(e) for e in bounds if GUTTER <= axis.place(e) <= 100 - GUTTER],
    }  # fmt: skip


def strips(rows: list[dict]) -> list[dict]:
    """The measured rows of one benchmark, those of one measure on one axis."""
    drawn = []
    for measure in dict.fromkeys(row["measure"] for row in rows if says(row)):
        mine = [row for row in rows if says(row) and row["measure"] == measure]
        bounds = [e for row in mine for e in region(row["target"]) if math.isfinite(e)]
        values = [row[name] for row in mine for name in ("ratio", "low", "high")]
        axis = Axis.of(values + bounds, (1.0, math.inf))  # 1, as fast, is on every axis
        shown = {"ticks": axis.ticks(set(bounds) if len(set(bounds)) == 1 else ()), "log": axis.log, "ends": ()}
        drawn.append({"measure": measure, "rows": [_drawn(row, axis) for row in mine]} | shown)
    return drawn


def unmeasured(rows: list[dict]) -> dict[str, list[str]]:
    """Why rows were not measured, '' where nobody tried -> the rows in words."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if not says(row):
            words = f"{row['work']}, against {row['peer']} (target {row['target']})"
            reasons.setdefault(row.get("missing", ""), []).append(words)
    return reasons


def circumstances(rows: list[dict]) -> list[str]:
    """Where, when and with what the measured rows came about, each once."""
    lines = []
    for row in rows:
        if says(row):
            versions = ", ".join(f"{name} {v}" for name, v in (row.get("versions") or {}).items())
            threads = row.get("threads")
            on = f", {threads} thread{'s' * (threads > 1)}" if threads else ""
            clock = f", {row['clock']} time" if "clock" in row else ""
            load = f", load average {row['load']}" if "load" in row else ""
            lines.append(f"{row['date']}: {row['device']}{on}{clock}{load}; {versions}.")
    return list(dict.fromkeys(lines))


def counted(rows: list[dict]) -> str:
    """How many rows meet their target, in words."""
    said = [says(row) for row in rows]
    return (
        f"{len(rows)} rows: {said.count('supports')} meet their target in every round, {said.count('undecided')} in the median "
        f"alone, {said.count('contradicts')} miss it, {said.count(None)} without a measurement."
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
        body = TEMPLATES.get_template("performance.html").render(
            groups=strips(mine), unmeasured=unmeasured(mine), circumstances=circumstances(mine)
        )
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
