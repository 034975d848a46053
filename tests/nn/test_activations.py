"""Activations against naive formulas in extended precision, and their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.nn import activations

X = np.array([-20.0, -3.5, -1.0, -1e-3, 0.0, 1e-3, 0.5, 1.0, 3.5, 20.0])
LONG = X.astype(np.longdouble)


def _softplus(x: Any) -> Any:
    return np.logaddexp(x, np.longdouble(0))


def _elu(x: Any, alpha: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


ORACLES: dict[str, Callable[[Any], Any]] = {
    "celu": _elu,
    "elu": _elu,
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "log_sigmoid": lambda x: -_softplus(-x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "gelu": lambda x: x * np.array([0.5 * (1 + math.erf(float(v) / math.sqrt(2))) for v in x]),
    "gelu_tanh": lambda x: (
        x * (1 + np.tanh(np.sqrt(2 / np.longdouble(np.pi)) * (x + 0.044715 * x**3))) / 2
    ),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "linear": lambda x: x,
    "log_softmax": lambda x: x - np.log(np.sum(np.exp(x))),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "relu": lambda x: np.maximum(x, 0),
    "selu": lambda x: 1.0507009873554805 * _elu(x, 1.6732632423543772),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softmax": lambda x: np.exp(x) / np.sum(np.exp(x)),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
}


def test_every_activation_has_an_oracle() -> None:
    assert set(ORACLES) == set(activations.ACTIVATIONS)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_values(name: str) -> None:
    x = gc.placeholder("x", ("n",), "float64")
    given = gc.evaluate(activations.get(name)(x), {x: X})
    np.testing.assert_allclose(given, ORACLES[name](LONG).astype(float), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_derivatives(name: str) -> None:
    x = gc.placeholder("x", (6,), "float64")
    weights = np.linspace(0.5, 1.5, 6)
    at = np.array([-2.3, -0.7, -0.1, 0.2, 0.9, 2.7])
    given = gc.evaluate(gc.grad(gc.sum(activations.get(name)(x) * weights), x), {x: at})
    for i in range(6):
        step = np.zeros(6, np.longdouble)
        step[i] = 1e-6
        high, low = (ORACLES[name](at.astype(np.longdouble) + s) for s in (step, -step))
        slope = float(np.sum((high - low) * weights) / 2e-6)
        assert given[i] == pytest.approx(slope, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_finite_and_of_the_same_dtype_far_out(name: str) -> None:
    x = gc.placeholder("x", ("n",), "float32")
    y = activations.get(name)(x)
    assert y.dtype is gc.float32
    far = np.array([-1e4, -100.0, 100.0, 1e4], np.float32)
    values, slopes = gc.evaluate([y, gc.grad(gc.sum(y), x)], {x: far})
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()


def test_those_that_take_more_than_one_tensor_or_a_parameter() -> None:
    x = gc.placeholder("rows", (2, 4), "float64")
    at = np.array([[-2.0, 0.5, -0.0, 3.0], [1.0, -4.0, 0.25, -0.5]])
    slope = np.array([0.5, 0.25, 0.1, 0.0])
    found = gc.evaluate(
        [gc.glu(x), gc.glu(x, axis=0), gc.prelu(x, slope), gc.celu(x, 2.0), gc.elu(x, 2.0),
         gc.step(x), gc.grad(gc.sum(gc.prelu(x, slope)), x)], {x: at},
    )  # fmt: skip
    gate = 1 / (1 + np.exp(-at))
    expected = [
        at[:, :2] * gate[:, 2:], at[:1] * gate[1:], np.where(at > 0, at, slope * at),
        np.where(at > 0, at, 2 * np.expm1(at / 2)), np.where(at > 0, at, 2 * np.expm1(at)),
        np.heaviside(at, 1), np.where(at > 0, 1, slope),
    ]  # fmt: skip
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-14)


def test_get_takes_none_and_callables() -> None:
    assert activations.get("swish") is activations.ACTIVATIONS["silu"]
    x = gc.placeholder("x", ("n",))
    assert activations.get(None)(x) is x
    assert activations.get(gc.tanh) is gc.tanh


@pytest.mark.parametrize("bad", ["rely", 3])
def test_get_names_what_it_knows(bad: Any) -> None:
    with pytest.raises(gc.errors.ArgumentError, match="relu6, selu, sigmoid") as caught:
        activations.get(bad)
    assert repr(bad) in str(caught.value)
    assert "test_activations.py" in str(caught.value)


@pytest.mark.parametrize("form", [True, "tanh"])
def test_forms_of_gelu(form: Any) -> None:
    x = gc.placeholder("x", ("n",))
    by_tanh = gc.gelu(x, approximate=form)
    assert by_tanh is activations.gelu_tanh(x)
    assert by_tanh is activations.get("gelu_pytorch_tanh")(x)
    assert gc.gelu(x, approximate="none") is gc.gelu(x)
    with pytest.raises(ArgumentError, match="not a form of gelu"):
        gc.gelu(x, approximate="erf")


def test_gelu_by_tanh_has_a_slope_far_out() -> None:
    """Where a cube is infinite: inf * 0 is NaN."""
    x = gc.placeholder("x", ("n",))
    y = gc.gelu(x, approximate=True)
    at = np.array([-3e38, -1e15, -41, 41, 1e15, 3e38], "float32")
    values, slopes = gc.compile([x], [y, gc.grad(gc.sum(y), x)])(at)
    np.testing.assert_array_equal(values, [-0.0, 0, 0, 41, np.float32(1e15), np.float32(3e38)])
    np.testing.assert_array_equal(slopes, [0, 0, 0, 1, 1, 1])
