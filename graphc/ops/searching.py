"""Where numbers belong in an order that is there, and what follows from that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.dim import Size, floordiv, minimum, total
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Batch, Fact, Kind, Op, register
from graphc.ir.shape import TensorType, agree_on_shape, show
from graphc.loops.values import Affine
from graphc.ops.build import operands, size_as_tensor, tensor
from graphc.ops.elementwise import isnan, less, logical_and, logical_not, subtract
from graphc.ops.gather import take
from graphc.ops.places import take_along_axis
from graphc.ops.shape import flip, reshape
from graphc.ops.sorting import sort

FUNCTIONS: dict[str, Callable[..., Any]] = {}
SIDES = ("left", "right")
MOST_HALVINGS = 40  # of a size that has a name: 2^40 elements


# -- searchsorted ----------------------------------------------------------------------------------
# The first `batch` axes of both operands are the same ones: each of their elements has an order of
# its own. A node without such axes has no attribute `batch`.
def _infer_search(
    x: TensorType, v: TensorType, *, right: bool, batch: int = 0
) -> tuple[TensorType, ...]:
    if x.rank != batch + 1 or not agree_on_shape(x.shape[:batch], v.shape[:batch]):
        raise ShapeError("no vector to search", expected="(n,)", given=show(x.shape))
    if x.dtype is not v.dtype:
        raise DTypeError("of two dtypes", expected=x.dtype.name, given=v.dtype.name)
    return (TensorType(int64, v.shape),)


def _numpy_search(x: Any, v: Any, *, right: bool, batch: int = 0) -> Any:
    result = np.empty(v.shape, np.int64)
    for at in np.ndindex(v.shape[:batch]):
        result[at] = np.searchsorted(x[at], v[at], "right" if right else "left")
    return result


def _halvings(size: Size) -> Size:
    """How often `size` can be halved until nothing is left: the bits of it."""
    if isinstance(size, int):
        return size.bit_length()
    return total(minimum(floordiv(size, 1 << bit), 1) for bit in range(MOST_HALVINGS))


def _power_within(size: Size) -> Size:
    """The largest power of two that is not above `size`; 1 where that is 0."""
    if isinstance(size, int):
        return 1 << max(size.bit_length() - 1, 0)
    larger = (minimum(floordiv(size, 2 << bit), 1) * (1 << bit) for bit in range(MOST_HALVINGS - 1))
    return total(larger) + 1


def _search_at(
    k: Any, values: Any, index: Any, out: TensorType, *, right: bool, batch: int = 0
) -> Any:
    """By bisection in steps that are powers of two, the same ones for all values: there is no
    branch, and several values are searched for at once. `found` elements go before the value, and a
    step more if the last of these does. The first comparison leaves one element less than a power
    of two: those at the start, or those at the end."""
    x, v = values
    value, rows, size = v(index), index[:batch], x.type.shape[-1]
    zero, one = k.const(0, int64), k.const(1, int64)
    power = _power_within(size)

    def goes_before(place: Affine) -> Any:
        element = x((*rows, place))
        return k.bitwise_invert(_less(k, value, element)) if right else _less(k, element, value)

    known = isinstance(size, int) and size > 0
    with nullcontext() if known else k.guarded(k.less(zero, k.size(size))):
        before = goes_before(Affine((), power - 1))
    found = k.declare(k.where(before, k.size(size - power + 1), zero))
    with k.loop(_halvings(floordiv(size, 2))) as turn:
        start, step = k.read(found), k.shift_right(k.size(power), k.add(turn, one))
        before = goes_before(k.index(k.add(start, k.subtract(step, one))))
        k.assign(found, k.add(start, k.where(before, step, zero)))
    return k.read(found)


def _less(k: Any, x: Any, y: Any) -> Any:
    """Whether x is before y in an order: NaN is the last."""
    below = k.less(x, y)
    if not x.dtype.is_float:
        return below
    return k.bitwise_or(below, k.bitwise_and(k.is_nan(y), k.bitwise_invert(k.is_nan(x))))


def _batched_search(
    context: Batch, x: Tensor, v: Tensor, *, right: bool, batch: int = 0
) -> Tensor:
    if not (context.has(0) or batch):
        return apply(SEARCH, (x, v), right=right).output()
    x, v = (t if context.has(i) else context.spread(t) for i, t in enumerate((x, v)))
    return apply(SEARCH, (x, v), right=right, batch=batch + 1).output()


SEARCH = register(
    Op(
        "searchsorted",
        Kind.MAP,
        _infer_search,
        numpy=_numpy_search,
        at=_search_at,
        batched=_batched_search,
        facts=frozenset({Fact.EXACT}),
        cost=200,
        differentiable=False,
        doc="How many elements of a sorted vector go before each value.",
    )
)


def searchsorted(
    x1: Any, x2: Any, /, side: str = "left", sorter: Any = None
) -> Tensor:
    """Where each of `x2` belongs in the sorted vector `x1`: how many elements are less, or with
    side="right" not greater. Of several vectors each has values of its own.

    `sorter` says where the elements are in order, as `argsort` does. NaN is larger than all
    numbers. A vector that is not sorted gives numbers in [0, n], but which is not said.
    Shapes: [n], any, or [*b, n], [*b, m] -> as x2, int64. Errors: `ShapeError`, `ArgumentError`.

    >>> import graphc as gc
    >>> gc.evaluate(gc.searchsorted([1, 2, 2, 5], [2, 6]))
    array([1, 4])
    """
    t, v = operands("searchsorted", x1, x2)
    if side not in SIDES:
        raise ArgumentError(
            "no side", op="searchsorted", expected="'left' or 'right'", given=repr(side)[:80]
        )
    if t.ndim == 0 or (t.ndim > 1 and v.ndim != t.ndim):
        raise ShapeError(
            "no vector, and not one for each row of the values", op="searchsorted",
            expected="[n] and any, or [*b, n] and [*b, m]", given=f"{t.type} and {v.type}",
        )  # fmt: skip
    if sorter is not None:
        t = take(t, sorter) if t.ndim == 1 else take_along_axis(t, sorter)
    batch = {"batch": t.ndim - 1} if t.ndim > 1 else {}
    return apply(SEARCH, (t, v), right=side == "right", **batch).output()


def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    """Which of the intervals between `bins` each element is in: i where bins[i-1] <= x < bins[i],
    or with `right` where bins[i-1] < x <= bins[i].

    Bins are increasing, or decreasing where they are known: then bins[i-1] > x >= bins[i]. Shapes:
    any, [n] -> as x, int64. Errors: `ArgumentError` for known bins that are neither.
    """
    t, edges = tensor(x, "digitize"), tensor(bins, "digitize")
    side = "left" if right else "right"
    source = edges.node.inputs[0].node if edges.weak and edges.node.inputs else edges.node
    if Fact.CONSTANT in source.op.facts and edges.ndim == 1:
        known = source.attrs["value"].array
        steps = known[1:] >= known[:-1], known[1:] <= known[:-1]
        if not steps[0].all():
            if not steps[1].all():
                raise ArgumentError(
                    "bins in no order", op="digitize", expected="increasing or decreasing numbers",
                    given=str(known)[:80],
                )  # fmt: skip
            count = size_as_tensor(edges.size, int64)
            return subtract(count, searchsorted(flip(edges), t, side))
    return searchsorted(edges, t, side)


def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: str | None = None,
) -> Tensor:
    """Whether each element is one of `test_elements`; with `invert`, whether it is none. NaN is
    none of them. `assume_unique` and `kind` say how NumPy is to compute it, and change nothing.

    Shapes: any, any -> as `element`. Errors: `DTypeError` for complex numbers.
    """
    t, among = operands("isin", element, test_elements)
    ordered = sort(reshape(among, (among.size,)))
    before, behind = (searchsorted(ordered, t, side) for side in SIDES)
    found = less(before, behind)  # how many are equal, where NaN is equal to NaN
    found = logical_and(found, logical_not(isnan(t))) if t.dtype.has_derivative else found
    return logical_not(found) if invert else found


FUNCTIONS |= {f.__name__: f for f in (searchsorted, digitize, isin)}
