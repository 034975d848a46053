"""How linear algebra beyond `families.py` is drawn; see there."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.node import Tensor

from .families import family
from .growth import Growth, UnsuitedError


def regular(b: Growth, t: Tensor) -> Tensor:
    """Symmetric matrices whose eigenvalues are 2 and more, and seldom two of them near each other:
    the derivatives of their vectors would have no digits."""
    size = t.shape[-2]
    if not isinstance(size, int) or size == 0:
        raise UnsuitedError
    bounded = gc.where(t == t, gc.tanh(t), 0.5)
    apart = gc.constant(np.diag(2.0 + np.arange(size)), t.dtype)
    return bounded @ gc.matrix_transpose(bounded) + apart


def of_full_rank(t: Tensor) -> Tensor:
    """Matrices of entries up to 1, made such that their columns (or rows) are far from dependent
    and no two singular values near each other: otherwise vectors and their derivatives have no
    digits."""
    rows, columns = (int(s) for s in t.shape[-2:])
    diagonal = np.eye(rows, columns) * (2.0 + np.arange(columns)) * max(rows, columns)
    return t + gc.constant(diagonal, t.dtype)


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


@family(1)
def cofactors(b: Growth) -> Any:
    a = regular(b, b.pick("f", lambda t: t.ndim >= 2))
    return gc.grad(gc.sum(gc.linalg.det(a / 2)), a)


@family(3)
def decompositions(b: Growth) -> Any:
    """What of them does not depend on signs and on the order of equal values."""
    given = b.pick("f", lambda t: t.ndim >= 2)
    t = gc.where(given == given, gc.tanh(given), 0.5)  # of NaN LAPACK's iterations do not end
    if 0 in t.shape[-2:] or not all(isinstance(s, int) for s in t.shape[-2:]):
        raise UnsuitedError
    kind = b.integer(0, 7)
    if kind == 0:
        return gc.linalg.svdvals(t)
    if kind == 1:
        u, s, vh = gc.linalg.svd(
            of_full_rank(t), full_matrices=b.chance(0.3) and t.shape[-2] == t.shape[-1]
        )
        return (u * s[..., None, :]) @ vh
    if kind == 2:
        q, r = gc.linalg.qr(of_full_rank(t), mode=b.choose(("reduced", "complete")))
        return q @ r
    a = regular(b, t)
    if kind == 7:  # a product of two that is not symmetric, but whose eigenvalues are real
        other = gc.constant(np.diag(np.arange(1.0, int(a.shape[-1]) + 1)), t.dtype)
        if b.chance(0.5):  # vectors of norm 1, without a derivative
            v = gc.linalg.eig(gc.stop_gradient(a @ other)).eigenvectors
            return gc.sum(gc.abs(v) ** 2, axis=-2)
        return gc.sum(gc.real(gc.linalg.eigvals(a @ other)), axis=-1)
    if kind == 3:
        return gc.linalg.eigvalsh(a)
    if kind == 4:
        w, v = gc.linalg.eigh(a)
        return (v * w[..., None, :]) @ gc.matrix_transpose(v)
    return gc.linalg.pinv(a) if kind == 5 else gc.linalg.expm(a / 16)


@family(1, every=4)
def symmetric(b: Growth) -> Any:
    """Equations whose matrix is symmetric, with eigenvalues of both signs."""
    t = b.pick("f", lambda t: t.ndim >= 2)
    a = regular(b, t)
    signs = gc.constant(np.diag((-1.0) ** np.arange(int(a.shape[-1])) * 30), t.dtype)
    return gc.linalg.solve(a + signs, t, assume_a="sym")


@family(4, every=12)
def lengths(b: Growth) -> Any:
    """Norms and spreads, of zeros too, whose gradient is 0 there."""
    t = b.pick("f", lambda t: t.ndim >= 1)
    near = gc.where(t == t, gc.tanh(t), 0.0)
    kind = b.integer(0, 4)
    if kind == 0:
        return gc.linalg.vector_norm(near, axis=-1, ord=b.choose((1, 2, 3)))
    if kind == 1:
        return gc.std(near, axis=b.integer(0, t.ndim - 1))
    if kind == 2:
        return gc.nn.normalize(near)
    if kind == 3 and t.ndim >= 2:
        return gc.linalg.cdist(near, near + 1)
    return gc.root_of_squares(gc.sum(gc.square(near), axis=-1))
