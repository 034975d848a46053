"""What the kernel of a region will do, as data: its stages, its reductions, and what is kept where.

Every node that does work has a stage. A reduction over the inner loops is complete when they have
run, so that what reads its result belongs to the next stage. A running reduction has a value at
each turn, which its own stage may read, and carries a state along one loop. A value that a later
stage needs again is computed again if that is cheap, else kept: in the memory of an output that is
not there yet, or in a scratch row. `fusion/kernel.py` writes the kernel that a plan describes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from graphc.fusion.region import (
    LOOPS,
    carried_loop,
    directions,
    fits,
    is_free,
    kept_loops,
    probe,
    space_of,
)
from graphc.ir.dim import Size, product
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.ir.shape import Shape
from graphc.loops.grammar import Buffer

CHEAP = 6.0  # kernel operations that a later stage computes again rather than loads
BEFORE = -1  # the stage of scalar work that needs no loop
AFTER = 1 << 30  # the stage of what runs after all loops


class Reduction(NamedTuple):
    """How many loops a reduction keeps, and whether it accumulates in a register, or in memory. In
    a register it does if these are all of the outer loops or none, and no place is read from data.
    """

    depth: int
    in_register: bool


class Carry(NamedTuple):
    """Along which loop a running reduction carries its state, if there is one, and where: in
    registers if that is the innermost of its loops, else in `memory`, where each turn of its other
    loops has a state of its own."""

    loop: int | None
    memory: tuple[Buffer, ...]


class Stage(NamedTuple):
    """What is computed in each turn of the outer loops, in order: first `rows`, once, then `inner`,
    in the inner loops. Of `inner`, some are computed again for the stage's own work.

    `loads`: the kept values that earlier stages have stored.
    """

    number: int
    rows: tuple[Node, ...]
    inner: tuple[Node, ...]
    loads: frozenset[Tensor]


class KernelPlan(NamedTuple):
    """The kernel of a region: `before` its loops, in the `stages` inside of them, `after` them.

    The first `outer` loops of `space` are shared by all stages; those of `backwards` go from the
    last element to the first. `kept`: where values are that later
    stages load again; the buffers of `outputs` are of results, and of reductions in memory that are
    no results.
    """

    body: Graph
    space: Shape
    outer: int
    before: tuple[Node, ...]
    stages: tuple[Stage, ...]
    after: tuple[Node, ...]
    stage: Mapping[Node, int]
    reductions: Mapping[Node, Reduction]
    running: Mapping[Node, Carry]
    backwards: frozenset[int]
    inputs: Mapping[Tensor, Buffer]
    outputs: Mapping[Tensor, Buffer]
    scratch: tuple[Buffer, ...]
    kept: Mapping[Tensor, Buffer]

    def sums_rows(self, node: Node) -> bool:
        """Whether the node reduces the last of the outer loops, and no other: where the inner loops
        are written out, each of its places is complete when that loop has run."""
        others = [loop for d, loop in enumerate(LOOPS[: len(self.space)]) if d != self.outer - 1]
        return (
            len(space_of(node)) == len(self.space) > self.outer > 0
            and not node.op.reducer.scatters
            and kept_loops(node) == others
        )

    def is_complete(self, node: Node) -> bool:
        """Whether one visit of a row node sees all that it reduces."""
        return self.stage[node] == BEFORE or self.reductions[node].depth == self.outer


def plan_kernel(body: Graph, space: Shape, outer: int) -> KernelPlan:
    """The plan of a region's kernel."""
    planner = _Planner(body, space, outer)
    own = tuple(n for n in body.nodes if n.op.kind is Kind.KERNEL)
    return planner.of_own(own) if own else planner.plan()


class _Planner:
    def __init__(self, body: Graph, space: Shape, outer: int) -> None:
        self.body, self.space, self.outer = body, space, outer
        self.inputs = {t: _buffer(f"in{i}", t) for i, t in enumerate(body.inputs)}
        self.outputs = {t: _buffer(f"out{i}", t) for i, t in enumerate(body.outputs)}
        self.scratch: list[Buffer] = []
        self.stored_free = {t.node for t in body.outputs if is_free(t.node)}
        self.members = [n for n in body.nodes if self._works(n)]
        self._working = set(self.members)
        self.deps = {n: self._dependencies(n) for n in self.members}
        self.reductions = {n: self._reduction(n) for n in self.members if _reduces(n)}
        self.running = {n: self._carry(n) for n in self.members if n.op.kind is Kind.RUNNING}
        self.stage: dict[Node, int] = {}
        for node in self.members:
            self.stage[node] = self._first_stage(node)
        self.kept: dict[Tensor, Buffer] = {}
        self.needed: dict[Tensor, int] = {}  # what is kept, and the last stage that loads it

    def plan(self) -> KernelPlan:
        before, after = self._at(BEFORE), self._at(AFTER)
        self._make_room(n for n in before if n in self.reductions)
        self._make_room(n for n in self.reductions if self.stage[n] != BEFORE)
        inner = self._inner()
        self._place()
        stages = tuple(
            Stage(number, self._rows(number), nodes, self._stored(inner[:number], number))
            for number, nodes in enumerate(inner)
        )
        return KernelPlan(
            self.body,
            self.space,
            self.outer,
            before,
            stages,
            after,
            self.stage,
            self.reductions,
            self.running,
            frozenset(loop for loop, back in directions(self.members).items() if back),
            self.inputs,
            self.outputs,
            tuple(self.scratch),
            self.kept,
        )

    def of_own(self, own: tuple[Node, ...]) -> KernelPlan:
        """The plan of a node that writes a kernel of its own: nothing but that node. What it reads
        is computed where it reads."""
        return KernelPlan(
            body=self.body,
            space=(),
            outer=0,
            before=own,
            stages=(),
            after=(),
            stage={},
            reductions={},
            running={},
            backwards=frozenset(),
            inputs=self.inputs,
            outputs=self.outputs,
            scratch=(),
            kept={},
        )

    # -- which nodes work, and when ----------------------------------------------------------------
    def _works(self, node: Node) -> bool:
        if Fact.INPUT in node.op.facts:
            return node.output() in self.outputs
        if node in self.stored_free:
            return True
        # A copy of a cheap node of another region may have no turn: its readers compute it.
        return not is_free(node) and fits(node, self.space, self.outer)

    def _dependencies(self, node: Node) -> list[Node]:
        """What must have been computed before the node. A scalar computes again, at one place, the
        elements that it reads of what has loops: they need not have been run for it."""
        scalar = not space_of(node)
        found: dict[Node, None] = {}
        stack = [t.node for t in node.inputs]
        while stack:
            source = stack.pop()
            if Fact.INPUT in source.op.facts and source.output() not in self.outputs:
                continue
            again = scalar and space_of(source) and not _reduces(source)
            if source in self._working and not again:
                found[source] = None
            else:
                stack.extend([t.node for t in source.inputs])
        return list(found)

    def _reduction(self, node: Node) -> Reduction:
        kept = kept_loops(node)
        depth = len(kept)
        outside = kept == list(LOOPS[:depth]) and depth in (0, self.outer)
        return Reduction(depth, outside and not node.op.reducer.scatters)

    def _carry(self, node: Node) -> Carry:
        loop, space = carried_loop(node), space_of(node)
        if loop is None or loop == len(space) - 1:
            return Carry(loop, ())
        size = product(space[:loop] + space[loop + 1 :])
        state = node.op.recurrence.initial(probe(node), node.types[0].dtype)
        self.scratch += [Buffer(f"state{i}", v.dtype, size) for i, v in enumerate(state)]
        return Carry(loop, tuple(self.scratch[-len(state) :]))

    def _accumulates(self, node: Node) -> bool:
        return node in self.reductions or node in self.running

    def _first_stage(self, node: Node) -> int:
        deps = self.deps[node]
        if self.outer > 0 and not space_of(node) and all(self.stage[d] == BEFORE for d in deps):
            return BEFORE
        return max((self._ready(d) for d in deps), default=0)

    def _ready(self, node: Node) -> int:
        """The first stage that can use the node's result."""
        stage = self.stage[node]
        if stage == BEFORE:
            return 0
        if node not in self.reductions:
            return stage
        if stage == AFTER or self.reductions[node].depth != self.outer:
            return AFTER
        return stage + 1

    def _is_row(self, node: Node) -> bool:
        """Whether the node runs once for each turn of the outer loops, not in the inner ones."""
        return len(space_of(node)) < len(self.space) or self.outer == len(self.space)

    def _is_sink(self, node: Node) -> bool:
        return node in self.reductions or any(t in self.outputs for t in node.outputs)

    @property
    def _last(self) -> int:
        return max((0, *(s for s in self.stage.values() if s != AFTER)))

    # -- what runs in each stage -------------------------------------------------------------------
    def _at(self, stage: int) -> tuple[Node, ...]:
        return tuple(n for n in self.members if self.stage[n] == stage)

    def _rows(self, stage: int) -> tuple[Node, ...]:
        return tuple(n for n in self._at(stage) if self._is_row(n))

    def _stored(self, stages: list[tuple[Node, ...]], number: int) -> frozenset[Tensor]:
        """The kept values that the stages compute, and so store, and that are there in stage
        `number`: what no later stage needs may have been written over."""
        made = (t for nodes in stages for n in nodes for t in n.outputs)
        return frozenset(t for t in made if self.needed.get(t, BEFORE) >= number)

    def _inner(self) -> list[tuple[Node, ...]]:
        """For each stage the nodes that its inner loops compute, in order; and, as a side effect,
        which values are kept until which stage."""
        plans: list[tuple[Node, ...]] = []
        computed: set[Node] = set()
        for stage in range(self._last + 1):
            needed: set[Node] = set()
            stack = [n for n in self._at(stage) if self._is_sink(n) and not self._is_row(n)]
            while stack:
                node = stack.pop()
                if node in needed or self._is_row(node):
                    continue
                if node in self.reductions and self.stage[node] != stage:
                    continue
                if node in computed and self._is_kept(node):
                    self.needed[node.output()] = stage
                    continue
                needed.add(node)
                stack.extend(self.deps[node])
            plans.append(tuple(n for n in self.members if n in needed))
            computed |= needed
        return plans

    # -- where values are --------------------------------------------------------------------------
    def _make_room(self, nodes: Iterable[Node]) -> None:
        """Memory for the reductions that accumulate there and are no results."""
        for node in nodes:
            for tensor in node.outputs:
                if not self.reductions[node].in_register and tensor not in self.outputs:
                    self.outputs[tensor] = self._scratch("part", tensor, tensor.size)

    def _scratch(self, name: str, tensor: Tensor, size: Size) -> Buffer:
        place = f"{name}{len(self.scratch)}"
        self.scratch.append(Buffer(place, tensor.dtype, size, private=name == "row"))
        return self.scratch[-1]

    def _is_kept(self, node: Node) -> bool:
        """Whether a later stage loads the node's value, and does not compute it again."""
        tensor = node.output()
        return (
            tensor in self.needed
            or self._is_result(tensor)
            or node in self.running
            or self._cost(node) > CHEAP
        )

    def _is_result(self, tensor: Tensor) -> bool:
        return tensor in self.outputs and Fact.INPUT not in tensor.node.op.facts

    def _place(self) -> None:
        """A place for all that is kept: its own where it is a result, else memory of a result that
        is not there yet, else a row."""
        for tensor in self.needed:
            place = self.outputs[tensor] if self._is_result(tensor) else self._spare_output(tensor)
            if place is None:
                place = self._scratch("row", tensor, product(self.space[self.outer :]))
            self.kept[tensor] = place

    def _spare_output(self, kept: Tensor) -> Buffer | None:
        """The buffer of an output that comes after the value, and that no other value is kept in
        meanwhile."""
        for tensor in self.body.outputs:
            buffer, source = self.outputs[tensor], tensor.node
            others = (t for t, b in self.kept.items() if b is buffer and not self._is_result(t))
            if (
                tensor.dtype is kept.dtype
                and source not in self.reductions
                and not self._is_row(source)
                and self.stage[source] <= self._last
                and self._comes_after(source, kept)
                and all(
                    self._comes_after(kept.node, t) or self._comes_after(t.node, kept)
                    for t in others
                )
            ):
                return buffer
        return None

    def _comes_after(self, node: Node, kept: Tensor) -> bool:
        """Whether the node is computed when a kept value is no longer needed, or from it, in the
        last stage that needs it: each element is then loaded before it is written over."""
        last, stage = self.needed[kept], self.stage[node]
        return last < stage or (last == stage and self._loads(node, kept.node))

    def _loads(self, node: Node, source: Node) -> bool:
        """Whether computing the node loads the kept value of `source`: a path leads there through
        nodes that are computed in the node's stage, not loaded themselves."""
        stack, seen = [node], {node}
        while stack:
            for found in self.deps[stack.pop()]:
                if found is source:
                    return True
                if found not in seen and self._is_computed_in(self.stage[node], found):
                    seen.add(found)
                    stack.append(found)
        return False

    def _is_computed_in(self, stage: int, node: Node) -> bool:
        """Whether a stage that needs the node's value computes it, for sure."""
        if node in self.reductions:
            return False
        again = not self._is_sink(node) and node not in self.running
        return self.stage[node] == stage or (again and self._cost(node) <= CHEAP)

    def _cost(self, node: Node) -> float:
        """Kernel operations to compute the node again, up to the first above CHEAP."""
        total, stack, seen = 0.0, [node], {node}
        while stack and total <= CHEAP:
            current = stack.pop()
            total += current.op.cost
            for source in self.deps[current]:
                if source not in seen and not self._accumulates(source):
                    seen.add(source)
                    stack.append(source)
        return total


def _buffer(name: str, tensor: Tensor) -> Buffer:
    return Buffer(name, tensor.dtype, tensor.size)


def _reduces(node: Node) -> bool:
    return node.op.kind is Kind.REDUCE
