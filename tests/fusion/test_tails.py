"""Heavy work on the results of rows is a kernel of its own, light work stays with the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc


def rows(n: Any, tail: Any) -> tuple[gc.Tensor, gc.Tensor]:
    x = gc.placeholder("tail x", (n, 50), "float64")
    return x, tail(gc.sum(x * x, axis=1))


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


CASES = {  # the work on a row's sum, NumPy's, kernels
    "a division": (lambda s: 1 / s, lambda s: 1 / s, 1),
    "one exponential": (gc.exp, np.exp, 1),
    "two sigmoids": (
        lambda s: gc.sigmoid(s) * gc.sigmoid(-s),
        lambda s: sigmoid(s) * sigmoid(-s),
        2,
    ),
    "a sum over the rows": (
        lambda s: gc.mean(gc.softplus(s) * gc.tanh(s)),
        lambda s: np.mean(np.logaddexp(0, s) * np.tanh(s)),
        2,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_tail_of_rows(name: str) -> None:
    tail, by_numpy, kernels = CASES[name]
    x, y = rows("n", tail)
    f = gc.compile([x], y)
    assert len(f.kernels) == kernels
    for n in (1, 15, 70):
        a = np.random.default_rng(n).normal(size=(n, 50)) / 8
        np.testing.assert_allclose(f(a), by_numpy((a * a).sum(axis=1)), rtol=1e-12)


def test_what_the_rows_need_again_stays() -> None:
    """A weight that each row's elements are multiplied by, however heavy."""
    x, s = rows("n", lambda s: gc.softplus(gc.tanh(s)))
    f = gc.compile([x], x * s[:, None])
    assert len(f.kernels) == 1
    a = np.random.default_rng(0).normal(size=(9, 50)) / 8
    weight = np.logaddexp(0, np.tanh((a * a).sum(axis=1)))
    np.testing.assert_allclose(f(a), a * weight[:, None], rtol=1e-12)


def test_few_rows_are_no_vectors() -> None:
    x, y = rows(8, lambda s: gc.sigmoid(s) * gc.sigmoid(-s))
    assert len(gc.compile([x], y).kernels) == 1


def test_explain_says_why_they_are_two() -> None:
    x, y = rows("n", lambda s: gc.softplus(gc.tanh(s)))
    text = gc.compile([x], y).explain()
    assert "heavy work on the result of each row is done for many rows at once" in text
