"""Forward mode: the values of jvp and hvp, and that they cost what they should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph, walk
from graphc.ir.node import apply
from graphc.ir.op import Fact, Kind, Op
from graphc.ir.shape import TensorType

Array = np.ndarray[Any, Any]
rng = np.random.default_rng(17)


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


def ops_of(*roots: gc.Tensor) -> Counter[str]:
    return Counter(node.op.name for node in walk(roots))


def assert_both_ways(y: gc.Tensor, feeds: dict[gc.Tensor, Any]) -> None:
    """jvp, vjp and differences agree on y; so do, on its gradient, forward over reverse, reverse
    over reverse and reverse over forward."""
    xs = list(feeds)
    vs = [rng.normal(size=np.shape(a)) for a in feeds.values()]
    along: Any = 0.0
    for g, v in zip(gc.grad(y, xs), vs, strict=True):
        along = along + gc.sum(g * v)
    moved = gc.jvp(y, xs, vs)
    step = 1e-6
    ends = [
        gc.evaluate(y, {x: a + s * v for (x, a), v in zip(feeds.items(), vs, strict=True)})
        for s in (step, -step)
    ]
    backwards, forwards = gc.evaluate([along, moved], feeds)
    assert forwards == pytest.approx(backwards, rel=1e-12)
    assert forwards == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)
    seconds = [gc.hvp(y, xs, vs), gc.grad(along, xs), gc.grad(moved, xs)]
    found = gc.evaluate(seconds, feeds)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


# -- values ----------------------------------------------------------------------------------------
def test_the_same_forwards_and_backwards() -> None:
    x, w = f64("x", (4, 3)), f64("w", (3, 3))
    h = gc.tanh(x @ w) * gc.softmax(x, axis=1)
    y = gc.sum(h[1:, ::-1] * gc.exp(-x[:3] ** 2)) + gc.logsumexp(w) * gc.max(x)
    assert_both_ways(y, {x: rng.normal(size=(4, 3)), w: rng.normal(size=(3, 3))})


def test_through_linear_algebra() -> None:
    a = f64("a", (3, 3))
    m = a @ a.T + 3 * np.eye(3)
    y = gc.sum(gc.linalg.solve(m, a)) + gc.linalg.slogdet(m)[1] + gc.sum(gc.linalg.cholesky(m))
    assert_both_ways(y, {a: rng.normal(size=(3, 3))})


@pytest.mark.parametrize("reverse", [False, True])
def test_through_a_scan(reverse: bool) -> None:
    c, k, x, w = f64("c", (2,)), f64("k"), f64("x", (5, 2)), f64("w", (2, 2))

    def step(carry: Any, x: Any) -> Any:
        h, count, other = carry
        new = gc.tanh(h @ w + x * other)
        return (new, count + 1, other * 0.5), (gc.sum(new * h), count)

    first = (c, gc.constant(0), k)
    (h, _, other), (ys, _) = gc.scan(step, first, x, reverse=reverse)
    y = gc.sum(h * h) * other + gc.sum(ys**2)
    values = (rng.normal(size=2), 0.7, rng.normal(size=(5, 2)), rng.normal(size=(2, 2)))
    assert_both_ways(y, dict(zip((c, k, x, w), values, strict=True)))


def test_a_scan_forwards_is_scans_forwards() -> None:
    """No loop runs backwards in a jvp, and the values of the loop are not computed again."""
    c, x = f64("c"), f64("x", ("n",))
    last, ys = gc.scan(lambda c, x: (gc.sin(c * x), c), c, x)
    y, moved = last + gc.sum(ys), gc.jvp(last + gc.sum(ys), [c, x], [1.0, x])
    compiled = gc.compile([c, x], [y, moved])
    loops = [n for n in compiled.optimized.nodes if Fact.LOOP in n.op.facts]
    assert [loop.attrs["reverse"] for loop in loops] == [False, False]
    a = np.array([0.5, 2.0, 3.0])
    found = compiled(0.3, a)
    low, high = (
        gc.evaluate(y, {c: 0.3 + e, x: a * (1 + e)}) for e in (-1e-6, 1e-6)
    )
    assert found[1] == pytest.approx((high - low) / 2e-6, rel=1e-8)


def test_a_carry_that_only_others_move() -> None:
    """The tangent reaches the second carry in the first step and the third in the second."""
    x = f64("x")
    zero = gc.constant(0.0, "float64")
    (_, _, last), _ = gc.scan(lambda c, _: ((c[0], c[1] + c[0], c[2] + c[1]), None),
                              (x, zero, zero), length=4)  # fmt: skip
    assert float(gc.evaluate(gc.jvp(last, x, 1.0), {x: 5.0})) == 6


@pytest.mark.parametrize("value", [1.5, -1.5])
def test_through_a_cond(value: float) -> None:
    x, w = f64("x"), f64("w", (3,))
    y = gc.cond(
        x > 0, lambda x, w: gc.sum(gc.sin(w * x)), lambda x, w: w[0] ** 3 + w[1], x, w
    )
    assert_both_ways(y * gc.exp(x), {x: value, w: rng.normal(size=3)})


def test_through_a_switch() -> None:
    x, w, i = f64("x"), f64("w"), gc.placeholder("i", (), "int64")
    y = gc.switch(i, [lambda x: gc.sin(x * w), lambda x: w, lambda x: x**3 * w], x)
    moved = gc.jvp(y, [x, w], [1.0, 10.0])
    found = [float(gc.evaluate(moved, {x: 0.5, w: 2.0, i: k})) for k in range(3)]
    c = np.cos(1.0)
    np.testing.assert_allclose(found, [2 * c + 5 * c, 10, 0.75 * 2 + 10 * 0.125], rtol=1e-14)


def test_through_a_while_loop() -> None:
    """Newton's iteration for the square root, and a carry that does not move."""
    a = f64("a")
    steps, root = gc.while_loop(
        lambda c: abs(c[1] * c[1] - a) > 1e-12, lambda c: (c[0] + 1, (c[1] + a / c[1]) / 2), (0, a)
    )
    y = gc.cond(steps > 100, lambda: 0 * root, lambda: root)
    found = gc.evaluate([root, gc.jvp(y, a, 3.0)], {a: 2.0})
    np.testing.assert_allclose(found, [np.sqrt(2), 1.5 / np.sqrt(2)], rtol=1e-9)
    compiled = gc.compile([a], gc.jvp(gc.jvp(y, a, 1.0), a, 1.0))
    assert compiled(2.0) == pytest.approx(-0.25 * 2**-1.5, rel=1e-6)


def test_through_a_checkpoint() -> None:
    x, w = f64("x", (3,)), f64("w", (3, 3))
    block = gc.checkpoint(lambda h: gc.tanh(h @ w) * h)
    y = gc.sum(block(block(x)) ** 2)
    assert_both_ways(y, {x: rng.normal(size=3), w: rng.normal(size=(3, 3))})


def test_by_what_is_computed_from_another() -> None:
    """h moves by itself and with x, as its gradient and that of x say."""
    x = f64("x")
    h = x * x
    y = gc.sin(h) * x
    dh, dx = gc.grad(y, [h, x])
    a, b = gc.evaluate([gc.jvp(y, [h, x], [2.0, 3.0]), 2 * dh + 3 * dx], {x: 0.7})
    assert a == pytest.approx(b, rel=1e-14)


def test_what_does_not_move_is_zero() -> None:
    x, y = f64("x", ("n",)), f64("y")
    a, b = gc.jvp([x * 2, gc.floor(x) * y], x, gc.ones_like(x))
    found = gc.evaluate([a, b], {x: [1.5, 2.5], y: 3.0})
    np.testing.assert_array_equal(found, [[2, 2], [0, 0]])


def test_an_untaken_branch_never_poisons() -> None:
    x = f64("x", (3,))
    y = gc.where(x > 0, gc.log(x), x)
    found = gc.jvp(y, x, gc.ones_like(x)), gc.hvp(gc.sum(y), x, gc.ones_like(x))
    first, second = gc.evaluate(found, {x: [0.0, -1.0, 2.0]})
    np.testing.assert_array_equal(first, [1, 1, 0.5])
    np.testing.assert_array_equal(second, [0, 0, -0.25])


# -- cost ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "f",
    [
        lambda w: f64("x", ("n", 3)) @ w, gc.sum, lambda w: gc.sum(w, axis=1), gc.negative,
        lambda w: w.T[1:, ::-1], lambda w: w.reshape(6), lambda w: gc.broadcast_to(w, (4, 3, 2)),
        lambda w: gc.trace(w), lambda w: w * 3.0,
    ],
)  # fmt: skip
def test_forward_mode_of_what_is_linear_is_itself(f: Callable[[Any], Any]) -> None:
    w, v = f64("w", (3, 2)), f64("v", (3, 2))
    assert gc.jvp(f(w), w, v) is f(v)


def test_the_logistic_hvp_has_three_products() -> None:
    """x w, x v and x' (...), each once; a double backward pass has them too, and more of others."""
    w, v = gc.placeholder("w", (100,)), gc.placeholder("v", (100,))
    x, t = gc.placeholder("x", ("n", 100)), gc.placeholder("t", ("n",))
    loss = gc.mean(gc.softplus(-t * (x @ w)))
    product = gc.hvp(loss, w, v)
    assert ops_of(product)["matmul"] == 3
    assert len(gc.compile([w, v, x, t], product).kernels) <= 2
    small = np.random.default_rng(1)
    wa, va, xa = (small.normal(size=s) for s in ((100,), (100,), (50, 100)))
    ta = np.sign(small.normal(size=50))
    p = 1 / (1 + np.exp(-xa @ wa))
    expected = xa.T @ (p * (1 - p) * (xa @ va)) / 50
    found = gc.evaluate(product, {w: wa, v: va, x: xa, t: ta})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_hvp_of_a_network_computes_no_product_twice() -> None:
    """Forward 2, its tangent 3 (the input does not move), backward 1 of 3 (the gradient itself is
    not asked for), its tangent 5."""
    x, v1, v2 = f64("x", ("n", 3)), f64("v1", (3, 5)), f64("v2", (5, 2))
    w1, w2 = f64("w1", (3, 5)), f64("w2", (5, 2))
    loss = gc.sum(gc.tanh(gc.tanh(x @ w1) @ w2) ** 2)
    found = gc.hvp(loss, [w1, w2], [v1, v2])
    compiled = gc.Graph([x, w1, w2, v1, v2], found)
    assert Counter(n.op.name for n in compiled.nodes)["matmul"] == 11


def test_a_deep_chain() -> None:
    x = f64("x")
    y = x
    for _ in range(5_000):
        y = gc.sin(y)
    assert 0 < float(gc.evaluate(gc.jvp(y, x, 1.0), {x: 0.5})) < 1


def test_nodes_of_a_jvp_are_linear_in_size() -> None:
    def size(n: int) -> int:
        y: Any = f64("x", (2, 2))
        for _ in range(n):
            y = gc.max(y @ y, axis=0) + gc.sum(y, axis=1, keepdims=True)
        return len(walk([gc.jvp(y, f64("x", (2, 2)), np.ones((2, 2)))]))

    assert size(80) - size(40) == 2 * (size(60) - size(40))


# -- what ops state -------------------------------------------------------------------------------
def test_a_vjp_whose_loop_carries_the_cotangent() -> None:
    """What is read of the loop does not depend on the cotangent, though it runs along."""

    def vjp(context: Any, g: Any, out: Any, x: Any) -> list[Any]:
        one = gc.constant(1.0, "float64")
        (p, d), _ = gc.scan(lambda c, x: ((c[0] * x, c[1] * x), None), (one, g), x)
        return [d * p * gc.ones_like(x)]

    op = Op("carries_cotangents", Kind.MAP, lambda x: (TensorType(x.dtype, ()),), vjp=vjp)
    x = f64("x", (3,))
    moved = gc.jvp(apply(op, (x,)).output(), x, [1.0, 2.0, 3.0])
    assert float(gc.evaluate(moved, {x: [2.0, 3.0, 5.0]})) == 30 * 30 * 6


def test_what_is_made_is_valid() -> None:
    """No placeholder of a trace is left in what users get."""
    x, v = f64("x", (2,)), f64("v", (2,))
    made: Callable[..., Any] = gc.linearize(lambda x: {"a": gc.sum(x**3)}, x)[1]
    Graph([x, v], [made(v)["a"], gc.hvp(lambda x: gc.sum(x**4), x, v)])
