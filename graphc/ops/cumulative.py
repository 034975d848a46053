"""Running reductions: what is accumulated along an axis, at each of its steps.

A `Recurrence` says what is carried from step to step. With `reverse` the steps go from the last
element to the first. Derivatives are running reductions in the other direction: of a sum it is a
sum, of everything else the recurrence y = a * y + b, which is also its own derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import DType, bool_, float64, int64, uint64
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Axes, Builder, Fact, Index, Kind, Op, Operand, register
from graphc.ir.shape import TensorType, agree_on_shape, normalize_axis, show
from graphc.ops.build import cast, float_type, scalar_like, tensor
from graphc.ops.elementwise import (
    equal,
    exp,
    isinf,
    isnan,
    maximum,
    multiply,
    stop_gradient,
    subtract,
    where,
)
from graphc.ops.index import strided_slice
from graphc.ops.reduce import highest, lowest
from graphc.ops.resample import pad
from graphc.ops.scalar import masked_multiply
from graphc.ops.shape import reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}
RUN = 16  # elements that NumPy accumulates one by one, where every step rounds


# -- what is carried -------------------------------------------------------------------------------
class _Fold:
    """One number, by a primitive."""

    def __init__(self, primitive: str, identity: Callable[[DType], Any]) -> None:
        self.primitive, self.identity = primitive, identity

    def initial(self, k: Builder, dtype: DType) -> list[Any]:
        return [k.const(self.identity(dtype), dtype)]

    def element(self, k: Builder, values: Sequence[Operand], index: Index) -> Any:
        return values[0](index)

    def step(self, k: Builder, state: list[Any], element: Any) -> list[Any]:
        return [k.prim(self.primitive, state[0], element)]

    def result(self, k: Builder, state: list[Any], dtype: DType) -> Any:
        return state[0]


class _Extremum:
    """The extremum of what is a number, and of floats whether a NaN was among them: of two numbers
    alone one instruction chooses, for which the next step waits."""

    def __init__(self, wins: str, identity: Callable[[DType], Any]) -> None:
        self.wins, self.identity = wins, identity

    def initial(self, k: Builder, dtype: DType) -> list[Any]:
        best = k.const(self.identity(dtype), dtype)
        return [best, k.const(False, bool_)] if dtype.is_float else [best]

    def element(self, k: Builder, values: Sequence[Operand], index: Index) -> Any:
        return values[0](index)

    def step(self, k: Builder, state: list[Any], element: Any) -> list[Any]:
        best, *no_number = state
        chosen = k.where(k.prim(self.wins, element, best), element, best)
        return [chosen, *(k.bitwise_or(n, k.is_nan(element)) for n in no_number)]

    def result(self, k: Builder, state: list[Any], dtype: DType) -> Any:
        best, *no_number = state
        return k.where(no_number[0], k.const(np.nan, dtype), best) if no_number else best


class _LogSumExp:
    """The largest number so far, and the sum of exp(x - largest) of the others, both in float64: a
    sum of numbers that are at most 1, scaled anew whenever a larger one comes, has few digits to
    lose. Of none the sum is -1, as that of one is 0."""

    def initial(self, k: Builder, dtype: DType) -> list[Any]:
        return [k.const(-np.inf, float64), k.const(-1, float64)]

    def element(self, k: Builder, values: Sequence[Operand], index: Index) -> Any:
        return values[0](index)

    def step(self, k: Builder, state: list[Any], element: Any) -> list[Any]:
        largest, others = state
        x, one = k.cast(element, float64), k.const(1, float64)
        distance = k.abs(k.subtract(x, largest))
        same = k.equal(x, largest)  # both may be infinite
        small = k.where(same, one, k.exp(k.negative(distance)))
        grows = k.greater(x, largest)
        scaled = k.multiply(k.add(others, one), small)
        kept = k.where(grows, x, largest)  # of what is a number; the sum has the NaN
        return [kept, k.where(grows, scaled, k.add(others, small))]

    def result(self, k: Builder, state: list[Any], dtype: DType) -> Any:
        return k.cast(k.add(state[0], k.log1p(state[1])), dtype)


class _Linear:
    """y = a * y + b, from 0. A product with a y that is 0 is 0, whatever a is: what is not reached
    by a derivative adds no NaN to it."""

    def initial(self, k: Builder, dtype: DType) -> list[Any]:
        return [k.const(0, dtype)]

    def element(self, k: Builder, values: Sequence[Operand], index: Index) -> Any:
        a, b = values
        return a(index), b(index)

    def step(self, k: Builder, state: list[Any], element: Any) -> list[Any]:
        (y,), (a, b) = state, element
        none = k.equal(y, k.const(0, y.dtype))
        return [k.where(none, b, k.add(k.multiply(a, y), b))]

    def result(self, k: Builder, state: list[Any], dtype: DType) -> Any:
        return state[0]


# -- what they mean --------------------------------------------------------------------------------
def _turned(x: Any, axis: int, reverse: bool) -> Any:
    """A view of `x` whose last axis is the one that is accumulated along, in order."""
    rows = np.moveaxis(x, axis, -1)
    return rows[..., ::-1] if reverse else rows


def _back(rows: Any, axis: int, reverse: bool) -> Any:
    return np.ascontiguousarray(np.moveaxis(rows[..., ::-1] if reverse else rows, -1, axis))


def _by(ufunc: Any) -> Callable[..., Any]:
    """`ufunc.accumulate`."""

    def meaning(x: Any, *, axis: int, reverse: bool) -> Any:
        rows = _turned(x, axis, reverse)
        return _back(ufunc.accumulate(rows, axis=-1, dtype=x.dtype), axis, reverse)

    return meaning


def _in_runs(ufunc: Any, rows: Any) -> Any:
    """`ufunc.accumulate` along the last axis, of a ufunc that rounds: first in each run, then of
    the runs' totals, so that errors do not grow with the number of steps."""
    count, rest = divmod(rows.shape[-1], RUN)
    if (count, rest) <= (1, 0) or rows.dtype.kind != "f":
        return ufunc.accumulate(rows, axis=-1, dtype=rows.dtype)
    count += rest > 0
    whole = np.zeros((*rows.shape[:-1], count * RUN), rows.dtype)
    whole[..., : rows.shape[-1]] = rows
    parts = ufunc.accumulate(whole.reshape(*rows.shape[:-1], count, RUN), axis=-1)
    before = _in_runs(ufunc, parts[..., -1])[..., :-1, None]
    parts[..., 1:, :] = ufunc(before, parts[..., 1:, :])
    return parts.reshape(whole.shape)[..., : rows.shape[-1]]


def _numpy_sum(x: Any, *, axis: int, reverse: bool) -> Any:
    return _back(_in_runs(np.add, _turned(x, axis, reverse)), axis, reverse)


def _numpy_logsumexp(x: Any, *, axis: int, reverse: bool) -> Any:
    rows = _turned(x, axis, reverse).astype(np.promote_types(x.dtype, np.float64))
    return _back(_in_runs(np.logaddexp, rows).astype(x.dtype), axis, reverse)


def _numpy_linear(a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    factors, terms = (_turned(t, axis, reverse) for t in (a, b))
    result = np.empty(terms.shape, terms.dtype)
    y = np.zeros(terms.shape[:-1], terms.dtype)
    for i in range(terms.shape[-1]):
        y = np.where(y == 0, terms[..., i], factors[..., i] * y + terms[..., i])
        result[..., i] = y
    return _back(result, axis, reverse)


# -- ops -------------------------------------------------------------------------------------------
def _infer(op: str, kinds: str) -> Callable[..., tuple[TensorType, ...]]:
    def infer(*types: TensorType, axis: int, reverse: bool) -> tuple[TensorType, ...]:
        if types[0].dtype.kind not in kinds:
            raise DTypeError("no numbers of a kind that it takes", op=op, given=types[0].dtype.name)
        if not all(agree_on_shape(types[0].shape, other.shape) for other in types[1:]):
            raise ShapeError("the shapes differ", op=op, given=", ".join(map(str, types)))
        return types[:1]

    return infer


def _running(name: str, recurrence: Any, kinds: str, doc: str, **fields: Any) -> Op:
    return register(
        Op(
            name,
            Kind.RUNNING,
            _infer(name, kinds),
            recurrence=recurrence,
            axes={"axis": Axes.ONE},
            doc=doc,
            **fields,
        )
    )


def _apply(op: Op, *operands: Tensor, axis: int, reverse: bool) -> Tensor:
    return apply(op, operands, axis=axis, reverse=reverse).output()


def _step_before(x: Tensor, axis: int, reverse: bool, first: float) -> Tensor:
    """What `x` is one step before, `first` at the first step."""
    width = [(0, 0)] * x.ndim
    width[axis] = (0, 1) if reverse else (1, 0)
    starts = tuple(int(reverse) if a == axis else 0 for a in range(x.ndim))
    padded = pad(x, width, constant_values=first)
    return strided_slice(padded, starts, x.shape, (1,) * x.ndim)


def _linear(a: Tensor, b: Tensor, axis: int, reverse: bool) -> Tensor:
    return _apply(LINEAR_RECURRENCE, a, b, axis=axis, reverse=reverse)


def _reached(g: Tensor, factor: Tensor, axis: int, reverse: bool) -> Tensor:
    """What flows to each step from those after it: its own g, and what flows to the next step times
    the factor of that one."""
    return _linear(_step_before(factor, axis, not reverse, 0), g, axis, not reverse)


def _linear_vjp(
    context: Any, g: Tensor, out: Tensor, a: Tensor, b: Tensor, *, axis: int, reverse: bool
) -> list[Any]:
    reached = _reached(g, a, axis, reverse)
    before = _step_before(out, axis, reverse, 0)
    return [masked_multiply(context.guarded(reached), before), reached]


def _linear_jvp(
    context: object, ts: Any, out: Tensor, a: Tensor, b: Tensor, *, axis: int, reverse: bool
) -> Tensor:
    moved = None if ts[0] is None else multiply(ts[0], _step_before(out, axis, reverse, 0))
    if ts[1] is not None:
        moved = ts[1] if moved is None else moved + ts[1]
    assert moved is not None
    return _linear(a, moved, axis, reverse)


LINEAR_RECURRENCE = _running(
    "linear_recurrence",
    _Linear(),
    "f",
    "y[i] = a[i] * y[i - 1] + b[i], from 0; a product with 0 is 0.",
    numpy=_numpy_linear,
    vjp=_linear_vjp,
    jvp=_linear_jvp,
    facts=frozenset({Fact.EXACT}),
    cost=4,
)


def _sum_vjp(
    context: object, g: Tensor, out: Tensor, x: Tensor, *, axis: int, reverse: bool
) -> list[Any]:
    return [_apply(CUMULATIVE_SUM, g, axis=axis, reverse=not reverse)]


def _sum_jvp(
    context: object, ts: Any, out: Tensor, x: Tensor, *, axis: int, reverse: bool
) -> Tensor:
    return _apply(CUMULATIVE_SUM, ts[0], axis=axis, reverse=reverse)


CUMULATIVE_SUM = _running(
    "cumulative_sum",
    _Fold("add", lambda dtype: -0.0),  # -0 + x is x, also of -0
    "iuf",
    "The sum of the elements up to each one along an axis.",
    numpy=_numpy_sum,
    vjp=_sum_vjp,
    jvp=_sum_jvp,
    facts=frozenset({Fact.BY_PARTS}),
)


def _prod_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, *, axis: int, reverse: bool
) -> list[Any]:
    """The product of what is before the element, times the sum over what is after it of g times
    the products from there: no division, so that it is right at zeros."""
    reached = _reached(g, x, axis, reverse)
    return [masked_multiply(context.guarded(reached), _step_before(out, axis, reverse, 1))]


def _prod_jvp(
    context: object, ts: Any, out: Tensor, x: Tensor, *, axis: int, reverse: bool
) -> Tensor:
    moved = multiply(ts[0], _step_before(out, axis, reverse, 1))
    return _linear(x, moved, axis, reverse)


CUMULATIVE_PROD = _running(
    "cumulative_prod",
    _Fold("multiply", lambda dtype: 1),
    "iuf",
    "The product of the elements up to each one along an axis.",
    numpy=_by(np.multiply),
    vjp=_prod_vjp,
    jvp=_prod_jvp,
    facts=frozenset({Fact.EXACT}),
)


def _ties(out: Tensor, x: Tensor, axis: int, reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Whether each element is the extremum so far, whether that is the one of the step before (as
    numbers), and how many elements are it."""
    chosen = equal(x, out)
    same = cast(equal(out, _step_before(out, axis, reverse, np.nan)), x.dtype)
    count = _linear(same, cast(chosen, x.dtype), axis, reverse)
    return chosen, same, maximum(count, scalar_like(1, count))


def _extremum_vjp(
    context: object, g: Tensor, out: Tensor, x: Tensor, *, axis: int, reverse: bool
) -> list[Any]:
    """g shared equally by the elements that are the extremum, as of `max`."""
    chosen, same, count = _ties(out, x, axis, reverse)
    reached = _reached(g / count, same, axis, reverse)
    return [where(chosen, reached, scalar_like(0, g))]


def _extremum_jvp(
    context: object, ts: Any, out: Tensor, x: Tensor, *, axis: int, reverse: bool
) -> Tensor:
    chosen, same, count = _ties(out, x, axis, reverse)
    moved = where(chosen, ts[0], scalar_like(0, ts[0]))
    return _linear(same, moved, axis, reverse) / count


def _extremum(name: str, ufunc: Any, wins: str, identity: Any, doc: str) -> Op:
    return _running(
        name,
        _Extremum(wins, identity),
        "biuf",
        doc,
        numpy=_by(ufunc),
        vjp=_extremum_vjp,
        jvp=_extremum_jvp,
        facts=frozenset({Fact.EXACT}),
    )


CUMULATIVE_MAX = _extremum(
    "cumulative_max",
    np.maximum,
    "greater",
    lowest,
    "The largest element up to each one along an axis.",
)
CUMULATIVE_MIN = _extremum(
    "cumulative_min",
    np.minimum,
    "less",
    highest,
    "The smallest element up to each one along an axis.",
)


def _below(x: Tensor, y: Tensor) -> Tensor:
    """exp(x - y) for x <= y, also where both are the same infinity."""
    return where(isinf(y), cast(equal(x, y), x.dtype), exp(subtract(x, y)))


def _shares(x: Tensor, axis: int, reverse: bool) -> tuple[Tensor, Tensor]:
    """Of the sum of exp(x) at each step the share of its own element, and that of all before it.

    From x, not from the result, whose rounding error is one of eps times the result in a share.
    """
    largest = stop_gradient(_apply(CUMULATIVE_MAX, x, axis=axis, reverse=reverse))
    term = _below(x, largest)
    decay = _below(_step_before(largest, axis, reverse, -np.inf), largest)
    total = _linear(decay, term, axis, reverse)
    return term / total, decay * _step_before(total, axis, reverse, 0) / total


def _logsumexp_vjp(
    context: Any, g: Tensor, out: Tensor, x: Tensor, *, axis: int, reverse: bool
) -> list[Any]:
    share, before = _shares(x, axis, reverse)
    reached = _reached(g, before, axis, reverse)
    return [masked_multiply(context.guarded(reached), share)]


def _logsumexp_jvp(
    context: object, ts: Any, out: Tensor, x: Tensor, *, axis: int, reverse: bool
) -> Tensor:
    share, before = _shares(x, axis, reverse)
    return _linear(before, multiply(ts[0], share), axis, reverse)


CUMULATIVE_LOGSUMEXP = _running(
    "cumulative_logsumexp",
    _LogSumExp(),
    "f",
    "log(sum(exp(x))) of the elements up to each one along an axis.",
    numpy=_numpy_logsumexp,
    vjp=_logsumexp_vjp,
    jvp=_logsumexp_jvp,
    cost=40,
)


# -- public functions ------------------------------------------------------------------------------
def _along(op: Op, x: Tensor, axis: int | None, reverse: bool) -> Tensor:
    """`op` along `axis`, of all elements in row-major order without one."""
    if axis is None or x.ndim == 0:
        x, axis = reshape(x, (x.size,)), 0 if axis is None else normalize_axis(op.name, axis, 1)
    return _apply(op, x, axis=normalize_axis(op.name, axis, x.ndim), reverse=bool(reverse))


def _in_dtype(x: Any, name: str, wanted: Any) -> Tensor:
    """x in the dtype that is wanted, else small ints as NumPy, in 64 bits."""
    t = tensor(x, name)
    if wanted is not None:
        return cast(t, to_dtype(wanted))
    return t if t.dtype.has_derivative else cast(t, uint64 if t.dtype.kind == "u" else int64)


def _with_initial(
    op: Op, x: Any, axis: int | None, dtype: Any, include_initial: bool, first: int, reverse: bool
) -> Tensor:
    t = _in_dtype(x, op.name, dtype)
    if t.ndim == 0 or (axis is None and t.ndim > 1):
        raise ArgumentError(
            "it is not said along which axis" if t.ndim else "a scalar has no axis",
            op=op.name,
            expected="an axis" if t.ndim else "a tensor of at least one axis",
            given=f"axis={axis}, of a tensor of shape {show(t.shape)}",
            where=origin.where(),
            hint=f"gc.{'cumsum' if op is CUMULATIVE_SUM else 'cumprod'}(x) goes over all elements",
        )
    at = normalize_axis(op.name, 0 if axis is None else axis, t.ndim)
    if include_initial:
        width = [(0, 0)] * t.ndim
        width[at] = (0, 1) if reverse else (1, 0)
        t = pad(t, width, constant_values=first)
    return _along(op, t, at, reverse)


def cumulative_sum(
    x: Any,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
    reverse: bool = False,
) -> Tensor:
    """The sum of the elements up to each one along `axis`, itself among them.

    With `include_initial` there is one more in front, 0; with `reverse` the sums go from the end.
    Shapes: as x. `axis` may be left out for a vector. Dtypes: as `sum`. Long sums do not lose
    digits with their length. Errors: `ArgumentError` without an axis for several.

    >>> import graphc as gc
    >>> gc.evaluate(gc.cumulative_sum([1, 2, 3], include_initial=True))
    array([0, 1, 3, 6])
    """
    return _with_initial(CUMULATIVE_SUM, x, axis, dtype, include_initial, 0, reverse)


def cumulative_prod(
    x: Any,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
    reverse: bool = False,
) -> Tensor:
    """The product of the elements up to each one along `axis`, itself among them.

    As `cumulative_sum`, with 1 in front. Its derivatives are those of the polynomial, whatever
    elements are zero.
    """
    return _with_initial(CUMULATIVE_PROD, x, axis, dtype, include_initial, 1, reverse)


def cumsum(x: Any, axis: int | None = None, dtype: Any = None, *, reverse: bool = False) -> Tensor:
    """As `cumulative_sum`, of all elements in row-major order where no axis is given."""
    return _along(CUMULATIVE_SUM, _in_dtype(x, "cumsum", dtype), axis, reverse)


def cumprod(x: Any, axis: int | None = None, dtype: Any = None, *, reverse: bool = False) -> Tensor:
    """As `cumulative_prod`, of all elements in row-major order where no axis is given."""
    return _along(CUMULATIVE_PROD, _in_dtype(x, "cumprod", dtype), axis, reverse)


def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """As `cumsum`, where NaN counts as 0."""
    return cumsum(_numbers(x, "nancumsum", 0), axis, dtype)


def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Tensor:
    """As `cumprod`, where NaN counts as 1."""
    return cumprod(_numbers(x, "nancumprod", 1), axis, dtype)


def _numbers(x: Any, name: str, instead: int) -> Tensor:
    t = tensor(x, name)
    return where(isnan(t), scalar_like(instead, t), t) if t.dtype.has_derivative else t


def cummax(x: Any, axis: int | None = None, *, reverse: bool = False) -> Tensor:
    """The largest element up to each one along `axis`, or of all in row-major order; NaN from the
    first NaN on. The derivative at a tie is shared equally.

    >>> import graphc as gc
    >>> gc.evaluate(gc.cummax([1, 3, 2, 4]))
    array([1, 3, 3, 4])
    """
    return _along(CUMULATIVE_MAX, tensor(x, "cummax"), axis, reverse)


def cummin(x: Any, axis: int | None = None, *, reverse: bool = False) -> Tensor:
    """The smallest element up to each one along `axis`, as `cummax`."""
    return _along(CUMULATIVE_MIN, tensor(x, "cummin"), axis, reverse)


def cumulative_logsumexp(x: Any, axis: int | None = None, *, reverse: bool = False) -> Tensor:
    """log(sum(exp(x))) of the elements up to each one along `axis`, or of all in row-major order,
    without overflow. Dtypes: ints give floats.

    >>> import graphc as gc
    >>> gc.evaluate(gc.cumulative_logsumexp([0.0, 0.0, 1000.0]))
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])
    """
    t = tensor(x, "cumulative_logsumexp")
    t = t if t.dtype.is_float else cast(t, float_type(t.dtype))
    return _along(CUMULATIVE_LOGSUMEXP, t, axis, reverse)


FUNCTIONS |= {
    f.__name__: f
    for f in (
        cumulative_sum, cumulative_prod, cumsum, cumprod, nancumsum, nancumprod, cummax, cummin,
        cumulative_logsumexp,
    )
}  # fmt: skip
FUNCTIONS["logcumsumexp"] = cumulative_logsumexp


# -- the method of NumPy's ufuncs ------------------------------------------------------------------
def _accumulate(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def accumulate(array: Any, axis: int = 0) -> Tensor:
        return function(array, axis)

    return accumulate


NUMPY: dict[str, Callable[..., Any]] = {
    f"{ufunc.__name__}.accumulate": _accumulate(function)
    for ufunc, function in (
        (np.add, cumsum), (np.multiply, cumprod), (np.maximum, cummax), (np.minimum, cummin),
        (np.logaddexp, cumulative_logsumexp),
    )
}  # fmt: skip
