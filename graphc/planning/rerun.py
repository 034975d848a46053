"""Computing again instead of keeping: an order of the work under a limit on the bytes alive.

The work is gone through in the order that it would have without a limit. Where more bytes would be
alive than the limit allows, values are dropped that only later steps read: first the one with the
least

    work to compute it again / (its bytes * steps until it is read).

That is the heuristic of Kirisame et al. (2021, "Dynamic tensor rematerialization"), who do not know
the future and take the steps since a value was used; here the next use is known, as for the best
replacement of pages (Belady, 1966). A dropped value is computed again right before it is read, and
with it whatever it is computed from that is gone too; on a chain of layers this finds checkpoints
as Chen et al. (2016, "Training deep nets with sublinear memory cost") place them, and checkpoints
between those where the limit is lower. A value may be dropped several times.

Not dropped are results, what may fail, and what loops, branches and calls back into Python make;
what is computed from these is dropped only while they stay. Nor is a value whose variable is
overwritten before the next step that reads it: an update is computed in the variable's memory.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict, deque
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from graphc.fusion.region import fits, is_free, is_member, space_of
from graphc.ir import origin
from graphc.ir.dim import size_hint
from graphc.ir.graph import Graph, rebuild, transform, walk, with_results
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Kind
from graphc.ops.checkpoint import AFTER
from graphc.ops.leaf import placeholder
from graphc.planning.order import Uses
from graphc.planning.waits import memory_of
from graphc.planning.work import bytes_of, operations

TIMES = 5  # the steps that run for each step of the work at the most


@dataclass(frozen=True, slots=True)
class Work:
    """What a graph computes, in order, as it is without a limit.

    `alive`: the bytes alive while a node runs; `kept`: values that are needed until the end;
    `overwritten`: the steps at which variables get their new values in place.
    """

    graph: Graph
    steps: Sequence[Node]
    uses: Uses
    alive: Mapping[Node, int]
    kept: frozenset[Tensor]
    overwritten: Mapping[Tensor, int]


class Again(NamedTuple):
    """A value that is computed once more, the bytes that it does not take until then, and the
    operations and bytes moved for it."""

    tensor: Tensor
    bytes: int
    work: int


class Rerun(NamedTuple):
    """A graph that computes values again, the order of its steps, each time that a value is
    computed again, and what the nodes have become."""

    graph: Graph
    steps: Sequence[Node] = ()
    again: Sequence[Again] = ()
    became: Mapping[Node, Node] = field(default_factory=dict)


class _Recipe(NamedTuple):
    """How to compute a value again: from which values, and by how much work. Its variables are
    overwritten after step `variables`; up to step `until` it can be computed whatever is dropped.
    """

    sources: tuple[Tensor, ...]
    work: int
    variables: int
    until: int


def run_within(work: Work, limit: int) -> Rerun | None:
    """The work with at most `limit` bytes alive, or about as few as can be; None where most of it
    would be running again."""
    return _Run(work, limit).run()


def _extra(work: Work) -> dict[Node, int]:
    """The bytes that a step needs beside the values that it makes or that are still to be read:
    rows put aside, the temporaries of a loop. Less than 0 where it writes over what it reads."""
    last = {t: i for i, node in enumerate(work.steps) for t in work.uses.reads[node]}
    last |= dict.fromkeys(work.kept, len(work.steps))
    found: dict[Node, int] = {}
    alive = 0
    for i, node in enumerate(work.steps):
        alive += work.uses.made(node)
        found[node] = work.alive.get(node, alive) - alive
        gone = {t for t in (*node.outputs, *work.uses.reads[node]) if last.get(t, i) == i}
        alive -= sum(work.uses.bytes.get(t, 0) for t in gone)
    return found


# -- recipes ---------------------------------------------------------------------------------------
def _recipes(work: Work) -> dict[Tensor, _Recipe]:
    """The recipes of all values that can be computed again."""
    end = len(work.steps)
    never = _Recipe((), 0, -1, -1)
    found: dict[Tensor, _Recipe] = {}
    for node in work.steps:
        for tensor in node.outputs:
            needed = _needed(tensor)
            if tensor not in work.uses.bytes or tensor in work.kept or needed is None:
                continue
            operands, inside = needed
            memory = tuple(dict.fromkeys(map(memory_of, operands)))
            sources = tuple(t for t in memory if t in work.uses.bytes)
            variables = min((work.overwritten.get(t, end) for t in memory), default=end)
            until = min((variables, *(found.get(s, never).until for s in sources)))
            cost = size_hint(operations(inside) + bytes_of((*memory, tensor)))
            found[tensor] = _Recipe(sources, cost, variables, until)
    return found


def _needed(tensor: Tensor) -> tuple[Sequence[Tensor], Sequence[Node]] | None:
    """The operands that one output of a node is computed from, and the ops; None where it cannot be
    computed again."""
    node = tensor.node
    if node.op.multiplies_matrices and node.op.is_pure:
        return node.inputs, [node]
    if node.op.kind is not Kind.REGION:
        return None
    body: Graph = node.attrs["body"]
    inside = walk([body.outputs[tensor.index]])
    nodes = set(inside)
    operands = [t for p, t in zip(body.inputs, node.inputs, strict=True) if p.node in nodes]
    return (operands, inside) if operands and all(n.op.is_pure for n in inside) else None


# -- the run ---------------------------------------------------------------------------------------
class _Run:
    def __init__(self, work: Work, limit: int) -> None:
        self.work, self.limit = work, limit
        self.recipes, self.extra = _recipes(work), _extra(work)
        self.position = {node: i for i, node in enumerate(work.steps)}
        # The steps still to come that read a value.
        self.reads: defaultdict[Tensor, deque[int]] = defaultdict(deque)
        for i, node in enumerate(work.steps):
            for tensor in work.uses.reads[node]:
                self.reads[tensor].append(i)
        for tensor in work.kept:
            self.reads[tensor].append(len(work.steps))
        self.of_work = {t: frozenset(steps) for t, steps in self.reads.items()}
        # At a step: what dropped values are made from, which `reads` has beside those of the work.
        self.held: dict[int, list[Tensor]] = {}
        self.pins: Counter[Tensor] = Counter()  # values that what runs now still has to read
        self.there: dict[Tensor, None] = {}
        self.alive = 0
        self.now: dict[Tensor, Tensor] = {}  # for each value, the tensor that it was last made as
        self.steps: list[Node] = []
        self.made: list[tuple[Tensor, Node]] = []  # every time that a value was made, and by what

    def run(self) -> Rerun | None:
        work = self.work
        for self.step, node in enumerate(work.steps):
            wanted = [t for t in work.uses.reads[node] if t in work.uses.bytes]
            self.pins.update(wanted)
            for again, outputs in self._missing(wanted):
                self._make_room(again, outputs)
                self._emit(self._again(again, outputs), outputs)
                self.pins.subtract(self._sources(outputs))
                self._forget(self._sources(outputs))
            if len(self.steps) > TIMES * len(work.steps):
                return None
            self._make_room(node, node.outputs)
            self._emit(rebuild(node, [self._operand(t) for t in node.inputs]), node.outputs)
            held = self.held.pop(self.step, [])
            for tensor in (*work.uses.reads[node], *held):
                while self.reads[tensor] and self.reads[tensor][0] <= self.step:
                    self.reads[tensor].popleft()
            self.pins.subtract(wanted)
            self._forget((*wanted, *held, *node.outputs))
        graph = with_results(work.graph, [self._operand(t) for t in work.graph.results])
        return self._result(graph, set(graph.nodes))

    def _result(self, graph: Graph, inside: Container[Node]) -> Rerun:
        """What was dropped before it was read at all is only computed later, not again."""
        again: list[Again] = []
        first: dict[Tensor, Node] = {}
        for tensor, node in self.made:
            if node in inside:
                if tensor in first:
                    size = self.work.uses.bytes[tensor]
                    again.append(Again(tensor, size, self.recipes[tensor].work))
                first.setdefault(tensor, node)
        steps = [n for n in self.steps if n in inside]
        return Rerun(graph, steps, again, {t.node: node for t, node in first.items()})

    def _missing(self, wanted: Iterable[Tensor]) -> list[tuple[Node, list[Tensor]]]:
        """What has to be computed again so that the wanted values are there, in order. What it
        reads is pinned."""
        found: dict[Node, list[Tensor]] = {}
        stack = [t for t in wanted if t not in self.there]
        seen = set(stack)
        while stack:
            tensor = stack.pop()
            found.setdefault(tensor.node, []).append(tensor)
            for source in self.recipes[tensor].sources:
                if source not in self.there and source not in seen:
                    seen.add(source)
                    stack.append(source)
        for outputs in found.values():
            outputs.sort(key=lambda t: t.index)
            self.pins.update(self._sources(outputs))
        return sorted(found.items(), key=lambda item: self.position[item[0]])

    def _sources(self, outputs: Iterable[Tensor]) -> list[Tensor]:
        return list(dict.fromkeys(s for t in outputs for s in self.recipes[t].sources))

    def _emit(self, node: Node, outputs: Sequence[Tensor]) -> None:
        """Run a node, which makes the values `outputs`."""
        self.steps.append(node)
        for tensor, made in zip(outputs, node.outputs, strict=True):
            self.now[tensor] = made
            self.made.append((tensor, node))
            if tensor in self.work.uses.bytes:
                self.there[tensor] = None
                self.alive += self.work.uses.bytes[tensor]

    def _forget(self, tensors: Iterable[Tensor]) -> None:
        """Free those of the values that nothing will read any more."""
        for tensor in tensors:
            if tensor in self.there and not self.pins[tensor] and not self.reads[tensor]:
                self._free(tensor)

    def _free(self, tensor: Tensor) -> None:
        del self.there[tensor]
        self.alive -= self.work.uses.bytes[tensor]

    # -- dropping ----------------------------------------------------------------------------------
    def _make_room(self, node: Node, outputs: Sequence[Tensor]) -> None:
        """Drop values until the node can run, or none is left that can be dropped."""
        sizes = self.work.uses.bytes
        needed = sum(sizes.get(t, 0) for t in outputs) + self.extra[node]
        while self.alive + needed > self.limit:
            best, least = None, inf
            for tensor in self.there:
                loss = self._loss(tensor)
                if loss < least:
                    best, least = tensor, loss
            if best is None:
                return
            step = self._next_read(best)
            if step is not None:
                for source in self._bases(best, step) or ():
                    insort(self.reads[source], step)
                    self.held.setdefault(step, []).append(source)
            self._free(best)

    def _loss(self, tensor: Tensor) -> float:
        """What is lost with a value that is dropped now, for each byte and step that are gained."""
        if self.pins[tensor]:
            return inf
        step, sizes = self._next_read(tensor), self.work.uses.bytes
        if step is None:  # it was held for what has run by now
            return 0.0
        bases = self._bases(tensor, step) if tensor in self.recipes else None
        if bases is None:
            return inf
        gain = sizes[tensor] - sum(sizes[t] for t in bases if max(self.reads[t], default=-1) < step)
        if gain <= 0:
            return inf
        work, stack, seen = 0, [tensor], {tensor}
        while stack:
            recipe = self.recipes[stack.pop()]
            work += recipe.work
            for source in recipe.sources:
                if source not in self.there and source not in seen:
                    seen.add(source)
                    stack.append(source)
        return work / (gain * max(step - self.step, 1))

    def _next_read(self, tensor: Tensor) -> int | None:
        """The next step of the work that reads a value, after the one that runs: what that reads is
        pinned. Of one that is held only, for others, the last step that it is held for. (Where it
        is held before it is read, those others may be there by then: it is not made for them.)"""
        later = [step for step in self.reads[tensor] if step > self.step]
        read = self.of_work.get(tensor, frozenset())
        return next((step for step in later if step in read), later[-1] if later else None)

    def _bases(self, tensor: Tensor, step: int) -> list[Tensor] | None:
        """The values that must stay so that this one can be there again when it is next read, at
        `step`; None where it cannot be. So a value that is gone can be computed at any step until
        then."""
        if step <= self.recipes[tensor].until:
            return []
        bases: list[Tensor] = []
        stack, seen = [tensor], {tensor}
        while stack:
            recipe = self.recipes[stack.pop()]
            if step > recipe.variables:
                return None
            for source in recipe.sources:
                again = self.recipes.get(source)
                if source in seen or (again is not None and step <= again.until):
                    continue
                seen.add(source)
                if source in self.there:
                    bases.append(source)
                elif again is None:
                    return None
                else:
                    stack.append(source)
        return bases

    # -- nodes -------------------------------------------------------------------------------------
    def _again(self, node: Node, outputs: Sequence[Tensor]) -> Node:
        """The node once more for some of its outputs, but not before the last step has run."""
        (first, *rest), attrs = _part(node, outputs)
        token = self.steps[-1].output()
        with origin.inherit(node.origins):
            return apply(node.op, [self._operand(first, token), *map(self._operand, rest)], **attrs)

    def _operand(self, tensor: Tensor, token: Tensor | None = None) -> Tensor:
        """An operand over the values as they were last made, not before `token`."""
        views: list[Tensor] = []
        while (tensor.node.op.kind is Kind.VIEW or is_free(tensor.node)) and tensor.node.inputs:
            views.append(tensor)
            tensor = tensor.node.inputs[0]
        value = self.now.get(tensor, tensor)
        if token is not None:
            value = apply(AFTER, [value, token]).output()
        for view in reversed(views):
            others = [self._operand(t) for t in view.node.inputs[1:]]
            value = rebuild(view.node, [value, *others]).outputs[view.index]
        return value


# -- a node again ----------------------------------------------------------------------------------
def _part(node: Node, outputs: Sequence[Tensor]) -> tuple[Sequence[Tensor], dict[str, Any]]:
    """The operands and attributes of a node that computes only some of its outputs."""
    attrs = dict(node.attrs)
    if len(outputs) == len(node.types):
        return node.inputs, attrs
    body, space, outer = attrs["body"], attrs["space"], attrs["outer"]
    results = [body.outputs[t.index] for t in outputs]
    inside = dict.fromkeys(walk(results))
    operands = {p: t for p, t in zip(body.inputs, node.inputs, strict=True) if p.node in inside}
    parameters = [placeholder(f"p{i}", p.shape, p.dtype) for i, p in enumerate(operands)]
    results = transform(results, replace=dict(zip(operands, parameters, strict=True)))
    # Copies of cheap nodes of other regions are in the body too: they have no loops here.
    turns = [n for n in inside if is_member(n) and fits(n, space, outer)]
    turns += [t.node for t in results if is_free(t.node)]
    space = max(map(space_of, turns), key=len)
    body = Graph(parameters, results, name=body.name)
    return tuple(operands.values()), {"body": body, "space": space, "outer": min(outer, len(space))}
