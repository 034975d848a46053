"""Partial derivatives of scalar functions in stable terms, from their SymPy formulas.

You give formulas by name; you get each partial derivative as an expression over the operands, the
result `out`, and the functions named. `exp(-x)/(1 + exp(-x))**2` is inf/inf at -1000; the same
derivative as `out*(1 - out)` is exact there, so a form in `out` is looked for first.

How: known functions inside a formula become SymPy functions with a derivative of their own, then
SymPy differentiates. A few other forms (a polynomial in `out` of degree 2 with rational
coefficients, `c*out`, `c/out`, `c*out/x`, `c*g(x)` for a known g) are tried at sample points,
kept where SymPy proves them equal to the derivative, and the cheapest wins.
`tests/symbolic/generate_partials.py` prints the table of the built-in ops (`symbolic/partials.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import sympy as sp

Formula: TypeAlias = Callable[..., Any]  # (sympy, *operands) -> expression
Point: TypeAlias = Mapping[sp.Symbol, sp.Rational]

OUT = sp.Symbol("out", real=True)
_SAMPLES = tuple(sp.Rational(p, q) for p, q in ((1, 3), (5, 7), (-2, 5), (9, 4), (7, 2), (-5, 3)))
_DIGITS = 40
_EPSILON = sp.Float("1e-25", _DIGITS)
_LARGEST_DENOMINATOR = 16
_FUNCTION_COST = 12


def symbols(formula: Formula) -> tuple[sp.Symbol, ...]:
    """A real symbol for each operand of `formula`, named as its parameters."""
    names = list(inspect.signature(formula).parameters)[1:]
    return tuple(sp.Symbol(name, real=True) for name in names)


def partials(formula: Formula, known: Mapping[str, Formula]) -> tuple[sp.Expr, ...]:
    """The partial derivative by each operand, over the operands, `OUT` and functions of `known`.

    A function that SymPy lacks (`sigmoid`) appears as a function of that name.

    >>> formulas = {"tanh": lambda s, x: s.tanh(x)}
    >>> partials(formulas["tanh"], formulas)
    (1 - out**2,)
    """
    operands = symbols(formula)
    value = formula(sp, *operands)
    points = [p for p in _points(operands) if _number(value, p) is not None]
    result: list[sp.Expr] = []
    for operand in operands:
        plain = sp.diff(value, operand)
        derived = sp.diff(in_known_functions(value, known), operand)
        forms = [
            *_in_known_function(plain, operands, points, known),
            derived,
            *_in_result(value, plain, operands, points),
        ]
        result.append(derived if plain.is_number else min(forms, key=_cost))
    return tuple(result)


# -- known functions inside a formula --------------------------------------------------------------
def in_known_functions(
    value: sp.Expr,
    known: Mapping[str, Formula],
    whole: bool = False,
    make: Callable[[str], Any] | None = None,
) -> sp.Expr:
    """`value` with sub-expressions such as `log(1 + exp(u))` replaced by `softplus(u)`.

    The functions know their stable derivatives: those that `make` gives, or that are derived here.
    `value` itself is replaced if `whole`.
    """
    u = sp.Wild("u")
    patterns = {name: f(sp, u) for name, f in known.items() if len(symbols(f)) == 1}
    for name, pattern in sorted(patterns.items(), key=lambda item: -item[1].count_ops()):
        if pattern.args == (u,) or not pattern.has(sp.exp, sp.log):
            continue  # SymPy's own function, or no danger of overflow
        function = _differentiable(name, known) if make is None else make(name)

        kept = None if whole else value

        def matches(e: Any, kept: Any = kept, pattern: Any = pattern) -> bool:
            found = e.match(pattern) if e != kept else None
            return found is not None and e.has(found[u]) and not found[u].is_number

        value = value.replace(matches, lambda e, p=pattern, g=function: g(e.match(p)[u]))
    return value


def _differentiable(name: str, known: Mapping[str, Formula]) -> Any:
    """A SymPy function `name` whose derivative is the stable form of that of its formula."""

    def fdiff(self: Any, argindex: int = 1) -> sp.Expr:
        (x,) = symbols(known[name])
        (partial,) = partials(known[name], known)
        return partial.subs({OUT: self, x: self.args[0]}, simultaneous=True)

    return type(name, (sp.Function,), {"fdiff": fdiff})


# -- other forms, each proven equal to the derivative ----------------------------------------------
def _in_result(
    value: sp.Expr, derivative: sp.Expr, operands: Sequence[sp.Symbol], points: Sequence[Point]
) -> Iterator[sp.Expr]:
    """`c*out`, `c/out`, `c*out/x`, or a polynomial in `out`, where it is the derivative."""
    for form in (OUT, 1 / OUT, *(OUT / x for x in operands)):
        factor = _constant_ratio(derivative, form.subs(OUT, value), points)
        if factor is not None:
            yield factor * form
    polynomial = _polynomial_in_result(value, derivative, points)
    if polynomial is not None:
        yield polynomial


def _polynomial_in_result(
    value: sp.Expr, derivative: sp.Expr, points: Sequence[Point]
) -> sp.Expr | None:
    """`c0 + c1*out + c2*out**2` where simple rationals c make it the derivative, else None."""
    values, slopes = ([_number(e, p) for p in points] for e in (value, derivative))
    if len(points) < 4 or None in slopes:
        return None
    powers = sp.Matrix([[v**k for k in range(3)] for v in values])
    if abs(powers[:3, :].det()) < _EPSILON:
        return None
    wanted = sp.Matrix(slopes)
    fitted = powers[:3, :].LUsolve(wanted[:3, :])
    coefficients = [sp.nsimplify(c, rational=True, tolerance=_EPSILON) for c in fitted]
    error = powers * sp.Matrix(coefficients) - wanted
    if any(abs(e) > _EPSILON for e in error) or any(
        c.q > _LARGEST_DENOMINATOR for c in coefficients
    ):
        return None
    polynomial = sum(c * OUT**k for k, c in enumerate(coefficients))
    if _simplified(polynomial.subs(OUT, value) - derivative) != 0:
        return None
    return sp.horner(polynomial, wrt=OUT)


def _in_known_function(
    derivative: sp.Expr,
    operands: Sequence[sp.Symbol],
    points: Sequence[Point],
    known: Mapping[str, Formula],
) -> Iterator[sp.Expr]:
    """`c*g(x)` for each known function g and a constant c that make it the derivative."""
    for name, formula in known.items():
        if len(operands) == len(symbols(formula)) == 1:
            factor = _constant_ratio(derivative, formula(sp, *operands), points)
            if factor is not None:
                yield factor * sp.Function(name)(*operands)


def _constant_ratio(a: sp.Expr, b: sp.Expr, points: Sequence[Point]) -> sp.Expr | None:
    """The constant a/b, or None. Sample points refuse the most part; SymPy proves the rest."""
    if b == 0:
        return None
    ratios = [_number(a / b, p) for p in points]
    if len(ratios) < 3 or any(r is None or abs(r - ratios[0]) > _EPSILON for r in ratios):
        return None
    ratio = _simplified(a / b)
    return ratio if ratio.is_number else None


def _simplified(e: sp.Expr) -> sp.Expr:
    return sp.simplify(e.rewrite(sp.exp))


def _points(operands: Sequence[sp.Symbol]) -> Iterator[Point]:
    for i in range(len(_SAMPLES)):
        yield {x: _SAMPLES[(i + 2 * j) % len(_SAMPLES)] for j, x in enumerate(operands)}


def _number(e: sp.Expr, point: Point) -> Any:
    """The value of `e` at `point`, or None outside its domain."""
    value = e.subs(point).evalf(_DIGITS)
    return value if value.is_real and value.is_finite else None


def _cost(form: sp.Expr) -> int:
    functions = [e for e in sp.preorder_traversal(form) if _is_function(e)]
    return int(sp.count_ops(form)) + _FUNCTION_COST * len(functions)


def _is_function(e: Any) -> bool:
    fractional_power = isinstance(e, sp.Pow) and not e.exp.is_Integer
    return isinstance(e, sp.Function) or fractional_power


# -- the generated table ---------------------------------------------------------------------------
_HEADER = '''\
"""Partial derivatives of the scalar ops, generated by `python -m tests.symbolic.generate_partials`.

Each function gives one factor for each operand; `f(name)` is the public function of that name.
"""

from __future__ import annotations

from typing import Any
'''


def table(wanted: Iterable[str], formulas: Mapping[str, Formula]) -> str:
    """The Python source of the partials of `wanted`; all of `formulas` may appear in them."""
    return _HEADER + "".join(_definition(name, formulas) for name in wanted)


def _definition(name: str, formulas: Mapping[str, Formula]) -> str:
    operands = symbols(formulas[name])
    factors = [
        str(d) if d in (1, -1) else f"lambda: {source(d)}"
        for d in partials(formulas[name], formulas)
    ]
    if len(factors) == 1:
        returned = f"({factors[0]},)"
    else:
        returned = ", ".join(f"({t})" if t.startswith("lambda") else t for t in factors)
    parameters = ", ".join(f"{x}: Any" for x in operands)
    head = f"def {name}(f: Any, out: Any, {parameters}) -> tuple[Any, ...]:"
    return f"\n\n{head}\n    return {returned}\n"


_SUM, _PRODUCT, _ATOM = range(3)


def source(expression: sp.Expr) -> str:
    """Python source of an expression over tensors; functions are `f("name")(...)`.

    >>> source(1 - OUT**2)
    '1 - out * out'
    """
    return _text(expression)[0]


def _text(e: sp.Expr) -> tuple[str, int]:
    """The source and how tightly it binds."""
    if e.is_number:
        text = str(int(e)) if e.is_Integer else repr(float(e))
        return text, _SUM if text.startswith("-") else _ATOM
    if e.is_Symbol:
        return str(e), _ATOM
    if e.is_Add:
        return _sum_text(e), _SUM
    if e.is_Mul or (e.is_Pow and (e.exp.is_Integer or e.exp.could_extract_minus_sign())):
        return _product_text(e)
    if e.is_Pow:
        name, arguments = ("sqrt", [e.base]) if e.exp == sp.S.Half else ("power", [*e.args])
    else:
        name, arguments = _OP_NAMES.get(e.func.__name__, e.func.__name__), [*e.args]
    return f'f("{name}")({", ".join(source(a) for a in arguments)})', _ATOM


_OP_NAMES = {"Abs": "abs", "Max": "maximum", "Min": "minimum", "ceiling": "ceil"}


def _sum_text(e: sp.Expr) -> str:
    first, *rest = e.as_ordered_terms()
    result = source(first)
    for term in rest:
        minus = term.could_extract_minus_sign()
        result += f" - {source(-term)}" if minus else f" + {source(term)}"
    return result


def _product_text(e: sp.Expr) -> tuple[str, int]:
    coefficient, rest = e.as_independent(*e.free_symbols, as_Add=False)
    over: list[str] = []
    under: list[str] = []
    for factor in sp.Mul.make_args(rest):
        base, exponent = factor.as_base_exp()
        if base.is_number:  # exp(-x**2) stays itself: 1/exp(x**2) goes by way of infinity
            base, exponent = factor, sp.Integer(1)
        side = under if exponent.could_extract_minus_sign() else over
        if exponent.is_Integer:
            text, binding = _text(base)
            side += [text if binding == _ATOM else f"({text})"] * abs(int(exponent))
        else:
            side.append(source(1 / factor if side is under else factor))
    sign = "-" if coefficient < 0 else ""
    if abs(coefficient) != 1 or not over:
        over.insert(0, _text(abs(coefficient))[0])
    top, bottom = " * ".join(over), " * ".join(under)
    if under:
        bottom = f"({bottom})" if len(under) > 1 else bottom
        return f"{sign}{top} / {bottom}", _SUM if sign else _PRODUCT
    if sign and len(over) > 1 and abs(coefficient) == 1:
        top = f"({top})"
    return f"{sign}{top}", _SUM if sign else _PRODUCT
