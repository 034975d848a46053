"""Questions about dtypes and tensors: limits, kinds, promotion, axes; and constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import ArgumentError, DTypeError
from graphc.ir.dim import Size
from graphc.ir.dtype import COMPLEX, DTYPES, DType, complex_of, default_dtype, int64, promote
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Tensor
from graphc.ops.build import beside, is_python_scalar, tensor

FUNCTIONS: dict[str, Callable[..., Any]] = {}
e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None


class FloatInfo(NamedTuple):
    """What numbers a float dtype has."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntInfo(NamedTuple):
    """What numbers an integer dtype has."""

    bits: int
    max: int
    min: int
    dtype: DType


_KINDS = {
    "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu",
    "real floating": "fs", "complex floating": "c", "numeric": "iufsc",
}  # fmt: skip


def _of(value: Any) -> DType:
    """The dtype of a tensor or array, or the one that is meant."""
    return value.dtype if isinstance(value, Tensor) else to_dtype(getattr(value, "dtype", value))


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a float dtype, or of a tensor's; of a complex one those of its parts.
    Errors: `DTypeError` for another.

    >>> finfo("float32").eps == 2.0**-23
    True
    """
    kind = _of(type)
    if not kind.has_derivative:
        raise DTypeError("not a float", op="finfo", expected="float32, float64", given=kind.name)
    kind = kind.part
    info = np.finfo(kind.numpy)
    eps, high, low, least = map(float, (info.eps, info.max, info.min, info.smallest_normal))
    return FloatInfo(kind.bits, eps, high, low, least, kind)


def iinfo(type: Any, /) -> IntInfo:
    """The limits of an integer dtype, or of a tensor's. Errors: `DTypeError` for another."""
    kind = _of(type)
    if not kind.is_integer:
        raise DTypeError("not an integer", op="iinfo", expected="int8 to uint64", given=kind.name)
    info = np.iinfo(kind.numpy)
    return IntInfo(kind.bits, int(info.max), int(info.min), kind)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: a name such as "integral", a dtype, or one of several.

    Errors: `ArgumentError` for a name that is no kind of the array API.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return to_dtype(dtype).kind in _KINDS[kind]
    try:
        return to_dtype(dtype) is to_dtype(kind)
    except DTypeError:
        raise ArgumentError(
            "not a kind of dtypes", op="isdtype", expected=", ".join(_KINDS), given=repr(kind)
        ) from None


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether every number of a dtype, or of a tensor's, has its like in the dtype `to`."""
    return bool(np.can_cast(_of(from_).numpy, _of(to).numpy))


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype of what is computed of these: tensors, arrays, dtypes and Python numbers, which
    adapt to the others. Errors: `ArgumentError` for nothing at all."""
    if not arrays_and_dtypes:
        raise ArgumentError("of nothing", op="result_type", expected="tensors or dtypes")
    weak = [v for v in arrays_and_dtypes if is_python_scalar(v) or getattr(v, "weak", False)]
    known = [_of(v) for v in arrays_and_dtypes if not any(v is w for w in weak)]
    if not known:
        return promote(*(tensor(v, "result_type").dtype for v in weak))
    found = promote(*known)
    for value in weak:
        found = promote(found, beside(value, found))
    return found


# -- what a tensor is ------------------------------------------------------------------------------
def ndim(x: Any) -> int:
    """How many axes x has."""
    return tensor(x, "ndim").ndim


def shape(x: Any) -> tuple[Size, ...]:
    """The sizes of the axes of x: ints, and named ones."""
    return tensor(x, "shape").shape


def iscomplexobj(x: Any) -> bool:
    """Whether x has a complex dtype, whatever its values are."""
    return tensor(x, "iscomplexobj").dtype.is_complex


def isrealobj(x: Any) -> bool:
    """Whether x has a dtype that is not complex."""
    return not iscomplexobj(x)


# -- what the namespace is -------------------------------------------------------------------------
class NamespaceInfo:
    """What the array API's programs may ask of graphc."""

    def capabilities(self) -> dict[str, Any]:
        """Neither masks nor data make shapes, and axes are as many as one likes."""
        return {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": None}

    def default_device(self) -> str:
        """Where compiled programs run."""
        return "cpu"

    def devices(self) -> list[str]:
        """All of these places."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes that are taken where none is given."""
        real = default_dtype()
        return {
            "real floating": real,
            "complex floating": complex_of(real),
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """All dtypes of a kind, as `isdtype` has kinds, by their names."""
        return {d.name: d for d in (*DTYPES, *COMPLEX) if kind is None or isdtype(d, kind)}


FUNCTIONS |= {
    f.__name__: f
    for f in (
        finfo, iinfo, isdtype, can_cast, result_type, ndim, shape, iscomplexobj, isrealobj,
    )
}  # fmt: skip
NUMPY: dict[str, Callable[..., Any] | None] = {
    "can_cast": None,  # whose answers are NumPy's dtypes
    "result_type": None,
}
