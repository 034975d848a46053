"""Parts of a large picture that come again and again are drawn once, whatever they are called.

A run is what a loop of the user's Python makes: of the marks in the order of their making, each
copy has the same ones, and they read in it, and in the copy before it, what those of the other
copies do. A dashed arrow leads from what a copy gives to where the next one reads it. Parts side by
side read the same and are read by the same: nothing else in the picture tells them apart. Either
gets a frame that says how many there are; a number that is not the same in all is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from graphc.show.equal import all_marks, in_common, reads, titles, without_numbers
from graphc.show.picture import Arrow, Box, Cluster, Kind, Picture

LEAST = 3  # copies that become one
SAVED = 6  # marks that this has to save
_ROUNDS = 4
_SWEEPS = 12
_PERIODS = 8  # that are tried, of those that words say
_NEARLY = 0.9  # of the most that a run saves
_FLOW = (Kind.DATA, Kind.REGISTER, Kind.BACKWARD)


def join_parts(picture: Picture) -> None:
    """Change `picture`: marks that go are in no cluster and have no arrows any more."""
    for _ in range(_ROUNDS):
        arrows = len(picture.arrows)
        _all_runs(picture)
        _side_by_side(picture)
        while _join_twins(picture, picture.whole):
            pass
        if len(picture.arrows) == arrows:
            return


def _together(
    picture: Picture, cluster: Cluster, groups: Mapping[int, Sequence[int]], word: str
) -> None:
    """Each mark stands for its group; a frame in `cluster` holds them, with how many and `word`."""
    count = len(next(iter(groups.values())))
    for mark, group in groups.items():
        lines = in_common([picture.marks[m].lines for m in group])
        picture.marks[mark] = replace(picture.marks[mark], lines=lines)
    gone = {m for group in groups.values() for m in group}
    title = f"{count} {word}"
    if len(groups) == 1:
        (mark,) = groups
        alone = picture.marks[mark]
        picture.marks[mark] = replace(alone, lines=(title, *alone.lines))
        gone.remove(mark)
        frame = cluster
    else:
        frame = cluster.add(Box.PART, title)
        frame.marks = [m for m in cluster.marks if m in groups]
    cluster.marks = [m for m in cluster.marks if m not in gone]
    moved = [c for c in cluster.children if c is not frame and not gone.isdisjoint(all_marks(c))]
    cluster.children = [c for c in cluster.children if c not in moved]
    frame.children += [c for c in moved if not groups.keys().isdisjoint(all_marks(c))]


# -- runs ------------------------------------------------------------------------------------------
class _Item(NamedTuple):
    """What a cluster holds, in the order of its making: a mark, or a cluster with its marks."""

    marks: tuple[int, ...]
    cluster: Cluster | None = None


class _Run(NamedTuple):
    start: int  # the first item
    period: int  # the number of items of a copy
    copies: int
    saved: int  # marks


class _Alike(NamedTuple):
    """Of two items that read the same: the last item that both have an arrow from, and the last
    that only the first one has where the second has it from elsewhere; -1 for none."""

    shared: int
    entered: int


def _all_runs(picture: Picture) -> None:
    pending = [picture.whole]
    while pending:
        cluster = pending.pop()
        while _has_many(cluster) and _Series(picture, cluster).join_best_run():
            pass
        pending += cluster.children


def _has_many(cluster: Cluster) -> bool:
    """Whether there may be copies in it."""
    return len(cluster.marks) + len(cluster.children) >= LEAST


def _join_twins(picture: Picture, cluster: Cluster) -> bool:
    """Items that read the same, with the same arrows to them, become one: each was for a copy of
    what has become one. So parts that read them in another order are copies of each other.
    Whether there were any."""
    series = _Series(picture, cluster)
    found: dict[object, list[_Item]] = {}
    for i, (item, word) in enumerate(zip(series.items, series.words, strict=True)):
        arrows = tuple(
            (k, a.tail if at != i else -1 - place, a.text, a.kind)
            for k, a in series.into[i]
            for at, place in [series.places.get(a.tail, (-1, 0))]
        )
        if arrows:
            found.setdefault((word, arrows), []).append(item)
    many = [items for items in found.values() if len(items) >= LEAST]
    became: dict[int, int] = {}
    for items in many:
        groups = {group[0]: group for group in zip(*(i.marks for i in items), strict=True)}
        _together(picture, cluster, groups, "side by side")
        became |= {m: mark for mark, group in groups.items() for m in group}
    _redirect(picture, became)
    return bool(many)


class _Series:
    """The items of a cluster, what they read as, and where their arrows come from."""

    def __init__(self, picture: Picture, cluster: Cluster) -> None:
        self._picture, self._cluster = picture, cluster
        items = [_Item((mark,)) for mark in cluster.marks]
        items += [_Item(tuple(all_marks(c)), c) for c in cluster.children if c.box is not Box.LANE]
        self.items = items = sorted((i for i in items if i.marks), key=lambda i: min(i.marks))
        known: dict[object, int] = {}
        self.words = [known.setdefault(self._word(item), len(known)) for item in items]
        self.places = {m: (i, k) for i, item in enumerate(items) for k, m in enumerate(item.marks)}
        into = _arrows(picture)[0]
        self.into = [
            [(k, arrow) for k, mark in enumerate(item.marks) for arrow in into.get(mark, ())]
            for item in items
        ]

    def _word(self, item: _Item) -> object:
        inside = tuple(reads(self._picture.marks[m]) for m in item.marks)
        if item.cluster is None:
            return inside
        return item.cluster.box, tuple(map(without_numbers, titles(item.cluster))), inside

    def join_best_run(self) -> bool:
        """The smallest copies of those runs that save nearly the most become one. Whether there was
        a run."""
        runs = [run for period in self._periods() for run in self._runs(period)]
        most = max((run.saved for run in runs), default=0)
        for run in sorted(runs, key=lambda r: (r.saved < _NEARLY * most, r.period, r.start)):
            if self._join(run):
                return True
        return False

    def _periods(self) -> list[int]:
        """How far from each other the same words come again, as far as that is seen often."""
        found: Counter[int] = Counter()
        for length in (1, 4, 16):
            gaps: Counter[int] = Counter()
            last: dict[tuple[int, ...], int] = {}
            for i in range(len(self.items) - length + 1):
                words = tuple(self.words[i : i + length])
                if words in last:
                    gaps[i - last[words]] += 1
                last[words] = i
            found.update(dict(gaps.most_common(_PERIODS)))
        return sorted(p for p, _ in found.most_common(_PERIODS) if p * LEAST <= len(self.items))

    def _runs(self, period: int) -> Iterator[_Run]:
        """The runs of copies of `period` items that save enough."""
        start, behind = 0, len(self.items) - period
        for i in range(behind + 1):
            alike = self._alike(i, period) if i < behind else None
            if alike is not None and alike.entered < 0:
                start = max(start, alike.shared + 1)
                continue
            if i - start >= period:
                first = self._entry(start, period)
                copies = (i + period - first) // period
                size = sum(len(item.marks) for item in self.items[first : first + period])
                if copies >= LEAST and (copies - 1) * size >= SAVED:
                    yield _Run(first, period, copies, (copies - 1) * size)
            start = i + 1

    def _entry(self, start: int, period: int) -> int:
        """Where the copy before `start` begins: it may have from outside of the run what the others
        have from the copy before them."""
        first, low = start, -1
        while first > max(0, start - period):
            alike = self._alike(first - 1, period)
            low = max(low, *alike) if alike is not None else first
            if low >= first - 1:
                break
            first -= 1
        return first

    def _alike(self, i: int, period: int) -> _Alike | None:
        """How item `i` and the one a period behind it are alike, if they are."""
        if self.words[i] != self.words[i + period]:
            return None
        one, other = self.into[i], self.into[i + period]
        if len(one) != len(other):
            return None
        shared = entered = -1
        for (mark, a), (its, b) in zip(one, other, strict=True):
            if (mark, a.text, a.kind) != (its, b.text, b.kind):
                return None
            at, place = self.places.get(a.tail, (-1, 0))
            then, there = self.places.get(b.tail, (-1, 0))
            if a.tail == b.tail:
                shared = max(shared, at)
            elif then < 0:
                return None
            elif at < 0 or (then - at, there) != (period, place):
                entered = max(entered, at, 0)
        return _Alike(shared, entered)

    def _join(self, run: _Run) -> bool:
        """One copy is kept, if an arrow leads from copy to copy: else they are side by side."""
        copies = [
            [m for i in range(begin, begin + run.period) for m in self.items[i].marks]
            for begin in range(run.start, run.start + run.copies * run.period, run.period)
        ]
        copy_of = {mark: k for k, copy in enumerate(copies) for mark in copy}
        became = {m: kept for copy in copies for m, kept in zip(copy, copies[0], strict=True)}

        def to_the_next(arrow: Arrow) -> bool:
            tail, head = copy_of.get(arrow.tail, -1), copy_of.get(arrow.head, -1)
            return arrow.kind in _FLOW and -1 < tail < head

        arrows = [replace(a, kind=Kind.NEXT) if to_the_next(a) else a for a in self._picture.arrows]
        if arrows == self._picture.arrows:
            return False
        self._picture.arrows[:] = arrows
        groups = dict(zip(copies[0], zip(*copies, strict=True), strict=True))
        _together(self._picture, self._cluster, groups, "one after another")
        _redirect(self._picture, became)
        return True


# -- side by side ----------------------------------------------------------------------------------
def _side_by_side(picture: Picture) -> None:
    clusters = _clusters(picture)
    groups: dict[int, list[int]] = {}
    for mark, colour in _colours(picture, clusters).items():
        groups.setdefault(colour, []).append(mark)
    many = {group[0]: group for group in groups.values() if len(group) >= LEAST}
    became: dict[int, int] = {}
    for part in _connected(picture, many, clusters):
        if (len(many[part[0]]) - 1) * len(part) < SAVED:
            continue
        became |= {m: mark for mark in part for m in many[mark]}
        _together(picture, clusters[part[0]], {m: many[m] for m in part}, "side by side")
    if became:
        _redirect(picture, became)


def _clusters(picture: Picture) -> dict[int, Cluster]:
    """The cluster that each mark is in, in the order of the marks."""
    found: dict[int, Cluster] = {}
    pending = [picture.whole]
    while pending:
        cluster = pending.pop()
        found.update(dict.fromkeys(cluster.marks, cluster))
        pending += cluster.children
    return dict(sorted(found.items()))


def _colours(picture: Picture, clusters: Mapping[int, Cluster]) -> dict[int, int]:
    """The same number for marks that read the same, with arrows from and to marks of the same
    numbers: refined by turns, forwards and backwards, until nothing changes."""
    into, out = _arrows(picture)
    known: dict[object, int] = {}
    words = ((m, (id(clusters[m]), reads(picture.marks[m]))) for m in clusters)
    colours = {m: known.setdefault(word, len(known)) for m, word in words}
    count = 0
    for _ in range(_SWEEPS):
        for mark in colours:
            tails = tuple((colours[a.tail], a.text, a.kind) for a in into.get(mark, ()))
            colours[mark] = known.setdefault((colours[mark], tails), len(known))
        for mark in reversed(colours):
            heads = frozenset((colours[a.head], a.text, a.kind) for a in out.get(mark, ()))
            colours[mark] = known.setdefault((colours[mark], heads), len(known))
        before, count = count, len(set(colours.values()))
        if count == before:
            return colours
    return {m: m for m in colours}


def _connected(
    picture: Picture, many: Mapping[int, Sequence[int]], clusters: Mapping[int, Cluster]
) -> list[list[int]]:
    """Marks of `many` that stand for equally many in the same cluster, and that arrows connect."""
    root = {m: m for m in many}

    def find(mark: int) -> int:
        while root[mark] != mark:
            root[mark] = mark = root[root[mark]]
        return mark

    for arrow in picture.arrows:
        a, b = arrow.tail, arrow.head
        known = a in many and b in many and arrow.kind in _FLOW
        if known and len(many[a]) == len(many[b]) and clusters[a] is clusters[b]:
            root[find(b)] = find(a)
    found: dict[int, list[int]] = {}
    for mark in many:
        found.setdefault(find(mark), []).append(mark)
    return list(found.values())


# -- arrows ----------------------------------------------------------------------------------------
def _arrows(picture: Picture) -> tuple[dict[int, list[Arrow]], dict[int, list[Arrow]]]:
    """The arrows to each mark, and those from it."""
    into: dict[int, list[Arrow]] = {}
    out: dict[int, list[Arrow]] = {}
    for arrow in picture.arrows:
        if arrow.kind in _FLOW:
            into.setdefault(arrow.head, []).append(arrow)
            out.setdefault(arrow.tail, []).append(arrow)
    return into, out


def _redirect(picture: Picture, became: Mapping[int, int]) -> None:
    """Arrows begin and end at what is kept, each once."""
    picture.arrows[:] = dict.fromkeys(
        replace(a, tail=became.get(a.tail, a.tail), head=became.get(a.head, a.head))
        for a in picture.arrows
    )
