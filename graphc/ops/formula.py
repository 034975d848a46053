"""Ops of users: elementwise functions that a formula of SymPy defines.

    softsquare = gc.elementwise("softsquare", lambda x: sp.log(1 + sp.exp(x)) ** 2)

There is one op. The formula is one of its attributes, as text, so that it is in the text of a
graph, in the key of the cache and in pickles, and two functions of one name do not mix. Which
derivative of the formula it is, is another: derivatives are the same op again, to any order. The
compiler expands it into ops that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import ArgumentError, DTypeError, GraphcError, GraphError
from graphc.ir import origin
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor, apply
from graphc.ir.op import Context, Fact, Kind, Op, register
from graphc.ir.shape import TensorType, broadcast
from graphc.keywords import Answering, answering
from graphc.ops.build import cast, float_type, operands, settle, tensor
from graphc.ops.elementwise import where
from graphc.ops.leaf import placeholder
from graphc.ops.scalar import masked_multiply, stretch, sum_to

Pieces: TypeAlias = tuple[tuple[str, str], ...]  # conditions, and the formula where each holds

FUNCTIONS: dict[str, Callable[..., Any]] = {}


# -- the op ----------------------------------------------------------------------------------------
def _infer(
    *types: TensorType, name: str, formula: str, at: Pieces, orders: tuple[int, ...]
) -> tuple[TensorType, ...]:
    given = ", ".join(t.dtype.name for t in types)
    if len(types) != len(orders) or not types:
        raise ArgumentError(
            "wrong number of operands", op=name, expected=str(len(orders)), given=str(len(types))
        )
    texts = [name, formula, *(text for piece in at for text in piece)]
    counts = all(type(n) is int and n >= 0 for n in orders)
    if not (counts and all(isinstance(text, str) for text in texts)):
        raise GraphError("not a formula", op="formula", given=f"{texts}"[:80])
    first = types[0].dtype
    if not first.is_float or any(t.dtype is not first for t in types):
        raise DTypeError("one float dtype", op=name, expected="floats", given=given)
    return (TensorType(first, broadcast(name, *(t.shape for t in types))),)


def _expand(*inputs: Tensor, name: str, formula: str, at: Pieces, orders: Any) -> Tensor:
    """The formula; where a condition holds, the piece that it has."""
    from graphc.ops.formula_text import argument, computed, read
    from graphc.ops.from_formula import tensors_of

    given = {argument(i): x for i, x in enumerate(inputs)}
    formulas = [computed(text, orders) for text in (formula, *(f for _, f in at))]
    made = tensors_of([*formulas, *(read(c) for c, _ in at)], given, name)
    values, conditions = made[: len(formulas)], made[len(formulas) :]
    (out,) = _infer(*(x.type for x in inputs), name=name, formula=formula, at=at, orders=orders)
    result, *pieces = (settle(_as_float(v), out.dtype) for v in values)
    for condition, piece in zip(reversed(conditions), reversed(pieces), strict=True):
        result = where(condition, piece, result)
    return stretch(result, out.shape)


def _as_float(t: Tensor) -> Tensor:
    return t if t.dtype.is_float else cast(t, float_type(t.dtype))


def _numpy(*arrays: Any, **attrs: Any) -> Any:
    """The meaning of what it expands to, for arrays of 80 bits too: those of `extended`."""
    given = [np.asarray(a) for a in arrays]
    kinds = [np.dtype("float64") if a.dtype == np.longdouble else a.dtype for a in given]
    shapes = [a.shape for a in given]
    inputs = [placeholder(f"x{i}", *type) for i, type in enumerate(zip(shapes, kinds, strict=True))]
    with np.errstate(all="ignore"):
        return evaluate_graph(Graph(inputs, [_expand(*inputs, **attrs)]), given)[0]


def _vjp(context: Context, g: Tensor, out: Tensor, *inputs: Tensor, **attrs: Any) -> list[Any]:
    return [
        sum_to(masked_multiply(g, factor), x.shape) if factor is not None else None
        for x, factor in zip(inputs, _partials(context, inputs, **attrs), strict=True)
    ]


def _partials(
    context: Context, inputs: Sequence[Tensor], *, orders: tuple[int, ...], **attrs: Any
) -> Iterator[Any]:
    """The partial derivatives that are wanted: tensors, or numbers; None for 0."""
    from graphc.ops.formula_text import derivative

    texts = [attrs["formula"], *(f for _, f in attrs["at"])]
    for position in range(len(inputs)):
        if not context.needs(position):
            yield None
            continue
        higher = tuple(n + (i == position) for i, n in enumerate(orders))
        found = {derivative(text, higher) for text in texts}
        if found == {0}:
            yield None
        elif len(found) == 1 and (number := found.pop()).is_number:
            yield float(number)
        else:
            yield apply(FORMULA, inputs, **attrs, orders=higher).output()


def _formula(s: Any, *xs: Any, name: str, formula: str, at: Pieces, orders: tuple[int, ...]) -> Any:
    from graphc.ops.formula_text import argument, derivative, read

    values = {argument(i): x for i, x in enumerate(xs)}
    main = derivative(formula, orders).xreplace(values)
    pieces = [(derivative(f, orders).xreplace(values), read(c).xreplace(values)) for c, f in at]
    return s.Piecewise(*pieces, (main, True)) if pieces else main


FORMULA = register(
    Op(
        "formula",
        Kind.COMPOSITE,
        _infer,
        numpy=_numpy,
        vjp=_vjp,
        expand=_expand,
        formula=_formula,
        facts=frozenset({Fact.ELEMENTWISE, Fact.POLE, Fact.JUMPS}),
        cost=40,
        doc="A function that a formula of SymPy defines, or a derivative of it.",
    )
)


# -- defining one ----------------------------------------------------------------------------------
class Elementwise(Answering):
    """An elementwise function of tensors that a formula defines."""

    def __init__(self, name: str, formula: str, at: Pieces, count: int) -> None:
        self.__name__ = name
        self._formula, self._at, self._count = formula, at, count

    @answering
    def __call__(self, *tensors: Any) -> Tensor:
        """The function of tensors, elementwise, with broadcasting; ints become floats."""
        if len(tensors) != self._count:
            raise ArgumentError(
                "wrong number of operands",
                op=self.__name__,
                expected=str(self._count),
                given=str(len(tensors)),
                where=origin.where(),
            )
        given = operands(self.__name__, *(tensor(x, self.__name__) for x in tensors))
        inputs = [cast(x, float_type(x.dtype)) for x in given]
        return apply(
            FORMULA,
            inputs,
            name=self.__name__,
            formula=self._formula,
            at=self._at,
            orders=(0,) * self._count,
        ).output()

    @property
    def formula(self) -> Any:
        """The formula as a SymPy expression over x0, x1, ...; with its pieces, a `Piecewise`."""
        import sympy as sp

        from graphc.ops.formula_text import argument

        symbols = [argument(i) for i in range(self._count)]
        none = (0,) * self._count
        return _formula(
            sp, *symbols, name=self.__name__, formula=self._formula, at=self._at, orders=none
        )

    def __reduce__(self) -> Any:
        return Elementwise, (self.__name__, self._formula, self._at, self._count)

    def __repr__(self) -> str:
        return f"<elementwise function {self.__name__!r} of {self._count}: {self._formula[:80]}>"


def elementwise(name: str, formula: Any, at: Any = (), *, args: Any = None) -> Elementwise:
    """A function of tensors that a formula defines, which is as good as a built-in one: it
    broadcasts, is differentiated by SymPy to any order, fused, drawn, printed, parsed and cached.

    `formula` is a function of symbols (`lambda x: x * sp.tanh(x)`), or an expression; of several
    symbols `args` says which is which argument. `at` has pairs of a condition and a formula that is
    used where it holds (the first one that does), in values and in derivatives: tails that the
    formula itself would make infinite or NaN, or a series beside a removable singularity.
    `name` is any text; what two functions of one name share is no more than that.
    Shapes: any, broadcast. Dtypes: float; ints are converted.
    Errors: `ArgumentError` for what is no formula of the arguments, and one that lists all symbols
    and functions that are not supported, those of its derivatives included.

    >>> import graphc as gc
    >>> import sympy as sp
    >>> ratio = gc.elementwise("ratio", lambda x: sp.sinh(x) / x, at=[
    ...     (lambda x: abs(x) < 0.01, lambda x: 1 + x**2 / 6 + x**4 / 120)])
    >>> x = gc.placeholder("x", ("n",), "float64")
    >>> gc.evaluate([ratio(x), gc.grad(gc.sum(ratio(x)), x)], {x: [0.0, 1.0]})
    [array([1.        , 1.17520119]), array([0.        , 0.36787944])]
    """
    from graphc.ops.formula_definition import defined

    if not isinstance(name, str) or not name:
        raise ArgumentError(
            "a name is a string", op="elementwise", given=repr(name)[:80], where=origin.where()
        )
    text, pieces, count = defined(formula, at, args)
    made = Elementwise(name, text, pieces, count)
    _check(made, text, pieces, count)
    return made


def _check(made: Elementwise, text: str, pieces: Pieces, count: int) -> None:
    """That it and its first derivatives expand. Errors: `ArgumentError`."""
    inputs = [placeholder(f"x{i}", (), "float64") for i in range(count)]
    for position in (None, *range(count)):
        orders = tuple(int(i == position) for i in range(count))
        try:
            _expand(*inputs, name=made.__name__, formula=text, at=pieces, orders=orders)
        except GraphcError as error:
            which = "it" if position is None else f"its derivative by argument {position + 1}"
            raise ArgumentError(
                f"{error.message}: {which}",
                op=f"elementwise {made.__name__!r}"[:80],
                expected=error.expected,
                given=error.given,
                where=origin.where(),
            ) from None


FUNCTIONS["elementwise"] = elementwise


# SymPy's, which is not NumPy's: sin(x) / x. Beside 0 it is its series, in derivatives too.
SINC = Elementwise(
    "sinc",
    "sin(x0)/x0",
    (("Abs(x0) < 1", "Sum((-1)**k0*x0**(2*k0)/factorial(2*k0 + 1), (k0, 0, 10))"),),
    1,
)
