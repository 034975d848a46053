"""The memory that the workers of one machine share in a step: a slot for each shard, and the sums.

A slot has what the program of gradients gives for its shard, and whether that failed. Arrays that
shards add up and are of one dtype follow each other, as one bucket, so that they are summed by few
long runs. Where parameters are on servers there are areas too, in which new values are published.
Every array starts a cache line.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from graphc.distributed.group import Span
from graphc.distributed.programs import Kind, Programs
from graphc.ir.node import Variable
from graphc.train.batches import Array

LINE = 64
Place = tuple[int, Kind]  # where an array begins, and what it is


class Slot(NamedTuple):
    """The results of a shard."""

    status: Array  # int64s: what went wrong, or 0, and the step
    loss: Array  # one float64
    buckets: list[Array]
    summed: list[Array]  # inside of the buckets
    notes: list[Array]
    kept: list[Array]  # of as many examples as a shard has at most


class Places:
    """Arrays that follow each other in memory, `bytes` so far."""

    def __init__(self) -> None:
        self.bytes = 0

    def place(self, kind: Kind) -> Place:
        """Where the next array is."""
        at = self.bytes
        shape, dtype = kind
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.bytes = at + -(-size // LINE) * LINE
        return at, kind


class Layout(Places):
    """Where everything is. `rows`: the examples that a slot has at most."""

    def __init__(self, programs: Programs, rows: int, slots: int, areas: int = 0) -> None:
        super().__init__()
        self.rows = rows
        self._pulled = [kind_of(programs.variables[i]) for i in programs.pulled]
        self._summed, self._notes = programs.summed, programs.notes
        self._kept: list[Kind] = [((rows, *shape), dtype) for shape, dtype in programs.kept]
        self._fields: list[dict[str, Any]] = []
        self._spans: list[Span] = []  # of the slots
        for _ in range(slots):
            start = self.bytes
            self._fields.append(self._slot())
            self._spans.append((start, self.bytes))
        self._sums = self._buckets()
        self._areas = [[self.place(kind) for kind in self._pulled] for _ in range(areas)]

    def _slot(self) -> dict[str, Any]:
        return {
            "status": self.place(((2,), np.dtype(np.int64))),
            "loss": self.place(((1,), np.dtype(np.float64))),
            "sums": self._buckets(),
            "notes": [self.place(kind) for kind in self._notes],
            "kept": [self.place(kind) for kind in self._kept],
        }

    def _buckets(self) -> dict[str, Any]:
        """Places of the arrays, dtype by dtype, and of the buckets that hold them."""
        order = sorted(range(len(self._summed)), key=lambda i: self._summed[i][1].str)
        places: dict[int, Place] = {}
        buckets = []
        for _, same in groupby(order, key=lambda i: self._summed[i][1].str):
            start = self.bytes
            for i in same:
                places[i] = self.place(self._summed[i])
            dtype = places[i][1][1]
            buckets.append((start, (((self.bytes - start) // dtype.itemsize,), dtype)))
        return {"summed": [places[i] for i in range(len(self._summed))], "buckets": buckets}

    def slots(self, memory: Any) -> list[Slot]:
        """The slots of all shards, as arrays in `memory`."""
        return [
            Slot(
                view(memory, f["status"]),
                view(memory, f["loss"]),
                views(memory, f["sums"]["buckets"]),
                views(memory, f["sums"]["summed"]),
                views(memory, f["notes"]),
                views(memory, f["kept"]),
            )
            for f in self._fields
        ]

    def sums(self, memory: Any) -> tuple[list[Array], list[Array]]:
        """The sums over all shards: buckets, and the arrays in them."""
        return views(memory, self._sums["buckets"]), views(memory, self._sums["summed"])

    def told(self, slot: int) -> list[Span]:
        """Where in a slot all is but gradients: what all workers read of it."""
        start, end = self._spans[slot]
        buckets = self._fields[slot]["sums"]["buckets"]
        if not buckets:
            return [(start, end)]
        at, ((count,), dtype) = buckets[-1]
        return [(start, buckets[0][0]), (at + count * dtype.itemsize, end)]

    def gradients(self, slot: int, rank: int, size: int) -> list[Span]:
        """Where in a slot the part of the gradients is that one of so many workers adds up."""
        return _parts(self._fields[slot]["sums"]["buckets"], rank, size)

    def parts(self, rank: int, size: int) -> list[Span]:
        """Where the sums are that one of so many workers adds up."""
        return _parts(self._sums["buckets"], rank, size)

    def areas(self, memory: Any) -> list[list[Array]]:
        """Where the values that workers pull are published."""
        return [views(memory, area) for area in self._areas]


def _parts(buckets: Sequence[Place], rank: int, size: int) -> list[Span]:
    found = []
    for at, ((count,), dtype) in buckets:
        start, end = part_of(count, rank, size)
        found.append((at + start * dtype.itemsize, at + end * dtype.itemsize))
    return found


def part_of(count: int, rank: int, size: int) -> tuple[int, int]:
    """Where the part of one of `size` workers of so many elements begins and ends."""
    return count * rank // size, count * (rank + 1) // size


def kind_of(variable: Variable) -> Kind:
    """The shape and dtype of a variable."""
    return tuple(int(s) for s in variable.shape), variable.dtype.numpy


def view(memory: Any, place: Place) -> Array:
    """The array at a place."""
    at, (shape, dtype) = place
    return np.ndarray(shape, dtype, buffer=memory, offset=at)


def views(memory: Any, places: Sequence[Place]) -> list[Array]:
    """The arrays at places."""
    return [view(memory, place) for place in places]
