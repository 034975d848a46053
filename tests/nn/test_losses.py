"""Losses against the naive formulas in extended precision, at ordinary and extreme predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.nn import losses

RNG = np.random.default_rng(3)
LOGITS = np.concatenate([
    RNG.normal(0, 3, (6, 5)),
    np.array([[1e4, 0, -1e4, 3, 2], [-1e4, -1e4, -1e4, -1e4, -9e3], [88.8, 90, -104, 0, 89]]),
]).astype(np.float32)
LABELS = np.array([0, 4, 2, 1, 3, 3, 1, 0, 2])
ONE_HOT = np.eye(5, dtype=np.float32)[LABELS]


def _log_softmax(z: Any) -> Any:
    z = z.astype(np.longdouble)  # its exponent range holds exp(1e4)
    return z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))


def _evaluate(
    loss: Callable[..., Any], predictions: Any, targets: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The losses and the gradient of their sum."""
    p = gc.placeholder("p", ("n", *predictions.shape[1:]), predictions.dtype)
    t = gc.placeholder("t", ("n", *targets.shape[1:]), targets.dtype)
    result = loss(p, t)
    assert result.dtype is p.dtype
    values, gradient = gc.evaluate(
        [result, gc.grad(gc.sum(result), p)], {p: predictions, t: targets}
    )
    return values, gradient


def test_softmax_cross_entropy_of_labels() -> None:
    values, gradient = _evaluate(losses.softmax_cross_entropy, LOGITS, LABELS)
    expected = -_log_softmax(LOGITS)[np.arange(9), LABELS]
    np.testing.assert_allclose(values, expected.astype(float), rtol=2e-6, atol=2e-6)
    softmax = np.exp(_log_softmax(LOGITS)).astype(float)
    np.testing.assert_allclose(gradient, softmax - ONE_HOT, atol=1e-6)


def test_softmax_cross_entropy_of_probabilities() -> None:
    targets = RNG.dirichlet(np.ones(5), 9).astype(np.float32)
    values, gradient = _evaluate(losses.softmax_cross_entropy, LOGITS, targets)
    log_p = _log_softmax(LOGITS)
    np.testing.assert_allclose(values, -np.sum(targets * log_p, -1).astype(float), rtol=2e-6)
    np.testing.assert_allclose(gradient, np.exp(log_p).astype(float) - targets, atol=2e-6)


def test_one_hot_targets_equal_labels() -> None:
    by_label, _ = _evaluate(losses.softmax_cross_entropy, LOGITS, LABELS)
    for targets in (ONE_HOT, ONE_HOT.astype(np.int64)):
        by_row, _ = _evaluate(losses.softmax_cross_entropy, LOGITS, targets)
        np.testing.assert_allclose(by_row, by_label, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_binary_cross_entropy_from_logits(dtype: str) -> None:
    z = np.array([-1e4, -104, -50, -1, 0, 0.3, 20, 104, 1e4] * 2, np.float32)
    t = np.repeat([0, 1], 9).astype(dtype)
    values, gradient = _evaluate(losses.binary_cross_entropy, z, t)
    long = z.astype(np.longdouble)
    naive = np.where(t == 1, np.log1p(np.exp(-long)), np.log1p(np.exp(long)))
    np.testing.assert_allclose(values, naive.astype(float), rtol=1e-6, atol=1e-44)
    slope = np.where(t == 1, -1 / (1 + np.exp(long)), 1 / (1 + np.exp(-long)))
    np.testing.assert_allclose(gradient, slope.astype(float), rtol=1e-6, atol=1e-44)


def test_binary_cross_entropy_of_soft_targets() -> None:
    z, t = RNG.normal(0, 4, 20), RNG.uniform(0, 1, 20)
    values, gradient = _evaluate(losses.binary_cross_entropy, z, t)
    p = 1 / (1 + np.exp(-z.astype(np.longdouble)))
    naive = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    np.testing.assert_allclose(values, naive.astype(float), rtol=1e-14)
    np.testing.assert_allclose(gradient, (p - t).astype(float), rtol=1e-12)


def test_binary_cross_entropy_from_probabilities() -> None:
    def loss(p: Any, t: Any) -> Any:
        return losses.binary_cross_entropy(p, t, from_logits=False)

    p = np.array([1e-30, 1e-3, 0.25, 0.5, 0.999, 1 - 2**-24] * 2, np.float32)
    t = np.repeat([0, 1], 6)
    values, gradient = _evaluate(loss, p, t)
    long = p.astype(np.longdouble)
    naive = -np.where(t == 1, np.log(long), np.log1p(-long))
    np.testing.assert_allclose(values, naive.astype(float), rtol=1e-6)
    slope = np.where(t == 1, -1 / long, 1 / (1 - long))
    np.testing.assert_allclose(gradient, slope.astype(float), rtol=1e-6)

    values, gradient = _evaluate(loss, np.array([0, 1, 0, 1], np.float32), np.array([0, 1, 1, 0]))
    np.testing.assert_array_equal(values[:2], [0, 0])
    np.testing.assert_allclose(values[2:], -np.log(np.float64(2.0) ** -149), rtol=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (4, 3, 2)])
def test_errors_are_means_over_all_axes_but_the_first(shape: tuple[int, ...]) -> None:
    p, t = RNG.normal(size=shape), RNG.normal(size=shape)
    axes = tuple(range(1, len(shape)))
    count = int(np.prod(shape[1:]))
    squared, slope = _evaluate(losses.mean_squared_error, p, t)
    np.testing.assert_allclose(squared, np.mean((p - t) ** 2, axis=axes), rtol=1e-14)
    np.testing.assert_allclose(slope, 2 * (p - t) / count, rtol=1e-14)
    absolute, slope = _evaluate(losses.mean_absolute_error, p, t)
    np.testing.assert_allclose(absolute, np.mean(np.abs(p - t), axis=axes), rtol=1e-14)
    np.testing.assert_allclose(slope, np.sign(p - t) / count, rtol=1e-14)
    binary, _ = _evaluate(losses.binary_cross_entropy, p, (t > 0).astype(float))
    naive = np.mean(np.logaddexp(0, np.where(t > 0, -p, p)), axis=axes)
    np.testing.assert_allclose(binary, naive, rtol=1e-13)


def test_integer_targets_do_not_widen() -> None:
    p, t = gc.placeholder("p", ("n",)), gc.placeholder("t", ("n",), "int64")
    assert losses.mean_squared_error(p, t).dtype is gc.float32


@pytest.mark.parametrize(
    "loss", ["mean_squared_error", "mean_absolute_error", "binary_cross_entropy"]
)
def test_shapes_that_would_broadcast_are_refused(loss: str) -> None:
    p, t = gc.placeholder("p", ("n", 1)), gc.placeholder("t", ("n",))
    with pytest.raises(gc.errors.ShapeError, match=r"targets\[:, None\]") as caught:
        losses.get(loss)(p, t)
    assert "predictions (n, 1), targets (n,)" in str(caught.value)
    with pytest.raises(gc.errors.ShapeError):
        losses.get(loss)(gc.placeholder("p", ()), gc.placeholder("t", ()))


def test_float_labels_are_refused() -> None:
    p, t = gc.placeholder("p", ("n", 3)), gc.placeholder("t", ("n",))
    with pytest.raises(gc.errors.ShapeError, match=r"astype\('int64'\)"):
        losses.softmax_cross_entropy(p, t)


def test_integer_predictions_are_refused() -> None:
    p, t = gc.placeholder("p", ("n",), "int64"), gc.placeholder("t", ("n",))
    with pytest.raises(gc.errors.DTypeError, match="predictions are floats"):
        losses.mean_squared_error(p, t)


def test_a_label_out_of_range_fails_at_the_call() -> None:
    p, t = gc.placeholder("p", ("n", 3)), gc.placeholder("t", ("n",), "int64")
    with pytest.raises(gc.GraphcError, match="out of range for 3 classes"):
        gc.evaluate(losses.softmax_cross_entropy(p, t), {p: np.zeros((2, 3)), t: [0, 3]})


def test_unknown_name() -> None:
    with pytest.raises(gc.errors.ArgumentError, match="binary_cross_entropy, mean_absolute"):
        losses.get("hinge")


def test_probabilities_that_are_a_sigmoid_are_as_good_as_logits() -> None:
    z, t = gc.placeholder("z", ("n", 1)), gc.placeholder("t", ("n", 1))
    loss = losses.binary_cross_entropy(gc.sigmoid(z), t, from_logits=False)
    f = gc.compile([z, t], [loss, gc.grad(gc.sum(loss), z)])
    for sign, target in ((1, 0.0), (-1, 1.0)):
        at = sign * np.array([[-200], [-20], [-1], [0], [20], [100], [200]], np.float32)
        value, slope = f(at, np.full_like(at, target))
        long = sign * at.astype(np.longdouble)[:, 0]
        exact = np.log1p(np.exp(long)).astype(float)
        np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-44)
        exact = sign * (1 / (1 + np.exp(-long))).astype(float)
        np.testing.assert_allclose(slope[:, 0], exact, rtol=1e-6, atol=1e-44)
