"""Random graphs about sizes: symbolic bounds, places on named axes, sizes that are computed.

`SIZED` lists the families beside those of `families.py`; `calls` finds the sizes at which what a
graph needs just holds, and just fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.dim import Size
from graphc.ir.dim import evaluate as size_value
from graphc.ir.node import Tensor

from .growth import Growth, UnsuitedError

SPECS = ("n", "m", "n-1", "n//2+1", "m+1", "2*n", "m*2-1", "n+m")  # of axes
MOST = 8  # sizes that are tried are below

Dims = dict[str, int]
SIZED: list[tuple[float, Callable[[Growth], Any]]] = []


def family(weight: float) -> Callable[[Callable[[Growth], Any]], Callable[[Growth], Any]]:
    def add(make: Callable[[Growth], Any]) -> Callable[[Growth], Any]:
        SIZED.append((weight, make))
        return make

    return add


def sized_axes(rng: np.random.Generator) -> list[tuple[Any, int]]:
    """The sizes in use with their values: two names, then others."""
    dims = {"n": int(rng.integers(3, 7)), "m": int(rng.integers(2, 5))}
    others = [SPECS[2:][int(i)] for i in rng.permutation(len(SPECS) - 2)[: rng.integers(1, 3)]]
    specs: list[Any] = ["n", "m", *(gc.dim(s) for s in others)]
    if rng.random() < 0.5:
        specs.append(3)
    return [(s, size_value(gc.dim(s), dims)) for s in specs]


def place(b: Growth, size: Size) -> Size:
    """A symbolic size that is often a place on an axis of `size`."""
    n, m = gc.dim("n"), gc.dim("m")
    own = size if not isinstance(size, int) else n
    k = b.integer(0, 3)
    options = (own - k, own - k, n - k, m - k, n - m, own // 2, n // 2 + 1, m, own - m, k + 0 * n)
    return b.choose(options)


def _axes(b: Growth) -> tuple[Tensor, int]:
    t = b.pick("biuf", lambda t: any(not isinstance(s, int) for s in t.shape))
    named = [i for i, s in enumerate(t.shape) if not isinstance(s, int)]
    return t, int(b.choose(named))


@family(12)
def symbolic_slice(b: Growth) -> Tensor:
    """Bounds that are symbolic, or count from either end."""
    t, axis = _axes(b)

    def bound() -> Any:
        kind = b.integer(0, 5)
        return None if kind == 0 else b.integer(-3, 3) if kind == 1 else place(b, t.shape[axis])

    step = b.choose((None, None, 1, 2, 3))
    return t[(slice(None),) * axis + (slice(bound(), bound(), step),)]


@family(8)
def element(b: Growth) -> Tensor:
    """A static index of a named size, or a symbolic one."""
    t, axis = _axes(b)
    at = b.integer(-3, 3) if b.chance(0.6) else place(b, t.shape[axis])
    return t[(slice(None),) * axis + (at,)]


@family(4)
def parts(b: Growth) -> Any:
    """Parts at symbolic places, and joined again."""
    t, axis = _axes(b)
    found = gc.split(t, [place(b, t.shape[axis])], axis)
    return gc.concat(found[::-1], axis) if b.chance(0.5) else found


@family(6)
def of_a_size(b: Growth) -> Tensor:
    """Made of nothing, with a size that is computed, beside others or joined to one."""
    size, dtype = place(b, gc.dim("n")), b.dtype("iuf")
    if isinstance(size, int):
        raise UnsuitedError
    made = gc.iota((size,), 0, dtype) if b.chance(0.5) else gc.ones((size,), dtype)
    if b.chance(0.3) and np.dtype(dtype).kind == "f":
        key = gc.constant(np.array([1, b.integer(0, 9)], np.uint32))
        made = gc.random.uniform(key, (size, 2), dtype) @ gc.ones((2,), dtype)
    if b.chance(0.3):
        return gc.concat([made, b.pick(made.dtype.kind, lambda t: t.ndim == 1).astype(made.dtype)])
    return gc.pad(made, [(b.integer(0, 2), size)]) if b.chance(0.3) else made


@family(4)
def stencil(b: Growth) -> Tensor:
    """Neighbours: both ends cut, in either spelling."""
    t, axis = _axes(b)
    n, before = t.shape[axis], (slice(None),) * axis
    cut = t[(*before, slice(None, n - 2 if b.chance(0.5) else -2))]
    return cut - t[(*before, slice(2, None))] if t.dtype.kind in "iuf" else cut


# -- the sizes of calls ----------------------------------------------------------------------------
def has_arrays(graph: gc.Graph, dims: Dims) -> bool:
    """Whether there are arrays of these sizes: none is negative."""
    return all(size_value(s, dims) >= 0 for t in graph.inputs for s in t.shape)


def holds(graph: gc.Graph, dims: Dims) -> bool:
    """Whether these sizes are what the graph needs."""
    return all(condition.holds(dims) for condition in graph.conditions)


def calls(graph: gc.Graph, rng: np.random.Generator) -> tuple[list[Dims], list[Dims]]:
    """Small sizes at which what the graph needs just holds, and such at which it just fails."""
    dims = graph.dims
    holding, failing = set(), set()
    for values in itertools.product(range(MOST), repeat=len(dims)):
        named = dict(zip(dims, values, strict=True))
        if has_arrays(graph, named):
            (holding if holds(graph, named) else failing).add(values)

    def beside(v: tuple[int, ...], others: set[tuple[int, ...]]) -> bool:
        moved = ((*v[:i], v[i] + d, *v[i + 1 :]) for i in range(len(v)) for d in (-1, 1))
        return any(w in others for w in moved)

    def drawn(some: set[tuple[int, ...]], others: set[tuple[int, ...]]) -> list[Dims]:
        found = sorted(v for v in some if beside(v, others))
        return [dict(zip(dims, found[int(i)], strict=True)) for i in rng.permutation(len(found))]

    return drawn(holding, failing), drawn(failing, holding)
