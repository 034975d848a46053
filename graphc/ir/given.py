"""Arrays that users give: read as NumPy reads them, unless that would drop what they say."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from graphc.errors import ArgumentError
from graphc.ir import origin


def given_array(op: str, value: Any) -> np.ndarray[Any, Any]:
    """`np.asarray(value)`.

    Errors: `ArgumentError` for a masked array, whose mask would be lost, for a `np.matrix`, whose
    `*` is a matrix product, and for lists of either; those of NumPy for what is no array.
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
    return np.asarray(value)


def _holds(value: Any, kind: type) -> bool:
    """Whether the value, or what a list of arrays holds, is of the kind."""
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], (int, float)):
        return any(_holds(item, kind) for item in value)
    return isinstance(value, kind)
