"""Prints a kernel as the Python source of `numba.cuda` functions, its launches.

A block has 256 threads. How many blocks there are, how many threads share a row and into how many
parts a sum is cut follows from sizes alone, never from the card: so every card gives the same bits.
What many threads add up is added in one order: lanes of a warp by halves, warps by halves, parts
one after the other. There is no atomic operation but on the word of failures.

    fill      first values of sums in memory
    plain     in place of a map that loads neighbours at once, where an array does not begin at a
              multiple of 16 bytes
    map, row, column, scatter, serial    the kernel: see `loops/nest.py`
    finish    the parts of sums in memory, added up
    last      the parts of totals, added up by one block; and what follows the loops, by one thread
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from graphc.ir.dim import Size, dim, evaluate
from graphc.ir.dtype import BY_SHORT, DType, bool_
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Buffer,
    Declare,
    Fail,
    For,
    Kernel,
    Load,
    Stmt,
    Store,
    Value,
    Var,
    may_fail,
    statements,
)
from graphc.loops.nest import Sum, chain, take_apart
from graphc.lower.numba_source import Printer, loaded, size_text, stored

THREADS = 256  # of a block
GROUPS = 1024  # parts of a sum, at the most
ROOM = 1 << 22  # elements of all parts of a sum, or of all rows of scratch memory, about
VECTOR = 4  # neighbours that a thread takes at once, where memory is contiguous
FEW = 128  # numbers that a thread adds up without carrying their rounding errors along


@dataclass(frozen=True, slots=True)
class Launch:
    """One function for the device. `turns`: what the threads share out."""

    name: str
    kind: str
    source: str
    turns: Size


@dataclass(frozen=True, slots=True)
class Room:
    """Memory that the launches of a kernel need beside its buffers: `size` elements for each
    `group` or `block`."""

    name: str
    dtype: DType
    size: Size
    each: str

    def elements(self, grid: Grid, dims: Mapping[str, int]) -> int:
        return evaluate(self.size, dims) * (grid.groups if self.each == "group" else grid.blocks)


@dataclass(frozen=True, slots=True)
class Grid:
    """The shape of a kernel's main launch: its blocks, the threads of a row (of columns side by
    side), and how many groups (of a map: threads, of a column: parts) there are."""

    blocks: int
    width: int
    groups: int

    @property
    def shift(self) -> int:
        return self.width.bit_length() - 1


@dataclass(frozen=True, slots=True)
class Launches:
    """The launches of one kernel, in order. All have the same parameters: the buffers (for a
    private one the `Room` of its name), `sizes` over the program's dims, `shift`, `groups` and
    `blocks` of the grid, the other rooms, and the word of failures if the kernel may fail.

    `across`: the turns of the longest loop inside of a row, or the columns; `most`: the groups that
    memory allows; `each`: elements of a thread of a map.
    """

    kernel: Kernel | None  # None where it was read from data
    kind: str
    why: str
    launches: tuple[Launch, ...]
    parameters: tuple[str, ...]
    sizes: Mapping[str, Size]
    rooms: tuple[Room, ...]
    across: tuple[Size, ...]
    each: int
    limits: bool  # whether groups are at most as many as parts of sums

    def facts(self) -> dict[str, Any]:
        """What running the launches needs, as plain data; `read_launches` is the inverse."""
        return {
            "kind": self.kind,
            "launches": [[x.name, x.kind, str(x.turns)] for x in self.launches],
            "parameters": list(self.parameters),
            "sizes": {name: str(size) for name, size in self.sizes.items()},
            "rooms": [[r.name, r.dtype.short, str(r.size), r.each] for r in self.rooms],
            "across": list(map(str, self.across)),
            "each": self.each,
            "limits": self.limits,
        }

    def chosen(self, aligned: bool) -> list[Launch]:
        """The launches, in order; `aligned`: all arrays begin at multiples of 16 bytes."""
        plain = next((x for x in self.launches if x.kind == "plain"), None)
        left_out = self.main if plain is not None and not aligned else plain
        return [x for x in self.launches if x is not left_out]

    @property
    def source(self) -> str:
        return "\n".join(launch.source for launch in self.launches)

    @property
    def main(self) -> Launch:
        return next(x for x in self.launches if x.kind == self.kind)

    def grid(self, dims: Mapping[str, int], threads: int = THREADS) -> Grid:
        """The grid of the main launch at given sizes, for blocks of so many threads."""
        turns = evaluate(self.main.turns, dims)
        across = max((evaluate(size, dims) for size in self.across), default=1)
        most = GROUPS if self.limits and self.kind != "map" else 1 << 62
        for room in self.rooms:
            if room.each == "group":
                most = min(most, max(8, ROOM // max(1, evaluate(room.size, dims))))
        if self.kind == "serial":
            return Grid(1, 1, 1)
        if self.kind == "column":
            width = _power(min(32, threads, across))
            side = _parts(across, width)
            parts = _clamp(_parts(turns, threads // width * 8), 1, min(256, GROUPS // max(side, 1)))
            return Grid(side * parts, width, parts)
        if self.kind == "map":
            most = min(_parts(most, threads), GROUPS if self.limits else most)
            blocks = _clamp(_parts(turns, threads * self.each), 1, most)
            return Grid(blocks, 1, blocks * threads)
        width = min(_power(_parts(across, 4)), threads)
        groups = threads // width
        blocks = _clamp(_parts(min(turns, most), groups), 1, _parts(most, groups))
        return Grid(blocks, width, blocks * groups)

    def blocks(self, launch: Launch, grid: Grid, dims: Mapping[str, int], threads: int) -> int:
        """How many blocks a launch has."""
        if launch.kind in (self.kind, "plain"):
            return grid.blocks
        return 1 if launch.kind == "last" else _parts(evaluate(launch.turns, dims), threads)


def _parts(size: int, part: int) -> int:
    return -(-size // part)


def _clamp(size: int, least: int, most: int) -> int:
    return max(least, min(size, most))


def _power(size: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(size - 1, 0).bit_length()


def print_launches(kernel: Kernel) -> Launches:
    """The launches of a kernel; equal kernels give equal text."""
    return _Kernels(kernel).launches()


def read_launches(facts: Mapping[str, Any]) -> Launches:
    """The launches that `facts` are of, without their source."""
    return Launches(
        None,
        facts["kind"],
        "",
        tuple(Launch(name, kind, "", dim(turns)) for name, kind, turns in facts["launches"]),
        tuple(facts["parameters"]),
        {name: dim(size) for name, size in facts["sizes"].items()},
        tuple(Room(n, BY_SHORT[d], dim(size), each) for n, d, size, each in facts["rooms"]),
        tuple(map(dim, facts["across"])),
        facts["each"],
        facts["limits"],
    )


# -- statements ------------------------------------------------------------------------------------
class _Text(Printer):
    """The text of one launch. `homes`: what stands before the index of an element that is a part's
    or a group's own; `long`: the sums whose rounding errors are carried along."""

    def __init__(self, kernel: Kernel, long: set[Var]) -> None:
        super().__init__(kernel)
        self.depth = 1
        self.homes: dict[Buffer, str] = {}
        self.long = long

    def add(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line for line in lines]

    @contextmanager
    def inside(self, head: str) -> Iterator[None]:
        """Inside, lines belong to `head`."""
        self.add(head)
        self.depth += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.add("pass")
        self.depth -= 1

    def element(self, buffer: Buffer, index: Affine) -> str:
        home = self.homes.get(buffer)
        return super().element(buffer, index) if home is None else f"{home}{self.affine(index)}]"

    def accumulated(self, var: Var, primitive: str, value: Value) -> str:
        return self._expression(primitive, (var, value))  # in the order of the text

    def first(self, var: Var, value: str) -> None:
        """A scalar that accumulates, with its first value."""
        self.add(f"{self.names[var]} = {value}")
        if var in self.long:
            self.add(f"{self.names[var]}_lost = {var.dtype.short}(0)")

    def accumulate(self, var: Var, primitive: str, value: str) -> None:
        """total, lost = total + (value - lost), the rounding error of that addition (Kahan,
        1965)."""
        name = self.names[var]
        if var in self.long:
            more, before = f"more_{var.dtype.short}", f"before_{var.dtype.short}"
            self.add(f"{more} = {value} - {name}_lost", f"{before} = {name}")
            self.add(f"{name} = {before} + {more}", f"{name}_lost = lost({name}, {before}, {more})")
        else:
            self.add(f"{name} = {combined(primitive, name, value, var.dtype)}")

    def plain(self, body: Sequence[Stmt]) -> None:
        """Statements as they stand, by one thread."""
        for stmt in body:
            if isinstance(stmt, For):
                with self.inside(self.statement(stmt)):
                    self.plain(stmt.body)
            elif isinstance(stmt, Declare):
                self.first(stmt.var, self.value(stmt.value))
            elif isinstance(stmt, Accumulate):
                self.accumulate(stmt.var, stmt.primitive, self.value(stmt.value))
            else:
                self.add(self.statement(stmt))

    def split(self, flat: str, loops: Sequence[For]) -> None:
        """The variables of loops from the number of a turn of all of them."""
        for k, loop in enumerate(loops):
            later, part = times(loops[k + 1 :]), flat
            if later != "1":
                part = f"floor_divide({part}, {later})"
            if k > 0:
                part = f"remainder({part}, {times([loop])})"
            self.add(f"{self.names[loop.var]} = {part}")


def times(loops: Sequence[For]) -> str:
    """How many turns loops have, as Python source of an i64."""
    factors = [size_text(loop.extent) for loop in loops]
    factors = [f if re.fullmatch(r"\w+", f) else f"({f})" for f in factors]
    factors = [f"i64({f})" if f.isdigit() else f for f in factors]
    return " * ".join(factors) or "1"


def combined(primitive: str, x: str, y: str, dtype: DType) -> str:
    infix = {"add": "+", "multiply": "*"}.get(primitive) if dtype.is_float else None
    return f"{x} {infix} {y}" if infix else f"{primitive}({x}, {y})"


def _long_sums(kernel: Kernel) -> set[Var]:
    """The scalars to which a thread may add many floats."""
    long: set[Var] = set()

    def walk(body: Sequence[Stmt], turns: int, declared: Mapping[Var, int]) -> None:
        own = dict(declared)
        for stmt in body:
            if isinstance(stmt, Declare):
                own[stmt.var] = turns
            elif isinstance(stmt, For):
                extent = stmt.extent if isinstance(stmt.extent, int) else FEW + 1
                walk(stmt.body, turns * max(extent, 1), own)
            elif isinstance(stmt, Accumulate):
                sums = stmt.primitive == "add" and stmt.var.dtype.is_float
                if sums and turns > FEW * own[stmt.var]:
                    long.add(stmt.var)

    walk(kernel.body, 1, {})
    return long


# -- launches --------------------------------------------------------------------------------------
class _Kernels:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.nest = kernel, take_apart(kernel)
        self.long = _long_sums(kernel)
        self.sizes = dict(kernel.sizes)
        self.rooms: list[Room] = []
        self.parts: dict[int, str] = {}  # the rooms of sums and totals, by the identity of each
        self.fails = may_fail(kernel)
        self.vector = self._is_contiguous()
        self.across: list[Size] = []
        self.made: list[tuple[str, _Text, Size]] = []

    def launches(self) -> Launches:
        nest, kind = self.nest, self.nest.kind
        self._make_rooms()
        main: Size = {"column": nest.turns(nest.inner), "map": nest.turns(nest.own)}.get(
            kind, nest.turns(nest.loops)
        )
        self._fills()
        text = self._text()
        getattr(self, f"_{kind}")(text)
        self.made.append((kind, text, main))
        if self.vector:
            plain = self._text()
            self._map(plain, vector=False)
            self.made.append(("plain", plain, main))
        if any(id(s) in self.parts for s in nest.sums):
            self._finish()
        if kind != "serial" and (nest.totals or nest.after or nest.stores):
            self._last()
        parameters = (
            *(f"b{i}" for i in range(len(self.kernel.buffers))),
            *self.sizes,
            *("shift", "groups", "blocks"),
            *(room.name for room in self.rooms if not room.name.startswith("b")),
            *(["failures"] if self.fails else []),
        )
        made = []
        for number, (what, text, turns) in enumerate(self.made):
            name = f"kernel{number}_{what}"
            lines = [f"def {name}({', '.join(parameters)}):", *(text.lines or ["    pass"])]
            made.append(Launch(name, what, "\n".join(lines) + "\n", turns))
        return Launches(
            self.kernel,
            kind,
            nest.why,
            tuple(made),
            parameters,
            self.sizes,
            tuple(self.rooms),
            tuple(self.across),
            VECTOR if self.vector or nest.totals else 1,
            bool(self.parts) or kind == "scatter",
        )

    def _text(self) -> _Text:
        text = _Text(self.kernel, self.long)
        kind = self.nest.kind
        for buffer in self.kernel.buffers:
            if buffer.private and kind in ("row", "map"):
                text.homes[buffer] = f"{text.names[buffer]}[group * {self._size(buffer.size)} + "
        return text

    def _size(self, size: Size) -> str:
        """A size of the program as Python source over the parameters, in parentheses."""
        if isinstance(size, int):
            return f"i64({size})"
        for name, known in self.sizes.items():
            if known == size:
                return name
        name = f"z{len(self.sizes)}"
        self.sizes[name] = size
        return name

    def _is_contiguous(self) -> bool:
        """Whether the elements of neighbouring turns are neighbours."""
        nest = self.nest
        if nest.kind != "map" or len(nest.loops) != 1 or nest.totals or nest.fills:
            return False
        var = nest.loops[0].var
        memory = [s for s in statements(nest.body) if isinstance(s, (Load, Store))]
        places = [s.index for s in memory if s.index.coefficient(var) != 0]
        plain = all(p.terms == ((var, 1),) and p.const == 0 for p in places)
        flat = not any(isinstance(s, For) for s in nest.body)
        guarded = any(isinstance(s, Load) and s.guard is not None for s in memory)
        private = any(b.private for b in self.kernel.buffers)
        return bool(places) and plain and flat and not guarded and not private

    def _make_rooms(self) -> None:
        """Memory for the parts of sums and totals, and the rows of groups."""
        nest, names = self.nest, 0
        for i, buffer in enumerate(self.kernel.buffers):
            if buffer.private and nest.kind in ("row", "map"):
                self.rooms.append(Room(f"b{i}", buffer.dtype, buffer.size, "group"))
        for found in nest.sums if nest.kind in ("row", "column") else ():
            size = nest.turns(nest.own) if nest.kind == "column" else found.buffer.size
            self.parts[id(found)] = f"p{names}"
            self.rooms.append(Room(f"p{names}", found.buffer.dtype, size, "group"))
            names += 1
        for total in nest.totals:
            self.parts[id(total)] = f"p{names}"
            self.rooms.append(Room(f"p{names}", total.var.dtype, 1, "block"))
            names += 1

    # -- what begins and ends every launch ---------------------------------------------------------
    def _open(self, text: _Text) -> None:
        if self.fails:
            text.add("failed = i64(0)")
        text.plain([s for s in self.nest.before if not isinstance(s, Store)])

    def _close(self, text: _Text) -> None:
        """The totals of the block, and the failures of the thread."""
        for total in self.nest.totals:
            name, dtype = text.names[total.var], total.var.dtype
            text.add(f"{name} = group_{total.primitive}_{dtype.short}({name}, cuda.blockDim.x)")
            with text.inside("if cuda.threadIdx.x == 0:"):
                text.add(f"{self.parts[id(total)]}[cuda.blockIdx.x] = {stored(name, dtype)}")
        self._report(text)

    def _report(self, text: _Text) -> None:
        if self.fails:
            with text.inside("if failed != 0:"):
                text.add("cuda.atomic.or_(failures, 0, failed)")

    def _fills(self) -> None:
        parted = {s.buffer for s in self.nest.sums if id(s) in self.parts}
        if self.nest.kind == "serial":
            return
        for buffer, first in self.nest.fills.items():
            if buffer in parted:
                continue
            text = self._text()
            text.add("i = cuda.grid(1)")
            with text.inside(f"while i < {self._size(buffer.size)}:"):
                text.add(f"{text.names[buffer]}[i] = {stored(text.value(first), buffer.dtype)}")
                text.add("i += cuda.gridsize(1)")
            self.made.append(("fill", text, buffer.size))

    # -- the kinds ---------------------------------------------------------------------------------
    def _map(self, text: _Text, vector: bool = True) -> None:
        nest = self.nest
        if any(b.private for b in self.kernel.buffers):
            text.add("group = cuda.grid(1)")
        self._open(text)
        inner = list(nest.body)
        for loop in reversed(nest.inner):
            inner = [For(loop.var, loop.extent, inner)]
        if not nest.own:
            with text.inside("if cuda.grid(1) == 0:"):
                text.plain(inner)
        elif self.vector and vector:
            i, n = text.names[nest.own[0].var], times(nest.own)
            text.add("t = cuda.grid(1)")
            with text.inside(f"while t < floor_divide({n}, i64({VECTOR})):"):
                with text.inside(f"for u in range({VECTOR}):"):
                    text.add(f"{i} = t * {VECTOR} + u")
                    text.plain(inner)
                text.add("t += cuda.gridsize(1)")
            text.add(f"{i} = {n} - remainder({n}, i64({VECTOR})) + cuda.grid(1)")
            with text.inside(f"while {i} < {n}:"):
                text.plain(inner)
                text.add(f"{i} += cuda.gridsize(1)")
        else:
            text.add("t = cuda.grid(1)")
            with text.inside(f"while t < {times(nest.own)}:"):
                text.split("t", nest.own)
                text.plain(inner)
                text.add("t += cuda.gridsize(1)")
        self._close(text)

    def _serial(self, text: _Text) -> None:
        with text.inside("if cuda.grid(1) == 0:"):
            if self.fails:
                text.add("failed = i64(0)")
            text.plain(self.kernel.body)
            self._report(text)

    def _row(self, text: _Text) -> None:
        nest = self.nest
        self._groups(text)
        self._open(text)
        for found in nest.sums:
            size, part = self._size(found.buffer.size), self.parts[id(found)]
            text.homes[found.buffer] = f"{part}[group * {size} + "
            text.add("j = lane")
            with text.inside(f"while j < {size}:"):
                first = stored(text.value(found.first), found.buffer.dtype)
                text.add(f"{part}[group * {size} + j] = {first}", "j += width")
        if nest.sums:
            text.add("cuda.syncthreads()")
        rows = times(nest.loops) if nest.loops else "i64(1)"
        text.add("row0 = cuda.blockIdx.x * shift_right(cuda.blockDim.x, shift)")
        with text.inside(f"while row0 < {rows}:"):
            text.add("row = row0 + shift_right(cuda.threadIdx.x, shift)")
            text.add(f"active = row < {rows}", f"row = minimum(row, {rows} - 1)")
            text.split("row", nest.loops)
            _Rows(self, text, "active", "bitwise_and(active, lane == 0)").print(nest.body)
            text.add("row0 += groups")
        self._close(text)

    def _groups(self, text: _Text) -> None:
        self._lanes(text)
        text.add("group = shift_right(cuda.grid(1), shift)")

    def _lanes(self, text: _Text) -> None:
        text.add("width = shift_left(i64(1), shift)")
        text.add("lane = bitwise_and(cuda.threadIdx.x, width - 1)")

    def _column(self, text: _Text) -> None:
        nest = self.nest
        columns, count = nest.own, times(nest.own) if nest.own else "i64(1)"
        self.across.append(nest.turns(columns))
        self._lanes(text)
        text.add("part = shift_right(cuda.threadIdx.x, shift)")
        text.add("each = shift_right(cuda.blockDim.x, shift)")
        self._open(text)
        text.add(f"count = {count}", "across = floor_divide(count + width - 1, width)")
        text.add("column = remainder(cuda.blockIdx.x, across) * width + lane")
        text.add("chunk = floor_divide(cuda.blockIdx.x, across)", "active = column < count")
        text.add("place = minimum(column, count - 1)")
        text.split("place", columns)
        sums = self._registers(text)
        for var, found in sums.values():
            text.first(var, text.value(found.first))
        text.add("row = chunk * each + part")
        text.add(f"bound = select(active, {times(nest.inner)}, i64(0))")
        dropped = {id(part) for s in nest.sums for part in s.parts}
        with text.inside("while row < bound:"):
            text.split("row", nest.inner)
            for stmt in nest.body:
                if id(stmt) in sums:
                    var, found = sums[id(stmt)]
                    text.accumulate(var, found.primitive, text.value(found.value))
                elif id(stmt) not in dropped:
                    text.plain([stmt])
            text.add("row += groups * each")
        for var, found in sums.values():
            name = text.names[var]
            text.add(f"{name} = column_{found.primitive}_{var.dtype.short}({name}, width)")
        with text.inside("if bitwise_and(active, part == 0):"):
            for var, found in sums.values():
                value = stored(text.names[var], var.dtype)
                text.add(f"{self.parts[id(found)]}[chunk * count + column] = {value}")
        self._close(text)

    def _registers(self, text: _Text) -> dict[int, tuple[Var, Sum]]:
        """A scalar for each sum, by the identity of the store that it replaces."""
        found = {}
        for number, total in enumerate(self.nest.sums):
            var = Var(f"sum{number}", total.buffer.dtype)
            text.names[var] = var.name
            if total.primitive == "add" and var.dtype.is_float:
                text.long.add(var)
            found[id(total.parts[2])] = var, total
        return found

    def _scatter(self, text: _Text) -> None:
        nest = self.nest
        self._groups(text)
        self._open(text)
        text.add("row = i64(0)")
        with text.inside(f"while row < {times(nest.loops)}:"):
            text.split("row", nest.loops)
            text.add("mine = remainder(row, groups) == group")
            _Scatter(self, text, "True", "bitwise_and(mine, lane == 0)").print(nest.body)
            text.add("row += 1")
        self._close(text)

    # -- second stages -----------------------------------------------------------------------------
    def _finish(self) -> None:
        nest = self.nest
        for found in nest.sums:
            text, part = self._text(), self.parts[id(found)]
            columns, index = nest.own, "j"
            size = times(columns) if nest.kind == "column" else self._size(found.buffer.size)
            total = Var("total", found.buffer.dtype)
            text.names[total] = "total"
            if total.dtype.is_float and found.primitive == "add":
                text.long.add(total)
            text.add("j = cuda.grid(1)")
            with text.inside(f"while j < {size}:"):
                if nest.kind == "column":
                    text.split("j", columns)
                    index = text.affine(found.index)
                text.first(total, text.value(found.first))
                with text.inside("for g in range(groups):"):
                    element = loaded(f"{part}[g * {size} + j]", total.dtype)
                    text.accumulate(total, found.primitive, f"({element})")
                name = text.names[found.buffer]
                text.add(f"{name}[{index}] = {stored('total', total.dtype)}")
                text.add("j += cuda.gridsize(1)")
            turns = nest.turns(columns) if nest.kind == "column" else found.buffer.size
            self.made.append(("finish", text, turns))

    def _last(self) -> None:
        nest, text = self.nest, self._text()
        for total in nest.totals:
            text.first(total.var, text.value(total.first))
            text.add("g = cuda.threadIdx.x")
            with text.inside("while g < blocks:"):
                element = loaded(f"{self.parts[id(total)]}[g]", total.var.dtype)
                text.accumulate(total.var, total.primitive, f"({element})")
                text.add("g += cuda.blockDim.x")
            name, short = text.names[total.var], total.var.dtype.short
            text.add(f"{name} = group_{total.primitive}_{short}({name}, cuda.blockDim.x)")
        totals = {t.var for t in nest.totals}
        with text.inside("if cuda.threadIdx.x == 0:"):
            if self.fails:
                text.add("failed = i64(0)")
            before = (s for s in nest.before if not isinstance(s, Fail))  # reported by the others
            text.plain([s for s in (*before, *nest.after) if not _declares(s, totals)])
            self._report(text)
        self.made.append(("last", text, 1))


def _declares(stmt: Stmt, variables: Iterable[Var]) -> bool:
    return isinstance(stmt, Declare) and stmt.var in variables


# -- rows ------------------------------------------------------------------------------------------
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


class _Rows:
    """What runs for one row: scalars by every thread of the group, loops shared among them, what is
    written outside of these by the first one. A barrier stands where a thread touches what another
    one has touched."""

    repeats = False  # whether several groups run a row

    def __init__(self, kernels: _Kernels, text: _Text, active: str, writes: str) -> None:
        self.kernels, self.text, self.active, self.writes = kernels, text, active, writes
        self.nest = kernels.nest
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
        self.kernels.across.append(nest.turns(loops))
        own = {s.var for s in statements(body) if isinstance(s, Declare)}
        changed = {
            s.var: s.primitive
            for s in statements(body)
            if isinstance(s, Accumulate) and s.var not in own and s.var not in self.totals
        }
        active = self.bound(bool(changed))
        text.add("t = lane", f"bound = select({active}, {times(loops)}, i64(0))")
        with text.inside("while t < bound:"):
            text.split("t", loops)
            for stmt in body:
                self.statement(stmt, self.guard(), alone=False)
            text.add("t += width")
        for var, primitive in changed.items():
            name = text.names[var]
            text.add(f"{name} = group_{primitive}_{var.dtype.short}({name}, width)")

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


class _Scatter(_Rows):
    """Every group sees all rows. It adds at the places that it owns: those whose number, or the
    number that was read from data, leaves the group's own when divided by that of groups. What is
    written elsewhere each row's own group writes."""

    repeats = True

    def print(self, body: Sequence[Stmt]) -> None:
        if self.nest.picked is not None:
            super().print(body)
            return
        for stmt in body:
            self.statement(stmt, "mine", alone=False)

    def bound(self, reduces: bool) -> str:
        return "True" if reduces else f"bitwise_or(mine, {self._owns(Affine())})"

    def guard(self) -> str:
        return "mine"

    def _order(self, accesses: Mapping[Buffer, list[_Access]]) -> None:
        return None  # nothing that is written is read, but by the thread that owns it

    def _owns(self, index: Affine) -> str:
        picked = self.nest.picked
        place = self.text.affine(index) if picked is None else self.text.names[picked]
        return f"(remainder({place}, groups) == group)"

    def statement(self, stmt: Stmt, guard: str, alone: bool) -> None:
        if not isinstance(stmt, (Load, Store)) or stmt.buffer not in self.nest.fills:
            super().statement(stmt, guard, alone)
            return
        text, owned = self.text, self._owns(stmt.index)
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
