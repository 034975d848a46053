"""What is certain of sizes: a search for why one is never negative, or always is.

Names stand for integers >= 0. Signs of coefficients decide most sizes; where one has atoms, each is
put at its ends: `max(a, b)` is one of the two and at least either, `min(a, b)` at most either,
`a % b` is below `b`, and `b*(a//b)` lies between `a - b + 1` and `a`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from graphc.ir.dim import (
    Atom,
    Call,
    Dim,
    Monomial,
    Size,
    is_nonnegative,
    maximum,
    minimum,
    named,
    names,
    product,
    substitute,
    total,
)

DEPTH = 10  # atoms put at their ends, one within the other


def certain(size: Size) -> bool:
    """Whether `size >= 0` is found to hold, whatever the names are. False: it may hold or not.

    >>> from graphc.ir.dim import dim
    >>> certain(dim("n - min(n, 2) - max(n - 2, 0)")), certain(dim("n - 1"))
    (True, False)
    """
    return size >= 0 if isinstance(size, int) else _certain(size, DEPTH)


def never(size: Size) -> bool:
    """Whether `size >= 0` is found to hold for no names > 0.

    >>> from graphc.ir.dim import dim
    >>> never(-dim("n")), never(1 - dim("n"))
    (True, False)
    """
    return certain(-1 - substitute(size, {name: named(name) + 1 for name in names(size)}))


def at_most(size: Size) -> Size:
    """A simpler size that is never smaller: where one of two is the least, a number if that is one
    of them.

    >>> from graphc.ir.dim import dim
    >>> at_most(dim("max(min(n, 32) - 1, 0) + m"))
    m + 31
    """
    if isinstance(size, int):
        return size
    found: Size = 0
    for monomial, coefficient in size.terms:
        single = len(monomial) == 1 and monomial[0][1] == 1
        grows = coefficient > 0 and (single or is_nonnegative(Dim(((monomial, 1),))))
        simpler = _at_most if grows else _itself
        found = found + product((coefficient, *(simpler(a) for a, p in monomial for _ in range(p))))
    return found


def _at_most(atom: Atom) -> Size:
    if isinstance(atom, Call) and atom.function == "min":
        numbers = [side for side in (atom.left, atom.right) if isinstance(side, int)]
        return numbers[0] if numbers else minimum(at_most(atom.left), at_most(atom.right))
    if isinstance(atom, Call) and atom.function == "max":
        return maximum(at_most(atom.left), at_most(atom.right))
    return _itself(atom)


def _itself(atom: Atom) -> Size:
    return named(atom) if isinstance(atom, str) else Dim(((((atom, 1),), 1),))


@lru_cache(maxsize=1 << 14)
def _certain(size: Dim, depth: int) -> bool:
    if is_nonnegative(size):
        return True
    atoms = [a for m, _ in size.terms for a, _ in m if isinstance(a, Call)]
    if not atoms or depth == 0:
        return False
    atom = max(atoms, key=lambda a: len(str(a)))  # those that hold others first
    return any(
        all(_size_certain(part, depth - 1) for part in parts) for parts in _ends(size, atom)
    )


def _size_certain(size: Size, depth: int) -> bool:
    return size >= 0 if isinstance(size, int) else _certain(size, depth)


def _ends(size: Dim, atom: Call) -> Iterator[tuple[Size, ...]]:
    """Ways to show that `size >= 0`: by sizes that have to be so, without `atom`."""
    sign = _sign(size, atom)
    left, right = atom.left, atom.right
    if atom.function in ("max", "min"):
        if sign == (1 if atom.function == "max" else -1):
            yield (_put(size, atom, left),)
            yield (_put(size, atom, right),)
        else:
            yield _put(size, atom, left), _put(size, atom, right)
    elif atom.function == "%" and sign:
        if sign > 0:
            yield (_put(size, atom, 0),)
        else:
            yield (_put(size, atom, right - 1),)
            if certain(left):
                yield (_put(size, atom, left),)
    elif atom.function == "//" and sign:
        if isinstance(right, int) and right > 0:
            ends = left - right + 1 if sign > 0 else left
            yield (_put(size * right, atom, ends, right),)
        if certain(left) and certain(right):
            yield (_put(size, atom, 0 if sign > 0 else left),)


def _sign(size: Dim, atom: Call) -> int:
    """1 if `size` certainly grows with `atom`, -1 if it falls, 0 if neither is certain."""
    signs = set()
    for monomial, coefficient in size.terms:
        powers = dict(monomial)
        if atom in powers:
            plain = powers[atom] == 1 and certain(_without(monomial, atom))
            signs.add((1 if coefficient > 0 else -1) if plain else 0)
    return signs.pop() if len(signs) == 1 else 0


def _put(size: Size, atom: Call, value: Size, divisor: int = 1) -> Size:
    """`size` with `value / divisor` for `atom`; what stands before it can be divided."""
    if isinstance(size, int):
        return size
    parts: list[Size] = []
    for monomial, coefficient in size.terms:
        term = _without(monomial, atom)
        power = dict(monomial).get(atom, 0)
        for _ in range(power):
            term = term * value
        parts.append(term * (coefficient // divisor**power))
    return total(parts)


def _without(monomial: Monomial, atom: Call) -> Size:
    """The product of the other atoms."""
    rest = tuple((a, p) for a, p in monomial if a != atom)
    return Dim(((rest, 1),)) if rest else 1
