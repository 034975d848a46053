"""The last touches on a kernel: loops over contiguous memory become one, sizes become parameters.

Afterwards equal kernels print equally, whatever the program's dims are called: a kernel for a
[784, 128] weight is the kernel for a [128] bias.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from graphc.ir.dim import Size, named
from graphc.ir.dtype import BY_SHORT
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Buffer,
    For,
    Kernel,
    Load,
    Number,
    Run,
    Stmt,
    Store,
    Var,
    parallel_loops,
    statements,
    values,
)
from graphc.loops.parallel import shared
from graphc.loops.parts import cut_parts
from graphc.loops.shares import share_reductions
from graphc.loops.split import split_loops
from graphc.loops.sums import cut_long_sums
from graphc.machines import Machine


def finish(kernel: Kernel, machine: Machine) -> Kernel:
    """`kernel` with loops cut where one tensor ends and the next begins, loops collapsed,
    reductions in parts for threads, long sums in runs, what is dear beside a carried value in loops
    of its own, loops parallel where that is shown, and sizes as parameters: all but the static ones
    that are short for the machine. Where many threads share it, `nest.py` takes it apart: no loop's
    range is the caller's, no sum is one thread's. In one without loops there is nothing to cut."""
    if not any(isinstance(stmt, For) for stmt in kernel.body):
        return parametrize(kernel, machine.unrolled, machine.summed)
    if machine.many_threads:
        kernel = unshared(collapse(kernel))
    else:
        kernel = collapse(cut_parts(kernel))
        kernel = mark_parallel(split_loops(cut_long_sums(share_reductions(kernel))))
    return parametrize(kernel, machine.unrolled, machine.summed)


# -- collapsing ------------------------------------------------------------------------------------
def collapse(kernel: Kernel) -> Kernel:
    """Perfectly nested loops `i, j` become one where every index steps by extent(j) as much in i
    as in j, and nothing else reads them: `i*m + j` is `k`."""
    kernel.body = [_collapsed(s) if isinstance(s, For) else s for s in kernel.body]
    return kernel


def _collapsed(loop: For) -> For:
    loop.body = [_collapsed(s) if isinstance(s, For) else s for s in loop.body]
    if len(loop.body) != 1 or not isinstance(loop.body[0], For):
        return loop
    inner = loop.body[0]
    indices = list(_indices(inner.body))
    steps = all(i.coefficient(loop.var) == i.coefficient(inner.var) * inner.extent for i in indices)
    if not steps or any(v in (loop.var, inner.var) for v in values(inner.body)):
        return loop
    for stmt in statements(inner.body):
        if isinstance(stmt, (Load, Store, Number)):
            kept = tuple((v, s) for v, s in stmt.index.terms if v is not loop.var)
            stmt.index = Affine(kept, stmt.index.const)
    return For(inner.var, loop.extent * inner.extent, inner.body, loop.parallel)


def _indices(body: list[Stmt]) -> Iterator[Affine]:
    return (s.index for s in statements(body) if isinstance(s, (Load, Store, Number)))


# -- threads ---------------------------------------------------------------------------------------
def mark_parallel(kernel: Kernel) -> Kernel:
    """The loops that are built to be parallel stay so if the turns of each share nothing."""
    if any(shared(loop, kernel.sizes) for loop in parallel_loops(kernel)):
        return unshared(kernel)
    return kernel


def unshared(kernel: Kernel) -> Kernel:
    """Of no loop the caller gives the range."""
    for stmt in kernel.body:
        if isinstance(stmt, For):
            stmt.parallel = False
    return kernel


# -- sizes as parameters ---------------------------------------------------------------------------
PLACES = 6  # of one buffer, read in one turn of a loop, from which their distances are in the code
WINDOW = 8  # turns of a loop over the elements of a window, which is unrolled


def reads_windows(body: list[Stmt], turns: int = 1) -> bool:
    """Whether some turn reads many places of one buffer, as those of a window. Where the distances
    between them are known they are parts of the instructions, and one register is enough for all:
    else each place has a pointer of its own, of which there are more than registers."""
    found: Counter[Buffer] = Counter()
    for stmt in body:
        if isinstance(stmt, Load):
            found[stmt.buffer] += turns
        elif isinstance(stmt, For):
            short = isinstance(stmt.extent, int) and stmt.extent <= WINDOW
            if reads_windows(stmt.body, turns * int(stmt.extent) if short else 1):
                return True
    return any(count >= PLACES for count in found.values())


def _is_short(size: Size, most: int) -> bool:
    return isinstance(size, int) and -most <= size <= most


def parametrize(kernel: Kernel, unrolled: int, summed: int = 0) -> Kernel:
    """Sizes that are symbolic, or larger than `unrolled`, become `s0, s1, ...`, as they appear;
    the lengths of innermost loops that accumulate up to `summed` do not, and where windows are read
    no size that is known.

    The extents of parallel loops stay as they are: the caller gives the range of their turns. Where
    one ends and the next begins is a parameter.
    """
    names: dict[Size, str] = {}
    given, windows = parallel_loops(kernel), reads_windows(kernel.body)

    def parameter(size: Size) -> Size:
        if _is_short(size, unrolled) or (windows and isinstance(size, int)):
            return size
        if size not in names:
            negated = -size
            if negated in names:
                return -named(names[negated])
            names[size] = f"s{len(names)}"
        return named(names[size])

    def affine(index: Affine) -> Affine:
        return Affine(tuple((v, parameter(s)) for v, s in index.terms), parameter(index.const))

    for stmt in statements(kernel.body):
        if isinstance(stmt, For):
            kept = _accumulates(stmt) and _is_short(stmt.extent, summed)
            if not kept and not any(stmt is loop for loop in given):
                stmt.extent = parameter(stmt.extent)
            if stmt.run is not None and not _is_in_code(stmt.run, given):
                stmt.run = replace(stmt.run, length=parameter(stmt.run.length))
        elif isinstance(stmt, (Load, Store, Number)):
            stmt.index = affine(stmt.index)
    for end in ends_of(given):
        parameter(end)
    kernel.sizes = {name: size for size, name in names.items()}
    return kernel


def _is_in_code(run: Run, given: Sequence[For]) -> bool:
    """Whether the length of a run is always the same: not if it is a part of a loop's turns."""
    return isinstance(run.length, int) and not any(run.number is loop.var for loop in given)


def ends_of(loops: Sequence[For]) -> list[Size]:
    """The turns before each parallel loop that has one before it, counted through."""
    ends: list[Size] = []
    for loop in loops[:-1]:
        ends.append(loop.extent + (ends[-1] if ends else 0))
    return ends


def _accumulates(loop: For) -> bool:
    """Whether a loop adds up, without loops in it."""
    inner = any(isinstance(s, For) for s in loop.body)
    return not inner and any(isinstance(s, Accumulate) for s in loop.body)


def canonical_names(kernel: Kernel) -> dict[Buffer | Var, str]:
    """Names by order of appearance, so that equal kernels print equally. A ninth loop is not `i8`,
    which is a dtype."""
    names: dict[Buffer | Var, str] = {b: f"b{i}" for i, b in enumerate(kernel.buffers)}
    loops = values = 0
    for stmt in statements(kernel.body):
        if isinstance(stmt, For):
            loops += f"i{loops}" in BY_SHORT
            names[stmt.var] = f"i{loops}"
            loops += 1
        elif hasattr(stmt, "var") and stmt.var not in names:
            names[stmt.var] = f"v{values}"
            values += 1
    return names
