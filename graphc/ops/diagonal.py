"""Diagonals: a view of the elements whose positions along two axes agree, and their sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.ir.conditions import agree
from graphc.ir.dim import maximum, minimum
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Kind, Op, register
from graphc.ir.shape import TensorType, normalize_axis, show, whole
from graphc.ops.build import scalar_like, tensor
from graphc.ops.create import iota
from graphc.ops.elementwise import equal, where
from graphc.ops.index import strided_slice, zero_pad
from graphc.ops.reduce import sum
from graphc.ops.shape import REINDEX, broadcast_to, expand_dims, permute_dims, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _infer_diagonal(x: TensorType, *, axes: tuple[int, int]) -> tuple[TensorType, ...]:
    first, second = axes
    if first == second or not agree(x.shape[first], x.shape[second]):
        raise ShapeError(
            "not the axes of a square matrix",
            op="diagonal",
            expected="two axes of one size",
            given=f"axes {first} and {second} of {show(x.shape)}",
        )
    rest = tuple(s for a, s in enumerate(x.shape) if a not in axes)
    return (TensorType(x.dtype, (*rest, x.shape[first])),)


def _diagonal_at(k: Any, values: Any, index: Any, out: TensorType, *, axes: tuple[int, int]) -> Any:
    rest = iter(index[:-1])
    return values[0](
        tuple(index[-1] if a in axes else next(rest) for a in range(values[0].type.rank))
    )


def _diagonal_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, *, axes: tuple[int, int]
) -> list[Any]:
    """g on the diagonal, zeros elsewhere."""
    low, high = sorted(axes)
    order = [*range(g.ndim - 1)]
    order.insert(low, g.ndim - 1)
    spread = broadcast_to(expand_dims(permute_dims(g, order), high), x.shape)
    pair = tuple(x.shape[a] if a in axes else 1 for a in range(x.ndim))
    return [where(equal(iota(pair, low), iota(pair, high)), spread, scalar_like(0, g))]


DIAGONAL = register(
    Op(
        "diagonal",
        Kind.MAP,
        _infer_diagonal,
        numpy=lambda x, *, axes: np.diagonal(x, 0, *axes),
        vjp=_diagonal_vjp,
        at=_diagonal_at,
        facts=REINDEX,
        axes={"axes": Axes.SEVERAL},
        doc="The elements whose positions along two axes of one size agree, as the last axis.",
    )
)


def main_diagonal(x: Tensor, axes: tuple[int, int]) -> Tensor:
    """The diagonal over two axes of one size, as the last axis."""
    return apply(DIAGONAL, (x,), axes=axes).output()


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements x[i, i + offset] over `axis1` and `axis2`: a view, never a copy of its own.

    Shapes: [*rest, m, n] -> [*rest, d]; for offset 0, d = min(m, n).
    Errors: `ShapeError` for fewer than two axes, or one axis given twice.
    """
    t = tensor(x, "diagonal")
    first, second = (normalize_axis("diagonal", a, t.ndim) for a in (axis1, axis2))
    if first == second:
        raise ShapeError("an axis is given twice", op="diagonal", given=f"{axis1}, {axis2}")
    offset = whole("diagonal", "offset", offset)
    starts = {first: max(-offset, 0), second: max(offset, 0)}
    left = [maximum(t.shape[a] - starts[a], 0) for a in (first, second)]
    size = minimum(*left)
    square = strided_slice(
        t,
        tuple(minimum(starts.get(a, 0), s) for a, s in enumerate(t.shape)),
        tuple(size if a in starts else s for a, s in enumerate(t.shape)),
        (1,) * t.ndim,
    )
    return main_diagonal(square, (first, second))


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of a diagonal, as `diagonal`. Dtypes: ints give 64-bit ints."""
    return sum(diagonal(tensor(x, "trace"), offset, axis1, axis2), axis=-1)


def diag(x: Any, k: int = 0) -> Tensor:
    """Of a vector the matrix with it on diagonal `k` and zeros elsewhere; of a matrix its diagonal
    `k`, as `diagonal`.

    Shapes: [n] -> [n + |k|, n + |k|]; [m, n] -> [d]. Errors: `ShapeError` for another rank.
    """
    t = tensor(x, "diag")
    if t.ndim == 2:
        return diagonal(t, k)
    if t.ndim != 1:
        raise ShapeError(
            "neither a vector nor a matrix", op="diag", expected="rank 1 or 2", given=show(t.shape)
        )
    k = whole("diag", "k", k)
    size = t.shape[0] + abs(k)
    values = zero_pad(t, (max(k, 0),), (size,), (1,)) if k else t  # of each column
    here = equal(iota((size, 1), 0) + k, iota((1, size), 1))
    return where(here, expand_dims(values, 0), scalar_like(0, t))


def diagflat(x: Any, k: int = 0) -> Tensor:
    """The matrix with all elements of `x` on diagonal `k`, and zeros elsewhere, as `diag`."""
    t = tensor(x, "diagflat")
    return diag(reshape(t, (t.size,)), k)


FUNCTIONS |= {f.__name__: f for f in (diagonal, trace, diag, diagflat)}
