"""Checked data and mini-batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.train import batches

RNG = np.random.default_rng(23)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("float64", "float32"), ("float32", "float32"), ("uint8", "int64"), ("bool", "bool")],
)
def test_dtypes(given: str, expected: str) -> None:
    value = np.ones((2, 3), given)
    result = batches.examples("fit", "x", value, gc.float32)
    assert result.dtype == expected
    assert (result is value) == (given == expected)  # no copy where none is needed


def test_lists_are_data() -> None:
    x, y = batches.data("fit", [[1.0], [2.0]], [0, 1], None, gc.float64).arrays
    assert (x.dtype, y.dtype) == (np.float64, np.int64)


def test_structures_are_arrays_with_names() -> None:
    x = {"image": np.ones((3, 2)), "label": (np.ones(3), np.zeros(3, bool))}
    given = batches.data("fit", x, (0, 1, 2), [1, 2, 0.5], gc.float32)
    assert given.names == (
        "x['image']", "x['label'][0]", "x['label'][1]", "y", "sample_weight"
    )  # fmt: skip
    assert [str(a.dtype) for a in given.arrays] == [
        "float32", "float32", "bool", "int64", "float32"
    ]  # fmt: skip
    swapped = {name: x[name] for name in reversed(x)}
    again = batches.data("fit", swapped, (0, 1, 2), [1, 2, 0.5], gc.float32)
    assert (again.structure, again.names) == (given.structure, given.names)
    part = given.part(slice(1, None))
    assert [len(a) for a in part.arrays] == [2] * 5


def test_what_does_not_go_together_is_named() -> None:
    x = (np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(gc.errors.ShapeError, match=r"x\[0\] and x\[1\] hold different numbers"):
        batches.data("fit", x, np.ones(3), None, gc.float32)
    with pytest.raises(gc.errors.ShapeError, match="several inputs are a tuple"):
        batches.data("fit", [x[0], x[0]], np.ones(3), None, gc.float32)
    for bad in (-1.0, np.nan):
        with pytest.raises(gc.errors.ArgumentError, match=r"sample_weight\[2\]"):
            batches.data("fit", x[0], np.ones(3), [1.0, 1.0, bad], gc.float32)
    with pytest.raises(gc.errors.ShapeError, match="x is no array"):
        batches.data("fit", [[1.0], [1.0, 2.0]], np.ones(2), None, gc.float32)


def test_class_weights() -> None:
    given = {0: 1.0, 2: 0.5}
    expected = [1.0, 0.5, 0.5]
    labels = np.array([0, 2, 2])
    for targets in (labels, labels[:, None], np.eye(3)[labels]):
        np.testing.assert_array_equal(batches.class_weights("fit", targets, given), expected)
    with pytest.raises(gc.errors.ArgumentError, match="a weight for 1"):
        batches.class_weights("fit", np.array([0, 1]), given)
    with pytest.raises(gc.errors.ArgumentError, match="one output"):
        batches.class_weights("fit", {"a": labels}, given)
    either = np.array([True, False, True])
    for targets in (either, either[:, None], either.astype("float32")[:, None]):
        found = batches.class_weights("fit", targets, {0: 0.25, 1: 4.0})
        np.testing.assert_array_equal(found, [4.0, 0.25, 4.0])


@pytest.mark.parametrize(
    "targets",
    [
        np.array([0.0, 0.9]),  # smoothed
        np.array([[0.0], [np.nan]]),
        np.array([[1.0, 0.0], [0.5, 0.5]]),
        np.array([[0, 1, 0], [0, 1, 1]]),  # several labels at once
        np.array([[1, 0, 2], [0, 0, 2]]),  # a label for each time
        np.zeros((2, 3, 1), "int64"),
    ],
)
def test_class_weights_of_what_is_no_class(targets: Any) -> None:
    with pytest.raises(gc.errors.ArgumentError, match="no classes") as caught:
        batches.class_weights("fit", targets, dict.fromkeys(range(3), 1.0))
    assert "sample_weight" in str(caught.value)


@pytest.mark.parametrize("bad", [["a"], [None], [1j]])
def test_what_is_not_numbers(bad: Any) -> None:
    with pytest.raises(gc.errors.DTypeError, match="x is not numbers"):
        batches.examples("fit", "x", bad, gc.float32)


@pytest.mark.parametrize(
    ("weights", "hint"),
    [([1.0, 2.0], "dict.enumerate"), (np.ones(2), "dict.enumerate"), ("balanced", "np.bincount")],
)
def test_class_weights_that_are_no_dict(weights: Any, hint: str) -> None:
    with pytest.raises(gc.errors.ArgumentError, match=hint):
        batches.class_weights("fit", np.array([0, 1]), weights)


def test_class_weights_of_steps_are_the_losses() -> None:
    with pytest.raises(gc.errors.ArgumentError, match=r"functools\.partial"):
        batches.class_weights("fit", np.array([[0, 1, 2], [2, 2, 0]]), {0: 1.0, 1: 2.0, 2: 1.0})
