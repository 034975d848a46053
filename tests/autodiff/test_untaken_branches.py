"""The branch of `where` that is not taken never reaches a gradient; the table of `tests/kinks.py`
has over sixty ways in which it is hidden. Here is what one number at a point does not say."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from tests.kinks import UNTAKEN, At, tensor_of

NAN = float("nan")


def test_a_nan_that_is_taken_stays() -> None:
    x = gc.placeholder("x", (2,), "float64")
    y = gc.sum(gc.where(x >= 0, gc.sqrt(x * x * x), 0.0))
    found = gc.evaluate(gc.grad(y, x), {x: [0.0, 2.0]})
    np.testing.assert_allclose(found, [NAN, 1.5 * np.sqrt(2)], rtol=1e-15)


def test_second_derivatives_are_masked_too() -> None:
    x = gc.placeholder("x", (2,), "float64")
    first = gc.grad(gc.sum(gc.where(x > 0, gc.log(x), 0.0)), x)
    second = gc.grad(gc.sum(first), x)
    np.testing.assert_array_equal(gc.evaluate(second, {x: [0.0, 2.0]}), [0.0, -0.25])


@pytest.mark.parametrize("line", UNTAKEN, ids=lambda line: f"{line.expression} at {line.x}")
def test_what_is_not_taken_does_not_reach_the_hessian(line: At) -> None:
    value = np.array(line.x, float)
    x = gc.placeholder("x", value.shape, "float64")
    second = gc.hessian(gc.sum(tensor_of(line.expression, {"x": x})), x)
    assert np.isfinite(gc.evaluate(second, {x: value})).all()
