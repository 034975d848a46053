"""`gc.jit`: a Python function over arrays, compiled by tracing it.

At a call the function runs once with symbolic tensors in place of the arrays, and what it builds is
compiled. Sizes become dims, so one program serves all sizes: there is one for each rank, dtype and
pattern of size-1 axes (only a static 1 broadcasts). Sizes that were equal at the trace are one dim;
a call where they differ traces again, with fewer dims taken to be equal. So does a call whose sizes
are not what the operations of the trace need (`Graph.conditions`). A size that the function
needs to know (it loops over the axis, or meets a variable of fixed shape) stays static; so does a
Python float (it decides a branch, or is an exponent), which is an operand otherwise.
"""

from __future__ import annotations

import functools
import inspect
import operator
import sys
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack, cast, overload

import numpy as np

from graphc import locks
from graphc.errors import ArgumentError, GraphcError
from graphc.ir.dtype import default_dtype
from graphc.ir.evaluate import bind_dims, unmet
from graphc.ir.given import given_array
from graphc.ir.graph import Graph, walk
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact
from graphc.ir.operators import function
from graphc.ir.structure import Structure, flatten, unflatten
from graphc.ops.build import as_weak
from graphc.ops.closure import tensors
from graphc.ops.leaf import placeholder
from graphc.runtime.compile import Function, compile

_STATIC = (bool, int, str)
FITTING = 1000  # tuples of sizes remembered of a program

Array = np.ndarray[Any, Any]
_ARRAY = np.ndarray


class JitOptions(TypedDict, total=False):
    """The options of `gc.jit`: those of `gc.compile` that it takes, and its own."""

    target: str
    check: bool | str
    flush_subnormals: bool
    fastmath: bool
    memory_budget: int | None
    device: int | None
    results: str
    tf32: bool
    static_argnames: str | Sequence[str]


class _Trace(NamedTuple):
    """What the function built: tensors, in the structure of its result."""

    inputs: list[Tensor]
    outputs: Any
    floats: dict[Node, int]  # the inputs that stand for floats, and their leaves


class _Known(NamedTuple):
    """What a trace knows of its arguments besides their kinds: the sizes that are static, by axis,
    and the floats, by leaf."""

    sizes: dict[int, int]
    floats: dict[int, float]

    def without(self, axes: Sequence[int], leaves: Sequence[int]) -> _Known:
        return _Known(
            {k: v for k, v in self.sizes.items() if k not in axes},
            {k: v for k, v in self.floats.items() if k not in leaves},
        )


class _Program(NamedTuple):
    """A compiled trace. Of all axes whose size is not 1, in order, axis k must be as long as axis
    `equals[k]`, and as `known.sizes[k]` where that is given; `d{equals[k]}` is the dim's name."""

    equals: tuple[int, ...]
    known: _Known
    function: Function
    fitting: set[tuple[int, ...]]  # sizes that are known to fit

    def fits(self, sizes: tuple[int, ...], leaves: Sequence[Any]) -> bool:
        floats = self.known.floats
        if floats and any(repr(leaves[i]) != repr(value) for i, value in floats.items()):
            return False
        if sizes in self.fitting:
            return True
        if any(size != sizes[i] for size, i in zip(sizes, self.equals, strict=True)):
            return False
        if any(sizes[k] != size for k, size in self.known.sizes.items()):
            return False
        dims = {f"d{i}": size for i, size in enumerate(sizes)}
        if unmet(self.function.graph, dims)[0] is not None:
            return False
        if len(self.fitting) >= FITTING:
            self.fitting.clear()
        self.fitting.add(sizes)
        return True


class _Constant:
    """An argument that `static_argnames` names; as a part of a key, its value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class _Method(NamedTuple):
    """The programs of a jitted method for one object."""

    alive: weakref.ref[Any]
    programs: dict[Any, list[_Program]]
    lock: Any


@overload
def jit(function: Callable[..., Any], **options: Unpack[JitOptions]) -> Jitted: ...
@overload
def jit(**options: Unpack[JitOptions]) -> Callable[[Callable[..., Any]], Jitted]: ...
def jit(
    function: Any = None,
    *,
    target: str = "cpu",
    check: bool | str = False,
    flush_subnormals: bool = False,
    fastmath: bool = False,
    memory_budget: int | None = None,
    device: int | None = None,
    results: str = "host",
    tf32: bool = False,
    static_argnames: str | Sequence[str] = (),
) -> Any:
    """`function`, compiled for the arrays that it is called with; also a decorator.

    Arguments and results are arrays in nested tuples, lists, dicts and dataclasses. Python ints,
    strings, truth values and None are static: the function sees their values, and each value has
    its own program. (So a list of ints is many static arguments: pass an array.) A Python float is
    an operand, as weak as a number in the code, so that another value needs no other program; where
    the function needs the value (`if p > 0`, `x ** p`), it is static by itself. What
    `static_argnames` names, one parameter or several, is static, whatever can be hashed. Called
    with symbolic tensors, the function simply runs, so jitted functions can be used inside others.

    The function runs only when it is traced: what it reads besides its arguments is then fixed,
    except variables, whose values are read at each call. It cannot update them: `gc.compile` can.
    As a decorator of methods it gives each object programs of its own, with what it reads of `self`
    fixed alike. A jitted function at the top of a module can be pickled, by its name.
    Where Python code in it compares sizes, symbolic dims are equal only if they are always equal.
    `.programs` counts the programs, `.functions` gives them. The other options are as for
    `gc.compile`; a budget is judged for the sizes of the call that is traced.

    Errors: `ArgumentError` for an argument that is neither array nor static, or a static name that
    is none of a parameter; those of tracing.

    >>> import graphc as gc
    >>> @gc.jit
    ... def f(a, b):
    ...     return gc.tanh(a) @ b
    >>> f(np.zeros((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    >>> f(np.zeros((5, 6)), np.ones((6, 7))).shape, f.programs
    ((5, 7), 1)
    """
    options = JitOptions(
        target=target,
        check=check,
        flush_subnormals=flush_subnormals,
        fastmath=fastmath,
        memory_budget=memory_budget,
        device=device,
        results=results,
        tf32=tf32,
        static_argnames=static_argnames,
    )
    if function is None:
        return functools.partial(jit, **options)
    if not callable(function):
        raise ArgumentError(
            "not a function", op="jit", expected="a callable", given=repr(function)[:80]
        )
    return Jitted(function, options)


class Jitted:
    """What `gc.jit` gives: call it as the function that it was made from."""

    def __init__(self, function: Callable[..., Any], options: JitOptions) -> None:
        functools.update_wrapper(self, function)
        self._function, self._options = function, options
        self._static = _static_names(function, options.get("static_argnames", ()))
        self._name = str(getattr(function, "__name__", "function"))
        self._programs: dict[Any, list[_Program]] = {}
        self._lock = locks.private()
        self._methods: dict[int, _Method] = {}  # by the identity of their objects

    # -- what Python does with functions -----------------------------------------------------------
    def __get__(self, instance: Any, owner: type | None = None) -> Jitted:
        """As a method, if what was jitted would be one, bound to `instance`. Each object has
        programs of its own, which go when it goes, for a trace fixes what it reads of the object.

        Errors: `ArgumentError` for an object that cannot be referred to weakly.
        """
        method = _bound(self._function, instance, owner)
        if method is self._function:
            return self
        found = self._methods.get(id(instance))
        if found is None:
            with self._lock:
                found = self._methods.get(id(instance)) or self._add_method(instance)
        bound = Jitted(method, self._options)
        bound._programs, bound._lock = found.programs, found.lock
        return bound

    def _add_method(self, instance: Any) -> _Method:
        key, methods = id(instance), self._methods
        try:
            alive = weakref.ref(instance, lambda _: methods.pop(key, None))
        except TypeError:
            raise ArgumentError(
                "a jitted method needs objects that can be referred to weakly",
                op=self._name,
                given=f"an object of {type(instance).__name__}",
                hint='add "__weakref__" to the __slots__ of the class',
            ) from None
        methods[key] = _Method(alive, {}, locks.private())
        return methods[key]

    def __copy__(self) -> Jitted:
        return self

    def __deepcopy__(self, memo: Any) -> Jitted:
        return self  # as Python's functions

    def __reduce__(self) -> Any:
        """Pickled by its qualified name, as Python's functions are; a bound method by its object.

        Errors: `ArgumentError` for a function that is not found by its name.
        """
        function = self._function
        if isinstance(function, types.MethodType):
            return getattr, (function.__self__, function.__name__)
        module, name = getattr(self, "__module__", ""), getattr(self, "__qualname__", self._name)
        try:
            found = operator.attrgetter(name)(sys.modules.get(module))
        except AttributeError:
            found = None
        if found is not self:
            raise ArgumentError(
                "a jitted function is pickled by its name, and this one is not found by it",
                op="pickle",
                expected=f"the jitted function as {module}.{name}",
                given="nothing of that name" if found is None else repr(found)[:80],
                hint="define it at the top of a module with @gc.jit, or pickle gc.compile's result",
            )
        return name

    @property
    def programs(self) -> int:
        """How many programs have been traced and compiled."""
        return len(self.functions)

    @property
    def functions(self) -> list[Function]:
        """The compiled functions, each with `.graph`, `.kernels`, `.source` and so on."""
        return [program.function for found in self._programs.values() for program in found]

    def _repr_svg_(self) -> str | None:
        return str(function("_repr_svg_")(self)) if self.functions else None

    def _repr_latex_(self) -> str | None:
        found: str | None = function("_repr_latex_")(self)
        return found

    def _repr_html_(self) -> str | None:
        found: str | None = function("_repr_html_")(self)
        return found

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        given = self._marked(args, kwargs) if self._static else (args, kwargs)
        leaves, structure = flatten((given[0], given[1] or None))
        for leaf in leaves:
            if leaf.__class__ is not _ARRAY and isinstance(leaf, Tensor):
                return self._function(*args, **kwargs)
        kinds, operands, sizes = self._read(leaves)
        key = (structure, default_dtype(), *kinds)
        program = self._find(key, sizes, leaves)
        if program is None:
            with self._lock:  # another thread may have traced it by now
                program = self._find(key, sizes, leaves)
                program = program or self._compile(key, structure, leaves, sizes)
        known = program.known.floats
        if known:
            operands = {i: v for i, v in operands.items() if i not in known}
        return program.function(*operands.values())

    def _read(self, leaves: Sequence[Any]) -> tuple[list[Any], dict[int, Any], tuple[int, ...]]:
        """What each leaf is to a program, the operands by their places, and all sizes but 1."""
        kinds: list[Any] = []
        operands: dict[int, Any] = {}
        sizes: list[int] = []
        for place, leaf in enumerate(leaves):
            array = leaf
            if leaf.__class__ is not _ARRAY or leaf.dtype.kind not in "biufc":
                if _is_static(leaf):
                    kinds.append(_value(leaf))
                    continue
                leaf = self._operand(leaf)
                if leaf.__class__ is float:
                    kinds.append(float)
                    operands[place] = leaf
                    continue
                array = _typed(leaf)
            operands[place] = leaf
            shape = array.shape
            kinds.append(array.dtype.num)
            if 1 in shape:
                kinds.append(tuple([size == 1 for size in shape]))
                sizes += [size for size in shape if size != 1]
            else:
                kinds.append(len(shape))
                sizes += shape
        return kinds, operands, tuple(sizes)

    def _marked(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The arguments, those that are static by name as constants.
        Errors: `ArgumentError` for one that cannot be hashed."""
        bound = inspect.signature(self._function).bind(*args, **kwargs)
        for name in self._static:
            if name not in bound.arguments:
                continue
            value = bound.arguments[name]
            try:
                hash(value)
            except TypeError:
                raise ArgumentError(
                    f"the static argument {name!r} cannot be hashed",
                    op=self._name,
                    expected="a number, a string, a tuple of them, a function ...",
                    given=type(value).__name__,
                ) from None
            bound.arguments[name] = _Constant(value)
        return bound.args, bound.kwargs

    def _operand(self, value: Any) -> Any:
        """A Python float, or an array."""
        return float(value) if _is_float(value) else self._array(value)

    def _array(self, value: Any) -> Array:
        if hasattr(value, "__cuda_array_interface__"):
            return value  # type: ignore[no-any-return]
        try:
            array = given_array(self._name, value) if hasattr(value, "__array__") else None
        except (TypeError, ValueError) as error:
            if isinstance(error, GraphcError):
                raise
            raise ArgumentError(
                f"not an array: {error}",
                op=self._name,
                expected="an array of numbers",
                given=f"{type(value).__module__}.{type(value).__name__}",
            ) from error
        if isinstance(value, complex) and array is None:
            array = np.asarray(value)
        if array is None or array.dtype.kind not in "biufc":
            raise ArgumentError(
                "an argument is neither an array of numbers nor static",
                op=self._name,
                expected="arrays, Python numbers, strings, None, and tuples, lists, dicts of them",
                given=type(value).__name__ + (f" of {array.dtype}" if array is not None else ""),
            )
        return array

    def _find(self, key: Any, sizes: tuple[int, ...], leaves: Sequence[Any]) -> _Program | None:
        for program in self._programs.get(key, ()):
            if program.fits(sizes, leaves):
                return program
        return None

    # -- tracing ----------------------------------------------------------------------------------
    def _compile(
        self, key: Any, structure: Structure, leaves: Sequence[Any], sizes: tuple[int, ...]
    ) -> _Program:
        """A program that takes those sizes to be equal that have been so at every trace, and knows
        the floats that one has known."""
        others = self._programs.get(key, [])
        marks = list(zip(sizes, *(program.equals for program in others), strict=True))
        equals = tuple(marks.index(mark) for mark in marks)
        floats = {i: leaves[i] for program in others for i in program.known.floats}
        known, trace = self._needed(structure, leaves, sizes, equals, _Known({}, floats))
        options = {k: v for k, v in self._options.items() if k != "static_argnames"}
        if self._options["memory_budget"] is not None:
            options["sizes"] = {
                f"d{i}": sizes[k] for k, i in enumerate(equals) if k not in known.sizes
            }
        function = compile(trace.inputs, trace.outputs, name=self._name, **cast(Any, options))
        program = _Program(equals, known, function, set())
        self._programs[key] = [*others, program]
        return program

    def _needed(
        self,
        structure: Structure,
        leaves: Sequence[Any],
        sizes: Sequence[int],
        equals: Sequence[int],
        known: _Known,
    ) -> tuple[_Known, _Trace]:
        """What the function needs to know, and its trace: no more than is `known`, if it can be
        traced so; else, of all sizes and floats, those without which it cannot be.
        Errors: those of the trace where all is known."""
        floats = {i: leaf for i, leaf in enumerate(leaves) if _is_float(leaf)}
        # Python code that needs a number may fail in any way of its own where it gets a tensor.
        refusals = GraphcError if floats.keys() <= known.floats.keys() else Exception
        try:
            trace = self._trace(structure, leaves, equals, known)
        except refusals:
            known = _Known(dict(enumerate(sizes)), floats)
            trace = self._trace(structure, leaves, equals, known)
            axes = [[k for k, i in enumerate(equals) if i == axis] for axis in sorted(set(equals))]
            parts = [*((axis, []) for axis in axes), *(([], [leaf]) for leaf in floats)]
            for part in parts:
                fewer = known.without(*part)
                try:
                    known, trace = fewer, self._trace(structure, leaves, equals, fewer)
                except refusals:  # the function needs this one
                    continue
        asked = _asked_by_value(trace)
        if asked:
            known = _Known(known.sizes, {i: floats[i] for i in {*known.floats, *asked}})
            trace = self._trace(structure, leaves, equals, known)
        return known, trace

    def _trace(
        self, structure: Structure, leaves: Sequence[Any], equals: Sequence[int], known: _Known
    ) -> _Trace:
        dims = (known.sizes.get(k, f"d{i}") for k, i in enumerate(equals))
        inputs: list[Tensor] = []
        arrays: list[Array] = []
        arguments: list[Any] = []
        floats: dict[Node, int] = {}
        for place, leaf in enumerate(leaves):
            if isinstance(leaf, _Constant):
                arguments.append(leaf.value)
            elif _is_static(leaf) or place in known.floats:
                arguments.append(leaf)
            else:
                array = _typed(leaf)
                shape = [1 if size == 1 else next(dims) for size in array.shape]
                made = placeholder(f"x{len(inputs)}", shape, array.dtype.name)
                inputs.append(made)
                arrays.append(array)
                if _is_float(leaf):
                    floats[made.node] = place
                arguments.append(as_weak(made) if _is_float(leaf) else made)
        args, kwargs = unflatten(structure, arguments)
        outputs, returned = tensors(self._name, self._function(*args, **(kwargs or {})), "result")
        bind_dims(Graph(inputs, outputs, name=self._name), arrays)  # what it needs holds for them
        return _Trace(inputs, unflatten(returned, outputs), floats)

    def __repr__(self) -> str:
        return f"<gc.jit of {self._name}, {self.programs} programs>"


def _bound(function: Callable[..., Any], instance: Any, owner: type | None) -> Callable[..., Any]:
    """What `function` is as an attribute of a class: itself, if Python would not bind it."""
    bind = getattr(type(function), "__get__", None)
    if bind is None or isinstance(function, (staticmethod, types.MethodType)):
        return function
    return bind(function, instance, owner)  # type: ignore[no-any-return]


def _static_names(function: Callable[..., Any], names: str | Sequence[str]) -> tuple[str, ...]:
    """`static_argnames` as a tuple. Errors: `ArgumentError` for what is no parameter's name."""
    found = (names,) if isinstance(names, str) else tuple(names)
    if not found:
        return ()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters
    for name in found:
        if name not in parameters or parameters[name].kind not in named:
            raise ArgumentError(
                "static_argnames are names of parameters",
                op="jit",
                expected=", ".join(n for n, p in parameters.items() if p.kind in named) or "none",
                given=repr(name)[:80],
            )
    return found


def _asked_by_value(trace: _Trace) -> set[int]:
    """The leaves of floats that decide by their value which formula computes an operation, as the
    exponent of a power does."""
    made_of: dict[Node, frozenset[int]] = {}  # nodes that depend on floats alone
    asked: set[int] = set()
    for node in walk(flatten(trace.outputs)[0]) if trace.floats else ():
        if node in trace.floats:
            made_of[node] = frozenset((trace.floats[node],))
        elif node.inputs or Fact.CONSTANT in node.op.facts:
            found = [made_of.get(t.node) for t in node.inputs]
            if None not in found:
                made_of[node] = frozenset().union(*filter(None, found))
            if Fact.BY_VALUE in node.op.facts:
                asked |= found[-1] or set()
    return asked


def _is_static(leaf: Any) -> bool:
    return isinstance(leaf, (*_STATIC, _Constant)) and not isinstance(leaf, np.generic)


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, float) and not isinstance(leaf, np.generic)  # np.float64 is a float


def _value(leaf: Any) -> tuple[Any, ...]:
    """A static value as part of a key: with its type, and a float by its digits."""
    if isinstance(leaf, _Constant):
        value = leaf.value
        return _Constant, type(value), repr(value) if isinstance(value, float) else value
    return type(leaf), repr(leaf)


def _typed(value: Any) -> Array:
    """An array, or one of the same type where the value is on a card, from which only programs
    read."""
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is None:
        return np.asarray(value)
    return np.broadcast_to(np.zeros((), interface["typestr"]), interface["shape"])
