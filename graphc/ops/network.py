"""Sorts of few elements by a network, several rows at once, one in each lane of vectors.

Which places a network compares and exchanges does not depend on the elements. So rows whose first
elements lie side by side, then their second ones and so on, go through it together, without a
branch: an exchange is the smaller and the larger one of two vectors.

The network is the balanced one of Dowd, Perl, Rudolph and Saks ("The periodic balanced sorting
network", 1989), since it is short as a program. In each of its rounds every place of a block is
compared with the one that is as far from the block's end, first in the whole, then in its halves,
in quarters, down to pairs; of 2^n places n rounds, which are all the same, leave all in order.
Several of these steps are done between a load and a store. What is missing to a power of two is
filled up with codes that go last and stay there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from graphc.ir.dim import Size, floordiv, minimum, total
from graphc.ir.dtype import int64
from graphc.loops.values import Affine, Buffer, of

FEW = 128  # elements that a network sorts, at the most, where there may be fewer rows than lanes
MANY = 1024  # and where all lanes have rows; a quarter with their places
LANES = 8  # rows at once
STEPS = 3  # between a load and a store: on 2 ** STEPS elements

Element: TypeAlias = "tuple[Any, ...]"  # a code, and its place if that is wanted
Give = Callable[[Affine, Affine, Any, Any], None]


class Network:
    """The sort of rows of `size` elements. `keys`: what codes are; `with_places`: whether it is
    wanted where elements were."""

    def __init__(self, k: Any, keys: Any, size: Size, with_places: bool) -> None:
        self.k, self.keys, self.size, self.with_places = k, keys, size, with_places
        self.length = _power_above(size if isinstance(size, int) else FEW)
        self.turned = self.length > LANES  # rows are read and written one after another

        def memory() -> list[Buffer]:
            return [k.scratch(keys.dtype, LANES * self.length) for _ in range(1 + with_places)]

        self.here, self.there = memory(), memory()  # by elements; the other by rows too, if turned

    def sort(self, rows: Size, code: Callable[[Any, Any], Any], write: Give) -> None:
        """Up to `LANES` rows: the codes are those of `code(row, i)`; `write` is told of each place
        of a row which code is there and where it was."""
        k, keys = self.k, self.keys
        memory, at = (self.there, self._in_rows) if self.turned else (self.here, _by_elements)
        with self._elements(rows) as (row, i):
            given = keys.apart(code(row, i), k.cast(i, keys.dtype), self.length)
            k.store(memory[0], at(of(row), of(i)), given)
        if self.turned:
            self._turn(self.there[:1], self._in_rows, self.here, _by_elements)
        self._fill()
        with k.loop(self._rounds()):
            self._round()
        if self.turned:
            self._turn(self.here, _by_elements, self.there, self._in_rows)
        with self._elements(rows) as (row, i):
            found = [k.reload(part, at(of(row), of(i))) for part in memory]
            place = k.cast(found[1], int64) if self.with_places else None
            write(of(row), of(i), keys.joined(found[0], self.length), place)

    # -- memory ------------------------------------------------------------------------------------
    def _in_rows(self, lane: Affine, i: Affine) -> Affine:
        return lane * self.length + i

    @contextmanager
    def _elements(self, rows: Size) -> Iterator[tuple[Any, Any]]:
        """Loops over rows and their elements, in the order in which they are in memory. Of short
        rows there are always as many as lanes: what is read for one that is not there is known to
        `code`, as that it is written again to `write`."""
        k = self.k
        if self.turned:
            with k.loop(rows) as row, k.loop(self.size) as i:
                yield row, i
        else:
            with k.loop(self.size) as i, k.loop(LANES) as row:
                yield row, i

    def _turn(self, source: Any, at: Any, target: Any, to: Any) -> None:
        """Elements of rows side by side become rows, or the other way round. All lanes are in one
        turn, so that it moves whole vectors."""
        k = self.k
        with k.loop(self.size) as i:
            lanes = [Affine((), lane) for lane in range(LANES)]
            for memory, other in zip(source, target, strict=False):
                elements = [k.reload(memory, at(lane, of(i))) for lane in lanes]
                for lane, element in zip(lanes, elements, strict=True):
                    k.store(other, to(lane, of(i)), element)

    def _fill(self) -> None:
        """The codes that go last, and the places."""
        k, keys = self.k, self.keys
        with k.loop(self.length - self.size) as i, k.loop(LANES) as lane:
            k.store(self.here[0], _by_elements(of(lane), of(i) + self.size), keys.every)
        for places in self.here[1:]:
            with k.loop(self.length) as i, k.loop(LANES) as lane:
                k.store(places, _by_elements(of(lane), of(i)), k.cast(i, keys.dtype))

    # -- the network -------------------------------------------------------------------------------
    def _round(self) -> None:
        """All steps, several together. Their results go to other memory and come back, so that it
        is seen that none is where another one is loaded; the last of an odd number stay where they
        are, as distances are the same in all turns there."""
        steps = self.length.bit_length() - 1
        count = -(-steps // STEPS)
        block, source = self.length, self.here
        for number in range(count):
            together = (steps + count - 1 - number) // count
            other = self.there if source is self.here else self.here
            target = self.here if number == count - 1 else other
            self._exchange(block, together, source, target)
            block, source = block >> together, target

    def _exchange(
        self, block: int, steps: int, source: Sequence[Buffer], target: Sequence[Buffer]
    ) -> None:
        """Steps in blocks and in their parts. A turn takes one place of the smallest parts, in
        every other one that is as far from its end."""
        k, part, count = self.k, block >> steps, 1 << steps
        blocks = floordiv(self.size + (block - 1), block)
        with k.loop(blocks) as start, k.loop(part) as turn, k.loop(LANES) as lane:
            turns = of(turn), -of(turn) + (part - 1)
            places = [of(start) * block + turns[j % 2] + j * part for j in range(count)]
            indices = [_by_elements(of(lane), place) for place in places]
            elements = [tuple(k.reload(memory, index) for memory in source) for index in indices]
            for low, high in _mirrored(count):
                elements[low], elements[high] = self._in_order(elements[low], elements[high])
            for index, element in zip(indices, elements, strict=True):
                for memory, value in zip(target, element, strict=True):
                    k.store(memory, index, value)

    def _in_order(self, x: Element, y: Element) -> tuple[Element, Element]:
        """Two elements, the first of them first; equal ones by their places."""
        k = self.k
        smaller, larger = k.minimum(x[0], y[0]), k.maximum(x[0], y[0])
        if not self.with_places:
            return (smaller,), (larger,)
        tie = k.bitwise_and(k.equal(x[0], y[0]), k.less(y[1], x[1]))
        after = k.bitwise_or(k.less(y[0], x[0]), tie)
        return (smaller, k.where(after, y[1], x[1])), (larger, k.where(after, x[1], y[1]))

    def _rounds(self) -> Size:
        """As many as the number of places, if they are a power of two, has bits behind the first:
        there is one for each power that is less than the size."""
        bits = range(self.length.bit_length() - 1)
        return total(minimum(floordiv(self.size, (1 << bit) + 1), 1) for bit in bits)


def most(size: Size, rows: Size, with_places: bool) -> int:
    """Up to how many elements a network is faster than digits, for rows of `size`. For a single
    row, with the places of its elements, it never is: seven lanes of eight have nothing to do
    (argsort of 32 float64 by digits takes 1.7 us less), and its kernel takes most of the time to
    compile."""
    if rows == 1 and with_places:
        return 0
    full = isinstance(size, int) and isinstance(rows, int) and rows >= LANES
    return FEW if not full else MANY // 4 if with_places else MANY


def _by_elements(lane: Affine, i: Affine) -> Affine:
    return i * LANES + lane


def _power_above(size: int) -> int:
    """The least power of two that is not below `size`."""
    return 1 << max(size - 1, 0).bit_length()


def _mirrored(count: int) -> Iterator[tuple[int, int]]:
    """Pairs of places as far from the start and from the end, of `count`, then of each half."""
    block = count
    while block > 1:
        starts = range(0, count, block)
        yield from ((i + j, i + block - 1 - j) for i in starts for j in range(block // 2))
        block //= 2
