"""Which marks read the same but for their numbers, and what stands in one that is drawn for many.

Sizes are no such numbers: tensors of different ones are different. Names of what a graph is given
are the same if they are but for the numbers in them, `W1` and `W12`; in operations all numbers are
left out, `× 0.5` and `× 2`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from graphc.show.picture import Cluster, Look, Mark, Picture

UNKNOWN = "…"  # for a number that is not the same in all
_IN_NAMES = re.compile(r"(?<=[A-Za-z_])\d+|(?<=^kernel )\d+")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e-?\d+)?)")
_NAMED = (Look.INPUT, Look.VARIABLE, Look.STEP, Look.LAYER)


def all_marks(cluster: Cluster) -> list[int]:
    """The marks of a cluster and of those inside it."""
    found, pending = [], [cluster]
    while pending:
        current = pending.pop()
        found += current.marks
        pending += reversed(current.children)
    return found


@lru_cache(maxsize=4096)
def without_numbers(text: str) -> str:
    """A name without the numbers in it: sizes in brackets stay."""
    return _IN_NAMES.sub("", text)


def reads(mark: Mark) -> tuple[object, ...]:
    """What equal marks share."""
    if mark.look in _NAMED:
        return (mark.look, *map(without_numbers, mark.lines))
    if mark.look is Look.CONSTANT:  # its values, and its type if it is an array
        return mark.look, mark.lines[1:]
    return (mark.look, *map(_without_any, mark.lines))


@lru_cache(maxsize=4096)
def _without_any(text: str) -> str:
    return _NUMBER.sub(UNKNOWN, text)


def in_common(lines: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The lines of several marks that read the same, without the numbers that differ.

    >>> in_common([("× 0.5", "axis 1"), ("× 2.5", "axis 1")])
    ('× …', 'axis 1')
    """
    return tuple(map(_shared, zip(*lines, strict=True)))


def _shared(texts: Sequence[str]) -> str:
    first = texts[0]
    if all(text == first for text in texts):
        return first
    split = [_NUMBER.split(text) for text in texts]  # texts and numbers in turn
    if any(parts[::2] != split[0][::2] for parts in split):
        return UNKNOWN
    columns = zip(*split, strict=True)
    return "".join(c[0] if all(part == c[0] for part in c) else UNKNOWN for c in columns)


def titles(cluster: Cluster) -> list[str]:
    """Those of a cluster and of all inside it."""
    return [*cluster.lines, *(line for child in cluster.children for line in titles(child))]


def renumber(picture: Picture) -> None:
    """The marks that are in no frame any more go."""
    kept = sorted(all_marks(picture.whole))
    new = {mark: i for i, mark in enumerate(kept)}
    picture.marks[:] = [picture.marks[m] for m in kept]
    picture.arrows[:] = [
        replace(a, tail=new[a.tail], head=new[a.head])
        for a in picture.arrows
        if a.tail in new and a.head in new
    ]
    pending = [picture.whole]
    while pending:
        cluster = pending.pop()
        cluster.marks = [new[m] for m in cluster.marks]
        pending += cluster.children
