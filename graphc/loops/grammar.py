"""The loop IR: the small language that kernels are written in, and all that a target reads.

    Kernel    := kernel name(Buffer*) { Stmt* }          sizes are polynomials over named sizes
    Buffer    := name: dtype[Size] private? part?         a flat array; never aliases another one;
                                                          private: new in each turn of outer loops;
                                                          parts: one for each turn of the outer loop
    Stmt      := Let(var, primitive, Value*)              var = primitive(values)
               | Number(var, Affine)                      var = the index as an i64 value
               | Load(var, buffer, Affine, Value?)        var = buffer[index], or 0 unless guard
               | Store(buffer, Affine, Value)             buffer[index] = value
               | Declare(var, Value)                      a mutable scalar, with its first value
               | Assign(var, Value)                       var <- value
               | Accumulate(var, primitive, Value)        var <- primitive(var, value), in any order
               | For(var, Size, parallel, run, Stmt*)     for 0 <= var < size: turns may run at
                                                          once, if parallel; of a run, only its own
               | Fail(Value, site)                        if value: the kernel reports `site`
    Run       := run(Var, Size)                            length * var <= turn < length * (var + 1)
    Value     := Var(name, dtype) | Const(value, dtype)
    Affine    := Size*Var + ... + Size                    an i64; all that may index a buffer

Every `Var` is assigned once (except a declared one), before its uses, in an enclosing scope.
There is no pointer arithmetic, no call and no control flow but `For`: a primitive says what it
means in `graphc/loops/primitives.py`, and `check.py` holds a kernel to these rules.

The caller gives the range of turns of the parallel loops. Where there are several, one behind the
other, their turns are counted through; what later ones read of earlier ones is in memory, and all
turns of a loop have run before the next loop begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from graphc.ir.dim import Size
from graphc.loops.values import Affine as Affine
from graphc.loops.values import Buffer as Buffer
from graphc.loops.values import Const as Const
from graphc.loops.values import Value as Value
from graphc.loops.values import Var as Var
from graphc.loops.values import of as of


@dataclass(slots=True)
class Let:
    var: Var
    primitive: str
    args: tuple[Value, ...]


@dataclass(slots=True)
class Number:
    var: Var
    index: Affine


@dataclass(slots=True)
class Load:
    var: Var
    buffer: Buffer
    index: Affine
    guard: Value | None = None


@dataclass(slots=True)
class Store:
    buffer: Buffer
    index: Affine
    value: Value


@dataclass(slots=True)
class Declare:
    var: Var
    value: Value


@dataclass(slots=True)
class Assign:
    var: Var
    value: Value


@dataclass(slots=True)
class Accumulate:
    var: Var
    primitive: str
    value: Value


@dataclass(frozen=True, eq=False, slots=True)
class Run:
    """Of the turns of a loop those from `length * number` on, `length` of them or as many as there
    are. `number` is the variable of a loop around it."""

    number: Var
    length: Size


@dataclass(slots=True)
class For:
    var: Var
    extent: Size
    body: list[Stmt] = field(default_factory=list)
    parallel: bool = False
    run: Run | None = None


@dataclass(slots=True)
class Fail:
    condition: Value
    site: int


Stmt: TypeAlias = "Let | Number | Load | Store | Declare | Assign | Accumulate | For | Fail"


@dataclass(slots=True)
class Kernel:
    """One kernel. `sizes` lists its size parameters: the name in the body, and what the caller
    passes for it, as a size over the program's dims."""

    name: str
    buffers: tuple[Buffer, ...]
    body: list[Stmt]
    sizes: Mapping[str, Size] = field(default_factory=dict)


def statements(body: list[Stmt]) -> Iterator[Stmt]:
    """All statements, outer before inner, in order of the text."""
    stack: list[Iterator[Stmt]] = [iter(body)]
    while stack:
        for stmt in stack[-1]:
            yield stmt
            if isinstance(stmt, For):
                stack.append(iter(stmt.body))
                break
        else:
            stack.pop()


def values(body: list[Stmt]) -> Iterator[Value]:
    """The values that statements read, other than in indices."""
    for stmt in statements(body):
        match stmt:
            case Let(_, _, args):
                yield from args
            case Load(_, _, _, guard) if guard is not None:
                yield guard
            case Store(_, _, value) | Declare(_, value) | Assign(_, value):
                yield value
            case Accumulate(_, _, value) | Fail(value, _):
                yield value


def reads(stmt: Stmt) -> list[Value]:
    """The values that a statement reads, those of indices too."""
    match stmt:
        case Let(_, _, args):
            return list(args)
        case Load(_, _, index, guard):
            return [*(v for v, _ in index.terms), *([] if guard is None else [guard])]
        case Store(_, index, value):
            return [*(v for v, _ in index.terms), value]
        case Number(_, index):
            return [v for v, _ in index.terms]
        case Declare(_, value) | Assign(_, value) | Accumulate(_, _, value) | Fail(value, _):
            return [value]
    return []


def parallel_loops(kernel: Kernel) -> tuple[For, ...]:
    """The loops whose turns the caller gives the range of, so that threads can share them."""
    return tuple(s for s in kernel.body if isinstance(s, For) and s.parallel)


def parallel_loop(kernel: Kernel) -> For | None:
    """The one loop whose range the caller gives, or None if there is none, or several."""
    loops = parallel_loops(kernel)
    return loops[0] if len(loops) == 1 else None


def is_splittable(kernel: Kernel) -> bool:
    """Whether threads may run parts of the kernel at once: it is parallel loops, no more."""
    loops = [s for s in kernel.body if isinstance(s, For)]
    around = [s for s in kernel.body if not isinstance(s, (For, Let, Load, Number))]
    return bool(loops) and all(loop.parallel for loop in loops) and not around


def may_fail(kernel: Kernel) -> bool:
    """Whether the kernel reports failures."""
    return any(isinstance(s, Fail) for s in statements(kernel.body))
