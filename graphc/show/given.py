"""What users give to `gc.draw`: tensors in any structure, graphs, compiled functions, layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Tensor
from graphc.ir.op import Fact
from graphc.ir.structure import Inner, Structure, flatten
from graphc.nn.module import Layer
from graphc.runtime.jit import Jitted


@dataclass(frozen=True, slots=True)
class Given:
    """A graph, the names of its outputs ('' for none), and the compiled function it is of."""

    graph: Graph
    outputs: tuple[str, ...] = ()
    function: Any = None
    model: Layer | None = None


def given(what: Any) -> Given:
    """What is drawn. Errors: `ArgumentError` for what is no graph, for a function that was not
    called and a model that was not built yet."""
    if isinstance(what, Graph):
        return Given(what)
    if isinstance(what, Jitted):
        if not what.functions:
            raise ArgumentError(
                "a jitted function that was not called yet has no graph",
                op="draw",
                given=repr(what)[:80],
                hint="call it once, or draw what gc.compile returns",
            )
        what = what.functions[-1]
    if isinstance(what, Layer):
        return Given(what.traced(), model=what)
    if isinstance(getattr(what, "graph", None), Graph):
        return Given(what.graph, _names(getattr(what, "_structure", None)), what)
    leaves, structure = flatten(what, sort=False)
    if not leaves or not all(isinstance(t, Tensor) for t in leaves):
        hint = "call gc.jit(f) once and draw it" if callable(what) else ""
        raise ArgumentError(
            "this cannot be drawn",
            op="draw",
            expected="tensors in lists and dicts, a Graph, a compiled function, or a layer",
            given=f"{type(what).__name__}: {repr(what)[:80]}",
            hint=hint,
        )
    inputs = [n.output() for n in walk(leaves) if Fact.INPUT in n.op.facts]
    return Given(Graph(inputs, leaves), _names(structure))


def _names(structure: Structure | None) -> tuple[str, ...]:
    """The names of results in a structure: keys of dicts, joined by dots."""
    if isinstance(structure, Inner):
        keys = structure.keys or ("",) * len(structure.parts)
        return tuple(
            ".".join(filter(None, (str(key), name)))
            for key, part in zip(keys, structure.parts, strict=True)
            for name in _names(part)
        )
    return () if structure is None else ("",)
