"""What is equal is drawn once, with its number, where a picture would be too large.

Layers first, by their names. Frames beside each other are equal if their marks read the same, in
the same order, with the same arrows between them, but for numbers; so are boxes of layers. Then
what is repeated without being a layer (`parts.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from graphc.show.equal import all_marks, in_common, reads, renumber, titles, without_numbers
from graphc.show.parts import join_parts
from graphc.show.picture import Arrow, Box, Cluster, Kind, Look, Picture, letter_of

FEW = 60  # marks up to which everything is drawn; a box of a layer counts by its lines
FAN = 12  # equal updates up to which each gradient has its arrow
LEAST = 3  # equal layers that become one

_Signature = tuple[object, ...]


def collapse(picture: Picture) -> None:
    """Change `picture`: of what is equal the first is kept, and says how many there are."""
    made = _Collapse(picture)
    made.updates()
    if sum(len(m.lines) if m.look is Look.LAYER else 1 for m in picture.marks) > FEW:
        made.layers()
    if made.became:
        made.redirect()
        renumber(picture)
    if len(picture.marks) > FEW:
        join_parts(picture)
        renumber(picture)


class _Collapse:
    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.leaving: dict[int, list[Arrow]] = {}
        for arrow in picture.arrows:
            self.leaving.setdefault(arrow.tail, []).append(arrow)
        self.became: dict[int, int] = {}  # a mark that goes -> the one that stands for it
        self.group_of: dict[int, tuple[int, int]] = {}  # a mark -> its group, and its member
        self.groups = count()

    def layers(self) -> None:
        """Equal layers, frames or boxes, become one."""
        pending = [self.picture.whole]
        while pending:
            cluster = pending.pop()
            self._frames(cluster)
            self._boxes(cluster)
            pending += cluster.children

    def updates(self) -> None:
        """Of equal updates of variables one is kept, that of a variable `w`."""
        pending = [self.picture.whole]
        while pending:
            cluster = pending.pop()
            pending += cluster.children
            equal: dict[_Signature, list[Cluster]] = {}
            for child in cluster.children:
                if child.box is Box.UPDATE:
                    equal.setdefault(self._signature(child, sizes=False), []).append(child)
            for members in equal.values():
                if len(members) >= LEAST:
                    self._one_update(cluster, members)

    def _one_update(self, parent: Cluster, members: Sequence[Cluster]) -> None:
        first = members[0]
        titles = [m.lines[0].removeprefix("update ") for m in members]
        first.lines = (f"for each w of {len(members)}:", f"{titles[0]} … {titles[-1]}")
        self._join(parent, members)
        picture, inside = self.picture, set(all_marks(first))
        for mark in inside:
            if picture.marks[mark].look is Look.VARIABLE:
                name = picture.marks[mark].lines[0].rpartition("/")[2]
                picture.marks[mark] = replace(picture.marks[mark], lines=(name,))
        w = picture.mark(first, Look.VARIABLE, "w", repeated=True)
        again: dict[str, int] = {}  # gradients, by what formulas call them: arrows of all of them
        # from lane to lane would hide what is there
        every = set().union(*map(all_marks, members))
        kept: list[Arrow] = []
        for arrow in picture.arrows:
            reads = arrow.head in every and arrow.tail not in every
            writes = arrow.tail in every and arrow.head not in every
            if reads and picture.marks[arrow.tail].look is Look.VARIABLE:
                kept += [replace(arrow, tail=w)] if arrow.head in inside else []
            elif reads and picture.marks[arrow.tail].look is Look.GRADIENT:
                name = picture.marks[arrow.tail].lines[0].partition("/")[0] + "/dw"
                if arrow.head in inside:
                    if name not in again:
                        again[name] = picture.mark(first, Look.GRADIENT, name, repeated=True)
                    kept.append(replace(arrow, tail=again[name], text=letter_of(arrow.text)))
            elif writes and arrow.kind is Kind.UPDATE:
                kept += [replace(arrow, head=w)] if arrow.tail in inside else []
            elif reads and len(members) > FAN and arrow.head not in inside:
                continue
            else:
                kept.append(arrow)
        picture.arrows[:] = [
            replace(a, text=letter_of(a.text)) if a.head in inside else a for a in kept
        ]

    def _frames(self, cluster: Cluster) -> None:
        equal: dict[_Signature, list[Cluster]] = {}
        for child in cluster.children:
            if child.box is Box.LAYER:
                equal.setdefault(self._signature(child), []).append(child)
        for members in equal.values():
            if len(members) >= LEAST:
                title = _several(members[0].lines[0], members[-1].lines[0], len(members))
                members[0].lines = (title, *members[0].lines[1:])
                marks = self.picture.marks
                for first, *others in zip(*map(all_marks, members), strict=True):
                    lines = in_common([marks[m].lines for m in (first, *others)])
                    marks[first] = replace(marks[first], lines=lines)
                self._join(cluster, members)

    def _join(self, parent: Cluster, members: Sequence[Cluster]) -> None:
        """The marks of the first stand for those of the others, which go."""
        kept, group = all_marks(members[0]), next(self.groups)
        for number, member in enumerate(members):
            for mark, stays in zip(all_marks(member), kept, strict=True):
                self.group_of[mark] = group, number
                if mark != stays:
                    self.became[mark] = stays
        gone = set(map(id, members[1:]))
        parent.children = [c for c in parent.children if id(c) not in gone]

    def _boxes(self, cluster: Cluster) -> None:
        """Boxes of layers, at the level "model"."""
        marks = self.picture.marks
        boxes = [m for m in cluster.marks if marks[m].look is Look.LAYER]
        if len(boxes) < LEAST:
            return
        into: dict[int, set[str]] = {}
        for arrow in self.picture.arrows:
            if arrow.kind in (Kind.DATA, Kind.BACKWARD):
                into.setdefault(arrow.head, set()).add(arrow.text)
        equal: dict[_Signature, list[int]] = {}
        for number in boxes:
            mark = marks[number]
            title = without_numbers(mark.lines[0])
            key = (title, mark.lines[1:], frozenset(into.get(number, ())))
            equal.setdefault(key, []).append(number)
        for members in equal.values():
            if len(members) < LEAST:
                continue
            first, last = marks[members[0]], marks[members[-1]]
            title = _several(first.lines[0], last.lines[0], len(members))
            marks[members[0]] = replace(first, lines=(title, *first.lines[1:]))
            group = next(self.groups)
            for i, number in enumerate(members):
                self.group_of[number] = group, i
                if i:
                    self.became[number] = members[0]
            cluster.marks = [m for m in cluster.marks if m not in self.became]

    def _signature(self, cluster: Cluster, sizes: bool = True) -> _Signature:
        """What equal frames share; without `sizes`, tensors may be of different ones."""
        marks = all_marks(cluster)
        places = {mark: i for i, mark in enumerate(marks)}
        arrows = tuple(
            (places[mark], places[arrow.head], arrow.text * sizes, arrow.kind)
            for mark in marks
            for arrow in self.leaving.get(mark, ())
            if arrow.head in places
        )
        shown = [self.picture.marks[m] for m in marks]
        lines = tuple(
            (m.look,) if m.look is Look.VARIABLE and not sizes else reads(m) for m in shown
        )
        return tuple(map(without_numbers, titles(cluster) if sizes else ())), lines, arrows

    def redirect(self) -> None:
        """Arrows begin and end at what is kept, each once; none leads from one of the equal layers
        to another."""
        found: dict[tuple[int, int, Kind], Arrow] = {}
        for arrow in self.picture.arrows:
            tail, head = self.group_of.get(arrow.tail), self.group_of.get(arrow.head)
            if tail and head and tail[0] == head[0] and tail[1] != head[1]:
                continue
            moved = replace(
                arrow,
                tail=self.became.get(arrow.tail, arrow.tail),
                head=self.became.get(arrow.head, arrow.head),
            )
            if moved.tail != moved.head:
                found.setdefault((moved.tail, moved.head, moved.kind), moved)
        self.picture.arrows[:] = found.values()


def _several(first: str, last: str, number: int) -> str:
    return f"{number} × {first} … {last}" if first != last else f"{number} × {first}"

