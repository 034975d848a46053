"""What every loss takes: weights of examples and classes, masks, reductions; CTC by all paths."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, LossWarning, ShapeError
from graphc.nn import losses

RNG = np.random.default_rng(4)
Z, LABELS = RNG.normal(size=(6, 4)), np.array([0, 3, 1, 1, 2, 0])
LOGS = Z - np.log(np.exp(Z).sum(1, keepdims=True))
EACH = -LOGS[np.arange(6), LABELS]
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
MASK = np.array([True, True, False, True, False, True])


def _value(loss: gc.Tensor) -> Any:
    return gc.evaluate(loss)


@pytest.mark.parametrize("one_hot", [False, True])
def test_weights_masks_and_reductions(one_hot: bool) -> None:
    targets: Any = np.eye(4)[LABELS] if one_hot else LABELS
    z = gc.constant(Z)

    def loss(**options: Any) -> Any:
        return _value(losses.softmax_cross_entropy(z, targets, **options))

    np.testing.assert_allclose(loss(), EACH)
    np.testing.assert_allclose(loss(sample_weight=WEIGHTS), WEIGHTS * EACH)
    np.testing.assert_allclose(loss(mask=MASK), np.where(MASK, EACH, 0))
    assert loss(reduction="mean") == pytest.approx(EACH.mean())
    assert loss(reduction="sum") == pytest.approx(EACH.sum())
    weighted = (WEIGHTS * EACH).sum() / WEIGHTS.sum()
    assert loss(sample_weight=WEIGHTS, reduction="mean") == pytest.approx(weighted)
    assert loss(mask=MASK, reduction="mean") == pytest.approx(EACH[MASK].mean())
    both = (WEIGHTS * EACH)[MASK].sum() / WEIGHTS[MASK].sum()
    assert loss(sample_weight=WEIGHTS, mask=MASK, reduction="mean") == pytest.approx(both)
    of_class = np.array([0.5, 2.0, 1.0, 0.25])
    w = of_class[LABELS]
    np.testing.assert_allclose(loss(class_weight=of_class), w * EACH)
    named = dict(enumerate(of_class.tolist()))
    np.testing.assert_allclose(loss(class_weight=named), w * EACH)
    mean = (w * EACH * WEIGHTS).sum() / (w * WEIGHTS).sum()
    given = loss(class_weight=of_class, sample_weight=WEIGHTS, reduction="mean")
    assert given == pytest.approx(mean)
    assert loss(sample_weight=np.zeros(6), reduction="mean") == 0


def test_probabilities_take_the_same() -> None:
    p = gc.constant(np.exp(LOGS))
    options: dict[str, Any] = {"class_weight": [0.5, 2.0, 1.0, 0.25], "reduction": "mean"}
    expected = _value(losses.softmax_cross_entropy(gc.constant(Z), LABELS, **options))
    for loss in (losses.categorical_cross_entropy, losses.sparse_categorical_cross_entropy):
        assert _value(loss(p, LABELS, **options)) == pytest.approx(expected)


def test_masks_of_elements() -> None:
    """Padded times count nowhere, whatever is there; an example counts as much as it has."""
    p, t = RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 4, 2))
    there = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], bool)
    t[~there] = np.nan
    wrong = (p - t) ** 2
    x = gc.placeholder("p", p.shape, "float64")
    loss = losses.mean_squared_error(x, gc.constant(t), mask=there)
    mean = losses.mean_squared_error(x, gc.constant(t), mask=there, reduction="mean")
    each, whole, slope = gc.evaluate([loss, mean, gc.grad(mean, x)], {x: p})
    np.testing.assert_allclose(each, [wrong[0, :2].mean(), 0, wrong[2, :3].mean()])
    assert whole == pytest.approx(wrong[there].mean())
    expected = np.where(there[..., None], 2 * (p - t) / wrong[there].size, 0)
    np.testing.assert_allclose(slope, expected, atol=1e-15)


def test_labels_behind_a_mask_may_be_anything() -> None:
    z = gc.constant(RNG.normal(size=(2, 3, 4)))
    labels, there = np.array([[1, 2, -1], [0, -100, 99]]), np.array([[1, 1, 0], [1, 0, 0]], bool)
    given = _value(losses.softmax_cross_entropy(z, labels, mask=there))
    assert (given > 0).tolist() == there.tolist()


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_every_loss_by_name_takes_a_reduction(name: str) -> None:
    p = gc.constant(RNG.uniform(0.1, 0.9, (3, 5, 4) if name == "ctc" else (3, 4)))
    sparse = name.startswith("sparse") or name == "ctc"
    t = gc.constant(np.array([[1, 2], [3, 1], [2, 2]]) if name == "ctc" else np.array([0, 3, 1]))
    t = t if sparse else gc.constant(np.eye(4)[[0, 3, 1]])
    loss = losses.get(name)
    each = _value(loss(p, t))
    assert each.shape == (3,)
    assert np.isfinite(each).all()
    assert _value(loss(p, t, reduction="mean")) == pytest.approx(each.mean())


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"reduction": "max"}, ArgumentError, "'none', 'mean', 'sum'"),
        ({"mask": np.ones(6)}, DTypeError, "the mask does not fit"),
        ({"mask": np.ones(5, bool)}, ShapeError, "the mask does not fit"),
        ({"sample_weight": np.ones(5)}, ShapeError, "the weights do not fit the examples"),
        ({"sample_weight": 2.0}, ShapeError, "the weights do not fit the examples"),
        ({"class_weight": [1.0, 2.0]}, ShapeError, "one for each class"),
        ({"class_weight": {0: 1.0, 1: 2.0, 3: 1.0}}, ArgumentError, "none for 2"),
    ],
)
def test_refusals(options: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        losses.softmax_cross_entropy(gc.constant(Z), LABELS, **options)


def test_probabilities_where_logits_are_wanted() -> None:
    z, t = gc.placeholder("warned", (3, 4)), gc.placeholder("targets", (3, 4))
    with pytest.warns(LossWarning, match="leave the softmax out"):
        losses.categorical_cross_entropy(gc.softmax(z), t, from_logits=True)
    with pytest.warns(LossWarning, match="leave the sigmoid out, or give from_logits=False"):
        losses.binary_cross_entropy(gc.sigmoid(z), t)


def test_scores_where_probabilities_are_wanted() -> None:
    """Their logarithms are NaN, and so would the loss be."""
    x, t = gc.placeholder("scored", ("n", 4)), gc.placeholder("score targets", ("n", 4))
    w, b = gc.variable(np.ones((4, 4), "float32")), gc.variable(np.ones(4, "float32"))
    with pytest.warns(LossWarning, match="put a softmax behind the layer"):
        losses.categorical_cross_entropy(x @ w, t)
    with pytest.warns(LossWarning, match="put a softmax behind the layer"):
        losses.categorical_cross_entropy(gc.reshape(b + x @ w, (-1, 4)), t)
    with pytest.warns(LossWarning, match="put a sigmoid behind the layer"):
        losses.binary_cross_entropy(x @ w + b, t, from_logits=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.categorical_cross_entropy(gc.softmax(x @ w + b), t)
        losses.categorical_cross_entropy(x @ w, t, from_logits=True)


# -- connectionist temporal classification ---------------------------------------------------------
def _says(path: tuple[int, ...]) -> list[int]:
    return [c for c, _ in itertools.groupby(path) if c != 2]


def test_ctc_is_the_sum_over_all_paths() -> None:
    logits = RNG.normal(size=(4, 4, 3))
    labels = np.array([[0, 1], [1, 1], [0, 9], [1, 0]])
    counts, times = np.array([2, 2, 1, 0]), np.array([4, 3, 2, 3])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = []
    for i in range(4):
        paths = itertools.product(range(3), repeat=times[i])
        wanted = labels[i, : counts[i]].tolist()
        total = sum(
            np.prod([p[i, t, c] for t, c in enumerate(path)])
            for path in paths
            if _says(path) == wanted
        )
        expected.append(-np.log(total))
    x = gc.placeholder("x", ("n", "t", 3), "float64")
    loss = losses.ctc(x, labels, input_lengths=times, target_lengths=counts, blank=2)
    np.testing.assert_allclose(gc.evaluate(loss, {x: logits}), expected, rtol=1e-12)


def test_ctc_without_time_is_infinite() -> None:
    x = gc.placeholder("x", (1, 2, 3))
    loss = losses.ctc(x, np.array([[1, 1]]))  # it takes three: a blank is between equal ones
    value, slope = gc.evaluate([loss, gc.grad(gc.sum(loss), x)], {x: np.zeros((1, 2, 3))})
    assert value == np.inf
    assert np.isfinite(slope).all()
    for wrong, kind in (
        (lambda: losses.ctc(x, np.array([1])), ShapeError),
        (lambda: losses.ctc(x, np.array([[1.0]])), DTypeError),
        (lambda: losses.ctc(x, np.array([[1]]), blank=3), ArgumentError),
        (lambda: losses.ctc(x, np.array([[1]]), input_lengths=[1, 2]), ShapeError),
    ):
        with pytest.raises(kind):
            wrong()
