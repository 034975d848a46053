"""Shows that the turns of a loop may run at once: no turn touches what another one writes.

All accesses of a buffer that the loop writes have to be at `c*i + rest`, where `i` is the loop's
variable, `c` is one size, and what `rest` can be, over the loops inside of this one, spans fewer
than `c` elements: so the elements of one turn lie in a block of their own. Or two accesses are so
far apart that no turn gets from one to the other: rows that lie one behind the other. A turn of a
run is where the run begins and a place in it, so that `i - 16 * r` is one of the 16 places of run
`r`. Sizes are compared as polynomials that hold for all values of the program's dims. Of a buffer
in parts, of which each turn has one (`Buffer.part`), all accesses have to be in the turn's part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from graphc.ir.dim import Size, is_nonnegative, substitute
from graphc.ir.dtype import int64
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Assign,
    Buffer,
    Declare,
    For,
    Let,
    Load,
    Number,
    Run,
    Stmt,
    Store,
    Var,
    of,
    statements,
)


def shared(loop: For, sizes: Mapping[str, Size]) -> str:
    """What turns of `loop` share, in words, or "" if they share nothing that one of them writes; a
    loop of one turn has none that could. `sizes`: the kernel's parameters as sizes over the
    program's dims."""
    if loop.extent == 1:
        return ""
    body = list(statements(loop.body))
    own = set(_defined(body))
    for stmt in body:
        if isinstance(stmt, (Assign, Accumulate)) and stmt.var not in own:
            return f"turns change {stmt.var}, which is declared outside of the loop"
    extents = {s.var: substitute(s.extent, sizes) for s in body if isinstance(s, For)}
    runs = {
        s.var: (replace(s.run, length=substitute(s.run.length, sizes)), Var("place", int64))
        for s in body
        if isinstance(s, For) and s.run
    }
    extents |= {place: run.length for run, place in runs.values()}
    own |= {place for _, place in runs.values()}
    places: dict[Buffer, list[Affine]] = {s.buffer: [] for s in body if isinstance(s, Store)}
    for stmt in body:
        if isinstance(stmt, (Load, Store)) and stmt.buffer in places:
            index = _in_runs(_over_dims(stmt.index, sizes), runs, loop.var)
            places[stmt.buffer].append(index)
    for buffer, indices in places.items():
        if buffer.part != 0 and all(i.coefficient(loop.var) == buffer.part for i in indices):
            continue
        found = _overlap(loop.var, indices, own, extents, substitute(loop.extent, sizes))
        if found:
            return f"{buffer.name}[{indices[0]}]: {found}"
    return ""


def meet(
    var: Var, indices: list[Affine], loops: Iterable[For], sizes: Mapping[str, Size]
) -> str:
    """Why two values of `var` may index one element, the variables of `loops` being any of
    theirs; "" if they cannot."""
    extents = {loop.var: substitute(loop.extent, sizes) for loop in loops}
    over_dims = [_over_dims(index, sizes) for index in indices]
    return _overlap(var, over_dims, set(extents), extents)


def _defined(body: Iterable[Stmt]) -> Iterator[Var]:
    return (s.var for s in body if isinstance(s, (Let, Number, Load, Declare, For)))


def _over_dims(index: Affine, sizes: Mapping[str, Size]) -> Affine:
    terms = tuple((var, substitute(size, sizes)) for var, size in index.terms)
    return Affine(terms, substitute(index.const, sizes))


def _in_runs(index: Affine, runs: Mapping[Var, tuple[Run, Var]], turn: Var) -> Affine:
    """The index over places in the runs of the turn, and in those in them; over places in other
    runs where it does not depend on which these are."""
    own: dict[Var, tuple[Run, Var]] = {}
    for var, (run, place) in runs.items():  # outer loops are before inner ones
        if run.number is turn or run.number in own:
            own[var] = run, place
    found = _by_places(index, own)
    whole = _by_places(found, runs)
    numbers = {run.number for run, _ in runs.values()} - {turn}
    return found if any(v in numbers for v, _ in whole.terms) else whole


def _by_places(index: Affine, runs: Mapping[Var, tuple[Run, Var]]) -> Affine:
    found = index
    while any(v in runs for v, _ in found.terms):
        var, size = next((v, s) for v, s in found.terms if v in runs)
        run, place = runs[var]
        start = of(run.number) * (size * run.length)
        found = found + of(var) * -size + start + of(place) * size
    return found


def _overlap(
    var: Var,
    indices: list[Affine],
    own: set[Var],
    extents: Mapping[Var, Size],
    turns: Size | None = None,
) -> str:
    """Why two turns, of so many, may meet in one element of a buffer; "" if they cannot."""
    step = indices[0].coefficient(var)
    if any(i.coefficient(var) != step for i in indices):
        return "accesses step by different sizes"
    outer = _outer_part(indices[0], own)
    if any(_outer_part(i, own) != outer for i in indices):
        return "accesses start at different places"
    reach = [_range(i, var, own, extents) for i in indices]
    spans = [r for r in reach if r is not None]
    if len(spans) != len(reach):
        return "its place is read from data, or of unknown sign"
    width = step if is_nonnegative(step) else -step
    apart = all(_apart(a, b, width, turns) for a in spans for b in spans)
    return "" if apart else f"turns are {step} elements apart and touch more"


def _apart(
    a: tuple[Size, Size], b: tuple[Size, Size], width: Size, turns: Size | None
) -> bool:
    """Whether an access whose rest is in `a` and one of a later turn whose rest is in `b` meet
    nowhere: they are in blocks of their turns, or all turns of one are behind all of the other."""
    if is_nonnegative(width - 1 - (a[1] - b[0])):
        return True
    if turns is None:
        return False
    reach = width * (turns - 1)
    return is_nonnegative(b[0] - a[1] - reach - 1) or is_nonnegative(a[0] - b[1] - reach - 1)


def _outer_part(index: Affine, own: set[Var]) -> dict[Var, Size]:
    """The terms that are the same in all turns, but for the loop's own."""
    return {v: s for v, s in index.terms if v not in own}


def _range(
    index: Affine, var: Var, own: set[Var], extents: Mapping[Var, Size]
) -> tuple[Size, Size] | None:
    """The least and the largest that the rest of an index can be, without what all turns share."""
    low = high = index.const
    for inner, size in index.terms:
        if inner is var or inner not in own:
            continue
        if inner not in extents:
            return None
        most = size * (extents[inner] - 1)
        if is_nonnegative(size):
            high = high + most
        elif is_nonnegative(-size):
            low = low + most
        else:
            return None
    return low, high
