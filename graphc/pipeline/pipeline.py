"""The compiler, read from top to bottom: what happens to a graph before a target prints it. The
first half, up to fusion, is in `optimize.py`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from graphc.fusion.fuse import Border, fuse
from graphc.ir.dim import typical_sizes
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.machines import CPU, Machine
from graphc.ops.closure import in_bodies
from graphc.passes.scans import conditions_behind_steps
from graphc.pipeline.optimize import Optimized, optimize
from graphc.pipeline.options import DEFAULTS, Options
from graphc.pipeline.stages import Stages
from graphc.planning.blocks import join_blocks
from graphc.planning.budget import fit_budget
from graphc.planning.check_memory import check_memory
from graphc.planning.examples import cut_examples
from graphc.planning.memory import plan_memory
from graphc.planning.program import Program
from graphc.planning.rerun import Again, Rerun
from graphc.planning.schedule import schedule
from graphc.planning.show import print_program
from graphc.planning.strips import cut_loops
from graphc.rewrite.driver import RewriteReport


class Compiled(NamedTuple):
    """What the pipeline made: the fused graph, its program, the rules that fired, and what is
    computed again for a memory budget."""

    optimized: Graph
    program: Program
    report: RewriteReport
    again: Sequence[Again] = ()


def run_pipeline(
    graph: Graph,
    stages: Stages,
    borders: list[Border] | None = None,
    options: Options = DEFAULTS,
    machine: Machine = CPU,
) -> Compiled:
    """Every stage in order, for a target's machine; each is a function from valid to valid.
    `borders` is filled with why neighbouring regions are two."""
    return plan(optimize(graph, stages, options, machine), stages, borders, options, machine)


def plan(
    optimized: Optimized,
    stages: Stages,
    borders: list[Border] | None = None,
    options: Options = DEFAULTS,
    machine: Machine = CPU,
) -> Compiled:
    """The stages behind those of `optimize`."""
    with typical_sizes(options.sizes):
        return _plan(*optimized, stages, borders, options, machine)


def _plan(
    graph: Graph,
    report: RewriteReport,
    stages: Stages,
    borders: list[Border] | None,
    options: Options,
    machine: Machine,
) -> Compiled:
    graph = stages.graph("fuse", lambda g: fuse_all(g, borders, machine), graph)
    fitted = Rerun(graph)
    if (budget := options.memory_budget) is not None:

        def fit(graph: Graph) -> Graph:
            nonlocal fitted
            fitted = fit_budget(graph, budget, partial(_program, machine=machine))
            return fitted.graph

        graph = stages.graph("fit_budget", fit, graph)
        if borders is not None:
            borders[:] = [border.moved(fitted.became) for border in borders]
    program = stages.run("schedule", lambda: schedule(graph, fitted.steps, machine))
    program = stages.run("join_blocks", lambda: join_blocks(program, machine))
    program = stages.run("cut_loops", lambda: cut_loops(program, machine))
    program = stages.run("cut_examples", lambda: cut_examples(program, machine))
    apart = machine.apart if options.memory_budget is None else 0
    program = stages.run("plan_memory", lambda: plan_memory(program, apart), print_program)
    if stages.check:
        stages.run("plan_memory (check)", lambda: check_memory(program))
    return Compiled(graph, program, report, fitted.again)


def _program(graph: Graph, first: Sequence[Node] = (), *, machine: Machine) -> Program:
    """The program that the stages after `fit_budget` make."""
    steps = join_blocks(schedule(graph, first, machine), machine)
    return plan_memory(cut_examples(cut_loops(steps, machine), machine))


def fuse_all(graph: Graph, borders: list[Border] | None = None, machine: Machine = CPU) -> Graph:
    """`fuse` on the graph and on the bodies of its loops and branches. The conditions of while
    loops belong to their steps then."""
    graph = conditions_behind_steps(graph)
    inner = in_bodies(graph, lambda body: fuse_all(body, borders, machine))
    return fuse(inner, borders, machine)
