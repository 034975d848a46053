"""The inner loops of NumPy's generalised ufuncs, as native addresses.

A ufunc is a struct of NumPy's public C interface (`PyUFuncObject` in `numpy/ufuncobject.h`), which
names its loops, a pointer that each is given, and the numbers of their dtypes. What is read there
is compared with what NumPy says in Python, and a loop is called once, beside NumPy's own call of
it; where anything differs there is no loop, and programs call back into Python.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import re
import sys
from typing import Any

import numpy as np

_LOOP = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)
_SIGNATURE = re.compile(r"\((\w+)\),\(\)->\((?!\1\))\w+\)")
_LENGTHS = (8, 5)  # of a vector and of its result, where a loop is tried


class _Ufunc(ctypes.Structure):
    """`PyUFuncObject`, as far as it is read, behind the head that every object has."""

    _fields_ = (
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved1", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_byte)),
    )


@functools.cache
def vector_loop(name: str) -> tuple[int, int]:
    """The address of a loop, and its data; zeros where it cannot be called.

    `name`: a module, a ufunc `(n),()->(m)` in it, and the letters of its dtypes, such as
    "numpy.fft._pocketfft_umath.fft Dd->D".
    """
    path, letters = name.split(" ")
    module, ufunc = path.rsplit(".", 1)
    found = _ufunc(module, ufunc)
    if found is None or letters not in found.types:
        return 0, 0
    place = found.types.index(letters)
    words = _read(found, place)
    return words if words is not None and _is_as_numpy_calls_it(found, place, *words) else (0, 0)


def _ufunc(module: str, name: str) -> Any:
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    is_one = isinstance(found, np.ufunc) and _SIGNATURE.fullmatch(found.signature or "")
    return found if is_one else None


def _read(ufunc: Any, place: int) -> tuple[int, int] | None:
    """The address and the data of the loop at `place`, if the struct is as it should be."""
    head = object.__basicsize__
    whole: int = type(ufunc).__basicsize__
    if sys.implementation.name != "cpython" or whole < head + ctypes.sizeof(_Ufunc):
        return None
    struct = _Ufunc.from_address(id(ufunc) + head)
    counts = struct.nin, struct.nout, struct.nargs, struct.ntypes
    if counts != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes):
        return None
    letters = [c for row in ufunc.types for c in row.replace("->", "")]
    numbers = [np.dtype(c).num for c in letters]
    if struct.types[: len(numbers)] != numbers or struct.name != ufunc.__name__.encode():
        return None
    address = struct.functions[place]
    data = struct.data[place] if struct.data else None
    return (address, data or 0) if address else None


def _is_as_numpy_calls_it(ufunc: Any, place: int, address: int, data: int) -> bool:
    """Whether a call of the loop for three vectors gives what one of the ufunc does."""
    vector, number, result = ufunc.types[place].replace("->", "")
    size, length = _LENGTHS
    values = np.cos(np.arange(1, 6 * size + 1, 2) ** 2.0).reshape(3, size)
    x = values.astype(vector) * np.asarray(1 if vector in "fd" else 1 - 0.5j, vector)
    scale = np.asarray(0.75, number)
    expected, given = (np.zeros((3, length), result) for _ in range(2))
    ufunc(x, scale, out=expected)
    args = (ctypes.c_void_p * 3)(*(a.ctypes.data for a in (x, scale, given)))
    dims = (ctypes.c_ssize_t * 3)(3, size, length)
    steps = (ctypes.c_ssize_t * 5)(
        x.strides[0], 0, given.strides[0], x.strides[1], given.strides[1]
    )
    given_to = [ctypes.addressof(a) for a in (args, dims, steps)]
    _LOOP(address)(*given_to, data)
    return expected.tobytes() == given.tobytes()
