"""What calls of a layer leave beside their results: new values of its state, noted until a step
takes them up, and what they add to the loss.

The state of a step that is compiled may be changed by several calls of a layer: each goes on from
what the one before it noted. But a layer may be called for other graphs too, to look at one, say.
So each call is marked by its results, and where the results of some calls lead to the loss, the
others are left out: the value that such a call noted is replaced by the value that it found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

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


class Loss(NamedTuple):
    """What a call adds to the loss; the nodes of its results, and whether it was in training."""

    value: Tensor
    marks: frozenset[Node]
    training: bool


@dataclass
class Call:
    """What a call has noted so far."""

    states: dict[Variable, Note] = field(default_factory=dict)
    losses: list[Tensor] = field(default_factory=list)


class Notes:
    """The notes of one layer since they were last collected."""

    def __init__(self) -> None:
        self._done: list[Note] = []
        self._losses: list[Loss] = []
        self._now = Call()  # that is running
        self._collected = False
        self._of: tuple[Tensor, ...] = ()  # the results that they were collected for

    # -- a call ------------------------------------------------------------------------------------
    def begin(self) -> Call:
        """A call begins; what an outer call of the same layer has noted is handed back."""
        outer, self._now = self._now, Call()
        return outer

    def end(self, outer: Call) -> Call:
        """It ends: what it has noted."""
        noted, self._now = self._now, outer
        return noted

    def mark(self, noted: Call, results: Sequence[Tensor], training: bool) -> None:
        """Keep the notes of a call that gave `results`."""
        marks = frozenset(t.node for t in results)
        if noted.states:
            self._afresh()
            self._done += [note._replace(marks=marks) for note in noted.states.values()]
        self._losses += [Loss(value, marks, training) for value in noted.losses]

    def _afresh(self) -> None:
        if self._collected:
            self._done, self._collected = [], False

    def current(self, state: Variable) -> Tensor:
        """The last value that was noted, or the variable itself."""
        if state in self._now.states:
            return self._now.states[state].value
        kept = [] if self._collected else self._done
        return next((note.value for note in reversed(kept) if note.state is state), state)

    def add(self, state: Variable, value: Tensor) -> None:
        """Note a new value in the call that is running."""
        states = self._now.states
        before = states[state].before if state in states else self.current(state)
        states[state] = Note(state, before, value)

    def add_loss(self, value: Tensor) -> None:
        """Note what the call that is running adds to the loss."""
        self._now.losses.append(value)

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

    @property
    def adds(self) -> bool:
        """Whether a call has added to a loss."""
        return bool(self._losses)

    def losses(self, results: Sequence[Tensor]) -> list[Tensor]:
        """What the calls that lead to `results` add to the loss.

        Errors: `ArgumentError` for a value of what only the steps of a loop have, in training.
        """
        nodes = set(walk(results)) if self._losses else set()
        found = [loss.value for loss in self._losses if not nodes.isdisjoint(_traced(loss.marks))]
        if not found and any(loss.training and _in_loop(loss.value) for loss in self._losses):
            raise ArgumentError(
                "what is added to the loss is known inside of a loop only", op="add_loss",
                where=origin.where(),
                hint="call the layer outside of the loop, or return it as a second result",
            )  # fmt: skip
        return list(dict.fromkeys(map(inlined, found)))

    # -- a call with other values ------------------------------------------------------------------
    def seen(self) -> list[Note | Loss]:
        """All that is noted now."""
        return [*self._done, *self._losses]

    def replace(self, kept: Sequence[Note | Loss], values: Mapping[Tensor, Tensor]) -> None:
        """All that is noted, but for what is `kept`, with tensors replaced."""
        old = set(map(id, kept))
        self._done = [n if id(n) in old else _replaced(n, values) for n in self._done]
        self._losses = [n if id(n) in old else _replaced(n, values) for n in self._losses]


N = TypeVar("N", Note, Loss)


def _replaced(note: N, values: Mapping[Tensor, Tensor]) -> N:
    parts = [note.value, *(node.output(0) for node in note.marks)]
    new = transform(parts, replace=values)
    return note._replace(value=new[0], marks=frozenset(t.node for t in new[1:]))


def _traced(marks: frozenset[Node]) -> frozenset[Node]:
    """The nodes, and what they are in the graph that a trace became a part of."""
    return marks | {inlined(node.output(0)).node for node in marks}


def _in_loop(value: Tensor) -> bool:
    """Whether it is made of what only the steps of a loop have."""
    return any(is_fresh(n) for n in walk([inlined(value)]))


def _belongs(note: Note, nodes: set[Node]) -> bool:
    """Whether the value is made of inputs that a graph of these nodes has."""
    if _in_loop(note.value):
        raise ArgumentError(
            "the new value of a state is known inside of a loop only",
            op=f"variable {note.state.name!r}",
            where=origin.where(),
            hint="call the layer outside of the loop, or set its trainable to False",
        )
    return {n for n in walk([inlined(note.value)]) if Fact.INPUT in n.op.facts} <= nodes


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
