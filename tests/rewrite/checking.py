"""What the tests of rules share: one rule applied to one program, and tables of such cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graphc.ir.dtype import DType
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Tensor
from graphc.ir.text import print_graph
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.ruleset import Rule, Ruleset


def graph_of(result: Tensor) -> Graph:
    """The program that computes `result` from the placeholders below it."""
    inputs = [n.output() for n in walk([result]) if n.op.name == "placeholder"]
    return Graph(inputs, [result], name="program")


def rewritten(before: Tensor, *rules: Rule) -> tuple[Tensor, RewriteReport]:
    report = RewriteReport()
    graph = apply_rules(graph_of(before), Ruleset("test", list(rules)), report=report)
    return graph.outputs[0], report


def check_rule(before: Tensor, after: Tensor, rule: Rule) -> None:
    """`rule` alone rewrites `before` into exactly `after` (to itself: it must not fire)."""
    got, report = rewritten(before, rule)
    texts = (f"{what}:\n{print_graph(graph_of(t))}" for what, t in (
        ("original", before), ("got", got), ("expected", after)
    ))  # fmt: skip
    assert got is after, "\n".join((str(rule), *texts))
    assert bool(report.firings) is (before is not after)


class Case(NamedTuple):
    """A rule, a program that it rewrites and the result, and one that it leaves as it is.

    Programs are made for a dtype, so that certificates can use them; `dtypes` are those they take.
    """

    rule: Rule
    before: Callable[[DType], Tensor]
    after: Callable[[DType], Tensor]
    not_this: Callable[[DType], Tensor]
    dtypes: str = "f32 f64"

    def __repr__(self) -> str:
        return self.rule.name
