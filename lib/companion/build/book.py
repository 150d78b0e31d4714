"""The sources of the book: which chapters there are, their parameters, and what each of them depends on."""

import hashlib
import json
import os
import re
import sys
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import yaml

from companion.errors import BookError
from companion.evidence.claims import Claim, load_claims

from .dependencies import dependencies, digest
from .notebooks import convert, is_notebook, parameter_defaults

PROFILES = ("published", "smoke")
#: What turns a chapter's text into a notebook and a record.
EXECUTION = {Path(__file__).with_name(name) for name in ("execution.py", "notebooks.py")}


class Book:
    """The sources of a book below `root`: chapters/*.md, _toc.yml, chapters/claims.yml, chapters/smoke.yml."""

    def __init__(self, root: Path | str = ".", profile: str = "published"):
        if profile not in PROFILES:
            raise BookError(f"unknown profile {profile!r}; use PROFILE={' or PROFILE='.join(PROFILES)}")
        self.root, self.profile = Path(root).resolve(), profile

    @property
    def chapters(self) -> list[str]:
        """Names of the executable chapters, in the order of _toc.yml."""
        names = [Path(f).name for f in toc_files(self.root) if Path(f).parent.name == "chapters"]
        if lost := [n for n in names if not (self.root / "chapters" / f"{n}.md").is_file()]:
            raise BookError(f"_toc.yml names chapters/{lost[0]}, which does not exist; write it or take it out")
        return [n for n in names if is_notebook(self.root / "chapters" / f"{n}.md")]

    def source(self, chapter: str) -> Path:
        """The text of a chapter; an unknown name is an error that lists the known ones."""
        path = self.root / "chapters" / f"{chapter}.md"
        if not path.is_file() or not is_notebook(path):
            known = sorted(p.stem for p in (self.root / "chapters").glob("*.md") if is_notebook(p))
            raise BookError(f"unknown chapter {chapter!r}; chapters/ has {', '.join(known) or 'none'}")
        return path

    def parameters(self, chapter: str, given: dict | None = None) -> dict:
        """What papermill passes: in the smoke profile smoke.yml's entry, and what is given."""
        small = (self.smoke().get(chapter) or {}) if self.profile == "smoke" else {}
        where = "the given parameters" if given else "chapters/smoke.yml"
        values = small | (given or {})
        known = parameter_defaults(self.source(chapter))
        for name, value in values.items():
            if name not in known:
                raise BookError(
                    f"{where}: chapter {chapter} has no parameter {name!r}; its parameters cell has {', '.join(known)}"
                )
            if not _same_kind(known[name], value):
                raise BookError(
                    f"{where}: {chapter}.{name} = {value!r} is no {type(known[name]).__name__}; change the value"
                )
        return values

    def smoke(self) -> dict[str, dict]:
        """smoke.yml: chapter -> parameter -> value."""
        path = self.root / "chapters" / "smoke.yml"
        if not path.is_file():
            return {}
        values = read_yaml(path) or {}
        if not isinstance(values, dict):
            raise BookError("chapters/smoke.yml must map chapter names to parameters, as in 'tau_leaping: {runs: 8}'")
        for chapter, parameters in values.items():
            self.source(chapter)
            if not isinstance(parameters, dict | None):
                raise BookError(f"chapters/smoke.yml: {chapter} must map parameter names to values, got {parameters!r}")
        return values

    def fingerprint(self, chapter: str, given: dict | None = None) -> str:
        """A digest of all that an executed chapter depends on.

        Its text, its entries in claims.yml but for the published verdicts, its parameters, the modules that it imports
        with their data, the modules that execute it, the pins, Python.
        """
        source, pins = self.source(chapter), self.root / "requirements.txt"
        code = [c.source for c in convert(source).cells if c.cell_type == "code"]
        claims = [asdict(claim) | {"verdict": None} for claim in self.claims().get(chapter, {}).values()]
        parts = [
            source.read_bytes(),
            json.dumps([self.profile, self.parameters(chapter, given), claims], sort_keys=True, default=str).encode(),
            digest(dependencies(code) | EXECUTION).encode(),
            pins.read_bytes() if pins.is_file() else b"",
            sys.version.encode(),
        ]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:20]

    def claims(self) -> dict[str, dict[str, Claim]]:
        """chapters/claims.yml; a book without one has no claims."""
        path = self.root / "chapters" / "claims.yml"
        return _claims(path, path.read_bytes()) if path.is_file() else {}


@lru_cache
def _claims(path: Path, content: bytes) -> dict[str, dict[str, Claim]]:
    """Read once for every content."""
    return load_claims(path)


def read_yaml(path: Path):
    """A YAML file; a syntax error becomes one line with its place."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise BookError(f"{path.name}{place}: no valid YAML ({getattr(error, 'problem', error)}); correct it") from None


def toc_files(root: Path) -> list[str]:
    """Every `file` and `root` of _toc.yml, in order, without suffix."""
    path = Path(root) / "_toc.yml"
    if not path.is_file():
        raise BookError("_toc.yml was not found; run from the book's folder")

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("file", "root"):
                    yield re.sub(r"\.(md|ipynb)$", "", str(value))
                else:
                    yield from walk(value)
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    return list(walk(read_yaml(path)))


def _same_kind(default, value) -> bool:
    if default is ... or default is None:
        return True
    for kinds in ((bool,), (int, float), (str,), (list, tuple), (dict,)):
        if isinstance(default, kinds):
            return isinstance(value, kinds) and isinstance(default, bool) == isinstance(value, bool)
    return True


def write_whole(path: Path, text: str) -> None:
    """Write a file at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)  # on a full disk it takes what room there is
        raise
