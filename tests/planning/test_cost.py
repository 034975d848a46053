"""cost(): operations, bytes and peak memory as formulas."""

from __future__ import annotations

import re

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.errors import ArgumentError


def test_a_product_and_a_kernel() -> None:
    x = gc.placeholder("x", ("n", 20))
    w = gc.variable(np.zeros((20, 30), "float32"), name="w")
    cost = gc.compile([x], gc.tanh(x @ w)).cost()
    n = sp.Symbol("n", integer=True, nonnegative=True)
    assert cost.flops == 2 * n * 20 * 30 + 16 * 30 * n
    assert cost.bytes == 4 * (20 * n + 600 + 30 * n) + 4 * (30 * n + 30 * n)
    assert [s.kind for s in cost.steps] == ["product", "kernel"]
    assert cost.at(n=64).flops == cost.flops.subs(n, 64)
    assert cost.at(n=64).peak_bytes in (64 * 30 * 4, 2 * 64 * 30 * 4)


def test_peak_is_arena_and_outputs() -> None:
    x = gc.placeholder("x", ("n", 16))
    f = gc.compile([x], [gc.sum(gc.exp(x) @ gc.exp(x).T), x + 1])
    arena = f.compilation.compiled.program.arena
    assert str(f.cost().sizes[2]) == str(arena + 4 + 64 * gc.dim("n"))


def test_a_loop_counts_its_turns() -> None:
    x, h = gc.placeholder("x", ("t", 8)), gc.placeholder("h", (8,))
    f = gc.compile([x, h], gc.scan(lambda c, v: (c * v + 1, c), h, x)[0])
    (step,) = [s for s in f.cost().steps if s.kind == "kernel"]
    assert str(step.flops) == "16*t"
    assert f.cost().at(t=5).flops == 80


def test_a_branch_is_as_dear_as_its_dearer_side() -> None:
    p, x = gc.placeholder("p", (), "bool"), gc.placeholder("x", (10,))
    f = gc.compile([p, x], gc.cond(p, lambda t: gc.exp(t), lambda t: t + 1, x))
    assert f.cost().at().flops == 120


def test_a_reduction_counts_its_elements() -> None:
    x = gc.placeholder("x", ("n", "m"))
    assert gc.compile([x], gc.sum(x, axis=0)).cost().at(n=3, m=5).flops == 15


def test_the_table_names_steps_and_lines() -> None:
    x = gc.placeholder("x", ("n", 4))
    text = str(gc.compile([x], gc.exp(x)).cost())
    assert re.search(r"kernel0 +kernel +48\*n +16\*n +16\*n +\S*test_cost.py:\d+", text)
    assert "peak bytes: 16*n" in text


def test_a_missing_size() -> None:
    x = gc.placeholder("x", ("n", 4))
    with pytest.raises(ArgumentError, match="no size"):
        gc.compile([x], gc.exp(x)).cost().at(m=3)
