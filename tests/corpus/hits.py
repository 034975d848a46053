"""Which rule fires how often in which program: `python -m tests.corpus.hits` writes the table."""

from __future__ import annotations

import sys
from collections import Counter

from graphc.ir.graph import Graph
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.rules import DEFAULT
from graphc.rewrite.rules.algebra import roots
from graphc.rewrite.rules.fastmath import fastmath
from graphc.rewrite.rules.layout import tiles

from . import PROGRAMS
from .formulas import FORMULAS, derivative_graph, value_graph


def graphs() -> dict[str, Graph]:
    """The programs, and each textbook formula with its derivative."""
    found = {name: make().graph for name, make in PROGRAMS.items()}
    for name in FORMULAS:
        value, derivative = value_graph(name, "float32"), derivative_graph(name, "float32")
        found[name] = Graph(derivative.inputs, [*value.outputs, *derivative.outputs], name=name)
    return found


def hits() -> dict[str, Counter[str]]:
    """For each rule, how often it fires in each program: the default ones without those of `roots`,
    `tiles` and `fastmath`, which come after them."""
    everything = (*DEFAULT, roots, tiles, fastmath)
    found: dict[str, Counter[str]] = {str(r): Counter() for rules in everything for r in rules}
    unsafe = {str(r) for r in (*roots, *tiles, *fastmath)}
    for name, graph in graphs().items():
        default, fast = RewriteReport(), RewriteReport()
        apply_rules(graph, *DEFAULT, report=default)
        apply_rules(graph, *everything, report=fast)
        counts = default.hits + Counter({r: n for r, n in fast.hits.items() if r in unsafe})
        for rule, count in counts.items():
            found[rule][name] += count
    return found


def table() -> str:
    """The table, one line for each rule."""
    lines = [f"{'rule':45} {'hits':>4}  programs"]
    for rule, programs in hits().items():
        where = ", ".join(f"{name} {count}" for name, count in programs.most_common(3))
        lines.append(f"{rule:45} {programs.total():4}  {where}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
