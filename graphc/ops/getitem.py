"""`x[key]`: what a key selects, as NumPy has it, and reading that.

A key is read once into a `Selection`; `at.py` writes by the same one. What a mask selects has no
size that is known, so that it can be reduced only (`Selected`) or written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, OutOfRangeError, ShapeError, SymbolicValueError
from graphc.ir.bounds import never
from graphc.ir.dim import Dim, Size, difference, floordiv, maximum, minimum, mod
from graphc.ir.dtype import bool_, int64
from graphc.ir.node import Tensor
from graphc.ir.op import Fact
from graphc.ir.operators import function
from graphc.ir.shape import Shape, normalize_axis, show
from graphc.ops import dynamic
from graphc.ops.build import constant, tensor
from graphc.ops.gather import take
from graphc.ops.index import strided_slice
from graphc.ops.places import gather
from graphc.ops.shape import flip, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


class Selection(NamedTuple):
    """What a key without masks selects of a tensor. In this order: of what is before `ends`, every
    `steps`-th element from `starts` on, `sizes` of them; along the axes of `moving` those from a
    tensor on; with the axes `flips` reversed; in another `shape`, without the axes of ints and with
    those of None; and of that, along the axes of `arrays`, what index tensors say, whose own axes
    are in the result from `start` on."""

    ends: Shape
    starts: Shape
    sizes: Shape
    steps: tuple[int, ...]
    moving: tuple[tuple[int, Tensor, Size], ...]
    flips: tuple[int, ...]
    shape: Shape
    arrays: tuple[tuple[int, Tensor], ...]
    start: int

    @property
    def extents(self) -> Shape:
        """The sizes of what is read before axes come and go."""
        lengths = {axis: length for axis, _, length in self.moving}
        return tuple(lengths.get(a, s) for a, s in enumerate(self.sizes))

    @property
    def places(self) -> list[int]:
        """The places of `gather`, for the index tensors."""
        numbers = {axis: -1 - j for j, (axis, _) in enumerate(self.arrays)}
        rank = max(i.ndim for _, i in self.arrays)
        kept = (c if c < self.start else c + rank for c in range(len(self.shape)))
        return [numbers[a] if a in numbers else next(kept) for a in range(len(self.shape))]

    def first(self, axes: int) -> list[Tensor]:
        """A start for each axis: 0 but for those of `moving`."""
        starts = {axis: start for axis, start, _ in self.moving}
        return [starts.get(a, constant(0, int64)) for a in range(axes)]


def view(t: Tensor, found: Selection) -> Tensor:
    """What is selected, but for the index tensors."""
    # What is before the ends has sizes, which have to be >= 0: so the ends are stated, too.
    ended = strided_slice(t, (0,) * t.ndim, found.ends, (1,) * t.ndim)
    part = strided_slice(ended, found.starts, found.sizes, found.steps)
    if found.moving:
        part = dynamic.read(part, found.first(t.ndim), found.extents)
    return reshape(flip(part, found.flips) if found.flips else part, found.shape)


def read(t: Tensor, found: Selection) -> Tensor:
    """What is selected."""
    part = view(t, found)
    if not found.arrays:
        return part
    axis, index = found.arrays[0]
    if len(found.arrays) == 1 and found.start == axis:
        return take(part, index, axis)
    return gather(part, [i for _, i in found.arrays], found.places, found.start)


def getitem(x: Any, key: Any) -> Any:
    """`x[key]` for ints, sizes, slices, `None`, `...`, and integer tensors or arrays, as NumPy.

    A negative int counts from the end, as in NumPy. A size (`n - 1` for `n = x.shape[0]`) is always
    a position counted from the start: a bound of a slice beyond the end is the end, as in NumPy.
    The bounds of a slice may be tensors if its length is known: `x[i : i + 3]`. A mask that is
    known here gives the elements where it holds; one that is a tensor a `Selected`, to reduce.
    Errors: `OutOfRangeError` for too many indices or an index out of range, `ShapeError` for a
    bound that is a negative size (at the call where that depends on named dims or on the values of
    tensors); `ArgumentError` for another kind of index.
    """
    t = tensor(x, "getitem")
    truth = _truth(key)
    if truth is not None:  # a new axis with all, or with nothing
        whole = reshape(t, (1, *t.shape))
        return whole if truth else whole[0:0]
    mask = mask_of(t, key)
    return read(t, select(t, key)) if mask is None else function("_selected")(t, mask)


# -- reading a key ---------------------------------------------------------------------------------
def mask_of(t: Tensor, key: Any) -> Tensor | None:
    """The key, if it is a mask whose values are not known here, or a truth value."""
    (only,) = key if isinstance(key, tuple) and len(key) == 1 else (key,)
    truth = _truth(only)
    if truth is not None:
        return constant(truth, bool_)
    if not isinstance(only, Tensor) or only.dtype is not bool_:
        return None
    if only.ndim > t.ndim:
        raise ShapeError(
            "a mask has some of the first axes of what it selects from",
            op="getitem",
            expected=f"up to {t.ndim} axes",
            given=show(only.shape),
        )
    return only


def _truth(key: Any) -> bool | None:
    """The key, if it is one truth value that is known."""
    if isinstance(key, (bool, np.bool_)):
        return bool(key)
    scalar = isinstance(key, np.ndarray) and key.dtype == np.bool_ and key.ndim == 0
    return bool(key) if scalar else None


def select(t: Tensor, key: Any) -> Selection:
    """What the key selects of the tensor. Errors: as `getitem`."""
    items: list[Any] = []
    for item in key if isinstance(key, tuple) else (key,):
        items += _indices_of_mask(item)
    consumed = sum(1 for item in items if item is not None and item is not Ellipsis)
    if consumed > t.ndim:
        raise OutOfRangeError(
            "too many indices", op="getitem", expected=f"at most {t.ndim}", given=str(consumed)
        )
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ArgumentError("only one ... is allowed", op="getitem", given=repr(key))
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [slice(None)] * (t.ndim - consumed)
    return _select(t, items)


class _OfMask(NamedTuple):
    """Where a mask that is known holds, along one of its axes, and the size of that."""

    places: np.ndarray[Any, Any]
    size: int


def _indices_of_mask(item: Any) -> list[Any]:
    """The item; for a mask that is known, for each of its axes where it holds."""
    if not isinstance(item, (np.ndarray, list)):
        return [item]
    try:
        array = np.asarray(item)
    except (SymbolicValueError, ValueError):
        return [item]  # of tensors, or ragged: an error that says so follows
    if array.dtype != np.bool_ or array.ndim == 0:
        return [item]
    return [_OfMask(i, size) for i, size in zip(np.nonzero(array), array.shape, strict=True)]


def _select(t: Tensor, items: list[Any]) -> Selection:
    ends: list[Size] = []
    starts: list[Size] = []
    sizes: list[Size] = []
    steps: list[int] = []
    flips: list[int] = []
    shape: list[Size] = []
    moving: list[tuple[int, Tensor, Size]] = []
    arrays: list[tuple[int, Tensor]] = []
    by_index: list[int] = []  # which items are ints or arrays
    for number, given in enumerate(items):
        item = given
        if item is None:
            shape.append(1)
            continue
        axis = len(starts)
        end = size = t.shape[axis]
        start: Size
        count: Size
        step = 1
        if isinstance(item, _OfMask):
            if item.size != size:
                raise OutOfRangeError(
                    "a mask has the size of the axis that it is of",
                    op="getitem",
                    expected=f"{size} on axis {axis}",
                    given=str(item.size),
                    hint="" if isinstance(size, int) else "a mask that is a tensor may have it",
                )
            item = item.places
        if isinstance(item, slice):
            span = _span(item, size)
            if span is not None:
                start, count = 0, size
                moving.append((axis, *span))
                shape.append(span[1])
            else:
                end, start, count, step = _resolve_slice(item, size)
                if step < 0:
                    flips.append(axis)
                    start, step = start + (count - 1) * step, -step
                shape.append(count)
        else:
            by_index.append(number)
            if isinstance(item, Dim):
                start, count = _position(item, size), 1
            elif isinstance(item, (Tensor, np.ndarray, list)):
                start, count = 0, size
                arrays.append((len(shape), _index_tensor(item)))
                shape.append(count)
            elif hasattr(item, "__index__") and not isinstance(item, (bool, np.bool_)):
                start, count = _resolve_int(item, size, axis), 1
            else:
                raise ArgumentError(
                    "cannot index by this",
                    op="getitem",
                    expected="ints, slices, None, ... and integer tensors",
                    given=repr(item)[:80],
                )
        ends.append(end)
        starts.append(start)
        sizes.append(count)
        steps.append(step)
    return Selection(
        tuple(ends),
        tuple(starts),
        tuple(sizes),
        tuple(steps),
        tuple(moving),
        tuple(flips),
        tuple(shape),
        tuple(arrays),
        _start(arrays, by_index),
    )


def _index_tensor(item: Any) -> Tensor:
    """Errors: `ArgumentError` for a mask among other indices whose values are not known."""
    given = np.zeros(0, np.int64) if isinstance(item, list) and not item else item
    index = tensor(given, "getitem")
    if index.dtype is bool_:
        raise ArgumentError(
            "a mask that is a tensor stands alone",
            op="getitem",
            expected="ints, slices, None, ... and integer tensors",
            given=repr(item)[:80],
            hint="gc.where(mask, x, 0) keeps the shape",
        )
    return index


def _start(arrays: Sequence[tuple[int, Tensor]], by_index: Sequence[int]) -> int:
    """Where the axes of index tensors are in the result: where the first of ints and arrays is, if
    these are neighbours, else first."""
    if not arrays or any(b - a > 1 for a, b in pairwise(by_index)):
        return 0
    return arrays[0][0]


def _span(item: slice, size: Size) -> tuple[Tensor, Size] | None:
    """Where a slice between tensors begins and how long it is; None for one between numbers."""
    if not isinstance(item.start, Tensor) and not isinstance(item.stop, Tensor):
        return None
    pairs = [_base(b) if isinstance(b, Tensor) else (None, 0) for b in (item.start, item.stop)]
    (first, low), (last, high) = pairs
    if first is None or first is not last or item.step not in (None, 1) or high < low:
        raise ArgumentError(
            "how long a slice between tensors is has to be known",
            op="getitem",
            expected="x[i : i + 3] of one tensor i and a number",
            given=f"{item.start!r} : {item.stop!r}"[:120],
            hint="gc.dynamic_slice(x, [i], [3]) says the length by itself",
        )
    return dynamic.check_start(item.start, high - low, size), high - low


def _base(t: Tensor) -> tuple[Tensor | None, int]:
    """A tensor and a number whose sum is `t`."""
    offset = 0
    while t.node.op.name in ("add", "subtract"):
        left, right = t.node.inputs
        sign = -1 if t.node.op.name == "subtract" else 1
        if _number(right) is not None:
            t, offset = left, offset + sign * int(_number(right) or 0)
        elif _number(left) is not None and sign == 1:
            t, offset = right, offset + int(_number(left) or 0)
        else:
            break
    return t, offset


def _number(t: Tensor) -> int | None:
    is_number = Fact.CONSTANT in t.node.op.facts and not t.shape and t.dtype.is_integer
    return int(t.node.attrs["value"].array) if is_number else None


def _resolve_int(item: Any, size: Size, axis: int) -> Size:
    index = int(item.__index__())
    if isinstance(size, int) and not -size <= index < size:
        raise OutOfRangeError(
            "index out of range",
            op="getitem",
            expected=f"-{size} <= index < {size} on axis {axis}",
            given=str(index),
        )
    return index if index >= 0 else size + index


def _resolve_slice(item: slice, size: Size) -> tuple[Size, Size, Size, int]:
    """(end, start, count, step): of what is before `end`, the size of the axis unless the slice
    ends at a symbolic size, every `step`-th element from `start` on, `count` of them."""
    step = 1 if item.step is None else item.step
    if not isinstance(step, int) or step == 0:
        raise ArgumentError("a slice step is an int other than 0", op="getitem", given=repr(step))
    bounds = (item.start, item.stop)
    for bound in bounds:
        plain = hasattr(bound, "__index__") and not isinstance(bound, Tensor)
        if bound is not None and not isinstance(bound, Dim) and not plain:
            raise ArgumentError(
                "a slice bound is an int or a size",
                op="getitem",
                given=repr(item),
                hint="x[i : i + 3] takes a tensor i, as the length is known; gc.dynamic_slice too",
            )
    if isinstance(size, int) and not any(isinstance(b, Dim) for b in bounds):
        low, high, step = item.indices(size)
        return size, low, len(range(low, high, step)), step
    if step < 0:
        if bounds != (None, None):
            raise ArgumentError(
                "a bounded slice with a negative step needs a static size",
                op="getitem",
                given=f"{item} of an axis of size {size}",
            )
        return size, size - 1, floordiv(size + (-step - 1), -step), step
    first = 0 if item.start is None else _position(item.start, size)
    stop = size if item.stop is None else _position(item.stop, size)
    if not _from_end(item.stop):
        stop = minimum(stop, size)
    end = stop if isinstance(item.stop, Dim) else size
    # A start beyond the end leaves nothing, clamped or not: unclamped, x[1:] is as long as x[:-1].
    length = maximum(difference(stop, first), 0)
    start = first if end is size and _from_end(item.start) else minimum(first, end)
    return end, start, floordiv(length + (step - 1), step), step


def _from_end(bound: Any) -> bool:
    """Whether a bound counts from the end: such a position is never beyond it."""
    return bound is not None and not isinstance(bound, Dim) and bound.__index__() < 0


def _position(bound: Any, size: Size) -> Size:
    """Where a bound of a slice is: a negative int counts from the end, a size never does."""
    if _from_end(bound):
        return maximum(size + int(bound.__index__()), 0)
    if not isinstance(bound, Dim):
        return int(bound.__index__())
    if never(bound):
        raise ShapeError(
            "a symbolic bound is a position counted from the start, and this one is negative",
            op="getitem",
            given=str(bound),
            hint="a literal such as -2 counts from the end, as n - 2 does for a size n",
        )
    return bound


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """`x` cut along `axis` into `sections` equal parts, or at the given positions.

    Errors: `ShapeError` where the size is not a multiple of `sections`; `ArgumentError` for
    `sections` of another kind, such as a symbolic number of parts.
    """
    t = tensor(x, "split")
    axis = normalize_axis("split", axis, t.ndim)
    size = t.shape[axis]
    if isinstance(sections, (int, np.integer)):
        sections = int(sections)
        if sections < 1 or mod(size, sections) != 0:
            raise ShapeError(
                "cannot be cut into equal parts",
                op="split",
                expected=f"a multiple of {sections}",
                given=f"axis {axis} of {show(t.shape)}",
            )
        part = floordiv(size, sections)
        cuts: list[Size] = [part * i for i in range(sections + 1)]
    elif isinstance(sections, (list, tuple, np.ndarray)):
        cuts = [0, *sections, size]
    else:
        raise ArgumentError(
            "neither a number of parts nor where to cut",
            op="split",
            expected="an int, or a list of positions",
            given=repr(sections)[:80],
        )
    prefix = (slice(None),) * axis
    return [
        getitem(t, (*prefix, slice(low, high))) for low, high in pairwise(cuts)
    ]



FUNCTIONS |= {f.__name__: f for f in (getitem, split)}
