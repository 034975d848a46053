"""Tensors as SymPy formulas."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.errors import ArgumentError
from graphc.symbolic.formula import formula

x, y = gc.placeholder("x", (), "float64"), gc.placeholder("y", (), "float64")
X, Y = sp.symbols("x y", real=True)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (x * 2 + y, 2 * X + Y),
        (gc.exp(x) / y, sp.exp(X) / Y),
        (x**3, X**3),
        (gc.sigmoid(x), 1 / (1 + sp.exp(-X))),
        (gc.maximum(x, y), sp.Max(X, Y)),
        (abs(x), sp.Abs(X)),
        (x % y, sp.Mod(X, Y)),
        (gc.where(x > y, x, 0), sp.Piecewise((X, X > Y), (0, True))),
        (gc.where((x > 0) & (y < 1), x, y), sp.Piecewise((X, (X > 0) & (Y < 1)), (Y, True))),
        (gc.where(~(x > 0) | (x > 4), x, y), sp.Piecewise((X, (X <= 0) | (X > 4)), (Y, True))),
        (gc.astype(x > 0, "float64") * x, X * sp.Piecewise((1, X > 0), (0, True))),
        (gc.stop_gradient(x) + gc.broadcast_to(y, (2, 3)), X + Y),
        (x * 0.5, X / 2),
        (x * float("inf"), X * sp.oo),
        (gc.grad(gc.tanh(x), x), 1 - sp.tanh(X) ** 2),
    ],
)
def test_formula(tensor: gc.Tensor, expected: sp.Expr) -> None:
    assert formula(tensor) == expected


def test_a_float_that_is_no_simple_fraction_keeps_its_digits() -> None:
    single = gc.placeholder("x")
    assert formula(single * np.float32(0.1)) == sp.Float("0.1") * X


def test_a_number_stays_itself_wherever_its_elements_go() -> None:
    v = gc.placeholder("x", ("n",), "float64")
    assert formula(gc.grad(gc.sum(gc.tanh(v)), v)) == 1 - sp.tanh(X) ** 2
    assert formula(v * gc.flip(gc.full((1,), 3.0))) == 3 * X
    with pytest.raises(ArgumentError, match="not elementwise"):
        formula(gc.flip(v))


def test_dtypes_are_assumptions() -> None:
    assert formula(gc.placeholder("i", (), "int32")).is_integer
    assert formula(gc.placeholder("u", (), "uint8")).is_nonnegative
    assert formula(gc.placeholder("b", (), "bool")) == sp.Symbol("b")


def test_a_size_is_an_expression_over_dims() -> None:
    t = gc.placeholder("t", ("n", 3))
    n = sp.Symbol("n", integer=True, nonnegative=True)
    assert formula(gc.size(t) + 1) == 3 * n + 1


def test_two_tensors_of_one_name_stay_apart() -> None:
    u, v = gc.variable(1.0, name="w"), gc.variable(2.0, name="w")
    found = formula(u * v)
    assert len(found.free_symbols) == 2


def test_it_stops_at_what_is_given() -> None:
    t = gc.placeholder("t", (3,), "float64")
    total = gc.sum(t)
    s = sp.Symbol("s")
    assert formula(gc.exp(total) * 2, {total: s}) == 2 * sp.exp(s)


def test_what_is_not_elementwise_is_an_error_that_names_the_op() -> None:
    t = gc.placeholder("t", (3,))
    with pytest.raises(ArgumentError, match="not elementwise") as caught:
        formula(gc.sum(t) + 1)
    assert caught.value.given == "sum"
    assert __file__ in caught.value.where


def test_the_formula_has_the_value_of_the_tensor() -> None:
    z = gc.grad(gc.sigmoid(x * y) * gc.log1p(x) - gc.sqrt(y) / (x + 2), x)
    expected = sp.lambdify((X, Y), formula(z))(0.7, 1.3)
    assert float(gc.evaluate(z, {x: 0.7, y: 1.3})) == pytest.approx(expected, rel=1e-14)
