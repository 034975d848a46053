"""How public functions make nodes: operands become tensors of one dtype, then `apply`.

Also the type rules that families share.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError
from graphc.ir import origin
from graphc.ir.dim import Dim, Size
from graphc.ir.dtype import DType, bool_, float32, float64, promote, weak_type
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.given import given_array
from graphc.ir.node import ArrayValue, Tensor, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.operators import function
from graphc.ir.shape import TensorType


# -- constants and sizes as tensors ----------------------------------------------------------------
def _infer_constant(*, value: ArrayValue) -> tuple[TensorType, ...]:
    return (TensorType(to_dtype(value.array.dtype), value.array.shape),)


CONSTANT = register(
    Op(
        "constant",
        Kind.LEAF,
        _infer_constant,
        numpy=lambda *, value: value.array,
        facts=frozenset({Fact.CONSTANT}),
    )
)


def _infer_size(*, size: Size, dtype: DType) -> tuple[TensorType, ...]:
    return (TensorType(dtype, ()),)


SIZE = register(
    Op(
        "size",
        Kind.MAP,
        _infer_size,
        numpy=lambda *, size, dtype: np.asarray(size, np.int64).astype(dtype.numpy),
        at=lambda k, operands, index, out, *, size, dtype: k.cast(k.size(size), dtype),
        doc="A size of the program as a scalar tensor.",
    )
)


def constant(value: Any, dtype: Any = None) -> Tensor:
    """A tensor with a fixed value; the value is copied.

    Shapes: those of the value. Dtypes: the value's, unless `dtype` is given; Python floats give
    float32 (graphc's default), ints int64, bools bool.
    Errors: `DTypeError` for objects, strings and complex numbers.

    >>> constant([1.0, 2.0]).type
    TensorType(dtype=f32, shape=(2,))
    """
    return apply(CONSTANT, value=ArrayValue(_array(value, dtype))).output()


def _array(value: Any, wanted: Any) -> np.ndarray[Any, Any]:
    try:
        array = given_array("constant", value)
    except ValueError as error:
        raise ArgumentError(str(error), op="constant", given=type(value).__name__) from None
    if array.dtype.kind not in "biuf":
        raise DTypeError(
            "not numbers",
            op="constant",
            expected="an array or nested list of numbers",
            given=f"{type(value).__name__} of dtype {array.dtype}",
            where=origin.where(),
        )
    if wanted is not None:
        return array.astype(to_dtype(wanted).numpy, copy=False)
    if not isinstance(value, (np.ndarray, np.generic)) and array.dtype == np.float64:
        return array.astype(np.float32)
    return array.astype(to_dtype(array.dtype).numpy, copy=False)


def size_as_tensor(size: Size, dtype: DType) -> Tensor:
    """A size as a scalar tensor: a constant where it is static."""
    if isinstance(size, int):
        return constant(size, dtype)
    return apply(SIZE, size=size, dtype=dtype).output()


def is_python_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) and not isinstance(value, np.generic)


def tensor(value: Any, op: str) -> Tensor:
    """`value` as a tensor: itself, or a constant. Errors: `ArgumentError` for what is neither."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Dim):
        raise ArgumentError(
            "a symbolic size is not a tensor",
            op=op,
            given=str(value),
            where=origin.where(),
            hint="gc.size(x, axis) gives a size as a tensor",
        )
    if value is None or isinstance(value, (str, bytes, dict, set)) or callable(value):
        raise ArgumentError(
            "not a tensor",
            op=op,
            expected="a tensor, an array or a number",
            given=repr(value)[:80],
            where=origin.where(),
        )
    return constant(value)


def operands(op: str, *values: Any) -> list[Tensor]:
    """The operands of an elementwise op as tensors of one dtype (NumPy 2 promotion, weak scalars).

    Errors: `ArgumentError`, `DTypeError` as `tensor` and `weak_type`.
    """
    strong = [tensor(v, op) for v in values if not is_python_scalar(v)]
    if strong:
        common = promote(*(t.dtype for t in strong))
        for value in values:
            if is_python_scalar(value):
                common = promote(common, weak_type(value, common))
        _warn_if_widened(op, strong, common)
    else:
        common = promote(*(tensor(v, op).dtype for v in values))
    return [
        constant(v, common) if is_python_scalar(v) else cast(tensor(v, op), common)
        for v in values
    ]


def _warn_if_widened(op: str, strong: list[Tensor], common: DType) -> None:
    if common is float64 and any(t.dtype is float32 for t in strong):
        culprit = next(t for t in strong if t.dtype is not float32)
        origin.warn_once(
            f"{op}: float32 beside {culprit.dtype.name} gives float64; "
            f"use .astype('float32') on the {culprit.dtype.name} operand to stay in float32"
        )


def cast(x: Tensor, to: DType) -> Tensor:
    """`x` as dtype `to`; no node where it is that already, a new constant for a constant."""
    if x.dtype is to:
        return x
    if x.node.op is CONSTANT and not x.shape:
        with np.errstate(all="ignore"):
            return constant(x.node.attrs["value"].array.astype(to.numpy))
    result: Tensor = function("astype")(x, to)
    return result


def float_type(dtype: DType) -> DType:
    """The floating dtype that a float function of an int gives (NumPy's, without float16)."""
    if dtype.is_float:
        return dtype
    return float32 if dtype is bool_ or dtype.bits <= 16 else float64


def scalar_like(value: float, x: Tensor) -> Tensor:
    """A scalar constant of x's dtype."""
    return constant(value, x.dtype)
