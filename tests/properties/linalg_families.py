"""How linear algebra beyond `families.py` is drawn; see there."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.node import Tensor

from .families import family
from .growth import Growth, UnsuitedError


def regular(b: Growth, t: Tensor) -> Tensor:
    """Symmetric matrices whose eigenvalues are 2 and more."""
    size = t.shape[-2]
    if not isinstance(size, int) or size == 0:
        raise UnsuitedError
    bounded = gc.tanh(t)
    return bounded @ gc.matrix_transpose(bounded) + gc.constant(np.eye(size) * 2, t.dtype)


@family(1)
def triangles(b: Growth) -> Any:
    t = b.pick("f", lambda t: t.ndim >= 2)
    a = regular(b, t)
    kind = b.integer(0, 2)
    if kind == 0:
        options = {name: b.chance(0.5) for name in ("lower", "trans", "unit_diagonal")}
        return gc.linalg.triangular_solve(a / 8, t, **options)
    if kind == 1:
        return gc.linalg.solve(a, t, assume_a="pos")
    return list(gc.linalg.lu(a)[1:])
