"""The value of a graph in extended precision: mpmath numbers in NumPy object arrays, op by op.

Exponents are unbounded, so nothing overflows or underflows; infinities and NaN that are given, or
that a division by zero makes, go through as in IEEE arithmetic. Zero has no sign. Scalar ops are
evaluated by their SymPy formula, with mpmath standing in for SymPy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import mpmath
import numpy as np

from graphc.ir.dtype import float64
from graphc.ir.evaluate import bound, learn_dims
from graphc.ir.graph import Graph, map_graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind
from graphc.loops.primitives import PRIMITIVES

Array: TypeAlias = np.ndarray[Any, Any]

DIGITS = 400  # more than the 324 between 1 and the smallest float64


class _Formulas:
    """What formulas ask of SymPy, answered for numbers by mpmath."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(mpmath, _NAMES.get(name, name))
        return found

    Max, Min, Abs = staticmethod(max), staticmethod(min), staticmethod(abs)

    @staticmethod
    def exp(x: Any) -> Any:
        """mpmath has e to a large integer by thousands of products of thousands of digits: here a
        power of two, and e to what is left, as mpmath has it for what is no integer."""
        if not isinstance(x, mpmath.mpf) or not mpmath.isfinite(x) or abs(x) < _MANY:
            return mpmath.exp(x)
        with mpmath.extraprec(mpmath.mag(x) + 20):
            twos = mpmath.floor(x / mpmath.ln2)
            rest = x - twos * mpmath.ln2
        return mpmath.ldexp(mpmath.exp(rest), int(twos))

    @staticmethod
    def erfc(x: Any) -> Any:
        """By its leading term where mpmath's own overflows."""
        if x < _LARGE or not mpmath.isfinite(x):
            return mpmath.erfc(x)
        return _Formulas.exp(-x * x) / (x * mpmath.sqrt(mpmath.pi))

    @staticmethod
    def Rational(p: int, q: int) -> Any:  # noqa: N802  (SymPy's name)
        return mpmath.mpf(p) / q

    @staticmethod
    def Piecewise(*branches: tuple[Any, Any]) -> Any:  # noqa: N802
        return next(value for value, condition in branches if condition)

    @staticmethod
    def And(x: Any, y: Any) -> bool:  # noqa: N802
        return bool(x and y)

    @staticmethod
    def Or(x: Any, y: Any) -> bool:  # noqa: N802
        return bool(x or y)

    @staticmethod
    def Not(x: Any) -> bool:  # noqa: N802
        return not x

    @staticmethod
    def Eq(x: Any, y: Any) -> bool:  # noqa: N802
        return bool(x == y)

    @staticmethod
    def Ne(x: Any, y: Any) -> bool:  # noqa: N802
        return bool(x != y)


_LARGE, _MANY = mpmath.mpf(10) ** 150, mpmath.mpf(1000)
_NAMES = {"ceiling": "ceil", "Mod": "fmod"}
_formulas = _Formulas()


def extended_values(graph: Graph, arrays: Sequence[Array], digits: int = DIGITS) -> list[Array]:
    """The results of `graph`, as object arrays of mpmath numbers (bools stay bools)."""
    expanded = map_graph(graph, _expand)
    sizes = learn_dims(expanded, arrays)
    with mpmath.workdps(digits):
        values: dict[Tensor, Array] = {
            t: _numbers(a) for t, a in zip(expanded.inputs, arrays, strict=True)
        }
        for node in expanded.nodes:
            if Fact.INPUT not in node.op.facts:
                values[node.output()] = _compute(node, [values[t] for t in node.inputs], sizes)
        return [values[t] for t in expanded.results]


def _expand(node: Node, inputs: tuple[Tensor, ...]) -> list[Tensor] | None:
    if node.op.kind is not Kind.COMPOSITE or node.op.expand is None:
        return None
    return [node.op.expand(*inputs, **node.attrs)]


def _numbers(array: Array) -> Array:
    if array.dtype == bool:
        return array
    numbers = [mpmath.mpf(v) for v in array.ravel().tolist()]
    result = np.empty(array.shape, dtype=object)
    result.ravel()[:] = numbers
    return result


def _compute(node: Node, arrays: list[Array], sizes: Mapping[str, int]) -> Array:
    attrs = {name: bound(value, sizes) for name, value in node.attrs.items()}
    op = node.op
    if not node.inputs:  # constants, sizes, positions
        assert op.numpy is not None
        return _numbers(np.asarray(op.numpy(**attrs)))
    if Fact.CONVERTS in op.facts:
        return _numbers(arrays[0].astype(int)) if arrays[0].dtype == bool else arrays[0]
    if Fact.CHOOSES in op.facts and len(node.types) == 1:
        choose: Any = PRIMITIVES[op.reducer.primitive].numpy
        worst = mpmath.mpf(op.reducer.identity(float64))
        return np.asarray(choose.reduce(arrays[0], axis=attrs["axes"], initial=worst))
    if Fact.ELEMENTWISE in op.facts and op.formula is not None and op.kind is not Kind.HOST:
        scalar = np.frompyfunc(_ieee(op.formula), len(arrays), 1)
        result = np.asarray(scalar(*arrays), dtype=object)
        return result.astype(bool) if node.types[0].dtype.kind == "b" else result
    assert op.numpy is not None
    return np.asarray(op.numpy(*arrays, **attrs))


def _ieee(formula: Callable[..., Any]) -> Callable[..., Any]:
    """`formula` of numbers, complex answers being NaN and divisions by zero infinite."""

    @functools.cache  # special values come again and again, and the large ones take their time
    def scalar(*operands: Any) -> Any:
        try:
            value = formula(_formulas, *operands)
        except ZeroDivisionError:
            top = operands[0] if len(operands) > 1 else mpmath.mpf(1)
            return mpmath.nan if top == 0 or mpmath.isnan(top) else mpmath.sign(top) * mpmath.inf
        return mpmath.nan if isinstance(value, mpmath.mpc) else value

    return scalar
