"""How attention is drawn; see `families.py`."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.node import apply
from graphc.ops.attention import ATTENTION_GRADIENT

from .families import family
from .growth import Growth, UnsuitedError


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
