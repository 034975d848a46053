"""Which replica a strategy wants in a place of the exchange."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.distributed.group import Exchange
from graphc.distributed.parameter_server import AsyncServer, AsyncWorker, PullingWorker, Server
from graphc.distributed.pipeline import PipelineReplica
from graphc.distributed.programs import Programs
from graphc.distributed.replica import Replica, Seconds
from graphc.distributed.stages import StagedPrograms
from graphc.train.batches import Array


def replica_of(
    programs: Programs, arrays: Sequence[Array], size: int, seconds: Seconds, exchange: Exchange
) -> Replica:
    """The replica that the strategy wants in this place of the exchange."""
    if isinstance(programs, StagedPrograms):
        return PipelineReplica(programs, arrays, size, seconds)
    strategy = programs.strategy
    serves = exchange.rank >= exchange.size - strategy.servers
    kinds = (AsyncWorker, AsyncServer) if strategy.is_async else (PullingWorker, Server)
    kind = kinds[serves] if strategy.servers and exchange.size > 1 else Replica
    return kind(programs, arrays, size, seconds)
