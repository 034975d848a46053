"""A budget of temporary memory: values are computed again so that the arena stays under it.

`rerun.py` proposes a graph and an order for a limit on the bytes alive; what counts is the arena of
its schedule and memory plan. While that is above the budget the limit is lowered by the difference:
a plan has gaps, and the order of the steps is the scheduler's own if that needs less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from graphc.errors import MemoryBudgetError
from graphc.ir.dim import named, size_hint
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind
from graphc.planning.memory import alive_at, bytes_alive, hinted_bytes
from graphc.planning.order import order_for_memory
from graphc.planning.program import (
    Blocks,
    Copy,
    Examples,
    Program,
    Step,
    Storage,
    touched,
    walk_steps,
)
from graphc.planning.rerun import Rerun, Work, run_within
from graphc.planning.waits import Waits, base_of

TRIES = 8  # limits that are tried
HALVINGS = 5  # limits that are tried to tell the least arena in an error
SHOWN = 5  # temporaries that an error names
STEPS = (Kind.REGION, Kind.CONTRACT, Kind.CONVOLVE, Kind.HOST, Kind.CONTROL)

Planner = Callable[[Graph, Sequence[Node]], Program]


def fit_budget(graph: Graph, budget: int, program_of: Planner) -> Rerun:
    """A fused graph that computes values again where its arena would be larger than `budget` bytes,
    and the order of its steps; the graph itself where the arena is not. Sizes are the typical ones.
    `program_of` gives the program of a graph, with its memory plan, and prefers an order.

    Errors: `MemoryBudgetError` with the least arena that was found, and what fills it.
    """
    best = program_of(graph, ())
    if size_hint(best.arena) <= budget:
        return Rerun(graph)
    work = work_of(graph, best)
    # The second time values may be computed again from what an update overwrites in place; the
    # scheduler then makes it a copy at the end.
    for allowed in (work, replace(work, overwritten={})):
        found, best = _search(allowed, budget, best, program_of)
        if found is not None:
            return found
    raise _error(graph, _least(work, budget, best, program_of), budget)


def _search(
    work: Work, budget: int, best: Program, program_of: Planner
) -> tuple[Rerun | None, Program]:
    """What fits in the budget, if it is found, and the program with the smallest arena so far."""
    limit = budget
    for _ in range(TRIES):
        found = run_within(work, limit)
        if found is None:
            break
        program = program_of(found.graph, found.steps)
        best = min(best, program, key=lambda p: size_hint(p.arena))
        above = size_hint(program.arena) - budget
        if above <= 0:
            return found, program
        limit -= max(above, budget // 64)
    return None, best


def _least(work: Work, limit: int, best: Program, program_of: Planner) -> Program:
    """A program with about the smallest arena, for an error to tell; `limit` is too low."""
    for _ in range(HALVINGS):
        middle = (limit + size_hint(best.arena)) // 2
        found = run_within(work, middle)
        if found is None:
            limit = middle
            continue
        program = program_of(found.graph, found.steps)
        if size_hint(program.arena) >= size_hint(best.arena):
            break
        best = program
    return best


def work_of(graph: Graph, program: Program) -> Work:
    """The work of a graph in the order in which it is scheduled; `program` is its program."""
    waits = Waits(graph)
    results = [*((t, None) for t in graph.outputs), *((t, v) for v, t in graph.updates)]
    direct = waits.place(results)
    uses = waits.uses({t for t in direct if t is not None})
    order = order_for_memory(waits.nodes(), uses)
    steps = [n for n in order if n.op.kind in STEPS]
    position = {n: i for i, n in enumerate(steps)}
    overwritten: dict[Tensor, int] = {
        old: position[target.node]
        for (_, old), target in zip(results, direct, strict=True)
        if old is not None and target is not None
    }
    kept = frozenset(base_of(t) for t in graph.results) & uses.bytes.keys()
    return Work(graph, steps, uses, _alive(program), kept, overwritten)


def _alive(program: Program) -> dict[Node, int]:
    """The bytes of temporaries alive while a node runs, what is inside of it included."""
    found: dict[Node, int] = {}
    own = {id(step) for step in program.steps}
    nodes: Sequence[Node] = ()
    for step, count in bytes_alive(program):
        if id(step) in own:
            nodes = _nodes(step)
        for node in nodes:
            found[node] = max(found.get(node, 0), count)
    return found


def _nodes(step: Step) -> Sequence[Node]:
    """The nodes that a step is for."""
    if isinstance(step, Blocks):
        return step.product.node, step.call.node
    return () if isinstance(step, (Copy, Examples)) else (step.node,)


def _error(graph: Graph, program: Program, budget: int) -> MemoryBudgetError:
    """The error, with what is alive at the peak of the best program."""
    peak, _ = max(bytes_alive(program), key=lambda item: item[1])
    writer: dict[Storage, Node] = {}
    for step in walk_steps(program.steps):
        for node in _nodes(step):
            for ref in touched(step)[1]:
                writer.setdefault(ref.storage, node)
    shown = []
    for storage in alive_at(program, peak)[:SHOWN]:
        origins = writer[storage].origins if storage in writer else ()
        line = f"  # {origins[0]}" if origins else ""
        count = hinted_bytes(storage.size, storage.dtype)
        shown.append(f"{storage.dtype}[{storage.size}], {count:,} bytes{line}")
    sizes = ", ".join(f"{name} = {size_hint(named(name))}" for name in graph.dims)
    return MemoryBudgetError(
        "the temporaries do not fit in the memory budget, also if values are computed again",
        op="compile",
        expected=f"at most {budget:,} bytes" + (f" at {sizes}" if sizes else ""),
        given=f"{size_hint(program.arena):,} bytes, of which the largest are\n    "
        + "\n    ".join(shown),
        hint="a larger budget or smaller batches; gc.checkpoint around the body of a scan",
    )
