"""Inputs and results of a plan on the card, and beside them in memory of the host that copies read
and write while they run. Small neighbours are brought by one copy: each costs some microseconds,
whatever it brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Any

import numpy as np

from graphc.runtime.cuda_memory import Card, aligned

SMALL = 1 << 16  # bytes of an array up to which it is brought with its neighbours
Bytes = np.ndarray[Any, Any]


class Staged:
    """One array: `address` on the card, and on the host."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self.nbytes = prod(shape) * dtype.itemsize
        self.address = 0
        self.block: Block | None = None

    @cached_property
    def host(self) -> np.ndarray[Any, Any]:
        """The array in memory that copies reach, made at first use."""
        return bytes_of([self]).view(self.dtype).reshape(self.shape)


class Block:
    """Arrays one behind the other, in the same places of one piece of the host's memory."""

    def __init__(self, card: Card, arrays: Sequence[Staged]) -> None:
        self.card, self.arrays = card, arrays
        self.pinned: Bytes | None = None
        for array in arrays:
            array.block = self

    def between(self, start: int, end: int) -> Bytes:
        """The bytes of the host for these addresses on the card."""
        first, last = self.arrays[0].address, self.arrays[-1]
        if self.pinned is None:
            size = last.address + last.nbytes - first
            self.pinned = self.card.pinned((size,), np.dtype(np.uint8))
        return self.pinned[start - first : end - first]

    def free(self) -> None:
        if self.pinned is not None:
            self.card.unpin(self.pinned)


def placed(card: Card, arrays: Sequence[Staged], start: int) -> list[Block]:
    """Arrays that have their places now, from `start` on, in blocks."""
    for array in arrays:
        array.address = start
        start += aligned(array.nbytes)
    blocks: list[Block] = []
    for small, found in groupby(arrays, lambda array: array.nbytes <= SMALL):
        some = list(found)
        blocks += [Block(card, some)] if small else [Block(card, [array]) for array in some]
    return blocks


def bytes_of(arrays: Sequence[Staged]) -> Bytes:
    """Those of neighbours on the host, and of what is between them."""
    first, last = arrays[0], arrays[-1]
    assert first.block is not None
    return first.block.between(first.address, last.address + last.nbytes)


def neighbours(blocks: Sequence[Block], wanted: Callable[[Staged], bool]) -> Iterator[list[Staged]]:
    """The arrays that are wanted, those together that one copy brings."""
    for block in blocks:
        for chosen, found in groupby(block.arrays, wanted):
            if chosen:
                yield list(found)
