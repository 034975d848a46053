"""Metrics against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.train import metrics

RNG = np.random.default_rng(5)


def _evaluate(metric: Any, predictions: Any, targets: Any) -> Any:
    p = gc.placeholder("p", ("n", *predictions.shape[1:]), predictions.dtype)
    t = gc.placeholder("t", ("n", *targets.shape[1:]), targets.dtype)
    function = metrics.METRICS[metric] if isinstance(metric, str) else metric
    return gc.evaluate(function(p, t), {p: predictions, t: targets})


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32"])
def test_accuracy_of_labels(dtype: str) -> None:
    predictions = RNG.normal(size=(20, 4)).astype(np.float32)
    labels = RNG.integers(0, 4, 20)
    given = _evaluate("accuracy", predictions, labels.astype(dtype))
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given, predictions.argmax(1) == labels)


def test_accuracy_of_one_hot_targets() -> None:
    predictions, labels = RNG.normal(size=(20, 4)), RNG.integers(0, 4, 20)
    given = _evaluate("accuracy", predictions, np.eye(4)[labels])
    np.testing.assert_array_equal(given, predictions.argmax(1) == labels)


@pytest.mark.parametrize("shape", [(20,), (20, 1)])
@pytest.mark.parametrize("dtype", ["int64", "float64", "bool"])
def test_accuracy_of_two_classes(shape: tuple[int, ...], dtype: str) -> None:
    logits, targets = RNG.normal(size=shape), RNG.integers(0, 2, shape).astype(dtype)
    expected = ((logits > 0) == (targets > 0.5)).reshape(20)
    np.testing.assert_array_equal(_evaluate("accuracy", logits, targets), expected)


@pytest.mark.parametrize("name", ["accuracy", "binary_accuracy", "precision", "auc", "r2", "mae"])
def test_an_axis_of_size_one_makes_no_difference(name: str) -> None:
    """Scores of a model that ends in Dense(1), with labels of one axis."""
    scores, targets = RNG.normal(size=(30, 1)), RNG.integers(0, 2, 30)
    model = gc.nn.Sequential([lambda x: x * 1.0])
    trainer = gc.train.Trainer(
        model, loss="mse", optimizer="sgd", metrics=[name], dtype="float64", target="reference"
    )
    logs = trainer.evaluate(scores, targets)
    assert logs == trainer.evaluate(scores, targets[:, None])
    assert logs == trainer.evaluate(scores[:, 0], targets)
    if name == "accuracy":
        assert logs[name] == np.mean((scores[:, 0] > 0) == targets)


def test_binary_accuracy_of_probabilities() -> None:
    p, t = np.array([0.1, 0.49, 0.51, 0.9]), np.array([0, 1, 1, 0])
    given = _evaluate(metrics.binary_accuracy(threshold=0.5), p, t)
    np.testing.assert_array_equal(given, [1, 0, 1, 0])


@pytest.mark.parametrize("shape", [(5, 1, 3, 4), (5, 3)])
@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_crossentropy"])
def test_accuracy_of_many_decisions(shape: tuple[int, ...], loss: str) -> None:
    """Of pixels, and of several labels: with the loss of two classes each counts."""
    p, t = RNG.uniform(0.01, 0.99, size=shape), RNG.integers(0, 2, shape)
    cut = 0.0 if loss == "binary_cross_entropy" else 0.5
    given = _evaluate(metrics.binary_accuracy(cut), p, t)
    np.testing.assert_array_equal(given, (p > cut) == t)
    probabilities = gc.nn.Activation("sigmoid" if cut else "linear")
    x = np.log(p / (1 - p)) if cut else p - 0.5
    trainer = gc.train.Trainer(
        probabilities, loss=loss, optimizer="sgd", metrics=["accuracy"], target="reference"
    )
    assert trainer.evaluate(x, t)["accuracy"] == pytest.approx(np.mean((p > 0.5) == t))
    with pytest.raises(gc.errors.ShapeError, match="binary_accuracy"):
        _evaluate(metrics.binary_accuracy(), p, t[:, 0])


@pytest.mark.parametrize("shape", [(30, 1, 3, 2), (30, 3), (30,), (30, 1)])
def test_counts_of_many_decisions(shape: tuple[int, ...]) -> None:
    z, t, w = RNG.normal(size=shape), RNG.integers(0, 2, shape), RNG.uniform(0.5, 2, shape[0])
    trainer = gc.train.Trainer(
        gc.nn.Activation("linear"), loss="binary_cross_entropy", optimizer="sgd",
        metrics=["precision", gc.train.metrics.recall(), "confusion_matrix"], target="reference",
    )  # fmt: skip
    logs = trainer.evaluate(z, t, sample_weight=w)
    weights = np.broadcast_to(w.reshape(-1, *(1 for _ in shape[1:])), shape)
    matrix = np.zeros((2, 2))
    np.add.at(matrix, (t, (z > 0).astype(int)), weights)
    np.testing.assert_allclose(logs["confusion_matrix"], matrix, rtol=1e-6)
    np.testing.assert_allclose(logs["precision"], matrix[1, 1] / matrix[:, 1].sum(), rtol=1e-6)
    np.testing.assert_allclose(logs["recall"], matrix[1, 1] / matrix[1].sum(), rtol=1e-6)


def test_errors_by_name() -> None:
    p, t = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 2))
    np.testing.assert_allclose(
        _evaluate("mean_absolute_error", p, t), np.abs(p - t).mean(1), rtol=1e-14
    )
    np.testing.assert_allclose(
        _evaluate("mean_squared_error", p, t), ((p - t) ** 2).mean(1), rtol=1e-14
    )


@pytest.mark.parametrize(
    ("predictions", "targets", "dtype"),
    [(("n", 4), ("n", 3), "int64"), (("n", 4), ("n",), "float32"), ((), (), "int64")],
)
def test_shapes_that_do_not_fit(predictions: Any, targets: Any, dtype: str) -> None:
    p, t = gc.placeholder("p", predictions), gc.placeholder("t", targets, dtype)
    with pytest.raises(gc.errors.ShapeError, match="the targets do not fit"):
        metrics.accuracy(p, t)


def test_unknown_name() -> None:
    with pytest.raises(gc.errors.ArgumentError, match="accuracy, auc, binary_accuracy"):
        metrics.get("f3")
