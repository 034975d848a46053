"""Behind the rules numbers are only carried: what is compiled is the same whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph, map_graph
from graphc.ir.node import ArrayValue, apply
from graphc.passes import numbers as passes
from graphc.passes.numbers import Apart, find_numbers, is_scalar_float, set_apart
from graphc.pipeline import pipeline
from graphc.pipeline.carried import only_carries
from graphc.pipeline.optimize import Optimized, optimize
from graphc.pipeline.options import Options
from graphc.pipeline.pipeline import Compiled, plan
from graphc.pipeline.stages import Stages
from graphc.planning.show import print_program
from graphc.runtime.kernels import distinct_kernels
from graphc.runtime.target import TARGETS
from tests.corpus import PROGRAMS
from tests.properties.generator import random_graph

X = gc.placeholder("x", ("n",), "float64")


def halves(graph: Graph) -> tuple[Optimized, list[Any]]:
    """What the rules make of a graph, and its numbers."""
    optimized = optimize(graph, Stages())
    return optimized, find_numbers(optimized.graph)


def carried(optimized: Optimized, numbers: list[Any]) -> tuple[Apart, Compiled]:
    """What is compiled for stand-ins."""
    apart = set_apart(optimized.graph, numbers)
    return apart, plan(optimized._replace(graph=apart.graph), Stages())


def code(compiled: Compiled, apart: Apart) -> list[str]:
    """All that code is made of, and the places of the numbers in its table."""
    kernels = distinct_kernels(compiled)
    driver = TARGETS["cpu"].print_driver(compiled.program, Options())
    order = {stand_in: place for place, stand_in in enumerate(apart.numbers)}
    table = [order.get(number, number) for number in driver.facts["numbers"]]
    blob = [t.node.attrs["value"].data for t in compiled.program.constants.values()]
    identities = [k.identity for k in kernels]
    return [*identities, driver.text, str(table), print_program(compiled.program), str(blob)]


def check(graph: Graph) -> int:
    """How many numbers a graph has. What is compiled for them is compared for two sets of
    stand-ins."""
    optimized, numbers = halves(graph)
    if not numbers:
        return 0
    first = carried(optimized, numbers)
    assert only_carries(first[1], first[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "ODD", 0x5851F42D4C957)
        patch.setattr(passes, "SMALL", 9)
        second = carried(optimized, numbers)
    assert not first[0].numbers.keys() & second[0].numbers.keys()
    for one, other in zip(code(*first[::-1]), code(*second[::-1]), strict=True):
        assert one == other
    return len(numbers)


# -- nothing depends on them -----------------------------------------------------------------------
def test_code_of_random_graphs_is_the_same_for_other_stand_ins() -> None:
    assert sum(check(random_graph(seed).graph) for seed in range(8)) >= 4


@pytest.mark.parametrize("name", ["gelu_gradient", "implicit_steps", "pendulum"])
def test_code_of_programs_is_the_same_for_other_stand_ins(name: str) -> None:
    assert check(PROGRAMS[name]().graph)


# -- what is looked at -----------------------------------------------------------------------------
def formula() -> Graph:
    return Graph([X], [gc.cos(X) * 0.3 + 0.7, gc.sum(X * 0.3)])


def test_numbers_are_carried() -> None:
    assert check(formula()) == 2


def replaced(graph: Graph, by: Callable[[Any, Any], Any]) -> Graph:
    """The graph with each number that an operation reads replaced."""

    def rewrite(node: Any, inputs: Any) -> Any:
        return by(node, inputs) if any(is_scalar_float(t.node) for t in inputs) else None

    return map_graph(graph, rewrite)


def halved(node: Any, inputs: Any) -> Any:
    """x * c as (x * (c / 2)) * 2: with constants that are folded from numbers."""
    x, c = inputs if is_scalar_float(inputs[1].node) else inputs[::-1]
    if node.op.name != "multiply" or not is_scalar_float(c.node):
        return None
    value = c.node.attrs["value"].array
    half = apply(c.node.op, value=ArrayValue(value / 2)).output()
    return [x * half * 2.0]


def bound(node: Any, inputs: Any) -> Any:
    """c as max(c, c): in the code of kernels, for it is no arithmetic."""
    changed = [gc.maximum(t, t) if is_scalar_float(t.node) else t for t in inputs]
    return apply(node.op, changed, **node.attrs).outputs


def stored(node: Any, inputs: Any) -> Any:
    """c as an element of an array of constants."""
    (c,) = (t.node for t in inputs if is_scalar_float(t.node))
    array = gc.constant(np.full(3, c.attrs["value"].array))
    changed = [array[1] if t.node is c else t for t in inputs]
    return apply(node.op, changed, **node.attrs).outputs


def dropped(node: Any, inputs: Any) -> Any:
    """x + c as x."""
    return [inputs[0] if is_scalar_float(inputs[1].node) else inputs[1]]


@pytest.mark.parametrize("fault", [halved, bound, stored, dropped])
def test_a_stage_that_does_something_with_numbers_is_seen(
    fault: Callable[[Any, Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults of a stage behind the rules: each leaves a number of the graph elsewhere than in the
    table, or nowhere."""
    optimized, numbers = halves(formula())
    right = pipeline.fuse_all
    monkeypatch.setattr(
        pipeline, "fuse_all", lambda graph, *more: right(replaced(graph, fault), *more)
    )
    apart, compiled = carried(optimized, numbers)
    assert not only_carries(compiled, apart)


# -- which are numbers -----------------------------------------------------------------------------
def values(graph: Graph) -> list[float]:
    return [float(node.attrs["value"].array) for node in find_numbers(graph)]


def test_operands_of_arithmetic_alone_are_numbers() -> None:
    made = [X * 0.3, X / 0.7 - 1.9, 0.3 + X, X * 2.0, X + 0.0, X * np.inf]
    assert values(Graph([X], made)) == [0.3, 0.7, 1.9]
    for other in (gc.maximum(X, 0.3), gc.where(X > 0, X, 0.3), gc.constant(0.3, "float64")):
        assert values(Graph([X], [*made, other])) == [0.7, 1.9]


def test_numbers_of_bodies_are_some() -> None:
    def step(h: Any, v: Any) -> Any:
        return h * 0.3 + v, gc.maximum(h, 0.7) * 0.7

    scan = gc.scan(step, gc.constant(0.9, "float64"), X)
    assert values(Graph([X], [*scan, X * 1.1 + 0.9])) == [1.1, 0.3]


def test_stand_ins_are_others_for_each_number_and_the_same_for_all_graphs() -> None:
    y = gc.placeholder("y", ("n",))

    def made(*c: float) -> Graph:
        return Graph([X, y], [X * c[0] - c[1], y * c[0] / c[2]])

    (one, first), (two, second) = (
        (apart.graph, apart.numbers)
        for graph in (made(0.3, 0.7, 1.9), made(-5.5, 1e9, 3.0))
        for apart in [set_apart(graph, find_numbers(graph))]
    )
    assert one is two
    assert list(first) == list(second)
    assert list(second.values()) == [-5.5, 1e9, -5.5, 3.0]
    assert len(set(first)) == 4  # a number of two dtypes is two
    again = set_apart(one, find_numbers(one))  # a user may write whatever floats there are
    assert again.graph is one
    fixed = next(iter(first))
    beside = Graph([X], [X * 0.3, gc.maximum(X, fixed)])
    assert not set_apart(beside, find_numbers(beside)).numbers.keys() & {fixed}
