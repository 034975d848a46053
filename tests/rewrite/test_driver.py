"""The driver: one walk to the fixed point, origins, reports, and errors that name the rule."""

from __future__ import annotations

import logging
import re
from typing import Any, cast

import pytest

import graphc as gc
from graphc.errors import GraphError
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Fact, Kind, Op, registry
from graphc.ir.text import print_graph
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.pattern import Pattern, exp, log
from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.rules.algebra import algebra
from graphc.rewrite.rules.shape import shape
from graphc.rewrite.ruleset import EXACT, Formulas, Result, Ruleset
from tests.counting import calls_of

from .checking import graph_of


def test_the_gradient_of_a_classifier_by_one_reciprocal() -> None:
    """(1/n) spread over the rows times (p - y): divided once, not for each element."""
    z = gc.placeholder("z", ("n", 4))
    y = gc.placeholder("y", ("n",), "int64")
    loss = gc.mean(gc.softmax_cross_entropy(z, y))
    graph = apply_rules(Graph([z, y], [gc.grad(loss, z)], name="gradient"), *DEFAULT)
    assert print_graph(graph) == (
        "graph gradient(%z: f32[n,4], %y: i64[n]) {\n"
        "  %0: f32[] = size [size=n, dtype=f32]\n"
        "  %1: f32[] = divide f32(1.0), %0\n"
        "  %2: f32[n,4] = softmax %z [axes=(1,)]\n"
        "  %3: i64[n] = check_labels %y [size=4]\n"
        "  %4: i64[n,1] = reshape %3 [shape=(n, 1)]\n"
        "  %5: i64[4] = iota [shape=(4,), axis=0, dtype=i64]\n"
        "  %6: bool[n,4] = equal %4, %5\n"
        "  %7: f32[n,4] = astype %6 [dtype=f32]\n"
        "  %8: f32[n,4] = subtract %2, %7\n"
        "  %9: f32[n,4] = multiply %1, %8\n"
        "  return %9\n"
        "}"
    )


def test_a_replacement_keeps_the_shape() -> None:
    x = gc.placeholder("x", (3,))
    stretched = x * gc.constant([[1.0]])
    graph = apply_rules(graph_of(stretched), algebra)
    assert graph.outputs[0] is gc.broadcast_to(x, (1, 3))


def test_updates_are_rewritten_and_variables_stay() -> None:
    w = gc.variable([1.0, 2.0], name="w")
    x = gc.placeholder("x", (2,))
    graph = apply_rules(Graph([x], [w * 1], [(w, w - (-x))]), algebra)
    assert graph.outputs == (w,)
    assert graph.updates == ((w, w + x),)


def test_origins_are_the_union_of_what_was_matched() -> None:
    x = gc.placeholder("x", ("n",))
    inner = gc.exp(x)
    total = 1 + inner
    result = gc.log(total)
    (made,) = apply_rules(graph_of(result), *DEFAULT).outputs
    assert made.node.op.name == "softplus"
    lines = {o.line for o in made.node.origins}
    assert lines == {t.node.origins[0].line for t in (inner, total, result)}

    first = gc.placeholder("k", (2, 6)).reshape(3, 4)
    second = first.reshape(4, 3)
    (made,) = apply_rules(graph_of(second), shape).outputs
    assert {o.line for o in made.node.origins} == {
        t.node.origins[0].line for t in (first, second)
    }


def test_the_report_counts_and_places() -> None:
    x = gc.placeholder("x", ("n",))
    report = RewriteReport()
    apply_rules(graph_of((x * 1) - (-(x / 1))), algebra, report=report)
    assert report.hits == {
        "algebra.drop_multiply_one": 1,
        "algebra.drop_divide_one": 1,
        "algebra.subtract_negative": 1,
        "algebra.fold_self_sum": 1,
    }
    assert all(__file__ in firing.where for firing in report.firings)


def test_the_trace_says_which_rule_where(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    x = gc.placeholder("x", ("n",))
    with caplog.at_level(logging.INFO, "graphc.rewrite"):
        apply_rules(graph_of(x * 1), algebra)
        assert not caplog.records
        monkeypatch.setenv("GRAPHC_TRACE", "rules")
        apply_rules(graph_of((x * 1) / 3), algebra)
    texts = [record.getMessage() for record in caplog.records]
    assert any(t.startswith("algebra.drop_multiply_one: ") and __file__ in t for t in texts)
    assert any("multiply_by_reciprocal declined" in t and "power of two" in t for t in texts)


# -- control flow ----------------------------------------------------------------------------------
def _apply_body(x: Tensor, body: Graph) -> Tensor:
    op = Op("test_control", Kind.CONTROL, lambda t, *, body: (t,), numpy=None)
    return apply(op, (x,), body=body).output()


def test_sub_graphs_are_rewritten() -> None:
    x, inner = gc.placeholder("x", ("n",)), gc.placeholder("c", ("n",))
    result = _apply_body(x * 1, Graph([inner], [inner * 1 + 2], name="body"))
    (made,) = apply_rules(graph_of(result), algebra).outputs
    assert made.node.inputs == (x,)
    assert made.node.attrs["body"] is Graph([inner], [inner + 2], name="body")


def test_a_node_of_several_outputs_can_be_rewritten() -> None:
    rules = Ruleset("test")

    @rules.rewrite(EXACT, "max_and_argmax")
    def drop_size_one(node: Node) -> Result:
        """max_and_argmax(x), along an axis of size 1 -> x, 0"""
        (x,), axis = node.inputs, node.attrs["axis"]
        if x.shape[axis] != 1:
            return None
        value = gc.squeeze(x, axis)
        return value, gc.broadcast_to(gc.constant(0), value.shape)

    x = gc.placeholder("x", ("n", 1))
    graph = apply_rules(graph_of(gc.argmax(x, axis=1)), rules)
    assert graph.outputs[0] is gc.broadcast_to(gc.constant(0), ("n",))


# -- size ------------------------------------------------------------------------------------------
def _chain(length: int) -> Graph:
    x = gc.placeholder("x", ("n",))
    result = gc.exp(x)
    for _ in range(length // 5):
        result = (result * 1.0 + x) * 1.5 - (-x)
    return graph_of(result)


def test_deep_graphs_take_linear_work_and_no_recursion() -> None:
    calls = []
    for length in (4_000, 16_000):
        graph = _chain(length)
        report = RewriteReport()
        calls.append(calls_of(lambda g=graph, r=report: apply_rules(g, *DEFAULT, report=r))[1])
        assert len(report.firings) == 2 * (length // 5)
    assert calls[1] <= 4.2 * calls[0]  # a quadratic walk would take 16 times as many


def test_a_shared_subgraph_is_visited_once() -> None:
    x = gc.placeholder("x", ("n",))
    result = x
    for _ in range(60):  # 2 ** 60 paths
        result = gc.exp(result * 1) + gc.sin(result * 1)
    report = RewriteReport()
    apply_rules(graph_of(result), algebra, report=report)
    assert len(report.firings) == 60


# -- errors ----------------------------------------------------------------------------------------
def test_rules_that_undo_one_another_are_named() -> None:
    rules = Ruleset("loop")

    @rules.rule(EXACT)
    def there(x: Pattern) -> Formulas:
        """exp(x) -> log(x)"""
        return exp(x), log(x)

    @rules.rule(EXACT)
    def back(x: Pattern) -> Formulas:
        """log(x) -> exp(x)"""
        return log(x), exp(x)

    x = gc.placeholder("x", ("n",))
    with pytest.raises(GraphError, match=r"loop\.there, loop\.back") as caught:
        apply_rules(graph_of(gc.exp(x)), rules)
    assert "undo one another" in str(caught.value)
    assert __file__ in caught.value.where
    assert caught.value.given.splitlines()[1:] == [
        "    %0: f32[n] = exp %x   <- loop.there",
        "    %1: f32[n] = log %x   <- loop.back",
    ]


def test_a_rule_that_grows_for_ever_is_named() -> None:
    rules = Ruleset("loop")

    @rules.rule(EXACT)
    def grow(x: Pattern) -> Formulas:
        """exp(x) -> exp(x + 1)"""
        return exp(x), exp(x + 1)

    with pytest.raises(GraphError, match=r"for ever: loop\.grow") as caught:
        apply_rules(graph_of(gc.exp(gc.placeholder("x", ("n",)))), rules)
    assert re.search(r"%\d+: f32\[n\] = exp %\d+   <- loop\.grow$", caught.value.given)
    assert "%?" not in caught.value.given


def test_a_rule_whose_replacement_has_in_it_what_it_replaces_is_named() -> None:
    rules = Ruleset("loop")

    @rules.rule(EXACT)
    def wrap(x: Pattern) -> Formulas:
        """exp(x) -> exp(exp(x))"""
        return exp(x), exp(exp(x))

    with pytest.raises(GraphError, match=r"has in it what they replace: loop\.wrap") as caught:
        apply_rules(graph_of(gc.exp(gc.placeholder("x", ("n",)))), rules)
    assert "exp %x   <- loop.wrap" in caught.value.given
    assert f"{__file__}:" in caught.value.hint


def test_a_rule_that_returns_the_node_itself_is_named() -> None:
    rules = Ruleset("loop")

    @rules.rewrite(EXACT, "exp")
    def same(node: Node) -> Result:
        """exp(x) -> exp(x)"""
        return node.output()

    with pytest.raises(GraphError, match=r"gives back what it replaces: loop\.same"):
        apply_rules(graph_of(gc.exp(gc.placeholder("x", ("n",)))), rules)


def test_a_replacement_of_another_type_shows_the_ir() -> None:
    rules = Ruleset("bad")

    @rules.rewrite(EXACT, "sum")
    def forget_to_reduce(node: Node) -> Result:
        """sum(x) -> x"""
        return node.inputs[0]

    x = gc.placeholder("x", ("n", 4))
    with pytest.raises(GraphError, match=r"bad\.forget_to_reduce") as caught:
        apply_rules(graph_of(gc.sum(gc.exp(x), axis=1) * 2), rules)
    text = str(caught.value)
    assert "%0: f32[n,4] = exp %x" in text
    assert "%1: f32[n] = sum %0 [axes=(1,)]" in text
    assert "sum(x) -> x" in text


@pytest.mark.parametrize("result", [3, [None], (gc.placeholder("x", ("n",)), 1.0)])
def test_a_replacement_that_is_no_tensor_names_the_rule(result: Any) -> None:
    rules = Ruleset("bad")

    @rules.rewrite(EXACT, "exp")
    def give(node: Node) -> Result:
        """exp(x) -> what is no tensor

        More about it.
        """
        return cast(Result, result)

    x = gc.placeholder("x", ("n",))
    with pytest.raises(GraphError, match="not a tensor") as caught:
        apply_rules(graph_of(gc.exp(gc.square(x))), rules)
    assert caught.value.op == "bad.give"
    assert "%0: f32[n] = square %x" in caught.value.expected
    assert "%1: f32[n] = exp %0" in caught.value.expected
    assert caught.value.hint.startswith("the rule is `exp(x) -> what is no tensor`, at " + __file__)
    assert caught.value.where.startswith(__file__)


def test_a_rule_that_raises_is_named() -> None:
    rules = Ruleset("bad")

    @rules.rewrite(EXACT, "exp")
    def stumble(node: Node) -> Result:
        """exp(x) -> x with an attribute that exp has not"""
        return gc.sum(node.inputs[0], axis=node.attrs["axes"])

    @rules.rewrite(EXACT, "sin")
    def misfit(node: Node) -> Result:
        """sin(x) -> x with a wrong axis"""
        return gc.sum(node.inputs[0], axis=7)

    x = gc.placeholder("x", ("n",))
    with pytest.raises(GraphError, match="the rule failed: KeyError: 'axes'") as caught:
        apply_rules(graph_of(gc.exp(x)), rules)
    assert caught.value.op == "bad.stumble"
    assert "exp %x" in caught.value.given
    assert caught.value.where.startswith(__file__)
    with pytest.raises(GraphError, match="failed: OutOfRangeError: axis out of range") as caught:
        apply_rules(graph_of(gc.sin(x)), rules)
    assert caught.value.op == "bad.misfit"


@pytest.mark.parametrize(
    ("roots", "doc", "problem"),
    [
        (("exp",), "no arrow", "before -> after"),
        (("no_such_op",), "exp(x) -> x", "no_such_op"),
    ],
)
def test_rules_that_are_none(roots: tuple[str, ...], doc: str, problem: str) -> None:
    def odd(node: Node) -> Result:
        return None

    odd.__doc__ = doc
    with pytest.raises(GraphError, match=problem):
        Ruleset("test").rewrite(EXACT, *roots)(odd)


def test_a_rule_uses_every_parameter_and_has_a_name_of_its_own() -> None:
    rules = Ruleset("test")

    def unused(x: Pattern, y: Pattern) -> Formulas:
        """exp(x) -> x"""
        return exp(x), x

    def fine(x: Pattern) -> Formulas:
        """exp(x) -> x"""
        return exp(x), x

    def alone(x: Pattern) -> Any:
        """exp(x) -> x"""
        return exp(x)

    with pytest.raises(GraphError, match="every parameter"):
        rules.rule(EXACT)(unused)
    with pytest.raises(GraphError, match="the pair `before, after`"):
        rules.rule(EXACT)(alone)
    with pytest.raises(GraphError, match="EXACT, STABLE, ORDER or UNSAFE"):
        rules.rule(cast(Any, "exact"))(fine)
    rules.rule(EXACT)(fine)
    with pytest.raises(GraphError, match="name of its own"):
        rules.rule(EXACT)(fine)


@pytest.mark.parametrize("count", [2, 3, 4, 9])
def test_a_rule_over_an_op_is_tried_where_an_operand_is_one(count: int) -> None:
    """However many operands a node has: a rule may rely on it."""
    rules, met = Ruleset("test"), []

    @rules.rewrite(EXACT, "concat", over=["exp"])
    def note(node: Node) -> Result:
        """concat(exp(x), y) -> the same"""
        met.append(node)
        return None

    x = gc.placeholder("over_x", (2,))
    plain = gc.concat([gc.sin(x * i) for i in range(count)])
    wanted = gc.concat([*(gc.sin(x * i) for i in range(count - 1)), gc.exp(x)])
    apply_rules(graph_of(plain), rules)
    assert not met
    apply_rules(graph_of(wanted), rules)
    assert met == [wanted.node]


def test_roots_are_names_facts_or_kinds() -> None:
    rules = Ruleset("test")

    @rules.rewrite(EXACT, Fact.IDEMPOTENT, Kind.VIEW, "exp")
    def nothing(node: Node) -> Result:
        """x -> x"""
        return None

    names = ("exp", "relu", "reshape", "sin")
    assert [n for n in names if nothing.applies_to(registry()[n])] == ["exp", "relu", "reshape"]
