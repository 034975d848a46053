"""Sizes as SymPy expressions and back: to solve, compare and print what `Dim` alone cannot.

`to_sympy` keeps the form of a size, and `from_sympy` reads it back; `readable` is for people.
Named dims become integer symbols >= 0, so SymPy knows of them what graphc does.
"""

from __future__ import annotations

from functools import reduce
from math import gcd
from typing import Any

import sympy as sp

from graphc.errors import ArgumentError
from graphc.ir.dim import Call, Dim, Size, floordiv, maximum, minimum, mod, named, product, total

_LONG = 80  # operations of an expression that is left as it is: to factor it would take long


def symbol(name: str) -> sp.Symbol:
    """The SymPy symbol of the dim called `name`."""
    return sp.Symbol(name, integer=True, nonnegative=True)


def to_sympy(size: Size) -> sp.Expr:
    """A size as a SymPy expression.

    >>> from graphc.ir.dim import dim
    >>> to_sympy((dim("n") + 1) // 2)
    floor(n/2 + 1/2)
    """
    return _expression(size, up=False)


def readable(size: Size) -> sp.Expr:
    """The same value in the form that people read: what is rounded up as `ceiling`, and of a sum of
    products and a product of sums the shorter one.

    >>> from graphc.ir.dim import dim
    >>> n, m = dim("n"), dim("m")
    >>> readable(n * m * 2 + n * 16), readable((4 * n + 63) // 64 * 64), readable(n * n + n)
    (2*n*(m + 8), 64*ceiling(n/16), n**2 + n)
    """
    return shortest(_expression(size, up=True))


def shortest(expression: sp.Expr) -> sp.Expr:
    """Of an expression, its factors and its fractions, each of the same value, what has the fewest
    operations; the first of those that have as many."""
    if len(expression.atoms(sp.Symbol)) == 0 or sp.count_ops(expression) > _LONG:
        return expression
    forms = [expression, sp.factor_terms(expression), sp.factor(expression)]
    return min(forms, key=lambda form: (sp.count_ops(form), len(str(form))))


def _expression(size: Size, up: bool) -> sp.Expr:
    """`up`: what is rounded up is written so."""
    if isinstance(size, int):
        return sp.Integer(size)
    return sp.Add(
        *(
            sp.Mul(coefficient, *(_atom(atom, up) ** power for atom, power in monomial))
            for monomial, coefficient in size.terms
        )
    )


def _atom(atom: str | Call, up: bool) -> sp.Expr:
    if isinstance(atom, str):
        return symbol(atom)
    rest = _before_rounding_up(atom) if up else None
    if rest is not None:
        return sp.ceiling(_expression(rest, up) / atom.right)
    left, right = _expression(atom.left, up), _expression(atom.right, up)
    match atom.function:
        case "//":
            return sp.floor(left / right)
        case "%":
            return sp.Mod(left, right)
        case "max":
            return sp.Max(left, right)
        case _:
            return sp.Min(left, right)


def _before_rounding_up(atom: Call) -> Size | None:
    """What an atom divides and rounds up: p, of (p + c) // d where all coefficients of p and d are
    multiples of g, and d - g <= c < d; None where it does not."""
    left, right = atom.left, atom.right
    if atom.function != "//" or not isinstance(right, int) or not isinstance(left, Dim):
        return None
    constant = next((c for monomial, c in left.terms if not monomial), 0)
    step = gcd(right, *(c for monomial, c in left.terms if monomial))
    return left - constant if constant > 0 and right - step <= constant < right else None


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
