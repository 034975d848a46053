"""Patterns: what they match, in which order, and what they build."""

from __future__ import annotations

import pytest

import graphc as gc
from graphc.ir.node import Tensor
from graphc.ops.build import scalar_value
from graphc.rewrite.pattern import (
    Pattern,
    Variable,
    build,
    exp,
    is_uniform,
    match,
    orders,
    reshaped,
    sum,
    variables,
    where,
)

X, Y, AXES, SHAPE = (Variable(name) for name in ("x", "y", "axes", "shape"))


def a() -> Tensor:
    return gc.placeholder("a", ("n", 3))


def b() -> Tensor:
    return gc.placeholder("b", ("n", 3))


def test_a_pattern_reads_as_it_was_written() -> None:
    assert repr(1 / (1 + exp(-X))) == "divide(1, add(1, exp(negative(x))))"
    assert repr(sum(X, axes=AXES)) == "sum(x, axes=axes)"
    assert variables(exp(sum(X, axes=AXES)) * Y) == ({"x", "y"}, {"axes"})


def test_variables_bind_tensors_and_attributes() -> None:
    result = gc.exp(gc.sum(a(), axis=1))
    found = match(exp(sum(X, axes=AXES)), result)
    assert found is not None
    assert found.bindings == {"x": a(), "axes": (1,)}
    assert [n.op.name for n in found.nodes] == ["exp", "sum"]


def test_a_repeated_variable_is_one_tensor() -> None:
    assert match(X + X, a() + a()) is not None
    assert match(X + X, a() + b()) is None
    assert match(exp(X) / sum(exp(X), axes=AXES), gc.exp(a()) / gc.sum(gc.exp(b()))) is None


def test_a_match_keeps_the_order_and_orders_gives_the_others() -> None:
    tensor = gc.exp(a()) + b()
    assert match(exp(X) + Y, tensor) is not None
    assert match(Y + exp(X), tensor) is None
    assert [repr(p) for p in orders(Y + exp(X))] == ["add(y, exp(x))", "add(exp(x), y)"]
    assert [repr(p) for p in orders(X - Y * 2)] == [
        "subtract(x, multiply(y, 2))",
        "subtract(x, multiply(2, y))",
    ]
    assert len(list(orders((1 + exp(X)) * (Y + 2)))) == 8
    assert len(list(orders(X + X))) == 1


@pytest.mark.parametrize(
    ("value", "wanted", "same"),
    [
        (1.0, 1, True),
        (1, 1.0, True),
        (0.0, 0, True),
        (-0.0, 0, False),
        (0.0, -0.0, False),
        (-0.0, -0.0, True),
        (True, True, True),
        (True, 1, False),
        (1, True, False),
        (float("nan"), float("nan"), False),
        (float("inf"), float("inf"), True),
        ([[2.0]], 2, True),
        ([2.0, 2.0], 2, False),
    ],
)
def test_literals(value: float, wanted: float, same: bool) -> None:
    assert is_uniform(gc.constant(value), wanted) is same


def test_a_stretched_number_is_a_number() -> None:
    assert scalar_value(gc.full(("n", 3), 2.5, "float32")) == 2.5
    assert scalar_value(gc.constant([1.0, 2.0])) is None
    assert scalar_value(a()) is None


def test_a_reshape_may_be_absent() -> None:
    wanted = reshaped(sum(X, axes=AXES), SHAPE)
    kept = match(wanted, gc.sum(a(), axis=1, keepdims=True))
    plain = match(wanted, gc.sum(a(), axis=1))
    assert kept is not None
    assert plain is not None
    assert kept.bindings["shape"] == (gc.dim("n"), 1)
    assert plain.bindings["shape"] == (gc.dim("n"),)
    assert build(wanted, plain.bindings, a().dtype) is gc.sum(a(), axis=1)
    assert build(wanted, kept.bindings, a().dtype) is gc.sum(a(), axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint64"])
def test_numbers_take_the_dtype_beside_them(dtype: str) -> None:
    x = gc.placeholder("x", ("n",), dtype)
    made = build(2 * X + 1, {"x": x}, gc.float64)
    assert made is 2 * x + 1


def test_the_condition_of_where_is_a_bool() -> None:
    made = build(where(True, X, 0), {"x": a()}, gc.float64)
    assert made is gc.where(gc.constant(True), a(), 0)


def test_a_pattern_is_no_truth_value_by_accident() -> None:
    """Comparing patterns builds a pattern, as comparing tensors builds a node."""
    assert isinstance(X == Y, Pattern)
    assert repr(X < 1) == "less(x, 1)"
