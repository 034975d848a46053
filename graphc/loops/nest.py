"""What many threads can do of a kernel: which turns of its loops they share out, and how.

A kernel is taken apart into scalars, loops, and scalars behind them. Turns that run at once must
not touch what another one writes; `parallel.py` shows that, for all sizes. Turns may meet only
where numbers are combined by a primitive whose order is free: in a scalar (a total), or in memory
(a sum).

    map       a thread for each turn of the loops that share nothing; what is left runs in order
    row       a group of threads for each turn of the outer loops; it shares the loops inside
    column    sums over outer loops: a thread for each place, parts of the rows side by side
    scatter   sums at places read from data: every group looks at all turns, and adds at its places
    serial    one thread runs the kernel as it stands

Nothing here knows a target: `lower/gpu_source.py` prints what is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from graphc.ir.dim import Size, substitute
from graphc.ir.dtype import DType
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Assign,
    Buffer,
    Const,
    Declare,
    Fail,
    For,
    Kernel,
    Let,
    Load,
    Number,
    Stmt,
    Store,
    Value,
    Var,
    reads,
    statements,
)
from graphc.loops.parallel import meet, shared
from graphc.loops.primitives import PRIMITIVES

PLACES = 4096  # elements of sums at places read from data that each group has for itself
SHORT = 32  # turns of a loop that a thread runs by itself, if they are known to be so few


@dataclass(frozen=True, eq=False, slots=True)
class Total:
    """A scalar to which all turns add: it begins with the primitive's identity."""

    var: Var
    primitive: str
    first: Const


@dataclass(frozen=True, eq=False, slots=True)
class Sum:
    """A number in memory to which turns add: `buffer[index] <- primitive(buffer[index], value)`,
    in three statements, and nothing else touches the buffer but what fills it first, and other such
    sums, where there may be several of a buffer."""

    buffer: Buffer
    index: Affine
    primitive: str
    value: Value
    first: Const
    parts: tuple[Load, Let, Store]


@dataclass(slots=True)
class Nest:
    """A kernel taken apart.

    `fills`: buffers and their first values. `before`: scalars that every thread computes; `stores`:
    what one of them writes. `loops`: the outermost loops; of these, `own` are shared out and the
    others run in order inside. `body`: one turn of the innermost. `after`: what follows them, once.
    `picked`: the number that says which group adds a turn of a scatter, if one number does.
    """

    kernel: Kernel
    kind: str = "serial"
    why: str = ""
    fills: dict[Buffer, Const] = field(default_factory=dict)
    before: list[Stmt] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    loops: list[For] = field(default_factory=list)
    own: list[For] = field(default_factory=list)
    body: list[Stmt] = field(default_factory=list)
    after: list[Stmt] = field(default_factory=list)
    totals: list[Total] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    picked: Var | None = None

    @property
    def inner(self) -> list[For]:
        """The outermost loops that are not shared out."""
        return [loop for loop in self.loops if not any(loop is own for own in self.own)]

    def turns(self, loops: Iterable[For]) -> Size:
        """How many turns loops have, over the program's dims."""
        total: Size = 1
        for loop in loops:
            total = total * substitute(loop.extent, self.kernel.sizes)
        return total


def take_apart(kernel: Kernel) -> Nest:
    """The nest of a kernel; `serial`, with the reason, where threads can share nothing of it."""
    nest = Nest(kernel)
    nest.why = _split(nest) or _find_totals(nest)
    if nest.why:
        return nest
    sums = _simple_sums(nest)
    for kind, judge in _KINDS:
        tried = replace(nest, kind=kind)
        why = judge(tried, sums)
        if not why:
            return tried
        nest.why += f"{'; ' * bool(nest.why)}no {kind}: {why}"
    return nest


def with_reductions(kernel: Kernel) -> Nest | None:
    """The nest of a kernel whose loops add to totals and sums, several of a buffer too, and each
    buffer that is filled before is one's; None if it has none of these, or is not of this form."""
    nest = Nest(kernel)
    if _split(nest) or not nest.loops or _find_totals(nest):
        return None
    nest.sums = _simple_sums(nest, several=True)
    whole = {s.buffer for s in nest.sums} == nest.fills.keys()
    return nest if whole and (nest.totals or nest.sums) else None


# -- the parts -------------------------------------------------------------------------------------
def _split(nest: Nest) -> str:
    """Fill in the parts of the kernel; or say why it is not of this form."""
    rest: list[Stmt] = []
    for stmt in nest.kernel.body:
        filled = _filled(nest, stmt)
        if filled is None or any(isinstance(s, For) for s in rest):
            rest.append(stmt)
        else:
            nest.fills[filled[0]] = filled[1]
    loops = [s for s in rest if isinstance(s, For)]
    if len(loops) != 1:
        nest.body = rest  # one row, or scalars only
        return ""
    at = rest.index(loops[0])
    nest.before, nest.after = rest[:at], rest[at + 1 :]
    nest.stores = [s for s in nest.before if isinstance(s, Store)]
    nest.loops, nest.body = chain(loops[0])
    return _why_not_before(nest, _stored(loops[0].body))


def _why_not_before(nest: Nest, stored: set[Buffer]) -> str:
    """Every thread computes what is before the loops, and one writes it when they have run."""
    written: set[Buffer] = set()
    for stmt in nest.before:
        if isinstance(stmt, Load) and stmt.buffer in written | stored:
            return "what is read before the loops is written"
        if isinstance(stmt, Store):
            written.add(stmt.buffer)
    meets = written & (stored | _loaded(nest.body))
    return "the loops need what is written before them" if meets else ""


def _filled(nest: Nest, stmt: Stmt) -> tuple[Buffer, Const] | None:
    """The buffer that a loop gives its first values, all of them, and the value."""
    match stmt:
        case For(var, extent, [Store(buffer, index, Const() as first)]):
            whole = substitute(extent, nest.kernel.sizes) == buffer.size
            stores = [s for s in statements(nest.kernel.body) if isinstance(s, Store)]
            again = sum(s.buffer is buffer for s in stores) > 1
            if whole and again and index.terms == ((var, 1),) and index.const == 0:
                return buffer, first
    return None


def chain(loop: For) -> tuple[list[For], list[Stmt]]:
    """Loops each of which is the only one in the other, behind scalars; and what the innermost
    does, those scalars first."""
    loops, body = [loop], loop.body
    between: list[Stmt] = []
    while body and isinstance(body[-1], For) and body[-1].run is None:
        scalars = body[:-1]
        if not all(isinstance(s, (Let, Load, Number, Fail)) for s in scalars):
            break
        between = between + scalars
        loops.append(body[-1])
        body = body[-1].body
    return loops, between + body


def _find_totals(nest: Nest) -> str:
    """The scalars declared before the loops and changed in them; or why they are no totals."""
    if not nest.loops:
        return ""
    declared = {s.var: s for s in nest.before if isinstance(s, Declare)}
    changed = {s.var: s for s in statements(nest.body) if isinstance(s, (Accumulate, Assign))}
    if any(isinstance(s, For) for s in nest.after):
        return "loops behind the loops"
    if any(isinstance(s, (Accumulate, Assign)) for s in nest.before):
        return "" if not declared.keys() & changed.keys() else "a total that begins with a value"
    for var, declare in declared.items():
        step = changed.get(var)
        if step is None:
            continue
        steps = [s for s in statements(nest.body) if var in reads(s) or _changes(s, var)]
        first = declare.value
        if isinstance(step, Assign) or len(steps) > 1:
            return "an ordered reduction over all loops"
        if not isinstance(first, Const) or not _is_identity(step.primitive, first):
            return "a total that begins with a value"
        nest.totals.append(Total(var, step.primitive, first))
    return ""


def _changes(stmt: Stmt, var: Var) -> bool:
    return isinstance(stmt, (Accumulate, Assign)) and stmt.var is var


def _is_identity(primitive: str, first: Const) -> bool:
    """Whether the first value changes nothing, however often it is taken in."""
    value, dtype = first.value, first.dtype
    known = {
        "add": 0,
        "multiply": 1,
        "bitwise_or": 0,
        "bitwise_xor": 0,
        "bitwise_and": ~np.zeros((), dtype.numpy) if not dtype.is_float else None,
        "maximum": _limit(dtype, least=True),
        "minimum": _limit(dtype, least=False),
    }
    return bool(known.get(primitive) == value)


def _limit(dtype: DType, least: bool) -> object:
    if dtype.is_float:
        return -np.inf if least else np.inf
    if dtype.kind == "b":
        return not least
    info = np.iinfo(dtype.numpy)
    return info.min if least else info.max


def _simple_sums(nest: Nest, several: bool = False) -> list[Sum]:
    """The sums in memory whose order is free; one of a buffer, or `several` of one primitive."""
    found: dict[Buffer, list[Sum | None]] = {}
    for body in _bodies(nest.body):
        for at, stmt in enumerate(body):
            if isinstance(stmt, Store) and stmt.buffer in nest.fills:
                found.setdefault(stmt.buffer, []).append(_simple_sum(nest, body[:at], stmt))
    return [s for b, sums in found.items() if _are_all(nest, b, sums, several) for s in sums if s]


def _are_all(nest: Nest, buffer: Buffer, sums: Sequence[Sum | None], several: bool) -> bool:
    """Whether the sums of a buffer are all that is done with it, and may be so many."""
    uses = [s for s in statements(nest.body) if isinstance(s, (Load, Store)) and s.buffer is buffer]
    one = len({None if s is None else s.primitive for s in sums}) == 1
    return one and len(uses) == 2 * len(sums) and (several or len(sums) == 1)


def _simple_sum(nest: Nest, above: list[Stmt], store: Store) -> Sum | None:
    """The sum whose result is stored, of the last element that was read of the buffer, with nothing
    stored there since."""
    buffer, first = store.buffer, nest.fills[store.buffer]
    uses = [s for s in above if isinstance(s, (Load, Store)) and s.buffer is buffer]
    load = uses[-1] if uses else None
    step = next((s for s in above if isinstance(s, Let) and s.var is store.value), None)
    if not isinstance(load, Load) or step is None or load.index != store.index:
        return None
    readers = [s for s in statements(nest.body) if {load.var, step.var} & set(reads(s))]
    known = PRIMITIVES.get(step.primitive)
    if known is None or not known.reorders or len(readers) != 2 or load.guard is not None:
        return None
    old, value = step.args
    if old is not load.var or value is load.var or not _is_identity(step.primitive, first):
        return None
    return Sum(buffer, store.index, step.primitive, value, first, (load, step, store))


# -- the kinds: what is missing for each, or "" ----------------------------------------------------
def _is_map(nest: Nest, sums: Sequence[Sum]) -> str:
    if not nest.loops:
        return "several loops" if any(isinstance(s, For) for s in nest.body) else ""
    nest.own = _independent(nest, nest.loops, nest.body)
    return "" if nest.own else "turns of every loop meet"


def _is_row(nest: Nest, sums: Sequence[Sum]) -> str:
    if nest.loops and not any(isinstance(s, For) for s in nest.body):
        last = nest.loops[-1]
        if len(nest.loops) == 1 or nest.totals or not _is_long(last):
            return "one loop"
        if any(isinstance(s, (Accumulate, Assign, Declare)) for s in nest.body):
            return "a turn that accumulates"
        _open_last(nest)
    return _is_any_row(nest, sums) if any(map(_is_long, nest.body)) else "no long loop inside"


def _is_any_row(nest: Nest, sums: Sequence[Sum]) -> str:
    if not any(isinstance(s, For) for s in nest.body):
        return "no loop inside"
    rows = {loop.var for loop in nest.loops}
    nest.sums = [s for s in sums if not rows <= {v for v, _ in s.index.terms}]
    nest.own = _independent(nest, nest.loops, nest.body, nest.sums)
    return _why_no_lanes(nest) if nest.own == nest.loops else "rows meet"


def _open_last(nest: Nest) -> None:
    """The last of the loops becomes one inside of a turn, behind what does not depend on it."""
    last = nest.loops[-1]
    moves: set[Value] = {last.var}
    outside: list[Stmt] = []
    inside: list[Stmt] = []
    for stmt in nest.body:
        fixed = isinstance(stmt, (Let, Load, Number, Fail)) and not moves & set(reads(stmt))
        fixed = fixed and not (isinstance(stmt, Load) and stmt.buffer in _stored(nest.body))
        if not fixed and hasattr(stmt, "var"):
            moves.add(stmt.var)
        (outside if fixed else inside).append(stmt)
    nest.loops, nest.body = nest.loops[:-1], [*outside, For(last.var, last.extent, inside)]


def _why_no_lanes(nest: Nest) -> str:
    """Why threads cannot share the loops of a row."""
    totals = {t.var for t in nest.totals}
    firsts = {s.var: s.value for s in nest.body if isinstance(s, Declare)}
    reduced: set[Var] = set()
    for stmt in nest.body:
        if isinstance(stmt, (Assign, Accumulate)) and stmt.var in reduced:
            return "a reduction of a row that goes on"
        if not isinstance(stmt, For):
            continue
        loops, body = chain(stmt)
        changed = {
            s.var: s
            for s in statements(body)
            if isinstance(s, (Accumulate, Assign)) and (s.var in firsts or s.var in totals)
        }
        for var, step in changed.items():
            if isinstance(step, Assign) or var in reduced:
                return "an ordered reduction of a row"
            first = firsts.get(var)
            if var not in totals and not (
                isinstance(first, Const) and _is_identity(step.primitive, first)
            ):
                return "a reduction of a row that begins with a value"
        if stmt.run is not None or _independent(nest, loops, body, (), changed) != loops:
            return "turns inside of a row meet"
        reduced |= changed.keys() - totals
    return ""


def _is_column(nest: Nest, sums: Sequence[Sum]) -> str:
    if not sums or not nest.loops or any(isinstance(s, For) for s in nest.body):
        return "no sums over outer loops"
    if {s.buffer for s in sums} != set(nest.fills) or any(b.private for b in _stored(nest.body)):
        return "a sum whose order is not free"
    places = {frozenset(v for v, _ in s.index.terms) for s in sums}
    if len(places) != 1:
        return "sums over different loops"
    (kept,) = places
    nest.sums = list(sums)
    nest.own = [loop for loop in nest.loops if loop.var in kept]
    if len(nest.own) != len(kept) or len(nest.own) == len(nest.loops):
        return "places that are no loops'"
    if _independent(nest, nest.loops, nest.body, sums) != nest.loops:
        return "turns meet"
    others = _stored(nest.body) - {s.buffer for s in sums}
    alone = _independent(nest, [*nest.own, *nest.inner], nest.body, ignored=others)
    return "" if alone == nest.own else "places meet"


def _is_row_of_places(nest: Nest, sums: Sequence[Sum]) -> str:
    """Sums whose order is free at places read from data, so few that each group has its own."""
    few = all(isinstance(s.buffer.size, int) and s.buffer.size <= PLACES for s in sums)
    if not few or {s.buffer for s in sums} != set(nest.fills):
        return "many places, or sums whose order is not free"
    tried = replace(nest)
    why = _is_scatter(tried, sums)
    if why or tried.picked is None or tried.totals:
        return why or "no number picks the place"
    nest.loops, nest.body, nest.own = tried.loops, tried.body, tried.own
    nest.sums = list(sums)
    return ""


def _is_scatter(nest: Nest, sums: Sequence[Sum]) -> str:
    """Sums of any kind at places read from data: the groups see all turns in order."""
    filled = [
        s for s in statements(nest.body) if isinstance(s, (Load, Store)) and s.buffer in nest.fills
    ]
    loops = [s for s in (*nest.loops, *statements(nest.body)) if isinstance(s, For)]
    data = {v for s in filled for v, _ in s.index.terms} - {loop.var for loop in loops}
    if not data or not nest.loops:
        return "no place is read from data"
    nest.own = _independent(nest, nest.loops, nest.body, ignored=set(nest.fills))
    others = _stored(nest.body) - nest.fills.keys()
    if nest.own != nest.loops or others & _loaded(nest.body) or any(b.private for b in others):
        return "other work that one group has to do"
    picked = data.pop()
    flat = not any(isinstance(s, (For, Declare, Accumulate, Assign)) for s in nest.body)
    if len(nest.loops) > 1 and flat and _is_long(nest.loops[-1]):
        opened = replace(nest)
        _open_last(opened)
        if any(getattr(s, "var", None) is picked for s in opened.body):
            nest.loops, nest.body, nest.own = opened.loops, opened.body, opened.loops
    known = any(getattr(s, "var", None) is picked for s in nest.body)
    if known and not data and not meet(picked, [s.index for s in filled], loops, nest.kernel.sizes):
        nest.picked = picked if not _why_no_lanes(nest) else None
    return ""


_KINDS = (
    ("row", _is_row_of_places),
    ("scatter", _is_scatter),
    ("column", _is_column),
    ("row", _is_row),
    ("map", _is_map),
    ("row", _is_any_row),
)


def _is_long(stmt: Stmt) -> bool:
    return isinstance(stmt, For) and not (isinstance(stmt.extent, int) and stmt.extent < SHORT)


# -- what is independent ---------------------------------------------------------------------------
def _independent(
    nest: Nest,
    loops: Sequence[For],
    body: list[Stmt],
    sums: Sequence[Sum] = (),
    changed: Iterable[Var] = (),
    ignored: Iterable[Buffer] = (),
) -> list[For]:
    """Of loops around `body`, from the outermost, those whose turns share nothing when the ones
    found before are outside and all others inside. What `sums` add is left out, and what is in
    `ignored` buffers; `changed` and totals may be added to."""
    dropped = {id(part) for s in sums for part in s.parts}
    free = {*changed, *(t.var for t in nest.totals)}
    left_out = {*ignored, *(b for b in nest.kernel.buffers if b.private)}
    pruned = _pruned(body, dropped, free, left_out)
    own: list[For] = []
    for loop in loops:
        turn = pruned
        for other in reversed(loops):
            if other is not loop and not any(other is found for found in own):
                turn = [For(other.var, other.extent, turn)]
        if not shared(For(loop.var, loop.extent, turn), nest.kernel.sizes):
            own.append(loop)
    return own


def _pruned(
    body: Sequence[Stmt], dropped: set[int], free: set[Var], left_out: set[Buffer]
) -> list[Stmt]:
    kept: list[Stmt] = []
    for stmt in body:
        if id(stmt) in dropped:
            continue
        if isinstance(stmt, Accumulate) and stmt.var in free:
            continue
        if isinstance(stmt, (Load, Store)) and stmt.buffer in left_out:
            continue
        if isinstance(stmt, For):
            stmt = replace(stmt, body=_pruned(stmt.body, dropped, free, left_out))
        kept.append(stmt)
    return kept


def _bodies(body: list[Stmt]) -> Iterator[list[Stmt]]:
    yield body
    yield from (s.body for s in statements(body) if isinstance(s, For))


def _stored(body: list[Stmt]) -> set[Buffer]:
    return {s.buffer for s in statements(body) if isinstance(s, Store)}


def _loaded(body: list[Stmt]) -> set[Buffer]:
    return {s.buffer for s in statements(body) if isinstance(s, Load)}
