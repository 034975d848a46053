"""What a drawing consists of: marks, arrows and nested clusters, before any DOT is written.

    Picture := Mark*, Arrow*, Cluster, note
    Mark    := look, lines of text, tooltip, its cluster
    Arrow   := from mark, to mark, text, kind

All text here is raw: `dot.py` alone escapes it. A mark is known by its position.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from graphc.ir.node import Node


class Look(Enum):
    """What a mark stands for; the value is its text in the legend."""

    INPUT = "input"
    VARIABLE = "variable"
    CONSTANT = "constant"
    STEP = "value of one step"
    LAYER = "layer"
    OP = "operation"
    GRADIENT = "gradient"
    MEMORY_BOUND = "memory decides"
    COMPUTE_BOUND = "arithmetic decides"
    MOST = "a fifth of the time or more"
    SOME = "a twentieth or more"
    LITTLE = "less"
    GONE = "before only"
    NEW = "after only"
    MOVE = "moves elements"
    REDUCE = "reduction"
    CONTRACT = "matrix product"
    HOST = "host call"
    CHOICE = "branch taken"
    BUFFER = "buffer read"
    OUTPUT = "output"


class Kind(Enum):
    """What an arrow stands for; the value is its text in the legend."""

    DATA = "data"
    REGISTER = "inside a kernel"
    BACKWARD = "of the backward pass"  # drawn against the direction of the others
    UPDATE = "update after the call"
    LOOP = "next step of a loop"
    PULL = "new values, before the next step"
    NEXT = "to the next of them"


class Box(Enum):
    """What a cluster stands for."""

    WHOLE = "whole"
    LANE = "lane"
    LAYER = "layer"
    UPDATE = "update of a variable"
    PART = "repeated part"
    KERNEL = "kernel"
    LOOP = "loop"
    BRANCH = "branch"
    PROCESS = "process"


@dataclass(eq=False, slots=True)
class Cluster:
    """Marks drawn inside one frame."""

    box: Box
    lines: tuple[str, ...] = ()
    marks: list[int] = field(default_factory=list)
    children: list[Cluster] = field(default_factory=list)

    def add(self, box: Box, *lines: str) -> Cluster:
        """A new cluster inside this one, titled by `lines`."""
        child = Cluster(box, lines)
        self.children.append(child)
        return child


@dataclass(frozen=True, slots=True)
class Mark:
    look: Look
    lines: tuple[str, ...]
    tooltip: str = ""
    elsewhere: tuple[str, ...] = ()  # the lines of a leaf where it is drawn again
    repeated: bool = False


def letter_of(text: str) -> str:
    """Of the text of an arrow the letter alone, by which an operand is called."""
    letter, colon, _ = text.partition(": ")
    return letter if colon else text if len(text) == 1 and text.isalpha() else ""


@dataclass(frozen=True, slots=True)
class Arrow:
    tail: int
    head: int
    text: str = ""
    kind: Kind = Kind.DATA
    width: float = 0.0  # in points; 0 is the usual one


@dataclass(eq=False, slots=True)
class Picture:
    """`note` stands below the whole; `simple` asks for a layout that is quick rather than fine.
    `kernels` are the regions that are drawn as kernels 1, 2, ..."""

    marks: list[Mark] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    whole: Cluster = field(default_factory=lambda: Cluster(Box.WHOLE))
    note: str = ""
    simple: bool = False
    kernels: list[Node] = field(default_factory=list)

    def mark(
        self,
        cluster: Cluster,
        look: Look,
        *lines: str,
        tooltip: str = "",
        elsewhere: tuple[str, ...] = (),
        repeated: bool = False,
    ) -> int:
        """A new mark in `cluster`, by its position."""
        self.marks.append(Mark(look, lines, tooltip, elsewhere, repeated))
        cluster.marks.append(len(self.marks) - 1)
        return len(self.marks) - 1

    def arrow(self, tail: int, head: int, text: str = "", kind: Kind = Kind.DATA) -> None:
        self.arrows.append(Arrow(tail, head, text, kind))

    def simplify(self) -> None:
        """Ask for a quick layout, and leave nothing at the arrows but letters."""
        self.simple = True
        self.arrows[:] = [replace(a, text=letter_of(a.text)) if a.text else a for a in self.arrows]
