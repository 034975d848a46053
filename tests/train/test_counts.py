"""What counts in a mean: masks, weights of examples, of steps and of classes, by every loss, called
by itself, in a trainer's loss over an epoch of several batches, in metrics and in the slope that a
training follows. The oracle is NumPy over elements."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import graphc as gc
from graphc.errors import ArgumentError, LossWarning, ShapeError
from graphc.nn import losses
from graphc.train import metrics

RNG = np.random.default_rng(8)
N, TIME, K = 11, 4, 3
Z = RNG.normal(size=(N, TIME, K))
P = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)
T = RNG.uniform(0.2, 1, size=(N, TIME, K))
Q = T / T.sum(-1, keepdims=True)
BITS = (T > 0.6).astype(float)
LABELS = RNG.integers(0, K, (N, TIME))
HOT = np.eye(K)[LABELS]
CLASSES = np.array([0.5, 2.0, 1.25])

MASKS: dict[str, Any] = {
    "all": None,
    "examples": RNG.random(N) < 0.6,
    "steps": RNG.random((N, TIME)) < 0.6,
    "elements": RNG.random((N, TIME, K)) < 0.6,
}
MASKS["steps"][2] = False  # an example without steps
WEIGHTS: dict[str, Any] = {
    "alike": None,
    "examples": RNG.uniform(0, 2, N),
    "steps": RNG.uniform(0, 2, (N, TIME)),
}
HUBER = np.where(np.abs(Z - T) <= 1, (Z - T) ** 2 / 2, np.abs(Z - T) - 0.5)
EACH = -np.log(np.take_along_axis(P, LABELS[..., None], -1)[..., 0])
SIGMOID = 1 / (1 + np.exp(-Z))
FOCUS = (1 - np.where(BITS == 1, SIGMOID, 1 - SIGMOID)) ** 2 * np.where(BITS == 1, 0.25, 0.75)
BINARY = -np.log(np.where(BITS == 1, SIGMOID, 1 - SIGMOID))

# name -> predictions, targets, what NumPy has for each element, or for each step
CASES: dict[str, tuple[Any, Any, Any]] = {
    "mean_squared_error": (Z, T, (Z - T) ** 2),
    "mean_absolute_error": (Z, T, np.abs(Z - T)),
    "mean_absolute_percentage_error": (Z, T, 100 * np.abs(Z - T) / T),
    "mean_squared_logarithmic_error": (P, T, (np.log1p(P) - np.log1p(T)) ** 2),
    "huber": (Z, T, HUBER),
    "log_cosh": (Z, T, np.log(np.cosh(Z - T))),
    "poisson": (P, T, P - T * np.log(P)),
    "binary_cross_entropy": (Z, BITS, BINARY),
    "binary_crossentropy": (SIGMOID, BITS, BINARY),
    "focal": (Z, BITS, FOCUS * BINARY),
    "hinge": (Z, 2 * BITS - 1, np.maximum(1 - (2 * BITS - 1) * Z, 0)),
    "squared_hinge": (Z, 2 * BITS - 1, np.maximum(1 - (2 * BITS - 1) * Z, 0) ** 2),
    "softmax_cross_entropy": (Z, LABELS, EACH),
    "categorical_cross_entropy": (P, HOT, EACH),
    "sparse_categorical_cross_entropy": (P, LABELS, EACH),
    "kl_divergence": (P, Q, (Q * np.log(Q / P)).sum(-1)),
    "categorical_hinge": (
        Z, HOT, np.maximum(1 + np.where(HOT == 1, -np.inf, Z).max(-1) - (Z * HOT).sum(-1), 0)
    ),
    "cosine_similarity": (
        Z, T,
        -(Z * T).sum(-1) / np.linalg.norm(Z, axis=-1) / np.linalg.norm(T, axis=-1),
    ),
}  # fmt: skip
OF_CLASSES = (
    "softmax_cross_entropy", "categorical_cross_entropy", "sparse_categorical_cross_entropy"
)  # fmt: skip


def _along(x: Any, values: Any) -> Any:
    """What is of the first axes, for each value; 1 of None."""
    x = np.ones(1) if x is None else np.asarray(x, float)
    x = x.reshape(*x.shape, *(1 for _ in range(values.ndim - x.ndim)))
    return np.broadcast_to(x, values.shape)


def _parts(name: str, mask: Any, weight: Any, classes: bool) -> tuple[Any, Any, Any]:
    """The values, the mask and the weights of all elements."""
    values = CASES[name][2]
    m, w = _along(mask, values), _along(weight, values)
    return values, m, w * (CLASSES[LABELS] if classes else 1)


def _mean(name: str, mask: Any, weight: Any, classes: bool) -> float:
    values, m, w = _parts(name, mask, weight, classes)
    return float((m * w * values).sum() / (m * w).sum())


def _options(name: str) -> list[tuple[str, str, bool]]:
    """The masks and the weights that a loss takes."""
    rank = CASES[name][2].ndim
    found = itertools.product(MASKS, WEIGHTS, (False, True) if name in OF_CLASSES else (False,))
    return [o for o in found if MASKS[o[0]] is None or MASKS[o[0]].ndim <= rank]


def _loss(name: str) -> Callable[..., Any]:
    return losses.get(name)


@pytest.mark.parametrize("name", CASES)
def test_a_loss_by_itself(name: str) -> None:
    p, t, values = CASES[name]
    asked, expected = [], []
    for m, w, classes in _options(name):
        mask, weight = MASKS[m], WEIGHTS[w]
        options: dict[str, Any] = {"class_weight": CLASSES} if classes else {}
        for reduction in ("none", "mean", "sum"):
            options |= {"mask": mask, "sample_weight": weight, "reduction": reduction}
            asked.append(_loss(name)(gc.constant(p), t, **options))
            each, there, factor = _parts(name, mask, weight, classes)
            weighted = there * factor * each
            if values.ndim == 3:  # of each example the mean over the elements that are there
                kept = there.sum((1, 2))
                weighted = weighted.sum((1, 2)) / np.where(kept, kept, 1)
            mean = _mean(name, mask, weight, classes)
            expected.append({"none": weighted, "sum": weighted.sum(), "mean": mean}[reduction])
    for found, wanted in zip(gc.evaluate(asked), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


class _Scaled(gc.nn.Layer):
    """The predictions are the data, times a number."""

    def build(self, x: Any) -> None:
        self.scale = self.add_variable("scale", (), "ones", dtype="float64")

    def forward(self, x: Any) -> Any:
        return x * self.scale


def _trainer(loss: Any, metric: Any = (), rate: float = 0.0) -> gc.train.Trainer:
    return gc.train.Trainer(
        _Scaled(), loss=loss, optimizer=gc.optim.SGD(rate), metrics=metric, dtype="float64",
        target="reference",
    )  # fmt: skip


def _with(name: str, masked: bool, classes: bool) -> Callable[..., Any]:
    options: dict[str, Any] = {"class_weight": CLASSES} if classes else {}

    def measure(predictions: Any, targets: Any) -> Any:
        mask = {"mask": targets["mask"]} if masked else {}
        return _loss(name)(predictions, targets["t"], **mask, **options)

    return measure


@pytest.mark.parametrize("name", CASES)
def test_the_loss_of_an_epoch(name: str) -> None:
    """The mean over what counts of all batches, in training and in evaluation; of the metric too.
    Padding may hold anything."""
    p, t, values = CASES[name]
    for m, w, classes in _options(name):
        mask, weight = MASKS[m], WEIGHTS[w]
        if w == "steps" and values.ndim == 3:  # such a function gives one value for an example
            continue
        y = {"t": t} if mask is None else {"t": t, "mask": mask}
        loss = _with(name, mask is not None, classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LossWarning)
            trainer = _trainer(loss, [loss])
            history = trainer.fit(p, y, batch_size=4, sample_weight=weight, verbose=False)
            last = {name: numbers[-1] for name, numbers in history.logs.items()}
            seen = [trainer.evaluate(p, y, 4, sample_weight=weight), last]
        wanted = _mean(name, mask, weight, classes)
        for logs in seen:
            assert list(logs.values()) == pytest.approx([wanted, wanted], rel=1e-10), (m, w)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_by_name_with_weights(name: str, weights: str) -> None:
    """A named loss takes weights of steps also where it gives one value for each example."""
    p, t, _ = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LossWarning)
        trainer = _trainer(name, [_loss(name)])
        logs = trainer.evaluate(p, t, 4, sample_weight=WEIGHTS[weights])
    wanted = _mean(name, None, WEIGHTS[weights], False)
    assert list(logs.values()) == pytest.approx([wanted, wanted], rel=1e-10)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "mean_squared_error"])
def test_the_slope_that_is_followed(name: str, weights: str) -> None:
    """One step over all data, by finite differences of NumPy's mean."""
    p, t, values = CASES[name]
    if weights == "steps" and values.ndim == 3:
        loss: Any = name
        y, mask = t, None
    else:
        mask = MASKS["steps"]
        y, loss = {"t": t, "mask": mask}, _with(name, True, False)

    def mean(scale: float) -> float:
        z = p * scale
        if name == "mean_squared_error":
            each = (z - t) ** 2
        else:
            logs = z - np.log(np.exp(z).sum(-1, keepdims=True))
            each = -np.take_along_axis(logs, t[..., None], -1)[..., 0]
        m = _along(mask, each) * _along(WEIGHTS[weights], each)
        return float((m * each).sum() / m.sum())

    trainer = _trainer(loss, rate=1.0)
    trainer.fit(p, y, batch_size=N, sample_weight=WEIGHTS[weights], verbose=False)
    (scale,) = trainer.model.parameters()
    slope = (mean(1 + 1e-5) - mean(1 - 1e-5)) / 2e-5
    assert 1 - float(scale.value) == pytest.approx(slope, rel=1e-8)


def test_sums_of_losses_with_masks() -> None:
    """The mean of a sum is the sum of the means, each over what its own mask keeps."""
    first, second = MASKS["steps"], RNG.random((N, TIME)) < 0.3

    def measure(predictions: Any, targets: Any) -> Any:
        entropy = losses.softmax_cross_entropy(predictions, targets["t"], mask=targets["a"])
        other = losses.softmax_cross_entropy(predictions, 0 * targets["t"], mask=targets["b"])
        return 2 * entropy - other / 4 + gc.mean(predictions, axis=-1) ** 2 + 1

    y = {"t": LABELS, "a": first, "b": second}
    zero = -np.log(P[..., 0])
    wanted = 2 * EACH[first].mean() - zero[second].mean() / 4 + (Z.mean(-1) ** 2).mean() + 1
    trainer = _trainer(measure)
    assert trainer.evaluate(Z, y, 4)["loss"] == pytest.approx(wanted)
    assert trainer.evaluate(Z, y, N)["loss"] == pytest.approx(wanted)
    with pytest.raises(ArgumentError, match="several masks"):
        _trainer(measure, [measure]).evaluate(Z, y)


def test_a_mask_that_is_lost_is_warned_about() -> None:
    def loss(predictions: Any, targets: Any) -> Any:
        return losses.softmax_cross_entropy(predictions, targets, mask=targets > 0) ** 2

    with pytest.warns(LossWarning, match="behind (square|power) it is not known"):
        _trainer(loss).evaluate(Z, LABELS)


class _Two(_Scaled):
    def forward(self, x: Any) -> Any:
        return {"a": x * self.scale, "b": x[:, 0] * self.scale}


def test_outputs_that_count_differently() -> None:
    def masked(predictions: Any, targets: Any) -> Any:
        return losses.softmax_cross_entropy(predictions, targets, mask=targets > 0)

    layer = _Two()
    trainer = gc.train.Trainer(
        layer, loss={"a": masked, "b": "mse"}, loss_weights={"a": 0.5}, optimizer="sgd",
        dtype="float64", target="reference",
    )  # fmt: skip
    weight = WEIGHTS["examples"]
    y = {"a": LABELS, "b": T[:, 0]}
    first = _along(weight, EACH) * (LABELS > 0)
    wanted = {
        "a_loss": (first * EACH).sum() / first.sum(),
        "b_loss": np.average(((Z - T)[:, 0] ** 2).mean(-1), weights=weight),
    }
    logs = trainer.evaluate(Z, y, 4, sample_weight=weight)
    assert logs == pytest.approx(
        {"loss": 0.5 * wanted["a_loss"] + wanted["b_loss"], **wanted}, rel=1e-10
    )


@pytest.mark.parametrize("kind", WEIGHTS)
def test_metrics_of_steps(kind: str) -> None:
    weight = WEIGHTS[kind]
    flat = _along(weight, LABELS).ravel()
    true, found = LABELS.ravel(), Z.argmax(-1).ravel()
    asked = ["accuracy", metrics.precision("macro"), "confusion_matrix", metrics.auc("weighted")]
    logs = _trainer("softmax_cross_entropy", asked).evaluate(Z, LABELS, 4, sample_weight=weight)
    assert logs["accuracy"] == pytest.approx(np.average(true == found, weights=flat))
    wanted = sk.precision_score(true, found, average="macro", sample_weight=flat)
    assert logs["precision"] == pytest.approx(wanted)
    matrix = sk.confusion_matrix(true, found, sample_weight=flat)
    np.testing.assert_allclose(logs["confusion_matrix"], matrix)
    wanted = sk.roc_auc_score(
        true, P.reshape(-1, K), multi_class="ovr", average="weighted", sample_weight=flat
    )
    assert logs["auc"] == pytest.approx(wanted)

    numbers = _trainer("mse", ["mae", "rmse", "r2"]).evaluate(
        Z[..., 0], T[..., 0], 4, sample_weight=weight
    )
    w = _along(weight, T[..., 0])
    error = (Z - T)[..., 0]
    assert numbers["mae"] == pytest.approx(np.average(np.abs(error), weights=w))
    assert numbers["rmse"] == pytest.approx(np.sqrt(np.average(error**2, weights=w)))
    scores = [
        sk.r2_score(T[:, i, 0], Z[:, i, 0], sample_weight=w[:, i]) for i in range(TIME)
    ]  # fmt: skip
    assert numbers["r2"] == pytest.approx(np.mean(scores))


def test_streams_and_validation_take_weights_of_steps() -> None:
    weight = WEIGHTS["steps"]
    wanted = pytest.approx(_mean("softmax_cross_entropy", None, weight, False))

    def batches() -> Any:
        for rows in (slice(0, 5), slice(5, None)):
            yield Z[rows], LABELS[rows], weight[rows]

    history = _trainer("softmax_cross_entropy").fit(
        batches, validation_data=(Z, LABELS, weight), verbose=False
    )
    assert history["loss"][0] == wanted
    assert history["val_loss"][0] == wanted


def test_weights_of_a_column_are_of_examples() -> None:
    trainer, weight = _trainer("softmax_cross_entropy"), WEIGHTS["examples"]
    column = trainer.evaluate(Z, LABELS, sample_weight=weight[:, None])
    assert column == trainer.evaluate(Z, LABELS, sample_weight=weight)


def test_weights_that_do_not_fit() -> None:
    for shape in ((N, TIME + 1), (N, TIME, K, 1)):
        with pytest.raises(ShapeError, match="the weights do not fit"):
            _trainer("softmax_cross_entropy").evaluate(Z, LABELS, sample_weight=np.ones(shape))
    faulty = np.ones((N, TIME))
    faulty[1, 2] = -1
    with pytest.raises(ArgumentError, match=r"sample_weight\[1, 2\] = -1"):
        _trainer("softmax_cross_entropy").evaluate(Z, LABELS, sample_weight=faulty)
    with pytest.raises(ArgumentError, match="weights are one array"):
        _trainer("softmax_cross_entropy").evaluate(Z, LABELS, sample_weight={"a": np.ones(N)})
