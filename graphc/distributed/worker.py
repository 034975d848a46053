"""`Worker`: what runs in a worker's process. The client calls its methods, one after another.

Errors of the training are results, so that they come to the client as they are.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphc.distributed import engine
from graphc.distributed.group import Door, Group, Lost
from graphc.distributed.network import MARK, NetDoor, NetGroup
from graphc.distributed.programs import Programs
from graphc.distributed.replica import Replica, Seconds
from graphc.distributed.replicas import replica_of
from graphc.errors import GraphcError
from graphc.ir import origin
from graphc.train.batches import Array


class About(NamedTuple):
    """What a worker says of itself."""

    name: str  # by which other workers of its machine reach it
    pid: int
    host: str
    versions: dict[str, str]
    place: str = ""  # the same for those who can share memory


class Ran(NamedTuple):
    """How a run ended: the step that comes next, a code, an error, and which others are lost."""

    at: int
    code: int
    failure: GraphcError | None
    lost: tuple[int, ...] = ()
    is_torn: bool = False  # whether its variables are ahead of the step that comes next
    rate: float = 0.0  # examples in a second


def versions() -> dict[str, str]:
    """What has to be the same on all sides."""
    package = sys.modules[__name__.partition(".")[0]]
    return {
        "graphc": str(getattr(package, "__version__", "")),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
    }


def _place() -> str:
    """The machine since it was started, and in it the network, which names of sockets belong to."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{os.stat('/proc/self/ns/net').st_ino}"
    return socket.gethostname()


class Worker:
    """One copy of the training."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """`settings`: variables of the environment, as graphc's settings are."""
        os.environ.update(settings)
        self._door = Door()
        self._net: NetDoor | None = None
        self._group: Group | NetGroup | None = None
        self._programs: Programs | None = None
        self._replica: Replica | None = None
        self._seconds = Seconds()

    def about(self) -> About:
        return About(self._door.name, os.getpid(), socket.gethostname(), versions(), _place())

    def listen(self, address: str = "") -> str:
        """Be reached from other machines too, at this address, or that by which the cluster knows
        this machine. The name of the door."""
        if self._net is None:
            self._net = NetDoor(address or engine.address())
        return self._net.name

    def load(self, programs: bytes, made: tuple[origin.Origin, ...]) -> None:
        """Take programs, which reading them compiles or finds in the cache. `made`: where in the
        user's program, which is what errors of a step name."""
        with origin.inherit(made):
            self._programs, self._replica = pickle.loads(programs), None

    def join(
        self, names: Sequence[str], rank: int, number: int, start: float, step: float
    ) -> tuple[int, ...]:
        """Become one of a group. The ranks of those who did not come."""
        self._leave()
        try:
            if self._net is not None and all(name.startswith(MARK) for name in names):
                self._group = NetGroup(self._net, names, rank, number, start, step)
            else:
                self._group = Group(self._door, names, rank, number, start, step)
        except Lost as error:
            return error.ranks
        return ()

    def _leave(self) -> None:
        if self._group is not None:
            self._group.close()
            self._group = None

    def close(self) -> None:
        """Leave, and be reached no more."""
        self._leave()
        self._door.close()
        if self._net is not None:
            self._net.close()

    def walk(self, arrays: Sequence[Array], size: int) -> tuple[int, ...]:
        """Walk over these arrays from now on, in steps of `size` examples. The ranks of those who
        were lost meanwhile."""
        assert self._programs is not None
        assert self._group is not None
        if self._replica is not None:
            self._replica.gather()
        self._replica = replica_of(self._programs, arrays, size, self._seconds, self._group)
        try:
            self._replica.join(self._group)
        except Lost as error:
            return error.ranks
        return ()

    def run(self, first: int, count: int, order: Array | None) -> Ran:
        """Make steps."""
        replica = self._replica
        assert replica is not None
        replica.order = order
        start, before = time.perf_counter(), self._seconds.examples
        try:
            code = replica.run(first, count)
        except Lost as error:
            self._leave()  # so that nobody waits for this one
            replica.settle()
            return Ran(replica.at, 0, None, error.ranks, replica.is_torn)
        seconds = max(time.perf_counter() - start, 1e-9)
        rate = (self._seconds.examples - before) / seconds
        return Ran(replica.at, code, replica.failure, rate=rate)

    def values(self, places: Sequence[int]) -> list[Array]:
        """The values of some variables."""
        assert self._programs is not None
        if self._replica is not None:
            return self._replica.values(places)
        return [self._programs.variables[i].value for i in places]

    def assign(self, places: Sequence[int], values: Sequence[Array]) -> None:
        assert self._programs is not None
        if self._replica is not None:
            self._replica.assign(places, values)
            return
        for i, value in zip(places, values, strict=True):
            self._programs.variables[i].value = value

    def kept(self) -> list[Array]:
        """What metrics keep of all examples."""
        return [] if self._replica is None else self._replica.results

    def keep(self, results: Sequence[Array]) -> None:
        """What another worker has kept so far."""
        if self._replica is not None:
            for own, other in zip(self._replica.results, results, strict=True):
                own[...] = other

    def seconds(self) -> dict[str, Any]:
        return asdict(self._seconds)
