"""`gc.linalg`: linear algebra on the last two axes; leading axes are a batch. The families are in
`solving.py` (equations, triangles), `determinant.py`, and `norms.py` (what is made of sums).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, ShapeError
from graphc.ir.conditions import never_equal
from graphc.ir.node import Tensor
from graphc.ir.shape import show
from graphc.ops.build import tensor
from graphc.ops.contract import matmul as matmul
from graphc.ops.create import eye
from graphc.ops.determinant import det as det
from graphc.ops.determinant import slogdet as slogdet
from graphc.ops.einsum import tensordot as tensordot
from graphc.ops.einsum import vecdot as vecdot
from graphc.ops.norms import cross as cross
from graphc.ops.norms import diagonal as diagonal
from graphc.ops.norms import matrix_norm as matrix_norm
from graphc.ops.norms import norm as norm
from graphc.ops.norms import outer as outer
from graphc.ops.norms import trace as trace
from graphc.ops.norms import vector_norm as vector_norm
from graphc.ops.shape import broadcast_to
from graphc.ops.shape import matrix_transpose as matrix_transpose
from graphc.ops.solving import cho_factor as cho_factor
from graphc.ops.solving import cho_solve as cho_solve
from graphc.ops.solving import cholesky as cholesky
from graphc.ops.solving import inv as inv
from graphc.ops.solving import lu as lu
from graphc.ops.solving import solve as solve
from graphc.ops.solving import triangular_solve as triangular_solve

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- powers ----------------------------------------------------------------------------------------
def matrix_power(x: Any, n: int, /) -> Tensor:
    """The product of `n` times the same square matrices; of the inverse, where n is negative.

    Shapes: [..., n, n] -> the same. Errors: `ArgumentError` for a power that is no int,
    `ShapeError`; `DTypeError` for the inverse of ints; `LinAlgError` at the call for that of a
    singular matrix.
    """
    t = tensor(x, "matrix_power")
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
        raise ArgumentError(
            "not a number of times", op="matrix_power", expected="an int", given=repr(n)
        )
    if t.ndim < 2 or never_equal(t.shape[-2], t.shape[-1]):
        raise ShapeError(
            "not square", op="matrix_power", expected="(..., n, n)", given=show(t.shape)
        )
    if n == 0:
        return broadcast_to(eye(t.shape[-1], dtype=t.dtype), t.shape)
    square, result = (inv(t) if n < 0 else t), None
    count = -n if n < 0 else n
    while count:
        if count % 2:
            result = square if result is None else matmul(result, square)
        count //= 2
        square = matmul(square, square) if count else square
    assert result is not None
    return result


FUNCTIONS |= {f.__name__: f for f in (solve, inv, det, slogdet, cholesky)}
ALSO = {  # of `gc.linalg`, and of no other name
    f.__name__: f
    for f in (
        triangular_solve, cho_factor, cho_solve, lu, matrix_power, matmul, matrix_transpose,
        vector_norm, matrix_norm, norm, cross, outer, tensordot, vecdot, diagonal, trace,
    )
}  # fmt: skip
NUMPY = {
    f"linalg.{name}": f
    for name, f in (FUNCTIONS | ALSO).items()
    if name not in ("triangular_solve", "cho_factor", "cho_solve", "lu")  # which NumPy has not
}
