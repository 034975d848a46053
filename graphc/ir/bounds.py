"""What is certain of sizes: a search for why one is never negative, or always is.

Names stand for integers >= 0. Signs of coefficients decide most sizes; where one has atoms, each is
put at its ends: `max(a, b)` is one of the two and at least either, `min(a, b)` at most either,
`a % b` is below `b`, and `b*(a//b)` lies between `a - b + 1` and `a`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from graphc.ir.dim import (
    Call,
    Dim,
    Monomial,
    Size,
    is_nonnegative,
    named,
    names,
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
