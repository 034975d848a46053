"""Sizes to SymPy and back."""

from __future__ import annotations

import pytest
import sympy as sp

from graphc.errors import ArgumentError
from graphc.ir import dim as dims
from graphc.ir.dim import dim
from graphc.symbolic.dims import always_equal, from_sympy, symbol, to_sympy

TEXTS = (
    "7", "n", "2*n + 1", "n*n*m - 3*n", "(n + 1) // 2", "n % 3", "max(n, m)", "min(n, 4)",
    "((n + 3) // 4) * 4", "(n * m) // k", "(2*n + 1) % (m + 1)", "(n // 2) // 3",
    "max(n - 1, 0) + min(n, m)", "n - m",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_there_and_back_is_the_same_size(text: str) -> None:
    size = dim(text)
    assert always_equal(from_sympy(to_sympy(size)), size)


@pytest.mark.parametrize("text", TEXTS)
def test_sympy_gives_the_same_values(text: str) -> None:
    size = dim(text)
    for n, m, k in ((0, 0, 1), (1, 5, 2), (7, 3, 3), (10, 0, 4)):
        values = {"n": n, "m": m, "k": k}
        found = to_sympy(size).subs({symbol(name): v for name, v in values.items()})
        assert found == dims.evaluate(size, values)
        assert dims.evaluate(from_sympy(to_sympy(size)), values) == found


def test_symbols_are_integers_from_zero() -> None:
    n = to_sympy(dim("n"))
    assert n.is_integer
    assert n.is_nonnegative
    assert sp.Max(n, 0) == n


@pytest.mark.parametrize(
    "expression", [sp.Rational(1, 2), sp.sqrt(symbol("n")), sp.sin(1), symbol("n") / 3, sp.pi]
)
def test_what_is_no_size_is_an_error(expression: sp.Expr) -> None:
    with pytest.raises(ArgumentError, match="not a size"):
        from_sympy(expression)


def test_equalities_that_the_normal_form_does_not_see() -> None:
    assert always_equal(dim("max(n, m)"), dim("max(m, n)"))
    assert not always_equal(dim("n"), dim("m"))
    assert not always_equal(dim("n"), dim("n + 1"))
