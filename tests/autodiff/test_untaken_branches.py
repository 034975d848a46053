"""The branch of `where` that is not taken never reaches a gradient, however it is hidden.

Each case is the gradient of the sum of an expression at a point where the untaken branch, or its
derivative, is infinite or NaN; the expected numbers are those of the taken branch alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.ir.operators import functions

INF, NAN = float("inf"), float("nan")
ROWS = np.arange(1.0, 7.0).reshape(3, 2)


class Case(NamedTuple):
    expression: str
    x: object
    expected: object


CASES = (
    # one op
    Case("where(x > 0, log(x), 0)", 0.0, 0.0),
    Case("where(x > 0, log(x), 0)", [0.0, 2.0], [0.0, 0.5]),
    Case("where(x > 0, log(x), x)", [0.0, 2.0], [1.0, 0.5]),
    Case("where(x <= 0, 0, log(x))", [0.0, 2.0], [0.0, 0.5]),
    Case("where(x > 0, sqrt(x), 0)", [0.0, 4.0], [0.0, 0.25]),
    Case("where(x > 0, sqrt(x), 0)", [-1.0, 4.0], [0.0, 0.25]),
    Case("where(x != 0, 1 / x, 0)", [0.0, 2.0], [0.0, -0.25]),
    Case("where(x != 0, sin(x) / x, 1)", [0.0, np.pi], [0.0, -1 / np.pi]),
    Case("where(x > -1, log1p(x), 0)", [-1.0, 1.0], [0.0, 0.5]),
    Case("where(x < 100, exp(x), 0)", [1000.0, 0.0], [0.0, 1.0]),
    Case("where(x < 100, exp(x), x)", [1000.0, 0.0], [1.0, 1.0]),
    Case("where(x > 0, x ** 0.5, 0)", [0.0, 4.0], [0.0, 0.25]),
    Case("where(x > 0, x ** -2.0, 0)", [0.0, 1.0], [0.0, -2.0]),
    Case("where(x > 0, x ** x, 0)", [-2.0, 1.0], [0.0, 1.0]),
    Case("where(isfinite(x), x * x, 0)", [INF, 3.0], [0.0, 6.0]),
    Case("where(isnan(x), 0, tanh(x))", [NAN, 0.0], [0.0, 1.0]),
    Case("where(isnan(x), 0, square(x))", [NAN, 3.0], [0.0, 6.0]),
    Case("where(x > 0, log(x), where(x < 0, log(-x), 0))", [0.0, 2.0, -4.0], [0.0, 0.5, -0.25]),
    # chains of elementwise ops
    Case("where(x > 0, log(sqrt(x)), 0)", [0.0, 2.0], [0.0, 0.25]),
    Case("where(x > 0, sqrt(log(x) ** 2), 0)", [0.0, 4.0], [0.0, 0.25]),
    Case("where(x > 0, 3 * log(x) + 1, 0)", [0.0, 3.0], [0.0, 1.0]),
    Case("where(x > 0, -log(x), 0)", [0.0, 2.0], [0.0, -0.5]),
    Case("where(x > 0, x * log(x), 0)", [0.0, 1.0], [0.0, 1.0]),
    Case("where(x > 0, log(x) * log(x), 0)", [0.0, 1.0], [0.0, 0.0]),
    Case("2 * where(x > 0, log(x), 0)", [0.0, 2.0], [0.0, 1.0]),
    Case("exp(where(x > 0, log(x), 0))", [0.0, 2.0], [0.0, 1.0]),
    Case("where(x > 0, log(x), 0) + x", [0.0, 2.0], [1.0, 1.5]),
    Case("where(x > 0, log(x), 0) * where(x > 0, sqrt(x), 1)", [0.0, 1.0], [0.0, 1.0]),
    Case("where(x > 0, log(x), 0) + where(x > 1, sqrt(log(x)), 0)", [0.0, 0.5], [0.0, 2.0]),
    Case("where(x > 0, where(x > 1, log(x - 1), 0), 0)", [0.0, 1.0, 3.0], [0.0, 0.0, 0.5]),
    Case("where(x > 0, abs(log(x)), 0)", [0.0, 2.0], [0.0, 0.5]),
    Case("where(x > 0, maximum(log(x), -5), 0)", [0.0, 2.0], [0.0, 0.5]),
    Case("astype(where(x > 0, astype(log(x), 'float32'), 0), 'float64')", [0.0, 2.0], [0.0, 0.5]),
    # through ops that move elements
    Case("where(x.T > 0, log(x).T, 0)", [[0.0, 2.0], [4.0, 0.0]], [[0.0, 0.5], [0.25, 0.0]]),
    Case("where(flip(x) > 0, flip(log(x)), 0)", [0.0, 2.0], [0.0, 0.5]),
    Case("where(reshape(x, (2, 1)) > 0, reshape(log(x), (2, 1)), 0)", [0.0, 2.0], [0.0, 0.5]),
    Case("where(x[1:] > 0, log(x)[1:], 0)", [0.0, 0.0, 2.0], [0.0, 0.0, 0.5]),
    Case("where(x > 0, broadcast_to(log(x), (3, 2)), 0)", [0.0, 2.0], [0.0, 1.5]),
    Case("where(x > 0, log(x) + zeros((3, 2), 'float64'), 0)", [0.0, 2.0], [0.0, 1.5]),
    Case("where(take(x, [1, 1]) > 0, take(log(x), [1, 1]), 0)", [0.0, 2.0], [0.0, 1.0]),
    Case("where(take(x, [0, 1]) > 0, take(log(x), [0, 1]), 0)", [0.0, 2.0], [0.0, 0.5]),
    Case("where(concat([x, x]) > 0, concat([log(x), sqrt(x)]), 0)", [0.0, 4.0], [0.0, 0.5]),
    Case("where(pad(x, ((1, 0),)) > 0, pad(log(x), ((1, 0),)), 0)", [0.0, 2.0], [0.0, 0.5]),
    # through ops that combine elements
    Case("where(min(x) > 0, sum(log(x)), 0)", [0.0, 2.0], [0.0, 0.0]),
    Case("where(min(x) > 0, mean(sqrt(x)), 0)", [0.0, 4.0], [0.0, 0.0]),
    Case("where(min(x) > 0, max(log(x)), 0)", [0.0, 0.0], [0.0, 0.0]),
    Case("where(min(x) > 0, prod(1 / x), 0)", [0.0, 2.0], [0.0, 0.0]),
    Case("where(min(x, 1) > 0, sum(log(x), 1), 0)", [[0.0, 2.0], [1.0, 2.0]], [[0, 0], [1, 0.5]]),
    Case("where(min(x) > 0, ROWS @ log(x), 0)", [0.0, 2.0], [0.0, 0.0]),
    Case("where(min(x) > 0, ROWS @ sqrt(x * x), 0)", [0.0, 2.0], [0.0, 0.0]),
    Case("where(x > 0, log(x * ones((3, 2), 'float64')), 0)", [0.0, 2.0], [0.0, 1.5]),
    Case("where(min(x) > 0, sqrt(sum(x * x)), 0)", [0.0, 0.0], [0.0, 0.0]),
    Case("where(sum(x * x) > 0, sqrt(sum(x * x)), 0)", [3.0, 4.0], [0.6, 0.8]),
    Case("where(sum(x * x) > 0, x / sqrt(sum(x * x)), 0)", [0.0, 0.0], [0.0, 0.0]),
    Case("where(min(x) > -inf, softmax(x), 0)", [-INF, -INF], [0.0, 0.0]),
    Case("where(min(x) > -inf, log_softmax(x), 0)", [-INF, -INF], [0.0, 0.0]),
    Case("where(min(x) > -inf, logsumexp(x), 0)", [-INF, -INF], [0.0, 0.0]),
    Case("where(min(x) > 0, softmax(log(x)), 0)", [0.0, 1.0], [0.0, 0.0]),
    Case("where(min(x) > 0, var(log(x)), 0)", [0.0, 1.0], [0.0, 0.0]),
    # through ops that hold graphs
    Case("where(x > 0, scan(lambda _, v: (None, log(v)), None, x)[1], 0)", [0.0, 2.0], [0.0, 0.5]),
    Case("where(min(x) > 0, scan(lambda c, v: (c + log(v), 0), 0.0, x)[0], 0)", [0.0, 2.0], [0, 0]),
    Case("where(min(x) > 0, scan(lambda c, v: (c * sqrt(v), 0), 1.0, x)[0], 0)", [0.0, 4], [0, 0]),
    Case("where(min(x) > 0, fori_loop(0, 3, lambda i, c: log(c) ** 2, min(x)), 0)", [0, 2], [0, 0]),
    Case("where(min(x) > 0, checkpoint(lambda v: sum(log(v)))(x), 0)", [0.0, 2.0], [0.0, 0.0]),
    Case("where(min(x) > 0, cond(max(x) > 1, lambda: sum(log(x)), lambda: 0), 0)", [0, 2], [0, 0]),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.expression} at {c.x}")
def test_gradient_is_that_of_the_taken_branch(case: Case) -> None:
    """In reverse and in forward mode; and what is not taken does not reach the Hessian."""
    value, expected = np.array(case.x, float), np.array(case.expected, float)
    x = gc.placeholder("x", value.shape, "float64")
    names = {**functions(), "x": x, "ROWS": ROWS, "inf": INF}
    y = gc.sum(eval(case.expression, names))  # the table's own text
    wanted = [gc.grad(y, x), gc.jacfwd(y, x), gc.hessian(y, x)]
    *found, second = gc.evaluate(wanted, {x: value})
    for first in found:
        np.testing.assert_allclose(first, expected, rtol=1e-6, atol=1e-16)
    assert np.isfinite(second).all()


def test_there_are_more_than_forty_cases() -> None:
    assert len(CASES) > 40


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
