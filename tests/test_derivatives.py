"""Every differentiable op against central differences; ops without a derivative say so.

The check is of one number: for random r and v, the derivative of sum(op(x) * r) along v.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GradientError
from graphc.ir.dim import evaluate as evaluate_size

from .op_samples import SAMPLES
from .sampling import FLOATS, Array, Case, Samples

DIFFERENTIABLE = [n for n, s in SAMPLES.items() if s.domain and set(FLOATS) <= set(s.takes)]
SMOOTH = [n for n in DIFFERENTIABLE if SAMPLES[n].smooth]
STEP = 1e-5
NAMED = 2  # the value of the named dim


@dataclass
class At:
    """A scalar function of tensors at a point: sum(op(x) * r)."""

    y: gc.Tensor
    wrt: list[gc.Tensor]
    feeds: dict[gc.Tensor, Array]
    rng: np.random.Generator

    def value(self, y: gc.Tensor, moves: dict[gc.Tensor, Array] | None = None) -> float:
        moved = {x: self.feeds[x] + step for x, step in (moves or {}).items()}
        return float(gc.evaluate(y, self.feeds | moved))

    def directions(self) -> dict[gc.Tensor, Array]:
        return {x: self.rng.normal(size=self.feeds[x].shape) for x in self.wrt}

    def gradient(self, y: gc.Tensor) -> list[gc.Tensor]:
        """Zeros by operands that an op has no derivative by, as if it did not depend on them."""
        found: list[gc.Tensor] = gc.grad(y, self.wrt, unconnected="zero")
        return found

    def derivative(self, y: gc.Tensor, along: dict[gc.Tensor, Array]) -> gc.Tensor:
        total: Any = gc.constant(0.0, y.dtype)
        for x, g in zip(self.wrt, self.gradient(y), strict=True):
            assert g.type == x.type
            v = gc.placeholder(f"{x.name}_{len(self.feeds)}", x.shape, x.dtype)
            self.feeds[v] = along[x].astype(x.dtype.name)
            total = total + gc.sum(g * v)
        result: gc.Tensor = total
        return result

    def difference(self, y: gc.Tensor, along: dict[gc.Tensor, Array]) -> float:
        low, high = (
            self.value(y, {x: sign * STEP * v for x, v in along.items()}) for sign in (-1, 1)
        )
        return (high - low) / (2 * STEP)


def sampled(samples: Samples, case: Case, dtype: str, seed: int) -> At:
    assert samples.domain is not None
    rng = np.random.default_rng(seed)
    inputs = case.placeholders(dtype)
    feeds = dict(zip(inputs, case.arrays(dtype, NAMED, rng, wild=False), strict=True))
    wrt = [x for x in inputs if x.dtype.is_float]
    for i, x in enumerate(inputs):
        if x.dtype.is_float and not (case.draws and case.draws[i]):
            values = rng.uniform(*samples.domain, feeds[x].shape)
            feeds[x] = values.astype("float32").astype(dtype)  # the same point in both dtypes
    results = case.call(*inputs)
    total: Any = gc.constant(0.0, dtype)
    for i, y in enumerate(results if isinstance(results, tuple) else (results,)):
        if y.dtype.is_float:
            r = gc.placeholder(f"r{i}", y.shape, y.dtype)
            sizes = tuple(evaluate_size(s, {"n": NAMED}) for s in y.shape)
            feeds[r] = rng.uniform(0.5, 1.5, sizes).astype(dtype)
            total = total + gc.sum(y * r)
    return At(total, wrt, feeds, rng)


def cases(name: str) -> Iterator[tuple[Samples, Case, int]]:
    for seed, case in enumerate(SAMPLES[name].cases):
        yield SAMPLES[name], case, seed


def assert_near(actual: float, expected: float, tolerance: float) -> None:
    assert abs(actual - expected) <= tolerance * max(abs(actual), abs(expected), 1e-2)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_is_the_difference_quotient(name: str) -> None:
    for samples, case, seed in cases(name):
        at = sampled(samples, case, "float64", seed)
        along = at.directions()
        derivative = at.derivative(at.y, along)
        expected = at.difference(at.y, along)
        assert_near(at.value(derivative), expected, 1e-6)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_in_float32(name: str) -> None:
    for samples, case, seed in cases(name):
        values = []
        for dtype in ("float64", "float32"):
            at = sampled(samples, case, dtype, seed)
            along = {x: np.round(v, 2) for x, v in at.directions().items()}
            values.append(at.value(at.derivative(at.y, along)))
        assert_near(values[1], values[0], 2e-3)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forward_is_the_transpose_of_reverse(name: str) -> None:
    """To rounding, so that what one of them has right the other has."""
    for samples, case, seed in cases(name):
        at = sampled(samples, case, "float64", seed)
        along = at.directions()
        backwards = at.value(at.derivative(at.y, along))
        forwards = at.value(gc.jvp(at.y, at.wrt, [along[x] for x in at.wrt]))
        assert_near(forwards, backwards, 1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivative_is_the_difference_quotient_of_the_first(name: str) -> None:
    for samples, case, seed in cases(name):
        at = sampled(samples, case, "float64", seed)
        first = at.derivative(at.y, at.directions())
        along = at.directions()
        expected = at.difference(first, along)
        at.wrt = [x for x in at.wrt if _depends(first, x)]
        second = at.derivative(first, along) if at.wrt else gc.constant(0.0, "float64")
        assert_near(at.value(second), expected, 1e-6)


def _depends(y: gc.Tensor, x: gc.Tensor) -> bool:
    """Whether a derivative exists: a linear op has no second one."""
    try:
        gc.grad(y, x)
    except GradientError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - set(DIFFERENTIABLE)))
def test_without_a_derivative_the_error_says_so(name: str) -> None:
    case = SAMPLES[name].cases[0]
    dtype = next((d for d in FLOATS if d in SAMPLES[name].takes), None)
    if dtype is None or name == "astype":
        return
    inputs = [x for x in case.placeholders(dtype) if x.dtype.is_float]
    results = case.call(*case.placeholders(dtype))
    for y in results if isinstance(results, tuple) else (results,):
        for x in inputs:
            with pytest.raises(GradientError):
                gc.grad(gc.sum(y), x)


@pytest.mark.parametrize(("first", "second"), [("float32", "float64"), ("float64", "float32")])
def test_conversion_between_floats_passes_the_gradient(first: str, second: str) -> None:
    x = gc.placeholder("x", (3,), first)
    g = gc.grad(gc.sum(gc.astype(x, second) * np.array([1.0, 2.0, 3.0], second)), x)
    found = gc.evaluate(g, {x: np.zeros(3)})
    assert found.dtype == np.dtype(first)
    np.testing.assert_array_equal(found, [1, 2, 3])
