"""A program on a card: its steps are recorded once for each tuple of sizes, then launched at once.

What data decide (branches, loops that a condition ends, calls back into Python) is not recorded:
such steps are enqueued at every call, and the host waits for what it has to know. What may fail
sets a word of its own on the card; the host looks at these words before the first step that writes
a variable, so that a failed call changes none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphc import locks
from graphc.errors import DeviceError
from graphc.ir.dim import Size, dim, evaluate
from graphc.ir.evaluate import bind_dims, check_sizes
from graphc.ir.graph import Graph
from graphc.ir.op import registry
from graphc.lower.launches import Launches, read_launches
from graphc.runtime.arguments import as_input
from graphc.runtime.caller import hold
from graphc.runtime.cuda_driver import done
from graphc.runtime.cuda_memory import Array, Card, OutOfMemoryError, Remote, aligned, remote
from graphc.runtime.cuda_products import Products
from graphc.runtime.manifest import Manifest, host_calls, where

PLANS = 16  # tuples of sizes that a program keeps memory and graphs for, in each context
MOST_BLOCKS = (1 << 31) - 1
Dims = Mapping[str, int]
Data = Sequence[Any]


class CudaProgram:
    """Calls a program with arrays: `call` as that of `Caller`."""

    def __init__(
        self, graph: Graph, manifest: Manifest, modules: Sequence[bytes], constants: bytes
    ) -> None:
        self.graph, self.manifest, self.card = graph, manifest, Card()
        self.pool: list[Context] = []
        self.constants: list[int] = []
        self.modules: dict[str, Any] = {}
        self.variables = [graph.variables[i] for i in manifest["variables"]]
        self.written = {v.cell for v, _ in graph.updates}
        self.hosts = dict(host_calls(graph, manifest))
        self.card.enter()
        api = self.card.api
        self.modules |= {
            name: done(api.cuModuleLoadData(data + b"\0"), "loading a kernel")
            for name, data in zip(manifest["kernels"], modules, strict=True)
        }
        self.functions: dict[tuple[str, str], Any] = {}
        self.launches: dict[int, Launches] = {}
        at = 0
        stream = self.card.stream()
        for size in manifest["constants"]:
            array = np.frombuffer(constants[at : at + size], np.uint8)
            self.constants.append(self.card.allocate(size))
            self.card.upload(self.constants[-1], array, stream)
            self.card.wait(stream)
            at += size
        self.sizes: dict[str, Size] = {}
        self.lock = locks.private()

    def __del__(self) -> None:
        if "modules" not in self.__dict__ or not self.card.is_usable:  # there was no card
            return
        self.card.enter()
        for context in self.pool:
            context.free()
        for address in self.constants:
            self.card.free(address)
        for module in self.modules.values():
            done(self.card.api.cuModuleUnload(module), "unloading a kernel")

    def call(self, *arrays: Any) -> tuple[Any, ...]:
        graph = self.graph
        given = [as_input(a, t, graph.name) for a, t in zip(arrays, graph.inputs, strict=True)]
        dims = bind_dims(graph, given)
        self.card.enter()
        try:
            context = self.pool.pop()
        except IndexError:
            context = Context(self)
        try:
            with hold(self.variables):
                return self._run(context, given, dims)
        finally:
            self.pool.append(context)

    @property
    def rows(self) -> Callable[..., Array]:
        return lambda *arrays: np.stack(self.call(*arrays))

    def _run(self, context: Context, given: Sequence[Array], dims: Dims) -> tuple[Any, ...]:
        homes = [remote(v.cell, self.card) for v in self.variables]
        plan = context.plan(dims, homes)
        for home in homes:
            home.send(context.stream)
        for pinned, array in zip(plan.staged, given, strict=True):
            pinned[...] = array
        plan.run()
        for home in homes:
            if home.cell in self.written:
                home.newest = True
        return tuple(np.array(a) if a.ndim else a[()] for a in plan.fetched)

    # -- what is the same for all sizes ------------------------------------------------------------
    def size(self, text: str) -> Size:
        found = self.sizes.get(text)
        if found is None:
            self.sizes[text] = found = dim(text)
        return found

    def function(self, kernel: str, launch: str) -> Any:
        key = kernel, launch
        if key not in self.functions:
            found = self.card.api.cuModuleGetFunction(self.modules[kernel], launch.encode())
            self.functions[key] = done(found, "finding a kernel")
        return self.functions[key]

    def of(self, step: Data) -> Launches:
        """The launches of a call."""
        found = self.launches.get(id(step))
        if found is None:
            self.launches[id(step)] = found = read_launches(step[4])
        return found

    def fail(self, words: Array) -> None:
        """Raise the error of the first site that failed, if one did."""
        for number in np.flatnonzero(words):
            bits = int(words[number])
            code = self.manifest["failing"][number][(bits & -bits).bit_length() - 1]
            site = self.manifest["sites"][code - 1]
            raise registry()[site["op"]].failure(
                site["message"], op=site["op"], where=where(self.graph, self.manifest, code)
            )


class Context:
    """What one call in flight has to itself: a stream, and memory and graphs by sizes."""

    def __init__(self, program: CudaProgram) -> None:
        self.program = program
        self.stream = program.card.stream()
        self.products = Products(program.card, self.stream)
        self.plans: dict[tuple[int, ...], Plan] = {}

    def plan(self, dims: Dims, homes: Sequence[Remote]) -> Plan:
        """The plan for these sizes; the one that was used least recently goes for a new one."""
        key = tuple(dims.values())
        found = self.plans.pop(key, None)
        if found is None:
            check_sizes(self.program.graph, dims)
            while len(self.plans) >= PLANS:
                self.plans.pop(next(iter(self.plans))).free()
            try:
                found = Plan(self, dims, homes)
            except OutOfMemoryError:
                self._free_plans()
                found = Plan(self, dims, homes)
        self.plans[key] = found
        return found

    def _free_plans(self) -> None:
        for plan in self.plans.values():
            plan.free()
        self.plans.clear()

    def free(self) -> None:
        self._free_plans()
        self.products.free()
        done(self.program.card.api.cuStreamDestroy(self.stream), "ending a stream")


class _Left(Exception):  # noqa: N818  (how a loop ends)
    """The condition of a loop does not hold any more."""


class Plan:
    """A program at one tuple of sizes: its memory, and its steps as recorded graphs and as what is
    enqueued anew."""

    def __init__(self, context: Context, dims: Dims, homes: Sequence[Remote]) -> None:
        self.context, self.program = context, context.program
        self.card, self.stream = self.program.card, context.stream
        manifest, graph = self.program.manifest, self.program.graph
        self.dims = {name: dims[name] for name in manifest["dims"]}
        self.every = dict(dims)
        shapes = [
            [tuple(evaluate(s, dims) for s in t.shape) for t in tensors]
            for tensors in (graph.inputs, graph.outputs)
        ]
        pairs = [
            list(zip(of, [t.dtype.numpy for t in ts], strict=True))
            for of, ts in zip(shapes, (graph.inputs, graph.outputs), strict=True)
        ]
        sizes = [[int(np.prod(s, dtype=np.int64)) * d.itemsize for s, d in p] for p in pairs]
        failing = len(manifest["failing"])
        parts = [evaluate(dim(manifest["arena"]), self.dims), 8 * failing, self._room()]
        total = sum(map(aligned, [*parts, *sizes[0], *sizes[1]]))
        self.memory = self.card.allocate(total)
        self.staged: list[Array] = []
        self.fetched: list[Array] = []
        self.graphs: list[Any] = []
        at = self.memory

        def take(size: int) -> int:
            nonlocal at
            start, at = at, at + aligned(size)
            return start

        self.arena, self.failures, self.room = map(take, parts)
        self.places = {
            "input": list(map(take, sizes[0])),
            "output": list(map(take, sizes[1])),
            "variable": [home.address for home in homes],
            "constant": self.program.constants,
        }
        self.staged = [self.card.pinned(*pair) for pair in pairs[0]]
        self.fetched = [self.card.pinned(*pair) for pair in pairs[1]]
        self.words = np.zeros(failing, np.int64)
        try:
            if manifest["products"]:
                context.products.begin()
            self.parts = list(self._segments(manifest["steps"]))
        except BaseException:
            self.free()
            raise

    def free(self) -> None:
        for executable in self.graphs:
            done(self.card.api.cuGraphExecDestroy(executable), "freeing a graph")
        for array in (*self.staged, *self.fetched):
            self.card.unpin(array)
        self.card.free(self.memory)

    # -- a call ------------------------------------------------------------------------------------
    def run(self) -> None:
        for part in self.parts:
            part()
        self.card.wait(self.stream)
        self._check(waited=True)

    def _segments(self, steps: Sequence[Data]) -> Iterator[Callable[[], None]]:
        """The steps as functions: recorded ones are one launch."""
        last = max((i for i, s in enumerate(steps) if _may_fail(s)), default=-1)
        pending: list[Callable[[], None]] = [self._begin]
        for number, step in enumerate(steps):
            if _is_decided_by_data(step):
                yield self._recorded(pending)
                pending = []
                yield lambda step=step: self._enqueue([step], {})  # type: ignore[misc]
                yield self._check
            else:
                pending.append(lambda step=step: self._enqueue([step], {}))  # type: ignore[misc]
                writes = any(_writes_variables(s) for s in steps[number + 1 :])
                if number == last and writes:
                    yield self._recorded(pending)
                    pending = []
                    yield self._check
        pending.append(self._end)
        yield self._recorded(pending)

    def _recorded(self, enqueue: Sequence[Callable[[], None]]) -> Callable[[], None]:
        """What the functions enqueue, as a graph that is launched."""
        if not enqueue:
            return lambda: None
        api, stream = self.card.api, self.stream
        mode = api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        done(api.cuStreamBeginCapture(stream, mode), "recording")
        try:
            for function in enqueue:
                function()
        finally:
            recorded = api.cuStreamEndCapture(stream)
        graph = done(recorded, "recording")
        executable = done(api.cuGraphInstantiate(graph, 0), "making a graph")
        done(api.cuGraphDestroy(graph), "freeing a graph")
        self.graphs.append(executable)
        return lambda: done(api.cuGraphLaunch(executable, stream), "launching a graph")

    def _begin(self) -> None:
        if self.words.size:
            clear = self.card.api.cuMemsetD8Async
            done(clear(self.failures, 0, 8 * self.words.size, self.stream), "clearing memory")
        for place, array in zip(self.places["input"], self.staged, strict=True):
            self.card.upload(place, array, self.stream)

    def _end(self) -> None:
        for place, array in zip(self.places["output"], self.fetched, strict=True):
            self.card.download(array, place, self.stream)

    def _check(self, waited: bool = False) -> None:
        """Errors: that of the first site that failed."""
        if self.words.size:
            self.card.download(self.words, self.failures, self.stream)
            self.card.wait(self.stream)
            self.program.fail(self.words)

    # -- steps -------------------------------------------------------------------------------------
    def _enqueue(self, steps: Sequence[Data], counters: Dims) -> None:
        for step in steps:
            getattr(self, f"_{step[0]}")(step, counters)

    def _at(self, text: str, counters: Dims) -> int:
        size = self.program.size(text)
        return size if isinstance(size, int) else evaluate(size, {**self.dims, **counters})

    def _address(self, ref: Data, counters: Dims) -> int:
        kind, index, offset = ref
        start = self.arena if kind == "temp" else self.places[kind][index]
        return start + self._at(offset, counters)

    def _room(self) -> int:
        """The bytes of all rooms of the kernel that has most."""
        return max(
            (
                sum(size for _, size in self._rooms(self.program.of(step), self.dims))
                for step in _calls(self.program.manifest["steps"])
            ),
            default=0,
        )

    def _rooms(self, launches: Launches, dims: Dims) -> list[tuple[str, int]]:
        grid = launches.grid(dims, self.card.threads)
        return [
            (room.name, aligned(room.elements(grid, dims) * room.dtype.itemsize))
            for room in launches.rooms
        ]

    def _call(self, step: Data, counters: Dims) -> None:
        _, kernel, number, refs, _ = step
        launches, threads = self.program.of(step), self.card.threads
        dims = {**self.dims, **counters}
        grid = launches.grid(dims, threads)
        values = {f"b{i}": self._address(ref, counters) for i, ref in enumerate(refs)}
        starts = [*values.values()]
        at = self.room
        for name, size in self._rooms(launches, dims):
            values[name] = at
            at += size
        values |= {name: evaluate(size, dims) for name, size in launches.sizes.items()}
        values |= {"shift": grid.shift, "groups": grid.groups, "blocks": grid.blocks}
        values["failures"] = self.failures + 8 * number
        words = tuple(values[name] & (1 << 64) - 1 for name in launches.parameters)
        given = (words, (ctypes.c_uint64,) * len(words))
        for launch in launches.chosen(all(start % 16 == 0 for start in starts)):
            blocks = launches.blocks(launch, grid, dims, threads)
            if blocks > MOST_BLOCKS:
                raise DeviceError(
                    "a kernel has more blocks than a card can launch",
                    op=self.program.graph.name,
                    expected=f"at most {MOST_BLOCKS:,}",
                    given=f"{blocks:,} at {dict(self.every)}",
                )
            if blocks:
                function = self.program.function(kernel, launch.name)
                launched = self.card.api.cuLaunchKernel(
                    function, blocks, 1, 1, threads, 1, 1, 0, self.stream, given, 0
                )
                done(launched, "launching a kernel")

    def _gemm(self, step: Data, counters: Dims) -> None:
        _, *matrices, sizes, batch, bits = step
        read = [
            (
                self._address(ref, counters),
                self._at(leading, counters),
                transposed,
                [self._at(s, counters) for s in strides],
            )
            for ref, leading, transposed, strides in matrices
        ]
        m, n, k = (self._at(s, counters) for s in sizes)
        self.context.products.enqueue(read, (m, n, k), [self._at(s, counters) for s in batch], bits)

    def _copy(self, step: Data, counters: Dims) -> None:
        _, target, source, size = step
        count = self._at(size, counters)
        if count:
            to, start = self._address(target, counters), self._address(source, counters)
            done(self.card.api.cuMemcpyDtoDAsync(to, start, count, self.stream), "copying")

    def _loop(self, step: Data, counters: Dims) -> None:
        _, counter, extent, body = step
        turn = 0
        while extent is None or turn < self._at(extent, counters):
            try:
                self._enqueue(body, {**counters, counter: turn})
            except _Left:
                return
            turn += 1

    def _read(self, ref: Data, counters: Dims, dtype: Any) -> Any:
        """A number that the card has computed; errors of what failed before."""
        self._check()
        array = np.zeros(1, dtype)
        self.card.download(array, self._address(ref, counters), self.stream)
        self.card.wait(self.stream)
        return array[0]

    def _leave(self, step: Data, counters: Dims) -> None:
        if not self._read(step[1], counters, np.bool_):
            raise _Left

    def _branch(self, step: Data, counters: Dims) -> None:
        _, ref, sides, by_truth = step
        chosen = int(self._read(ref, counters, np.bool_ if by_truth else np.int64))
        self._enqueue(sides[min(max(chosen, 0), len(sides) - 1)], counters)

    def _host(self, step: Data, counters: Dims) -> None:
        _, site, operands, results = step
        self._check()
        host = self.program.hosts[site]
        described = next(h for h in self.program.manifest["hosts"] if h["site"] == site)
        dtypes = [np.dtype(name) for name, _ in (*described["operands"], *described["results"])]
        arrays = []
        for number, ((ref, shape), dtype) in enumerate(
            zip((*operands, *results), dtypes, strict=True)
        ):
            array = np.zeros([self._at(s, counters) for s in shape], dtype)
            if number < len(operands):
                self.card.download(array, self._address(ref, counters), self.stream)
            arrays.append(array)
        self.card.wait(self.stream)
        host([a.ctypes.data for a in arrays], [s for a in arrays for s in a.shape])
        for (ref, _), array in zip(results, arrays[len(operands) :], strict=True):
            self.card.upload(self._address(ref, counters), array, self.stream)
        self.card.wait(self.stream)


# -- what steps do ---------------------------------------------------------------------------------
def _inside(step: Data) -> Sequence[Data]:
    if step[0] == "loop":
        return list(step[3])
    return [s for side in step[2] for s in side] if step[0] == "branch" else []


def _walk(steps: Sequence[Data]) -> Iterator[Data]:
    for step in steps:
        yield step
        yield from _walk(_inside(step))


def _calls(steps: Sequence[Data]) -> Iterator[Data]:
    return (step for step in _walk(steps) if step[0] == "call")


def _is_decided_by_data(step: Data) -> bool:
    return any(s[0] in ("host", "branch", "leave") for s in _walk([step]))


def _may_fail(step: Data) -> bool:
    return any((s[0] == "call" and s[2] >= 0) or s[0] == "host" for s in _walk([step]))


def _writes_variables(step: Data) -> bool:
    """Whether it may: what it only reads counts too."""
    return "variable" in str(step)
