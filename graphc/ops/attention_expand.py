"""What attention and its gradient are in terms of other ops.

Where the scores of one head are few, they are whole: a product, a softmax, a product. Else there is
a loop over heads, in it one over blocks of queries, in it one over blocks of keys, and what is in
memory are the scores of one block. The softmax over all keys comes block by block: with the largest
score so far `m`, the sum `l` of exp(s - m) and the sum of the values times these, a block with a
larger score scales both sums down. Of each query `m + log(l)` is kept, by which the gradient
computes the weights of a block again: exp(s - m - log(l)).

The dropout of a weight depends on the key and on its place among all weights, so a block computes
its part. With `causal`, blocks above the diagonal are left out.
Sources: Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018); Dao,
"FlashAttention-2" (2023), section 3.1.

Axes: q [*batch, t, d], k [*batch, s, d], v [*batch, s, e]; a mask has as many axes as the scores
[*batch, t, s], each of the same size or of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from graphc.ir.dim import Size, floordiv, maximum, product
from graphc.ir.dtype import bool_, int64
from graphc.ir.node import Tensor
from graphc.ir.shape import Shape
from graphc.ops.branch import cond
from graphc.ops.build import constant, scalar_like, size_as_tensor
from graphc.ops.contract import matmul
from graphc.ops.create import full, iota, zeros
from graphc.ops.dynamic import read
from graphc.ops.elementwise import (
    add,
    divide,
    exp,
    floor_divide,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    logical_and,
    multiply,
    remainder,
    stop_gradient,
    subtract,
    where,
)
from graphc.ops.elementwise import (
    maximum as larger,
)
from graphc.ops.index import strided_slice, zero_pad
from graphc.ops.random_bits import kept, kept_from
from graphc.ops.reduce import max, sum
from graphc.ops.scan import scan
from graphc.ops.shape import expand_dims, matrix_transpose, reshape

ROWS = COLUMNS = 256  # of a block of scores: with what it is made of, it is in a second-level cache
WHOLE = ROWS * COLUMNS  # scores of a head up to which they are not cut
INFINITY = float("inf")

Tensors: TypeAlias = "tuple[Tensor, ...]"


@dataclass(frozen=True)
class Scores:
    """Which scores count and which weights are kept: what attention is given besides q, k and v."""

    shape: Shape  # of all scores, [*batch, t, s]
    scale: float
    causal: bool
    rate: float
    mask: Tensor | None
    key: Tensor | None

    @classmethod
    def of(
        cls, q: Tensor, k: Tensor, more: Sequence[Tensor], scale: float, causal: bool, rate: float,
        masked: bool,
    ) -> Scores:  # fmt: skip
        shape = (*q.shape[:-1], k.shape[-2])
        mask, key = more[0] if masked else None, more[-1] if rate else None
        return cls(shape, scale, causal, rate, mask, key)

    @property
    def are_few(self) -> bool:
        """Whether the scores of a head are known to be no more than those of a block."""
        t, s = self.shape[-2:]
        return isinstance(t, int) and isinstance(s, int) and t * s <= WHOLE


# -- whole scores ----------------------------------------------------------------------------------
def _scaled(x: Tensor, scores: Scores) -> Tensor:
    return x if scores.scale == 1 else multiply(x, scalar_like(scores.scale, x))


def _seen(scores: Tensor, mask: Tensor | None, conditions: Sequence[Tensor]) -> Tensor:
    """The scores plus an additive mask, and -inf where a mask or a condition says no."""
    if mask is not None and mask.dtype is not bool_:
        scores = add(scores, mask)
    elif mask is not None:
        conditions = [mask, *conditions]
    if not conditions:
        return scores
    seen, *others = conditions
    for other in others:
        seen = logical_and(seen, other)
    return where(seen, scores, scalar_like(-INFINITY, scores))


def _finite(peak: Tensor) -> Tensor:
    """The largest score, by which all are moved; 0 where none is seen. It changes no weight."""
    fixed = stop_gradient(peak)
    return where(greater(fixed, scalar_like(-INFINITY, fixed)), fixed, scalar_like(0, fixed))


def _largest(scores: Tensor) -> Tensor:
    if scores.shape[-1] == 0:
        return full((*scores.shape[:-1], 1), -INFINITY, scores.dtype)
    return max(scores, axis=-1, keepdims=True)


def _share(total: Tensor) -> Tensor:
    """1 / total; 0 where nothing is seen."""
    one, zero = scalar_like(1, total), scalar_like(0, total)
    some = total != zero
    return where(some, divide(one, where(some, total, one)), zero)


def _dropped(scores: Scores, weights: Tensor, keep: Callable[[], Tensor]) -> Tensor:
    """Weights, or their cotangents, where they are kept, as much larger."""
    if not scores.rate:
        return weights
    scaled = multiply(weights, scalar_like(1 / (1 - scores.rate), weights))
    return where(keep(), scaled, scalar_like(0, weights))


def _whole_keep(scores: Scores) -> Callable[[], Tensor]:
    key = scores.key
    assert key is not None or not scores.rate
    return lambda: kept(key, 1 - scores.rate, scores.shape)  # type: ignore[arg-type]


def whole_weights(q: Tensor, k: Tensor, scores: Scores) -> Tensor:
    """The weights of all pairs: softmax(q k'), without a dropout."""
    t, s = scores.shape[-2:]
    conditions = []
    if scores.causal:
        conditions.append(greater_equal(iota((t, 1), 0, int64), iota((s,), 0, int64)))
    found = _scaled(matmul(q, matrix_transpose(k)), scores)
    found = _seen(found, scores.mask, conditions)
    e = exp(subtract(found, _finite(_largest(found))))
    return multiply(e, _share(sum(e, axis=-1, keepdims=True)))


def whole(q: Tensor, k: Tensor, v: Tensor, scores: Scores) -> Tensor:
    """softmax(q k') v."""
    return matmul(_dropped(scores, whole_weights(q, k, scores), _whole_keep(scores)), v)


def whole_gradient(g: Tensor, q: Tensor, k: Tensor, v: Tensor, scores: Scores) -> Tensors:
    """The cotangents of q, k, v, and of the masked scores."""
    keep = _whole_keep(scores)
    p = whole_weights(q, k, scores)
    dv = matmul(matrix_transpose(_dropped(scores, p, keep)), g)
    dp = _dropped(scores, matmul(g, matrix_transpose(v)), keep)
    ds = multiply(p, subtract(dp, sum(multiply(dp, p), axis=-1, keepdims=True)))
    by = _scaled(ds, scores)
    return matmul(by, k), matmul(matrix_transpose(by), q), dv, ds


# -- blocks ----------------------------------------------------------------------------------------
def _ceil(a: Size, b: Size) -> Size:
    return floordiv(a + b - 1, b)


@dataclass(frozen=True)
class Cut:
    """An axis of `size` in `count` equal blocks of `block`, of which the last may go beyond it."""

    size: Size
    count: Size
    block: Size

    @classmethod
    def of(cls, size: Size, most: int) -> Cut:
        count = maximum(_ceil(size, most), 1)
        return cls(size, count, maximum(_ceil(size, count), 1))

    @property
    def padded(self) -> Size:
        return self.count * self.block

    def blocks(self, x: Tensor) -> Tensor:
        """[*batch, size, m] -> [heads, count, block, m], with zeros at the end."""
        *batch, _, m = x.shape
        if self.padded != self.size:
            starts = (0,) * x.ndim
            x = zero_pad(x, starts, (*batch, self.padded, m), (1,) * x.ndim)
        return reshape(x, (product(batch), self.count, self.block, m))

    def joined(self, x: Tensor, batch: Shape) -> Tensor:
        """`blocks` undone."""
        flat = reshape(x, (*batch, self.padded, x.shape[-1]))
        if self.padded == self.size:
            return flat
        sizes = (*batch, self.size, x.shape[-1])
        return strided_slice(flat, (0,) * flat.ndim, sizes, (1,) * flat.ndim)

    def padded_mask(self, mask: Tensor, axis: int) -> Tensor:
        """A mask that goes on, so that each block has its part."""
        if mask.shape[axis] == 1 or self.padded == self.size:
            return mask
        sizes = list(mask.shape)
        sizes[axis] = self.padded
        return zero_pad(mask, (0,) * mask.ndim, tuple(sizes), (1,) * mask.ndim)


def _loop(
    step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Sequence[Tensor]
) -> tuple[Any, Any]:
    """A scan; of one turn, that turn."""
    if xs[0].shape[0] != 1:
        return scan(step, carry, tuple(xs))
    carry, ys = step(carry, tuple(reshape(x, x.shape[1:]) for x in xs))
    if ys is None:
        return carry, None
    return carry, tuple(reshape(y, (1, *y.shape)) for y in ys)


@dataclass(frozen=True)
class Blocks:
    """Scores block by block: number `i` of the queries, number `j` of the keys, of head `n`."""

    scores: Scores
    rows: Cut
    columns: Cut

    @classmethod
    def of(cls, scores: Scores) -> Blocks:
        t, s = scores.shape[-2:]
        rows, columns, mask = Cut.of(t, ROWS), Cut.of(s, COLUMNS), scores.mask
        if mask is not None:
            mask = columns.padded_mask(rows.padded_mask(mask, -2), -1)
        return cls(replace(scores, mask=mask), rows, columns)

    @property
    def heads(self) -> Tensor:
        return iota((product(self.scores.shape[:-2]),), 0, int64)

    def block(self, n: Tensor, i: Tensor, j: Tensor, q: Tensor, k: Tensor) -> Tensor:
        """The scores of a block: -inf where nothing is seen."""
        conditions = []
        column = self._first(j, self.columns) + iota((self.columns.block,), 0, int64)
        if self.scores.causal:
            conditions.append(greater_equal(expand_dims(self._row(i), 1), column))
        if self.columns.padded != self.columns.size:
            conditions.append(less(column, size_as_tensor(self.columns.size, int64)))
        found = _scaled(matmul(q, matrix_transpose(k)), self.scores)
        return _seen(found, self._mask(n, i, j), conditions)

    def dropped(self, n: Tensor, i: Tensor, j: Tensor, weights: Tensor) -> Tensor:
        t, s = (size_as_tensor(size, int64) for size in self.scores.shape[-2:])

        def keep() -> Tensor:
            assert self.scores.key is not None
            first = (n * t + self._row(i)) * s + self._first(j, self.columns)
            return kept_from(self.scores.key, 1 - self.scores.rate, first, self.columns.block)

        return _dropped(self.scores, weights, keep)

    def where_seen(
        self, i: Tensor, j: Tensor, work: Callable[[], Any], unseen: Callable[[], Any]
    ) -> Any:
        """`work()`, but for a block above the diagonal, where nothing is seen, `unseen()`."""
        if not self.scores.causal:
            return work()
        last = self._first(i, self.rows) + size_as_tensor(self.rows.block - 1, int64)
        return cond(less_equal(self._first(j, self.columns), last), work, unseen)

    @staticmethod
    def _first(number: Tensor, cut: Cut) -> Tensor:
        return multiply(number, size_as_tensor(cut.block, int64))

    def _row(self, i: Tensor) -> Tensor:
        return self._first(i, self.rows) + iota((self.rows.block,), 0, int64)

    def _mask(self, n: Tensor, i: Tensor, j: Tensor) -> Tensor | None:
        """The part of the mask for a block, read where it is."""
        mask = self.scores.mask
        if mask is None:
            return None
        starts: list[Tensor] = []
        for size, whole in reversed(
            list(zip(mask.shape[:-2], self.scores.shape[:-2], strict=True))
        ):
            extent = size_as_tensor(whole, int64)
            starts.insert(0, constant(0, int64) if size == 1 else remainder(n, extent))
            n = floor_divide(n, extent)
        sizes: list[Size] = [1] * len(starts)
        for number, cut, size in (
            (i, self.rows, mask.shape[-2]),
            (j, self.columns, mask.shape[-1]),
        ):
            starts.append(constant(0, int64) if size == 1 else self._first(number, cut))
            sizes.append(1 if size == 1 else cut.block)
        return reshape(read(mask, starts, tuple(sizes)), tuple(sizes[-2:]))


def _forward(q: Tensor, k: Tensor, v: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
    """The result in blocks of queries [heads, count, block, e], and for each query the logarithm of
    the sum of exp(s), +inf where nothing is seen: then all weights are 0."""
    rows, e, dtype = blocks.rows.block, v.shape[-1], q.dtype

    def of_head(_: None, x: Tensors) -> tuple[None, Tensors]:
        n, qs, ks, vs = x

        def of_rows(_: None, x: Tensors) -> tuple[None, Tensors]:
            i, q = x

            def of_columns(before: Tensors, x: Tensors) -> tuple[Tensors, None]:
                j, k, v = x
                made = blocks.where_seen(
                    i, j, lambda: _more(before, blocks, n, i, j, q, k, v), lambda: before
                )
                return made, None

            if blocks.columns.count == 1:
                j = constant(0, int64)
                peak, total, sums = _more(None, blocks, n, i, j, q, ks[0], vs[0])
            else:
                first = (
                    full((rows, 1), -INFINITY, dtype),
                    zeros((rows, 1), dtype),
                    zeros((rows, e), dtype),
                )
                columns = iota((blocks.columns.count,), 0, int64)
                (peak, total, sums), _ = scan(of_columns, first, (columns, ks, vs))
            some = total != scalar_like(0, total)
            sure = where(some, total, scalar_like(1, total))
            kept_sum = where(some, _finite(peak) + log(sure), scalar_like(INFINITY, total))
            return None, (multiply(sums, _share(total)), kept_sum)

        made = _loop(of_rows, None, (iota((blocks.rows.count,), 0, int64), qs))[1]
        return None, made

    cut = blocks.rows.blocks(q), blocks.columns.blocks(k), blocks.columns.blocks(v)
    out, logs = _loop(of_head, None, (blocks.heads, *cut))[1]
    return out, logs


def _more(
    before: Tensors | None,
    blocks: Blocks,
    n: Tensor,
    i: Tensor,
    j: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
) -> Tensors:
    """The largest score, the sum of exp(s - that), the values times these, with a block more."""
    found = blocks.block(n, i, j, q, k)
    peak = _largest(found)
    peak = peak if before is None else larger(before[0], peak)
    by = _finite(peak)
    e = exp(subtract(found, by))
    total, sums = sum(e, axis=-1, keepdims=True), matmul(blocks.dropped(n, i, j, e), v)
    if before is not None:
        scale = exp(subtract(before[0], by))
        total, sums = before[1] * scale + total, before[2] * scale + sums
    return peak, total, sums


def _backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, blocks: Blocks
) -> tuple[Tensor, Tensor, Tensor]:
    """The cotangents of q, k and v in blocks. For each block of keys the queries come one block
    after the other, and what each adds to its own cotangent."""
    rows, columns = blocks.rows, blocks.columns
    (d, e), dtype = (q.shape[-1], v.shape[-1]), q.dtype
    out, logs = _forward(q, k, v, blocks)
    gs = rows.blocks(g)
    means = sum(multiply(gs, out), axis=-1, keepdims=True)
    numbers = iota((rows.count,), 0, int64)

    def of_head(_: None, x: Tensors) -> tuple[None, Tensors]:
        n, qs, ks, vs, gs, logs, means = x

        def of_columns(dq: Tensor, x: Tensors) -> tuple[Tensor, Tensors]:
            j, k, v = x

            def of_rows(sums: Tensors, x: Tensors) -> tuple[Tensors, Tensors]:
                i, q, g, log_sum, mean, dq = x

                def work() -> tuple[Tensor, Tensor, Tensor]:
                    p = exp(subtract(blocks.block(n, i, j, q, k), log_sum))
                    dp = blocks.dropped(n, i, j, matmul(g, matrix_transpose(v)))
                    ds = _scaled(multiply(p, subtract(dp, mean)), blocks.scores)
                    dv = matmul(matrix_transpose(blocks.dropped(n, i, j, p)), g)
                    dk = matmul(matrix_transpose(ds), q)
                    return sums[0] + dk, sums[1] + dv, dq + matmul(ds, k)

                dk, dv, dq = blocks.where_seen(i, j, work, lambda: (*sums, dq))
                return (dk, dv), (dq,)

            first = zeros((columns.block, d), dtype), zeros((columns.block, e), dtype)
            sums, (dq,) = _loop(of_rows, first, (numbers, qs, gs, logs, means, dq))
            return dq, sums

        first = zeros((rows.count, rows.block, d), dtype)
        dq, (dk, dv) = _loop(of_columns, first, (iota((columns.count,), 0, int64), ks, vs))
        return None, (dq, dk, dv)

    cut = rows.blocks(q), columns.blocks(k), columns.blocks(v)
    dq, dk, dv = _loop(of_head, None, (blocks.heads, *cut, gs, logs, means))[1]
    return dq, dk, dv


# -- the definitions -------------------------------------------------------------------------------
def expand_attention(q: Tensor, k: Tensor, v: Tensor, *more: Tensor, **attrs: Any) -> Tensor:
    scores = Scores.of(q, k, more, **attrs)
    if scores.are_few:
        return whole(q, k, v, scores)
    blocks = Blocks.of(scores)
    return blocks.rows.joined(_forward(q, k, v, blocks)[0], scores.shape[:-2])


def expand_gradient(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, *more: Tensor, **attrs: Any
) -> Tensors:
    scores = Scores.of(q, k, more, **attrs)
    if scores.are_few:
        return whole_gradient(g, q, k, v, scores)[:3]
    blocks, batch = Blocks.of(scores), scores.shape[:-2]
    dq, dk, dv = _backward(g, q, k, v, blocks)
    rows, columns = blocks.rows, blocks.columns
    return rows.joined(dq, batch), columns.joined(dk, batch), columns.joined(dv, batch)
