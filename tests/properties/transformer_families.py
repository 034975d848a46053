"""How attention is drawn, and other chains over the examples of a batch; see `families.py`."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.node import apply
from graphc.ops.attention import ATTENTION_GRADIENT

from .families import family
from .growth import Growth, UnsuitedError

EPSILON = 1e-3


@family(3, every=4)
def attention(b: Growth) -> Any:
    """Of queries that are there and keys that are new; now and then its gradient. Where a size is
    named, it is computed in blocks."""
    q = b.pick("f", lambda t: t.ndim >= 2 and t.dtype.is_float)
    if b.wild:  # the sums of a block overflow where the mean does not
        raise UnsuitedError
    *batch, t, d = q.shape
    source, width = b.choose(b.axes)[0], b.integer(1, 3)
    k = b.fresh((*batch, source, d), q.dtype.name)
    v = b.fresh((*batch, source, width), q.dtype.name)
    mask = None
    if b.chance(0.4):
        shape = (t if b.chance(0.7) else 1, k.shape[-2] if b.chance(0.7) else 1)
        mask = b.fresh(shape, b.choose(("bool", q.dtype.name)))
    options: dict[str, Any] = {"causal": b.chance(0.4), "scale": 0.5}
    if b.chance(0.2):
        options |= {"dropout": 0.25, "key": b.fresh((2,), "uint32")}
    y = gc.dot_product_attention(q, k, v, mask, **options)
    if b.chance(0.6):
        return y
    g = b.fresh(y.shape, q.dtype.name)
    return list(apply(ATTENTION_GRADIENT, (g, *y.node.inputs), **y.node.attrs).outputs)


# -- chains of examples ----------------------------------------------------------------------------
def scores(b: Growth, y: Any, earlier: Any) -> Any:
    """Of each example's rows with each other, or with those that it had before."""
    other = earlier if b.chance(0.5) and earlier.shape == y.shape else y
    made = y @ gc.matrix_transpose(other) * 0.25
    made = gc.softmax(made, axis=-1 if b.chance(0.8) else -2) if b.chance(0.7) else gc.tanh(made)
    return made @ (y if b.chance(0.5) else other)


def weights(b: Growth, y: Any, _: Any) -> Any:
    """A product by what all examples share."""
    d = y.shape[-1]
    shape = (d, d) if b.chance(0.7) else (1, d, d)
    return y @ b.fresh(shape, y.dtype.name) * 0.3


def own_matrices(b: Growth, y: Any, _: Any) -> Any:
    """A product by a matrix of each example."""
    batch, d = y.shape[0], y.shape[-1]
    heads = y.shape[1:-2] if b.chance(0.5) else (1,) * (y.ndim - 3)
    return y @ b.fresh((batch, *heads, d, d), y.dtype.name) * 0.3


def layer_norm(b: Growth, y: Any, _: Any) -> Any:
    centred = y - gc.mean(y, axis=-1, keepdims=True)
    spread = gc.sqrt(gc.mean(gc.square(centred), axis=-1, keepdims=True) + EPSILON)
    normed = centred / spread
    return normed * b.fresh((y.shape[-1],), y.dtype.name) if b.chance(0.5) else normed


def beside(b: Growth, y: Any, earlier: Any) -> Any:
    """What is added: to all examples, to each example, to each row, or what was before."""
    if earlier.shape == y.shape and b.chance(0.4):
        return y + earlier
    shape = [s if b.chance(0.5) else 1 for s in y.shape]
    return gc.tanh(y + b.fresh(shape, y.dtype.name))


def masked(b: Growth, y: Any, _: Any) -> Any:
    shape = [s if b.chance(0.6) else 1 for s in y.shape]
    return gc.where(b.fresh(shape, "bool"), y, 0.5)


def met(b: Growth, y: Any, _: Any) -> Any:
    """Examples that meet: what no chain may have."""
    if b.chance(0.3):
        return gc.flip(y, axis=0)
    reduced = b.choose((gc.mean, gc.max, gc.sum))(y, axis=0, keepdims=True)
    return y - reduced * 0.1


def turned(b: Growth, y: Any, _: Any) -> Any:
    """Rows and columns, or heads and rows, exchanged and back around a step."""
    step = gc.softmax(gc.matrix_transpose(y), axis=-1)
    return y + gc.matrix_transpose(step)


LINKS = (scores, scores, weights, own_matrices, layer_norm, beside, masked, met, turned)


@family(3, every=4)
def examples(b: Growth) -> Any:
    """Steps on each example of a batch, with what all share, and now and then with one at which the
    examples meet. What is behind a step is a result too, sometimes, or added up over the batch."""
    if b.wild:
        raise UnsuitedError
    dtype = b.choose([d for d in ("float32", "float64") if d in b.dtypes])
    batch, d = b.choose(b.axes)[0], b.integer(2, 9)
    heads = (2,) if b.chance(0.3) else ()
    rows = b.choose(b.axes)[0] if b.chance(0.4) else b.integer(2, 9)
    y = b.fresh((batch, *heads, rows, d), dtype)
    results, earlier = [], y
    for _ in range(b.integer(3, 7)):
        made = b.choose(LINKS)(b, y, earlier)
        y, earlier = made, y
        if b.chance(0.2):
            results.append(b.choose((gc.sum, gc.max))(y, axis=0) if b.chance(0.5) else y)
    return [*results, y]
