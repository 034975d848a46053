"""The context: the array of 64-bit words through which native code gets all that it works on.

    head (`Head`) | named dims | pointers of inputs, outputs, variables, constants, of routines
    of LAPACK, and of loops of NumPy with their data | clocks | bell | table

The numbers of kernels (`loops/numbers.py`) are an array of doubles, whose address is in the head:
data of a program beside its code, so that programs which differ in them alone have one code.
It is filled by `runtime/caller.py` and read by the functions that `driver.py` prints. The table is
their own: sizes that are computed from the dims, and places in the arena, once for all of them.
Clocks are there only where a program is timed, the bell where it announces its results: see
`clocks.py` and `announce.py`.
"""

from __future__ import annotations

from graphc.ir.dim import Size
from graphc.ir.dtype import DType
from graphc.ir.vector_loop import VectorLoop
from graphc.loops.numbers import given
from graphc.lower.head import GET_THREADS, SET_THREADS, Head
from graphc.planning.program import Call, Host, Native, Passes, Program, Storage, walk_steps


def routines(program: Program) -> list[str]:
    """The routines of LAPACK that a program calls, with the letter for their dtype, in order; and
    the two for threads."""
    hosts = [s for s in walk_steps(program.steps) if isinstance(s, Host)]
    called = {routine_name(s) for s in hosts if isinstance(s.native, Native)}
    return sorted({*called, GET_THREADS, SET_THREADS}) if called else []


def routine_name(step: Host) -> str:
    """The routine of a step, for the floats of its first operand."""
    assert isinstance(step.native, Native)
    dtype: DType = step.node.inputs[0].dtype
    return ("s" if dtype.itemsize == 4 else "d") + step.native.routine.name


def vector_loops(program: Program) -> list[str]:
    """The inner loops of ufuncs that a program calls, in order."""
    hosts = [s for s in walk_steps(program.steps) if isinstance(s, Host)]
    names = [
        loop_names(step, i)
        for step in hosts
        if isinstance(step.native, Passes)
        for i in range(len(step.native.loops))
    ]
    return sorted({name for each in names for name in each})


def loop_names(step: Host, place: int) -> list[str]:
    """What the loops of one pass of a step are called: the ufunc, and the letters that NumPy has
    for its dtypes."""
    assert isinstance(step.native, Passes)
    loop: VectorLoop = step.native.loops[place]
    result: DType = step.node.types[0].dtype
    source = step.node.inputs[0].dtype if place == 0 else result
    number = result.part if result.is_complex else result
    letters = f"{source.numpy.char}{number.numpy.char}->{result.numpy.char}"
    return [f"{loop.module}.{name} {letters}" for name in loop.ufuncs]


class Numbers:
    """The numbers of all kernels of a program: where each kernel's begin in the program's table."""

    def __init__(self, program: Program) -> None:
        self.values: list[float] = []
        self._first: dict[str, int] = {}
        for step in walk_steps(program.steps):
            if isinstance(step, Call) and step.name not in self._first:
                values = [float(value.value.item()) for value in given(step.kernel)]
                if values:
                    self._first[step.name] = len(self.values)
                    self.values += values

    def of(self, name: str) -> int | None:
        """The place of the first number of a kernel, if it has some."""
        return self._first.get(name)


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
        first += len(self.routines)
        self.loops = {name: first + 2 * i for i, name in enumerate(vector_loops(program))}
        self.clocks = first + 2 * len(self.loops)
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
