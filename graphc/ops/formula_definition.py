"""What a user gives to define an op, as text: functions of symbols, or expressions."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import sympy as sp

from graphc.errors import ArgumentError, GraphError
from graphc.ir import origin
from graphc.ir.node import Tensor
from graphc.ops.formula_text import argument, read, write
from graphc.ops.from_formula import values_of
from graphc.ops.leaf import placeholder


def defined(formula: Any, at: Any, args: Any) -> tuple[str, tuple[tuple[str, str], ...], int]:
    """The texts of a formula and its pieces, and the number of its arguments.

    Errors: `ArgumentError` for what is no formula of the arguments.
    """
    symbols = _arguments(formula, args)
    if not isinstance(at, (list, tuple)) or not all(
        isinstance(piece, (list, tuple)) and len(piece) == 2 for piece in at
    ):
        raise _wrong("not pieces", "at=[(condition, formula), ...]", at)
    text = _text(formula, symbols, False)
    pieces = tuple((_text(c, symbols, True), _text(f, symbols, False)) for c, f in at)
    return text, pieces, len(symbols)


def _arguments(formula: Any, args: Any) -> list[Any]:
    """The symbols of the arguments, in order."""
    if args is not None:
        found = list(args) if isinstance(args, (list, tuple, sp.Tuple)) else [args]
        if (
            not found
            or not all(isinstance(s, sp.Symbol) for s in found)
            or len(set(found)) < len(found)
        ):
            raise _wrong("arguments are symbols, each once", "args=[x, y]", args)
        return found
    if isinstance(formula, sp.Basic) and not isinstance(formula, sp.Lambda):
        free = sorted(formula.free_symbols, key=str)
        if len(free) != 1:
            raise _wrong(
                "which symbol is which argument is not said",
                "args=[x, y], or lambda x, y: ...",
                formula,
            )
        return free
    if not callable(formula):
        raise _wrong("not a formula", "a function of symbols, or an expression of SymPy", formula)
    if isinstance(formula, sp.Lambda):
        return [argument(i) for i in range(len(formula.variables))]
    try:
        parameters = inspect.signature(formula).parameters.values()
        kinds = [p.kind for p in parameters if p.default is inspect.Parameter.empty]
    except (TypeError, ValueError):
        kinds = []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not kinds or not all(kind in plain for kind in kinds):
        raise _wrong(
            "the number of arguments is not said", "lambda x, y: ..., or args=[x, y]", formula
        )
    return [argument(i) for i in range(len(kinds))]


def _text(formula: Any, symbols: Sequence[Any], is_condition: bool) -> str:
    """The text of one formula, which reads back."""
    if isinstance(formula, sp.Lambda) or (callable(formula) and not isinstance(formula, sp.Basic)):
        value = formula(*symbols)
    else:
        value = formula
    try:
        value = sp.sympify(value, strict=True)
    except (sp.SympifyError, TypeError, ValueError, AttributeError):
        raise _wrong("not a formula", "an expression of SymPy", value) from None
    is_truth = isinstance(value, sp.logic.boolalg.Boolean) and not isinstance(value, sp.Symbol)
    if is_truth != is_condition or isinstance(value, (sp.MatrixBase, sp.MatrixExpr)):
        wanted = "a condition such as x > 30" if is_condition else "a formula of numbers"
        raise _wrong("not what is needed there", wanted, value)
    strange = sorted(map(str, value.free_symbols - set(symbols)))
    if strange:
        raise _wrong(
            "symbols that are no arguments", f"of {len(symbols)} arguments only", ", ".join(strange)
        )
    given = {s: placeholder("x", (), "float64") for s in symbols}
    (made,) = values_of([value], given, "elementwise")  # one error for all that is not supported
    if made.dtype.is_complex if isinstance(made, Tensor) else isinstance(made, complex):
        raise _wrong("complex numbers", "a formula of real numbers", value)
    text = write(value, symbols)
    try:
        read(text)
    except GraphError as error:
        raise _wrong(
            f"not supported: {error.message}", "functions that docs/sympy.md lists", value
        ) from None
    return text


def _wrong(message: str, expected: str, given: Any) -> ArgumentError:
    shown = given if isinstance(given, str) else repr(given)
    return ArgumentError(
        message, op="elementwise", expected=expected, given=shown[:200], where=origin.where()
    )
