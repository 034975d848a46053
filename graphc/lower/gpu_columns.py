"""What one thread of a column does: neighbouring columns, several rows at once."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.ir.dim import divide
from graphc.loops.grammar import Buffer, Let, Load, Number, Stmt, Var
from graphc.loops.nest import Nest, Sum
from graphc.lower.gpu_rows import AHEAD, VECTOR, is_even
from graphc.lower.gpu_text import Text


def neighbours(nest: Nest) -> int:
    """How many neighbouring columns a thread takes: as many as are 16 bytes of float32, where all
    that a turn touches of them begins at multiples of so many."""
    if nest.kind != "column" or len(nest.own) != 1:
        return 1
    parts = {id(part) for s in nest.sums for part in s.parts}
    body = [s for s in nest.body if id(s) not in parts]
    whole = divide(nest.turns(nest.own), VECTOR) is not None
    return VECTOR if whole and is_even(nest.own[0].var, body, nest.kernel.sizes) else 1


class Columns:
    """The rows of a thread for its columns. `sums`: a scalar for each sum, by the identity of the
    store that it replaces."""

    def __init__(
        self, nest: Nest, text: Text, sums: Mapping[int, tuple[Var, Sum]], wide: int
    ) -> None:
        self.nest, self.text, self.sums, self.wide = nest, text, sums, wide
        self.dropped = {id(part) for s in nest.sums for part in s.parts}
        self.body = [s for s in nest.body if id(s) not in self.dropped or id(s) in sums]
        self.first = dict(text.names)

    def names_of(self, var: Var) -> list[str]:
        """Of a sum, for each of the columns."""
        return [f"{self.first[var]}_{u}" for u in range(self.wide)]

    def primitive(self, var: Var) -> str:
        return next(found.primitive for other, found in self.sums.values() if other is var)

    def begin(self) -> None:
        """The columns of the thread, and the first values of its sums."""
        text, columns = self.text, self.nest.own
        if self.wide == 1:
            text.split("place", columns)
        for u in range(self.wide):
            if self.wide > 1:
                text.add(f"{self.first[columns[0].var]}_{u} = place * {self.wide} + {u}")
            for var, found in self.sums.values():
                text.names[var] = self.names_of(var)[u]
                text.first(var, text.value(found.first))

    def rows(self) -> None:
        """All rows: several at once as long as there are so many."""
        text = self.text
        count = next((turns for most, turns in AHEAD if len(self.body) <= most), 1)
        for together in dict.fromkeys((count, 1)):
            with text.inside(f"while row < bound - {together - 1} * step:"):
                copies = [self._names(r, u) for r in range(together) for u in range(self.wide)]
                for r in range(together):
                    text.names |= copies[r * self.wide]
                    text.split(f"(row + {r} * step)", self.nest.inner)
                for stmt in self.body:
                    for names in copies:
                        text.names |= names
                        self._statement(stmt)
                text.add(f"row += {together} * step")
        text.names |= self.first

    def _names(self, r: int, u: int) -> dict[Buffer | Var, str]:
        """What is called what in row `r` of those at once and column `u`."""
        own = [s.var for s in self.body if isinstance(s, (Let, Load, Number))]
        names: dict[Buffer | Var, str] = {var: f"{self.first[var]}_{r}_{u}" for var in own}
        names |= {loop.var: f"{self.first[loop.var]}_{r}" for loop in self.nest.inner}
        if self.wide > 1:
            names |= {loop.var: f"{self.first[loop.var]}_{u}" for loop in self.nest.own}
        return names | {var: self.names_of(var)[u] for var, _ in self.sums.values()}

    def _statement(self, stmt: Stmt) -> None:
        if id(stmt) in self.sums:
            var, found = self.sums[id(stmt)]
            self.text.accumulate(var, found.primitive, self.text.value(found.value))
        else:
            self.text.plain([stmt])
