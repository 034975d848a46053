"""DLPack: an array as a record of C in a capsule of Python, which other libraries take and give.

NumPy makes the capsule, with all that frees it: the array is shown to it as if it were memory of
the host, which it never reads, and then the record is told which device it is on.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    c_char_p,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, NamedTuple

import numpy as np

HOST, CUDA = 1, 2  # kinds of devices
CODES = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}  # kinds of numbers


# -- of dlpack.h -----------------------------------------------------------------------------------
class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", c_void_p), ("device_kind", c_int32), ("device", c_int32), ("ndim", c_int32),
        ("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16), ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)), ("offset", c_uint64),
    )  # fmt: skip


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", c_uint32), ("minor", c_uint32), ("context", c_void_p), ("deleter", c_void_p),
        ("flags", c_uint64), ("tensor", _Tensor),
    )  # fmt: skip


def _record(capsule: Any) -> Any:
    """The record in a capsule that nobody has taken yet. Errors: `ValueError` for another one."""
    is_named, pointer = ctypes.pythonapi.PyCapsule_IsValid, ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype = c_void_p
    kinds: dict[bytes, Any] = {b"dltensor": _Tensor, b"dltensor_versioned": _Versioned}
    for name, kind in kinds.items():
        if is_named(ctypes.py_object(capsule), c_char_p(name)):
            found = kind.from_address(pointer(ctypes.py_object(capsule), c_char_p(name)))
            return found.tensor if kind is _Versioned else found
    raise ValueError("a DLPack capsule that somebody has taken")


# -- giving ----------------------------------------------------------------------------------------
class _AsIfHere:
    """An array on a card, to be looked at as one of the host, but not into."""

    def __init__(self, array: Any) -> None:
        self.array = array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        a = self.array
        return {"shape": a.shape, "typestr": a.dtype.str, "data": (a.address, False), "version": 3}


def capsule(array: Any, version: tuple[int, int] | None) -> Any:
    """An array on a card, with `address`, `shape`, `dtype` and `device`, to give away. It lives as
    long as somebody has it."""
    made = np.asarray(_AsIfHere(array)).__dlpack__(max_version=version)
    record = _record(made)
    record.device_kind, record.device = CUDA, array.device.index
    return made


# -- taking ----------------------------------------------------------------------------------------
class Described(NamedTuple):
    """What a capsule says of its array; `strides` in bytes, None for one after another."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...] | None


def described(capsule: Any) -> Described:
    """The array in a capsule, which is not taken: it is there as long as the capsule is.
    Errors: `ValueError` for numbers that NumPy does not have."""
    tensor = _record(capsule)
    code, rank = CODES.get(tensor.code), tensor.ndim
    if code is None or tensor.lanes != 1 or tensor.bits % 8:
        raise ValueError(f"numbers of DLPack's kind {tensor.code}, of {tensor.bits} bits")
    dtype = np.dtype(np.bool_ if code == "b" else f"{code}{tensor.bits // 8}")
    return Described(
        (tensor.data or 0) + tensor.offset,
        tuple(tensor.shape[:rank]),
        dtype,
        tuple(dtype.itemsize * s for s in tensor.strides[:rank]) if tensor.strides else None,
    )
