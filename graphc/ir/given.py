"""Arrays that users give: read as NumPy reads them, unless that would drop what they say.

The dtype of an input or a variable takes only what it can hold: `fitting_array`. A flag is True or
False: `as_flag`. What counts is an int: `whole_number`.
"""

from __future__ import annotations

import operator
import sys
from typing import Any, Protocol

import numpy as np

from graphc.errors import ArgumentError, DTypeError, GraphcError
from graphc.ir import origin
from graphc.ir.dtype import DType


def given_array(op: str, value: Any) -> np.ndarray[Any, Any]:
    """`np.asarray(value)`; objects that are numbers, as these.

    Errors: `ArgumentError` for a masked array, whose mask would be lost, for a `np.matrix`, whose
    `*` is a matrix product, for lists of either, and for another library's array that refuses to
    be one of NumPy's; those of NumPy for what is no array.
    """
    masked = sys.modules.get("numpy.ma")  # if the value is of it, it has been imported
    if masked is not None and _holds(value, masked.MaskedArray):
        raise ArgumentError(
            "a masked array: graphc has no masks, and would compute with what is behind this one",
            op=op,
            expected="an array of numbers",
            given=type(value).__name__,
            where=origin.where(),
            hint="give .filled(value), or the mask as another array to choose by gc.where",
        )
    if _holds(value, np.matrix):
        raise ArgumentError(
            "a np.matrix: its * is a matrix product, and that of a tensor is elementwise",
            op=op,
            expected="an array of numbers",
            given=type(value).__name__,
            where=origin.where(),
            hint="give np.asarray(matrix)",
        )
    try:
        array = np.asarray(value)
    except RuntimeError as error:  # of another library's array: one that has a gradient, say
        raise ArgumentError(
            f"not an array: {error}",
            op=op,
            expected="an array of numbers",
            given=f"{type(value).__module__}.{type(value).__name__}",
            where=origin.where(),
        ) from error
    return _as_numbers(array) if array.dtype == object else array


def _as_numbers(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Objects that say which numbers they are, such as fractions, decimals and those of SymPy, as
    Python's numbers. Others stay, and so do ints, which may be large."""
    if all(isinstance(v, int) for v in array.flat):
        return array
    try:
        return np.array([exact_number(v) for v in array.flat]).reshape(array.shape)
    except (TypeError, ValueError, ArithmeticError, GraphcError):
        return array


def exact_number(value: Any) -> complex | float | int:
    """An object as the Python number that it says it is. Errors: `TypeError` for one that is none,
    and what it raises itself."""
    kind = type(value)
    if hasattr(kind, "__index__"):
        return operator.index(value)
    if hasattr(kind, "__float__"):
        try:
            return float(value)
        except TypeError:
            if not hasattr(kind, "__complex__"):
                raise
    if hasattr(kind, "__complex__"):
        return complex(value)
    raise TypeError(f"{kind.__name__} is no number")


class Wanted(Protocol):
    """The type of an array that is asked for, as errors print it."""

    @property
    def dtype(self) -> DType: ...


def fitting_array(op: str, value: Any, to: Wanted) -> np.ndarray[Any, Any]:
    """`value` in the dtype of `to`, whose shape only errors name; copied only if it has another.

    Conversion keeps values: floats may lose precision and ints may become floats, but no fraction
    is cut, no integer wraps and no finite number becomes infinite.
    Errors: `ArgumentError` for what is no array of numbers; `DTypeError` for numbers of a kind that
    the dtype cannot hold.
    """
    try:
        array = given_array(op, value)
    except (ValueError, TypeError) as error:
        raise ArgumentError(
            f"not an array: {error}",
            op=op,
            expected=str(to),
            given=type(value).__name__,
            where=origin.where(),
        ) from None
    if array.dtype.kind not in "biufc":
        raise ArgumentError(
            "not numbers",
            op=op,
            expected=str(to),
            given=f"{type(value).__name__} of dtype {array.dtype}",
            where=origin.where(),
        )
    if array.dtype.kind == "c" and not to.dtype.is_complex:
        raise DTypeError(
            "complex numbers where real ones are wanted",
            op=op,
            expected=str(to),
            given=f"{type(value).__name__} of dtype {array.dtype}",
            where=origin.where(),
            hint="give .real of them, or declare a complex dtype",
        )
    if array.size == 0 and isinstance(value, (list, tuple)):  # no numbers, so of no dtype yet
        array = array.astype(to.dtype.numpy)
    with np.errstate(all="ignore"):
        converted = array.astype(to.dtype.numpy, copy=False)
    if not _keeps_values(array, to.dtype.numpy, converted):
        raise DTypeError(
            "the values do not fit the dtype",
            op=op,
            expected=to.dtype.name,
            given=f"an array of {array.dtype}",
            where=origin.where(),
            hint=f"convert it yourself with .astype({to.dtype.name!r})",
        )
    return converted


def short(array: np.ndarray[Any, Any]) -> str:
    """An array in one line, the middle of a long one left out.

    >>> short(np.arange(40.0))
    '[0., 1., ..., 38., 39.]'
    """
    lines = np.array2string(array, separator=", ", threshold=12, edgeitems=2, max_line_width=1000)
    return " ".join(lines.split()).replace("[ ", "[")


def _keeps_values(
    array: np.ndarray[Any, Any], wanted: np.dtype[Any], converted: np.ndarray[Any, Any]
) -> bool:
    given = array.dtype.newbyteorder("=")
    if given == wanted or np.can_cast(given, wanted, "safe"):
        return True
    if wanted.kind in "fc":
        finite = np.isfinite(converted)
        return bool(finite.all()) or not np.isfinite(array[~finite]).any()
    if wanted.kind in "iu" and given.kind in "iu":
        info = np.iinfo(wanted)
        return array.size == 0 or (array.min() >= info.min and array.max() <= info.max)
    return False


def _holds(value: Any, kind: type) -> bool:
    """Whether the value, or what a list of arrays holds, is of the kind."""
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], (int, float)):
        return any(_holds(item, kind) for item in value)
    return isinstance(value, kind)


def as_flag(value: Any, op: str, name: str = "trainable") -> bool:
    """`value` of what is True or False. Errors: `ArgumentError` for what is neither."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentError(
            f"{name} is True or False", op=op, given=repr(value)[:80], where=origin.where()
        )
    return bool(value)


def whole_number(value: Any) -> int | None:
    """The int that it is, also one of NumPy's, even without axes; None for all else, truth values
    and arrays too.

    >>> whole_number(3), whole_number(True), whole_number(1.0)
    (3, None, None)
    """
    try:
        return None if isinstance(value, bool) else int(operator.index(value))
    except TypeError:
        return None
