"""`connect`: a cluster that is there, or one on this machine that ends with the program."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from types import TracebackType
from typing import Self

from graphc.distributed import engine
from graphc.distributed.limits import checked
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.keywords import Answering
from graphc.train.batches import positive


class Cluster(Answering):
    """A connection, which `close` or the end of a `with` block ends, and the end of the program at
    the latest. A cluster that `connect` started ends with it."""

    def __init__(self, address: str, folder: str | None) -> None:
        self.address, self._folder = address, folder
        self.is_open = True
        atexit.register(self.close)

    def close(self) -> None:
        """Disconnect. Trainings that workers hold come home no more."""
        if self.is_open:
            self.is_open = False
            atexit.unregister(self.close)
            engine.leave()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def cpus(self) -> int:
        """The processors that workers can have."""
        return int(engine.total("CPU"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<cluster {self.address}{'' if self.is_open else ', closed'}>"


def connect(
    address: str | None = None,
    *,
    cpus: int | None = None,
    store: int | None = None,
    limit: float = 60.0,
) -> Cluster:
    """Connect this program to a Ray cluster; a trainer without one starts a local one.

    `address` is that of a cluster's head node, "host:port", or "auto" for the one that runs on this
    machine. Without it a cluster is started here: on 127.0.0.1 only, with no dashboard and no usage
    statistics, with `cpus` processors, which are those of the machine by default, and `store` bytes
    of memory for objects. It ends when it is closed, or with this program.
    Errors: `ArgumentError` where Ray is not installed, for a program that is connected already, and
    for `cpus` or `store` beside an address; `ClusterError` if no cluster answers within `limit`
    seconds.
    """
    limit = checked("limit", limit)
    if engine.is_connected():
        raise ArgumentError(
            "this program is connected already", op="connect", where=origin.where(),
            hint="close the cluster first, or use it: trainers do without being told",
        )  # fmt: skip
    if address is not None:
        if cpus is not None or store is not None:
            raise ArgumentError(
                "cpus and store are those of a cluster that is started here", op="connect",
                given=f"address={address!r}"[:80], where=origin.where(),
            )  # fmt: skip
        engine.join(str(address), limit)
        return Cluster(str(address), None)
    cpus = None if cpus is None else positive("connect", "cpus", cpus)
    store = None if store is None else positive("connect", "store", store)
    folder = tempfile.mkdtemp(prefix="graphc-")  # short: it begins the names of sockets
    engine.start_local(cpus, folder, store)
    return Cluster("local", folder)
