"""cond and switch: NumPy branches, closures, gradients by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.graph import walk
from graphc.ops.branch import SWITCH
from tests.ops.gradients import assert_gradient


def nodes(op: Any, *tensors: gc.Tensor) -> list[Any]:
    return [node for node in walk(tensors) if node.op is op]


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


X = gc.placeholder("X", ("t", 3))


def test_cond_takes_one_branch() -> None:
    x, y = f64("x", ("n",)), f64("y")
    w = gc.variable(np.array(2.0), name="w")
    found = gc.cond(
        y > 0, lambda a: {"s": a * w + y, "t": (y,)}, lambda a: {"s": -a, "t": (w * 3,)}, x
    )
    values = np.array([1.0, 2.0])
    for scalar, s, t in ((0.5, values * 2 + 0.5, 0.5), (-1.0, -values, 6.0)):
        given = gc.evaluate([found["s"], found["t"][0]], {x: values, y: scalar})
        np.testing.assert_array_equal(given[0], s)
        assert given[1] == t
    (node,) = nodes(SWITCH, found["s"])
    assert set(node.inputs[1:]) == {x, w, y}


def test_cond_gradients_of_both_branches() -> None:
    x, w, c = f64("x", (3,)), f64("w", (3,)), f64("c")
    outer = gc.exp(w)
    y = gc.cond(c > 0, lambda: gc.sum(gc.sin(x) * outer), lambda: gc.sum(x**3) * c)
    values = {x: np.array([0.3, -0.2, 0.9]), w: np.array([0.1, 0.2, 0.3])}
    for choice in (0.5, -0.5):
        assert_gradient(y + c, values | {c: choice})
        assert_gradient(gc.sum(gc.grad(y, x) ** 2) + gc.sum(w * c), values | {c: choice}, 1e-5)


def test_the_branch_not_taken_does_not_poison() -> None:
    x = f64("x")
    y = gc.cond(x > 0, lambda a: gc.log(a) * gc.sqrt(a), lambda a: a * 0.0, x)
    for value in (-1.0, 0.0):
        found = gc.evaluate([y, gc.grad(y, x)], {x: value})
        np.testing.assert_array_equal(found, [0.0, 0.0])


def test_what_may_fail_runs_in_its_branch_only() -> None:
    a = f64("a", (2, 2))
    unsafe = gc.linalg.inv(a)  # alive, but not what the branch computes
    y = gc.cond(
        gc.linalg.det(a) != 0, lambda m: gc.sum(gc.linalg.inv(m)), lambda m: gc.sum(m), a
    )
    assert unsafe.node not in walk([y])
    assert gc.evaluate(y, {a: np.ones((2, 2))}) == 4
    np.testing.assert_allclose(gc.evaluate(y, {a: np.diag([2.0, 4.0])}), 0.75)
    np.testing.assert_array_equal(
        gc.evaluate(gc.grad(y, a), {a: np.ones((2, 2))}), np.ones((2, 2))
    )


def test_nothing_is_hoisted_out_of_a_branch() -> None:
    x = f64("x", (3,))
    y = gc.cond(gc.sum(x) > 0, lambda: gc.sum(gc.exp(x * 2)), lambda: gc.sum(x))
    assert "exp" not in {node.op.name for node in walk([y])}
    assert y is gc.cond(gc.sum(x) > 0, lambda: gc.sum(gc.exp(x * 2)), lambda: gc.sum(x))


def test_cond_inside_scan_and_scan_inside_cond() -> None:
    x, w, limit = f64("x", ("t",)), f64("w"), f64("limit")

    def step(c: Any, v: Any) -> Any:
        c = gc.cond(c > limit, lambda s: s * 0.5, lambda s: s + v * w, c)
        return c, c

    def loop() -> Any:
        return gc.sum(gc.scan(step, w, x)[1])

    y = gc.cond(gc.size(x) > 2, loop, lambda: gc.sum(x) * w)
    for values in ([1.0, 2.0], [0.5, 2.0, 1.5, -1.0]):
        c, total = 0.7, 0.0
        for v in values:
            c = c * 0.5 if c > 1 else c + v * 0.7
            total += c
        feeds = {x: values, w: 0.7, limit: 1.0}
        expected = total if len(values) > 2 else sum(values) * 0.7
        np.testing.assert_allclose(gc.evaluate(y, feeds), expected, rtol=1e-14)
        assert_gradient(y + limit, feeds)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gc.cond(X, lambda: X, lambda: X), ShapeError, "one truth value"),
        (lambda: gc.cond(True, lambda: X, lambda: X[0]), ShapeError, "types for result"),
        (lambda: gc.cond(True, lambda: X, lambda: (X,)), ArgumentError, "another structure"),
    ],
)
def test_cond_errors_name_both_sides(build: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build()
    assert caught.value.op == "cond"
    assert caught.value.expected
    assert "test_branch.py" in caught.value.where


@pytest.mark.parametrize(
    ("yes", "no", "dtype"),
    [
        ("float64", "int64", "float64"),
        ("int8", "int32", "int32"),
        ("bool", "float32", "float32"),
        ("float32", 2, "float32"),
        (1, "float64", "float64"),
        (1, 0.5, "float64"),
        ("int32", 0.5, "float64"),
    ],
)
def test_branches_promote_as_in_where(yes: Any, no: Any, dtype: str) -> None:
    p = gc.placeholder("p", (), "bool")
    sides = [gc.placeholder(f"s{i}", (), d) if isinstance(d, str) else d
             for i, d in enumerate((yes, no))]  # fmt: skip
    y = gc.cond(p, lambda: sides[0], lambda: sides[1])
    assert y.dtype.name == dtype
    assert y.weak == gc.where(p, *sides).weak
    feeds = {s: np.ones((), s.dtype.numpy) for s in sides if isinstance(s, gc.Tensor)}
    f = gc.compile([p, *feeds], y)
    for choice in (True, False):
        side = sides[0] if choice else sides[1]
        expected = 1 if isinstance(side, gc.Tensor) else side
        assert gc.evaluate(y, feeds | {p: choice}) == expected
        assert f(choice, *feeds.values()) == expected


# -- switch ----------------------------------------------------------------------------------------
def test_switch_takes_one_branch_and_clamps_the_index() -> None:
    i, x, w = gc.placeholder("i", (), "int64"), f64("x", (3,)), f64("w")
    y = gc.switch(
        i,
        [
            lambda v: (gc.sin(v) * w, {"s": w}),
            lambda v: (v * v, {"s": w * 2}),
            lambda v: (v, {"s": 0}),
        ],
        x,
    )
    f = gc.compile([i, x, w], [y[0], y[1]["s"], *gc.grad(gc.sum(y[0] ** 2) + y[1]["s"], [x, w])])
    v, a = np.array([0.5, -1.0, 2.0]), 0.7
    sin, cos = np.sin(v), np.cos(v)
    expected = [
        (sin * a, a, 2 * sin * a * cos * a, (2 * sin * sin * a).sum() + 1),
        (v * v, 2 * a, 4 * v**3, 2.0),
        (v, 0.0, 2 * v, 0.0),
    ]
    for at in (-(2**40), -1, 0, 1, 2, 3, 2**62):
        want = expected[min(max(at, 0), 2)]
        for found in (f(at, v, a), gc.evaluate(list(f.graph.outputs), {i: at, x: v, w: a})):
            for one, other in zip(found, want, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_any_int_is_an_index(dtype: str) -> None:
    i = gc.placeholder("i", (), dtype)
    y = gc.switch(i, [lambda: 1.0, lambda: 2.0, lambda: 3.0])
    for at in {0, 1, 2, 3, int(np.iinfo(dtype).max), int(np.iinfo(dtype).min)}:
        assert gc.evaluate(y, {i: np.array(at, dtype)}) == min(max(at, 0), 2) + 1


def test_the_derivative_of_a_switch_is_a_switch() -> None:
    i, x = gc.placeholder("i", (), "int64"), f64("x")
    y = gc.switch(i, [gc.exp, lambda v: v * 0.0, gc.log], x)
    (first,) = nodes(SWITCH, y)
    slope = gc.grad(y, x)
    assert [len(n.attrs["branches"]) for n in nodes(SWITCH, slope)] == [3]
    assert first not in nodes(SWITCH, slope)
    assert gc.evaluate([y, slope], {i: 1, x: -1.0}) == [0, 0]  # log(-1) does not poison
    assert_gradient(y + slope, {x: 0.7, i: 2})


def test_one_branch_and_a_known_index() -> None:
    x = f64("x")
    assert gc.evaluate(gc.switch(5, [gc.sin], x), {x: 0.0}) == 0
    assert gc.compile([x], gc.switch(1, [gc.sin, gc.exp], x))(0.0) == 1


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gc.switch(X[0, 0], [lambda: X]), DTypeError, "one int"),
        (lambda: gc.switch(True, [lambda: X]), DTypeError, "one int"),
        (lambda: gc.switch([0, 1], [lambda: X]), ShapeError, "one int"),
        (lambda: gc.switch(0, []), ArgumentError, "functions in a list"),
        (lambda: gc.switch(0, lambda: X), ArgumentError, "functions in a list"),
        (lambda: gc.switch(0, [lambda: X, X]), ArgumentError, "branch 1 is a function"),
        (lambda: gc.switch(0, [lambda: X, lambda: (X,)]), ArgumentError, "result of branch 1"),
        (lambda: gc.switch(0, [lambda: X, lambda: X, lambda: X[0]]), ShapeError, "in branch 2"),
    ],
)
def test_switch_errors_name_both_sides(build: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build()
    assert caught.value.op == "switch"
    assert caught.value.expected
    assert "test_branch.py" in caught.value.where
