"""Conditions: what operations need of sizes. Equations `n = m` and bounds `n >= 4`, of one kind.

A type rule that compares two sizes asks `agree`; one that reads at a place asks `require`. What can
never hold is its error. What is certain is not mentioned again; everything else is kept with the
node, and whoever runs a graph checks it before anything runs (`Graph.conditions`). That no tensor
has a negative size, or more bytes than 64 bits can count, every node needs; and that no size is
divided by 0.

Names stand for integers >= 0. What holds only where a name is 0 (`n = 2*n`, `-n >= 0`) counts as
what never holds: a program that takes empty arrays only is a mistake, not a wish.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from graphc.errors import ShapeError
from graphc.ir.bounds import certain, never
from graphc.ir.dim import (
    Call,
    Dim,
    Monomial,
    Size,
    evaluate,
    is_nonnegative,
    minimum,
    names,
    product,
    substitute,
)

MOST = 2**63 - 1  # bytes of a tensor, and what a size may be at all


class Condition(NamedTuple):
    """`left` and `right` are equal, or `left` is at least `right`: the operation `op` in the user's
    line `where` needs it. Nobody needs it where `op` is empty."""

    left: Size
    right: Size
    relation: str = "="  # or ">="
    op: str = ""
    where: str = ""

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"

    @property
    def reason(self) -> str:
        """What needs it: `add at model.py:7`."""
        return " at ".join(part for part in (self.op, self.where) if part)

    @property
    def margin(self) -> Size:
        """How much `left` is above `right`."""
        return self.left - self.right

    def holds(self, values: Mapping[str, int]) -> bool:
        """Whether it is true of these sizes; a division by zero makes it false."""
        try:
            left, right = evaluate(self.left, values), evaluate(self.right, values)
        except ZeroDivisionError:
            return False
        return left == right if self.relation == "=" else left >= right


# -- what type rules ask ---------------------------------------------------------------------------
class _Notes(threading.local):
    conditions: tuple[Condition, ...] = ()


_notes = _Notes()


def _note(conditions: Iterable[Condition]) -> None:
    for condition in conditions:
        if condition not in _notes.conditions:
            _notes.conditions += (condition,)


def forget() -> None:
    """Start a type rule: what was noted before belongs to no node."""
    _notes.conditions = ()


def noted() -> tuple[Condition, ...]:
    """What this thread's type rules need since `forget`."""
    return _notes.conditions


def agree(a: Size, b: Size) -> bool:
    """Whether two sizes may be equal; where that is not certain, the node that is being made
    keeps it as an equation."""
    if a == b:
        return True
    if never_equal(a, b):
        return False
    _note((Condition(a, b),))
    return True


def require(margin: Size, what: str) -> None:
    """A type rule needs `margin >= 0`: where that is not certain, the node that is being made keeps
    it. Errors: `ShapeError` that says `what` is wrong, where it holds for no sizes > 0.

    >>> from graphc.ir.dim import dim
    >>> forget()
    >>> require(2 * dim("n") - 5, "an index is out of range")
    >>> noted()[0].left, noted()[0].right
    (n, 3)
    """
    if isinstance(margin, int):
        if margin < 0:
            raise ShapeError(what)
        return
    bounds = _bounds(margin)
    if bounds is None:
        raise ShapeError(what, expected=str(_bound(margin)), hint="no sizes > 0 satisfy it")
    _note(bounds)


def require_elements(size: Size, count: Size) -> None:
    """A type rule needs an element on an axis of `size`, if there are any of the `count` indices
    into it: an index that is out of range reads another one, so that there must be one.

    Errors: `ShapeError` where that holds for no sizes > 0.
    """
    require(size - minimum(count, 1), f"an index into an axis without elements, of size {size}")


def require_shape(itemsize: int, shape: tuple[Size, ...]) -> None:
    """A node needs of an output that no size is negative and that its bytes can be counted.

    Errors: `ShapeError` where that holds for no sizes > 0.
    """
    _note(_of_shape(itemsize, shape))


@lru_cache(maxsize=1 << 12)
def _of_shape(itemsize: int, shape: tuple[Size, ...]) -> tuple[Condition, ...]:
    found: list[Condition] = []
    wanted = [(size, f"a size is negative: {size}") for size in shape]
    count = product(s for s in shape if s != 0) * itemsize  # NumPy counts those of no elements too
    for margin, what in (*wanted, (MOST - count, f"a tensor of {count} bytes")):
        bounds = _bounds(margin)
        if bounds is None:
            raise ShapeError(what, given=f"the shape ({', '.join(map(str, shape))})")
        found += bounds
    return tuple(dict.fromkeys(found))


# -- equations that cannot hold --------------------------------------------------------------------
def never_equal(a: Size, b: Size) -> bool:
    """Whether no sizes of the names make `a` and `b` equal, except 0.

    >>> n, m = Dim(((((("n", 1),)), 1),)), Dim(((((("m", 1),)), 1),))
    >>> never_equal(n, n + 1), never_equal(2 * n, 2 * m + 1), never_equal(n, 2 * n)
    (True, True, True)
    >>> never_equal(n, m), never_equal(n, 5)
    (False, False)
    """
    return never_zero(a - b)


def never_zero(difference: Size) -> bool:
    """Whether no sizes of the names make `difference` 0, except 0."""
    if isinstance(difference, int):
        return difference != 0
    factor, constant = content(difference)
    if constant % factor or certain(-1 - difference) or certain(difference - 1):
        return True
    sign = 1 if difference.terms[0][1] > 0 else -1
    rest = sign * (difference - constant)
    if not is_nonnegative(rest) or sign * constant < 0:
        return False  # terms of both signs
    plain = all(isinstance(a, str) for m, _ in difference.terms for a, _ in m)
    return constant != 0 or plain


def content(size: Dim) -> tuple[int, int]:
    """The greatest common divisor of the coefficients before a name, and the constant term."""
    constant = next((c for m, c in size.terms if not m), 0)
    return math.gcd(*(c for m, c in size.terms if m)), constant


# -- bounds in one form ----------------------------------------------------------------------------
@lru_cache(maxsize=1 << 12)
def _bounds(margin: Size) -> tuple[Condition, ...] | None:
    """The conditions that say `margin >= 0` together, and that nothing in it is divided by less
    than 1; none where that is certain; None where it never holds."""
    wanted: list[Size] = [divisor - 1 for divisor in _divisors(margin)]
    found: tuple[Condition, ...] = ()
    if not certain(margin):
        if never(margin):
            return None
        sides = _sides_of_min(margin)
        if sides is None:
            found = (_bound(margin),)
        else:
            wanted += sides
    for part in wanted:
        bounds = _bounds(part)
        if bounds is None:
            return None
        found += bounds
    return found


def _divisors(size: Size) -> Iterator[Size]:
    """What sizes in `size` are divided by."""
    for monomial, _ in size.terms if isinstance(size, Dim) else ():
        for atom, _ in monomial:
            if isinstance(atom, Call):
                if atom.function in ("//", "%"):
                    yield atom.right
                yield from _divisors(atom.left)
                yield from _divisors(atom.right)


def _sides_of_min(margin: Size) -> tuple[Size, Size] | None:
    """`a + c` and `b + c`, of `min(a, b) + c`: both have to be >= 0."""
    for monomial, coefficient in margin.terms if isinstance(margin, Dim) else ():
        if coefficient > 0 and len(monomial) == 1 and monomial[0][1] == 1:
            atom = monomial[0][0]
            if isinstance(atom, Call) and atom.function == "min":
                rest = margin - Dim(((monomial, coefficient),))
                return rest + atom.left * coefficient, rest + atom.right * coefficient
    return None


def _bound(margin: Size) -> Condition:
    """`margin >= 0` as a bound without common factors, with terms of positive sign on both sides:
    `2*n - 2*m - 3 >= 0` is `n >= m + 2`."""
    assert isinstance(margin, Dim)
    factor, constant = content(margin)
    left: dict[Monomial, int] = {}
    right: dict[Monomial, int] = {}
    for monomial, coefficient in margin.terms:
        if monomial:
            side = left if coefficient > 0 else right
            side[monomial] = abs(coefficient) // factor
    constant //= factor
    (left if constant > 0 else right)[()] = abs(constant)
    return Condition(_size(left), _size(right), ">=")


def _size(terms: Mapping[Monomial, int]) -> Size:
    total: Size = 0
    for monomial, coefficient in terms.items():
        total = total + (Dim(((monomial, 1),)) * coefficient if monomial else coefficient)
    return total


def needed_bounds(
    bounds: Iterable[Condition],
    given: Iterable[Condition],
    sizes: Mapping[str, Size],
    equations: Iterable[Condition] = (),
) -> tuple[Condition, ...]:
    """The bounds that follow neither from others, nor from those that are `given`, nor from names
    being the `sizes` that `equations` say.

    Errors: `ShapeError` for one that then no sizes > 0 satisfy, and for two that none satisfy.
    """
    least: dict[Size, int] = {}  # of `direction + constant >= 0`, the constants that are known
    strongest: dict[Size, Condition] = {}
    known = dict.fromkeys(condition.margin for condition in given)
    for margin in known:
        direction, constant = _split(margin)
        least[direction] = min(constant, least.get(direction, constant))
    for condition in bounds:
        direction, constant = _split(condition.margin)
        if direction not in least or constant < least[direction]:
            least[direction], strongest[direction] = constant, condition
    found: list[Condition] = []
    for direction, condition in strongest.items():
        margin = condition.margin
        other = strongest.get(-direction)
        if other is not None and least[direction] + least[-direction] < 0:
            raise contradiction([condition, other])
        if sizes and never(substitute(margin, sizes)):
            used = names(margin) & sizes.keys()
            told = [e for e in equations if (names(e.left) | names(e.right)) & used]
            values = ", ".join(f"{name} = {sizes[name]}" for name in sorted(used))
            raise contradiction([*told, condition], f"from equations {values}")
        if not certain(substitute(margin, sizes)) and not any(certain(margin - k) for k in known):
            found.append(condition)
    return tuple(found)


def _split(margin: Size) -> tuple[Size, int]:
    """A size without its constant, and that constant."""
    constant = margin if isinstance(margin, int) else content(margin)[1]
    return margin - constant, constant


def contradiction(conditions: Sequence[Condition], given: str = "") -> ShapeError:
    """The error of conditions that no sizes satisfy together, each with what needs it."""
    width = max(len(str(c)) for c in conditions)
    lines = (f"\n    {c!s:{width}}  # {c.reason}".rstrip(" #") for c in conditions)
    return ShapeError(
        "no sizes > 0 of the named dims satisfy all that is needed:" + "".join(lines),
        op=conditions[-1].op,
        given=given,
        where=conditions[-1].where,
        hint="two dims that can differ in these operations were meant to be equal, or one of "
        "the lines takes the wrong tensor",
    )
