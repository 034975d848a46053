"""A graph as a person thinks of it: the pass behind drawings at the level "math".

    read(graph) -> Reading: the graph, what its tensors are called, in which lane its nodes are

The rules are those of the compiler that hold bit by bit and make a formula shorter, and a few that
hold of real numbers: what they drop (`x + 0`, `x * 1`, the `where` of a power) nobody wrote. No
rule writes a formula of the user's in another way. A loop and its derivative share a forward loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from graphc.autodiff.noted import Derivative, derivatives
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind
from graphc.passes.scans import drop_unused_outputs, merge_scans
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import algebra, contract, fastmath, fold, shape
from graphc.rewrite.rules.people import people
from graphc.rewrite.ruleset import Ruleset

FORWARD, BACKWARD, UPDATE = LANES = ("forward", "backward", "update")

# What rules of the compiler make for a processor, and a person would not write.
_FOR_PROCESSORS = (
    fold.drop_stop_gradient,
    algebra.fold_pow_three,
    algebra.fold_pow_half,
    algebra.multiply_by_reciprocal,
    algebra.fold_maximum_with_zero,
    shape.multiply_instead_of_sum,
)
_OF_REAL_NUMBERS = (fastmath.drop_add_zero, fastmath.drop_multiply_zero)

RULES = Ruleset(
    "reading",
    [
        *(
            rule
            for rules in (fold.fold, algebra.algebra, shape.shape, contract.contract)
            for rule in rules
            if rule not in _FOR_PROCESSORS
        ),
        *_OF_REAL_NUMBERS,
        *people,
    ],
)


@dataclass(frozen=True, slots=True)
class Reading:
    """`names` are those of gradients and losses, `by` what gradients are by; `lanes` are empty for
    a graph without gradients, else each node has one."""

    graph: Graph
    names: dict[Tensor, str] = field(default_factory=dict)
    lanes: dict[Node, str] = field(default_factory=dict)
    by: dict[Tensor, Tensor] = field(default_factory=dict)

    def lane(self, node: Node) -> str:
        return self.lanes.get(node, "")


def read(graph: Graph, called: Callable[[Tensor], str]) -> Reading:
    """`graph` as it is read; `called` gives the name of an input or variable.

    >>> import graphc as gc
    >>> x = gc.placeholder("x", (3,))
    >>> read(gc.Graph([x], [gc.grad(gc.sum(x**2), x)]), lambda t: t.name).graph.outputs[0].node.op
    <op multiply>
    """
    notes = derivatives(graph.nodes)
    # A loss that the graph does not compute may be there or not, as long as nobody collects it.
    inside = set(graph.nodes)
    losses = list(dict.fromkeys(d.of for d in notes if d.of is not None and d.of.node in inside))
    kept = (*graph.outputs, *(d.tensor for d in notes), *losses)
    made = _simplified(Graph(graph.inputs, kept, graph.updates, graph.name))
    ends = iter(made.outputs[len(graph.outputs) :])
    became = [d._replace(tensor=next(ends)) for d in notes]
    values = dict(zip(losses, ends, strict=True))
    result = Graph(graph.inputs, made.outputs[: len(graph.outputs)], made.updates, graph.name)
    return Reading(
        result,
        _names(became, values, called),
        _lanes(result, became, list(values.values())),
        {d.tensor: d.by for d in became},
    )


def _simplified(graph: Graph) -> Graph:
    return apply_rules(drop_unused_outputs(merge_scans(apply_rules(graph, RULES))), RULES)


# -- names -----------------------------------------------------------------------------------------
def _names(
    notes: Sequence[Derivative],
    losses: dict[Tensor, Tensor],
    called: Callable[[Tensor], str],
) -> dict[Tensor, str]:
    """`L` for the loss, `L1`, `L2` for several, and `dL/dW` for a gradient."""
    letters = ["L"] if len(losses) < 2 else [f"L{i + 1}" for i in range(len(losses))]
    by_loss = dict(zip(losses, letters, strict=False))
    found = {losses[y]: letter for y, letter in by_loss.items() if _computed(losses[y])}
    for d in notes:
        name = called(d.by)
        if name and _computed(d.tensor):
            letter = by_loss.get(d.of, "L") if d.of is not None else "L"
            found.setdefault(d.tensor, f"d{letter}/d{name}")
    return found


def _computed(t: Tensor) -> bool:
    return t.node.op.kind is not Kind.LEAF


# -- lanes -----------------------------------------------------------------------------------------
def _lanes(
    graph: Graph, notes: Sequence[Derivative], losses: Sequence[Tensor]
) -> dict[Node, str]:
    """The lane of each node: forward what a loss or an output needs without any gradient, backward
    what a gradient needs beside that, update the rest."""
    gradients = [d.tensor for d in notes if _computed(d.tensor)]
    if not gradients:
        return {}
    after = _after(graph.nodes, {t.node for t in gradients})
    ends = [t for t in (*losses, *graph.outputs) if t.node not in after]
    forward = set(walk(ends))
    backward = set(walk(gradients))
    return {
        node: FORWARD if node in forward else BACKWARD if node in backward else UPDATE
        for node in graph.nodes
    }


def _after(nodes: Iterable[Node], start: set[Node]) -> set[Node]:
    """`start` and the nodes that depend on it."""
    found = set(start)
    for node in nodes:
        if any(t.node in found for t in node.inputs):
            found.add(node)
    return found
