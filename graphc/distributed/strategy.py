"""How the work of a step is divided among workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from graphc.errors import ArgumentError
from graphc.ir import origin

# Bytes. A bucket takes some 20 us of a worker's processor beside its sums (32 buckets against one,
# by hand), and one of this size 0.8 ms of a link of 10 Gbit/s.
BUCKET = 1 << 20


@dataclass(frozen=True)
class DataParallel:
    """Each batch is cut into `shards` of about equal size, as many as there are workers by default.

    Each worker has the whole model and computes the gradients of its shards; gradients are summed
    in the order of the shards, and each worker makes the same update. What a training comes to
    depends on the number of shards, and not on which worker computes them: with the same `shards`
    any number of workers gives the same bits.

    Gradients move, and are summed, in buckets of at least `bucket_bytes`, each as soon as the
    backward pass has it, while it goes on: small buckets begin sooner, large ones cost fewer words
    between workers. No bit depends on it.

    Layers that look at a whole batch, as `BatchNorm`, look at a shard; their averages are the means
    of all shards. Random keys, as of `Dropout`, differ by shard.
    Errors: `ArgumentError` for a number of shards or bytes that is no int >= 1.
    """

    shards: int | None = None
    bucket_bytes: int = BUCKET

    servers = 0
    is_async = False
    copies = True  # whether each worker holds all of a training

    def __post_init__(self) -> None:
        if self.shards is not None:
            _count("DataParallel", "shards", self.shards, 1)
        _count("DataParallel", "bucket_bytes", self.bucket_bytes, 1)

    def pieces(self, workers: int) -> tuple[int, int]:
        """Into how many shards a batch is cut, and how many workers can share them."""
        shards = self.shards or max(workers, 1)
        return shards, shards


@dataclass(frozen=True)
class ParameterServer:
    """Parameters and the optimiser's state are on `servers`, divided among them by bytes; workers
    pull the parameters and push gradients.

    With `mode="sync"` each batch is cut into shards as `DataParallel` cuts it, and what comes out
    is the same, bit for bit. With `mode="async"` each worker takes whole batches, every so many-th
    one, and a server makes a step as soon as it is pushed a gradient: nobody waits for a slow
    worker, gradients are of parameters that are some steps old, and no two trainings are alike.
    `staleness` is how many batches a worker may be ahead of the slowest one.
    A server takes no processor from the cluster's count: most of the time it waits.
    Errors: `ArgumentError` for numbers that are none, an unknown mode, and `staleness` or `shards`
    that the mode has not.
    """

    servers: int = 1
    mode: str = "sync"
    staleness: int | None = None
    shards: int | None = None

    copies = True  # a server that is lost begins the epoch again; workers can be replaced
    bucket_bytes = BUCKET

    def pieces(self, workers: int) -> tuple[int, int]:
        """Into how many shards a batch is cut, and how many workers can share them."""
        if self.is_async:
            return 1, max(workers, 1)
        shards = self.shards or max(workers, 1)
        return shards, shards

    @property
    def is_async(self) -> bool:
        """Whether servers make a step for each push."""
        return self.mode == "async"

    def __post_init__(self) -> None:
        _count("ParameterServer", "servers", self.servers, 1)
        if self.mode not in ("sync", "async"):
            raise ArgumentError(
                "unknown mode", op="ParameterServer", expected="'sync' or 'async'",
                given=repr(self.mode)[:80], where=origin.where(),
            )  # fmt: skip
        for name, mode in (("staleness", "async"), ("shards", "sync")):
            value = getattr(self, name)
            if value is not None and mode != self.mode:
                raise ArgumentError(
                    f"{name} is for mode={mode!r}", op="ParameterServer",
                    given=f"{name}={value!r}, mode={self.mode!r}"[:80], where=origin.where(),
                )  # fmt: skip
            if value is not None:
                _count("ParameterServer", name, value, 0 if name == "staleness" else 1)


@dataclass(frozen=True)
class Pipeline:
    """The model is cut into `stages`, as many as there are workers by default, each with the
    variables that it reads; `gc.draw(trainer, view="placement")` shows the cut, and
    `GRAPHC_PRINT=cut` prints it.

    The stages have about equal numbers of operations, and as few bytes as can be move from one to
    the next. A batch is cut into `micro_batches` of about equal size,
    twice as many as stages by default, which follow each other through the stages: a stage computes
    the backward pass of one as soon as it can and then the forward pass of another, so that it
    keeps the intermediate values of no more than there are stages behind it. Gradients are added
    up in the order of the micro-batches; then each stage updates its own variables.

    What a training comes to depends on the number of stages and micro-batches, not on that of
    workers: fewer workers have several stages each. Layers that look at a whole batch look at a
    micro-batch, as with the shards of `DataParallel`.
    Errors: `ArgumentError` for numbers that are no ints >= 1.
    """

    stages: int | None = None
    micro_batches: int | None = None

    servers = 0
    is_async = False
    copies = False
    bucket_bytes = BUCKET

    def __post_init__(self) -> None:
        for name in ("stages", "micro_batches"):
            if getattr(self, name) is not None:
                _count("Pipeline", name, getattr(self, name), 1)

    def pieces(self, workers: int) -> tuple[int, int]:
        """Into how many micro-batches a batch is cut, and how many stages there are."""
        stages = self.stages or max(workers, 1)
        return self.micro_batches or 2 * stages, stages


_COUNTED = {"staleness": "batches", "bucket_bytes": "bytes"}
Strategy: TypeAlias = DataParallel | ParameterServer | Pipeline


def _count(op: str, name: str, given: object, least: int) -> None:
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise ArgumentError(
            f"no number of {_COUNTED.get(name, name)}",
            op=op, expected=f"an int >= {least}", given=repr(given)[:80], where=origin.where(),
        )  # fmt: skip
