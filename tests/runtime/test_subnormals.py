"""Subnormal numbers: NumPy's by default, zero where asked for, and Python never notices."""

from __future__ import annotations

import platform

import numpy as np
import pytest

import graphc as gc
from graphc.ir.op import registry

x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the mode of this processor is not known"
)
TINY = np.array([1e-39, -1e-40, 1e-38, 1.5e-38, 1.0], np.float32)


def test_they_are_kept_by_default() -> None:
    x = gc.placeholder("x", (5,))
    np.testing.assert_array_equal(gc.compile([x], x * 0.5)(TINY), TINY * np.float32(0.5))


@x86
def test_they_are_zero_where_asked_for() -> None:
    x = gc.placeholder("x", (5,))
    f = gc.compile([x], x * 0.5, flush_subnormals=True)
    np.testing.assert_array_equal(f(TINY), np.array([0, -0.0, 0, 0, 0.5], np.float32))


@x86
def test_the_mode_is_put_back() -> None:
    x = gc.placeholder("x", (5,))
    flushing = gc.compile([x], x * 0.5, flush_subnormals=True)
    keeping = gc.compile([x], x * 0.5)
    expected = TINY * np.float32(0.5)
    for _ in range(3):
        flushing(TINY)
        np.testing.assert_array_equal(TINY * np.float32(0.5), expected)
        np.testing.assert_array_equal(keeping(TINY), expected)


@x86
def test_host_calls_see_the_mode_of_python() -> None:
    seen: list[float] = []
    host = registry()["flatnonzero"]
    numpy = host.numpy

    def watched(*arrays: np.ndarray, size: int) -> np.ndarray:
        seen.append(float(TINY[0] * np.float32(0.5)))
        return numpy(*arrays, size=size)

    b = gc.placeholder("b", (2,))
    f = gc.compile([b], [gc.flatnonzero(b, size=2), b * 0.5], flush_subnormals=True)
    object.__setattr__(host, "numpy", watched)
    try:
        places, half = f(TINY[:2])
    finally:
        object.__setattr__(host, "numpy", numpy)
    assert seen == [float(TINY[0] * np.float32(0.5))]
    assert seen[0] > 0
    np.testing.assert_array_equal(places, [0, 1])
    np.testing.assert_array_equal(half, [0, 0])


@x86
def test_lapack_sees_the_mode_of_python() -> None:
    """Its answers for subnormal numbers are NumPy's, and what is computed with them flushes."""
    a, b = gc.placeholder("a", (5, 5)), gc.placeholder("b", (5,))
    f = gc.compile([a, b], [gc.linalg.solve(a, b), b * 0.5], flush_subnormals=True)
    x, half = f(np.eye(5, dtype=np.float32), TINY)
    np.testing.assert_array_equal(x, TINY)
    np.testing.assert_array_equal(half, [0, 0, 0, 0, 0.5])


@x86
def test_loops_of_numpy_see_the_mode_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """On threads that share them too."""
    monkeypatch.setenv("GRAPHC_NUM_THREADS", "2")
    b = gc.placeholder("b", ("n", 4))
    f = gc.compile([b], [gc.fft.rfft(b), b * 0.5], flush_subnormals=True)
    x, half = f(np.full((4000, 4), TINY[0]))
    np.testing.assert_array_equal(x, np.full((4000, 1), 4 * TINY[0]) * [1, 0, 0])
    np.testing.assert_array_equal(half, 0)


@x86
def test_a_failing_call_puts_the_mode_back() -> None:
    a = gc.placeholder("a", (2, 2))
    f = gc.compile([a], gc.linalg.inv(a), flush_subnormals=True)
    with pytest.raises(gc.errors.LinAlgError):
        f(np.zeros((2, 2), np.float32))
    assert float(TINY[0] * np.float32(0.5)) > 0


@x86
def test_threads_that_share_a_loop_flush_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRAPHC_NUM_THREADS", "2")
    x = gc.placeholder("x", ("n",))
    f = gc.compile([x], gc.tanh(x * 0.5) * 0.5 + x * 0.25, flush_subnormals=True)
    result = f(np.full(400_000, 1e-39, np.float32))
    assert not result.any()
