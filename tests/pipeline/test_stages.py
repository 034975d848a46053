"""Stages: a pass that breaks the graph is named, and the IR around the fault is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

import graphc as gc
from graphc.errors import CompileError, GraphError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.op import registry
from graphc.ir.shape import TensorType
from graphc.pipeline.stages import Stages
from graphc.runtime.compile import Function

x = gc.placeholder("staged", ("n", 4))  # of no other test, whose lines it would have
s = gc.placeholder("scale", ())
y = gc.exp(x)
GRAPH = Graph([x], [gc.sum(gc.tanh(y) * 2, axis=1)], name="program")


def _forged_tanh() -> Node:
    """tanh of y with a type that its type rule would not give."""
    good = gc.tanh(y).node
    node = Node()
    node.weak = False
    node.op, node.inputs, node.attrs = registry()["tanh"], (y,), {}
    node.types = (TensorType(gc.float32, (4,)),)
    node._outputs = [lambda: None]
    node.origins, node.serial = good.origins, good.serial
    return node


def _break_type(graph: Graph) -> Graph:
    wrong = gc.broadcast_to(_forged_tanh().output() * 2, ("n", 4))
    return Graph([x], [gc.sum(wrong, axis=1)], name="program")


def test_a_pass_that_makes_an_invalid_graph_is_named_with_the_ir() -> None:
    with pytest.raises(CompileError, match="stage 'shrink'") as caught:
        Stages(check=True).graph("shrink", _break_type, GRAPH)
    text = str(caught.value)
    assert "the stage made an invalid graph" in text
    assert "the types are not those of the type rule" in text
    assert "> %1: f32[4] = tanh %0" in text  # the culprit, marked
    assert "%0: f32[n,4] = exp %staged" in text  # what is around it
    assert (caught.value.expected, caught.value.given) == ("f32[n,4]", "f32[4]")
    assert __file__ in caught.value.where
    assert "GRAPHC_DUMP" in caught.value.hint
    assert isinstance(caught.value.__cause__, GraphError)


@pytest.mark.parametrize(
    ("stage", "what", "expected", "given"),
    [
        (lambda g: Graph([x], [x]), "outputs", "f32[n]", "f32[n,4]"),
        (lambda g: Graph([x], []), "outputs", "f32[n]", "none"),
        (lambda g: Graph([x], [gc.sum(x, axis=0)]), "outputs", "f32[n]", "f32[4]"),
        (lambda g: Graph([x], [gc.concat([g.outputs[0]] * 2)]), "outputs", "f32[n]", "f32[2*n]"),
        (lambda g: Graph([x, s], g.outputs), "inputs", "f32[n,4]", "f32[n,4], f32[]"),
        (lambda g: Graph([x], [g.outputs[0].astype("float64")]), "outputs", "f32[n]", "f64[n]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("check", [False, True])
def test_a_pass_that_loses_an_output_is_named_without_a_check_too(
    stage: Callable[[Graph], Graph], what: str, expected: str, given: str, check: bool
) -> None:
    with pytest.raises(CompileError, match=f"stage 'lose': the stage changed the {what}") as caught:
        Stages(check).graph("lose", stage, GRAPH)
    assert (caught.value.expected, caught.value.given) == (expected, given)
    assert "return" in caught.value.message


@pytest.mark.parametrize("result", [None, GRAPH.outputs[0]])
def test_a_pass_that_gives_no_graph_is_named(result: Any) -> None:
    with pytest.raises(CompileError, match="stage 'forget': the stage gave no graph") as caught:
        Stages().graph("forget", lambda g: cast(Graph, result), GRAPH)
    assert caught.value.given == repr(result)
    assert "= exp %staged" in caught.value.expected


def test_a_lost_update_is_named() -> None:
    w = gc.variable([1.0, 2.0], name="w")
    with pytest.raises(CompileError, match="changed the updates"):
        Stages().graph("lose", lambda g: Graph([], [w]), Graph([], [w], [(w, w * 2)]))


def test_an_error_in_a_pass_is_one_that_names_it() -> None:
    def stumble(graph: Graph) -> Graph:
        raise KeyError("v17")

    with pytest.raises(CompileError, match="stage 'stumble': the stage failed: KeyError: 'v17'"):
        Stages().graph("stumble", stumble, GRAPH)

    def refuse(graph: Graph) -> Graph:
        raise GraphError("no", op="refuse")

    with pytest.raises(GraphError, match="no") as caught:
        Stages().graph("refuse", refuse, GRAPH)
    assert "in the compiler's stage 'refuse'" in caught.value.__notes__


def test_the_pipeline_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler itself runs: a broken `merge_scans` is found by `check=True`."""
    monkeypatch.setattr("graphc.pipeline.optimize.merge_scans", _break_type)

    def compiled() -> Function:
        return gc.compile(GRAPH.inputs, GRAPH.outputs, check=True, name="checked")

    with pytest.raises(CompileError, match="stage 'merge_scans': the stage made an invalid graph"):
        compiled()


def test_stages_are_timed_printed_and_dumped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "dump"))
    monkeypatch.setenv("GRAPHC_PRINT", "same")
    stages = Stages()
    stages.start(GRAPH)
    assert stages.graph("same", lambda g: g, GRAPH) is GRAPH
    assert set(stages.seconds) == {"same"}
    texts = sorted(p.name for p in (tmp_path / "dump").iterdir())
    assert texts == ["00-input.txt", "01-same.txt"]
    shown = capsys.readouterr().err
    assert shown.startswith("# same\ngraph program(")
    assert "00-input" not in shown


def test_a_stage_to_print_that_there_is_not_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHC_PRINT", "fusee,clean")
    gc.compile(GRAPH.inputs, GRAPH.outputs)
    shown = capsys.readouterr().err
    assert shown.startswith("# clean\n")
    assert "there was no stage 'fusee' to print, but all, input, unify, " in shown
    assert "'clean'" not in shown
