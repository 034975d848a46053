"""Compiled functions beside the interpreter: what the tests of the runtime share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir.evaluate import evaluate_graph
from graphc.runtime.compile import compile_statistics

Array = np.ndarray[Any, Any]


def printed_on_threads(program: str, folder: Path, counts: Sequence[int]) -> set[str]:
    """What a Python program prints, in processes of their own with so many threads each; `folder`
    is for the cache that they share."""
    printed = set()
    for count in counts:
        settings = {
            "GRAPHC_NUM_THREADS": str(count),
            "OPENBLAS_NUM_THREADS": "1",
            "GRAPHC_CACHE_DIR": str(folder),
            "PYTHONWARNINGS": "ignore",
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    return printed


def assert_close(given: Any, expected: Any, exact: bool = False) -> None:
    """Equal shapes and dtypes; equal values, or (for floats) equal to rounding errors."""
    found = np.asarray(given)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if exact or found.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        if found.dtype.kind == "f":
            number = ~np.isnan(expected)
            np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))
    else:
        double = found.dtype.itemsize == 8
        np.testing.assert_allclose(
            found, expected, rtol=1e-11 if double else 2e-5, atol=1e-13 if double else 1e-6
        )


def agree(
    inputs: Sequence[gc.Tensor],
    outputs: Any,
    *calls: Sequence[Any],
    updates: Any = None,
    exact: bool = False,
) -> Any:
    """The compiled function, after checking that for each call its results and the variables that
    it leaves are the interpreter's; that it fails where that fails, and then changes no variable;
    that inputs are not written; and that results are no memory of inputs or variables."""
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    function = gc.compile(inputs, outputs, updates or {}, check=True)
    graph = function.graph
    start = {v: v.value for v in graph.variables}
    for call in calls:
        for variable, value in start.items():
            variable.value = value
        arrays = [np.asarray(a, t.dtype.numpy) for a, t in zip(call, inputs, strict=True)]
        copies = [a.copy() for a in arrays]
        try:
            expected = evaluate_graph(graph, copies)
        except GraphcError as error:
            _assert_fails(function, arrays, error)
            continue
        found = function(*arrays)
        _assert_fresh(found, arrays, start)
        for given, value in zip(
            (*found, *(v.value for v, _ in graph.updates)), expected, strict=True
        ):
            assert_close(given, value, exact)
        for array, copy in zip(arrays, copies, strict=True):
            assert array.tobytes() == copy.tobytes()
    for variable, value in start.items():
        variable.value = value
    return function


def _assert_fails(function: Any, arrays: Sequence[Array], error: GraphcError) -> None:
    before = {v: v.value.tobytes() for v in function.graph.variables}
    with pytest.raises(GraphcError) as given:
        function(*arrays)
    assert isinstance(given.value, type(error)) or isinstance(error, given.type)
    assert {v: v.value.tobytes() for v in function.graph.variables} == before


def _assert_fresh(found: Sequence[Any], arrays: Sequence[Array], variables: Any) -> None:
    owned = [*arrays, *(v.cell.array for v in variables)]
    for i, result in enumerate(found):
        for other in (*owned, *found[:i]):
            assert not np.shares_memory(result, other)


def counted(what: str, build: Callable[[], Any]) -> tuple[Any, int]:
    """What `build` gives, and by how much that raised one of `compile_statistics`."""
    before = compile_statistics()[what]
    return build(), compile_statistics()[what] - before
