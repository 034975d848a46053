"""Element types: every promotion against NumPy's own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DTypeError
from graphc.ir.dtype import DTYPES, DType, dtype, promote, weak_type

SCALARS = (True, False, 0, 3, -1, 127, 128, 255, 300, -129, 2**31, 2**40, 2**63, 0.5, float("inf"))


@pytest.mark.filterwarnings("ignore:.*gives float64")
@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES, DTYPES)), ids=repr)
def test_promotion_is_numpys(a: DType, b: DType) -> None:
    expected = np.result_type(a.numpy, b.numpy)
    assert promote(a, b).numpy == expected
    x, y = gc.placeholder("x", (), a), gc.placeholder("y", (), b)
    assert gc.maximum(x, y).dtype.numpy == expected


@pytest.mark.parametrize("value", SCALARS)
@pytest.mark.parametrize("kind", DTYPES, ids=repr)
@pytest.mark.filterwarnings("ignore:.*gives float64")
def test_python_scalars_are_weak_as_in_numpy(kind: DType, value: Any) -> None:
    try:
        with np.errstate(all="ignore"):
            expected = np.maximum(np.ones((1,), kind.numpy), value).dtype
    except OverflowError:
        with pytest.raises(DTypeError, match="does not fit") as caught:
            gc.maximum(gc.placeholder("x", (1,), kind), value)
        assert __file__ in str(caught.value)
        return
    assert promote(kind, weak_type(value, kind)).numpy == expected
    assert gc.maximum(gc.placeholder("x", (1,), kind), value).dtype.numpy == expected


@pytest.mark.parametrize("kind", DTYPES, ids=repr)
def test_specs(kind: DType) -> None:
    for spec in (kind, kind.name, kind.short, kind.numpy, kind.numpy.type):
        assert dtype(spec) is kind
    assert dtype(kind.numpy.newbyteorder(">")) is kind
    assert kind.itemsize == kind.numpy.itemsize
    assert (repr(kind), str(kind)) == (kind.short, kind.short)
    assert kind.is_float == np.issubdtype(kind.numpy, np.floating)
    assert kind.is_integer == np.issubdtype(kind.numpy, np.integer)


def test_python_types() -> None:
    assert (dtype(bool), dtype(int), dtype(float)) == (gc.bool_, gc.int64, gc.float64)


@pytest.mark.parametrize("spec", ["complex64", object, "U3", None, "f16", np.float16, 3, "", [1]])
def test_others_are_refused(spec: Any) -> None:
    with pytest.raises(DTypeError, match="one of bool, int8") as caught:
        gc.placeholder("x", (2,), spec)
    assert __file__ in str(caught.value)
