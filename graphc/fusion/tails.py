"""What follows a row's reductions, and is worth a loop of its own.

In a kernel that reduces rows, work on a row's results runs once a row, one number at a time. That
costs little for a division; a sigmoid of each row of a hundred elements takes as long as the row.
In a kernel of its own it runs on a vector of rows, for one store and one load of what it needs.
"""

from __future__ import annotations

from graphc.fusion.group import Group, Groups
from graphc.fusion.region import space_of
from graphc.ir.dim import product, size_hint
from graphc.ir.node import Node
from graphc.machines import Machine


def split_tails(groups: Groups, machine: Machine) -> None:
    """Put the last work on rows, if it is heavy, into groups of its own."""
    for group in dict.fromkeys(groups.of.values()):
        if group.outer and len(group.space) > group.outer and _is_long(group):
            tail = _tail(groups, group)
            if sum(node.op.cost for node in tail) >= machine.scalar_tail:
                groups.split(group, tail)


def _is_long(group: Group) -> bool:
    """Whether there are vectors of rows."""
    return size_hint(product(group.space[: group.outer])) >= 64


def _tail(groups: Groups, group: Group) -> list[Node]:
    """The members that run once a row, or once, and on which none that runs more often depends."""
    members = sorted(group.members, key=groups.position.__getitem__)
    assert group.outer is not None
    needed = {m for m in members if len(space_of(m)) > group.outer}
    for member in reversed(members):
        if member in needed:
            needed.update(t.node for t, _ in groups.reads.of[member])
    return [m for m in members if m not in needed]
