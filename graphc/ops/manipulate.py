"""What moves, joins and cuts elements, by NumPy's names: `roll`, `tril`, `moveaxis`, `hstack`.

All but `roll` are made of the ops of `shape.py` and `index.py`, through which a kernel reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, OutOfRangeError, ShapeError
from graphc.ir import origin
from graphc.ir.dim import Dim, Size
from graphc.ir.dtype import bool_, int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Fact, Kind, Op, register
from graphc.ir.shape import (
    Shape,
    TensorType,
    broadcast,
    normalize_axis,
    several,
    shape_of,
    show,
    whole,
)
from graphc.ops.build import cast, operands, scalar_like, tensor
from graphc.ops.create import far, iota
from graphc.ops.elementwise import (
    add,
    clip,
    greater_equal,
    less,
    less_equal,
    logical_and,
    remainder,
    where,
)
from graphc.ops.ensure import ensure
from graphc.ops.gather import take
from graphc.ops.getitem import getitem, split
from graphc.ops.places import take_along_axis
from graphc.ops.shape import (
    broadcast_to,
    concat,
    expand_dims,
    flip,
    permute_dims,
    reshape,
    stack,
)

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- roll ------------------------------------------------------------------------------------------
def _roll_at(
    k: Any, values: Any, index: Any, out: TensorType, *, shifts: Shape, axes: tuple[int, ...]
) -> Any:
    """Read before the place, or, as there is nothing before the first, at the end of the axis. The
    last axis is read twice, so that neighbours stay neighbours; a kernel's inner loop is over it.
    """
    place = list(index)
    by_axis = dict(zip(axes, shifts, strict=True))
    last = max(axes)
    for axis in axes:
        position, moved, behind = _moved(k, index[axis], by_axis[axis], out.shape[axis])
        inside = k.greater_equal(position, behind)
        if axis != last:
            size = k.size(out.shape[axis])
            source = k.subtract(position, behind)
            place[axis] = k.index(k.where(inside, source, k.add(source, size)))
    with k.guarded(inside):
        place[last] = moved
        before = values[0](tuple(place))
    with k.guarded(k.bitwise_invert(inside)):
        place[last] = moved + out.shape[last]
        wrapped = values[0](tuple(place))
    return k.where(inside, before, wrapped)


def _moved(k: Any, i: Any, shift: Size, size: Size) -> tuple[Any, Any, Any]:
    """The number of an index, the index `shift` before it, and how far that is, in [0, size)."""
    if isinstance(shift, int) and isinstance(size, int):
        whole = shift % size if size else 0
        return k.number(i), i + -whole, k.const(whole, int64)
    behind = k.remainder(k.size(shift), k.size(size))
    return k.number(i), i + -k.index(behind), behind


def _roll_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, *, shifts: Shape, axes: tuple[int, ...]
) -> list[Any]:
    return [apply(ROLL, (g,), shifts=tuple(-s for s in shifts), axes=axes).output()]


ROLL = register(
    Op(
        "roll",
        Kind.MAP,
        lambda x, *, shifts, axes: (x,),
        numpy=lambda x, *, shifts, axes: np.roll(x, shifts, axes),
        vjp=_roll_vjp,
        at=_roll_at,
        axes={"axes": Axes.SEVERAL},
        facts=frozenset({Fact.PICKS}),
        cost=6,
        doc="The elements `shifts` places on along distinct axes; those at the end come first.",
    )
)


def roll(x: Any, shift: Any, axis: Any = None) -> Tensor:
    """The elements `shift` places on along `axis`, those at the end at the front.

    By several axes with a shift each, or one for all; without an axis along all elements.
    Errors: `ArgumentError` where the numbers of shifts and axes differ, or a shift is no int or
    size.

    >>> import graphc as gc
    >>> gc.evaluate(gc.roll([1, 2, 3, 4], 1))
    array([4, 1, 2, 3])
    """
    t = tensor(x, "roll")
    if axis is None:
        return reshape(roll(reshape(t, (t.size,)), shift, 0), t.shape)
    given, shifts = _listed(axis), _listed(shift)
    if len(given) != len(shifts) and 1 not in (len(given), len(shifts)):
        raise ArgumentError(
            "a shift for each axis",
            op="roll",
            expected=f"{len(given)} shifts",
            given=f"{len(shifts)}",
        )
    count = max(len(given), len(shifts)) if given and shifts else 0
    total: dict[int, Size] = {}
    for a, s in zip(given * (count // max(len(given), 1)), shifts * count, strict=False):
        if not isinstance(s, (int, np.integer, Dim)):
            raise ArgumentError(
                "not a shift", op="roll", expected="an int or a size", given=repr(s)
            )
        place = normalize_axis("roll", a, t.ndim)
        total[place] = total.get(place, 0) + (s if isinstance(s, Dim) else int(s))
    moves = {a: s for a, s in sorted(total.items()) if s != 0 and t.shape[a] not in (0, 1)}
    if not moves:
        return t
    return apply(ROLL, (t,), shifts=tuple(moves.values()), axes=tuple(moves)).output()


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


# -- axes ------------------------------------------------------------------------------------------
def moveaxis(x: Any, source: Any, destination: Any, /) -> Tensor:
    """`x` with the axes `source` (an int or several) at `destination`; the others keep their order.

    Errors: `OutOfRangeError`; `ShapeError` for an axis given twice or lists of different lengths.
    """
    t = tensor(x, "moveaxis")
    pairs = [
        [normalize_axis("moveaxis", a, t.ndim) for a in _listed(v)] for v in (source, destination)
    ]
    if len(pairs[0]) != len(pairs[1]) or any(len(set(p)) != len(p) for p in pairs):
        raise ShapeError(
            "not as many distinct places as axes",
            op="moveaxis",
            expected=f"{len(pairs[0])} distinct ones each",
            given=f"{source} to {destination}",
        )
    order = [a for a in range(t.ndim) if a not in pairs[0]]
    for place, a in sorted(zip(pairs[1], pairs[0], strict=True)):
        order.insert(place, a)
    return permute_dims(t, order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """`x` with two axes exchanged."""
    t = tensor(x, "swapaxes")
    first, second = (normalize_axis("swapaxes", a, t.ndim) for a in (axis1, axis2))
    order = list(range(t.ndim))
    order[first], order[second] = second, first
    return permute_dims(t, order)


def rollaxis(x: Any, axis: int, start: int = 0) -> Tensor:
    """`x` with `axis` before the axis that is at `start`."""
    t = tensor(x, "rollaxis")
    source = normalize_axis("rollaxis", axis, t.ndim)
    before = start + t.ndim if start < 0 else start
    if not 0 <= before <= t.ndim:
        raise OutOfRangeError(
            "axis out of range", op="rollaxis", expected=f"start <= {t.ndim}", given=str(start)
        )
    return moveaxis(t, source, before - 1 if source < before else before)


def ravel(x: Any, order: str = "C") -> Tensor:
    """All elements in row-major order, as a vector.

    Errors: `ArgumentError` for another order.
    """
    t = tensor(x, "ravel")
    if order not in ("C", "K", "A"):
        raise ArgumentError(
            "only row-major order", op="ravel", expected="order='C'", given=repr(order)
        )
    return reshape(t, (t.size,))


def _each(op: str, arrays: Sequence[Any], form: Callable[[Tensor], Tensor]) -> Any:
    """One tensor for one array, else a tuple of them."""
    found = tuple(form(tensor(a, op)) for a in arrays)
    return found[0] if len(found) == 1 else found


def _matrix(t: Tensor) -> Tensor:
    return reshape(t, (*(1,) * (2 - t.ndim), *t.shape)) if t.ndim < 2 else t


def _solid(t: Tensor) -> Tensor:
    shape: dict[int, Shape] = {0: (1, 1, 1), 1: (1, *t.shape, 1), 2: (*t.shape, 1)}
    return reshape(t, shape.get(t.ndim, t.shape))


def atleast_1d(*arrays: Any) -> Any:
    """The tensor, or each of several; a scalar as a vector of one element."""
    return _each("atleast_1d", arrays, lambda t: t if t.ndim else reshape(t, (1,)))


def atleast_2d(*arrays: Any) -> Any:
    """The tensor, or each of several, with axes of size 1 in front up to two axes."""
    return _each("atleast_2d", arrays, _matrix)


def atleast_3d(*arrays: Any) -> Any:
    """The tensor, or each of several, with three axes: [n] becomes [1, n, 1], [m, n] [m, n, 1]."""
    return _each("atleast_3d", arrays, _solid)


# -- broadcasting ----------------------------------------------------------------------------------
def broadcast_shapes(*shapes: Any) -> Shape:
    """The shape that shapes broadcast to; a shape may be an int.

    Errors: `ShapeError` where they do not.
    """
    return broadcast("broadcast_shapes", *(shape_of(s) for s in shapes)) if shapes else ()


def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """The arrays, each stretched to the shape that they broadcast to."""
    tensors = [tensor(a, "broadcast_arrays") for a in arrays]
    shape = broadcast("broadcast_arrays", *(t.shape for t in tensors)) if tensors else ()
    return [broadcast_to(t, shape) for t in tensors]


# -- triangles -------------------------------------------------------------------------------------
def _triangle(op: str, x: Any, k: int, keeps: Callable[..., Tensor]) -> Tensor:
    t = tensor(x, op)
    if t.ndim < 2:
        raise ShapeError("needs two axes", op=op, expected="(..., m, n)", given=show(t.shape))
    rows, columns = t.shape[-2:]
    row, column = iota((rows, 1), 0), iota((1, columns), 1)
    return where(keeps(column, add(row, far(k)) if k else row), t, scalar_like(0, t))


def tril(x: Any, /, *, k: int = 0) -> Tensor:
    """The lower triangles of matrices, zeros elsewhere: what is on diagonal `k` and below.

    Shapes: [..., m, n] -> the same. Errors: `ShapeError` for fewer than two axes.
    """
    return _triangle("tril", x, k, less_equal)


def triu(x: Any, /, *, k: int = 0) -> Tensor:
    """The upper triangles of matrices, zeros elsewhere: what is on diagonal `k` and above.

    Shapes: [..., m, n] -> the same. Errors: `ShapeError` for fewer than two axes.
    """
    return _triangle("triu", x, k, greater_equal)


# -- cut and joined --------------------------------------------------------------------------------
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts along `axis`, without it. Errors: `ShapeError` where its size is not static."""
    t = tensor(x, "unstack")
    axis = normalize_axis("unstack", axis, t.ndim)
    size = t.shape[axis]
    if not isinstance(size, int):
        raise ShapeError(
            "how many parts there are is not known",
            op="unstack",
            expected="a static size",
            given=f"axis {axis} of {show(t.shape)}",
            hint="gc.scan walks over an axis of any size",
        )
    return tuple(getitem(t, (slice(None),) * axis + (i,)) for i in range(size))


def _all(op: str, arrays: Any) -> list[Any]:
    if isinstance(arrays, Tensor) or not isinstance(arrays, Sequence) or not arrays:
        raise ArgumentError("needs a non-empty sequence of tensors", op=op, given=repr(arrays)[:80])
    return list(arrays)


def hstack(arrays: Sequence[Any]) -> Tensor:
    """The arrays one after another along the second axis, vectors along their only one."""
    parts = [atleast_1d(a) for a in _all("hstack", arrays)]
    return concat(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(arrays: Sequence[Any]) -> Tensor:
    """The arrays one after another along the first axis; vectors are rows."""
    return concat([_matrix(tensor(a, "vstack")) for a in _all("vstack", arrays)], 0)


def dstack(arrays: Sequence[Any]) -> Tensor:
    """The arrays one after another along the third axis."""
    return concat([_solid(tensor(a, "dstack")) for a in _all("dstack", arrays)], 2)


def column_stack(arrays: Sequence[Any]) -> Tensor:
    """Vectors as the columns of a matrix; matrices side by side."""
    parts = [tensor(a, "column_stack") for a in _all("column_stack", arrays)]
    return concat([p if p.ndim > 1 else reshape(p, (p.size, 1)) for p in parts], 1)


def append(x: Any, values: Any, axis: int | None = None) -> Tensor:
    """`values` behind the elements of `x` along `axis`, by default of both as vectors."""
    return concat([x, values], axis)


def array_split(x: Any, sections: Any, axis: int = 0) -> list[Tensor]:
    """`x` cut along `axis` into parts whose sizes differ by at most 1, or at the given positions.

    Errors: as `split`; `ShapeError` for a number of parts of an axis whose size is not static.
    """
    t = tensor(x, "array_split")
    axis = normalize_axis("array_split", axis, t.ndim)
    size = t.shape[axis]
    if not isinstance(sections, (int, np.integer)) or not isinstance(size, int):
        return split(t, sections, axis)
    if sections < 1:
        raise ShapeError("no parts", op="array_split", expected="1 or more", given=str(sections))
    part, longer = divmod(size, int(sections))
    cuts = [part * i + min(i, longer) for i in range(1, int(sections))]
    return split(t, cuts, axis)


def vsplit(x: Any, sections: Any) -> list[Tensor]:
    """`x` cut along its first axis, as `split`."""
    return split(x, sections, 0)


def hsplit(x: Any, sections: Any) -> list[Tensor]:
    """`x` cut along its second axis, a vector along its only one, as `split`."""
    return split(x, sections, 1 if tensor(x, "hsplit").ndim > 1 else 0)


def dsplit(x: Any, sections: Any) -> list[Tensor]:
    """`x` cut along its third axis, as `split`."""
    return split(x, sections, 2)


def fliplr(x: Any, /) -> Tensor:
    """`x` reversed along its second axis."""
    return flip(x, 1)


def flipud(x: Any, /) -> Tensor:
    """`x` reversed along its first axis."""
    return flip(x, 0)


def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """`x` turned `k` times by 90 degrees, from the first of two axes towards the second."""
    t = tensor(x, "rot90")
    turned_by, plane = whole("rot90", "k", k) % 4, several("rot90", "axes", axes)
    ends = [normalize_axis("rot90", a, t.ndim) for a in plane]
    if len(ends) != 2 or ends[0] == ends[1]:
        raise ShapeError(
            "an axis is given twice, or they are not two", op="rot90", expected="two axes",
            given=repr(axes)[:80],
        )  # fmt: skip
    first, second = ends
    if turned_by % 2 == 0:
        return flip(t, (first, second)) if turned_by else t
    turned = swapaxes(t, first, second)
    return flip(turned, first if turned_by == 1 else second)


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    """The choice of the first condition that holds, elementwise; `default` where none does.

    Errors: `ArgumentError` where there are not as many choices as conditions.
    """
    conditions, choices = _all("select", condlist), _all("select", choicelist)
    if len(conditions) != len(choices):
        raise ArgumentError(
            "a choice for each condition",
            op="select",
            expected=f"{len(conditions)} choices",
            given=str(len(choices)),
        )
    *values, result = operands("select", *choices, default)
    for condition, value in zip(reversed(conditions), reversed(values), strict=True):
        result = where(condition, value, result)
    return result


def delete(x: Any, obj: Any, axis: int | None = None) -> Tensor:
    """`x` without the elements along `axis` (by default of all elements) at places that are known:
    an int, a slice, several ints, or truth values.

    Errors: `OutOfRangeError`; `ShapeError` where the size of the axis is not static.
    """
    t, axis, size = _along("delete", x, axis)
    left = _known("delete", obj, lambda: np.delete(np.arange(size), obj))
    return take(t, left, axis)


def insert(x: Any, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """`x` with `values` before the elements along `axis` (by default of all elements) at places
    that are known: an int, a slice or several ints.

    Values broadcast to what is inserted; at one int there may be several, one after another.
    Dtypes: that of `x`. Errors: as `delete`, and `ShapeError` for values of another shape.
    """
    t, axis, size = _along("insert", x, axis)
    new = cast(tensor(values, "insert"), t.dtype)
    places = _known("insert", obj, lambda: np.arange(size + 1)[obj])
    if places.size == 1:
        new = reshape(new, (*(1,) * (t.ndim - new.ndim), *new.shape))
        new = moveaxis(new, 0, axis) if places.ndim == 0 else new
    count = new.shape[axis] if places.size == 1 else places.size
    if not isinstance(count, int):
        raise ShapeError(
            "how many elements are inserted is not known", op="insert", expected="a static size",
            given=show(new.shape),
        )  # fmt: skip
    new = broadcast_to(new, (*t.shape[:axis], count, *t.shape[axis + 1 :]))
    at = obj if isinstance(obj, slice) else np.asarray(obj)
    order = _known("insert", obj, lambda: np.insert(np.arange(size), at, size + np.arange(count)))
    return take(concat([t, new], axis), order, axis)


def _along(op: str, x: Any, axis: int | None) -> tuple[Tensor, int, int]:
    """A tensor, or all its elements as a vector, an axis, and its size. Errors: `ShapeError`."""
    t = tensor(x, op) if axis is not None else ravel(x)
    axis = normalize_axis(op, 0 if axis is None else axis, t.ndim)
    size = t.shape[axis]
    if not isinstance(size, int):
        raise ShapeError(
            "the size of the axis is not known", op=op, expected="a static size",
            given=f"axis {axis} of {show(t.shape)}", hint="gc.concat joins slices of any size",
        )  # fmt: skip
    return t, axis, size


def _known(op: str, obj: Any, found: Callable[[], Any]) -> Any:
    """What NumPy makes of places. Errors: `OutOfRangeError`, `ArgumentError` for other things."""
    try:
        if isinstance(obj, Tensor):
            raise TypeError
        return found()
    except IndexError as error:
        raise OutOfRangeError(str(error), op=op, given=repr(obj)[:80]) from None
    except (TypeError, ValueError):
        raise ArgumentError(
            "not places that are known", op=op, expected="an int, a slice or ints",
            given=repr(obj)[:80],
        ) from None  # fmt: skip


# -- joined and chosen ----------------------------------------------------------------------------
def block(arrays: Any) -> Tensor:
    """Nested lists of blocks as one tensor: the innermost lists are joined along the last axis,
    those around them along the one before, and so on.

    Shapes: all blocks get as many axes as the one with most has, or as the lists are deep.
    Errors: `ArgumentError` for lists of different depths and for empty ones; `ShapeError` for
    blocks that do not fit.

    >>> import graphc as gc
    >>> a = gc.constant([[1, 2]])
    >>> gc.evaluate(gc.block([[a, a], [a, -a]]))
    array([[ 1,  2,  1,  2],
           [ 1,  2, -1, -2]])
    """
    depth, blocks = _depth(arrays), _blocks(arrays)
    rank = max(depth, *(b.ndim for b in blocks))

    def joined(value: Any, level: int) -> Tensor:
        if not isinstance(value, list):
            t = tensor(value, "block")
            return reshape(t, (*(1,) * (rank - t.ndim), *t.shape))
        return concat([joined(v, level + 1) for v in value], rank - depth + level)

    return joined(arrays, 0)


def _depth(value: Any) -> int:
    """How many lists are around each block. Errors: `ArgumentError`."""
    if not isinstance(value, list):
        return 0
    depths = {_depth(v) for v in value}
    if len(depths) != 1:
        raise ArgumentError(
            "lists of different depths, or an empty one", op="block",
            expected="blocks in lists of one depth", given=repr(value)[:80], where=origin.where(),
        )  # fmt: skip
    return 1 + depths.pop()


def _blocks(value: Any) -> list[Tensor]:
    if not isinstance(value, list):
        return [tensor(value, "block")]
    return [b for v in value for b in _blocks(v)]


def choose(a: Any, choices: Any, *, mode: str = "raise") -> Tensor:
    """For each element the choice with the number that `a` has there.

    Shapes: `a` and all choices broadcast; a tensor is as many choices as its first axis is long.
    A number below 0 or too large is an error at the call; with `mode="clip"` the nearest is taken,
    with `mode="wrap"` the one that is left of it by the number of choices.
    Errors: `ArgumentError` for another mode, `DTypeError` for numbers that are no ints.
    """
    parts = unstack(choices) if isinstance(choices, Tensor) else _all("choose", choices)
    which, *values = broadcast_arrays(a, *operands("choose", *parts))
    if not (which.dtype.is_integer or which.dtype is bool_):
        raise DTypeError(
            "not the number of a choice", op="choose", expected="ints", given=which.dtype.name,
            where=origin.where(),
        )  # fmt: skip
    which, count = cast(which, int64), len(values)
    if mode == "raise":
        inside = logical_and(greater_equal(which, 0), less(which, count))
        which = ensure(which, inside, "the number of a choice is out of range")
    elif mode not in ("clip", "wrap"):
        raise ArgumentError(
            "no such mode", op="choose", expected="'raise', 'clip' or 'wrap'", given=repr(mode)[:80]
        )
    which = clip(which, 0, count - 1) if mode == "clip" else remainder(which, count)
    return take_along_axis(stack(values), expand_dims(which, 0), axis=0)[0]


FUNCTIONS |= {
    f.__name__: f
    for f in (
        roll, moveaxis, swapaxes, rollaxis, ravel, atleast_1d, atleast_2d, atleast_3d,
        broadcast_shapes, broadcast_arrays, tril, triu, unstack, hstack, vstack,
        dstack, column_stack, append, array_split, vsplit, hsplit, dsplit, fliplr, flipud,
        rot90, select, delete, insert, block, choose,
    )
}  # fmt: skip
