"""Broken copies of the library's own formulas: a test that stays green on its mutant guards nothing."""

import inspect
import sys
import textwrap


def mutant(obj, old: str, new: str, times: int = 1):
    """`obj`, a class or function, recompiled in its module's namespace with `old` replaced by `new` in its source.

    `old` must occur exactly `times` times. The module itself is not touched: whoever calls `obj` by name keeps
    the sound one, unless the test patches the module: `monkeypatch.setattr(module, "name", mutant(module.name, ...))`.
    """
    obj = inspect.unwrap(obj)
    obj = getattr(obj, "py_func", obj)  # numba keeps the Python function there
    source = textwrap.dedent(inspect.getsource(obj))
    if (found := source.count(old)) != times:
        raise LookupError(
            f"{obj.__qualname__}: {old!r} occurs {found} times, expected {times}; copy it from the source"
        )
    namespace = dict(vars(sys.modules[obj.__module__]))
    exec(compile(source.replace(old, new), f"<mutant of {obj.__qualname__}>", "exec"), namespace)
    return namespace[obj.__name__]
