"""What is differentiated: the stable form, wherever a stable rule may apply."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.dtype import DTYPES
from graphc.ir.graph import walk
from graphc.ir.node import Tensor
from graphc.rewrite.derivative import may_be_unstable
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.rules.algebra import algebra
from graphc.rewrite.rules.stable import stable
from tests.corpus.formulas import FORMULAS, value_graph

from .cases_stable import STABLE
from .checking import Case


def ops(result: Tensor) -> frozenset[str]:
    return frozenset(node.op.name for node in walk([result]))


@pytest.mark.parametrize("case", STABLE, ids=repr)
def test_what_a_stable_rule_rewrites_is_looked_at(case: Case) -> None:
    for dtype in (d for d in DTYPES if d.short in case.dtypes.split()):
        assert may_be_unstable(ops(case.before(dtype)))


@pytest.mark.parametrize("name", FORMULAS)
def test_what_algebra_brings_into_a_rules_form_is_looked_at(name: str) -> None:
    """The ops as written need not be those that a rule names: x * x becomes a square first."""
    graph, report = value_graph(name, "float32"), RewriteReport()
    apply_rules(graph, algebra, stable, report=report)
    if any(rule.startswith(f"{stable.name}.") for rule in report.hits):
        assert may_be_unstable(ops(graph.outputs[0]))


@pytest.mark.parametrize(
    "build",
    [
        lambda x: x @ x + gc.relu(x),
        lambda x: gc.tanh(x) * 3 + gc.max(x, axis=0),
        lambda x: gc.where(x > 0, gc.sin(x), x / 2),
    ],
)
def test_most_programs_are_passed_over(build: Any) -> None:
    assert not may_be_unstable(ops(build(gc.placeholder("x", (3, 3)))))


def test_moments_by_products_have_a_stable_derivative() -> None:
    """mean(x * x) - mean(x) * mean(x), without a power or a square in sight."""
    x = gc.placeholder("x", ("n",), "float32")
    spread = gc.mean(x * x) - gc.mean(x) * gc.mean(x)
    at = np.array([10000, 10001, 9999, 10000], "float32")
    found = gc.evaluate(gc.grad(spread, x), {x: at})
    np.testing.assert_allclose(found, [0, 0.5, -0.5, 0], atol=1e-6)
