"""Groups of elements that integers name: sums, extrema, means; counts and histograms.

All are scatters, which visit the elements in order: their results are always the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dim import Dim, dim
from graphc.ir.dtype import bool_, float64, int64
from graphc.ir.node import Tensor
from graphc.ir.op import Op
from graphc.ir.shape import normalize_axis, several, show
from graphc.ops.build import (
    cast,
    float_type,
    operands,
    scalar_like,
    settle,
    size_as_tensor,
    tensor,
)
from graphc.ops.create import arange, linspace, ones
from graphc.ops.differences import diff
from graphc.ops.elementwise import (
    add,
    astype,
    divide,
    equal,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_or,
    minimum,
    multiply,
    not_equal,
    subtract,
    where,
)
from graphc.ops.gather import take
from graphc.ops.places import (
    SCATTER_MAX,
    SCATTER_MIN,
    SCATTER_PROD,
    SCATTER_SUM,
    scatter,
    updated,
)
from graphc.ops.reduce import max, min, sum
from graphc.ops.shape import broadcast_to, expand_dims, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- segments --------------------------------------------------------------------------------------
def _groups(op: str, x: Any) -> Tensor:
    """Which group each element belongs to. Errors: `DTypeError` for what is no int."""
    t = tensor(x, op)
    if not (t.dtype.is_integer or t.dtype is bool_):
        raise DTypeError(
            "groups have integers", op=op, expected="ints", given=t.dtype.name,
            hint="use .astype('int64')",
        )  # fmt: skip
    return cast(t, int64) if t.dtype is bool_ else t


def _segments(name: str, op: Op, data: Any, ids: Any, count: Any) -> Tensor:
    t, i = tensor(data, name), tensor(ids, name)
    if i.ndim != 1 or t.ndim == 0:
        raise ShapeError(
            "a number for each row",
            op=name,
            expected=f"ids of shape ({t.shape[0] if t.ndim else 'n'},)",
            given=show(i.shape),
        )
    if count is None:
        raise ArgumentError(
            "how many segments there are is not known", op=name, expected="num_segments=..."
        )
    shape = (dim(count), *t.shape[1:])
    return scatter(op, [_groups(name, i)], t, shape, (-1, *range(1, t.ndim)), 0)


def segment_sum(data: Any, segment_ids: Any, num_segments: Any = None) -> Tensor:
    """The sums of the rows that have the same id, one after another in order of the ids.

    Shapes: data [n, *r], segment_ids [n] -> [num_segments, *r]; ids need not be sorted. Errors:
    a `RuntimeFailure` at the call for an id out of range, `ArgumentError` without `num_segments`.

    >>> import graphc as gc
    >>> gc.evaluate(gc.segment_sum([1, 2, 3], [1, 0, 1], 3))
    array([2, 4, 0])
    """
    return _segments("segment_sum", SCATTER_SUM, data, segment_ids, num_segments)


def segment_prod(data: Any, segment_ids: Any, num_segments: Any = None) -> Tensor:
    """The products of the rows that have the same id, 1 of none. Shapes: as `segment_sum`."""
    return _segments("segment_prod", SCATTER_PROD, data, segment_ids, num_segments)


def segment_max(data: Any, segment_ids: Any, num_segments: Any = None) -> Tensor:
    """The largest of the rows that have the same id, elementwise; of none, the least number of the
    dtype. Shapes: as `segment_sum`."""
    return _segments("segment_max", SCATTER_MAX, data, segment_ids, num_segments)


def segment_min(data: Any, segment_ids: Any, num_segments: Any = None) -> Tensor:
    """The smallest of the rows that have the same id, elementwise; of none, the largest number of
    the dtype. Shapes: as `segment_sum`."""
    return _segments("segment_min", SCATTER_MIN, data, segment_ids, num_segments)


def segment_mean(data: Any, segment_ids: Any, num_segments: Any = None) -> Tensor:
    """The mean of the rows that have the same id, NaN of none. Shapes: as `segment_sum`."""
    t = tensor(data, "segment_mean")
    t = t if t.dtype.is_float else cast(t, float_type(int64))
    total = _segments("segment_mean", SCATTER_SUM, t, segment_ids, num_segments)
    every = ones(t.shape[:1], t.dtype)
    count = _segments("segment_mean", SCATTER_SUM, every, segment_ids, num_segments)
    return divide(total, reshape(count, (*count.shape, *(1,) * (t.ndim - 1))))


def scatter_add(x: Any, indices: Any, updates: Any, axis: int = 0) -> Tensor:
    """`x` with each update added at the place along `axis` that indices give: the opposite of
    `take`, as `x.at[indices].add(updates)`.

    Shapes: x [..., n, ...], indices [*i], updates [..., *i, ...] -> as x. Errors: `ShapeError`; a
    `RuntimeFailure` at the call for an index out of range.
    """
    t, i = tensor(x, "scatter_add"), tensor(indices, "scatter_add")
    axis = normalize_axis("scatter_add", axis, t.ndim)
    shape = (*t.shape[:axis], *i.shape, *t.shape[axis + 1 :])
    values = broadcast_to(cast(tensor(updates, "scatter_add"), t.dtype), shape)
    behind = range(axis + i.ndim, len(shape))
    return updated(t, "add", [i], values, (*range(axis), -1, *behind), axis)


# -- counts ----------------------------------------------------------------------------------------
def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Tensor:
    """How often each of 0, 1, ... `minlength` - 1 is in `x`, or the sum of its weights.

    The result has `minlength` elements: a larger number in x, or a negative one, is a
    `RuntimeFailure` at the call. Shapes: [n] -> [minlength]. Dtypes: int64, or the weights' float.
    Errors: `ArgumentError` without a length, `DTypeError` for numbers that are no ints.
    """
    t = tensor(x, "bincount")
    if isinstance(minlength, int) and minlength < 1:
        raise ArgumentError(
            "how many numbers are counted is not known",
            op="bincount",
            expected="minlength=..., above all that is in x",
            given=str(minlength),
        )
    if t.ndim != 1:
        raise ShapeError("a vector", op="bincount", expected="(n,)", given=show(t.shape))
    w = ones(t.shape, int64) if weights is None else tensor(weights, "bincount")
    if weights is not None and not w.dtype.is_float:
        w = cast(w, float64)
    at = cast(_groups("bincount", t), int64)
    at = where(less(at, 0), size_as_tensor(dim(minlength), int64), at)  # which is out of range
    return scatter(SCATTER_SUM, [at], broadcast_to(w, t.shape), (dim(minlength),), (-1,), 0)


def histogram(
    x: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Tensor, Tensor]:
    """How many elements are in each of `bins` intervals, or the sum of their weights; and the edges
    of the intervals, each of which has its lower edge, and the last both.

    `bins` is how many there are, of equal width, from `range[0]` to `range[1]` (by default from the
    smallest element to the largest), or all edges in order. What is outside is not counted.
    Shapes: any -> [bins], [bins + 1]. Dtypes: int64, or that of weights; with `density` float64.
    Errors: `ArgumentError`, `ShapeError`.
    """
    t = tensor(x, "histogram")
    t = reshape(t, (t.size,))
    t = t if t.dtype.is_float else cast(t, float64)
    w = None if weights is None else tensor(weights, "histogram")
    if w is not None:
        w = reshape(w, (w.size,))
    if isinstance(bins, (int, np.integer, Dim)):
        edges, at, inside = _equal_bins(t, bins, range)
        counted = where(inside, ones((), int64) if w is None else w, 0)
        counted = broadcast_to(counted, t.shape)
        counts = scatter(SCATTER_SUM, [at], counted, (dim(bins),), (-1,), 0)
    else:
        edges, counts = _given_bins(t, bins, w)
    if density:
        total = cast(counts, float64)
        counts = divide(divide(total, diff(cast(edges, float64))), sum(total))
    return counts, edges


def _equal_bins(t: Tensor, bins: Any, bounds: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The edges, the bin of each element, and whether it is in one. The bin is found by division,
    and is then the next one where rounding led over an edge, as NumPy does it."""
    if bounds is None:
        low, high = min(t), max(t)
    else:
        ends = several("histogram", "range", bounds)
        if len(ends) != 2:
            raise ArgumentError(
                "no range", op="histogram", expected="(low, high)", given=repr(bounds)[:80]
            )
        low, high = (settle(tensor(v, "histogram"), t.dtype) for v in ends)
    flat = equal(low, high)
    low, high = (where(flat, add(v, d), v) for v, d in ((low, -0.5), (high, 0.5)))
    count = size_as_tensor(dim(bins), t.dtype)
    edges = linspace(low, high, dim(bins) + 1)
    inside = logical_and(greater_equal(t, low), less_equal(t, high))
    share = divide(subtract(t, low), subtract(high, low))
    at = astype(where(inside, multiply(share, count), 0.0), int64)
    last = size_as_tensor(dim(bins) - 1, int64)
    at = minimum(at, last)
    below = less(t, take(edges, at))
    at = where(logical_and(inside, below), subtract(at, 1), at)
    above = logical_and(greater_equal(t, take(edges, add(at, 1))), not_equal(at, last))
    return edges, where(logical_and(inside, above), add(at, 1), at), inside


def _given_bins(t: Tensor, bins: Any, w: Tensor | None) -> tuple[Tensor, Tensor]:
    """The edges as they are, and the sums over all elements of whether they are between two."""
    edges = tensor(bins, "histogram")
    if edges.ndim != 1:
        raise ShapeError(
            "edges are a vector", op="histogram", expected="(bins + 1,)", given=show(edges.shape)
        )
    t, limits = operands("histogram", t, edges)
    t, low, high = expand_dims(t, 0), expand_dims(limits[:-1], 1), expand_dims(limits[1:], 1)
    ends = expand_dims(arange(limits.shape[0] - 1), 1)
    is_last = equal(ends, size_as_tensor(limits.shape[0] - 2, int64))
    before = logical_or(less(t, high), logical_and(is_last, equal(t, high)))
    inside = logical_and(greater_equal(t, low), before)
    counted = cast(inside, int64) if w is None else where(inside, w, scalar_like(0, w))
    return edges, sum(counted, axis=1)


FUNCTIONS |= {
    f.__name__: f
    for f in (
        segment_sum, segment_prod, segment_max, segment_min, segment_mean, scatter_add, bincount,
        histogram,
    )
}  # fmt: skip
