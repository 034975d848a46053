"""Formulas of users as text and back, and their derivatives.

A formula is over `x0`, `x1`, ... (and `k0`, ... inside sums), so that no name of the user's is in
it. The text is SymPy's own form; it is read by a grammar of numbers, operators and named functions,
never evaluated. What it reads to is the formula: SymPy may have brought it into another form.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

from graphc.errors import GradientError, GraphError
from graphc.ir.op import registry
from graphc.ir.parsing import parse_expression
from graphc.ops.formula_functions import BUILDERS, REWRITES
from graphc.ops.scalar import DERIVED
from graphc.symbolic import partials
from graphc.symbolic.derive import in_known_functions

_KEPT = 1024  # formulas and derivatives that are remembered
_LONGEST = 100_000  # characters
_SYMBOL = re.compile(r"([xk])(0|[1-9][0-9]{0,3})\Z")
_CONSTANTS = {
    name: getattr(sp, name)
    for name in ("pi", "E", "oo", "nan", "EulerGamma", "Catalan", "GoldenRatio", "true", "false")
} | {"True": sp.true, "False": sp.false}
_RELATIONS: dict[type[ast.cmpop], Any] = {
    ast.Lt: sp.Lt, ast.LtE: sp.Le, ast.Gt: sp.Gt, ast.GtE: sp.Ge,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.BitAnd: sp.And,
    ast.BitOr: sp.Or,
    ast.BitXor: sp.Xor,
}


def argument(position: int) -> sp.Symbol:
    """What stands for an argument of a formula."""
    return sp.Symbol(f"x{position}", real=True)


def _index(position: int) -> sp.Symbol:
    return sp.Symbol(f"k{position}", integer=True)


# -- writing ---------------------------------------------------------------------------------------
class _Printer(StrPrinter):  # type: ignore[misc]
    def _print_Float(self, e: Any) -> str:  # noqa: N802  (SymPy finds it by this name)
        return repr(float(e))


def write(formula: Any, symbols: Sequence[Any]) -> str:
    """The text of a formula, in which `symbols` are its arguments."""
    bound = [limits[0] for s in formula.atoms(sp.Sum, sp.Product) for limits in s.limits]
    names: dict[Any, Any] = {s: argument(i) for i, s in enumerate(symbols)}
    names |= {s: _index(i) for i, s in enumerate(sorted(set(bound), key=str))}
    return str(_Printer().doprint(formula.xreplace(names)))


# -- reading ---------------------------------------------------------------------------------------
@lru_cache(_KEPT)
def read(text: str) -> Any:
    """The formula of a text. Errors: `GraphError` for what is none."""
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        return sp.sympify(_value(parse_expression(text)))
    except (
        ValueError,
        TypeError,
        SyntaxError,
        AttributeError,
        RecursionError,
        MemoryError,
    ) as error:
        raise GraphError(f"not a formula: {error}", op="formula", given=text[:80]) from None


def _value(tree: ast.expr) -> Any:
    match tree:
        case ast.Constant(value=bool() | None):
            return _CONSTANTS[str(tree.value)]
        case ast.Constant(value=int() as number):
            return sp.Integer(number)
        case ast.Constant(value=float() as number):
            return sp.Float(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Name(id=name) if found := _SYMBOL.match(name):
            return (argument if found[1] == "x" else _index)(int(found[2]))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return sp.Not(_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _RELATIONS:
            return _RELATIONS[type(op)](_value(left), _value(right))
        case ast.Tuple(elts=items):
            return tuple(map(_value, items))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return _function(name)(*map(_value, args))
    raise ValueError("not made of numbers, arguments, operators and functions")


_ALSO = ("sqrt", "cbrt", "root", "Piecewise", "Sum", "Product", "Eq", "Ne", "I")
_UNSAFE = {"Derivative", "Subs"}  # which SymPy evaluates


def _function(name: str) -> Any:
    from sympy.codegen import cfunctions, numpy_nodes

    known = (name in BUILDERS or name in REWRITES or name in _ALSO) and name not in _UNSAFE
    for module in (sp, cfunctions, numpy_nodes) if known else ():
        found = getattr(module, name, None)
        if found is not None:
            return found
    raise ValueError(f"no function is called {name[:40]!r}")


# -- derivatives -----------------------------------------------------------------------------------
def _of_real(name: str, slope: Callable[..., Any]) -> Any:
    """SymPy's function `name` of what is real, whatever SymPy knows of that: with the derivative
    beside its steps and kinks."""

    def fdiff(self: Any, argindex: int = 1) -> Any:
        return slope(*self.args)

    return type(name, (sp.Function,), {"fdiff": fdiff})


_SIGN = _of_real("sign", lambda u: sp.S.Zero)
_ABS = _of_real("Abs", _SIGN)
_REAL: dict[Any, Callable[..., Any]] = {
    sp.re: lambda u: u,
    sp.conjugate: lambda u: u,
    sp.im: lambda u: sp.S.Zero,
    sp.frac: lambda u: u - sp.floor(u),
    sp.Mod: lambda u, v: u - v * sp.floor(u / v),
    sp.floor: _of_real("floor", lambda u: sp.S.Zero),
    sp.ceiling: _of_real("ceiling", lambda u: sp.S.Zero),
    sp.sign: _SIGN,
    sp.Abs: _ABS,
}


@cache
def _known_function(name: str) -> Any:
    """An op as a function of SymPy, with the derivative that is in the table of partials."""

    def fdiff(self: Any, argindex: int = 1) -> Any:
        (factor,) = getattr(partials, name)(_of_name, self, *self.args)
        return factor() if callable(factor) else factor

    return type(name, (sp.Function,), {"fdiff": fdiff})


def _of_name(name: str) -> Any:
    return getattr(sp, name, None) or _known_function(name)


@lru_cache(_KEPT)
def derivative(text: str, orders: tuple[int, ...]) -> Any:
    """The derivative of a formula, `orders[i]` times by argument i, in stable terms.

    At jumps it is that beside them: 0 for a step. Errors: `GradientError` where SymPy knows none.
    """
    if not any(orders):
        return read(text)
    last = max(i for i, n in enumerate(orders) if n)
    lower = tuple(n - (i == last) for i, n in enumerate(orders))
    found = computed(text, lower).diff(argument(last)).replace(sp.DiracDelta, lambda *_: sp.S.Zero)
    if found.has(sp.Derivative, sp.Subs):
        raise GradientError("no derivative is known", op="formula", given=text[:80])
    return found


@lru_cache(_KEPT)
def computed(text: str, orders: tuple[int, ...]) -> Any:
    """The form of a formula, or of a derivative, that is computed."""
    return derivative(text, orders) if any(orders) else _stable(read(text))


def _stable(value: Any) -> Any:
    """`value` with functions of what is real, and `softplus(u)` for `log(1 + exp(u))` and so on."""
    for function, of_real in _REAL.items():
        value = value.replace(function, of_real)
    if not value.has(sp.exp, sp.log):
        return value
    ops = registry()
    known = {n: f for n in DERIVED if hasattr(partials, n) and (f := ops[n].formula) is not None}
    return in_known_functions(value, known, whole=True, make=_known_function)
