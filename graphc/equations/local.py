"""Derivatives of what works element by element, and simplified forms, by SymPy."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import sympy as sp

from graphc.errors import ArgumentError
from graphc.ir.node import Tensor
from graphc.symbolic.derive import OUT, partials
from graphc.symbolic.formula import formula

_LARGEST = 80  # operations in what SymPy is asked to simplify
_UNWANTED = (sp.Heaviside, sp.DiracDelta, sp.Derivative, sp.Subs, sp.Piecewise, sp.sign)


def expression(t: Tensor, symbols: Mapping[Tensor, Any]) -> Any:
    """The SymPy expression of an element of `t`, or None where it is not elementwise."""
    try:
        return formula(t, symbols)
    except ArgumentError:
        return None


def along(part: Tensor, symbols: Mapping[Tensor, Any], by: sp.Symbol, result: sp.Symbol) -> Any:
    """The derivative of an element of `part`, which is called `result`, by that of a symbol; None
    where it is not elementwise, or SymPy has no plain form.

    Of a function of something it is that of the function, in terms of the result where there is
    such a form, times that of its argument: of tanh(w x) it is (1 - p^2) x.
    """
    value = expression(part, symbols)
    if value is None:
        return None
    node = part.node
    if node.op.formula is not None and len(node.inputs) == 1 and node.inputs[0].node.inputs:
        x = sp.Symbol("x", real=True)
        outer = derivative(node.op.formula(sp, x, **node.attrs), x, result)
        inner = along(node.inputs[0], symbols, by, sp.Dummy())
        if outer is not None and inner is not None and outer.free_symbols == {result}:
            return simplified(outer * inner)
    return derivative(value, by, result)


def derivative(value: Any, by: sp.Symbol, result: sp.Symbol) -> Any:
    """The derivative of an expression, in terms of its `result` where that is simpler, as of a
    sigmoid; None where SymPy has no plain form, as at a kink.

    >>> z, h = sp.symbols("z h", real=True)
    >>> derivative(sp.tanh(z), z, h)
    1 - h**2
    """
    operands = sorted(value.free_symbols, key=str)
    if by not in operands:
        return sp.Integer(0)
    names = [f"x{i}" for i in range(len(operands))]

    def function(_: Any, *xs: Any) -> Any:
        return value.subs(dict(zip(operands, xs, strict=True)), simultaneous=True)

    kind = inspect.Parameter.POSITIONAL_ONLY
    parameters = [inspect.Parameter(name, kind) for name in ("s", *names)]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    found = partials(function, {})[operands.index(by)]
    back = {sp.Symbol(name, real=True): x for name, x in zip(names, operands, strict=True)}
    found = simplified(found.subs({OUT: result, **back}, simultaneous=True))
    return None if found.has(*_UNWANTED) else found


def simplified(e: Any) -> Any:
    """The form with the fewest operations that SymPy finds; of equal ones the first.

    >>> p, y = sp.symbols("p y")
    >>> simplified(((1 - y) / (1 - p) - y / p) * p * (1 - p))
    p - y
    """
    if e.count_ops() > _LARGEST:
        return e
    return _turned(min([e, *_forms(e)], key=lambda form: form.count_ops()))


def _turned(e: Any) -> Any:
    """(y - p)/(p - 1) -> (p - y)/(1 - p): a number begins its sum with a plus."""
    factors = list(sp.Mul.make_args(e))
    sums = [
        i for i, f in enumerate(factors)
        if f.as_base_exp()[0].is_Add and f.as_base_exp()[1] in (1, -1)
    ]  # fmt: skip
    odd = [i for i in sums if factors[i].as_base_exp()[0].as_coeff_Add()[0] < 0]
    other = [i for i in sums if i not in odd]
    if len(odd) != 1 or not other:
        return e
    for i in (odd[0], other[0]):
        base, exponent = factors[i].as_base_exp()
        factors[i] = sp.expand(-base) ** exponent
    return sp.Mul(*factors)


def _forms(e: Any) -> Iterator[Any]:
    for way in (sp.factor_terms, sp.cancel, sp.factor, sp.expand, sp.simplify, _by_sigmoids):
        try:
            made = way(e)
        except (sp.PolynomialError, NotImplementedError, TypeError, ValueError):
            continue  # what is no polynomial has other forms
        if not made.has(sp.nan, sp.zoo) and _functions(made) <= _functions(e):
            yield made


def _by_sigmoids(e: Any) -> Any:
    """The same, cancelled over s = 1/(1 + exp(-u)) instead of exp(u).

    >>> z, t = sp.symbols("z t")
    >>> _by_sigmoids(((1 - t) * sp.exp(z) - t) / (sp.exp(z) + 1))
    -t + 1/(1 + exp(-z))
    """
    arguments = {u if not u.could_extract_minus_sign() else -u for u in
                 (f.args[0] for f in e.atoms(sp.exp))}  # fmt: skip
    back = {}
    for u in arguments:
        s = sp.Dummy(positive=True)
        e = e.subs({sp.exp(u): s / (1 - s), sp.exp(-u): (1 - s) / s})
        back[s] = 1 / (1 + sp.exp(-u))
    return sp.cancel(e).subs(back)


def _functions(e: Any) -> set[Any]:
    """The functions in an expression: a simpler form has no others."""
    return {f.func for f in e.atoms(sp.Function)}
