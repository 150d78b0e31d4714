"""Broken copies of the library's own formulas: a test that stays green on its mutant guards nothing."""

import ast
import copy
import inspect
import sys
import textwrap


def mutant(obj, old: str, new: str, times: int = 1):
    """`obj`, a class or function, compiled anew in its module's namespace with `old` replaced by `new`.

    `old` and `new` are expressions, or else statements, and are looked for in the syntax tree: neither layout nor
    texts and comments matter, and an operand is never cut off its operator. `old` must occur exactly `times` times.
    The module itself is not touched: whoever calls `obj` by name keeps the sound one, unless the test patches the
    module: `monkeypatch.setattr(module, "name", mutant(module.name, ...))`.
    """
    obj = inspect.unwrap(obj)
    obj = getattr(obj, "py_func", obj)  # numba keeps the Python function there
    tree = ast.parse(textwrap.dedent(inspect.getsource(obj)))
    namespace = dict(vars(sys.modules[obj.__module__]))
    exec(compile(replaced(tree, old, new, times), f"<mutant of {obj.__qualname__}>", "exec"), namespace)
    return namespace[obj.__name__]


def replaced(tree: ast.Module, old: str, new: str, times: int = 1) -> ast.Module:
    """`tree` with the expression or statements `old` replaced by `new`, as often as `times` says and not otherwise."""
    try:
        swap = _Expressions(_expression(old), _expression(new))
    except SyntaxError:
        swap = _Statements(_statements(old), _statements(new))
    tree = swap.visit(tree)
    if swap.count != times:
        raise LookupError(f"{old!r} occurs {swap.count} times, expected {times}; copy a whole term from the source")
    return ast.fix_missing_locations(tree)


def _expression(text):
    return ast.parse(text.strip(), mode="eval").body


def _statements(text):
    return ast.parse(textwrap.dedent(text)).body


class _Expressions(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new, self.count = ast.dump(old), new, 0

    def visit(self, node):
        if isinstance(node, ast.expr) and ast.dump(node) == self.old:
            self.count += 1
            return copy.deepcopy(self.new)
        return self.generic_visit(node)


class _Statements(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new, self.count = list(map(ast.dump, old)), new or [ast.Pass()], 0

    def generic_visit(self, node):
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)  # a list of statements, or the one expression of a lambda
            for i in reversed(range(len(block) if isinstance(block, list) else 0)):
                if list(map(ast.dump, block[i : i + len(self.old)])) == self.old:
                    block[i : i + len(self.old)] = copy.deepcopy(self.new)
                    self.count += 1
        return node
