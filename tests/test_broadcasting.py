"""Broadcasting and reductions, exhaustively: all shapes of rank <= 3 with sizes 0 to 3."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ShapeError

SIZES = range(4)
SHAPES = [s for rank in range(4) for s in itertools.product(SIZES, repeat=rank)]
PAIRS = list(itertools.product(SHAPES, SHAPES))
Array = np.ndarray[Any, Any]


def values(shape: tuple[int, ...], start: int) -> Array:
    """Small whole numbers: sums and products of them are exact."""
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 5 + start).astype(np.float64)


def folded(full: Array, shape: tuple[int, ...]) -> Array:
    """`full` summed onto an operand of `shape`, element by element."""
    result = np.zeros(shape)
    for index in np.ndindex(full.shape):
        tail = index[full.ndim - len(shape) :]
        result[tuple(0 if s == 1 else i for i, s in zip(tail, shape, strict=True))] += full[index]
    return result


def test_there_are_7225_pairs() -> None:
    assert len(PAIRS) == 7225


@pytest.mark.parametrize("rank", range(4))
def test_every_pair_of_shapes(rank: int) -> None:
    for left, right in PAIRS:
        if len(left) != rank:
            continue
        x, y = gc.placeholder("x", left, "float64"), gc.placeholder("y", right, "float64")
        try:
            shape = np.broadcast_shapes(left, right)
        except ValueError:
            with pytest.raises(ShapeError, match="do not broadcast") as caught:
                x * y
            assert caught.value.op == "multiply"
            continue
        z = x * y
        assert z.shape == shape
        gx, gy = gc.vjp(z, [x, y])
        a, b = values(left, 1), values(right, -2)
        found = gc.evaluate([z, gx, gy], {x: a, y: b})
        expected = [
            a * b,
            folded(np.broadcast_to(b, shape), left),
            folded(np.broadcast_to(a, shape), right),
        ]
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got, wanted, strict=True)


def axis_subsets(rank: int) -> list[tuple[int, ...]]:
    return [c for n in range(rank + 1) for c in itertools.combinations(range(rank), n)]


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all"])
def test_reductions_over_every_subset_of_axes(name: str) -> None:
    numpy, ours = getattr(np, name), getattr(gc, name)
    for shape in SHAPES:
        a = values(shape, -2)
        x = gc.placeholder("x", shape, "float64")
        for axes in axis_subsets(len(shape)):
            for keepdims in (False, True):
                try:
                    expected = np.asarray(numpy(a, axis=axes, keepdims=keepdims))
                except ValueError:
                    with pytest.raises(ShapeError, match="no elements"):
                        ours(x, axes, keepdims)
                    continue
                found = gc.evaluate(ours(x, axes, keepdims), {x: a})
                np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("name", ["sum", "max", "logsumexp"])
def test_gradients_of_reductions_over_every_subset_of_axes(name: str) -> None:
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        if 0 in shape:
            continue
        a = rng.permutation(int(np.prod(shape))).reshape(shape).astype(float)
        x = gc.placeholder("x", shape, "float64")
        for axes in axis_subsets(len(shape)):
            full = np.zeros(shape)
            if name == "sum":
                full[...] = 1
            elif name == "max":
                full[...] = a == np.max(a, axis=axes, keepdims=True)
            else:
                e = np.exp(a - np.max(a))
                full[...] = e / np.sum(e, axis=axes, keepdims=True)
            y = getattr(gc, name)(x, axes)
            found = gc.evaluate(gc.vjp(y, x), {x: a})
            np.testing.assert_allclose(found, full, rtol=1e-14, strict=True)


def test_a_named_dim_never_broadcasts() -> None:
    x, y = gc.placeholder("x", ("n",)), gc.placeholder("y", (3,))
    with pytest.raises(ShapeError, match="do not agree"):  # it may be 3, but 1 is not stretched
        gc.evaluate(x + y, {x: [1.0], y: [1.0, 2.0, 3.0]})
    with pytest.raises(ShapeError, match="do not broadcast") as caught:
        x + gc.placeholder("y", ("n + 3",))
    assert "named dim never broadcasts" in caught.value.hint
    z = x + gc.placeholder("z", (1,))
    assert z.shape == x.shape
