"""Systems of equations between sizes, and what follows from them.

`solve` finds what all equations of a graph say together: names that are expressions of others, or a
contradiction. What holds only where sizes are 0 counts as one (`conditions.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from graphc.errors import ShapeError
from graphc.ir.conditions import Condition, content, contradiction, never_zero
from graphc.ir.dim import Dim, Size, is_nonnegative, names, substitute


@dataclass(frozen=True)
class Solution:
    """What equations say: names as expressions of the names that are left, and the equations that
    do not follow from others, which the sizes of a call have to satisfy."""

    sizes: Mapping[str, Size] = field(default_factory=dict)
    needed: tuple[Condition, ...] = ()


NOTHING = Solution()


class _Row(NamedTuple):
    """`difference` is 0; that follows from the equations at the positions `sources`."""

    difference: Size
    sources: frozenset[int]


_Pick: TypeAlias = "Callable[[Dim], tuple[str, Size] | None]"


def solve(
    equations: Sequence[Condition],
    order: Sequence[str] = (),
    kept: Collection[str] | None = None,
) -> Solution:
    """The solution of equations between sizes.

    A name is expressed by others where it stands alone (with coefficient 1, nowhere else in the
    equation), and what it is equal to is certainly a size: no coefficient is negative. Later names
    of `order` are expressed by earlier ones, others before all of them, and only names in `kept`
    (by default all) appear in expressions. No name becomes 0 or 1: those are sizes that programs
    treat in another way. What cannot be expressed is only `needed`.

    Errors: `ShapeError` if the equations have no solution. Found are contradictions by
    substitution, by adding equations, by divisibility, by signs and by bounds: all of those between
    equations that are linear with a coefficient 1, but not every one of integer programming.

    >>> from graphc.ir.dim import named
    >>> n, m, k = map(named, "nmk")
    >>> solve([Condition(m, 2 * n), Condition(k, m + 1)], ["n", "m", "k"]).sizes
    {'k': 2*n + 1, 'm': 2*n}
    """
    if not equations:
        return NOTHING
    system = _System(equations, {name: i for i, name in enumerate(order)})
    rows = [_Row(e.left - e.right, frozenset({i})) for i, e in enumerate(equations)]
    rows = system.eliminate(rows, lambda d: system.certain(d, kept))
    sizes = system.resolved()
    needed = tuple(equations[i] for i in sorted(system.used))
    rows = system.eliminate(rows, system.possible)  # from here on, only to find contradictions
    system.combine(rows)
    return Solution(sizes, needed)


class _System:
    """Rows being solved: `found` has the names expressed so far, each by names not found before."""

    def __init__(self, equations: Sequence[Condition], rank: Mapping[str, int]) -> None:
        self.equations, self.rank = equations, rank
        self.found: dict[str, _Row] = {}
        self.used: set[int] = set()  # the equations that did not follow from earlier ones

    def eliminate(self, rows: Iterable[_Row], pick: _Pick) -> list[_Row]:
        """Express what `pick` gives as long as it gives something; the rows that are left."""
        rows, progress = list(rows), True
        while progress:
            progress, rest = False, []
            for row in rows:
                row = self._reduced(row)
                if not isinstance(row.difference, Dim):
                    continue  # 0 = 0
                choice = pick(row.difference)
                if choice is None:
                    rest.append(row)
                    continue
                name, size = choice
                self.found[name] = _Row(size, row.sources)
                self.used |= row.sources
                progress = True
            rows = rest
        self.used |= {i for row in rows for i in row.sources}
        return rows

    def combine(self, rows: Iterable[_Row]) -> None:
        """Rows added to one another until each begins with a monomial of its own (Gauss)."""
        pivots: list[_Row] = []
        for row in rows:
            difference, sources = row
            for pivot in pivots:
                assert isinstance(pivot.difference, Dim)
                monomial, factor = pivot.difference.terms[0]
                here = dict(difference.terms).get(monomial, 0) if isinstance(difference, Dim) else 0
                if here:
                    difference = difference * factor - pivot.difference * here
                    sources |= pivot.sources
            row = self._checked(difference, sources)
            if isinstance(row.difference, Dim):
                pivots.append(row)

    def certain(self, difference: Dim, kept: Collection[str] | None) -> tuple[str, Size] | None:
        """The last name that is an expression of kept names without negative coefficients."""
        for name, size in self._candidates(difference):
            free = kept is None or names(size) <= set(kept)
            if free and size not in (0, 1) and is_nonnegative(size):
                return name, size
        return None

    def possible(self, difference: Dim) -> tuple[str, Size] | None:
        """The last name that is an expression of others at all."""
        return next(iter(self._candidates(difference)), None)

    def _candidates(self, difference: Dim) -> list[tuple[str, Size]]:
        found: list[tuple[str, Size]] = []
        for monomial, coefficient in difference.terms:
            if len(monomial) != 1 or abs(coefficient) != 1:
                continue
            ((name, power),) = monomial
            if not isinstance(name, str) or power != 1:
                continue
            rest = Dim(((monomial, coefficient),)) - difference
            if name not in names(rest):
                found.append((name, rest * coefficient))
        last = len(self.rank)
        return sorted(found, key=lambda c: (self.rank.get(c[0], last), c[0]), reverse=True)

    def _reduced(self, row: _Row) -> _Row:
        """The row with every name that is found replaced."""
        difference, sources = row
        while known := names(difference) & self.found.keys():
            sources = sources.union(*(self.found[name].sources for name in known))
            try:
                difference = substitute(difference, {n: self.found[n].difference for n in known})
            except ZeroDivisionError:
                raise self._contradiction(sources, f"{difference} divides by 0") from None
        return self._checked(difference, sources)

    def _checked(self, difference: Size, sources: frozenset[int]) -> _Row:
        """The row, divided by what divides all of it. Errors: `ShapeError` if it cannot be 0."""
        if never_zero(difference):
            raise self._contradiction(sources, f"{difference} = 0")
        if isinstance(difference, Dim):
            factor, _ = content(difference)
            difference = Dim(tuple((m, c // factor) for m, c in difference.terms))
        return _Row(difference, sources)

    def resolved(self) -> dict[str, Size]:
        """What is found, in names that are not."""
        sizes: dict[str, Size] = {}
        for name, row in reversed(self.found.items()):  # later ones are in the earlier ones
            sizes[name] = substitute(row.difference, sizes)
        return sizes

    def _contradiction(self, sources: frozenset[int], left: str) -> ShapeError:
        return contradiction([self.equations[i] for i in sorted(sources)], f"together {left}")
