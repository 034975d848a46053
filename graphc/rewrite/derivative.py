"""What is differentiated: the stable form of what was written.

The derivative of a naive formula is worse than the formula: that of `log(sum(exp(x)))` is
`exp(x) / sum(exp(x))`, inf / inf, spread over many nodes among which rules would have to find it
again. So the stable rules run before differentiation, and the derivative is that of their result.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from graphc.ir.graph import Graph, transform, walk
from graphc.ir.node import Tensor
from graphc.ir.op import Fact, Kind
from graphc.ops.leaf import placeholder
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.rules.algebra import algebra, fold_maximum_with_zero
from graphc.rewrite.rules.stable import stable
from graphc.rewrite.ruleset import Ruleset

# Algebra brings formulas into the forms that stable rules look for. The derivative of maximum(x, 0)
# at 0 is another than that of relu (docs/kinks.md).
RULES = Ruleset("derivative", [r for r in (*algebra, *stable) if r is not fold_maximum_with_zero])


@functools.cache
def may_be_unstable(ops: frozenset[str]) -> bool:
    """Whether a stable rule may apply to a graph of `ops`, as it is or as formulas rewrite it."""
    known, before = set(ops), -1
    while before != len(known):
        if any(rule.may_apply(known) for rule in stable):
            return True
        before = len(known)
        known.update(op for rule in algebra if rule.may_apply(known) for op in rule.makes)
    return False


def stable_forms(
    outputs: Sequence[Tensor], wrt: Sequence[Tensor]
) -> tuple[list[Tensor], dict[Tensor, Tensor]]:
    """`outputs` by stable rules, themselves where none applies; and what stands for tensors of
    `wrt` in them. A rule never looks through a tensor of `wrt`, which stays part of the formula."""
    nodes = walk(outputs)
    controlled = any(n.op.kind is Kind.CONTROL for n in nodes)
    if not controlled and not may_be_unstable(frozenset(n.op.name for n in nodes)):
        return list(outputs), {}
    stands: dict[Tensor, Tensor] = {
        t: placeholder(f"_wrt{i}", t.shape, t.dtype)
        for i, t in enumerate(dict.fromkeys(wrt))
        if t.node.op.kind is not Kind.LEAF
    }
    cut = transform(outputs, replace=stands) if stands else list(outputs)
    inputs = [n.output() for n in walk(cut) if Fact.INPUT in n.op.facts]
    report = RewriteReport()
    made = apply_rules(Graph(inputs, cut), RULES, report=report).outputs
    if not any(name.startswith(f"{stable.name}.") for name in report.hits):
        return list(outputs), {}
    return list(made), stands


def restored(
    tensors: Sequence[Tensor | None], stands: Mapping[Tensor, Tensor]
) -> list[Tensor | None]:
    """`tensors` with the tensors of `wrt` in place of what stood for them."""
    back = {stand: t for t, stand in stands.items()}
    found = [t for t in tensors if t is not None]
    made = iter(transform(found, replace=back) if back else found)
    return [None if t is None else next(made) for t in tensors]
