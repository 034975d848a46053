"""Replicas of `ParameterServer`: servers hold the variables, workers pull what gradients need.

In step with each other: a step is as that of any replica, but between its two meetings servers add
up and update what is theirs and publish it, and behind the second one workers pull it. Each at its
own pace: a worker pushes by a word to every server, which updates with what is in its slot, waits
until the slowest worker is near enough, publishes into the worker's own area, and answers. To other
machines a word takes with it what its hearer reads: a server gets the gradients of its part.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

import numpy as np

from graphc.distributed.group import NOTHING, Apart, Exchange, Span, Spans, heard
from graphc.distributed.layout import Layout
from graphc.distributed.programs import Part, Programs
from graphc.distributed.replica import FAILED, FINE, Replica, state_of
from graphc.distributed.strategy import ParameterServer
from graphc.train.batches import Array

PUSH, END, GO, STOP = b"p", b"e", b"g", b"s"


class _InStep(Replica):
    """A worker or a server in step with the others: all of them meet twice in a step."""

    areas = 1
    sums_beside = False

    def _make(self, full: Sequence[int], bounds: Sequence[int]) -> int:
        self._gradients(bounds)
        self.seconds.lap("compute")
        self.exchange.meet(*self._pushed())
        self.seconds.lap("wait")
        code = self._state(full)
        if code:
            return code
        self._prepare(full, bounds)
        self.seconds.lap("sum")
        self.exchange.meet(self._published())
        self.seconds.lap("wait")
        return FINE

    def _pushed(self) -> tuple[Spans, Apart]:
        """What all others read behind the first meeting, and what some of them do."""
        return (), NOTHING

    def _prepare(self, full: Sequence[int], bounds: Sequence[int]) -> None:
        """What is done between the two meetings."""

    def _published(self) -> Spans:
        """What all others read behind the second one."""
        return ()


class PullingWorker(_InStep):
    """Computes gradients of what servers publish."""

    def _pushed(self) -> tuple[Spans, Apart]:
        told = [span for s in self._mine for span in self._layout.told(s)]
        return told, self._gradients_of(self._mine)

    def _gradients_of(self, slots: Sequence[int]) -> dict[int, list[Span]]:
        """Where each server's part of them is."""
        first = self.exchange.size - self.programs.strategy.servers
        return {
            server: [span for s in slots for span in self._layout.parts(s, part.summed)]
            for server, part in enumerate(self.programs.parts, first)
        }

    def _commit(self) -> int:
        self._pull(self._areas[0])
        return int(self._slots[0].status[0])

    def _pull(self, area: Sequence[Array]) -> None:
        for place, value in zip(self.programs.pulled, area, strict=True):
            self.programs.variables[place].value = value


class Server(_InStep):
    """Updates the variables of one part."""

    def join(self, exchange: Exchange) -> None:
        super().join(exchange)
        workers = exchange.size - self.programs.strategy.servers
        self._part: Part = self.programs.parts[exchange.rank - workers]
        self._is_first = self._part is self.programs.parts[0]
        own = set(self._part.written)
        self._own = [(k, i) for k, i in enumerate(self.programs.pulled) if i in own]

    def _prepare(self, full: Sequence[int], bounds: Sequence[int]) -> None:
        for i in self._part.summed:
            total = self._sums[i]
            total[...] = self._slots[full[0]].summed[i]
            for shard in full[1:]:
                np.add(total, self._slots[shard].summed[i], out=total)
        self._notes = self._take_notes(full, bounds) if self._is_first else []
        self.is_torn = True  # until all are behind the second meeting
        self._failed: list[Span] = []
        if self._update(self._part, self._sums):
            self._slots[0].status[0] = FAILED
            self._failed = [self._layout.status(0)]
        self._publish(0)

    def _published(self) -> Spans:
        return [*self._spans(0), *self._failed]

    def _commit(self) -> int:
        self.is_torn = False
        return int(self._slots[0].status[0])

    def _publish(self, area: int) -> None:
        for k, i in self._own:
            self._areas[area][k][...] = self.programs.variables[i].value

    def _spans(self, area: int) -> list[Span]:
        """Where in an area its own values are."""
        return self._layout.area(area, [k for k, _ in self._own])


class _Paced:
    """What both sides of mode="async" share: a slot and an area for each worker, whole batches."""

    exchange: Exchange
    programs: Programs
    size: int
    examples: int

    @property
    def workers(self) -> int:
        return self.exchange.size - self.programs.strategy.servers

    def layout(self) -> Layout:
        return Layout(self.programs, self.size, self.workers, self.workers)

    def batch(self, number: int) -> tuple[int, int]:
        return number * self.size, min((number + 1) * self.size, self.examples)


class AsyncWorker(_Paced, PullingWorker):
    """Takes every so many-th batch, whole."""

    def _place(self, layout: Layout) -> None:
        super()._place(self.layout())

    def run(self, first: int, count: int) -> int:
        self.at, self.failure = first, None
        self.seconds.started = time.perf_counter()
        rank = self.exchange.rank
        slot, told = self._slots[rank], self._layout.told(rank)
        gradients = self._gradients_of([rank])
        self.exchange.meet()  # servers have published what there is
        self._pull(self._areas[rank])
        code = FINE
        for number in range(first, first + count):
            if number % self.workers != rank or code:
                continue
            self.at, part = number, self.batch(number)
            self._compute(slot, number, part, part)
            self.seconds.lap("compute")
            code = state_of(slot)
            if code:
                continue
            for server, spans in gradients.items():
                self.exchange.tell(server, PUSH, [*told, *spans])
            answers = [word for server in gradients for _, word in heard(self.exchange, [server])]
            self.seconds.lap("wait")
            self._pull(self._areas[rank])
            self.seconds.lap("update")
            self.seconds.steps += 1
            code = FAILED if STOP in answers else FINE
        for server in gradients:
            self.exchange.tell(server, END)
        self.exchange.meet()
        self.at = self.at if code else first + count
        return code


class AsyncServer(_Paced, Server):
    """Makes a step for each push."""

    def _place(self, layout: Layout) -> None:
        super()._place(self.layout())

    def run(self, first: int, count: int) -> int:
        self.at, self.failure, self.is_torn = first, None, True
        self.seconds.started = time.perf_counter()
        for area in range(self.workers):
            self._publish(area)
        self.exchange.meet((), {rank: self._spans(rank) for rank in range(self.workers)})
        staleness = cast(ParameterServer, self.programs.strategy).staleness
        bound = float("inf") if staleness is None else staleness
        done = dict.fromkeys(range(self.workers), 0)  # batches of those that are at work
        waiting: dict[int, bytes] = {}
        code = FINE
        while done:
            for rank, word in heard(self.exchange, done):
                if word == END:
                    del done[rank]
                    continue
                self.seconds.lap("wait")
                done[rank] += 1
                code = max(code, self._take(rank))
                waiting[rank] = STOP if code else GO
                self.seconds.lap("update")
            slowest = min(done.values(), default=0)
            for rank in [r for r in waiting if done[r] - slowest <= bound]:
                self._publish(rank)
                self.exchange.tell(rank, waiting.pop(rank), self._spans(rank))
        self.exchange.meet()
        self.at, self.is_torn = first + count, False
        return code

    def _take(self, rank: int) -> int:
        """A step with what a worker pushed."""
        slot = self._slots[rank]
        self._notes = []
        if self._is_first:
            self._notes = [note.copy() for note in slot.notes]
            self._keep(slot, *self.batch(int(slot.status[1])))
        self.seconds.steps += 1
        return self._update(self._part, slot.summed)
