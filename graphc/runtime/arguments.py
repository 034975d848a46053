"""Arguments: what a caller may pass for an input, and how it becomes an array to compute with."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError
from graphc.ir import origin
from graphc.ir.given import given_array
from graphc.ir.node import Tensor


def as_input(value: Any, tensor: Tensor, function: str) -> np.ndarray[Any, Any]:
    """`value` as a native, aligned, C-ordered array of the input's dtype; copied only if it is not.

    Conversion keeps values: floats may lose precision and ints may become floats, but no fraction
    is cut, no integer wraps and no finite number becomes infinite.
    Errors: `ArgumentError` for what is no array of numbers; `DTypeError` for numbers of a kind that
    the dtype cannot hold.
    """
    label = f"{function}, input {tensor.name!r}"
    if isinstance(value, Tensor):
        raise ArgumentError(
            "a symbolic tensor where a value is needed",
            op=label,
            expected=str(tensor.type),
            given=repr(value),
            where=origin.where(),
        )
    try:
        array = given_array(label, value)
    except (ValueError, TypeError) as error:
        raise ArgumentError(
            f"not an array: {error}",
            op=label,
            expected=str(tensor.type),
            given=type(value).__name__,
            where=origin.where(),
        ) from None
    if array.dtype.kind not in "biuf":
        raise ArgumentError(
            "not numbers",
            op=label,
            expected=str(tensor.type),
            given=f"{type(value).__name__} of dtype {array.dtype}",
            where=origin.where(),
        )
    wanted = tensor.dtype.numpy
    if array.size == 0 and isinstance(value, (list, tuple)):  # no numbers, so of no dtype yet
        array = array.astype(wanted)
    with np.errstate(all="ignore"):
        converted = array.astype(wanted, copy=False)
    if not _keeps_values(array, wanted, converted):
        raise DTypeError(
            "the values do not fit the dtype",
            op=label,
            expected=tensor.dtype.name,
            given=f"an array of {array.dtype}",
            where=origin.where(),
            hint=f"convert it yourself with .astype({tensor.dtype.name!r})",
        )
    native = np.require(converted, requirements=("C", "A"))
    return native if native.dtype.isnative else native.astype(wanted.newbyteorder("="))


def _keeps_values(
    array: np.ndarray[Any, Any], wanted: np.dtype[Any], converted: np.ndarray[Any, Any]
) -> bool:
    given = array.dtype.newbyteorder("=")
    if given == wanted or np.can_cast(given, wanted, "safe"):
        return True
    if wanted.kind == "f":
        finite = np.isfinite(converted)
        return bool(finite.all()) or not np.isfinite(array[~finite]).any()
    if wanted.kind in "iu" and given.kind in "iu":
        info = np.iinfo(wanted)
        return array.size == 0 or (array.min() >= info.min and array.max() <= info.max)
    return False
