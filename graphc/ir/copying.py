"""Pickles and deep copies of tensors, graphs and variables.

A pickle holds a graph's text and its variables, each with its value and name. What is pickled
together stays together: a variable that two graphs share is one variable when they are read. A deep
copy is the thing itself, for tensors and graphs never change, but where it has variables: then it
is built anew over copies of them. The user's lines are not kept; operations are found by name, so
those of your own have to be defined before a pickle with them is read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NoReturn, Self

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.graph import Graph, map_graph, transform, variables_of, walk
from graphc.ir.node import Tensor, Variable
from graphc.ir.op import Fact
from graphc.ir.operators import publish
from graphc.ir.text import parse_graph, text_and_variables


def reduce_tensor(tensor: Tensor) -> tuple[Any, ...]:
    """How `pickle` makes `tensor` again: as the output of a graph of what is below it."""
    nodes = walk([tensor])
    graph = Graph([n.output() for n in nodes if Fact.INPUT in n.op.facts], [tensor])
    return _read_tensor, text_and_variables(graph)


def _read_tensor(text: str, variables: dict[str, Variable]) -> Tensor:
    return parse_graph(text, variables).outputs[0]


def reduce_graph(graph: Graph) -> tuple[Any, ...]:
    """How `pickle` makes `graph` again."""
    return parse_graph, text_and_variables(graph)


def deepcopy_tensors(tensors: Sequence[Tensor], memo: Any) -> list[Tensor]:
    """`tensors` over copies of their variables; themselves if they have none."""
    return transform(tensors, replace=_copies(variables_of(walk(tensors)), memo))


def deepcopy_graph(graph: Graph, memo: Any) -> Graph:
    """`graph` over copies of its variables; itself if it has none."""
    copies = _copies(graph.variables, memo)
    changed = map_graph(graph, replace=copies)
    updates = [(copies[v], new) for v, new in changed.updates]
    return Graph(graph.inputs, changed.outputs, updates, graph.name)


def _copies(variables: Sequence[Variable], memo: Any) -> dict[Tensor, Any]:
    return {v: copy.deepcopy(v, memo) for v in variables}


class Unsaved:
    """An object with variables that can be copied, and that refuses to be pickled until models can
    be saved; `_instead` is what the user can keep of it."""

    _instead = ""

    def __copy__(self) -> Self:
        new = type(self).__new__(type(self))
        vars(new).update(vars(self))
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """One of its own: its variables are new ones of the same values."""
        memo[id(self)] = new = type(self).__new__(type(self))
        for name, value in vars(self).items():
            vars(new)[name] = copy.deepcopy(value, memo)
        return new

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise ArgumentError(
            "models and optimisers cannot be pickled: what they do is your code",
            op="pickle",
            given=repr(self)[:80],
            where=origin.where(),
            hint=f"keep {self._instead}, build it anew by your own code, and assign the values",
        )


publish(
    {
        "_reduce_tensor_": reduce_tensor,
        "_reduce_graph_": reduce_graph,
        "_deepcopy_tensors_": deepcopy_tensors,
        "_deepcopy_graph_": deepcopy_graph,
    }
)
