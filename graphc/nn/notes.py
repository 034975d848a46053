"""What training calls of a layer make of its state: new values, noted until a step takes them up.

The state of a step that is compiled may be changed by several calls of a layer: each goes on from
what the one before it noted. But a layer may be called for other graphs too, to look at one, say.
So each call is marked by its results, and where the results of some calls lead to the loss, the
others are left out: the value that such a call noted is replaced by the value that it found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.graph import transform, walk
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.op import Fact
from graphc.ops.closure import inlined, is_fresh


class Note(NamedTuple):
    """The new value of a variable by one call, the value that it went on from, and the nodes of the
    call's results."""

    state: Variable
    before: Tensor
    value: Tensor
    marks: frozenset[Node] = frozenset()


class Notes:
    """The notes of one layer since they were last collected."""

    def __init__(self) -> None:
        self._done: list[Note] = []
        self._now: dict[Variable, Note] = {}  # of the call that is running
        self._collected = False
        self._of: tuple[Tensor, ...] = ()  # the results that they were collected for

    # -- a call ------------------------------------------------------------------------------------
    def begin(self) -> dict[Variable, Note]:
        """A call begins; what an outer call of the same layer has noted is handed back."""
        outer, self._now = self._now, {}
        return outer

    def end(self, outer: dict[Variable, Note]) -> list[Note]:
        """It ends: what it has noted."""
        noted, self._now = list(self._now.values()), outer
        return noted

    def mark(self, noted: list[Note], results: Sequence[Tensor]) -> None:
        """Keep the notes of a call that gave `results`."""
        if noted:
            self._afresh()
            marks = frozenset(t.node for t in results)
            self._done += [note._replace(marks=marks) for note in noted]

    def _afresh(self) -> None:
        if self._collected:
            self._done, self._collected = [], False

    def current(self, state: Variable) -> Tensor:
        """The last value that was noted, or the variable itself."""
        if state in self._now:
            return self._now[state].value
        kept = [] if self._collected else self._done
        return next((note.value for note in reversed(kept) if note.state is state), state)

    def add(self, state: Variable, value: Tensor) -> None:
        """Note a new value in the call that is running."""
        before = self._now[state].before if state in self._now else self.current(state)
        self._now[state] = Note(state, before, value)

    # -- a step ------------------------------------------------------------------------------------
    def collect(self, results: Sequence[Tensor]) -> dict[Variable, Tensor]:
        """The new values by the calls that lead to `results`.

        Where none is seen to, by all that were not collected before: it may be in a loop, whose
        body is a graph of its own. Of these the values of other graphs are left out.
        Errors: `ArgumentError` for a value of what only the steps of a loop have.
        """
        nodes = set(walk(results)) if self._done else set()
        seen = [note for note in self._done if not nodes.isdisjoint(note.marks)]
        if seen:
            self._done = _without(self._done, seen)
        elif results and self._done:
            others = self._collected and list(map(id, self._of)) != list(map(id, results))
            self._done = [] if others else [n for n in self._done if _belongs(n, nodes)]
        self._done = [note._replace(value=inlined(note.value)) for note in self._done]
        self._collected, self._of = True, tuple(results)
        return {note.state: note.value for note in self._done}


def _belongs(note: Note, nodes: set[Node]) -> bool:
    """Whether the value is made of inputs that a graph of these nodes has."""
    inputs = {n for n in walk([inlined(note.value)]) if Fact.INPUT in n.op.facts}
    if any(is_fresh(n) for n in inputs):
        raise ArgumentError(
            "the new value of a state is known inside of a loop only",
            op=f"variable {note.state.name!r}",
            where=origin.where(),
            hint="call the layer outside of the loop, or set its trainable to False",
        )
    return inputs <= nodes


def _without(notes: Sequence[Note], kept: Sequence[Note]) -> list[Note]:
    """The notes of `kept`, as if those calls had been the only ones."""
    if len(kept) == len(notes):
        return list(notes)
    chosen = set(map(id, kept))
    instead: dict[Tensor, Tensor] = {}
    found = []
    for note in notes:
        if id(note) in chosen:
            (value,) = transform([note.value], replace=instead)
            found.append(note._replace(value=value))
        else:
            (value,) = transform([note.before], replace=instead)
        if value is not note.value:
            instead[note.value] = value
    return found
