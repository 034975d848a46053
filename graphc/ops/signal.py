"""NumPy's functions of sampled signals: convolve and correlate of vectors, interp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import ArgumentError, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import bool_, float64, int64
from graphc.ir.node import Tensor
from graphc.ir.shape import agree_on_shape, show
from graphc.ops.build import cast, operands, scalar_like, size_as_tensor, tensor
from graphc.ops.complex import conj
from graphc.ops.elementwise import (
    abs,
    add,
    clip,
    divide,
    equal,
    greater,
    less,
    maximum,
    minimum,
    multiply,
    remainder,
    subtract,
    where,
)
from graphc.ops.gather import take
from graphc.ops.index import strided_slice
from graphc.ops.reduce import any, sum
from graphc.ops.resample import pad
from graphc.ops.searching import searchsorted
from graphc.ops.shape import concat, flip, reshape
from graphc.ops.sorting import argsort
from graphc.ops.windows import windows

FUNCTIONS: dict[str, Callable[..., Any]] = {}
_MODES = ("full", "same", "valid")


# -- products of a vector that moves along another -------------------------------------------------
def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """The convolution of two vectors: element k is the sum over j of `a[j] * v[k - j]`.

    `mode`: "full" has every k at which the two overlap, "same" as many as the longer one, about the
    middle, "valid" those at which they overlap wholly. Of named sizes, `a` is the longer one then.
    Shapes: [n] x [m] -> [n + m - 1], [n], [n - m + 1]. Dtypes: as `multiply`.
    Errors: `ShapeError` for what is no vector or is empty, `ArgumentError` for another mode.

    >>> import graphc as gc
    >>> gc.evaluate(gc.convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5]))
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    x, y = _vectors("convolve", a, v, mode)
    return _slid(y, flip(x), mode) if _is_longer(y, x) else _slid(x, flip(y), mode)


def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """The correlation of two vectors: element k is the sum over j of `a[k + j] * conj(v[j])`.

    Modes, shapes, dtypes and errors: as `convolve`; the default is NumPy's, "valid".

    >>> import graphc as gc
    >>> gc.evaluate(gc.correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5]))
    array([3.5])
    """
    x, y = _vectors("correlate", a, v, mode)
    y = conj(y) if y.dtype.is_complex else y
    return flip(_slid(y, x, mode)) if _is_longer(y, x) else _slid(x, y, mode)


def _vectors(op: str, a: Any, v: Any, mode: Any) -> tuple[Tensor, Tensor]:
    if mode not in _MODES:
        raise ArgumentError(
            "not a mode", op=op, expected=", ".join(map(repr, _MODES)), given=repr(mode)[:80],
            where=origin.where(),
        )  # fmt: skip
    x, y = operands(op, a, v)
    x, y = (reshape(t, (1,)) if t.ndim == 0 else t for t in (x, y))
    if x.ndim != 1 or y.ndim != 1 or x.size == 0 or y.size == 0:
        raise ShapeError(
            "not vectors with elements", op=op, expected="[n] and [m]",
            given=f"{show(x.shape)} and {show(y.shape)}", where=origin.where(),
        )  # fmt: skip
    return x, y


def _is_longer(x: Tensor, y: Tensor) -> bool:
    """Whether x has more elements, as far as that is known."""
    n, m = x.shape[0], y.shape[0]
    return isinstance(n, int) and isinstance(m, int) and n > m


def _slid(x: Tensor, w: Tensor, mode: str) -> Tensor:
    """The sums of products of w with each part of x; x is at least as long."""
    n, m = x.shape[0], w.shape[0]
    if mode == "valid":
        return _products(x, w)
    whole = _products(pad(x, [(m - 1, m - 1)]), w)
    if mode == "full":
        return whole
    return strided_slice(whole, ((m - 1) // 2,), (n,), (1,))


def _products(x: Tensor, w: Tensor) -> Tensor:
    products = multiply(windows(x, w.shape[0]), w)
    return any(products, axis=-1) if x.dtype is bool_ else sum(products, -1, dtype=x.dtype)


# -- linear interpolation --------------------------------------------------------------------------
def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Tensor:
    """The values at `x` of the function that is `fp` at the points `xp` and linear between them.

    `left` is its value below the first point, `right` above the last one; by default those at the
    points. The points increase; this is not checked. With a `period` they need not: x and points
    are taken modulo it, and the function goes on from the last point to the first one.
    Shapes: x any, xp [m], fp [m] -> that of x. Dtypes: the common one, ints give float64; fp may be
    complex. The derivative by x at a point is that to its right, 0 outside.
    Errors: `ShapeError` for points and values that are no vectors of one size, or empty.

    >>> import graphc as gc
    >>> gc.evaluate(gc.interp([0.5, 2.0], [0.0, 1.0], [3.0, 5.0]))
    array([4., 5.])
    """
    at, points, values = _samples(x, xp, fp)
    if period is not None:
        at, points, values = _unrolled(at, points, values, period)
        left = right = None
    last = size_as_tensor(points.shape[0], int64) - 1
    below = clip(searchsorted(points, at, "right") - 1, 0, maximum(last - 1, 0))
    above = minimum(below + 1, last)
    start, first = take(points, below), take(values, below)
    width = subtract(take(points, above), start)
    one = scalar_like(1, width)
    slope = divide(subtract(take(values, above), first), where(equal(width, 0), one, width))
    inside = add(multiply(slope, subtract(at, start)), first)
    inside = where(equal(above, below), first, inside)  # of one point, as NumPy also at a NaN
    lowest = values[0] if left is None else left
    highest = values[-1] if right is None else right
    inside = where(equal(at, points[-1]), values[-1], inside)
    outside = where(less(at, points[0]), lowest, inside)
    return where(greater(at, points[-1]), highest, outside)


def _unrolled(
    at: Tensor, points: Tensor, values: Tensor, period: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """A period of the function, in order, with the point before it and the one behind it."""
    length = abs(cast(tensor(period, "interp"), at.dtype))
    at, points = remainder(at, length), remainder(points, length)
    order = argsort(points)
    points, values = take(points, order), take(values, order)
    around = [points[-1:] - length, points, points[:1] + length]
    return at, concat(around), concat([values[-1:], values, values[:1]])


def _samples(x: Any, xp: Any, fp: Any) -> tuple[Tensor, Tensor, Tensor]:
    at, points = operands("interp", x, xp)
    values = tensor(fp, "interp")
    if points.ndim != 1 or values.ndim != 1 or not agree_on_shape(points.shape, values.shape):
        raise ShapeError(
            "a value for each point", op="interp", expected="[m] and [m]",
            given=f"{show(points.shape)} and {show(values.shape)}", where=origin.where(),
        )  # fmt: skip
    if points.size == 0:
        raise ShapeError("no points", op="interp", given=str(points.type), where=origin.where())
    if values.dtype.is_complex:
        at, points = (t if t.dtype.is_float else cast(t, float64) for t in (at, points))
        return at, points, values
    at, points, values = operands("interp", at, points, values)
    if not at.dtype.is_float:
        at, points, values = (cast(t, float64) for t in (at, points, values))
    return at, points, values


FUNCTIONS |= {f.__name__: f for f in (convolve, correlate, interp)}
