"""Sizes as SymPy expressions and back: to solve, compare and print what `Dim` alone cannot.

Named dims become integer symbols >= 0, so SymPy knows of them what graphc does.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import sympy as sp

from graphc.errors import ArgumentError
from graphc.ir.dim import Call, Dim, Size, floordiv, maximum, minimum, mod, named, product, total


def symbol(name: str) -> sp.Symbol:
    """The SymPy symbol of the dim called `name`."""
    return sp.Symbol(name, integer=True, nonnegative=True)


def to_sympy(size: Size) -> sp.Expr:
    """A size as a SymPy expression.

    >>> from graphc.ir.dim import dim
    >>> to_sympy((dim("n") + 1) // 2)
    floor(n/2 + 1/2)
    """
    if isinstance(size, int):
        return sp.Integer(size)
    return sp.Add(
        *(
            sp.Mul(coefficient, *(_atom(atom) ** power for atom, power in monomial))
            for monomial, coefficient in size.terms
        )
    )


def _atom(atom: str | Call) -> sp.Expr:
    if isinstance(atom, str):
        return symbol(atom)
    left, right = to_sympy(atom.left), to_sympy(atom.right)
    match atom.function:
        case "//":
            return sp.floor(left / right)
        case "%":
            return sp.Mod(left, right)
        case "max":
            return sp.Max(left, right)
        case _:
            return sp.Min(left, right)


def from_sympy(expression: Any) -> Size:
    """A size from a SymPy expression of integers, symbols, `+ * **`, floor, Mod, Max and Min.

    Errors: `ArgumentError` for anything else.

    >>> n = symbol("n")
    >>> from_sympy(sp.floor((n + 1) / 2))
    ((n + 1) // (2))
    """
    e = sp.sympify(expression)
    if e.is_Integer:
        return int(e)
    if e.is_Symbol:
        return named(e.name)
    if e.is_Add:
        return total(from_sympy(a) for a in e.args)
    if e.is_Mul:
        return product(from_sympy(a) for a in e.args)
    if e.is_Pow and e.exp.is_Integer and e.exp > 0:
        return product([from_sympy(e.base)] * int(e.exp))
    if isinstance(e, sp.floor):
        numerator, denominator = sp.together(e.args[0]).as_numer_denom()
        return floordiv(from_sympy(numerator), from_sympy(denominator))
    if isinstance(e, sp.Mod):
        return mod(*(from_sympy(a) for a in e.args))
    if isinstance(e, (sp.Max, sp.Min)):
        choose = maximum if isinstance(e, sp.Max) else minimum
        return reduce(choose, (from_sympy(a) for a in e.args))
    raise ArgumentError(
        "not a size",
        op="dims.from_sympy",
        expected="integers and symbols under +, *, **, floor, Mod, Max and Min",
        given=str(e)[:80],
    )


def always_equal(a: Size, b: Size) -> bool:
    """Whether SymPy shows that two sizes are equal for all values of their names."""
    if a == b:
        return True
    return isinstance(a - b, Dim) and bool(sp.simplify(to_sympy(a - b)) == 0)
