"""Clipping, weight decay, accumulation and averages, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError

rng = np.random.default_rng(0)
G, H = rng.normal(size=(3, 4)) * 3, rng.normal(size=5)


def _scaled(limit: float, norm: float) -> float:
    return min(1.0, limit / norm)


@pytest.mark.parametrize("limit", [0.5, 4.0, 100.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping(limit: float, dtype: str) -> None:
    g, h = (gc.placeholder(n, v.shape, dtype) for n, v in (("g", G), ("h", H)))
    optim = gc.optim
    found = gc.evaluate(
        [optim.clip_by_value([g, h], limit), optim.clip_by_norm([g, h], limit),
         optim.clip_by_global_norm([g, h], limit), optim.clip_by_norm(g, limit)],
        {g: G.astype(dtype), h: H.astype(dtype)},
    )  # fmt: skip
    whole = np.sqrt(np.sum(G**2) + np.sum(H**2))
    norms = [np.linalg.norm(v) for v in (G, H)]
    expected = [
        [np.clip(v, -limit, limit) for v in (G, H)],
        [v * _scaled(limit, float(n)) for v, n in zip((G, H), norms, strict=True)],
        [v * _scaled(limit, float(whole)) for v in (G, H)],
        G * _scaled(limit, float(norms[0])),
    ]
    for result, wanted in zip(found, expected, strict=True):
        for a, b in zip(result, wanted, strict=True):
            assert a.dtype == dtype
            np.testing.assert_allclose(a, b, rtol=1e-6 if dtype == "float32" else 1e-14)


def test_gradients_within_the_limit_stay_as_they_are_and_large_ones_do_not_overflow() -> None:
    g = gc.placeholder("g", (2,))
    clipped = gc.optim.clip_by_global_norm([g], 1.0)[0]
    f = gc.compile([g], clipped)
    small = np.array([0.1, 1e-30], np.float32)
    np.testing.assert_array_equal(f(small), small)
    np.testing.assert_allclose(f(np.array([3e30, -4e30], np.float32)), [0.6, -0.8], rtol=1e-6)
    np.testing.assert_array_equal(f(np.zeros(2, np.float32)), [0, 0])


def test_options_of_optimisers() -> None:
    """Clipped first, then the step, then the decay of the old value: in one compiled step."""
    w = gc.variable(np.ones((3, 4)), "w", dtype="float64")
    b = gc.variable(np.ones(5), "b", dtype="float64")
    optimizer = gc.optim.SGD(
        0.1, weight_decay=lambda v: 0.5 if v.ndim > 1 else 0.0, clip_value=2.0,
        global_clip_norm=1.5,
    )  # fmt: skip
    gc.compile([], [], updates=optimizer.apply([G, H], [w, b]))()
    cut = [np.clip(v, -2, 2) for v in (G, H)]
    factor = _scaled(1.5, float(np.sqrt(sum(np.sum(c**2) for c in cut))))
    np.testing.assert_allclose(w.value, 1 - 0.1 * factor * cut[0] - 0.1 * 0.5, rtol=1e-14)
    np.testing.assert_allclose(b.value, 1 - 0.1 * factor * cut[1], rtol=1e-14)


def test_adamw_is_adam_and_a_decay_by_the_rate() -> None:
    start = rng.normal(size=6)
    w, v = (gc.variable(start, n, dtype="float64") for n in "wv")
    gradients = rng.normal(size=(4, 6))
    g = gc.placeholder("g", (6,), "float64")
    updates = gc.optim.AdamW(0.1, weight_decay=0.25).apply([g], [w])
    updates |= gc.optim.Adam(0.1).apply([g], [v])
    step = gc.compile([g], [], updates=updates)
    expected = start
    for gradient in gradients:
        before = v.value
        step(gradient)
        expected = expected + (v.value - before) - 0.1 * 0.25 * expected
        np.testing.assert_allclose(w.value, expected, rtol=1e-12)
    assert gc.optim.AdamW().weight_decay == 0.01


def test_averages_of_an_optimiser() -> None:
    w, rate = gc.variable(np.array([1.0, -2.0]), "w"), gc.optim.schedules.step(0.5, 1, 0.5)
    optimizer = gc.optim.averaged(gc.optim.Momentum(rate, 0.9), 0.8)
    step = gc.compile([], [], updates=optimizer.minimize(gc.sum(w * w), [w]))
    value, average, velocity = np.array([1.0, -2.0]), np.array([1.0, -2.0]), np.zeros(2)
    for t in range(5):
        step()
        velocity = 0.9 * velocity - 0.5 * 0.5**t * 2 * value
        value = value + velocity
        average = 0.8 * average + 0.2 * value
    assert int(optimizer.iterations.value) == 5
    np.testing.assert_allclose(w.value, value, rtol=1e-13)
    with optimizer.ema.applied():
        np.testing.assert_allclose(w.value, average, rtol=1e-13)
    np.testing.assert_allclose(w.value, value, rtol=1e-13)
    names = [v.name for v in optimizer.state]
    assert names == ["momentum/iterations", "momentum/w/velocity", "ema/w"]
    optimizer.reset()
    np.testing.assert_array_equal(optimizer.ema.averages[w].value, w.value)
    optimizer.ema.assign()
    whole = gc.optim.averaged(gc.optim.LBFGS(), 0.5)
    assert w in whole.minimize(gc.sum(w * w), [w])
    assert list(whole.ema.averages) == [w]


def test_accumulated_steps_are_those_of_the_mean() -> None:
    start, gradients = rng.normal(size=6), rng.normal(size=(9, 6))
    w, v = (gc.variable(start, n, dtype="float64") for n in "wv")
    g = gc.placeholder("g", (6,), "float64")
    third = gc.optim.accumulate(gc.optim.Adam(0.1), 3)
    step = gc.compile([g], [], updates=third.apply([g], [w]))
    whole = gc.compile([g], [], updates=gc.optim.Adam(0.1).apply([g], [v]))
    for i, gradient in enumerate(gradients):
        step(gradient)
        if i % 3 == 2:
            whole(gradients[i - 2 : i + 1].mean(0))
        np.testing.assert_allclose(w.value, v.value, rtol=1e-13)
    names = [s.name for s in third.state]
    assert names[:2] == ["accumulated/iterations", "accumulated/w/gradient"]
    assert "adam/w/first_moment" in names


def test_averages() -> None:
    w = gc.variable([1.0, 2.0], "w", dtype="float64")
    ema = gc.optim.EMA([w], 0.75)
    updates = ema.update(gc.optim.SGD(0.5).apply([np.ones(2)], [w]))
    step = gc.compile([], [], updates=updates)
    expected, value = np.array([1.0, 2.0]), np.array([1.0, 2.0])
    for _ in range(5):
        step()
        value = value - 0.5
        expected = 0.75 * expected + 0.25 * value
    np.testing.assert_allclose(ema.averages[w].value, expected, rtol=1e-14)
    np.testing.assert_allclose(w.value, value)
    ema.assign()
    np.testing.assert_array_equal(w.value, ema.averages[w].value)
    assert not ema.averages[w].trainable


W = gc.variable(np.ones(2), "w")
BAD: dict[str, Callable[[], Any]] = {
    "no gradients": lambda: gc.optim.clip_by_norm([], 1.0),
    "no tensor": lambda: gc.optim.clip_by_norm([1.0], 1.0),
    "ints": lambda: gc.optim.clip_by_value([gc.constant([1, 2])], 1.0),
    "a limit of 0": lambda: gc.optim.clip_by_value([W], 0.0),
    "no limit": lambda: gc.optim.clip_by_global_norm([W], None),  # type: ignore[arg-type]
    "an unknown option": lambda: gc.optim.SGD(0.1, clip=1.0),  # type: ignore[call-arg]
    "a decay below 0": lambda: gc.optim.SGD(0.1, weight_decay=-1.0),
    "a decay that is no number": lambda: gc.optim.SGD(0.1, weight_decay=lambda v: -1.0).apply(
        [np.ones(2)], [W]
    ),
    "not an optimiser": lambda: gc.optim.accumulate(0.1, 2),  # type: ignore[arg-type]
    "not an optimiser to average": lambda: gc.optim.averaged("adam"),  # type: ignore[arg-type]
    "a decay of 1 around": lambda: gc.optim.averaged(gc.optim.SGD(), 1.0),
    "every 0": lambda: gc.optim.accumulate(gc.optim.SGD(), 0),
    "a decay of 1": lambda: gc.optim.EMA([W], 1.0),
    "an average of a tensor": lambda: gc.optim.EMA([W + 1]),  # type: ignore[list-item]
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case: str) -> None:
    with pytest.raises(ArgumentError):
        BAD[case]()
