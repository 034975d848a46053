"""Prints a kernel as the Python source of `numba.cuda` functions, its launches.

What many threads add up is added in one order: lanes of a warp by halves, warps by halves, parts
one after the other. There is no atomic operation but on the word of failures.

    fill      first values of sums in memory
    plain     in place of what loads neighbours at once, where an array does not begin at a multiple
              of 16 bytes
    map, row, column, scatter, serial    the kernel: see `loops/nest.py`
    finish    the parts of sums in memory, added up
    last      the parts of totals, added up by one block; and what follows the loops, by one thread
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.ir.dim import Size, floordiv
from graphc.loops.grammar import (
    Declare,
    Fail,
    For,
    Kernel,
    Load,
    Stmt,
    Store,
    Var,
    may_fail,
    statements,
)
from graphc.loops.nest import Sum, take_apart
from graphc.lower.gpu_columns import Columns, neighbours
from graphc.lower.gpu_rows import VECTOR, Registers, Rows, Scatter, even_sizes, held
from graphc.lower.gpu_text import Text, long_sums, times, touched
from graphc.lower.launches import NEIGHBOURS, WARP, Launch, Launches, Room
from graphc.lower.numba_source import loaded, stored

TOGETHER = 4  # parts of a sum that a thread loads at once
SCANNED = 2  # turns of a scatter that a lane looks at, one behind the other: 64 bits for a warp


def print_launches(kernel: Kernel) -> Launches:
    """The launches of a kernel; equal kernels give equal text."""
    return _Kernels(kernel).launches()


# -- launches --------------------------------------------------------------------------------------
class _Kernels:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.nest = kernel, take_apart(kernel)
        self.long = long_sums(kernel, self.nest)
        self.sizes = dict(kernel.sizes)
        self.rooms: list[Room] = []
        self.parts: dict[int, str] = {}  # the rooms of sums and totals, by the identity of each
        self.fails = may_fail(kernel)
        self.vector = self._is_contiguous()
        self.held, self.wide = held(self.nest), neighbours(self.nest)
        self.across: list[Size] = []
        self.least = 1
        self.made: list[tuple[str, Text, Size]] = []

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
        if self.vector or self.held or self.wide > 1:
            plain = self._text()
            if self.held:
                self._row(plain, 0)
            elif self.vector:
                self._map(plain, vector=False)
            else:
                self._column(plain)
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
            memory = touched(text.lines)
            made.append(Launch(name, what, "\n".join(lines) + "\n", turns, *memory))
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
            self.least,
            self.held,
        )

    def _text(self) -> Text:
        text = Text(self.kernel, self.long)
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
    def _open(self, text: Text) -> None:
        if self.fails:
            text.add("failed = i64(0)")
        text.plain([s for s in self.nest.before if not isinstance(s, Store)])

    def _close(self, text: Text) -> None:
        """The totals of the block, and the failures of the thread."""
        for total in self.nest.totals:
            name, dtype = text.names[total.var], total.var.dtype
            text.add(f"{name} = group_{total.primitive}_{dtype.short}({name}, cuda.blockDim.x)")
            with text.inside("if cuda.threadIdx.x == 0:"):
                text.add(f"{self.parts[id(total)]}[cuda.blockIdx.x] = {stored(name, dtype)}")
        self._report(text)

    def _report(self, text: Text) -> None:
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
    def _map(self, text: Text, vector: bool = True) -> None:
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

    def _serial(self, text: Text) -> None:
        with text.inside("if cuda.grid(1) == 0:"):
            if self.fails:
                text.add("failed = i64(0)")
            text.plain(self.kernel.body)
            self._report(text)

    def _row(self, text: Text, count: int | None = None) -> None:
        nest, count = self.nest, self.held if count is None else count
        given = nest, text, "active", "bitwise_and(active, lane == 0)"
        turn = Registers(*given, count) if count else Rows(*given)
        loops = [(s.var, s.body) for s in nest.body if isinstance(s, For)] if count else []
        for name in even_sizes(nest.kernel, loops):
            text.add(f"{name} = shift_left(shift_right({name}, 2), 2)")
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
            turn.print(nest.body)
            text.add("row0 += groups")
        self.across += turn.across
        self._close(text)

    def _groups(self, text: Text) -> None:
        self._lanes(text)
        text.add("group = shift_right(cuda.grid(1), shift)")

    def _lanes(self, text: Text) -> None:
        text.add("width = shift_left(i64(1), shift)")
        text.add("lane = bitwise_and(cuda.threadIdx.x, width - 1)")

    def _column(self, text: Text) -> None:
        nest, wide = self.nest, self.wide
        columns, count = nest.own, times(nest.own) if nest.own else "i64(1)"
        turns = nest.turns(columns)
        self.across.append(turns if wide == 1 else floordiv(turns, wide))
        for name in even_sizes(nest.kernel, [(columns[0].var, nest.body)] if wide > 1 else []):
            text.add(f"{name} = shift_left(shift_right({name}, 2), 2)")
        self._lanes(text)
        text.add("part = shift_right(cuda.threadIdx.x, shift)")
        text.add("each = shift_right(cuda.blockDim.x, shift)")
        self._open(text)
        text.add(f"count = floor_divide({count}, i64({wide}))" if wide > 1 else f"count = {count}")
        text.add("across = floor_divide(count + width - 1, width)")
        text.add("column = remainder(cuda.blockIdx.x, across) * width + lane")
        text.add("chunk = floor_divide(cuda.blockIdx.x, across)", "active = column < count")
        text.add("place = minimum(column, count - 1)")
        turn = Columns(nest, text, self._registers(text), wide)
        turn.begin()
        text.add("row = chunk * each + part", "step = groups * each")
        text.add(f"bound = select(active, {times(nest.inner)}, i64(0))")
        turn.rows()
        for var in (var for var, _ in turn.sums.values()):
            for name in turn.names_of(var):
                text.add(f"{name} = column_{turn.primitive(var)}_{var.dtype.short}({name}, width)")
        with text.inside("if bitwise_and(active, part == 0):"):
            for var, found in turn.sums.values():
                for u, name in enumerate(turn.names_of(var)):
                    value = stored(name, var.dtype)
                    place = f"chunk * count * {wide} + column * {wide} + {u}"
                    text.add(f"{self.parts[id(found)]}[{place}] = {value}")
        self._close(text)

    def _registers(self, text: Text) -> dict[int, tuple[Var, Sum]]:
        """A scalar for each sum, by the identity of the store that it replaces."""
        found = {}
        for number, total in enumerate(self.nest.sums):
            var = Var(f"sum{number}", total.buffer.dtype)
            text.names[var] = var.name
            if total.primitive == "add" and var.dtype.is_float:
                text.long.add(var)
            found[id(total.parts[2])] = var, total
        return found

    def _scatter(self, text: Text) -> None:
        nest, rows = self.nest, times(self.nest.loops)
        self._groups(text)
        self._open(text)
        turn = Scatter(nest, text, "True", "bitwise_and(mine, lane == 0)")
        picks = turn.picks()
        if not picks:
            text.add("row = i64(0)")
            with text.inside(f"while row < {rows}:"):
                turn.begin()
                turn.print(nest.body)
                text.add("row += 1")
        else:
            self.least = WARP
            text.add(f"warp = minimum(width, i64({WARP}))", "base = i64(0)")
            with text.inside(f"while base < {rows}:"):
                text.add("found = i64(0)")
                with text.inside(f"for u in range({SCANNED}):"):
                    text.add("row = base + u * warp + bitwise_and(lane, warp - 1)")
                    text.add(f"inside = row < {rows}", f"row = minimum(row, {rows} - 1)")
                    turn.begin()
                    text.plain(picks)
                    text.add(f"wanted = bitwise_and(inside, {turn.wants()})")
                    text.add("found = bitwise_or(found, shift_left(ballot(wanted), u * 32))")
                with text.inside("while found != 0:"):
                    text.add("bit = first_bit(found)", "found = bitwise_and(found, found - 1)")
                    text.add("row = base + shift_right(bit, 5) * warp + bitwise_and(bit, 31)")
                    turn.begin()
                    turn.print(nest.body)
                text.add(f"base += {SCANNED} * warp")
        self.across += turn.across
        self._close(text)

    # -- second stages -----------------------------------------------------------------------------
    def _finish(self) -> None:
        """The parts of each place, by threads that are `NEIGHBOURS` apart: each some of them one
        after the other, then by halves."""
        nest = self.nest
        for found in nest.sums:
            text, part = self._text(), self.parts[id(found)]
            columns, index = nest.own, "j"
            size = times(columns) if nest.kind == "column" else self._size(found.buffer.size)
            total = Var("total", found.buffer.dtype)
            text.names[total] = "total"
            if total.dtype.is_float and found.primitive == "add":
                text.long.add(total)
            text.add(f"wide = minimum(cuda.blockDim.x, i64({NEIGHBOURS}))")
            text.add("each = floor_divide(cuda.blockDim.x, wide)")
            text.add("g = floor_divide(cuda.threadIdx.x, wide)")
            text.add("j = cuda.blockIdx.x * wide + remainder(cuda.threadIdx.x, wide)")
            text.add(f"active = bitwise_and(j < {size}, g == 0)", f"j = minimum(j, {size} - 1)")
            text.first(total, text.value(found.first))
            for together in (TOGETHER, 1):
                with text.inside(f"while g < groups - {together - 1} * each:"):
                    for k in range(together):
                        place = f"(g + {k} * each) * {size} + j"
                        text.add(f"part_{k} = {loaded(f'{part}[{place}]', total.dtype)}")
                    for k in range(together):
                        text.accumulate(total, found.primitive, f"part_{k}")
                    text.add(f"g += {together} * each")
            text.add(f"total = column_{found.primitive}_{total.dtype.short}(total, wide)")
            with text.inside("if active:"):
                if nest.kind == "column":
                    text.split("j", columns)
                    index = text.affine(found.index)
                name = text.names[found.buffer]
                text.add(f"{name}[{index}] = {stored('total', total.dtype)}")
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
