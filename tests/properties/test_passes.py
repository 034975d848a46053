"""Every stage of the pipeline that works on graphs keeps the meaning of random graphs.

Interpreter only. The graph after each stage must also keep the invariants of `graphc.ir.check`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.checking.stages import first_guilty_stage, stages_of
from graphc.ir.graph import map_graph
from graphc.pipeline import optimize

from .checking import check_stages
from .shrinking import script, shrink, size_of

CHUNKS, IN_A_CHUNK = 6, 20  # graphs; row R1 of the scoreboard draws more


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_stage_keeps_the_meaning(chunk: int) -> None:
    for seed in range(chunk * IN_A_CHUNK, (chunk + 1) * IN_A_CHUNK):
        check_stages(seed, one_call=True)


# -- the bisection and the shrinking themselves ----------------------------------------------------
def _sines_to_cosines(graph: gc.Graph) -> gc.Graph:
    """A wrong pass."""
    return map_graph(
        graph, lambda node, inputs: (gc.cos(inputs[0]),) if node.op.name == "sin" else None
    )


def _example() -> tuple[gc.Graph, list[Any]]:
    x, y = gc.placeholder("x", (3,)), gc.placeholder("y", (3,))
    outputs = [gc.exp(x) * y, gc.tanh(gc.sin(x * y) + y), x - y]
    return gc.Graph([x, y], outputs, name="example"), [np.ones(3, "float32")] * 2


def test_the_first_guilty_stage_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, arrays = _example()
    assert first_guilty_stage(graph, arrays).stage == ""
    monkeypatch.setattr(optimize, "drop_unused_outputs", _sines_to_cosines)
    name, found, result = first_guilty_stage(graph, arrays)
    assert name == "drop_unused_outputs"
    assert "3 of 3 elements" in found
    assert result == 1


def test_a_failing_graph_is_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, arrays = _example()
    monkeypatch.setattr(optimize, "drop_unused_outputs", _sines_to_cosines)
    small, given = shrink(graph, arrays, lambda g, a: bool(first_guilty_stage(g, a).stage))
    assert size_of(small) < size_of(graph)
    assert "sin" in {node.op.name for node in small.nodes}
    assert first_guilty_stage(small, given).stage == "drop_unused_outputs"


def test_the_script_of_a_failure_runs(capsys: pytest.CaptureFixture[str]) -> None:
    graph, arrays = _example()
    exec(compile(script(graph, arrays), "script", "exec"), {})
    expected, given = capsys.readouterr().out.split("\n[", 1)
    assert expected.count("array") == given.count("array") == 3


def test_the_stages_are_those_of_the_pipeline() -> None:
    names = [name for name, _ in stages_of(_example()[0])]
    assert names[0] == "unify"
    assert names[-1] == "fuse"
    assert len(names) == len(set(names)) >= 7
