"""Families of graphs that grow, and every stage of the compiler as a function to be measured.

A family makes a program of about `n` nodes: its inputs, its outputs, what gradients are asked for,
and its updates. `measure` takes it through every stage, from building to the memory plan, and has a
meter measure each: calls of functions, unless another is given. `draw` and `read` are the DOT text
alone, without a layout: of all that is there, and as a person reads it, both as a large picture.
"""

from __future__ import annotations

import gc as collector
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from unittest import mock

import numpy as np

import graphc as gc
from graphc.autodiff.batching import batched
from graphc.ir.check import check_graph
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, Variable
from graphc.ir.text import key_text, parse_graph, print_graph
from graphc.passes.canonical import expand_composites, lower_contractions
from graphc.passes.chains import reorder_products
from graphc.passes.distribute import distribute_products
from graphc.passes.scans import drop_unused_outputs, merge_scans
from graphc.passes.unify import unify
from graphc.pipeline.pipeline import fuse_all
from graphc.planning.memory import plan_memory
from graphc.planning.program import Program
from graphc.planning.schedule import schedule
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import DEFAULT, LOWERED
from graphc.show import draw as drawing
from tests.counting import calls_of

T = TypeVar("T")


@dataclass
class Built:
    """A program: `wrt` is what the gradient is asked for (nothing: no gradient)."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    wrt: list[Tensor] = field(default_factory=list)
    updates: list[tuple[Variable, Tensor]] = field(default_factory=list)


def _input(*shape: int) -> Tensor:
    return gc.placeholder("x", shape or (4,))


def _terms(x: Tensor, n: int) -> list[Tensor]:
    return [x + float(i + 1) for i in range(n)]


def chain(n: int) -> Built:
    """Elementwise work, one after the other."""
    x = y = _input()
    for _ in range(n // 2):
        y = gc.tanh(y) * 0.5
    return Built([x], [gc.sum(y)], [x])


def left_sum(n: int) -> Built:
    """A sum of n/2 tensors as a chain of additions."""
    x = _input()
    total, *terms = _terms(x, n // 2)
    for term in terms:
        total = total + term
    return Built([x], [gc.sum(total)], [x])


def tree_sum(n: int) -> Built:
    """A sum of n/2 tensors as a balanced tree."""
    x = _input()
    terms = _terms(x, n // 2)
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) // 2 * 2 :]
    return Built([x], [gc.sum(terms[0])], [x])


def concat(n: int) -> Built:
    """One node with n/2 operands."""
    x = _input()
    return Built([x], [gc.sum(gc.concat(_terms(x, n // 2)))], [x])


def stack(n: int) -> Built:
    """One node with n/3 operands, each reshaped."""
    x = _input()
    return Built([x], [gc.sum(gc.stack(_terms(x, n // 3)))], [x])


def layers(n: int) -> Built:
    """A perceptron with n/4 layers."""
    x = h = _input(4, 8)
    weights: list[Tensor] = []
    for i in range(n // 4):
        weights.append(gc.variable(np.full((8, 8), 0.1, "float32"), name=f"w{i}"))
        h = gc.relu(h @ weights[-1] + 1.0)
    return Built([x], [gc.sum(h)], weights)


def outputs(n: int) -> Built:
    """n/2 outputs that share the input alone."""
    x = _input()
    return Built([x], [gc.tanh(t) for t in _terms(x, n // 2)], [x])


def diamond(n: int) -> Built:
    """n/2 levels, each of which uses the one before three times."""
    x = y = _input()
    for _ in range(n // 2):
        y = y * y + y
    return Built([x], [gc.sum(y)], [x])


def arms(n: int) -> Built:
    """n/3 levels of two arms that meet again."""
    x = y = _input()
    for _ in range(n // 3):
        y = gc.sin(y) + gc.tanh(y)
    return Built([x], [gc.sum(y)], [x])


def reductions(n: int) -> Built:
    """Reductions between elementwise work."""
    x = y = _input(4, 8)
    for _ in range(n // 3):
        y = y - gc.max(y, axis=1, keepdims=True)
    return Built([x], [gc.sum(y)], [x])


def loop(n: int) -> Built:
    """A loop whose body has n nodes."""
    x = _input(5, 4)

    def step(carry: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        for _ in range(n // 2):
            carry = gc.tanh(carry) + given
        return carry, carry

    _, ys = gc.scan(step, gc.zeros((4,)), x)
    return Built([x], [gc.sum(ys)], [x])


def products(n: int) -> Built:
    """Products in a loop, which leave it: one for each of n/8 results, one for each of n/8 sums."""
    x = _input(5, 2, 4)
    weights = [gc.variable(np.zeros((4, 4), "float32"), name=f"w{i}") for i in range(n // 8)]

    def step(carry: list[Tensor], given: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        sums = [c + given.T @ (given * float(i)) for i, c in enumerate(carry[1:])]
        h = gc.tanh(carry[0] + given)
        return [h, *sums], [h @ w for w in weights]

    first = [gc.zeros((2, 4)), *(w * 0.5 for w in weights)]
    last, ys = gc.scan(step, first, x)
    return Built([x], [gc.sum(t) for t in (*last, *ys)])


def updates(n: int) -> Built:
    """Updates of n/3 variables."""
    x = _input()
    total = gc.sum(x)
    cells = [gc.variable(np.zeros(4, "float32"), name=f"v{i}") for i in range(n // 3)]
    return Built([x], [total], updates=[(v, v * 0.5 + total) for v in cells])


FAMILIES: dict[str, Callable[[int], Built]] = {
    f.__name__: f
    for f in (
        chain, left_sum, tree_sum, concat, stack, layers, outputs, diamond, arms, reductions, loop,
        products, updates,
    )
}  # fmt: skip


class Meter(Protocol):
    """Runs a stage, and remembers by its name what it measured."""

    def __call__(self, name: str, stage: Callable[[], T]) -> T: ...


@dataclass
class Calls:
    """The calls of functions that each stage takes."""

    counts: dict[str, int] = field(default_factory=dict)

    def __call__(self, name: str, stage: Callable[[], T]) -> T:
        result, self.counts[name] = calls_of(stage)
        return result


@contextmanager
def no_collector() -> Iterator[None]:
    """Python's cyclic collector walks all that is alive, whoever made it: it is not measured."""
    collector.collect()
    collector.disable()
    try:
        yield
    finally:
        collector.enable()


def as_large() -> mock._patch[int]:
    """Pictures of any size are drawn as large ones are, with what is repeated joined. That takes up
    to as many calls again for each mark: sizes on both sides of where it begins would differ by a
    step that says nothing of how the work grows."""
    return mock.patch.object(drawing, "SIMPLE", 0)


def measure(made: Callable[[int], Built], n: int, meter: Meter, lower: bool = True) -> int:
    """Takes a family through its stages, measured by a meter: the number of nodes before
    optimisation. `lower`: also the stages that make a program of it."""
    with no_collector():
        built = meter("build", lambda: made(n))
        results = list(built.outputs)
        if built.wrt:
            y = results if len(results) > 1 else results[0]
            results += meter("grad", lambda: gc.vjp(y, built.wrt))
        many = {t: gc.placeholder(f"{t.name} of all", ("b", *t.shape)) for t in built.inputs}
        meter("batch", lambda: batched(results, many, gc.dim("b")))
        graph = meter("graph", lambda: Graph(built.inputs, results, built.updates))
        text = meter("print", lambda: print_graph(graph))
        meter("parse", lambda: parse_graph(text))
        meter("key", lambda: key_text(graph))
        meter("check", lambda: check_graph(graph))
        arrays = [np.ones([int(s) for s in t.shape], "float32") for t in graph.inputs]
        meter("evaluate", lambda: evaluate_graph(graph, arrays))
        with as_large():
            meter("draw", lambda: gc.draw(graph, level="full", limit=1 << 40))
            meter("read", lambda: gc.draw(graph, limit=1 << 40))
        unified = meter("unify", lambda: unify(graph))
        optimised = meter("simplify", lambda: apply_rules(unified, *DEFAULT))
        if lower:
            _lower(optimised, meter)
    return count(graph)


def count(graph: Graph) -> int:
    """The nodes of a graph and of the bodies of its loops and branches."""
    nodes, graphs = 0, [graph]
    while graphs:
        inside = graphs.pop().nodes
        nodes += len(inside)
        graphs += [v for node in inside for v in node.attrs.values() if isinstance(v, Graph)]
    return nodes


def _lower(graph: Graph, meter: Meter) -> Program:
    graph = meter("merge_scans", lambda: merge_scans(graph))
    graph = meter("drop_unused_outputs", lambda: drop_unused_outputs(graph))
    graph = meter("distribute_products", lambda: distribute_products(graph))
    graph = meter("expand", lambda: expand_composites(graph))
    graph = meter("reorder_products", lambda: reorder_products(graph))
    graph = meter("lower_contractions", lambda: lower_contractions(graph))
    graph = meter("clean", lambda: apply_rules(graph, *LOWERED))
    graph = meter("fuse", lambda: fuse_all(graph))
    program = meter("schedule", lambda: schedule(graph))
    return meter("plan_memory", lambda: plan_memory(program))
