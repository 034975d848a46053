"""What convolutions are in terms of other ops: products of windows by a kernel as a matrix.

All of it has channels last, so that the elements of a window that are of one place are neighbours.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ShapeError
from graphc.ir.conditions import agree
from graphc.ir.dim import Size, floordiv, is_nonnegative, size_hint
from graphc.ir.dim import product as size_product
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, broadcast
from graphc.ops.build import scalar_like
from graphc.ops.contract import matmul
from graphc.ops.elementwise import multiply
from graphc.ops.image import Steps
from graphc.ops.index import strided_slice, zero_pad
from graphc.ops.reduce import sum
from graphc.ops.shape import (
    broadcast_to,
    concat,
    expand_dims,
    flip,
    matrix_transpose,
    permute_dims,
    reshape,
)
from graphc.ops.windows import FOLD, span, windows_of


# -- sums of products ------------------------------------------------------------------------------
def _infer_products(x: TensorType, y: TensorType, *, taps: int) -> tuple[TensorType, ...]:
    *left, m, k = x.shape
    *right, inner, n = y.shape
    cut = len(left) - taps
    same = len(left) == len(right) and all(map(agree, left[cut:], right[cut:]))
    if x.dtype is not y.dtype or not x.dtype.is_float or not same or not agree(k, inner):
        raise ShapeError(
            "no products to add up",
            op="convolution",
            expected="(..., *taps, m, k) @ (..., *taps, k, n)",
            given=f"{x} @ {y}",
        )
    batch = broadcast("convolution", tuple(left[:cut]), tuple(right[:cut]))
    return (TensorType(x.dtype, (*batch, m, n)),)


def _numpy_products(x: Any, y: Any, *, taps: int) -> Any:
    return np.sum(np.matmul(x, y), axis=tuple(range(-2 - taps, -2)))


def _add_up_products(x: Tensor, y: Tensor, taps: int) -> Tensor:
    """The same by matrix products and a sum."""
    products = matmul(x, y)
    axes = tuple(range(products.ndim - 2 - taps, products.ndim - 2))
    return sum(products, axis=axes)


PRODUCTS = register(
    Op(
        "convolution",
        Kind.CONVOLVE,
        _infer_products,
        numpy=_numpy_products,
        written_out=_add_up_products,
        facts=frozenset({Fact.STEP}),
        axes={},
        doc="Sums of matrix products, over as many axes before the last two as there are `taps`.",
    )
)
APART = 16  # places of a window, for each of which there is a sum of its own
DEEP, WIDE = 32, 8  # of products, from which windows are read in place: their k and their n


def _are_in_place(work: _Work, t: Tensor, window: Shape, n: Size) -> bool:
    """Whether products read the windows of an image in place: where a row of a window is long (a
    whole window, of channels in groups), and what is made of it wide: `n` channels. Else the
    windows are copied, which for windows of one element is no work. So is the other way for a
    kernel of one element, a product as it is."""
    steps = work.steps
    single = all(w == s == 1 for w, s in zip(window, steps.strides, strict=True))
    if single or not t.dtype.is_float:
        return False
    taps = window[-1] if steps.groups == 1 else size_product(window)
    long = taps * work.of_group(t.shape[-1])
    return size_hint(long) >= DEEP and size_hint(work.of_group(n)) >= WIDE


def _ordered(cut: Tensor, lead: int, axes: tuple[int, ...]) -> Tensor:
    """The axes behind the first `lead` in another order; they are counted from there."""
    return permute_dims(cut, (*range(lead), *(lead + a for a in axes)))


def _window_axes(rank: int) -> range:
    """The axes of the elements of windows [n, *places, c, *window]."""
    return range(2 + rank, 2 + 2 * rank)


class _Phases(NamedTuple):
    """One axis of an image, of which each phase is every `stride`-th place, `length` of them. Where
    all sizes are known the phases are those of the image, which begins at place `shift` of what is
    padded; else of what is padded, from which the image is cut, from `start` on."""

    stride: int
    window: int
    shift: int
    start: Size
    length: Size
    places: Size  # of what was made

    @classmethod
    def of(
        cls, stride: int, window: Size, padding: tuple[Size, Size], size: Size, places: Size
    ) -> _Phases:
        before, after = padding
        if isinstance(before, int) and isinstance(size, int) and isinstance(places, int):
            length = floordiv(size + stride - 1, stride)
            return cls(stride, int(window), before, 0, length, places)
        length = floordiv(before + size + after + stride - 1, stride)
        return cls(stride, int(window), 0, before, length, places)

    def taps(self, phase: int) -> range:
        """The places of a window that lie on the phase."""
        return range((phase + self.shift) % self.stride, self.window, self.stride)

    def places_of(self, phase: int) -> tuple[Size, Size, Size, Size]:
        """Which places of what was made reach the phase: from where on, and how many; and how many
        zeros there are before and after these."""
        taps, ahead = len(self.taps(phase)), (phase + self.shift) // self.stride
        if not isinstance(self.length, int) or not isinstance(self.places, int):
            return 0, self.places, taps - 1, self.length - self.places
        start = min(max(ahead - taps + 1, 0), self.places)
        size = max(min(self.places, self.length + ahead) - start, 0)
        before = max(taps - 1 - ahead, 0)
        return start, size, before, self.length + taps - 1 - before - size


class _Work(NamedTuple):
    """A convolution with its channels last, as what is done has them: images [n, *space, c] and
    kernels [*window, i, o]."""

    steps: Steps

    def image(self, t: Tensor) -> Tensor:
        """An image with its channels last."""
        return t if self.steps.channels_last else permute_dims(t, (0, *range(2, t.ndim), 1))

    def kernel(self, t: Tensor) -> Tensor:
        return t if self.steps.channels_last else permute_dims(t, (*range(2, t.ndim), 1, 0))

    def image_back(self, t: Tensor) -> Tensor:
        last = t.ndim - 1
        return t if self.steps.channels_last else permute_dims(t, (0, last, *range(1, last)))

    def kernel_back(self, t: Tensor) -> Tensor:
        rank = t.ndim - 2
        return t if self.steps.channels_last else permute_dims(t, (rank + 1, rank, *range(rank)))

    def axes(self, x: Tensor) -> tuple[int, ...]:
        """The axes of space of [..., n, *space, c]."""
        return tuple(range(x.ndim - 1 - self.steps.rank, x.ndim - 1))

    def padded(self, x: Tensor) -> Tensor:
        """[..., n, *space, c] with zeros around it."""
        first, *_ = axes = self.axes(x)
        starts = (*(0,) * first, *(a for a, _ in self.steps.padding), 0)
        space = self.steps.padded(x.shape[first : first + len(axes)])
        sizes = (*x.shape[:first], *space, x.shape[-1])
        return x if sizes == x.shape else zero_pad(x, starts, sizes, (1,) * x.ndim)

    def cropped(self, x: Tensor, sizes: Shape) -> Tensor:
        """`padded` undone."""
        starts = (0, *(a for a, _ in self.steps.padding), 0)
        return strided_slice(x, starts, (x.shape[0], *sizes, x.shape[-1]), (1,) * x.ndim)

    def windows(self, x: Tensor, window: Shape) -> Tensor:
        """[..., n, *places, c, *window] of an image."""
        steps = self.steps
        return windows_of(self.padded(x), self.axes(x), window, steps.strides, steps.dilations)

    def folded(self, cut: Tensor, sizes: Shape) -> Tensor:
        """The sum of what [n, *places, c, *window] has for each element of an image."""
        steps = self.steps
        attrs = {"strides": steps.strides, "dilations": steps.dilations}
        axes = tuple(range(1, 1 + steps.rank))
        whole = apply(FOLD, (cut,), axes=axes, sizes=steps.padded(sizes), **attrs).output()
        return self.cropped(whole, sizes)

    # -- sums of products that read windows in place -----------------------------------------------
    def of_group(self, channels: Size) -> Size:
        """How many of so many channels one group has."""
        return floordiv(channels, self.steps.groups)

    def split(self, t: Tensor) -> Tensor:
        """[groups, *rest, channels / groups] of what has its channels last; as it is where there is
        one group."""
        groups, last = self.steps.groups, t.ndim - 1
        if groups == 1:
            return t
        apart = reshape(t, (*t.shape[:last], groups, self.of_group(t.shape[last])))
        return permute_dims(apart, (last, *range(last), last + 1))

    def joined(self, t: Tensor) -> Tensor:
        """`split` undone."""
        if self.steps.groups == 1:
            return t
        last = permute_dims(t, (*range(1, t.ndim - 1), 0, t.ndim - 1))
        return reshape(last, (*last.shape[:-2], last.shape[-2] * last.shape[-1]))

    def sums(self, x: Tensor, w: Tensor) -> Tensor:
        """[..., n, *places, o] of an image and a kernel: for each row of places the sum over the
        window of [row, c] @ [c, o]."""
        rank, lead = self.steps.rank, w.shape[: w.ndim - self.steps.rank - 2]
        cut = self.windows(x, w.shape[len(lead) : -2])  # [..., n, *places, c, *window]
        left = _ordered(cut, len(lead), (*range(rank), *_window_axes(rank), rank, rank + 1))
        right = reshape(w, (*lead, *(1,) * rank, *w.shape[len(lead) :]))
        return apply(PRODUCTS, (left, right), taps=rank).output()

    def made(self, x: Tensor, w: Tensor) -> Tensor:
        """[n, *places, o] of an image and a kernel."""
        return self.joined(self.sums(self.split(x), self.split(w)))

    def made_back(self, g: Tensor, w: Tensor) -> Tensor:
        """The same by the kernel turned over, which makes i channels of o in each group."""
        turned = self.split(flip(w, tuple(range(self.steps.rank))))
        return self.joined(self.sums(self.split(g), matrix_transpose(turned)))

    def of_kernel(self, x: Tensor, g: Tensor, window: Shape) -> Tensor:
        """[*window, c, o]: for each of a window's places the sum over rows of [c, row] @ [row, o].
        """
        rank, each = self.steps.rank, self.split(g)
        lead = each.shape[: each.ndim - rank - 2]
        cut = self.windows(self.split(x), window)
        left = _ordered(cut, len(lead), (*_window_axes(rank), *range(rank), rank + 1, rank))
        right = reshape(each, (*lead, *(1,) * rank, *each.shape[len(lead) :]))
        return self.joined(apply(PRODUCTS, (left, right), taps=rank).output())

    def turned(self, window: Shape) -> _Work | None:
        """The convolution, by the kernel turned over, that is the derivative by the image; None
        where that is none: where windows are more than one place apart, or padding is wider than
        they."""
        steps = self.steps
        if any(s != 1 for s in steps.strides):
            return None
        pairs = []
        for (a, b), size, d in zip(steps.padding, window, steps.dilations, strict=True):
            rest = (span(size, d) - 1 - a, span(size, d) - 1 - b)
            if not all(map(is_nonnegative, rest)):
                return None
            pairs.append(rest)
        return _Work(steps._replace(padding=tuple(pairs)))

    def by_phases(self, g: Tensor, w: Tensor, sizes: Shape) -> Tensor | None:
        """The derivative by the image where windows are `stride` places apart: of each phase of the
        image, the places that leave one remainder, it is a convolution of g with every stride-th
        place of the kernel, turned over. None where windows have gaps or unknown sizes."""
        steps, window = self.steps, w.shape[:-2]
        if any(d != 1 for d in steps.dilations) or not all(isinstance(k, int) for k in window):
            return None
        rank, axes = steps.rank, tuple(range(steps.rank))
        channels, n = steps.groups * w.shape[-2], g.shape[0]
        along = tuple(map(_Phases.of, steps.strides, window, steps.padding, sizes, g.shape[1:-1]))
        counts = tuple(axis.length for axis in along)
        parts = []
        for phase in itertools.product(*map(range, steps.strides)):
            taps = [axis.taps(r) for axis, r in zip(along, phase, strict=True)]
            number = tuple(map(len, taps))
            if 0 in number:  # between windows
                parts.append(broadcast_to(scalar_like(0, g), (1, n, *counts, channels)))
                continue
            starts = (*(t.start for t in taps), 0, 0)
            part = strided_slice(w, starts, (*number, *w.shape[-2:]), (*steps.strides, 1, 1))
            places = [axis.places_of(r) for axis, r in zip(along, phase, strict=True)]
            start, size, before, after = zip(*places, strict=True)
            read = strided_slice(g, (0, *start, 0), (n, *size, g.shape[-1]), (1,) * g.ndim)
            around = tuple(zip(before, after, strict=True))
            one = Steps.usual(rank)._replace(padding=around, groups=steps.groups)
            work = _Work(one._replace(channels_last=True))
            parts.append(expand_dims(work.made_back(read, part), 0))
        together = reshape(concat(parts, 0), (*steps.strides, *parts[0].shape[1:]))
        order = [rank, *(a for i in axes for a in (rank + 1 + i, i)), 2 * rank + 1]
        shape = (c * s for c, s in zip(counts, steps.strides, strict=True))
        whole = reshape(permute_dims(together, order), (n, *shape, channels))
        first_of = (0, *(axis.start for axis in along), 0)
        return strided_slice(whole, first_of, (n, *sizes, channels), (1,) * whole.ndim)

    # -- windows as matrices, one for each group ---------------------------------------------------
    def rows(self, x: Tensor, window: Shape) -> Tensor:
        """The windows of an image as [groups, n * places, taps * i]; without groups in front where
        there is one."""
        cut, rank, groups = self.windows(x, window), self.steps.rank, self.steps.groups
        n, c = x.shape[0], x.shape[-1]
        places = cut.shape[1 : 1 + rank]
        order = (0, *range(1, 1 + rank), *range(2 + rank, 2 + 2 * rank), 1 + rank)
        last = permute_dims(cut, order)  # [n, *places, *window, c]
        count, taps = size_product((n, *places)), size_product(window)
        if groups == 1:
            return reshape(last, (count, taps * c))
        i = floordiv(c, groups)
        apart = reshape(last, (count, taps, groups, i))
        return reshape(permute_dims(apart, (2, 0, 1, 3)), (groups, count, taps * i))

    def from_rows(self, rows: Tensor, n: Size, places: Shape, window: Shape) -> Tensor:
        """`rows` undone: [n, *places, c, *window]."""
        groups, rank = self.steps.groups, self.steps.rank
        i = floordiv(rows.shape[-1], size_product(window))
        if groups != 1:
            count, taps = rows.shape[1], size_product(window)
            apart = permute_dims(reshape(rows, (groups, count, taps, i)), (1, 2, 0, 3))
            i, rows = groups * i, apart
        last = reshape(rows, (n, *places, *window, i))
        order = (*range(1 + rank), 1 + 2 * rank, *range(1 + rank, 1 + 2 * rank))
        return permute_dims(last, order)

    def matrices(self, w: Tensor) -> Tensor:
        """A kernel as [groups, taps * i, o / groups]."""
        *window, i, o = w.shape
        taps, groups = size_product(window), self.steps.groups
        if groups == 1:
            return reshape(w, (taps * i, o))
        return permute_dims(reshape(w, (taps * i, groups, floordiv(o, groups))), (1, 0, 2))

    def outputs(self, g: Tensor) -> Tensor:
        """What was made as [groups, n * places, o / groups]."""
        groups, count, o = self.steps.groups, size_product(g.shape[:-1]), g.shape[-1]
        if groups == 1:
            return reshape(g, (count, o))
        return permute_dims(reshape(g, (count, groups, floordiv(o, groups))), (1, 0, 2))

    def from_outputs(self, rows: Tensor, shape: Shape) -> Tensor:
        if self.steps.groups != 1:
            rows = permute_dims(rows, (1, 0, 2))
        return reshape(rows, shape)

    # -- a channel of its own for each group, which shares nothing --------------------------------
    def spread_kernel(self, w: Tensor) -> Tensor:
        """The kernel of what makes each channel of one: [groups, o / groups, *window]."""
        *window, _, o = w.shape
        groups, rank = self.steps.groups, len(window)
        apart = reshape(w, (*window, groups, floordiv(o, groups)))
        return permute_dims(apart, (rank, rank + 1, *range(rank)))

    def made_apart(self, x: Tensor, w: Tensor) -> Tensor:
        """[n, *places, o]: an elementwise product, and a sum over the windows."""
        cut, rank = self.windows(x, w.shape[:-2]), self.steps.rank
        wide = reshape(cut, (*cut.shape[: 2 + rank], 1, *w.shape[:-2]))
        taps = tuple(range(3 + rank, 3 + 2 * rank))
        made = sum(multiply(wide, self.spread_kernel(w)), axis=taps, dtype=x.dtype)
        return reshape(made, (*made.shape[: 1 + rank], w.shape[-1]))

    def of_kernel_apart(self, x: Tensor, g: Tensor, window: Shape) -> Tensor:
        """[*window, 1, o]. Where the window is known and small, each of its places is a sum of its
        own over the channels in order; they are one kernel, which reads g once."""
        rank, groups, o = self.steps.rank, self.steps.groups, g.shape[-1]
        m, places = floordiv(o, groups), g.shape[1:-1]
        each = reshape(g, (*g.shape[:-1], groups, m))
        over = tuple(range(1 + rank))
        taps = size_product(window)
        if not isinstance(taps, int) or taps > APART:
            cut = self.windows(x, window)
            wide = reshape(cut, (*cut.shape[: 2 + rank], 1, *window))
            each = reshape(each, (*each.shape, *(1,) * rank))
            total = sum(multiply(wide, each), axis=over, dtype=x.dtype)  # [groups, m, *window]
            return reshape(permute_dims(total, (*range(2, 2 + rank), 0, 1)), (*window, 1, o))
        padded, steps = self.padded(x), (1, *self.steps.strides, 1)
        sizes = (x.shape[0], *places, groups)
        found = []
        for offset in itertools.product(*(range(int(w)) for w in window)):
            at = (a * d for a, d in zip(offset, self.steps.dilations, strict=True))
            part = strided_slice(padded, (0, *at, 0), sizes, steps)
            product = multiply(reshape(part, (*sizes, 1)), each)
            found.append(reshape(sum(product, axis=over, dtype=x.dtype), (1, o)))
        return reshape(concat(found, 0), (*window, 1, o))


def expand_conv(x: Tensor, w: Tensor, **attrs: Any) -> Tensor:
    """A product of the windows as rows by the kernel as a matrix. Where each channel is made of one
    there is nothing to share: an elementwise product, and a sum."""
    work = _Work(Steps.of(x.shape, attrs))
    x, w = work.image(x), work.kernel(w)
    window, (i, o) = w.shape[:-2], w.shape[-2:]
    n, space = x.shape[0], work.steps.counts(x.shape[1:-1], w.shape[:-2])
    if i == 1 and work.steps.groups != 1:
        return work.image_back(work.made_apart(x, w))
    if _are_in_place(work, x, window, o):
        return work.image_back(work.made(x, w))
    rows = matmul(work.rows(x, window), work.matrices(w))
    return work.image_back(work.from_outputs(rows, (n, *space, o)))


def expand_by_input(g: Tensor, w: Tensor, *, sizes: Shape, **attrs: Any) -> Tensor:
    work = _Work(Steps.of(g.shape, attrs))
    g, w = work.image(g), work.kernel(w)
    window, (i, o) = w.shape[:-2], w.shape[-2:]
    n, places, rank = g.shape[0], g.shape[1:-1], work.steps.rank
    other, axes = work.turned(window), tuple(range(rank))
    if i == 1 and work.steps.groups != 1:
        groups = work.steps.groups
        if other is not None and o == groups:
            return work.image_back(other.made_apart(g, flip(w, axes)))
        wide = reshape(g, (n, *places, groups, floordiv(o, groups), *(1,) * rank))
        cut = sum(multiply(wide, work.spread_kernel(w)), axis=2 + rank, dtype=g.dtype)
    else:
        if _are_in_place(work, g, window, i * work.steps.groups):
            whole = work.by_phases(g, w, sizes) if other is None else other.made_back(g, w)
            if whole is not None:
                return work.image_back(whole)
        rows = matmul(work.outputs(g), matrix_transpose(work.matrices(w)))
        cut = work.from_rows(rows, n, places, window)
    return work.image_back(work.folded(cut, sizes))


def expand_by_kernel(x: Tensor, g: Tensor, *, sizes: Shape, **attrs: Any) -> Tensor:
    work = _Work(Steps.of(x.shape, attrs))
    x, g = work.image(x), work.image(g)
    groups, o = work.steps.groups, g.shape[-1]
    i = floordiv(x.shape[-1], groups)
    if i == 1 and groups != 1:
        return work.kernel_back(work.of_kernel_apart(x, g, sizes))
    if _are_in_place(work, x, sizes, o):
        return work.kernel_back(work.of_kernel(x, g, sizes))
    made = matmul(matrix_transpose(work.rows(x, sizes)), work.outputs(g))
    if groups != 1:
        made = permute_dims(made, (1, 0, 2))
    return work.kernel_back(reshape(made, (*sizes, i, o)))
