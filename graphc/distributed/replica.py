"""`Replica`: a copy of a training's variables, and the steps that keep it equal to all others.

A step: compute the gradients of some shards into their slots; wait until all slots are full; add up
a part of the sums; wait until all of them are there; update. Whoever has come behind the second
wait has all that the step needs, so a step is made by all or can be made again. A shard that fails,
or whose loss is not finite, ends the run on all sides before anything is written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from graphc.distributed.group import NOTHING, Span
from graphc.distributed.layout import Layout, Slot, part_of
from graphc.distributed.programs import Part, Programs
from graphc.errors import GraphcError
from graphc.train.batches import Array

FINE, DIVERGED, FAILED = 0, 1, 2
PIECE = 1 << 16  # elements that are summed at once, while they are in cache


class Exchange(Protocol):
    """What replicas share: memory, and a place to meet. The last of them are servers, if any."""

    rank: int
    size: int

    def memory(self, count: int) -> Any:
        """So many bytes that all of them see, zeros at first."""

    def meet(
        self, written: Sequence[Span] = (), apart: Mapping[int, Sequence[Span]] = NOTHING
    ) -> None:
        """Wait until all are here; then all see what each has written at these places, and some
        what was written for them."""


class Alone:
    """The exchange of a single replica."""

    rank, size = 0, 1

    def memory(self, count: int) -> Any:
        return np.zeros(count, np.uint8)

    def meet(
        self, written: Sequence[Span] = (), apart: Mapping[int, Sequence[Span]] = NOTHING
    ) -> None:
        """There is nobody to wait for."""


@dataclass
class Seconds:
    """What a replica spent its time with."""

    compute: float = 0.0
    wait: float = 0.0
    sum: float = 0.0
    update: float = 0.0
    steps: int = 0
    examples: int = 0
    started: float = field(default_factory=time.perf_counter, repr=False)

    def lap(self, what: str) -> None:
        """What was done since the last lap."""
        now = time.perf_counter()
        setattr(self, what, getattr(self, what) + now - self.started)
        self.started = now


class Replica:
    """The walk of one replica over data. `at` is the step that comes next."""

    areas = 0  # of memory, for parameter servers

    def __init__(
        self, programs: Programs, arrays: Sequence[Array], size: int, seconds: Seconds
    ) -> None:
        self.programs, self.size = programs, size
        self.arrays = list(arrays)
        self.examples = len(self.arrays[0])
        self.order: Array | None = None
        self.at = 0
        self.seconds = seconds
        self.failure: GraphcError | None = None
        self.is_torn = False  # whether its variables are ahead of `at`
        self.results = [np.empty((self.examples, *s), d) for s, d in programs.kept]
        self.exchange: Exchange = Alone()

    def join(self, exchange: Exchange) -> None:
        """Share the work with others from now on."""
        self.exchange = exchange
        shards, rank = self.programs.shards, exchange.rank
        workers = max(exchange.size - self.programs.strategy.servers, 1)
        self._mine = range(0)  # a server's
        if rank < workers:
            self._mine = range(*part_of(shards, rank, workers))
        self._place(Layout(self.programs, -(-self.size // shards), shards, self.areas))

    def _place(self, layout: Layout) -> None:
        memory = self.exchange.memory(layout.bytes)
        rank, size = self.exchange.rank, self.exchange.size
        self._told = [span for s in self._mine for span in layout.told(s)]
        self._gradients = {
            other: [span for s in self._mine for span in layout.gradients(s, other, size)]
            for other in range(size)
            if other != rank
        }
        self._summed = layout.parts(rank, size)
        self._slots = layout.slots(memory)
        self._buckets, self._sums = layout.sums(memory)
        self._areas = layout.areas(memory)

    # -- the newest values -------------------------------------------------------------------------
    def values(self, places: Sequence[int]) -> list[Array]:
        """The values of some variables."""
        return [self.programs.variables[i].value for i in places]

    def assign(self, places: Sequence[int], values: Sequence[Array]) -> None:
        """New values of some variables."""
        for i, value in zip(places, values, strict=True):
            self.programs.variables[i].value = value

    def gather(self) -> None:
        """All variables of this process get their newest values."""

    def settle(self) -> None:
        """Somebody is lost: `at` is the step that comes next, whoever goes on with it."""

    # -- a run -------------------------------------------------------------------------------------
    def run(self, first: int, count: int) -> int:
        """Make `count` steps, from step `first` on; FINE, or why a step was not made, which is the
        one at `at` then."""
        self.at, self.failure = first, None
        self.seconds.started = time.perf_counter()
        for _ in range(count):
            code = self._step()
            if code:
                return code
            self.at += 1
            self.seconds.steps += 1
        return FINE

    def _step(self) -> int:
        bounds = self._bounds()
        for shard in self._mine:
            self._compute(self._slots[shard], shard, bounds[shard : shard + 2], bounds)
        self.seconds.lap("compute")
        self.exchange.meet(self._told, self._gradients)
        self.seconds.lap("wait")
        full = [s for s in range(self.programs.shards) if bounds[s] < bounds[s + 1]]
        code = max(state_of(self._slots[s]) for s in full)
        if code:
            return code
        self._prepare(full, bounds)
        self.seconds.lap("sum")
        self.exchange.meet(self._summed)
        self.seconds.lap("wait")
        code = self._commit()
        self.seconds.lap("update")
        return code

    def _prepare(self, full: Sequence[int], bounds: Sequence[int]) -> None:
        """What all of them need for the update, between the two meetings of a step."""
        self._sum(full)
        self._notes = self._take_notes(full, bounds)

    def _commit(self) -> int:
        """Make the step: what nobody waits for any more. All replicas fail alike."""
        return max(self._update(part, self._sums) for part in self.programs.parts)

    def _update(self, part: Part, sums: Sequence[Array]) -> int:
        notes = self._notes if part.counts else []
        try:
            part.update.flat(*(sums[i] for i in part.summed), *notes)
        except GraphcError as error:
            self.failure = error
            return FAILED
        return FINE

    def _bounds(self) -> list[int]:
        """Where the shards of this step begin and end among all examples."""
        start = self.at * self.size
        rows = min(self.size, self.examples - start)
        shards = self.programs.shards
        return [start + rows * s // shards for s in range(shards + 1)]

    def _rows(self, start: int, end: int) -> Any:
        return slice(start, end) if self.order is None else self.order[start:end]

    def _compute(
        self, slot: Slot, shard: int, part: Sequence[int], bounds: Sequence[int]
    ) -> None:
        """The gradients of a part of the examples that a step has."""
        start, end = part
        if start == end:
            return
        rows = self._rows(start, end)
        share = self._share(part, bounds)
        slot.status[:] = FINE, self.at
        self.seconds.examples += end - start
        try:
            found = self.programs.gradient.flat(
                *(a[rows] for a in self.arrays), share, shard
            )
        except GraphcError as error:
            self.failure, slot.status[0] = error, FAILED
            return
        slot.loss[0] = found[0]
        places = [*slot.summed, *slot.notes, *(k[: end - start] for k in slot.kept)]
        for place, value in zip(places, found[1:], strict=True):
            place[...] = value

    def _share(self, part: Sequence[int], bounds: Sequence[int]) -> float:
        """The share of the step's weight that is in a part of its examples."""
        start, end = part
        if self.programs.weighted:
            weights = self.arrays[-1]
            whole = weights[self._rows(bounds[0], bounds[-1])].sum(dtype=np.float64)
            if whole > 0:
                return float(weights[self._rows(start, end)].sum(dtype=np.float64) / whole)
        return (end - start) / (bounds[-1] - bounds[0])

    def _sum(self, full: Sequence[int]) -> None:
        """This replica's part of each bucket, shard after shard."""
        rank, size = self.exchange.rank, self.exchange.size
        for i, bucket in enumerate(self._buckets):
            start, end = part_of(len(bucket), rank, size)
            for at in range(start, end, PIECE):
                piece = slice(at, min(at + PIECE, end))
                total = bucket[piece]
                total[...] = self._slots[full[0]].buckets[i][piece]
                for shard in full[1:]:
                    np.add(total, self._slots[shard].buckets[i][piece], out=total)

    def _take_notes(self, full: Sequence[int], bounds: Sequence[int]) -> list[Array]:
        """What metrics noted of all shards, as copies; what they keep goes to its place."""
        notes: list[Array] = []
        for s, slot in enumerate(self._slots):
            notes += [n.copy() for n in slot.notes] if s in full else self.programs.first
        for s in full:
            self._keep(self._slots[s], *bounds[s : s + 2])
        return notes

    def _keep(self, slot: Slot, start: int, end: int) -> None:
        for result, kept in zip(self.results, slot.kept, strict=True):
            result[start:end] = kept[: end - start]


def state_of(slot: Slot) -> int:
    """What became of a shard."""
    code = int(slot.status[0])
    return code if code or np.isfinite(slot.loss[0]) else DIVERGED
