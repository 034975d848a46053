"""Executables: the native objects of a program, loaded and ready to be called.

A manifest (plain data, stored beside the object) says how to call it: the words of the context, the
shapes of inputs and outputs as expressions, the arena's size, and what can fail where. Nothing of
the compiler is needed to run a program.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc import locks
from graphc.ir.dim import dim, evaluate
from graphc.lower.head import GET_THREADS, SET_THREADS, Head
from graphc.lower.processor import target_machine
from graphc.runtime.blas import find_blas
from graphc.runtime.near import one_place
from graphc.runtime.product import product_addresses
from graphc.runtime.signals import table_address
from graphc.runtime.vector_loops import vector_loop

Manifest = dict[str, Any]
_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
_HOST = ctypes.CFUNCTYPE(
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_int64),
    ctypes.c_int64,
)
_ENGINES = locks.private()


class Executable:
    """Native code that is in memory. `run` is safe from many threads at once."""

    def __init__(self, manifest: Manifest, data: bytes, hosts: Sequence[Any]) -> None:
        """`data` has the objects one after another; `hosts` gives, for each host site, the function
        that computes it from arrays."""
        self.manifest = manifest
        self._hosts = dict(hosts)
        ends = list(accumulate(manifest["objects"], initial=0))
        self._engine = _load([data[start:end] for start, end in pairwise(ends)])
        self.address = self._engine.get_function_address("entry")
        self.entry = _ENTRY(self.address)
        self.arena, self.frame = (dim(manifest[name]) for name in ("arena", "frame"))
        self._errors: dict[int, BaseException] = {}
        self._callback = _HOST(self._host)
        blas = find_blas()
        self._blas = blas
        head = [0] * Head.COUNT
        head[Head.SIGNALS] = table_address()
        if manifest["sites"]:
            head[Head.HOST] = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        for word, name in ((Head.SGEMM, "sgemm"), (Head.DGEMM, "dgemm")):
            head[word] = blas.addresses[name]
        for bits in manifest["products"]:
            product, packing = product_addresses(bits)
            head[Head.SPRODUCT if bits == 32 else Head.DPRODUCT] = product
            head[Head.SPACK if bits == 32 else Head.DPACK] = packing
        self._numbers = np.array(manifest["numbers"], np.float64)  # lives as long as the code
        head[Head.NUMBERS] = self._numbers.ctypes.data
        self.head = tuple(head)
        unset = () if blas.has_own_threads else (GET_THREADS, SET_THREADS)
        self.routines = [
            0 if name in unset else blas.routine(name) for name in manifest["routines"]
        ]
        self.routines += [word for name in manifest["loops"] for word in vector_loop(name)]

    def arena_bytes(self, dims: dict[str, int], threads: int) -> int:
        """The bytes of temporary memory at the given sizes, for so many threads."""
        return evaluate(self.arena, dims) + (threads - 1) * evaluate(self.frame, dims)

    def take_error(self, call: int) -> BaseException | None:
        """The error that a host call of the given run raised, once."""
        return self._errors.pop(call, None)

    def _host(self, call: int, site: int, pointers: Any, sizes: Any, ticket: int) -> int:
        """Called from native code: `ticket` if all went well. Nothing may be raised through it; a
        signal's handler can do so all the same, before the first line of this."""
        try:
            self._hosts[site](pointers, sizes)
        except BaseException as error:
            self._errors[call] = error
            return 0
        return ticket


def _load(objects: Sequence[bytes]) -> Any:
    """The objects in an engine of their own; freed with it."""
    with _ENGINES:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
        with one_place(sum(map(len, objects))):
            for data in objects:
                engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(data))
            engine.finalize_object()
    return engine
