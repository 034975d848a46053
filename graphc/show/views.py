"""The views of `gc.draw`: from what users give to a picture, or to DOT text."""

from __future__ import annotations

from typing import Any

from graphc.errors import ArgumentError
from graphc.ir.graph import Graph
from graphc.ir.op import Kind
from graphc.planning.program import Program
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import DEFAULT
from graphc.runtime.profile import Profile
from graphc.show.by_layers import ByLayers, layer_boxes
from graphc.show.given import Given, given
from graphc.show.names import short_names
from graphc.show.picture import Picture
from graphc.show.reading import read
from graphc.show.sketch import Sketch, sketch
from graphc.show.words import Maths, Plain


def as_written(found: Given, tips: bool) -> Picture:
    """The level "full"."""
    graph = found.graph
    return sketch(graph, Plain(graph), True, tips)


def as_read(found: Given, by_layers: bool) -> Picture:
    """The levels "math" and "model"."""
    called = short_names(found.graph)
    reading = read(found.graph, called)
    graph, lanes = reading.graph, reading.lanes
    if not by_layers:
        return sketch(graph, Maths(reading, called), True, True, lanes, found.outputs)
    boxes = layer_boxes(graph, lanes)
    kinds: dict[str, str] = {}
    if found.model is not None:
        kinds = {path: type(layer).__name__ for layer, path in found.model.layer_paths().items()}
    made = ByLayers(graph, Maths(reading, called, boxes), lanes, boxes, kinds)
    made.whole(graph, found.outputs)
    return made.picture


def kernels(found: Given, tips: bool) -> Picture:
    graph = compiled(found)
    made = Sketch(Picture(), Plain(graph, True), False, tips)
    made.launches = getattr(found.function, "launches", {})
    made.whole(graph)
    return made.picture


def differences(what: Any) -> tuple[Graph, Graph]:
    """Before and after: two that are given, or a graph and what the rules make of it."""
    if isinstance(what, (list, tuple)) and len(what) == 2:
        before, after = (given(part).graph for part in what)
        return before, after
    graph = given(what).graph
    return graph, apply_rules(graph, *DEFAULT)


def placement(what: Any) -> Picture:
    """Of what says it of itself. Errors: `ArgumentError` for anything else."""
    if not hasattr(what, "_placement_"):
        raise ArgumentError(
            "only a training by several processes has a placement",
            op="draw",
            expected="a gc.distributed.Trainer",
            given=f"{type(what).__name__}: {repr(what)[:80]}",
        )
    made: Picture = what._placement_()
    return made


def compiled(found: Given) -> Graph:
    """The graph with kernels. Errors: `ArgumentError` where there is none."""
    graph = found.graph if found.function is None else found.function.optimized
    if found.function is None and not any(n.op.kind is Kind.REGION for n in graph.nodes):
        raise ArgumentError(
            "a graph has no kernels before it is compiled",
            op="draw",
            given=repr(graph),
            hint="draw what gc.compile returns",
        )
    checked: Graph = graph
    return checked


def profiled(what: Any, view: str, inputs: Any) -> Profile:
    """A profile that is given, or that of a compiled function with arrays. Errors: `ArgumentError`
    where there are no times, those of `profile`."""
    if isinstance(what, Profile):
        if view not in ("graph", "profile") or inputs is not None:
            raise ArgumentError(
                "a profile has its own view",
                op="draw",
                expected='view="profile", without inputs',
                given=repr(view),
                hint="draw the function itself for the other views",
            )
        return what
    found = given(what).function
    if found is None or not hasattr(found, "profile"):
        raise ArgumentError(
            "only a compiled function has times",
            op="draw",
            expected="what gc.compile returns, or its profile(inputs)",
            given=repr(what)[:80],
        )
    if inputs is None and found.graph.inputs:
        raise ArgumentError(
            "times are those of a call",
            op="draw",
            expected="inputs=, the arrays of a call in a list, or by name in a dict",
            given=f"none, for {found.graph.name}",
            hint="or draw what its profile(inputs) returns",
        )
    measured: Profile = found.profile(() if inputs is None else inputs)
    return measured


def program(found: Given) -> Program:
    """The program with its memory. Errors: `ArgumentError` for what is not compiled."""
    compilation = getattr(found.function, "compilation", None)
    if compilation is None:
        raise ArgumentError(
            "only a compiled function has memory to be drawn",
            op="draw",
            given=repr(found.function or found.graph)[:80],
            hint="draw what gc.compile returns",
        )
    made: Program = compilation.compiled.program
    return made
