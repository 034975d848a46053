"""The definition of an operation, and the registry of all of them.

An `Op` says in one place what an operation means: its type rule, the NumPy function that it must
equal, its derivative, and what a kernel computes for it. The families are in `graphc/ops/`; this
file holds the record only, so that the IR depends on no particular op.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias

from graphc.errors import GraphError, RuntimeFailure
from graphc.ir.dim import Size
from graphc.ir.dtype import DType
from graphc.ir.routine import Routine
from graphc.ir.shape import Shape, TensorType
from graphc.ir.vector_loop import VectorLoop

Attrs: TypeAlias = Mapping[str, Any]
Index: TypeAlias = tuple[Any, ...]  # of `Affine`s of `loops/grammar.py`, one for each axis


class Kind(Enum):
    """How an op is lowered; the passes ask for this and never for an op's name."""

    LEAF = "leaf"  # placeholder, variable, constant: a buffer that exists before the program
    MAP = "map"  # each output element from elements at computed indices: inlined into kernels
    VIEW = "view"  # the same bytes under another shape
    REDUCE = "reduce"  # accumulates elements into fewer
    KERNEL = "kernel"  # writes a kernel of its own, loops and all: a sort
    RUNNING = "running"  # accumulates along one axis, and gives what it has at each step
    CONTRACT = "contract"  # a matrix product, for the BLAS
    CONVOLVE = "convolve"  # a sum of matrix products, whose left operands may overlap in memory
    COMPOSITE = "composite"  # `expand` gives it in terms of other ops
    CONTROL = "control"  # holds sub-graphs: a loop, a branch
    REGION = "region"  # a fused region: becomes one kernel
    HOST = "host"  # a routine of LAPACK or loops of NumPy, else calls back into Python

    # Members are single objects, and kinds and facts are asked for at every node of a graph.
    __hash__ = object.__hash__


class Fact(Enum):
    """What passes, rules and checks ask of an op, in place of its name."""

    # Algebra.
    COMMUTATIVE = "commutative"
    IDEMPOTENT = "idempotent"  # f(f(x)) is f(x); for two operands, f(x, x) is x
    ELEMENTWISE = "elementwise"  # one scalar function, with broadcasting
    ADDS = "adds"  # the sum of its operands
    MULTIPLIES = "multiplies"  # the product of its operands
    ARITHMETIC = "arithmetic"  # one primitive, whose numbers kernels are given: `passes/numbers.py`
    TOTALS = "totals"  # the sum of its operand's elements over its `axes`
    CONVERTS = "converts"  # the same number in another dtype
    CHECKS = "checks"  # gives its first operand, having made sure of something
    BY_VALUE = "by value"  # its last operand, where that is known, decides how it is computed

    # Complex numbers and float16, with which kernels do not compute: see `ops/lift.py`.
    AS_STORED = "as stored"  # takes or gives them as they are in memory
    PICKS = "picks"  # each element of the result is one of the operands', or 0
    BORDERS = "borders"  # of its operand, or 0 beside that, along the axes whose sizes it changes
    BY_PARTS = "by parts"  # real parts give the real part of the result, imaginary ones the other

    # Ops that move elements.
    #
    # REINDEX: the element at an index is the first operand's element at an affine function of that
    # index, whatever the sizes and the data are. So `at` reads its operand once and makes no
    # statement; it is asked without a builder where only the function is wanted.
    REINDEX = "reindex"
    KEEPS_ALL = "keeps all"  # every element of the operand is somewhere in the result

    # What rounding and extended precision do to it, for comparing two evaluations.
    ROUNDS = "rounds"  # of ops that are not elementwise: computes with elements, in a free order
    CANCELS = "cancels"  # sums inside of it may, to 0: its errors are those of its definition
    EXACT = "exact"  # no target and no rule of the default pipeline rounds it otherwise
    COMPARES = "compares"  # jumps where its two operands are equal
    JUMPS = "jumps"  # jumps, or has no finite value, at an integer; most often at zero
    WHOLE = "whole"  # rounds to whole numbers
    POLE = "pole"  # may be infinite where its operands are finite
    POSITIVE = "positive"  # never 0, but by underflow
    CHOOSES = "chooses"  # a reduction that gives one of the elements; of none, the worst there is

    # Leaves, and what holds graphs.
    INPUT = "input"  # given by each call
    STATE = "state"  # kept between calls
    CONSTANT = "constant"  # known before the program runs
    LOOP = "loop"  # runs its body for each step
    WHILE = "while"  # runs its body as long as its condition holds, which may be for ever
    STEP = "step"  # what other ops are expanded into: no user applies it

    __hash__ = object.__hash__  # as kinds have it


class Axes(Enum):
    """What an attribute says of axes, which are counted from the first. So it is known how the
    attribute reads where one more axis is in front of all operands and results."""

    ONE = "an axis"
    SEVERAL = "some axes"
    ORDER = "all axes, in an order"
    SIZES = "the size of each axis"
    STARTS = "where each axis begins"
    STEPS = "the step along each axis"
    COUNT = "how many axes in front"

    def behind_one_more(self, value: Any, size: Size) -> Any:
        """The attribute `value` where one more axis, of `size`, is in front.

        >>> Axes.SEVERAL.behind_one_more((0, 2), 5), Axes.ORDER.behind_one_more((1, 0), 5)
        ((1, 3), (0, 2, 1))
        >>> Axes.SIZES.behind_one_more((3, 4), 5)
        (5, 3, 4)
        """
        if self in (Axes.ONE, Axes.COUNT):
            return value + 1
        if self in (Axes.SEVERAL, Axes.ORDER):
            moved = tuple(axis + 1 for axis in value)
            return (0, *moved) if self is Axes.ORDER else moved
        return ({Axes.SIZES: size, Axes.STARTS: 0, Axes.STEPS: 1}[self], *value)


# -- what the functions of an op are given ---------------------------------------------------------
class Operand(Protocol):
    """An input in a kernel: its element at an index is a value of the kernel."""

    @property
    def type(self) -> TensorType: ...

    def __call__(self, index: Index, /) -> Any: ...


class Result(Protocol):
    """A result in a kernel that its op writes: its type, and where its elements go. One that nobody
    wants has no memory, and need not be computed."""

    @property
    def type(self) -> TensorType: ...
    @property
    def wanted(self) -> bool: ...
    def store(self, index: Index, value: Any, /) -> None: ...


class Builder(Protocol):
    """What `at` and reducers compute with; `k.exp(v)` applies the primitive `exp`."""

    def const(self, value: Any, dtype: DType, /) -> Any: ...
    def prim(self, name: str, /, *args: Any) -> Any: ...
    def cast(self, x: Any, dtype: DType, /) -> Any: ...
    def where(self, condition: Any, x: Any, y: Any, /) -> Any: ...
    def is_nan(self, x: Any, /) -> Any: ...
    def number(self, index: Any, /) -> Any: ...
    def size(self, size: Size, /) -> Any: ...
    def index(self, value: Any, /) -> Any: ...
    def is_nonnegative(self, index: Any, /) -> bool: ...
    def guarded(self, condition: Any, /) -> AbstractContextManager[None]: ...
    def fail_if(self, condition: Any, message: str, /) -> None: ...
    def __getattr__(self, name: str, /) -> Any: ...


class Context(Protocol):
    """What a `vjp` may ask: which inputs need a cotangent, whether that of a tensor is asked for,
    and the vjp of a sub-graph."""

    def needs(self, position: int, /) -> bool: ...
    def asks(self, tensor: Any, /) -> bool: ...
    def guarded(self, g: Any, /) -> Any: ...
    def pull_back(self, outputs: Any, cotangents: Any, wrt: Any, /) -> list[Any]: ...


class ForwardContext(Protocol):
    """What a `jvp` may ask: the jvp of a sub-graph."""

    def push_forward(self, outputs: Any, wrt: Any, tangents: Any, /) -> list[Any]: ...


class Batch(Protocol):
    """What a `batched` rule may ask. `size` is that of the new axis; the operands are in order,
    each of them with the new axis in front or, where it is the same for all elements, as it was."""

    @property
    def size(self) -> Size: ...
    def has(self, position: int, /) -> bool: ...
    def spread(self, x: Any, /) -> Any: ...
    def outputs(self, graph: Any, inputs: Sequence[Any], /) -> list[Any]: ...
    def one_by_one(self) -> list[Any]: ...


class Reducer(Protocol):
    """How elements are accumulated; `ops/reduce.py` has those that there are."""

    @property
    def scatters(self) -> bool: ...
    @property
    def primitive(self) -> str: ...
    @property
    def identity(self) -> Callable[[DType], Any]: ...

    def space(self, types: Sequence[TensorType], **attrs: Any) -> Shape: ...
    def target(
        self, k: Builder, values: Sequence[Operand], index: Index, **attrs: Any
    ) -> Index: ...
    def element(
        self, k: Builder, values: Sequence[Operand], index: Index, **attrs: Any
    ) -> Any: ...
    def initial(self, k: Builder, dtype: DType) -> Any: ...
    def step(self, k: Builder, total: Any, element: Any) -> Any: ...


class Recurrence(Protocol):
    """What a running reduction carries from step to step; `ops/cumulative.py` has those that there
    are. The state is one or several numbers, and no step changes their dtypes."""

    def initial(self, k: Builder, dtype: DType) -> list[Any]: ...
    def element(self, k: Builder, values: Sequence[Operand], index: Index) -> Any: ...
    def step(self, k: Builder, state: list[Any], element: Any) -> list[Any]: ...
    def result(self, k: Builder, state: list[Any], dtype: DType) -> Any: ...


# Parameters as `Op` says; each op's own attributes, by name, are in no common type. Tensors are
# `Any`: they are made of ops.
Infer: TypeAlias = Callable[..., tuple[TensorType, ...]]
Numpy: TypeAlias = Callable[..., Any]  # one array, or a tuple of them
Vjp: TypeAlias = Callable[..., Sequence[Any]]  # given a `Context` first
Jvp: TypeAlias = Callable[..., Any]  # given a `ForwardContext` first
At: TypeAlias = Callable[..., Any]  # given a `Builder`, and `Operand`s
Write: TypeAlias = Callable[..., None]  # given a `Builder`, `Operand`s and `Result`s
Batched: TypeAlias = Callable[..., Any]  # given a `Batch` first
Expand: TypeAlias = Callable[..., Any]  # one tensor, a tuple of them, or None
Lapack: TypeAlias = Callable[..., Routine]  # given the types of operands and of results
Loops: TypeAlias = Callable[..., Sequence[VectorLoop]]  # given the same
Indexing: TypeAlias = "Callable[..., Sequence[Indices]]"  # given the types of operands
Formula: TypeAlias = Callable[..., Any]  # an expression of SymPy, or of what stands for it


class Indices(NamedTuple):
    """An operand of indices: what its elements are called, from `low` on and below `high`, along
    which axis of the first operand, if of that; and what is said if one is not."""

    operand: int
    low: Size
    high: Size
    message: str
    what: str = "index"
    axis: int | None = None


_NOT_ASKED_FOR: Any = None  # the reducer of an op that is no REDUCE, and so on


@dataclass(frozen=True, eq=False)
class Op:
    """One operation. Two ops are equal only if they are the same object.

    infer(types, **attrs) -> output types          the type rule; raises ShapeError, DTypeError
    numpy(*arrays, **attrs) -> array or tuple      the meaning (sizes in attrs are ints here)
    vjp(context, g, out, *inputs, **attrs)         one cotangent (or None) for each input; `g` and
                                                   `out` are tuples if the op has several outputs;
                                                   linear in `g`
    jvp(context, ts, out, *inputs, **attrs)        the tangent (or None) of the output, or of each,
                                                   for one (or None) of each input; only where it is
                                                   cheaper to state than what follows from `vjp`
    at(kernel, operands, index, out, **attrs)      MAP: the element at `index` as a kernel value
    reducer                                        REDUCE: how elements are accumulated
    write(kernel, operands, results, **attrs)      KERNEL: all of its statements; memory that it
                                                   needs is `kernel.scratch(dtype, size)`
    lapack(operands, results, **attrs) -> Routine  HOST: what computes it where the BLAS has it
    loops(operands, results, **attrs) -> [VectorLoop]  HOST: inner loops of ufuncs that compute it,
                                                   one pass after the other
    recurrence                                     RUNNING: what is carried along the attribute
                                                   `axis`, from its end if `reverse`
    expand(*inputs, **attrs) -> tensor or tuple    COMPOSITE: the definition in other ops; for
                                                   others smaller ones of its kind, or None
    written_out(*inputs, **attrs) -> tensor        what multiplies matrices: the same by ops that
                                                   every target has, where none multiplies these
    indices(*types, **attrs) -> Indices            its operands of indices: which of them is out of
                                                   range is looked up once a call has failed
    axes                                           of the attributes that speak of axes, what they
                                                   say, if the op is the same op where one more axis
                                                   is in front of all operands; None if it is not
    batched(batch, *inputs, **attrs) -> tensors    the same for each element along a new axis in
                                                   front, which some inputs have; for an op that
                                                   states no `axes`, or saves work by it
    """

    name: str
    kind: Kind
    infer: Infer
    numpy: Numpy | None = None
    vjp: Vjp | None = None
    jvp: Jvp | None = None
    at: At | None = None
    reducer: Reducer = _NOT_ASKED_FOR
    write: Write | None = None
    lapack: Lapack | None = None
    loops: Loops | None = None
    recurrence: Recurrence = _NOT_ASKED_FOR
    expand: Expand | None = None
    written_out: Expand | None = None
    indices: Indexing | None = None
    axes: Mapping[str, Axes] | None = None
    batched: Batched | None = None
    formula: Formula | None = None  # (sympy, *symbols, **attrs), scalar ops only
    facts: frozenset[Fact] = frozenset()
    cost: float = 1.0  # kernel operations for one element
    may_fail: bool = False
    failure: type[RuntimeFailure] = RuntimeFailure  # what its kernel's `fail_if` raises
    differentiable: bool = True  # False: the derivative is zero everywhere it exists
    weak: bool | None = None  # whether results are weak (`Tensor.weak`); None: as the operands are
    doc: str = ""

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> Any:
        return _known, (self.name,)  # a copy is the same object, by which ops are compared

    @property
    def is_pure(self) -> bool:
        """Free to be duplicated, folded and moved across branches."""
        return not self.may_fail and self.kind is not Kind.HOST

    @property
    def multiplies_matrices(self) -> bool:
        """Whether it is a step of its own, whose operands are matrices in memory."""
        return self.kind in (Kind.CONTRACT, Kind.CONVOLVE)

    @property
    def only_moves(self) -> bool:
        """Whether the elements of the result are elements of the first operand, and nothing is
        computed: they may be in another shape or order, some not there, some there twice."""
        return self.kind is Kind.VIEW or Fact.REINDEX in self.facts

    def behind_one_more(self, attrs: Attrs, size: Size) -> Attrs:
        """The attributes where one more axis, of `size`, is in front of operands and results."""
        moved = {k: a.behind_one_more(attrs[k], size) for k, a in (self.axes or {}).items()}
        return {**attrs, **moved}


_registry: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Make `op` known by name (to the text form, the cache and tests)."""
    if op.name in _registry:
        raise ValueError(f"op {op.name!r} is defined twice")
    _registry[op.name] = op
    return op


def _known(name: str) -> Op:
    if name not in _registry:
        raise GraphError("no operation has this name", op="unpickle", given=repr(name)[:80])
    return _registry[name]


def registry() -> Mapping[str, Op]:
    """All registered ops by name, in order of definition."""
    return _registry
