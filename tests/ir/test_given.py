"""Arrays that say more than their numbers are refused wherever arrays come in."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError

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


def test_a_mask_that_is_filled_is_an_array() -> None:
    array = np.ma.array([1.0, 2e10], mask=[0, 1])
    assert gc.evaluate(gc.sum(X), {X: array.filled(0)}) == array.sum()


def test_numpys_masks_are_not_imported() -> None:
    program = "import sys, graphc as gc; gc.constant([1.0]); print('numpy.ma' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
