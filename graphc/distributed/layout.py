"""The memory that the workers of one machine share in a step: a slot for each shard, and the sums.

A slot has what the program of gradients gives for its shard, and whether that failed. Arrays that
shards add up follow each other as buckets, each of one dtype, in the order in which the program has
them, so that they are summed by few long runs while others are still computed. Where parameters are
on servers there are areas too, in which new values are published. Every array starts a cache line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.distributed.group import Span
from graphc.distributed.programs import Kind, Programs, kind_of_tensor
from graphc.ir.node import Variable
from graphc.train.batches import Array

LINE = 64
Place = tuple[int, Kind]  # where an array begins, and what it is


class Slot(NamedTuple):
    """The results of a shard."""

    status: Array  # int64s: what went wrong, or 0, and the step
    loss: Array  # of one element
    buckets: list[Array]
    summed: list[Array]  # inside of the buckets
    notes: list[Array]
    kept: list[Array]  # of as many examples as a shard has at most
    addresses: list[int]  # of the loss, what is summed, the notes and what is kept


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
        self.rows, self.programs = rows, programs
        self._loss = kind_of_tensor(programs.gradient.graph.outputs[0])
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
            "loss": self.place(((1,), self._loss[1])),
            "sums": self._buckets(),
            "notes": [self.place(kind) for kind in self._notes],
            "kept": [self.place(kind) for kind in self._kept],
        }

    def _buckets(self) -> dict[str, Any]:
        """Places of the arrays, and of the buckets that hold them."""
        places: dict[int, Place] = {}
        buckets = []
        for bucket in self.programs.buckets:
            start = self.bytes
            for i in bucket.summed:
                places[i] = self.place(self._summed[i])
            dtype = places[i][1][1]
            buckets.append((start, (((self.bytes - start) // dtype.itemsize,), dtype)))
        return {"summed": [places[i] for i in range(len(self._summed))], "buckets": buckets}

    def slots(self, memory: Any) -> list[Slot]:
        """The slots of all shards, as arrays in `memory`."""
        return [self._view(memory, fields) for fields in self._fields]

    def _view(self, memory: Any, fields: dict[str, Any]) -> Slot:
        loss, summed = view(memory, fields["loss"]), views(memory, fields["sums"]["summed"])
        notes, kept = views(memory, fields["notes"]), views(memory, fields["kept"])
        return Slot(
            view(memory, fields["status"]),
            loss,
            views(memory, fields["sums"]["buckets"]),
            summed,
            notes,
            kept,
            [a.ctypes.data for a in (loss, *summed, *notes, *kept)],
        )

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

    def gradients(self, slot: int, bucket: int, rank: int, size: int) -> Span:
        """Where in a slot the part of a bucket is that one of so many workers adds up."""
        return _part(self._fields[slot]["sums"]["buckets"][bucket], rank, size)

    def sum(self, bucket: int, rank: int, size: int) -> Span:
        """Where the part of a bucket's sum is that one of so many workers makes."""
        return _part(self._sums["buckets"][bucket], rank, size)

    def status(self, slot: int) -> Span:
        """Where it is said what became of a shard."""
        return span(self._fields[slot]["status"])

    def parts(self, slot: int, summed: Sequence[int]) -> list[Span]:
        """Where in a slot some of the arrays are that are added up."""
        places = self._fields[slot]["sums"]["summed"]
        return [span(places[i]) for i in summed]

    def areas(self, memory: Any) -> list[list[Array]]:
        """Where the values that workers pull are published."""
        return [views(memory, area) for area in self._areas]

    def area(self, number: int, pulled: Sequence[int]) -> list[Span]:
        """Where in an area some of these values are."""
        return [span(self._areas[number][k]) for k in pulled]


def _part(bucket: Place, rank: int, size: int) -> Span:
    at, ((count,), dtype) = bucket
    start, end = part_of(count, rank, size)
    return at + start * dtype.itemsize, at + end * dtype.itemsize


def part_of(count: int, rank: int, size: int) -> tuple[int, int]:
    """Where the part of one of `size` workers of so many elements begins and ends."""
    return count * rank // size, count * (rank + 1) // size


def kind_of(variable: Variable) -> Kind:
    """The shape and dtype of a variable."""
    return tuple(int(s) for s in variable.shape), variable.dtype.numpy


def span(place: Place) -> Span:
    """Where the bytes of an array begin and end."""
    at, (shape, dtype) = place
    return at, at + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def view(memory: Any, place: Place) -> Array:
    """The array at a place."""
    at, (shape, dtype) = place
    return np.ndarray(shape, dtype, buffer=memory, offset=at)


def views(memory: Any, places: Sequence[Place]) -> list[Array]:
    """The arrays at places."""
    return [view(memory, place) for place in places]
