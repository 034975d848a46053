"""Loops, branches and host calls, compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import LinAlgError
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.structure import flatten
from graphc.ir.text import parse_graph, print_graph
from tests.compiling import agree

rng = np.random.default_rng(0)
D = "float64"
X = gc.placeholder("x", ("t",), D)
M, H = gc.placeholder("m", ("t", "n"), D), gc.placeholder("h", ("n",), D)
W = gc.placeholder("w", ("n", "n"), D)
ZERO, ONE = gc.constant(0.0, D), gc.constant(1.0, D)


def f64(*shape: int) -> np.ndarray[Any, Any]:
    return rng.normal(size=shape)


def with_gradients(results: Any, wrt: list[gc.Tensor]) -> list[gc.Tensor]:
    outputs = flatten(results)[0]
    if not wrt:
        return outputs
    loss = sum(gc.sum(gc.tanh(o * 1.3)) for o in outputs)
    return [*outputs, *gc.grad(loss, wrt)]


# -- loops over a vector, with a scalar carry ------------------------------------------------------
SCALAR: dict[str, Callable[[], Any]] = {
    "running sum": lambda: gc.scan(lambda c, v: (c + v, c + v), ZERO, X),
    "reversed": lambda: gc.scan(lambda c, v: (c * 0.5 + v, c), ZERO, X, reverse=True),
    "y is the old carry": lambda: gc.scan(lambda c, v: (v, c), ZERO, X),
    "no carry": lambda: gc.scan(lambda _, v: (None, gc.sin(v) * v), None, X),
    "y is x": lambda: gc.scan(lambda c, v: (c, v), ZERO, X),
    "swap": lambda: gc.scan(lambda c, v: ((c[1], c[0] + v), c[0]), (ZERO, ONE), X),
    "rotation": lambda: gc.scan(
        lambda c, v: ((c[1], c[2], c[0]), c[0] * v), (ZERO, ONE, ONE * 7), X
    ),
    "one value everywhere": lambda: gc.scan(
        lambda c, v: ((c[0] + v, c[0] + v), (c[0] + v, c[0] + v, v)), (ZERO, ZERO), X
    ),
    "product of carries": lambda: gc.scan(
        lambda c, v: ((c[1], c[0] + c[1] * v), c[0] * c[1]), (ONE, ONE), X
    ),
    "branches in it": lambda: gc.scan(
        lambda c, v: (
            gc.cond(v > 0, lambda c: c + v, lambda c: c * 0.5, c),
            gc.cond(c > v, lambda: c, lambda: v),
        ),
        ZERO,
        X,
    ),
    "loop in a branch": lambda: gc.cond(
        gc.sum(X) > 0,
        lambda q: gc.scan(lambda c, v: (c + v * v, c), ZERO, q)[1],
        lambda q: gc.scan(lambda c, v: (c * v, c), ONE, q, reverse=True)[1],
        X,
    ),
}


@pytest.mark.parametrize("case", SCALAR)
def test_loops_with_scalar_carries(case: str) -> None:
    agree([X], with_gradients(SCALAR[case](), [X]), (f64(5),), (-np.ones(4),), (f64(1),), (f64(0),))


def test_loops_with_constants() -> None:
    two = gc.constant(2.0, D)
    outputs = [
        *gc.scan(lambda c, v: (two, c), ZERO, X),
        *gc.scan(lambda c, v: (c + v, two), ZERO, X),
        *gc.scan(lambda c, _: (c * 2, c), ONE, length=4),
        *gc.scan(lambda c, _: (c * 2, c), ONE, length=0),
    ]
    agree([X], outputs, (f64(3),), (f64(0),))


# -- loops over a matrix, with a vector or matrix carry --------------------------------------------
VECTOR: dict[str, tuple[Callable[[], Any], list[gc.Tensor]]] = {
    "rnn": (lambda: gc.scan(lambda h, v: ((q := gc.tanh(h @ W + v)), q), H, M), [M, W, H]),
    "rnn reversed": (
        lambda: gc.scan(lambda h, v: ((q := gc.tanh(h @ W + v)), q), H, M, reverse=True), [M, W, H],
    ),
    "reversing the carry": (lambda: gc.scan(lambda h, v: (h[::-1], h + v), H, M), [M, H]),
    "reversing, with work": (lambda: gc.scan(lambda h, v: (h[::-1] + v, h), H, M), [M, H]),
    "sum of the carry": (
        lambda: gc.scan(lambda h, v: (h - gc.sum(h) * v, gc.sum(h)), H, M), [M, H],
    ),
    "views of the carry": (
        lambda: gc.scan(
            lambda c, v: (gc.reshape(c, (-1, 1))[:, 0] + v, gc.reshape(c, (1, -1))), H, M
        ),
        [M, H],
    ),
    "starting from xs": (lambda: gc.scan(lambda c, v: (c + v, gc.sum(c, axis=0)), M, M), [M]),
    "one start for two": (
        lambda: gc.scan(lambda c, v: ((c[0] + v, c[1] * 2), c[0] * c[1]), (H, H), M), [M, H],
    ),
}  # fmt: skip
MATRIX: dict[str, tuple[Callable[[], Any], list[gc.Tensor]]] = {
    "product with itself": (lambda: gc.scan(lambda c, v: (c.T @ c * 0.1 + v, c), W, M), [M, W]),
    "transposing": (lambda: gc.scan(lambda c, v: (c.T, c[0]), W, M), [W]),
    "starting from a view": (lambda: gc.scan(lambda c, v: (c + v, c), W[0], M), [M, W]),
}


def shaped(t: int, n: int) -> tuple[Any, ...]:
    return f64(t, n), f64(n, n), f64(n)


@pytest.mark.parametrize("case", VECTOR)
def test_loops_with_vector_carries(case: str) -> None:
    build, wrt = VECTOR[case]
    calls = [shaped(5, 3), shaped(0, 3), shaped(1, 1), shaped(4, 0)]
    agree([M, W, H], with_gradients(build(), wrt), *calls)


@pytest.mark.parametrize("case", MATRIX)
def test_loops_with_matrix_carries(case: str) -> None:
    build, wrt = MATRIX[case]
    calls = [shaped(5, 3), shaped(0, 3), shaped(1, 1)]
    agree([M, W, H], with_gradients(build(), wrt), *calls)


def cell(c: Any, v: Any) -> Any:
    return gc.tanh(c * 0.9 + v), c


NESTED: dict[str, Callable[[Any, Any], Any]] = {
    "forward": lambda c, row: gc.scan(cell, c, row),
    "inner reversed": lambda c, row: gc.scan(cell, c, row, reverse=True),
    "three deep": lambda c, row: gc.scan(
        lambda s, v: (
            s * 0.9 + gc.sum(gc.scan(lambda a, _: (a * v + s, a), v, length=3)[1]),
            s,
        ),
        c,
        row,
    ),
}


@pytest.mark.parametrize("case", NESTED)
@pytest.mark.parametrize("reverse", [False, True])
def test_nested_loops(case: str, reverse: bool) -> None:
    results = gc.scan(NESTED[case], ZERO, M, reverse=reverse)
    calls = [(f64(t, n) * 0.5,) for t, n in ((4, 3), (0, 3), (3, 0), (1, 1))]
    agree([M], with_gradients(results, [M]), *calls)


def test_loops_and_branches_update_variables() -> None:
    w, h = gc.variable(f64(3, 3) * 0.3, name="w"), gc.variable(f64(3), name="h")
    x = gc.placeholder("x", ("t", 3), D)
    last, ys = gc.scan(lambda c, v: ((q := gc.tanh(c @ w + v)), q), h, x)
    loss = gc.sum(ys**2)
    calls = [(f64(4, 3),), (f64(0, 3),), (-np.ones((2, 3)),)]
    agree([x], [loss, h, last], *calls, updates={w: w - 0.1 * gc.grad(loss, w), h: last})
    turned, seen = gc.scan(lambda c, v: (c[::-1], c), h, x)
    agree([x], seen, *calls, updates={h: turned})
    agree([x], h, *calls, updates={h: gc.cond(gc.sum(x) > 0, lambda: h * 2, lambda: h)})


# -- branches --------------------------------------------------------------------------------------
def test_both_branches_and_their_gradients() -> None:
    p = gc.placeholder("p", (), "bool")
    a, b = gc.placeholder("a", ("n",), D), gc.placeholder("b", ("n",), D)
    r = gc.cond(p, lambda u, v: (u, v * 2, gc.sum(u)), lambda u, v: (v, u - 1, gc.sum(v)), a, b)
    gradients = gc.grad(gc.sum(r[0] * r[1]) + r[2], [a, b])
    calls = [(choice, f64(n), f64(n)) for choice in (True, False) for n in (3, 1, 0)]
    agree([p, a, b], [*r, *gradients], *calls)


def test_branches_that_give_operands_views_and_constants() -> None:
    a = gc.placeholder("a", ("n",), D)
    positive = gc.sum(a) > 0
    same = gc.cond(positive, lambda u: u, lambda u: u, a)
    view = gc.cond(positive, lambda: a[::-1], lambda: a * 2)
    outputs = [
        same, same + 1, view, gc.grad(gc.sum(view**2), a),
        gc.cond(positive, lambda: ONE, lambda: ZERO),
    ]  # fmt: skip
    agree([a], outputs, (np.arange(3.0),), (-np.arange(3.0),), (f64(0),))


def test_only_the_branch_taken_runs() -> None:
    a, b = gc.placeholder("a", (2, 2), D), gc.placeholder("b", (2,), D)
    r = gc.cond(gc.sum(a) > 0, gc.linalg.solve, lambda a, b: b, a, b)
    agree([a, b], r, (np.eye(2), f64(2)), (np.zeros((2, 2)), f64(2)), (np.ones((2, 2)), f64(2)))


# -- a tanh RNN, against NumPy's loop --------------------------------------------------------------
def numpy_rnn(x: Any, h: Any, wx: Any, wh: Any, b: Any) -> tuple[Any, ...]:
    """The loss sum(h_t^2) and its gradients, by back-propagation through time."""
    states = [h]
    for row in x:
        states.append(np.tanh(row @ wx + states[-1] @ wh + b))
    loss = sum((s * s).sum() for s in states[1:])
    dx, dh, dwx, dwh, db = (np.zeros_like(a) for a in (x, h, wx, wh, b))
    for t in reversed(range(len(x))):
        dz = (dh + 2 * states[t + 1]) * (1 - states[t + 1] ** 2)
        dx[t], dh = dz @ wx.T, dz @ wh.T
        dwx += x[t].T @ dz
        dwh += states[t].T @ dz
        db += dz.sum(axis=0)
    return loss, dx, dh, dwx, dwh, db


def rnn() -> tuple[list[gc.Tensor], list[gc.Tensor]]:
    x, h = gc.placeholder("x", ("t", "b", 3), D), gc.placeholder("h", ("b", 4), D)
    wx, wh = gc.placeholder("wx", (3, 4), D), gc.placeholder("wh", (4, 4), D)
    b = gc.placeholder("b", (4,), D)
    _, ys = gc.scan(lambda c, v: ((q := gc.tanh(v @ wx + c @ wh + b)), q), h, x)
    loss = gc.sum(ys**2)
    inputs = [x, h, wx, wh, b]
    return inputs, [loss, *gc.grad(loss, inputs)]


def rnn_arrays(steps: int) -> list[Any]:
    return [f64(steps, 5, 3), f64(5, 4), f64(3, 4) * 0.5, f64(4, 4) * 0.5, f64(4)]


def test_an_rnn_of_50_steps_equals_numpys_loop() -> None:
    inputs, outputs = rnn()
    function = gc.compile(inputs, outputs)
    for steps in (50, 1, 0):
        arrays = rnn_arrays(steps)
        for given, expected in zip(function(*arrays), numpy_rnn(*arrays), strict=True):
            np.testing.assert_allclose(given, expected, rtol=1e-10, atol=1e-10)


def python_events(function: Any, arrays: Any) -> int:
    """The Python and C functions that one call enters."""
    function(*arrays)
    seen: list[str] = []
    sys.setprofile(lambda frame, event, argument: seen.append(event))
    try:
        function(*arrays)
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in seen)


def test_no_step_of_a_loop_runs_python() -> None:
    function = gc.compile(*rnn())
    assert python_events(function, rnn_arrays(50)) == python_events(function, rnn_arrays(2))


# -- host calls ------------------------------------------------------------------------------------
def test_solve_in_a_gradient_and_in_a_loop() -> None:
    m, b = gc.placeholder("m", (3, 3), D), gc.placeholder("b", (3,), D)
    x = gc.placeholder("x", ("t", 3), D)
    h, v = gc.variable(f64(3), name="h"), gc.variable(f64(3, 3), name="v")
    solved = gc.linalg.solve(m, b)
    gradients = gc.grad(gc.sum(solved**2), [m, b])
    singular = np.zeros((3, 3))
    agree(
        [m, b], [solved, *gradients], (f64(3, 3), f64(3)), (singular, f64(3)),
        updates={h: h + solved, v: v + gradients[0]},
    )  # fmt: skip
    last, ys = gc.scan(
        lambda c, row: ((q := gc.linalg.solve(m + gc.sum(row) * 0.1, c)), q * 2), b, x
    )
    gradients = gc.grad(gc.sum(ys), [m, b])
    agree(
        [m, b, x],
        [gc.sum(ys), *gradients],
        (f64(3, 3) + 3 * np.eye(3), f64(3), f64(4, 3)),
        (singular, f64(3), np.zeros((4, 3))),
        (singular, f64(3), np.zeros((0, 3))),
        updates={h: h + last, v: v + gradients[0]},
    )


def test_a_failure_late_in_a_loop_names_the_line_and_changes_nothing() -> None:
    x, b = gc.placeholder("x", ("t", 2, 2), D), gc.variable(np.ones(2), name="b")
    count = gc.variable(0, name="count")
    last, _ = gc.scan(lambda c, a: (gc.linalg.solve(a, c), None), b, x)
    function = gc.compile([x], last, {b: last, count: count + 1})
    good = np.stack([np.eye(2)] * 5)
    bad = good.copy()
    bad[3] = 0
    function(good)
    with pytest.raises(LinAlgError, match=r"solve: .*singular(\n.*)*test_control\.py:\d+"):
        function(bad)
    assert count.value == 1
    assert b.value.tobytes() == np.ones(2).tobytes()
    function(good)
    assert count.value == 2


def test_two_outputs_and_batches_of_host_calls() -> None:
    a = gc.placeholder("a", ("k", 3, 3), D)
    sign, log = gc.linalg.slogdet(a)
    outputs = [sign, log, gc.grad(gc.sum(log), a), gc.linalg.inv(a), gc.linalg.det(a)]
    outputs.append(gc.linalg.inv(gc.matrix_transpose(a)))
    agree([a], outputs, *((f64(k, 3, 3),) for k in (4, 1, 0)))


def test_loops_and_two_outputs_survive_text_and_the_cache() -> None:
    """The graph, its text read back, and a second function (from the cache) agree."""
    inputs, outputs = rnn()
    a = gc.placeholder("a", (3, 3), D)
    sign, log = gc.linalg.slogdet(a)
    choice = gc.cond(sign > 0, lambda: log, lambda: -log)
    turns = gc.while_loop(lambda c: c * c < gc.sum(a * a), lambda c: c + 1, 0)
    chosen = gc.switch(turns, [gc.sin, gc.exp, gc.cos], log)
    zero = gc.root(lambda r: gc.exp(r) + r - log, 0.0)
    inputs = [*inputs, a]
    outputs = [*outputs, sign, log, choice, turns, chosen, zero, gc.grad(zero, a)]
    arrays = [*rnn_arrays(7), f64(3, 3)]
    function = gc.compile(inputs, outputs)
    again = gc.compile(inputs, outputs)
    for x, y in zip(function(*arrays), again(*arrays), strict=True):
        np.testing.assert_array_equal(x, y)
    for graph in (function.graph, function.optimized):
        assert parse_graph(print_graph(graph)) is graph
    optimized = evaluate_graph(function.optimized, arrays)
    for x, y in zip(optimized, evaluate_graph(function.graph, arrays), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-13)
