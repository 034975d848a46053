"""`Replica`: a copy of a training's variables, and the steps that keep it equal to all others.

A step: compute the gradients of some shards into their slots, while a part of the sums of all slots
is made (`sums.py`); wait until all sums are there; update. Whoever has come behind that wait has
all that the step needs, so a step is made by all or can be made again. A shard that fails, or whose
loss is not finite, ends the run on all sides before anything is written.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from graphc.distributed.group import NOTHING, Apart, Exchange, Spans, Words
from graphc.distributed.layout import Layout, Slot, part_of
from graphc.distributed.programs import Part, Programs
from graphc.distributed.sums import Sums, Tally, add_up
from graphc.errors import GraphcError
from graphc.train.batches import Array

FINE, DIVERGED, FAILED = 0, 1, 2


class Alone:
    """The exchange of a single replica."""

    rank, size, limit = 0, 1, 1.0
    unsent: Collection[int] = ()

    def memory(self, count: int) -> Any:
        return np.zeros(count, np.uint8)

    def meet(self, written: Spans = (), apart: Apart = NOTHING) -> None:
        """There is nobody to wait for."""

    def say(self, word: bytes, written: Spans = (), apart: Apart = NOTHING) -> None:
        """Nobody hears it."""

    def tell(self, rank: int, word: bytes, written: Spans = ()) -> None:
        """Nobody hears it."""

    def words(self, ranks: Collection[int], file: int | None, seconds: float) -> Words:
        """Nobody says anything."""
        return []


@dataclass
class Seconds:
    """What a replica spent its time with. `hidden` is the part of the sums that was made while it
    computed; of the buckets of gradients, and their bytes, that it handed over, the early ones were
    handed over before the last step of the backward pass."""

    compute: float = 0.0
    wait: float = 0.0
    sum: float = 0.0
    hidden: float = 0.0
    update: float = 0.0
    steps: int = 0
    examples: int = 0
    buckets: int = 0
    early_buckets: int = 0
    bytes: int = 0
    early_bytes: int = 0
    started: float = field(default_factory=time.perf_counter, repr=False)

    def take(self, tally: Tally) -> None:
        """What was done since the last lap: waiting, but for what sums took."""
        self.lap("wait")
        self.wait = max(self.wait - tally.shown, 0.0)
        self.sum += tally.shown + tally.hidden
        self.hidden += tally.hidden
        self.buckets += tally.buckets
        self.early_buckets += tally.early_buckets
        self.bytes += tally.bytes
        self.early_bytes += tally.early_bytes

    def lap(self, what: str) -> None:
        """What was done since the last lap."""
        now = time.perf_counter()
        setattr(self, what, getattr(self, what) + now - self.started)
        self.started = now


class Replica:
    """The walk of one replica over data. `at` is the step that comes next."""

    areas = 0  # of memory, for parameter servers
    sums_beside = True  # whether workers sum while they compute

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
        ranges = [range(*part_of(shards, r, workers)) for r in range(workers)]
        self._mine = ranges[rank] if rank < workers else range(0)  # a server's
        self._place(Layout(self.programs, -(-self.size // shards), shards, self.areas))
        self._summing: Sums | None = None
        if self.sums_beside and exchange.size > 1:
            self._summing = Sums(exchange, self._layout, self._slots, self._buckets, ranges)

    def _place(self, layout: Layout) -> None:
        memory = self.exchange.memory(layout.bytes)
        self._layout = layout
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
        full = [s for s in range(self.programs.shards) if bounds[s] < bounds[s + 1]]
        code = self._make(full, bounds) or self._commit()
        self.seconds.lap("update")
        return code

    def _make(self, full: Sequence[int], bounds: Sequence[int]) -> int:
        """What all of them need for the update: the sums and notes of the shards that have
        examples; or why there is none."""
        if self._summing is None:
            self._gradients(bounds)
            self.seconds.lap("compute")
        else:
            with self._summing.beside(full, partial(self._read, full, bounds)):
                self._gradients(bounds)
                self.seconds.lap("compute")
            self.seconds.take(self._summing.tally)
            return self._outcome
        self._read(full, bounds)
        if self._outcome == FINE:
            for place in range(len(self._buckets)):
                add_up(self._slots, self._buckets, place, full, 0, 1)
        self.seconds.lap("sum")
        return self._outcome

    def _read(self, full: Sequence[int], bounds: Sequence[int]) -> None:
        """What is told of all shards: what became of them, and their notes."""
        self._outcome = self._state(full)
        if self._outcome == FINE:
            self._notes = self._take_notes(full, bounds)

    def _gradients(self, bounds: Sequence[int]) -> None:
        """Those of the shards that are this one's."""
        for shard in self._mine:
            self._compute(self._slots[shard], shard, bounds[shard : shard + 2], bounds)
            if self._summing is not None:
                self._summing.over()

    def _state(self, full: Sequence[int]) -> int:
        """What became of all shards."""
        return max(state_of(self._slots[s]) for s in full)

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
        caller, listener = self.programs.gradient.caller, 0
        assert caller is not None
        if self._summing is not None:
            listener = self._summing.listener
        arrays = [a[rows] for a in self.arrays]
        try:
            caller.into(*arrays, share, shard, slot.addresses, listener)
        except GraphcError as error:
            self.failure, slot.status[0] = error, FAILED

    def _share(self, part: Sequence[int], bounds: Sequence[int]) -> float:
        """The share of the step's weight that is in a part of its examples."""
        start, end = part
        if self.programs.weighted:
            weights = self.arrays[-1]
            whole = weights[self._rows(bounds[0], bounds[-1])].sum(dtype=np.float64)
            if whole > 0:
                return float(weights[self._rows(start, end)].sum(dtype=np.float64) / whole)
        return (end - start) / (bounds[-1] - bounds[0])

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
