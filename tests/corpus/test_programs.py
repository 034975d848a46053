"""Rules on the corpus: each fires somewhere, and no program changes its meaning."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir.evaluate import evaluate_graph
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.rules import DEFAULT

from . import PROGRAMS
from .hits import hits, table


def test_every_rule_fires_in_a_program() -> None:
    idle = [rule for rule, programs in hits().items() if not programs]
    assert not idle, table()


@pytest.mark.parametrize("name", PROGRAMS)
def test_rules_keep_the_meaning(name: str) -> None:
    graph, arrays = PROGRAMS[name]()
    simplified = apply_rules(graph, *DEFAULT)
    assert simplified.inputs == graph.inputs
    assert len(simplified.nodes) <= len(graph.nodes) + 6  # stable forms may need a few more
    for before, after in zip(
        evaluate_graph(graph, arrays), evaluate_graph(simplified, arrays), strict=True
    ):
        assert before.dtype == after.dtype
        np.testing.assert_allclose(after, before, rtol=3e-5, atol=3e-6)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_result_is_a_fixed_point(name: str) -> None:
    simplified = apply_rules(PROGRAMS[name]().graph, *DEFAULT)
    again = RewriteReport()
    assert apply_rules(simplified, *DEFAULT, report=again) is simplified
    assert not again.firings


def test_textbook_losses_survive_large_logits() -> None:
    """Where the formulas as written overflow, the rewritten ones give the true values."""
    graph = PROGRAMS["logistic_regression"]().graph
    z = np.array([-200.0, -100.0, 0.0, 100.0, 200.0], np.float32)
    y = np.array([1.0, 0.0, 1.0, 1.0, 0.0], np.float32)
    with np.errstate(all="ignore"):
        assert not np.isfinite(evaluate_graph(graph, [z, y])[0])
    loss, _, gradient = evaluate_graph(apply_rules(graph, *DEFAULT), [z, y])
    exact = np.float64(z)
    truth = np.mean(y * np.logaddexp(0, -exact) + (1 - y) * np.logaddexp(0, exact))
    np.testing.assert_allclose(loss, truth, rtol=1e-6)
    np.testing.assert_allclose(gradient, -y / (1 + np.exp(exact)) / 5, rtol=1e-6, atol=1e-44)


def test_the_gradient_of_a_naive_log_partition_survives_large_logits() -> None:
    graph, _ = PROGRAMS["log_partition"]()
    z = np.array([[1000.0, 0.0, -1000.0, 999.0]] * 2, np.float32)
    y = np.eye(2, 4, dtype=np.float32)
    loss, energy, gradient = evaluate_graph(apply_rules(graph, *DEFAULT), [z, y])
    p = np.exp(np.float64(z[0]) - 1000)
    p /= p.sum()
    np.testing.assert_allclose(energy, 1000 + np.log(1 + np.exp(-1)), rtol=1e-6)
    np.testing.assert_allclose(loss, 500 + np.log(1 + np.exp(-1)), rtol=1e-6)
    np.testing.assert_allclose(gradient, [p / 2] * 2, rtol=1e-6, atol=1e-7)
