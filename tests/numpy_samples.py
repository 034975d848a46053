"""Calls of each of NumPy's functions that graphc answers, for NumPy's arrays and for tensors.

`SAMPLES` has an entry for every such function (`test_every_function_has_samples` holds it to that):
calls that have every argument that graphc takes, and its default, on arguments of several ranks and
dtypes. `GUFUNCS`: ufuncs that work on whole axes; those of elements are called with all dtypes.
"""

from __future__ import annotations

from . import (
    numpy_linalg_samples,
    numpy_number_samples,
    numpy_reduction_samples,
    numpy_shape_samples,
)
from .numpy_calls import Sample

SAMPLES: dict[str, list[Sample]] = {
    **numpy_number_samples.SAMPLES, **numpy_reduction_samples.SAMPLES,
    **numpy_shape_samples.SAMPLES, **numpy_linalg_samples.SAMPLES,
}  # fmt: skip
GUFUNCS = numpy_linalg_samples.GUFUNCS
