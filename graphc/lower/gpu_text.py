"""The statements of one launch, as text for `numba.cuda`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from graphc.ir.dim import substitute
from graphc.ir.dtype import DType
from graphc.loops.grammar import (
    Accumulate,
    Affine,
    Buffer,
    Declare,
    For,
    Kernel,
    Stmt,
    Value,
    Var,
)
from graphc.loops.nest import Nest
from graphc.lower.launches import EACH, THREADS
from graphc.lower.numba_source import Printer, size_text

FEW = 128  # numbers that a thread adds up without carrying their rounding errors along


class Text(Printer):
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


def touched(lines: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of memory of which lines read an element, and of which they write one."""
    reads: dict[str, None] = {}
    writes: dict[str, None] = {}
    for line in lines:
        stored = re.match(r" *(\w+)\[", line)
        if stored:
            writes[stored[1]] = None
        elif "atomic" in line:
            writes["failures"] = None
        reads |= dict.fromkeys(re.findall(r"(\w+)\[", line[stored.end() if stored else 0 :]))
    return tuple(reads), tuple(writes)


def times(loops: Sequence[For]) -> str:
    """How many turns loops have, as Python source of an i64."""
    factors = [size_text(loop.extent) for loop in loops]
    factors = [f if re.fullmatch(r"\w+", f) else f"({f})" for f in factors]
    factors = [f"i64({f})" if f.isdigit() else f for f in factors]
    return " * ".join(factors) or "1"


def combined(primitive: str, x: str, y: str, dtype: DType) -> str:
    infix = {"add": "+", "multiply": "*"}.get(primitive) if dtype.is_float else None
    return f"{x} {infix} {y}" if infix else f"{primitive}({x}, {y})"


def long_sums(kernel: Kernel, nest: Nest) -> set[Var]:
    """The scalars to which a thread may add many floats."""
    long: set[Var] = set()
    shared = {id(s) for s in nest.body if isinstance(s, For)} if nest.kind == "row" else set()

    def share(loop: For) -> int:
        """The turns that one thread runs, or more."""
        extent = substitute(loop.extent, kernel.sizes)
        if not isinstance(extent, int):
            return FEW + 1
        return max(EACH, -(-extent // THREADS)) if id(loop) in shared else max(extent, 1)

    def walk(body: Sequence[Stmt], turns: int, declared: Mapping[Var, int]) -> None:
        own = dict(declared)
        for stmt in body:
            if isinstance(stmt, Declare):
                own[stmt.var] = turns
            elif isinstance(stmt, For):
                walk(stmt.body, turns * share(stmt), own)
            elif isinstance(stmt, Accumulate):
                sums = stmt.primitive == "add" and stmt.var.dtype.is_float
                if sums and turns > FEW * own[stmt.var]:
                    long.add(stmt.var)

    walk(kernel.body, 1, {})
    return long
