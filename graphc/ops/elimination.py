"""Elimination and substitution in NumPy, of any float: what steps that LAPACK computes mean.

All work on a batch of matrices, and none of them fails: where a pivot is 0, infinities and NaN come
out, and whoever asked looks at the pivots.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def lu(a: Any) -> tuple[Any, Any]:
    """a [..., m, n] -> l and u in one matrix, and which row each one of the first min(m, n) was
    exchanged with (counted from 1): partial pivoting, the first of the largest."""
    m, n = a.shape[-2:]
    rows = a.reshape(math.prod(a.shape[:-2]), m, n).copy()
    each, count = np.arange(len(rows)), min(m, n)
    pivots = np.zeros((len(rows), count), np.int64)
    with np.errstate(all="ignore"):
        for j in range(count):
            best = j + np.argmax(np.abs(rows[:, j:, j]), axis=1)
            pivots[:, j] = best + 1
            moved = rows[each, best]
            rows[each, best] = rows[:, j]
            rows[:, j] = moved
            pivot, below = moved[:, j, None], rows[:, j + 1 :, j]
            np.divide(below, pivot, out=below, where=pivot != 0)
            rows[:, j + 1 :, j + 1 :] -= below[:, :, None] * moved[:, None, j + 1 :]
    return rows.reshape(a.shape), pivots.reshape(*a.shape[:-2], count)


def exchanged(b: Any, pivots: Any, back: bool = False) -> Any:
    """The rows of b after the exchanges of an elimination; or before them, if `back`."""
    shape = (*np.broadcast_shapes(b.shape[:-2], pivots.shape[:-1]), *b.shape[-2:])
    rows = np.broadcast_to(b, shape).reshape(math.prod(shape[:-2]), *shape[-2:]).copy()
    count = pivots.shape[-1]
    to = np.broadcast_to(pivots, (*shape[:-2], count)).reshape(len(rows), count) - 1
    each, order = np.arange(len(rows)), range(count)
    for i in reversed(order) if back else order:
        moved = rows[each, to[:, i]]
        rows[each, to[:, i]] = rows[:, i]
        rows[:, i] = moved
    return rows.reshape(shape)


def is_odd(pivots: Any) -> Any:
    """Whether an elimination made an odd number of exchanges."""
    moved = pivots != np.arange(1, pivots.shape[-1] + 1)
    return np.logical_xor.reduce(moved, axis=-1)


def substitute(a: Any, b: Any, lower: bool, unit: bool = False) -> Any:
    """x with a x = b, reading one triangle of a; `unit`: its diagonal is taken as ones."""
    n = a.shape[-1]
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])
    x = np.broadcast_to(b, shape).copy()
    with np.errstate(all="ignore"):
        for i in range(n) if lower else reversed(range(n)):
            done = slice(0, i) if lower else slice(i + 1, n)
            x[..., i, :] -= (a[..., i, done, None] * x[..., done, :]).sum(axis=-2)
            if not unit:
                x[..., i, :] /= a[..., i, i, None]
    return x


def lu_solve(packed: Any, pivots: Any, b: Any, transposed: bool = False) -> Any:
    """x with a x = b (or the transposed of a), where `lu(a)` gave `packed` and `pivots`."""
    if transposed:
        turned = packed.swapaxes(-1, -2)
        y = substitute(turned, b, lower=True)
        return exchanged(substitute(turned, y, lower=False, unit=True), pivots, back=True)
    y = substitute(packed, exchanged(b, pivots), lower=True, unit=True)
    return substitute(packed, y, lower=False)


def cholesky(a: Any) -> Any:
    """The lower triangle L with L L^T = a, by the lower triangle of a; NaN where there is none."""
    result = np.zeros_like(a)
    with np.errstate(all="ignore"):
        for j in range(a.shape[-1]):
            row = result[..., j, :j]
            below = a[..., j:, j] - (result[..., j:, :j] * row[..., None, :]).sum(axis=-1)
            result[..., j:, j] = below / np.sqrt(below[..., :1])
    return result
