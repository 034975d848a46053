"""Metrics over an epoch: exact, whatever the batches are, against scikit-learn's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import graphc as gc
from graphc.errors import ArgumentError, ShapeError
from graphc.train import metrics

RNG = np.random.default_rng(7)
N = 61


class _Given(gc.nn.Layer):
    """The predictions are the data."""

    def forward(self, x: Any) -> Any:
        return x


def _nothing(predictions: Any, targets: Any) -> Any:
    return gc.sum(predictions.reshape((predictions.shape[0], -1)), axis=1) * 0.0


def _over(metric: Any, x: Any, y: Any, weights: Any = None) -> Any:
    trainer = gc.train.Trainer(
        _Given(), loss=_nothing, optimizer="sgd", metrics=[metric], dtype="float64",
        target="reference",
    )  # fmt: skip
    logs = trainer.evaluate(x, y, 8, sample_weight=weights)
    return logs[list(logs)[-1]]


def test_natively_as_interpreted() -> None:
    def logs(target: str) -> dict[str, Any]:
        trainer = gc.train.Trainer(
            _Given(), loss=_nothing, optimizer="sgd", dtype="float64", target=target,
            metrics=["accuracy", "precision", "confusion_matrix", "auc", "r2", "rmse"],
        )  # fmt: skip
        return trainer.evaluate(LOGITS, TRUE, 8, sample_weight=WEIGHTS)

    native, reference = logs("cpu"), logs("reference")
    assert list(native) == list(reference)
    for name, value in native.items():
        np.testing.assert_allclose(value, reference[name], rtol=1e-12)


SCORES = RNG.normal(size=(N, 4))
LABELS = RNG.integers(0, 4, N)
LABELS[LABELS == 3] = np.where(RNG.random((LABELS == 3).sum()) < 0.5, 3, 0)
SCORES[np.arange(N), LABELS] += 0.7
PREDICTED = SCORES.argmax(1)
LOGITS = np.round(RNG.normal(size=N), 1)  # with ties
TRUE = (RNG.random(N) < 1 / (1 + np.exp(-LOGITS))).astype(np.int64)
WEIGHTS = RNG.uniform(0, 2, N)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "none"])
def test_precision_recall_and_f1_of_classes(average: str, weights: Any) -> None:
    made: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
        (metrics.precision, sk.precision_score), (metrics.recall, sk.recall_score),
        (metrics.f1, sk.f1_score),
    ]  # fmt: skip
    for ours, theirs in made:
        given = None if average == "none" else average
        expected = theirs(LABELS, PREDICTED, average=given, sample_weight=weights)
        np.testing.assert_allclose(_over(ours(average), SCORES, LABELS, weights), expected)
    one_hot = np.eye(4)[LABELS]
    expected = sk.f1_score(LABELS, PREDICTED, average="macro", sample_weight=weights)
    np.testing.assert_allclose(_over("f1", SCORES, one_hot, weights), expected)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_two_classes(weights: Any) -> None:
    given = (LOGITS > 0).astype(int)
    for name, theirs in (
        ("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score),
        ("accuracy", sk.accuracy_score),
    ):  # fmt: skip
        expected = theirs(TRUE, given, sample_weight=weights)
        np.testing.assert_allclose(_over(name, LOGITS, TRUE, weights), expected)
        column = _over(name, LOGITS[:, None], TRUE[:, None] == 1, weights)
        np.testing.assert_allclose(column, expected)
    expected = sk.precision_score(TRUE, LOGITS > 0.6, sample_weight=weights)
    above = metrics.precision(threshold=0.6)
    np.testing.assert_allclose(_over(above, LOGITS, TRUE, weights), expected)
    expected = sk.roc_auc_score(TRUE, LOGITS, sample_weight=weights)
    np.testing.assert_allclose(_over("auc", LOGITS, TRUE, weights), expected)
    both = np.stack([-LOGITS / 2, LOGITS / 2], axis=1)
    np.testing.assert_allclose(_over("auc", both, TRUE, weights), expected)
    matrix = _over("confusion_matrix", both, TRUE, weights)
    np.testing.assert_allclose(matrix, sk.confusion_matrix(TRUE, given, sample_weight=weights))


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_regression(weights: Any) -> None:
    true = RNG.normal(size=(N, 3)) + 1e6  # a mean that costs digits if it is squared
    given = true + RNG.normal(size=(N, 3)) * [0.1, 0.5, 2.0]
    expected = sk.r2_score(true, given, sample_weight=weights)
    np.testing.assert_allclose(_over("r2", given, true, weights), expected, rtol=1e-9)
    squared = sk.mean_squared_error(true, given, sample_weight=weights)
    np.testing.assert_allclose(_over("rmse", given, true, weights), squared**0.5)
    np.testing.assert_allclose(_over("mse", given, true, weights), squared)
    absolute = sk.mean_absolute_error(true, given, sample_weight=weights)
    np.testing.assert_allclose(_over("mae", given, true, weights), absolute)
    one = _over("r2", given[:, 0], true[:, 0], weights)
    np.testing.assert_allclose(one, sk.r2_score(true[:, 0], given[:, 0], sample_weight=weights))
    flat = np.ones(N)
    assert _over("r2", flat, flat) == 1
    assert _over("r2", flat + 1, flat) == 0


def test_top_k_accuracy() -> None:
    for k in (1, 2, 4):
        above = (SCORES[np.arange(N), LABELS][:, None] < SCORES).sum(1)
        expected = np.mean(above < k)
        metric = functools.partial(metrics.top_k_accuracy, k=k)
        np.testing.assert_allclose(_over(metric, SCORES, LABELS), expected)
    assert _over("top_k_accuracy", SCORES, np.eye(4)[LABELS]) == 1
    with pytest.raises(ArgumentError, match="an int >= 1"):
        _over(functools.partial(metrics.top_k_accuracy, k=0), SCORES, LABELS)


def test_a_sigmoid_is_cut_at_a_half() -> None:
    p, t = gc.placeholder("logits", ("n", 1)), gc.placeholder("truth", ("n", 1), "int64")
    feeds = {p: LOGITS[:, None], t: TRUE[:, None]}
    expected = gc.evaluate(metrics.accuracy(p, t), feeds)
    np.testing.assert_array_equal(gc.evaluate(metrics.accuracy(gc.sigmoid(p), t), feeds), expected)
    flat, true = gc.sigmoid(p).reshape((-1,)), t.reshape((-1,))
    np.testing.assert_array_equal(gc.evaluate(metrics.accuracy(flat, true), feeds), expected)


def test_no_class_no_score() -> None:
    assert np.isnan(_over("auc", LOGITS, np.zeros(N, int)))
    assert _over("precision", -np.ones(3), np.zeros(3, int)) == 0
    with pytest.raises(ArgumentError, match="'macro' or 'micro'"):
        metrics.precision("mean")
    with pytest.raises(ShapeError, match="the targets do not fit"):
        _over("r2", SCORES, LABELS)
    with pytest.raises(ArgumentError, match="'macro' or 'micro'"):
        metrics.auc("mean")
    one = np.where(LABELS == 3, 0, LABELS)  # a class that is nowhere has no area
    each = _over(metrics.auc("none"), SCORES, one)
    assert np.isnan(each[3])
    assert _over("auc", SCORES, one) == pytest.approx(each[:3].mean())


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", "none"])
def test_area_of_several_classes_and_labels(average: str, weights: Any) -> None:
    metric, named = metrics.auc(average), None if average == "none" else average
    shares = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
    wanted = sk.roc_auc_score(
        LABELS, shares, multi_class="ovr", average=named, sample_weight=weights
    )
    for true in (LABELS, np.eye(4)[LABELS]):  # of logits, whose order is another one
        np.testing.assert_allclose(_over(metric, SCORES, true, weights), wanted)
    bits = (RNG.random((N, 4)) < 1 / (1 + np.exp(-SCORES))).astype(float)
    wanted = sk.roc_auc_score(bits, SCORES, average=named, sample_weight=weights)
    labels = metrics.auc(average, multi_label=True)
    np.testing.assert_allclose(_over(labels, SCORES, bits, weights), wanted)
    trainer = gc.train.Trainer(
        _Given(), loss="binary_cross_entropy", optimizer="sgd", metrics=[metric],
        dtype="float64", target="reference",
    )  # fmt: skip
    logs = trainer.evaluate(SCORES, bits, 8, sample_weight=weights)
    np.testing.assert_allclose(logs["auc"], wanted)
    if average == "macro":  # of pixels all are one column, unless they are labels
        pixels = (SCORES.reshape(N, 2, 2, 1), bits.reshape(N, 2, 2, 1))
        logs = trainer.evaluate(*pixels, 8, sample_weight=weights)
        each = None if weights is None else np.repeat(weights, 4)
        wanted = sk.roc_auc_score(bits.ravel(), SCORES.ravel(), sample_weight=each)
        assert logs["auc"] == pytest.approx(wanted)
        steps = SCORES.reshape(N, 2, 2), bits.reshape(N, 2, 2)
        rows = [x.reshape(2 * N, 2) for x in steps]
        each = None if weights is None else np.repeat(weights, 2)
        wanted = sk.roc_auc_score(rows[1], rows[0], sample_weight=each)
        assert _over(labels, *steps, weights) == pytest.approx(wanted)


def test_a_metric_of_ones_own() -> None:
    class Largest(gc.train.Metric):
        def start(self, predictions: Any, targets: Any) -> Any:
            return {"most": -np.inf}

        def update(self, state: Any, predictions: Any, targets: Any, weights: Any) -> Any:
            return {"most": gc.maximum(state["most"], gc.max(predictions))}

        def result(self, state: Any) -> float:
            return float(state["most"])

    assert _over(Largest(), LOGITS, TRUE) == LOGITS.max()

    class Wrong(Largest):
        def update(self, state: Any, predictions: Any, targets: Any, weights: Any) -> Any:
            return {"least": state["most"]}

    with pytest.raises(ArgumentError, match="other state than it started with"):
        _over(Wrong(), LOGITS, TRUE)
