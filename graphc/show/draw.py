"""`gc.draw`: a program as a picture, as the user wrote it or as the kernels it became."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphc.errors import ArgumentError, GraphcError
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Tensor
from graphc.ir.op import Fact, Kind
from graphc.show.dot import to_dot
from graphc.show.render import render, save
from graphc.show.repeat import repeat_leaves
from graphc.show.sketch import size, sketch

VIEWS = ("graph", "kernels")
DIRECTIONS = ("TB", "LR", "BT", "RL")
SIMPLE = 600  # nodes beyond which a picture is drawn simply
LARGE = 5000  # and beyond which it has no tooltips, and has to be asked for


class Drawing:
    """A picture that a notebook shows; `source` is its DOT text."""

    __slots__ = ("source",)

    def __init__(self, source: str) -> None:
        self.source = source

    def __repr__(self) -> str:
        return f"<Drawing: {self.source.count(chr(10))} lines of DOT>"

    def _repr_svg_(self) -> str:
        return render(self.source, "svg").decode()


def draw(
    what: Any,
    path: str | os.PathLike[str] | None = None,
    view: str = "graph",
    direction: str = "TB",
    limit: int = LARGE,
) -> Path | Drawing:
    """A picture of a tensor, a list of tensors, a `Graph`, or a compiled function.

    `path` says where it is written and, by its suffix, in which format: svg, png, pdf or dot. The
    result is that path; without a path it is a `Drawing`, which a notebook shows.
    `view="graph"` shows the graph as the user wrote it, with a frame for each layer; "kernels" what
    it was compiled to, with a frame for each kernel, which for a card says its launches.
    `direction` is that of the arrows: TB (down), LR, BT or RL.
    A graph of more than 600 nodes is drawn without types and letters at its arrows, one of more
    than 5,000 without tooltips on its operations too.
    Errors: `ArgumentError` for anything else; `GraphcError` for a graph of more than `limit` nodes,
    or where no Graphviz can be used.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n",))
    >>> gc.draw(gc.sum(x * 2)).source.splitlines()[1]
    'digraph graphc {'
    """
    _one_of("view", view, VIEWS)
    _one_of("direction", direction, DIRECTIONS)
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise ArgumentError("not a path", op="draw", expected="str, Path", given=repr(path)[:80])
    graph = _graph_of(what, view)
    nodes = size(graph, limit)
    if nodes > limit:
        raise GraphcError(
            "the graph is too large to be drawn",
            op="draw",
            expected=f"at most {limit} nodes",
            given=f"more than {limit}",
            hint="draw a part of it, such as one tensor of a layer, or give a larger limit",
        )
    tips = nodes <= LARGE
    launches = getattr(what, "launches", {}) if view == "kernels" else {}
    picture = sketch(graph, view == "graph", nodes > SIMPLE, tips, launches)
    repeat_leaves(picture)
    if picture.simple:
        left_out = "the types of values" if tips else "types and tooltips"
        picture.note = f"{nodes} nodes: drawn without {left_out}"
    source = to_dot(picture, direction)
    if path is None:
        return Drawing(source)
    return save(source, Path(path))


def _graph_of(what: Any, view: str) -> Graph:
    """The graph that is drawn. Errors: `ArgumentError` where there is none."""
    if isinstance(what, Tensor):
        what = [what]
    if isinstance(what, Sequence) and what and all(isinstance(t, Tensor) for t in what):
        inputs = [n.output() for n in walk(what) if Fact.INPUT in n.op.facts]
        what = Graph(inputs, what)
    if isinstance(what, Graph):
        if view == "kernels" and not any(n.op.kind is Kind.REGION for n in what.nodes):
            raise ArgumentError(
                "a graph has no kernels before it is compiled",
                op="draw",
                given=repr(what),
                hint="draw what gc.compile returns",
            )
        return what
    found = getattr(what, "optimized" if view == "kernels" else "graph", None)
    if not isinstance(found, Graph):
        raise ArgumentError(
            "this cannot be drawn",
            op="draw",
            expected="a tensor, a list of tensors, a Graph, or a compiled function",
            given=f"{type(what).__name__}: {repr(what)[:80]}",
        )
    return found


def _one_of(name: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        expected = ", ".join(map(repr, known))
        raise ArgumentError(f"unknown {name}", op="draw", expected=expected, given=repr(given)[:80])
