"""A program on batch after batch, natively: as call by call, and as NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import RuntimeFailure
from graphc.runtime.batches import Batches

RNG = np.random.default_rng(41)
X = RNG.normal(size=(23, 3)).astype(np.float32)
Y = RNG.integers(0, 9, 23)


def _step(**options: Any) -> tuple[gc.Variable, Any]:
    """Sums up what it sees, and gives it back: of each example, and of the batch."""
    x = gc.placeholder("x", ("n", 3))
    y = gc.placeholder("y", ("n",), "int64")
    seen = gc.variable(np.zeros(3), "seen", dtype="float64")
    fine = gc.ensure(gc.sum(x), gc.all(y >= 0), "a label below 0")
    outputs = {"rows": x * y[:, None].astype("float32"), "sum": fine, "labels": y + 1}
    # Each batch counts twice as much as the one before: the order of the batches is seen.
    updates = {seen: seen * 2 + gc.sum(x.astype("float64"), axis=0)}
    return seen, gc.compile([x, y], outputs, updates, **options)


def _expected(order: Any, size: int) -> Any:
    total = np.zeros(3)
    for start in range(0, len(X), size):
        total = total * 2 + X[order][start : start + size].astype(np.float64).sum(0)
    return total


@pytest.mark.parametrize("options", [{}, {"target": "reference"}, {"check": "nan"}], ids=str)
@pytest.mark.parametrize("ordered", [False, True])
def test_batches_are_calls_one_after_another(options: dict[str, Any], ordered: bool) -> None:
    seen, step = _step(**options)
    for size in (1, 5, 23):  # the last batch of 5 is smaller
        order = RNG.permutation(23) if ordered else None
        walk = Batches(step, [X, Y], size)
        assert walk.count == -(-23 // size)
        seen.value = np.zeros(3)
        whole = walk.count // 2
        walk.run(0, whole, order)
        assert walk.done == whole
        walk.run(whole, walk.count - whole, order)
        places = np.arange(23) if order is None else order
        np.testing.assert_allclose(seen.value, _expected(places, size), rtol=1e-6)
        rows, labels = walk.results
        np.testing.assert_array_equal(rows, X[places] * Y[places, None].astype(np.float32))
        np.testing.assert_array_equal(labels, Y[places] + 1)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_share_the_rows_of_long_batches(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row once, also where there are fewer of them than parts, and in the last batch."""
    monkeypatch.setenv("GRAPHC_NUM_THREADS", str(threads))
    long = RNG.normal(size=(25, 50_000)).astype(np.float32)
    short = RNG.normal(size=(25, 2)).astype(np.float32)
    x, y = gc.placeholder("long rows", ("n", 50_000)), gc.placeholder("short rows", ("n", 2))
    step = gc.compile([x, y], [gc.sum(x, axis=1), y * 2, gc.exp(x)])
    assert step.caller is not None
    assert bool(step.caller.share) == (threads > 1)
    for size in (3, 10, 25):
        order = RNG.permutation(25)
        walk = Batches(step, [long, short], size)
        walk.run(0, walk.count, order)
        np.testing.assert_allclose(walk.results[0], long[order].sum(1), rtol=1e-3, atol=1e-2)
        np.testing.assert_array_equal(walk.results[1], short[order] * 2)
        np.testing.assert_allclose(walk.results[2], np.exp(long[order]), rtol=1e-5)


@pytest.mark.parametrize("target", ["cpu", "reference"])
def test_a_batch_that_fails_is_the_last_one(target: str) -> None:
    seen, step = _step(target=target)
    bad = Y.copy()
    bad[12] = -1
    walk = Batches(step, [X, bad], 5)
    with pytest.raises(RuntimeFailure, match="a label below 0"):
        walk.run(0, 5)
    assert walk.done == 2
    total = X[:5].sum(0, np.float64) * 2 + X[5:10].sum(0, np.float64)
    np.testing.assert_allclose(seen.value, total, rtol=1e-6)
    walk.run(3, 2)  # goes on behind it
    np.testing.assert_array_equal(walk.results[1][15:], Y[15:] + 1)


def test_rows_without_elements_and_strided_arrays() -> None:
    x, y = gc.placeholder("x", ("n", 0)), gc.placeholder("y", ("n", 2))
    step = gc.compile([x, y], [gc.sum(x, axis=1), y * 2])
    strided = np.asfortranarray(X[:, ::2])
    walk = Batches(step, [np.empty((23, 0), np.float32), strided], 7)
    order = RNG.permutation(23)
    walk.run(0, walk.count, order)
    np.testing.assert_array_equal(walk.results[0], np.zeros(23))
    np.testing.assert_array_equal(walk.results[1], strided[order] * 2)
