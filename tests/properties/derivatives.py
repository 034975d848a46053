"""Derivatives of an op's samples against central differences, both ways and twice.

A check is of one number: for random r and v, the derivative of y = sum(op(x) * r) along v; for
random w, that of this along w.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.dim import evaluate as evaluate_size
from tests.op_samples import SAMPLES
from tests.sampling import FLOATS, Array, Case, Samples

DIFFERENTIABLE = [n for n, s in SAMPLES.items() if s.domain and set(FLOATS) <= set(s.takes)]
SMOOTH = [n for n in DIFFERENTIABLE if SAMPLES[n].smooth]
STEP = 1e-5
NAMED = 2  # the value of the named dim
DOUBLE, SINGLE = 1e-6, 2e-3  # relative errors in float64 and float32


@dataclass
class At:
    """A scalar function of tensors at a point: sum(op(x) * r)."""

    y: gc.Tensor
    wrt: list[gc.Tensor]
    feeds: dict[gc.Tensor, Array]
    rng: np.random.Generator
    _made: Iterator[int] = field(default_factory=lambda: iter(range(100)))

    def value(self, y: gc.Tensor, moves: dict[gc.Tensor, Array] | None = None) -> float:
        moved = {x: self.feeds[x] + step for x, step in (moves or {}).items()}
        return float(gc.evaluate(y, self.feeds | moved))

    def directions(self) -> dict[gc.Tensor, Array]:
        return {x: self.rng.normal(size=self.feeds[x].shape) for x in self.wrt}

    def placed(self, along: dict[gc.Tensor, Array]) -> list[gc.Tensor]:
        """Placeholders for a direction, which is fed from now on."""
        number = next(self._made)
        vs = [gc.placeholder(f"{x.name}_along{number}", x.shape, x.dtype) for x in self.wrt]
        self.feeds |= {v: along[x].astype(x.dtype.name) for x, v in zip(self.wrt, vs, strict=True)}
        return vs

    def backwards(self, y: gc.Tensor, along: dict[gc.Tensor, Array]) -> gc.Tensor:
        """The derivative of y along a direction, by the gradient: zeros by operands that an op has
        no derivative by, as if it did not depend on them."""
        total: Any = gc.constant(0.0, y.dtype)
        slopes = gc.grad(y, self.wrt, unconnected="zero")
        for x, g, v in zip(self.wrt, slopes, self.placed(along), strict=True):
            assert g.type == x.type
            total = total + gc.sum(g * v)
        result: gc.Tensor = total
        return result

    def forwards(self, y: gc.Tensor, along: dict[gc.Tensor, Array]) -> gc.Tensor:
        """The derivative of y along a direction, by forward mode."""
        moved: gc.Tensor = gc.jvp(y, self.wrt, self.placed(along))
        assert moved.type == y.type
        return moved

    def difference(self, y: gc.Tensor, along: dict[gc.Tensor, Array]) -> float:
        low, high = (
            self.value(y, {x: sign * STEP * v for x, v in along.items()}) for sign in (-1, 1)
        )
        return (high - low) / (2 * STEP)


WAYS: dict[str, Callable[[At, gc.Tensor, dict[gc.Tensor, Array]], gc.Tensor]] = {
    "reverse": At.backwards,
    "forward": At.forwards,
}


def sampled(name: str, number: int, dtype: str = "float64", seed: int | None = None) -> At:
    """A case of the op `name` at a point: the same one in every dtype."""
    samples: Samples = SAMPLES[name]
    case: Case = samples.cases[number]
    assert samples.domain is not None
    rng = np.random.default_rng(number if seed is None else seed)
    inputs = case.placeholders(dtype)
    feeds = dict(zip(inputs, case.arrays(dtype, NAMED, rng, wild=False), strict=True))
    wrt = [x for x in inputs if x.dtype.is_float]
    for i, x in enumerate(inputs):
        if x.dtype.is_float and not (case.draws and case.draws[i]):
            values = rng.uniform(*samples.domain, feeds[x].shape)
            feeds[x] = values.astype("float32").astype(dtype)
    results = case.call(*inputs)
    total: Any = gc.constant(0.0, dtype)
    for i, y in enumerate(results if isinstance(results, (tuple, list)) else (results,)):
        if y.dtype.is_float:
            r = gc.placeholder(f"r{i}", y.shape, y.dtype)
            sizes = tuple(evaluate_size(s, {"n": NAMED}) for s in y.shape)
            feeds[r] = rng.uniform(0.5, 1.5, sizes).astype(dtype)
            total = total + gc.sum(y * r)
    return At(total, wrt, feeds, rng)


def assert_near(actual: float, expected: float, tolerance: float) -> None:
    close = abs(actual - expected) <= tolerance * max(abs(actual), abs(expected), 1e-2)
    assert close, f"{actual} is not {expected}, to {tolerance:g}"


# -- the checks ------------------------------------------------------------------------------------
def check_first(name: str, number: int, way: str) -> None:
    """The first derivative against a difference, in float64."""
    at = sampled(name, number)
    along = at.directions()
    found = at.value(WAYS[way](at, at.y, along))
    assert_near(found, at.difference(at.y, along), DOUBLE)


def check_single(name: str, number: int, way: str) -> None:
    """The first derivative in float32 against that in float64."""
    values = []
    for dtype in ("float64", "float32"):
        at = sampled(name, number, dtype)
        along = {x: np.round(v, 2) for x, v in at.directions().items()}
        values.append(at.value(WAYS[way](at, at.y, along)))
    assert_near(values[1], values[0], SINGLE)


def check_second(name: str, number: int, outer: str, inner: str) -> None:
    """The derivative one way of the derivative the other way, against a difference of the latter,
    in float64."""
    at = sampled(name, number)
    first = WAYS[inner](at, at.y, at.directions())
    along = at.directions()
    expected = at.difference(first, along)
    assert_near(at.value(WAYS[outer](at, first, along)), expected, DOUBLE)
