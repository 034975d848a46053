"""How sorts, searches and elements at places of an order are drawn; and what is checked."""

from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.ir.node import Tensor

from .families import family
from .growth import Growth


@family(2)
def sorting(b: Growth) -> Any:
    t = b.pick("biuf", lambda t: t.ndim > 0)
    axis, descending = b.axis(t), b.chance(0.3)
    kind = b.integer(0, 3)
    if kind == 0:
        return gc.sort(t, axis, descending=descending)
    if kind == 1:
        return gc.argsort(t, axis, descending=descending)
    if kind == 2:
        size = t.shape[axis]
        count = b.integer(0, size) if isinstance(size, int) else b.integer(0, 2)
        return list(gc.topk(t, count, axis, largest=descending))
    both = gc.sort(t, axis), gc.argsort(t, axis)
    return [*both, gc.take_along_axis(b.pick("f", lambda s: s.shape == t.shape), both[1], axis)]


@family(1)
def largest_of_a_named_axis(b: Growth) -> Any:
    t = b.pick("biuf", lambda t: any(not isinstance(s, int) for s in t.shape))
    axis = b.choose([a for a, s in enumerate(t.shape) if not isinstance(s, int)])
    return list(gc.topk(t, b.integer(0, 2), axis, largest=b.chance(0.5)))


@family(1)
def searching(b: Growth) -> Tensor:
    vector = b.pick("iuf", lambda t: t.ndim == 1)
    return gc.searchsorted(gc.sort(vector), b.partner(vector), b.choose(("left", "right")))


@family(1)
def at_places_of_an_order(b: Growth) -> Tensor:
    t = b.pick("iuf", lambda t: t.ndim > 0)
    axis, keepdims = b.subset(t), b.chance(0.3)
    if b.chance(0.5):
        return b.choose((gc.median, gc.nanmedian))(t, axis, keepdims)
    method = b.choose(("linear", "lower", "midpoint", "hazen"))
    share = b.choose((0.0, 0.3, 0.5, [0.25, 1.0]))
    return b.choose((gc.quantile, gc.nanquantile))(t, share, axis, keepdims, method=method)


@family(0.5)
def shuffled(b: Growth) -> Tensor:
    t, key = b.pick("biuf", lambda t: t.ndim > 0), gc.constant([0, b.integer(0, 9)], "uint32")
    return gc.random.permutation(key, t, b.axis(t), independent=b.chance(0.5))


@family(0.5)
def checked(b: Growth) -> Tensor:
    """What holds always: a call that fails has no results to compare."""
    t = b.pick("biuf", lambda t: True)
    return gc.ensure(t, gc.logical_or(t == t, t != t), "neither equal nor unequal")
