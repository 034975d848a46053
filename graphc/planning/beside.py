"""Memory that is used again only by steps that wait for its last readers anyway.

On a card steps that do not need each other run beside each other. Where one of them is given the
memory of another one's operand, it has to wait for it: the gradient of one weight for the update of
another one, say, which makes the longest chain of steps longer. So a temporary may be kept longer
than it is needed: until all steps behind need, directly or not, those that read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.planning.program import Step, Storage, touched

MOST = 1000  # steps of a program, outside of its loops, for which this is found out


def kept_for_others(
    outer: Sequence[Step], steps: Sequence[Step], lifetimes: Mapping[Storage, tuple[int, int]]
) -> dict[Storage, tuple[int, int]]:
    """Lifetimes, which are places among all `steps`, those inside of the `outer` ones too, as long
    as that."""
    if len(outer) > MOST:
        return dict(lifetimes)
    places = {id(step): place for place, step in enumerate(steps)}
    starts = [places[id(step)] for step in outer]
    users: dict[Storage, int] = {}  # the steps that touch it, as bits
    above: list[int] = []  # of each step those that it needs, however far, as bits
    writers: dict[Storage, int] = {}
    readers: dict[Storage, int] = {}
    ends = [start - 1 for start in [*starts[1:], len(steps)]]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        reads, writes = _storages(steps[start : end + 1])
        needed = 0
        for storage in reads | writes:
            needed |= writers.get(storage, 0)
            users[storage] = users.get(storage, 0) | 1 << number
        for storage in writes:
            needed |= readers.get(storage, 0)
        above.append(_closed(needed, above))
        for storage in writes:
            writers[storage], readers[storage] = 1 << number, 0
        for storage in reads:
            readers[storage] = readers.get(storage, 0) | 1 << number
    return {
        storage: (first, max(last, _last(users[storage], above, ends)))
        for storage, (first, last) in lifetimes.items()
    }


def _storages(steps: Sequence[Step]) -> tuple[set[Storage], set[Storage]]:
    pairs = [touched(step) for step in steps]
    reads = {ref.storage for found, _ in pairs for ref in found}
    return reads, {ref.storage for _, found in pairs for ref in found}


def _closed(needed: int, above: Sequence[int]) -> int:
    """The steps of `needed`, and all that these need."""
    found, rest = needed, needed
    while rest:
        number = rest.bit_length() - 1
        found |= above[number]
        rest &= ~(above[number] | 1 << number)
    return found


def _last(users: int, above: Sequence[int], ends: Sequence[int]) -> int:
    """Where the last step ends that neither is nor needs all of these."""
    for number in range(len(above) - 1, -1, -1):
        if users & ~(above[number] | 1 << number):
            return ends[number]
    return -1
