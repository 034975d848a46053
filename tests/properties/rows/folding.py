"""R25: folding constants has a budget, and gives what the run would give.

Folding a node may make at most 1 MiB more than its operands hold, look at four million elements,
and call a few hundred functions (NumPy's, which look at all elements in one call). A huge constant
expression stays in the graph, and the values are those of the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from unittest import mock

import numpy as np

import graphc as gc
from graphc.ir.evaluate import Array, compute, evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.rewrite.driver import apply_rules
from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.rules import fold as rules
from tests.counting import calls_of

from . import Budget, Result, Tally

BYTES, ELEMENTS, CALLS = 1 << 20, 1 << 22, 300
SIZES = (1, 10, 1_000, 100_000, 10_000_000)
Make = Callable[[int], Tensor]


def _row(n: int) -> Tensor:
    return gc.constant(np.linspace(0.5, 1.5, min(n, 2_000), dtype=np.float64))


FORMS: dict[str, Make] = {
    "broadcast": lambda n: gc.broadcast_to(gc.constant(2.0, "float64"), (n,)) * 3,
    "outer product": lambda n: _row(n)[:, None] * _row(n)[None, :],
    "scalar maths": lambda n: gc.exp(gc.constant(0.5, "float64")) + gc.sin(_row(n)),
    "positions": lambda n: gc.sqrt(gc.iota((n,), 0, "float64")),
    "sum": lambda n: gc.sum(gc.ones((n,), "float64")),
    "matrix product": lambda n: gc.expand_dims(_row(n), 1) @ gc.expand_dims(_row(n), 0),
    "joined": lambda n: gc.concat([_row(n)] * 4),
    "one hot": lambda n: gc.one_hot(gc.constant(np.arange(min(n, 500))), n, "float64"),
    "padded": lambda n: gc.pad(_row(n), [(0, n)]),
    "loop": lambda n: gc.scan(lambda c, _: (c * 0.5 + 1, c), gc.constant(1.0), length=n)[1],
    "chain": lambda n: _chain(_row(n), 40),
}


def _chain(x: Tensor, length: int) -> Tensor:
    for _ in range(length):
        x = gc.tanh(x) + 1
    return x


def fold(task: tuple[str, int]) -> Tally:
    """One constant expression, folded: the memory and work of each fold, and the value."""
    tally = Tally()
    form, size = task
    given = gc.Graph([], [FORMS[form](size)], name="constant")
    what = f"{form}, n = {size}"

    def measured(node: Node, arrays: Sequence[Array], sizes: Mapping[str, int]) -> list[Array]:
        values, calls = calls_of(lambda: compute(node, arrays, sizes))
        elements = max(a.size for a in (*arrays, *values))
        more = sum(v.nbytes for v in values) - sum(a.nbytes for a in arrays)
        if more > BYTES:
            tally.failures.append(f"{what}: {node.op.name}: {more:,} bytes more than its operands")
        if elements > ELEMENTS:
            tally.failures.append(f"{what}: {node.op.name}: {elements:,} elements")
        if calls > CALLS:
            tally.failures.append(f"{what}: {node.op.name}: {calls:,} calls")
        tally.counts["folds"] += 1
        return values

    with mock.patch.object(rules, "compute", measured):
        folded = apply_rules(given, *DEFAULT)
    if size <= 100_000 and _results_are_small(given):
        expected, actual = evaluate_graph(given, []), evaluate_graph(folded, [])
        if expected[0].tobytes() != actual[0].tobytes():
            tally.failures.append(f"{what}: another value")
        tally.counts["values compared"] += 1
    else:
        tally.skipped["too large to evaluate by NumPy here: bytes and work only"] += 1
    tally.counts["expressions"] += 1
    return tally


def _results_are_small(graph: Graph) -> bool:
    return all(
        isinstance(t.size, int) and t.size <= 1_000_000 for n in graph.nodes for t in n.types
    )


class Folding:
    name = "R25"
    promise = "constant folding has a budget"

    def run(self, budget: Budget) -> Result:
        sizes = SIZES if budget.share >= 0.05 else SIZES[:3]
        tally = Tally.sum(budget.map(fold, [(form, size) for form in FORMS for size in sizes]))
        folds = tally.counts["folds"]
        reached = f"{folds} folds in {tally.counts['expressions']}, {len(tally.failures)} over"
        wanted = "<= 1 MiB more, 4 M elements, 300 calls, same values"
        return Result(folds > 0 and not tally.failures, reached, wanted, tally)

    def control(self) -> Result:
        """A budget without a limit."""
        with mock.patch.multiple(rules, GROWTH=1 << 40, WORK=1 << 40):
            tally = fold(("outer product", 1_000))
        return Result(not tally.failures, "; ".join(tally.failures) or "not seen", "0 over", tally)


ROW = Folding()
