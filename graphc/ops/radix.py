"""The kernel of a sort: by the digits of keys, from the last to the first, or by counting.

Each element becomes a key, an unsigned number that orders as the elements do. Where there are more
than `FEW`, elements go to their places by one byte of the key after another, from the lowest on;
each pass keeps the order of equals, so that the last one leaves all in order (Knuth, The Art of
Computer Programming, volume 3, 5.2.5). How many keys have which byte is counted for all passes in
one. Of few elements the place of each is how many there are that go before it: n^2 comparisons,
which vectorise, and no table of counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from graphc.ir.dim import Size, floordiv, minimum
from graphc.ir.dtype import BY_SHORT, DType, bool_, int64
from graphc.loops.grammar import Affine, of

FEW = 64  # elements that are counted against each other, at the most
DIGIT = 8  # bits
BINS = 1 << DIGIT

Place = Callable[[Affine], tuple[Affine, ...]]

def write_sort(
    k: Any, operands: Sequence[Any], results: Sequence[Any], *, axis: int, descending: bool
) -> None:
    """The kernel that sorts along an axis: results are the elements in order, and where they
    were."""
    (x,) = operands
    shape = x.type.shape
    sort = _Sort(k, x, results, shape[axis], Keys(k, x.type.dtype, descending))
    with ExitStack() as stack:
        loops = [of(stack.enter_context(k.loop(s))) for a, s in enumerate(shape) if a != axis]
        sort.row(lambda i: (*loops[:axis], i, *loops[axis:]))

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

    def number(self, value: int) -> Any:
        return self.k.const(value, self.dtype)

    def code(self, x: Any) -> Any:
        """An element's code: ints with the sign turned; floats too, and all bits of negative ones,
        whose order is that of their sizes turned round."""
        k = self.k
        if self.given.is_float:
            bits, every = k.bits(x), self.number((1 << self.bits) - 1)
            turned = k.where(k.greater_equal(bits, self.sign), every, self.sign)
            found = k.where(k.is_nan(x), every, k.bitwise_xor(bits, turned))
        else:
            found = k.cast(x, self.dtype)
            found = k.bitwise_xor(found, self.sign) if self.given.kind == "i" else found
        return k.bitwise_invert(found) if self.descending else found

    def element(self, code: Any) -> Any:
        """The element of a code."""
        k = self.k
        code = k.bitwise_invert(code) if self.descending else code
        if self.given.is_float:
            every = self.number((1 << self.bits) - 1)
            turned = k.where(k.greater_equal(code, self.sign), self.sign, every)
            return k.from_bits(k.bitwise_xor(code, turned))
        code = k.bitwise_xor(code, self.sign) if self.given.kind == "i" else code
        return k.cast(code, self.given)

    def key(self, code: Any) -> Any:
        """The key of a code. Those of the two zeros are next to each other, the first one below the
        middle, in either order."""
        if not self.given.is_float:
            return code
        first = self.k.equal(code, self.number((1 << (self.bits - 1)) - 1))
        return self.k.add(code, self.k.cast(first, self.dtype))

class _Sort:
    """Writes the sort of one row after another."""

    def __init__(self, k: Any, x: Any, results: Sequence[Any], size: Size, keys: Keys) -> None:
        self.k, self.x, self.size, self.keys = k, x, size, keys
        self.values, self.positions = results
        self.many = minimum(floordiv(size, FEW + 1), 1)
        self.passes = keys.bits // DIGIT
        if self.many != 1:
            self.few = k.scratch(keys.dtype, minimum(size, FEW))
        if self.many != 0:  # two halves, of which each pass goes from one to the other
            self.counts = k.scratch(int64, self.passes * BINS)
            self.codes = k.scratch(keys.dtype, 2 * size)
            self.places = k.scratch(int64, 2 * size) if self.positions.wanted else None

    def row(self, place: Place) -> None:
        if self.many != 1:
            with _only(self.k, 1 - self.many):
                self._by_counting(place)
        if self.many != 0:
            with _only(self.k, self.many):
                self._by_digits(place)

    # -- few elements ------------------------------------------------------------------------------
    def _by_counting(self, place: Place) -> None:
        k, keys = self.k, self.keys
        with k.loop(self.size) as i:
            k.store(self.few, of(i), keys.key(keys.code(self.x(place(of(i))))))
        with k.loop(self.size) as i:
            mine = k.reload(self.few, of(i))
            before = k.declare(k.const(0, int64))
            with k.loop(self.size) as j:
                other = k.reload(self.few, of(j))
                first = k.bitwise_and(k.equal(other, mine), k.less(j, i))
                goes_before = k.bitwise_or(k.less(other, mine), first)
                k.accumulate(before, "add", k.cast(goes_before, int64))
            at = place(k.index(k.read(before)))
            if self.values.wanted:
                self.values.store(at, self.x(place(of(i))))
            self.positions.store(at, i)

    # -- many --------------------------------------------------------------------------------------
    def _by_digits(self, place: Place) -> None:
        k = self.k
        self._count(place)
        with k.loop(self.passes) as number:
            self._begin(number)
            half = k.bitwise_and(number, k.const(1, int64))
            source = of(half) * self.size
            target = k.index(k.bitwise_xor(half, k.const(1, int64))) * self.size
            with k.loop(self.size) as i:
                code = k.reload(self.codes, of(i) + source)
                at = self._next(number, self.keys.key(code)) + target
                k.store(self.codes, at, code)
                if self.places is not None:
                    k.store(self.places, at, k.reload(self.places, of(i) + source))
        with k.loop(self.size) as i:
            last = of(i) + self.size * (self.passes % 2)
            if self.values.wanted:
                self.values.store(place(of(i)), self.keys.element(k.reload(self.codes, last)))
            if self.places is not None:
                self.positions.store(place(of(i)), k.reload(self.places, last))

    def _count(self, place: Place) -> None:
        """Each element's code and place, and how many keys have which byte."""
        k = self.k
        with k.loop(self.passes * BINS) as i:
            k.store(self.counts, of(i), k.const(0, int64))
        with k.loop(self.size) as i:
            code = self.keys.code(self.x(place(of(i))))
            key = self.keys.key(code)
            k.store(self.codes, of(i), code)
            if self.places is not None:
                k.store(self.places, of(i), i)
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
        k, keys = self.k, self.keys
        shift = k.cast(k.multiply(number, k.const(DIGIT, int64)), keys.dtype)
        digit = k.bitwise_and(k.shift_right(key, shift), keys.number(BINS - 1))
        at = k.index(k.cast(digit, int64)) + of(number) * BINS
        count = k.reload(self.counts, at)
        k.store(self.counts, at, k.add(count, k.const(1, int64)))
        found: Affine = k.index(count)
        return found
