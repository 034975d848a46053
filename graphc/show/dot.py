"""A picture as DOT text.

Node and cluster names are made here (`n0`, `cluster_1`); user text reaches DOT as escaped labels
and tooltips only. Every node has a label written out: the first graph that Graphviz draws in a
process can lose implicit ones. The colours are tints of Okabe and Ito's colour-blind safe set
(https://jfly.uni-koeln.de/color/), and every kind of node also has a shape of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import count, pairwise

import graphviz

from graphc.show.equal import all_marks
from graphc.show.picture import Box, Cluster, Kind, Look, Picture

_FONT = "Helvetica,Arial,DejaVu Sans,sans-serif"
_INK, _PALE = "#222222", "#777777"

# Marks times frames up to which frames take part in one ranking: dot's time for it grows so.
_FINE = 12_000
_SHORT = 16  # characters of an operation that has a variable beside it
_EXACT = 300  # marks up to which the layout is the best that dot finds: it takes minutes for more

_LOOKS: dict[Look, dict[str, str]] = {
    Look.INPUT: {"shape": "ellipse", "fillcolor": "#cfe6f5", "color": "#0072b2"},
    Look.VARIABLE: {"shape": "cylinder", "fillcolor": "#fde9b8", "color": "#b57900"},
    Look.CONSTANT: {"shape": "note", "fillcolor": "#eeeeee", "color": "#777777"},
    Look.STEP: {"shape": "ellipse", "fillcolor": "#fbe3d6", "color": "#b84a00"},
    Look.LAYER: {
        "shape": "box", "style": "rounded,filled", "fillcolor": "#dcebf5", "color": "#0072b2",
        "penwidth": "1.4", "margin": "0.16,0.09",
    },
    Look.OP: {"shape": "box", "style": "rounded,filled", "fillcolor": "#ffffff"},
    Look.GRADIENT: {
        "shape": "box", "style": "rounded,filled", "fillcolor": "#fff3d1", "color": "#b57900",
        "penwidth": "1.8",
    },
    Look.MEMORY_BOUND: {"shape": "box", "fillcolor": "#cfe6f5", "color": "#0072b2"},
    Look.COMPUTE_BOUND: {
        "shape": "hexagon", "margin": "0,0", "fillcolor": "#fbe3d6", "color": "#b84a00",
    },
    Look.MOST: {
        "shape": "box", "fillcolor": "#f7c9ab", "color": "#b84a00", "penwidth": "3.2",
    },
    Look.SOME: {
        "shape": "box", "fillcolor": "#fbe3d6", "color": "#b84a00", "penwidth": "1.8",
    },
    Look.LITTLE: {"shape": "box", "fillcolor": "#ffffff", "penwidth": "0.7"},
    Look.GONE: {
        "shape": "box", "style": "rounded,dashed,filled", "fillcolor": "#fbe3d6",
        "color": "#b84a00",
    },
    Look.NEW: {
        "shape": "box", "style": "rounded,filled", "fillcolor": "#cfe6f5", "color": "#0072b2",
        "penwidth": "2.2",
    },
    Look.MOVE: {
        "shape": "box", "style": "dashed,filled", "fillcolor": "#ffffff",
        "color": "#888888", "fontcolor": "#555555",
    },
    Look.REDUCE: {
        "shape": "invhouse", "margin": "0.02,0", "height": "0.36", "fillcolor": "#d3efe5",
        "color": "#007a58",
    },
    Look.CONTRACT: {
        "shape": "box", "fillcolor": "#bfe0f2", "color": "#004f7d", "penwidth": "1.8",
    },
    Look.HOST: {"shape": "component", "fillcolor": "#f9d9c6", "color": "#b84a00"},
    Look.CHOICE: {"shape": "diamond", "fillcolor": "#f9d9c6", "color": "#b84a00"},
    Look.BUFFER: {
        "shape": "circle", "fillcolor": "#444444", "color": "#444444", "width": "0.07",
        "height": "0.07", "fixedsize": "true",
    },
    Look.OUTPUT: {
        "shape": "ellipse", "fillcolor": "#f3dbe8", "color": "#a3527f", "peripheries": "2",
    },
}  # fmt: skip

_UNSEEN = {"shape": "point", "style": "invis", "width": "0.02", "tooltip": " "}
_PLAIN = (Look.BUFFER,)  # needs no explanation
_REPEATED = {"style": "dashed,filled", "fontcolor": "#555555"}

_KINDS: dict[Kind, dict[str, str]] = {
    Kind.DATA: {},
    Kind.REGISTER: {"color": "#999999", "arrowsize": "0.5", "weight": "8"},
    Kind.BACKWARD: {"dir": "back"},
    Kind.UPDATE: {"style": "dashed", "color": "#b57900", "dir": "back", "weight": "0"},
    Kind.LOOP: {"style": "dashed", "color": "#b84a00", "dir": "back", "weight": "0"},
    Kind.PULL: {"style": "dashed", "color": "#0072b2", "dir": "back", "weight": "0"},
    Kind.NEXT: {"style": "dashed", "color": "#007a58", "dir": "back", "weight": "0"},
}

_RANKED = (Kind.DATA, Kind.REGISTER, Kind.BACKWARD)  # kinds of arrows with a weight

_BOXES: dict[Box, dict[str, str]] = {
    Box.LANE: {"style": "filled", "color": "#dddddd", "fillcolor": "#fbfbfb", "penwidth": "1.2"},
    Box.LAYER: {"style": "rounded,filled", "color": "#bbbbbb", "fillcolor": "#f6f6f6"},
    Box.UPDATE: {"style": "rounded,filled", "color": "#bbbbbb", "fillcolor": "#f6f6f6"},
    Box.PART: {"style": "rounded,filled", "color": "#007a58", "fillcolor": "#f1f8f5"},
    Box.KERNEL: {"style": "rounded,filled", "color": "#5d7f99", "fillcolor": "#edf3f8"},
    Box.LOOP: {"style": "rounded,filled,dashed", "color": "#b84a00", "fillcolor": "#fdf4ee"},
    Box.PROCESS: {"style": "rounded,filled", "color": "#888888", "fillcolor": "#fafafa"},
    Box.BRANCH: {"style": "rounded,filled,dashed", "color": "#b84a00", "fillcolor": "#fdf9f5"},
}


def escaped(text: str) -> str:
    """Text as a DOT label that shows exactly it: no escape, entity or HTML takes effect. Line
    breaks stay; characters that do not print are shown as their escapes."""
    shown = text
    if not text.isprintable():
        shown = "".join(
            c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
        )
    label: str = graphviz.escape(shown.replace("&", "&amp;"))
    return label


def _left(lines: tuple[str, ...]) -> str:
    """Lines that start at the left edge: `\\l` ends each."""
    text: str = graphviz.nohtml("".join(f"{escaped(line)}\\l" for line in lines))
    return text


def to_dot(picture: Picture, direction: str) -> str:
    """The DOT text of `picture`, growing in `direction`: TB, BT, LR or RL."""
    dot = graphviz.Digraph("graphc", comment="drawn by graphc")
    dot.attr("graph", **_graph_attributes(picture, direction))
    dot.attr("node", fontname=_FONT, fontsize="11", fontcolor=_INK, color="#555555",
             style="filled", fillcolor="#ffffff", height="0.28", width="0.4",
             margin="0.1,0.05")  # fmt: skip
    dot.attr("edge", fontname=_FONT, fontsize="8.5", fontcolor=_PALE, color="#555555",
             arrowsize="0.6")  # fmt: skip
    if lanes := _lanes(picture):
        _row(dot, [f"above{place}" for place in lanes])
    _cluster(dot, picture, picture.whole, count())
    if lanes:
        _align_lanes(dot, picture, lanes)
    _hold_frames_together(dot, picture)
    if _is_fine(picture):
        _leaves_beside(dot, picture)
    for arrow in picture.arrows:
        attributes = _KINDS[arrow.kind]
        if arrow.width:
            attributes = attributes | {"penwidth": f"{arrow.width:g}"}
        ends = arrow.tail, arrow.head
        # Drawn from the variable with the head at its tail: dot ranks it like the arrows of data.
        first, last = reversed(ends) if "dir" in attributes else ends
        label = {"label": escaped(f" {arrow.text} ")} if arrow.text else {}
        dot.body.append(f"\tn{first} -> n{last}{_listed(attributes | label)}\n")
    _legend(dot, picture, direction)
    text: str = dot.source
    return text


def _graph_attributes(picture: Picture, direction: str) -> dict[str, str]:
    found = {
        "rankdir": direction,
        "nodesep": "0.22",
        "ranksep": "0.32",
        "fontname": _FONT,
        "fontsize": "10",
        "fontcolor": _PALE,
        "pad": "0.2",
        "tooltip": " ",
        "label": escaped(picture.note),
    }
    if _is_fine(picture):
        found["newrank"] = "true"  # without it an arrow between frames may lead upwards
    if picture.simple:
        found |= {"splines": "line", "nslimit": "0.1", "nslimit1": "5", "mclimit": "0.1"}
    elif len(picture.marks) > _EXACT:
        found |= {"splines": "line", "nslimit": "0.5"}
    if _lanes(picture):
        found["mclimit"] = "2"  # enough tries for one without crossings of what orders lanes
    return found


def _is_fine(picture: Picture) -> bool:
    """Whether frames take part in one ranking."""
    return len(picture.marks) * _frames(picture.whole) <= _FINE


def _frames(cluster: Cluster) -> int:
    """The number of frames, the cluster's own included."""
    return 1 + sum(map(_frames, cluster.children))


def _cluster(
    dot: graphviz.Digraph, picture: Picture, cluster: Cluster, names: Iterator[int]
) -> None:
    """The cluster's marks, then the clusters inside it."""
    for number in cluster.marks:
        mark = picture.marks[number]
        front, back = _look(mark.look, mark.repeated)
        label = _quote_known(escaped("\n".join(mark.lines)))
        tooltip = quoted(escaped(mark.tooltip or " "))
        dot.body.append(f"\tn{number} [label={label}{front} tooltip={tooltip}{back}]\n")
    for place, child in enumerate(cluster.children):
        with dot.subgraph(name=f"cluster_{next(names)}") as inner:
            if child.box is Box.LANE:
                inner.node(f"lane{place}", "", **_UNSEEN)
            inner.attr(
                label=_left(child.lines), labeljust="l", fontsize="9.5", fontcolor="#444444",
                tooltip=" ", margin="7", **_BOXES[child.box],
            )  # fmt: skip
            _cluster(inner, picture, child, names)


@cache
def _look(look: Look, repeated: bool) -> tuple[str, str]:
    """The attributes of a look, as `dot.node` writes them: those whose names come before `tooltip`,
    and those after it."""
    attributes = _LOOKS[look] | (_REPEATED if repeated else {})
    parts = [(name, f" {name}={quoted(attributes[name])}") for name in sorted(attributes)]
    front = "".join(text for name, text in parts if name < "tooltip")
    return front, "".join(text for name, text in parts if name > "tooltip")


def _listed(attributes: dict[str, str]) -> str:
    """Attributes as `dot.edge` writes them, the label first, the others by name; for large
    pictures, without quoting again and again what is the same for many arrows."""
    names = sorted(attributes, key=lambda name: (name != "label", name))
    parts = [f"{n}={_quote_known(attributes[n])}" for n in names]
    return f" [{' '.join(parts)}]" if parts else ""


def quoted(text: str) -> str:
    """Escaped text between quotation marks, if it needs them."""
    made: str = graphviz.quoting.quote(text)
    return made


_quote_known = lru_cache(maxsize=1024, typed=True)(quoted)


def _lanes(picture: Picture) -> list[int]:
    """The places of what stands beside each other in order."""
    places = [i for i, c in enumerate(picture.whole.children) if c.box is Box.LANE]
    return [] if picture.simple or len(places) < 2 else places


def _row(dot: graphviz.Digraph, names: list[str]) -> None:
    """Points not to be seen, beside each other in order."""
    with dot.subgraph() as row:
        row.attr(rank="same")
        for name in names:
            row.node(name, "", **_UNSEEN)
        for first, second in pairwise(names):
            row.edge(first, second, style="invis")


def _align_lanes(dot: graphviz.Digraph, picture: Picture, lanes: list[int]) -> None:
    """Lanes stand beside each other in their order, from one height on. Graphviz keeps the order of
    points of one rank, but not that of clusters: so above and below each lane is a point, with an
    arrow to or from one inside. It begins with what comes first in the text, the points above, and
    has the lanes in order then; to exchange two of them, it would have to let arrows cross."""
    with dot.subgraph() as row:
        row.attr(rank="same")
        for place in lanes:
            row.node(f"lane{place}")
    _row(dot, [f"below{place}" for place in lanes])
    before: set[int] = set()
    for place in lanes:
        inside = set(all_marks(picture.whole.children[place]))
        last = max(inside)
        dot.edge(f"above{place}", f"lane{place}", style="invis")
        flow = [a for a in picture.arrows if a.kind in _RANKED and a.head in inside]
        if before and all(a.tail in inside for a in flow):  # what is not tied stands anywhere
            gradients = [m for m in before if picture.marks[m].look is Look.GRADIENT]
            first = min(inside - {a.head for a in flow}, default=last)
            dot.edge(f"n{max(gradients or before)}", f"n{first}", style="invis")
        before = inside
        dot.edge(f"n{last}", f"below{place}", style="invis", weight="0")


def _hold_frames_together(dot: graphviz.Digraph, picture: Picture) -> None:
    """Marks in one frame that no arrows connect, wherever these go, would be ranked without regard
    to each other, and the frame would reach from one to the other: arrows not to be seen tie them.
    They lead from earlier marks to later ones, as those of data do."""
    root = list(range(len(picture.marks)))

    def find(mark: int) -> int:
        while root[mark] != mark:
            root[mark] = mark = root[root[mark]]
        return mark

    for arrow in picture.arrows:
        if arrow.kind in _RANKED:
            root[find(arrow.tail)] = find(arrow.head)
    for frame in _inside_first(picture.whole):
        last: dict[int, int] = {}  # what is connected -> its last mark here
        for mark in sorted(all_marks(frame)):
            last[find(mark)] = mark
        for first, second in pairwise(sorted(last.values())):
            dot.edge(f"n{first}", f"n{second}", style="invis", minlen="0")
            root[find(first)] = find(second)


def _leaves_beside(dot: graphviz.Digraph, picture: Picture) -> None:
    """A variable that one short operation of its frame reads stands beside it. Above it, it would
    be beside the last operation of the layer before: then frames of layers could not stand one
    below the other, and a network would be drawn as stairs."""
    readers: dict[int, set[int]] = {}
    for arrow in picture.arrows:
        if arrow.kind in _RANKED:
            readers.setdefault(arrow.tail, set()).add(arrow.head)
    taken: set[int] = set()
    for frame in _inside_first(picture.whole):
        for mark in frame.marks:
            head = min(readers.get(mark, ()), default=-1)
            alone = len(readers.get(mark, ())) == 1 and head in frame.marks and head not in taken
            is_variable = picture.marks[mark].look is Look.VARIABLE
            if is_variable and alone and max(map(len, picture.marks[head].lines)) <= _SHORT:
                taken.add(head)
                dot.body.append(f"\t{{ rank=same n{mark} n{head} }}\n")


def _inside_first(whole: Cluster) -> list[Cluster]:
    """The frames in a cluster, those inside others before them."""
    found, pending = list[Cluster](), list(whole.children)
    while pending:
        found.append(pending.pop())
        pending += found[-1].children
    return found[::-1]


def _legend(dot: graphviz.Digraph, picture: Picture, direction: str) -> None:
    """One small node for each look that occurs, and one for each kind of dashed arrow."""
    used = {mark.look for mark in picture.marks}
    entries = [(look.value, _LOOKS[look]) for look in Look if look in used and look not in _PLAIN]
    if any(mark.repeated for mark in picture.marks):
        entries.append(("drawn again", {"shape": "box"} | _REPEATED))
    dashed = {arrow.kind for arrow in picture.arrows}
    with dot.subgraph(name="cluster_legend") as legend:
        legend.attr(label="legend", labeljust="l", fontsize="8", style="rounded",
                    color="#cccccc", tooltip=" ", margin="5")  # fmt: skip
        below = bool(_lanes(picture)) and direction == "TB"  # lanes make it wide enough
        if below or picture.simple or direction in ("LR", "RL"):  # a column takes many long
            legend.attr(rank="same")
        legend.attr("node", fontsize="8", height="0.2", width="0.3", margin="0.06,0.03")
        for i, (text, attributes) in enumerate(entries):
            legend.node(f"k{i}", text, tooltip=" ", **attributes)
            if i:
                legend.edge(f"k{i - 1}", f"k{i}", style="invis")
        last = f"k{len(entries) - 1}"
        for kind in (Kind.UPDATE, Kind.LOOP, Kind.PULL, Kind.NEXT):
            if kind in dashed:
                name = kind.name.lower()
                legend.node(f"k_{name}", "", shape="point", width="0.03", tooltip=" ")
                legend.node(f"k_{name}_text", kind.value, shape="plain", style="", tooltip=" ")
                legend.edge(last, f"k_{name}", style="invis")
                shown = {k: v for k, v in _KINDS[kind].items() if k != "dir"}
                legend.edge(f"k_{name}", f"k_{name}_text", **shown)
                last = f"k_{name}_text"
    if below:
        upwards = {a.head for a in picture.arrows if a.kind is Kind.BACKWARD}
        above = {a.tail for a in picture.arrows if a.kind in (Kind.DATA, Kind.REGISTER)} | upwards
        for mark in sorted(set(all_marks(picture.whole)) - above):
            dot.edge(f"n{mark}", "k0", style="invis", weight="0")
