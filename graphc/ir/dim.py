"""Sizes: an `int`, or a `Dim`, an integer expression over named dims such as `2*n + 1`.

A `Dim` is a polynomial with integer coefficients over atoms; an atom is a name (`n`) or one of
`a // b`, `a % b`, `max(a, b)`, `min(a, b)`. Polynomials are kept in one normal form, so equal
polynomials are equal values; arithmetic that yields a constant gives an `int`.
Names stand for integers >= 0.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias

from graphc.errors import ArgumentError, ShapeError, SymbolicValueError
from graphc.ir import origin
from graphc.ir.asked import constructs
from graphc.ir.dtype import BY_SHORT
from graphc.ir.given import whole_number
from graphc.ir.parsing import parse_expression

Size: TypeAlias = "int | Dim"
Atom: TypeAlias = "str | Call"
Monomial: TypeAlias = tuple[tuple[Atom, int], ...]  # ((atom, power), ...), sorted by text

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Call:
    """An atom that is not a name: `function` of two sizes."""

    __slots__ = ("_hash", "_nonnegative", "function", "left", "right")

    def __init__(self, function: str, left: Size, right: Size) -> None:
        self.function, self.left, self.right = function, left, right
        self._hash = hash((function, left, right))
        self._nonnegative: bool | None = None  # not asked yet

    @property
    def nonnegative(self) -> bool:
        """Whether it is certainly not negative: asked again and again, found out once."""
        if self._nonnegative is None:
            left, right = is_nonnegative(self.left), is_nonnegative(self.right)
            self._nonnegative = left or right if self.function == "max" else left and right
        return self._nonnegative

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Call)
            and self.function == other.function
            and self.left == other.left
            and self.right == other.right
        )

    def __reduce__(self) -> Any:
        return Call, (self.function, self.left, self.right)  # strings hash anew in each process

    def __str__(self) -> str:
        if self.function in ("max", "min"):
            return f"{self.function}({self.left}, {self.right})"
        return f"({self.left}) {self.function} ({self.right})"


_FUNCTIONS: dict[str, Callable[[int, int], int]] = {
    "//": operator.floordiv,
    "%": operator.mod,
    "max": max,
    "min": min,
}


class Dim:
    """A symbolic size. Immutable and hashable; `==` compares the normal forms.

    >>> n = dim("n")
    >>> (n + 1) * 2 - n, n - n
    (n + 2, 0)
    """

    __slots__ = ("_hash", "_text", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)
        self._text = ""

    # -- comparison, text --------------------------------------------------------------------------
    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Dim) and self.terms == other.terms)

    def __str__(self) -> str:
        if not self._text:
            self._text = _text(self.terms)
        return self._text

    __repr__ = __str__

    def __reduce__(self) -> Any:
        return Dim, (self.terms,)  # strings hash anew in each process

    # -- arithmetic: of sizes only, so that `n * tensor` and `[0] * n` are the other's to refuse ---
    def __add__(self, other: Size) -> Size:
        return _sum((self, other)) if isinstance(other, (int, Dim)) else NotImplemented

    __radd__ = __add__

    def __neg__(self) -> Size:
        return _from_terms({m: -c for m, c in self.terms})

    def __sub__(self, other: Size) -> Size:
        return _sum((self, -other)) if isinstance(other, (int, Dim)) else NotImplemented

    def __rsub__(self, other: Size) -> Size:
        return _sum((-self, other)) if isinstance(other, (int, Dim)) else NotImplemented

    def __mul__(self, other: Size) -> Size:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        product: dict[Monomial, int] = {}
        for m1, c1 in self.terms:
            for m2, c2 in _terms(other):
                m = _times(m1, m2)
                product[m] = product.get(m, 0) + c1 * c2
        return _from_terms(product)

    __rmul__ = __mul__

    def __floordiv__(self, other: Size) -> Size:
        return floordiv(self, other) if isinstance(other, (int, Dim)) else NotImplemented

    def __rfloordiv__(self, other: Size) -> Size:
        return floordiv(other, self) if isinstance(other, (int, Dim)) else NotImplemented

    def __mod__(self, other: Size) -> Size:
        return mod(self, other) if isinstance(other, (int, Dim)) else NotImplemented

    def __rmod__(self, other: Size) -> Size:
        return mod(other, self) if isinstance(other, (int, Dim)) else NotImplemented

    # -- what a symbolic size cannot do ------------------------------------------------------------
    def _no_value(self) -> NoReturn:
        hint = "use a static size in the placeholder's shape, or keep the computation symbolic"
        counted = constructs(origin.user_frame(), ("range",))
        raise SymbolicValueError(
            "a symbolic size has no value while the graph is being built",
            op="Dim",
            given=str(self),
            hint=f"{counted}; {hint}" if counted else hint,
        )

    def __bool__(self) -> bool:
        self._no_value()

    def __int__(self) -> int:
        self._no_value()

    def __index__(self) -> int:
        self._no_value()

    def __float__(self) -> float:
        self._no_value()

    def __lt__(self, other: Any) -> bool:
        self._no_value()

    __le__ = __gt__ = __ge__ = __lt__


# -- construction ----------------------------------------------------------------------------------
def dim(spec: Any) -> Size:
    """A size from an int, a `Dim`, or text such as `"n"` or `"2*n + 1"`.

    Errors: `ArgumentError` for anything else, a negative int, or a name that is not an identifier
    or is the short name of a dtype.
    """
    if isinstance(spec, Dim):
        return spec
    if isinstance(spec, str):
        try:
            spec = _parse(parse_expression(spec.strip()))
        except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
            _refuse(spec)
        if isinstance(spec, Dim):
            return spec
    size = whole_number(spec)
    if size is None or size < 0:
        _refuse(spec)
    return size


def _refuse(spec: object) -> NoReturn:
    raise ArgumentError(
        "not a size",
        op="dim",
        expected="an int >= 0, a name such as 'n', or an expression such as '2*n + 1'",
        given=repr(spec),
        hint='a size that is not known has a name: ("n", 3)' if spec is None else "",
    )


def named(name: str) -> Dim:
    """The dim called `name`."""
    if not _NAME.match(name) or name in BY_SHORT:
        _refuse(name)
    return Dim(((((name, 1),), 1),))


def _parse(tree: ast.expr) -> Size:
    match tree:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return named(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_parse(operand)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _parse(left), _parse(right)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return floordiv(a, b)
                case ast.Mod():
                    return mod(a, b)
        case ast.Call(func=ast.Name(id="max"), args=[left, right]):
            return maximum(_parse(left), _parse(right))
        case ast.Call(func=ast.Name(id="min"), args=[left, right]):
            return minimum(_parse(left), _parse(right))
    raise ValueError("not a size expression")


def from_ast(tree: ast.expr) -> Size:
    """A size from a parsed Python expression (the text form's attribute values use it)."""
    return _parse(tree)


def floordiv(a: Size, b: Size) -> Size:
    """`a // b`, divided through where the quotient is a polynomial."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 1:
        return a
    if a == b:
        return 1  # sizes that divide are > 0
    quotient = divide(a, b)
    return _atom(Call("//", a, b)) if quotient is None else quotient


def divide(a: Size, b: Size) -> Size | None:
    """`a / b` where that is a polynomial with integer coefficients, else None. `b` is not 0.

    Long division: in an order of monomials that products keep, the largest of `a` has to be that of
    `b` times something, and what is left after it is taken away is smaller.

    >>> n, m = dim("n"), dim("m")
    >>> divide(n * n + n * m - m - n, n - 1), divide(n + 1, m)
    (m + n, None)
    """
    atoms = sorted({x for s in (a, b) for m, _ in _terms(s) for x, _ in m}, key=str)

    def order(term: tuple[Monomial, int]) -> tuple[int, ...]:
        powers = dict(term[0])
        return (sum(powers.values()), *(powers.get(x, 0) for x in atoms))

    divisor, factor = max(_terms(b), key=order)
    quotient: Size = 0
    while a != 0:
        monomial, coefficient = max(_terms(a), key=order)
        powers = dict(monomial)
        for atom, power in divisor:
            powers[atom] = powers.get(atom, 0) - power
        if coefficient % factor or any(p < 0 for p in powers.values()):
            return None
        kept = _sorted(tuple((x, p) for x, p in powers.items() if p))
        part = _from_terms({kept: coefficient // factor})
        quotient, a = quotient + part, a - part * b
    return quotient


def mod(a: Size, b: Size) -> Size:
    """`a % b`, zero where the quotient is a polynomial."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if b == 1 or a == b or divide(a, b) is not None:
        return 0
    return _atom(Call("%", a, b))


def maximum(a: Size, b: Size) -> Size:
    """The larger of two sizes; decided now where signs of the coefficients decide it.

    >>> n = dim("n")
    >>> maximum(maximum(n - 1, 0) - 1, 0), maximum(n + 1, n)
    (max(n - 2, 0), n + 1)
    """
    return _choice("max", a, b)


def minimum(a: Size, b: Size) -> Size:
    """The smaller of two sizes; decided now where signs of the coefficients decide it."""
    return _choice("min", a, b)


def difference(a: Size, b: Size) -> Size:
    """`a - b`, which for `b = max(c, d)` is `min(a - c, a - d)`.

    >>> n = dim("n")
    >>> difference(n, maximum(n - 3, 0))
    min(n, 3)
    """
    first, *rest = _operands("max", b)
    found = a - first
    for other in rest:
        found = minimum(found, a - other)
    return found


def _choice(function: str, a: Size, b: Size) -> Size:
    """`max` or `min` of all operands of the two, without those that another one makes idle."""
    kept: list[Size] = []
    for size in _operands(function, a) + _operands(function, b):
        if not any(_chosen(function, k, size) for k in kept):
            kept = [k for k in kept if not _chosen(function, size, k)] + [size]
    kept.sort(key=_order)
    chosen = kept[0]
    for other in kept[1:]:
        chosen = _atom(Call(function, chosen, other))
    return chosen


def _order(size: Size) -> tuple[bool, str]:
    """By text, numbers last: `min(m, n)` is `min(n, m)`."""
    return isinstance(size, int), str(size)


def _chosen(function: str, a: Size, b: Size) -> bool:
    """Whether `a` is certainly the one of the two."""
    return is_at_least(a, b) if function == "max" else is_at_least(b, a)


def largest(sizes: Sequence[Size]) -> Size:
    """The largest of sizes none of which is certain to be as large as another one."""
    chosen = sizes[0]
    for other in sizes[1:]:
        chosen = _atom(Call("max", chosen, other))
    return chosen


def is_at_least(a: Size, b: Size) -> bool:
    """`is_nonnegative(a - b)`, of which no normal form is made."""
    if isinstance(a, int) and isinstance(b, int):
        return a >= b
    rest = dict(_terms(a))
    for monomial, coefficient in _terms(b):
        rest[monomial] = rest.get(monomial, 0) - coefficient
    return all(
        c == 0 or (c > 0 and all(_atom_nonnegative(atom) for atom, _ in m)) for m, c in rest.items()
    )


def _operands(function: str, size: Size) -> list[Size]:
    """The operands of nested calls of `function`, each with what is added to the call; or the size
    itself."""
    for monomial, coefficient in size.terms if isinstance(size, Dim) else ():
        if coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1:
            atom = monomial[0][0]
            if isinstance(atom, Call) and atom.function == function:
                rest = size - Dim(((monomial, 1),))
                sides = rest + atom.left, rest + atom.right
                return [s for side in sides for s in _operands(function, side)]
    return [size]


def is_nonnegative(size: Size) -> bool:
    """Whether `size >= 0` follows from its coefficients alone (names are >= 0)."""
    if isinstance(size, int):
        return size >= 0
    return all(c >= 0 and all(_atom_nonnegative(a) for a, _ in m) for m, c in size.terms)


def _atom_nonnegative(atom: Atom) -> bool:
    return isinstance(atom, str) or atom.nonnegative


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes; 1 of none."""
    result: Size = 1
    for size in sizes:
        result = result * size
    return result


def total(sizes: Iterable[Size]) -> Size:
    """The sum of sizes; 0 of none."""
    return _sum(sizes)


# -- use -------------------------------------------------------------------------------------------
def names(size: Size) -> frozenset[str]:
    """The named dims in `size`."""
    if isinstance(size, int):
        return frozenset()
    found: set[str] = set()
    for monomial, _ in size.terms:
        for atom, _ in monomial:
            found |= {atom} if isinstance(atom, str) else names(atom.left) | names(atom.right)
    return frozenset(found)


def evaluate(size: Size, values: Mapping[str, int]) -> int:
    """The value of `size` at the given values of its names."""
    if isinstance(size, int):
        return size
    total = 0
    for monomial, coefficient in size.terms:
        for atom, power in monomial:
            coefficient *= _atom_value(atom, values) ** power
        total += coefficient
    return total


SIZE_HINT = 64  # what a named dim is taken for, where sizes must be compared before they are known


class _Hints(dict[str, int]):
    """What named dims are taken for."""

    def __missing__(self, name: str) -> int:
        return SIZE_HINT


_NONE = _Hints()
_typical: ContextVar[_Hints] = ContextVar("typical sizes", default=_NONE)


@contextmanager
def typical_sizes(sizes: Mapping[str, int]) -> Iterator[None]:
    """What named dims are taken for inside (in this thread only)."""
    token = _typical.set(_Hints(sizes))
    try:
        yield
    finally:
        _typical.reset(token)


def size_hint(size: Size) -> int:
    """About how large `size` is: its value with `SIZE_HINT` for every named dim of which no other
    size is said to be typical (`typical_sizes`), at least 0.

    Costs are compared by it (the order of products, memory that is shared, what is recomputed):
    it may be wrong by any factor, so only speed may depend on it.

    >>> size_hint(dim("2*n + 1")), size_hint(7)
    (129, 7)
    """
    if isinstance(size, int):
        return max(size, 0)
    try:
        return max(evaluate(size, _typical.get()), 0)
    except ZeroDivisionError:  # such as n // (n - 64): a hint says nothing of it
        return SIZE_HINT


def _atom_value(atom: Atom, values: Mapping[str, int]) -> int:
    if isinstance(atom, str):
        return values[atom]
    left, right = evaluate(atom.left, values), evaluate(atom.right, values)
    return _FUNCTIONS[atom.function](left, right)


def substitute(size: Size, values: Mapping[str, Size]) -> Size:
    """`size` with names replaced by sizes; names not in `values` stay."""
    if isinstance(size, int):
        return size
    total: Size = 0
    for monomial, coefficient in size.terms:
        term: Size = coefficient
        for atom, power in monomial:
            if isinstance(atom, str):
                value: Size = values[atom] if atom in values else named(atom)
            else:
                left, right = substitute(atom.left, values), substitute(atom.right, values)
                value = _apply(atom.function, left, right)
            for _ in range(power):
                term = term * value
        total = total + term
    return total


def _apply(function: str, left: Size, right: Size) -> Size:
    return {"//": floordiv, "%": mod, "max": maximum, "min": minimum}[function](left, right)


def bind(size: Size, value: int, values: dict[str, int]) -> None:
    """Learn from `size == value`: solve for the one unknown name, or check.

    `values` gains the solved name. A size with several unknowns, or a non-linear one, is left
    for a later call (bind again once its names are known).
    Errors: `ShapeError` where the equation cannot hold.
    """
    unknown = names(size) - values.keys()
    if not unknown:
        try:
            known = evaluate(size, values)
        except ZeroDivisionError:
            raise ShapeError(f"the size {size} divides by 0 here") from None
        if known != value:
            what = f"the size {size} is {known} here" if names(size) else f"the size is {size}"
            raise ShapeError(f"{what}, not {value}")
        return
    if len(unknown) > 1 or isinstance(size, int):
        return
    (name,) = unknown
    try:
        at0, at1, at5 = (evaluate(size, values | {name: k}) for k in (0, 1, 5))
    except ZeroDivisionError:  # it is divided by the name
        return
    slope = at1 - at0
    if slope == 0 or at5 != at0 + 5 * slope:
        return
    solution, rest = divmod(value - at0, slope)
    if rest or solution < 0:
        raise ShapeError(f"no {name} >= 0 makes {size} equal to {value}")
    values[name] = solution


# -- the normal form -------------------------------------------------------------------------------
@lru_cache(4096)
def _key(monomial: Monomial) -> tuple[int, str]:
    degree = sum(power for _, power in monomial)
    return -degree, " ".join(f"{atom}^{power}" for atom, power in monomial)


def _sorted(monomial: Monomial) -> Monomial:
    return tuple(sorted(monomial, key=lambda item: str(item[0])))


def _times(m1: Monomial, m2: Monomial) -> Monomial:
    powers = dict(m1)
    for atom, power in m2:
        powers[atom] = powers.get(atom, 0) + power
    return _sorted(tuple(powers.items()))


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    return size.terms if isinstance(size, Dim) else (((), size),)


def _from_terms(terms: Mapping[Monomial, int]) -> Size:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return Dim(tuple(sorted(kept.items(), key=lambda item: _key(item[0]))))


def _sum(sizes: Iterable[Size]) -> Size:
    total: dict[Monomial, int] = {}
    for size in sizes:
        for monomial, coefficient in _terms(size):
            total[monomial] = total.get(monomial, 0) + coefficient
    return _from_terms(total)


def _atom(call: Call) -> Dim:
    return Dim(((((call, 1),), 1),))


def _text(terms: tuple[tuple[Monomial, int], ...]) -> str:
    parts: list[str] = []
    for monomial, coefficient in terms:
        factors = [_atom_text(a) for a, p in monomial for _ in range(p)]
        if abs(coefficient) != 1 or not factors:
            factors.insert(0, str(abs(coefficient)))
        sign = "-" if coefficient < 0 else "+"
        parts.append(f" {sign} {'*'.join(factors)}" if parts else f"{sign}{'*'.join(factors)}")
    return "".join(parts).removeprefix("+")


def _atom_text(atom: Atom) -> str:
    if isinstance(atom, str) or atom.function in ("max", "min"):
        return str(atom)
    return f"({atom})"
