"""The BLAS that is in the process anyway, as native addresses.

Compiled programs call matrix products by address, so graphc builds and ships no BLAS of its own:
`find_blas()` gives the addresses of NumPy's, else SciPy's, unless `GRAPHC_BLAS` names another. Such
a library has LAPACK too, most often; `Blas.routine` gives what it has.

All routines have the Fortran interface: every argument is a pointer, matrices are column-major,
and the width of every integer is `Blas.integer_bits`. A row-major C = A B is the column-major
C' = B' A'. Compilers of Fortran add the lengths of character arguments by value behind the last
argument; libraries written in C ignore them, so a caller that passes them (1 each) is right
everywhere. gemm with beta = 0 overwrites C, NaN included, also where k = 0.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from graphc import config
from graphc.errors import CompileError

ROUTINES = ("sgemm", "dgemm")

# How libraries spell a routine, and the width of its integers. 64 bits first: a library that has
# both spellings (MKL, Accelerate) means the plain one to be 32.
_SPELLINGS = (
    ("scipy_{}_64_", 64),
    ("{}_64_", 64),
    ("{}$NEWLAPACK$ILP64", 64),
    ("scipy_{}_", 32),
    ("{}$NEWLAPACK", 32),
    ("{}_", 32),
)


@dataclass(frozen=True)
class Blas:
    """A BLAS library: where it was found, the width of its integers, and where its routines are.

    `path` is the file through which it was found: the library, or an extension module that is
    linked with it. `addresses` has every name of `ROUTINES`.
    """

    name: str
    path: str
    integer_bits: int
    addresses: Mapping[str, int]
    # Held so that the library stays loaded as long as its addresses are known.
    library: ctypes.CDLL = field(repr=False, compare=False)

    @functools.cached_property
    def has_own_threads(self) -> bool:
        """Whether it is an OpenBLAS with threads of its own; those of OpenMP it makes anew, with
        their memory, when their number is set."""
        address = self.routine("openblas_get_parallel")
        return address != 0 and ctypes.CFUNCTYPE(ctypes.c_int)(address)() == 1

    def routine(self, name: str) -> int:
        """The address of another routine of the library, as of LAPACK; 0 where it has none."""
        for spelling, bits in _SPELLINGS:
            symbol = _symbol(self.library, spelling.format(name))
            if bits == self.integer_bits and symbol is not None:
                return _address(symbol)
        return 0


def find_blas() -> Blas:
    """The BLAS to call: the one `GRAPHC_BLAS` names, else NumPy's, else SciPy's. Cached.

    Errors: CompileError where none is found, or where the named one cannot be used.
    """
    return _find(config.blas_library())


@functools.cache
def _find(named: str | None) -> Blas:
    if named is not None:
        return _open_named(named)
    for path in _numpy_candidates():
        library = _load(path)
        found = library and _routines(library)
        if library and found:
            return Blas("numpy", path, *found, library)
    return _open_scipy()


def _open_named(named: str) -> Blas:
    wanted = f"a library with the Fortran BLAS ({', '.join(ROUTINES)})"
    try:
        library = ctypes.CDLL(named)
    except OSError as error:
        raise CompileError(
            f"the library that GRAPHC_BLAS names cannot be loaded: {error}",
            op="find_blas",
            expected=wanted,
            given=named,
            hint="unset GRAPHC_BLAS to use NumPy's own BLAS",
        ) from error
    found = _routines(library)
    if found is None:
        raise CompileError(
            "the library that GRAPHC_BLAS names is no BLAS graphc can call",
            op="find_blas",
            expected=f"{wanted}, spelled like sgemm_ (32-bit integers) or sgemm_64_ (64-bit)",
            given=named,
            hint="unset GRAPHC_BLAS to use NumPy's own BLAS",
        )
    return Blas("GRAPHC_BLAS", named, *found, library)


def _open_scipy() -> Blas:
    """SciPy's `cython_blas`: a capsule per routine, made to be called from native code.

    Its integers are C's `int`, whichever BLAS stands behind it. The import costs 0.15 s or more,
    so it comes last.
    """
    try:
        from scipy.linalg import cython_blas
    except ImportError as error:
        raise CompileError(
            "no BLAS found: NumPy's cannot be called, and scipy.linalg.cython_blas is missing",
            op="find_blas",
            expected="NumPy with a bundled or shared BLAS, or SciPy",
            given=f"numpy {np.__version__} in {os.path.dirname(np.__file__)}",
            hint="install scipy, or name a BLAS library: GRAPHC_BLAS=/path/to/libopenblas.so",
        ) from error
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype = ctypes.c_void_p
    pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
    capsules = {name: cython_blas.__pyx_capi__[name] for name in ROUTINES}
    addresses = {name: pointer_of(capsule, name_of(capsule)) for name, capsule in capsules.items()}
    path = cython_blas.__file__
    return Blas("scipy", path, 32, MappingProxyType(addresses), ctypes.CDLL(path))


def _numpy_candidates() -> Iterator[str]:
    """Files that may lead to the BLAS that NumPy has loaded, the most telling one first.

    Wheels carry the library in a folder beside the package (`numpy.libs`) or in it (`.dylibs`).
    Builds of a distribution are linked with a shared one, which a search through NumPy's own
    extension module reaches, since the loader looks a symbol up in all that the module needs.
    """
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        if folder.is_dir():
            yield from (str(folder / file) for file in sorted(os.listdir(folder)) if "blas" in file)
    yield str(importlib.import_module("numpy._core._multiarray_umath").__file__)


def _load(path: str) -> ctypes.CDLL | None:
    """The library at `path` if the process has loaded it already, so that there is only one."""
    # Windows has no such flag; there the loader returns a library that is loaded under its path.
    mode = 0 if sys.platform == "win32" else ctypes.DEFAULT_MODE | os.RTLD_NOLOAD
    try:
        return ctypes.CDLL(path, mode=mode)
    except OSError:
        return None


def _routines(library: ctypes.CDLL) -> tuple[int, Mapping[str, int]] | None:
    """The width of integers and the address of every routine, if the library has them all."""
    for spelling, bits in _SPELLINGS:
        symbols = [_symbol(library, spelling.format(name)) for name in ROUTINES]
        if None not in symbols:
            pairs = zip(ROUTINES, symbols, strict=True)
            return bits, MappingProxyType({name: _address(symbol) for name, symbol in pairs})
    return None


def _address(symbol: Any) -> int:
    return ctypes.cast(symbol, ctypes.c_void_p).value or 0


def _symbol(library: ctypes.CDLL, name: str) -> Any:
    """The function of this name as ctypes calls it, or None."""
    # Not library.name: ctypes would keep the function, and a restype set on it, for everyone.
    try:
        return library[name]
    except AttributeError:
        return None
