"""Which steps of a recording wait for which: those that touch what another one writes.

A stream records one step behind the other. Here each step gets the steps before it that it needs,
so that a card may run the others beside it: the updates of weights beside the rest of the backward
pass, what a loop keeps beside its next turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from graphc.runtime.cuda_driver import done
from graphc.runtime.cuda_memory import Card

MOST = 4096  # nodes of a recording that is ordered so; more are recorded one behind the other
Place = tuple[Any, ...]  # what a step touches: memory of the program, or what steps have in common


class Order:
    """The steps that a stream records from now on. `ranges`: where in the arena its places are;
    those that overlap are one to it, all others are apart."""

    def __init__(self, card: Card, stream: Any, ranges: Mapping[Place, tuple[int, int]]) -> None:
        self.api, self.stream, self.ranges = card.api, stream, ranges
        self.overlaps: dict[Place, list[Place]] = {}
        self.writers: dict[Place, set[int]] = {}
        self.readers: dict[Place, set[int]] = {}
        self.nodes: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.above: list[int] = []  # of each node those that it waits for, however far, as bits

    @contextmanager
    def step(self, reads: Iterable[Place], writes: Iterable[Place]) -> Iterator[None]:
        """What is enqueued inside is one step."""
        reads, writes = list(reads), list(writes)
        needed = self._needed(reads, writes)
        nodes = [self.nodes[number] for number in needed]
        change = self.api.cuStreamUpdateCaptureDependencies
        flag = self.api.CUstreamUpdateCaptureDependencies_flags.CU_STREAM_SET_CAPTURE_DEPENDENCIES
        done(change(self.stream, nodes, None, len(nodes), int(flag)), "recording")
        yield
        ends = self._ends(needed)
        for place in writes:
            self.writers[place], self.readers[place] = ends, set()
        for place in reads:
            self.readers.setdefault(place, set()).update(ends)

    def _needed(self, reads: Sequence[Place], writes: Sequence[Place]) -> list[int]:
        found: set[int] = set()
        for place in (*reads, *writes):
            for other in self._beside(place):
                found |= self.writers.get(other, set())
        for place in writes:
            for other in self._beside(place):
                found |= self.readers.get(other, set())
        above = 0
        for number in found:
            above |= self.above[number]
        return sorted(number for number in found if not above >> number & 1)

    def _beside(self, place: Place) -> list[Place]:
        """The places that share memory with one, itself among them."""
        found = self.overlaps.get(place)
        if found is None:
            found = [place]
            if place in self.ranges:
                start, end = self.ranges[place]
                others = self.ranges.items()
                found = [other for other, (at, stop) in others if at < end and start < stop]
            self.overlaps[place] = found
        return found

    def _ends(self, needed: Sequence[int]) -> set[int]:
        """The last nodes of the step; of one that enqueued nothing, those that it waits for."""
        *_, nodes, _, count = done(
            self.api.cuStreamGetCaptureInfo(self.stream), "asking what is recorded"
        )
        above = 0
        for number in needed:
            above |= self.above[number] | 1 << number
        found = set()
        for node in list(nodes)[:count]:
            number = self.numbers.setdefault(int(node), len(self.nodes))
            if number == len(self.nodes):
                self.nodes.append(node)
                self.above.append(above)
            found.add(number)
        return found
