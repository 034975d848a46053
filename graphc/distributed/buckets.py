"""Buckets: gradients that are handed over together, in the order in which a program has them.

A program of gradients gives the loss first, then the arrays that shards add up. Which of these are
there behind which of its steps is a fact of the compiled program, of which nothing is assumed but
that it is the same in each call: gradients of the last layers come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Announced = Sequence[tuple[int, Sequence[int]]]  # how many steps come behind, and outputs
FIRST = 1  # the output that is the first of what shards add up


class Bucket(NamedTuple):
    """Arrays of one dtype, by their places among those that shards add up, and their bytes."""

    summed: list[int]
    bytes: int


class Ready(NamedTuple):
    """When a bucket is complete: behind so many announcements of a call. `early`: before the step
    that completes the last of all buckets."""

    announcements: int
    early: bool


def make_buckets(
    announced: Announced, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]], least: int
) -> list[Bucket]:
    """Buckets of at least so many bytes, where there are as many of a dtype.

    >>> kinds = [((n,), np.dtype("float32")) for n in (4, 2, 3)]
    >>> make_buckets([(2, [0, 3]), (1, [2]), (0, [1])], kinds, 16)
    [Bucket(summed=[2, 1], bytes=20), Bucket(summed=[0], bytes=16)]
    """
    found: list[Bucket] = []
    begun: dict[np.dtype[Any], Bucket] = {}
    for _, outputs in announced:
        for place in (output - FIRST for output in outputs):
            if not 0 <= place < len(kinds):
                continue
            shape, dtype = kinds[place]
            bucket = begun.pop(dtype, Bucket([], 0))
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            bucket = Bucket([*bucket.summed, place], bucket.bytes + size)
            if bucket.bytes < least:
                begun[dtype] = bucket
            else:
                found.append(bucket)
    return [*found, *begun.values()]


def when_ready(buckets: Sequence[Bucket], announced: Announced) -> list[Ready]:
    """When each bucket is complete."""
    number = {output: i for i, (_, outputs) in enumerate(announced) for output in outputs}
    last = [max(number[place + FIRST] for place in bucket.summed) for bucket in buckets]
    return [Ready(i + 1, i < max(last)) for i in last]
