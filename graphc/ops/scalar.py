"""How an elementwise op is typed, computed and differentiated: what all scalar functions share.

`define` makes the op; the frontends below it (`float_function`, `binary_function`, ...) make the
public function that converts operands as NumPy does and applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError
from graphc.ir.dtype import DType, bool_
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import At, Builder, Context, Fact, Index, Jvp, Kind, Op, Operand, Vjp, register
from graphc.ir.operators import function
from graphc.ir.shape import TensorType, broadcast
from graphc.loops.primitives import PRIMITIVES
from graphc.ops.build import cast, float_type, operands, scalar_like, tensor
from graphc.ops.centred import without_centred
from graphc.ops.flows import widened
from graphc.symbolic import partials as partials_table

FUNCTIONS: dict[str, Callable[..., Any]] = {}
NUMPY: dict[str, Callable[..., Any] | None] = {}  # by the names of ufuncs
DERIVED: list[str] = []  # the ops whose partials SymPy derives: those that state none themselves
COMMUTES = frozenset({Fact.COMMUTATIVE})


def _infer(
    name: str, kinds: str, result: DType | None, arity: int | None
) -> Callable[..., tuple[TensorType, ...]]:
    def infer(*types: TensorType, **attrs: Any) -> tuple[TensorType, ...]:
        if len(types) != (arity or len(types)):
            raise ArgumentError(
                "wrong number of operands", op=name, expected=str(arity), given=str(len(types))
            )
        first = types[-1].dtype  # where's condition comes first
        for t in types[1:] if name == "where" else types:
            if t.dtype is not first or t.dtype.kind not in kinds:
                raise DTypeError(
                    "operands have the wrong dtypes",
                    op=name,
                    expected=f"one dtype of kind {'/'.join(_KINDS[k] for k in kinds)}",
                    given=", ".join(t.dtype.name for t in types),
                )
        shape = broadcast(name, *[t.shape for t in types])
        return (TensorType(result or first, shape),)

    return infer


_KINDS = {"b": "bool", "i": "signed", "u": "unsigned", "f": "float"}


def _arity(numpy: Callable[..., Any]) -> int | None:
    """The number of operands of a ufunc or a plain function; None where neither says it."""
    code, arity = getattr(numpy, "__code__", None), getattr(numpy, "nin", None)
    return arity if code is None or arity is not None else int(code.co_argcount)


def at(kernel: Callable[..., Any]) -> At:
    def at(
        k: Builder, values: Sequence[Operand], index: Index, out: TensorType, **attrs: Any
    ) -> Any:
        return kernel(k, *(value(project(index, value.type, out)) for value in values), **attrs)

    return at


def project(index: Any, source: TensorType, out: TensorType) -> Any:
    """The index at which an operand of type `source` is read for the element `index` of `out`."""
    if not source.shape:
        return ()
    offset = out.rank - source.rank
    zero = index[0] * 0 if index else None
    return tuple(
        zero if s == 1 and out.shape[offset + axis] != 1 else index[offset + axis]
        for axis, s in enumerate(source.shape)
    )


def sum_to(g: Tensor, shape: Any) -> Tensor:
    """The cotangent of a broadcast operand: `g` summed over the axes that were stretched."""
    if g.shape == shape:
        return g
    offset, stretched = g.ndim - len(shape), _stretched(g, shape)
    summed = function("sum")(g, axis=tuple(stretched)) if stretched else g
    kept = iter(summed.shape)
    wide = tuple(1 if offset + axis in stretched else next(kept) for axis in range(len(shape)))
    result: Tensor = function("reshape")(summed, wide) if summed.shape != wide else summed
    return stretch(result, shape)  # sizes may be equal by assumption only


def _stretched(g: Tensor, shape: Any) -> list[int]:
    """The axes of `g` that an operand of `shape` was stretched along."""
    offset = g.ndim - len(shape)
    return [
        axis
        for axis in range(g.ndim)
        if axis < offset or (shape[axis - offset] == 1 and g.shape[axis] != 1)
    ]


def cotangent(context: Context, g: Tensor, shape: Any) -> Tensor | None:
    """`sum_to`, without what adds up to zero by itself; None where that is all."""
    axes = frozenset(_stretched(g, shape))
    found = without_centred(context, g, axes) if axes else None
    if found is None or found.rest is None:
        return sum_to(g, shape) if found is None else None
    total = sum_to(found.rest, shape)
    for factor in found.multiplied:
        total = total * _narrow(factor, shape)
    for factor in found.divided:
        total = total / _narrow(factor, shape)
    return -total if found.negated else total


def _narrow(factor: Tensor, shape: Any) -> Tensor:
    """A factor without the axes that `shape` lacks."""
    wide = factor.shape[max(factor.ndim - len(shape), 0) :]
    result: Tensor = function("reshape")(factor, wide) if wide != factor.shape else factor
    return result


def masked_multiply(g: Tensor, factor: Any) -> Tensor:
    """`g * factor`, and zero where `g` is zero because a branch was not taken.

    `where(c, g, 0) * factor` is `where(c, g * factor, 0)`: an infinite factor of the untaken branch
    does not make a NaN.
    """
    if isinstance(factor, (int, float)):
        if factor == 1:
            return g
        return -g if factor == -1 else g * scalar_like(factor, g)
    branch = branch_of(g)
    if branch is None:
        product: Tensor = g * factor
        return product
    condition, taken = branch
    condition, factor = widened(condition, factor)
    result: Tensor = function("where")(
        condition, masked_multiply(taken, factor), scalar_like(0, g)
    )
    return result


def branch_of(g: Tensor) -> tuple[Tensor, Tensor] | None:
    """`(c, a)` if g is `where(c, a, 0)`, seen through ops that only move elements.

    A branch inside a branch is one with both conditions, so branches never nest deeply.
    """
    condition: Tensor | None = None
    while (found := _outer_branch(g)) is not None:
        inner, g = found
        condition = inner if condition is None else function("logical_and")(condition, inner)
    return None if condition is None else (condition, g)


def _outer_branch(g: Tensor) -> tuple[Tensor, Tensor] | None:
    moves: list[Node] = []
    while Fact.REINDEX in g.node.op.facts:
        moves.append(g.node)
        g = g.node.inputs[0]
    if g.node.op.name != "where" or not is_zero(g.node.inputs[2]):
        return None
    condition, taken = g.node.inputs[:2]
    for move in reversed(moves):
        parts = (stretch(t, move.inputs[0].shape) for t in (condition, taken))
        condition, taken = (apply(move.op, (t,), **move.attrs).output() for t in parts)
    return condition, taken


def stretch(x: Tensor, shape: Any) -> Tensor:
    """`x` broadcast to `shape` (itself where it has that shape)."""
    result: Tensor = function("broadcast_to")(x, shape) if x.shape != shape else x
    return result


def is_zero(t: Tensor) -> bool:
    if t.node.op.name == "broadcast_to":
        t = t.node.inputs[0]
    if Fact.CONSTANT not in t.node.op.facts:
        return False
    array = t.node.attrs["value"].array
    return bool(np.all(array == 0))


def _vjp(partials: Callable[..., tuple[Any, ...]]) -> Vjp:
    def vjp(context: Context, g: Tensor, out: Tensor, *inputs: Tensor, **attrs: Any) -> list[Any]:
        factors = partials(function, out, *inputs, **attrs)
        result: list[Any] = []
        for position, (factor, x) in enumerate(zip(factors, inputs, strict=True)):
            wanted = context.needs(position) and factor is not None
            value = factor() if wanted and callable(factor) else factor
            part = masked_multiply(g, value) if wanted else None
            result.append(None if part is None else cotangent(context, part, x.shape))
        return result

    return vjp


def _jvp(partials: Callable[..., tuple[Any, ...]]) -> Jvp:
    def jvp(
        context: object, ts: Sequence[Tensor | None], out: Tensor, *inputs: Tensor, **attrs: Any
    ) -> Tensor | None:
        moved: Tensor | None = None
        for factor, t in zip(partials(function, out, *inputs, **attrs), ts, strict=True):
            if t is not None and factor is not None:
                part = masked_multiply(t, factor() if callable(factor) else factor)
                moved = part if moved is None else moved + part
        return moved

    return jvp


def define(
    name: str,
    numpy: Callable[..., Any],
    formula: Callable[..., Any] | None,
    *,
    kinds: str = "f",
    kernel: Callable[..., Any] | None = None,
    result: DType | None = None,
    partials: Callable[..., tuple[Any, ...]] | None = None,
    vjp: Vjp | None = None,
    jvp: Jvp | None = None,
    facts: Set[Fact] = frozenset(),
    cost: float = 1.0,
    may_fail: bool = False,
    host: bool = False,
    doc: str = "",
) -> Op:
    """`host`: no kernel computes it, NumPy's meaning is called back."""
    if kernel is None and not host and name not in PRIMITIVES:
        raise ArgumentError(
            "what a kernel computes is not said",
            op=name,
            expected="kernel=..., or the name of a primitive of graphc/loops/primitives.py",
        )
    table = partials or getattr(partials_table, name, None)
    if formula and "f" in kinds and result is None and partials is None and vjp is None:
        DERIVED.append(name)
    return register(
        Op(
            name,
            Kind.HOST if host else Kind.MAP,
            _infer(name, kinds, result, _arity(numpy)),
            numpy=numpy,
            vjp=vjp or (_vjp(table) if table else None),
            jvp=jvp or (_jvp(table) if table and vjp is None else None),
            at=None if host else at(kernel or (lambda k, *values: k.prim(name, *values))),
            formula=formula,
            facts=frozenset({*facts, Fact.ELEMENTWISE}),
            cost=cost,
            may_fail=may_fail,
            differentiable="f" in kinds and result is None,
            doc=doc,
        )
    )


def publish(op: Op, frontend: Callable[..., Tensor]) -> Callable[..., Tensor]:
    frontend.__name__ = frontend.__qualname__ = op.name
    frontend.__doc__ = op.doc
    FUNCTIONS[op.name] = frontend
    if isinstance(op.numpy, np.ufunc):  # which it equals, under its first name
        NUMPY[op.numpy.__name__] = frontend
    return frontend


def named(op: Op) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    return lambda frontend: publish(op, frontend)


def _numpy_of(name: str) -> Callable[..., Any]:
    """The meaning of an op that is a primitive. Errors: `ArgumentError` if it is none."""
    if name not in PRIMITIVES:
        raise ArgumentError(
            "the op's meaning is not said",
            op=name,
            expected="numpy=..., or the name of a primitive of graphc/loops/primitives.py",
        )
    return PRIMITIVES[name].numpy


def float_function(
    name: str, formula: Callable[..., Any], doc: str, numpy: Any = None, **options: Any
) -> Callable[..., Tensor]:
    """A unary function of floats; ints are converted as NumPy would."""
    op = define(name, numpy or _numpy_of(name), formula, doc=doc, **options)

    def frontend(x: Any) -> Tensor:
        t = tensor(x, name)
        return apply(op, (cast(t, float_type(t.dtype)),)).output()

    return publish(op, frontend)


def numeric_function(
    name: str, formula: Callable[..., Any], doc: str, numpy: Any = None, **options: Any
) -> Callable[..., Tensor]:
    """A unary function that keeps the dtype."""
    op = define(name, numpy or _numpy_of(name), formula, kinds="iuf", doc=doc, **options)

    def frontend(x: Any) -> Tensor:
        return apply(op, (tensor(x, name),)).output()

    return publish(op, frontend)


def binary_function(
    name: str,
    numpy: Callable[..., Any],
    formula: Callable[..., Any] | None,
    doc: str,
    *,
    for_bool: str = "",
    **options: Any,
) -> Callable[..., Tensor]:
    """A binary function of one dtype; `for_bool` names the function that bools take."""
    op = define(name, numpy, formula, doc=doc, **options)

    def frontend(x: Any, y: Any) -> Tensor:
        a, b = operands(name, x, y)
        if a.dtype is bool_ and for_bool:
            replaced: Tensor = FUNCTIONS[for_bool](a, b)
            return replaced
        return apply(op, (a, b)).output()

    return publish(op, frontend)


def binary_float_function(
    name: str,
    numpy: Callable[..., Any],
    formula: Callable[..., Any] | None,
    doc: str,
    **options: Any,
) -> Callable[..., Tensor]:
    """A binary function of floats; ints are converted as NumPy would."""
    op = define(name, numpy, formula, doc=doc, **options)

    def frontend(x: Any, y: Any) -> Tensor:
        a, b = operands(name, x, y)
        to = float_type(a.dtype)
        return apply(op, (cast(a, to), cast(b, to))).output()

    return publish(op, frontend)
