"""Contractions: matrix products, for the BLAS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir.dtype import bool_, promote
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Kind, Op, register
from graphc.ir.shape import Shape, TensorType, broadcast, show
from graphc.ops.build import cast, tensor
from graphc.ops.elementwise import multiply
from graphc.ops.reduce import sum
from graphc.ops.scalar import sum_to
from graphc.ops.shape import expand_dims, matrix_transpose, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _infer_matmul(x: TensorType, y: TensorType) -> tuple[TensorType, ...]:
    if x.dtype is not y.dtype or x.dtype is bool_:
        raise DTypeError(
            "operands have the wrong dtypes",
            op="matmul",
            expected="one numeric dtype",
            given=f"{x.dtype.name}, {y.dtype.name}",
        )
    if x.rank < 2 or y.rank < 2 or x.shape[-1] != y.shape[-2]:
        raise _inner_sizes_differ(x.shape, y.shape)
    batch = broadcast("matmul", x.shape[:-2], y.shape[:-2])
    return (TensorType(x.dtype, (*batch, x.shape[-2], y.shape[-1])),)


def _inner_sizes_differ(x: Shape, y: Shape) -> ShapeError:
    return ShapeError(
        "inner sizes differ",
        op="matmul",
        expected="(..., m, k) @ (..., k, n)",
        given=f"{show(x)} @ {show(y)}",
    )


def _matmul_vjp(context: Any, g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> list[Any]:
    gx = sum_to(matmul(g, matrix_transpose(y)), x.shape) if context.needs(0) else None
    gy = sum_to(matmul(matrix_transpose(x), g), y.shape) if context.needs(1) else None
    return [gx, gy]


MATMUL = register(
    Op(
        "matmul",
        Kind.CONTRACT,
        _infer_matmul,
        numpy=np.matmul,
        vjp=_matmul_vjp,
        doc="Matrix products of the last two axes; leading axes broadcast.",
    )
)


def matmul(x: Any, y: Any) -> Tensor:
    """The matrix product, as NumPy's `@`.

    Shapes: [..., m, k] @ [..., k, n] -> [..., m, n]; a rank-1 operand is a row on the left and a
    column on the right, and its axis is dropped from the result.
    Errors: `ShapeError` for scalars and for inner sizes that differ; `DTypeError` for bools.
    """
    a, b = tensor(x, "matmul"), tensor(y, "matmul")
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(
            "a scalar has no matrix product",
            op="matmul",
            expected="rank >= 1",
            given=f"{show(a.shape)} @ {show(b.shape)}",
            hint="use * to scale",
        )
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise _inner_sizes_differ(a.shape, b.shape)
    common = promote(a.dtype, b.dtype)
    a, b = cast(a, common), cast(b, common)
    left = expand_dims(a, 0) if a.ndim == 1 else a
    right = expand_dims(b, 1) if b.ndim == 1 else b
    result = apply(MATMUL, (left, right)).output()
    if a.ndim == 1:
        result = reshape(result, (*result.shape[:-2], result.shape[-1]))
    return reshape(result, result.shape[:-1]) if b.ndim == 1 else result


def as_multiply_and_sum(x: Tensor, y: Tensor) -> Tensor:
    """The same product by elementwise multiplication and a sum: for dtypes that no BLAS takes.

    x: [..., m, k], y: [..., k, n] -> [..., m, n], summed over the last axis of [..., m, n, k].
    """
    left = expand_dims(x, -2)
    right = expand_dims(matrix_transpose(y), -3)
    return cast(sum(multiply(left, right), axis=-1), x.dtype)


def dot(x: Any, y: Any) -> Tensor:
    """The product of two matrices or vectors, as `matmul`; scalars multiply."""
    a, b = tensor(x, "dot"), tensor(y, "dot")
    return multiply(a, b) if a.ndim == 0 or b.ndim == 0 else matmul(a, b)


FUNCTIONS |= {f.__name__: f for f in (matmul, dot)}
