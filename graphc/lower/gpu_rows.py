"""What runs for one row of a launch: its scalars, and its loops, which a group of threads shares.

Rows        each loop by itself, in turns of as many elements as a group has threads
Registers   a row that fits into the registers of its group: read and written once
Scatter     every group sees all rows, and adds at the places that are its own
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from graphc.ir.dim import Size, divide, substitute
from graphc.ir.dtype import bool_
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Buffer,
    Declare,
    Fail,
    For,
    Kernel,
    Let,
    Load,
    Number,
    Stmt,
    Store,
    Var,
    statements,
)
from graphc.loops.nest import Nest, chain
from graphc.lower.gpu_text import Text, times
from graphc.lower.launches import THREADS, WARP
from graphc.lower.numba_source import loaded

# Turns that a lane of a row begins before it needs what they load, by the statements of a turn: of
# longer ones more would take the registers of whole blocks.
AHEAD = ((3, 4), (8, 2))
VECTOR = 4  # neighbours that a thread takes at once, where memory is contiguous
HELD = range(2 * VECTOR, 9 * VECTOR, VECTOR)  # elements of a row that a thread may hold
FEW_HELD = 16  # of a row that fewer than half of a block's threads share
MOST_HELD = 96  # of all that a thread holds of a row: registers are four times as many
MOST_STATEMENTS = 512  # of a launch that holds its rows


@dataclass(frozen=True, slots=True)
class _Access:
    """How the threads of a group touch a buffer: each lane its own elements, in turns of loops of
    these sizes at this place, if `lanes`; else one of them writes, and all read."""

    writes: bool
    lanes: tuple[str, ...] | None

    def meets(self, other: _Access) -> bool:
        if not (self.writes or other.writes):
            return False
        return self.lanes != other.lanes or (self.lanes is None and self.writes != other.writes)


class Rows:
    """What runs for one row: scalars by every thread of the group, loops shared among them, what is
    written outside of these by the first one. A barrier stands where a thread touches what another
    one has touched.

    `across`: how many turns the loops have that it has printed."""

    repeats = False  # whether several groups run a row

    def __init__(self, nest: Nest, text: Text, active: str, writes: str) -> None:
        self.nest, self.text, self.active, self.writes = nest, text, active, writes
        self.across: list[Size] = []
        self.totals = {t.var for t in self.nest.totals}
        self.since: dict[Buffer, list[_Access]] = {}

    def print(self, body: Sequence[Stmt]) -> None:
        begun = dict(self._accesses(body))
        for stmt in body:
            self._order(dict(self._accesses([stmt])))
            if isinstance(stmt, For):
                self._loop(stmt)
            else:
                self.statement(stmt, self.writes, alone=True)
        if any(b.private for b in begun):  # the next row writes over them
            self._order({b: [_Access(True, ("next row",))] for b in begun if b.private})

    def _order(self, accesses: Mapping[Buffer, list[_Access]]) -> None:
        met = any(
            now.meets(then)
            for buffer, found in accesses.items()
            for now in found
            for then in self.since.get(buffer, ())
        )
        if met:
            self.text.add("cuda.syncthreads()")
            self.since.clear()
        for buffer, found in accesses.items():
            self.since.setdefault(buffer, []).extend(found)

    def _accesses(self, body: Sequence[Stmt]) -> Iterator[tuple[Buffer, list[_Access]]]:
        found: dict[Buffer, list[_Access]] = {}
        for stmt in body:
            loops = chain(stmt)[0] if isinstance(stmt, For) else []
            names = {loop.var: f"lane{k}" for k, loop in enumerate(loops)}
            for inner in statements([stmt]):
                if isinstance(inner, (Load, Store)):
                    place = " + ".join(
                        sorted(f"{size}*{names.get(v, v.name)}" for v, size in inner.index.terms)
                    )
                    sizes = [str(loop.extent) for loop in loops]
                    lanes = (*sizes, place, str(inner.index.const)) if loops else None
                    access = _Access(isinstance(inner, Store), lanes)
                    found.setdefault(inner.buffer, []).append(access)
        yield from found.items()

    def _loop(self, loop: For) -> None:
        text, nest = self.text, self.nest
        loops, body = chain(loop)
        self.across.append(nest.turns(loops))
        changed = self._changed(body)
        active = self.bound(bool(changed))
        text.add("t = lane", f"bound = select({active}, {times(loops)}, i64(0))")
        count = next((turns for most, turns in AHEAD if len(body) <= most), 1)
        if count > 1 and not any(isinstance(s, For) for s in body):
            self._ahead(loops, body, count)
        with text.inside("while t < bound:"):
            text.split("t", loops)
            for stmt in body:
                self.statement(stmt, self.guard(), alone=False)
            text.add("t += width")
        for var, primitive in changed.items():
            name = text.names[var]
            text.add(f"{name} = group_{primitive}_{var.dtype.short}({name}, width)")

    def _changed(self, body: list[Stmt]) -> dict[Var, str]:
        """What the turns of a loop add up together, and how."""
        own = {s.var for s in statements(body) if isinstance(s, Declare)}
        return {
            s.var: s.primitive
            for s in statements(body)
            if isinstance(s, Accumulate) and s.var not in own and s.var not in self.totals
        }

    def _ahead(self, loops: Sequence[For], body: Sequence[Stmt], count: int) -> None:
        """Several turns of a lane, statement by statement: what they load is under way at once."""
        text = self.text
        found = [s.var for s in (*loops, *body) if isinstance(s, (For, Let, Load, Number))]
        own: dict[Buffer | Var, str] = {var: text.names[var] for var in found}
        with text.inside(f"while t < bound - {count - 1} * width:"):
            for u in range(count):
                text.names |= {var: f"{name}_{u}" for var, name in own.items()}
                text.split(f"(t + {u} * width)" if u else "t", loops)
            for stmt in body:
                for u in range(count):
                    text.names |= {var: f"{name}_{u}" for var, name in own.items()}
                    self.statement(stmt, self.guard(), alone=False)
            text.add(f"t += {count} * width")
        text.names |= own

    def bound(self, reduces: bool) -> str:
        """Which groups run the loops of the row."""
        return self.active

    def guard(self) -> str:
        """Which groups write in these loops."""
        return ""

    def statement(self, stmt: Stmt, guard: str, alone: bool) -> None:
        """`alone`: all threads of the group run it for one row, and the first one writes."""
        counts = isinstance(stmt, Accumulate) and stmt.var in self.totals
        changes = isinstance(stmt, Store) or (counts and (alone or self.repeats))
        if guard and changes:
            with self.text.inside(f"if {guard}:"):
                self.text.plain([stmt])
        elif isinstance(stmt, For):
            with self.text.inside(self.text.statement(stmt)):
                for inner in stmt.body:
                    self.statement(inner, guard, alone)
        else:
            self.text.plain([stmt])


# -- rows in registers -----------------------------------------------------------------------------
_Key = tuple[Buffer, frozenset[tuple[Var | None, Size]], Size]


def held(nest: Nest) -> int:
    """How many elements of its row each thread of a group holds in registers, or 0: where the
    loops of a row add up, or are several, and go over the same elements, known to be so many that a
    power of two of threads hold them, and neighbours in memory in steps of 16 bytes."""
    loops = [s for s in nest.body if isinstance(s, For)]
    given = nest.kernel.sizes
    sizes = {substitute(loop.extent, given) for loop in loops}
    flat = not any(isinstance(s, For) for loop in loops for s in loop.body)
    even = all(is_even(loop.var, loop.body, given) for loop in loops)
    adds_up = len(loops) > 1 or any(isinstance(s, Accumulate) for s in statements(nest.body))
    if nest.kind != "row" or len(sizes) != 1 or not flat or not even or not adds_up:
        return 0
    (size,) = sizes
    fits = [count for count in HELD if isinstance(size, int) and _is_power(size, count)]
    in_a_warp = (count for count in fits if count <= 2 * fits[0] and size <= count * WARP)
    count = next(in_a_warp, fits[0]) if fits else 0
    kept = {key(s, loop.var) for loop in loops for s in loop.body if isinstance(s, (Load, Store))}
    many = count * len(kept) > MOST_HELD
    long = count * sum(len(loop.body) for loop in loops) > MOST_STATEMENTS
    return 0 if many or long else count


def _is_power(size: int, count: int) -> bool:
    """Whether a power of two of threads hold `count` each of so many."""
    width = size // count
    whole = width > 0 and size % count == 0 and width & (width - 1) == 0
    return whole and width <= THREADS and (count <= FEW_HELD or 2 * width >= THREADS)


def is_even(turn: Var, body: Sequence[Stmt], sizes: Mapping[str, Size]) -> bool:
    """Whether all that turns touch is one element for all of them, or neighbours of which the first
    is at a multiple of 16 bytes."""
    for stmt in body:
        if not isinstance(stmt, (Load, Store)) or stmt.index.coefficient(turn) == 0:
            continue
        terms = [size for var, size in stmt.index.terms if var is not turn]
        steps = [substitute(size, sizes) for size in (*terms, stmt.index.const)]
        even = all(divide(step, VECTOR) is not None for step in steps)
        if stmt.index.coefficient(turn) != 1 or not even:
            return False
    return True


def even_sizes(kernel: Kernel, loops: Sequence[tuple[Var, Sequence[Stmt]]]) -> list[str]:
    """The parameters by which what these turns touch is apart, of which `is_even` knows that they
    are multiples of `VECTOR`."""
    found: list[str] = []
    for turn, body in loops:
        for stmt in body:
            if isinstance(stmt, (Load, Store)) and stmt.index.coefficient(turn) != 0:
                found += [str(size) for _, size in stmt.index.terms]
    return [name for name in dict.fromkeys(found) if name in kernel.sizes]


def key(stmt: Load | Store, turn: Var) -> _Key:
    """Which element a statement of a loop touches, whatever the loop's variable is called."""
    terms = frozenset((None if var is turn else var, size) for var, size in stmt.index.terms)
    return stmt.buffer, terms, stmt.index.const


class Registers(Rows):
    """A row of which each thread of the group has `count` elements, in every loop the same ones, in
    neighbours of 16 bytes: what one loop has loaded or stored no later one loads, and what a later
    one stores again, or nobody else sees, is not stored."""

    def __init__(self, nest: Nest, text: Text, active: str, writes: str, count: int) -> None:
        super().__init__(nest, text, active, writes)
        self.count = count
        self.kept: dict[_Key, list[str]] = {}
        self.unstored = self._unstored()
        stores = [s for s in statements(nest.body) if isinstance(s, Store)]
        self.written = {s.buffer for s in stores if id(s) not in self.unstored}
        self.gone = {s.buffer for s in stores} - self.written  # what is in registers only

    def _unstored(self) -> set[int]:
        """The stores that nobody needs, by identity: all that touches their element is in loops of
        the row, and a later one is there, or nobody else sees the buffer."""
        places: dict[Buffer, set[_Key | None]] = {}
        stores: list[tuple[_Key, Store]] = []
        for stmt in self.nest.body:
            loop = stmt if isinstance(stmt, For) else None
            for inner in [stmt] if loop is None else loop.body:
                if isinstance(inner, (Load, Store)):
                    place = None if loop is None else key(inner, loop.var)
                    places.setdefault(inner.buffer, set()).add(place)
                    if place is not None and isinstance(inner, Store):
                        stores.append((place, inner))
        last = {place: id(store) for place, store in stores}
        return {
            id(store)
            for place, store in stores
            if places[store.buffer] == {place}
            and (store.buffer.private or last[place] != id(store))
        }

    def print(self, body: Sequence[Stmt]) -> None:
        self.kept.clear()
        super().print(body)

    def _accesses(self, body: Sequence[Stmt]) -> Iterator[tuple[Buffer, list[_Access]]]:
        for buffer, found in super()._accesses(body):
            if buffer not in self.gone:
                yield buffer, found

    def _loop(self, loop: For) -> None:
        text, name = self.text, self.text.names[loop.var]
        self.across.append(self.nest.turns([loop]))
        found = [s.var for s in loop.body if isinstance(s, (Let, Load, Number))]
        own: dict[Buffer | Var, str] = {var: text.names[var] for var in (loop.var, *found)}
        for k in range(self.count):
            chunk, u = divmod(k, VECTOR)
            text.add(f"{name}_{k} = (lane + {chunk} * width) * {VECTOR} + {u}")
        names = [{var: f"{name}_{k}" for var, name in own.items()} for k in range(self.count)]
        for stmt in loop.body:
            self._turns(stmt, loop.var, names)
        text.names |= own
        for var, primitive in self._changed(loop.body).items():
            total = text.names[var]
            text.add(f"{total} = group_{primitive}_{var.dtype.short}({total}, width)")

    def _turns(self, stmt: Stmt, turn: Var, names: list[dict[Buffer | Var, str]]) -> None:
        """A statement, for each of the elements of the thread."""
        text, active = self.text, self.active
        place = key(stmt, turn) if isinstance(stmt, (Load, Store)) else None
        plain = isinstance(stmt, Load) and stmt.guard is None
        if isinstance(stmt, Load) and plain and place in self.kept:
            for own, value in zip(names, self.kept[place], strict=True):
                own[stmt.var] = value
            return
        counts = isinstance(stmt, Accumulate) and stmt.var in self.totals
        races = isinstance(stmt, Load) and stmt.buffer in self.written
        if isinstance(stmt, Load) and races:  # a row that is no group's own
            zero = "False" if stmt.var.dtype is bool_ else f"{stmt.var.dtype.short}(0)"
            text.add(*(f"{own[stmt.var]} = {zero}" for own in names))
        if counts or races or isinstance(stmt, Store):
            with text.inside(f"if {active}:") if id(stmt) not in self.unstored else nullcontext():
                self._each(stmt, names)
        else:
            self._each(stmt, names)
        if isinstance(stmt, Store) and place is not None:
            self.kept = {k: v for k, v in self.kept.items() if k[0] is not stmt.buffer}
            self.kept[place] = [self._named(own, stmt) for own in names]
        elif isinstance(stmt, Load) and plain and place is not None:
            self.kept[place] = [own[stmt.var] for own in names]

    def _each(self, stmt: Stmt, names: Sequence[dict[Buffer | Var, str]]) -> None:
        for own in names if id(stmt) not in self.unstored else ():
            self.text.names |= own
            self.text.plain([stmt])

    def _named(self, own: Mapping[Buffer | Var, str], stmt: Store) -> str:
        self.text.names |= own
        return self.text.value(stmt.value)


# -- scatters --------------------------------------------------------------------------------------
class Scatter(Rows):
    """Every group sees all rows. It adds at the places that it owns: those whose number, or the
    number that was read from data, leaves the group's own when divided by that of groups, which is
    a power of two. What is written elsewhere each row's own group writes.

    Where one number picks the place of a row, the lanes of a warp read those of as many rows, and
    what the group has to do with none is passed over."""

    repeats = True

    def begin(self) -> None:
        """The number of the row is known."""
        self.text.split("row", self.nest.loops)
        self.text.add("mine = bitwise_and(row, groups - 1) == group")

    def picks(self) -> list[Stmt]:
        """What of a turn finds its place; nothing where lanes cannot find it before the turn."""
        body, picked = self.nest.body, self.nest.picked
        at = next((i for i, s in enumerate(body) if getattr(s, "var", None) is picked), None)
        if picked is None or at is None or self._reduces(body):
            return []
        found = body[: at + 1]
        written = {s.buffer for s in statements(body) if isinstance(s, Store)}
        plain = all(isinstance(s, (Let, Load, Number, Fail)) for s in found)
        fixed = all(s.buffer not in written for s in found if isinstance(s, Load))
        return found if plain and fixed else []

    def _reduces(self, body: list[Stmt]) -> bool:
        """Whether all threads of a block have to meet in a turn."""
        return bool({s.var for s in statements(body) if isinstance(s, Accumulate)} - self.totals)

    def print(self, body: Sequence[Stmt]) -> None:
        if self.nest.picked is not None:
            super().print(body)
            return
        for stmt in body:
            self.statement(stmt, "mine", alone=False)

    def bound(self, reduces: bool) -> str:
        return "True" if reduces else self.wants()

    def guard(self) -> str:
        return "mine"

    def _order(self, accesses: Mapping[Buffer, list[_Access]]) -> None:
        return None  # nothing that is written is read, but by the thread that owns it

    def wants(self) -> str:
        """Whether the group has to do with the row."""
        others = {s.buffer for s in statements(self.nest.body) if isinstance(s, Store)}
        writes = bool(self.totals or others - self.nest.fills.keys())
        return f"bitwise_or(mine, {self.owns()})" if writes else self.owns()

    def owns(self, index: Affine | None = None) -> str:
        picked = self.nest.picked
        place = self.text.affine(index or Affine()) if picked is None else self.text.names[picked]
        return f"(bitwise_and({place}, groups - 1) == group)"

    def statement(self, stmt: Stmt, guard: str, alone: bool) -> None:
        if not isinstance(stmt, (Load, Store)) or stmt.buffer not in self.nest.fills:
            super().statement(stmt, guard, alone)
            return
        text, owned = self.text, self.owns(stmt.index)
        if alone:
            owned = f"bitwise_and({owned}, lane == 0)"
        if isinstance(stmt, Store):
            with text.inside(f"if {owned}:"):
                text.plain([stmt])
            return
        dtype = stmt.buffer.dtype
        zero = "False" if dtype is bool_ else f"{dtype.short}(0)"
        element = loaded(text.element(stmt.buffer, stmt.index), dtype)
        text.add(f"{text.names[stmt.var]} = ({element}) if {owned} else {zero}")
