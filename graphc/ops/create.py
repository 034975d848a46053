"""Tensors made from nothing: positions, progressions, grids, and one value everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.dim import Dim, Size, difference, dim, floordiv, maximum
from graphc.ir.dtype import DType, dtype_or_default, float64, int64
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Kind, Op, register
from graphc.ir.operators import function
from graphc.ir.shape import Shape, TensorType, normalize_axis, shape_of, show, whole
from graphc.ops.build import (
    cast,
    constant,
    operands,
    scalar_like,
    size_as_tensor,
    tensor,
)
from graphc.ops.elementwise import (
    add,
    astype,
    divide,
    equal,
    floor,
    multiply,
    subtract,
    where,
)
from graphc.ops.shape import broadcast_to, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _infer_iota(*, shape: Shape, axis: int, dtype: DType) -> tuple[TensorType, ...]:
    return (TensorType(dtype, shape),)


def _numpy_iota(*, shape: Any, axis: int, dtype: DType) -> Any:
    positions = np.arange(shape[axis]).astype(dtype.numpy)
    positions = positions.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.broadcast_to(positions, shape)


IOTA = register(
    Op(
        "iota",
        Kind.MAP,
        _infer_iota,
        numpy=_numpy_iota,
        at=lambda k, values, index, out, *, shape, axis, dtype: k.cast(
            k.number(index[axis]), dtype
        ),
        differentiable=False,
        doc="The position along an axis.",
    )
)


def iota(shape: Any, axis: int = 0, dtype: Any = "int64") -> Tensor:
    """A tensor whose element is its position along `axis`."""
    target = shape_of(shape)
    axis = normalize_axis("iota", axis, len(target))
    return apply(IOTA, shape=target, axis=axis, dtype=to_dtype(dtype)).output()


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None) -> Tensor:
    """The numbers from `start` on, `step` apart, before `stop`; `arange(stop)` starts at 0.

    Of ints and sizes (`arange(n)` for `n = x.shape[0]`) they are int64, else of the default dtype.
    Shapes: [ceil((stop - start) / step)], or [0] where that is negative.
    Errors: `ArgumentError` for a step of 0, a tensor, and floats beside a size.

    >>> import graphc as gc
    >>> gc.evaluate(gc.arange(5, 0, -2))
    array([5, 3, 1])
    """
    start, stop = (0, start) if stop is None else (start, stop)
    first, last = (dim(v) if isinstance(v, str) else v for v in (start, stop))
    if all(isinstance(v, (int, np.integer, Dim)) for v in (first, last, step)):
        if isinstance(step, Dim) or step == 0:
            raise _bad_range("a step that is an int other than 0", start, stop, step)
        first, last = (v if isinstance(v, Dim) else int(v) for v in (first, last))
        count = _count(first, last, int(step))
        to = to_dtype("int64" if dtype is None else dtype)
        return _progression(count, first, int(step), to)
    if not all(isinstance(v, (int, float, np.number)) for v in (first, last, step)) or step == 0:
        raise _bad_range("numbers, of which the step is not 0", start, stop, step)
    first, last, step = float(first), float(last), float(step)
    count = max(math.ceil((last - first) / step), 0)
    apart = (first + step) - first  # as NumPy, which has the first two numbers
    return cast(_progression(count, first, apart, float64), dtype_or_default(dtype))


def _bad_range(expected: str, *given: Any) -> ArgumentError:
    return ArgumentError(
        "these make no range", op="arange", expected=expected, given=repr(given)[1:-1],
        hint="a size is known before the data: a Python int, also of gc.jit, or x.shape[0]; "
        "gc.fori_loop counts to a tensor" if any(isinstance(v, Tensor) for v in given) else "",
    )  # fmt: skip


def _count(first: Size, last: Size, step: int) -> Size:
    if step < 0:
        first, last, step = last, first, -step
    return floordiv(maximum(difference(last, first), 0) + (step - 1), step)


def _progression(count: Size, first: Any, apart: Any, dtype: DType) -> Tensor:
    """`first + i * apart` for each i below `count`."""
    positions = iota((count,), 0, dtype)
    scaled = positions if apart == 1 else multiply(positions, constant(apart, dtype))
    if isinstance(first, Dim):
        return add(scaled, size_as_tensor(first, dtype))
    return scaled if first == 0 else add(scaled, constant(first, dtype))


def linspace(
    start: Any, stop: Any, /, num: Any = 50, *, dtype: Any = None, endpoint: bool = True
) -> Tensor:
    """`num` numbers from `start` to `stop` at equal distances; without `endpoint`, before `stop`.

    Shapes: [num, *s] for start and stop that broadcast to [*s]. Dtypes: where none is given, the
    default one of numbers, else that of start and stop.
    """
    inner, to, (low, high) = _ends("linspace", start, stop, dtype)
    count = dim(num) if isinstance(num, str) else whole("linspace", "num", num)
    parts = count - 1 if endpoint else count
    span = subtract(high, low)
    column = (count, *(1 for _ in span.shape))
    i = iota(column, 0, inner)
    if parts == 0:  # one number, which is the first
        return astype(add(multiply(i, span), low), to)
    parts = maximum(parts, 1)  # of a named number of them, which may be 1
    values = add(multiply(i, divide(span, size_as_tensor(parts, inner))), low)
    if endpoint:
        at_end = equal(iota(column, 0), size_as_tensor(parts, int64))
        values = where(at_end, high, values)
    return astype(floor(values) if to.is_integer else values, to)


def logspace(
    start: Any,
    stop: Any,
    /,
    num: Any = 50,
    *,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
) -> Tensor:
    """`base` to the powers `linspace(start, stop, num)`. Shapes and dtypes: as there.

    >>> import graphc as gc
    >>> gc.evaluate(gc.logspace(0, 2, 3))
    array([  1.,  10., 100.], dtype=float32)
    """
    inner, to, (low, high) = _ends("logspace", start, stop, dtype)
    exponents = linspace(low, high, num, dtype=inner, endpoint=endpoint)
    return astype(function("power")(cast(tensor(base, "logspace"), inner), exponents), to)


def geomspace(
    start: Any, stop: Any, /, num: Any = 50, *, endpoint: bool = True, dtype: Any = None
) -> Tensor:
    """`num` numbers from `start` to `stop`, each the one before times the same factor. Neither is 0
    and both have one sign, else they are NaN. Shapes and dtypes: as `linspace`.

    >>> import graphc as gc
    >>> gc.evaluate(gc.geomspace(1, 8, 4))
    array([1., 2., 4., 8.], dtype=float32)
    """
    inner, to, (low, high) = _ends("geomspace", start, stop, dtype)
    sign = function("sign")(low)
    log10 = function("log10")
    exponents = linspace(
        log10(multiply(low, sign)), log10(multiply(high, sign)), num, dtype=inner, endpoint=endpoint
    )
    values = multiply(function("power")(scalar_like(10, low), exponents), sign)
    count = values.shape[0]
    place = iota((count, *(1 for _ in values.shape[1:])), 0)
    if endpoint:  # exactly
        values = where(equal(place, size_as_tensor(count - 1, int64)), high, values)
    return astype(where(equal(place, 0), low, values), to)


def _ends(op: str, start: Any, stop: Any, dtype: Any) -> tuple[DType, DType, list[Tensor]]:
    """Two ends in the dtype that is computed in, and the one that the result has."""
    low, high = operands(op, start, stop)
    numbers = low.weak and high.weak
    inner = low.dtype if low.dtype.is_float and not numbers else float64
    to = inner if dtype is None and not numbers else dtype_or_default(dtype)
    return inner, to, [cast(t, inner) for t in (low, high)]


def eye(n_rows: Any, n_cols: Any = None, /, *, k: int = 0, dtype: Any = None) -> Tensor:
    """Ones on diagonal `k` of a matrix (above the main one where k > 0), and zeros elsewhere.

    Shapes: [n_rows, n_cols], by default square. Dtypes: the default one where none is given.

    >>> import graphc as gc
    >>> gc.evaluate(gc.eye(2, 3, k=1, dtype="int8"))
    array([[0, 1, 0],
           [0, 0, 1]], dtype=int8)
    """
    rows, columns = shape_of((n_rows, n_rows if n_cols is None else n_cols))
    position = iota((rows, 1), 0)
    here = equal(add(position, far(k)) if k else position, iota((1, columns), 1))
    return astype(here, dtype_or_default(dtype))


def far(k: int) -> int:
    """The number of a diagonal, or one of the same side that is as far from every matrix."""
    found: int = max(-FAR, min(whole("diagonals", "k", k), FAR))
    return found


FAR = 2**62


def identity(n: Any, dtype: Any = None) -> Tensor:
    """The square matrix with ones on its diagonal and zeros elsewhere. Shapes: [n, n]."""
    return eye(n, dtype=dtype)


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """Zeros of a shape, of the default dtype where none is given."""
    return broadcast_to(constant(0, dtype_or_default(dtype)), shape)


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """Ones of a shape, of the default dtype where none is given."""
    return broadcast_to(constant(1, dtype_or_default(dtype)), shape)


def empty(shape: Any, dtype: Any = None) -> Tensor:
    """`zeros`, as what an element is has to be known; of the default dtype where none is given."""
    return zeros(shape, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """One value everywhere.

    Dtypes: where none is given, a tensor's or an array's own; of a Python number the result is
    weak, as the number is: it takes the dtype of what it meets. Errors: `DTypeError` for what is no
    number.
    """
    if dtype is None or isinstance(fill_value, Tensor):
        scalar = tensor(fill_value, "full")
        scalar = scalar if dtype is None else astype(scalar, dtype)
    else:
        scalar = constant(fill_value, dtype)
    if scalar.ndim:
        raise DTypeError("the fill value is a number", op="full", given=repr(fill_value))
    return broadcast_to(scalar, shape)


def _like(value: float, x: Any, dtype: Any, op: str) -> Tensor:
    t = tensor(x, op)
    return broadcast_to(scalar_like(value, t) if dtype is None else constant(value, dtype), t.shape)


def zeros_like(x: Any, /, dtype: Any = None) -> Tensor:
    """Zeros of x's shape, and of its dtype where none is given."""
    return _like(0, x, dtype, "zeros_like")


def ones_like(x: Any, /, dtype: Any = None) -> Tensor:
    """Ones of x's shape, and of its dtype where none is given."""
    return _like(1, x, dtype, "ones_like")


def empty_like(prototype: Any, /, dtype: Any = None) -> Tensor:
    """`zeros_like`, as what an element is has to be known."""
    return _like(0, prototype, dtype, "empty_like")


def full_like(x: Any, /, fill_value: Any, dtype: Any = None) -> Tensor:
    """One value everywhere, of x's shape, and of its dtype where none is given.

    Errors: `DTypeError` for what is no number, or does not fit the dtype.
    """
    t = tensor(x, "full_like")
    return full(t.shape, fill_value, t.dtype if dtype is None else dtype)


def asarray(x: Any, dtype: Any = None) -> Tensor:
    """`x` as a tensor: itself, converted where a dtype is given, or a constant of numbers. Nested
    lists with tensors in them are stacked.

    Errors: as `constant`; for lists with tensors as `stack`.

    >>> import graphc as gc
    >>> x = gc.placeholder("x")
    >>> gc.evaluate(gc.asarray([[x, 0], [1, x * x]]), {x: 3.0})
    array([[3., 0.],
           [1., 9.]], dtype=float32)
    """
    if _has_tensor(x):
        x = function("stack")([asarray(v) if isinstance(v, (list, tuple)) else v for v in x])
    if not isinstance(x, Tensor):
        return constant(x, dtype)
    return x if dtype is None else astype(x, dtype)


def _has_tensor(x: Any) -> bool:
    """Whether there is a tensor in nested lists."""
    if not isinstance(x, (list, tuple)):
        return False
    return any(isinstance(v, Tensor) or _has_tensor(v) for v in x)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A constant of an array of any library that has `__dlpack__`: its numbers are copied.

    Errors: `ArgumentError` for an object without, for memory that is not the processor's, for
    another device than "cpu", and for `copy=False`; `DTypeError` for a dtype that graphc has not.
    """
    refused: str | None = None
    if isinstance(x, Tensor):
        return x
    if device not in (None, "cpu"):
        refused = f"device={device!r}"
    elif copy is False:
        refused = "copy=False"
    elif not hasattr(x, "__dlpack__"):
        refused = type(x).__name__
    if refused is None:
        try:
            array = np.from_dlpack(x)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            refused = f"{type(x).__name__}: {error}"[:200]
    if refused is not None:
        raise ArgumentError(
            "no array that can be copied", op="from_dlpack",
            expected="an array in the processor's memory, with __dlpack__", given=refused,
            where=origin.where(),
        )  # fmt: skip
    return constant(array)


def copy(x: Any) -> Tensor:
    """`x`: a tensor is a value, which nothing changes."""
    return tensor(x, "copy")


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """The coordinates of a grid: each vector, stretched over the axes of all of them.

    Shapes: vectors [n], [m], ... -> each [n, m, ...] by `indexing="ij"`; by "xy" the first two axes
    are swapped. Errors: `ShapeError` for what is no vector, `ArgumentError` for another indexing.
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(
            "no such order of axes", op="meshgrid", expected="'xy' or 'ij'", given=repr(indexing)
        )
    tensors = [tensor(a, "meshgrid") for a in arrays]
    for t in tensors:
        if t.ndim > 1:
            raise ShapeError("not a vector", op="meshgrid", expected="(n,)", given=show(t.shape))
    axes = [*range(len(tensors))]
    if indexing == "xy":
        axes[:2] = axes[1::-1]
    shape = [t.size for t in tensors]
    shape = [shape[a] for a in axes]
    rows = (
        reshape(t, [t.size if a == place else 1 for a in range(len(axes))])
        for t, place in zip(tensors, axes, strict=True)
    )
    return [broadcast_to(row, shape) for row in rows]


FUNCTIONS |= {
    f.__name__: f
    for f in (
        constant, iota, arange, linspace, logspace, geomspace, eye, identity, zeros, ones, empty,
        full, zeros_like, ones_like, empty_like, full_like, asarray, from_dlpack, copy, meshgrid,
    )
}  # fmt: skip
