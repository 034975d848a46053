"""What a card is asked to run for a kernel: launches, their grids, the memory beside their buffers.

A block has 256 threads. How many blocks there are, how many threads share a row and into how many
parts a sum is cut follows from sizes alone, never from the card: so every card gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphc.ir.dim import Size, evaluate, from_ast
from graphc.ir.dtype import BY_SHORT, DType
from graphc.ir.parsing import parse_expression
from graphc.loops.grammar import Kernel

THREADS = 256  # of a block
EACH = 32  # elements of a row that one thread takes, at most, if a block has enough threads
FILLED = 18  # so many bits has the number of threads that are enough for a card
SEGMENT = 8  # neighbours that are read at once, at the least
NEIGHBOURS = 8  # places of a sum side by side, of which a block adds up the parts
WARP = 32  # threads that run together
GROUPS = 1024  # parts of a sum, at the most
ROOM = 1 << 22  # elements of all parts of a sum, or of all rows of scratch memory, about


@dataclass(frozen=True, slots=True)
class Launch:
    """One function for the device. `turns`: what the threads share out; `reads`, `writes`: the
    memory among its parameters that it does not leave alone."""

    name: str
    kind: str
    source: str
    turns: Size
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """Memory that the launches of a kernel need beside its buffers: `size` elements for each
    `group` or `block`."""

    name: str
    dtype: DType
    size: Size
    each: str

    def elements(self, grid: Grid, dims: Mapping[str, int]) -> int:
        return evaluate(self.size, dims) * (grid.groups if self.each == "group" else grid.blocks)


@dataclass(frozen=True, slots=True)
class Grid:
    """The shape of a kernel's main launch: its blocks, the threads of a row (for columns, side by
    side), and how many groups (of a map: threads, of a column: parts) there are; whether a group
    holds its row, if the main launch is for such groups."""

    blocks: int
    width: int
    groups: int
    holds: bool = True

    @property
    def shift(self) -> int:
        return self.width.bit_length() - 1


@dataclass(frozen=True, slots=True)
class Launches:
    """The launches of one kernel, in order. All have the same parameters: the buffers (for a
    private one the `Room` of its name), `sizes` over the program's dims, `shift`, `groups` and
    `blocks` of the grid, the other rooms, and the word of failures if the kernel may fail.

    `across`: the turns of the longest loop inside of a row, or the columns; `each`: elements of a
    thread of a map; `least`: threads of a group, at the least; `held`: elements of a row that each
    thread holds in the main launch, or 0.
    """

    kernel: Kernel | None  # None where it was read from data
    kind: str
    why: str
    launches: tuple[Launch, ...]
    parameters: tuple[str, ...]
    sizes: Mapping[str, Size]
    rooms: tuple[Room, ...]
    across: tuple[Size, ...]
    each: int
    limits: bool  # whether groups are at most as many as parts of sums
    least: int
    held: int = 0

    def facts(self) -> dict[str, Any]:
        """What running the launches needs, as plain data; `read_launches` is the inverse."""
        return {
            "kind": self.kind,
            "launches": [
                [x.name, x.kind, str(x.turns), [*x.reads], [*x.writes]] for x in self.launches
            ],
            "parameters": list(self.parameters),
            "sizes": {name: str(size) for name, size in self.sizes.items()},
            "rooms": [[r.name, r.dtype.short, str(r.size), r.each] for r in self.rooms],
            "across": list(map(str, self.across)),
            "each": self.each,
            "limits": self.limits,
            "least": self.least,
            "held": self.held,
        }

    def chosen(self, aligned: bool, grid: Grid) -> list[Launch]:
        """The launches, in order; `aligned`: all arrays begin at multiples of 16 bytes."""
        plain = next((x for x in self.launches if x.kind == "plain"), None)
        left_out = self.main if plain is not None and not (aligned and grid.holds) else plain
        return [x for x in self.launches if x is not left_out]

    def described(self, dims: Mapping[str, int]) -> str:
        """The launches at given sizes, for people."""
        if self.kind == "serial":
            return "serial, 1 thread"
        grid = self.grid(dims)
        share = {"row": ", {} a row", "column": ", {} of them side by side"}.get(self.kind, "")
        return "; ".join(
            f"{launch.kind}, {self.blocks(launch, grid, dims, THREADS)} x {THREADS} threads"
            + (share.format(grid.width) if launch is self.main else "")
            for launch in self.chosen(True, grid)
        )

    @property
    def source(self) -> str:
        return "\n".join(launch.source for launch in self.launches)

    @property
    def main(self) -> Launch:
        return next(x for x in self.launches if x.kind == self.kind)

    def grid(self, dims: Mapping[str, int], threads: int = THREADS) -> Grid:
        """The grid of the main launch at given sizes, for blocks of so many threads."""
        turns = evaluate(self.main.turns, dims)
        across = max((evaluate(size, dims) for size in self.across), default=1)
        most = GROUPS if self.limits and self.kind != "map" else 1 << 62
        for room in self.rooms:
            if room.each == "group":
                most = min(most, max(8, ROOM // max(1, evaluate(room.size, dims))))
        if self.kind == "serial":
            return Grid(1, 1, 1)
        if self.kind == "column":
            width = _power(min(32, threads, across))
            side = _parts(across, width)
            parts = _clamp(_parts(turns, threads // width * 8), 1, min(256, GROUPS // max(side, 1)))
            return Grid(side * parts, width, parts)
        if self.kind == "map":
            most = min(_parts(most, threads), GROUPS if self.limits else most)
            blocks = _clamp(_parts(turns, threads * self.each), 1, most)
            return Grid(blocks, 1, blocks * threads)
        scatters = self.kind == "scatter"
        least = max(self.least, min(SEGMENT, _power(across)))
        each = 1 if scatters else _clamp(turns * across >> FILLED, 1, EACH)
        width = min(max(_power(_parts(across, each)), least), threads)
        holds = 0 < across <= self.held * threads
        width = across // self.held if holds else width
        groups = threads // width
        blocks = _clamp(_parts(min(turns, most), groups), 1, _parts(most, groups))
        if scatters:  # whose groups are found by bits
            blocks = _power(blocks)
        return Grid(blocks, width, blocks * groups, holds or not self.held)

    def blocks(self, launch: Launch, grid: Grid, dims: Mapping[str, int], threads: int) -> int:
        """How many blocks a launch has."""
        if launch.kind in (self.kind, "plain"):
            return grid.blocks
        if launch.kind == "finish":
            threads = min(threads, NEIGHBOURS)
        return 1 if launch.kind == "last" else _parts(evaluate(launch.turns, dims), threads)


def _parts(size: int, part: int) -> int:
    return -(-size // part)


def _clamp(size: int, least: int, most: int) -> int:
    return max(least, min(size, most))


def _power(size: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(size - 1, 0).bit_length()


def read_size(text: str) -> Size:
    """A size as `str` writes it. Steps between elements are sizes, too, and may be negative."""
    return from_ast(parse_expression(text))


def read_launches(facts: Mapping[str, Any]) -> Launches:
    """The launches that `facts` are of, without their source."""
    return Launches(
        None,
        facts["kind"],
        "",
        tuple(
            Launch(name, kind, "", read_size(turns), tuple(reads), tuple(writes))
            for name, kind, turns, reads, writes in facts["launches"]
        ),
        tuple(facts["parameters"]),
        {name: read_size(size) for name, size in facts["sizes"].items()},
        tuple(Room(n, BY_SHORT[d], read_size(size), each) for n, d, size, each in facts["rooms"]),
        tuple(map(read_size, facts["across"])),
        facts["each"],
        facts["limits"],
        facts["least"],
        facts["held"],
    )
