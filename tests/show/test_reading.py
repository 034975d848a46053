"""What a person reads: the pass behind the level "math", and the formulas in its boxes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import all_nodes
from graphc.ir.node import Node
from graphc.ir.op import Fact, Kind
from graphc.show import formulas
from graphc.show.names import short_names
from graphc.show.reading import BACKWARD, FORWARD, UPDATE, Reading, read
from graphc.show.words import Maths

RNG = np.random.default_rng(0)


def reading_of(graph: gc.Graph) -> Reading:
    return read(graph, short_names(graph))


def words_of(graph: gc.Graph) -> tuple[Reading, Maths]:
    found = reading_of(graph)
    return found, Maths(found, short_names(graph))


def lines(graph: gc.Graph) -> list[str]:
    """The first lines of the boxes, in order."""
    found, words = words_of(graph)
    computed = [n for n in found.graph.nodes if n.op.kind is not Kind.LEAF]
    return [" ".join(words.said(n).lines) for n in computed if not words.hides(n)]


def variable(name: str, *shape: int) -> Any:
    return gc.variable(RNG.standard_normal(shape).astype("float32"), name=name)


def perceptron() -> gc.Graph:
    x, y = gc.placeholder("reading_x", ("n", 4)), gc.placeholder("reading_y", ("n", 2))
    w1, b1, w2 = variable("W1", 4, 3), variable("b1", 3), variable("W2", 3, 2)
    loss = gc.mean((gc.tanh(x @ w1 + b1) @ w2 - y) ** 2)
    weights = [w1, b1, w2]
    gradients = gc.grad(loss, weights)
    updates = [(w, w - 0.1 * g) for w, g in zip(weights, gradients, strict=True)]
    return gc.Graph([x, y], [loss], updates, "step")


def recurrent() -> gc.Graph:
    xs = gc.placeholder("reading_xs", (5, 3))
    w, u = variable("W", 3, 3), variable("U", 3, 3)
    last, _ = gc.scan(lambda h, x: (gc.tanh(x @ w + h @ u), h), gc.zeros((3,)), xs)
    loss = gc.sum(last**2)
    gradients = gc.grad(loss, [w, u])
    return gc.Graph([xs], [loss], [(v, v - g) for v, g in zip([w, u], gradients, strict=True)])


def choice() -> gc.Graph:
    x = gc.placeholder("reading_c", (4,))
    y = gc.cond(gc.sum(x) > 0, lambda x: gc.exp(x) + 0.0, lambda x: x * 1.0, x)
    return gc.Graph([x], [y, gc.grad(gc.sum(y * gc.where(x > 0, x, 0.0)), x)])


GRAPHS: list[Callable[[], gc.Graph]] = [perceptron, recurrent, choice]


# -- the pass --------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", GRAPHS)
def test_the_pass_keeps_the_values(make: Callable[[], gc.Graph]) -> None:
    graph = make()
    made = reading_of(graph).graph
    sizes = {"n": 6}
    arrays = {
        t: RNG.standard_normal([sizes.get(str(s), s) for s in t.shape]).astype("float32")
        for t in graph.inputs
    }
    assert made.inputs == graph.inputs
    assert [v for v, _ in made.updates] == [v for v, _ in graph.updates]
    for t, value in zip(made.results, gc.evaluate(list(graph.results), arrays), strict=True):
        np.testing.assert_allclose(gc.evaluate(t, arrays), value, rtol=1e-5, atol=1e-6)


def test_what_nobody_wrote_is_gone() -> None:
    """The derivative of a power is a choice by its exponent; of numbers, a number."""
    x = gc.placeholder("reading_p", (3,))
    found = reading_of(gc.Graph([x], [gc.grad(gc.sum(x**2 + 0.0), x)]))
    names = {n.op.name for n in found.graph.nodes}
    assert not names & {"where", "power", "equal", "subtract", "add"}
    assert "multiply" in names


def test_formulas_of_the_users_stay_as_they_are() -> None:
    x = gc.placeholder("reading_u", (3,))
    written = [x**3, x / 4, x**0.5, gc.maximum(x, 0.0), gc.log(gc.sum(gc.exp(x)))]
    found = reading_of(gc.Graph([x], written))
    assert [t.node.op.name for t in found.graph.outputs] == [t.node.op.name for t in written]


def test_checks_and_checkpoints_are_seen_through() -> None:
    x = gc.placeholder("reading_e", ())
    y = gc.ensure(gc.exp(x), x > 0, "positive")
    assert reading_of(gc.Graph([x], [y])).graph.outputs == (gc.exp(x),)


def test_a_loop_and_its_derivative_share_the_forward_loop() -> None:
    graph = recurrent()
    before = [n for n in graph.nodes if n.op.name == "scan"]
    after = [n for n in reading_of(graph).graph.nodes if n.op.name == "scan"]
    assert (len(before), len(after)) == (3, 2)


# -- names and lanes -------------------------------------------------------------------------------
def test_gradients_are_named_after_variables() -> None:
    found = reading_of(perceptron())
    assert sorted(found.names.values()) == ["L", "dL/dW1", "dL/dW2", "dL/db1"]
    shapes = {name: t.shape for t, name in found.names.items()}
    assert shapes["dL/dW1"] == (4, 3)
    assert shapes["dL/db1"] == (3,)


def test_two_losses_have_numbers() -> None:
    x, w = gc.placeholder("reading_2", (3,)), variable("v", 3)
    one, two = gc.sum(x * w), gc.sum(gc.exp(x * w))
    graph = gc.Graph([x], [one, two, gc.grad(one, w), gc.grad(two, w)])
    assert {"L1", "L2", "dL2/dv"} <= set(reading_of(graph).names.values())


def test_a_gradient_of_a_function_keeps_its_name() -> None:
    w = gc.placeholder("omega", (3,))
    value, slope = gc.value_and_grad(lambda w: gc.sum(gc.exp(w) * w))(w)
    assert "dL/domega" in reading_of(gc.Graph([w], [value, slope])).names.values()


def test_lanes() -> None:
    found = reading_of(perceptron())
    lanes = {n.op.name: found.lane(n) for n in found.graph.nodes}
    assert lanes["tanh"] == FORWARD
    for t, name in found.names.items():
        assert found.lane(t.node) == (FORWARD if name == "L" else BACKWARD)
    assert {found.lane(t.node) for _, t in found.graph.updates} == {UPDATE}
    order = {FORWARD: 0, BACKWARD: 1, UPDATE: 2}
    for node in found.graph.nodes:  # data never flow back
        for t in node.inputs:
            assert order[found.lane(t.node)] <= order[found.lane(node)]


def test_no_gradient_no_lanes() -> None:
    x = gc.placeholder("reading_n", (3,))
    assert reading_of(gc.Graph([x], [gc.exp(x)])).lanes == {}


# -- words -----------------------------------------------------------------------------------------
def test_the_boxes_of_a_step() -> None:
    assert lines(perceptron()) == [
        "reading_x @ W1", "+ b1", "tanh", "@ W2", "− reading_y", "a²", "L = mean axes 0, 1",
        "2 × a / (2 × n)", "@ W2ᵀ", "a × (1 − b²)", "dL/dW1 = reading_xᵀ @ a", "W1 − 0.1 × dL/dW1",
        "dL/db1 = sum axis 0", "b1 − 0.1 × dL/db1", "dL/dW2 = aᵀ @ b", "W2 − 0.1 × dL/dW2",
    ]  # fmt: skip


TERMS: dict[str, tuple[Callable[..., Any], str]] = {
    "product": (lambda a, b: (a + 1) * b, "(a + 1) × b"),
    "quotient": (lambda a, b: a / (b / a), "a / (b / a)"),
    "difference": (lambda a, b: a - (b - a), "a − (b − a)"),
    "power": (lambda a, b: (a + b) ** 3, "(a + b)³"),
    "root": (lambda a, b: gc.sqrt(gc.abs(a)) * -b, "√|a| × −b"),
    "choice": (lambda a, b: gc.where(a > b, a, 0.0) + 2, "a × [a > b] + 2"),
    "function": (lambda a, b: gc.exp(a - b) / 2, "exp(a − b) / 2"),
    "reciprocal": (lambda a, b: a * (1 / b), "a / b"),
    "less than less": (lambda a, b: a - -2.0 * b, "a + 2 × b"),
    "more of less": (lambda a, b: a + -2.0 * b, "a − 2 × b"),
}


@pytest.mark.parametrize("name", TERMS)
def test_formulas_mean_what_they_say(name: str) -> None:
    """A formula that Python computes, its signs replaced, has the value of its node."""
    make, expected = TERMS[name]
    x = [gc.placeholder(f"reading_t{i}", (5,)) for i in range(2)]
    inner = [gc.exp(t) for t in x]
    text = formula_of(make(*inner).node, inner)
    assert text == expected
    values = {t: RNG.uniform(0.5, 2.0, 5).astype("float32") for t in x}
    given = {name: np.exp(values[x[i]]) for i, name in enumerate("ab")}
    python = text
    for sign, code in {
        "×": "*", "−": "-", "²": "**2", "³": "**3", "√|a|": "sqrt(abs(a))", "[": "(", "]": ")",
    }.items():  # fmt: skip
        python = python.replace(sign, code)
    found = eval(python, {"exp": np.exp, "sqrt": np.sqrt, "abs": np.abs, **given})
    np.testing.assert_allclose(found, gc.evaluate(make(*inner), values), rtol=1e-5)


def formula_of(node: Node, operands: list[gc.Tensor]) -> str:
    """The formula of a node in terms of `operands`, called a, b, ..., whatever lane it is in."""
    letters = dict(zip(operands, "ab", strict=False))

    def of(t: gc.Tensor) -> formulas.Formula:
        if t in letters or (not t.node.inputs and t.shape):
            return formulas.Formula((t,))
        if Fact.CONSTANT in t.node.op.facts:
            return formulas.number(t.node.attrs["value"].array[()])
        return formulas.formula(t.node, of)

    made = formulas.formula(node, of)
    return made.write(letters.__getitem__)


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0, "2"), (0.1, "0.1"), (1e-8, "1e-08"), (-3.5, "−3.5"), (True, "true"), (math.inf, "inf")],
)
def test_numbers_as_people_write_them(value: Any, text: str) -> None:
    kind = "bool" if value is True else "float32"
    assert formulas.number(np.dtype(kind).type(value)).write(str) == text


def test_no_shape_plumbing() -> None:
    """A vector times a vector is a product, whatever shapes it goes through."""
    x, w = gc.placeholder("reading_v", (3,)), variable("w", 3)
    loss = gc.sigmoid(x @ w)
    graph = gc.Graph([x], [loss, gc.grad(loss, w)])
    found, words = words_of(graph)
    drawn = {n.op.name for n in found.graph.nodes if not words.hides(n)}
    assert not drawn & {"reshape", "broadcast_to", "permute_dims", "astype"}


def test_every_node_is_drawn_or_part_of_one_that_is() -> None:
    for make in GRAPHS:
        found, words = words_of(make())
        drawn = {n for n in found.graph.nodes if not words.hides(n)}
        for node in drawn:
            if node.op.kind is Kind.LEAF or node.op.kind is Kind.CONTROL:
                continue
            for t, _ in words.said(node).operands:
                assert t.node in drawn, (node, t)
        assert len(all_nodes(found.graph)) >= len(drawn)
