"""claims.yml: the claims of the book and their published verdicts."""

from pathlib import Path

import yaml

from stepsize.errors import EvidenceError

from .verdict import VERDICTS


def find_claims() -> Path:
    """claims.yml of the book: in the working directory, in chapters/ of it or above, or beside the library.

    The last lets a chapter run wherever it was downloaded to.
    """
    here = Path.cwd()
    folders = (here, *here.parents, Path(__file__).resolve().parents[3])
    for path in (here / "claims.yml", *(d / "chapters" / "claims.yml" for d in folders)):
        if path.is_file():
            return path
    raise EvidenceError(f"claims.yml was not found in {here.name}/ or above; run from the book's folder")


def read_claims(chapter: str) -> dict[str, str]:
    """The claims of one chapter, id -> text."""
    book = load_claims(find_claims())
    if chapter not in book:
        raise EvidenceError(f"claims.yml has no chapter {chapter!r}; it has {', '.join(book)}")
    return {claim: entry["text"] for claim, entry in book[chapter].items()}


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml


def load_claims(path: Path | str) -> dict[str, dict[str, dict]]:
    """chapter -> claim id -> {text, verdict}; raises on repeated ids, empty texts and unknown verdicts."""

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
