"""The driver of a program: how much of it LLVM optimises."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.lower import driver

FUNCTION = re.compile(r"^define [^@]*@(entry|rows\d+|share\.[\w.]+)\(.*\) [^#]*#(\d+)", re.M)


def network(**options: Any) -> Any:
    """Three layers and a loss, compiled anew."""
    x = gc.placeholder("x", ("n", 16))
    weights = [gc.placeholder(f"w{i}", (16, 16)) for i in range(3)]
    h = x
    for w in weights:
        h = gc.tanh(h @ w)
    gradients = gc.grad(gc.mean(h * h), weights)
    return gc.compile([x, *weights], gradients, **options)


def optimised(llvm: str) -> dict[str, bool]:
    """The driver's functions that are left, and whether LLVM optimised them."""
    groups = dict(re.findall(r"^attributes #(\d+) = \{(.*)\}", llvm, re.M))
    return {name: "optnone" not in groups[group] for name, group in FUNCTION.findall(llvm)}


def test_a_long_driver_is_compiled_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "OPTIMIZED_LINES", 20)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((n, 16)).astype("float32") for n in (5, 16, 16, 16)]
    f = network(check=True)  # not from the cache
    found = optimised(f.llvm)
    assert "entry" in found
    assert len(found) > 3
    assert not any(found.values())
    expected = network(target="reference")(*arrays)
    for got, right in zip(f(*arrays), expected, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-7)


def test_short_drivers_and_loops_are_optimised() -> None:
    x = gc.placeholder("x", (4,))
    assert optimised(gc.compile([x], x + 1).llvm)["entry"]
    carry, _ = gc.scan(lambda s, v: (gc.sin(s + v), s), gc.constant(0.0), x)
    assert optimised(gc.compile([x], carry).llvm)["entry"]
