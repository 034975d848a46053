"""Arrays for random graphs: ordinary values, special ones, and every memory layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any], wild: bool) -> Array:
    """Values of a dtype: small and finite, or with the special values of the dtype among them."""
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    special = rng.random(shape) < (0.3 if wild else 0.05 if dtype.kind in "iu" else 0.0)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        small = rng.integers(0 if dtype.kind == "u" else -5, 8, shape).astype(dtype)
        edges = np.array([info.min, info.max, info.max - 1, info.max // 2], dtype)
        return np.where(special, rng.choice(edges, shape), small)
    ordinary = rng.normal(size=shape)
    if rng.random() < 0.5:  # multiples of 1/4: sums are exact, ties happen
        ordinary = rng.integers(-8, 9, shape) / 4.0
    edges = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, np.finfo(dtype).max, 1e-30, 88.8])
    return np.where(special, rng.choice(edges, shape), ordinary).astype(dtype)


def _strided(a: Array) -> Array:
    wide = np.zeros(tuple(2 * s for s in a.shape), a.dtype)
    view = wide[(..., *(slice(None, None, 2),) * a.ndim)]
    view[...] = a
    return view


def _reversed(a: Array) -> Array:
    every = (..., *(slice(None, None, -1),) * a.ndim)
    return a[every].copy()[every]


def _stride_0(a: Array) -> Array:
    """One element along the first axis, repeated without memory: other values, the same shape."""
    return np.broadcast_to(a[:1], a.shape) if a.ndim and a.shape[0] else a


def _read_only(a: Array) -> Array:
    frozen = a.copy()
    frozen.setflags(write=False)
    return frozen


def _misaligned(a: Array) -> Array:
    memory = np.zeros(a.nbytes + 1, np.uint8)
    view = memory[1:].view(a.dtype)[: a.size].reshape(a.shape)
    view[...] = a
    return view


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": lambda a: a,
    "Fortran": lambda a: np.array(a, order="F"),
    "transposed": lambda a: a.T.copy().T,
    "strided": _strided,
    "reversed": _reversed,
    "stride 0": _stride_0,
    "read-only": _read_only,
    "misaligned": _misaligned,
}
