"""Convolutions: contractions of a kernel with all windows of a tensor.

`conv(x, w)` is linear in each operand, so its derivatives are the two other members of one family:
by the input, from the cotangent and the kernel, and by the kernel, from the input and the
cotangent. The derivatives of these are members again. Each says its sizes: `sizes` are those of the
result along the axes of space, which its operands do not tell.

Axes: x [n, c, *space], w [o, c / groups, *window]; with channels last x [n, *space, c],
w [*window, c / groups, o].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.conditions import agree, never_equal
from graphc.ir.dim import Dim, Size, dim, floordiv
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor, apply, located
from graphc.ir.op import Batch, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, show
from graphc.ops.build import operands
from graphc.ops.convolution_expand import expand_by_input, expand_by_kernel, expand_conv
from graphc.ops.image import Steps, has_channels_last, is_size, pairs_of
from graphc.ops.shape import permute_dims, reshape
from graphc.ops.windows import each, numpy_fold, numpy_windows, span

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- type rules ------------------------------------------------------------------------------------
def _check(op: str, steps: Steps, *types: TensorType) -> None:
    """Errors: `DTypeError` for operands of two dtypes, or of bools; `ShapeError` for ranks that are
    not two above that of space."""
    if len({t.dtype for t in types}) > 1 or types[0].dtype is bool_:
        raise DTypeError(
            "operands have the wrong dtypes",
            op=op,
            expected="one numeric dtype",
            given=", ".join(t.dtype.name for t in types),
        )
    if any(t.rank != steps.rank + 2 for t in types):
        raise ShapeError(
            "the wrong number of axes",
            op=op,
            expected=f"{steps.rank + 2} axes each: batch, channels and {steps.rank} of space",
            given=" and ".join(show(t.shape) for t in types),
        )


def _check_channels(op: str, steps: Steps, c: Size, i: Size, o: Size) -> None:
    """Errors: `ShapeError` where the channels are not those of the kernel, in equal groups."""
    if steps.groups == 1 and not agree(c, i):
        raise ShapeError(
            "channels do not fit the kernel",
            op=op,
            expected=f"{i} channels, as the kernel takes",
            given=f"{c} channels",
        )
    if not agree(c, i * steps.groups) or not agree(o, floordiv(o, steps.groups) * steps.groups):
        raise ShapeError(
            f"channels do not fit {steps.groups} groups",
            op=op,
            expected=f"{i} * {steps.groups} channels given, and a multiple of {steps.groups} made",
            given=f"{c} channels, and {o} made",
        )


def _same_sizes(op: str, what: str, expected: Sequence[Size], given: Sequence[Size]) -> None:
    if len(expected) != len(given) or not all(map(agree, expected, given)):
        raise ShapeError(f"another {what}", op=op, expected=show(expected), given=show(given))


def _infer_conv(x: TensorType, w: TensorType, **attrs: Any) -> tuple[TensorType, ...]:
    steps = Steps.of(x.shape, attrs)
    _check("conv", steps, x, w)
    o, i = steps.sides_of(w.shape)
    _check_channels("conv", steps, x.shape[steps.channels], i, o)
    space = steps.counts(steps.space_of(x.shape), steps.window_of(w.shape))
    return (TensorType(x.dtype, steps.image(x.shape[0], space, o)),)


def _infer_by_input(
    g: TensorType, w: TensorType, *, sizes: Shape, **attrs: Any
) -> tuple[TensorType, ...]:
    steps, op = Steps.of(g.shape, attrs), "conv_by_input"
    _check(op, steps, g, w)
    o, i = steps.sides_of(w.shape)
    _check_channels(op, steps, i * steps.groups, i, o)
    _same_sizes(op, "number of channels", (o,), (g.shape[steps.channels],))
    space = steps.counts(sizes, steps.window_of(w.shape))
    _same_sizes(op, "size of what was made", space, steps.space_of(g.shape))
    return (TensorType(g.dtype, steps.image(g.shape[0], sizes, i * steps.groups)),)


def _infer_by_kernel(
    x: TensorType, g: TensorType, *, sizes: Shape, **attrs: Any
) -> tuple[TensorType, ...]:
    steps, op = Steps.of(x.shape, attrs), "conv_by_kernel"
    _check(op, steps, x, g)
    c, o = x.shape[steps.channels], g.shape[steps.channels]
    i = floordiv(c, steps.groups)
    _check_channels(op, steps, c, i, o)
    _same_sizes(op, "number of images", x.shape[:1], g.shape[:1])
    space = steps.counts(steps.space_of(x.shape), sizes)
    _same_sizes(op, "size of what was made", space, steps.space_of(g.shape))
    return (TensorType(x.dtype, steps.kernel(o, i, sizes)),)


# -- the meaning, by NumPy -------------------------------------------------------------------------
def _cut(steps: Any, x: Any, window: Any) -> Any:
    """The windows of an image as matrices [groups, n * places, i * taps], a row for each place."""
    first = np.moveaxis(x, steps.channels, 1)
    padded = np.pad(first, ((0, 0), (0, 0), *steps.padding))
    axes = tuple(range(2, 2 + steps.rank))
    cut = numpy_windows(
        padded, axes=axes, window=window, strides=steps.strides, dilations=steps.dilations
    )
    n, c, *places = cut.shape[: 2 + steps.rank]
    i = c // steps.groups
    grouped = cut.reshape(n, steps.groups, i, *places, *window)
    rows = np.moveaxis(grouped, (1, 0), (0, 1))  # [groups, n, i, *places, *window]
    rows = np.moveaxis(rows, 2, 2 + steps.rank)
    return rows.reshape(steps.groups, _count(n, *places), _count(i, *window))


def _count(*sizes: int) -> int:
    return int(np.prod(sizes, dtype=np.int64))


def _as_matrices(steps: Any, w: Any) -> Any:
    """A kernel as [groups, i * taps, o / groups]."""
    first = np.moveaxis(w, (-1, -2), (0, 1)) if steps.channels_last else w
    o = first.shape[0]
    grouped = first.reshape(steps.groups, o // steps.groups, _count(*first.shape[1:]))
    return grouped.transpose(0, 2, 1)


def _as_rows(steps: Any, g: Any) -> Any:
    """An image as [groups, n * places, o / groups]."""
    last = np.moveaxis(g, steps.channels, -1)
    grouped = last.reshape(_count(*last.shape[:-1]), steps.groups, last.shape[-1] // steps.groups)
    return grouped.transpose(1, 0, 2)


def _numpy_conv(x: Any, w: Any, **attrs: Any) -> Any:
    steps: Any = Steps.of(x.shape, attrs)
    space = steps.counts(steps.space_of(x.shape), steps.window_of(w.shape))
    o, _ = steps.sides_of(w.shape)
    if not steps.groups:  # of a batch of convolutions that is empty
        return np.zeros(steps.image(x.shape[0], space, o), x.dtype)
    rows = np.matmul(_cut(steps, x, steps.window_of(w.shape)), _as_matrices(steps, w))
    last = rows.transpose(1, 0, 2).reshape(x.shape[0], *space, o)
    return np.moveaxis(last, -1, steps.channels)


def _numpy_by_input(g: Any, w: Any, *, sizes: Any, **attrs: Any) -> Any:
    steps: Any = Steps.of(g.shape, attrs)
    window, (_, i) = steps.window_of(w.shape), steps.sides_of(w.shape)
    if not steps.groups:
        return np.zeros(steps.image(g.shape[0], sizes, 0), g.dtype)
    rows = np.matmul(_as_rows(steps, g), _as_matrices(steps, w).transpose(0, 2, 1))
    n, places = g.shape[0], steps.space_of(g.shape)
    cut = rows.reshape(steps.groups, n, *places, i, *window)
    cut = np.moveaxis(np.moveaxis(cut, 2 + steps.rank, 2), 0, 1)
    cut = cut.reshape(n, steps.groups * i, *places, *window)
    padded = numpy_fold(
        cut,
        axes=tuple(range(2, 2 + steps.rank)),
        sizes=steps.padded(sizes),
        strides=steps.strides,
        dilations=steps.dilations,
    )
    inside = (slice(a, a + s) for (a, _), s in zip(steps.padding, sizes, strict=True))
    return np.moveaxis(padded[(slice(None), slice(None), *inside)], 1, steps.channels)


def _numpy_by_kernel(x: Any, g: Any, *, sizes: Any, **attrs: Any) -> Any:
    steps: Any = Steps.of(x.shape, attrs)
    if not steps.groups:
        return np.zeros(steps.kernel(0, 0, sizes), x.dtype)
    rows = np.matmul(_as_rows(steps, g).transpose(0, 2, 1), _cut(steps, x, sizes))
    o, c = g.shape[steps.channels], x.shape[steps.channels]
    w = rows.reshape(o, c // steps.groups, *sizes)
    return np.moveaxis(w, (0, 1), (-1, -2)) if steps.channels_last else w


# -- derivatives: each is linear in both operands --------------------------------------------------
def _conv(x: Tensor, w: Tensor, steps: Any) -> Tensor:
    return apply(CONV, (x, w), **steps).output()


def _by_input(g: Tensor, w: Tensor, steps: Any, like: Shape) -> Tensor:
    """The cotangent of the input of a convolution, whose shape is `like`."""
    sizes = Steps.of(g.shape, steps).space_of(like)
    return apply(BY_INPUT, (g, w), sizes=sizes, **steps).output()


def _by_kernel(x: Tensor, g: Tensor, steps: Any, like: Shape) -> Tensor:
    """The cotangent of its kernel."""
    sizes = Steps.of(x.shape, steps).window_of(like)
    return apply(BY_KERNEL, (x, g), sizes=sizes, **steps).output()


def _conv_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, w: Tensor, **steps: Any) -> Any:
    return [
        _by_input(g, w, steps, x.shape) if context.needs(0) else None,
        _by_kernel(x, g, steps, w.shape) if context.needs(1) else None,
    ]


def _by_input_vjp(
    context: Any, h: Tensor, out: Tensor, g: Tensor, w: Tensor, *, sizes: Any, **steps: Any
) -> Any:
    return [
        _conv(h, w, steps) if context.needs(0) else None,
        _by_kernel(h, g, steps, w.shape) if context.needs(1) else None,
    ]


def _by_kernel_vjp(
    context: Any, h: Tensor, out: Tensor, x: Tensor, g: Tensor, *, sizes: Any, **steps: Any
) -> Any:
    return [
        _by_input(g, h, steps, x.shape) if context.needs(0) else None,
        _conv(x, h, steps) if context.needs(1) else None,
    ]


def _jvp(op: Callable[[], Op]) -> Callable[..., Tensor | None]:
    """f(tx, y) + f(x, ty), of an f that is linear in each."""

    def push(context: Any, ts: Any, out: Tensor, x: Tensor, y: Tensor, **attrs: Any) -> Any:
        tx, ty = ts
        left = None if tx is None else apply(op(), (tx, y), **attrs).output()
        right = None if ty is None else apply(op(), (x, ty), **attrs).output()
        return left if right is None else right if left is None else left + right

    return push


# -- many at once ----------------------------------------------------------------------------------
def _joined(t: Tensor, axis: int) -> Tensor:
    """The first axis joined with what is then the axis `axis`, in front of it."""
    order = [*range(1, axis + 1), 0, *range(axis + 1, t.ndim)]
    moved = permute_dims(t, order)
    front, back = moved.shape[:axis], moved.shape[axis + 2 :]
    return reshape(moved, (*front, moved.shape[axis] * moved.shape[axis + 1], *back))


def _parted(t: Tensor, axis: int, size: Size) -> Tensor:
    """`_joined` undone."""
    rest = floordiv(t.shape[axis], size)
    apart = reshape(t, (*t.shape[:axis], size, rest, *t.shape[axis + 1 :]))
    return permute_dims(apart, [axis, *(a for a in range(apart.ndim) if a != axis)])


def _batched(op: Callable[[], Op], roles: str) -> Callable[..., Any]:
    """Many of them: with one kernel they are more images; with a kernel each, more groups. `roles`:
    an "i" for an image, a "k" for a kernel, of the operands and of the result."""

    def many(batch: Batch, x: Tensor, y: Tensor, **attrs: Any) -> Any:
        steps = Steps.of(x.shape[batch.has(0) :], attrs)
        if roles[0] == roles[2] == "i" and not batch.has(1):
            result = apply(op(), (_joined(x, 0), y), **attrs).output()
            return _parted(result, 0, batch.size)
        if batch.size == 0:  # there are no groups of none
            return batch.one_by_one()
        own = {"i": steps.channels, "k": steps.rank + 1 if steps.channels_last else 0}
        given = [t if batch.has(p) else batch.spread(t) for p, t in enumerate((x, y))]
        wide = [_joined(t, own[role]) for t, role in zip(given, roles, strict=False)]
        attrs["groups"] = steps.groups * batch.size
        result = apply(op(), wide, **attrs).output()
        return _parted(result, own[roles[2]], batch.size)

    return many


CONV: Op = register(
    Op(
        "conv",
        Kind.COMPOSITE,
        _infer_conv,
        numpy=_numpy_conv,
        vjp=_conv_vjp,
        jvp=_jvp(lambda: CONV),
        expand=expand_conv,
        batched=_batched(lambda: CONV, "iki"),
        doc="The sums of the products of a kernel with all windows of images.",
    )
)
BY_INPUT: Op = register(
    Op(
        "conv_by_input",
        Kind.COMPOSITE,
        _infer_by_input,
        numpy=_numpy_by_input,
        vjp=_by_input_vjp,
        jvp=_jvp(lambda: BY_INPUT),
        expand=expand_by_input,
        batched=_batched(lambda: BY_INPUT, "iki"),
        doc="The transpose of a convolution: the cotangent of its input, of `sizes`.",
    )
)
BY_KERNEL: Op = register(
    Op(
        "conv_by_kernel",
        Kind.COMPOSITE,
        _infer_by_kernel,
        numpy=_numpy_by_kernel,
        vjp=_by_kernel_vjp,
        jvp=_jvp(lambda: BY_KERNEL),
        expand=expand_by_kernel,
        batched=_batched(lambda: BY_KERNEL, "iik"),
        doc="The cotangent of the kernel of a convolution, of `sizes`.",
    )
)


# -- public functions ------------------------------------------------------------------------------
def _groups(op: str, groups: Any) -> Size:
    if not isinstance(groups, Dim) and not (is_size(groups) and groups >= 1):
        raise ArgumentError("not a number of groups", op=op, expected="an int >= 1",
                            given=repr(groups)[:80])  # fmt: skip
    return dim(groups)


def _two(op: str, x: Any, w: Any) -> tuple[Tensor, Tensor, int]:
    """The operands of one dtype, and the number of axes of space."""
    t, kernel = operands(op, x, w)
    if t.ndim < 3 or t.ndim != kernel.ndim:
        raise ShapeError(
            "the wrong number of axes",
            op=op,
            expected="3 axes or more, as many of the kernel: batch, channels and those of space",
            given=f"{show(t.shape)} and a kernel {show(kernel.shape)}",
            hint="gc.expand_dims(x, 0) makes a batch of one image",
        )
    return t, kernel, t.ndim - 2


def conv(
    x: Any,
    w: Any,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: Any = 1,
    data_format: str = "NCHW",
) -> Tensor:
    """The sums of the products of a kernel with all windows of `x`, along one axis of space or any
    number of them: what machine learning calls a convolution (the kernel is not turned over).

    Shapes: x [n, c, *space], w [o, c / groups, *window] -> [n, o, *places]; with "NHWC" (H and W
    stand for all axes of space) x [n, *space, c], w [*window, c / groups, o] -> [n, *places, o].
    places = (size + before + after - dilation * (window - 1) - 1) // stride + 1.
    `padding`: "valid", "same", an int, or for each axis an int or a pair (before, after) of zeros.
    `groups`: the channels in so many parts, each with kernels of its own; with as many groups as
    channels the convolution is depthwise.
    Dtypes: numbers, both operands of one; ints wrap.
    Errors: `ShapeError` for channels that do not fit, or a kernel larger than the padded input (at
    the call where sizes are named); `ArgumentError` for a stride of 0, or an unknown padding.

    >>> import graphc as gc
    >>> x, w = gc.placeholder("x", ("n", 3, 32, 32)), gc.placeholder("w", (16, 3, 3, 3))
    >>> gc.conv(x, w, padding="same").shape, gc.conv(x, w, stride=2).shape
    ((n, 16, 32, 32), (n, 16, 15, 15))
    """
    t, kernel, rank = _two("conv", x, w)
    last = has_channels_last("conv", data_format, rank)
    strides = each("conv", "stride", stride, rank)
    dilations = each("conv", "dilation", dilation, rank)
    steps = Steps(strides, (), dilations, _groups("conv", groups), last)
    space, window = steps.space_of(t.shape), steps.window_of(kernel.shape)
    pairs = pairs_of("conv", padding, space, window, strides, dilations)
    return _conv(t, kernel, steps._replace(padding=pairs).attrs())


def conv_transpose(
    x: Any,
    w: Any,
    *,
    stride: Any = 1,
    padding: Any = "valid",
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
    data_format: str = "NCHW",
) -> Tensor:
    """The transpose of a convolution: `conv` with this kernel takes the result's shape to that of
    `x`, and this is the derivative of that by its input. It makes images larger.

    Shapes: x [n, o, *places], w [o, c / groups, *window] -> [n, c, *space]; with "NHWC"
    x [n, *places, o], w [*window, c / groups, o]. space = (size - 1) * stride - before - after +
    dilation * (window - 1) + 1 + output_padding; with "same" it is size * stride.
    Dtypes and errors: as `conv`.

    >>> import graphc as gc
    >>> x, w = gc.placeholder("x", ("n", 16, 7, 7)), gc.placeholder("w", (16, 8, 3, 3))
    >>> gc.conv_transpose(x, w, stride=2).shape
    (n, 8, 15, 15)
    >>> gc.conv_transpose(x, w, stride=2, padding="same").shape
    (n, 8, 14, 14)
    """
    op = "conv_transpose"
    t, kernel, rank = _two(op, x, w)
    last = has_channels_last(op, data_format, rank)
    strides = each(op, "stride", stride, rank)
    dilations = each(op, "dilation", dilation, rank)
    more = each(op, "output padding", output_padding, rank, least=0)
    steps = Steps(strides, (), dilations, _groups(op, groups), last)
    places, window = steps.space_of(t.shape), steps.window_of(kernel.shape)
    _check_transposed(op, steps, t.shape, kernel.shape, more)
    if padding == "same":
        sizes = tuple(p * s + m for p, s, m in zip(places, strides, more, strict=True))
        pairs = pairs_of(op, padding, sizes, window, strides, dilations)
    else:
        pairs = pairs_of(op, padding, places, window, strides, dilations)
        each_axis = zip(places, strides, pairs, window, dilations, more, strict=True)
        sizes = tuple(
            (p - 1) * s - a - b + span(k, d) + m for p, s, (a, b), k, d, m in each_axis
        )
    attrs = steps._replace(padding=pairs).attrs()
    return apply(BY_INPUT, (t, kernel), sizes=sizes, **attrs).output()


def _check_transposed(op: str, steps: Steps, x: Shape, kernel: Shape, more: Sequence[int]) -> None:
    """Errors: `ShapeError` for channels that the kernel does not give, or that are no groups;
    `ArgumentError` for an output padding that a convolution would have made places of."""
    (o, i), c = steps.sides_of(kernel), x[steps.channels]
    if never_equal(o, c):
        raise ShapeError(
            "channels do not fit the kernel",
            op=op,
            expected=f"{o} channels, as the kernel {show(kernel)} gives where it is not transposed",
            given=f"{c} channels: {show(x)}",
            where=origin.where(),
        )
    try:
        _check_channels(op, steps, i * steps.groups, i, o)
    except ShapeError as error:
        raise located(error, op) from None
    if any(m >= s for m, s in zip(more, steps.strides, strict=True)):
        raise ArgumentError(
            "an output padding that is not smaller than the stride",
            op=op,
            expected=f"less than the strides {steps.strides}",
            given=str(tuple(more)),
            hint="it chooses among the sizes that a stride maps to one",
        )


FUNCTIONS |= {f.__name__: f for f in (conv, conv_transpose)}
