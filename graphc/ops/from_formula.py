"""SymPy expressions as graphs: tensors in place of symbols, ops in place of functions.

You give expressions and the tensor of each symbol; you get one value for each expression: a tensor,
or a Python number where no symbol is in it. Equal subexpressions become one node. What no ops say
is collected, and one error lists all of it. Walks are iterative, and each subexpression is visited
once, so that an expression may be as deep or as shared as it likes.

Numbers are computed exactly and rounded once, to float64: of `sqrt(30)/pi*x` one multiplication is
left. A formula means what it means after SymPy's evaluation: neither the order of sums nor how a
power is computed is part of it (sums and products are trees; small powers are products).
`formula_functions.py` has the table of functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import sympy as sp

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.node import Tensor
from graphc.ir.operators import function
from graphc.ops.build import tensor
from graphc.ops.formula_functions import BUILDERS, REWRITES, in_closed_form, name_of
from graphc.ops.matrix_formula import entries, is_matrix, matrix_value
from graphc.ops.quadrature import guarded, integral

Value: TypeAlias = Tensor | complex | float | int | bool
Given: TypeAlias = Mapping[Any, Tensor]
# By its name, what gives a function, or its derivative of such an order by each argument.
Functions: TypeAlias = Mapping[str, Callable[[tuple[int, ...]], Callable[..., Any]]]


class Known(NamedTuple):
    """What is known beyond ops: functions, and what adds up, or multiplies, as many terms as a call
    says, from terms of an index and tensors, bounds and the tensors."""

    functions: Functions = MappingProxyType({})
    counted_sum: Callable[..., Tensor] | None = None
    counted_product: Callable[..., Tensor] | None = None


OPS = Known()  # nothing

_DIGITS = 25  # of numbers inside formulas, before they are rounded to float64
_LARGEST_POWER = 16  # that is a product rather than a power
_UNROLLED = 32  # terms of a sum that are written out; more of them are one reduction
_MOST_TERMS = 1_000_000
_SHOWN = 100  # characters of what an error lists


def values_of(
    expressions: Sequence[Any], given: Given, op: str = "from_sympy", known: Known = OPS
) -> list[Value]:
    """The values of `expressions`, with the tensors of `given` in place of its keys, and functions
    that are `known` in place of those of their names.

    Errors: `ArgumentError` that lists everything without a tensor or without an op.
    """
    walk = _Walk(given, known)
    values = [walk.value(e) for e in expressions]
    walk.problems.report(op)
    return [v for v in values if v is not None]  # None is reported


def tensors_of(
    expressions: Sequence[Any], given: Given, op: str = "from_sympy", known: Known = OPS
) -> list[Tensor]:
    """As `values_of`; what is a number is a weak tensor (`Tensor.weak`)."""
    return [tensor(v, op) for v in values_of(expressions, given, op, known)]


class Problems:
    """What of an expression cannot become a graph, in the order of its appearance."""

    def __init__(self) -> None:
        self.missing: dict[str, None] = {}
        self.unsupported: dict[str, str] = {}  # and a name of `_WAYS_OUT`, or none

    def report(self, op: str) -> None:
        """Errors: `ArgumentError` if there is anything."""
        parts = [
            f"{what}: {', '.join(found)}"
            for what, found in (
                ("without a tensor", self.missing),
                ("not supported", self.unsupported),
            )
            if found
        ]
        if parts:
            raise ArgumentError(
                "the expression cannot become a graph",
                op=op,
                expected="a tensor for each free symbol, and functions that docs/sympy.md lists",
                given="; ".join(parts),
                where=origin.where(),
                hint="; ".join(_WAYS_OUT[n] for n in self.unsupported.values() if n),
            )


# Instead of what has no op.
_WAYS_OUT = {
    "Integral": "limits such as (t, 0, x) make it a number; expression.doit() integrates what "
    "SymPy can",
    "infinite Sum": "SymPy knows no closed form of it: as many terms as are needed, (k, 0, 100), "
    "are a sum",
    "infinite Product": "SymPy knows no closed form of it: as many factors as are needed, "
    "(k, 1, 100), are a product",
    "infinite Integral": "what is integrated over all numbers has to vanish far out",
    "Poly": "poly.as_expr()",
    "Order": "series.removeO()",
    "DiracDelta": "it has no values: integrate it by .doit()",
}


class _Walk:
    """The values of subexpressions so far. A value is None where a problem is below it."""

    def __init__(
        self, given: Given, known: Known, problems: Problems | None = None
    ) -> None:
        self._given, self._known = given, known
        self._values: dict[Any, Value | None] = {}
        self._numbers: set[Any] = set()  # expressions without symbols, which are not converted
        self._others: dict[Any, Any] = {}  # what means the same, of what has no op itself
        self.problems = Problems() if problems is None else problems

    def value(self, expression: Any) -> Value | None:
        stack = [expression]
        while stack:
            e = stack[-1]
            if e in self._values or e in self._numbers:
                stack.pop()
                continue
            below = self._below(e)
            todo = [x for x in below if x not in self._values and x not in self._numbers]
            if todo:
                stack += reversed(todo)
                continue
            stack.pop()
            self._finish(e, below)
        return self._number(expression) if expression in self._numbers else self._values[expression]

    def _finish(self, e: Any, below: Sequence[Any]) -> None:
        if e not in self._given and self._is_number(e, below):
            self._numbers.add(e)
            return
        operands = [self._number(x) if x in self._numbers else self._values[x] for x in below]
        broken = any(x is None for x in operands)
        self._values[e] = None if broken else self._build(e, operands)

    # -- the parts of an expression ----------------------------------------------------------------
    def _below(self, e: Any) -> tuple[Any, ...]:
        """The expressions whose values decide that of `e`, in the order that `_build` takes."""
        if e in self._given or not e.args:
            return ()
        if (applied := self._applied(e)) is not None:
            return applied.args
        if _is_leaf(e):
            return ()
        if is_matrix(e):
            return entries(e)
        if e.is_Mul:
            return tuple(x for x, _ in _factors(e))
        if e.is_Pow and e.exp.is_Rational:
            return (sp.Pow(e.base, -e.exp) if e.exp < 0 else e.base,)
        if isinstance(e, sp.Piecewise):
            return tuple(x for pair in e.args for x in pair.args)
        rewritten = self._rewritten(e)
        return tuple(a for a in e.args if _is_value(a)) if rewritten is None else (rewritten,)

    def _applied(self, e: Any) -> _Applied | None:
        """What `e` is if it is one of the functions that are given, or a derivative of one."""
        made, orders = _applied(e)
        if made is None:
            return None
        name = name_of(made)
        here = self._known.functions.get(name)
        stated = getattr(made.func, "_imp_", None)  # by SymPy's implemented_function
        if here is None and stated is not None and not any(orders):
            here = _only(stated)
        return None if here is None else _Applied(here(orders), made.args)

    def _rewritten(self, e: Any) -> Any:
        """Another expression that means `e`, or None."""
        if e not in self._others:
            rewrite = REWRITES.get(name_of(e))
            other = None if rewrite is None else rewrite(e)
            self._others[e] = None if other is None or other == e else other
        return self._others[e]

    def _is_number(self, e: Any, below: Sequence[Any]) -> bool:
        if is_matrix(e) or self._applied(e) is not None:
            return False
        if isinstance(e, _BOUND):
            return not e.free_symbols
        if not below:
            return bool(e.is_Number or e.is_NumberSymbol or e in (sp.zoo, sp.I))
        if self._others.get(e) is not None and e.free_symbols:
            return False  # a derivative that is 0
        return e.is_Boolean is False and all(x in self._numbers for x in below)

    # -- values ------------------------------------------------------------------------------------
    def _build(self, e: Any, operands: Sequence[Any]) -> Value | None:
        if e in self._given:
            return self._given[e]
        if e is sp.true or e is sp.false:
            return e is sp.true
        if (applied := self._applied(e)) is not None:
            return tensor(applied.function(*operands), name_of(e))
        if isinstance(e, (sp.Sum, sp.Product)):
            return self._sum(e)
        if isinstance(e, sp.Integral):
            return self._integral(e)
        if _is_element(e):
            return self._element(e)
        if is_matrix(e) and not isinstance(e, sp.MatrixSymbol):
            made = matrix_value(e, operands)
            return self._lacking(e) if made is None else made
        if e.is_Add:
            return self._total(e, operands)
        if e.is_Mul:
            return self._product(e, operands)
        if e.is_Pow:
            return self._power(e, operands)
        if isinstance(e, sp.Piecewise):
            return _pieces(operands)
        if self._others.get(e) is not None:
            (rewritten,) = operands
            return rewritten  # type: ignore[no-any-return]
        build = None if not operands else BUILDERS.get(name_of(e))
        made = None if build is None else build(*operands)
        return self._lacking(e) if made is None else made

    def _lacking(self, e: Any) -> Value | None:
        """No value: what is missing is noted."""
        known = _is_leaf(e) and not isinstance(e, _BOUND)
        text = _short(e if known or not e.args else name_of(e))
        if known or e.is_Symbol:
            self.problems.missing[text] = None
        else:
            self.problems.unsupported[text] = text if text in _WAYS_OUT else ""
        return None

    def _number(self, e: Any) -> Value | None:
        """A number, exactly where it is an int, else rounded once to float64."""
        if e.is_Integer and abs(e) <= _LARGEST_INT:
            return int(e)
        value = e.evalf(_DIGITS)
        if value.has(*_BOUND):  # SymPy has digits for sums over one index only
            value = e.doit().evalf(_DIGITS)
        if value.is_extended_real and value.is_number and (value.is_Float or value.is_Rational):
            return float(value)
        if value in (sp.oo, -sp.oo, sp.nan):
            return float(value)
        real, imag = value.as_real_imag()
        if all(part.is_Float or part.is_Rational for part in (real, imag)):
            return complex(float(real), float(imag))
        self.problems.unsupported[f"{_short(e)}, which is not a number"] = ""
        return None

    def _total(self, e: Any, operands: Sequence[Any]) -> Value | None:
        numbers = [x for x in e.args if x in self._numbers]
        constant = self._number(sp.Add(*numbers))
        if constant is None:
            return None
        pairs = zip(e.args, operands, strict=True)
        return _sum_of([*(v for x, v in pairs if x not in self._numbers), constant])

    def _product(self, e: Any, operands: Sequence[Any]) -> Value | None:
        """c * (product of factors) / (product of divisors), c the product of all numbers."""
        constant, over, under = sp.S.One, [], []  # type: ignore[var-annotated]
        for (x, divides), value in zip(_factors(e), operands, strict=True):
            if x in self._numbers:
                constant = constant / x if divides else constant * x
            else:
                (under if divides else over).append(value)
        c = self._number(constant)
        if c is None:
            return None
        if not over:
            return _call("divide", _as_float(c), _tree("multiply", under))
        top = _tree("multiply", over)
        if c == -1:
            top = _call("negative", top)
        elif c != 1:
            top = _call("multiply", c, top)
        return _call("divide", top, _tree("multiply", under)) if under else top

    def _power(self, e: Any, operands: Sequence[Any]) -> Value | None:
        exponent = e.exp
        if not exponent.is_Rational:
            return _call("power", *map(_as_real, operands))
        (x,) = operands
        if exponent < 0:
            return _call("divide", 1.0, x)
        whole, rest = divmod(exponent, 1)
        if whole <= _LARGEST_POWER and rest in (0, sp.S.Half):
            root = [_call("sqrt", x)] if rest else []
            return _tree("multiply", [*root, *_integer_power(x, int(whole))])
        return _call("power", _as_real(x), float(exponent))

    # -- sums and products over an index -----------------------------------------------------------
    def _sum(self, e: Any) -> Value | None:
        """The last limit is the outer one: the term is the sum over the others."""
        *inner, (index, low, high) = e.limits
        term = e.func(e.function, *inner) if inner else e.function
        numbers = low.is_Integer and high.is_Integer
        if low.is_infinite or high.is_infinite:
            closed = in_closed_form(e)
            return self._bound(e, index, low, high) if closed is None else self.value(closed)
        if not numbers and self._known.counted_sum is not None:
            return self._counted(e, term, index, low, high)
        if not numbers or high - low > _MOST_TERMS:
            return self._bound(e, index, low, high)
        backwards = high < low - 1  # Karr's convention: what is missing is taken away
        first, last = (int(high) + 1, int(low) - 1) if backwards else (int(low), int(high))
        name = "sum" if isinstance(e, sp.Sum) else "prod"
        bounds_other = any(b.has(index) for limits in inner for b in limits[1:])
        if last - first < _UNROLLED or bounds_other:
            total = self._unrolled(term, index, range(first, last + 1), name)
        else:
            total = self._reduced(term, index, range(first, last + 1), name)
        if total is None or not backwards:
            return total
        return _call("negative", total) if name == "sum" else _call("divide", 1.0, total)

    def _unrolled(self, term: Any, index: Any, steps: range, name: str) -> Value | None:
        found = [self.value(term.xreplace({index: sp.Integer(i)})) for i in steps]
        terms = [t for t in found if t is not None]
        if len(terms) < len(found):
            return None
        if name == "sum":
            return _sum_of(terms)
        return _tree("multiply", terms) if terms else 1

    def _reduced(self, term: Any, index: Any, steps: range, name: str) -> Value | None:
        """The terms along a new last axis, over which one reduction goes."""
        positions = tensor([float(i) for i in steps], "from_sympy")
        given = {**self._widened(term), index: positions}
        terms = _Walk(given, self._known, self.problems).value(term)
        if terms is None:
            return None
        if not term.has(index):
            alone = self.value(term)
            count = float(len(steps))
            return _call("multiply" if name == "sum" else "power", alone, count)
        return _call(name, terms, axis=-1)

    def _widened(self, term: Any) -> dict[Any, Tensor]:
        """What a term uses, with one axis more."""
        used = {s: t for s, t in self._given.items() if term.has(s)}
        return {s: t if _has_elements(s) else _call("expand_dims", t, -1) for s, t in used.items()}

    def _bound(self, e: Any, *limits: Any) -> Value | None:
        """A sum, product or integral that has no value here, which is noted."""
        index, *ends = limits
        span = f" from {ends[0]} to {ends[1]}" if len(ends) == 2 else ""
        way = f"infinite {name_of(e)}" if any(b.is_infinite for b in ends) else name_of(e)
        text = _short(f"{name_of(e)} over {index}{span}")
        self.problems.unsupported[text] = way if way in _WAYS_OUT else ""
        return None

    def _integral(self, e: Any) -> Value | None:
        """The last limit is the outer one, as in sums."""
        *inner, (variable, *bounds) = e.limits
        term = e.func(e.function, *inner) if inner else e.function
        if len(bounds) < 2:
            return self._bound(e, variable)
        low, high = (_as_real(b) if b is not None else b for b in map(self.value, bounds))
        if low is None or high is None:
            return None
        wide = self._widened(term)

        endless = any(b.is_infinite for b in bounds)
        if endless and not term.has(variable):
            return self._bound(e, variable, *bounds)

        def terms(places: Tensor) -> Value | None:
            given = {
                s: guarded(t, places) if endless and not _has_elements(s) else t
                for s, t in wide.items()
            }
            return _Walk({**given, variable: places}, self._known, self.problems).value(term)

        found: Value | None = integral(terms, low, high, str(variable))
        return found

    def _counted(self, e: Any, term: Any, index: Any, low: Any, high: Any) -> Value | None:
        """A sum or a product whose bounds are values of the call."""
        bounds = [self.value(low), self.value(high)]
        used = {s: t for s, t in self._given.items() if term.has(s)}

        def terms(position: Any, *tensors: Tensor) -> list[Any]:
            moved = {**used, **dict(zip(used, tensors, strict=True)), index: position}
            return [_Walk(moved, self._known, self.problems).value(term)]

        (first,) = terms(tensor(1.0, "from_sympy"), *used.values())  # for what is missing in it
        if first is None or any(b is None for b in bounds):
            return None
        if not isinstance(first, Tensor) or not term.has(index):
            count = sp.floor(high - low) + 1
            return self.value(count * term if isinstance(e, sp.Sum) else term**count)
        known = self._known
        total = known.counted_sum if isinstance(e, sp.Sum) else known.counted_product
        assert total is not None
        return total(terms, *map(_as_real, bounds), list(used.values()))

    # -- elements ----------------------------------------------------------------------------------
    def _element(self, e: Any) -> Value | None:
        """`x[i, j]` of a tensor that has these as its last axes."""
        base, *indices = (e.base, *e.indices) if isinstance(e, sp.Indexed) else e.args
        held = self._given.get(base)
        if held is None:
            return self._lacking(e)
        places: list[Any] = [self.value(i) for i in indices]
        if any(p is None for p in places):
            return None
        if all(isinstance(p, int) for p in places):
            return held[(..., *places)]
        rank = held.ndim - len(places)
        sizes = held.shape[rank:]
        flat: Any = 0
        stride: Any = 1
        for place, size in zip(reversed(places), reversed(sizes), strict=True):
            flat, stride = place * stride + flat, stride * size
        rows = held.reshape((*held.shape[:rank], stride))
        return _call("take", rows, _call("astype", flat, "int64"), axis=rank)


class _Applied(NamedTuple):
    """A function that is given, or its derivative, and what it is taken of."""

    function: Callable[..., Any]
    args: tuple[Any, ...]


def _only(f: Callable[..., Any]) -> Callable[[tuple[int, ...]], Callable[..., Any]]:
    """A function whose derivatives are not asked for."""
    return lambda orders: f


def _applied(e: Any) -> tuple[Any, tuple[int, ...]]:
    """A function of arguments, and how often it is differentiated by each of them:

    f(x, y)  Derivative(f(x, y), x)  Subs(Derivative(f(t), t), t, 2*x); None for anything else.
    """
    point: dict[Any, Any] = {}
    if isinstance(e, sp.Subs):
        e, point = e.expr, dict(zip(e.variables, e.point, strict=True))
    inner = e.expr if isinstance(e, sp.Derivative) else e
    if not isinstance(inner, sp.Function):
        return None, ()
    orders = [0] * len(inner.args)
    for variable, count in e.variable_count if isinstance(e, sp.Derivative) else ():
        places = [i for i, a in enumerate(inner.args) if a.has(variable)]
        if len(places) != 1 or inner.args[places[0]] != variable or not count.is_Integer:
            return None, ()
        orders[places[0]] += int(count)
    return inner.xreplace(point), tuple(orders)


_LARGEST_INT = 1 << 53
_BOUND = (sp.Sum, sp.Product, sp.Integral, sp.ComplexRootOf)


def _call(name: str, *operands: Any, **options: Any) -> Tensor:
    made: Tensor = function(name)(*operands, **options)
    return made


def _short(e: Any) -> str:
    text = str(e)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_value(e: Any) -> bool:
    """Whether it is a number or a truth value, or one of a matrix: not a tuple of limits, say."""
    return isinstance(e, (sp.Expr, sp.logic.boolalg.Boolean, sp.MatrixBase, sp.MatrixExpr))


def _is_leaf(e: Any) -> bool:
    """Whether what it is made of is not looked at, unless it is given."""
    unknown = (sp.core.function.AppliedUndef, sp.Derivative, sp.Subs)
    if isinstance(e, unknown[1:]):
        return bool(REWRITES["Derivative"](e) == e)
    return isinstance(e, (*_BOUND, unknown[0])) or _is_element(e) or _has_elements(e)


def _is_element(e: Any) -> bool:
    return isinstance(e, (sp.Indexed, sp.matrices.expressions.matexpr.MatrixElement)) or (
        name_of(e) == "ArrayElement"
    )


def _has_elements(s: Any) -> bool:
    """Whether a key of `given` stands for an array, whose elements are used."""
    return isinstance(s, (sp.IndexedBase, sp.MatrixSymbol)) or name_of(s) == "ArraySymbol"


def _factors(e: Any) -> list[tuple[Any, bool]]:
    """The factors of a product, and whether it is divided by them.

    exp(-x) stays a factor: 1/exp(x) goes by way of infinity.
    """
    found = []
    for x in e.args:
        divides = x.is_Pow and x.exp.is_Rational and x.exp < 0
        found.append((sp.Pow(x.base, -x.exp) if divides else x, divides))
    return found


def _sum_of(terms: Iterable[Any]) -> Value:
    """The sum; of what is negated, one difference. Numbers are added first."""
    over: list[Value] = []
    under: list[Value] = []
    number: Any = 0
    for term in terms:
        if not isinstance(term, Tensor):
            number += term
        elif term.node.op.name == "negative":
            under.append(term.node.inputs[0])
        else:
            over.append(term)
    if over and not isinstance(number, complex) and number < 0:
        under.append(-number)  # exp(x) - 1, as rules of formulas that cancel have it
    elif number or not (over or under):
        over.append(number)
    if not over:
        return _call("negative", _tree("add", under))
    total = _tree("add", over)
    return _call("subtract", total, _tree("add", under)) if under else total


def _tree(name: str, values: Sequence[Value]) -> Value:
    """`values` joined in a balanced tree, which rounds less than a chain and waits less."""
    level = list(values)
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [_join(name, *p) if len(p) == 2 else p[0] for p in pairs]
    return level[0]


def _join(name: str, x: Value, y: Value) -> Value:
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return _call(name, x, y)
    return x * y if name == "multiply" else x + y


def _integer_power(x: Any, exponent: int) -> list[Any]:
    """Factors whose product is the power, by repeated squares."""
    factors = []
    while exponent:
        if exponent & 1:
            factors.append(x)
        exponent >>= 1
        x = _call("square", x) if exponent else x
    return factors


def _pieces(operands: Sequence[Any]) -> Value:
    """The value of the first condition that holds; NaN where none does."""
    result: Any = math.nan
    for value, condition in reversed([*zip(operands[::2], operands[1::2], strict=True)]):
        value = _as_float(value)
        result = value if condition is True else _call("where", condition, value, result)
    return result  # type: ignore[no-any-return]


def _as_float(value: Any) -> Any:
    """An int among the numbers of a formula is a real number."""
    return float(value) if type(value) is int else value


def _as_real(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value.dtype.has_derivative else _call("astype", value, "float64")
    return value if isinstance(value, complex) else float(value)
