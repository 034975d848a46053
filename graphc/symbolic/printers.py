r"""SymPy's printers, with terms in one order: a sum does not begin with a minus, if it has a plus.

>>> from sympy import symbols
>>> y, z = symbols("y z")
>>> from graphc.symbolic.printers import latex, text
>>> text(2 * y * (z - y), {}), latex(z - y, {z: "z_{1}"})
('2*y*(z - y)', 'z_{1} - y')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter


def _ordered(terms: list[Any]) -> list[Any]:
    """The terms with the first one that has no minus in front."""
    front = next((t for t in terms if not t.could_extract_minus_sign()), None)
    return terms if front is None else [front, *(t for t in terms if t is not front)]


class Latex(LatexPrinter):  # type: ignore[misc]
    """Prints LaTeX."""

    def _as_ordered_terms(self, expr: Any, order: Any = None) -> list[Any]:
        return _ordered(list(super()._as_ordered_terms(expr, order)))


class Plain(StrPrinter):  # type: ignore[misc]
    """Prints text, with names for symbols."""

    def __init__(self, names: Mapping[Any, str]) -> None:
        super().__init__({})
        self._names = names

    def _as_ordered_terms(self, expr: Any, order: Any = None) -> list[Any]:
        return _ordered(list(super()._as_ordered_terms(expr, order)))

    def _print_Symbol(self, expr: Any) -> str:  # noqa: N802  (SymPy calls it by this name)
        return self._names.get(expr) or str(expr.name)


def latex(e: Any, names: Mapping[Any, str]) -> str:
    """LaTeX of an expression, with labels for symbols."""
    return str(Latex({"symbol_names": dict(names)}).doprint(e))


def text(e: Any, names: Mapping[Any, str]) -> str:
    """Python of an expression, with names for symbols."""
    return str(Plain(names).doprint(e))
