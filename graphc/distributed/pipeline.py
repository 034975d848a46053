"""Replicas of `Pipeline`: each computes some stages of the model, one after another, by 1F1B.

Micro-batches go through the stages in memory that all share; a word to a neighbour says that the
next one is there, and takes it along where no memory is shared. When all are through, the stages
meet, and each updates its own variables and publishes them, in one of two areas by turns, with the
number of the step; then they meet again. So whoever is lost at whatever moment, all variables
behind the last step that all stages have made are in memory that the others see, and the training
goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from graphc.distributed.group import Exchange, Span, heard
from graphc.distributed.layout import Place, Places, Slot, kind_of, part_of, span, view, views
from graphc.distributed.replica import DIVERGED, FAILED, FINE, Replica
from graphc.distributed.stages import Link, StagedPrograms
from graphc.errors import GraphcError
from graphc.ir.dim import evaluate
from graphc.train.batches import Array

FORTH, BACK = b"f", b"b"
NEVER = -1
INT64, FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)


def turns(count: int, behind: int) -> Iterator[tuple[bool, int]]:
    """1F1B: in which order a worker with so many others behind it computes `count` micro-batches:
    whether it is the forward pass, and which one.

    >>> [("F" if forward else "B") + str(i) for forward, i in turns(3, 1)]
    ['F0', 'F1', 'B0', 'F2', 'B1', 'B2']
    """
    first = min(behind, count)
    yield from ((True, i) for i in range(first))
    for i in range(first, count):
        yield True, i
        yield False, i - first
    yield from ((False, i) for i in range(count - first, count))


class Moving(NamedTuple):
    """Where the tensors that move are, of a micro-batch; how large they are its rows tell."""

    links: list[Place]
    backs: list[list[Place]]  # their cotangents, one from each reader


class _Layout(Places):
    """Where everything is."""

    def __init__(self, programs: StagedPrograms, rows: int) -> None:
        super().__init__()
        self._slots = [self._slot(programs, rows) for _ in range(programs.shards)]
        self.moving = [self._moving(programs, rows) for _ in range(programs.shards)]
        written = [kind_of(programs.variables[i]) for i in programs.written]
        self._stamps = self.place(((2, len(programs.stages)), INT64))
        self._areas = [[self.place(kind) for kind in written] for _ in range(2)]

    def _moving(self, programs: StagedPrograms, rows: int) -> Moving:
        kinds = [(_shape(link, rows), link.dtype) for link in programs.links]
        return Moving(
            [self.place(kind) for kind in kinds],
            [
                [self.place(kind) for _ in link.readers] if link.returns else []
                for kind, link in zip(kinds, programs.links, strict=True)
            ],
        )

    def _slot(self, programs: StagedPrograms, rows: int) -> Any:
        return (
            self.place(((len(programs.stages),), INT64)),
            self.place(((1,), FLOAT64)),
            [self.place(kind) for kind in programs.notes],
            [self.place(((rows, *shape), dtype)) for shape, dtype in programs.kept],
        )

    def slots(self, memory: Any) -> list[Slot]:
        """What is told of each micro-batch; its status has a number for each stage."""
        return [
            Slot(
                view(memory, at), view(memory, loss), [], [], views(memory, n), views(memory, k), []
            )
            for at, loss, n, k in self._slots
        ]

    def status(self, number: int, stages: range) -> Span:
        """Where it is said what became of a micro-batch in these stages."""
        at = self._slots[number][0][0]
        return at + INT64.itemsize * stages.start, at + INT64.itemsize * stages.stop

    def told(self, number: int) -> list[Span]:
        """Where the last stage says of a micro-batch what all read."""
        _, loss, notes, kept = self._slots[number]
        return [span(place) for place in (loss, *notes, *kept)]

    def renewed(self, area: int, stages: range, places: Sequence[int]) -> list[Span]:
        """Where in an area some variables are, and behind them the stamps of these stages."""
        at, ((_, count), _) = self._stamps
        stamps = [at + INT64.itemsize * (area * count + k) for k in (stages.start, stages.stop)]
        return [*(span(self._areas[area][k]) for k in places), (stamps[0], stamps[1])]

    def stamps(self, memory: Any) -> Array:
        """Behind which step a stage's variables in each area are, `NEVER` at first."""
        return view(memory, self._stamps)

    def published(self, memory: Any) -> list[list[Array]]:
        """Two areas for the values of all variables that steps write."""
        return [views(memory, area) for area in self._areas]


class PipelineReplica(Replica):
    """Computes a part of the stages."""

    programs: StagedPrograms

    def join(self, exchange: Exchange) -> None:
        """Share the work with others from now on; all variables are the newest ones here."""
        self.exchange = exchange
        programs, count = self.programs, len(self.programs.stages)
        self._mine = range(*part_of(count, exchange.rank, exchange.size))
        layout = _Layout(programs, -(-self.size // programs.shards))
        self._staged = layout
        self._memory = exchange.memory(layout.bytes)
        self._slots, self._moving = layout.slots(self._memory), layout.moving
        self._stamps = layout.stamps(self._memory)
        self._published = layout.published(self._memory)
        self._places = {i: k for k, i in enumerate(programs.written)}
        self._clock = self._began = 0  # steps that were made since then
        self._publish(range(count))
        self._stamps[1] = NEVER

    # -- the newest values -------------------------------------------------------------------------
    def _publish(self, stages: Sequence[int]) -> None:
        """What these stages hold, as it is at this hour."""
        area = self._published[self._clock % 2]
        for k in stages:
            for i in self.programs.parts[k].written:
                area[self._places[i]][...] = self.programs.variables[i].value
            self._stamps[self._clock % 2, k] = self._clock

    def values(self, places: Sequence[int]) -> list[Array]:
        """The values of variables behind the last step that all stages made."""
        area, variables = self._published[self._clock % 2], self.programs.variables
        return [
            area[self._places[i]].copy() if i in self._places else variables[i].value
            for i in places
        ]

    def assign(self, places: Sequence[int], values: Sequence[Array]) -> None:
        """New values: whoever is left has written all of them."""
        super().assign(places, values)
        area = self._published[self._clock % 2]
        for i, value in zip(places, values, strict=True):
            if i in self._places:
                area[self._places[i]][...] = value

    def gather(self) -> None:
        """All variables of this process get their newest values, other stages' too."""
        places = self.programs.written
        for i, value in zip(places, self.values(places), strict=True):
            self.programs.variables[i].value = value

    def settle(self) -> None:
        """Somebody is lost: the step that comes next is the one that not all have made."""
        self._clock = int(self._stamps.max(axis=0).min())
        self.at = self._began + self._clock

    # -- a step ------------------------------------------------------------------------------------
    def run(self, first: int, count: int) -> int:
        self._began = first - self._clock
        self._publish(self._mine)  # what was written here meanwhile
        return super().run(first, count)

    def _step(self) -> int:
        bounds = self._bounds()
        full = [s for s in range(self.programs.shards) if bounds[s] < bounds[s + 1]]
        self._held: dict[tuple[int, int], list[Array]] = {}
        parts = self.programs.parts
        self._totals: list[list[Array | None]] = [[None] * len(p.summed) for p in parts]
        rank, behind = self.exchange.rank, self.exchange.size - 1 - self.exchange.rank
        for is_forward, i in turns(len(full), behind):
            before, after = (rank - 1, rank + 1) if is_forward else (rank + 1, rank - 1)
            self._hear(before)
            for k in self._mine if is_forward else reversed(self._mine):
                (self._forward if is_forward else self._backward)(k, full[i], bounds)
            if 0 <= after < self.exchange.size:
                rows = bounds[full[i] + 1] - bounds[full[i]]
                spans = self._moved(full[i], rows, is_forward)
                self.exchange.tell(after, FORTH if is_forward else BACK, spans)
        self.exchange.meet(self._told(full))
        self.seconds.lap("wait")
        code = max(self._code(s) for s in full)
        if code:
            return code
        self._notes = self._take_notes(full, bounds)
        code = self._renew(full[0])
        self.exchange.meet(self._renewed(full[0]))
        self.seconds.lap("wait")
        if code or self._code(full[0]):
            self._clock -= 1
            self.gather()
            return FAILED
        return FINE

    def _renew(self, first: int) -> int:
        """Update the variables of these stages and publish them."""
        common = self.programs.common
        before = [self.programs.variables[i].value.copy() for i in common]
        for k in self._mine:
            super().assign(common, before)  # another stage here has written them already
            sums = [cast(Array, total) for total in self._totals[k]]
            if self._update(self.programs.parts[k], sums):
                self._slots[first].status[k] = FAILED
        self.seconds.lap("update")
        self._clock += 1
        if self.failure is None:
            self._publish(self._mine)
            self.seconds.lap("sum")
            return FINE
        return FAILED

    def _hear(self, rank: int) -> None:
        if 0 <= rank < self.exchange.size:
            heard(self.exchange, [rank])
            self.seconds.lap("wait")

    # -- what others read, where no memory is shared -----------------------------------------------
    def _moved(self, number: int, rows: int, is_forward: bool) -> list[Span]:
        """Of a micro-batch, what goes to the next stages or back to those before, and what became
        of it so far. What is for others than the next worker's stages, that one passes on."""
        mine, count, moving = self._mine, len(self.programs.stages), self._moving[number]
        found = []
        for i, link in enumerate(self.programs.links):
            if is_forward and link.maker < mine.stop and max(link.readers) >= mine.stop:
                found.append(self._span(moving.links[i], i, rows))
            elif not is_forward and link.maker < mine.start and moving.backs[i]:
                found += [
                    self._span(place, i, rows)
                    for place, reader in zip(moving.backs[i], link.readers, strict=True)
                    if reader >= mine.start
                ]
        stages = range(mine.stop) if is_forward else range(mine.start, count)
        return [*found, self._staged.status(number, stages)]

    def _told(self, full: Sequence[int]) -> list[Span]:
        """What became of each micro-batch here, and what the last stage says of it."""
        found = [self._staged.status(s, self._mine) for s in full]
        if self._mine.stop == len(self.programs.stages):
            found += [span for s in full for span in self._staged.told(s)]
        return found

    def _renewed(self, first: int) -> list[Span]:
        """The values that were published, and whether that failed."""
        status = self._staged.status(first, self._mine)
        if self.failure is not None:
            return [status]
        parts = [self.programs.parts[k] for k in self._mine]
        places = [self._places[i] for part in parts for i in part.written]
        return [*self._staged.renewed(self._clock % 2, self._mine, places), status]

    def _code(self, number: int) -> int:
        return int(self._slots[number].status.max())

    # -- a micro-batch in a stage ------------------------------------------------------------------
    def _forward(self, k: int, number: int, bounds: Sequence[int]) -> None:
        stage, slot = self.programs.stages[k], self._slots[number]
        moving = self._moving[number]
        if k == self._mine.start:
            slot.status[k:] = FINE  # those behind it wait for this one
        start, end = bounds[number], bounds[number + 1]
        self.seconds.examples += end - start
        if self._code(number):
            return
        rows = self._rows(start, end)
        given = [a[rows] for a in self.arrays]
        given += [np.float64(self._share((start, end), bounds)), np.int64(number)]
        given += [self._link(moving.links[i], i, end - start) for i in stage.received]
        try:
            found = stage.forward.flat(*given)
        except GraphcError as error:
            self.failure, slot.status[k] = error, FAILED
            return
        self.seconds.lap("compute")
        for i, value in zip(stage.sent, found, strict=False):
            self._link(moving.links[i], i, end - start)[...] = value
        at = len(stage.sent)
        gradients = len(self.programs.parts[k].summed) - stage.means
        for j in range(stage.means):
            self._add(k, gradients + j, found[at + j])
        at += stage.means
        if k == len(self.programs.stages) - 1:
            slot.loss[0] = found[at]
            if not np.isfinite(slot.loss[0]):
                slot.status[k] = DIVERGED
            places = [*slot.notes, *(kept[: end - start] for kept in slot.kept)]
            for place, value in zip(places, found[at + 1 :], strict=False):
                place[...] = value
        self._held[k, number] = [*given, *found[len(found) - stage.held :]]
        self.seconds.lap("sum")

    def _backward(self, k: int, number: int, bounds: Sequence[int]) -> None:
        stage, slot, links = self.programs.stages[k], self._slots[number], self.programs.links
        given = self._held.pop((k, number), None)
        if self._code(number) or given is None:
            return
        rows, moving = bounds[number + 1] - bounds[number], self._moving[number]
        seeds = [self._link(place, i, rows) for i in stage.sent for place in moving.backs[i]]
        try:
            found = stage.backward.flat(*given, *seeds)
        except GraphcError as error:
            self.failure, slot.status[k] = error, FAILED
            return
        self.seconds.lap("compute")
        returned = [i for i in stage.received if links[i].returns]
        gradients = len(found) - len(returned)
        for j in range(gradients):
            self._add(k, j, found[j])
        for i, value in zip(returned, found[gradients:], strict=True):
            place = moving.backs[i][links[i].readers.index(k)]
            self._link(place, i, rows)[...] = value
        self.seconds.lap("sum")

    def _link(self, place: Place, number: int, rows: int) -> Array:
        """A tensor that moves, of so many examples."""
        return view(self._memory, self._sized(place, number, rows))

    def _span(self, place: Place, number: int, rows: int) -> Span:
        return span(self._sized(place, number, rows))

    def _sized(self, place: Place, number: int, rows: int) -> Place:
        link = self.programs.links[number]
        return place[0], (_shape(link, rows), link.dtype)

    def _add(self, k: int, j: int, value: Any) -> None:
        totals = self._totals[k]
        total = totals[j]
        if total is None:
            totals[j] = np.array(value)
        else:
            np.add(total, value, out=total)


def _shape(link: Link, rows: int) -> tuple[int, ...]:
    return tuple(evaluate(s, {"n": rows}) for s in link.shape)
