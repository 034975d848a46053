"""Kernels are kept one by one: what programs share is compiled once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CacheWarning
from graphc.runtime import cache, kernels
from graphc.runtime.target import TARGETS
from tests.compiling import counted

X = gc.placeholder("shared x", ("n",), "float64")
A = np.linspace(-1, 1, 7)


pytestmark = pytest.mark.usefixtures("directory")
compiled = partial(counted, "kernels")


def two(scale: float = 2.0, name: str = "n") -> Any:
    """A program of two kernels, one of them with a constant."""
    x = gc.placeholder("shared x", (name,), "float64")
    y = gc.placeholder("shared y", ("m",), "float64")
    return gc.compile([x, y], [gc.cos(x) * scale, gc.sum(y)])


def entries(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"*.{cache.KERNEL}"))


def test_a_number_that_changed_compiles_nothing() -> None:
    """Kernels are given the numbers of their arithmetic: a rate, a step of time."""

    def step(rate: float) -> Any:
        x = gc.placeholder("stepped x", ("n",), "float64")
        return gc.compile([x], [x - rate * gc.cos(x), gc.flip(x, 0) * 3.7 + rate])

    first, count = compiled(lambda: step(0.1))
    assert count == len(first.kernels) == 2
    changed, count = compiled(lambda: step(0.3))
    assert count == 0
    for found, rate in ((first, 0.1), (changed, 0.3)):
        y, z = found(A)
        np.testing.assert_allclose(y, A - rate * np.cos(A), rtol=1e-15, atol=1e-15)
        np.testing.assert_array_equal(z, A[::-1] * 3.7 + rate)


@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_of_one_program_that_differ_in_numbers_are_one_object(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call gives its own numbers, where threads share it too."""
    monkeypatch.setenv("GRAPHC_NUM_THREADS", str(threads))
    x = gc.placeholder("shared x", ("n",), "float64")
    scales = (0.3, 0.7, 1.1)
    f, count = compiled(lambda: gc.compile([x], [gc.flip(x * s, 0) for s in scales]))
    assert count == 1
    assert [str(s) in k.source for s, k in zip(scales, f.kernels, strict=True)] == [True] * 3
    assert len(f.compilation.object.objects) == 2
    values = np.linspace(-1, 1, 1 << 20)
    for found, s in zip(f(values), scales, strict=True):
        np.testing.assert_array_equal(found, values[::-1] * s)
    assert f.compilation.object.single  # links, as one object


def test_a_changed_program_compiles_only_what_is_new(directory: Path) -> None:
    first, count = compiled(two)
    assert count == len(first.kernels) == len(entries(directory)) == 2
    changed, count = compiled(lambda: two(scale=3.0))
    assert count == 1
    np.testing.assert_array_equal(first(A, A)[0] * 1.5, changed(A, A)[0])
    assert compiled(lambda: two(name="other"))[1] == 0
    np.testing.assert_allclose(changed(A, A)[1], A.sum(), atol=1e-12)
    alone, count = compiled(lambda: gc.compile([X], gc.sum(X)))
    assert count == 0
    np.testing.assert_allclose(alone(A), A.sum(), atol=1e-12)


def test_types_and_targets_tell_kernels_apart() -> None:
    assert compiled(lambda: gc.compile([X], X + 1))[1] == 1
    y = gc.placeholder("shared y", ("n",), "int64")
    assert compiled(lambda: gc.compile([y], y + 1))[1] == 1
    (kernel,) = gc.compile([X], X + 1).kernels
    cpu, identity = TARGETS["cpu"], kernel.identity
    other = replace(cpu, identity=lambda: {**cpu.identity(), "features": "+none"})
    assert kernels._key(identity, cpu) == kernels._key(identity, replace(cpu))
    assert kernels._key(identity, cpu) != kernels._key(identity, replace(cpu, name="other"))
    assert kernels._key(identity, cpu) != kernels._key(identity, other)


def test_who_looks_at_the_stages_gets_all_kernels_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    two()
    assert compiled(lambda: gc.compile([X], [gc.sum(X)], check=True))[1] == 1
    monkeypatch.setenv("GRAPHC_TRACE", "rules")
    assert compiled(two)[1] == 2


def test_without_the_cache_nothing_is_kept(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    assert compiled(two)[1] == compiled(two)[1] == 2
    assert entries(directory) == []


def test_a_kernel_without_loops_calls_functions_that_programs_share(directory: Path) -> None:
    x = gc.placeholder("scalar x", (), "float64")
    f = gc.compile([x], gc.sin(gc.cos(x)) + gc.sin(x))
    assert len(entries(directory)) == 3  # the kernel, sin and cos
    np.testing.assert_allclose(f(0.3), np.sin(np.cos(0.3)) + np.sin(0.3), rtol=1e-15)
    made = f.compilation.object
    assert made.llvm_ir.count("call double @gc.sin.f64") == 2
    assert len(made.pieces) == 4
    g, count = compiled(lambda: gc.compile([x], gc.sin(x) * 2))
    assert (count, len(entries(directory))) == (1, 4)
    assert g(0.3) == 2 * gc.compile([x], gc.sin(x))(0.3)
    loop = gc.compile([X], gc.sin(X))
    assert "call double @gc.sin" not in loop.llvm
    assert len(loop.compilation.object.pieces) == 2


def cut(data: bytes) -> bytes:
    return data[:-1]


def flipped(data: bytes) -> bytes:
    return data[:200] + bytes([data[200] ^ 4]) + data[201:]


@pytest.mark.parametrize("damage", [cut, flipped])
def test_a_damaged_kernel_is_compiled_again(
    directory: Path, damage: Callable[[bytes], bytes]
) -> None:
    expected = two()(A, A)
    for path in entries(directory):
        path.write_bytes(damage(path.read_bytes()))
    for path in directory.glob(f"*.{cache.PROGRAM}"):
        path.unlink()
    with pytest.warns(CacheWarning, match="damaged"):
        again, count = compiled(two)
    assert count == 2
    for got, right in zip(again(A, A), expected, strict=True):
        np.testing.assert_array_equal(got, right)


def test_an_entry_that_is_no_kernel_is_a_miss(directory: Path) -> None:
    """It has the right key and the right hash, and other contents."""
    (kernel,) = gc.compile([X], X + 1).kernels
    cache.store(kernels._key(kernel.identity, TARGETS["cpu"]), {"data": "many"}, b"", cache.KERNEL)
    for path in directory.glob(f"*.{cache.PROGRAM}"):
        path.unlink()
    again, count = compiled(lambda: gc.compile([X], X + 1))
    assert count == 1
    np.testing.assert_array_equal(again(A), A + 1)
