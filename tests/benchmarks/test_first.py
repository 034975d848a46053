"""The programs of `first_call.py`: that they run, and what CI holds of their first call: counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.lower.driver import print_driver
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import walk_steps

from .first.with_graphc import PROGRAMS
from .first_session import GROUPS, difference

ROOT = Path(__file__).parents[2]
LINES_A_STEP = 45  # of the driver, where nothing is a product


def test_kernels_and_lines_of_the_driver(golden: Callable[[str, str], None]) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.first.counts", "small"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1 + len(PROGRAMS)
    golden("first_call/counts", done.stdout)


def lines_and_steps(count: int, name: str | None) -> tuple[int, int]:
    """Of Sinkhorn's iterations, whose temporaries are as many as its steps."""
    shape = (name, name + "2") if name else (30, 20)
    m = gc.placeholder("sinkhorn m", shape)
    u, v = gc.zeros((m.shape[0],)), gc.zeros((m.shape[1],))
    for _ in range(count):
        v = gc.logsumexp(m + u[:, None], axis=0)
        u = gc.logsumexp(m + v[None], axis=1)
    loss = gc.sum(u) + gc.sum(v)
    program = run_pipeline(Graph([m], [loss, gc.grad(loss, m)]), Stages()).program
    text = print_driver(program, 64).text
    return text.count("\n"), sum(1 for _ in walk_steps(program.steps))


@pytest.mark.parametrize("name", [None, "n"], ids=["static", "named"])
def test_lines_of_the_driver_grow_with_the_steps(name: str | None) -> None:
    found = [lines_and_steps(count, name) for count in (10, 20, 40)]
    for (few, a), (more, b) in pairwise(found):
        assert more - few <= LINES_A_STEP * (b - a)


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
