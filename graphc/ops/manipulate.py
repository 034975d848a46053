"""What moves, repeats and cuts elements, by NumPy's names: `roll`, `tile`, `tril`, `moveaxis`.

All but `roll` are made of the ops of `shape.py` and `index.py`, through which a kernel reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, OutOfRangeError, ShapeError
from graphc.ir.dim import Dim, Size
from graphc.ir.dtype import bool_, int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Fact, Kind, Op, register
from graphc.ir.shape import (
    Shape,
    TensorType,
    broadcast,
    normalize_axes,
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
    divide,
    greater_equal,
    less_equal,
    multiply,
    not_equal,
    subtract,
    where,
)
from graphc.ops.gather import take
from graphc.ops.getitem import getitem, split
from graphc.ops.reduce import sum
from graphc.ops.shape import broadcast_to, concat, expand_dims, flip, permute_dims, reshape

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


# -- repeated elements -----------------------------------------------------------------------------
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element along `axis` (by default of all elements) `repeats` times, one after another.

    `repeats` is an int, a size, or an array with one number for each element, known here: a tensor
    would decide a shape. Errors: `ArgumentError` for another kind; `ShapeError` for another number
    of them than there are elements.

    >>> import graphc as gc
    >>> gc.evaluate(gc.repeat([1, 2], [3, 1]))
    array([1, 1, 1, 2])
    """
    t = tensor(x, "repeat")
    if axis is None:
        t, axis = reshape(t, (t.size,)), 0
    axis = normalize_axis("repeat", axis, t.ndim)
    count = repeats
    if not isinstance(repeats, (int, Dim)):
        numbers = np.asarray(repeats if not isinstance(repeats, Tensor) else None)
        if numbers.dtype.kind not in "iu" or (numbers.size and numbers.min() < 0):
            raise ArgumentError(
                "not how often each element is repeated",
                op="repeat",
                expected="an int >= 0, a size, or an array of such ints",
                given=repr(repeats)[:80],
                hint="the shape of a tensor is known before its values are",
            )
        if numbers.size != 1:
            if numbers.shape != (t.shape[axis],):
                raise ShapeError(
                    "a number for each element",
                    op="repeat",
                    expected=show((t.shape[axis],)),
                    given=show(numbers.shape),
                )
            return take(t, np.repeat(np.arange(numbers.size), numbers), axis)
        count = int(numbers.reshape(()))
    count = _times("repeat", count)
    wide = (*t.shape[: axis + 1], count, *t.shape[axis + 1 :])
    merged = (*t.shape[:axis], t.shape[axis] * count, *t.shape[axis + 1 :])
    return reshape(broadcast_to(expand_dims(t, axis + 1), wide), merged)


def _times(op: str, count: Any) -> Size:
    if not isinstance(count, (int, np.integer, Dim)) or (not isinstance(count, Dim) and count < 0):
        raise ArgumentError(
            "not a number of times", op=op, expected="an int >= 0, or a size", given=repr(count)
        )
    return count if isinstance(count, Dim) else int(count)


def tile(x: Any, repetitions: Any, /) -> Tensor:
    """`x` put side by side: `repetitions` times along each axis, the last one last.

    Shapes: [n, m] by (a, b) -> [a n, b m]; the shorter of the two gets ones in front.
    """
    t = tensor(x, "tile")
    counts: list[Size] = [_times("tile", c) for c in _listed(repetitions)]
    counts = [*(1,) * (t.ndim - len(counts)), *counts]
    shape = (*(1,) * (len(counts) - t.ndim), *t.shape)
    pairs = list(zip(counts, shape, strict=True))
    narrow = [s for pair in pairs for s in (1, pair[1])]
    wide = [s for pair in pairs for s in pair]
    tiled = broadcast_to(reshape(t, narrow), wide)
    return reshape(tiled, [count * size for count, size in pairs])


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


# -- differences -----------------------------------------------------------------------------------
def diff(
    x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None
) -> Tensor:
    """Each element along `axis` minus the one before it, `n` times.

    `prepend` and `append` are joined to `x` before; of bools it is whether the two differ.
    Errors: `ArgumentError` for a negative `n`; `ShapeError` for a scalar.
    """
    t = tensor(x, "diff")
    if not isinstance(n, int) or n < 0:
        raise ArgumentError("not a number of times", op="diff", expected="n >= 0", given=repr(n))
    axis = normalize_axis("diff", axis, t.ndim)
    ends = [tensor(e, "diff") if e is not None else None for e in (prepend, append)]
    unit = tuple(1 if a == axis else s for a, s in enumerate(t.shape))
    before, behind = (
        [] if e is None else [broadcast_to(e, unit) if e.ndim == 0 else e] for e in ends
    )
    if before or behind:
        t = concat([*before, t, *behind], axis)
    operator = not_equal if t.dtype is bool_ else subtract
    front = (slice(None),) * axis
    for _ in range(n):
        t = operator(getitem(t, (*front, slice(1, None))), getitem(t, (*front, slice(None, -1))))
    return t


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral of `y` along `axis` by the trapezoidal rule, at places `x` or `dx` apart.

    Shapes: y [..., n, ...], x [n] or as y -> [..., ...]. Dtypes: ints give floats.
    """
    t = tensor(y, "trapezoid")
    axis = normalize_axis("trapezoid", axis, t.ndim)
    front = (slice(None),) * axis
    low, high = ((*front, slice(None, -1)), (*front, slice(1, None)))
    apart: Any = dx
    if x is not None:
        places = tensor(x, "trapezoid")
        apart = diff(places, axis=-1 if places.ndim == 1 else axis)
        if places.ndim == 1:
            apart = reshape(apart, (apart.size, *(1,) * (t.ndim - 1 - axis)))
    heights = add(getitem(t, high), getitem(t, low))
    return sum(divide(multiply(apart, heights), 2.0), axis=axis)


def gradient(x: Any, *spacing: Any, axis: Any = None) -> Any:
    """The derivative along each axis of values on a grid, by central differences, one-sided ones at
    its ends. `spacing` is one number, one for each axis, or the places along it.

    Gives a tensor for one axis, else a tuple of them. Dtypes: ints give floats.
    Errors: `ShapeError` for an axis of fewer than two elements.
    """
    t = tensor(x, "gradient")
    t = t if t.dtype.is_float else cast(t, operands("gradient", t, 1.0)[0].dtype)
    axes = normalize_axes("gradient", axis, t.ndim)
    if len(spacing) not in (0, 1, len(axes)):
        raise ArgumentError(
            "one spacing, or one for each axis",
            op="gradient",
            expected=f"{len(axes)}",
            given=str(len(spacing)),
        )
    steps = spacing * len(axes) if len(spacing) == 1 else spacing or (1.0,) * len(axes)
    found = tuple(cast(_slope(t, a, s), t.dtype) for a, s in zip(axes, steps, strict=True))
    return found[0] if len(axes) == 1 else found


def _slope(t: Tensor, axis: int, spacing: Any) -> Tensor:
    """By the second-order formula for unequal distances: (a b' - b a') over a b (a + b) in all."""
    front = (slice(None),) * axis
    step = tensor(spacing, "gradient")
    rise = diff(t, axis=axis)
    if step.ndim == 0:
        inner = divide(
            subtract(getitem(t, (*front, slice(2, None))), getitem(t, (*front, slice(None, -2)))),
            multiply(2.0, step),
        )
        first, last = (
            divide(getitem(rise, (*front, at)), step) for at in (slice(None, 1), slice(-1, None))
        )
        return concat([first, inner, last], axis)
    apart = reshape(diff(step), (step.shape[0] - 1, *(1,) * (t.ndim - 1 - axis)))
    a, b = getitem(apart, slice(None, -1)), getitem(apart, slice(1, None))
    below, at, above = (
        getitem(t, (*front, slice(low, high))) for low, high in ((None, -2), (1, -1), (2, None))
    )
    total = add(a, b)
    inner = add(
        add(
            multiply(divide(-b, multiply(a, total)), below),
            multiply(divide(subtract(b, a), multiply(a, b)), at),
        ),
        multiply(divide(a, multiply(b, total)), above),
    )
    slopes = divide(rise, apart)
    ends = (getitem(slopes, (*front, at)) for at in (slice(None, 1), slice(-1, None)))
    first, last = ends
    return concat([first, inner, last], axis)


FUNCTIONS |= {
    f.__name__: f
    for f in (
        roll, moveaxis, swapaxes, rollaxis, ravel, atleast_1d, atleast_2d, atleast_3d,
        broadcast_shapes, broadcast_arrays, repeat, tile, tril, triu, unstack, hstack, vstack,
        dstack, column_stack, append, array_split, vsplit, hsplit, dsplit, fliplr, flipud,
        rot90, select, diff, trapezoid, gradient,
    )
}  # fmt: skip
