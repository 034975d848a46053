"""The checker: valid graphs pass, and each invariant, broken by hand, is found and shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphError
from graphc.ir.check import check_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor, apply, current_serial
from graphc.ir.op import Kind, Op, registry
from graphc.ir.shape import TensorType

x = gc.placeholder("x", ("n", 4))
CALL = Op("call", Kind.CONTROL, lambda *types, **attrs: types)


@pytest.fixture(autouse=True)
def _call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry(), "call", CALL)


def forged(op: Op, *inputs: Any, types: Any = None, serial: int = 0, **attrs: Any) -> Node:
    """A node that no type rule has seen."""
    node = Node()
    node.op, node.inputs, node.attrs = op, inputs, attrs
    node.types = types or (inputs[0].type,)
    node._outputs = [lambda: None] * len(node.types)
    node.origins, node.serial = x.node.origins, serial or current_serial() + 1
    node.weak = False
    return node


def unchecked(inputs: Any, outputs: Any, updates: Any = ()) -> Graph:
    """A graph that its constructor has not seen."""
    graph = object.__new__(Graph)
    graph.inputs, graph.outputs, graph.updates = tuple(inputs), tuple(outputs), tuple(updates)
    graph.name, graph._order = "broken", None
    return graph


@contextmanager
def refused(message: str) -> Iterator[Any]:
    with pytest.raises(GraphError, match=message) as caught:
        yield caught
    assert caught.value.message.startswith("the graph ")


def test_valid_graphs() -> None:
    w = gc.variable(np.zeros((4, 2), np.float32), name="w")
    loss = gc.mean(gc.logsumexp(x @ w, axis=1))
    check_graph(Graph([x], [loss], [(w, w - gc.grad(loss, w))], name="step"))
    check_graph(Graph([], []))
    check_graph(Graph([x], [x]))
    inner = gc.placeholder("inner", ("n", 4))
    body = Graph([inner], [gc.tanh(inner)])
    check_graph(Graph([x], [apply(CALL, (x,), bodies=(body, body)).output()]))


def test_inputs() -> None:
    with refused("an input is not a placeholder"):
        check_graph(unchecked([x + 1], []))
    with refused("two inputs have one name"):
        check_graph(unchecked([x, gc.placeholder("x", (2,))], []))


def test_closed() -> None:
    with refused("a placeholder is not an input") as caught:
        check_graph(unchecked([], [x + 1]))
    assert caught.value.given == "'x'"
    free = gc.zeros(("k",)) + 1
    with refused("a dim has no value") as caught:
        check_graph(unchecked([x], [free]))
    assert (caught.value.expected, caught.value.given) == ("dims of the inputs: n", "k")


def test_types() -> None:
    node = forged(gc.tanh(x).node.op, x, types=(TensorType(gc.float32, (4,)),))
    with refused("the types are not those of the type rule") as caught:
        check_graph(Graph([x], [node.output() * 2]))
    assert (caught.value.expected, caught.value.given) == ("f32[n,4]", "f32[4]")
    assert caught.value.op == "tanh"
    message = caught.value.message.split("\n")
    assert message[1:] == ["  > %0: f32[4] = tanh %x", "    %1: f32[4] = multiply %0, f32(2.0)"]
    refusing = forged((x + x).node.op, x, gc.placeholder("i", (3,), "int32"))
    with refused("the type rule refuses: operands have the wrong dtypes"):
        check_graph(Graph([x, refusing.inputs[1]], [refusing.output()]))


def test_ops_are_registered() -> None:
    stranger = Op("stranger", Kind.MAP, lambda t: (t,))
    with refused("not the registered one"):
        check_graph(Graph([x], [apply(stranger, (x,)).output()]))


def test_operands() -> None:
    with refused("an output of placeholder that does not exist") as caught:
        check_graph(Graph([x], [forged(CALL, Tensor(x.node, 3), types=(x.type,)).output()]))
    assert (caught.value.expected, caught.value.given) == ("0 <= index < 1", "3")
    young = gc.exp(x)
    with refused("an operand is not older than its user"):
        check_graph(Graph([x], [forged(CALL, young, serial=1).output()]))


def test_attributes() -> None:
    with refused("the attribute axes is not hashable"):
        check_graph(Graph([x], [forged(CALL, x, axes=[1, 2]).output()]))


def test_results() -> None:
    with refused("an output of tanh that does not exist"):
        check_graph(unchecked([x], [Tensor(gc.tanh(x).node, 1)]))
    w = gc.variable([1.0], name="w")
    with refused("updated twice"):
        check_graph(unchecked([], [], [(w, w + 1), (w, w)]))
    with refused("an update of 'w' has another type") as caught:
        check_graph(unchecked([], [], [(w, gc.sum(w))]))
    assert (caught.value.expected, caught.value.given) == ("f32[1]", "f32[]")
    with refused("an update is not of a variable"):
        check_graph(unchecked([x], [], [(x, x)]))


def test_inner_graphs() -> None:
    w, a = gc.variable([1.0], name="w"), gc.placeholder("a", (1,))
    for body, what in (
        (Graph([a], [a], [(w, a)]), "a sub-graph updates a variable"),
        (Graph([a], [a * w]), "a sub-graph reads a variable"),
        (unchecked([], [a + 1]), "a placeholder is not an input"),
        (Graph([a], [a + gc.zeros(("k",))[:1]]), "a dim has no value"),
    ):
        node = forged(CALL, x, body=body)
        with refused(what):
            check_graph(Graph([x], [node.output()]))
