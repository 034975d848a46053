"""Adding up the gradients of two workers: what workers do themselves, beside Ray's object store.

    python -m tests.benchmarks.rings            # two workers of one host
    sudo python -m tests.benchmarks.rings apart # of two hosts, which are network namespaces

By hand; needs Ray. Each of two actors has a gradient of 1, 8 or 64 MB, and wants the sum. Both ways
are the same: each sends the other the half that that one adds up, and gets the other half of the
sum. Workers do it in memory that both share, or over TCP (`Group`, `NetGroup`). With the object
store the halves are results of calls and arguments of others, which Ray moves where they are
needed. The sums are compared; times are medians of rounds in turn, and so are their ratios.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.distributed import engine
from graphc.distributed.group import Door, Group
from graphc.distributed.network import MARK, NetDoor, NetGroup

from . import hosts

SIZES, ROUNDS, LONG = (1, 8, 64), 7, 300.0
STEPS = {1: 40, 8: 16, 64: 4}


class Adder:
    """One of two workers, `rank` 0 or 1."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._doors: list[Any] = []
        self._exchanges: list[Any] = []

    def listen(self, is_net: bool) -> str:
        self._doors.append(NetDoor(engine.address()) if is_net else Door())
        name: str = self._doors[-1].name
        return name

    def join(self, names: Sequence[str], way: int) -> None:
        """Meet the other one, by the way of that number."""
        kind: Any = NetGroup if names[0].startswith(MARK) else Group
        self._exchanges.append(kind(self._doors[way], names, self._rank, 1, LONG, LONG))

    def fill(self, size: int) -> None:
        """A gradient of so many elements, and memory for both and their sum."""
        self._gradient = np.random.default_rng(self._rank).normal(size=size).astype(np.float32)
        self._memories = [exchange.memory(12 * size) for exchange in self._exchanges]

    # -- by themselves -----------------------------------------------------------------------------
    def steps(self, way: int, count: int) -> Any:
        """Make so many; seconds of one, and what the sum begins and ends with."""
        size, rank, exchange = len(self._gradient), self._rank, self._exchanges[way]
        first, second, total = (
            np.ndarray(size, np.float32, self._memories[way], 4 * size * i) for i in range(3)
        )
        halves = (0, size // 2), (size // 2, size)
        begin, end = halves[1 - rank]
        sent = [(4 * (size * rank + begin), 4 * (size * rank + end))]
        begin, end = halves[rank]
        made = [(4 * (2 * size + begin), 4 * (2 * size + end))]
        start = time.perf_counter()
        for _ in range(count):
            (first, second)[rank][...] = self._gradient
            exchange.meet((), {1 - rank: sent})
            np.add(first[begin:end], second[begin:end], out=total[begin:end])
            exchange.meet(made)
        return (time.perf_counter() - start) / count, total[[0, -1]].tolist()

    # -- by the object store -----------------------------------------------------------------------
    def halves(self) -> Any:
        size = len(self._gradient)
        return self._gradient[: size // 2], self._gradient[size // 2 :]

    def add(self, first: Any, second: Any) -> Any:
        return first + second

    def take(self, first: Any, second: Any) -> Any:
        self._sum = first, second
        return [float(first[0]), float(second[-1])]


def by_themselves(two: Sequence[Any], way: int, count: int) -> tuple[float, Any]:
    import ray

    found = ray.get([a.steps.remote(way, count) for a in two])
    assert found[0][1] == found[1][1]
    return max(f[0] for f in found), found[0][1]


def by_the_store(two: Sequence[Any], count: int) -> tuple[float, Any]:
    import ray

    start = time.perf_counter()
    for _ in range(count):
        halves = [a.halves.options(num_returns=2).remote() for a in two]
        sums = [a.add.remote(halves[0][i], halves[1][i]) for i, a in enumerate(two)]
        taken = [a.take.remote(*sums) for a in two]
        found = ray.get(taken)  # a step needs the one before it
    assert found[0] == found[1]
    return (time.perf_counter() - start) / count, found[0]


def compare(where: str, kinds: dict[str, bool]) -> None:
    """`kinds`: ways to do it by themselves, and whether they are TCP."""
    import ray

    print(f"{where}: milliseconds of a step, and the store's as a multiple", flush=True)
    two = [engine.actor(Adder, rank) for rank in (0, 1)]
    for way, is_net in enumerate(kinds.values()):
        names = ray.get([a.listen.remote(is_net) for a in two])
        ray.get([a.join.remote(names, way) for a in two])
    for megabytes in SIZES:
        ray.get([a.fill.remote(megabytes * (1 << 18)) for a in two])
        taken: dict[str, list[float]] = {name: [] for name in (*kinds, "store")}
        for turn in range(ROUNDS + 1):
            count = STEPS[megabytes]
            found = [by_themselves(two, way, count) for way in range(len(kinds))]
            found.append(by_the_store(two, count))
            assert all(f[1] == found[0][1] for f in found)
            for times, (seconds, _) in zip(taken.values(), found, strict=True):
                times += [seconds] if turn else []  # the first one warms up
        for name, times in taken.items():
            ratios = (s / o for s, o in zip(taken["store"], times, strict=True))
            print(f"  {megabytes:3} MB, {name:13} {1000 * statistics.median(times):8.2f} ms"
                  f"  {statistics.median(ratios):5.2f}", flush=True)  # fmt: skip


def main() -> None:
    if sys.argv[1:] == ["apart"]:
        hosts.on_a_cluster("tests.benchmarks.rings", [])
    elif sys.argv[1:2] == ["--client"]:
        with gc.distributed.connect(hosts.HEAD):
            hosts.wait_for(3)
            compare("two hosts", {"TCP": True})
    else:
        with gc.distributed.connect(cpus=4, store=1 << 30):
            compare("one host", {"shared memory": False, "TCP": True})


if __name__ == "__main__":
    main()
