"""Windows: a view of all parts of a tensor of one size, and the sum that puts parts together again.

Element (i, k) of the windows along an axis is element `i * stride + k * dilation` of it: an affine
index, so nothing is copied. A convolution is a contraction over windows, a pooling a reduction over
them. `fold_windows` is the transpose: each element of the result is the sum of the elements of all
windows that it is in.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.conditions import agree, require
from graphc.ir.dim import Size, dim, floordiv
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Builder, Fact, Index, Kind, Op, Operand, register
from graphc.ir.shape import Shape, TensorType, normalize_axis, show
from graphc.ops.build import tensor
from graphc.ops.index import both, on_grid
from graphc.ops.reduce import Reducer
from graphc.ops.shape import reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- how many there are ----------------------------------------------------------------------------
def span(window: Size, dilation: int) -> Size:
    """The places that a window covers, from its first element to its last."""
    return (window - 1) * dilation + 1


def window_count(size: Size, window: Size, stride: int, dilation: int, what: str = "") -> Size:
    """How many windows an axis of `size` has: (size - dilation * (window - 1) - 1) // stride + 1.

    Errors: `ShapeError` where not even one fits; at the call where the sizes are named. `what` says
    what the size is made of.
    """
    covered = span(window, dilation)
    parts = f" (dilation * (window - 1) + 1 = {dilation} * ({window} - 1) + 1)" * (dilation != 1)
    require(
        size - covered,
        f"a window of {covered}{parts} is larger than the axis, {what or size}; the number of "
        f"windows is (size - dilation * (window - 1) - 1) // stride + 1",
    )
    return floordiv(size - covered, stride) + 1


# -- windows ---------------------------------------------------------------------------------------
def _infer_windows(
    x: TensorType,
    *,
    axes: tuple[int, ...],
    window: Shape,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[TensorType, ...]:
    shape = list(x.shape)
    for axis, size, stride, dilation in zip(axes, window, strides, dilations, strict=True):
        shape[axis] = window_count(x.shape[axis], size, stride, dilation)
    return (TensorType(x.dtype, (*shape, *window)),)


def numpy_windows(x: Any, *, axes: Any, window: Any, strides: Any, dilations: Any) -> Any:
    spans: Any = tuple(span(w, d) for w, d in zip(window, dilations, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axes)
    steps = dict(zip(axes, strides, strict=True))
    rows = tuple(slice(None, None, steps.get(a, 1)) for a in range(x.ndim))
    return view[(*rows, *(slice(None, None, d) for d in dilations))]


def _windows_at(
    k: Any, values: Any, index: Any, out: TensorType, *, axes: Any, window: Any, **steps: Any
) -> Any:
    rank = len(index) - len(axes)
    source = list(index[:rank])
    offsets = zip(axes, index[rank:], steps["strides"], steps["dilations"], strict=True)
    for axis, offset, stride, dilation in offsets:
        source[axis] = index[axis] * stride + offset * dilation
    return values[0](tuple(source))


def _windows_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, *, axes: Any, window: Any, **steps: Any
) -> list[Any]:
    sizes = tuple(x.shape[a] for a in axes)
    return [apply(FOLD, (g,), axes=axes, sizes=sizes, **steps).output()]


WINDOWS = register(
    Op(
        "windows",
        Kind.MAP,
        _infer_windows,
        numpy=numpy_windows,
        vjp=_windows_vjp,
        at=_windows_at,
        facts=frozenset({Fact.REINDEX}),
        axes={"axes": Axes.SEVERAL},
        doc="All windows along axes, each in further axes behind the others.",
    )
)


# -- and back --------------------------------------------------------------------------------------
def _infer_fold(
    g: TensorType,
    *,
    axes: tuple[int, ...],
    sizes: Shape,
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[TensorType, ...]:
    rank = g.rank - len(axes)
    shape = list(g.shape[:rank])
    steps = zip(axes, sizes, g.shape[rank:], strides, dilations, strict=True)
    for axis, size, window, stride, dilation in steps:
        count = window_count(size, window, stride, dilation)
        if not agree(g.shape[axis], count):
            raise ShapeError(
                "another number of windows",
                op="fold_windows",
                expected=f"{count} windows of {window} on an axis of size {size}",
                given=f"{g.shape[axis]}, on axis {axis} of {show(g.shape)}",
            )
        shape[axis] = size
    return (TensorType(g.dtype, tuple(shape)),)


def numpy_fold(g: Any, *, axes: Any, sizes: Any, strides: Any, dilations: Any) -> Any:
    rank = g.ndim - len(axes)
    shape = list(g.shape[:rank])
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    result = np.zeros(shape, g.dtype)
    for offset in itertools.product(*map(range, g.shape[rank:])):
        places = [slice(None)] * rank
        for axis, o, stride, dilation in zip(axes, offset, strides, dilations, strict=True):
            first, count = o * dilation, g.shape[axis]
            places[axis] = slice(first, first + (count - 1) * stride + 1, stride)
        result[tuple(places)] += g[(..., *offset)]
    return result


class _FoldReducer(Reducer):
    """Adds, for each element, what stands for it in the windows that it is in."""

    def space(self, types: Any, **attrs: Any) -> Shape:
        axes, (g,) = attrs["axes"], types
        shape = list(g.shape)
        for axis, size in zip(axes, attrs["sizes"], strict=True):
            shape[axis] = size
        return tuple(shape)

    def target(self, k: Builder, values: Sequence[Operand], index: Index, **attrs: Any) -> Any:
        return index[: len(index) - len(attrs["axes"])]

    def element(self, k: Any, values: Sequence[Operand], index: Index, **attrs: Any) -> Any:
        (g,), axes = values, attrs["axes"]
        source, inside = list(index), None
        steps = zip(axes, index[-len(axes) :], attrs["strides"], attrs["dilations"], strict=True)
        for axis, offset, stride, dilation in steps:
            moved = index[axis] + offset * -dilation
            source[axis], here = on_grid(k, moved, stride, g.type.shape[axis])
            inside = both(k, inside, here)
        if inside is None:
            return g(tuple(source))
        with k.guarded(inside):
            element = g(tuple(source))
        return k.where(inside, element, k.const(0, g.type.dtype))


def _fold_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, *, axes: Any, **attrs: Any) -> Any:
    steps = {name: attrs[name] for name in ("strides", "dilations")}
    return [apply(WINDOWS, (g,), axes=axes, window=x.shape[-len(axes) :], **steps).output()]


def _refuse_bools(g: TensorType, **attrs: Any) -> tuple[TensorType, ...]:
    if g.dtype is bool_:
        raise ArgumentError(
            "bools do not add up", op="fold_windows", expected="numbers", given=g.dtype.name
        )
    return _infer_fold(g, **attrs)


FOLD = register(
    Op(
        "fold_windows",
        Kind.REDUCE,
        _refuse_bools,
        numpy=numpy_fold,
        vjp=_fold_vjp,
        reducer=_FoldReducer("add", lambda dtype: 0),
        axes={"axes": Axes.SEVERAL},
        cost=8,
        doc="For each element the sum of what stands for it in the windows that it is in.",
    )
)


# -- public functions ------------------------------------------------------------------------------
def each(op: str, what: str, value: Any, count: int, least: int = 1) -> tuple[int, ...]:
    """An int for each of `count` axes, of one int or several.

    Errors: `ArgumentError` for another number of them, or one below `least`.
    """
    values = value if isinstance(value, (tuple, list)) else (value,) * count
    whole = all(hasattr(v, "__index__") and not isinstance(v, bool) for v in values)
    if not whole or len(values) != count or any(v.__index__() < least for v in values):
        raise ArgumentError(
            f"not a {what}",
            op=op,
            expected=f"an int >= {least}, or {count} of them",
            given=repr(value)[:80],
        )
    return tuple(int(v) for v in values)


def _axes_and_window(op: str, axis: Any, window: Any, rank: int) -> tuple[tuple[int, ...], Shape]:
    """The axes, and the size of the window along each; the last axes where none are given."""
    sizes = tuple(map(dim, window if isinstance(window, (tuple, list)) else (window,)))
    given = range(rank - len(sizes), rank) if axis is None else axis
    chosen = tuple(given) if isinstance(given, (tuple, list, range)) else (given,)
    if axis is not None and len(sizes) == 1:
        sizes *= len(chosen)
    if len(sizes) != len(chosen) or len(sizes) > rank or not sizes:
        raise ShapeError(
            "one size of the window for each axis",
            op=op,
            expected=f"{len(chosen)} sizes, on at most {rank} axes",
            given=show(sizes),
        )
    axes = tuple(normalize_axis(op, a, rank) for a in chosen)
    if len(set(axes)) < len(axes):
        raise ShapeError("an axis is given twice", op=op, given=str(chosen))
    if any(s == 0 for s in sizes):
        raise ArgumentError("a window of size 0", op=op, expected="sizes >= 1", given=show(sizes))
    return axes, sizes


def windows(
    x: Any, window: Any, axis: Any = None, *, stride: Any = 1, dilation: Any = 1
) -> Tensor:
    """All windows of one size along axes: a view, as `numpy.lib.stride_tricks.sliding_window_view`,
    of every `stride`-th window, of elements that are `dilation` apart.

    Shapes: [..., n, ...] -> [..., m, ..., w], m = (n - dilation * (w - 1) - 1) // stride + 1; the
    elements of a window are in further axes behind the others, in the order of `axis`. Without
    `axis` the windows are along the last axes, as many as sizes are given.
    Errors: `ShapeError` for a window larger than the axis, at the call where the size is named;
    `ArgumentError` for a stride or a dilation below 1.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n", 28, 28))
    >>> gc.windows(x, (3, 3)).shape, gc.windows(x, (2, 2), stride=2).shape
    ((n, 26, 26, 3, 3), (n, 14, 14, 2, 2))
    """
    t = tensor(x, "windows")
    axes, sizes = _axes_and_window("windows", axis, window, t.ndim)
    strides = each("windows", "stride", stride, len(axes))
    dilations = each("windows", "dilation", dilation, len(axes))
    return windows_of(t, axes, sizes, strides, dilations)


def windows_of(
    x: Tensor, axes: tuple[int, ...], window: Shape, strides: Any, dilations: Any
) -> Tensor:
    """The windows along axes, of arguments that are known to be right; of one element each, these
    elements."""
    if all(w == s == 1 for w, s in zip(window, strides, strict=True)):
        return reshape(x, (*x.shape, *window))
    attrs = {"axes": axes, "window": window, "strides": strides, "dilations": dilations}
    return apply(WINDOWS, (x,), **attrs).output()


def fold_windows(
    x: Any, sizes: Any, axis: Any = None, *, stride: Any = 1, dilation: Any = 1
) -> Tensor:
    """The transpose of `windows`: a tensor of `sizes` along the axes, each element of which is the
    sum of the elements of `x` that stand for it, one in every window that it is in.

    Shapes: [..., m, ..., w] -> [..., n, ...], with m as `windows` has it for n.
    Errors: `ShapeError` for another number of windows than `sizes` have; as `windows`.

    >>> import graphc as gc
    >>> gc.evaluate(gc.fold_windows(gc.ones((3, 2)), 4))
    array([1., 2., 2., 1.], dtype=float32)
    """
    t = tensor(x, "fold_windows")
    wanted = sizes if isinstance(sizes, (tuple, list)) else (sizes,)
    rank = t.ndim - len(wanted)
    axes, given = _axes_and_window("fold_windows", axis, tuple(wanted), max(rank, 0))
    strides = each("fold_windows", "stride", stride, len(axes))
    dilations = each("fold_windows", "dilation", dilation, len(axes))
    attrs = {"axes": axes, "sizes": given, "strides": strides, "dilations": dilations}
    return apply(FOLD, (t,), **attrs).output()


FUNCTIONS |= {f.__name__: f for f in (windows, fold_windows)}
