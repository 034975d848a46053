"""SymPy's own tests of `lambdify`, with `gc.lambdify` in its place.

    python -m tests.oracles.sympy_lambdify

runs each test of `sympy/utilities/tests/test_lambdify.py` that SymPy brought, and compares those
that do not pass with the list at the end of `docs/sympy.md`, in which `*` stands for any letters.
Which library SymPy would take functions from (`modules="numpy"`) is left out of a call, as all is
compiled; what graphc has no argument for (printers) it refuses.
Exit status 1 where the page says something else.
"""

from __future__ import annotations

import fnmatch
import importlib
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import sympy
from sympy.testing.pytest import Skipped

import graphc as gc

PAGE = Path(__file__).parents[2] / "docs" / "sympy.md"
SECTION = "## Beside SymPy's own tests"


def lambdify(args: Any, expr: Any, modules: Any = None, cse: Any = False, **options: Any) -> Any:
    """`gc.lambdify`, called as SymPy's is. Errors: TypeError for what it has no argument for."""
    given = modules if isinstance(modules, (list, tuple)) else [modules]
    functions = [m for m in given if isinstance(m, dict)]
    options.pop("dummify", None)  # names never reach the source
    options.pop("docstring_limit", None)
    return gc.lambdify(args, expr, functions, cse=cse or True, **options)


def outcomes() -> dict[str, str]:
    """Of each test: nothing if it passes, else what it raised."""
    module = importlib.import_module("sympy.utilities.tests.test_lambdify")
    setattr(module, "lambdify", lambdify)  # noqa: B010
    found = {}
    for name in [n for n in vars(module) if n.startswith("test_")]:
        try:
            getattr(module, name)()
            found[name] = ""
        except Skipped as reason:
            found[name] = f"skipped: {reason}"
        except Exception as error:  # whatever a test raises is its outcome
            found[name] = f"{type(error).__name__}: {error}".split("\n")[0][:120]
    return found


def stated() -> list[str]:
    """The names on the page, and how many tests it says that there are."""
    section = PAGE.read_text(encoding="utf-8").split(SECTION)[1]
    return re.findall(r"`(test_\w+\*?)`", section)


def main() -> int:
    warnings.simplefilter("ignore")
    found, patterns = outcomes(), stated()
    failed = {name: why for name, why in found.items() if why}
    known = {n for n in found if any(fnmatch.fnmatchcase(n, p) for p in patterns)}
    print(f"SymPy {sympy.__version__}: {len(found)} tests, {len(found) - len(failed)} pass")
    for name, why in failed.items():
        if name not in known:
            print(f"not on the page: {name}: {why}")
    for name in sorted(known - failed.keys()):
        print(f"passes, and is on the page: {name}")
    for pattern in patterns:
        if not fnmatch.filter(found, pattern):
            print(f"no such test: {pattern}")
    return int(failed.keys() != known)


if __name__ == "__main__":
    sys.exit(main())
