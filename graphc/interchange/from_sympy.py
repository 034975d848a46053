"""SymPy's front door: an expression as a graph, and a graph as an expression.

    from_sympy(sin(x)**2, {x: tensor})        the tensor
    to_sympy(tensor)                          the expression

What an expression is made of becomes ops (`ops/from_formula.py`); matrices become tensors with two
more axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.tensor.array import NDimArray

from graphc.errors import ArgumentError
from graphc.interchange.functions import is_function_name, known, named_functions
from graphc.ir import origin
from graphc.ir.node import Tensor
from graphc.ops.build import tensor
from graphc.ops.from_formula import tensors_of
from graphc.ops.matrix_formula import assembled
from graphc.symbolic.formula import formula


def from_sympy(expression: Any, symbols: Mapping[Any, Any]) -> Any:
    """The tensor of a SymPy expression, with tensors in place of its symbols.

    `expression` may also be a matrix, an array or a matrix expression (products, inverses and so on
    of matrix symbols), which gives one tensor with its axes behind those of the elements, or a
    list, tuple or dict of expressions, which gives the same of tensors.
    `symbols` maps symbols (or their names), functions such as `f(t)`, derivatives, and what has
    elements (`MatrixSymbol`, `IndexedBase`) to tensors, arrays or numbers; elements are those of
    the last axes. `Function("f")` (or its name) maps to a function of tensors, which computes `f`
    of anything, and its derivatives. Numbers in the expression are rounded once, to the dtype of
    what they meet; those with `I` in them, and functions of these, are complex.
    Errors: `ArgumentError` that lists every symbol without a tensor and all that is not supported.

    >>> import graphc as gc
    >>> x, y = sp.symbols("x y")
    >>> t = gc.placeholder("t", ("n",), "float64")
    >>> gc.evaluate(from_sympy(sp.sqrt(30) * x + y, {x: t, y: 1.0}), {t: [0.0, 1.0]})
    array([1.        , 6.47722558])
    """
    if not isinstance(symbols, Mapping):
        raise ArgumentError(
            "not the tensors of symbols",
            op="from_sympy",
            expected="a dict of symbols and tensors",
            given=repr(symbols)[:80],
            where=origin.where(),
        )
    structure = sympified(expression, "from_sympy")
    flat = list(leaves(structure))
    functions = {k: v for k, v in symbols.items() if callable(v) and is_function_name(k)}
    given = tensors_by_symbol({k: v for k, v in symbols.items() if k not in functions}, flat)
    beyond = known(named_functions(functions, "from_sympy"))
    expressions = [e for x in flat for e in elements(x)]
    made = iter(tensors_of(expressions, given, known=beyond))
    return rebuilt(structure, lambda x: _assembled(x, [next(made) for _ in elements(x)]))


def to_sympy(x: Tensor, symbols: Mapping[Tensor, Any] | None = None) -> Any:
    """The SymPy expression of an element of a tensor that is computed elementwise.

    Placeholders and variables become symbols of their names (real, integer, or truth values by
    dtype); `symbols` gives expressions for any tensors instead. Errors: `ArgumentError` naming the
    operation for one that is not elementwise, such as a sum.

    >>> import graphc as gc
    >>> x = gc.placeholder("x")
    >>> to_sympy(gc.grad(gc.tanh(x), x))
    1 - tanh(x)**2
    """
    if not isinstance(x, Tensor):
        raise ArgumentError("not a tensor", op="to_sympy", given=repr(x)[:80], where=origin.where())
    return formula(x, symbols)


# -- expressions in structures ---------------------------------------------------------------------
def sympified(value: Any, op: str) -> Any:
    """`value` as nested lists, tuples and dicts of SymPy's objects.

    Errors: `ArgumentError` for what SymPy does not take.
    """
    if isinstance(value, dict):
        return {k: sympified(v, op) for k, v in value.items()}
    if isinstance(value, (list, tuple, sp.Tuple)):
        kind = list if isinstance(value, list) else tuple
        return kind(sympified(v, op) for v in value)
    if isinstance(value, (sp.MatrixBase, NDimArray)):
        return value.as_immutable()
    try:
        # Text is not taken, as SymPy would evaluate it; nor a tensor, which is none of its objects.
        found = None if isinstance(value, Tensor) else sp.sympify(value, strict=True)
    except (sp.SympifyError, TypeError, ValueError, AttributeError):
        found = None
    if found is None:
        raise ArgumentError(
            "not an expression of SymPy",
            op=op,
            expected="an expression, a matrix, or a list, tuple or dict of them",
            given=repr(value)[:80],
            where=origin.where(),
        )
    return found


_LARGEST_INVERSE = 4  # rows of a matrix whose inverse or determinant is written out
_LARGEST_MATRIX = 4096  # elements of one that is


def written_out(e: Any, op: str) -> Any:
    """An expression with the elements of its matrix expressions. Errors: `ArgumentError` for one
    that is too large for that, or whose sizes are no numbers."""
    if isinstance(e, (sp.MatrixBase, NDimArray)):
        return e
    parts = [x for x in sp.preorder_traversal(e) if isinstance(x, _WHOLE)]
    for x in parts:
        shape = x.arg.shape if isinstance(x, (sp.Trace, sp.Determinant)) else x.shape
        known = all(sp.sympify(n).is_Integer for n in shape)
        if (
            not known
            or sp.prod(shape) > _LARGEST_MATRIX
            or (_inverts(x) and shape[0] > _LARGEST_INVERSE)
        ):
            raise ArgumentError(
                "a matrix expression that cannot be written out by its elements",
                op=op,
                expected=f"sizes that are numbers, inverses of at most {_LARGEST_INVERSE} rows",
                given=f"{str(x)[:80]}, of shape {shape}",
                where=origin.where(),
                hint="gc.from_sympy computes with matrices of any size",
            )
    e = e.replace(sp.Trace, lambda m: m.as_explicit().trace()) if e.has(sp.Trace) else e
    e = e.replace(sp.Determinant, lambda m: m.as_explicit().det()) if e.has(sp.Determinant) else e
    if isinstance(e, sp.MatrixExpr):
        return e.as_explicit().as_immutable()
    return e.as_explicit() if hasattr(e, "as_explicit") else e


_WHOLE = (sp.MatrixExpr, sp.Trace, sp.Determinant)


def _inverts(x: Any) -> bool:
    power = isinstance(x, sp.MatPow) and x.exp.could_extract_minus_sign()
    return power or isinstance(x, (sp.Inverse, sp.Determinant))


def leaves(structure: Any) -> list[Any]:
    """The expressions and matrices in nested lists, tuples and dicts, in order."""
    if isinstance(structure, dict):
        return [x for v in structure.values() for x in leaves(v)]
    if isinstance(structure, (list, tuple)):
        return [x for v in structure for x in leaves(v)]
    return [structure]


def rebuilt(structure: Any, make: Any) -> Any:
    """`structure` with `make(leaf)` in place of each leaf, in order."""
    if isinstance(structure, dict):
        return {k: rebuilt(v, make) for k, v in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)([rebuilt(v, make) for v in structure])
    return make(structure)


def elements(leaf: Any) -> list[Any]:
    """The expressions of a matrix or array in row-major order; a single expression is one."""
    if isinstance(leaf, sp.MatrixBase):
        return list(leaf.flat())
    return list(sp.flatten(leaf.tolist())) if isinstance(leaf, NDimArray) else [leaf]


def shape_of(leaf: Any) -> tuple[int, ...]:
    found = leaf.shape if isinstance(leaf, (sp.MatrixBase, NDimArray)) else ()
    return tuple(int(n) for n in found)


def _assembled(leaf: Any, made: Sequence[Tensor]) -> Tensor:
    """The tensor of a leaf: of a matrix, its elements along new last axes."""
    whole = isinstance(leaf, (sp.MatrixBase, NDimArray))
    return assembled(made, shape_of(leaf)) if whole else made[0]


def tensors_by_symbol(symbols: Mapping[Any, Any], expressions: Sequence[Any]) -> dict[Any, Tensor]:
    """The keys as they are in the expressions: a name stands for the symbols of that name."""
    named: dict[str, Any] = {k: v for k, v in symbols.items() if isinstance(k, str)}
    found = {k: tensor(v, "from_sympy") for k, v in symbols.items() if not isinstance(k, str)}
    if named:
        free = {s for x in expressions for s in x.free_symbols}
        found |= {s: tensor(named[str(s)], "from_sympy") for s in free if str(s) in named}
    return found
