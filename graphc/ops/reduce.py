"""Reductions: sum, product, extrema and their positions.

A `Reducer` says how elements are accumulated: the iteration space, where an element goes, the
accumulator's first value and one step. The kernel builder decides whether the accumulator lives in
a register (the reduced loops are inner ones) or in memory (they are outer ones).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.conditions import require
from graphc.ir.dim import product as size_product
from graphc.ir.dtype import DType, bool_, int32, int64, uint64
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Builder, Fact, Index, Kind, Op, Operand, register
from graphc.ir.operators import function
from graphc.ir.shape import Shape, TensorType, normalize_axes, normalize_axis
from graphc.ops.build import (
    cast,
    constant,
    float_type,
    is_python_scalar,
    scalar_like,
    size_as_tensor,
    tensor,
    weak_like,
)
from graphc.ops.create import iota
from graphc.ops.elementwise import (
    add,
    bitwise_or,
    equal,
    logical_not,
    maximum,
    minimum,
    multiply,
    not_equal,
    square,
    where,
)
from graphc.ops.scalar import masked_multiply
from graphc.ops.scan import scan
from graphc.ops.shape import broadcast_to, concat, expand_dims, permute_dims, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


class Reducer:
    """Accumulates by one primitive from its identity."""

    scatters = False  # whether elements go to positions read from data

    def __init__(self, primitive: str, identity: Callable[[DType], Any]) -> None:
        self.primitive, self.identity = primitive, identity

    def space(self, types: Any, **attrs: Any) -> Shape:
        """The shape whose elements are visited."""
        shape: Shape = types[0].shape
        return shape

    def target(self, k: Builder, values: Sequence[Operand], index: Index, **attrs: Any) -> Any:
        """Where the element at `index` is accumulated."""
        return tuple(i for a, i in enumerate(index) if a not in attrs["axes"])

    def element(self, k: Builder, values: Sequence[Operand], index: Index, **attrs: Any) -> Any:
        """The value to accumulate."""
        return values[0](index)

    def initial(self, k: Builder, dtype: DType) -> Any:
        """The accumulator's first value."""
        return k.const(self.identity(dtype), dtype)

    def step(self, k: Any, total: Any, element: Any) -> Any:
        """The accumulator after seeing `element`, given its value before."""
        return k.prim(self.primitive, total, element)


def lowest(dtype: DType) -> Any:
    if dtype is bool_:
        return False
    return np.iinfo(dtype.numpy).min if dtype.is_integer else -np.inf


def highest(dtype: DType) -> Any:
    if dtype is bool_:
        return True
    return np.iinfo(dtype.numpy).max if dtype.is_integer else np.inf


def _infer(x: TensorType, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:
    return (TensorType(x.dtype, tuple(s for i, s in enumerate(x.shape) if i not in axes)),)


def _infer_extremum(x: TensorType, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:
    """Of no elements there is no extremum, but of bools, where `any` is False and `all` is True."""
    for axis in axes if x.dtype is not bool_ else ():
        require(x.shape[axis] - 1, f"no elements to choose from in {x}")
    return _infer(x, axes=axes)


def restore_axes(reduced: Tensor, axes: tuple[int, ...], shape: Shape) -> Tensor:
    """A reduced tensor with size-1 axes where axes were reduced, so that it broadcasts."""
    kept = tuple(1 if i in axes else s for i, s in enumerate(shape))
    return reshape(reduced, kept)


def _spread(reduced: Tensor, axes: tuple[int, ...], shape: Shape) -> Tensor:
    return broadcast_to(restore_axes(reduced, axes, shape), shape)


def numpy_sum(x: Any, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """`np.sum`, pairwise over every axis: by itself it is that along contiguous memory only, and
    adds rows one by one (20,000,001 rows of ones are 16,777,216 in float32)."""
    if x.dtype.kind == "f":
        kept = [a for a in range(x.ndim) if a not in axes]
        count = math.prod(x.shape[a] for a in axes)
        rows = x.transpose(*kept, *axes).reshape(*(x.shape[a] for a in kept), count)
        total = np.sum(np.ascontiguousarray(rows), axis=-1, dtype=x.dtype)
    else:
        total = np.sum(x, axis=axes, dtype=x.dtype)
    return np.expand_dims(total, axes) if keepdims else total


# -- sum and product -------------------------------------------------------------------------------
def _sum_jvp(context: object, ts: Any, out: Tensor, x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    return sum(ts[0], axis=axes)


SUM = register(
    Op(
        "sum",
        Kind.REDUCE,
        _infer,
        numpy=lambda x, *, axes: numpy_sum(x, axes),
        vjp=lambda context, g, out, x, *, axes: [_spread(g, axes, x.shape)],
        jvp=_sum_jvp,
        reducer=Reducer("add", lambda dtype: 0),
        axes={"axes": Axes.SEVERAL},
        facts=frozenset({Fact.BY_PARTS, Fact.TOTALS}),
        doc="The sum over axes.",
    )
)


def _prod_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, *, axes: Any) -> list[Any]:
    """g * (the product of the other elements), also where some are zero."""
    others = apply(PROD_OF_OTHERS, (x,), axes=axes).output()
    return [masked_multiply(context.guarded(_spread(g, axes, x.shape)), others)]


PROD = register(
    Op(
        "prod",
        Kind.REDUCE,
        _infer,
        numpy=lambda x, *, axes: np.prod(x, axis=axes, dtype=x.dtype),
        vjp=_prod_vjp,
        reducer=Reducer("multiply", lambda dtype: 1),
        axes={"axes": Axes.SEVERAL},
        doc="The product over axes.",
    )
)


# -- the products that the derivative of a product has ---------------------------------------------
def _infer_others(x: TensorType, *, axes: tuple[int, ...]) -> tuple[TensorType, ...]:
    if not x.dtype.is_float:
        raise DTypeError("only floats", op="prod_of_others", given=x.dtype.name)
    return (x,)


def _numpy_others(x: Any, *, axes: tuple[int, ...]) -> Any:
    """As `_expand_others` has it, so that overflows and infinities are the same ones."""
    is_zero = x == 0
    factors = np.where(is_zero, x.dtype.type(1), x)
    rest = np.prod(factors, axis=axes, keepdims=True, dtype=x.dtype)
    zeros = np.sum(is_zero, axis=axes, keepdims=True)
    of_zero = np.where(is_zero & (zeros == 1), rest, x.dtype.type(0))
    return np.where(zeros == 0, rest / factors, of_zero)


def _expand_others(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """The product of what is not zero, divided by the element: one pass, where a running product
    from both ends would be two loops. The cases of a zero make it no function to differentiate."""
    zero, one = scalar_like(0, x), scalar_like(1, x)
    is_zero = equal(x, zero)
    zeros = _spread(sum(cast(is_zero, x.dtype), axis=axes), axes, x.shape)
    factors = where(is_zero, one, x)
    rest = _spread(apply(PROD, (factors,), axes=axes).output(), axes, x.shape)
    of_zero = where(equal(zeros, one), rest, zero)
    return where(is_zero, of_zero, where(equal(zeros, zero), rest / factors, zero))


def _others_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, *, axes: Any) -> list[Any]:
    """For element k the sum over i of g[i] times the product of all but i and k.

    That is the coefficient of t in the product of (x[j] + t g[j]) over j != k. Running products
    p + t d of such factors, from both ends, have no division and no case of a zero in them, so
    that they are right at any number of zeros, and so are their derivatives, of any order. The sum
    is the same with k and i swapped, so that it gives tangents too.
    """
    order = (*axes, *(a for a in range(x.ndim) if a not in axes))
    moved = tuple(x.shape[a] for a in order)
    kept = moved[len(axes) :]
    rows = (size_product(moved[: len(axes)]), *kept)

    def step(before: tuple[Tensor, Tensor], factor: tuple[Tensor, Tensor]) -> tuple[Any, Any]:
        (p, d), (x, g) = before, factor
        return (p * x, d * x + p * g), before

    factors = [reshape(permute_dims(t, order), rows) for t in (x, g)]
    start = [broadcast_to(scalar_like(value, x), kept) for value in (1, 0)]
    (p, d), (q, e) = (
        scan(step, tuple(start), tuple(factors), reverse=reverse)[1] for reverse in (False, True)
    )
    back = tuple(order.index(a) for a in range(x.ndim))
    return [permute_dims(reshape(p * e + d * q, moved), back)]


PROD_OF_OTHERS = register(
    Op(
        "prod_of_others",
        Kind.COMPOSITE,
        _infer_others,
        numpy=_numpy_others,
        vjp=_others_vjp,
        jvp=lambda context, ts, out, x, *, axes: _others_vjp(context, ts[0], out, x, axes=axes)[0],
        expand=_expand_others,
        axes={"axes": Axes.SEVERAL},
        doc="For each element the product over axes of the other elements.",
    )
)


# -- extrema ---------------------------------------------------------------------------------------
def _extremum_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, *, axes: Any) -> list[Any]:
    """g shared equally by the elements that are the extremum."""
    chosen = equal(x, _spread(out, axes, x.shape))
    count = sum(cast(chosen, x.dtype), axis=axes)
    zero = scalar_like(0, g)
    return [where(chosen, _spread(g / count, axes, x.shape), zero)]


def _extremum(name: str, numpy: Any, primitive: str, identity: Any, doc: str) -> Op:
    return register(
        Op(
            name,
            Kind.REDUCE,
            _infer_extremum,
            numpy=lambda x, *, axes: numpy(x, axis=axes, initial=identity(to_dtype(x.dtype))),
            vjp=_extremum_vjp,
            reducer=Reducer(primitive, identity),
            axes={"axes": Axes.SEVERAL},
            facts=frozenset({Fact.EXACT, Fact.CHOOSES}),
            doc=doc,
        )
    )


MAX = _extremum("max", np.max, "maximum", lowest, "The largest element over axes.")
MIN = _extremum("min", np.min, "minimum", highest, "The smallest element over axes.")


def _infer_arg(x: TensorType, *, axis: int) -> tuple[TensorType, ...]:
    require(x.shape[axis] - 1, f"no elements to choose from in {x}")
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return TensorType(x.dtype, shape), TensorType(int64, shape)


def _arg_vjp(context: Any, g: Any, out: Any, x: Tensor, *, axis: int) -> list[Any]:
    """g goes to the element at the position."""
    if g[0] is None:
        return [None]
    here = iota(x.shape, axis)
    chosen = equal(here, expand_dims(out[1], axis))
    return [where(chosen, broadcast_to(expand_dims(g[0], axis), x.shape), scalar_like(0, g[0]))]


def _expand_arg(extremum: Op, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The least position of what equals the extremum; if that is NaN, of what is NaN. Both
    reductions may see elements in any order; one that needs them in order takes many times as
    long."""
    best = apply(extremum, (x,), axes=(axis,)).output()
    found = equal(x, _spread(best, (axis,), x.shape))
    if x.dtype.is_float:
        found = bitwise_or(found, not_equal(x, x))
    size = x.shape[axis]
    dtype = int32 if isinstance(size, int) and size <= highest(int32) else int64
    place = where(found, iota(x.shape, axis, dtype), constant(highest(dtype), dtype))
    return best, cast(apply(MIN, (place,), axes=(axis,)).output(), int64)


def _arg_extremum(name: str, choose: Any, position: Any, extremum: Op) -> Op:
    return register(
        Op(
            name,
            Kind.COMPOSITE,
            _infer_arg,
            numpy=lambda x, *, axis: (choose(x, axis=axis), position(x, axis=axis)),
            vjp=_arg_vjp,
            expand=lambda x, *, axis: _expand_arg(extremum, x, axis),
            axes={"axis": Axes.ONE},
            facts=frozenset({Fact.EXACT, Fact.CHOOSES}),
            cost=4,
            doc="The extremum along an axis and its first position: two outputs.",
        )
    )


MAX_AND_ARGMAX = _arg_extremum("max_and_argmax", np.max, np.argmax, MAX)
MIN_AND_ARGMIN = _arg_extremum("min_and_argmin", np.min, np.argmin, MIN)


# -- public functions ------------------------------------------------------------------------------
_OF_TWO = {
    "sum": "x + y", "prod": "x * y", "max": "gc.maximum(x, y)", "min": "gc.minimum(x, y)",
    "any": "gc.logical_or(x, y)", "all": "gc.logical_and(x, y)", "mean": "(x + y) / 2",
}  # fmt: skip


def _no_tensor(op: str, axis: Any) -> None:
    """Refuse a tensor in the place of the axis: the user means the elements of two tensors."""
    if isinstance(axis, Tensor):
        raise ArgumentError(
            "the axis is a tensor",
            op=op,
            expected="an int, several, or None for all",
            given=repr(axis),
            where=origin.where(),
            hint=f"{_OF_TWO[op]} is that of two tensors, element by element" * (op in _OF_TWO),
        )


def _reduce(op: Op, x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    _no_tensor(op.name, axis)
    axes = normalize_axes(op.name, axis, x.ndim)
    result = apply(op, (x,), axes=axes).output() if axes else x
    return restore_axes(result, axes, x.shape) if keepdims else result


def _elements(op: str, x: Any, axis: Any, mask: Any) -> tuple[Tensor, Any]:
    """A tensor and where its elements count: of `x[mask]`, which is no tensor, only there."""
    if hasattr(x, "selected"):
        found: tuple[Tensor, Any] = x.selected(axis, mask)
        return found
    return tensor(x, op), mask


def _accumulated(
    op: Op, x: Any, axis: Any, keepdims: bool, wanted: Any, mask: Any, initial: Any
) -> Tensor:
    """A sum or product in the dtype that is wanted, else of small ints as NumPy, in 64 bits; what
    is there before the first element joins the result."""
    t, mask = _elements(op.name, x, axis, mask)
    if wanted is not None:
        t = cast(t, to_dtype(wanted))
    elif not t.dtype.has_derivative:
        t = cast(t, uint64 if t.dtype.kind == "u" else int64)
    if mask is not None:
        t = where(mask, t, scalar_like(op.reducer.identity(t.dtype), t))
    found = _reduce(op, t, axis, keepdims)
    if initial is None:
        return found
    return (add if op is SUM else multiply)(found, _beginning(op, initial, found))


def _beginning(op: Op, initial: Any, like: Tensor) -> Tensor:
    """What a reduction begins with, in the dtype of what is reduced. Errors: `ShapeError`."""
    t = cast(tensor(initial, op.name), like.dtype)
    if t.ndim:
        raise ShapeError(
            "what a reduction begins with is one number", op=op.name,
            expected="initial of shape ()", given=str(t.type), where=origin.where(),
        )  # fmt: skip
    return t


def sum(
    x: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    where: Any = None,
    initial: Any = None,
) -> Tensor:
    """The sum over `axis` (an int, several, or None for all), of the elements where `where` holds,
    and of `initial`.

    Dtypes: `dtype`, to which x is converted before; without it ints and bools give 64-bit ints. The
    order of float additions is free. Long sums are added in runs whose sums lose nothing, so the
    error does not grow with their length: it stays within some 8 eps times the sum of absolute
    values, for any number of elements.
    """
    return _accumulated(SUM, x, axis, keepdims, dtype, where, initial)


def prod(
    x: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    where: Any = None,
    initial: Any = None,
) -> Tensor:
    """The product over `axis`, as `sum`. Dtypes: as there."""
    return _accumulated(PROD, x, axis, keepdims, dtype, where, initial)


def mean(
    x: Any, axis: Any = None, keepdims: bool = False, *, dtype: Any = None, where: Any = None
) -> Tensor:
    """The arithmetic mean over `axis` of the elements where `where` holds; NaN of no elements.

    Dtypes: `dtype`, else ints give floats.
    """
    t, where = _elements("mean", x, axis, where)
    if dtype is not None or not t.dtype.has_derivative:
        t = cast(t, float_type(int64) if dtype is None else to_dtype(dtype))
    _no_tensor("mean", axis)
    total = sum(t, axis, keepdims, where=where)
    return total / _count(t, axis, keepdims, where)


def _count(t: Tensor, axis: Any, keepdims: bool, mask: Any) -> Tensor:
    """How many elements are averaged, in the dtype of `t`."""
    if mask is not None:
        wide = broadcast_to(cast(tensor(mask, "mean"), t.dtype), t.shape)
        return _reduce(SUM, wide, axis, keepdims)
    axes = normalize_axes("mean", axis, t.ndim)
    return weak_like(size_as_tensor(size_product(t.shape[a] for a in axes), t.dtype), t)


def _chosen(
    op: Op, x: Any, axis: Any, keepdims: bool, mask: Any, initial: Any = None, truth: str = ""
) -> Tensor:
    """The extremum, of `initial` too: that is one more element in front, so that there is one.
    `truth`: of truth values, for the function of this name."""
    t, mask = _elements(truth or op.name, x, axis, mask)
    t = logical_not(logical_not(t)) if truth else t
    if mask is not None:
        t = where(mask, t, scalar_like(op.reducer.identity(t.dtype), t))
    _no_tensor(op.name, axis)
    axes = normalize_axes(op.name, axis, t.ndim)
    if initial is None:
        return _reduce(op, t, axis, keepdims)
    beginning = _beginning(op, initial, t)
    if not axes:
        return (maximum if op is MAX else minimum)(t, beginning)
    first = tuple(1 if a == axes[0] else s for a, s in enumerate(t.shape))
    return _reduce(op, concat([broadcast_to(beginning, first), t], axes[0]), axis, keepdims)


def max(
    x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = None, initial: Any = None
) -> Tensor:
    """The largest element over `axis`, and of `initial`; NaN if one is NaN.

    Where `where` holds for none, the least number of the dtype. The derivative at a tie is shared
    equally. Errors: `ShapeError` for an axis without elements, at the call where its size is named,
    unless there is an `initial`.
    """
    return _chosen(MAX, x, axis, keepdims, where, initial)


def min(
    x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = None, initial: Any = None
) -> Tensor:
    """The smallest element over `axis`, and of `initial`; NaN if one is NaN.

    Where `where` holds for none, the largest number of the dtype. An axis has elements, as for
    `max`.
    """
    return _chosen(MIN, x, axis, keepdims, where, initial)


def max_and_argmax(x: Any, axis: int = -1) -> tuple[Tensor, Tensor]:
    """The largest element along `axis` and its first position (int64), from one pass."""
    node = _arg_node(MAX_AND_ARGMAX, "max_and_argmax", x, axis)
    return node.output(0), node.output(1)


def _arg_node(op: Op, name: str, x: Any, axis: int) -> Any:
    t = tensor(x, name)
    if t.ndim == 0:
        t = reshape(t, (1,))
    return apply(op, (t,), axis=normalize_axis(name, axis, t.ndim))


def _position(op: Op, name: str, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    t = tensor(x, name)
    if axis is None:
        result = _arg_node(op, name, reshape(t, (t.size,)), 0).output(1)
        return reshape(result, (1,) * t.ndim) if keepdims else result
    result = _arg_node(op, name, t, axis).output(1)
    return expand_dims(result, normalize_axis(name, axis, t.ndim)) if keepdims else result


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position (int64) of the first largest element along `axis`, or in all of `x`."""
    return _position(MAX_AND_ARGMAX, "argmax", x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position (int64) of the first smallest element along `axis`, or in all of `x`."""
    return _position(MIN_AND_ARGMIN, "argmin", x, axis, keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = None) -> Tensor:
    """Whether one element is true, over `axis`, of those where `where` holds."""
    return _chosen(MAX, x, axis, keepdims, where, truth="any")


def all(x: Any, axis: Any = None, keepdims: bool = False, *, where: Any = None) -> Tensor:
    """Whether every element is true, over `axis`, of those where `where` holds."""
    return _chosen(MIN, x, axis, keepdims, where, truth="all")


def variance(
    x: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: Any = None,
    ddof: Any = 0,
    dtype: Any = None,
    where: Any = None,
) -> Tensor:
    """The mean of (x - mean)^2 over `axis`, in two passes, which is stable.

    The sum is divided by the number of elements less `correction`, which NumPy calls `ddof`: 1 for
    the estimate from a sample; NaN or infinite where nothing is left. Dtypes: as `mean`.
    """
    t, where = _elements("variance", x, axis, where)
    t = t if dtype is None else cast(t, to_dtype(dtype))
    centred = t - mean(t, axis, keepdims=True, where=where)
    squares = centred * centred
    if t.dtype.is_complex:
        squares = square(function("real")(centred)) + square(function("imag")(centred))
    less = ddof if correction is None else correction
    if is_python_scalar(less) and less == 0:
        return mean(squares, axis, keepdims, where=where)
    left = _count(squares, axis, keepdims, where) - less
    return sum(squares, axis, keepdims, where=where) / maximum(left, scalar_like(0, left))


FUNCTIONS |= {
    f.__name__: f
    for f in (sum, prod, mean, max, min, max_and_argmax, argmax, argmin, any, all, variance)
}
FUNCTIONS["var"] = variance
NUMPY: dict[str, Callable[..., Any]] = {"amax": max, "amin": min}
