"""How the work of a step is divided among workers."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.errors import ArgumentError
from graphc.ir import origin


@dataclass(frozen=True)
class DataParallel:
    """Each batch is cut into `shards` of about equal size, as many as there are workers by default.

    Each worker has the whole model and computes the gradients of its shards; gradients are summed
    in the order of the shards, and each worker makes the same update. What a training comes to
    depends on the number of shards, and not on which worker computes them: with the same `shards`
    any number of workers gives the same bits.

    Layers that look at a whole batch, as `BatchNorm`, look at a shard; their averages are the means
    of all shards. Random keys, as of `Dropout`, differ by shard.
    Errors: `ArgumentError` for a number of shards that is no int >= 1.
    """

    shards: int | None = None

    def __post_init__(self) -> None:
        given = self.shards
        if given is not None and (
            isinstance(given, bool) or not isinstance(given, int) or given < 1
        ):
            raise ArgumentError(
                "shards is no positive int", op="DataParallel", expected="an int >= 1, or None",
                given=repr(given)[:80], where=origin.where(),
            )  # fmt: skip
