"""The claims of the book and their published verdicts; what the executed chapters say; the gate between the two."""

import json
from pathlib import Path

from companion.evidence.wording import describe_region, number
from stepsize.errors import EvidenceError


def records(book, executed: Path) -> dict[str, dict]:
    """chapter -> record of its run, for the chapters of the book."""
    return {name: json.loads((executed / f"{name}.json").read_text(encoding="utf-8")) for name in book.chapters}


def computed(book, executed: Path) -> dict[str, dict]:
    """claim id -> what the run says of it."""
    return {v["claim"]: v for record in records(book, executed).values() for v in record["verdicts"]}


def numbers(verdict: dict) -> str:
    """The evidence of a verdict in one line."""
    return "; ".join(
        f"{e['measure']} = {number(float(i['estimate']))} [{number(float(i['low']))}, {number(float(i['high']))}]"
        f", claimed {describe_region(tuple(map(float, e['region'])))}, {e['says']} ({e['condition']})"
        for e in verdict["evidence"]
        for i in [e["interval"]]
    )


def differences(book, executed: Path) -> list[str]:
    """Where the run and chapters/claims.yml disagree: one line per claim, with both verdicts and the numbers."""
    claims, done, found = book.claims(), computed(book, executed), []
    for chapter in book.chapters:
        for claim, entry in claims.get(chapter, {}).items():
            published = entry.get("verdict")
            if claim not in done:
                found.append(
                    f"claim {claim} of {chapter}: published {published or 'nothing'}, the chapter computes no verdict"
                )
            elif done[claim]["verdict"] != published:
                found.append(
                    f"claim {claim} of {chapter}: published {published or 'nothing (null)'}, "
                    f"computed {done[claim]['verdict']}: {numbers(done[claim])}"
                )
    return found


def compare(one: Path, two: Path) -> list[str]:
    """Differences between two executed trees: verdict records and glued values must be equal to the last digit."""
    names = sorted({p.name for folder in (one, two) for p in folder.glob("*.json")})
    if not names:
        raise EvidenceError(f"{one} holds no executed chapter; run make book first")
    found = []
    for name in names:
        if not ((one / name).is_file() and (two / name).is_file()):
            found.append(f"{name.removesuffix('.json')}: only in one of the two")
            continue
        a, b = (json.loads((folder / name).read_text(encoding="utf-8")) for folder in (one, two))
        left, right = ({v["claim"]: v for v in r["verdicts"]} for r in (a, b))
        for kind, x, y in (("claim", left, right), ("glued", a["glued"], b["glued"])):
            for key in dict.fromkeys([*x, *y]):
                if x.get(key) != y.get(key):
                    found.append(
                        f"{name.removesuffix('.json')}, {kind} {key}: {_short(x.get(key))} != {_short(y.get(key))}"
                    )
    return found


def _short(value) -> str:
    text = numbers(value) if isinstance(value, dict) and "evidence" in value else str(value)
    return text if len(text) < 400 else text[:400] + "…"
