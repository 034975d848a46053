"""Functions of one tensor that use it several times, as a derivative takes them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc

X = gc.placeholder("local_x", ("n",), "float64")
G = gc.placeholder("local_g", ("n",), "float64")
AT = np.linspace(-3, 3, 13) + 0.01
SENT = np.cos(np.arange(13.0))


def normal(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """The derivative of gelu: P(Z <= x) + x p(x)."""
    below = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x])
    return below + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def logistic(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    s = 1 / (1 + np.exp(-x))
    return s + x * s * (1 - s)


FUNCTIONS = {
    "gelu": (gc.gelu, normal),
    "silu": (gc.silu, logistic),
    "mish": (
        gc.mish,
        lambda x: np.tanh(np.logaddexp(0, x))
        + x * (1 - np.tanh(np.logaddexp(0, x)) ** 2) / (1 + np.exp(-x)),
    ),
    "softsign": (gc.nn.activations.softsign, lambda x: 1 / (1 + abs(x)) ** 2),
    "polynomial": (lambda x: x * x * x - 2 * x, lambda x: 3 * x**2 - 2),
    "a step": (lambda x: x * gc.floor(x) + gc.sin(x), lambda x: np.floor(x) + np.cos(x)),
    "nested": (lambda x: gc.silu(gc.silu(x)) * x, None),
}


def users_of(t: gc.Tensor, result: gc.Tensor) -> int:
    return sum(u is t for node in gc.Graph([X, G], [result]).nodes for u in node.inputs)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_cotangent_is_multiplied_once_by_the_derivative(name: str) -> None:
    f, derivative = FUNCTIONS[name]
    back = gc.vjp(f(X), X, G)
    assert users_of(G, back) == 1
    if derivative is None:
        h = 1e-6
        up, down = (gc.evaluate(f(X), {X: AT + d}) for d in (h, -h))
        expected, error = (up - down) / (2 * h), 1e-8
    else:
        expected, error = derivative(AT), 1e-13
    np.testing.assert_allclose(
        gc.evaluate(back, {X: AT, G: SENT}), SENT * expected, rtol=error, atol=error
    )


def shared(x: gc.Tensor) -> gc.Tensor:
    s = gc.sigmoid(x)
    return gc.sum(x * s) + gc.sum(s * s * G)


def by_rows(x: gc.Tensor) -> gc.Tensor:
    return x * gc.exp(-gc.sum(x))


def branches(x: gc.Tensor) -> gc.Tensor:
    return x * gc.where(x > 0, gc.log(x), 0.0)


@pytest.mark.parametrize("f", [shared, by_rows, branches])
def test_what_is_no_such_function_flows_op_by_op(f: Callable[[gc.Tensor], gc.Tensor]) -> None:
    """What is inside is used elsewhere, is not elementwise, or may be hidden by a branch: the log
    of what is below 0 makes no NaN."""
    y = f(X)
    back = gc.grad(gc.sum(y), X)
    h = 1e-6
    for i in (0, 7, 12):
        step = h * np.eye(13)[i]
        up, down = (gc.evaluate(gc.sum(y), {X: AT + d, G: SENT}) for d in (step, -step))
        found = gc.evaluate(back, {X: AT, G: SENT})
        np.testing.assert_allclose(found[i], (up - down) / (2 * h), rtol=1e-6, atol=1e-8)


def test_a_value_on_the_way_that_is_asked_for_has_its_own_derivative() -> None:
    s = gc.sigmoid(X)
    by_s, by_x = gc.vjp(X * s, [s, X], G)
    values = {X: AT, G: SENT}
    np.testing.assert_allclose(gc.evaluate(by_s, values), SENT * AT, rtol=1e-14)
    np.testing.assert_allclose(gc.evaluate(by_x, values), SENT * logistic(AT), rtol=1e-13)


@pytest.mark.parametrize("activation", [gc.gelu, gc.silu, gc.mish])
def test_a_layer_keeps_one_value_for_the_backward_pass(
    activation: Callable[[gc.Tensor], gc.Tensor],
) -> None:
    """Its result, for the next layer, and its derivative."""
    x = gc.placeholder("x_of_layer", ("m", 64))
    w, v = (gc.variable(np.ones((64, 64), "float32"), name) for name in ("w_local", "v_local"))
    loss = gc.sum(gc.square(activation(x @ w) @ v))
    step = gc.compile([x], loss, updates=gc.optim.SGD(0.1).minimize(loss, [w, v]), name="step")
    fused = [n for n in step.optimized.nodes if n.op.name == "fused"]
    forward = fused[0]  # in order
    (backward,) = (n for n in fused if any(t.node is forward for t in n.inputs))
    assert len(forward.types) == len(backward.inputs) == 2
