"""Samples of windows, convolutions and pooling. What they equal is written as loops over places."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.node import apply
from graphc.ops.convolution import BY_KERNEL
from graphc.ops.convolution_expand import PRODUCTS
from graphc.ops.resample import GATHERED

from .sampling import Array, Case, Samples, Shape, of_kinds

SAMPLES: dict[str, Samples] = {}


def windows(x: Array, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
            first: int) -> Array:  # fmt: skip
    """The windows along the axes from `first` on, place by place."""
    axes = range(first, first + len(window))
    steps = list(zip(axes, window, stride, dilation, strict=True))
    counts = [(x.shape[a] - (w - 1) * d - 1) // s + 1 for a, w, s, d in steps]
    shape = (*x.shape[:first], *counts, *x.shape[first + len(window) :], *window)
    found = np.empty(shape, x.dtype)
    for place in itertools.product(*map(range, counts)):
        for offset in itertools.product(*map(range, window)):
            at: list[Any] = [slice(None)] * x.ndim
            to: list[Any] = [slice(None)] * x.ndim
            for (a, _, s, d), p, o in zip(steps, place, offset, strict=True):
                at[a], to[a] = p * s + o * d, p
            found[(*to, *offset)] = x[tuple(at)]
    return found


def conv(x: Array, w: Array, stride: Sequence[int], padding: Sequence[tuple[int, int]],
         dilation: Sequence[int], groups: int = 1) -> Array:  # fmt: skip
    """A convolution with channels first, channel by channel, in extended precision."""
    wide = np.longdouble if x.dtype.kind == "f" else x.dtype
    padded = np.pad(x, ((0, 0), (0, 0), *padding)).astype(wide)
    cut = windows(padded, w.shape[2:], stride, dilation, 2)
    space = range(2, 2 + len(stride))
    out = np.zeros((x.shape[0], w.shape[0], *(cut.shape[a] for a in space)), wide)
    inputs, made = w.shape[1], w.shape[0] // groups
    for o, i in itertools.product(range(w.shape[0]), range(inputs)):
        taps = w[o, i].astype(wide)
        part = cut[:, (o // made) * inputs + i] * taps
        out[:, o] += part.sum(tuple(range(-len(stride), 0)), dtype=wide)
    return out.astype(x.dtype)


def last(x: Array) -> Array:
    """An image with its channels last."""
    return np.moveaxis(x, 1, -1)


def first(x: Array) -> Array:
    return np.moveaxis(x, -1, 1)


_WINDOWS: tuple[tuple[Shape, tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    ((5,), (2,), (1,), (1,)), (("n", 6, 7), (3, 2), (1, 1), (1, 1)), ((2, 7), (3,), (2,), (1,)),
    ((2, 8), (3,), (2,), (3,)), ((4, 6), (2, 3), (2, 3), (1, 1)),
    ((1, 3, 3), (3, 3), (1, 1), (1, 1)), ((9, "n"), (), (), ()),
)  # fmt: skip


def _cut(shape: Shape, window: Any, stride: Any, dilation: Any) -> Case:
    if not window:  # along an axis that is not the last
        return Case(
            call=lambda x: gc.windows(x, 4, 0, stride=2),
            numpy=lambda x: windows(x, (4,), (2,), (1,), 0),
            shapes=(shape,),
        )
    axis = len(shape) - len(window)
    return Case(
        call=lambda x: gc.windows(x, window, stride=stride, dilation=dilation),
        numpy=lambda x: windows(x, window, stride, dilation, axis),
        shapes=(shape,),
    )


SAMPLES["windows"] = Samples(cases=tuple(_cut(*case) for case in _WINDOWS))


def _fold(g: Array, size: int, stride: int, dilation: int) -> Array:
    """[..., m, w] put together along an axis of `size`."""
    out = np.zeros((*g.shape[:-2], size), g.dtype)
    for offset in range(g.shape[-1]):
        for place in range(g.shape[-2]):
            out[..., place * stride + offset * dilation] += g[..., place, offset]
    return out


SAMPLES["fold_windows"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, a=args: gc.fold_windows(x, a[0], stride=a[1], dilation=a[2]),
            numpy=lambda x, a=args: _fold(x, *a),
            shapes=(shape,),
        )
        for shape, args in (
            ((4, 2), (5, 1, 1)), (("n", 3, 2), (6, 2, 1)), ((2, 3), (6, 2, 1)),
            ((2, 2, 3), (8, 2, 2)), ((1, 4), (4, 1, 1)),
        )
    ),
    takes=of_kinds("iuf"),
    ulp=4,
    unit=1.0,
    wild=False,
)  # fmt: skip


def _conv(x: Shape, w: Shape, stride: Any, padding: Any, dilation: Any, groups: int = 1,
          channels_last: bool = False) -> Case:  # fmt: skip
    rank = len(x) - 2
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    steps = (stride,) * rank, ((padding, padding),) * rank, (dilation,) * rank, groups
    if not channels_last:
        return Case(
            call=lambda x, w: gc.conv(x, w, **options),
            numpy=lambda x, w: conv(x, w, *steps),
            shapes=(x, w),
        )
    return Case(
        call=lambda x, w: gc.conv(x, w, data_format="NHWC", **options),
        numpy=lambda x, w: last(conv(first(x), np.moveaxis(w, (-1, -2), (0, 1)), *steps)),
        shapes=((x[0], *x[2:], x[1]), (*w[2:], w[1], w[0])),
    )


SAMPLES["conv"] = Samples(
    cases=(
        _conv((2, 3, 5, 5), (4, 3, 3, 3), 1, 1, 1),
        _conv(("n", 2, 6), (3, 2, 2), 1, 0, 1),
        _conv(("n", 2, 6, 5), (4, 2, 3, 2), 2, 1, 1, 1, True),
        _conv((1, 4, 6, 7), (6, 2, 3, 2), 2, 1, 2, 2),
        _conv((2, 3, 5, 4), (6, 1, 3, 3), 1, 1, 1, 3),
        _conv((2, 4, 3, 3), (3, 4, 1, 1), 1, 0, 1),
        _conv((1, 2, 3, 4, 4), (2, 2, 2, 2, 3), 1, 1, 1),
    ),
    takes=of_kinds("iuf"),
    ulp=16,
    unit=1.0,
    wild=False,
)


def _by_place(g: Array, w: Array, size: int, stride: int, padding: int) -> Array:
    """The transpose of a convolution of one axis, by the matrix of the convolution."""
    wide = "float64" if g.dtype.kind == "f" else "int64"
    unit = np.eye(w.shape[1] * size, dtype=wide).reshape(-1, w.shape[1], size)
    matrix = conv(unit, w.astype(wide), (stride,), ((padding, padding),), (1,))
    made = np.tensordot(g.astype(wide), matrix, ((1, 2), (1, 2)))
    return made.reshape(g.shape[0], w.shape[1], size).astype(g.dtype)


SAMPLES["conv_by_input"] = Samples(
    cases=tuple(
        Case(
            call=lambda g, w, a=args: gc.conv_transpose(
                g, w, stride=a[1], padding=a[2], output_padding=a[3]
            ),
            numpy=lambda g, w, a=args: _by_place(g, w, *a[:3]),
            shapes=shapes,
        )
        for shapes, args in (
            (((2, 3, 4), (3, 2, 3)), (6, 1, 0, 0)), ((("n", 3, 4), (3, 2, 3)), (7, 2, 1, 0)),
            (((1, 3, 3), (3, 2, 2)), (7, 3, 1, 1)),
        )
    ),
    takes=of_kinds("iuf"),
    ulp=16,
    unit=1.0,
    wild=False,
)  # fmt: skip


def _by_kernel(x: Array, g: Array, window: Sequence[int], stride: Sequence[int],
               padding: Sequence[tuple[int, int]], groups: int) -> Array:  # fmt: skip
    """The cotangent of a kernel, element by element."""
    wide = np.longdouble if x.dtype.kind == "f" else np.int64
    padded = np.pad(x, ((0, 0), (0, 0), *padding)).astype(wide)
    cut = windows(padded, window, stride, (1,) * len(window), 2)
    o, i = g.shape[1], x.shape[1] // groups
    out = np.zeros((o, i, *window), wide)
    for to, of in itertools.product(range(o), range(i)):
        at = (to // (o // groups)) * i + of
        part = cut[:, at] * g[:, to].astype(wide)[(..., *(None,) * len(window))]
        out[to, of] = part.sum(tuple(range(1 + len(window))))
    return out.astype(x.dtype)


def _kernel_case(x: Shape, g: Shape, window: Any, stride: int, padding: int, groups: int) -> Case:
    rank = len(window)
    steps = {
        "strides": (stride,) * rank, "padding": ((padding, padding),) * rank, "groups": groups,
    }  # fmt: skip
    return Case(
        call=lambda x, g: apply(BY_KERNEL, (x, g), sizes=window, **steps).output(),
        numpy=lambda x, g: _by_kernel(
            x, g, window, steps["strides"], steps["padding"], groups  # type: ignore[arg-type]
        ),
        shapes=(x, g),
    )


SAMPLES["conv_by_kernel"] = Samples(
    cases=(
        _kernel_case((2, 3, 5, 4), (2, 4, 5, 4), (3, 3), 1, 1, 1),
        _kernel_case(("n", 2, 7), ("n", 3, 3), (3,), 2, 0, 1),
        _kernel_case((2, 4, 5, 5), (2, 6, 3, 3), (3, 3), 2, 1, 2),
        _kernel_case((2, 3, 4, 4), (2, 6, 4, 4), (3, 3), 1, 1, 3),
    ),
    takes=of_kinds("iuf"),
    ulp=32,
    unit=1.0,
    wild=False,
)


SAMPLES["convolution"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, y: apply(PRODUCTS, (x, y), taps=1).output(),
            numpy=lambda x, y: np.einsum("...tmk,...tkn->...mn", x, y),
            shapes=shapes,
        )
        for shapes in (
            ((2, 3, 4, 5), (2, 3, 5, 2)), (("n", 2, 1, 3), (1, 2, 3, 2)),
            (("n", 3, 2), ("n", 2, 3)),
        )
    ),
    takes=of_kinds("f"),
    ulp=16,
    unit=1.0,
    wild=False,
    domain=None,
)  # fmt: skip

# -- pooling ---------------------------------------------------------------------------------------
def _pooled(x: Array, size: Any, stride: Any, pad: int, reduce: Any, fill: Any) -> Array:
    rank = x.ndim - 2
    pairs = ((0, 0), (0, 0), *((pad, pad),) * rank)
    padded = np.pad(x, pairs, constant_values=fill)
    cut = windows(padded, (size,) * rank, (stride,) * rank, (1,) * rank, 2)
    found: Array = reduce(cut, axis=tuple(range(2 + rank, 2 + 2 * rank)))
    return found


def _lowest(x: Array) -> Any:
    return -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min


_POOLS: tuple[tuple[Shape, int, int, int], ...] = (
    ((2, 3, 4, 6), 2, 2, 0), (("n", 2, 7), 3, 2, 1), ((1, 2, 5, 5), 2, 2, 0),
    ((1, 1, 4, 4), 3, 1, 1),
)  # fmt: skip
SAMPLES["max_pool"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, a=args: gc.max_pool(x, a[0], stride=a[1], padding=a[2]),
            numpy=lambda x, a=args: _pooled(x, *a, np.max, _lowest(x)),
            shapes=(shape,),
        )
        for shape, *args in _POOLS
    ),
    takes=of_kinds("iuf"),
    smooth=False,
)
SAMPLES["avg_pool"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, a=args: gc.avg_pool(x, a[0], stride=a[1], padding=a[2]),
            numpy=lambda x, a=args: _pooled(x, *a, np.mean, 0),
            shapes=(shape,),
        )
        for shape, *args in _POOLS
    ),
    takes=of_kinds("f"),
    ulp=8,
    unit=1.0,
    wild=False,
)
for _name, _reduce in (("global_max_pool", np.max), ("global_avg_pool", np.mean)):
    SAMPLES[_name] = Samples(
        cases=tuple(
            Case(
                call=lambda x, f=_name: getattr(gc, f)(x),
                numpy=lambda x, f=_reduce: f(x, axis=tuple(range(2, x.ndim))),
                shapes=(shape,),
            )
            for shape in ((2, 3, 4, 5), ("n", 2, 3))
        ),
        takes=of_kinds("f"),
        ulp=8,
        unit=1.0,
        wild=False,
        smooth=_name == "global_avg_pool",
    )


# -- other places ----------------------------------------------------------------------------------
def _padded(mode: str, shape: Shape, width: Any) -> Case:
    return Case(
        call=lambda x: gc.pad(x, width, mode),
        numpy=lambda x: np.pad(x, width, mode),  # type: ignore[call-overload]
        shapes=(shape,),
    )


_MODES = ("edge", "reflect", "symmetric", "wrap")
SAMPLES["resample"] = Samples(
    cases=(
        *(_padded(mode, (4,), (2, 3)) for mode in _MODES),
        *(_padded(mode, (2, 3), ((0, 0), (7, 8))) for mode in _MODES),
        *(_padded(mode, ("n", 1, 3), ((0, 0), (2, 1), (1, 0))) for mode in _MODES),
    )
)


def _resized(x: Array, sizes: Sequence[int], linear: bool) -> Array:
    """Place by place, along one axis after the other, in extended precision."""
    for axis, count in zip(range(2, x.ndim), sizes, strict=True):
        wide, size = x.astype(np.longdouble) if linear else x, x.shape[axis]
        rows = []
        for i in range(count):
            place = (i + np.longdouble(0.5)) * size / count - np.longdouble(0.5)
            at = max(place, 0) if linear else 0
            low = int(at) if linear else i * size // count
            high = min(low + 1, size - 1)
            first, second = wide.take(low, axis), wide.take(high, axis)
            rows.append(first + (second - first) * (at - low) if linear else first)
        x = np.stack(rows, axis).astype(x.dtype)
    return x


_SIZES: tuple[tuple[Shape, tuple[int, ...]], ...] = (
    ((1, 2, 3, 4), (6, 8)), (("n", 1, 5), (3,)), ((1, 1, 4, 1), (4, 3)), ((2, 1, 7), (9,)),
)  # fmt: skip
SAMPLES["interpolate"] = Samples(
    cases=tuple(
        Case(
            call=lambda x, s=sizes, m=mode: gc.interpolate(x, s, mode=m),
            numpy=lambda x, s=sizes, m=mode: _resized(x, s, m == "linear"),
            shapes=(shape,),
        )
        for shape, sizes in _SIZES
        for mode in ("nearest", "linear")
    ),
    takes=of_kinds("f"),
    ulp=8,
    unit=1.0,
    wild=False,
)


def _put_back(g: Array, mode: str, size: int, before: int) -> Array:
    """The transpose of padding the last axis, by the matrix of the padding."""
    behind = g.shape[-1] - size - before
    wide = "float64" if g.dtype.kind == "f" else "int64"
    matrix = np.pad(np.eye(size, dtype=wide), ((0, 0), (before, behind)), mode)  # type: ignore[call-overload]
    back: Array = (g.astype(wide) @ matrix.T).astype(g.dtype)
    return back


SAMPLES["resample_back"] = Samples(
    cases=tuple(
        Case(
            call=lambda g, m=mode: apply(
                GATHERED, (g,), shape=(*g.shape[:-1], 3), rule=m, starts=(0, 2)
            ).output(),
            numpy=lambda g, m=mode: _put_back(g, m, 3, 2),
            shapes=(("n", 8),),
        )
        for mode in _MODES
    ),
    takes=of_kinds("iuf"),
    ulp=8,
    unit=1.0,
    wild=False,
)
