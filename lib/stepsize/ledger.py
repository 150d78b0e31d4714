"""The claims of the book and their published verdicts; what the executed chapters say; the gate between the two."""

from pathlib import Path

import yaml

from .errors import EvidenceError
from .evidence import VERDICTS


def load_claims(path: Path | str) -> dict[str, dict[str, dict]]:
    """chapter -> claim id -> {text, verdict}; raises on repeated ids, empty texts and unknown verdicts."""

    class Unique(yaml.SafeLoader):
        pass

    def mapping(loader, node):
        keys = [key.value for key, _ in node.value]
        if repeated := {k for k in keys if keys.count(k) > 1}:
            raise EvidenceError(
                f"{Path(path).name}, line {node.start_mark.line + 1}: repeated {sorted(repeated)}; keep one of each"
            )
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Unique.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    book = yaml.load(Path(path).read_text(encoding="utf-8"), Unique)
    seen = {}
    for chapter, claims in book.items():
        for claim, entry in claims.items():
            if claim in seen:
                raise EvidenceError(f"claim {claim} is in {seen[claim]} and in {chapter}; ids are unique in the book")
            seen[claim] = chapter
            if not isinstance(entry, dict) or not str(entry.get("text") or "").strip():
                raise EvidenceError(f"claim {claim} of {chapter} has no text; write what the source says")
            if entry.get("verdict") not in (None, *VERDICTS):
                raise EvidenceError(
                    f"claim {claim}: {entry['verdict']!r} is no verdict; use null or {', '.join(VERDICTS)}"
                )
    return book
