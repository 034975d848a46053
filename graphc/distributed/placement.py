"""The picture of a training by several processes: who holds what, and what moves in a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.distributed.programs import Kind, Programs
from graphc.show.picture import Box, Look, Picture
from graphc.show.picture import Kind as Arrow

SHOWN = 3  # workers, and servers, that are drawn of many


def placement(model: str, programs: Programs, workers: int) -> Picture:
    """Client, master, servers and workers of a training, as the course draws them."""
    made = Picture()
    add, strategy, shards = made.whole.add, programs.strategy, programs.shards
    client = add(Box.PROCESS, "client")
    graph = made.mark(client, Look.LAYER, model, _parameters(programs))
    told = "examples, in the order of the seed"
    data = made.mark(client, Look.INPUT, "examples", "in an order", elsewhere=("rows",))
    master = made.mark(add(Box.PROCESS, "master"), Look.OP, "programs", "compiled once")
    made.arrow(graph, master, "loss, optimiser")
    moved = _size(programs.summed)
    computing = []
    for rank in _some(workers):
        box = add(Box.PROCESS, f"worker {rank + 1} of {workers}")
        mine = [s + 1 for s in range(shards * rank // workers, shards * (rank + 1) // workers)]
        what = "whole batches" if strategy.is_async else _of("shard", mine)
        at = made.mark(box, Look.OP, "gradient", what, tooltip=told)
        made.arrow(master, at, "by their keys")
        made.arrow(data, at)
        computing.append((box, at))
    if not strategy.servers:
        sums = made.mark(add(Box.PROCESS, "shared memory"), Look.REDUCE, "sum", "shard by shard")
        for box, at in computing:
            held = made.mark(box, Look.VARIABLE, "all variables", _bytes(programs))
            new = made.mark(box, Look.OP, "update")
            made.arrow(held, at)
            made.arrow(at, sums, moved)
            made.arrow(sums, new, moved)
            made.arrow(new, held, kind=Arrow.UPDATE)
    for number in _some(strategy.servers):
        part = programs.parts[number % len(programs.parts)]
        box = add(Box.PROCESS, f"parameter server {number + 1} of {strategy.servers}")
        when = "at each push" if strategy.is_async else "by the sums"
        new = made.mark(box, Look.OP, "update", when)
        held = made.mark(box, Look.VARIABLE, "its variables", _bytes(programs, part.written))
        made.arrow(new, held, kind=Arrow.UPDATE)
        for _, at in computing:
            made.arrow(at, new, f"push {_size([programs.summed[i] for i in part.summed])}")
            made.arrow(held, at, "pull", kind=Arrow.PULL)
    return made


def _some(count: int) -> Sequence[int]:
    """The first ones and the last."""
    return range(count) if count <= SHOWN else [*range(SHOWN - 1), count - 1]


def _of(name: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"{name} {numbers[0]}"
    return f"{name}s {numbers[0]} to {numbers[-1]}"


def _parameters(programs: Programs) -> str:
    count = sum(v.value.size for v in programs.variables if v.trainable)
    return f"{count:,} parameters"


def _bytes(programs: Programs, places: Sequence[int] | None = None) -> str:
    chosen = range(len(programs.variables)) if places is None else places
    return _shown(sum(programs.variables[i].value.nbytes for i in chosen))


def _size(kinds: Sequence[Kind]) -> str:
    return _shown(sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in kinds))


def _shown(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
