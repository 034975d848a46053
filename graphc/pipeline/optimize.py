"""The first half of the compiler, read from top to bottom: a graph is made as good as rules can.

What rules do depends on the values of constants. Behind them some are only carried: the numbers of
arithmetic. So a program that the cache has of other numbers serves a graph as soon as this half is
done (`passes/numbers.py`), and this half is loaded by itself.
"""

from __future__ import annotations

from typing import NamedTuple

from graphc.ir.dim import typical_sizes
from graphc.ir.graph import Graph
from graphc.machines import CPU, Machine
from graphc.passes.canonical import expand_composites, lower_contractions
from graphc.passes.chains import reorder_products
from graphc.passes.distribute import distribute_products
from graphc.passes.operands import order_operands
from graphc.passes.scans import drop_unused_outputs, merge_scans
from graphc.passes.unify import unify
from graphc.pipeline.options import DEFAULTS, Options
from graphc.pipeline.stages import Stages
from graphc.rewrite.driver import RewriteReport, apply_rules
from graphc.rewrite.rules import DEFAULT, LOWERED
from graphc.rewrite.rules.fastmath import fastmath as unsafe_rules


class Optimized(NamedTuple):
    """A graph, and the rules that made it what it is."""

    graph: Graph
    report: RewriteReport


def optimize(
    graph: Graph, stages: Stages, options: Options = DEFAULTS, machine: Machine = CPU
) -> Optimized:
    """Every stage in order, up to fusion, for a target's machine."""
    with typical_sizes(options.sizes):
        return _optimize(graph, stages, options, machine)


def _optimize(graph: Graph, stages: Stages, options: Options, machine: Machine) -> Optimized:
    report = RewriteReport()
    rules = (*DEFAULT, unsafe_rules) if options.fastmath else DEFAULT
    stages.start(graph)
    graph = stages.graph("unify", unify, graph)
    graph = stages.graph("simplify", lambda g: apply_rules(g, *rules, report=report), graph)
    graph = stages.graph("merge_scans", merge_scans, graph)
    graph = stages.graph("drop_unused_outputs", drop_unused_outputs, graph)
    if options.memory_budget is None:  # values of all steps at once take memory
        graph = stages.graph(
            "distribute_products", lambda g: distribute_products(g, machine), graph
        )
    graph = stages.graph("expand", expand_composites, graph)
    graph = stages.graph("reorder_products", reorder_products, graph)
    graph = stages.graph("lower_contractions", lambda g: lower_contractions(g, machine), graph)
    graph = stages.graph("clean", lambda g: apply_rules(g, *LOWERED, report=report), graph)
    graph = stages.graph("order_operands", lambda g: order_operands(g, machine), graph)
    return Optimized(graph, report)
