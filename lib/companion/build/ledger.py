"""The claims of the book and their published verdicts; what the executed chapters say; the gate between the two."""

import json
from pathlib import Path

from companion.evidence.claims import matches
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
    """The evidence of a verdict, row by row, in one line."""
    return "; ".join(
        f"{e['measure']} = {span(e)}, claimed {describe_region(tuple(map(float, e['region'])))}, "
        f"{e['says']} ({e['setting']}: {e['condition']})"
        for e in verdict["evidence"]
    )


def lines(book, chapter: str, executed: Path) -> list[str]:
    """What one executed chapter says of its claims, a line each with its stated rows, marked where it differs from claims.yml."""
    record = json.loads((executed / f"{chapter}.json").read_text(encoding="utf-8"))
    claims = book.claims().get(chapter, {})
    said = {v["claim"]: v for v in record["verdicts"]}
    texts = []
    for name in dict.fromkeys([*claims, *said]):
        if name not in said:
            texts.append(f"{name}: no verdict")
            continue
        spans = dict.fromkeys(span(e) for e in said[name]["evidence"] if e["setting"] == "stated")
        texts.append(f"{name}: {said[name]['verdict']}, {'; '.join(spans)}")
        published = claims[name].verdict if name in claims else None
        if book.profile == "published" and said[name]["verdict"] != published:
            texts[-1] += f"   <- claims.yml has {published or 'no verdict'}"
        if book.profile == "published" and name in claims:
            texts += [f"  {problem}" for problem in _unregistered(claims[name], said[name])]
    return texts


def differences(book, executed: Path) -> list[str]:
    """Where the run and chapters/claims.yml disagree: verdicts, regions, settings, conditions; one line each, with numbers."""
    claims, done, found = book.claims(), computed(book, executed), []
    for chapter in book.chapters:
        for name, claim in claims.get(chapter, {}).items():
            if name not in done:
                found.append(
                    f"claim {name} of {chapter}: published {claim.verdict or 'nothing'}, the chapter computes no verdict"
                )
                continue
            if done[name]["verdict"] != claim.verdict:
                found.append(
                    f"claim {name} of {chapter}: published {claim.verdict or 'nothing (null)'}, "
                    f"computed {done[name]['verdict']}: {numbers(done[name])}"
                )
            found += [f"claim {name} of {chapter}: {problem}" for problem in _unregistered(claim, done[name])]
    return found


def _unregistered(claim, verdict: dict):
    """What the rows of a run say otherwise than the register: regions, settings, conditions, and who stands on which side."""
    rows = verdict["evidence"]
    for e in rows:
        measure = claim.measures.get(e["key"])
        if measure is None:
            yield f"measure {e['key']!r} is not registered"
            continue
        if tuple(map(float, e["region"])) != measure.region:
            yield f"measure {e['key']!r}: the run used region {e['region']}, registered is {list(measure.region)}"
        try:
            setting = measure.setting(e["condition"])
        except EvidenceError as error:
            yield str(error)
            continue
        if setting != e["setting"]:
            yield f"condition {e['condition']!r} was run as {e['setting']}, registered is {setting}"
    for measure in claim.measures.values():
        for pattern in (*measure.stated, *measure.beyond, *measure.control):
            if not any(e["key"] == measure.key and matches(pattern, e["condition"]) for e in rows):
                yield f"measure {measure.key!r}: no row of the run is {pattern!r}; take it out, or measure it"
    if claim.verdict == "in part" == verdict["verdict"]:
        stated = [e for e in rows if e["setting"] == "stated" and e["says"] != "undecided"]
        for e in stated:
            sides = [
                side for side, patterns in claim.separates.items() if any(matches(p, e["condition"]) for p in patterns)
            ]
            if sides != [e["says"]]:
                yield (
                    f"the condition {claim.condition!r} does not separate: {e['condition']!r} {e['says']}, "
                    f"registered under {' and '.join(sides) or 'neither side'}"
                )


def compare(one: Path, two: Path) -> list[str]:
    """Differences between two executed trees: verdict records, races and glued values must be equal to the last digit."""
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
        raced = [{race["difficulty"]: race for race in r.get("races", [])} for r in (a, b)]
        for kind, x, y in (("claim", left, right), ("race", *raced), ("glued", a["glued"], b["glued"])):
            for key in dict.fromkeys([*x, *y]):
                if x.get(key) != y.get(key):
                    found.append(
                        f"{name.removesuffix('.json')}, {kind} {key}: {_short(x.get(key))} != {_short(y.get(key))}"
                    )
    return found


def _short(value) -> str:
    text = numbers(value) if isinstance(value, dict) and "evidence" in value else str(value)
    return text if len(text) < 400 else text[:400] + "…"
