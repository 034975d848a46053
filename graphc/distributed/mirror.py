"""Where the newest value of each variable is while workers train: with them, here, or both.

A variable's cell asks before its value is read or written here (`Cell.remote`, as for cards). So
all that reads variables, from `model.state_dict()` to a compiled function, sees what the workers
made, and what is written here reaches them before their next step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from graphc.errors import ArgumentError, ClusterError
from graphc.ir import origin
from graphc.ir.node import Cell, Variable, elsewhere
from graphc.train.batches import Array

Fetch = Callable[[Sequence[int]], list[Array]]


class Mirror:
    """The variables of a training. `fetch` gives the workers' values, by places."""

    def __init__(self, variables: Sequence[Variable], tallies: int, fetch: Fetch) -> None:
        self._cells = [v.cell for v in variables]
        every = range(len(self._cells))
        # Metrics are looked at often, weights are large: each comes home without the other.
        self._kinds = [every[: len(every) - tallies], every[len(every) - tallies :]]
        self._fetch = fetch
        self._away: set[int] = set()  # whose newest value only workers have
        self._here: dict[int, Array] = {}  # of these, what was fetched
        self.changed: set[int] = set()  # whose newest value workers lack
        for cell in self._cells:
            if cell.remote is not None:
                raise ArgumentError(
                    "the variable is on a card, or in another training by workers",
                    op=f"variable {cell.name!r}", where=origin.where(), hint="close that first",
                )  # fmt: skip
        for place, cell in enumerate(self._cells):
            cell.remote = _Part(self, place)
            elsewhere.add(cell)

    def moved(self, places: Iterable[int]) -> None:
        """Workers are about to write these."""
        self._here.clear()
        self._away |= set(places)

    def bring_home(self, place: int) -> None:
        """The array of a cell has the newest value; who calls holds its lock.
        Errors: `ClusterError`, once, if the workers are lost."""
        if place not in self._away:
            return
        if place not in self._here:
            kind = next(kind for kind in self._kinds if place in kind)
            wanted = [i for i in kind if i in self._away]
            try:
                self._here |= dict(zip(wanted, self._fetch(wanted), strict=True))
            except ClusterError:
                self.forget()
                raise
        np.copyto(self._cells[place].array, self._here.pop(place))
        self._away.discard(place)

    def forget(self) -> None:
        """What workers had is lost, and who asked was told so: the values here are the newest."""
        self._away.clear()

    def written_at_home(self, place: int) -> None:
        self._away.discard(place)
        self._here.pop(place, None)
        self.changed.add(place)

    def values(self) -> list[Array]:
        """The newest values of all, as copies."""
        found = []
        for cell in self._cells:
            with cell.lock:
                cell.bring_home()
                found.append(cell.array.copy())
        return found

    def take_changed(self) -> tuple[list[int], list[Array]]:
        """What workers lack, which is handed to them now."""
        places = sorted(self.changed)
        self.changed.clear()
        return places, [self._copy(self._cells[i]) for i in places]

    def _copy(self, cell: Cell) -> Array:
        with cell.lock:
            return cell.array.copy()

    def end(self) -> None:
        """All values come home, if they can, and stay."""
        try:
            self.values()
        finally:
            for cell in self._cells:
                cell.remote = None
                elsewhere.discard(cell)


class _Part:
    """One variable's side of it."""

    def __init__(self, mirror: Mirror, place: int) -> None:
        self._mirror, self._place = mirror, place

    def bring_home(self) -> None:
        self._mirror.bring_home(self._place)

    def written_at_home(self) -> None:
        self._mirror.written_at_home(self._place)
