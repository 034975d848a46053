"""Sorting along an axis, and what follows from an order.

A sort is one op with two results, the elements in order and where they were; whoever wants both has
one sort. It is stable: equal elements stay in their order, also the descending one. NaN is larger
than all numbers, as NumPy has it, and zeros of both signs are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.conditions import require
from graphc.ir.dim import Size, dim
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Fact, Kind, Op, register
from graphc.ir.shape import TensorType, normalize_axis, several, show
from graphc.ops.build import tensor
from graphc.ops.index import strided_slice
from graphc.ops.network import FEW
from graphc.ops.places import SCATTER_SUM, gather, scatter, take_along_axis
from graphc.ops.radix import write_sort, write_topk
from graphc.ops.shape import reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}
SORTED = 8  # times as many elements as are wanted: what is sorted for them, if not more


def _infer_sort(x: TensorType, *, axis: int, descending: bool) -> tuple[TensorType, ...]:
    return x, TensorType(int64, x.shape)


def _numpy_sort(x: Any, *, axis: int, descending: bool) -> tuple[Any, Any]:
    if descending:  # of the reversed elements the reversed order, which is stable again
        order = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
        order = np.flip(x.shape[axis] - 1 - order, axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    return np.take_along_axis(x, order, axis), order.astype(np.int64)


def _places(x: Tensor, axis: int) -> list[int]:
    return [-1 if a == axis else a for a in range(x.ndim)]


def _sort_vjp(
    context: Any, g: Any, out: Any, x: Tensor, *, axis: int, **attrs: Any
) -> list[Any]:
    """g goes back to where the elements were."""
    if g[0] is None:
        return [None]
    return [scatter(SCATTER_SUM, [out[1]], g[0], x.shape, _places(x, axis), 0)]


def _sort_jvp(
    context: Any, ts: Any, out: Any, x: Tensor, *, axis: int, **attrs: Any
) -> tuple[Any, Any]:
    return gather(ts[0], [out[1]], _places(x, axis), 0), None


SORT = register(
    Op(
        "sort_and_argsort",
        Kind.KERNEL,
        _infer_sort,
        numpy=_numpy_sort,
        vjp=_sort_vjp,
        jvp=_sort_jvp,
        write=write_sort,
        axes={"axis": Axes.ONE},
        facts=frozenset({Fact.EXACT, Fact.CHOOSES}),
        cost=32,
        doc="The elements along an axis in order, and where they were: two outputs.",
    )
)


# -- the first of a sort ---------------------------------------------------------------------------
def _infer_topk(
    x: TensorType, *, axis: int, count: int, largest: bool
) -> tuple[TensorType, ...]:
    require(x.shape[axis] - count, f"{count} elements of an axis of size {x.shape[axis]}")
    shape = tuple(count if a == axis else s for a, s in enumerate(x.shape))
    return TensorType(x.dtype, shape), TensorType(int64, shape)


def _numpy_topk(x: Any, *, axis: int, count: int, largest: bool) -> tuple[Any, Any]:
    both = _numpy_sort(x, axis=axis, descending=largest)
    values, places = (found.take(np.arange(count), axis) for found in both)
    return values, places


TOPK = register(
    Op(
        "topk",
        Kind.KERNEL,
        _infer_topk,
        numpy=_numpy_topk,
        vjp=_sort_vjp,
        jvp=_sort_jvp,
        write=write_topk,
        axes={"axis": Axes.ONE},
        facts=frozenset({Fact.EXACT, Fact.CHOOSES}),
        cost=32,
        doc="The first elements along an axis in order, of a sort, and where they were.",
    )
)


def _sorted(op: str, x: Any, axis: int | None, descending: bool) -> tuple[Tensor, Tensor]:
    t = tensor(x, op)
    if axis is None:
        t, axis = reshape(t, (t.size,)), 0
    if t.ndim == 0:
        raise ShapeError("a scalar has no axes", op=op, expected="rank 1 or more", given="()")
    axis = normalize_axis(op, axis, t.ndim)
    values, places = apply(SORT, (t,), axis=axis, descending=bool(descending)).outputs
    return values, places


def sort(
    x: Any, axis: int | None = -1, *, descending: bool = False, stable: bool = True
) -> Tensor:
    """The elements along `axis` (of all, for None) in order, the smallest first.

    Equal elements stay in their order, so that `stable` changes nothing. NaN is larger than all
    numbers: it is last, or with `descending` first. The gradient goes back to where elements were.
    Shapes: as x. Dtypes: any. Errors: `ShapeError` for a scalar, `OutOfRangeError` for an axis that
    is not there.

    >>> import graphc as gc
    >>> gc.evaluate(gc.sort([3.0, float("nan"), 1.0, 2.0]))
    array([ 1.,  2.,  3., nan])
    """
    return _sorted("sort", x, axis, descending)[0]


def argsort(
    x: Any, axis: int | None = -1, *, descending: bool = False, stable: bool = True
) -> Tensor:
    """Where the elements are that `sort` gives (int64). Shapes and errors: as there.

    >>> import graphc as gc
    >>> gc.evaluate(gc.argsort([3, 1, 2, 1]))
    array([1, 3, 2, 0])
    """
    return _sorted("argsort", x, axis, descending)[1]


class TopK(NamedTuple):
    """The largest elements along an axis, in order, and where they are."""

    values: Tensor
    indices: Tensor


def topk(x: Any, k: Any, axis: int = -1, *, largest: bool = True) -> TopK:
    """The `k` largest elements along `axis` in descending order, or the smallest in ascending, and
    where they are (int64): of equal ones the first.

    NaN is larger than all numbers. Shapes: [..., n, ...] -> two of [..., k, ...]. Errors:
    `ShapeError` for more than there are, `ArgumentError` for a negative k.

    >>> import graphc as gc
    >>> gc.evaluate(list(gc.topk([3, 1, 4, 1, 5], 2)))
    [array([5, 4]), array([4, 2])]
    """
    t = tensor(x, "topk")
    if t.ndim == 0:
        raise ShapeError("a scalar has no axes", op="topk", expected="rank 1 or more", given="()")
    axis, count = normalize_axis("topk", axis, t.ndim), dim(k)
    if isinstance(count, int) and count < 0:
        raise ArgumentError("a negative count", op="topk", expected="k >= 0", given=str(k))
    size = t.shape[axis]
    if isinstance(size, int) and isinstance(count, int) and count > size:
        raise ShapeError(
            f"{count} elements of an axis of {size}", op="topk", expected=f"k <= {size}",
            given=show(t.shape),
        )  # fmt: skip
    if isinstance(count, int) and not _is_few(size, count):
        return TopK(*apply(TOPK, (t,), axis=axis, count=count, largest=bool(largest)).outputs)
    sizes = tuple(count if a == axis else s for a, s in enumerate(t.shape))
    zeros, ones = (0,) * t.ndim, (1,) * t.ndim
    both = _sorted("topk", t, axis, largest)
    return TopK(*(strided_slice(found, zeros, sizes, ones) for found in both))


def _is_few(size: Size, count: int) -> bool:
    """Whether all are sorted to have the first ones: few elements, or not many more than those."""
    return isinstance(size, int) and size <= max(FEW, SORTED * count)


def partition(x: Any, kth: Any, axis: int | None = -1) -> Tensor:
    """The elements along `axis` with the smallest before place `kth` and the largest behind it:
    all in order, as `sort` gives them."""
    return sort(x, axis)


def argpartition(x: Any, kth: Any, axis: int | None = -1) -> Tensor:
    """Where the elements are that `partition` gives, as `argsort`."""
    return argsort(x, axis)


def lexsort(keys: Any, axis: int = -1) -> Tensor:
    """The order by several keys: by the last one, equal ones of it by the one before, and so on.

    Shapes: keys of one shape [..., n], or one tensor of them along its first axis -> [..., n],
    int64. Errors: `ArgumentError` for no keys.
    """
    if isinstance(keys, Tensor):
        if keys.ndim == 0:
            raise ShapeError("no keys", op="lexsort", expected="rank 1 or more", given="()")
        keys = [keys[i] for i in range(keys.shape[0])]
    rows: Sequence[Tensor] = [tensor(key, "lexsort") for key in several("lexsort", "keys", keys)]
    if not rows:
        raise ArgumentError("no keys", op="lexsort", expected="one or more", given="none")
    order = argsort(rows[0], axis)
    for key in rows[1:]:
        order = take_along_axis(order, argsort(take_along_axis(key, order, axis), axis), axis)
    return order


def _numpy(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """By NumPy's arguments: every kind of sort is a stable one here."""

    def answer(
        a: Any, axis: int | None = -1, *, kind: Any = None, stable: Any = None
    ) -> Tensor:
        return function(a, axis)

    return answer


FUNCTIONS |= {
    f.__name__: f for f in (sort, argsort, topk, partition, argpartition, lexsort)
}
NUMPY: dict[str, Callable[..., Any] | None] = {"sort": _numpy(sort), "argsort": _numpy(argsort)}
