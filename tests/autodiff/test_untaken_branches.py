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


def test_a_cotangent_that_happens_to_be_zero_has_derivatives() -> None:
    """(y - x) (3x - 2y) at x = y: the cotangent of what `where` chooses is y - x, which is 0."""
    x, y = gc.placeholder("x", (), "float64"), gc.placeholder("y", (), "float64")
    m = gc.placeholder("m", (), "bool")
    z = (y - x) * gc.where(m, y - (y - x) * 3.0, y)
    found = gc.evaluate(gc.hessian(z, [x, y]), {x: 2.0, y: 2.0, m: True})
    np.testing.assert_allclose(found, [[-6, 5], [5, -4]], rtol=1e-14)


def test_weights_of_zero_behind_a_branch_have_second_derivatives() -> None:
    """Sum of v_i where(m, tanh(a_ij u_j), 0): by v and a at v = 0 it is the slope of tanh."""
    a, v = gc.placeholder("a", (3, 2), "float64"), gc.placeholder("v", (3,), "float64")
    u, mask = np.array([0.3, -0.7]), np.array([True, False, True])
    at_a = np.random.default_rng(0).standard_normal((3, 2))
    loss = gc.sum(v * gc.where(mask, gc.tanh(a @ u), 0.0))
    slope = gc.grad(loss, a)
    rows = [gc.grad(slope[i, j], v, unconnected="zero") for i in range(3) for j in range(2)]
    found = np.reshape(gc.evaluate(rows, {a: at_a, v: np.zeros(3)}), (3, 2, 3))
    wanted = np.zeros((3, 2, 3))
    for i in range(3):
        wanted[i, :, i] = mask[i] * (1 - np.tanh(at_a[i] @ u) ** 2) * u
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=0)
