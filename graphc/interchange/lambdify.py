"""`gc.lambdify`: a compiled function of SymPy's expressions, with their derivatives.

    f = gc.lambdify([x, [a, b]], expression, gradient=True, hessian=True)
    value, gradient, hessian = f(0.5, [1.0, 2.0])

How: the expressions become one graph, derivatives are graphc's own reverse mode on it, so that all
results share their subexpressions, and all of them are the rows of one array of one program. What a
call gives decides which program: each argument is one point, or a batch of points. Programs are
made when they are first needed and kept; functions of equal arguments, expressions and options are
one object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import sympy as sp

from graphc.autodiff.derivatives import pulled
from graphc.errors import ArgumentError, CallError, ShapeError
from graphc.interchange.from_sympy import (
    elements,
    leaves,
    rebuilt,
    shape_of,
    sympified,
    written_out,
)
from graphc.interchange.functions import Named, known, named_functions
from graphc.interchange.parts import (
    Argument,
    Given,
    Open,
    Part,
    arguments_of,
    given_for,
    keys_of,
    parts_of,
)
from graphc.ir import origin
from graphc.ir.dim import named
from graphc.ir.dtype import DType, bool_, complex_of
from graphc.ir.dtype import dtype as to_dtype
from graphc.ir.node import Tensor
from graphc.ir.op import Fact
from graphc.ops import complex as parts
from graphc.ops.build import constant, settle
from graphc.ops.create import ones_like
from graphc.ops.from_formula import values_of
from graphc.ops.leaf import placeholder
from graphc.ops.shape import broadcast_to
from graphc.runtime.compile import Function, compile

Array: TypeAlias = np.ndarray[Any, Any]
Signature: TypeAlias = tuple[tuple[Part, bool], ...]  # of each part: whether it is a batch
# A place or a slice, a shape, and what its rows are seen as.
View: TypeAlias = "tuple[Any, tuple[int, ...], Callable[[Any], Any] | None]"
_POINTS = named("n")
_KEPT = 256  # functions, and ways to call one


def lambdify(
    args: Any,
    exprs: Any,
    modules: Any = None,
    *,
    cse: Any = True,
    gradient: Any = False,
    jacobian: Any = False,
    hessian: Any = False,
    dtype: Any = "float64",
) -> Lambdified:
    """A compiled function that computes SymPy's expressions, as SymPy's own `lambdify` makes one.

    `args` is a symbol or a list of arguments: symbols, functions such as `f(t)`, derivatives,
    matrices of these, lists of these, or what has elements (`MatrixSymbol`, `IndexedBase`).
    `exprs` is an expression, a matrix, or nested lists, tuples and dicts of them; the function
    gives the same of numbers and arrays. Arguments of shape [n] give results [n], for a matrix
    [n, r, c]; they broadcast against each other. A list of symbols takes a list, or one array that
    has them along its first axis; a matrix one that has it in its last two.
    `gradient`, `jacobian` and `hessian` are True, or the symbols that derivatives are taken by
    (True: all); the function then gives a tuple of the value and these, computed in one program.
    Gradient and Hessian are those of one expression; a Jacobian has a row for each element.
    `modules` gives functions of tensors by name, in place of SymPy's: a dict, or a list of dicts
    and of names of libraries, which add nothing, as all is compiled.
    Equal subexpressions are computed once; a function for `cse` is applied first, as SymPy does.
    Dtypes: results are complex numbers where `I` is in an expression, or an argument is complex.
    Errors: `ArgumentError` for arguments that are none, and one that lists everything in the
    expressions without an argument or without an op; at a call `CallError`, `DTypeError`,
    `ShapeError` for what does not fit.

    >>> x, y = sp.symbols("x y")
    >>> f = lambdify([x, y], x * sp.sin(y), gradient=True)
    >>> value, slopes = f(2.0, 0.0)
    >>> float(value), slopes.tolist()
    (0.0, [0.0, 2.0])
    """
    arguments = arguments_of(args)
    structure = rebuilt(sympified(exprs, "lambdify"), lambda e: written_out(e, "lambdify"))
    if not isinstance(cse, bool) and not callable(cse):
        raise ArgumentError(
            "what finds common subexpressions is a function",
            op="lambdify",
            expected="cse=True, cse=False or a function",
            given=repr(cse)[:80],
            where=origin.where(),
        )
    functions = named_functions(modules, "lambdify")
    if callable(cse):
        structure = _with_common(structure, cse)
    orders = {"gradient": gradient, "jacobian": jacobian, "hessian": hessian}
    wrt = tuple((name, _wrt(name, by, arguments)) for name, by in orders.items() if by is not False)
    _check_orders(structure, [name for name, _ in wrt])
    made = to_dtype(dtype)
    if not made.has_derivative:
        raise ArgumentError(
            "computed in floats", op="lambdify", expected="a float dtype", given=made.name
        )
    _check_derivatives(made, wrt)
    return _kept(arguments, _frozen(structure), wrt, made, functions)


@lru_cache(_KEPT)
def _kept(arguments: Any, frozen: Any, wrt: Any, dtype: DType, functions: Named) -> Lambdified:
    return Lambdified(arguments, _thawed(frozen), dict(wrt), dtype, functions)


# -- what is asked for -----------------------------------------------------------------------------
def _wrt(name: str, by: Any, arguments: Sequence[Argument]) -> tuple[Any, ...]:
    """The symbols that a derivative is taken by."""
    keys = tuple(k for a in arguments for k in keys_of(a))
    if by is True:
        return keys
    found = tuple(elements(by)) if isinstance(by, sp.MatrixBase) else by
    found = tuple(found) if isinstance(found, Iterable) else (found,)
    strange = [str(k)[:80] for k in found if k not in keys]
    if strange:
        raise ArgumentError(
            "derivatives by what is no argument",
            op="lambdify",
            expected=f"{name}=True, or a list of: {', '.join(map(str, keys))}"[:300],
            given=", ".join(strange),
            where=origin.where(),
        )
    return found


def _check_orders(structure: Any, names: Sequence[str]) -> None:
    count = sum(len(elements(x)) for x in leaves(structure))
    single = [name for name in names if name != "jacobian"]
    if single and count != 1:
        raise ArgumentError(
            f"the {single[0]} of more than one expression",
            op="lambdify",
            expected="one expression",
            given=f"{count} expressions",
            where=origin.where(),
            hint="jacobian=True has a row for each of them",
        )


def _check_derivatives(dtype: DType, wrt: Any) -> None:
    if dtype.is_complex and wrt:
        raise ArgumentError(
            "derivatives by complex numbers",
            op="lambdify",
            expected="real arguments",
            given=dtype.name,
            where=origin.where(),
            hint="expression.diff(z) is one more expression",
        )


def _with_common(structure: Any, cse: Callable[..., Any]) -> Any:
    """The expressions in which `cse` named what is common, with that in its place."""
    flat = leaves(structure)
    pairs, reduced = cse(flat)
    known: dict[Any, Any] = {}
    for symbol, e in pairs:
        if e is not None:  # which says that the symbol is not needed any more
            known[symbol] = e.xreplace(known)
    made = iter([e.xreplace(known) for e in reduced])
    return sympified(rebuilt(structure, lambda _: next(made)), "lambdify")


def _frozen(structure: Any) -> Any:
    """Nested lists, tuples and dicts as what has a hash."""
    if isinstance(structure, dict):
        return "dict", tuple((k, _frozen(v)) for k, v in structure.items())
    if isinstance(structure, (list, tuple)):
        return type(structure).__name__, tuple(map(_frozen, structure))
    return "leaf", structure


def _thawed(frozen: Any) -> Any:
    kind, value = frozen
    if kind == "dict":
        return {k: _thawed(v) for k, v in value}
    if kind == "leaf":
        return value
    return (list if kind == "list" else tuple)(map(_thawed, value))


# -- results as rows -------------------------------------------------------------------------------
class Rows(NamedTuple):
    """The rows of a program that a result is made of, in its own order, its shape, and whether it
    is made of truth values, or of complex numbers."""

    places: list[int]
    core: tuple[int, ...]
    is_bool: bool
    is_complex: bool

    def of_points(self, block: Array, batch: tuple[int, ...]) -> Array:
        """The result of a batch, a view of the rows of all points: those of a result follow each
        other there."""
        first = self.places[0] if self.places else 0
        found: Array = block[first : first + len(self.places)]
        seen = self._seen_as(block.dtype.kind == "c")
        found = found if seen is None else seen(found)
        rank = len(self.core)
        axes = (*range(rank, rank + len(batch)), *range(rank))
        return found.reshape(*self.core, *batch).transpose(axes)

    def view(self, start: int, complex_rows: bool) -> View:
        """Where the result of a point is among the elements of all results."""
        stop = start + len(self.places)
        place = slice(start, stop) if self.core else start
        return place, self.core, self._seen_as(complex_rows)

    def _seen_as(self, complex_rows: bool) -> Callable[[Any], Any] | None:
        """What makes the result of its rows, which are complex if one result is."""
        if self.is_bool:
            return _truths
        return np.real if complex_rows and not self.is_complex else None


def _truths(rows: Any) -> Any:
    return rows != 0 if rows.ndim else bool(rows)


def _seen(flat: Array, views: Sequence[View]) -> list[Any]:
    """The results of a point: numbers, and arrays that are views."""
    found: list[Any] = []
    for at, core, seen in views:
        one = flat[at] if len(core) < 2 else flat[at].reshape(core)
        found.append(one if seen is None else seen(one))
    return found


class _Table:
    """The rows of a program: tensors and numbers. Of one point each is there `once`, and results
    pick theirs. Of many points that would copy them all, so each result has rows of its own."""

    def __init__(self, once: bool) -> None:
        self.rows: list[Any] = []
        self._once = once
        self._places: dict[Any, int] = {}  # by what distinguishes them

    def add(self, values: Sequence[Any], core: tuple[int, ...]) -> Rows:
        """A result made of `values`."""
        truths = [v.dtype is bool_ if isinstance(v, Tensor) else v is True or v is False
                  for v in values]  # fmt: skip
        places = [self._place(v) for v in values]
        return Rows(places, core, bool(truths) and all(truths), any(map(_is_complex, values)))

    def _place(self, value: Any) -> int:
        number = _number_of(value) if isinstance(value, Tensor) else value
        key = value if number is None else _exact(number)
        if not self._once or key not in self._places:
            self._places[key] = len(self.rows)
            self.rows.append(value if number is None else number)
        return self._places[key]


def _is_complex(value: Any) -> bool:
    return value.dtype.is_complex if isinstance(value, Tensor) else isinstance(value, complex)


def _exact(number: complex) -> tuple[str, ...]:
    """What tells a number from all others, -0.0 from 0.0 as well."""
    return tuple(float(x).hex() for x in (number.real, number.imag))


def _number_of(t: Tensor) -> complex | None:
    """The number that every element of a constant is."""
    node = t.node
    while node.op.name in ("broadcast_to", "weak", "astype", "full"):
        node = node.inputs[0].node if node.inputs else node
        if not node.inputs:
            break
    if Fact.CONSTANT not in node.op.facts:
        return None
    array = node.attrs["value"].array
    first = array.flat[0].item() if array.size else 0
    return first if array.size and (array == first).all() else None


# -- the function ----------------------------------------------------------------------------------
class _Program(NamedTuple):
    """A program for one signature. rows: the rows of a call, from its arrays."""

    function: Function | None  # None where all results are numbers
    rows: Callable[..., Array]
    results: tuple[Rows, ...]
    views: tuple[View, ...]  # of a point's results, among the elements of all
    order: Array | None  # the row of each of these elements, unless that is all rows in order


class Lambdified:
    """What `gc.lambdify` gives. Call it with numbers or arrays, in the order of the arguments."""

    def __init__(
        self,
        arguments: tuple[Argument, ...],
        structure: Any,
        wrt: Mapping[str, Any],
        dtype: DType,
        functions: Named,
    ) -> None:
        self._arguments, self._structure, self._wrt = arguments, structure, wrt
        self._functions = functions
        self._leaves = leaves(structure)
        self._dtype = dtype.numpy
        self._kind = dtype
        self._programs: dict[Signature, _Program] = {}
        self._ways: dict[tuple[Any, ...], tuple[_Program, tuple[int, ...]]] = {}
        self._is_single = not isinstance(structure, (list, tuple, dict))
        self._names = [_name(a) for a in arguments]
        self._graph: tuple[Any, ...] | None = None
        if not any(isinstance(a, Open) for a in arguments):  # whose rank no one knows yet
            signature = tuple((p, False) for a in arguments for p in parts_of(a))
            self._graph = signature, *self._converted(signature)

    def __call__(self, /, *values: Any, **named_values: Any) -> Any:
        if named_values:
            values = self._in_order(values, named_values)
        dtype = self._dtype
        shapes = tuple([
            v.shape if v.__class__ is np.ndarray and v.dtype is dtype else v.__class__
            for v in values
        ])  # fmt: skip
        way = self._ways.get(shapes)
        if way is None:
            return self._first(values, shapes)
        program, batch = way
        return self._results(program, program.rows(*values), batch)

    def _first(self, values: tuple[Any, ...], shapes: tuple[Any, ...]) -> Any:
        """A call with arguments as there were none before, or that have to be converted."""
        if self._kind.is_float and any(map(_has_complex, values)):
            return self._of_complex()(*values)
        given, batch = self._given(values)
        program = self._program(given)
        arrays = [_flat(g, batch) if g.batch else g.array for g in given]
        if len(batch) <= 1 and all(map(_as_it_is, values, arrays)):
            if len(self._ways) >= _KEPT:
                self._ways.clear()
            self._ways[shapes] = program, batch
        return self._results(program, program.rows(*arrays), batch)

    def compiled(self, /, *values: Any) -> Function:
        """The program that computes such arguments: look at its kernels, source or cost."""
        if self._kind.is_float and any(map(_has_complex, values)):
            return self._of_complex().compiled(*values)
        given, _ = self._given(values)
        function = self._program(given).function
        if function is None:
            raise ArgumentError("nothing is computed: all results are numbers", op="lambdify")
        return function

    def _of_complex(self) -> Lambdified:
        """The same function of complex arguments."""
        kind = complex_of(self._kind)
        _check_derivatives(kind, self._wrt)
        wrt = tuple(self._wrt.items())
        return _kept(self._arguments, _frozen(self._structure), wrt, kind, self._functions)

    def __reduce__(self) -> Any:
        frozen = _frozen(self._structure)
        wrt = tuple(self._wrt.items())
        return _kept, (self._arguments, frozen, wrt, self._kind, self._functions)

    def __repr__(self) -> str:
        extra = "".join(f", {name}" for name in self._wrt)
        count = sum(len(elements(x)) for x in self._leaves)
        return f"<lambdified function of {len(self._arguments)} arguments: {count} results{extra}>"

    # -- from a call to arrays ---------------------------------------------------------------------
    def _in_order(self, values: tuple[Any, ...], by_name: dict[str, Any]) -> tuple[Any, ...]:
        rest = self._names[len(values) :]
        strange = [n for n in by_name if n not in rest]
        missing = [n for n in rest if n not in by_name]
        if strange or missing:
            raise CallError(
                "no argument has this name" if strange else "arguments are missing",
                op="lambdify",
                expected=", ".join(rest),
                given=", ".join(strange or by_name),
                where=origin.where(),
            )
        return (*values, *(by_name[n] for n in rest))

    def _given(self, values: tuple[Any, ...]) -> tuple[list[Given], tuple[int, ...]]:
        """The parts of a call, and the shape of all batches together."""
        if len(values) != len(self._arguments):
            raise CallError(
                "another number of arguments",
                op="lambdify",
                expected=str(len(self._arguments)),
                given=str(len(values)),
                where=origin.where(),
            )
        given: list[Given] = []
        for i, (argument, value) in enumerate(zip(self._arguments, values, strict=True)):
            given += given_for(argument, value, self._dtype, f"argument {i + 1}")
        batches = {g.batch for g in given}
        if len(batches) <= 1:
            return given, next(iter(batches), ())
        try:
            return given, np.broadcast_shapes(*batches)
        except ValueError:
            raise ShapeError(
                "the arguments do not broadcast",
                op="lambdify",
                given=", ".join(map(str, sorted(batches))),
                where=origin.where(),
            ) from None

    def _results(self, program: _Program, block: Array, batch: tuple[int, ...]) -> Any:
        """The results in their structure, from the rows of a call."""
        if batch:
            if block.ndim == 1:  # numbers alone
                block = np.repeat(block[:, None], math.prod(batch), axis=1)
            found = [r.of_points(block, batch) for r in program.results]
        else:
            flat = block if program.order is None else block.take(program.order)
            found = _seen(flat, program.views)
        if self._is_single:
            return found[0] if len(found) == 1 else tuple(found)
        count = len(self._leaves)
        rest = iter(found[:count])
        value = rebuilt(self._structure, lambda _: next(rest))
        return (value, *found[count:]) if self._wrt else value

    # -- programs ----------------------------------------------------------------------------------
    def _program(self, given: Sequence[Given]) -> _Program:
        signature = tuple((g.part, bool(g.batch)) for g in given)
        program = self._programs.get(signature)
        if program is None:
            if len(self._programs) >= _KEPT:
                self._programs.clear()
            program = self._programs[signature] = self._made(signature)
        return program

    def _made(self, signature: Signature) -> _Program:
        wide = _points(signature)
        graph, self._graph = self._graph, None  # that of points is there, if it is the first one
        made_before = graph is not None and graph[0] == signature
        inputs, known, flat = graph[1:] if graph and made_before else self._converted(signature)
        table, made = _Table(once=not wide), []
        rest = iter(flat)
        for leaf in self._leaves:
            values = list(islice(rest, len(elements(leaf))))
            made.append(table.add(values, shape_of(leaf)))
        for name, keys in self._wrt.items():
            made.append(table.add(*_DERIVATIVES[name](flat, [known[k] for k in keys])))
        order = [place for r in made for place in r.places]
        starts = accumulate((len(r.places) for r in made[:-1]), initial=0)
        kind = self._kind
        if kind.is_float and any(r.is_complex for r in made):
            kind = complex_of(kind)
        pairs = zip(made, starts, strict=True) if made else ()
        views = tuple(r.view(start, kind.is_complex) for r, start in pairs)
        function, rows = self._function(inputs, table.rows, wide, kind)
        straight = order == list(range(len(table.rows)))
        chosen = None if straight else np.array(order, np.intp)
        return _Program(function, rows, tuple(made), views, chosen)

    def _function(
        self, inputs: list[Tensor], values: list[Any], wide: tuple[Any, ...], kind: DType
    ) -> tuple[Function | None, Callable[..., Array]]:
        """The function of the rows, and what gives them."""
        if not any(isinstance(v, Tensor) for v in values):
            numbers = np.array(values, kind.numpy)
            return None, lambda *arrays: numbers.copy()
        tensors = [v if isinstance(v, Tensor) else constant(v, kind) for v in values]
        outputs = [broadcast_to(settle(t, kind), wide) for t in tensors]
        function = compile(inputs, outputs, name="lambdified")
        return function, function.rows

    def _converted(self, signature: Signature) -> tuple[list[Tensor], dict[Any, Tensor], list[Any]]:
        """The inputs, the tensors of symbols, and the elements of all results.
        Errors: `ArgumentError` for what cannot become a graph."""
        inputs, given = self._inputs(signature, _points(signature))
        expressions = [e for x in self._leaves for e in elements(x)]
        beyond = known(self._functions)
        return inputs, given, values_of(expressions, given, "lambdify", beyond)

    def _inputs(
        self, signature: Signature, wide: tuple[Any, ...]
    ) -> tuple[list[Tensor], dict[Any, Tensor]]:
        """The inputs, and the tensor of each symbol; it has all points if derivatives are by it."""
        inputs: list[Tensor] = []
        known: dict[Any, Tensor] = {}
        by = {k for keys in self._wrt.values() for k in keys}
        for i, (part, is_batch) in enumerate(signature):
            points = wide if is_batch else ()
            shape = (*part.core, *points) if part.first else (*points, *part.core)
            x = placeholder(f"a{i}", shape, self._kind)
            inputs.append(x)
            if part.base is not None:
                known[part.base] = x
            places = np.ndindex(*part.core) if part.keys else ()
            for key, place in zip(part.keys, places, strict=True):
                element = x[place if part.first else (..., *place)] if place else x
                known[key] = broadcast_to(element, wide) if key in by else element
        return inputs, known


def _points(signature: Signature) -> tuple[Any, ...]:
    """The axis of points, if there is one."""
    return (_POINTS,) if any(is_batch for _, is_batch in signature) else ()


def _name(argument: Argument) -> str:
    is_symbol = isinstance(argument, Part) and argument.core == ()
    return str(keys_of(argument)[0]) if is_symbol else ""


def _has_complex(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_complex, value))
    return np.iscomplexobj(value)


def _as_it_is(value: Any, array: Array) -> bool:
    """Whether a program takes the value of an argument itself."""
    return value is array or value.__class__ in (int, float)


def _flat(g: Given, batch: tuple[int, ...]) -> Array:
    """The array of a part with one axis of points."""
    if g.batch == batch and len(batch) == 1:
        return g.array
    core, points = g.part.core, math.prod(batch)
    if not g.part.first:
        return np.broadcast_to(g.array, (*batch, *core)).reshape(points, *core)
    ones = (1,) * (len(batch) - len(g.batch))
    wide = np.broadcast_to(g.array.reshape(*core, *ones, *g.batch), (*core, *batch))
    return wide.reshape(*core, points)


# -- derivatives -----------------------------------------------------------------------------------
def _partials(y: Any, by: Sequence[Tensor]) -> list[Any]:
    """The derivatives of an element by each symbol: tensors, or numbers."""
    if not isinstance(y, Tensor) or not y.dtype.has_derivative or not by:
        return [0.0] * len(by)
    if y.dtype.is_complex:
        pairs = zip(_partials(parts.real(y), by), _partials(parts.imag(y), by), strict=True)
        return [parts.complex(*pair) for pair in pairs]
    found = pulled([y], by, [ones_like(y)])
    return [0.0 if t is None else t for t in found]


def _gradient(flat: Sequence[Any], by: Sequence[Tensor]) -> tuple[list[Any], tuple[int, ...]]:
    return _partials(flat[0], by), (len(by),)


def _jacobian(flat: Sequence[Any], by: Sequence[Tensor]) -> tuple[list[Any], tuple[int, ...]]:
    return [d for y in flat for d in _partials(y, by)], (len(flat), len(by))


def _hessian(flat: Sequence[Any], by: Sequence[Tensor]) -> tuple[list[Any], tuple[int, ...]]:
    """Both halves are the upper one."""
    first = _partials(flat[0], by)
    upper = [_partials(d, by[i:]) for i, d in enumerate(first)]
    count = range(len(by))
    return [upper[min(i, j)][abs(i - j)] for i in count for j in count], (len(by), len(by))


_DERIVATIVES = {"gradient": _gradient, "jacobian": _jacobian, "hessian": _hessian}
