"""A program on a card at one tuple of sizes: memory, and its steps, recorded or enqueued anew.

What data decide (branches, loops that a condition ends, calls back into Python) is not recorded:
such steps are enqueued at every call, and the host waits for what it has to know. What may fail
sets a word of its own on the card, which stays set until the host has raised the error. Kernels
that write variables behind that do nothing where such a word is set, so that a failed call changes
none; before a product or a copy that writes a variable, the host looks.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from typing import Any

import numpy as np

from graphc.errors import DeviceError
from graphc.ir.dim import dim, evaluate
from graphc.lower.launches import Launches
from graphc.runtime.cuda_array import Array, Borrowed
from graphc.runtime.cuda_driver import done
from graphc.runtime.cuda_epilogues import agree
from graphc.runtime.cuda_loaded import LoadedProgram
from graphc.runtime.cuda_memory import aligned
from graphc.runtime.cuda_order import MOST, Order, Place
from graphc.runtime.cuda_products import Matrix, Products, Work
from graphc.runtime.cuda_staging import Staged, bytes_of, neighbours, placed

RECORDINGS = 8  # of one plan, by where the inputs and results are
LARGE = 1 << 16  # bytes of a result that is not copied to where it stays
MOST_NODES = 65_536  # of what is recorded for one step: a loop of more is enqueued at every call
MOST_BLOCKS = (1 << 31) - 1
OFFERS = ("keeps", "masked", "sums")  # what a product does unless the library refuses
HOST = 0  # where an input is that is no array on the card
Dims = Mapping[str, int]
Data = Sequence[Any]
Addresses = tuple[int, ...]


class _Left(Exception):  # noqa: N818  (how a loop ends)
    """The condition of a loop does not hold any more."""


class Plan:
    """The memory and the recordings of a program at one tuple of sizes. It serves one call at a
    time."""

    def __init__(
        self,
        program: LoadedProgram,
        stream: Any,
        products: Products,
        dims: Dims,
        variables: Sequence[int],
    ) -> None:
        self.program, self.card, self.stream = program, program.card, stream
        self.products = products
        manifest, graph = program.manifest, program.graph
        self.dims = {name: dims[name] for name in manifest["dims"]}
        self.every = dict(dims)
        self.inputs, self.outputs = (
            [Staged(tuple(evaluate(s, dims) for s in t.shape), t.dtype.numpy) for t in tensors]
            for tensors in (graph.inputs, graph.outputs)
        )
        failures = Staged((len(manifest["failing"]),), np.dtype(np.int64))
        groups = self.inputs, [*self.outputs, failures]
        sizes = [evaluate(dim(manifest["arena"]), self.dims), self._room()]
        sizes += [sum(aligned(array.nbytes) for array in arrays) for arrays in groups]
        self.memory = self.card.allocate(sum(map(aligned, sizes)))
        self.arena, self.room, *starts = accumulate(map(aligned, sizes[:-1]), initial=self.memory)
        self.given, self.fetched = (
            placed(self.card, arrays, start) for arrays, start in zip(groups, starts, strict=True)
        )
        self.failures, self.words = failures.address, failures.host
        self.places = {
            "output": [array.address for array in self.outputs],
            "variable": variables,
            "constant": program.constants,
        }
        self.order: Order | None = None  # of the steps that are recorded
        self.absent: set[Place] = set()  # masks that no product has stored
        self.is_done = False  # whether the last product did the work of the kernel behind it
        self.guards = 0  # how many of these words the kernels that are enqueued look at first
        self._forgive()
        self.recordings: dict[tuple[bool, Addresses, Addresses], Recording] = {}
        self.seen: deque[Addresses] = deque(maxlen=RECORDINGS // 2)  # where large results were
        self.last: Addresses = ()
        try:
            gemms = [step for step in _walk(manifest["steps"]) if step[0] == "gemm"]
            if gemms:
                products.begin()
            if any(step[-1] and step[-1][-1] for step in gemms):
                products.agrees = agree(products)
        except BaseException:
            self.free()
            raise

    def free(self) -> None:
        self.card.wait(self.stream)
        for recording in self.recordings.values():
            self._forget(recording)
        for block in (*self.given, *self.fetched):
            block.free()
        self.card.free(self.memory)

    # -- a call ------------------------------------------------------------------------------------
    def run(
        self,
        given: Sequence[np.ndarray[Any, Any] | Array | Borrowed],
        kept: tuple[Array, ...] | None,
    ) -> tuple[Any, ...]:
        """The results: in `kept`, which are there once the stream is done, or as arrays of the
        host. Errors: of these, that of the first site that failed; `look` says those of others."""
        fetched = [own.host for own in self.outputs] if kept is None else []
        reads, writes = self._placed(given), self._written(kept)
        places = zip(reads, self.inputs, strict=True)
        self.places["input"] = [own.address if at == HOST else at for at, own in places]
        self.places["output"] = writes
        for part in self._recording(kept is not None, reads, writes).parts:
            part()
        if kept is not None:
            for array, at in zip(kept, writes, strict=True):
                if array.address != at:
                    self.card.copy(array.address, at, array.nbytes, self.stream)
            return kept
        self.card.wait(self.stream)
        self.look()
        return tuple(np.array(a) if a.ndim else a[()] for a in fetched)

    def _placed(self, given: Sequence[Any]) -> Addresses:
        """Where each input is read, `HOST` for arrays of the host, which are in pinned memory then.
        Arrays on the card are read where they are if they were there at the last call too, or at
        the first one; else they are copied, since a recording is for certain places."""
        there = tuple([HOST if isinstance(g, np.ndarray) else g.address for g in given])
        known = any(key[1] == there for key in self.recordings)
        stay = known or not self.recordings or there == self.last
        self.last = there
        reads = list(there)
        for i, (array, own) in enumerate(zip(given, self.inputs, strict=True)):
            if isinstance(array, np.ndarray):
                own.host[...] = array
            elif not stay or array.address % array.dtype.itemsize:
                self.card.copy(own.address, array.address, array.nbytes, self.stream)
                reads[i] = own.address
        return tuple(reads)

    def _written(self, kept: tuple[Array, ...] | None) -> Addresses:
        """Where each output is written. Large ones are where they stay, if results have been there
        before, since a recording is for certain places."""
        own = tuple([output.address for output in self.outputs])
        if kept is None:
            return own
        pairs = zip(kept, self.outputs, strict=True)
        there = tuple([a.address if a.nbytes >= LARGE else own.address for a, own in pairs])
        seen = not self.seen or there in self.seen
        if there not in self.seen:
            self.seen.append(there)
        return there if seen else own

    def _recording(self, keep: bool, reads: Addresses, writes: Addresses) -> Recording:
        """The steps for inputs and outputs that are there; those that were used least recently
        go."""
        key = keep, reads, writes
        found = self.recordings.pop(key, None)
        if found is None:
            while len(self.recordings) >= RECORDINGS:
                self._forget(self.recordings.pop(next(iter(self.recordings))))
            found = Recording(self, reads, keep)
        self.recordings[key] = found
        return found

    def _forget(self, recording: Recording) -> None:
        for executable in recording.graphs:
            done(self.card.api.cuGraphExecDestroy(executable), "freeing a graph")

    def begin(self, reads: Sequence[int]) -> None:
        self.guards = 0
        numbers = {own: i for i, own in enumerate(self.inputs) if reads[i] == HOST}
        for arrays in neighbours(self.given, numbers.__contains__):
            with self._ordered([], [("input", numbers[own]) for own in arrays]):
                self.card.upload(arrays[0].address, bytes_of(arrays), self.stream)

    def guard(self) -> None:
        """Kernels from here on do nothing if something failed before."""
        self.guards = self.words.size

    def end(self, keep: bool) -> None:
        numbers = {} if keep else {own: i for i, own in enumerate(self.outputs)}
        failures = self.fetched[-1].arrays[-1]
        for arrays in neighbours(self.fetched, lambda own: own in numbers or own is failures):
            reads: list[Place] = [("output", numbers[own]) for own in arrays if own in numbers]
            with self._ordered([*reads, *(self._failed() if arrays[-1] is failures else ())], []):
                self.card.download(bytes_of(arrays), arrays[0].address, self.stream)

    def check(self) -> None:
        """Wait for all that was enqueued. Errors: as `look`."""
        self.card.download(self.words, self.failures, self.stream)
        self.card.wait(self.stream)
        self.look()

    def look(self) -> None:
        """Errors: that of the first site that failed, of what the card is done with."""
        if self.words.size and self.words.any():
            self.card.wait(self.stream)  # what runs behind it sees the words, too
            failed = self.words.copy()
            self._forgive()
            self.program.fail(failed)

    def _forgive(self) -> None:
        self.words[...] = 0
        if self.words.size:
            clear = self.card.api.cuMemsetD8Async
            done(clear(self.failures, 0, 8 * self.words.size, self.stream), "clearing memory")

    # -- steps -------------------------------------------------------------------------------------
    def nodes(self, step: Data) -> int:
        """About how many nodes a step is that is recorded."""
        if step[0] != "loop":
            return 1
        return self._at(step[2], {}) * sum(map(self.nodes, step[3]))

    def ordered(self) -> Order:
        """For steps that are recorded."""
        temps = enumerate(self.program.manifest["temps"])
        ranges = {("temp", i): (self._at(a, {}), self._at(b, {})) for i, (a, b) in temps}
        return Order(self.card, self.stream, ranges)

    def _ordered(
        self, reads: Iterable[Place], writes: Iterable[Place]
    ) -> AbstractContextManager[None]:
        return nullcontext() if self.order is None else self.order.step(reads, writes)

    def _failed(self) -> list[Place]:
        return [("failed", number) for number in range(self.words.size)]

    def enqueue(self, steps: Sequence[Data], counters: Dims) -> None:
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
        _, kernel, number, refs, _, spared = step
        if spared and self.is_done:
            return
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
        read = [values[name] for name in launches.parameters]
        words = tuple(word & (1 << 64) - 1 for word in (*read, self.failures, self.guards))
        given = (words, (ctypes.c_uint64,) * len(words))
        places: dict[str, Place] = {f"b{i}": _place(ref) for i, ref in enumerate(refs)}
        places |= {room.name: ("room",) for room in launches.rooms}
        places["failures"] = "failed", number
        looks = self._failed() if self.guards else []
        for launch in launches.chosen(all(start % 16 == 0 for start in starts), grid):
            reads, writes = ([places[x] for x in names] for names in (launch.reads, launch.writes))
            with self._ordered([*reads, *looks], writes):
                self._launch(
                    self.program.function(kernel, launch.name),
                    launches.blocks(launch, grid, dims, threads),
                    given,
                )

    def _launch(self, function: Any, blocks: int, given: Any) -> None:
        if blocks > MOST_BLOCKS:
            raise DeviceError(
                "a kernel has more blocks than a card can launch",
                op=self.program.graph.name,
                expected=f"at most {MOST_BLOCKS:,}",
                given=f"{blocks:,} at {dict(self.every)}",
            )
        if blocks:
            launched = self.card.api.cuLaunchKernel(
                function, blocks, 1, 1, self.card.threads, 1, 1, 0, self.stream, given, 0
            )
            done(launched, "launching a kernel")

    def _gemm(self, step: Data, counters: Dims) -> None:
        _, *matrices, sizes, batch, taps, bits, epilogue = step

        def at(sizes: Sequence[str]) -> list[int]:
            return [self._at(s, counters) for s in sizes]

        read = [
            Matrix(
                self._address(ref, counters), self._at(leading, counters), turned, *map(at, steps)
            )
            for ref, leading, turned, *steps in matrices
        ]
        m, n, k = at(sizes)
        work = Work(read, m, n, k, at(batch), at(taps))
        reads, writes = [_place(x[0]) for x in matrices[:2]], [_place(matrices[2][0])]
        self.is_done = False
        if epilogue is not None:
            scale, *refs, positive, offers = epilogue
            added, row = (0 if ref is None else self._address(ref, counters) for ref in refs)
            work = work._replace(scale=scale, added=added, row=row, positive=positive)
            reads += [_place(ref) for ref in refs if ref is not None]
            work = self._offered(work, offers, bits, counters)
            reads += [_place(ref) for name, ref in offers.items() if name == "masked"]
            writes += [_place(ref) for name, ref in offers.items() if name != "masked"]
        parts = self.products.parts(work, bits)
        writes += [("workspace", part) for part in parts]
        with self._ordered(reads, writes):
            self.products.enqueue(work, bits, parts)

    def _offered(self, work: Work, offers: Mapping[str, Data], bits: int, counters: Dims) -> Work:
        """The work with what the library does of what it may refuse."""
        if any(_place(ref) in self.absent for ref in offers.values()):
            return work
        keeps, masked, sums = (
            self._address(offers[name], counters) if name in offers else 0 for name in OFFERS
        )
        more = work._replace(keeps=keeps, masked=masked, sums=sums)
        agrees = bool(offers) and self.products.agrees
        self.is_done = agrees and self.products.has(more, bits)
        if not self.is_done:
            self.absent |= {_place(ref) for name, ref in offers.items() if name == "keeps"}
        return more if self.is_done else work

    def _copy(self, step: Data, counters: Dims) -> None:
        _, target, source, size = step
        count = self._at(size, counters)
        if count:
            to, start = self._address(target, counters), self._address(source, counters)
            with self._ordered([_place(source)], [_place(target)]):
                self.card.copy(to, start, count, self.stream)

    def _loop(self, step: Data, counters: Dims) -> None:
        _, counter, extent, body = step
        turn = 0
        while extent is None or turn < self._at(extent, counters):
            try:
                self.enqueue(body, {**counters, counter: turn})
            except _Left:
                return
            turn += 1

    def _read(self, ref: Data, counters: Dims, dtype: Any) -> Any:
        """A number that the card has computed; errors of what failed before."""
        self.check()
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
        self.enqueue(sides[min(max(chosen, 0), len(sides) - 1)], counters)

    def _host(self, step: Data, counters: Dims) -> None:
        _, site, operands, results = step
        self.check()
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


# -- recordings ------------------------------------------------------------------------------------
class Recording:
    """The steps of a plan for inputs that are in certain places, as functions: what was recorded is
    one launch."""

    def __init__(self, plan: Plan, reads: Sequence[int], keep: bool) -> None:
        self.plan = plan
        self.graphs: list[Any] = []
        steps = plan.program.manifest["steps"]
        recorded = (step for step in steps if not _is_decided_by_data(step))
        self.is_ordered = sum(map(plan.nodes, recorded)) <= MOST
        try:
            self.parts = list(self._parts(reads, keep))
        except BaseException:
            plan._forget(self)
            raise

    def _parts(self, reads: Sequence[int], keep: bool) -> Iterator[Callable[[], None]]:
        plan, steps = self.plan, self.plan.program.manifest["steps"]
        last = max((i for i, s in enumerate(steps) if _may_fail(s)), default=-1)
        behind = _walk(steps[last + 1 :])
        looks = any(map(_writes_variables, behind))
        pending: list[Callable[[], None]] = [lambda: plan.begin(reads)]
        for number, step in enumerate(steps):
            decided = _is_decided_by_data(step)
            if decided or plan.nodes(step) > MOST_NODES:
                yield self._recorded(pending)
                pending = []
                yield lambda step=step: plan.enqueue([step], {})  # type: ignore[misc]
            else:
                pending.append(lambda step=step: plan.enqueue([step], {}))  # type: ignore[misc]
            if decided or (number == last and looks):
                yield self._recorded(pending)
                pending = []
                yield plan.check
            elif number == last:
                pending.append(plan.guard)
        pending.append(lambda: plan.end(keep))
        yield self._recorded(pending)

    def _recorded(self, enqueue: Sequence[Callable[[], None]]) -> Callable[[], None]:
        """What the functions enqueue, as a graph that is launched."""
        if not enqueue:
            return lambda: None
        plan, api, stream = self.plan, self.plan.card.api, self.plan.stream
        mode = api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        done(api.cuStreamBeginCapture(stream, mode), "recording")
        try:
            plan.order = plan.ordered() if self.is_ordered else None
            for function in enqueue:
                function()
        finally:
            plan.order = None
            recorded = api.cuStreamEndCapture(stream)
        graph = done(recorded, "recording")
        executable = done(api.cuGraphInstantiate(graph, 0), "making a graph")
        done(api.cuGraphDestroy(graph), "freeing a graph")
        self.graphs.append(executable)
        return lambda: done(api.cuGraphLaunch(executable, stream), "launching a graph")


# -- what steps do ---------------------------------------------------------------------------------
def _place(ref: Data) -> Place:
    return ref[0], ref[1]


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
    """Whether a product or a copy does."""
    match step:
        case ["gemm", _, _, [[kind, *_], *_], *_] | ["copy", [kind, *_], *_]:
            return bool(kind == "variable")
    return False
