"""The certificates can see: wrong rules of each promise are caught, with the operands."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphError
from graphc.ir.node import Node, apply
from graphc.rewrite.certify import certify, same_bits, special_values, ulps
from graphc.rewrite.extended import extended_values
from graphc.rewrite.pattern import abs, exp, log, maximum, relu, softplus, sqrt, square, where
from graphc.rewrite.ruleset import EXACT, ORDER, STABLE, Formulas, Promise, Result, Ruleset

from .checking import graph_of

Body = Callable[..., Formulas]

_NOT_EXACT: dict[str, tuple[str, Body]] = {
    "x + 0 -> x": ("f", lambda x: (x + 0, x)),
    "x * 0 -> 0": ("f", lambda x: (x * 0, 0)),
    "x - x -> 0": ("f", lambda x: (x - x, 0)),
    "x / x -> 1": ("f", lambda x: (x / x, 1)),
    "(x + y) - x -> y": ("f", lambda x, y: ((x + y) - x, y)),
    "-(x - y) -> y - x": ("f", lambda x, y: (-(x - y), y - x)),
    "x / 3 -> x * (1/3)": ("f", lambda x: (x / 3, x * (1 / 3))),
    "x ** 3 -> x * x * x": ("f", lambda x: (x**3, x * x * x)),
    "sqrt(square(x)) -> abs(x)": ("f", lambda x: (sqrt(square(x)), abs(x))),
    "maximum(x, 0) -> relu(x)": ("f", lambda x: (maximum(x, 0), relu(x))),
    "where(x > 0, x, 0) -> relu(x)": ("f", lambda x: (where(x > 0, x, 0), relu(x))),
    "abs(-x) -> abs(x)": ("u", lambda x: (abs(-x), abs(x))),
    "(x // y) * y -> x": ("i", lambda x, y: ((x // y) * y, x)),
    "(x * 2) // 2 -> x": ("i", lambda x: ((x * 2) // 2, x)),
    "abs(abs(x)) -> x": ("i", lambda x: (abs(abs(x)), x)),
}
_NOT_STABLE: dict[str, Body] = {
    "exp(log(x)) -> x": lambda x: (exp(log(x)), x),
    "sqrt(x) * sqrt(x) -> x": lambda x: (sqrt(x) * sqrt(x), x),
    "x / sqrt(x) -> sqrt(x)": lambda x: (x / sqrt(x), sqrt(x)),
    "sqrt(x) -> exp(log(x) / 2)": lambda x: (sqrt(x), exp(log(x) * 0.5)),
    "expm1 undone": lambda x: (log(exp(x)), log(exp(x) * 1.0001)),
    "abs(x) -> sqrt(x * x)": lambda x: (abs(x), sqrt(x * x)),
    "x * y -> exp(log(x) + log(y))": lambda x, y: (x * y, exp(log(x) + log(y))),
    "wrong at -inf": lambda x, y: (log(exp(x) + exp(y)), maximum(x, y) + softplus(-abs(x - y))),
    "inf becomes NaN": lambda x: (x * 2, x + (x - x) + x),
    "sign lost": lambda x: (x * square(x), abs(x) * square(x)),
}


def _rule(promise: Promise, body: Body, kinds: str = "f") -> object:
    body.__doc__ = "before -> after"
    body.__name__ = "wrong"
    return Ruleset("planted").rule(promise, kinds=kinds)(body)


@pytest.mark.parametrize("what", _NOT_EXACT)
def test_what_is_not_exact_is_caught(what: str) -> None:
    kinds, body = _NOT_EXACT[what]
    with pytest.raises(GraphError, match="breaks its promise to be exact") as caught:
        certify(_rule(EXACT, body, kinds))  # type: ignore[arg-type]
    assert caught.value.expected
    assert caught.value.given


@pytest.mark.parametrize("what", _NOT_STABLE)
def test_what_is_not_stable_is_caught(what: str) -> None:
    with pytest.raises(GraphError, match="breaks its promise to be stable"):
        certify(_rule(STABLE, _NOT_STABLE[what]))  # type: ignore[arg-type]


def test_a_sum_that_loses_a_term_is_caught() -> None:
    rules = Ruleset("planted")

    @rules.rewrite(ORDER, "sum")
    def drop_a_row(node: Node) -> Result:
        """sum(x) -> sum(x[1:])"""
        x = node.inputs[0]
        if x.node.op.name == "pad":
            return None
        return apply(node.op, (gc.pad(x[1:], [(1, 0)]),), **node.attrs).output()

    example = lambda d: gc.sum(gc.placeholder("x", (5,), d))  # noqa: E731
    with pytest.raises(GraphError, match="promise to be order"):
        certify(drop_a_row, [example])


def test_a_rule_that_fits_no_program_is_caught() -> None:
    rules = Ruleset("planted")

    @rules.rewrite(EXACT, "exp")
    def nothing(node: Node) -> Result:
        """exp(x) -> exp(x)"""
        return None

    with pytest.raises(GraphError, match="no program"):
        certify(nothing)
    with pytest.raises(GraphError, match="does not rewrite"):
        certify(nothing, [lambda d: gc.exp(gc.placeholder("x", ("n",), d))])


# -- what the certificates measure with ------------------------------------------------------------
def test_same_bits() -> None:
    a = np.array([0.0, -0.0, np.nan, 1.0, np.inf], np.float32)
    b = np.array([-0.0, -0.0, -np.nan, 1.0, -np.inf], np.float32)
    assert same_bits(a, b).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("dtype", [gc.float32, gc.float64])
def test_units_in_the_last_place(dtype: gc.DType) -> None:
    one, limits = dtype.numpy.type(1), np.finfo(dtype.numpy)
    assert ulps(one, mpmath.mpf(1)) == 0
    assert ulps(np.nextafter(one, one * 2), mpmath.mpf(1)) == 1
    assert ulps(limits.max, mpmath.mpf(float(limits.max))) == 0
    assert ulps(dtype.numpy.type(np.inf), mpmath.mpf(10) ** 400) == 0
    assert ulps(dtype.numpy.type(np.inf), mpmath.mpf(1)) == np.inf
    assert ulps(limits.smallest_subnormal, mpmath.mpf(0)) == 1
    assert ulps(limits.eps / 2, mpmath.mpf(0), scale=1.0) == 0.5


def test_special_values_hold_the_edges() -> None:
    values = special_values(gc.float32)
    assert np.isnan(values).sum() == 1
    assert np.signbit(values[values == 0]).sum() == 1
    assert {np.iinfo(np.int8).min, np.iinfo(np.int8).max} <= set(special_values(gc.int8).tolist())


def test_extended_values_do_not_overflow() -> None:
    x = gc.placeholder("x", (3,))
    arrays = [np.array([1000.0, -1000.0, 0.5], np.float32)]
    (found,) = extended_values(graph_of(gc.log(gc.sum(gc.exp(x)))), arrays)
    assert mpmath.almosteq(found[()], 1000)
    (found,) = extended_values(graph_of(gc.log(1 + gc.exp(x))), arrays)
    assert mpmath.almosteq(found[1], mpmath.exp(-1000))
    (found,) = extended_values(graph_of(gc.softmax(x)), arrays)
    assert mpmath.almosteq(found[2], mpmath.exp(-999.5))


def test_extended_values_of_what_has_none() -> None:
    x = gc.placeholder("x", (4,))
    arrays = [np.array([0.0, -1.0, np.inf, -np.inf], np.float32)]
    (roots,) = extended_values(graph_of(gc.sqrt(x)), arrays)
    assert [bool(mpmath.isnan(v)) for v in roots] == [False, True, False, True]
    (inverse,) = extended_values(graph_of(1 / x), arrays)
    assert [float(v) for v in inverse] == [np.inf, -1.0, 0.0, 0.0]
    (chosen,) = extended_values(graph_of(gc.where(gc.greater(x, 0), x, 1)), arrays)
    assert [float(v) for v in chosen] == [1.0, 1.0, np.inf, 1.0]
