"""What the pages show of the ledger: every claim with its verdict, a picture of all of them, and the timings."""

import json
import re
from itertools import accumulate
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from companion.evidence.cards import VERDICT_SIGNS, badge
from companion.evidence.verdict import VERDICTS
from companion.evidence.wording import describe_region

from .book import write_whole
from .ledger import records, span

UNTESTED = "not yet tested"
VERDICT_COLOURS = {"holds": "#00805F", "holds only if": "#B87700", "fails": "#C2410C", "open": "#6B6B6B"}
COLOURS = VERDICT_COLOURS | {UNTESTED: "#D9D9D9"}


def tally(evidence: list[dict]) -> str:
    """'3 measurements: 1 supports, 2 contradict'."""
    says = [e["says"] for e in evidence]
    words = {"supports": ("supports", "support"), "contradicts": ("contradicts", "contradict")}
    numbers = ((n, *words.get(s, (s, s))) for s in ("supports", "contradicts", "undecided") if (n := says.count(s)))
    parts = [f"{n} {one if n == 1 else many}" for n, one, many in numbers]
    return f"{len(says)} measurement{'s' * (len(says) > 1)}: {', '.join(parts)}"


#: The texts of the pages stand beside this file.
TEMPLATES = Environment(loader=PackageLoader("companion.build", ""), autoescape=True, undefined=StrictUndefined)
TEMPLATES.filters |= {
    "badge": lambda verdict: Markup(badge(verdict)),
    "region": lambda region: describe_region(tuple(map(float, region))),
    "span": span,
    "tally": tally,
}


def title(book, chapter: str) -> str:
    """The chapter's heading, or its name in words while it is unwritten."""
    path = book.root / "chapters" / f"{chapter}.md"
    if path.is_file() and (found := re.search(r"^# +(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)):
        return found[1].strip()
    return chapter.replace("_", " ").capitalize()


def entries(book, records: dict[str, dict]) -> list[dict]:
    """Every claim of the book in the order of its chapters, then those of unwritten chapters."""
    claims = book.claims()
    order = [c for c in records if c in claims] + [c for c in claims if c not in records]
    rows = []
    for chapter in order:
        done = {v["claim"]: v for v in records.get(chapter, {}).get("verdicts", [])}
        for claim, entry in claims[chapter].items():
            found = done.get(claim)
            rows.append(
                {
                    "claim": claim,
                    "chapter": chapter,
                    "title": title(book, chapter),
                    "text": entry["text"],
                    "verdict": found["verdict"] if found else None,
                    "published": entry.get("verdict"),
                    "conditions": found["conditions"] if found else [],
                    "evidence": found["evidence"] if found else [],
                }
            )
    return rows


def table(book, rows: list[dict]) -> str:
    """The ledger: one heading and one table per chapter, as MyST text with inline HTML."""
    template = TEMPLATES.get_template("ledger.html")
    parts = []
    for chapter in dict.fromkeys(r["chapter"] for r in rows):
        mine = [r for r in rows if r["chapter"] == chapter]
        parts.append(
            template.render(
                chapter=chapter,
                title=mine[0]["title"],
                rows=mine,
                tested=any(r["verdict"] for r in mine),
                untested=UNTESTED,
                gate_open=book.profile == "published",
            )
        )
    return "\n\n".join(parts) + "\n"


def counts(rows: list[dict]) -> dict[str, int]:
    """verdict -> how many claims."""
    return {v: n for v in (*VERDICTS, UNTESTED) if (n := sum((r["verdict"] or UNTESTED) == v for r in rows))}


def sentence(rows: list[dict]) -> str:
    """The counts in words."""
    verbs = {
        "holds": "hold",
        "holds only if": "hold only under a stated condition",
        "fails": "fail",
        "open": "stay open",
    }
    parts = [f"{n} {verbs.get(v, f'are {v}')}" for v, n in counts(rows).items()]
    return f"Of {len(rows)} claims, {', '.join(parts)}." if rows else "There are no claims yet."


def picture(rows: list[dict], path: Path) -> str:
    """Stacked bars, one per chapter, as an SVG file; returns the alternative text."""
    titles = {r["chapter"]: r["title"] for r in rows}
    each = {chapter: counts([r for r in rows if r["chapter"] == chapter]) for chapter in titles}
    bars = []
    for chapter, verdicts in each.items():
        long = len(titles[chapter]) >= 34
        bars.append({"title": titles[chapter].partition(":")[0] if long else titles[chapter], "parts": []})
        for (verdict, n), start in zip(verdicts.items(), accumulate(verdicts.values(), initial=0), strict=False):
            label = f"{VERDICT_SIGNS.get(verdict, '')} {n}".strip()
            ink = "#000" if verdict == UNTESTED else "#fff"
            bars[-1]["parts"].append({"start": start, "n": n, "colour": COLOURS[verdict], "ink": ink, "label": label})
        bars[-1]["total"] = sum(verdicts.values())
    most = max((bar["total"] for bar in bars), default=1)
    kinds = [{"name": v, "colour": COLOURS[v], "sign": VERDICT_SIGNS.get(v, "·")} for v in counts(rows)]
    svg = TEMPLATES.get_template("verdicts.svg").render(bars=bars, kinds=kinds, ticks=range(0, most + 1, 2))
    write_whole(path, svg + "\n")
    words = "; ".join(f"{titles[c]}: {', '.join(f'{n} {v}' for v, n in each[c].items())}" for c in each)
    return f"Horizontal bars, one per chapter, divided by verdict. {sentence(rows)} {words}."


def timings(book, records: dict[str, dict]) -> str:
    """Seconds per chapter and its slowest cell, on the machine that built the site."""
    lines = ["| chapter | seconds | slowest cell (line) | its seconds |", "|:--|--:|--:|--:|"]
    for name, record in records.items():
        line, slowest = max(record["cells"], key=lambda c: c[1], default=(0, 0.0))
        lines.append(f"| [{title(book, name)}]({name}.ipynb) | {record['seconds']:.1f} | {line} | {slowest:.1f} |")
    lines.append(f"| **all** | **{sum(r['seconds'] for r in records.values()):.1f}** | | |")
    return "\n".join(lines) + "\n"


def write(book, executed: Path, target: Path) -> None:
    """What the pages take from the ledger of the runs in `executed`: ledger.txt, summary.txt, counts.txt, timings.txt, verdicts.svg and verdicts.json in `target`."""
    runs = records(book, executed)
    rows = entries(book, runs)
    alt = picture(rows, target / "verdicts.svg").replace("\n", " ")
    write_whole(target / "ledger.txt", table(book, rows))
    write_whole(target / "counts.txt", sentence(rows) + "\n")
    write_whole(
        target / "summary.txt",
        f"```{{figure}} _generated/verdicts.svg\n:alt: {alt}\n:class: verdict-summary\n\n"
        f"The verdicts of the book, chapter by chapter. {sentence(rows)}\n```\n",
    )
    write_whole(target / "timings.txt", timings(book, runs))
    public = {"profile": book.profile, "counts": counts(rows), "claims": rows}
    write_whole(target / "verdicts.json", json.dumps(public, ensure_ascii=False, indent=1) + "\n")
