"""What the pages show of the ledger: every claim with its verdict and its evidence, a picture of all of them, and the timings."""

import json
import math
import re
from pathlib import Path

from companion.evidence.cards import DOTS, VERDICT_SIGNS, environment
from companion.evidence.claims import SUBJECTS, VERDICTS, Claim
from companion.evidence.wording import apart

from . import difficulties, performance, replication
from .book import write_whole
from .ledger import records

UNTESTED = "not yet tested"
VERDICT_COLOURS = {"holds": "#00805F", "in part": "#B87700", "fails": "#C2410C", "open": "#6B6B6B"}
COLOURS = VERDICT_COLOURS | {UNTESTED: "#D9D9D9"}
VERBS = {"holds": ("holds", "hold"), "in part": ("holds in part", "hold in part"), "fails": ("fails", "fail"), "open": ("stays open", "stay open"), UNTESTED: (f"is {UNTESTED}", f"are {UNTESTED}")}  # fmt: skip

TEMPLATES = environment(Path(__file__).parent / "templates")
TEMPLATES.globals |= {"signs": VERDICT_SIGNS, "dot_signs": DOTS, "verdicts": VERDICTS, "subjects": SUBJECTS, "untested": UNTESTED}  # fmt: skip


def title(book, chapter: str) -> str:
    """The chapter's heading, or its name in words while it is unwritten."""
    path = book.root / "chapters" / f"{chapter}.md"
    if path.is_file() and (found := re.search(r"^# +(.+)$", path.read_text(encoding="utf-8-sig"), re.MULTILINE)):
        return found[1].strip()
    return chapter.replace("_", " ").capitalize()


def entries(book, records: dict[str, dict]) -> list[dict]:
    """Every claim of the book in the order of its chapters, then those of unwritten chapters.

    An entry is the record of the verdict (`Verdict.record`, with verdict None where the chapter computes none), the title of the
    chapter, the published verdict, and `replication`: {runs, same, others, fragile} or None.
    """
    claims, replications = book.claims(), replication.read(book.root)
    order = [c for c in records if c in claims] + [c for c in claims if c not in records]
    rows = []
    for chapter in order:
        done = {v["claim"]: v for v in records.get(chapter, {}).get("verdicts", [])}
        for name, claim in claims[chapter].items():
            record = done.get(name) or _untested(claim)
            same = replication.replicated(replications, record) if record["verdict"] else None
            rows.append(record | {"title": title(book, chapter), "published": claim.verdict, "replication": same})
    return rows


def _untested(claim: Claim) -> dict:
    names = (
        "chapter", "text", "phrase", "paragraph", "ours", "reading_of", "part_of", "quantifier", "subject", "setting", "test", "redo",
    )  # fmt: skip
    registered = {"claim": claim.id} | {name: getattr(claim, name) for name in names}
    return registered | {
        "verdict": None, "computed": None, "condition": "", "boundary": None, "margin": None, "shares": {}, "evidence": [],
    }  # fmt: skip


def counts(rows: list[dict]) -> dict[str, int]:
    """verdict -> how many claims."""
    return {v: n for v in (*VERDICTS, UNTESTED) if (n := sum((r["verdict"] or UNTESTED) == v for r in rows))}


def count(n: int, verdict: str) -> str:
    """'3 hold in part'"""
    return f"{n} {VERBS[verdict][n != 1]}"


def support(rows: list[dict], *settings: str) -> tuple[int, int]:
    """(how many support, of how many) measurements in these settings; an identity is no measurement."""
    says = [e["says"] for r in rows for e in r["evidence"] if e["setting"] in settings and e["kind"] != "identity"]
    return says.count("supports"), len(says)


def sentence(rows: list[dict]) -> str:
    """The counts in words."""
    if not rows:
        return "There are no claims yet."
    found = [count(n, v) for v, n in counts(rows).items()]
    measured = support(rows, "stated", "beyond", "control")[1]
    kept, of = support([r for r in rows if r["verdict"] == "holds"], "beyond")
    beyond = f" Claims that hold were measured in {of} other situations too: {kept} support them." if of else ""
    return f"{len(rows)} claims, {measured} measurements. In the situations that the text describes, {', '.join(found)}.{beyond}"


def by_subject(rows: list[dict]) -> list[dict]:
    """For what a claim speaks of: the claims, their verdicts, and how often measurements support them."""
    table = []
    for subject in SUBJECTS:
        mine = [r for r in rows if r["subject"] == subject]
        if mine:
            table.append(
                {
                    "subject": subject,
                    "claims": len(mine),
                    "counts": counts(mine),
                    "stated": support(mine, "stated"),
                    "beyond": support(mine, "beyond"),
                }
            )
    return table


def identities_alone(rows: list[dict]) -> list[dict]:
    """The claims whose verdict rests on no measurement."""
    stated = {r["claim"]: {e["kind"] for e in r["evidence"] if e["setting"] == "stated"} for r in rows}
    return [r for r in rows if stated[r["claim"]] == {"identity"}]


def tightness(record: dict) -> float:
    """The margin as a number to sort by: the logarithm of its factor, or the move relative to the larger value; inf without one."""
    m = record["margin"]
    if m is None:
        return math.inf
    edge, moved = float(m["edge"]), float(m["moved_to"])
    return math.log(m["factor"]) if m["factor"] else abs(moved - edge) / max(abs(moved), abs(edge), 1e-300)


def in_short(record: dict) -> str:
    """The margin in a few signs: a factor, or the edge and where it must move."""
    m = record["margin"]
    if m is None:
        return "–"
    edge, moved = apart(float(m["edge"]), float(m["moved_to"]))
    if edge == moved:
        return "at the edge"
    return f"× {apart(m['factor'], 1.0)[0]}" if m["factor"] else f"{edge} → {moved}"


def chapters(rows: list[dict]) -> list[tuple[str, list[dict]]]:
    """(chapter, its claims), in the order of the rows."""
    return [(c, [r for r in rows if r["chapter"] == c]) for c in dict.fromkeys(r["chapter"] for r in rows)]


def choices(rows: list[dict]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """What the ledger is filtered by: the name, its label, and (value, words) to choose from."""
    return [
        ("verdict", "verdict", [(v, f"{v} ({n})") for v, n in counts(rows).items()]),
        ("chapter", "chapter", [(c, mine[0]["title"]) for c, mine in chapters(rows)]),
        ("subject", "about the", [(s["subject"], f"{s['subject']} ({s['claims']})") for s in by_subject(rows)]),
    ]


def ranks(rows: list[dict]) -> dict[str, dict[str, int]]:
    """order -> claim -> its place; a claim without the property in question comes last."""
    verdicts = [*VERDICTS, None]
    keys = {
        "verdict": lambda r: verdicts.index(r["verdict"]),
        "reach": lambda r: b["reaches"] / b["of"] if (b := r["boundary"]) and b["of"] else math.inf,
        "margin": tightness,
        "same": lambda r: s["same"] / s["runs"] if (s := r["replication"]) else math.inf,
    }
    return {name: {r["claim"]: i for i, r in enumerate(sorted(rows, key=key))} for name, key in keys.items()}


TEMPLATES.globals |= {f.__name__: f for f in (by_subject, chapters, choices, count, counts, identities_alone, in_short, ranks)}  # fmt: skip


def html(name: str, rows: list[dict], **more) -> str:
    """A template of the ledger as MyST text."""
    body = TEMPLATES.get_template(name).render(rows=rows, **more)
    return f"```{{raw}} html\n{body}\n```\n"


def picture(rows: list[dict], path: Path) -> str:
    """The tiles of the front page as a drawing, a row for every chapter; returns the alternative text."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Polygon

    plt.rcParams |= {"svg.hashsalt": "book", "svg.fonttype": "none"}

    groups = chapters(rows)
    most = max((len(mine) for _, mine in groups), default=1)
    left, pitch, height = 2.9, 0.82, 0.5  # inches: of the titles, from tile to tile, from row to row
    figure = plt.figure(figsize=(left + pitch * most, height * (len(groups) + 1)), layout="none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, left + pitch * most), ylim=(height * (len(groups) + 1), 0))
    axes.axis("off")

    def tile(x, y, verdict):
        colour, side = COLOURS.get(verdict, "#6B6B6B"), 0.3
        filled = {"holds": side, "in part": side / 2}.get(verdict, 0)
        for width, fill in ((side, "white"), (filled, colour)):
            axes.add_patch(Polygon([(x, y), (x + width, y), (x + width, y + side), (x, y + side)], fc=fill, ec=colour))
        sign = "" if verdict == "in part" else VERDICT_SIGNS.get(verdict, "·")
        ink = "white" if verdict == "holds" else colour
        axes.text(x + side / 2, y + side / 2, sign, ha="center", va="center", color=ink, size=11, weight="bold")

    x = 0.1
    for verdict, n in counts(rows).items():
        tile(x, 0.1, verdict)
        axes.text(x + 0.38, 0.25, count(n, verdict), va="center", size=9)
        x += 1.55
    for y, (_, mine) in enumerate(groups, 1):
        name = mine[0]["title"] if len(mine[0]["title"]) < 34 else mine[0]["title"].partition(":")[0]
        axes.text(0.1, height * y + 0.25, name, va="center", size=9)
        axes.axhline(height * y, color="#DFDCD4", lw=0.8)
        for k, r in enumerate(mine):
            x = left + pitch * k
            tile(x, height * y + 0.1, r["verdict"])
            axes.text(x + 0.36, height * y + 0.1, r["claim"], va="top", size=7.5, color="#57606A")
            says = sorted((e["says"] for e in r["evidence"] if e["setting"] == "beyond"), key=list(DOTS).index)
            for d, said in enumerate(says):
                colour = COLOURS[{"supports": "holds", "contradicts": "fails", "undecided": "open"}[said]]
                axes.plot(
                    x + 0.39 + 0.075 * (d % 5), height * y + 0.29 + 0.075 * (d // 5), "D" if said == "undecided" else "o",
                    ms=3.4, mec=colour, mfc=colour if said == "supports" else "white", mew=0.8,
                )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
    each = "; ".join(
        f"{mine[0]['title']}: {', '.join(f'{n} {v}' for v, n in counts(mine).items())}" for _, mine in groups
    )
    return (
        f"A row of tiles for every chapter, a tile for every claim, marked with its verdict. {sentence(rows)} {each}."
    )


def timings(book, records: dict[str, dict]) -> str:
    """Seconds per chapter and its slowest cell, on the machine that built the site."""
    lines = ["| chapter | seconds | slowest cell (line) | its seconds |", "|:--|--:|--:|--:|"]
    for name, record in records.items():
        line, slowest = max(record["cells"], key=lambda c: c[1], default=(0, 0.0))
        lines.append(f"| [{title(book, name)}]({name}.ipynb) | {record['seconds']:.1f} | {line} | {slowest:.1f} |")
    lines.append(f"| **all** | **{sum(r['seconds'] for r in records.values()):.1f}** | | |")
    return "\n".join(lines) + "\n"


def write(book, executed: Path, target: Path) -> None:
    """What the pages take from the ledger of the runs in `executed`: in `target`, summary.txt (the tiles), subjects.txt, ledger.txt,
    counts.txt, timings.txt, difficulties.txt, verdicts.svg with its alternative text in verdicts.txt, verdicts.json; and of the benchmarks'
    record performance.txt and growth.svg."""
    runs = records(book, executed)
    rows = entries(book, runs)
    write_whole(target / "verdicts.txt", picture(rows, target / "verdicts.svg") + "\n")
    write_whole(target / "summary.txt", html("tiles.html", rows))
    write_whole(target / "subjects.txt", html("subjects.html", rows))
    write_whole(target / "ledger.txt", html("ledger.html", rows, gate=book.profile == "published"))
    write_whole(target / "counts.txt", sentence(rows) + "\n")
    write_whole(target / "timings.txt", timings(book, runs))
    write_whole(target / "difficulties.txt", difficulties.page(runs))
    write_whole(target / "performance.txt", performance.page(book.root, target))
    public = {"profile": book.profile, "counts": counts(rows), "claims": rows}
    write_whole(target / "verdicts.json", json.dumps(public, ensure_ascii=False, indent=1) + "\n")
