"""claims.yml: what the text says, claim by claim, and what was registered before the published run.

    P2:
      text: Adaptive methods resolve that dilemma.
      phrase: Adaptive methods resolve this
      paragraph: Numerical Optimization, 2
      quantifier: always
      subject: result
      setting: A plateau that ends in a sharp valley, one rate for all landscapes.
      measures:
        settles:
          is: share of test landscapes on which it settles
          region: [0.8, 1]
          because: To resolve a dilemma is to succeed nearly always.
          stated: [RMSProp, Adam]
          beyond: ["Adam, turned by *"]
      verdict: holds

The same words stand for a claim and its measures here, on the cards, and in verdicts.json.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from stepsize.errors import EvidenceError, short

VERDICTS = ("holds", "in part", "fails", "open")
QUANTIFIERS = ("always", "can", "definition", "theorem")
SUBJECTS = ("problem", "rate", "step", "result", "reason")
SETTINGS = ("stated", "beyond", "control")
KEYS = {
    "text", "phrase", "paragraph", "ours", "quantifier", "subject", "setting", "reading_of", "part_of", "measures",
    "verdict", "fragile", "condition", "separates", "test", "note", "redo",
}  # fmt: skip

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml


def matches(pattern: str, condition: str) -> bool:
    """Whether a condition is meant by a registered pattern; `*` stands for any text, everything else for itself."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), condition, re.DOTALL) is not None


@dataclass(frozen=True)
class Measure:
    """One kind of measurement that bears on a claim: what is measured, and for which values the claim is true.

    `region` is a closed interval (low, high), either end may be infinite; `because` defends it. `no_effect` is the value without
    an effect, against which a control's share is taken; with `log` it is taken of logarithms. An `identity` is checked to
    round-off and is no measurement. `post_hoc`: the region was chosen after results had been seen. `pending` conditions lie in
    the stated setting and are promised, not yet measured.
    """

    key: str
    words: str
    region: tuple[float, float]
    because: str
    stated: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    no_effect: float | None = None
    log: bool = False
    identity: bool = False
    post_hoc: bool = False

    def setting(self, condition: str) -> str:
        """'stated', 'beyond' or 'control', as registered; an error for a condition that nobody registered."""
        meant = [s for s in SETTINGS if any(matches(p, condition) for p in getattr(self, s))]
        if len(meant) != 1:
            known = "; ".join(f"{s}: {', '.join(p)}" for s in SETTINGS if (p := getattr(self, s)))
            raise EvidenceError(
                f"condition {condition!r} of measure {self.key!r} is registered {'nowhere' if not meant else 'twice'}; "
                f"claims.yml has {known or 'none'}"
            )
        return meant[0]


@dataclass(frozen=True)
class Claim:
    """One claim as registered. `phrase` is what the text says, at most eight words; `ours` marks a claim that is not the text's.

    `condition` completes "in part"; `separates` lists the stated conditions on either side of it. A `fragile` claim is open whatever one
    run says, since fewer than nine of ten replications say the same.
    """

    id: str
    chapter: str
    text: str
    quantifier: str
    subject: str
    setting: str
    measures: dict[str, Measure]
    verdict: str | None = None
    fragile: bool = False
    phrase: str = ""
    paragraph: str = ""
    ours: bool = False
    reading_of: str = ""
    part_of: str = ""
    condition: str = ""
    separates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    test: tuple[str, ...] = ()
    note: str = ""
    redo: str = ""


def _strings(value, where) -> tuple[str, ...]:
    value = [value] if isinstance(value, str) else value or []
    if not all(isinstance(v, str) and v.strip() for v in value):
        raise EvidenceError(f"{where} must be a list of texts, got {short(value)}")
    return tuple(value)


def _measure(claim: str, key: str, entry) -> Measure:
    where = f"claim {claim}, measure {key}"
    if not isinstance(entry, dict):
        raise EvidenceError(f"{where}: give is, region, because and stated, got {short(entry)}")
    known = {"is", "region", "because", *SETTINGS, "pending", "no_effect", "log", "identity", "exact", "post_hoc"}
    if unknown := sorted(set(entry) - known):
        raise EvidenceError(f"{where} has {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    region = entry.get("region")
    if not (isinstance(region, list) and len(region) == 2 and all(isinstance(e, (int, float)) for e in region)):
        raise EvidenceError(f"{where}: region {short(region)} must be [low, high]; .inf and -.inf are allowed")
    low, high = map(float, region)
    if not low < high:
        raise EvidenceError(f"{where}: region [{low:g}, {high:g}] is empty; give [low, high] with low < high")
    if math.isinf(low) and math.isinf(high):
        raise EvidenceError(f"{where}: region [{low:g}, {high:g}] cannot be missed; bound it on one side")
    for name in ("is", "because"):
        if not str(entry.get(name) or "").strip():
            raise EvidenceError(f"{where} has no {name!r}; say what is measured, and defend its region")
    patterns = {s: _strings(entry.get(s), f"{where}: {s}") for s in (*SETTINGS, "pending")}
    flags = {name: bool(entry.get(name, False)) for name in ("log", "identity", "post_hoc")}
    return Measure(
        key, entry["is"], (low, high), entry["because"], **patterns, no_effect=entry.get("no_effect"), **flags
    )


def _claim(chapter: str, name: str, entry) -> Claim:
    if not isinstance(entry, dict) or not str(entry.get("text") or "").strip():
        raise EvidenceError(f"claim {name} of {chapter} has no text; write what the source says")
    if unknown := sorted(set(entry) - KEYS):
        raise EvidenceError(f"claim {name} has {', '.join(unknown)}; known are {', '.join(sorted(KEYS))}")
    for key, known in (("quantifier", QUANTIFIERS), ("subject", SUBJECTS)):
        if entry.get(key) not in known:
            raise EvidenceError(f"claim {name}: {key} {entry.get(key)!r} is none of {', '.join(known)}")
    if entry.get("verdict") not in (None, *VERDICTS):
        raise EvidenceError(f"claim {name}: {entry['verdict']!r} is no verdict; use null or {', '.join(VERDICTS)}")
    phrase, ours, fragile = str(entry.get("phrase") or ""), bool(entry.get("ours", False)), entry.get("fragile", False)
    if fragile not in (True, False) or (fragile and entry.get("verdict") != "open"):
        raise EvidenceError(f"claim {name}: fragile is true or false, and a fragile claim is published as open")
    if len(phrase.split()) > 8:
        raise EvidenceError(f"claim {name}: the phrase {phrase!r} has {len(phrase.split())} words; quote at most eight")
    if bool(phrase) == ours:
        raise EvidenceError(f"claim {name} needs either the text's phrase or `ours: true`, and not both")
    if not str(entry.get("setting") or "").strip():
        raise EvidenceError(f"claim {name} has no setting; say of which situation the sentence speaks")
    if entry.get("verdict") == "in part" and not str(entry.get("condition") or "").strip():
        raise EvidenceError(f"claim {name} holds in part; name the variable that separates, in one sentence: condition")
    measures = {key: _measure(name, key, m) for key, m in (entry.get("measures") or {}).items()}
    if not any(m.stated or m.pending for m in measures.values()):
        raise EvidenceError(f"claim {name} has no stated condition; register where the text's own setting is measured")
    separates = {
        side: _strings((entry.get("separates") or {}).get(side), f"claim {name}: separates, {side}")
        for side in ("supports", "contradicts")
    }
    texts = {
        k: str(entry.get(k) or "").strip()
        for k in ("paragraph", "reading_of", "part_of", "condition", "note", "redo", "setting")
    }
    tests = _strings(entry.get("test"), f"claim {name}: test")
    return Claim(
        name, chapter, entry["text"], entry["quantifier"], entry["subject"], measures=measures,
        verdict=entry.get("verdict"), fragile=fragile, phrase=phrase, ours=ours, separates=separates, test=tests, **texts,
    )  # fmt: skip


def load_claims(path: Path | str) -> dict[str, dict[str, Claim]]:
    """chapter -> claim id -> `Claim`; EvidenceError names what is missing, unknown or repeated, and where."""

    class Unique(_LOADER):
        pass

    def mapping(loader, node):
        keys = [key.value for key, _ in node.value]
        if repeated := {k for k in keys if keys.count(k) > 1}:
            raise EvidenceError(
                f"{Path(path).name}, line {node.start_mark.line + 1}: repeated {sorted(repeated)}; keep one of each"
            )
        return _LOADER.construct_mapping(loader, node, deep=True)

    Unique.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    book, seen = {}, {}
    for chapter, claims in (yaml.load(Path(path).read_text(encoding="utf-8-sig"), Unique) or {}).items():
        book[chapter] = {}
        for name, entry in (claims or {}).items():
            if name in seen:
                raise EvidenceError(f"claim {name} is in {seen[name]} and in {chapter}; ids are unique in the book")
            seen[name], book[chapter][name] = chapter, _claim(chapter, name, entry)
    return book


def find_claims() -> Path:
    """claims.yml of the book: in the working directory, in chapters/ of it or above, or the copy in this package.

    The last lets a chapter run wherever it was downloaded to.
    """
    here, copy = Path.cwd(), Path(__file__).parents[1] / "claims.yml"
    for path in (here / "claims.yml", *(d / "chapters" / "claims.yml" for d in (here, *here.parents)), copy):
        if path.is_file():
            return path
    raise EvidenceError(f"claims.yml was not found in {here.name}/ or above; run from the book's folder")


def read_claims(chapter: str) -> dict[str, Claim]:
    """The claims of one chapter, id -> `Claim`."""
    book = load_claims(find_claims())
    if chapter not in book:
        raise EvidenceError(f"claims.yml has no chapter {chapter!r}; it has {', '.join(book)}")
    return book[chapter]
