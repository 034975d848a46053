"""Tensors made from nothing: positions, and one value everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.ir.dtype import DType, dtype_or_default
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Kind, Op, register
from graphc.ir.shape import Shape, TensorType, normalize_axis, shape_of
from graphc.ops.build import constant, scalar_like, tensor
from graphc.ops.shape import broadcast_to

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _infer_iota(*, shape: Shape, axis: int, dtype: DType) -> tuple[TensorType, ...]:
    return (TensorType(dtype, shape),)


def _numpy_iota(*, shape: Any, axis: int, dtype: DType) -> Any:
    positions = np.arange(shape[axis]).astype(dtype.numpy)
    positions = positions.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.broadcast_to(positions, shape)


IOTA = register(
    Op(
        "iota",
        Kind.MAP,
        _infer_iota,
        numpy=_numpy_iota,
        at=lambda k, values, index, out, *, shape, axis, dtype: k.cast(
            k.number(index[axis]), dtype
        ),
        differentiable=False,
        doc="The position along an axis.",
    )
)


def iota(shape: Any, axis: int = 0, dtype: Any = "int64") -> Tensor:
    """A tensor whose element is its position along `axis`."""
    target = shape_of(shape)
    axis = normalize_axis("iota", axis, len(target))
    return apply(IOTA, shape=target, axis=axis, dtype=to_dtype(dtype)).output()


def arange(stop: Any, dtype: Any = "int64") -> Tensor:
    """0, 1, ... stop - 1, for a size `stop`."""
    return iota((stop,), 0, dtype)


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """Zeros of a shape, of the default dtype where none is given."""
    return broadcast_to(constant(0, dtype_or_default(dtype)), shape)


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """Ones of a shape, of the default dtype where none is given."""
    return broadcast_to(constant(1, dtype_or_default(dtype)), shape)


def full(shape: Any, value: float, dtype: Any = None) -> Tensor:
    """One value everywhere.

    Dtypes: where none is given, an array's own; of a Python number the result is weak, as the
    number is: it takes the dtype of what it meets. Errors: `DTypeError` for no number.
    """
    scalar = tensor(value, "full") if dtype is None else constant(value, dtype)
    if scalar.ndim:
        raise DTypeError("the fill value is a number", op="full", given=repr(value))
    return broadcast_to(scalar, shape)


def zeros_like(x: Any) -> Tensor:
    """Zeros of x's shape and dtype."""
    t = tensor(x, "zeros_like")
    return broadcast_to(scalar_like(0, t), t.shape)


def ones_like(x: Any) -> Tensor:
    """Ones of x's shape and dtype."""
    t = tensor(x, "ones_like")
    return broadcast_to(scalar_like(1, t), t.shape)


FUNCTIONS |= {
    f.__name__: f
    for f in (constant, iota, arange, zeros, ones, full, zeros_like, ones_like)
}
