"""The words at the start of a context: what native code and its callers agree on.

A file of its own, since it is all that a program from the cache needs to know of its driver, and of
the matrix product that this calls.
"""

from __future__ import annotations

from enum import IntEnum

INTERRUPTED = -1  # what `entry` returns where the handler of a signal raised


class Head(IntEnum):
    """The words at the start of a context."""

    ARENA = 0
    HOST = 1  # i64 host(i64 call, i64 site, ptr operands, ptr sizes, i64 ticket)
    CALL = 2  # passed through to `host`
    SGEMM = 3
    DGEMM = 4
    SHARE = 5  # void share(ptr span, ptr words, i64 begin, i64 end, i64 unit, i64 threads)
    THREADS = 6
    SPRODUCT = 7  # products of our own; 0: there are none
    DPRODUCT = 8
    SPACK = 9  # what packs a right operand for them
    DPACK = 10
    CHANGED = 11  # not 0: the dims or the arena are others than when the table was filled
    SIGNALS = 12  # the address of the functions by which `interrupt.py` looks for signals
    RAISED = 13  # three words: what a signal's handler raised
    TICKET = 16  # the number of the last call back into Python: `host` returns it if all went well
    NUMBERS = 17  # double[]: the numbers of all kernels
    COUNT = 18


def product_symbols(bits: int) -> tuple[str, str]:
    """The names of our matrix product, and of what packs a right operand for it, for floats of that
    width."""
    return f"gc.gemm.f{bits}", f"gc.pack.f{bits}"


# How OpenBLAS is asked how many threads it takes, and is told so: `lapack.py` says why.
GET_THREADS, SET_THREADS = "openblas_get_num_threads", "openblas_set_num_threads"
