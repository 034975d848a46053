"""A graph whose vertices may be joined as long as no cycle arises.

The vertices stay in a topological order. Joining two makes a cycle only if a path leads from one
through a third to the other; it can only run between their places in the order, and is looked for
from both ends at once, so that the side with less to see decides what it costs. What that side saw
then moves past the joined vertex (after Pearce and Kelly, 2006, "A dynamic topological sort
algorithm for directed acyclic graphs"). Places are labels with gaps, in a linked list.
"""

from __future__ import annotations

from collections.abc import Iterable

GAP = 1 << 40  # between the labels of neighbours, at first
SIGHT = 2000  # vertices looked at, at the most, before two are left apart


class Vertex:
    """A vertex of the quotient: one or more joined ones."""

    __slots__ = ("after", "before", "joined", "label", "operands", "users")

    def __init__(self) -> None:
        self.operands: dict[Vertex, None] = {}
        self.users: dict[Vertex, None] = {}
        self.label = 0
        self.before: Vertex | None = None  # its neighbours in the order
        self.after: Vertex | None = None
        self.joined: Vertex | None = None  # what it was joined with, once it is

    def use(self, operand: Vertex) -> None:
        """Note an edge."""
        self.operands[operand] = None
        operand.users[self] = None


def current(vertex: Vertex) -> Vertex:
    """The vertex that stands for `vertex` by now."""
    while vertex.joined is not None:
        if vertex.joined.joined is not None:
            vertex.joined = vertex.joined.joined
        vertex = vertex.joined
    return vertex


def _current(vertices: dict[Vertex, None]) -> dict[Vertex, None]:
    return dict.fromkeys([v if v.joined is None else current(v) for v in vertices])


def put_in_order(vertices: Iterable[Vertex]) -> None:
    """Give the vertices, which come operands first, their first places."""
    last: Vertex | None = None
    for vertex in vertices:
        vertex.before = last
        vertex.label = GAP if last is None else last.label + GAP
        if last is not None:
            last.after = vertex
        last = vertex


def join(kept: Vertex, gone: Vertex) -> bool:
    """Join two vertices into `kept`, unless that makes a cycle, or might."""
    first, last = (kept, gone) if kept.label < gone.label else (gone, kept)
    seen = _between(first, last)
    if seen is None:
        return False
    moved, after = seen
    for vertex in moved:
        _take_out(vertex)
    place = last if after else first
    if kept is not place:
        _take_out(kept)
        _put([kept], place, place.after)
    _take_out(gone)
    if after:
        _put(moved, kept, kept.after)
    else:
        _put(moved, kept.before, kept)
    gone.joined = kept
    kept.operands = _united(kept.operands, gone.operands)
    kept.users = _united(kept.users, gone.users)
    return True


def _between(first: Vertex, last: Vertex) -> tuple[list[Vertex], bool] | None:
    """What must move past the two, in order, and whether it is what comes after `first` (else what
    comes before `last`); None if a path leads from one through others to the other."""
    below: dict[Vertex, None] = {first: None}
    above: dict[Vertex, None] = {last: None}
    downwards, upwards = [first], [last]
    while downwards and upwards:
        vertex = downwards.pop()
        vertex.users = _current(vertex.users)
        for user in vertex.users:
            if user is last and vertex is first:
                continue
            if user in above:
                return None
            if user.label < last.label and user not in below:
                below[user] = None
                downwards.append(user)
        vertex = upwards.pop()
        vertex.operands = _current(vertex.operands)
        for operand in vertex.operands:
            if operand is first and vertex is last:
                continue
            if operand in below:
                return None
            if operand.label > first.label and operand not in above:
                above[operand] = None
                upwards.append(operand)
        if len(below) + len(above) > SIGHT:
            return None
    after = not downwards
    seen = [v for v in (below if after else above) if v is not first and v is not last]
    return sorted(seen, key=lambda v: v.label), after


# -- the order, a linked list ----------------------------------------------------------------------
def _take_out(vertex: Vertex) -> None:
    if vertex.before is not None:
        vertex.before.after = vertex.after
    if vertex.after is not None:
        vertex.after.before = vertex.before


def _put(vertices: list[Vertex], before: Vertex | None, after: Vertex | None) -> None:
    """Put vertices between two neighbours, of which one exists."""
    low = before.label if before is not None else _label(after) - GAP * (len(vertices) + 1)
    high = after.label if after is not None else _label(before) + GAP * (len(vertices) + 1)
    step = (high - low) // (len(vertices) + 1)
    for count, vertex in enumerate(vertices, 1):
        vertex.label = low + count * step
        vertex.before = before
        if before is not None:
            before.after = vertex
        before = vertex
    if before is not None:
        before.after = after
    if after is not None:
        after.before = before
    if step == 0 and before is not None:
        _relabel(before)


def _label(vertex: Vertex | None) -> int:
    return 0 if vertex is None else vertex.label


def _relabel(vertex: Vertex) -> None:
    """Even gaps again, where some had closed."""
    while vertex.before is not None:
        vertex = vertex.before
    label, following = 0, vertex
    while True:
        following.label = label
        if following.after is None:
            return
        label, following = label + GAP, following.after


def _united(some: dict[Vertex, None], others: dict[Vertex, None]) -> dict[Vertex, None]:
    if len(some) < len(others):
        some, others = others, some
    some.update(others)
    return some
