"""The context: the array of 64-bit words through which native code gets all that it works on.

    head (`Head`) | named dims | pointers of inputs, outputs, variables, constants, and of
    routines of LAPACK | clocks | bell | table

It is filled by `runtime/caller.py` and read by the functions that `driver.py` prints. The table is
their own: sizes that are computed from the dims, and places in the arena, once for all of them.
Clocks are there only where a program is timed, the bell where it announces its results: see
`clocks.py` and `announce.py`.
"""

from __future__ import annotations

import struct

from graphc.ir.dim import Size
from graphc.ir.dtype import DType
from graphc.loops.grammar import Const
from graphc.loops.numbers import given
from graphc.lower.head import Head
from graphc.planning.program import Call, Host, Program, Storage, walk_steps


def routines(program: Program) -> list[str]:
    """The routines of LAPACK that a program calls, with the letter for their dtype, in order."""
    hosts = [s for s in walk_steps(program.steps) if isinstance(s, Host)]
    return sorted({routine_name(s) for s in hosts if s.native is not None})


def routine_name(step: Host) -> str:
    """The routine of a step, for the floats of its first operand."""
    assert step.native is not None
    dtype: DType = step.node.inputs[0].dtype
    return ("s" if dtype.itemsize == 4 else "d") + step.native.routine.name


class Numbers:
    """The numbers of all kernels of a program, in memory of the driver's own."""

    def __init__(self, program: Program) -> None:
        self._values: list[Const] = []
        self._first: dict[str, int] = {}
        for step in walk_steps(program.steps):
            if isinstance(step, Call) and step.name not in self._first:
                values = given(step.kernel)
                if values:
                    self._first[step.name] = len(self._values)
                    self._values += values

    def of(self, name: str) -> list[tuple[str, str]]:
        """What a kernel is given for its numbers: their address, if it has some."""
        if name not in self._first:
            return []
        return [("ptr", f"getelementptr (double, ptr @numbers, i64 {self._first[name]})")]

    def definition(self) -> list[str]:
        if not self._values:
            return []
        shown = (struct.pack(">d", value.value).hex() for value in self._values)
        elements = ", ".join(f"double 0x{digits}" for digits in shown)
        kind = f"[{len(self._values)} x double]"
        return [f"@numbers = internal constant {kind} [{elements}]"]


class Layout:
    """Which word of the context holds what, for one program; `clocks` and `bell`: how many words
    they take."""

    def __init__(self, program: Program, clocks: int = 0, bell: int = 0) -> None:
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
        self.numbers = Numbers(program)
        self.table: dict[Size | Storage, int] = {}
        self.bell = self.clocks + clocks
        self._table = self.bell + bell

    @property
    def words(self) -> int:
        """How many words there are behind the pointers: clocks, bell and table."""
        return self._table - self.clocks + len(self.table)

    def entry(self, what: Size | Storage) -> int:
        """The word of the table for a size over the dims, or for the address of a temporary."""
        return self.table.setdefault(what, self._table + len(self.table))
