"""The programs of `first_call.py`: that they run, and what CI holds of their first call: counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.lower.driver import print_driver
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Gemm, walk_steps
from graphc.runtime.kernels import distinct_kernels

from .first.with_graphc import PROGRAMS
from .first_session import GROUPS, difference

ROOT = Path(__file__).parents[2]
LINES_A_STEP, LINES_A_PRODUCT = 25, 40  # of the driver; a product takes both


def test_kernels_and_lines_of_the_driver(golden: Callable[[str, str], None]) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.first.counts", "small"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1 + len(PROGRAMS)
    golden("first_call/counts", done.stdout)


def sinkhorn(count: int, name: str | None) -> Graph:
    """Iterations whose temporaries are as many as their steps, and no products."""
    shape = (name, name + "2") if name else (30, 20)
    m = gc.placeholder("sinkhorn m", shape)
    u, v = gc.zeros((m.shape[0],)), gc.zeros((m.shape[1],))
    for _ in range(count):
        v = gc.logsumexp(m + u[:, None], axis=0)
        u = gc.logsumexp(m + v[None], axis=1)
    loss = gc.sum(u) + gc.sum(v)
    return Graph([m], [loss, gc.grad(loss, m)])


def layers(count: int, name: str | None) -> Graph:
    """Layers with gradients and updates: three products for each, and kernels that take them up."""
    x = gc.placeholder("layers x", (name or 32, 40))
    weights = [gc.variable(np.zeros((40, 40), "float32"), name=f"w{i}") for i in range(count)]
    h = x
    for w in weights:
        h = gc.tanh(h @ w)
    loss = gc.mean(h * h)
    gradients = gc.grad(loss, weights)
    return Graph([x], [loss], [(w, w - g) for w, g in zip(weights, gradients, strict=True)])


def counted(graph: Graph) -> tuple[int, int, int]:
    """The lines of the driver, steps, and those of them that are products."""
    compiled = run_pipeline(graph, Stages())
    distinct_kernels(compiled)  # which gives kernels their names
    steps = list(walk_steps(compiled.program.steps))
    text = print_driver(compiled.program, 64).text
    return text.count("\n"), len(steps), sum(isinstance(step, Gemm) for step in steps)


@pytest.mark.parametrize("name", [None, "n"], ids=["static", "named"])
@pytest.mark.parametrize("made", [sinkhorn, layers])
def test_lines_of_the_driver_grow_with_steps_and_products(
    made: Callable[[int, str | None], Graph], name: str | None
) -> None:
    found = [counted(made(count, name)) for count in (8, 16, 32)]
    for (lines, steps, products), (more, later, others) in pairwise(found):
        allowed = LINES_A_STEP * (later - steps) + LINES_A_PRODUCT * (others - products)
        assert more - lines <= allowed


def test_stages_of_the_table_are_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    x = gc.placeholder("timed x", ("n",))
    cold, warm = (gc.compile([x], x + 1).timings for _ in range(2))
    assert list(warm) == ["key", "cache", "load"]
    known = {stage for stages in GROUPS.values() for stage in stages}
    assert {"key", "cache", "prepare", "simplify", "fuse", "numba", "link", "load"} <= set(cold)
    assert set(cold) <= known
    assert all(seconds >= 0 for seconds in cold.values())
    assert gc.compile([x], x + 1, target="reference").timings == {}


def test_answers_that_differ_are_named() -> None:
    assert difference([[1.0], [2.0, 3.0]], [[1.0], [2.0, 3.001], [5.0]]) == ""
    assert "answer 1 differs by 1" in difference([[1.0], [2.0]], [[1.0], [3.0]])
    assert "answer 0 has 1 and 2" in difference([[1.0]], [[1.0, 2.0]])
    assert "answer 0" in difference([[float("nan")]], [[1.0]])
