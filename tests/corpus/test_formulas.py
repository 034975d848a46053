"""Textbook formulas and their derivatives, at ordinary and extreme points, against the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import graphc as gc
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import DEFAULT
from tests.rewrite.accuracy import Array, derivative_errors, value_errors

from . import PROGRAMS
from .formulas import FORMULAS, derivative_graph, value_graph


def _compiled(graph: Graph, arrays: Sequence[Array]) -> Array:
    return np.asarray(gc.compile(graph.inputs, graph.outputs)(*arrays)[0])


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(FORMULAS) >= 30
    assert not FORMULAS.keys() & PROGRAMS.keys()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_derivative_by_rules(name: str, dtype: str) -> None:
    value, derivative = value_errors(name, dtype), derivative_errors(name, dtype)
    assert value.after <= FORMULAS[name].ulps[0], value.worst
    assert derivative.after <= FORMULAS[name].ulps[1], derivative.worst


@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_derivative_compiled(name: str) -> None:
    value = value_errors(name, "float32", _compiled)
    derivative = derivative_errors(name, "float32", _compiled)
    assert value.after <= FORMULAS[name].ulps[0], value.worst
    assert derivative.after <= FORMULAS[name].ulps[1], derivative.worst


def test_most_formulas_need_their_rules() -> None:
    """As written most are useless at the extreme points, in value or derivative: the control."""
    worst = [
        max(value_errors(name, "float32").before, derivative_errors(name, "float32").before)
        for name in FORMULAS
    ]
    assert sum(error > 1e6 for error in worst) > 35


@pytest.mark.parametrize("name", FORMULAS)
def test_the_result_is_a_fixed_point(name: str) -> None:
    for graph in (value_graph(name, "float32"), derivative_graph(name, "float32")):
        simplified = apply_rules(graph, *DEFAULT)
        assert apply_rules(simplified, *DEFAULT) is simplified


# -- where the derivative is taken -----------------------------------------------------------------
def test_the_mean_of_a_naive_loss_trains() -> None:
    z = gc.placeholder("z", ("n", 3))
    p = gc.exp(z) / gc.sum(gc.exp(z), axis=1, keepdims=True)
    loss = -gc.mean(gc.log(p)[:, 0])
    logits = np.array([[1000.0, 0.0, -1000.0], [0.0, 1000.0, 0.0]], np.float32)
    found = gc.compile([z], [loss, gc.grad(loss, z)])(logits)
    np.testing.assert_allclose(found[0], 500.0)
    np.testing.assert_allclose(found[1], [[0, 0, 0], [-0.5, 0.5, 0]])


def test_a_naive_step_of_a_loop_has_a_stable_derivative() -> None:
    x, h = gc.placeholder("x", ("t",)), gc.placeholder("h", ())

    def step(carry: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        new = carry / (1 + gc.exp(-100 * drive))
        return new, new

    last, _ = gc.scan(step, h, x)
    f = gc.compile([h, x], [last, gc.grad(last, h), gc.grad(last, x)])
    found = f(np.float32(2.0), np.array([5.0, -5.0, 0.0], np.float32))
    np.testing.assert_allclose(found[0], 0, atol=1e-30)
    np.testing.assert_allclose(found[1], 0, atol=1e-30)
    np.testing.assert_allclose(found[2], 0, atol=1e-30)
    found = f(np.float32(2.0), np.array([5.0, 0.0], np.float32))
    np.testing.assert_allclose(found[0], 1.0)
    np.testing.assert_allclose(found[1], 0.5)
    np.testing.assert_allclose(found[2], [0.0, 50.0], atol=1e-30)


def test_a_derivative_by_an_intermediate_stays_one() -> None:
    """A rule does not look through what is differentiated by."""
    x = gc.placeholder("x", (3,))
    p = gc.sigmoid(x)
    g, whole = gc.grad(gc.sum(gc.log(p)), [p, x])
    at = np.array([-80.0, 0.0, 3.0], np.float32)
    found = evaluate_graph(Graph([x], [g, whole]), [at])
    s = 1 / (1 + np.exp(-np.float64(at)))
    np.testing.assert_allclose(found[0], 1 / s, rtol=1e-6)
    np.testing.assert_allclose(found[1], 1 - s, rtol=1e-6)
    by_x = gc.evaluate(gc.grad(gc.sum(gc.log(p)), x), {x: at})
    np.testing.assert_allclose(by_x, 1 - s, rtol=1e-6)


def test_second_derivatives_are_stable_too() -> None:
    x = gc.placeholder("x", (3,))
    first = gc.grad(gc.sum(gc.log(1 + gc.exp(x))), x)
    second = gc.grad(gc.sum(first), x)
    found = gc.evaluate(second, {x: [-200.0, 0.0, 200.0]})
    np.testing.assert_allclose(found, [0.0, 0.25, 0.0], atol=1e-38)


def test_formulas_without_rules_are_differentiated_as_written() -> None:
    """No stable rule fires: not even algebra changes what the user sees."""
    x = gc.placeholder("x", ("n",))
    g = gc.grad(gc.sum(gc.exp(x * 1) * gc.square(x)), x)
    nodes = Graph([x], [g]).nodes
    assert (x * 1).node in nodes
