"""Steps that LAPACK computes, of matrices that are stored by columns as it has them.

`linalg` is expanded into these. A tensor t [..., n, m] stands for matrices a [..., m, n], whose
columns are its rows; the copies that this takes are transposes like any others, which fuse with
what makes the matrix or reads the result, and cancel. Each op states its routine, and its meaning
in NumPy, which is what runs where the library has no such routine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import LinAlgError, RuntimeFailure
from graphc.ir.dim import minimum
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.routine import Argument, Count, Flag, Leading, Operand, Result, Routine, Work
from graphc.ir.shape import TensorType, broadcast
from graphc.ops import elimination, small
from graphc.ops.small import NOT_POSITIVE, SINGULAR, of_floats

STEP = frozenset({Fact.STEP})
BLOCK = 64  # columns that LAPACK eliminates at once, for which it wants memory


def turned(a: Any) -> Any:
    return np.swapaxes(a, -1, -2)


def matrix_step(
    name: str, infer: Any, numpy: Callable[..., Any], lapack: Any, doc: str, may_fail: bool = False
) -> Op:
    return register(
        Op(
            name, Kind.HOST, of_floats(name, infer), numpy=numpy, lapack=lapack, axes={},
            facts=STEP, may_fail=may_fail,
            failure=LinAlgError if may_fail else RuntimeFailure, doc=doc,
        )
    )  # fmt: skip


def vectors(t: TensorType) -> TensorType:
    """For each matrix a vector of as many elements as it has rows, or columns if these are less."""
    n, m = t.shape[-2:]
    return TensorType(t.dtype, (*t.shape[:-2], minimum(m, n)))


# -- elimination -----------------------------------------------------------------------------------
def _infer_lu(t: TensorType) -> tuple[TensorType, ...]:
    return t, TensorType(int64, vectors(t).shape)


def _numpy_lu(t: Any) -> Any:
    packed, pivots = elimination.lu(turned(t))
    return turned(packed), pivots


def _lapack_lu(operands: Sequence[TensorType], results: Any) -> Routine:
    n, m = operands[0].shape[-2:]
    arguments = (Count(m), Count(n), Result(0, copy=0), Leading(m), Result(1))
    return Routine("getrf", (2,), (2, 1), arguments, m * n * minimum(m, n))


_LU = matrix_step(
    "lu_by_columns", _infer_lu, _numpy_lu, _lapack_lu,
    "Elimination with partial pivoting: l and u in one matrix, and the exchanges of rows.",
)  # fmt: skip


def lu(t: Tensor) -> tuple[Tensor, Tensor]:
    packed, pivots = apply(_LU, (t,)).outputs
    return packed, pivots


def _regular_at(k: Any, operands: Any, index: Any, out: TensorType, *, told_as: str) -> Any:
    packed, pivots = operands
    element = packed((*index, index[-1]))
    k.fail_if(k.equal(element, k.const(0, element.dtype)), SINGULAR)
    return pivots(index)


def _numpy_regular(packed: Any, pivots: Any, *, told_as: str) -> Any:
    if (packed.diagonal(0, -2, -1) == 0).any():
        raise LinAlgError(SINGULAR, op=told_as)
    return pivots


_REGULAR = register(
    Op(
        "regular", Kind.MAP, of_floats("regular", lambda packed, pivots, *, told_as: (pivots,)),
        numpy=_numpy_regular,
        at=_regular_at, axes={}, facts=STEP, may_fail=True, failure=LinAlgError, cost=3,
        doc="The exchanges of an elimination, after checking that no pivot is 0.",
    )
)  # fmt: skip


def regular(packed: Tensor, pivots: Tensor, told_as: str) -> Tensor:
    return apply(_REGULAR, (packed, pivots), told_as=told_as).output()


def _infer_sides(a: TensorType, b: TensorType) -> tuple[TensorType, ...]:
    batch = broadcast("solve", a.shape[:-2], b.shape[:-2])
    return (TensorType(b.dtype, (*batch, *b.shape[-2:])),)


def _infer_lu_solve(
    packed: TensorType, pivots: TensorType, b: TensorType, *, transposed: bool
) -> tuple[TensorType, ...]:
    return _infer_sides(packed, b)


def _numpy_lu_solve(packed: Any, pivots: Any, b: Any, *, transposed: bool) -> Any:
    return turned(elimination.lu_solve(turned(packed), pivots, turned(b), transposed))


def _lapack_lu_solve(operands: Sequence[TensorType], results: Any, *, transposed: bool) -> Routine:
    k, n = operands[2].shape[-2:]
    arguments = (
        Flag("T" if transposed else "N"), Count(n), Count(k), Operand(0), Leading(n), Operand(1),
        Result(0, copy=2), Leading(n),
    )  # fmt: skip
    return Routine("getrs", (2, 1, 2), (2,), arguments, n * n * k)


_LU_SOLVE = matrix_step(
    "lu_solve_by_columns", _infer_lu_solve, _numpy_lu_solve, _lapack_lu_solve,
    "x with a x = b, or with that of a transposed, after elimination.",
)  # fmt: skip


def lu_solve(packed: Tensor, pivots: Tensor, b: Tensor, transposed: bool = False) -> Tensor:
    return apply(_LU_SOLVE, (packed, pivots, b), transposed=transposed).output()


def _lapack_exchanged(operands: Sequence[TensorType], results: Any) -> Routine:
    k, n = operands[0].shape[-2:]
    count = operands[1].shape[-1]
    arguments = (
        Count(k), Result(0, copy=0), Leading(n), Count(1), Count(count), Operand(1), Count(-1),
    )  # fmt: skip
    return Routine("laswp", (2, 1), (2,), arguments, n * k)


_EXCHANGED = matrix_step(
    "exchanged_by_columns", lambda b, pivots: (b,),
    lambda b, pivots: turned(elimination.exchanged(turned(b), pivots, back=True)),
    _lapack_exchanged, "The rows of b as they were before the exchanges of an elimination.",
)  # fmt: skip


def exchanged_back(b: Tensor, pivots: Tensor) -> Tensor:
    return apply(_EXCHANGED, (b, pivots)).output()


# -- symmetric matrices ----------------------------------------------------------------------------
def numpy_symmetric(a: Any, b: Any, *, told_as: str) -> Any:
    """By the routine that programs call, as SciPy has it: a different elimination would put
    infinities and NaN elsewhere, where b is not finite."""
    from scipy.linalg import get_lapack_funcs

    n = a.shape[-1]
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])
    sides = np.broadcast_to(b, shape)
    x = np.empty(shape, b.dtype)
    solve = get_lapack_funcs("sysv", dtype=a.dtype)
    matrices = np.broadcast_to(a, (*shape[:-2], n, n))
    for at in np.ndindex(shape[:-2]) if x.size else ():
        *_, found, info = solve(matrices[at].T, sides[at].T, lwork=BLOCK * n)
        if info != 0:
            raise LinAlgError(SINGULAR, op=told_as, given=f"pivot {info} is 0")
        x[at] = found.T
    return x


def _lapack_symmetric(operands: Sequence[TensorType], results: Any, *, told_as: str) -> Routine:
    k, n = operands[1].shape[-2:]
    arguments = (
        Flag("U"), Count(n), Count(k), Work(n * n, copy=0), Leading(n), Work(n, integers=True),
        Result(0, copy=1), Leading(n), Work(BLOCK * n), Leading(BLOCK * n),
    )  # fmt: skip
    return Routine("sysv", (2, 2), (2,), arguments, n * n * n + n * n * k, failure=SINGULAR)


# A lower triangle by rows is an upper one by columns.
_SYMMETRIC = matrix_step(
    "symmetric_solve_by_columns", lambda a, b, *, told_as: _infer_sides(a, b), numpy_symmetric,
    _lapack_symmetric,
    "x with a x = b, by the lower triangle of a, after an elimination that keeps it symmetric.",
    may_fail=True,
)  # fmt: skip


def symmetric_solve(a: Tensor, b: Tensor, told_as: str) -> Tensor:
    return apply(_SYMMETRIC, (a, b), told_as=told_as).output()


# -- triangles -------------------------------------------------------------------------------------
def _numpy_triangular(a: Any, b: Any, *, transposed: bool, **attrs: Any) -> Any:
    return turned(small.numpy_triangular(a if transposed else turned(a), turned(b), **attrs))


def _lapack_triangular(
    operands: Sequence[TensorType], results: Any, *, lower: bool, transposed: bool, unit: bool,
    told_as: str,
) -> Routine:  # fmt: skip
    k, n = operands[1].shape[-2:]
    arguments = (
        Flag("L" if lower != transposed else "U"), Flag("T" if transposed else "N"),
        Flag("U" if unit else "N"), Count(n), Count(k), Operand(0), Leading(n),
        Result(0, copy=1), Leading(n),
    )  # fmt: skip
    return Routine("trtrs", (2, 2), (2,), arguments, n * n * k, failure=SINGULAR)


_TRIANGULAR = matrix_step(
    "triangular_solve_by_columns", lambda a, b, **attrs: _infer_sides(a, b), _numpy_triangular,
    _lapack_triangular,
    "x with a x = b, or with that of a transposed; `lower` is of the one that is solved.",
    may_fail=True,
)  # fmt: skip


def triangular_solve(
    a: Tensor, b: Tensor, lower: bool, transposed: bool, unit: bool, told_as: str
) -> Tensor:
    attrs = {"lower": lower, "transposed": transposed, "unit": unit, "told_as": told_as}
    return apply(_TRIANGULAR, (a, b), **attrs).output()


def _numpy_cholesky(t: Any, *, told_as: str) -> Any:
    try:
        return np.linalg.cholesky(t)
    except np.linalg.LinAlgError as error:
        raise LinAlgError(NOT_POSITIVE, op=told_as, given=str(error)) from None


def _lapack_cholesky(operands: Sequence[TensorType], results: Any, *, told_as: str) -> Routine:
    n = operands[0].shape[-1]
    arguments: tuple[Argument, ...] = (Flag("U"), Count(n), Result(0, copy=0), Leading(n))
    return Routine("potrf", (2,), (2,), arguments, n * n * n, failure=NOT_POSITIVE)


# An upper triangle by columns is a lower one by rows.
_CHOLESKY = matrix_step(
    "cholesky_by_columns", lambda t, *, told_as: (t,), _numpy_cholesky, _lapack_cholesky,
    "The upper u with u^T u = a, from a with zeros below the diagonal.", may_fail=True,
)  # fmt: skip


def cholesky(t: Tensor, told_as: str) -> Tensor:
    return apply(_CHOLESKY, (t,), told_as=told_as).output()
