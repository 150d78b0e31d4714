"""The import graph of an installed package: modules that import each other, and the words they are written in."""

import ast
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from companion.errors import DatasetError

#: A node needs this many neighbours in class to be labelled: smaller classes teach nothing.
SMALLEST_CLASS = 40


def modules(package: str) -> dict[str, Path]:
    """Dotted name -> file of every module of an installed package, sorted by name; nothing is imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError(f"no package {package!r} is installed; pip install it, or name another")
    root = Path(next(iter(spec.submodule_search_locations)))
    files = {}
    for path in root.rglob("*.py"):
        parts = (package, *path.relative_to(root).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return dict(sorted(files.items()))


def parsed(path: Path) -> ast.AST:
    """The syntax tree of a file; empty where it needs a newer Python than 3.11, so that every Python reads the same graph."""
    try:
        return ast.parse(path.read_bytes(), feature_version=(3, 11))
    except SyntaxError:
        return ast.Module([], [])


def imported(tree: ast.AST, name: str, is_package: bool, known) -> set[str]:
    """The known modules that a syntax tree imports, at any depth; of `from a import b` the module a.b, else a."""
    targets, home = set(), name.split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = home[: len(home) - node.level + is_package] if node.level else []
            base = ".".join(above + ([node.module] if node.module else []))
            targets.update(f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names)
    return {module for module in targets if module in known and module != name}


def words(tree: ast.AST) -> set[str]:
    """Lower-case parts, of 3 letters or more, of the names that a syntax tree defines or uses; imports don't count."""
    names = set()
    for node in ast.walk(tree):
        kind = {ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg", ast.FunctionDef: "name", ast.ClassDef: "name"}
        if type(node) in kind:
            names.add(getattr(node, kind[type(node)]))
    return {w.lower() for name in names for w in re.findall(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}(?![a-z])", name) if len(w) > 2}


def largest_component(n: int, edges: np.ndarray) -> np.ndarray:
    """Flags (n,) of the largest connected component of an undirected graph; edges (m, 2)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    both = coo_array((np.ones(len(edges)), edges.T), shape=(n, n))
    part = connected_components(both, directed=False)[1]
    return part == np.bincount(part).argmax()


def word_arrays(bags: list[set], least: float) -> dict:
    """The words of nodes that occur in a share of `least` to a half of them: `vocabulary`, and node i's at word[word_start[i]:word_start[i + 1]]."""
    used = Counter(w for bag in bags for w in bag)
    vocabulary = sorted(w for w, c in used.items() if least * len(bags) <= c <= 0.5 * len(bags))
    place = {w: k for k, w in enumerate(vocabulary)}
    rows = [sorted(place[w] for w in bag if w in place) for bag in bags]
    return {
        "word_start": np.cumsum([0, *map(len, rows)]).astype(np.int32),
        "word": np.concatenate([np.array(r, np.uint16) for r in rows]),
        "vocabulary": np.array(vocabulary),
    }


def import_graph(package: str) -> dict[str, np.ndarray]:
    """edges (m, 2) with u < v, label (n,), -1 for small classes, word_start (n + 1,) and word (k,), vocabulary.

    Nodes are the modules of the largest component in alphabetical order, `modules` their names. The label is the first
    sub-package. The words of node i, `word[word_start[i]:word_start[i + 1]]`, are those that 1 % to 50 % of the modules use;
    names of classes are left out, for they would give the answer away.
    """
    files = modules(package)
    number = {name: i for i, name in enumerate(files)}
    edges, bags = set(), []
    for name, path in files.items():
        tree = parsed(path)
        targets = imported(tree, name, path.name == "__init__.py", number)
        edges.update(tuple(sorted((number[name], number[target]))) for target in targets)
        bags.append(words(tree))
    edges = np.array(sorted(edges))
    kept = np.flatnonzero(largest_component(len(files), edges))
    new = np.full(len(files), -1)
    new[kept] = np.arange(len(kept))
    names = [list(files)[i] for i in kept]
    area = [name.split(".")[1] if "." in name else "" for name in names]
    sizes = Counter(area)
    classes = sorted(a for a, size in sizes.items() if size >= SMALLEST_CLASS and a)
    banned = {w for a in sizes for w in re.findall("[a-z]+", a.lower())} | {package}
    return word_arrays([set(bags[i]) - banned for i in kept], 0.01) | {
        "edges": new[edges[new[edges[:, 0]] >= 0]].astype(np.uint16),
        "label": np.array([classes.index(a) if a in classes else -1 for a in area], np.int8),
        "classes": np.array(classes),
        "modules": np.array(names),
    }
