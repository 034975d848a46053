"""Schedules against their formulas, in steps that compute them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.optim import schedules


def _one_cycle(t: int) -> float:
    top, last, first = 0.3 * 10 - 1, 9, 0.2 / 25
    down = t > top
    begin, end = (0.2, first / 1e4) if down else (first, 0.2)
    part = (t - top) / (last - top) if down else t / top
    return end + (begin - end) * (1 + math.cos(math.pi * min(part, 1))) / 2


def _restarts(t: int) -> float:
    length, top = 3, 0.4
    while t >= length:
        t, length, top = t - length, 2 * length, 0.7 * top
    return 0.1 + top * (1 + math.cos(math.pi * t / length)) / 2


CASES: dict[str, tuple[Callable[[], Any], Callable[[int], float]]] = {
    "step": (lambda: schedules.step(0.5, 3, 0.1), lambda t: 0.5 * 0.1 ** (t // 3)),
    "exponential": (
        lambda: schedules.exponential(0.5, 4, 0.7), lambda t: 0.5 * 0.7 ** (t / 4)
    ),
    "staircase": (
        lambda: schedules.exponential(0.5, 4, 0.7, staircase=True),
        lambda t: 0.5 * 0.7 ** (t // 4),
    ),
    "polynomial": (
        lambda: schedules.polynomial(0.5, 6, 0.1, power=2.0),
        lambda t: 0.4 * (1 - min(t, 6) / 6) ** 2 + 0.1,
    ),
    "polynomial, again": (
        lambda: schedules.polynomial(0.5, 4, 0.1, cycle=True),
        lambda t: 0.4 * (1 - t / (4 * max(1, math.ceil(t / 4)))) + 0.1,
    ),
    "cosine": (
        lambda: schedules.cosine(0.5, 7, 0.1),
        lambda t: 0.1 + 0.4 * (1 + math.cos(math.pi * min(t / 7, 1))) / 2,
    ),
    "cosine_restarts": (lambda: schedules.cosine_restarts(0.5, 3, 2.0, 0.7, 0.1), _restarts),
    "cosine_restarts, equal": (
        lambda: schedules.cosine_restarts(0.5, 3, 1.0, 1.0, 0.1),
        lambda t: 0.1 + 0.4 * (1 + math.cos(math.pi * (t % 3) / 3)) / 2,
    ),
    "piecewise": (
        lambda: schedules.piecewise([2, 5, 6], [0.5, 0.4, 0.1, 0.2]),
        lambda t: [0.5, 0.5, 0.4, 0.4, 0.4, 0.1][t] if t < 6 else 0.2,
    ),
    "warmup": (
        lambda: schedules.warmup(schedules.step(0.5, 2, 0.5), 4, 0.1),
        lambda t: 0.1 + 0.4 * t / 4 if t < 4 else 0.5 * 0.5 ** ((t - 4) // 2),
    ),
    "warmup to a rate": (
        lambda: schedules.warmup(0.5, 3), lambda t: 0.5 * min(t, 3) / 3
    ),
    "one_cycle": (lambda: schedules.one_cycle(0.2, 10), _one_cycle),
    "one's own": (lambda: lambda t: 1 / (1 + t.astype("float64")), lambda t: 1 / (1 + t)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rates(name: str) -> None:
    make, formula = CASES[name]
    t = gc.placeholder("t", (), "int64")
    found = [float(gc.evaluate(make()(t), {t: k})) for k in range(13)]
    np.testing.assert_allclose(found, [formula(k) for k in range(13)], rtol=1e-14)


def test_steps_follow_the_schedules() -> None:
    """One compiled program for all of them; each optimiser counts its own steps."""
    updates: dict[gc.Variable, gc.Tensor] = {}
    variables = []
    for make, _ in CASES.values():
        w = gc.variable(np.zeros(1), "w", dtype="float64")
        optimizer = gc.optim.SGD(make())
        updates |= optimizer.apply([np.ones(1)], [w])
        variables.append((w, optimizer.iterations))
    step = gc.compile([], [], updates=updates)
    for _ in range(12):
        step()
    for (w, iterations), (_, formula) in zip(variables, CASES.values(), strict=True):
        expected = -sum(formula(t) for t in range(12))
        np.testing.assert_allclose(w.value, [expected], rtol=1e-13)
        assert iterations.value == 12


def test_adam_counts_once() -> None:
    """Its correction and its schedule read one count."""
    w = gc.variable(np.zeros(2), "w")
    optimizer = gc.optim.Adam(schedules.cosine(0.1, 5))
    updates = optimizer.apply([np.ones(2)], [w])
    counts = [v for v in updates if v.dtype is gc.int64]
    assert counts == [optimizer.iterations]
    assert optimizer.state[0] is optimizer.iterations


BAD: dict[str, Callable[[], Any]] = {
    "a rate that is none": lambda: schedules.step("fast", 2),  # type: ignore[arg-type]
    "a rate below 0": lambda: schedules.cosine(-0.1, 3),
    "no steps": lambda: schedules.exponential(0.1, 0, 0.5),
    "half a step": lambda: schedules.polynomial(0.1, 2.5),  # type: ignore[arg-type]
    "a part above 1": lambda: schedules.one_cycle(0.1, 10, rise=1.5),
    "a warm-up to nothing": lambda: schedules.warmup(None, 3),  # type: ignore[arg-type]
    "a vector": lambda: gc.optim.SGD(lambda t: gc.zeros((2,))).apply(
        [np.ones(1)], [gc.variable(np.ones(1), "w")]
    ),
    "a count that nobody keeps": lambda: gc.optim.SGD(0.1).iterations,
}


@pytest.mark.parametrize("case", BAD)
def test_bad_schedules(case: str) -> None:
    with pytest.raises(ArgumentError):
        BAD[case]()
