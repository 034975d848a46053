"""The kernels of sorts: by the digits of keys, from the last to the first, or by a network.

Each element becomes a key, an unsigned number that orders as the elements do. Rows of few elements
are sorted several at once (`network.py`). The elements of others go to their places by one byte of
the key after another, from the lowest on; each pass keeps the order of equals, so that the last one
leaves all in order (Knuth, The Art of Computer Programming, volume 3, 5.2.5). How many keys have
which byte is counted for all passes in one.

The largest few of many are not sorted for: digits of the last of them are found from the first on,
by counting those of the keys that agree with what is known; what goes before it is taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from graphc.ir.dim import Size, floordiv, minimum
from graphc.ir.dtype import BY_SHORT, DType, bool_, int64
from graphc.loops.values import Affine, of
from graphc.ops.network import FEW, LANES, Network, most

DIGIT = 8  # bits
BINS = 1 << DIGIT

Place = Callable[[Affine], tuple[Affine, ...]]
PlaceInTile = Callable[[Affine, Affine], tuple[Affine, ...]]
Turn = Callable[[Any], Any]  # of a turn of a loop


def write_sort(
    k: Any, operands: Sequence[Any], results: Sequence[Any], *, axis: int, descending: bool
) -> None:
    """The kernel that sorts along an axis: results are the elements in order, and where they
    were."""
    (x,) = operands
    keys, write = Keys(k, x.type.dtype, descending), _Writes(k, results)
    shape, with_places = x.type.shape, results[1].wanted
    rows = 1 if x.type.rank == 1 else shape[_across(shape, axis)]
    sort = _Sort(k, keys, shape[axis], with_places, most(shape[axis], rows, with_places))
    if sort.few is not None:
        with _only(k, 1 - sort.many), _tiles(k, shape, axis) as (rows, at):
            sort.few.sort(
                rows,
                lambda row, i: keys.code(x(at(of(row), of(i)))),
                lambda row, i, code, position: write(keys, at(row, i), code, position),
            )
    if sort.many != 0:
        with _only(k, sort.many), _rows(k, shape, axis) as place:
            sort.by_digits(
                lambda i: keys.code(x(place(of(i)))),
                lambda i: i,
                lambda i, code, position: write(keys, place(i), code, position),
            )


def write_topk(
    k: Any,
    operands: Sequence[Any],
    results: Sequence[Any],
    *,
    axis: int,
    count: int,
    largest: bool,
) -> None:
    """The kernel that finds the `count` first of a sort along an axis, and where they were."""
    (x,) = operands
    keys, write = Keys(k, x.type.dtype, descending=largest), _Writes(k, results)
    choice = _Choice(k, keys, x.type.shape[axis], count)
    sort = _Sort(k, keys, count, results[1].wanted, FEW)
    with _rows(k, x.type.shape, axis) as place:
        choice.row(lambda i: keys.code(x(place(of(i)))))
        if sort.few is not None:
            sort.few.sort(
                1,
                lambda row, i: k.reload(choice.chosen, of(i)),
                lambda row, i, code, place_of_it: write(
                    keys, place(i), code, choice.position(place_of_it)
                ),
            )
        else:
            sort.by_digits(
                lambda i: k.reload(choice.chosen, of(i)),
                lambda i: k.reload(choice.places, of(i)),
                lambda i, code, position: write(keys, place(i), code, position),
            )


@contextmanager
def _rows(k: Any, shape: Sequence[Size], axis: int) -> Iterator[Place]:
    """Loops over all axes but one; gives the index of an element along that."""
    with ExitStack() as stack:
        loops = [of(stack.enter_context(k.loop(s))) for a, s in enumerate(shape) if a != axis]
        yield lambda i: (*loops[:axis], i, *loops[axis:])


@contextmanager
def _tiles(k: Any, shape: Sequence[Size], axis: int) -> Iterator[tuple[Size, PlaceInTile]]:
    """Loops over all axes but one, over the longest of them by tiles of `LANES` rows. Gives how
    many rows a tile has at the most, and the index of an element in one of them. A tile that lacks
    rows has the last one again for each of these."""
    if len(shape) == 1:
        yield 1, lambda row, i: (i,)
        return
    across = _across(shape, axis)
    rows = shape[across]
    turns = {a: size for a, size in enumerate(shape) if a != axis}
    turns[across] = floordiv(rows + (LANES - 1), LANES)
    with ExitStack() as stack:
        loops = {a: of(stack.enter_context(k.loop(size))) for a, size in turns.items()}

        def at(row: Affine, i: Affine) -> tuple[Affine, ...]:
            found = loops[across] * LANES + row
            if not isinstance(rows, int) or rows % LANES:
                found = k.index(k.minimum(k.number(found), k.size(rows - 1)))
            return tuple({**loops, across: found, axis: i}[a] for a in range(len(shape)))

        yield minimum(rows, LANES), at


def _across(shape: Sequence[Size], axis: int) -> int:
    """The longest of the other axes; one of a named size is taken for long."""
    lengths = [size if isinstance(size, int) else float("inf") for size in shape]
    return max((a for a in range(len(shape)) if a != axis), key=lambda a: (lengths[a], a))


class _Writes:
    """Stores an element in the results that are wanted."""

    def __init__(self, k: Any, results: Sequence[Any]) -> None:
        self.values, self.positions = results

    def __call__(self, keys: Keys, at: tuple[Affine, ...], code: Any, position: Any) -> None:
        if self.values.wanted:
            self.values.store(at, keys.element(code))
        if self.positions.wanted:
            self.positions.store(at, position)


@contextmanager
def _only(k: Any, turns: Size) -> Iterator[None]:
    """Statements that are executed if `turns` is 1, and not if it is 0."""
    with ExitStack() as stack:
        if turns != 1:
            stack.enter_context(k.loop(turns))
        yield

class Keys:
    """How elements of a dtype are unsigned numbers that order as they do.

    An element's code is another number for each element, but for NaNs, which are one, the largest.
    So zeros of both signs are two; as keys they are one.
    """

    def __init__(self, k: Any, dtype: DType, descending: bool = False) -> None:
        self.k, self.given, self.descending = k, dtype, descending
        self.bits = 8 if dtype is bool_ else dtype.bits
        self.dtype = BY_SHORT[f"u{self.bits}"]
        self.sign = self.number(1 << (self.bits - 1))
        self.every = self.number((1 << self.bits) - 1)  # its bits: no code goes behind it
        self._zero = (1 << (self.bits - 1)) - 1  # the first code of a zero, an odd number

    def number(self, value: int) -> Any:
        return self.k.const(value, self.dtype)

    def code(self, x: Any) -> Any:
        """An element's code: ints with the sign turned; floats too, and all bits of negative ones,
        whose order is that of their sizes turned round."""
        k = self.k
        if self.given.is_float:
            bits = k.bits(x)
            turned = k.where(k.greater_equal(bits, self.sign), self.every, self.sign)
            found = k.where(k.is_nan(x), self.every, k.bitwise_xor(bits, turned))
        else:
            found = k.cast(x, self.dtype)
            found = k.bitwise_xor(found, self.sign) if self.given.kind == "i" else found
        return k.bitwise_invert(found) if self.descending else found

    def element(self, code: Any) -> Any:
        """The element of a code."""
        k = self.k
        code = k.bitwise_invert(code) if self.descending else code
        if self.given.is_float:
            turned = k.where(k.greater_equal(code, self.sign), self.sign, self.every)
            return k.from_bits(k.bitwise_xor(code, turned))
        code = k.bitwise_xor(code, self.sign) if self.given.kind == "i" else code
        return k.cast(code, self.given)

    def key(self, code: Any) -> Any:
        """The key of a code. Those of the two zeros are next to each other, the first one below the
        middle, in either order."""
        if not self.given.is_float:
            return code
        first = self.k.equal(code, self.number(self._zero))
        return self.k.add(code, self.k.cast(first, self.dtype))

    def apart(self, code: Any, place: Any, count: int) -> Any:
        """A code for each place of an element of `count`, in the order in which a stable sort has
        them, where elements that are equal are not the same: zeros. There is room for these codes
        where those of NaNs would be, at the end at which there is no NaN."""
        if not self.given.is_float:
            return code
        k, (low, high), zero = self.k, self._room(count), self._zero
        of_zero = k.add(code, k.subtract(k.shift_left(place, self.number(1)), self.number(low)))
        above = k.where(k.less_equal(code, self.number(zero + 1)), of_zero, self._up(code, high))
        return k.where(k.less(code, self.number(zero)), self._up(code, -low), above)

    def joined(self, code: Any, count: int) -> Any:
        """The code of what `apart` has made."""
        if not self.given.is_float:
            return code
        k, (low, high), zero = self.k, self._room(count), self._zero
        second = k.bitwise_and(k.bitwise_invert(code), self.number(1))  # that of a zero is odd
        of_zero = k.add(second, self.number(zero))
        last = self.number(zero + 1 + high)
        above = k.where(k.less_equal(code, last), of_zero, self._up(code, -high))
        return k.where(k.less(code, self.number(zero - low)), self._up(code, low), above)

    def _room(self, count: int) -> tuple[int, int]:
        """How far codes below those of zeros go down, and how far those above go up."""
        room = 2 * (count - 1)
        return (0, room) if self.descending else (room, 0)

    def _up(self, code: Any, by: int) -> Any:
        return self.k.add(code, self.number(by % (1 << self.bits))) if by else code

    def shift(self, number: Any) -> Any:
        """How far a byte of keys is from the lowest."""
        return self.k.cast(self.k.multiply(number, self.k.const(DIGIT, int64)), self.dtype)

    def digit(self, key: Any, shift: Any) -> Any:
        """The byte of a key at `shift`."""
        return self.k.bitwise_and(self.k.shift_right(key, shift), self.number(BINS - 1))


class _Sort:
    """Writes sorts of rows: of those with few elements several at once, by `few`, of others one
    after another. `most`: elements that a network sorts; `many`: 1 if there are more, else 0;
    `with_places`: whether positions are wanted."""

    def __init__(self, k: Any, keys: Keys, size: Size, with_places: bool, most: int) -> None:
        self.k, self.keys, self.size = k, keys, size
        self.many = minimum(floordiv(size, most + 1), 1) if most else 1
        self.passes = keys.bits // DIGIT
        self.few = Network(k, keys, size, with_places) if self.many != 1 else None
        if self.many != 0:  # two halves, of which each pass goes from one to the other
            self.counts = k.scratch(int64, self.passes * BINS)
            self.codes = k.scratch(keys.dtype, 2 * size)
            self.places = k.scratch(int64, 2 * size) if with_places else None

    def by_digits(self, code: Turn, position: Turn, write: Callable[..., None]) -> None:
        """One row: what `code` and `position` give for the turns of a loop, to where `write` puts
        it."""
        k = self.k
        self._count(code, position)
        with k.loop(self.passes) as number:
            self._begin(number)
            half = k.bitwise_and(number, k.const(1, int64))
            source = of(half) * self.size
            target = k.index(k.bitwise_xor(half, k.const(1, int64))) * self.size
            with k.loop(self.size) as i:
                moved = k.reload(self.codes, of(i) + source)
                at = self._next(number, self.keys.key(moved)) + target
                k.store(self.codes, at, moved)
                if self.places is not None:
                    k.store(self.places, at, k.reload(self.places, of(i) + source))
        with k.loop(self.size) as i:
            last = of(i) + self.size * (self.passes % 2)
            place = None if self.places is None else k.reload(self.places, last)
            write(of(i), k.reload(self.codes, last), place)

    def _count(self, code: Turn, position: Turn) -> None:
        """Each element's code and place, and how many keys have which byte."""
        k = self.k
        with k.loop(self.passes * BINS) as i:
            k.store(self.counts, of(i), k.const(0, int64))
        with k.loop(self.size) as i:
            given = code(i)
            k.store(self.codes, of(i), given)
            if self.places is not None:
                k.store(self.places, of(i), position(i))
            key = self.keys.key(given)
            with k.loop(self.passes) as number:
                self._next(number, key)

    def _begin(self, number: Any) -> None:
        """Of each byte, how many keys have a smaller one: where the first of its own goes."""
        k = self.k
        total = k.declare(k.const(0, int64))
        with k.loop(BINS) as i:
            at = of(i) + of(number) * BINS
            count = k.reload(self.counts, at)
            before = k.read(total)
            k.store(self.counts, at, before)
            k.assign(total, k.add(before, count))

    def _next(self, number: Any, key: Any) -> Affine:
        """The count of one of the key's bytes, which is one more after that."""
        k = self.k
        digit = self.keys.digit(key, self.keys.shift(number))
        at = k.index(k.cast(digit, int64)) + of(number) * BINS
        count = k.reload(self.counts, at)
        k.store(self.counts, at, k.add(count, k.const(1, int64)))
        found: Affine = k.index(count)
        return found


class _Choice:
    """Writes which elements of one row after another are the first `count` of a sort, in the order
    in which they stand there: their codes are in `chosen`, their positions in `places`."""

    def __init__(self, k: Any, keys: Keys, size: Size, count: int) -> None:
        self.k, self.keys, self.size, self.count = k, keys, size, count
        self.counts, self.codes = k.scratch(int64, BINS), k.scratch(keys.dtype, size)
        # one more, which is written over as long as none is found
        self.chosen, self.places = (k.scratch(d, count + 1) for d in (keys.dtype, int64))

    def row(self, code: Turn) -> None:
        k, keys = self.k, self.keys
        with k.loop(self.size) as i:
            k.store(self.codes, of(i), code(i))
        # the key of the last one that is chosen, and how many of that key are
        last, left = k.declare(keys.number(0)), k.declare(k.const(self.count, int64))
        passes = keys.bits // DIGIT
        with k.loop(passes) as number:
            shift = keys.shift(k.subtract(k.const(passes - 1, int64), number))
            self._count(k.read(last), shift)
            digit, rest = self._find(k.read(left))
            k.assign(last, k.bitwise_or(k.read(last), k.shift_left(digit, shift)))
            k.assign(left, rest)
        self._take(k.read(last), left)

    def position(self, place: Any) -> Any:
        """Where in its row the one is that is chosen at `place`, if that is asked for."""
        return None if place is None else self.k.reload(self.places, self.k.index(place))

    def _count(self, known: Any, shift: Any) -> None:
        """Of the keys whose bytes before that at `shift` are the known ones, how many have which
        byte."""
        k, keys = self.k, self.keys
        above = k.add(shift, keys.number(DIGIT))
        known = k.shift_right(known, above)
        with k.loop(BINS) as i:
            k.store(self.counts, of(i), k.const(0, int64))
        with k.loop(self.size) as i:
            key = keys.key(k.reload(self.codes, of(i)))
            agrees = k.equal(k.shift_right(key, above), known)
            at = k.index(k.cast(keys.digit(key, shift), int64))
            count = k.reload(self.counts, at)
            k.store(self.counts, at, k.add(count, k.cast(agrees, int64)))

    def _find(self, wanted: Any) -> tuple[Any, Any]:
        """The byte at which `wanted` keys are reached, and how many of that byte it takes."""
        k, keys = self.k, self.keys
        digit, rest = k.declare(keys.number(0)), k.declare(k.const(0, int64))
        below = k.declare(k.const(0, int64))
        with k.loop(BINS) as i:
            start = k.read(below)
            end = k.add(start, k.reload(self.counts, of(i)))
            here = k.bitwise_and(k.less(start, wanted), k.less_equal(wanted, end))
            k.assign(digit, k.where(here, k.cast(i, keys.dtype), k.read(digit)))
            k.assign(rest, k.where(here, k.subtract(wanted, start), k.read(rest)))
            k.assign(below, end)
        return k.read(digit), k.read(rest)

    def _take(self, last: Any, left: Any) -> None:
        """Those whose key is below `last`, and the first `left` of the others that have it."""
        k, keys = self.k, self.keys
        zero, taken = k.const(0, int64), k.declare(k.const(0, int64))
        with k.loop(self.size) as i:
            code = k.reload(self.codes, of(i))
            key, ties = keys.key(code), k.read(left)
            ties_in = k.bitwise_and(k.equal(key, last), k.less(zero, ties))
            is_chosen = k.bitwise_or(k.less(key, last), ties_in)
            at = k.read(taken)
            k.store(self.chosen, k.index(at), code)
            k.store(self.places, k.index(at), i)
            k.assign(taken, k.add(at, k.cast(is_chosen, int64)))
            k.assign(left, k.subtract(ties, k.cast(ties_in, int64)))
