"""Scalars go by value: the same numbers, and the same errors, as an array of one would give."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir.dtype import DTYPES

NUMBERS: list[Any] = [
    True, 0, 1, -1, 127, 128, -128, -129, 255, 256, 2**24 + 1, 2**31 - 1, -(2**31), 2**32,
    2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 2**70, 10**400, 0.0, -0.0, 0.1, -1.5,
    1e-320, 1e38, 1e300, np.inf, -np.inf, np.nan, np.float64(0.1), np.float32(0.1), np.int8(-3),
    np.uint64(2**63), np.True_, 1j, "1", None, [1], np.ones(1), np.ones((1, 1)), np.array(2.5),
    np.array(7, ">i4"),
]  # fmt: skip


def outcome(function: Any, *values: Any) -> Any:
    """What a call gives, bit by bit, or its error."""
    try:
        result = function(*values)
    except GraphcError as error:
        return type(error), str(error)
    assert result.shape == ()
    return result.dtype, result.tobytes()


@pytest.mark.parametrize("dtype", [d.name for d in DTYPES])
def test_every_number_is_taken_as_by_the_interpreter(dtype: str) -> None:
    x = gc.placeholder("scalar", (), dtype)
    native, reference = (gc.compile([x], x, target=t) for t in ("cpu", "reference"))
    for value in NUMBERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert outcome(native, value) == outcome(reference, value), repr(value)


def test_scalars_beside_arrays_and_of_several_dtypes() -> None:
    types = ["float64", "int8", "bool", "float32", "uint64", "float64", "int8"]
    scalars = [gc.placeholder(f"s{i}", (), t) for i, t in enumerate(types)]
    x = gc.placeholder("x", ("n",), "float64")
    inputs = [*scalars[:4], x, *scalars[4:]]
    outputs = [*scalars[::-1], x * scalars[0], gc.sum(x) + scalars[5], gc.max(x) > 2]
    function = gc.compile(inputs, outputs)
    values = [0.5, -7, True, 1.25, 2**64 - 1, -2.5, 3]
    given = np.array([1.0, 2.0, 4.0])
    found = function(*values[:4], given, *values[4:])
    first = [*found]
    assert [v.dtype.name for v in found[:7]] == types[::-1]
    assert found[:7] == values[::-1]
    np.testing.assert_array_equal(found[7], [0.5, 1, 2])
    assert found[8:] == [4.5, True]
    function(*[0] * 2, False, 0, given, *[0] * 3)
    assert first[:7] == values[::-1]  # results of a call are not those of the next


def test_an_array_for_a_scalar_is_refused_by_its_shape() -> None:
    s, x = gc.placeholder("s", ()), gc.placeholder("x", ("n", "2*n"))
    function = gc.compile([s, x], s * x)
    np.testing.assert_array_equal(function(np.float32(2), np.ones((1, 2))), [[2, 2]])
    with pytest.raises(gc.errors.ShapeError, match=r"'s'"):
        function(np.ones(1, "float32"), np.ones((1, 2)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_program_made_for_helpers_runs_in_a_forked_child() -> None:
    """Where there are none: its context, made before the fork, still counts on them."""
    script = """
import os
import numpy as np
import graphc as gc
x = gc.placeholder("x", ("n",), "float64")
f = gc.compile([x], gc.exp(x))
given = np.linspace(0, 1, 1 << 18)
expected = f(given)
child = os.fork()
if child == 0:
    os._exit(7 if np.array_equal(f(given), expected) and np.array_equal(f(given), expected) else 8)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert np.array_equal(f(given), expected)
"""
    environment = {**os.environ, "GRAPHC_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, timeout=600, check=False)
    assert done.returncode == 0
