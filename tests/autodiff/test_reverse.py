"""Gradients as graphs: their values, their structure, and the errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc as gc
from graphc.errors import ArgumentError, GradientError
from graphc.ir.graph import walk
from graphc.ir.node import apply
from graphc.ir.op import Kind, Op

Array = np.ndarray[Any, Any]


def scalar(name: str = "x") -> gc.Tensor:
    return gc.placeholder(name, (), "float64")


def difference(f: Callable[[Array], float], at: Array, step: float = 1e-6) -> Array:
    """Central differences of f, one element at a time."""
    result = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        move = np.zeros_like(at)
        move[index] = step
        result[index] = (f(at + move) - f(at - move)) / (2 * step)
    return result


# -- derivatives of derivatives --------------------------------------------------------------------
@pytest.mark.parametrize("coefficients", [(1.0, -2.0, 3.0, 0.5, -1.0), (0.0, 0.0, 0.0, 2.0, 1.0)])
def test_every_derivative_of_a_polynomial(coefficients: tuple[float, ...]) -> None:
    x = scalar()
    y: Any = gc.constant(0.0, "float64")
    for power, c in enumerate(coefficients):
        y = y + c * x**power
    polynomial = np.polynomial.Polynomial(coefficients)
    for order in range(1, 5):
        y = gc.grad(y, x)
        for value in (-1.5, 0.0, 0.25, 2.0):
            found = float(gc.evaluate(y, {x: value}))
            assert found == pytest.approx(polynomial.deriv(order)(value), rel=1e-13)


def test_derivatives_of_products_of_powers() -> None:
    """d^4 / dx^2 dy^2 of x^3 y^4 = 6x * 12y^2."""
    x, y = scalar("x"), scalar("y")
    z = x**3 * y**4
    for by in (x, y, x, y):
        z = gc.grad(z, by)
    assert float(gc.evaluate(z, {x: 1.5, y: 2.0})) == pytest.approx(6 * 1.5 * 12 * 4.0, rel=1e-13)


def test_tenth_derivative_of_sine() -> None:
    x = scalar()
    y = gc.sin(x)
    for _ in range(10):
        y = gc.grad(y, x)
    assert float(gc.evaluate(y, {x: 0.3})) == pytest.approx(-np.sin(0.3), rel=1e-14)


def mlp() -> tuple[gc.Tensor, list[gc.Tensor], dict[gc.Tensor, Array]]:
    """The loss of a network with two layers of tanh, its parameters and values for everything."""
    rng = np.random.default_rng(3)
    x = gc.placeholder("x", (4, 3), "float64")
    shapes = {"w1": (3, 5), "b1": (5,), "w2": (5, 2), "b2": (2,)}
    w1, b1, w2, b2 = parameters = [gc.placeholder(n, s, "float64") for n, s in shapes.items()]
    out = gc.tanh(gc.tanh(x @ w1 + b1) @ w2 + b2)
    loss = gc.mean(gc.sum(out * out, axis=1))
    values = {t: rng.normal(size=t.shape) for t in (x, *parameters)}
    return loss, parameters, values


def test_gradient_of_a_network() -> None:
    loss, parameters, values = mlp()
    found = gc.evaluate(gc.grad(loss, parameters), values)
    for p, g in zip(parameters, found, strict=True):
        expected = difference(lambda v, p=p: float(gc.evaluate(loss, {**values, p: v})), values[p])
        np.testing.assert_allclose(g, expected, rtol=1e-6, atol=1e-9)


def test_hessian_vector_product_of_a_network() -> None:
    loss, parameters, values = mlp()
    rng = np.random.default_rng(4)
    directions = [gc.placeholder(f"v_{p.name}", p.shape, "float64") for p in parameters]
    gradients = gc.grad(loss, parameters)
    along: Any = gc.constant(0.0, "float64")
    for g, v in zip(gradients, directions, strict=True):
        along = along + gc.sum(g * v)
    values |= {v: rng.normal(size=v.shape) for v in directions}
    found = gc.evaluate(gc.grad(along, parameters), values)
    for p, g in zip(parameters, found, strict=True):
        expected = difference(lambda v, p=p: float(gc.evaluate(along, {**values, p: v})), values[p])
        np.testing.assert_allclose(g, expected, rtol=1e-6, atol=1e-8)


# -- with respect to what --------------------------------------------------------------------------
def test_with_respect_to_an_intermediate() -> None:
    x = scalar()
    h = x * x
    y = gc.sin(h) * x
    dh, dx = gc.grad(y, [h, x])
    assert float(gc.evaluate(dh, {x: 0.7})) == pytest.approx(np.cos(0.49) * 0.7)
    expected = np.cos(0.49) * 0.7 * 1.4 + np.sin(0.49)
    assert float(gc.evaluate(dx, {x: 0.7})) == pytest.approx(expected)


def test_with_respect_to_itself() -> None:
    x = scalar()
    y = x * 2
    assert float(gc.evaluate(gc.grad(y, y), {})) == 1


def test_with_respect_to_a_variable() -> None:
    w = gc.variable([1.0, 2.0, 3.0], name="w")
    np.testing.assert_array_equal(gc.evaluate(gc.grad(gc.sum(w * w), w)), [2, 4, 6])


def test_a_tensor_or_a_list_as_asked() -> None:
    x, y = scalar("x"), scalar("y")
    assert isinstance(gc.grad(x * y, x), gc.Tensor)
    found = gc.grad(x * y, [x, y])
    assert isinstance(found, list)
    assert [float(v) for v in gc.evaluate(found, {x: 2.0, y: 3.0})] == [3.0, 2.0]


def test_uses_add_up() -> None:
    x = scalar()
    y = x * 3 + x * x + gc.exp(x)
    assert float(gc.evaluate(gc.grad(y, x), {x: 1.0})) == pytest.approx(5 + np.e)


def test_stop_gradient() -> None:
    x = scalar()
    y = gc.stop_gradient(x * x) * x
    assert float(gc.evaluate(gc.grad(y, x), {x: 3.0})) == 9
    with pytest.raises(GradientError, match="only through operations"):
        gc.grad(gc.stop_gradient(x) + 1, x)


def test_vjp_of_several_outputs() -> None:
    x = gc.placeholder("x", (3,), "float64")
    a = np.array([1.0, 2.0, 3.0])
    found = gc.vjp([x * x, gc.sum(x)], x, [np.array([1.0, 10.0, 100.0]), np.float64(5)])
    np.testing.assert_array_equal(gc.evaluate(found, {x: a}), [2 + 5, 40 + 5, 600 + 5])


def test_vjp_without_a_cotangent_takes_ones() -> None:
    x = gc.placeholder("x", ("n", 2), "float64")
    found = gc.evaluate(gc.vjp(x * x, x), {x: np.ones((3, 2))})
    np.testing.assert_array_equal(found, np.full((3, 2), 2.0))


def test_vjp_is_the_transposed_jacobian() -> None:
    x = gc.placeholder("x", (2, 3), "float64")
    w = np.arange(6.0).reshape(3, 2)
    g = np.array([[1.0, -1.0], [2.0, 0.5]])
    np.testing.assert_allclose(gc.evaluate(gc.vjp(x @ w, x, g), {x: np.zeros((2, 3))}), g @ w.T)


# -- what the output does not depend on ------------------------------------------------------------
def test_zeros_for_what_is_not_connected() -> None:
    x, y = gc.placeholder("x", ("n", 2), "float64"), gc.placeholder("y", ("n",), "float32")
    found = gc.grad(gc.sum(x * x), [x, y], unconnected="zero")
    dx, dy = gc.evaluate(found, {x: np.ones((3, 2)), y: np.ones(3)})
    np.testing.assert_array_equal(dx, np.full((3, 2), 2.0))
    np.testing.assert_array_equal(dy, np.zeros(3, "float32"), strict=True)
    zero = gc.vjp([x * 3, gc.floor(x)], y, unconnected="zero")
    np.testing.assert_array_equal(gc.evaluate(zero, {y: np.ones(2)}), np.zeros(2, "float32"))


def test_second_derivatives_that_are_zero_everywhere() -> None:
    x = gc.placeholder("x", (2,), "float64")
    first = gc.grad(gc.sum(3 * x), x)
    again = gc.grad(gc.sum(first), x, unconnected="zero")
    found = gc.compile([x], [again, gc.grad(gc.sum(again), x, unconnected="zero")])
    for zeros in found(np.ones(2)):
        np.testing.assert_array_equal(zeros, [0, 0])


def test_a_hessian_with_a_zero_block() -> None:
    """f(x, y) = sum(x^3) + 2 sum(y) + x_0 sum(y): the Hessian by x and x is diag(6x), that by x and
    y is one in its first row, that by y and y is zero."""
    x, y = gc.placeholder("x", (2,), "float64"), gc.placeholder("y", (2,), "float64")
    f = gc.sum(x**3) + 2 * gc.sum(y) + x[0] * gc.sum(y)
    first = gc.grad(f, [x, y])
    rows = [
        gc.vjp(g, [x, y], unit, unconnected="zero") for g in first for unit in np.eye(2)
    ]
    hessian = gc.stack([gc.concat(row) for row in rows])
    found = gc.evaluate(hessian, {x: [2.0, -1.0], y: [5.0, 7.0]})
    expected = [[12, 0, 1, 1], [0, -6, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(found, expected)


# -- structure -------------------------------------------------------------------------------------
def op_names(t: gc.Tensor) -> list[str]:
    return [node.op.name for node in walk([t])]


def test_gradient_of_cross_entropy_is_softmax_minus_one_hot() -> None:
    z, y = gc.placeholder("z", ("n", 5), "float64"), gc.placeholder("y", ("n",), "int64")
    dz = gc.grad(gc.sum(gc.softmax_cross_entropy(z, y)), z)
    names = op_names(dz)
    assert names.count("softmax") == 1
    assert "softmax_cross_entropy" not in names
    assert not {"log", "exp", "divide"} & set(names)
    rng = np.random.default_rng(0)
    a, labels = rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
    expected = scipy.special.softmax(a, axis=1) - np.eye(5)[labels]
    np.testing.assert_allclose(gc.evaluate(dz, {z: a, y: labels}), expected, atol=1e-15)


def test_gradient_uses_the_forward_result() -> None:
    """tanh is computed once, for the value and for the derivative."""
    x = gc.placeholder("x", (3,))
    h = gc.tanh(x)
    assert op_names(gc.grad(gc.sum(h), x)).count("tanh") == 1
    assert h.node in walk([gc.grad(gc.sum(h), x)])


def test_gradient_of_a_dense_layer_is_two_products() -> None:
    x, w = gc.placeholder("x", ("n", 3)), gc.placeholder("w", (3, 2))
    dw, dx = gc.grad(gc.sum((x @ w) * (x @ w)), [w, x])
    assert op_names(dw).count("matmul") == 2  # one of them forward
    assert op_names(dx).count("matmul") == 2
    assert dw.shape == w.shape
    assert dx.shape == x.shape


def test_nothing_is_built_for_what_is_not_asked() -> None:
    x, w = gc.placeholder("x", ("n", 3)), gc.placeholder("w", (3, 2))
    assert op_names(gc.grad(gc.sum(x @ w), w)).count("matmul") == 1


def test_gradients_carry_the_line_of_what_they_derive() -> None:
    x = scalar("x_of_this_test")
    y = gc.exp(x) * gc.sin(x)
    made = [node for node in walk([gc.grad(y, x)]) if node.inputs]
    assert len(made) > 4
    assert all(node.origins[0].file == __file__ for node in made)


# -- composites against NumPy ----------------------------------------------------------------------
def test_softmax_jacobian() -> None:
    """diag(p) - p p^T."""
    x = gc.placeholder("x", (4,), "float64")
    a = np.array([0.1, -2.0, 3.0, 1.0])
    p = scipy.special.softmax(a)
    rows = [gc.vjp(gc.softmax(x), x, np.eye(4)[k]) for k in range(4)]
    found = np.array(gc.evaluate(rows, {x: a}))
    np.testing.assert_allclose(found, np.diag(p) - np.outer(p, p), atol=1e-16)


def test_log_softmax_jacobian() -> None:
    """I - 1 p^T."""
    x = gc.placeholder("x", (4,), "float64")
    a = np.array([0.1, -2.0, 3.0, 1.0])
    rows = [gc.vjp(gc.log_softmax(x), x, np.eye(4)[k]) for k in range(4)]
    expected = np.eye(4) - scipy.special.softmax(a)
    np.testing.assert_allclose(np.array(gc.evaluate(rows, {x: a})), expected, atol=1e-15)


def test_logsumexp_gradient_is_softmax_also_where_exp_overflows() -> None:
    x = gc.placeholder("x", (3,), "float64")
    a = np.array([1000.0, 1001.0, -1000.0])
    found = gc.evaluate(gc.grad(gc.logsumexp(x), x), {x: a})
    np.testing.assert_allclose(found, scipy.special.softmax(a), rtol=1e-14)


def test_logsumexp_hessian() -> None:
    x = gc.placeholder("x", (3,), "float64")
    a = np.array([0.5, -1.0, 2.0])
    p = scipy.special.softmax(a)
    first = gc.grad(gc.logsumexp(x), x)
    rows = [gc.vjp(first, x, np.eye(3)[k]) for k in range(3)]
    found = np.array(gc.evaluate(rows, {x: a}))
    np.testing.assert_allclose(found, np.diag(p) - np.outer(p, p), atol=1e-16)


# -- errors ----------------------------------------------------------------------------------------
def failing(call: Callable[[], Any], kind: type[Exception], match: str) -> Any:
    with pytest.raises(kind, match=match) as caught:
        call()
    error: Any = caught.value
    assert error.op in ("grad", "vjp")
    assert __file__ in error.where
    return error


def test_of_what_is_no_scalar() -> None:
    x = gc.placeholder("x", (3,))
    error = failing(lambda: gc.grad(x * x, x), GradientError, "not a scalar")
    assert error.given == "f32[3]"
    assert "gc.vjp" in error.hint


def test_of_an_integer() -> None:
    i = gc.placeholder("i", (), "int64")
    failing(lambda: gc.grad(i * i, i), GradientError, "an integer has no derivative")
    x = gc.placeholder("x")
    failing(lambda: gc.grad(x * 2, i), GradientError, "an integer has no derivative")
    failing(lambda: gc.grad(x > 2, x), GradientError, "a truth value has no derivative")
    error = failing(lambda: gc.vjp([x, i], x), GradientError, "an integer")
    assert error.message == "y[1]: an integer has no derivative"


def test_of_what_is_not_connected() -> None:
    x, y = gc.placeholder("x"), gc.placeholder("y")
    error = failing(lambda: gc.grad(x * x, y), GradientError, "does not depend")
    assert "'y'" in error.given
    assert 'unconnected="zero"' in error.hint


@pytest.mark.parametrize("call", [gc.grad, gc.vjp])
def test_unconnected_is_one_of_two_words(call: Callable[..., Any]) -> None:
    x = gc.placeholder("x")
    error = failing(lambda: call(x * x, x, unconnected="none"), ArgumentError, "depend")
    assert error.expected == "unconnected='error' or unconnected='zero'"


@pytest.mark.parametrize("name", ["floor", "sign", "round"])
def test_through_a_step_function_only(name: str) -> None:
    x = gc.placeholder("x")
    y = getattr(gc, name)(x)
    error = failing(lambda: gc.grad(y, x), GradientError, "only through operations that have no")
    assert f"through {name} ({__file__}" in error.given


def test_what_leads_nowhere_is_named() -> None:
    x = gc.placeholder("x_that_leads_nowhere")
    chosen = gc.where(x > 0, 1.0, 2.0) + gc.stop_gradient(x) + gc.floor(x * 2)
    error = failing(lambda: gc.grad(chosen, {"a": [x]}), GradientError, "only through operations")
    assert "depends on wrt['a'][0] only" in error.message
    for name in ("greater", "stop_gradient", "floor"):
        assert f"{name} ({__file__}" in error.given
    assert "multiply" not in error.given


def test_an_op_that_states_no_derivative() -> None:
    x = gc.placeholder("x")
    op = Op("without_derivative", Kind.MAP, lambda x: (x,), numpy=np.sin)
    y = apply(op, (x,)).output()
    for call in (lambda: gc.grad(y, x), lambda: gc.jvp(y, x, 1.0)):
        with pytest.raises(GradientError, match="states no derivative") as caught:
            call()
        assert caught.value.op == "without_derivative"
        assert __file__ in caught.value.where


def test_of_no_tensor() -> None:
    x = gc.placeholder("x")
    failing(lambda: gc.grad(1.0, x), ArgumentError, "not a tensor")
    failing(lambda: gc.grad(x * x, [x, "y"]), ArgumentError, "not a tensor")
    failing(lambda: gc.grad(x * x, 2.0), ArgumentError, "not a tensor")


def test_a_cotangent_that_does_not_fit() -> None:
    x = gc.placeholder("x", (3,))
    error = failing(lambda: gc.vjp(x * x, x, np.ones(4)), ArgumentError, "does not fit")
    assert error.expected == "f32[3]"
    assert error.given == "f32[4]"


def test_as_many_cotangents_as_outputs() -> None:
    x = gc.placeholder("x", (3,))
    failing(lambda: gc.vjp([x * x, x + 1], x, [np.ones(3)]), ArgumentError, "structure")


# -- size ------------------------------------------------------------------------------------------
def test_a_deep_chain() -> None:
    x = gc.placeholder("x", (), "float64")
    y = x
    for _ in range(20_000):
        y = gc.sin(y)
    g = gc.grad(y, x)
    assert 0 < float(gc.evaluate(g, {x: 0.5})) < 1


def test_a_sum_of_many_uses_is_linear_in_size() -> None:
    x = gc.placeholder("x", (), "float64")
    y: Any = x
    for k in range(2_000):
        y = y + x * float(k)
    assert float(gc.evaluate(gc.grad(y, x), {x: 1.0})) == 1 + sum(range(2_000))
