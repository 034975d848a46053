"""Memory of a card, of the host beside it, and where the values of variables are.

A variable has several homes, an array of the host and memory of each card that used it.
`Cell.remote` says which of them have the newest value, and brings it back when a program of the CPU
or the user looks.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import prod
from typing import Any, Protocol

import numpy as np

from graphc.errors import DeviceError
from graphc.ir.node import Cell, elsewhere
from graphc.runtime import cuda_driver
from graphc.runtime.cuda_driver import Device, done

ALIGN = 256
SPARE = 16  # results that nobody refers to take so small a part of the memory, for the next ones
Array = np.ndarray[Any, Any]


def aligned(size: int) -> int:
    """The size, as a multiple of what memory of a card begins at."""
    return -(-max(size, 1) // ALIGN) * ALIGN


class OutOfMemoryError(DeviceError):
    """The card has less memory than was asked for."""


class Work(Protocol):
    """What a card was given and may not be done with."""

    def settle(self) -> None:
        """Wait for it. Errors: of what failed."""


class Card:
    """A card in this process: its context and its driver. `threads`: of a block. `under_way`: what
    nobody has waited for; `spare`: blocks of memory for results, by their size."""

    threads = 256

    def __init__(self, device: Device) -> None:
        self.api, self.device = cuda_driver.driver(), device
        self.process = os.getpid()
        handle = done(self.api.cuDeviceGet(self.device.index), "finding a device")
        self.context = done(self.api.cuDevicePrimaryCtxRetain(handle), "making a context")
        self.under_way: set[Work] = set()
        self.spare: dict[int, list[int]] = {}
        self.spare_bytes = 0

    @property
    def is_usable(self) -> bool:
        """Not where the interpreter ends, or in a child of the process that began."""
        return os.getpid() == self.process and not sys.is_finalizing()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What is inside runs on this card; what the thread's card was, it is again afterwards.
        Errors: `DeviceError` in a child of the process that began."""
        cuda_driver.driver()
        done(self.api.cuCtxPushCurrent(self.context), "entering a context")
        try:
            yield
        finally:  # says what failed before, if anything did
            self.api.cuCtxPopCurrent()

    def stream(self) -> Any:
        """A stream that others' use of the default one neither waits for nor disturbs."""
        kind = self.api.CUstream_flags.CU_STREAM_NON_BLOCKING
        return done(self.api.cuStreamCreate(kind), "making a stream")

    def settle(self, but: Work | None = None) -> None:
        """Wait for all that is under way. Errors: of what failed there, one at a time."""
        for work in tuple(self.under_way):
            if work is not but:
                self.under_way.discard(work)  # before, since it may be given more meanwhile
                work.settle()

    @contextmanager
    def waiting(self) -> Iterator[Any]:
        """A stream behind all that is under way, in whose end what it was given is done."""
        with self.entered():
            self.settle()
            stream = self.stream()
            try:
                yield stream
                self.wait(stream)
            finally:
                self.api.cuStreamDestroy(stream)

    def follow(self, stream: Any, other: int) -> None:
        """What the stream is given from now on runs after what `other` has been given so far."""
        api = self.api
        event = done(api.cuEventCreate(api.CUevent_flags.CU_EVENT_DISABLE_TIMING), "an event")
        done(api.cuEventRecord(event, api.CUstream(other)), "waiting for another stream")
        done(api.cuStreamWaitEvent(stream, event, 0), "waiting for another stream")
        done(api.cuEventDestroy(event), "an event")  # once it is over

    def allocate(self, size: int) -> int:
        """The address of a block of memory. Errors: `OutOfMemoryError`."""
        result = self.api.cuMemAlloc(aligned(size))
        if result[0] == self.api.CUresult.CUDA_ERROR_OUT_OF_MEMORY and self.spare_bytes:
            self._free_spare()
            result = self.api.cuMemAlloc(aligned(size))
        if result[0] == self.api.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise OutOfMemoryError(
                "the card has too little memory",
                op="cuda",
                expected=f"{size:,} bytes free",
                given=f"{self.device.name}, {self.device.memory:,} bytes in all",
                hint="smaller batches, or gc.compile(..., memory_budget=...)",
            )
        return int(done(result, "allocating memory"))

    def free(self, address: int) -> None:
        done(self.api.cuMemFree(address), "freeing memory")

    def take(self, size: int) -> int:
        """As `allocate`, of a block that was dropped, if there is one of this size. Only what
        `settle` orders may use it."""
        try:
            address = self.spare[aligned(size)].pop()
        except (KeyError, IndexError):
            return self.allocate(size)
        self.spare_bytes -= aligned(size)
        return address

    def give(self, address: int, size: int) -> None:
        """Keep a block for `take`, or free it where enough are kept."""
        if self.spare_bytes + aligned(size) > self.device.memory // SPARE:
            self.drop(address)
            return
        self.spare_bytes += aligned(size)
        self.spare.setdefault(aligned(size), []).append(address)

    def _free_spare(self) -> None:
        for blocks in self.spare.values():
            while blocks:
                self.free(blocks.pop())
        self.spare_bytes = 0

    def drop(self, address: int) -> None:
        """Free memory that nobody refers to any more, wherever the collector found that. It waits
        for whoever still works on the card."""
        if self.is_usable:
            with suppress(DeviceError), self.entered():  # a card that is lost has no memory
                self.free(address)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array of the host that copies read and write while they run."""
        size = prod(shape) * dtype.itemsize
        pointer = int(done(self.api.cuMemHostAlloc(max(size, 1), 0), "allocating memory"))
        memory = memoryview((ctypes.c_char * max(size, 1)).from_address(pointer))
        array: Array = np.frombuffer(memory, np.uint8, size).view(dtype)
        return array.reshape(shape)

    def unpin(self, array: Array) -> None:
        done(self.api.cuMemFreeHost(array.ctypes.data), "freeing memory")

    def upload(self, address: int, array: Array, stream: Any) -> None:
        if array.nbytes:
            pointer = array.ctypes.data
            done(self.api.cuMemcpyHtoDAsync(address, pointer, array.nbytes, stream), "copying")

    def download(self, array: Array, address: int, stream: Any) -> None:
        if array.nbytes:
            pointer = array.ctypes.data
            done(self.api.cuMemcpyDtoHAsync(pointer, address, array.nbytes, stream), "copying")

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """On the card."""
        if size:
            done(self.api.cuMemcpyDtoDAsync(target, source, size, stream), "copying")

    def wait(self, stream: Any) -> None:
        done(self.api.cuStreamSynchronize(stream), "running on the card")


def card(index: int | None = None) -> Card:
    """The card of that number, or the first one. Errors: as `cuda_driver.device`."""
    return _card(cuda_driver.device(index))


@cache
def _card(device: Device) -> Card:
    return Card(device)


class Remote:
    """A variable's memory on cards. `newest`: where its newest value is, beside the host if that
    `is_home`."""

    def __init__(self, cell: Cell) -> None:
        self.array, self.name = cell.array, cell.name
        self.addresses: dict[Card, int] = {}
        self.newest: set[Card] = set()
        self.is_home = True

    def address(self, card: Card) -> int:
        """Of its memory on a card, made at first use. Errors: `OutOfMemoryError`."""
        if card not in self.addresses:
            self.addresses[card] = card.allocate(self.array.nbytes)
        return self.addresses[card]

    def bring_home(self) -> None:
        """The host has the newest value afterwards; who calls holds the variable's lock.
        Errors: `DeviceError`, once, where the card is lost; the host's value is the newest then."""
        if self.is_home:
            return
        card = next(iter(self.newest))
        try:
            with card.waiting() as stream:
                card.download(self.array, self.addresses[card], stream)
        except DeviceError as error:
            self.written_at_home()
            raise DeviceError(
                "the newest value of a variable was on a card that is lost",
                op=f"variable {self.name!r}",
                given=error.given or error.message,
                hint="it now has the value with which it last came home",
            ) from error
        self.is_home = True

    def written_at_home(self) -> None:
        """Only the host has the newest value."""
        self.newest.clear()
        self.is_home = True

    def send(self, card: Card, stream: Any) -> None:
        """The card has the newest value afterwards."""
        if card not in self.newest:
            self.bring_home()
            card.upload(self.addresses[card], self.array, stream)
            self.newest.add(card)

    def written_on(self, card: Card) -> None:
        self.newest, self.is_home = {card}, False

    def __del__(self) -> None:
        for card, address in self.addresses.items():
            card.drop(address)


def remote(cell: Cell) -> Remote:
    """The variable's memory on cards, made at first use."""
    found = cell.remote
    if found is None:
        cell.remote = found = Remote(cell)
        elsewhere.add(cell)
    assert isinstance(found, Remote)
    return found
