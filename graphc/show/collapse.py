"""Layers that are equal are drawn once, with their number, where a picture would be too large.

Frames beside each other are equal if their marks read the same, in the same order, with the same
arrows between them, but for the numbers in the layers' own names; so are boxes of layers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from graphc.show.picture import Arrow, Box, Cluster, Kind, Look, Picture

FEW = 60  # marks up to which everything is drawn
LEAST = 3  # equal layers that become one

_FRAMES = (Box.LAYER,)
_Signature = tuple[object, ...]


def collapse(picture: Picture) -> None:
    """Change `picture`: of equal layers the first is kept, and says how many there are."""
    if len(picture.marks) <= FEW:
        return
    places = {mark: i for i, mark in enumerate(_all_marks(picture.whole))}
    inside: dict[int, list[Arrow]] = {}
    for arrow in picture.arrows:
        inside.setdefault(arrow.tail, []).append(arrow)
    became: dict[int, int] = {}  # a mark that goes -> the one that stands for it
    group_of: dict[int, tuple[int, int]] = {}  # a mark -> its group, and which member it is in
    groups = count()
    pending = [picture.whole]
    while pending:
        cluster = pending.pop()
        _collapse_frames(cluster, picture, inside, places, became, group_of, groups)
        _collapse_boxes(cluster, picture, became, group_of, groups)
        pending += cluster.children
    if became:
        _redirect(picture, became, group_of)
        _renumber(picture)


def _collapse_frames(
    cluster: Cluster,
    picture: Picture,
    inside: dict[int, list[Arrow]],
    places: dict[int, int],
    became: dict[int, int],
    group_of: dict[int, tuple[int, int]],
    groups: count[int],
) -> None:
    equal: dict[_Signature, list[Cluster]] = {}
    for child in cluster.children:
        if child.box in _FRAMES:
            equal.setdefault(_signature(child, picture, inside), []).append(child)
    for members in equal.values():
        if len(members) < LEAST:
            continue
        first, last = members[0], members[-1]
        first.lines = (_several(first.lines[0], last.lines[0], len(members)), *first.lines[1:])
        kept, group = _all_marks(first), next(groups)
        for number, member in enumerate(members):
            for mark, stays in zip(_all_marks(member), kept, strict=True):
                group_of[mark] = group, number
                if mark != stays:
                    became[mark] = stays
        gone = set(map(id, members[1:]))
        cluster.children = [c for c in cluster.children if id(c) not in gone]


def _collapse_boxes(
    cluster: Cluster,
    picture: Picture,
    became: dict[int, int],
    group_of: dict[int, tuple[int, int]],
    groups: count[int],
) -> None:
    into: dict[int, set[str]] = {}
    for arrow in picture.arrows:
        if arrow.kind in (Kind.DATA, Kind.BACKWARD):
            into.setdefault(arrow.head, set()).add(arrow.text)
    equal: dict[_Signature, list[int]] = {}
    for number in cluster.marks:
        mark = picture.marks[number]
        if mark.look is Look.LAYER and number not in became:
            key = (_without_numbers(mark.lines[0]), mark.lines[1:], frozenset(into.get(number, ())))
            equal.setdefault(key, []).append(number)
    for members in equal.values():
        if len(members) < LEAST:
            continue
        first, last = picture.marks[members[0]], picture.marks[members[-1]]
        title = _several(first.lines[0], last.lines[0], len(members))
        picture.marks[members[0]] = replace(first, lines=(title, *first.lines[1:]))
        group = next(groups)
        for i, number in enumerate(members):
            group_of[number] = group, i
            if i:
                became[number] = members[0]
        cluster.marks = [m for m in cluster.marks if m not in became]


def _signature(
    cluster: Cluster, picture: Picture, inside: dict[int, list[Arrow]]
) -> _Signature:
    marks = _all_marks(cluster)
    places = {mark: i for i, mark in enumerate(marks)}
    arrows = tuple(
        (places[mark], places.get(arrow.head, -1), arrow.text, arrow.kind)
        for mark in marks
        for arrow in inside.get(mark, ())
        if arrow.head in places
    )
    lines = tuple(
        (picture.marks[m].look, tuple(map(_without_numbers, picture.marks[m].lines)))
        for m in marks
    )
    titles = tuple(_without_numbers(line) for line in _titles(cluster))
    return titles, lines, arrows


def _titles(cluster: Cluster) -> list[str]:
    return [*cluster.lines, *(line for child in cluster.children for line in _titles(child))]


def _all_marks(cluster: Cluster) -> list[int]:
    found, pending = [], [cluster]
    while pending:
        current = pending.pop()
        found += current.marks
        pending += reversed(current.children)
    return found


def _without_numbers(text: str) -> str:
    """The text without the number behind a name: sizes in brackets stay."""
    return re.sub(r"(?<=[A-Za-z_])\d+", "", text)


def _several(first: str, last: str, number: int) -> str:
    return f"{number} × {first} … {last}" if first != last else f"{number} × {first}"


def _redirect(
    picture: Picture, became: dict[int, int], group_of: dict[int, tuple[int, int]]
) -> None:
    """Arrows begin and end at what is kept, each once; none leads from one of the equal layers to
    another."""
    found: dict[tuple[int, int, Kind], Arrow] = {}
    for arrow in picture.arrows:
        tail, head = group_of.get(arrow.tail), group_of.get(arrow.head)
        if tail and head and tail[0] == head[0] and tail[1] != head[1]:
            continue
        moved = replace(
            arrow, tail=became.get(arrow.tail, arrow.tail), head=became.get(arrow.head, arrow.head)
        )
        if moved.tail != moved.head:
            found.setdefault((moved.tail, moved.head, moved.kind), moved)
    picture.arrows[:] = found.values()


def _renumber(picture: Picture) -> None:
    """The marks that are in no frame any more go."""
    kept = sorted(_all_marks(picture.whole))
    new: dict[int, int] = {mark: i for i, mark in enumerate(kept)}
    picture.marks[:] = [picture.marks[m] for m in kept]
    picture.arrows[:] = [
        replace(a, tail=new[a.tail], head=new[a.head])
        for a in picture.arrows
        if a.tail in new and a.head in new
    ]
    pending: Sequence[Cluster] = [picture.whole]
    while pending:
        for cluster in pending:
            cluster.marks = [new[m] for m in cluster.marks]
        pending = [child for cluster in pending for child in cluster.children]
