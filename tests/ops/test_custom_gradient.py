"""Derivatives that users state: of any order, both ways, under jit, scan and vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from graphc.ir.graph import Graph, walk
from graphc.ir.text import parse_graph, print_graph


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


def doubled(function: Callable[..., Any], slope: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with twice its derivative: no other derivative than the stated one gives that."""
    return gc.custom_gradient(function, vjp=lambda g, out, x: 2 * g * slope(x))


twice_sin = doubled(gc.sin, gc.cos)


def test_the_stated_derivative_is_taken_both_ways_and_of_any_order() -> None:
    """d = 2 cos; the derivative of cos is its own: d' = -2 sin, d'' = -2 cos."""
    x = f64("x")
    y = twice_sin(x)
    first = gc.grad(y, x)
    found = [
        y, first, gc.jvp(y, x, 1.0), gc.grad(first, x), gc.hvp(y, x, 1.0),
        gc.grad(gc.jvp(y, x, 1.0), x), gc.jvp(gc.hvp(y, x, 1.0), x, 1.0),
    ]  # fmt: skip
    s, c = np.sin(0.3), np.cos(0.3)
    expected = [s, 2 * c, 2 * c, -2 * s, -2 * s, -2 * s, -2 * c]
    np.testing.assert_allclose(gc.evaluate(found, {x: 0.3}), expected, rtol=1e-15)


def test_out_has_the_stated_derivative_too() -> None:
    """exp with vjp 3 g out: the second derivative is 9 exp."""
    f = gc.custom_gradient(gc.exp, vjp=lambda g, out, x: 3 * g * out)
    x = f64("x")
    y = f(x)
    assert sum(n.op.name == "exp" for n in walk([gc.grad(y, x)])) == 1
    found = gc.evaluate([gc.grad(gc.grad(y, x), x), gc.hvp(y, x, 1.0)], {x: 0.5})
    np.testing.assert_allclose(found, 9 * np.exp(0.5), rtol=1e-15)


def test_structures_and_arguments_without_a_cotangent() -> None:
    def vjp(g: Any, out: Any, p: Any, k: Any, n: Any) -> Any:
        assert set(out) == {"s", "k"}
        return {"w": g["s"] * k, "b": None}, g["s"] * 10, None

    f = gc.custom_gradient(lambda p, k, n: {"s": gc.sum(p["w"]) * k, "k": n}, vjp=vjp)
    w, b, k = f64("w"), f64("b"), f64("k")
    n = gc.placeholder("n", (), "int64")
    y = f({"w": w, "b": b}, k, n)["s"] + b
    dw, db, dk = gc.evaluate(gc.grad(y, [w, b, k]), {w: 1.0, b: 2.0, k: 3.0, n: 4})
    assert (dw, db, dk) == (3, 1, 10)


def test_keyword_arguments_go_to_both() -> None:
    f = gc.custom_gradient(
        lambda x, *, power: x**power, vjp=lambda g, out, x, *, power: g * power * 10
    )
    x = f64("x")
    y = f(x, power=3)
    assert [float(v) for v in gc.evaluate([y, gc.grad(y, x)], {x: 2.0})] == [8, 30]


def test_compiled_and_in_a_scan() -> None:
    x = f64("x", ("n",))
    last, ys = gc.scan(lambda c, x: (twice_sin(c + x), c), gc.constant(0.0, "float64"), x)
    y = last + gc.sum(ys)
    f = gc.compile([x], [gc.grad(y, x), gc.jvp(y, x, gc.ones_like(x)), gc.hvp(y, x, x)])
    a = np.array([0.1, 0.5, 0.9])
    slope, along, product = f(a)
    # By hand: c_k = sin(c_(k-1) + x_k), each step's factor is 2 cos.
    states = [0.0]
    for v in a:
        states.append(np.sin(states[-1] + v))
    factors = [2 * np.cos(c + v) for c, v in zip(states, a, strict=False)]
    back, expected = 1.0, np.zeros(3)
    for i in (2, 1, 0):
        expected[i] = back * factors[i]
        back = expected[i] + 1
    np.testing.assert_allclose(slope, expected, rtol=1e-14)
    assert along == pytest.approx(expected.sum(), rel=1e-14)
    twice_reverse = gc.grad(gc.sum(gc.grad(y, x) * gc.stop_gradient(x)), x)
    np.testing.assert_allclose(product, gc.evaluate(twice_reverse, {x: a}), rtol=1e-13)


def test_mapped() -> None:
    """What is the same for all elements gets the sum of their cotangents."""
    f = gc.custom_gradient(
        lambda x, w: gc.sum(x) * w, vjp=lambda g, out, x, w: (3 * g * w * gc.ones_like(x), g * 5)
    )
    x, w = f64("x", (4, 3)), f64("w")
    each = gc.vmap(lambda x: gc.grad(f, (0, 1))(x, w))(x)
    total = gc.grad(gc.sum(gc.vmap(f, in_axes=(0, None))(x, w)), [x, w])
    (dx, dw), (all_x, all_w) = gc.evaluate([each, total], {x: np.ones((4, 3)), w: 2.0})
    np.testing.assert_array_equal(dx, np.full((4, 3), 6.0))
    np.testing.assert_array_equal(dw, np.full(4, 5.0))
    np.testing.assert_array_equal(all_x, dx)
    assert all_w == 20


def test_as_a_decorated_function_and_under_jit() -> None:
    @gc.jit
    def slope(x: Any) -> Any:
        return gc.grad(twice_sin)(x)

    assert slope(np.array(0.3)) == pytest.approx(2 * np.cos(0.3))


def test_as_text() -> None:
    x = f64("x", ("n",))
    graph = Graph([x], [gc.sum(twice_sin(x))])
    again = parse_graph(print_graph(graph))
    assert again.outputs == graph.outputs
    assert gc.grad(again.outputs[0], x) is gc.grad(graph.outputs[0], x)


def test_what_is_read_from_outside() -> None:
    """By f: an error where its derivative is asked for; by the vjp: as any other tensor."""
    x, w = f64("x"), f64("w")
    f = gc.custom_gradient(lambda x: x * w, vjp=lambda g, out, x: g * w)
    y = f(x)
    assert float(gc.evaluate(gc.grad(y, x), {x: 3.0, w: 2.0})) == 2
    mixed = gc.grad(gc.grad(gc.custom_gradient(gc.sin, vjp=lambda g, out, x: g * w)(x), x), w)
    assert float(gc.evaluate(mixed, {x: 3.0, w: 2.0})) == 1
    with pytest.raises(GradientError, match="reads what is differentiated from outside") as caught:
        gc.grad(y, [x, w])
    assert "'w'" in caught.value.given
    assert "make it an argument" in caught.value.hint


X, X32 = f64("stated_x", (2,)), gc.placeholder("stated_x32", (2,))
WRONG: dict[str, tuple[str, Callable[[], Any]]] = {
    "no function": ("is a function", lambda: gc.custom_gradient(X, vjp=gc.sin)),
    "no vjp": ("is a function", lambda: gc.custom_gradient(gc.sin, vjp=X)),
    "another shape": ("cotangents[0]: a cotangent does not fit",
                      lambda: gc.custom_gradient(gc.sin, vjp=lambda g, out, x: gc.sum(g))(X)),
    "another dtype": ("cotangents[0]: a cotangent does not fit",
                      lambda: gc.custom_gradient(gc.sin, vjp=lambda g, out, x: X32)(X)),
    "too few": ("another structure",
                lambda: gc.custom_gradient(gc.multiply, vjp=lambda g, out, x, y: (g,))(X, X)),
    "no tensor": ("cotangents[1]: not a tensor",
                  lambda: gc.custom_gradient(gc.multiply, vjp=lambda g, out, x, y: (g, "g"))(X, X)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    message, call = WRONG[name]
    with pytest.raises(ArgumentError) as caught:
        call()
    assert message in caught.value.message
    assert caught.value.op == "custom_gradient"
    assert __file__ in caught.value.where


# -- stop_gradient ---------------------------------------------------------------------------------
def test_stop_gradient_of_any_order_and_structure() -> None:
    """x * stop(x^2) has the derivative x^2, and that none."""
    x = f64("x")
    y = x * gc.stop_gradient(x * x)
    first = gc.grad(y, x)
    found = [first, gc.jvp(y, x, 1.0), gc.grad(first, x, unconnected="zero"), gc.hvp(y, x, 1.0)]
    assert [float(v) for v in gc.evaluate(found, {x: 3.0})] == [9, 9, 0, 0]
    tree = gc.stop_gradient({"a": [x, None], "b": 2.0})
    assert tree["a"][1] is None
    with pytest.raises(GradientError, match="only through operations"):
        gc.grad(tree["a"][0] + tree["b"], x)
