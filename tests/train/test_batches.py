"""Checked data and mini-batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.train import batches

RNG = np.random.default_rng(23)


@pytest.mark.parametrize("size", [1, 3, 10, 11])
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_cover_everything_once_in_order(size: int, shuffled: bool) -> None:
    x, y = RNG.normal(size=(10, 2)), np.arange(10)
    order = RNG.permutation(10) if shuffled else None
    cut = list(batches.batches((x, y), size, order))
    assert [len(b) for _, b in cut] == [size] * (10 // size) + [10 % size] * (10 % size > 0)
    expected = y if order is None else order
    np.testing.assert_array_equal(np.concatenate([b for _, b in cut]), expected)
    np.testing.assert_array_equal(np.concatenate([a for a, _ in cut]), x[expected])


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
    x, y = batches.pair("fit", [[1.0], [2.0]], [0, 1], gc.float64)
    assert (x.dtype, y.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize("bad", [["a"], [None], [1j]])
def test_what_is_not_numbers(bad: Any) -> None:
    with pytest.raises(gc.errors.DTypeError, match="x is not numbers"):
        batches.examples("fit", "x", bad, gc.float32)
