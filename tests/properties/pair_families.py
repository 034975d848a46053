"""How interactions of pairs of points are drawn; see `families.py`."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.node import Tensor

from .families import family
from .growth import Growth, UnsuitedError

EXPONENTS = (-6, -4, -3, -1.5, -0.5, 1.5, 4)


def weight(b: Growth, r2: Tensor) -> Tensor:
    """A number for each pair, by the square of its distance."""
    kind = b.integer(0, 3)
    if kind == 0:
        return gc.exp(-0.5 * r2)
    if kind == 1:
        return gc.where(r2 < 1.0, 1 - r2, 0.0)
    if kind == 2:
        return gc.sqrt(r2)
    return (r2 * 0.25 + 0.5) ** b.choose(EXPONENTS)


@family(3, every=4)
def pairs(b: Growth) -> Any:
    """Of points with others, or with each other but for themselves; sums along rows and columns of
    what is there for each coordinate, and for each pair."""
    if b.wild:  # a sum of distances overflows where another order does not
        raise UnsuitedError
    (n, m), d = (b.choose(b.axes)[0] for _ in range(2)), b.integer(1, 4)
    batch = b.shape(1) if b.chance(0.2) else ()
    x = b.fresh((*batch, n, d), b.dtype("f"))
    y = x if b.chance(0.6) else b.fresh((*batch, m, d), x.dtype.name)
    difference = x[..., :, None, :] - y[..., None, :, :]
    r2 = gc.sum(difference * difference, axis=-1) + 0.1
    w = weight(b, r2)
    if y is x and b.chance(0.6):
        i = gc.arange(x.shape[-2])
        w = gc.where(i[:, None] == i[None, :], 0.0, w)
    made = [gc.sum(w)] if b.chance(0.5) else [gc.sum(w, axis=b.choose((-1, -2)))]
    if b.chance(0.6):
        reduce = gc.sum if b.chance(0.8) else gc.max
        made.append(reduce(w[..., None] * difference, axis=b.choose((-2, -3))))
    return made
