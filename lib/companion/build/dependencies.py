"""What a piece of code depends on, read from the sources: our modules that it imports, and the recorded data beside them.

Nothing is imported to find out. A module that is not ours (a package of the environment) is covered by the pins.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2]
#: Parts of a page: one that bears a module's name belongs to this module alone.
PAGE_PARTS = {".html", ".css", ".js", ".svg"}


def dependencies(code: Iterable[str], library: Path = LIBRARY) -> set[Path]:
    """Files of the library that blocks of code need: modules, the packages around them, data beside the modules.

    A block that is no plain Python (it may hold a magic command of IPython) needs everything.
    """
    wanted = [imports(block.encode(), "") for block in code]
    if None in wanted:
        return set(library_files(library))
    modules = _closure({name for names in wanted for name in names}, library, packages=True)
    return modules | {path for module in modules for path in _beside(module)}


def sources(path: Path, library: Path = LIBRARY) -> set[Path]:
    """A module's file and those of our modules that it imports by name, directly or not: where its functions come from."""
    names = imports(path.read_bytes(), _package(path, library)) if library in path.parents else ()
    return {path} | (set(library_files(library)) if names is None else _closure(names, library, packages=False))


def library_files(library: Path = LIBRARY) -> list[Path]:
    """Every file of the library, in a fixed order."""
    hidden = (".", "__pycache__")
    files = (p for p in library.rglob("*") if not any(part.startswith(hidden) for part in p.relative_to(library).parts))
    return sorted(p for p in files if p.is_file() and not any(part.endswith(".egg-info") for part in p.parts))


def digest(files: Iterable[Path], library: Path = LIBRARY) -> str:
    """One digest of the names and contents of files."""
    total = hashlib.sha256()
    for path in sorted(files):
        name = path.relative_to(library) if library in path.parents else Path(path.name)
        total.update(name.as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:20]


@cache
def imports(source: bytes, package: str) -> frozenset[str] | None:
    """Dotted names that a source may import, also those of its functions; None when it is no Python.

    `from a import b` names a and a.b: b may be a module. `package` is where relative imports start.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def _closure(names: Iterable[str], library: Path, packages: bool) -> set[Path]:
    """Files of the named modules and of all that they import; with `packages` also the __init__ of packages around them."""
    files, seen, todo = set(), set(), set(names)
    while todo:
        seen.add(name := todo.pop())
        more = {name.rpartition(".")[0]} if packages and "." in name else set()
        if path := _locate(name, library):
            files.add(path)
            others = imports(path.read_bytes(), _package(path, library))
            if others is None:
                return set(library_files(library))
            more |= others
        todo |= more - seen
    return files


def _locate(name: str, library: Path) -> Path | None:
    place = library.joinpath(*name.split("."))
    return next((p for p in (place / "__init__.py", place.with_suffix(".py")) if p.is_file()), None)


def _package(path: Path, library: Path) -> str:
    return ".".join(path.parent.relative_to(library).parts)


def _beside(module: Path) -> Iterator[Path]:
    """What a module may read: files that are no Python in its folder, in `data` of it (at any depth) and in `templates`.

    An __init__ reads nothing (tests/build/test_imports.py). A link leads to a source of the book, which knows it itself.
    """
    home = module.parent
    if module.name == "__init__.py":
        return
    for path in (*home.iterdir(), *(home / "data").rglob("*"), *(home / "templates").glob("*")):
        if path.is_symlink() or not path.is_file() or path.suffix == ".py" or path.name.startswith("."):
            continue
        owner = home / f"{path.stem}.py"
        if path.suffix not in PAGE_PARTS or owner == module or not owner.is_file():
            yield path
