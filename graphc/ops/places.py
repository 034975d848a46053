"""Elements at places that several integer tensors say, read and written.

`gather` reads by one index tensor for each of some axes; `scatter_...` accumulate updates at such
places, one after another, so that their results are always the same bits. An index out of range is
a failure of the run. (`take` in `gather.py` reads along one axis.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.conditions import agree, require_elements
from graphc.ir.dim import Size, dim, product
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.dtype import float64, int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Batch, Fact, Index, Indices, Kind, Op, register, registry
from graphc.ir.shape import (
    Shape,
    TensorType,
    broadcast,
    common,
    normalize_axis,
    show,
    strides,
)
from graphc.ops.build import cast, constant, scalar_like, size_as_tensor, tensor
from graphc.ops.create import iota
from graphc.ops.elementwise import (
    add,
    divide,
    equal,
    floor_divide,
    less,
    maximum,
    minimum,
    multiply,
    remainder,
    where,
)
from graphc.ops.gather import checked_index, indices_along
from graphc.ops.reduce import Reducer, highest, lowest
from graphc.ops.scalar import masked_multiply, project
from graphc.ops.shape import broadcast_to, permute_dims, reshape, unit_axes_behind_first

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- places ----------------------------------------------------------------------------------------
# `places` says for each axis of x what its index is: n >= 0, that of axis n of the result; -1 - j,
# what index tensor j says. The axes of the index tensors, broadcast, are those of the result from
# `start` on.
def _infer_gather(
    x: TensorType, *indices: TensorType, places: tuple[int, ...], start: int
) -> tuple[TensorType, ...]:
    block = _block(indices)
    _require_elements(x.shape, block, places)
    others = [p for p in places if p >= 0 and not start <= p < start + len(block)]
    shape: list[Size] = [0] * (len(block) + len(others))
    shape[start : start + len(block)] = block
    for size, place in zip(x.shape, places, strict=True):
        if place in others:
            shape[place] = size
        elif place >= 0:
            if not agree(size, shape[place]):
                raise ShapeError(
                    "indices do not fit the other axes",
                    op="gather",
                    expected=f"size {size} on axis {place - start}",
                    given=show(block),
                )
            shape[place] = common(shape[place], size)
    return (TensorType(x.dtype, tuple(shape)),)


def _require_elements(shape: Shape, block: Shape, places: tuple[int, ...]) -> None:
    for size, place in zip(shape, places, strict=True):
        if place < 0:
            require_elements(size, product(block))


def _block(indices: Sequence[TensorType]) -> Shape:
    for t in indices:
        if not t.dtype.is_integer:
            raise DTypeError(
                "indices are integers",
                op="gather",
                expected="an integer dtype",
                given=t.dtype.name,
                hint="use .astype('int64')",
            )
    return broadcast("gather", *(t.shape for t in indices))


def _place(
    k: Any, indices: Any, index: Index, shape: Shape, block: Shape, places: Any, start: int
) -> Index:
    """The index into x of what belongs to `index` of the result."""
    inner = index[start : start + len(block)]
    result = []
    for size, place in zip(shape, places, strict=True):
        if place >= 0:
            result.append(index[place])
        else:
            said = indices[-1 - place]
            result.append(
                checked_index(k, said(project(inner, said.type, TensorType(int64, block))), size)
            )
    return tuple(result)


def _gather_at(
    k: Any, operands: Any, index: Any, out: TensorType, *, places: Any, start: int
) -> Any:
    x, *indices = operands
    rank = max(i.type.rank for i in indices)
    block = out.shape[start : start + rank]
    return x(_place(k, indices, index, x.type.shape, block, places, start))


def _numpy_places(
    shape: Any, indices: Any, result: Any, places: Any, start: int
) -> tuple[Any, ...]:
    """Arrays that index x, of the result's shape when they are broadcast."""
    block = np.broadcast_shapes(*(i.shape for i in indices))
    found = []
    for size, place in zip(shape, places, strict=True):
        if place >= 0:
            at = np.arange(result[place])
            found.append(at.reshape([-1 if a == place else 1 for a in range(len(result))]))
        else:
            said = np.broadcast_to(indices[-1 - place], block).astype(np.int64)
            if said.size and (said.min() < -size or said.max() >= size):
                raise IndexError(indices_along(0, size).message)
            after = len(result) - start - len(block)
            found.append(said.reshape((1,) * start + block + (1,) * after))
    return tuple(found)


def _indices(first: int, shape: Shape, places: Sequence[int], of: Shape | None) -> list[Indices]:
    """The operands of indices, from the `first` one on."""
    pairs = [(axis, p) for axis, p in enumerate(places) if p < 0]
    return [indices_along(first - 1 - p, shape[a], None if of is None else a) for a, p in pairs]


def _numpy_gather(x: Any, *indices: Any, places: Any, start: int) -> Any:
    block = np.broadcast_shapes(*(i.shape for i in indices))
    kept = {p: s for p, s in zip(places, x.shape, strict=True) if p >= 0}
    others = [p for p in kept if not start <= p < start + len(block)]
    result = [0] * (len(block) + len(others))
    result[start : start + len(block)] = block
    for p in others:
        result[p] = kept[p]
    found = x[_numpy_places(x.shape, indices, result, places, start)]
    return np.broadcast_to(found, result).copy()


def _gather_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, *indices: Tensor, places: Any, start: int
) -> list[Any]:
    attrs = {"places": places, "start": start, "shape": x.shape}
    return [apply(SCATTER_SUM, (*indices, g), **attrs).output(), *(None for _ in indices)]


# -- one more axis in front ------------------------------------------------------------------------
def _one_more(places: Sequence[int], by_x: bool) -> tuple[int, ...]:
    """The places where one more axis is in front of the result; `by_x`, and of x, too."""
    moved = (p + 1 if p >= 0 else p for p in places)
    return (0, *moved) if by_x else tuple(moved)


def _block_first(places: Sequence[int], start: int, rank: int) -> tuple[tuple[int, ...], list[int]]:
    """The places where the block of the index tensors is first in the result, and the order of axes
    that makes the former result of that one."""
    kept = [p for p in places if p >= 0 and not start <= p < start + rank]
    order = [*range(start, start + rank), *sorted(kept)]  # of the former, those of the new one
    back = sorted(range(len(order)), key=order.__getitem__)
    return tuple(order.index(p) if p >= 0 else p for p in places), back


def _aligned(context: Batch, indices: Sequence[Tensor], first: int) -> tuple[list[Tensor], int]:
    """The index tensors, those with the new axis by axes of size 1 up to the others' rank, and the
    rank that they have without it."""
    has = [context.has(first + j) for j in range(len(indices))]
    rank = max(i.ndim - h for i, h in zip(indices, has, strict=True))
    pairs = zip(indices, has, strict=True)
    return [unit_axes_behind_first(i, rank + 1) if h else i for i, h in pairs], rank


def _batched_gather(
    context: Batch, x: Tensor, *indices: Tensor, places: tuple[int, ...], start: int
) -> Tensor:
    aligned, rank = _aligned(context, indices, 1)
    if not any(context.has(1 + j) for j in range(len(indices))):
        return gather(x, indices, _one_more(places, True), start + 1)
    first, back = _block_first(places, start, rank)
    found = gather(x, aligned, _one_more(first, context.has(0)), 0)
    return permute_dims(found, [0, *(1 + a for a in back)])


def _batched_scatter(op: str) -> Callable[..., Tensor]:
    def rule(
        context: Batch, *operands: Tensor, places: tuple[int, ...], start: int, shape: Shape
    ) -> Tensor:
        *indices, updates = operands
        aligned, rank = _aligned(context, indices, 0)
        own = registry()[op]
        wide = (context.size, *shape)
        updates = updates if context.has(len(indices)) else context.spread(updates)
        if not any(map(context.has, range(len(indices)))):
            return scatter(own, indices, updates, wide, _one_more(places, True), start + 1)
        first, back = _block_first(places, start, rank)
        order = sorted(range(len(back)), key=back.__getitem__)
        moved = permute_dims(updates, [0, *(1 + a for a in order)])
        return scatter(own, aligned, moved, wide, _one_more(first, True), 0)

    return rule


GATHER = register(
    Op(
        "gather",
        Kind.MAP,
        _infer_gather,
        numpy=_numpy_gather,
        vjp=_gather_vjp,
        at=_gather_at,
        indices=lambda x, *_, places, start: _indices(1, x.shape, places, x.shape),
        batched=_batched_gather,
        facts=frozenset({Fact.PICKS}),
        cost=6,
        may_fail=True,
        doc="Elements at places that an integer tensor for each of some axes says.",
    )
)


def gather(x: Tensor, indices: Sequence[Tensor], places: Sequence[int], start: int) -> Tensor:
    """The elements of `x` at `places` (as this file says above)."""
    return apply(GATHER, (x, *indices), places=tuple(places), start=start).output()


# -- scatters: the transposes ----------------------------------------------------------------------
class _Scatter(Reducer):
    """Accumulates each update at its place. `last` keeps the last one of a place."""

    scatters = True

    def space(self, types: Any, **attrs: Any) -> Shape:
        shape: Shape = types[-1].shape
        return shape

    def target(self, k: Any, values: Any, index: Any, **attrs: Any) -> Any:
        *indices, updates = values
        rank = max(i.type.rank for i in indices)
        start, places = attrs["start"], attrs["places"]
        block = updates.type.shape[start : start + rank]
        return _place(k, indices, index, attrs["shape"], block, places, start)

    def element(self, k: Any, values: Any, index: Any, **attrs: Any) -> Any:
        return values[-1](index)


class _Last(_Scatter):
    def step(self, k: Any, total: Any, element: Any) -> Any:
        return element


def _infer_scatter(
    *types: TensorType, places: tuple[int, ...], start: int, shape: Shape
) -> tuple[TensorType, ...]:
    *indices, updates = types
    x = TensorType(updates.dtype, shape)
    (made,) = _infer_gather(x, *indices, places=places, start=start)
    if len(made.shape) != updates.rank or not all(map(agree, made.shape, updates.shape)):
        raise ShapeError(
            "an update for each place", op="scatter", expected=str(made), given=str(updates)
        )
    return (x,)


def _scatter(
    name: str, numpy: Any, primitive: str, identity: Any, kinds: str, vjp: Any, doc: str,
    facts: frozenset[Fact] = frozenset(),
) -> Op:
    def infer(*types: TensorType, **attrs: Any) -> tuple[TensorType, ...]:
        if types[-1].dtype.kind not in kinds:
            raise DTypeError("no numbers", op=name, given=types[-1].dtype.name)
        return _infer_scatter(*types, **attrs)

    def meaning(*arrays: Any, places: Any, start: int, shape: Any) -> Any:
        *indices, updates = arrays
        kind = float64 if updates.dtype.kind == "f" else to_dtype(updates.dtype)  # of 80 bits too
        result = np.full(shape, identity(kind), updates.dtype)
        at = _numpy_places(shape, indices, updates.shape, places, start)
        numpy(result, tuple(np.broadcast_to(i, updates.shape) for i in at), updates)
        return result

    reducer = (_Scatter if primitive else _Last)(primitive, identity)
    return register(
        Op(
            name,
            Kind.REDUCE,
            infer,
            numpy=meaning,
            vjp=vjp,
            reducer=reducer,
            indices=lambda *_, places, start, shape: _indices(0, shape, places, None),
            batched=_batched_scatter(name),
            facts=facts,
            may_fail=True,
            doc=doc,
        )
    )


def _read(g: Tensor, indices: Sequence[Tensor], attrs: Any) -> Tensor:
    return gather(g, indices, attrs["places"], attrs["start"])


def _cotangents(indices: Sequence[Tensor], slope: Tensor) -> list[Any]:
    return [*(None for _ in indices), slope]


def _sum_vjp(context: Any, g: Tensor, out: Tensor, *operands: Tensor, **attrs: Any) -> list[Any]:
    *indices, _ = operands
    return _cotangents(indices, _read(g, indices, attrs))


def _extremum_vjp(
    context: Any, g: Tensor, out: Tensor, *operands: Tensor, **attrs: Any
) -> list[Any]:
    """g shared equally by the updates that are the extremum."""
    *indices, updates = operands
    chosen = equal(updates, _read(out, indices, attrs))
    count = apply(SCATTER_SUM, (*indices, cast(chosen, g.dtype)), **attrs).output()
    share = divide(_read(g, indices, attrs), _read(count, indices, attrs))
    return _cotangents(indices, where(chosen, share, scalar_like(0, g)))


def _product_vjp(
    context: Any, g: Tensor, out: Tensor, *operands: Tensor, **attrs: Any
) -> list[Any]:
    """g times the product of the other updates of a place, also where some are zero."""
    *indices, updates = operands
    zero, one = scalar_like(0, updates), scalar_like(1, updates)
    is_zero = equal(updates, zero)
    factors = where(is_zero, one, updates)
    count = apply(SCATTER_SUM, (*indices, cast(is_zero, g.dtype)), **attrs).output()
    zeros_there = _read(count, indices, attrs)
    rest = _read(apply(SCATTER_PROD, (*indices, factors), **attrs).output(), indices, attrs)
    of_zero = where(equal(zeros_there, one), rest, zero)
    of_others = where(equal(zeros_there, zero), divide(rest, factors), zero)
    slope = context.guarded(_read(g, indices, attrs))
    return _cotangents(indices, masked_multiply(slope, where(is_zero, of_zero, of_others)))


def _last_vjp(context: Any, g: Tensor, out: Tensor, *operands: Tensor, **attrs: Any) -> list[Any]:
    """g to the update that was the last of its place."""
    *indices, updates = operands
    numbers = broadcast_to(reshape(iota((updates.size,)), updates.shape), updates.shape)
    last = apply(SCATTER_LAST, (*indices, numbers), **attrs).output()
    wins = equal(numbers, _read(last, indices, attrs))
    slope = where(wins, _read(g, indices, attrs), scalar_like(0, g))
    return _cotangents(indices, slope)


def _assign(result: Any, at: Any, updates: Any) -> None:
    for place in np.ndindex(updates.shape):  # one after another: NumPy promises no order
        result[tuple(a[place] for a in at)] = updates[place]


SCATTER_SUM = _scatter(
    "scatter_sum", np.add.at, "add", lambda dtype: 0, "iuf", _sum_vjp,
    "The sum of the updates of each place, 0 of none.", frozenset({Fact.BY_PARTS}),
)  # fmt: skip
SCATTER_PROD = _scatter(
    "scatter_prod", np.multiply.at, "multiply", lambda dtype: 1, "iuf", _product_vjp,
    "The product of the updates of each place, 1 of none.",
)  # fmt: skip
SCATTER_MAX = _scatter(
    "scatter_max", np.maximum.at, "maximum", lowest, "biuf", _extremum_vjp,
    "The largest update of each place; of none, the least number of the dtype.",
)  # fmt: skip
SCATTER_MIN = _scatter(
    "scatter_min", np.minimum.at, "minimum", highest, "biuf", _extremum_vjp,
    "The smallest update of each place; of none, the largest number of the dtype.",
)  # fmt: skip
SCATTER_LAST = _scatter(
    "scatter_last", _assign, "", lambda dtype: 0, "biuf", _last_vjp,
    "The last update of each place, in row-major order of the updates; 0 of none.",
    frozenset({Fact.PICKS}),
)  # fmt: skip


def scatter(
    op: Op, indices: Sequence[Tensor], updates: Tensor, shape: Shape, places: Any, start: int
) -> Tensor:
    """The `updates` accumulated at `places` (as this file says above) of a new tensor."""
    attrs = {"places": tuple(places), "start": start, "shape": shape}
    return apply(op, (*indices, updates), **attrs).output()


def updated(
    x: Tensor, how: str, indices: Sequence[Tensor], value: Tensor, places: Any, start: int
) -> Tensor:
    """`x` with the elements at `places` changed by `value`, which has a value for each of them.

    how: "set" (the last one stays), "add", "multiply", "min" or "max".
    """

    def scattered(op: Op, updates: Tensor) -> Tensor:
        return scatter(op, indices, updates, x.shape, places, start)

    if how == "set":
        touched = scattered(SCATTER_MAX, broadcast_to(constant(True), value.shape))
        return where(touched, scattered(SCATTER_LAST, value), x)
    op, combine = {
        "add": (SCATTER_SUM, add), "multiply": (SCATTER_PROD, multiply),
        "min": (SCATTER_MIN, minimum), "max": (SCATTER_MAX, maximum),
    }[how]  # fmt: skip
    return combine(x, scattered(op, value))


# -- along an axis ---------------------------------------------------------------------------------
def _along(op: str, x: Tensor, indices: Any, axis: int) -> tuple[Tensor, Tensor, list[int]]:
    """x and the indices, stretched against each other off the axis, and the places."""
    i = tensor(indices, op)
    if i.ndim != x.ndim:
        raise ShapeError(
            "the indices need as many axes as the tensor",
            op=op,
            expected=f"{x.ndim} axes",
            given=show(i.shape),
        )

    def without(shape: Shape) -> Shape:
        return tuple(1 if a == axis else s for a, s in enumerate(shape))

    shape = broadcast(op, without(x.shape), without(i.shape))

    def stretched(t: Tensor) -> Tensor:
        wide = tuple(t.shape[axis] if a == axis else s for a, s in enumerate(shape))
        return broadcast_to(t, wide)

    places = [-1 if a == axis else a for a in range(x.ndim)]
    return stretched(x), stretched(i), places


def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Tensor:
    """`x[..., indices[..., j, ...], ...]` along `axis`, at the same place of all others.

    Shapes: x [..., n, ...], indices [..., m, ...] -> as the indices; the others broadcast. Without
    an axis (None), of all elements. Errors: `ShapeError`; a `RuntimeFailure` at the call for an
    index out of range.

    >>> import graphc as gc
    >>> gc.evaluate(gc.take_along_axis([[3, 1], [4, 5]], [[1], [0]], axis=1))
    array([[1],
           [4]])
    """
    t = tensor(x, "take_along_axis")
    if axis is None:
        t, axis = reshape(t, (t.size,)), 0
    axis = normalize_axis("take_along_axis", axis, t.ndim)
    t, i, places = _along("take_along_axis", t, indices, axis)
    return gather(t, [i], places, 0)


def put_along_axis(x: Any, indices: Any, values: Any, axis: int | None = -1) -> Tensor:
    """`x` with `values` at the places that `take_along_axis` reads: the last value of a place.

    Shapes: values that broadcast to the indices -> as x. Errors: as `take_along_axis`.
    """
    t = tensor(x, "put_along_axis")
    if axis is None:
        return reshape(put_along_axis(reshape(t, (t.size,)), indices, values, 0), t.shape)
    axis = normalize_axis("put_along_axis", axis, t.ndim)
    t, i, places = _along("put_along_axis", t, indices, axis)
    value = broadcast_to(cast(tensor(values, "put_along_axis"), t.dtype), i.shape)
    return updated(t, "set", [i], value, places, 0)


# -- where elements are ----------------------------------------------------------------------------
def _numpy_flatnonzero(x: Any, *, size: int) -> Any:
    found = np.flatnonzero(x)[:size]
    return np.concatenate([found, np.full(size - found.size, -1)]).astype(np.int64)


FLATNONZERO = register(
    Op(
        "flatnonzero",
        Kind.HOST,
        lambda x, *, size: (TensorType(int64, (size,)),),
        numpy=_numpy_flatnonzero,
        differentiable=False,
        doc="The first `size` positions in row-major order of elements that are not 0, then -1.",
    )
)


def _positions(op: str, x: Tensor, size: Any) -> Tensor:
    if size is None:
        raise ArgumentError(
            "how many elements are not 0 is not known yet",
            op=op,
            expected=f"{op}(x, size=...): how many places the result has",
            hint="gc.where(x != 0, x, y) keeps the shape",
        )
    return apply(FLATNONZERO, (x,), size=dim(size)).output()


def flatnonzero(x: Any, *, size: Any = None, fill_value: int = 0) -> Tensor:
    """The positions (int64) in row-major order of elements that are not 0: the first `size` of
    them, then `fill_value` where there are fewer. Errors: `ArgumentError` without a size."""
    found = _positions("flatnonzero", tensor(x, "flatnonzero"), size)
    return where(less(found, 0), fill_value, found)


def nonzero(x: Any, /, *, size: Any = None, fill_value: int = 0) -> tuple[Tensor, ...]:
    """The places of elements that are not 0: for each axis a vector of indices (int64).

    The first `size` of them in row-major order, then `fill_value` where there are fewer.
    Errors: `ArgumentError` without a size; `ShapeError` for a scalar.
    """
    t = tensor(x, "nonzero")
    if t.ndim == 0:
        raise ShapeError("a scalar has no axes", op="nonzero", expected="rank 1 or more")
    found = _positions("nonzero", t, size)
    none = less(found, 0)
    result = []
    for extent, step in zip(t.shape, strides(t.shape), strict=True):
        at = floor_divide(found, size_as_tensor(step, int64))
        at = remainder(at, size_as_tensor(extent, int64))
        result.append(where(none, fill_value, at))
    return tuple(result)


FUNCTIONS |= {
    f.__name__: f for f in (take_along_axis, put_along_axis, flatnonzero, nonzero)
}
NUMPY: dict[str, Callable[..., Any] | None] = {"put_along_axis": None}  # which writes into x
