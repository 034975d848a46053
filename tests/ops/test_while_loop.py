"""while_loop and fori_loop against Python's loops, interpreted and compiled; what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GradientError, RuntimeFailure, ShapeError
from graphc.ir.graph import walk
from graphc.ops.scan import SCAN
from graphc.ops.while_loop import WHILE
from tests.ops.gradients import assert_gradient


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


def both(inputs: list[gc.Tensor], outputs: Any) -> list[Callable[..., Any]]:
    """The outputs as functions of arrays: by NumPy, and compiled."""
    interpreted = lambda *arrays: gc.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))  # noqa: E731
    return [interpreted, gc.compile(inputs, outputs)]


# -- values ----------------------------------------------------------------------------------------
def test_collatz() -> None:
    n = gc.placeholder("n", (), "int64")
    even, odd = (lambda v: v // 2), (lambda v: 3 * v + 1)
    steps, last = gc.while_loop(
        lambda c: c[1] != 1, lambda c: (c[0] + 1, gc.cond(c[1] % 2 == 0, even, odd, c[1])), (0, n)
    )
    for run in both([n], [steps, last]):
        for start in (1, 2, 7, 27):
            v, count = start, 0
            while v != 1:
                v, count = v // 2 if v % 2 == 0 else 3 * v + 1, count + 1
            assert run(np.int64(start)) == [count, 1]


def test_power_iteration_of_any_size() -> None:
    """The carry is a dict with a vector; the matrix is used from outside."""
    a = f64("a", ("n", "n"))

    def step(c: Any) -> Any:
        w = a @ c["v"]
        w = w / gc.sqrt(gc.sum(w * w))
        return {"v": w, "change": gc.max(gc.abs(w - c["v"])), "turns": c["turns"] + 1}

    first = {"v": gc.ones_like(a[0]), "change": 1.0, "turns": 0}
    found = gc.while_loop(lambda c: c["change"] > 1e-13, step, first)
    assert found["change"].dtype is gc.float64
    assert found["turns"].dtype is gc.int64
    rng = np.random.default_rng(3)
    for run in both([a], [found["v"], found["turns"]]):
        for n in (2, 5):
            m = rng.normal(size=(n, n))
            m = m @ m.T + np.eye(n)
            vector, turns = run(m)
            assert turns > 1
            np.testing.assert_allclose(np.abs(vector), np.abs(np.linalg.eigh(m)[1][:, -1]), 1e-9)


def test_the_carry_may_swap_and_need_no_turn() -> None:
    x, y = f64("x", ("n",)), f64("y", ("n",))
    found = gc.while_loop(lambda c: c[2] < 3, lambda c: (c[1], c[0], c[2] + 1), (x, y, 0))
    none = gc.while_loop(lambda c: gc.sum(c) < 0, lambda c: c * 2, x)
    for run in both([x, y], [*found, none]):
        a, b = np.arange(4.0), -np.arange(4.0)
        first, second, turns, same = run(a, b)
        np.testing.assert_array_equal(first, b)
        np.testing.assert_array_equal(second, a)
        np.testing.assert_array_equal(same, a)
        assert turns == 3


def test_a_nested_loop_and_one_in_a_scan_and_a_branch() -> None:
    x, n = f64("x", ("t",)), gc.placeholder("n", (), "int64")

    def halve(v: Any) -> Any:
        return gc.while_loop(lambda c: c > 1, lambda c: c / 2, v)

    def outer(c: Any) -> Any:
        return c[0] + 1, c[1] + gc.sum(gc.scan(lambda _, v: (None, halve(v + c[0])), None, x)[1])

    total = gc.while_loop(lambda c: c[0] < n, outer, (0, 0.0))[1]
    chosen = gc.cond(n > 2, lambda: halve(total), lambda: total)
    data = np.array([0.3, 5.0, 17.0])

    def down(v: float) -> float:
        while v > 1:
            v /= 2
        return v

    for run in both([x, n], [total, chosen]):
        for count in (0, 1, 3):
            want = sum(down(v + i) for i in range(count) for v in data)
            np.testing.assert_allclose(run(data, count), [want, down(want) if count > 2 else want])


def test_invariants_are_computed_before_the_loop_and_dims_are_those_outside() -> None:
    x, w = f64("x", ("n",)), f64("w", ("n",))
    y = gc.while_loop(lambda c: gc.sum(c) < 10, lambda c: c + gc.exp(w) * gc.size(w), x)
    (node,) = [n for n in walk([y]) if n.op is WHILE]
    assert all(inner.op.name != "exp" for inner in node.attrs["body"].nodes)
    for run in both([x, w], y):
        a, b = np.zeros(3), np.array([0.1, 0.2, -0.3])
        want = a.copy()
        while want.sum() < 10:
            want = want + np.exp(b) * 3
        np.testing.assert_allclose(run(a, b), want, rtol=1e-14)


def test_a_loop_survives_text_copies_and_the_reference_target() -> None:
    x = gc.placeholder("x", (), "float32")
    y = gc.while_loop(lambda c: c < 100, lambda c: c * 3, x)
    f = gc.compile([x], y)
    text = gc.print_graph(f.graph)
    assert "while_loop %x" in text
    assert gc.parse_graph(text) is f.graph
    assert f(2.0) == gc.compile([x], y, target="reference")(2.0) == np.float32(162)
    assert gc.jit(lambda v: gc.while_loop(lambda c: c < 100, lambda c: c * 3, v))(
        np.float32(2)
    ) == np.float32(162)


def test_variables_are_written_after_the_loop_or_not_at_all() -> None:
    w = gc.variable(np.ones((2, 2)), "w_while")
    n = gc.placeholder("n", (), "int64")
    # The third turn inverts a singular matrix.
    flat = gc.constant(np.array([[1.0, 1.0], [1.0, 1.0]]))
    _, last = gc.while_loop(
        lambda c: c[0] < n,
        lambda c: (c[0] + 1, gc.linalg.inv(gc.where(c[0] == 2, flat, np.eye(2)))),
        (0, w),
    )
    f = gc.compile([n], [last], {w: w + 1})
    f(2)
    np.testing.assert_array_equal(w.value, np.full((2, 2), 2.0))
    with pytest.raises(RuntimeFailure) as caught:
        f(3)
    assert "test_while_loop.py" in caught.value.where
    np.testing.assert_array_equal(w.value, np.full((2, 2), 2.0))


def test_the_cost_is_for_each_turn() -> None:
    x = f64("x", ("n",))
    cost = gc.compile([x], gc.while_loop(lambda c: gc.sum(c) < 1, lambda c: c * 2 + 1, x)).cost()
    few, more, most = (cost.at(n=10, turns1=turns).flops for turns in (0, 1, 2))
    assert more - few == most - more == 10 * 2 + 10 + 1  # the step, and the condition once more
    with pytest.raises(ArgumentError, match="no size"):
        cost.at(n=10)
    assert re.search(r"turns1: the turns of a while loop, .*test_while_loop\.py:\d+", str(cost))


@pytest.mark.parametrize("n", [0, 3])
def test_carries_that_stay_or_come_from_outside_and_conditions_that_do_not_change(n: int) -> None:
    x, y, k = f64("x", ("n",)), f64("y", ("n",)), gc.placeholder("k", (), "int64")
    p = gc.placeholder("p", (), "bool")

    def counted(after: Any) -> Any:
        return gc.while_loop(lambda c: c[0] < k, lambda c: (c[0] + 1, after(c[1])), (0, x))[1]

    outputs = [
        counted(lambda c: y),
        counted(lambda c: c),
        gc.while_loop(lambda c: False, lambda c: c + 1, x),
        gc.while_loop(lambda c: p, lambda c: c + 1, x),
        *gc.while_loop(lambda c: c[1], lambda c: (c[0] * 2, gc.sum(c[0]) > 99), (x, True)),
    ]
    a, b = np.arange(float(n)), -np.arange(float(n))
    for run in both([x, y, k, p], outputs):
        found = run(a, b, 2, False)
        for got, want in zip(found, (b, a, a, a, a * 2, False), strict=True):
            np.testing.assert_array_equal(got, want)


def test_a_loop_of_whole_numbers_inside_of_what_is_differentiated() -> None:
    """It chooses an element in each step of a scan; the gradient flows past it."""
    x, y = f64("x", ("t",)), f64("y", (3,))

    def step(c: Any, v: Any) -> Any:
        root = gc.while_loop(lambda r: r * r < v.astype("int64"), lambda r: r + 1, 0)
        return c * v + root.astype("float64"), gc.take(y, root % 3) * c

    last, ys = gc.scan(step, 1.0, x)
    loss = last + gc.sum(ys)
    feeds = {x: np.array([1.3, 4.2, 8.9]), y: np.array([0.5, -1.0, 2.0])}
    assert_gradient(loss, feeds)
    found = gc.compile([x, y], gc.grad(loss, [x, y]))(*feeds.values())
    for one, other in zip(found, gc.evaluate(gc.grad(loss, [x, y]), feeds), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_matrix_products_by_threads_and_budgets() -> None:
    a, k = gc.placeholder("a", ("m", "m")), gc.placeholder("k", (), "int64")
    y = gc.while_loop(lambda c: c[0] < k, lambda c: (c[0] + 1, gc.tanh(a @ c[1])), (0, a))[1]
    matrix = np.random.default_rng(0).normal(size=(200, 200)).astype("float32") / 20
    want = matrix
    for _ in range(3):
        want = np.tanh(matrix @ want)
    for f in (
        gc.compile([a, k], y),
        gc.compile([a, k], y, memory_budget=1_000_000, sizes={"m": 200}),
    ):
        np.testing.assert_allclose(f(matrix, 3), want, atol=1e-6)


# -- gradients -------------------------------------------------------------------------------------
def test_a_gradient_is_refused_and_the_way_out_is_named() -> None:
    x, n = f64("x"), gc.placeholder("n", (), "int64")
    for y in (
        gc.while_loop(lambda c: c < 10, lambda c: c * 2, x),
        gc.fori_loop(0, n, lambda i, c: c * x, 1.0),
    ):
        with pytest.raises(GradientError, match="no gradient") as caught:
            gc.grad(y * x, x)
        assert "gc.scan" in caught.value.hint
        assert "gc.cond" in caught.value.hint
        assert "gc.root" in caught.value.hint
        assert "test_while_loop.py" in caught.value.where


def test_a_loop_beside_what_is_differentiated_does_not_disturb() -> None:
    x, n = f64("x"), gc.placeholder("n", (), "int64")
    turns = gc.while_loop(lambda c: c < n, lambda c: c * 2, 1)
    stopped = gc.while_loop(lambda c: c < 10, lambda c: c * 2, gc.stop_gradient(x))
    y = x**2 * turns.astype("float64") * stopped
    assert gc.evaluate(gc.grad(y, x), {x: 3.0, n: 5}) == 2 * 3 * 8 * 12


# -- fori_loop -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("lower", "upper"), [(0, 4), (2, 5), (-3, 1), (3, 3), (5, 2)])
def test_a_static_count_is_a_scan_with_a_gradient(lower: int, upper: int) -> None:
    x = f64("x")
    y = gc.fori_loop(lower, upper, lambda i, c: c * x + i, x)
    want = 0.7
    for i in range(lower, upper):
        want = want * 0.7 + i
    np.testing.assert_allclose(gc.evaluate(y, {x: 0.7}), want, rtol=1e-14)
    assert_gradient(y, {x: 0.7})


def test_known_bounds_of_any_kind_are_those_of_a_scan() -> None:
    x = f64("x")
    loops = [
        gc.fori_loop(np.int8(0), stop, lambda i, c: c * x, 1.0)
        for stop in (3, np.int64(3), np.array(3), gc.constant(3))
    ]
    assert len(set(loops)) == 1
    assert loops[0].node.op is SCAN


def test_a_symbolic_count_is_a_scan_and_one_of_the_call_a_while_loop() -> None:
    a, n = f64("a", ("n",)), gc.placeholder("k", (), "int32")

    def loop(lower: Any, upper: Any) -> Any:
        return gc.fori_loop(lower, upper, lambda i, c: (c[0] + a[0] * i, i), (0.0, 0))

    by_size, by_tensor = loop(1, a.shape[0]), loop(n, 7)
    assert [t.node.op for t in (by_size[0], by_tensor[0])] == [SCAN, WHILE]
    for run in both([a, n], [*by_size, *by_tensor]):
        found = run(np.full(5, 2.0), np.int32(3))
        assert [float(v) for v in found] == [2 * (1 + 2 + 3 + 4), 4, 2 * (3 + 4 + 5 + 6), 6]
    assert_gradient(by_size[0], {a: np.full(5, 2.0)})


# -- errors ----------------------------------------------------------------------------------------
X = f64("X", ("n", 3))
S = f64("S")


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gc.while_loop(lambda c: c > 0, lambda c: c.astype("float32"), S), DTypeError,
         "type of carry"),
        (lambda: gc.while_loop(lambda c: c[0] > 0, lambda c: (c[0], c[1][0]), (S, X)), ShapeError,
         r"type of carry\[1\]"),
        (lambda: gc.while_loop(lambda c: c > 0, lambda c: (c, c), S), ArgumentError,
         "another structure"),
        (lambda: gc.while_loop(lambda c: c > 0, lambda c: c, X), ShapeError, "one truth value"),
        (lambda: gc.while_loop(lambda c: None, lambda c: c, S), ArgumentError, "not a tensor"),
        (lambda: gc.while_loop(S > 0, lambda c: c, S), ArgumentError, "condition is a function"),
        (lambda: gc.while_loop(lambda c: c > 0, S, S), ArgumentError, "step is a function"),
        (lambda: gc.while_loop(lambda c: True, lambda c: c, None), ArgumentError,
         "without a carry"),
        (lambda: gc.while_loop(lambda c: True, lambda c: None, S), ArgumentError,
         "another structure"),
    ],
)  # fmt: skip
def test_errors_name_both_sides(build: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build()
    assert caught.value.op == "while_loop"
    assert caught.value.expected
    assert "test_while_loop.py" in caught.value.where


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gc.fori_loop(0, 1.5, lambda i, c: c, S), DTypeError, "one int"),
        (lambda: gc.fori_loop(True, 3, lambda i, c: c, S), DTypeError, "one int"),
        (lambda: gc.fori_loop(0, S, lambda i, c: c, S), DTypeError, "one int"),
        (lambda: gc.fori_loop([0, 1], 3, lambda i, c: c, S), ShapeError, "one int"),
        (lambda: gc.fori_loop(0, 3, S, S), ArgumentError, "step is a function"),
    ],
)
def test_bounds_are_single_ints(build: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build()
    assert caught.value.op == "fori_loop"
    assert "test_while_loop.py" in caught.value.where


@pytest.mark.parametrize("dtype", ["float32", "int8", "float64"])
def test_the_counter_takes_the_dtype_that_it_meets(dtype: str) -> None:
    x, n = gc.placeholder("counted", (), dtype), gc.placeholder("turns", (), "int64")
    for bound in (4, n):
        y = gc.fori_loop(1, bound, lambda i, c: c * 2 + i, x)
        assert y.dtype.name == dtype
        assert gc.evaluate(y, {x: 1, n: 4} if bound is n else {x: 1}) == 19
