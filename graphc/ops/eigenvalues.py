"""Eigenvalues and eigenvectors of general matrices, which are complex; inside of it, pairs of real
tensors. Those of symmetric matrices are in `decompositions.py`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphc.ir.node import Tensor, apply
from graphc.ir.shape import TensorType
from graphc.ops import factors_by_columns as steps
from graphc.ops.build import scalar_like, tensor
from graphc.ops.complex import complex
from graphc.ops.elementwise import greater, less, multiply, where
from graphc.ops.manipulate import roll
from graphc.ops.shape import concat, expand_dims, matrix_transpose
from graphc.ops.solving import of_numpy, solve, square


def _infer_eig(a: TensorType) -> tuple[TensorType, ...]:
    square("eig", a)
    return a, a


def _numpy_parts(x: Any, a: Any) -> Any:
    return tuple(part(x).astype(a.dtype) for part in (np.real, np.imag))


def _expand_eig(a: Tensor) -> tuple[Tensor, ...]:
    """Of a pair of complex eigenvalues LAPACK gives the real and the imaginary part of the first
    vector; the second is its conjugate."""
    _, imag, packed = steps.eig(matrix_transpose(a), "eig")
    zero = scalar_like(0, imag)
    first, second = (expand_dims(test(imag, zero), -1) for test in (greater, less))
    parts = (
        where(second, roll(packed, 1, -2), packed),
        where(first, roll(packed, -1, -2), where(second, -packed, scalar_like(0, packed))),
    )
    real, imag = (matrix_transpose(part) for part in parts)
    return real, imag


EIG = of_numpy(
    "eig", _infer_eig, lambda a: _numpy_parts(np.linalg.eig(a)[1], a), None,
    "Real and imaginary parts of eigenvectors.", expand=_expand_eig, why=steps.NO_EIGENVALUES,
)  # fmt: skip


def _infer_eigvals(a: TensorType) -> tuple[TensorType, ...]:
    values = TensorType(a.dtype, (*square("eigvals", a), a.shape[-1]))
    return values, values


def _eigvals_vjp(context: Any, g: Any, out: Any, a: Tensor) -> list[Any]:
    """The real part of v^-T diag(gr - i gi) v^T, for the parts gr and gi of the cotangent (Giles
    2008, section 3.1); the complex equations are real ones of twice the size."""
    real, imag = (matrix_transpose(part) for part in apply(EIG, (a,)).outputs)
    sides = []
    if g[0] is not None:
        sides.append(multiply(expand_dims(g[0], -1), concat([real, imag], -1)))
    if g[1] is not None:
        sides.append(multiply(expand_dims(g[1], -1), concat([imag, -real], -1)))
    if not sides:
        return [None]
    n = a.shape[-1]
    side = sides[0] if len(sides) == 1 else sides[0] + sides[1]
    side = concat([side[..., :, :n], side[..., :, n:]], -2)
    upper, lower = concat([real, -imag], -1), concat([imag, real], -1)
    return [solve(concat([upper, lower], -2), side)[..., :n, :]]


def _expand_eigvals(a: Tensor) -> tuple[Tensor, ...]:
    return steps.eig(matrix_transpose(a), "eigvals")[:2]


# In the order of the vectors that `eig` gives: one routine computes both.
EIGVALS = of_numpy(
    "eigvals", _infer_eigvals, lambda a: _numpy_parts(np.linalg.eig(a)[0], a), _eigvals_vjp,
    "Real and imaginary parts of eigenvalues.", expand=_expand_eigvals, why=steps.NO_EIGENVALUES,
)  # fmt: skip


class EigResult(NamedTuple):
    """What `eig` gives, by NumPy's names."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eig(x: Any, /) -> EigResult:
    """The eigenvalues of square matrices, in no order, and the eigenvectors that belong to them, as
    columns of norm 1: complex numbers, also where all are real (NumPy's dtype depends on the data).

    Shapes: [..., n, n] -> [..., n] and [..., n, n]. Dtypes: float gives complex.
    Errors: `ShapeError`, `DTypeError`; at the call `LinAlgError` for infinities and NaN, as NumPy,
    and where LAPACK does not converge.
    Only the eigenvalues have a derivative, where they are not equal.
    Source: derivative by Giles, Collected matrix derivative results, 2008, section 3.1.

    >>> import graphc as gc
    >>> gc.evaluate(gc.linalg.eig([[0.0, -1.0], [1.0, 0.0]]).eigenvalues)
    array([0.+1.j, 0.-1.j])
    """
    t = tensor(x, "eig")
    real, imag = apply(EIG, (t,)).outputs
    return EigResult(eigvals(t), complex(real, imag))


def eigvals(x: Any, /) -> Tensor:
    """The eigenvalues of square matrices, complex and in no order.

    Shapes: [..., n, n] -> [..., n]. Dtypes, Errors, derivative: as `eig`.
    """
    real, imag = apply(EIGVALS, (tensor(x, "eigvals"),)).outputs
    return complex(real, imag)
