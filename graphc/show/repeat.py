"""Leaves drawn again near their far users.

A weight is read by the forward pass, by its gradient and by its update. Arrows from one mark to
all of them would cross the whole drawing, so a leaf is drawn again, marked as repeated, wherever it
is used far below its first use.
"""

from __future__ import annotations

from dataclasses import replace

from graphc.show.picture import Box, Cluster, Kind, Look, Mark, Picture

FAR = 4  # ranks between two users that get a leaf each
_LEAVES = (Look.INPUT, Look.VARIABLE, Look.CONSTANT)
_FLOW = (Kind.DATA, Kind.REGISTER, Kind.BACKWARD)


def repeat_leaves(picture: Picture) -> None:
    """Change `picture`: further marks for leaves, and their arrows begin there."""
    depths = _depths(picture)
    homes, frames = _homes(picture.whole)
    layers = _layers(picture.whole)
    flowing: dict[int, list[int]] = {}  # leaf -> its arrows, by position
    for position, arrow in enumerate(picture.arrows):
        if arrow.kind in _FLOW and picture.marks[arrow.tail].look in _LEAVES:
            flowing.setdefault(arrow.tail, []).append(position)
    drawn: dict[int, dict[Cluster, int]] = {}  # leaf -> its marks by the frame that they are in
    for leaf, positions in flowing.items():
        source, start, frame = leaf, -1, frames[leaf]
        marks = drawn[leaf] = {frame: leaf}
        in_frame = frame is not picture.whole
        heads = ((p, picture.arrows[p].head) for p in positions)
        # The users in its own frame come first: it stands there for them.
        order = sorted((in_frame and frames[h] is not frame, depths[h], p, h) for p, h in heads)
        for _, depth, position, head in order:
            arrow, other = picture.arrows[position], frames[head]
            left = in_frame and other is not frame
            if left or (start >= 0 and depth - start >= FAR):
                mark, home = picture.marks[leaf], homes[head]
                known = bool(layers[home]) and layers[home] == layers[homes[leaf]]
                lines = mark.lines if known else mark.elsewhere  # its layer's frame is a part of it
                source, start, frame = _again(picture, mark, home, lines), depth, other
                marks.pop(frame, None)
                marks[frame] = source  # at the end: the last one that was drawn
            start = depth if start < 0 else start
            picture.arrows[position] = replace(arrow, tail=source)
    for position, arrow in enumerate(picture.arrows):
        if arrow.kind is Kind.UPDATE:
            head = _where_updated(drawn.get(arrow.head, {}), frames[arrow.tail], arrow.head)
            picture.arrows[position] = replace(arrow, head=head)


def _where_updated(marks: dict[Cluster, int], frame: Cluster, leaf: int) -> int:
    """The mark at which an update arrives that is computed in a frame: that in the frame, else the
    last one."""
    return marks.get(frame, [leaf, *marks.values()][-1])


def _again(picture: Picture, mark: Mark, home: Cluster, lines: tuple[str, ...]) -> int:
    return picture.mark(home, mark.look, *lines, tooltip=mark.tooltip, repeated=True)


def _layers(whole: Cluster) -> dict[Cluster, tuple[str, ...]]:
    """For each cluster the titles of the frames of layers that it is in, its own included."""
    found: dict[Cluster, tuple[str, ...]] = {whole: ()}
    pending = [whole]
    while pending:
        cluster = pending.pop()
        for child in cluster.children:
            title = child.lines[:1] if child.box is Box.LAYER else ()
            found[child] = (*found[cluster], *title)
            pending.append(child)
    return found


def _homes(whole: Cluster) -> tuple[dict[int, Cluster], dict[int, Cluster]]:
    """For each mark the cluster in which its operands may stand, its own or the one around its
    kernel; and the outermost frame that it is in."""
    homes: dict[int, Cluster] = {}
    frames: dict[int, Cluster] = {}
    pending = [(whole, whole, whole)]
    while pending:
        cluster, home, frame = pending.pop()
        homes.update(dict.fromkeys(cluster.marks, home))
        frames.update(dict.fromkeys(cluster.marks, frame))
        for child in cluster.children:
            inner = home if child.box is Box.KERNEL else child
            pending.append((child, inner, inner if frame is whole else frame))
    return homes, frames


def _depths(picture: Picture) -> list[int]:
    """The rank of each mark: below all it depends on; but a chain of operations
    that begins at a leaf stands just above its first user. Arrows of data lead from earlier marks
    to later ones."""
    count = len(picture.marks)
    into: list[list[int]] = [[] for _ in range(count)]
    out: list[list[int]] = [[] for _ in range(count)]
    for arrow in picture.arrows:
        if arrow.kind in _FLOW:
            into[arrow.head].append(arrow.tail)
            out[arrow.tail].append(arrow.head)
    depths = [0] * count
    floating = [False] * count
    for mark in range(count):
        floating[mark] = len(into[mark]) <= 1 and all(floating[t] for t in into[mark])
        depths[mark] = max((depths[t] + 1 for t in into[mark]), default=0)
    for mark in reversed(range(count)):
        if floating[mark] and out[mark]:
            depths[mark] = max(depths[mark], min(depths[h] for h in out[mark]) - 1)
    return depths
