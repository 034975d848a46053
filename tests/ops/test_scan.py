"""scan: NumPy loops, closures, gradients by hand and by differences."""

from __future__ import annotations

import gc as garbage
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    LinAlgError,
    RuntimeFailure,
    ShapeError,
)
from graphc.ir.graph import Graph, walk
from graphc.ir.structure import flatten, unflatten
from graphc.ops.scan import SCAN
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import DEFAULT
from tests.ops.gradients import assert_gradient

Array = np.ndarray[Any, Any]


def nodes(op: Any, *tensors: gc.Tensor) -> list[Any]:
    return [node for node in walk(tensors) if node.op is op]


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


# -- structures ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "tree", [None, 1, (), [], (1, [2, None]), {"b": 1, "a": (2,)}, [{"x": []}, ((3,),)]]
)
def test_structures_round_trip(tree: Any) -> None:
    leaves, structure = flatten(tree)
    assert unflatten(structure, leaves) == tree
    hash(structure)


# -- values ----------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_cumulative_sum_of_any_length(n: int) -> None:
    x = f64("x", ("n",))
    values = np.arange(1.0, n + 1)
    total, sums = gc.scan(lambda s, v: (s + v, s + v), gc.constant(0.0, "float64"), x)
    assert total.shape == ()
    assert sums.shape == x.shape
    found = gc.evaluate([total, sums], {x: values})
    np.testing.assert_array_equal(found[0], values.sum())
    np.testing.assert_array_equal(found[1], np.cumsum(values))


@pytest.mark.parametrize("reverse", [False, True])
def test_structured_carries_and_ys(reverse: bool) -> None:
    x, y = f64("x", ("t", 3)), gc.placeholder("y", ("t",), "int64")

    def step(carry: Any, slices: Any) -> Any:
        a, b = carry["a"] * 0.5 + slices[0], carry["b"] + slices[1]
        return {"b": b, "a": a}, [a.sum() + carry["b"].astype("float64"), None, (b, slices[0])]

    first = {"a": np.ones(3), "b": 2}
    last, (mixed, nothing, (bs, xs)) = gc.scan(step, first, (x, y), reverse=reverse)
    assert nothing is None
    values, counts = np.random.default_rng(0).normal(size=(5, 3)), np.arange(5) ** 2
    found = gc.evaluate([last["a"], last["b"], mixed, bs, xs], {x: values, y: counts})

    a, b = np.ones(3), 2
    expected_mixed, expected_b = np.zeros(5), np.zeros(5, int)
    for i in reversed(range(5)) if reverse else range(5):
        before, a, b = b, a * 0.5 + values[i], b + counts[i]
        expected_mixed[i], expected_b[i] = a.sum() + before, b
    expected = [a, b, expected_mixed, expected_b, values]
    for given, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-14)


@pytest.mark.parametrize("length", [0, 1, 6])
def test_length_without_xs(length: int) -> None:
    last, ys = gc.scan(lambda c, x: (c * 2, c), 1, length=length)
    np.testing.assert_array_equal(gc.evaluate(last), 2**length)
    np.testing.assert_array_equal(gc.evaluate(ys), 2 ** np.arange(length))
    assert ys.shape == (length,)


def test_a_symbolic_length_from_another_input() -> None:
    x = f64("x", ("n", 2))
    last, ys = gc.scan(lambda c, _: (c + x.sum(), None), gc.constant(0.0, "float64"), length="n")
    assert ys is None
    assert gc.evaluate(last, {x: np.ones((3, 2))}) == 18


def test_no_carry_and_no_tensors_at_all() -> None:
    x = f64("x", (4,))
    carry, ys = gc.scan(lambda c, v: (c, v * v), None, x)
    assert carry is None
    np.testing.assert_array_equal(gc.evaluate(ys, {x: [1, 2, 3, 4]}), [1, 4, 9, 16])
    assert gc.scan(lambda c, v: (c, None), None, x) == (None, None)


def test_named_dims_inside_are_those_outside() -> None:
    x = f64("x", ("t", "n"))
    _, ys = gc.scan(lambda c, v: (c, gc.mean(v) * gc.size(v).astype("float64")), None, x)
    values = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(gc.evaluate(ys, {x: values}), values.sum(1))


# -- closures --------------------------------------------------------------------------------
def test_what_the_step_uses_from_outside_is_an_operand() -> None:
    x, p = f64("x", ("t", 3)), f64("p", (3,))
    w = gc.variable(np.arange(3.0), name="w")
    outer = gc.exp(p)

    def step(c: Any, v: Any) -> Any:
        c = c * p + w * v + outer + gc.tanh(w * 2) + 1.0
        return c, None

    last, _ = gc.scan(step, p, x)
    assert last.node.inputs[:2] == (p, x)
    operands = set(last.node.inputs[2:])
    assert operands == {p, w, outer, gc.tanh(w * 2)}  # the last is hoisted
    body = last.node.attrs["body"]
    assert [t.name for t in body.inputs] == [f"p{i}" for i in range(6)]
    values, start = np.random.default_rng(1).normal(size=(4, 3)), np.array([0.1, 0.2, -0.3])
    c = start
    for v in values:
        c = c * start + np.arange(3.0) * v + np.exp(start) + np.tanh(np.arange(3.0) * 2) + 1
    np.testing.assert_allclose(gc.evaluate(last, {x: values, p: start}), c, rtol=1e-14)


def test_literals_and_moves_stay_inside() -> None:
    x, w = f64("x", ("t", 2)), f64("w", (3, 2))
    _, ys = gc.scan(lambda c, v: (c, v @ w.T + gc.ones((3,), "float64")), None, x)
    assert set(ys.node.inputs) == {x, w}


def test_numbers_that_literals_decide_stay_inside_where_rules_know_them() -> None:
    """The exponents and factors of derivatives: no step computes a power of a number from outside,
    whether or not the same number was already there."""
    start = f64("start", (3,))
    two = gc.constant(2.0, "float64")
    there = (two == 0.0, two - 1.0, gc.ones((3,), "float64") * two)

    def descend(w: Any) -> Any:
        return w - 0.1 * gc.grad(gc.sum(w**2 + w**3), w)

    by_scan, _ = gc.scan(lambda w, _: (descend(w), None), start, length=4)
    _, by_while = gc.while_loop(
        lambda c: c[0] < 4, lambda c: (c[0] + 1, descend(c[1])), (0, start)
    )
    assert by_scan.node.inputs == (start,)
    assert by_while.node.inputs[1:] == (start,)
    for last in (by_scan, by_while):
        simple = apply_rules(Graph([start], [last]), *DEFAULT)
        (loop,) = (node for node in simple.nodes if "body" in node.attrs)
        assert not {"power", "where", "equal"} & {n.op.name for n in loop.attrs["body"].nodes}
    expected = np.array([0.5, -0.25, 1.0])
    found = gc.evaluate([by_scan, by_while], {start: expected})
    for _ in range(4):
        expected = expected - 0.1 * (2 * expected + 3 * expected**2)
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-14)
    del there


def test_names_of_the_user_do_not_clash_with_those_of_bodies() -> None:
    p0, p1 = f64("p0"), f64("p1", ("t",))
    last, _ = gc.scan(lambda c, v: (c * v + p0, None), p0 * 1.5, p1)
    assert gc.evaluate(last, {p0: 2.0, p1: [2.0, 3.0]}) == (3.0 * 2 + 2) * 3 + 2


def test_what_may_fail_is_not_hoisted() -> None:
    w, i = f64("w", (3,)), gc.placeholder("i", (), "int64")
    last, _ = gc.scan(lambda c, _: (c + gc.take(w, i), None), f64("c"), length="t")
    feeds = {w: np.ones(3), i: 7, f64("c"): 1.0, f64("t", ("t",)): np.ones(0)}
    assert gc.evaluate(last, feeds) == 1.0
    with pytest.raises(RuntimeFailure, match="out of range"):
        gc.evaluate(last, feeds | {f64("t", ("t",)): np.ones(1)})


def test_the_same_scan_is_the_same_node() -> None:
    x, w = f64("x", ("t", 3)), f64("w", (3,))

    def build() -> tuple[gc.Tensor, ...]:
        c, ys = gc.scan(lambda c, v: (gc.tanh(c * w) + v * gc.exp(w), c), np.zeros(3), x)
        return (*gc.grad(gc.sum(ys) + gc.sum(c), [x, w]), c, ys)

    first = build()
    garbage.collect()
    kept = gc.exp(w), gc.zeros((3,), "float64")  # alive or not: no difference
    second = build()
    assert all(a is b for a, b in zip(first, second, strict=True))
    text = [(n.op.name, str(n.types)) for n in walk(first)]
    del first, second, kept
    garbage.collect()
    assert [(n.op.name, str(n.types)) for n in walk(build())] == text


def test_nested_scans() -> None:
    x, w = f64("x", ("t", "n")), f64("w")

    def outer(c: Any, row: Any) -> Any:
        def inner(s: Any, v: Any) -> Any:
            s = gc.tanh(s * w + v * c)
            return s, s * c

        last, ys = gc.scan(inner, c * 0.5, row)
        return last + 0.1, ys

    last, ys = gc.scan(outer, w, x)
    values = np.random.default_rng(3).normal(size=(3, 4))
    c = weight = 0.7
    expected = np.zeros((3, 4))
    for i, row in enumerate(values):
        s = c * 0.5
        for j, v in enumerate(row):
            s = np.tanh(s * weight + v * c)
            expected[i, j] = s * c
        c = s + 0.1
    feeds = {x: values, w: weight}
    np.testing.assert_allclose(gc.evaluate(last, feeds), c, rtol=1e-14)
    np.testing.assert_allclose(gc.evaluate(ys, feeds), expected, rtol=1e-14)
    assert_gradient(last + gc.sum(ys * ys), feeds)


# -- gradients -------------------------------------------------------------------------------
def test_tanh_rnn_equals_backpropagation_by_hand() -> None:
    T, b, n, h = 50, 3, 4, 5
    rng = np.random.default_rng(0)
    W, U, bias = rng.normal(size=(h, h)) * 0.4, rng.normal(size=(n, h)), rng.normal(size=h)
    X, H0, target = rng.normal(size=(T, b, n)), rng.normal(size=(b, h)), rng.normal(size=(T, b, h))

    x, h0, y = f64("x", ("t", "b", n)), f64("h0", ("b", h)), f64("y", ("t", "b", h))
    w, u, v = (gc.variable(a, name=s) for a, s in ((W, "w"), (U, "u"), (bias, "v")))

    def step(state: Any, slice_: Any) -> Any:
        state = gc.tanh(state @ w + slice_ @ u + v)
        return state, state

    _, states = gc.scan(step, h0, x)
    loss = gc.sum((states - y) ** 2)
    found = gc.evaluate([loss, *gc.grad(loss, [w, u, v, h0, x])], {x: X, h0: H0, y: target})

    hs = [H0]
    for t in range(T):
        hs.append(np.tanh(hs[-1] @ W + X[t] @ U + bias))
    gW, gU, gv, gX = np.zeros_like(W), np.zeros_like(U), np.zeros_like(bias), np.zeros_like(X)
    gh = np.zeros_like(H0)
    for t in reversed(range(T)):
        gz = (gh + 2 * (hs[t + 1] - target[t])) * (1 - hs[t + 1] ** 2)
        gW, gU, gv = gW + hs[t].T @ gz, gU + X[t].T @ gz, gv + gz.sum(0)
        gX[t], gh = gz @ U.T, gz @ W.T
    expected = [sum(((a - c) ** 2).sum() for a, c in zip(hs[1:], target, strict=True))]
    expected += [gW, gU, gv, gh, gX]
    for given, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-10, atol=1e-10)


def test_the_forward_loop_keeps_only_what_the_backward_loop_needs() -> None:
    x, w = f64("x", ("t", 4)), f64("w", (4,))
    _, ys = gc.scan(lambda c, v: ((t := gc.tanh(c * w + v) * 2 - 1), t), x[0], x)
    (backward,) = [n for n in nodes(SCAN, gc.grad(gc.sum(ys), w)) if n.attrs["reverse"]]
    read = {t.node for t in backward.inputs if t.node.op is SCAN}
    (forward,) = read
    kept = forward.attrs["body"].outputs[2:]  # after the carry and y: tanh, and the carry before
    assert sorted(t.node.op.name for t in kept) == ["placeholder", "tanh"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("t", [0, 1, 4])
def test_gradients_equal_differences(t: int, reverse: bool) -> None:
    x, a, b = f64("x", ("t", 2)), f64("a", (2,)), f64("b", (2,))
    w, k = f64("w", (2, 2)), gc.placeholder("k", ("t",), "int64")

    def step(carry: Any, slices: Any) -> Any:
        p, q, count = carry
        v, i = slices
        p, q = gc.sin(q @ w) + v, p * gc.exp(v * 0.1) + count.astype("float64")
        return (p, q, count + i), (p * q, count)

    (p, q, _), (ys, _) = gc.scan(step, (a, b, 0), (x, k), reverse=reverse)
    rng = np.random.default_rng(2)
    feeds = {x: rng.normal(size=(t, 2)), k: np.arange(t), w: rng.normal(size=(2, 2))}
    feeds |= {a: rng.normal(size=2), b: rng.normal(size=2)}
    loss = gc.sum(p * p) + gc.sum(q * a)
    assert_gradient(loss + gc.sum(ys) + gc.sum(x) + gc.sum(w), feeds)


def test_a_carry_that_only_feeds_another_has_a_gradient() -> None:
    a, x = f64("a"), f64("x", ("t",))
    (_, _, third), _ = gc.scan(lambda c, v: ((c[0] * v, c[0], c[1]), None), (a, a, a), x)
    assert_gradient(third, {a: 1.3, x: [0.5, 2.0, 3.0, 4.0]})


@pytest.mark.parametrize("carry", [None, (), {"a": None}], ids=str)
@pytest.mark.parametrize(
    "step",
    [
        lambda v, w: gc.sin(v * w),  # a y is kept for the backward loop
        lambda v, w: (gc.tanh(v), None, v * gc.exp(v * w)),
        lambda v, w: gc.exp(w) + v,
        lambda v, w: gc.exp(w),  # nothing in the step
        lambda v, w: w,
    ],
)
def test_gradients_without_a_carry(step: Callable[..., Any], carry: Any) -> None:
    x, w = f64("x", ("t",)), f64("w")
    last, ys = gc.scan(lambda c, v: (c, step(v, w)), carry, x)
    assert last == carry
    loss = sum(gc.sum(y * y) for y in flatten(ys)[0])
    feeds: dict[gc.Tensor, Any] = {x: [0.5, -1.2, 2.0, 0.3], w: 0.7}
    assert_gradient(loss + gc.sum(x), feeds)
    first = gc.grad(loss + gc.sum(x * x) * w, [x, w])
    assert_gradient(gc.sum(first[0] * first[0]) + first[1], feeds, 1e-5)


def test_gradients_without_a_carry_or_xs() -> None:
    w = f64("w")
    _, ys = gc.scan(lambda _, __: (None, gc.sin(w)), None, length=4)
    assert_gradient(gc.sum(ys), {w: 0.7})


def test_gradients_of_a_loop_without_a_carry_in_one_with_a_carry() -> None:
    x, w = f64("x", ("t", 3)), f64("w")

    def step(c: gc.Tensor, row: gc.Tensor) -> Any:
        _, ys = gc.scan(lambda _, v: (None, gc.sin(v * c)), None, row)
        return c + gc.sum(ys) * w, None

    last, _ = gc.scan(step, w, x)
    assert_gradient(last, {x: np.random.default_rng(6).normal(size=(4, 3)), w: 0.3})


def test_an_output_that_needs_no_gradient_costs_no_loop() -> None:
    x, w = f64("x", ("t",)), f64("w")
    _, ys = gc.scan(lambda c, v: (c + 1, gc.floor(v) * c), gc.constant(0.0, "float64"), x)
    assert not [n for n in nodes(SCAN, gc.grad(gc.sum(ys) * w, w)) if n.attrs["reverse"]]


def test_second_derivatives_equal_differences_of_first() -> None:
    x, w, c0 = f64("x", ("t", 2)), f64("w", (2,)), f64("c0", (2,))
    _, ys = gc.scan(lambda c, v: ((t := gc.tanh(c * w + v)), t * gc.exp(w)), c0, x)
    loss = gc.sum(ys * ys)
    rng = np.random.default_rng(4)
    feeds = {x: rng.normal(size=(3, 2)), w: rng.normal(size=2), c0: rng.normal(size=2)}
    gradients = gc.grad(loss, [w, x, c0])
    second = sum((gc.sum(g * g) for g in gradients), start=gc.constant(0.0, "float64"))
    assert_gradient(second, feeds, 1e-5)


def test_third_derivative_of_a_power_by_repeated_products() -> None:
    a = f64("a")
    power, _ = gc.scan(lambda c, _: (c * a, None), gc.constant(1.0, "float64"), length=5)
    derivative = power
    for order, factor in ((4, 5), (3, 20), (2, 60)):
        derivative = gc.grad(derivative, a)
        np.testing.assert_allclose(gc.evaluate(derivative, {a: 1.7}), factor * 1.7**order)


def test_an_inner_gradient_inside_the_step() -> None:
    """Gradient descent on (w - x)^2 as a loop, and its derivative for the start."""
    start, x = f64("start"), f64("x", ("t",))

    def step(w: Any, v: Any) -> Any:
        return w - 0.25 * gc.grad((w - v) ** 2, w), w

    last, _ = gc.scan(step, start, x)
    expected = 3.0
    for v in (1.0, 2.0, -1.0):
        expected -= 0.5 * (expected - v)
    feeds = {start: 3.0, x: [1.0, 2.0, -1.0]}
    np.testing.assert_allclose(gc.evaluate(last, feeds), expected)
    np.testing.assert_allclose(gc.evaluate(gc.grad(last, start), feeds), 0.125)


# -- errors ----------------------------------------------------------------------------------
X = gc.placeholder("X", ("t", 3))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gc.scan(lambda c, v: (v, None), 0.0, X), ShapeError, "type of carry"),
        (lambda: gc.scan(lambda c, v: (c.astype("float64"), v), X[0], X), DTypeError, "of carry"),
        (lambda: gc.scan(lambda c, v: ((c, c), v), X[0], X), ArgumentError, "another structure"),
        (lambda: gc.scan(lambda c, v: c, X[0], X), ArgumentError, "returns a pair"),
        (lambda: gc.scan(lambda c, v: (c, "y"), X[0], X), ArgumentError, "not a tensor"),
        (lambda: gc.scan(lambda c, v: (c, v), X[0]), ArgumentError, "number of steps"),
        (lambda: gc.scan(lambda c, v: (v, v), X[0], X, length="t + 1"), ShapeError, "lengths"),
        (lambda: gc.scan(lambda c, v: (c, c), 0.0, gc.constant(1.0)), ShapeError, "first axis"),
    ],
)
def test_errors_name_both_sides(build: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build()
    assert caught.value.op == "scan"
    assert caught.value.expected
    assert "test_scan.py" in caught.value.where


def test_a_failure_inside_names_the_line_of_the_step() -> None:
    a = f64("a", ("t", 2, 2))
    _, ys = gc.scan(lambda c, m: (c, gc.linalg.inv(m)), None, a)
    with pytest.raises(LinAlgError, match="singular") as caught:
        gc.evaluate(ys, {a: np.zeros((1, 2, 2))})
    assert "test_scan.py" in caught.value.where


def test_a_body_is_a_closed_graph() -> None:
    w = gc.variable(np.ones(3, np.float32), name="w")
    last, _ = gc.scan(lambda c, v: (c + v * w, None), X[0], X)
    body = last.node.attrs["body"]
    assert isinstance(body, Graph)
    assert not body.variables
    assert last.node.attrs["length"] == gc.dim("t")


# -- structures ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class State:
    position: Any
    counts: dict[str, Any]


class Force(NamedTuple):
    push: Any
    note: Any = None


@pytest.mark.parametrize("reverse", [False, True])
def test_dataclasses_and_namedtuples_are_carry_xs_and_ys(reverse: bool) -> None:
    """Several xs, None among them, in any nesting; Python numbers as first carries."""
    push, drag = f64("push", ("t", 2)), f64("drag", ("t",))

    def step(s: State, x: Force) -> tuple[State, Force]:
        p = s.position * (1 - x.note["drag"]) + x.push
        return State(p, {"n": s.counts["n"] + 1, "none": None}), Force(gc.sum(p), (None, p))

    first = State(np.zeros(2), {"n": 0, "none": None})
    last, ys = gc.scan(step, first, Force(push, {"drag": drag}), reverse=reverse)
    assert isinstance(last, State)
    assert isinstance(ys, Force)
    assert ys.note[0] is None
    assert last.counts["none"] is None
    a, b = np.random.default_rng(2).normal(size=(4, 2)), np.linspace(0.1, 0.4, 4)
    p, rows = np.zeros(2), [np.zeros(2)] * 4
    for i in reversed(range(4)) if reverse else range(4):
        rows[i] = p = p * (1 - b[i]) + a[i]
    outputs = [last.position, last.counts["n"], ys.push, ys.note[1]]
    found = gc.compile([push, drag], outputs)(a, b)
    for got, want in zip(found, [p, 4, np.sum(rows, 1), rows], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)
    assert_gradient(gc.sum(ys.push**2) + gc.sum(last.position), {push: a, drag: b})


def test_a_length_that_is_a_tensor() -> None:
    """Without xs and ys; what has to be known before the call is said."""
    n, x = gc.placeholder("n", (), "int64"), f64("x", (3,))

    def double(c: Any, _: Any) -> Any:
        return {"p": c["p"] * 2 + x, "k": 1}, None

    last, ys = gc.scan(double, {"p": x, "k": 0}, length=n)
    assert ys is None
    f = gc.compile([n, x], last)
    for count in (0, 1, 5):
        found = f(count, np.arange(3.0))
        np.testing.assert_allclose(found["p"], (2 ** (count + 1) - 1) * np.arange(3.0))
        assert found["k"] == min(count, 1)
    with pytest.raises(GradientError, match="no gradient"):
        gc.grad(gc.sum(last["p"]), x)
    known, _ = gc.scan(lambda c, _: (c * 2, None), x, length=gc.constant(3))
    slope = gc.evaluate(gc.grad(gc.sum(known), x), {x: np.ones(3)})
    np.testing.assert_array_equal(slope, [8.0] * 3)
    refused: Any = ((lambda c, v: (c + v, None), x, "xs"), (lambda c, _: (c, c), None, "ys"))
    for step, xs, what in refused:
        with pytest.raises(ArgumentError, match=f"^scan: {what} of a number of steps") as caught:
            gc.scan(step, f64("c"), xs, length=n)
        assert "test_scan.py" in caught.value.where


# -- map -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("t", [0, 1, 3])
def test_map_stacks_the_results_and_has_a_gradient(t: int) -> None:
    x, w = f64("x", ("t", 3)), f64("w", (3,))
    y = gc.map(lambda v: {"dot": v[0] @ w, "row": (v[1] * w, v[0])}, (x, gc.exp(x)))
    a, b = np.random.default_rng(4).normal(size=(t, 3)), np.array([0.5, -1.0, 2.0])
    for found in (
        gc.evaluate([y["dot"], *y["row"]], {x: a, w: b}),
        gc.compile([x, w], [y["dot"], *y["row"]])(a, b),
    ):
        for got, want in zip(found, (a @ b, np.exp(a) * b, a), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)
    assert_gradient(gc.sum(y["dot"] ** 2) + gc.sum(y["row"][0]), {x: a, w: b})


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: gc.map(X, X), ArgumentError, "is a function"),
        (lambda: gc.map(lambda v: v, None), ArgumentError, "nothing to go along"),
        (lambda: gc.map(lambda v: v, 1.0), ShapeError, "first axis"),
        (lambda: gc.map(lambda v: v, (X, f64("late", ("t + 1",)))), ShapeError, "lengths differ"),
    ],
)
def test_map_refuses(build: Callable[[], Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        build()
    assert "test_scan.py" in caught.value.where
