"""`gc.draw`: a program as a picture: graph, layers, kernels, costs, memory, times."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphc.errors import ArgumentError, GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.runtime.profile import Profile
from graphc.show import views
from graphc.show.collapse import collapse
from graphc.show.cost import cost_picture
from graphc.show.dot import to_dot
from graphc.show.given import given
from graphc.show.memory import memory_dot
from graphc.show.picture import Picture
from graphc.show.profile import profile_picture
from graphc.show.render import DOT, PLACED, render, save
from graphc.show.repeat import repeat_leaves
from graphc.show.sketch import size, sketch_both

VIEWS = ("graph", "kernels", "cost", "memory", "profile", "diff", "placement")
LEVELS = ("model", "math", "full")
DIRECTIONS = ("TB", "LR", "BT", "RL")
SIMPLE = 600  # marks beyond which a picture is drawn simply, and "full" joins what is equal
COMPILED = 200  # marks beyond which what is compiled joins it
LARGE = 5000  # marks of the largest picture that is drawn without being asked for
JOINED = 20_000  # nodes beyond which what is repeated is not looked for, and tooltips are left out


class Drawing:
    """A picture that a notebook shows; `source` is its DOT text, and `engine` lays it out.
    `kernels` are the regions that are drawn as kernels 1, 2, ..."""

    __slots__ = ("engine", "kernels", "source")

    def __init__(self, source: str, engine: str = DOT, kernels: Sequence[Node] = ()) -> None:
        self.source, self.engine, self.kernels = source, engine, tuple(kernels)

    def __repr__(self) -> str:
        return f"<Drawing: {self.source.count(chr(10))} lines of DOT>"

    def _repr_svg_(self) -> str:
        return render(self.source, "svg", self.engine).decode()


def draw(
    what: Any,
    path: str | os.PathLike[str] | None = None,
    view: str = "graph",
    direction: str = "TB",
    limit: int = LARGE,
    *,
    level: str = "math",
    inputs: Any = None,
) -> Path | Drawing:
    """A picture of tensors in lists and dicts, a `Graph`, a compiled function, a layer, a profile.

    `path` says where it is written and, by its suffix, in which format: svg, png, pdf or dot. The
    result is that path; without a path it is a `Drawing`, which a notebook shows.
    `view="graph"` shows the graph, with a frame for each layer, "kernels" what it was compiled to,
    with a frame for each kernel, which for a card says its launches, "cost" what these compute and
    move, "memory" the arena over time, "profile" how long each step took with the arrays `inputs`
    (`gc.draw(function.profile(inputs))` is the same), "diff" what the rules change, or two graphs
    that are given.
    Of a graph, `level` says what has a box: at "math" what a person thinks of as one operation, the
    forward pass, the backward pass and the update apart; at "model" each layer; at "full" each node
    as it was written. `direction` is that of the arrows: TB (down), LR, BT or RL.
    In a large picture what is repeated is drawn once, with a count. Beside more than 600 boxes,
    arrows have no types; a graph of more than 20,000 nodes is drawn in full and without tooltips.
    Errors: `ArgumentError` for anything else; `GraphcError` for a picture of more than `limit`
    boxes, or where no Graphviz can be used.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", ("n",))
    >>> gc.draw(gc.sum(x * 2)).source.splitlines()[1]
    'digraph graphc {'
    """
    _one_of("view", view, VIEWS)
    _one_of("level", level, LEVELS)
    _one_of("direction", direction, DIRECTIONS)
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise ArgumentError("not a path", op="draw", expected="str, Path", given=repr(path)[:80])
    if isinstance(what, Profile) or view == "profile":
        what, view = views.profiled(what, view, inputs), "profile"
    elif inputs is not None:
        raise ArgumentError(
            "only a profile needs arrays", op="draw", expected='view="profile"', given=repr(view)
        )
    engine, kernels = PLACED if view == "memory" else DOT, list[Node]()
    if view == "memory":
        source = memory_dot(views.program(given(what)))
    else:
        picture = _picture(what, view, level, limit)
        source, kernels = to_dot(picture, direction), picture.kernels
    if path is None:
        return Drawing(source, engine, kernels)
    return save(source, Path(path), engine)


def _picture(what: Any, view: str, level: str, limit: int) -> Picture:
    nodes = 0
    if view == "placement":
        picture = views.placement(what)
    elif view == "diff":
        before, after = views.differences(what)
        nodes = _checked(before, limit) + _checked(after, limit)
        picture = sketch_both(before, after, nodes <= JOINED)
    elif view == "profile":
        nodes = _checked(what.program.graph, limit)
        picture = profile_picture(what)
    else:
        found = given(what)
        graph = found.graph if view == "graph" else views.compiled(found)
        nodes = _checked(graph, limit)
        tips = nodes <= JOINED
        if view == "kernels":
            picture = views.kernels(found, tips)
        elif view == "cost":
            picture = cost_picture(graph)
        elif level == "full" or not tips:
            picture = views.as_written(found, tips)
        else:
            picture = views.as_read(found, level == "model")
    every = COMPILED if view != "graph" else SIMPLE if level == "full" else 0
    if nodes <= JOINED and len(picture.marks) > every:
        collapse(picture)
    if len(picture.marks) > limit:
        raise _too_large(limit, str(len(picture.marks)))
    repeat_leaves(picture)
    if len(picture.marks) > SIMPLE:
        picture.simplify()
        left_out = "the types of values" if nodes <= JOINED else "types and tooltips"
        said = f"{nodes} nodes: drawn without {left_out}"
        picture.note = f"{picture.note}; {said}" if picture.note else said
    return picture


def _checked(graph: Graph, limit: int) -> int:
    """The number of nodes. Errors: `GraphcError` for more than a picture can be made of."""
    most = max(limit, JOINED)
    nodes = size(graph, most)
    if nodes > most:
        raise _too_large(limit, f"more than {most}")
    return nodes


def _too_large(limit: int, given: str) -> GraphcError:
    return GraphcError(
        "the graph is too large to be drawn",
        op="draw",
        expected=f"at most {limit} boxes, with what is repeated drawn once",
        given=given,
        hint="draw a part of it, such as one tensor of a layer, or give a larger limit",
    )


def _one_of(name: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        expected = ", ".join(map(repr, known))
        raise ArgumentError(f"unknown {name}", op="draw", expected=expected, given=repr(given)[:80])
