"""Memory of a card, of the host beside it, and where the values of variables are.

A variable has two homes, an array of the host and memory of the card. One of them has the newest
value: `Cell.remote` says so, and brings it back when a program of the CPU or the user looks.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import numpy as np

from graphc.errors import DeviceError
from graphc.ir.node import Cell, elsewhere
from graphc.runtime import cuda_driver
from graphc.runtime.cuda_driver import done

ALIGN = 256
Array = np.ndarray[Any, Any]


def aligned(size: int) -> int:
    """The size, as a multiple of what memory of a card begins at."""
    return -(-max(size, 1) // ALIGN) * ALIGN


class OutOfMemoryError(DeviceError):
    """The card has less memory than was asked for."""


class Card:
    """A card in this process: its context and its driver. `threads`: of a block."""

    threads = 256

    def __init__(self) -> None:
        self.api = cuda_driver.driver()
        self.device = cuda_driver.devices()[0]
        self.process = os.getpid()
        handle = done(self.api.cuDeviceGet(self.device.index), "finding a device")
        self.context = done(self.api.cuDevicePrimaryCtxRetain(handle), "making a context")

    @property
    def is_usable(self) -> bool:
        """Not where the interpreter ends, or in a child of the process that began."""
        return os.getpid() == self.process and not sys.is_finalizing()

    def enter(self) -> None:
        """Make the card this thread's. Errors: `DeviceError` in a child of the process that
        began."""
        if os.getpid() != self.process:
            raise DeviceError(
                "this process was forked after CUDA had started, which CUDA does not survive",
                op="cuda",
                hint="start processes by multiprocessing's 'spawn', or fork before the first call",
            )
        done(self.api.cuCtxSetCurrent(self.context), "entering a context")

    def stream(self) -> Any:
        return done(self.api.cuStreamCreate(0), "making a stream")

    def allocate(self, size: int) -> int:
        """The address of a block of memory. Errors: `OutOfMemoryError`."""
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

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array of the host that copies read and write while they run."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
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

    def wait(self, stream: Any) -> None:
        done(self.api.cuStreamSynchronize(stream), "running on the card")


class Remote:
    """A variable's memory on a card. `newest`: the value is there, and the host's is older;
    `stale`: the other way round."""

    def __init__(self, cell: Cell, card: Card) -> None:
        self.cell, self.card = cell, card
        self.address = card.allocate(cell.array.nbytes)
        self.newest, self.stale = False, True

    def bring_home(self) -> None:
        """The host has the newest value afterwards; who calls holds the variable's lock."""
        if self.newest:
            self.card.enter()
            stream = self.card.stream()
            self.card.download(self.cell.array, self.address, stream)
            self.card.wait(stream)
            done(self.card.api.cuStreamDestroy(stream), "ending a stream")
            self.newest = False

    def send(self, stream: Any) -> None:
        """The card has the newest value afterwards."""
        if self.stale:
            self.card.upload(self.address, self.cell.array, stream)
            self.stale = False

    def __del__(self) -> None:
        if "address" in self.__dict__ and self.card.is_usable:
            self.card.enter()
            self.card.free(self.address)


def remote(cell: Cell, card: Card) -> Remote:
    """The variable's memory on the card, made at first use."""
    found = cell.remote
    if found is None:
        cell.remote = found = Remote(cell, card)
        elsewhere.add(cell)
    assert isinstance(found, Remote)
    return found
