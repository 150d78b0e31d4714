"""What the pages show of the ledger: every claim with its verdict, a picture of all of them, and the timings."""

import json
import re
from html import escape
from pathlib import Path

from companion.evidence.cards import VERDICT_SIGNS, badge
from companion.evidence.figures import VERDICT_COLOURS, house_style
from companion.evidence.verdict import VERDICTS
from companion.evidence.wording import describe_region, number

from .book import write_whole
from .ledger import records

UNTESTED = "not yet tested"
COLUMNS = ("claim", "the text says", "verdict")


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


def _evidence(e: dict) -> str:
    i = {k: float(e["interval"][k]) for k in ("estimate", "low", "high")}
    span = number(i["estimate"])
    if i["low"] != i["high"]:
        span += f" [{number(i['low'])}, {number(i['high'])}]"
    region = describe_region(tuple(map(float, e["region"])))
    how = f"{e['interval']['method']}, n = {e['interval']['n']}"
    return (
        f'<li class="says-{e["says"]}"><span title="{escape(how)}">{escape(e["measure"])}: <strong>{span}</strong></span>, '
        f"claimed {region}: {e['says']} <em>({escape(e['condition'])})</em></li>"
    )


def _tally(evidence: list[dict]) -> str:
    """'3 measurements: 1 supports, 2 contradict'."""
    says = [e["says"] for e in evidence]
    words = {"supports": ("supports", "support"), "contradicts": ("contradicts", "contradict")}
    found = ((n, *words.get(s, (s, s))) for s in ("supports", "contradicts", "undecided") if (n := says.count(s)))
    parts = [f"{n} {one if n == 1 else many}" for n, one, many in found]
    return f"{len(says)} measurement{'s' * (len(says) > 1)}: {', '.join(parts)}"


def row(entry: dict, gate_open: bool) -> str:
    """One claim as a table row, linked to its card; the evidence unfolds."""
    if entry["verdict"] is None:
        link, verdict, rest = entry["claim"], f'<span class="verdict verdict-untested">{UNTESTED}</span>', ""
    else:
        link = f'<a href="{entry["chapter"]}.html#claim-{entry["claim"]}">{entry["claim"]}</a>'
        verdict, rest = badge(entry["verdict"]), ""
        if entry["conditions"]:
            rest += f'<br><span class="only-if">… {escape("; ".join(entry["conditions"]))}</span>'
        items = "".join(map(_evidence, entry["evidence"]))
        rest += f"<details><summary>{_tally(entry['evidence'])}</summary><ul>{items}</ul></details>"
        if gate_open and entry["published"] != entry["verdict"]:
            verdict += (
                f'<br><span class="differs">differs from the published verdict: {entry["published"] or "none"}</span>'
            )
    return f"<tr><td>{link}</td><td>{escape(entry['text'])}{rest}</td><td>{verdict}</td></tr>"


def table(book, rows: list[dict]) -> str:
    """The ledger: one heading and one table per chapter, as MyST text with inline HTML."""
    parts = []
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    for chapter in dict.fromkeys(r["chapter"] for r in rows):
        mine = [r for r in rows if r["chapter"] == chapter]
        tested = any(r["verdict"] for r in mine)
        name = f"[{mine[0]['title']}]({chapter}.ipynb)" if tested else mine[0]["title"]
        body = "".join(row(r, book.profile == "published") for r in mine)
        parts.append(
            f"## {mine[0]['title']}\n\nChapter: {name}{'' if tested else f' ({UNTESTED})'}\n\n"
            f'<div class="table-scroll ledger-table" tabindex="0" role="region" aria-label="Claims: {escape(mine[0]["title"])}">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n"
        )
    return "\n".join(parts)


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
    """Stacked bars, one per chapter; returns the alternative text."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    house_style()
    chapters = list(dict.fromkeys(r["chapter"] for r in rows))
    figure, axes = plt.subplots(figsize=(6.8, 1.1 + 0.36 * len(chapters)))
    seen = set()
    for y, chapter in enumerate(chapters):
        left = 0
        for verdict, n in counts([r for r in rows if r["chapter"] == chapter]).items():
            colour = VERDICT_COLOURS.get(verdict, "#D9D9D9")
            label = None if verdict in seen else f"{VERDICT_SIGNS.get(verdict, '·')} {verdict}"
            axes.barh(y, n, left=left, color=colour, edgecolor="white", height=0.72, label=label)
            ink = "black" if verdict == UNTESTED else "white"
            axes.text(
                left + n / 2, y, f"{VERDICT_SIGNS.get(verdict, '')} {n}".strip(), ha="center", va="center", color=ink
            )
            left, seen = left + n, seen | {verdict}
    titles = {r["chapter"]: r["title"] for r in rows}
    axes.set_yticks(
        range(len(chapters)), [titles[c] if len(titles[c]) < 34 else titles[c].partition(":")[0] for c in chapters]
    )
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("claims")
    figure.legend(loc="outside upper center", ncols=5, columnspacing=1, handlelength=1, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
    each = "; ".join(
        f"{titles[c]}: {', '.join(f'{n} {v}' for v, n in counts([r for r in rows if r['chapter'] == c]).items())}"
        for c in chapters
    )
    return f"Horizontal bars, one per chapter, divided by verdict. {sentence(rows)} {each}."


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
