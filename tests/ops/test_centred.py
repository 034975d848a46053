"""Gradients through means: multiples of `x - mean(x)` add up to zero, and are not added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import walk
from tests.ops.gradients import assert_gradient

X = gc.placeholder("centred_x", (3, 4, 2), "float64")
C, W = (
    gc.placeholder("centred_c", (4, 1), "float64"),
    gc.placeholder("centred_w", (3, 4, 2), "float64"),
)
DATA = {t: np.random.default_rng(i).standard_normal(t.shape) for i, t in enumerate((X, C, W))}  # type: ignore[arg-type]


def centred(axes: Any = (0, 2)) -> gc.Tensor:
    return X - gc.mean(X, axis=axes, keepdims=True)


def sums(loss: gc.Tensor, by: gc.Tensor) -> int:
    """The sums in a gradient that the loss has not."""
    known = {n for n in walk([loss]) if n.op.name == "sum"}
    return sum(n.op.name == "sum" and n not in known for n in walk([gc.grad(loss, by)]))


def variance() -> gc.Tensor:
    return gc.mean(gc.square(centred()), axis=(0, 2), keepdims=True)


# Losses, and how many sums the gradient by x has beside those of the loss.
CASES: dict[str, tuple[Callable[[], gc.Tensor], int]] = {
    "variance": (lambda: gc.sum(gc.tanh(gc.variance(X, axis=(0, 2)))), 0),
    "by a factor": (lambda: gc.sum(C * gc.square(-centred()) / (1 + C * C)), 0),
    "over fewer axes": (lambda: gc.sum(gc.square(centred(2))), 0),
    "axes that do not fit": (lambda: gc.sum(gc.square(centred(2) - gc.mean(centred(2)))), 1),
    "weights": (lambda: gc.sum(W * gc.square(centred())), 1),
    "another tensor": (lambda: gc.sum(gc.square(W - gc.mean(X, axis=0))), 1),
    "normalised": (lambda: gc.sum(W * centred() * C / gc.sqrt(variance() + 1.0)), 2),
}


@pytest.mark.parametrize("case", CASES)
def test_gradients(case: str) -> None:
    make, count = CASES[case]
    loss = make()
    assert sums(loss, X) == count
    feeds = {t: DATA[t] for t in (X, C, W) if t.node in walk([loss])}
    assert_gradient(loss, feeds, 1e-6)


def test_the_gradient_of_a_normalisation_shares_its_sums() -> None:
    """The sum that the mean needs is that of the gradient by the shift; of the cotangent alone."""
    scale, shift = (gc.placeholder(f"centred_{n}", (4,), "float64") for n in ("gamma", "beta"))
    y = gc.nn.batch_norm(X, scale, shift, axis=1)
    wanted = gc.grad(gc.sum(W * y), [X, scale, shift])
    program = gc.compile([X, W, scale, shift], wanted)
    over_w = [s for s in walk(program.graph.outputs) if s.op.name == "sum"]
    assert len({s.inputs[0] for s in over_w}) == len(over_w)


def test_second_derivatives() -> None:
    x = gc.placeholder("centred_v", (5,), "float64")
    hessian = gc.evaluate(gc.hessian(gc.variance(x), x), {x: np.arange(5.0) ** 2})
    np.testing.assert_allclose(hessian, 2 / 5 * (np.eye(5) - 1 / 5), atol=1e-12)


def test_a_mean_that_is_asked_for_is_a_variable() -> None:
    """By the mean itself the derivative is 0 here, and its derivative is not."""
    mean = gc.mean(X)
    first = gc.grad(gc.mean(gc.square(X - mean)), mean)
    assert float(gc.evaluate(first, {X: DATA[X]})) == pytest.approx(0, abs=1e-12)
    assert float(gc.evaluate(gc.grad(first, mean), {X: DATA[X]})) == pytest.approx(2)


def test_what_is_not_finite_stays_so() -> None:
    x = gc.placeholder("centred_n", (4,))
    given = np.array([1, 2, np.nan, 3], "float32")
    assert np.isnan(gc.evaluate(gc.grad(gc.variance(x), x), {x: given})).all()


def test_a_sum_times_a_named_size_is_no_mean() -> None:
    """Nor so is this the variance."""
    x = gc.placeholder("centred_r", ("rows", 3), "float64")
    rows = gc.astype(gc.size(x), "float64") / 3
    y = gc.sum(gc.square(x), axis=0) * rows - gc.square(gc.sum(x, axis=0) * rows)
    given = np.arange(12.0).reshape(4, 3)
    meant = 4 * (given**2).sum(0) - (4 * given.sum(0)) ** 2
    np.testing.assert_allclose(gc.compile([x], y)(given), meant)
