"""The kernel of a fused region, written from its plan: loops, stages and accumulators.

The region's outer loops are opened once; inside them each stage runs the inner loops, computes
what its stores and reductions need, and leaves the reductions' results to the next stage.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from graphc.fusion.kernel_plan import AFTER, BEFORE, Carry, KernelPlan, Stage, plan_kernel
from graphc.fusion.reads import element, naming
from graphc.fusion.region import (
    Operand,
    flat_index,
    full_space,
    index_at,
    is_scalar_constant,
    space_of,
)
from graphc.fusion.turns import Together, candidates, pays, sums_rows
from graphc.ir.dim import floordiv, product
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind
from graphc.ir.shape import Shape, TensorType, strides
from graphc.loops.builder import Builder
from graphc.loops.grammar import Affine, Buffer, Kernel, Value, Var, of
from graphc.loops.simplify import finish, reads_windows
from graphc.machines import CPU, Machine


@dataclass(frozen=True, slots=True)
class BuiltKernel:
    """A kernel and the roles of its buffers: operands, results, and scratch memory."""

    kernel: Kernel
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    scratch: tuple[Buffer, ...]
    sites: tuple[tuple[str, Node], ...]


def build_kernel(body: Graph, space: Shape, outer: int, *, machine: Machine = CPU) -> BuiltKernel:
    """The kernel of a fused region."""
    plan = plan_kernel(body, space, outer)
    k = _Writer(plan).write()
    wanted = sums_rows(plan) or reads_windows(k.scopes[0].body)
    if wanted and not machine.many_threads:
        k = _with_turns_together(plan, k)
    inputs = tuple(plan.inputs.values())
    outputs = tuple(plan.outputs[t] for t in body.outputs)
    buffers = (*inputs, *outputs, *plan.scratch, *k.memory)
    kernel = Kernel("kernel", buffers, k.scopes[0].body)
    kernel = finish(kernel, machine)
    scratch = kernel.buffers[len(inputs) + len(outputs) :]
    return BuiltKernel(kernel, inputs, outputs, scratch, tuple(k.sites))


def _with_turns_together(plan: KernelPlan, alone: Builder) -> Builder:
    """The kernel with as many turns of a loop together as pay; else as it is."""
    for together in candidates(plan):
        k = _Writer(plan, together).write()
        if pays(alone.scopes[0].body, k.scopes[0].body, rows=sums_rows(plan)):
            return k
    return alone


class _Result(NamedTuple):
    """What an op that writes its kernel sees of a result."""

    k: Builder
    type: TensorType
    buffer: Buffer | None

    @property
    def wanted(self) -> bool:
        return self.buffer is not None

    def store(self, index: tuple[Affine, ...], value: Value) -> None:
        if self.buffer is not None:
            self.k.store(self.buffer, flat_index(index, strides(self.type.shape)), value)


class _Writer:
    """Walks a plan with the loops that are open, and what has been computed there. `loops`: the
    position along each of them; `accumulators`: of reductions, and states of running ones. `turns`:
    what is added up in memory over turns together, for each place the elements so far; `rows`: the
    accumulator of each place of what the last outer loop completes."""

    def __init__(self, plan: KernelPlan, together: Together | None = None) -> None:
        self.plan, self.together = plan, together
        self.turns: dict[tuple[Node, tuple[Affine, ...]], list[Value]] = {}
        self.rows: dict[tuple[Node, tuple[Affine, ...]], Var] = {}
        self.k = Builder()
        self.loops: list[Affine] = []
        self.accumulators: dict[Node, list[Var]] = {}
        self.results: dict[Tensor, Value] = {}
        self.loads: frozenset[Tensor] = frozenset()  # kept values that earlier stages have stored

    def write(self) -> Builder:
        plan, k = self.plan, self.k
        for node in plan.before:
            self._fill(node)
            self._row(node)
        looped = [n for n in plan.reductions if plan.stage[n] != BEFORE]
        self._start(looped)
        with ExitStack() as stack:
            for depth in range(plan.outer):
                if depth == plan.outer - 1:
                    stack.callback(self._store_rows)  # when that loop has run
                self._open(stack, depth, plan.running)
            for _ in self._turns():
                for stage in plan.stages:
                    self._stage(stage)
            self._add_turns()
        self.loops.clear()
        if plan.outer > 0:
            for node in looped:
                if plan.stage[node] != AFTER:
                    self._finish_last(node)
        for node in plan.after:
            self._node(node)
            self._finish_last(node)
        return k

    # -- stages ------------------------------------------------------------------------------------
    def _stage(self, stage: Stage) -> None:
        plan = self.plan
        self.loads = stage.loads
        for node in stage.rows:
            self._row(node)
        complete = [
            node
            for node in stage.inner
            if node in plan.reductions
            and plan.reductions[node].in_register
            and plan.is_complete(node)
        ]
        for node in complete:
            self._declare(node)
        if stage.inner:
            with ExitStack() as stack:
                for _ in self._inner_turns(stack, stage):
                    for node in stage.inner:
                        self._node(node, stage)
            del self.loops[plan.outer :]
        self.loads |= {t for n in stage.inner for t in n.outputs if t in plan.kept}
        for node in complete:
            self._finish(node)

    def _turns(self) -> Iterator[None]:
        """For each turn that the open loops take together; what rows gave in one is not there in
        the next."""
        if self.together is None:
            yield
            return
        known, start = self.results, self.loops[self.together.loop]
        for turn in range(self.together.turns):
            self.results = dict(known)
            self.loops[self.together.loop] = start + turn
            yield

    def _inner_turns(self, stack: ExitStack, stage: Stage) -> Iterator[None]:
        """With the inner loops open; or for each of their turns, where these are written out."""
        inner = range(self.plan.outer, len(self.plan.space))
        if self.together is None:
            for depth in inner:
                self._open(stack, depth, stage.inner)
            yield
            return
        for places in itertools.product(*(range(int(self.plan.space[d])) for d in inner)):
            self.loops[self.plan.outer :] = [Affine((), place) for place in places]
            yield

    def _open(self, stack: ExitStack, depth: int, nodes: Iterable[Node]) -> None:
        """Open a loop, before which those of `nodes` start that carry a state along it."""
        for node in nodes:
            carry = self.plan.running.get(node)
            if carry is not None and carry.loop == depth:
                self._begin(node, carry)
        size = self.plan.space[depth]
        parallel = depth == 0 < self.plan.outer
        turns = self.together.turns if self.together and self.together.loop == depth else 1
        turn = of(stack.enter_context(self.k.loop(floordiv(size, turns), parallel))) * turns
        self.loops.append(-turn + (size - 1) if depth in self.plan.backwards else turn)

    def _row(self, node: Node) -> None:
        """A node that runs once for each turn of the outer loops, or before them."""
        reduction = self.plan.reductions.get(node)
        if reduction is not None and reduction.in_register and self.plan.is_complete(node):
            self._declare(node)
            self._accumulate(node)
            self._finish(node)
        else:
            self._node(node)

    def _node(self, node: Node, stage: Stage | None = None) -> None:
        """The node's value, and its effect if it has one here: a store, or an accumulation."""
        plan = self.plan
        self.k.owner = node
        if node in plan.reductions:
            self._accumulate(node)
            return
        if node.op.kind is Kind.KERNEL:
            self._own(node)
            return
        tensor = node.output()
        if node in plan.running:
            self._advance(node)
        value = self.read(tensor, self._here(tensor))
        if stage is None or plan.stage[node] == stage.number:
            self._store(tensor, value)
        kept = plan.kept.get(tensor)
        if kept is not None and kept is not plan.outputs.get(tensor) and tensor not in self.loads:
            self.k.store(kept, self._kept_index(kept), value)

    def _own(self, node: Node) -> None:
        """The kernel that the node's op writes itself."""
        operands = [Operand(t, self.read) for t in node.inputs]
        results = [_Result(self.k, t.type, self.plan.outputs.get(t)) for t in node.outputs]
        with naming(node):
            node.op.write(self.k, operands, results, **node.attrs)  # type: ignore[misc]

    # -- reductions --------------------------------------------------------------------------------
    def _start(self, reductions: Iterable[Node]) -> None:
        """First values of what accumulates over the outer loops, in memory and in registers."""
        for node in reductions:
            self._fill(node)
            reduction = self.plan.reductions[node]
            if reduction.in_register and reduction.depth == 0 < self.plan.outer:
                self._declare(node)

    def _fill(self, node: Node) -> None:
        """First values of a reduction that accumulates in memory."""
        reduction = self.plan.reductions.get(node)
        if reduction is not None and not reduction.in_register and not self._in_rows(node):
            tensor = node.output()
            first = node.op.reducer.initial(self.k, tensor.dtype)
            with self.k.loop(tensor.size) as i:
                self.k.store(self.plan.outputs[tensor], of(i), first)

    def _declare(self, node: Node) -> None:
        first = node.op.reducer.initial(self.k, node.types[0].dtype)
        self.accumulators[node] = [self.k.declare(first)]

    def _accumulate(self, node: Node) -> None:
        with naming(node):
            self._accumulate_element(node)

    def _accumulate_element(self, node: Node) -> None:
        k, reducer = self.k, node.op.reducer
        operands = [Operand(t, self.read) for t in node.inputs]
        index = index_at(full_space(node), self.loops)
        element = reducer.element(k, operands, index, **node.attrs)
        if not self.plan.reductions[node].in_register:
            target = reducer.target(k, operands, index, **node.attrs)
            if self._in_rows(node):
                k.accumulate(self._row_of(node, target), reducer.primitive, element)
            elif self.together is None:
                self._add_in_memory(node, target, element)
            else:
                self.turns.setdefault((node, target), []).append(element)
        else:
            (total,) = self.accumulators[node]
            k.accumulate(total, reducer.primitive, element)

    def _in_rows(self, node: Node) -> bool:
        return self.together is not None and self.plan.sums_rows(node)

    def _row_of(self, node: Node, target: tuple[Affine, ...]) -> Var:
        if (node, target) not in self.rows:
            first = node.op.reducer.initial(self.k, node.types[0].dtype)
            self.rows[node, target] = self.k.declare_before(first)
        return self.rows[node, target]

    def _store_rows(self) -> None:
        """What the last outer loop has completed."""
        for (node, target), total in self.rows.items():
            tensor = node.output()
            at = flat_index(target, strides(tensor.shape))
            self.k.store(self.plan.outputs[tensor], at, self.k.read(total))

    def _add_in_memory(self, node: Node, target: tuple[Affine, ...], element: Value) -> None:
        tensor = node.output()
        buffer, at = self.plan.outputs[tensor], flat_index(target, strides(tensor.shape))
        before = self.k.reload(buffer, at)
        self.k.store(buffer, at, node.op.reducer.step(self.k, before, element))

    def _add_turns(self) -> None:
        """What turns together have for one place is first added up by itself."""
        for (node, target), elements in self.turns.items():
            total, *others = elements
            for other in others:
                total = node.op.reducer.step(self.k, total, other)
            self._add_in_memory(node, target, total)
        self.turns.clear()

    def _finish(self, node: Node) -> None:
        """The accumulated value becomes a result, stored if it is an output."""
        tensor, (total,) = node.output(), self.accumulators[node]
        self.results[tensor] = self.k.read(total)
        self._store(tensor, self.results[tensor])

    def _finish_last(self, node: Node) -> None:
        """The result of a reduction over all loops, once they have run."""
        reduction = self.plan.reductions.get(node)
        if reduction is not None and reduction.in_register and reduction.depth == 0:
            self._finish(node)

    # -- running reductions ------------------------------------------------------------------------
    def _begin(self, node: Node, carry: Carry) -> None:
        """The first state, in memory one for each turn of the loops inside of the carried one."""
        if not carry.memory:
            first = node.op.recurrence.initial(self.k, node.types[0].dtype)
            self.accumulators[node] = [self.k.declare(v) for v in first]
            return
        depth, space = len(self.loops), space_of(node)
        inside = product(space[depth + 1 :])
        with self.k.loop(inside) as turn:
            at = flat_index((*self.loops, of(turn)), strides((*space[:depth], inside)))
            first = node.op.recurrence.initial(self.k, node.types[0].dtype)
            for buffer, value in zip(carry.memory, first, strict=True):
                self.k.store(buffer, at, value)

    def _advance(self, node: Node) -> None:
        """One step of a running reduction; what it gives is what the node's readers find."""
        k, recurrence, carry = self.k, node.op.recurrence, self.plan.running[node]
        tensor, space = node.output(), space_of(node)
        here = self._here(tensor)
        with naming(node):
            element = recurrence.element(k, [Operand(t, self.read) for t in node.inputs], here)
            if carry.loop is None:
                before = recurrence.initial(k, tensor.dtype)
                after = recurrence.step(k, before, element)
            elif not carry.memory:
                before = [k.read(a) for a in self.accumulators[node]]
                after = recurrence.step(k, before, element)
                for accumulator, value in zip(self.accumulators[node], after, strict=True):
                    k.assign(accumulator, value)
            else:
                others = [i for i in range(len(space)) if i != carry.loop]
                sizes = tuple(space[i] for i in others)
                at = flat_index(tuple(self.loops[i] for i in others), strides(sizes))
                before = [k.reload(buffer, at) for buffer in carry.memory]
                after = recurrence.step(k, before, element)
                for buffer, value in zip(carry.memory, after, strict=True):
                    k.store(buffer, at, value)
            k.remember(("element", tensor, here, None), recurrence.result(k, after, tensor.dtype))

    # -- values ------------------------------------------------------------------------------------
    def _here(self, tensor: Tensor) -> tuple[Affine, ...]:
        return index_at(tensor.shape, self.loops)

    def _store(self, tensor: Tensor, value: Value) -> None:
        if tensor in self.plan.outputs:
            index = flat_index(self._here(tensor), strides(tensor.shape))
            self.k.store(self.plan.outputs[tensor], index, value)

    def _kept_index(self, buffer: Buffer) -> Affine:
        """The position of a kept value: in a scratch row over the inner loops only, in the buffer
        of an output over all."""
        first = self.plan.outer if buffer in self.plan.scratch else 0
        return flat_index(tuple(self.loops[first:]), strides(self.plan.space[first:]))

    def read(self, tensor: Tensor, index: tuple[Affine, ...]) -> Value:
        """The element of a tensor of the region at an index."""
        if tensor in self.results:
            return self.results[tensor]
        key = ("element", tensor, index)
        found: Value | None = self.k.recall((*key, None))
        if found is None and self.k.guard is not None:  # read under another one it is 0 elsewhere
            found = self.k.recall((*key, self.k.guard))
        if found is None:
            guard = None if self._is_reloaded(tensor, index) else self.k.guard
            found = self._compute(tensor, index)
            self.k.remember((*key, guard), found)
        return found

    def _is_reloaded(self, tensor: Tensor, index: tuple[Affine, ...]) -> bool:
        """Whether an earlier stage has stored the element; once read it may be written over."""
        return tensor in self.loads and index == self._here(tensor)

    def _compute(self, tensor: Tensor, index: tuple[Affine, ...]) -> Value:
        node, k = tensor.node, self.k
        if tensor in self.plan.inputs:
            return k.load(self.plan.inputs[tensor], flat_index(index, strides(tensor.shape)))
        if is_scalar_constant(node):
            return k.const(node.attrs["value"].array.reshape(()), tensor.dtype)
        if self._is_reloaded(tensor, index):
            kept = self.plan.kept[tensor]
            return k.reload(kept, self._kept_index(kept))
        owner, k.owner = k.owner, node
        value: Value = element(node, k, self.read, index)
        k.owner = owner
        return value
