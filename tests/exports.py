"""The names that `graphc/__init__.py` exports, as text for type checkers, editors and `import *`.

    python -m tests.exports

writes the block at the end of that file anew. Each name stands in one place: what is loaded with
the package among its imports, what is loaded at first use in `_LAZY`, a function of tensors in the
`FUNCTIONS` of its family.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import graphc as gc
from graphc.ops import FAMILIES, fft, linalg, random

FILE = Path(str(gc.__file__))
MARK = "# -- made by `python -m tests.exports`"
WIDTH = 100


def page() -> str:
    """The whole file, with its last part made anew."""
    head, mark, _ = FILE.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{FILE} has no line {MARK!r}"
    rule = mark + " " + "-" * (WIDTH - len(mark) - 1)
    return f"{head}{rule}\n{_imports()}\n\n{_all(head)}\n"


def _eager(head: str) -> list[str]:
    """The public names among the imports of the package's own modules."""
    found = [n for n in ast.parse(head).body if isinstance(n, ast.ImportFrom)]
    ours = [n for n in found if str(n.module).split(".")[0] == "graphc"]
    names = [alias.asname or alias.name for n in ours for alias in n.names]
    return [name for name in names if not name.startswith("_")]


def _functions() -> dict[str, list[tuple[str, str]]]:
    """Module -> its public functions, as (name there, name here)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for family in FAMILIES:
        if family not in (linalg, random, fft):  # which are reached as gc.linalg and so on
            for name, function in family.FUNCTIONS.items():
                there = function.__name__
                own = sys.modules[function.__module__]  # else a closure, named in the family
                module = own if getattr(own, there, None) is function else family
                assert getattr(module, there) is function, name
                found.setdefault(module.__name__, []).append((there, name))
    return found


def _imports() -> str:
    modules = _functions()
    for name, (module, attribute) in gc._LAZY.items():
        if attribute:
            modules.setdefault(module, []).append((attribute, name))
        else:
            package, _, own = module.rpartition(".")
            modules.setdefault(package, []).append((own, name))
    lines = ["if TYPE_CHECKING:  # what is looked up at first use"]
    for module, pairs in sorted(modules.items()):
        plain = sorted((name for there, name in pairs if there == name), key=_natural)
        found = [(plain[0], _import(module, plain))] if plain else []
        found += [
            (there, f"    from {module} import {there} as {name}")
            for there, name in pairs
            if there != name
        ]
        lines += [line for _, line in sorted(found, key=lambda pair: (_natural(pair[0]), pair[1]))]
    return "\n".join(lines)


def _natural(name: str) -> list[tuple[str, int]]:
    """log2 before log10, as the linter has it."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r"(\D+)(\d*)", name)]


def _import(module: str, names: Iterable[str]) -> str:
    line = f"    from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return f"    from {module} import (\n" + "".join(f"        {n},\n" for n in names) + "    )"


def _all(head: str) -> str:
    functions = {name for pairs in _functions().values() for _, name in pairs}
    names = sorted({*_eager(head), *gc._LAZY, *functions}, key=lambda n: (n.lower(), n))
    text = ", ".join(f'"{name}"' for name in names) + ","
    wrapped = textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"__all__ = [\n{wrapped}\n]  # fmt: skip"


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
