"""What derivatives take: tensors and functions, structures, positions; and the errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from graphc.ir.graph import Graph

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Params:
    w: Any
    b: Any


class Both(NamedTuple):
    first: Any
    second: Any


def f64(name: str, shape: Any = ()) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


def run(function: Callable[..., Any], *args: Any) -> Any:
    """A function of arrays, jitted, by the interpreter."""
    return gc.jit(function, target="reference")(*args)


# -- structures ------------------------------------------------------------------------------------
def test_gradients_are_built_as_what_they_are_by() -> None:
    w, b, c = f64("w", (2,)), f64("b"), f64("c")
    tree = {"layers": [Params(w, b)], "scale": Both(c, None)}
    y = gc.sum(w * w) * c + b
    feeds = {w: [1.0, 2.0], b: 5.0, c: 3.0}
    for found in (gc.grad(y, tree), gc.value_and_grad(y, tree)[1], gc.vjp(y, tree, 1.0)):
        values = gc.evaluate(found, feeds)
        assert isinstance(values["layers"][0], Params)
        assert values["layers"][0].w.tolist() == [6, 12]
        assert (values["layers"][0].b, values["scale"]) == (1, Both(5.0, None))
    product = gc.evaluate(gc.hvp(y, tree, tree), feeds)
    # H v at v = (w, b, c): by w 2 c w + 2 w c, by b 0, by c 2 w w
    assert product["layers"][0].w.tolist() == [12, 24]
    assert (product["layers"][0].b, product["scale"].first) == (0, 10)


def test_outputs_of_any_structure() -> None:
    x = f64("x", (2,))
    y = {"b": x * x, "a": [gc.sum(x), None]}
    found = gc.vjp(y, [x], {"a": [10.0, None], "b": [1, 2]})
    assert gc.evaluate(found, {x: [1.0, 2.0]})[0].tolist() == [12, 18]
    moved = gc.evaluate(gc.jvp(y, (x,), [[1, 2]]), {x: [1.0, 2.0]})
    assert moved["b"].tolist() == [2, 8]
    assert moved["a"] == [3, None]


def test_a_function_of_a_structure() -> None:
    def loss(params: Params, x: Any, *, power: int = 2) -> Any:
        return gc.sum((x @ params.w + params.b["b"]) ** power)

    params, x = Params(np.array([1.0, 2.0]), {"b": np.array(0.5)}), np.eye(2)
    slope = run(gc.grad(loss), params, x)
    np.testing.assert_allclose(slope.w, [3.0, 5.0])
    assert slope.b["b"] == 8
    value, (first, second) = run(gc.value_and_grad(loss, argnums=(0, 1)), params, x)
    assert value == 1.5**2 + 2.5**2
    np.testing.assert_allclose(first.w, slope.w)
    np.testing.assert_allclose(second, np.outer([3, 5], [1, 2]))
    np.testing.assert_allclose(run(gc.grad(loss, 1), params, x), second)
    np.testing.assert_allclose(run(gc.grad(loss, -1), params, x), second)
    cubed = run(lambda p, x: gc.grad(loss)(p, x, power=3).b["b"], params, x)
    assert cubed == pytest.approx(3 * (1.5**2 + 2.5**2))


# -- functions -------------------------------------------------------------------------------------
def test_a_function_that_reads_its_argument_from_outside() -> None:
    """d/da (a * x) at a = x is x, not 2 x."""
    x = f64("x")
    found = [
        gc.grad(lambda a: a * x)(x),
        gc.vjp(lambda a: a * x, x)[1](1.0)[0],
        gc.jvp(lambda a: a * x, (x,), (1.0,))[1],
        gc.linearize(lambda a: a * x, x)[1](1.0),
        gc.hvp(lambda a: a**2 * x, x, 0.5),
    ]
    assert [float(v) for v in gc.evaluate(found, {x: 3.0})] == [3] * 5


def test_one_tensor_given_twice() -> None:
    x = f64("x")
    by_first, by_second = gc.grad(lambda a, b: a * a * b, (0, 1))(x, x)
    assert [float(v) for v in gc.evaluate([by_first, by_second], {x: 2.0})] == [8, 4]


def test_of_numbers_and_arrays() -> None:
    """As every function of graphc: a tensor without inputs."""
    found = gc.evaluate([gc.grad(lambda x: x**3)(2.0), gc.grad(gc.sum)(np.ones(2, "float32"))])
    assert found[0] == 12
    assert found[0].dtype == np.float64
    assert found[1].dtype == np.float32


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_of_a_derivative(order: int) -> None:
    f: Callable[..., Any] = gc.sin
    for _ in range(order):
        f = gc.grad(f)
    expected = [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin][order - 1]
    assert run(f, np.array(0.3)) == pytest.approx(expected(0.3), rel=1e-14)


def test_forward_over_reverse_over_forward() -> None:
    def along(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x: gc.jvp(f, (x,), (1.0,))[1]

    f = along(gc.grad(along(lambda x: gc.exp(2 * x))))
    assert run(f, np.array(0.3)) == pytest.approx(8 * np.exp(0.6), rel=1e-14)


def test_aux() -> None:
    def loss(x: Any) -> Any:
        return gc.sum(x**2), {"twice": 2 * x, "name": "loss"}

    x = np.array([1.0, 2.0])
    slope, aux = gc.grad(loss, has_aux=True)(x)
    assert aux["name"] == "loss"
    (value, more), again = gc.value_and_grad(loss, has_aux=True)(x)
    y, pull, third = gc.vjp(loss, x, has_aux=True)
    z, moved, fourth = gc.jvp(loss, (x,), ([1.0, 1.0],), has_aux=True)
    _, push, _ = gc.linearize(loss, x, has_aux=True)
    tensors = [value, y, z, moved, push([1.0, 1.0]), slope, again, pull(1.0)[0],
               *(a["twice"] for a in (aux, more, third, fourth))]  # fmt: skip
    found = gc.evaluate(tensors)
    assert found[:5] == [5, 5, 5, 6, 6]
    for a in found[5:]:
        np.testing.assert_array_equal(a, [2, 4])
    assert gc.grad(loss, has_aux=True).__name__ == "loss"


def test_of_a_jitted_function_and_of_a_layer() -> None:
    f = gc.jit(lambda x: gc.sum(x**2))
    layer = gc.nn.Dense(3, name="given_dense")
    x = np.array([[1.0, 2.0]], "float32")
    np.testing.assert_array_equal(run(gc.grad(f), x), 2 * x)
    y = gc.placeholder("given_x", (1, 2))
    slope = gc.evaluate(gc.grad(lambda x: gc.sum(layer(x)))(y), {y: x})
    np.testing.assert_allclose(slope[0], layer.parameters()[0].value.sum(axis=1), rtol=1e-6)


def test_linearize_is_made_once() -> None:
    x, u, v = f64("x", (2,)), f64("u", (2,)), f64("v", (2,))
    y, push = gc.linearize(lambda x: gc.exp(x) * gc.sum(x), x)
    same = gc.jvp(lambda x: gc.exp(x) * gc.sum(x), (x,), (v,))[1]
    linear = gc.linearize(gc.exp(x) * gc.sum(x), {"x": x})
    graph = Graph([x, u, v], [y, push(u), push(v), linear({"x": v}), same])
    assert sum(n.op.name == "exp" for n in graph.nodes) == 1
    feeds = {x: [0.5, 1.0], u: [1.0, 0.0], v: [1.0, 2.0]}
    _, a, *rest = gc.evaluate(list(graph.outputs), feeds)
    for other in rest:
        np.testing.assert_allclose(other, rest[0], rtol=1e-15)
    np.testing.assert_allclose(a, np.exp([0.5, 1.0]) * np.array([1.0 + 1.5, 1.0]), rtol=1e-15)


# -- errors ----------------------------------------------------------------------------------------
X = f64("given_x0", (2,))
S = gc.sum(X)
I = gc.placeholder("given_i", (2,), "int64")  # noqa: E741
WRONG: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "by nothing": (ArgumentError, "tensors are differentiated by tensors", lambda: gc.grad(S)),
    "by positions": (ArgumentError, "positions of arguments", lambda: gc.grad(S, argnums=0)),
    "aux of tensors": (ArgumentError, "positions", lambda: gc.value_and_grad(S, X, has_aux=True)),
    "a function by a tensor": (ArgumentError, "by its arguments", lambda: gc.grad(gc.sum, X)),
    "positions twice": (ArgumentError, "twice", lambda: gc.grad(gc.sum, 0, argnums=0)),
    "no such argument": (ArgumentError, "argnums says", lambda: gc.grad(gc.sum, 1)(X)),
    "not a position": (ArgumentError, "argnums says", lambda: gc.grad(gc.sum, "x")(X)),
    "an int argument": (GradientError, "args[0]['n']: an integer has no derivative",
                        lambda: gc.grad(lambda p: p["n"])({"n": 3})),
    "an int": (GradientError, "args[0]: an integer has no", lambda: gc.grad(lambda x: x)(3)),
    "a string argument": (ArgumentError, "args[0][0]: not a tensor",
                          lambda: gc.grad(lambda p: p[1])(["s", 1.0])),
    "a result that is none": (ArgumentError, "result['a']: not a tensor",
                              lambda: gc.vjp(lambda x: {"a": "s"}, X)),
    "two results": (ArgumentError, "not a tensor", lambda: gc.grad(lambda x: (x, x))(X)),
    "no aux": (ArgumentError, "gives a pair", lambda: gc.grad(gc.sum, has_aux=True)(X)),
    "no scalar": (GradientError, "not a scalar", lambda: gc.hvp(X * X, X, X)),
    "wrt of integers": (GradientError, "wrt[1]: an integer", lambda: gc.vjp(X, [X, I])),
    "wrt of numbers": (ArgumentError, "wrt['a']: not a tensor", lambda: gc.grad(S, {"a": 1.0})),
    "a tangent too long": (ArgumentError, "tangents[0]: the tangent does not fit",
                           lambda: gc.jvp(X, [X], [np.ones(3)])),
    "a tangent of ints": (ArgumentError, "the tangent does not fit", lambda: gc.jvp(X, X, I)),
    "tangents for others": (ArgumentError, "the tangent has another structure",
                            lambda: gc.jvp(X, {"a": X}, {"b": X})),
    "a cotangent for another": (ArgumentError, "the cotangent has another structure, at g['a']",
                                lambda: gc.vjp({"a": [X]}, X, {"a": {"b": X}})),
    "arguments in no tuple": (ArgumentError, "tuple of arguments", lambda: gc.jvp(gc.sum, X, X)),
    "not connected": (GradientError, "does not depend on wrt",
                      lambda: gc.grad(lambda x, y: gc.sum(x), 1)(X, X)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    kind, message, call = WRONG[name]
    with pytest.raises(kind) as caught:
        call()
    error: Any = caught.value
    assert message in error.message
    assert error.op in ("grad", "value_and_grad", "vjp", "jvp", "hvp")
    assert __file__ in error.where
