"""The sums of gradients, bucket after bucket, while the gradients are still computed.

The program of gradients writes a byte to a pipe as soon as further gradients are there. A second
thread listens to that pipe and to the other workers: it tells them which buckets this one has
given, adds up its own part of a bucket as soon as all have given it, shard after shard, and tells
them that. The native program needs no lock of Python's, so that all of this goes on beside it.

What is said in a step, to all others: `GIVEN` for each shard of one's own and each bucket, in the
order in which buckets become complete, which is the program's; `TOLD`, once, with what else is told
of these shards; `TAKEN`, once, when one has what all others told, whose memory they may write again
then; `SUMMED` for each bucket, with a part of its sum. Whoever has heard all of this of all others
has what the step needs. A call that fails gives what there is: what is told of it says that it
failed, and nothing is made of the sums then.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from graphc.distributed.buckets import when_ready
from graphc.distributed.group import Exchange, Lost
from graphc.distributed.layout import Layout, Slot, part_of
from graphc.lower.announce import READY
from graphc.train.batches import Array

GIVEN, TOLD, TAKEN, SUMMED = b"g", b"t", b"k", b"s"
OVER, STOP = 0, 2  # what else is said through the pipe: a call is over, or no more come
PIECE = 1 << 16  # elements that are summed at once, while they are in cache


@dataclass
class Tally:
    """What was handed over in a step, and how long sums took."""

    buckets: int = 0
    early_buckets: int = 0
    bytes: int = 0
    early_bytes: int = 0
    hidden: float = 0.0  # seconds of adding up while gradients were computed
    shown: float = 0.0  # and of those afterwards


@dataclass
class _Step:
    """How far a step is."""

    full: Sequence[int]  # the shards that have examples
    take: Callable[[], None]  # what is told
    given: dict[int, int]  # words `GIVEN` of each worker
    heard: dict[int, int]  # words `SUMMED`
    told: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    rung: int = 0  # announcements of the call that goes on
    calls: int = 0  # that are over
    summed: int = 0
    stopped: bool = False


class Sums:
    """The sums of one worker among others: `shards` are those that each of them computes."""

    def __init__(
        self,
        exchange: Exchange,
        layout: Layout,
        slots: Sequence[Slot],
        totals: Sequence[Array],
        shards: Sequence[range],
    ) -> None:
        self._exchange, self._layout = exchange, layout
        self._slots, self._totals, self._shards = slots, totals, shards
        self._buckets, self._rank = layout.programs.buckets, exchange.rank
        caller = layout.programs.gradient.caller
        assert caller is not None
        self._ready = when_ready(self._buckets, caller.announced)
        self._mine = shards[exchange.rank]
        self._others = [r for r in range(exchange.size) if r != exchange.rank]
        # Where no bucket is there early, as in small models, a second thread would only cost time.
        early = any(ready.early for ready in self._ready)
        self._pool = ThreadPoolExecutor(1, "sums") if early else None
        self._task: Future[None] | None = None
        self._ear, self._bell = os.pipe()
        for end in (self._ear, self._bell):
            os.set_blocking(end, False)
            weakref.finalize(self, os.close, end)
        self.listener = self._bell + 1 if early else 0
        self.tally = Tally()

    @contextlib.contextmanager
    def beside(self, full: Sequence[int], take: Callable[[], None]) -> Iterator[None]:
        """What is computed inside is added up meanwhile: `full` are the shards that have examples.
        `take` is called once all is told of them. Behind it all sums are there. Errors: `Lost`."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._ear, 1 << 16)  # of a step that was not finished
        self.tally = Tally()
        if self._pool is None:
            yield
            self._run(full, take, len(self._mine))
            return
        self._task = self._pool.submit(self._run, full, take)
        try:
            yield
        except BaseException:
            self._ring(STOP)
            self._task.exception()
            raise
        self._task.result()

    def over(self) -> None:
        """A call is over."""
        self._ring(OVER)

    def _ring(self, word: int) -> None:
        """Say something through the pipe, as long as somebody listens: it may be full."""
        while self._task is not None and not self._task.done():
            with contextlib.suppress(BlockingIOError):
                os.write(self._bell, bytes([word]))
                return
            select.select([], [self._bell], [], 0.1)

    # -- mostly the second thread ------------------------------------------------------------------
    def _run(self, full: Sequence[int], take: Callable[[], None], over: int = 0) -> None:
        """A step's sums; so many calls are over when it begins."""
        given = dict.fromkeys(range(self._exchange.size), 0)
        step = _Step(full, take, given, dict.fromkeys(self._others, 0))
        deadline = time.monotonic() + self._exchange.limit
        for _ in range(over):
            self._hear(step, OVER)
        with np.errstate(all="ignore"):  # of a shard that failed
            while not step.stopped:
                computing = step.calls < len(self._mine)
                now = time.monotonic()
                if computing:
                    deadline = now + self._exchange.limit
                awaited = [r for r in self._others if not self._is_done(step, r)]
                late = self._exchange.unsent if not computing else ()
                if not computing and not awaited and not late:
                    return
                if now >= deadline:
                    raise Lost(sorted({*awaited, *late}))
                words = self._exchange.words(awaited, self._ear, deadline - now)
                start = time.perf_counter()
                self._take(step, words)
                taken = time.perf_counter() - start
                if computing:
                    self.tally.hidden += taken
                else:
                    self.tally.shown += taken

    def _is_done(self, step: _Step, rank: int) -> bool:
        """Whether all of this step was heard of another one."""
        return rank in step.taken and step.heard[rank] == len(self._buckets)

    def _take(self, step: _Step, words: Sequence[tuple[int, bytes]]) -> None:
        """What others and the pipe have said."""
        for rank, word in words:
            if word == GIVEN:
                step.given[rank] += 1
            elif word == SUMMED:
                step.heard[rank] += 1
            else:
                (step.told if word == TOLD else step.taken).add(rank)
        with contextlib.suppress(BlockingIOError):
            for byte in os.read(self._ear, 1 << 12):
                self._hear(step, byte)
        if len(step.told) == self._exchange.size:
            step.take()
            self._exchange.say(TAKEN)
            step.told.clear()
        while step.summed < len(self._buckets) and self._is_given(step, step.summed):
            self._add_up(step.summed, step.full)
            part = self._layout.sum(step.summed, self._rank, self._exchange.size)
            self._exchange.say(SUMMED, [part])
            step.summed += 1

    def _hear(self, step: _Step, byte: int) -> None:
        """The call that goes on has further results, or is over."""
        if byte == STOP:
            step.stopped = True
            return
        step.rung += byte == READY
        over = byte == OVER
        count = len(self._buckets)
        place = step.given[self._rank] - step.calls * count
        while place < count and (over or self._ready[place].announcements <= step.rung):
            self._give(self._mine[step.calls], place, over)
            step.given[self._rank] += 1
            place += 1
        if over:
            step.calls, step.rung = step.calls + 1, 0
            if step.calls == len(self._mine):
                told = [span for s in self._mine for span in self._layout.told(s)]
                self._exchange.say(TOLD, told)
                step.told.add(self._rank)

    def _give(self, shard: int, place: int, over: bool) -> None:
        """Hand over a bucket of a shard: to each other one the part that it adds up."""
        size = self._exchange.size
        spans = {r: [self._layout.gradients(shard, place, r, size)] for r in self._others}
        self._exchange.say(GIVEN, apart=spans)
        bucket, tally = self._buckets[place], self.tally
        early = self._ready[place].early and not over
        tally.buckets += 1
        tally.early_buckets += early
        tally.bytes += bucket.bytes
        tally.early_bytes += early * bucket.bytes

    def _is_given(self, step: _Step, place: int) -> bool:
        """Whether all shards have given a bucket."""
        count = len(self._buckets)
        return all(
            step.given[rank] > (len(shards) - 1) * count + place
            for rank, shards in enumerate(self._shards)
        )

    def _add_up(self, place: int, full: Sequence[int]) -> None:
        add_up(self._slots, self._totals, place, full, self._rank, self._exchange.size)


def add_up(
    slots: Sequence[Slot], totals: Sequence[Array], place: int, full: Sequence[int], rank: int,
    size: int,
) -> None:  # fmt: skip
    """The part of a bucket's sum that one of so many workers makes, shard after shard."""
    total = totals[place]
    start, end = part_of(len(total), rank, size)
    for at in range(start, end, PIECE):
        piece = slice(at, min(at + PIECE, end))
        sums = total[piece]
        sums[...] = slots[full[0]].buckets[place][piece]
        for shard in full[1:]:
            np.add(sums, slots[shard].buckets[place][piece], out=sums)
