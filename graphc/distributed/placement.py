"""The picture of a training by several processes: who holds what, and what moves in a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.distributed.programs import Kind, Programs
from graphc.distributed.stages import Link, StagedPrograms
from graphc.ir.dim import Size, evaluate, product
from graphc.show.picture import Box, Look, Picture
from graphc.show.picture import Kind as Arrow

SHOWN = 3  # workers, and servers, that are drawn of many


def placement(model: str, programs: Programs, workers: int) -> Picture:
    """Client, master, servers and workers of a training, as the course draws them."""
    made = Picture()
    add, strategy, shards = made.whole.add, programs.strategy, programs.shards
    told = "examples, in the order of the seed"
    data, master = _client(made, model, programs)
    if isinstance(programs, StagedPrograms):
        _stages(made, programs, workers, data, master)
        return made
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
        count = len(programs.buckets)
        what = "shard by shard" if count == 1 else f"{count} buckets, shard by shard"
        sums = made.mark(add(Box.PROCESS, "shared memory"), Look.REDUCE, "sum", what)
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


def _client(made: Picture, model: str, programs: Programs) -> tuple[int, int]:
    """What all strategies have: where examples and programs come from."""
    client = made.whole.add(Box.PROCESS, "client")
    graph = made.mark(client, Look.LAYER, model, _parameters(programs))
    data = made.mark(client, Look.INPUT, "examples", "in an order", elsewhere=("rows",))
    master = made.mark(made.whole.add(Box.PROCESS, "master"), Look.OP, "programs", "compiled once")
    made.arrow(graph, master, "loss, optimiser")
    return data, master


def _stages(
    made: Picture, programs: StagedPrograms, workers: int, data: int, master: int
) -> None:
    """A box for each worker, in it its stages; between them what moves for a micro-batch."""
    count = len(programs.stages)
    done = programs.operations
    marks: list[tuple[int, int]] = []
    for rank in range(workers):
        box = made.whole.add(Box.PROCESS, f"worker {rank + 1} of {workers}")
        for k in range(count * rank // workers, count * (rank + 1) // workers):
            share = f"{100 * done[k] / max(sum(done), 1):.0f} % of operations"
            forward = made.mark(box, Look.OP, f"stage {k + 1} forwards", share)
            backward = made.mark(box, Look.GRADIENT, f"stage {k + 1} backwards")
            if k == count * rank // workers:
                made.arrow(master, forward, "by their keys")
            made.arrow(forward, backward, "values between")
            part = programs.parts[k]
            if part.written:
                new = made.mark(box, Look.OP, "update", f"after {programs.shards} micro-batches")
                size = _bytes(programs, part.written)
                held = made.mark(box, Look.VARIABLE, "its variables", size)
                made.arrow(backward, new)
                made.arrow(new, held, kind=Arrow.UPDATE)
                made.arrow(held, forward, kind=Arrow.PULL)
            marks.append((forward, backward))
    made.arrow(data, marks[0][0])
    pairs = dict.fromkeys((link.maker, k) for link in programs.links for k in link.readers)
    for maker, reader in pairs:
        moving = [x for x in programs.links if x.maker == maker and reader in x.readers]
        made.arrow(marks[maker][0], marks[reader][0], _moved(moving))
        returned = [link for link in moving if link.returns]
        if returned:
            made.arrow(marks[reader][1], marks[maker][1], _moved(returned), Arrow.BACKWARD)


def _moved(links: Sequence[Link]) -> str:
    """The bytes of tensors, of each example and beside these."""
    sizes = [product(link.shape) * link.dtype.itemsize for link in links]
    each = sum(size for size in map(_of_an_example, sizes) if size)
    rest = sum(int(s) for s in sizes if isinstance(s, int))
    texts = [f"{_shown(each)} an example"] if each else []
    return ", ".join([*texts, *([_shown(rest)] if rest else [])])


def _of_an_example(size: Size) -> int:
    return evaluate(size, {"n": 2}) - evaluate(size, {"n": 1})


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
