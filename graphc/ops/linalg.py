"""`gc.linalg`: linear algebra on the last two axes; leading axes are a batch. The families are in
`solving.py` (equations, triangles), `determinant.py`, `decompositions.py`, `matrix_functions.py`,
and `norms.py` (what is made of sums).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.elsewhere import LINALG, finder
from graphc.errors import ArgumentError
from graphc.ir.dtype import float64
from graphc.ir.node import Tensor
from graphc.keywords import answer
from graphc.ops.build import cast, tensor
from graphc.ops.contract import matmul as matmul
from graphc.ops.decompositions import eigh as eigh
from graphc.ops.decompositions import eigvalsh as eigvalsh
from graphc.ops.decompositions import qr as qr
from graphc.ops.decompositions import svd as svd
from graphc.ops.decompositions import svdvals as svdvals
from graphc.ops.determinant import det as det
from graphc.ops.determinant import slogdet as slogdet
from graphc.ops.eigenvalues import eig as eig
from graphc.ops.eigenvalues import eigvals as eigvals
from graphc.ops.einsum import tensordot as tensordot
from graphc.ops.einsum import vecdot as vecdot
from graphc.ops.elementwise import greater
from graphc.ops.matrix_functions import cond as cond
from graphc.ops.matrix_functions import count_of
from graphc.ops.matrix_functions import expm as expm
from graphc.ops.matrix_functions import lstsq as lstsq
from graphc.ops.matrix_functions import matrix_power as matrix_power
from graphc.ops.matrix_functions import matrix_rank as matrix_rank
from graphc.ops.matrix_functions import multi_dot as multi_dot
from graphc.ops.matrix_functions import pinv as pinv
from graphc.ops.matrix_functions import tensorinv as tensorinv
from graphc.ops.matrix_functions import tensorsolve as tensorsolve
from graphc.ops.norms import cdist as cdist
from graphc.ops.norms import cross as cross
from graphc.ops.norms import diagonal as diagonal
from graphc.ops.norms import matrix_norm as matrix_norm
from graphc.ops.norms import norm as norm
from graphc.ops.norms import outer as outer
from graphc.ops.norms import trace as trace
from graphc.ops.norms import vector_norm as vector_norm
from graphc.ops.shape import matrix_transpose as matrix_transpose
from graphc.ops.solving import cho_factor as cho_factor
from graphc.ops.solving import cho_solve as cho_solve
from graphc.ops.solving import cholesky as cholesky
from graphc.ops.solving import inv as inv
from graphc.ops.solving import lu as lu
from graphc.ops.solving import solve as solve
from graphc.ops.solving import solve_triangular as solve_triangular
from graphc.ops.solving import triangular_solve as triangular_solve

FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (solve, inv, det, slogdet, cholesky)
}
ALSO = {  # of `gc.linalg`, and of no other name
    f.__name__: f
    for f in (
        triangular_solve, solve_triangular, cho_factor, cho_solve, lu, eigh, eigvalsh, eig, eigvals,
        svd, svdvals, qr, pinv, lstsq, matrix_rank, cond, expm, matrix_power, multi_dot, tensorinv,
        tensorsolve, matmul, matrix_transpose, vector_norm, matrix_norm, norm, cdist, cross,
        outer, tensordot, vecdot, diagonal, trace,
    )
}  # fmt: skip


# -- where NumPy's function takes other arguments, or gives something else -------------------------
def _eigh(a: Any, UPLO: str = "L") -> Any:
    return eigh(_lower(a, UPLO))


def _eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return eigvalsh(_lower(a, UPLO))


def _lower(a: Any, uplo: str) -> Any:
    if uplo not in ("L", "U"):
        raise ArgumentError("no triangle", op="eigh", expected="'L' or 'U'", given=repr(uplo))
    return a if uplo == "L" else matrix_transpose(a)


def _svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    return svd(a, full_matrices=full_matrices) if compute_uv else svdvals(a)


def _qr(a: Any, mode: str = "reduced") -> Any:
    return qr(a).R if mode == "r" else qr(a, mode=mode)


def _pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """NumPy keeps what is above 1e-15 of the largest, if not told."""
    return pinv(a, rtol=rtol if rtol is not None else 1e-15 if rcond is None else rcond)


def _matrix_rank(
    A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None
) -> Any:  # fmt: skip
    """`tol` is absolute."""
    return matrix_rank(A, rtol=rtol) if tol is None else count_of(greater(svdvals(A), tol))


def _of_floats(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with matrices of ints and bools as float64, which is NumPy's way."""

    def as_float(given: Any) -> Any:
        if not isinstance(given, (Tensor, np.ndarray)):
            return given
        t = tensor(given, function.__name__)
        return t if t.dtype.has_derivative else cast(t, float64)

    @wraps(function)
    def of_floats(*given: Any, **named: Any) -> Any:
        return function(*map(as_float, given), **{k: as_float(v) for k, v in named.items()})

    return of_floats


def _matrix_power(a: Any, n: int) -> Any:
    """Of ints an int for n >= 0, else a float."""
    power = _of_floats(matrix_power) if isinstance(n, int) and n < 0 else matrix_power
    return power(a, n)


# What NumPy has not, and what gives real numbers there for some matrices, complex ones for others.
_NOT_OF_NUMPY = (
    "cdist", "triangular_solve", "solve_triangular", "cho_factor", "cho_solve", "lu", "expm", "eig",
    "eigvals",
)  # fmt: skip
NUMPY: dict[str, Callable[..., Any]] = {
    f"linalg.{name}": f for name, f in (FUNCTIONS | ALSO).items() if name not in _NOT_OF_NUMPY
}
NUMPY |= {
    f"linalg.{f.__name__.removeprefix('_')}": _of_floats(f)
    for f in (
        _eigh, _eigvalsh, _svd, _qr, _pinv, _matrix_rank, solve, inv, det, slogdet, cholesky,
        svdvals, lstsq, cond, tensorinv, tensorsolve,
    )
}  # fmt: skip
NUMPY["linalg.matrix_power"] = _matrix_power

__all__ = sorted((*FUNCTIONS, *ALSO))

answer(globals(), __all__)
if not TYPE_CHECKING:
    __getattr__ = finder(__name__, LINALG)
