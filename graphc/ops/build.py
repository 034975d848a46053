"""How public functions make nodes: operands become tensors of one dtype, then `apply`.

Also the type rules that families share.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError
from graphc.ir import origin
from graphc.ir.conditions import MOST, require
from graphc.ir.dim import Dim, Size
from graphc.ir.dtype import (
    DType,
    bool_,
    complex128,
    complex_of,
    default_dtype,
    float32,
    float64,
    promote,
    weak_type,
)
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.given import exact_number, given_array
from graphc.ir.node import ArrayValue, Tensor, apply
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.operators import function
from graphc.ir.shape import TensorType


# -- constants and sizes as tensors ----------------------------------------------------------------
def _infer_constant(*, value: ArrayValue) -> tuple[TensorType, ...]:
    return (TensorType(to_dtype(value.array.dtype), value.array.shape),)


STRETCHES = ("broadcast_to", "reshape")  # a number stays a number under these
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
    require(MOST - size, f"the size {size} has more than 63 bits")
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


WEAK = register(
    Op(
        "weak",
        Kind.MAP,
        lambda x: (x,),
        numpy=lambda x: x,
        vjp=lambda context, g, out, x: [g],
        at=lambda k, values, index, out: values[0](index),
        formula=lambda s, x: x,
        facts=frozenset({Fact.ELEMENTWISE, Fact.EXACT, Fact.AS_STORED}),
        cost=0,
        weak=True,
        doc="x itself, which takes the dtype of what it meets (`Tensor.weak`).",
    )
)


def constant(value: Any, dtype: Any = None) -> Tensor:
    """A tensor with a fixed value; the value is copied.

    Shapes: those of the value. Dtypes: the value's, unless `dtype` is given; Python floats give
    the default dtype (`gc.set_default_dtype`), ints int64 (uint64 from 2^63 on), bools bool. In a
    list of NumPy's arrays and scalars floats keep their dtype.
    Python's complex numbers have parts of the default dtype.
    Errors: `DTypeError` for objects and strings, and for a value that `dtype` cannot hold: floats
    are rounded, never wrapped, and complex numbers have no value of a real dtype.

    >>> constant([1.0, 2.0]).type
    TensorType(dtype=f32, shape=(2,))
    """
    return apply(CONSTANT, value=ArrayValue(as_array("constant", value, dtype))).output()


def as_array(op: str, value: Any, wanted: Any) -> np.ndarray[Any, Any]:
    """The numbers of `value` in the dtype `wanted`; for None in their own, and Python floats in the
    default one, or in that of NumPy's floats beside them. Errors: as `constant`."""
    try:
        array = given_array(op, value)
    except ValueError as error:
        raise ArgumentError(str(error), op=op, given=type(value).__name__) from None
    python = not isinstance(value, (np.ndarray, np.generic))
    if python and (array.dtype == object or (array.dtype == np.float64 and _is_huge(array))):
        array = _integers(op, value, array, wanted)
    if array.dtype.kind not in "biufc":
        raise DTypeError(
            "not numbers",
            op=op,
            expected="an array or nested list of numbers",
            given=f"{type(value).__name__} of dtype {array.dtype}",
            where=origin.where(),
            hint=_of_symbols(array),
        )
    if wanted is not None:
        kind = to_dtype(wanted)
        _check_fits(op, array, kind)
    elif python and array.dtype in (np.float64, np.complex128):
        real = _of_arrays(value) or default_dtype()
        kind = complex_of(real) if array.dtype == np.complex128 else real
    else:
        kind = to_dtype(array.dtype)
    return array.astype(kind.numpy, copy=False)


_PYTHON = {bool, int, float, complex}


def _of_arrays(value: Any) -> DType | None:
    """The dtype of NumPy's floats in nested lists; of the real part, where they are complex."""
    found = {np.empty(0, d).real.dtype for d in _dtypes(value) if d.kind in "fc"}
    return to_dtype(np.result_type(*found)) if found else None


def _dtypes(value: Any) -> set[np.dtype[Any]]:
    """The dtypes of NumPy's arrays and scalars in nested lists."""
    if isinstance(value, (np.ndarray, np.generic)):
        return {value.dtype}
    if not isinstance(value, (list, tuple)) or set(map(type, value)) <= _PYTHON:
        return set()
    return set().union(*map(_dtypes, value))


def _of_symbols(array: np.ndarray[Any, Any]) -> str:
    """What to do with expressions of SymPy, where they are among the objects."""
    objects = array.flat if array.dtype == object else ()
    if not any(type(v).__module__.partition(".")[0] == "sympy" for v in objects):
        return ""
    return "gc.from_sympy(expression, {symbol: tensor}) gives the tensor of an expression"


def _is_huge(array: np.ndarray[Any, Any]) -> bool:
    """Whether floats may have been ints that neither int64 nor uint64 holds beside the others."""
    return bool((np.abs(array) >= 2.0**63).any())


def _integers(
    op: str, value: Any, read: np.ndarray[Any, Any], wanted: Any
) -> np.ndarray[Any, Any]:
    """Python ints that NumPy reads as floats or objects: exactly where int64 or uint64 holds them
    all, else as float64 where a float is wanted. What are no ints stay as they were read.
    Errors: `DTypeError` where no dtype holds them."""
    found = np.asarray(value, object)
    if found.size == 0 or not all(isinstance(v, int) for v in found.flat):
        return read
    low, high = min(found.flat), max(found.flat)
    kind = np.dtype(np.int64 if low < 0 else np.uint64)
    if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
        return found.astype(kind)
    if wanted is None or not to_dtype(wanted).is_float:
        raise _does_not_fit(op, "no integer dtype holds these", "int64 or uint64", low, high)
    try:
        return found.astype(np.float64)
    except OverflowError:
        raise _does_not_fit(op, "no float holds these integers", "float64", low, high) from None


def _check_fits(op: str, array: np.ndarray[Any, Any], kind: DType) -> None:
    """Errors: `DTypeError` for numbers outside of the range of an integer dtype, and for complex
    ones where the dtype is real."""
    if array.dtype.kind == "c" and not kind.is_complex:
        raise no_real_value(op, array.dtype)
    if not kind.is_integer or np.can_cast(array.dtype, kind.numpy) or not array.size:
        return
    info, low, high = np.iinfo(kind.numpy), array.min().item(), array.max().item()
    if not (info.min <= low and high <= info.max):  # neither holds of a NaN
        raise _does_not_fit(op, "a value does not fit", kind.name, low, high)


def no_real_value(op: str, given: Any) -> DTypeError:
    """The error of complex numbers where real ones are wanted."""
    return DTypeError(
        "a complex number is no real one",
        op=op,
        expected="a real dtype",
        given=str(given),
        where=origin.where(),
        hint="gc.real(x), gc.imag(x), gc.abs(x) and gc.angle(x) are real",
    )


def _does_not_fit(op: str, message: str, kind: str, low: Any, high: Any) -> DTypeError:
    given = [text if len(text) < 40 else f"{text[:36]}..." for text in map(str, (low, high))]
    return DTypeError(
        message,
        op=op,
        expected=f"values of {kind}",
        given=" to ".join(dict.fromkeys(given)),
        where=origin.where(),
    )


def size_as_tensor(size: Size, dtype: DType) -> Tensor:
    """A size as a scalar tensor: a constant where it is static."""
    if isinstance(size, int):
        return constant(size, dtype)
    if dtype.is_complex:
        return cast(size_as_tensor(size, dtype.part), dtype)
    return apply(SIZE, size=size, dtype=dtype).output()


def is_python_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic)


def tensor(value: Any, op: str) -> Tensor:
    """`value` as a tensor: itself, a weak one of a Python number, or a constant.

    Errors: `ArgumentError` for what is none of these.
    """
    if isinstance(value, Tensor):
        return value
    if is_python_scalar(value) or _is_of_python_floats(value):
        return as_weak(constant(value, _python_dtype(value)))
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
    if _begins_with_tensor(value):
        raise ArgumentError(
            "a list of tensors is not a tensor",
            op=op,
            expected="a tensor, an array or a number",
            given=repr(value)[:80],
            where=origin.where(),
            hint="gc.stack([x, y]) makes one tensor of them, gc.concat joins them",
        )
    kind = type(value)
    if hasattr(kind, "__float__") and not (hasattr(kind, "__array__") or hasattr(kind, "dtype")):
        try:
            return tensor(exact_number(value), op)
        except (TypeError, ValueError, ArithmeticError):
            pass  # a symbol, say: the error of a constant
    return constant(value)


def _python_dtype(value: Any) -> DType | None:
    """What Python numbers are computed in until they meet something: None says as they are read."""
    numbers = list(_flat(value)) if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(v, complex) for v in numbers):
        return complex128
    return None if isinstance(value, int) else float64


def _is_of_python_floats(value: Any) -> bool:
    """Whether `value` is nested lists of Python numbers, one that is no int among them."""
    numbers = list(_flat(value)) if isinstance(value, (list, tuple)) else []
    broken = any(isinstance(v, (float, complex)) for v in numbers)
    return broken and all(map(is_python_scalar, numbers))


def _flat(value: Any) -> Iterator[Any]:
    for v in value:
        yield from _flat(v) if isinstance(v, (list, tuple)) else (v,)


def _begins_with_tensor(value: Any) -> bool:
    """Whether the first element of nested lists is a tensor: long lists of numbers have none."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, Tensor)


# -- weak tensors ----------------------------------------------------------------------------------
# What is made of Python numbers alone is computed in float64 (ints in int64) and converted when it
# meets something else. `apply` finds which tensors are: those whose operands are, and these.
def as_weak(x: Tensor) -> Tensor:
    """`x`, marked as made of Python numbers."""
    return x if x.weak else apply(WEAK, (x,)).output()


def weak_like(x: Tensor, *sources: Tensor) -> Tensor:
    """`x`, marked as weak if all sources are."""
    return as_weak(x) if all(t.weak for t in sources) else x


def operands(op: str, *values: Any) -> list[Tensor]:
    """What an op takes as tensors of one dtype: NumPy 2's promotion, where Python numbers and weak
    tensors adapt to the others.

    Errors: `ArgumentError`, `DTypeError` as `tensor` and `weak_type`.
    """
    given = [v if is_python_scalar(v) else tensor(v, op) for v in values]
    strong = [v for v in given if isinstance(v, Tensor) and not v.weak]
    if not strong:
        given = [tensor(v, op) for v in given]
        common = promote(*(t.dtype for t in given))
    else:
        common = promote(*(t.dtype for t in strong))
        for value in given:
            if not isinstance(value, Tensor) or value.weak:
                common = promote(common, beside(value, common))
        _warn_if_widened(op, strong, common)
    return [cast(v, common) if isinstance(v, Tensor) else constant(v, common) for v in given]


def beside(value: Any, other: DType) -> DType:
    """The dtype that a Python number or a weak tensor takes beside `other`.

    Errors: `DTypeError` where an integer that it is made of does not fit.
    """
    if not isinstance(value, Tensor):
        return weak_type(value, other)
    if value.dtype.is_integer and other.is_integer:
        for number in _numbers(value):
            weak_type(number, other)
    return weak_type(value.dtype.numpy.type(0).item(), other)


def _numbers(x: Tensor) -> Iterator[int]:
    """The Python ints that a weak tensor is made of."""
    seen, stack = {x}, [x]
    while stack:
        node = stack.pop().node
        for t in node.inputs:
            if node.op is WEAK and t.node.op is CONSTANT and t.dtype.is_integer:
                yield int(t.node.attrs["value"].array)
            elif t.weak and t not in seen:
                seen.add(t)
                stack.append(t)


def _warn_if_widened(op: str, strong: list[Tensor], common: DType) -> None:
    if common is float64 and any(t.dtype is float32 for t in strong):
        culprit = next(t for t in strong if t.dtype is not float32)
        origin.warn_once(
            f"{op}: float32 beside {culprit.dtype.name} gives float64; "
            f"use .astype('float32') on the {culprit.dtype.name} operand to stay in float32"
        )


def cast(x: Tensor, to: DType) -> Tensor:
    """`x` as dtype `to`; no node where it is that already, a new constant for a number. A weak one
    stays weak in a dtype of 64 bits, where it lost nothing."""
    if x.dtype is to:
        return x
    if x.dtype.is_complex and not to.is_complex and to is not bool_:
        raise no_real_value("astype", x)
    source = x.node.inputs[0].node if x.node.op is WEAK else x.node
    made: Tensor
    if source.op is CONSTANT and not x.shape:
        with np.errstate(all="ignore"):
            made = constant(source.attrs["value"].array.astype(to.numpy))
    else:
        made = function("astype")(x, to)
    return weak_like(made, x) if to.part.bits == 64 else made


def settle(x: Tensor, to: DType) -> Tensor:
    """`x` as dtype `to`, and no longer weak."""
    made = cast(x, to)
    if made.node.op is WEAK:
        return made.node.inputs[0]
    return function("astype")(made, to) if made.weak else made


def float_type(dtype: DType) -> DType:
    """The dtype that a float function gives: of an int NumPy's, without float16, else its own."""
    if dtype.has_derivative:
        return dtype
    return float32 if dtype is bool_ or dtype.bits <= 16 else float64


def scalar_like(value: float, x: Tensor) -> Tensor:
    """A scalar constant of x's dtype, weak if x is."""
    return weak_like(constant(value, x.dtype), x)


def scalar_value(tensor: Tensor) -> Any:
    """The one value of a constant of one element, stretched or not; None for other tensors."""
    while tensor.node.op.name in STRETCHES:
        tensor = tensor.node.inputs[0]
    if Fact.CONSTANT not in tensor.node.op.facts:
        return None
    array = tensor.node.attrs["value"].array
    return array.item() if array.size == 1 else None
