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

from graphc.distributed.programs import Kind, Programs
from graphc.ir.node import Variable
from graphc.train.batches import Array

LINE = 64


class Slot(NamedTuple):
    """The results of a shard."""

    status: Array  # int64s: what went wrong, or 0, and the step
    loss: Array  # one float64
    buckets: list[Array]
    summed: list[Array]  # inside of the buckets
    notes: list[Array]
    kept: list[Array]  # of as many examples as a shard has at most


class Layout:
    """Where everything is. `rows`: the examples that a slot has at most."""

    def __init__(self, programs: Programs, rows: int, slots: int, areas: int = 0) -> None:
        self.rows = rows
        self._pulled = [_kind(programs.variables[i]) for i in programs.pulled]
        self._summed, self._notes = programs.summed, programs.notes
        self._kept: list[Kind] = [((rows, *shape), dtype) for shape, dtype in programs.kept]
        self.bytes = 0
        self._fields: list[dict[str, Any]] = [self._slot() for _ in range(slots)]
        self._sums = self._buckets()
        self._areas = [[self._place(kind) for kind in self._pulled] for _ in range(areas)]

    def _place(self, kind: Kind) -> tuple[int, Kind]:
        at = self.bytes
        shape, dtype = kind
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.bytes = at + -(-size // LINE) * LINE
        return at, kind

    def _slot(self) -> dict[str, Any]:
        return {
            "status": self._place(((2,), np.dtype(np.int64))),
            "loss": self._place(((1,), np.dtype(np.float64))),
            "sums": self._buckets(),
            "notes": [self._place(kind) for kind in self._notes],
            "kept": [self._place(kind) for kind in self._kept],
        }

    def _buckets(self) -> dict[str, Any]:
        """Places of the arrays, dtype by dtype, and of the buckets that hold them."""
        order = sorted(range(len(self._summed)), key=lambda i: self._summed[i][1].str)
        places: dict[int, tuple[int, Kind]] = {}
        buckets = []
        for _, same in groupby(order, key=lambda i: self._summed[i][1].str):
            start = self.bytes
            for i in same:
                places[i] = self._place(self._summed[i])
            dtype = places[i][1][1]
            buckets.append((start, (((self.bytes - start) // dtype.itemsize,), dtype)))
        return {"summed": [places[i] for i in range(len(self._summed))], "buckets": buckets}

    def slots(self, memory: Any) -> list[Slot]:
        """The slots of all shards, as arrays in `memory`."""
        return [
            Slot(
                _view(memory, f["status"]),
                _view(memory, f["loss"]),
                _views(memory, f["sums"]["buckets"]),
                _views(memory, f["sums"]["summed"]),
                _views(memory, f["notes"]),
                _views(memory, f["kept"]),
            )
            for f in self._fields
        ]

    def sums(self, memory: Any) -> tuple[list[Array], list[Array]]:
        """The sums over all shards: buckets, and the arrays in them."""
        return _views(memory, self._sums["buckets"]), _views(memory, self._sums["summed"])


    def areas(self, memory: Any) -> list[list[Array]]:
        """Where the values that workers pull are published."""
        return [_views(memory, area) for area in self._areas]


def _kind(variable: Variable) -> Kind:
    return tuple(int(s) for s in variable.shape), variable.dtype.numpy


def _view(memory: Any, place: tuple[int, Kind]) -> Array:
    at, (shape, dtype) = place
    return np.ndarray(shape, dtype, buffer=memory, offset=at)


def _views(memory: Any, places: Sequence[tuple[int, Kind]]) -> list[Array]:
    return [_view(memory, place) for place in places]
