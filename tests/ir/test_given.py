"""Arrays that say more than their numbers, and numbers that a dtype cannot hold, are refused
wherever arrays come in."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError

X = gc.placeholder("x", ("n",), "float64")
M = gc.placeholder("m", (2, "n"), "float64")


def masked(shape: tuple[int, ...]) -> Any:
    return np.ma.masked_greater(np.ones(shape) * 2e10, 1)


def matrix(shape: tuple[int, ...]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(np.ones(shape))


def trainer() -> Any:
    model = gc.nn.Sequential([gc.nn.Dense(1)])
    return gc.train.Trainer(model, loss="mean_squared_error", optimizer=gc.optim.Adam())


def set_value(value: Any) -> None:
    gc.variable(np.ones((2, 3))).value = value


DOORS: dict[str, Callable[[Any], Any]] = {
    "call": lambda a: gc.compile([M], gc.sum(M))(a),
    "call by name": lambda a: gc.compile([M], gc.sum(M))(m=a),
    "call of the reference": lambda a: gc.compile([M], gc.sum(M), target="reference")(a),
    "jit": lambda a: gc.jit(lambda m: m * 2)(a),
    "evaluate": lambda a: gc.evaluate(gc.sum(M), {M: a}),
    "constant": gc.constant,
    "constant of a dtype": lambda a: gc.constant(a, "float32"),
    "operand": lambda a: M * a,
    "operand of a ufunc": lambda a: gc.add(a, M),
    "part": lambda a: gc.concat([M, a], axis=1),
    "cotangent": lambda a: gc.vjp(gc.sin(M[:, :3]), M, a),
    "carry": lambda a: gc.scan(lambda c, x: (c, x), a, X),
    "variable": gc.variable,
    "value of a variable": set_value,
    "first value": lambda a: gc.nn.initializers.constant(a),
    "examples": lambda a: trainer().fit(a, np.ones((2, 1))),
    "targets": lambda a: trainer().fit(np.ones((2, 3)), a),
    "prediction": lambda a: trainer().predict(a),
    "evaluation": lambda a: trainer().evaluate(a, np.ones((2, 1))),
    "list of rows": lambda a: gc.constant([a[0], a[1]]),
    "list in a call": lambda a: gc.compile([M], gc.sum(M))([a[0], a[1]]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("make", "what"), [(masked, "masked array"), (matrix, "np.matrix")])
def test_refused(door: str, make: Callable[[tuple[int, ...]], Any], what: str) -> None:
    with pytest.raises(ArgumentError, match=what) as caught:
        DOORS[door](make((2, 3)))
    assert __file__ in caught.value.where
    assert caught.value.hint


def assign(value: Any, dtype: str) -> Any:
    v = gc.variable(np.zeros(np.shape(value)), dtype=dtype)
    v.value = value
    return v.value


def call(value: Any, dtype: str) -> Any:
    x = gc.placeholder("x", np.shape(value), dtype)
    return gc.compile([x], x, target="reference")(value)


def evaluate(value: Any, dtype: str) -> Any:
    x = gc.placeholder("x", np.shape(value), dtype)
    return gc.evaluate(x, {x: value})


READERS = [assign, call, evaluate]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (300, "int8"),
        ([0, -1], "uint8"),
        (np.array([2**63], "uint64"), "int64"),
        (1.5, "int32"),
        (float("nan"), "int32"),
        (1e300, "float32"),
        (2, "bool"),
    ],
)
def test_numbers_that_the_dtype_cannot_hold(
    read: Callable[[Any, str], Any], value: Any, dtype: str
) -> None:
    with pytest.raises(DTypeError, match="do not fit the dtype") as caught:
        read(value, dtype)
    assert caught.value.expected == dtype
    assert __file__ in caught.value.where


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([3, 255], "uint8"),
        ([True, False], "int8"),
        ([0.1, np.inf, np.nan], "float32"),
        (2**40 + 1, "float32"),
        ([], "int32"),
        (np.arange(3.0).astype(">f8"), "float64"),
    ],
)
def test_numbers_that_it_holds(read: Callable[[Any, str], Any], value: Any, dtype: str) -> None:
    np.testing.assert_array_equal(read(value, dtype), np.array(value, dtype), strict=True)


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_array_of_numbers(read: Callable[[Any, str], Any]) -> None:
    for value in ("a", [None, 1], 2**70):
        with pytest.raises(ArgumentError, match="not numbers"):
            read(value, "float64")
    ragged = gc.variable([1.0, 2.0])
    with pytest.raises(ArgumentError, match="not an array"):
        ragged.value = [[1.0], [2.0, 3.0]]


def test_results_are_not_the_arrays_that_were_given() -> None:
    a = np.ones((2, 3))
    for result in gc.evaluate([M, M.T], {M: a}):
        assert not np.shares_memory(a, result)


def test_a_mask_that_is_filled_is_an_array() -> None:
    array = np.ma.array([1.0, 2e10], mask=[0, 1])
    assert gc.evaluate(gc.sum(X), {X: array.filled(0)}) == array.sum()


def test_numpys_masks_are_not_imported() -> None:
    program = "import sys, graphc as gc; gc.constant([1.0]); print('numpy.ma' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
