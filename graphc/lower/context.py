"""The context: the array of 64-bit words through which native code gets all that it works on.

    head (`Head`) | named dims | pointers of inputs, outputs, variables, constants, and of
    routines of LAPACK | clocks | table

It is filled by `runtime/caller.py` and read by the functions that `driver.py` prints. The table is
their own: sizes that are computed from the dims, and places in the arena, once for all of them.
Clocks are there only where a program is timed: see `clocks.py`.
"""

from __future__ import annotations

from enum import IntEnum

from graphc.ir.dim import Size
from graphc.ir.dtype import DType
from graphc.planning.program import Host, Program, Storage, walk_steps


class Head(IntEnum):
    """The words at the start of a context."""

    ARENA = 0
    HOST = 1  # i64 host(i64 call, i64 site, ptr operands, ptr sizes, i64 ticket)
    CALL = 2  # passed through to `host`
    SGEMM = 3
    DGEMM = 4
    PARALLEL_FOR = 5
    THREADS = 6
    SPRODUCT = 7  # products of our own, for matrices that fit in cache; 0: there are none
    DPRODUCT = 8
    STRANSPOSE = 9  # how they get a right operand that is stored transposed
    DTRANSPOSE = 10
    CHANGED = 11  # not 0: the dims or the arena are others than when the table was filled
    SIGNALS = 12  # the address of the functions by which `interrupt.py` looks for signals
    RAISED = 13  # three words: what a signal's handler raised
    TICKET = 16  # the number of the last call back into Python: `host` returns it if all went well
    COUNT = 17


def routines(program: Program) -> list[str]:
    """The routines of LAPACK that a program calls, with the letter for their dtype, in order."""
    hosts = [s for s in walk_steps(program.steps) if isinstance(s, Host)]
    return sorted({routine_name(s) for s in hosts if s.native is not None})


def routine_name(step: Host) -> str:
    """The routine of a step, for the floats of its first operand."""
    assert step.native is not None
    dtype: DType = step.node.inputs[0].dtype
    return ("s" if dtype.itemsize == 4 else "d") + step.native.routine.name


class Layout:
    """Which word of the context holds what, for one program; `clocks`: how many words they take."""

    def __init__(self, program: Program, clocks: int = 0) -> None:
        dims = program.graph.dims
        first = Head.COUNT + len(dims)
        storages = (program.inputs, program.outputs, program.variables, program.constants)
        self.dims = {name: Head.COUNT + i for i, name in enumerate(dims)}
        self.pointers: dict[Storage, int] = {
            storage: first + i for i, storage in enumerate(s for group in storages for s in group)
        }
        first += len(self.pointers)
        self.routines = {name: first + i for i, name in enumerate(routines(program))}
        self.clocks = first + len(self.routines)
        self.table: dict[Size | Storage, int] = {}
        self._table = self.clocks + clocks

    @property
    def words(self) -> int:
        """How many words there are behind the pointers: those of the clocks and of the table."""
        return self._table - self.clocks + len(self.table)

    def entry(self, what: Size | Storage) -> int:
        """The word of the table for a size over the dims, or for the address of a temporary."""
        return self.table.setdefault(what, self._table + len(self.table))
