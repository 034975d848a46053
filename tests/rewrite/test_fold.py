"""Constant folding: what is folded equals what would have been computed, and the budget holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.evaluate import compute
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.rules import fold as rules
from graphc.rewrite.rules.fold import GROWTH, fold
from tests.counting import calls_of


def folded(result: Tensor) -> Tensor:
    return apply_rules(Graph([], [result]), fold).outputs[0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint8", "int64", "bool"])
def test_folded_is_what_would_be_computed(dtype: str) -> None:
    random = np.random.default_rng(0)
    a = gc.constant((random.standard_normal((3, 4)) * 100).astype(dtype))
    for result in (
        gc.sum(a, axis=1),
        gc.max(a, axis=0),
        a.T,
        a.reshape(2, 6),
        gc.flip(a, 0),
        a[1:, ::2],
        gc.where(a != 0, a, a[0]),
        gc.argmax(a, axis=1),
        gc.concat([a, a]),
        a.astype("float64"),
    ):
        made = folded(result)
        assert made.node.op.name == "constant"
        assert made.type == result.type
        expected = gc.evaluate(result)
        np.testing.assert_array_equal(made.node.attrs["value"].array, expected)


def test_nan_and_signed_zero_are_kept() -> None:
    value = folded(gc.constant([0.0, np.nan, np.inf]) * gc.constant([-1.0, 1.0, 0.0]))
    array = value.node.attrs["value"].array
    assert np.signbit(array[0])
    assert np.isnan(array[1:]).all()


def test_a_large_constant_of_a_small_formula_stays_a_formula() -> None:
    row, column = gc.constant(np.ones((1, 2000))), gc.constant(np.ones((2000, 1)))
    outer = row + column  # 32 MB
    assert folded(outer) is outer
    small = gc.constant(np.ones((1, 300))) + gc.constant(np.ones((300, 1)))
    assert small.type.size * 8 < GROWTH
    assert folded(small).node.op.name == "constant"


def test_positions_and_stretched_numbers_stay_as_they_are() -> None:
    for result in (gc.iota((5,)), gc.ones((5,)), gc.size(gc.placeholder("x", ("n",)))):
        inputs = [gc.placeholder("x", ("n",))]
        assert apply_rules(Graph(inputs, [result]), fold).outputs[0] is result


def test_stretched_numbers_are_computed_as_numbers() -> None:
    result = gc.exp(gc.zeros(("n", 3)) + 1) * 2
    x = gc.placeholder("x", ("n",))
    made = apply_rules(Graph([x], [result]), *DEFAULT).outputs[0]
    assert made is gc.full(("n", 3), gc.evaluate(gc.exp(gc.constant(1.0)) * 2))


def test_random_numbers_are_drawn_at_the_run() -> None:
    drawn = gc.random.uniform(gc.constant([1, 2], "uint32"), (4,))
    assert any(n.op.name == "random_bits" for n in Graph([], [folded(drawn)]).nodes)


def test_what_may_fail_is_left_to_the_run() -> None:
    taken = gc.take(gc.constant([1.0, 2.0]), gc.constant([7]))
    assert folded(taken) is taken


def test_a_symbolic_size_is_left_to_the_run() -> None:
    x = gc.placeholder("x", ("n",))
    wide = gc.pad(gc.constant([1.0]), [(0, "n")])
    assert apply_rules(Graph([x], [wide]), fold).outputs[0] is wide


def test_a_fold_computes_no_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two million additions fold; as many exponentials are left to the run, and never computed."""
    computed: list[str] = []

    def counting(node: Node, *rest: Any) -> Any:
        computed.append(node.op.name)
        return compute(node, *rest)

    monkeypatch.setattr(rules, "compute", counting)
    large = gc.constant(np.full((1 << 21,), 0.5))
    report = RewriteReport()
    _, calls = calls_of(
        lambda: apply_rules(Graph([], [gc.exp(large), gc.sum(large)]), fold, report=report)
    )
    assert [f.op for f in report.firings] == ["sum"]
    assert computed == ["sum"]
    assert calls < 10_000, "nothing looks at elements one by one"
