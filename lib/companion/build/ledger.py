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


def span(evidence: dict) -> str:
    """'0.79 [0.7, 0.86]', or the estimate alone where it carries no interval."""
    estimate, low, high = (float(evidence["interval"][key]) for key in ("estimate", "low", "high"))
    return number(estimate) + (f" [{number(low)}, {number(high)}]" if low != high else "")


def numbers(verdict: dict) -> str:
    """The evidence of a verdict in one line."""
    return "; ".join(
        f"{e['measure']} = {span(e)}, claimed {describe_region(tuple(map(float, e['region'])))}, {e['says']} ({e['condition']})"
        for e in verdict["evidence"]
    )


def lines(book, chapter: str, executed: Path) -> list[str]:
    """What one executed chapter says of its claims, a line each, marked where it differs from claims.yml."""
    record = json.loads((executed / f"{chapter}.json").read_text(encoding="utf-8"))
    claims = book.claims().get(chapter, {})
    said = {v["claim"]: v for v in record["verdicts"]}
    texts = []
    for claim in dict.fromkeys([*claims, *said]):
        if claim not in said:
            texts.append(f"{claim}: no verdict")
            continue
        published = claims.get(claim, {}).get("verdict")
        differs = book.profile == "published" and said[claim]["verdict"] != published
        spans = dict.fromkeys(map(span, said[claim]["evidence"]))
        texts.append(
            f"{claim}: {said[claim]['verdict']}, {'; '.join(spans)}"
            + (f"   <- claims.yml has {published or 'no verdict'}" if differs else "")
        )
    return texts


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
