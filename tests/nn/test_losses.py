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
    p, t = gc.placeholder("p", ("n", 3)), gc.placeholder("t", ("n",))
    with pytest.raises(gc.errors.ShapeError, match=r"targets\[:, None\]") as caught:
        losses.get(loss)(p, t)
    assert "predictions (n, 3), targets (n,)" in str(caught.value)
    with pytest.raises(gc.errors.ShapeError):
        losses.get(loss)(gc.placeholder("p", ()), gc.placeholder("t", ()))


@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_cross_entropy", "huber", "hinge"])
@pytest.mark.parametrize("shapes", [((5, 1), (5,)), ((5,), (5, 1)), ((5, 3, 1), (5, 3))])
def test_an_axis_of_size_one_makes_no_difference(loss: str, shapes: tuple[Any, Any]) -> None:
    """One number for each example is [n] or [n, 1], as for a model that ends in Dense(1)."""
    rng = np.random.default_rng(4)
    predictions, targets = rng.normal(size=shapes[0]), rng.integers(0, 2, shapes[1]) * 1.0
    function = losses.get(loss)
    found = gc.evaluate(function(predictions, targets), {})
    same = gc.evaluate(function(predictions, targets.reshape(shapes[0])), {})
    np.testing.assert_array_equal(found, same)
    assert found.shape == (5,)


@pytest.mark.parametrize("loss", ["kl_divergence", "categorical_hinge", "cosine_similarity"])
def test_an_axis_of_classes_has_to_be_there(loss: str) -> None:
    with pytest.raises(gc.errors.ShapeError):
        losses.get(loss)(gc.placeholder("p", ("n", 1)), gc.placeholder("t", ("n",)))


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
    with pytest.raises(gc.errors.ArgumentError, match="binary_cross_entropy, binary_crossentropy"):
        losses.get("cross")


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


# -- the other losses, each against its formula ----------------------------------------------------
P, T = RNG.normal(0, 2, (40, 3)), RNG.normal(0, 2, (40, 3))
P[0], T[0] = [0, 1e-6, 1e30], [0, 0, -1e30]
P[1], T[1] = [1.0, -1.0, 1.5], [0.0, 0.0, 0.0]  # at thresholds
SIGNS = np.where(T > 0, 1.0, -1.0)


def _log_cosh(e: Any) -> Any:
    size = np.abs(e.astype(np.longdouble))
    far = size + np.log1p(np.exp(-2 * size)) - np.log(np.longdouble(2))
    return np.where(size < 1, np.log1p(2 * np.sinh(np.minimum(size, 1) / 2) ** 2), far)


def _huber(e: Any) -> Any:
    size = np.abs(e)
    return np.where(size <= 1.5, np.minimum(size, 1.5) ** 2 / 2, 1.5 * (size - 0.75))


ELEMENTWISE: dict[str, tuple[Callable[..., Any], Any, Callable[[Any, Any], Any]]] = {
    "huber": (lambda p, t: losses.huber(p, t, 1.5), T, lambda p, t: _huber(p - t)),
    "log_cosh": (losses.log_cosh, T, lambda p, t: _log_cosh(p - t)),
    "hinge": (losses.hinge, SIGNS, lambda p, t: np.maximum(1 - t * p, 0)),
    "squared_hinge": (
        losses.squared_hinge, SIGNS, lambda p, t: np.maximum(1 - t * np.clip(p, -9, 9), 0) ** 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_losses(name: str) -> None:
    loss, targets, formula = ELEMENTWISE[name]
    given = np.clip(P, -9, 9) if name == "squared_hinge" else P
    values, gradient = _evaluate(loss, given, targets)
    expected = np.mean(formula(given, targets), axis=1).astype(float)
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    assert np.isfinite(gradient).all()
    smooth = slice(2, None)  # the rest is at kinks
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-5
        up, down = (np.mean(formula(given + s, targets), axis=1) for s in (step, -step))
        slope = ((up - down) / 2e-5).astype(float)
        np.testing.assert_allclose(gradient[smooth, axis], slope[smooth], rtol=1e-7, atol=1e-9)


def test_cross_entropies_of_probabilities() -> None:
    """They are those of the logits, also through a softmax that saturates."""
    z, t = gc.placeholder("z", ("n", 5)), gc.placeholder("t", ("n",), "int64")
    given = [
        losses.categorical_cross_entropy(gc.softmax(z), t),
        losses.sparse_categorical_cross_entropy(gc.softmax(z), t),
        losses.categorical_cross_entropy(z, t, from_logits=True),
    ]
    slope = gc.grad(gc.sum(given[0]), z)
    *found, slopes = gc.compile([z, t], [*given, slope])(LOGITS, LABELS)
    expected = -_log_softmax(LOGITS)[np.arange(9), LABELS].astype(float)
    for values in found:
        np.testing.assert_allclose(values, expected, rtol=2e-6, atol=2e-6)
    softmax = np.exp(_log_softmax(LOGITS)).astype(float)
    np.testing.assert_allclose(slopes, softmax - ONE_HOT, atol=1e-6)


def test_probabilities_are_scaled_and_zeros_are_finite() -> None:
    p = np.array([[0.2, 0.6, 0.2], [2.0, 4.0, 2.0], [0.0, 0.5, 0.5]])
    t = np.array([[0.5, 0.5, 0.0]] * 3)
    values, gradient = _evaluate(losses.categorical_cross_entropy, p, t)
    floor = np.log(np.finfo(float).smallest_subnormal)
    expected = [
        -(np.log(0.2) + np.log(0.6)) / 2,
        -(np.log(0.25) + np.log(0.5)) / 2,
        -(floor + np.log(0.5)) / 2,
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    np.testing.assert_allclose(gradient[0], [1 - 0.5 / 0.2, 1 - 0.5 / 0.6, 1.0], rtol=1e-13)


def test_kl_divergence() -> None:
    p, t = RNG.dirichlet(np.ones(4), 6), RNG.dirichlet(np.ones(4), 6)
    t[0] = [0, 0.5, 0.5, 0]
    values, gradient = _evaluate(losses.kl_divergence, p, t)
    with np.errstate(all="ignore"):
        expected = np.sum(np.where(t == 0, 0, t * np.log(t / p)), -1)
    np.testing.assert_allclose(values, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(gradient, -t / p, rtol=1e-13)
    by_target = gc.grad(gc.sum(losses.kl_divergence(gc.constant(p), gc.constant(t) * 1)), [])
    assert by_target == []


@pytest.mark.parametrize("part", [0.0, 0.1, 1.0])
def test_label_smoothing(part: float) -> None:
    smooth = (1 - part) * ONE_HOT.astype(float) + part / 5
    expected = -np.sum(smooth * _log_softmax(LOGITS), -1).astype(float)
    for targets in (LABELS, ONE_HOT):
        values, _ = _evaluate(
            lambda p, t: losses.softmax_cross_entropy(p, t, label_smoothing=part), LOGITS, targets
        )
        np.testing.assert_allclose(values, expected, rtol=3e-6, atol=3e-6)
    z, t = np.array([[2.0], [-3.0]]), np.array([[1.0], [0.0]])
    values, _ = _evaluate(
        lambda p, t: losses.binary_cross_entropy(p, t, label_smoothing=part), z, t
    )
    half = (1 - part) * t + part / 2
    formula = half * np.log1p(np.exp(-z)) + (1 - half) * np.log1p(np.exp(z))
    np.testing.assert_allclose(values, formula[:, 0], rtol=1e-14)


def test_a_softmax_given_as_logits_is_warned_about() -> None:
    z, t = gc.placeholder("z", ("n", 5)), gc.placeholder("t", ("n",), "int64")
    with pytest.warns(gc.errors.LossWarning, match="takes logits"):
        losses.softmax_cross_entropy(gc.softmax(z), t)


def test_names_of_keras() -> None:
    p, t = gc.placeholder("p", ("n", 2)), gc.placeholder("t", ("n", 2))
    by_name = {name: losses.get(name)(p, t) for name in ("mse", "mae", "binary_crossentropy")}
    assert by_name["mse"] is losses.mean_squared_error(p, t)
    assert by_name["mae"] is losses.mean_absolute_error(p, t)
    assert by_name["binary_crossentropy"] is losses.binary_cross_entropy(p, t, from_logits=False)


@pytest.mark.parametrize("part", [-0.1, 1.1, None, True])
def test_a_smoothing_that_is_no_part(part: Any) -> None:
    z, t = gc.placeholder("z", ("n", 5)), gc.placeholder("t", ("n",), "int64")
    with pytest.raises(gc.errors.ArgumentError, match="label_smoothing"):
        losses.softmax_cross_entropy(z, t, part)
    with pytest.raises(gc.errors.ArgumentError, match="threshold"):
        losses.huber(z, z, 0.0)
