"""`ensure`: the value where the condition holds, else a failure that changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, RuntimeFailure


def test_it_is_its_operand_or_fails() -> None:
    x = gc.placeholder("ensured", ("n",))
    v = gc.variable(0.0, "count")
    y = gc.ensure(x, x >= 0, "x is below 0")
    step = gc.compile([x], [gc.sqrt(y), gc.grad(gc.sum(y * y), x)], {v: v + 1})
    root, slope = step(np.float32([4, 9]))
    np.testing.assert_array_equal(root, [2, 3])
    np.testing.assert_array_equal(slope, [8, 18])
    with pytest.raises(RuntimeFailure, match="x is below 0") as caught:
        step(np.float32([1, -1]))
    assert "test_ensure.py" in caught.value.where
    assert v.value == 1
    with pytest.raises(RuntimeFailure, match="x is below 0"):
        gc.evaluate(y, {x: [-1.0]})


def test_both_sides_broadcast() -> None:
    x, holds = gc.placeholder("ensured2", (2, 1)), gc.placeholder("holds", (3,), "bool")
    y = gc.ensure(x, holds)
    assert y.shape == (2, 3)
    given = np.float32([[1], [2]])
    slope = gc.grad(gc.sum(y), x)
    found = gc.evaluate([y, slope], {x: given, holds: [True] * 3})
    np.testing.assert_array_equal(found[0], given + np.zeros(3))
    np.testing.assert_array_equal(found[1], [[3], [3]])


def test_arguments() -> None:
    with pytest.raises(DTypeError, match="no truth value"):
        gc.ensure(1.0, 1.0)
    with pytest.raises(ArgumentError, match="no string"):
        gc.ensure(1.0, True, None)  # type: ignore[arg-type]
