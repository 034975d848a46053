"""How windows, convolutions and pooling are drawn; see `families.py`."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.node import Tensor

from .families import family
from .growth import Growth, UnsuitedError


def _image(b: Growth, kinds: str, rank: int) -> tuple[Tensor, bool]:
    """A batch of images made of a tensor of the pool: its axes are some of batch, channels and
    space, the others are of size 1. And whether its channels are last."""
    t = b.pick(kinds, lambda t: t.ndim <= rank)
    known = b.rng.permutation(rank)[: t.ndim]
    shape: list[Any] = [1] * rank
    for axis, size in zip(sorted(int(a) for a in known), t.shape, strict=True):
        shape[axis] = size
    return gc.reshape(t, tuple(shape)), b.chance(0.5)


@family(1)
def windows(b: Growth) -> Any:
    t = b.pick("biuf", lambda t: t.ndim >= 1)
    axis = b.axis(t)
    size = b.integer(1, 2)
    steps = {"stride": b.integer(1, 2), "dilation": b.integer(1, 2)}
    cut = gc.windows(t, size, axis, **steps)
    if b.chance(0.3) or t.dtype.kind == "b":
        return cut
    return gc.fold_windows(cut, t.shape[axis], axis, **steps)


@family(1.5)
def convolution(b: Growth) -> Any:
    rank = b.integer(3, 4)
    x, last = _image(b, "iuf" if b.chance(0.2) else "f", rank)
    space, axis = rank - 2, -1 if last else 1
    wide = x.dtype.is_float and b.chance(0.4)
    if wide:  # enough channels for products that read windows in place
        vector = b.fresh((16,) if last else (16, *(1,) * space), x.dtype.name)
        x = gc.tanh(gc.sum(x, axis=axis, keepdims=True)) * vector
    channels = x.shape[axis]
    if not isinstance(channels, int) or channels == 0:
        raise UnsuitedError
    groups = 1 if wide else b.choose((1, 1, channels))
    window = [2 if wide else b.integer(1, 2) for _ in range(space)]
    o, i = 8 if wide else groups * b.integer(1, 2), channels // groups
    w = b.fresh((*window, i, o) if last else (o, i, *window), x.dtype.name)
    options = {
        "padding": b.choose(("valid", "same", 1)), "stride": b.integer(1, 2),
        "dilation": b.integer(1, 2), "groups": groups,
    }  # fmt: skip
    y = gc.conv(x, w, data_format="NHWC" if last else "NCHW", **options)
    return y * 0.25 if y.dtype.is_float else y


@family(0.7)
def pooling(b: Growth) -> Tensor:
    x, last = _image(b, "f", b.integer(3, 4))
    options = {"data_format": "NHWC" if last else "NCHW", "stride": b.integer(1, 2)}
    if b.chance(0.2):
        return getattr(gc, b.choose(("global_avg_pool", "global_max_pool")))(
            x, data_format=options["data_format"]
        )
    padding = b.choose(("valid", "same", 1))
    pool = gc.max_pool if b.chance(0.5) else gc.avg_pool
    return pool(x, 2, padding=padding, **options)


@family(1)
def resampled(b: Growth) -> Tensor:
    """Padding by what is inside, or another size."""
    if b.chance(0.6):
        t = b.pick("iuf", lambda t: t.ndim >= 1)
        widths = [(b.integer(0, 3), b.integer(0, 2)) for _ in t.shape]
        return gc.pad(t, widths, b.choose(("edge", "reflect", "symmetric", "wrap")))
    x, last = _image(b, "f", b.integer(3, 4))
    sizes = [b.integer(1, 6) for _ in range(x.ndim - 2)]
    layout = "NHWC" if last else "NCHW"
    return gc.interpolate(x, sizes, mode=b.choose(("nearest", "linear")), data_format=layout)
