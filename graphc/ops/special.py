"""Functions of SciPy as one op, for formulas: `besselj(0, x)` calls back into Python.

Which function it is, is an attribute: SymPy's name of it, an entry of `scipy_functions.py`. SymPy
knows the derivatives, which are formulas again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, GradientError
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Context, Fact, Kind, Op, register
from graphc.ir.shape import TensorType, broadcast
from graphc.ops.build import STRETCHES, cast, float_type, operands, scalar_value
from graphc.ops.scalar import masked_multiply, sum_to
from graphc.ops.scipy_functions import SCIPY_FUNCTIONS


def _infer(*types: TensorType, function: str) -> tuple[TensorType, ...]:
    if function not in SCIPY_FUNCTIONS:
        raise ArgumentError("no function of SciPy has this name", op="special", given=function)
    first = types[0].dtype
    if not first.is_float or any(t.dtype is not first for t in types):
        given = ", ".join(t.dtype.name for t in types)
        raise DTypeError("one float dtype", op=function, expected="floats", given=given)
    return (TensorType(first, broadcast(function, *(t.shape for t in types))),)


def _numpy(*arrays: Any, function: str) -> Any:
    import scipy.special

    with np.errstate(all="ignore"):
        found = SCIPY_FUNCTIONS[function](scipy.special, *map(np.asarray, arrays))
    return np.asarray(found, arrays[0].dtype)


def _vjp(context: Context, g: Tensor, out: Tensor, *inputs: Tensor, function: str) -> list[Any]:
    result: list[Any] = []
    for position, x in enumerate(inputs):
        wanted = context.needs(position)
        factor = _partial(function, position, inputs) if wanted else None
        result.append(None if factor is None else sum_to(masked_multiply(g, factor), x.shape))
    return result


def _partial(name: str, position: int, inputs: tuple[Tensor, ...]) -> Tensor:
    """The derivative by one argument. Errors: `GradientError` where SymPy knows none."""
    import sympy as sp

    from graphc.ops.from_formula import tensors_of
    from graphc.ops.scipy_partials import PARTIALS

    symbols = [_stands_for(i, x) for i, x in enumerate(inputs)]
    known = {s: x for s, x in zip(symbols, inputs, strict=True) if s.is_Symbol}
    stated = PARTIALS.get(name)
    try:
        partial = stated and stated(position, *symbols)
        if partial is None:
            at = sp.Dummy()
            arguments = [at if i == position else s for i, s in enumerate(symbols)]
            partial = getattr(sp, name)(*arguments).diff(at).subs(at, symbols[position])
        (made,) = tensors_of([partial], known, name)
    except (ArgumentError, sp.core.function.ArgumentIndexError):
        raise GradientError(
            f"no derivative by argument {position + 1} is known",
            op=name,
            expected="a constant there",
        ) from None
    return cast(made, inputs[0].dtype)


def _stands_for(i: int, x: Tensor) -> Any:
    """An argument in SymPy's formula of a derivative: a whole number as itself, since formulas are
    simpler for such orders."""
    import sympy as sp

    bare = x
    while bare.node.op.name in ("weak", "astype", *STRETCHES):
        bare = bare.node.inputs[0]
    number = scalar_value(bare)
    is_whole = number is not None and float(number).is_integer()
    return sp.Integer(int(number)) if is_whole else sp.Dummy(f"x{i}", real=True)


SPECIAL = register(
    Op(
        "special",
        Kind.HOST,
        _infer,
        numpy=_numpy,
        vjp=_vjp,
        formula=lambda s, *xs, function: getattr(s, function)(*xs),
        facts=frozenset({Fact.ELEMENTWISE, Fact.POLE, Fact.JUMPS}),
        cost=200,
        doc="A function of SciPy, elementwise, by SymPy's name of it.",
    )
)


def special(function: str, *values: Any) -> Tensor:
    """SciPy's function that SymPy calls `function`, of tensors and numbers; ints become floats."""
    given = operands(function, *values)
    to = float_type(given[0].dtype)
    return apply(SPECIAL, [cast(t, to) for t in given], function=function).output()
