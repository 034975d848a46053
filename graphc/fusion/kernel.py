"""From a fused region to a kernel: loops, stages and accumulators.

The region's outer loops are opened once; inside them each stage runs the inner loops, computes
what its stores and reductions need, and leaves the reductions' results to the next stage. A value
that a later stage needs again is computed again if that is cheap, else kept in a scratch row.
A reduction accumulates in a register if it keeps only loops outside of it, else in memory.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from graphc.fusion.region import (
    LOOPS,
    Operand,
    canonical_index,
    fits,
    flat_index,
    full_space,
    is_free,
    is_scalar_constant,
    kept_loops,
    space_of,
)
from graphc.ir.dim import product
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind
from graphc.ir.shape import Shape, strides
from graphc.loops.builder import Builder
from graphc.loops.grammar import Affine, Buffer, Kernel, Value, Var, of
from graphc.loops.simplify import finish

CHEAP = 6.0  # kernel operations that a later stage computes again rather than loads
BEFORE = -1  # the stage of scalar work that needs no loop
AFTER = 1 << 30  # the stage of what runs after all loops


@dataclass(frozen=True, slots=True)
class BuiltKernel:
    """A kernel and the roles of its buffers: operands, results, and scratch memory."""

    kernel: Kernel
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    scratch: tuple[Buffer, ...]
    sites: tuple[tuple[str, Node], ...]


def build_kernel(body: Graph, space: Shape, outer: int) -> BuiltKernel:
    """The kernel of a fused region."""
    return _RegionBuilder(body, space, outer).build()


class _Reduction:
    """A reduction of the region: where its accumulators live and over which loops it runs."""

    def __init__(self, node: Node, outer: int) -> None:
        kept = kept_loops(node)
        self.depth = len(kept)
        outside = kept == list(LOOPS[: self.depth]) and self.depth in (0, outer)
        self.in_register = outside and not node.op.reducer.scatters
        self.accumulators: list[Var] = []


class _RegionBuilder:
    def __init__(self, body: Graph, space: Shape, outer: int) -> None:
        self.body, self.space, self.outer = body, space, outer
        self.k = Builder()
        self.loops: list[Var] = []
        self.inputs = {t: self._buffer(f"in{i}", t.type) for i, t in enumerate(body.inputs)}
        self.outputs = {t: self._buffer(f"out{i}", t.type) for i, t in enumerate(body.outputs)}
        self.scratch: list[Buffer] = []
        self.stored_free = {t.node for t in body.outputs if is_free(t.node)}
        self.members = [n for n in body.nodes if self._works(n)]
        self.deps = {n: self._dependencies(n) for n in self.members}
        self.reductions = {n: _Reduction(n, outer) for n in self.members if _reduces(n)}
        self.stage: dict[Node, int] = {}
        for node in self.members:
            self.stage[node] = self._first_stage(node)
        self.results: dict[Tensor, Value] = {}
        self.kept: dict[Tensor, Buffer] = {}  # values that later stages load again
        self.loaded: set[Tensor] = set()  # those of them that an earlier stage has stored

    # -- the region --------------------------------------------------------------------------------
    @staticmethod
    def _buffer(name: str, type: Any) -> Buffer:
        return Buffer(name, type.dtype, type.size)

    def _works(self, node: Node) -> bool:
        if node.op.name == "placeholder":
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
            if source.op.name == "placeholder" and source.output() not in self.outputs:
                continue
            again = scalar and space_of(source) and not _reduces(source)
            if self._works(source) and not again:
                found[source] = None
            else:
                stack.extend(t.node for t in source.inputs)
        return list(found)

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

    # -- building ----------------------------------------------------------------------------------
    def build(self) -> BuiltKernel:
        k = self.k
        for node in self.members:
            if self.stage[node] == BEFORE:
                self._fill(node)
                self._emit_row(node)
        self._start_accumulators()
        last = max((0, *(s for s in self.stage.values() if s != AFTER)))
        plans = self._plans(last)
        with ExitStack() as stack:
            for depth, size in enumerate(self.space[: self.outer]):
                self.loops.append(stack.enter_context(k.loop(size, parallel=depth == 0)))
            for stage in range(last + 1):
                self._run_stage(stage, plans[stage])
        self.loops.clear()
        if self.outer > 0:
            for node, _ in self._looped_reductions():
                if self.stage[node] != AFTER:
                    self._finish_last(node)
        for node in self.members:
            if self.stage[node] == AFTER:
                self._emit(node)
                self._finish_last(node)
        inputs = tuple(self.inputs.values())
        outputs = tuple(self.outputs[t] for t in self.body.outputs)
        buffers = (*inputs, *outputs, *self.scratch)
        kernel = finish(Kernel("kernel", buffers, k.scopes[0].body))
        return BuiltKernel(kernel, inputs, outputs, tuple(self.scratch), tuple(k.sites))

    def _finish_last(self, node: Node) -> None:
        """The result of a reduction over all loops, once they have run."""
        reduction = self.reductions.get(node)
        if reduction is not None and reduction.in_register and reduction.depth == 0:
            self._finish(node, reduction)

    def _start_accumulators(self) -> None:
        """First values of what accumulates over the outer loops, in memory and in registers."""
        for node, reduction in self._looped_reductions():
            self._fill(node)
            if reduction.in_register and reduction.depth == 0 < self.outer:
                self._declare(node, reduction)

    def _fill(self, node: Node) -> None:
        """First values of a reduction that accumulates in memory."""
        reduction = self.reductions.get(node)
        if reduction is not None and not reduction.in_register:
            first = node.op.reducer.initial(self.k, node.types[0].dtype)
            for tensor, value in zip(node.outputs, first, strict=True):
                with self.k.loop(tensor.size) as i:
                    self.k.store(self._storage(tensor), of(i), value)

    def _looped_reductions(self) -> list[tuple[Node, _Reduction]]:
        return [(n, r) for n, r in self.reductions.items() if self.stage[n] != BEFORE]

    def _storage(self, tensor: Tensor) -> Buffer:
        """The buffer that holds a result of a reduction in memory."""
        if tensor not in self.outputs:
            self.outputs[tensor] = Buffer(f"part{len(self.scratch)}", tensor.dtype, tensor.size)
            self.scratch.append(self.outputs[tensor])
        return self.outputs[tensor]

    # -- stages ------------------------------------------------------------------------------------
    def _plans(self, last: int) -> list[list[Node]]:
        """For each stage the nodes that its inner loops compute, in order; and, as a side effect,
        which values are kept for later stages."""
        plans: list[list[Node]] = []
        computed: set[Node] = set()
        for stage in range(last + 1):
            needed: set[Node] = set()
            stack = [n for n in self.members if self._is_sink(n) and self.stage[n] == stage]
            stack = [n for n in stack if not self._is_row(n)]
            while stack:
                node = stack.pop()
                if node in needed or self._is_row(node):
                    continue
                if node in self.reductions and self.stage[node] != stage:
                    continue
                if node in computed and self._keep(node):
                    continue
                needed.add(node)
                stack.extend(self.deps[node])
            plans.append([n for n in self.members if n in needed])
            computed |= needed
        return plans

    def _is_sink(self, node: Node) -> bool:
        return node in self.reductions or any(t in self.outputs for t in node.outputs)

    def _keep(self, node: Node) -> bool:
        """Decide whether a later stage loads the node's value; make room for it if so."""
        tensor = node.output()
        if tensor in self.kept:
            return True
        if tensor in self.outputs and node.op.name != "placeholder":
            self.kept[tensor] = self.outputs[tensor]
            return True
        if self._cost(node) <= CHEAP:
            return False
        spare = self._spare_output(node)
        if spare is None:
            spare = Buffer(
                f"row{len(self.scratch)}", tensor.dtype, product(self.space[self.outer :])
            )
            self.scratch.append(spare)
        self.kept[tensor] = spare
        return True

    def _spare_output(self, node: Node) -> Buffer | None:
        """The buffer of an output of the last stage that is computed from the node: until then it
        holds nothing, and each element is loaded before it is written over."""
        last = max(s for s in self.stage.values() if s != AFTER)
        for tensor in self.body.outputs:
            buffer, source = self.outputs[tensor], tensor.node
            if (
                tensor.dtype is node.types[0].dtype
                and source not in self.reductions
                and not self._is_row(source)
                and self.stage[source] == last
                and buffer not in self.kept.values()
                and self._loads(source, node)
            ):
                return buffer
        return None

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
        cheap = not self._is_sink(node) and self._cost(node) <= CHEAP
        return self.stage[node] == stage or cheap

    def _cost(self, node: Node) -> float:
        """Kernel operations to compute the node again, up to the first above CHEAP."""
        total, stack, seen = 0.0, [node], {node}
        while stack and total <= CHEAP:
            current = stack.pop()
            total += current.op.cost
            for source in self.deps[current]:
                if source not in seen and source not in self.reductions:
                    seen.add(source)
                    stack.append(source)
        return total

    def _run_stage(self, stage: int, needed: list[Node]) -> None:
        for node in self.members:
            if self.stage[node] == stage and self._is_row(node):
                self._emit_row(node)
        finished = [
            (n, self.reductions[n])
            for n in needed
            if n in self.reductions
            and self.reductions[n].in_register
            and self.reductions[n].depth == self.outer
        ]
        for node, reduction in finished:
            self._declare(node, reduction)
        if needed:
            with ExitStack() as stack:
                for size in self.space[self.outer :]:
                    self.loops.append(stack.enter_context(self.k.loop(size)))
                for node in needed:
                    self._emit(node, stage)
            del self.loops[self.outer :]
            self.loaded |= {t for n in needed for t in n.outputs if t in self.kept}
        for node, reduction in finished:
            self._finish(node, reduction)

    def _declare(self, node: Node, reduction: _Reduction) -> None:
        first = node.op.reducer.initial(self.k, node.types[0].dtype)
        reduction.accumulators = [self.k.declare(v) for v in first]

    def _finish(self, node: Node, reduction: _Reduction) -> None:
        """The accumulated values become results, stored if they are outputs."""
        for tensor, accumulator in zip(node.outputs, reduction.accumulators, strict=True):
            self.results[tensor] = self.k.read(accumulator)
            self._store(tensor, self.results[tensor])

    def _emit_row(self, node: Node) -> None:
        """A node that runs once for each turn of the outer loops, or before them."""
        reduction = self.reductions.get(node)
        complete = reduction is not None and (
            self.stage[node] == BEFORE or reduction.depth == self.outer
        )
        if reduction is not None and reduction.in_register and complete:
            self._declare(node, reduction)
            self._accumulate(node, reduction)
            self._finish(node, reduction)
        else:
            self._emit(node)

    def _emit(self, node: Node, stage: int | None = None) -> None:
        """The node's value, and its effect if it has one here: a store, or an accumulation."""
        self.k.owner = node
        reduction = self.reductions.get(node)
        if reduction is not None:
            self._accumulate(node, reduction)
            return
        tensor = node.output()
        value = self.read(tensor, self._here(tensor))
        if stage is None or self.stage[node] == stage:
            self._store(tensor, value)
        kept = self.kept.get(tensor)
        if kept is not None and kept is not self.outputs.get(tensor) and tensor not in self.loaded:
            self.k.store(kept, self._kept_index(kept), value)

    def _here(self, tensor: Tensor) -> tuple[Affine, ...]:
        return canonical_index(tensor.shape, tuple(self.loops))

    def _store(self, tensor: Tensor, value: Value) -> None:
        if tensor in self.outputs:
            index = flat_index(self._here(tensor), strides(tensor.shape))
            self.k.store(self.outputs[tensor], index, value)

    def _kept_index(self, buffer: Buffer) -> Affine:
        """The position of a kept value: in a scratch row over the inner loops only, in the buffer
        of an output over all."""
        first = self.outer if buffer in self.scratch else 0
        loops = tuple(of(v) for v in self.loops[first:])
        return flat_index(loops, strides(self.space[first:]))

    def _accumulate(self, node: Node, reduction: _Reduction) -> None:
        k, reducer = self.k, node.op.reducer
        operands = [Operand(t, self.read) for t in node.inputs]
        index = canonical_index(full_space(node), tuple(self.loops))
        element = reducer.element(k, operands, index, **node.attrs)
        if not reduction.in_register:
            target = reducer.target(k, operands, index, **node.attrs)
            places = [
                (self._storage(t), flat_index(target, strides(t.shape))) for t in node.outputs
            ]
            before = [k.reload(buffer, at) for buffer, at in places]
            after = reducer.step(k, before, element, index, **node.attrs)
            for (buffer, at), value in zip(places, after, strict=True):
                k.store(buffer, at, value)
        elif reducer.ordered:
            before = [k.read(a) for a in reduction.accumulators]
            after = reducer.step(k, before, element, index, **node.attrs)
            for accumulator, value in zip(reduction.accumulators, after, strict=True):
                k.assign(accumulator, value)
        else:
            k.accumulate(reduction.accumulators[0], reducer.primitive, element)

    # -- values ------------------------------------------------------------------------------------
    def read(self, tensor: Tensor, index: tuple[Affine, ...]) -> Value:
        """The element of a tensor of the region at an index."""
        if tensor in self.results:
            return self.results[tensor]
        key = ("element", tensor, index)
        found: Value | None = self.k.recall((*key, None))
        if found is None:  # what was read under another guard is 0 elsewhere
            found = self.k.recall((*key, self.k.guard))
        if found is None:
            guard = None if self._is_reloaded(tensor, index) else self.k.guard
            found = self._compute(tensor, index)
            self.k.remember((*key, guard), found)
        return found

    def _is_reloaded(self, tensor: Tensor, index: tuple[Affine, ...]) -> bool:
        """Whether an earlier stage has stored the element; once read it may be written over."""
        return tensor in self.kept and tensor in self.loaded and index == self._here(tensor)

    def _compute(self, tensor: Tensor, index: tuple[Affine, ...]) -> Value:
        node, k = tensor.node, self.k
        if tensor in self.inputs:
            return k.load(self.inputs[tensor], flat_index(index, strides(tensor.shape)))
        if is_scalar_constant(node):
            return k.const(node.attrs["value"].array.reshape(()), tensor.dtype)
        if self._is_reloaded(tensor, index):
            kept = self.kept[tensor]
            return k.reload(kept, self._kept_index(kept))
        operands = [Operand(t, self.read) for t in node.inputs]
        owner, k.owner = k.owner, node
        result: Value = node.op.at(k, operands, index, tensor.type, **node.attrs)  # type: ignore[misc]
        k.owner = owner
        return result


def _reduces(node: Node) -> bool:
    return node.op.kind is Kind.REDUCE
