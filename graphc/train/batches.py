"""Data for training: checked once, then cut into mini-batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import DType, bool_, int64
from graphc.ir.given import given_array
from graphc.ir.shape import show

Array: TypeAlias = np.ndarray[Any, Any]


def examples(op: str, name: str, value: Any, floats: DType) -> Array:
    """`value` as an array of examples along its first axis.

    Dtypes: floats become `floats`, ints int64, bools stay.
    Errors: `DTypeError` for what is not numbers; `ShapeError` for a scalar or no examples.
    """
    array = given_array(op, value)
    if array.dtype.kind not in "biuf":
        raise DTypeError(
            f"{name} is not numbers", op=op, given=f"dtype {array.dtype}", where=origin.where()
        )
    if array.ndim == 0 or array.shape[0] == 0:
        raise ShapeError(
            f"{name} holds no examples",
            op=op,
            expected="at least one, along the first axis",
            given=show(array.shape),
            where=origin.where(),
        )
    if array.dtype.kind == "b":
        return array.astype(bool_.numpy, copy=False)
    target = floats if array.dtype.kind == "f" else int64
    return array.astype(target.numpy, copy=False)


def pair(op: str, x: Any, y: Any, floats: DType) -> tuple[Array, Array]:
    """Examples and their targets. Errors: as `examples`; `ShapeError` if the numbers differ."""
    inputs, targets = examples(op, "x", x, floats), examples(op, "y", y, floats)
    if len(inputs) != len(targets):
        raise ShapeError(
            "x and y hold different numbers of examples",
            op=op,
            expected=f"{len(inputs)} targets",
            given=str(len(targets)),
            where=origin.where(),
        )
    return inputs, targets


def fault(**data: Array) -> str:
    """The first element of the data that is not finite, in words; "" if all are.

    >>> fault(x=np.ones(3), y=np.array([[0.0], [np.nan]]))
    'y is nan in example 1'
    """
    for name, array in data.items():
        if array.dtype.kind == "f":
            flat = array.reshape(len(array), -1)
            bad = np.flatnonzero(~np.isfinite(flat).all(axis=1))
            if bad.size:
                row = flat[bad[0]]
                return f"{name} is {row[~np.isfinite(row)][0]} in example {bad[0]}"
    return ""


def positive(op: str, name: str, value: Any) -> int:
    """`value` as an int. Errors: `ArgumentError` for what is no int >= 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ArgumentError(
            f"{name} is not a positive int",
            op=op,
            expected="an int >= 1",
            given=repr(value)[:80],
            where=origin.where(),
        )
    return int(value)


def batches(
    arrays: tuple[Array, ...], size: int, order: Array | None = None
) -> Iterator[tuple[Array, ...]]:
    """The arrays cut along their first axis, in order or in the given one; the last may be less.

    >>> [a.tolist() for (a,) in batches((np.arange(5),), 2)]
    [[0, 1], [2, 3], [4]]
    """
    for start in range(0, len(arrays[0]), size):
        chosen = slice(start, start + size)
        yield tuple(a[chosen] if order is None else a[order[chosen]] for a in arrays)
