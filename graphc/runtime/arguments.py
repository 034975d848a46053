"""Arguments: what a caller may pass for an input, and how it becomes an array to compute with."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.given import fitting_array
from graphc.ir.node import Tensor


def as_input(value: Any, tensor: Tensor, function: str) -> np.ndarray[Any, Any]:
    """`value` as a native, aligned, C-ordered array of the input's dtype; copied only if it is not.

    Errors: `ArgumentError` for a tensor; those of `fitting_array`.
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
    converted = fitting_array(label, value, tensor.type)
    return np.require(converted, requirements=("C", "A"))
