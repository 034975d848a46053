"""Scheduling: a graph of regions and contractions becomes a program of steps in order.

Each result is computed where it is wanted: an output straight into the caller's array, an update
straight into its variable if every other reader of the old value can run before and nothing that
may fail runs after; else into a temporary that is copied when all else is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from graphc.fusion.kernel import BuiltKernel, build_kernel
from graphc.fusion.views import matrix_view, permuted_strides
from graphc.ir.dim import Size, minimum, named
from graphc.ir.dtype import DType
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.ir.shape import strides
from graphc.loops.grammar import is_splittable, parallel_loops
from graphc.loops.shares import operations
from graphc.machines import CPU, Machine
from graphc.ops.closure import is_source
from graphc.planning.alias import alias_in_place
from graphc.planning.native import native
from graphc.planning.order import order_for_memory
from graphc.planning.program import (
    Branch,
    Call,
    Copy,
    Gemm,
    Host,
    Leave,
    Loop,
    Matrix,
    Program,
    Ref,
    Site,
    Step,
    Storage,
    merged,
    padded,
)
from graphc.planning.waits import Waits, base_of


def schedule(graph: Graph, first: Sequence[Node] = (), machine: Machine = CPU) -> Program:
    """The program of a fused graph, without a memory plan. The nodes of `first` run in that order
    if none that is found needs less memory."""
    return _Scheduler(graph, machine).run(first)


@dataclass
class _Scope:
    """One graph being scheduled: where its tensors are, and where its results are wanted."""

    graph: Graph
    refs: dict[Tensor, Ref]
    targets: dict[Tensor, Ref] = field(default_factory=dict)
    # Products that are written in another order, for the regions that would only reorder them.
    moved: dict[Node, tuple[Node, tuple[Size, ...]]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    late: list[Step] = field(default_factory=list)  # copies that wait for all other steps


class _Scheduler:
    def __init__(self, graph: Graph, machine: Machine) -> None:
        self.graph, self.machine = graph, machine
        self.sites: list[Site] = []
        self.temps = 0
        self.counters = 0
        self.constants: dict[Tensor, Storage] = {}
        self.kernels: dict[tuple[object, ...], BuiltKernel] = {}

    def run(self, first: Sequence[Node]) -> Program:
        graph = self.graph
        inputs = self._storages("input", graph.inputs)
        outputs = self._storages("output", graph.outputs)
        variables = dict(
            zip(graph.variables, self._storages("variable", graph.variables), strict=True)
        )
        refs = {t: Ref(s) for t, s in zip(graph.inputs, inputs, strict=True)}
        refs |= {v: Ref(s) for v, s in variables.items()}
        wanted = [
            *((t, Ref(s), None) for t, s in zip(graph.outputs, outputs, strict=True)),
            *((t, Ref(variables[v]), v) for v, t in graph.updates),
        ]
        steps = self._schedule(graph, refs, wanted, first)
        return Program(
            graph,
            steps,
            tuple(inputs),
            tuple(outputs),
            tuple(variables.values()),
            {storage: tensor for tensor, storage in self.constants.items()},
            tuple(self.sites),
        )

    @staticmethod
    def _storages(kind: str, tensors: Sequence[Tensor]) -> list[Storage]:
        return [Storage(kind, i, t.dtype, t.size) for i, t in enumerate(tensors)]

    def _temp(self, tensor: Tensor) -> Ref:
        return self._memory(tensor.dtype, tensor.size)

    def _memory(self, dtype: DType, size: Size) -> Ref:
        self.temps += 1
        return Ref(Storage("temp", self.temps, dtype, size))

    # -- one graph: the program's own, or the body of a loop or branch -----------------------------
    def _schedule(
        self,
        graph: Graph,
        refs: dict[Tensor, Ref],
        wanted: Sequence[tuple[Tensor, Ref, Tensor | None]],
        first: Sequence[Node] = (),
    ) -> list[Step]:
        """The steps that bring each wanted tensor to its place. A place may hold the old value of a
        tensor of the graph (the third part), which is then read before it is written."""
        scope = _Scope(graph, refs)
        waits = Waits(graph)
        direct = waits.place([(tensor, old) for tensor, _, old in wanted])
        copies: list[tuple[Tensor, Ref]] = []
        for (tensor, place, _), target in zip(wanted, direct, strict=True):
            if target is not None:
                scope.targets[target] = place
            else:
                copies.append((tensor, place))
        scope.moved = _moved_products(graph, waits)
        early = [c for c in copies if is_source(base_of(c[0]).node)]
        saved = self._save_old_values(scope, early, [place for _, place, _ in wanted])
        for node in order_for_memory(waits.nodes(first), waits.uses(scope.targets)):
            self._step(scope, node)
        for tensor, place in copies:
            source = saved.get(tensor) or self._ref(scope, tensor)
            scope.steps.append(Copy(place, source, tensor.size))
        return scope.steps + scope.late

    def _save_old_values(
        self, scope: _Scope, copies: Sequence[tuple[Tensor, Ref]], places: Sequence[Ref]
    ) -> dict[Tensor, Ref]:
        """Values that are there before the program and may be overwritten by it, put aside."""
        overwritten = {place.storage for place in places}
        saved: dict[Tensor, Ref] = {}
        for tensor, _ in copies:
            source = self._ref(scope, tensor)
            if source.storage in overwritten and tensor not in saved:
                saved[tensor] = self._temp(tensor)
                scope.steps.append(Copy(saved[tensor], source, tensor.size))
        return saved

    def _ref(self, scope: _Scope, tensor: Tensor) -> Ref:
        """Where a tensor is in memory (a view is where its operand is)."""
        base = base_of(tensor)
        if base not in scope.refs:
            node = base.node
            if Fact.CONSTANT not in node.op.facts:
                raise AssertionError(f"{node} is used before it is computed")
            if base not in self.constants:
                index = len(self.constants)
                self.constants[base] = Storage("constant", index, base.dtype, base.size)
            return Ref(self.constants[base])
        return scope.refs[base]

    def _place(self, scope: _Scope, tensor: Tensor) -> Ref:
        """Where a tensor that a step computes goes."""
        place = scope.targets.get(tensor) or self._temp(tensor)
        scope.refs[tensor] = place
        return place

    def _site(self, message: str, node: Node) -> int:
        self.sites.append(Site(message, node))
        return len(self.sites)

    def _step(self, scope: _Scope, node: Node) -> None:
        kind = node.op.kind
        if kind is Kind.REGION:
            if node.output() not in scope.refs:
                self._call(scope, node)
        elif node.op.multiplies_matrices:
            self._gemm(scope, node)
        elif kind is Kind.HOST:
            operands = tuple(self._ref(scope, t) for t in node.inputs)
            results = tuple(self._place(scope, t) for t in node.outputs)
            site = self._site("", node)
            own = native(node, self._memory, partial(self._site, node=node))
            scope.steps.append(Host(site, operands, results, node, own))
        elif kind is Kind.CONTROL:
            facts = node.op.facts
            if Fact.LOOP in facts:
                self._loop(scope, node)
            elif Fact.WHILE in facts:
                self._while(scope, node)
            else:
                self._branch(scope, node)

    # -- kernels -----------------------------------------------------------------------------------
    def _built(self, node: Node) -> BuiltKernel:
        """Regions that compute the same of other operands have the same body, and one kernel."""
        region = tuple(node.attrs.values())
        if region not in self.kernels:
            self.kernels[region] = build_kernel(**node.attrs, machine=self.machine)
        return self.kernels[region]

    def _call(self, scope: _Scope, node: Node) -> None:
        built = self._built(node)
        refs: dict[object, Ref] = {}
        for buffer, tensor in zip(built.inputs, node.inputs, strict=True):
            refs[buffer] = self._ref(scope, tensor)
        for buffer, tensor in zip(built.outputs, node.outputs, strict=True):
            place = scope.targets.get(tensor)
            held = [b for b in built.inputs if place and refs[b].meets(b.size, place, tensor.size)]
            if place is not None and held:
                kernel = alias_in_place(built.kernel, buffer, held[0])
                if kernel is None or len(held) > 1 or refs[held[0]] != place:
                    scope.refs[tensor] = refs[buffer] = self._temp(tensor)
                    scope.late.append(Copy(place, refs[buffer], tensor.size))
                    continue
                outputs = tuple(held[0] if b is buffer else b for b in built.outputs)
                built = replace(built, kernel=kernel, outputs=outputs)
            refs[buffer] = self._place(scope, tensor)
        for buffer in built.scratch:
            refs[buffer] = self._memory(buffer.dtype, buffer.size)
        kernel = built.kernel
        sites = tuple(self._site(message, owner) for message, owner in built.sites)
        scope.steps.append(
            Call(
                kernel,
                "",
                tuple(refs[b] for b in kernel.buffers),
                tuple(kernel.sizes.values()),
                tuple(refs[b] for b in (*built.outputs, *built.scratch)),
                tuple(loop.extent for loop in parallel_loops(kernel)),
                operations(kernel.body, kernel.sizes) if is_splittable(kernel) else None,
                sites,
                node,
            )
        )

    # -- contractions ------------------------------------------------------------------------------
    def _gemm(self, scope: _Scope, node: Node) -> None:
        x, y = node.inputs
        out = node.output()
        batch = out.shape[:-2]
        taps = x.shape[x.ndim - 2 - node.attrs.get("taps", 0) : -2]
        a, b = (self._matrix(scope, node, t, batch, len(taps)) for t in (x, y))
        m, n, k = out.shape[-2], out.shape[-1], x.shape[-1]
        steps, place = strides(out.shape), out
        if node in scope.moved:
            region, steps = scope.moved[node]
            place = region.output()
            if steps[-1] != 1:  # the result's columns are contiguous: c' = b' a'
                a, b, m, n = b.turned(), a.turned(), n, m
                steps = (*steps[:-2], steps[-1], steps[-2])
        leading = steps[-2] if m != 1 else n
        c = Matrix(self._place(scope, place), leading, False, steps[:-2])
        step = Gemm(a, b, c, m, n, k, batch, out.dtype, node, taps=taps)
        if not batch and not taps and self._is_packed(step):
            step.by_columns = self.machine.is_wide(n) and not a.transposed
            step.packed = None if step.by_columns else self._packed(step)
        joins = taps and self.machine.product_columns > 0  # a library takes no rows that overlap
        scope.steps.append(merged(step) if joins else step)

    def _is_packed(self, step: Gemm) -> bool:
        """Whether our own routine gets the right operand packed: one that is stored transposed, or
        has many columns."""
        machine, m, n = self.machine, step.m, step.n
        if machine.product_columns == 0 or (isinstance(n, int) and n > machine.packed_columns):
            return False
        few = isinstance(m, int) and m < machine.packed_rows
        return not few if machine.is_wide(n) else step.b.transposed

    def _packed(self, step: Gemm) -> Ref:
        """Memory for as much of a right operand as a product by rows has packed at once."""
        n, dtype = step.n, step.dtype
        cached = self.machine.cached(n) // dtype.itemsize
        return self._memory(dtype, minimum(step.k * padded(n, dtype), cached))

    def _matrix(
        self, scope: _Scope, node: Node, tensor: Tensor, batch: tuple[Size, ...], taps: int
    ) -> Matrix:
        found = matrix_view(node, tensor)
        if found is None:
            raise AssertionError(f"{tensor} is no matrix in memory")
        view, transposed, leading = found
        shape, own = tensor.shape[:-2], view.strides[:-2]
        steps = tuple(0 if s == 1 else step for s, step in zip(shape, own, strict=True))
        cut = len(steps) - taps
        missing: tuple[Size, ...] = (0,) * (len(batch) - cut)
        return Matrix(
            self._ref(scope, view.base) + view.offset,
            leading,
            transposed,
            missing + steps[:cut],
            steps[cut:],
        )

    # -- loops and branches ------------------------------------------------------------------------
    def _loop(self, scope: _Scope, node: Node) -> None:
        attrs = node.attrs
        body: Graph = attrs["body"]
        length, carries, xs = attrs["length"], attrs["carries"], attrs["xs"]
        kept = self._histories(scope, node)
        starts = {
            i: before + body.inputs[i].size * (length - 1) * int(attrs["reverse"])
            for i, (before, _) in kept.items()
        }
        places = self._first_carries(scope, node, starts)
        counter = self._counter()
        step: Size = named(counter)
        turn = (length - 1) - step if attrs["reverse"] else step
        refs = dict(zip(body.inputs[:carries], places, strict=False))
        for inner, outer in zip(
            body.inputs[carries : carries + xs], node.inputs[carries : carries + xs], strict=True
        ):
            refs[inner] = self._ref(scope, outer) + inner.size * turn
        for inner, outer in zip(
            body.inputs[carries + xs :], node.inputs[carries + xs :], strict=True
        ):
            refs[inner] = self._ref(scope, outer)
        wanted: list[tuple[Tensor, Ref, Tensor | None]] = []
        for i, tensor in enumerate(body.outputs):
            if i in kept:
                before, after = kept[i]
                refs[body.inputs[i]] = before + tensor.size * turn
                wanted.append((tensor, after + tensor.size * turn, None))
            elif i < carries:
                wanted.append((tensor, places[i], body.inputs[i]))
            elif not any(places[i] in history for history in kept.values()):
                wanted.append((tensor, places[i] + tensor.size * turn, None))
        scope.steps.append(Loop(counter, length, self._schedule(body, refs, wanted), node))

    def _histories(self, scope: _Scope, node: Node) -> dict[int, tuple[Ref, Ref]]:
        """The carries of a loop of which it also gives all values, before or after each step, and
        where these two are: in one array with a row more than steps, so that no step copies them.
        A copy is a launch where many threads share a kernel."""
        body: Graph = node.attrs["body"]
        length, carries = node.attrs["length"], node.attrs["carries"]
        last = int(node.attrs["reverse"])  # 1: steps go from the last row to the first
        found: dict[int, tuple[Ref, Ref]] = {}
        for i in range(carries if self.machine.many_threads else 0):
            old, new, final = body.inputs[i], body.outputs[i], node.outputs[i]
            rows = zip(node.outputs[carries:], body.outputs[carries:], strict=True)
            given = {out: tensor is new for out, tensor in rows if tensor is old or tensor is new}
            free = not any(out in scope.targets or out in scope.refs for out in (final, *given))
            if not given or not free or old is new:
                continue
            memory, size = self._memory(final.dtype, final.size * (length + 1)), final.size
            before, after = memory + size * last, memory + size * (1 - last)
            for out, is_new in given.items():
                scope.refs[out] = after if is_new else before
            scope.refs[final] = memory + size * length * (1 - last)
            found[i] = before, after
        return found

    def _while(self, scope: _Scope, node: Node) -> None:
        test: Graph = node.attrs["condition"]
        body: Graph = node.attrs["body"]
        places = self._first_carries(scope, node)
        operands = [self._ref(scope, t) for t in node.inputs[len(places) :]]
        refs, inner = (dict(zip(g.inputs, [*places, *operands], strict=True)) for g in (test, body))
        (result,) = test.outputs
        condition = refs.get(base_of(result)) or self._temp(result)
        known = base_of(result) in refs
        tested = [] if known else self._schedule(test, refs, [(result, condition, None)])
        wanted = zip(body.outputs, places, body.inputs, strict=False)
        steps = [*tested, Leave(condition, node), *self._schedule(body, inner, list(wanted))]
        scope.steps.append(Loop(self._counter(), None, steps, node))

    def _first_carries(
        self, scope: _Scope, node: Node, starts: Mapping[int, Ref] | None = None
    ) -> list[Ref]:
        """The places of a loop's results; the first carries are copied to the first ones, or to
        where they start."""
        places = [scope.refs.get(t) or self._place(scope, t) for t in node.outputs]
        carries = node.inputs[: node.attrs["carries"]]
        for i, tensor in enumerate(carries):
            place = (starts or {}).get(i, places[i])
            scope.steps.append(Copy(place, self._ref(scope, tensor), tensor.size))
        return places

    def _counter(self) -> str:
        self.counters += 1
        return f"__step{self.counters}"

    def _branch(self, scope: _Scope, node: Node) -> None:
        selector = self._ref(scope, node.inputs[0])
        operands = [self._ref(scope, t) for t in node.inputs[1:]]
        places = [self._place(scope, t) for t in node.outputs]
        bodies = []
        for body in node.attrs["branches"]:
            refs = dict(zip(body.inputs, operands, strict=True))
            wanted: list[tuple[Tensor, Ref, Tensor | None]] = [
                (t, p, None) for t, p in zip(body.outputs, places, strict=True)
            ]
            bodies.append(self._schedule(body, refs, wanted))
        scope.steps.append(Branch(selector, bodies, node))


def _moved_products(graph: Graph, waits: Waits) -> dict[Node, tuple[Node, tuple[Size, ...]]]:
    """The products that only one region reads, to put them in an order in which they may as well be
    computed; with the region, and the strides there."""
    found: dict[Node, tuple[Node, tuple[Size, ...]]] = {}
    kept = {base_of(t).node for t in (*graph.outputs, *(t for _, t in graph.updates))}
    for node in graph.nodes:
        readers = waits.users.get(node, ())
        if not node.op.multiplies_matrices or node in kept or len(set(readers)) != 1:
            continue
        (region,) = set(readers)
        if region.op.kind is not Kind.REGION or region in waits.after:
            continue
        steps = permuted_strides(region.attrs["body"])
        either = steps is not None and node.op.kind is Kind.CONTRACT and steps[-2] == 1
        if steps is not None and (steps[-1] == 1 or either):
            found[node] = region, steps
    return found
