"""Shapes: broadcasting against NumPy's for every small pair, axes, strides."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, ShapeError
from graphc.ir.dim import dim
from graphc.ir.shape import (
    TensorType,
    broadcast,
    broadcasts_to,
    normalize_axes,
    normalize_axis,
    shape_of,
    show,
    strides,
)

SHAPES = [s for rank in range(4) for s in itertools.product(range(4), repeat=rank)]


def test_broadcast_is_numpys_for_all_pairs_of_small_shapes() -> None:
    for a, b in itertools.product(SHAPES, SHAPES):
        try:
            expected = np.broadcast_shapes(a, b)
        except ValueError:
            with pytest.raises(ShapeError, match="do not broadcast"):
                broadcast("add", a, b)
            assert not broadcasts_to(a, b)
        else:
            assert broadcast("add", a, b) == expected
            assert broadcasts_to(a, b) == (expected == b)


def test_several_shapes() -> None:
    assert broadcast("where", (2, 1), (3,), ()) == (2, 3)
    assert broadcast("where") == ()


def test_a_named_dim_never_broadcasts() -> None:
    n, m = dim("n"), dim("m")
    assert broadcast("add", (n,), (1,)) == (n,)
    assert broadcast("add", (n, 1), (m,)) == (n, m)
    assert broadcast("add", (n,), (m,)) == (n,)  # an equation, see test_equations.py
    assert broadcast("add", (n,), (3,)) == (3,)
    for other in (n + 1, 2 * n, 0):
        with pytest.raises(ShapeError, match="a named dim never broadcasts"):
            broadcast("add", (n,), (other,))
    assert not broadcasts_to((n,), (3,))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_axes(rank: int) -> None:
    for axis in range(-rank, rank):
        assert normalize_axis("sum", axis, rank) == range(rank)[axis]
        assert normalize_axis("sum", np.int32(axis), rank) == range(rank)[axis]
    for axis in (-rank - 1, rank):
        with pytest.raises(ShapeError, match=f"-{rank} <= axis < {rank}"):
            normalize_axis("sum", axis, rank)
    assert normalize_axes("sum", None, rank) == tuple(range(rank))
    assert normalize_axes("sum", (-1, 0) if rank > 1 else -1, rank) == tuple({0, rank - 1})
    with pytest.raises(ShapeError, match="given twice"):
        normalize_axes("sum", (0, -rank), rank)


@pytest.mark.parametrize("axis", [True, 1.0, "0", dim("n"), None])
def test_what_is_no_axis_is_refused(axis: Any) -> None:
    with pytest.raises(ArgumentError, match="not an axis"):
        normalize_axis("sum", axis, 2)


def test_strides_are_numpys() -> None:
    for shape in SHAPES:
        if 0 not in shape:
            expected = np.empty(shape, np.int8).strides
            assert strides(shape) == expected
    n = dim("n")
    assert strides((2, n, 3)) == (3 * n, 3, 1)


def test_text_and_size() -> None:
    n = dim("n")
    of = TensorType(gc.float32, (n, 2 * n + 1, 3))
    assert str(of) == "f32[n,2*n + 1,3]"
    assert (of.rank, of.size) == (3, 6 * n * n + 3 * n)
    assert [show(s) for s in ((), (n,), (n, 2))] == ["()", "(n,)", "(n, 2)"]


def test_specs() -> None:
    n = dim("n")
    assert shape_of("n") == (n,)
    assert shape_of(3) == (3,)
    assert shape_of(["n", "2*n", np.int64(4)]) == (n, 2 * n, 4)
    for spec in (1.5, None, (-1,), ("a b",), ((2,),)):
        with pytest.raises(ArgumentError):
            shape_of(spec)
