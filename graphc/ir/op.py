"""The definition of an operation, and the registry of all of them.

An `Op` says in one place what an operation means: its type rule, the NumPy function that it must
equal, its derivative, and what a kernel computes for it. The families are in `graphc/ops/`; this
file holds the record only, so that the IR depends on no particular op.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from graphc.ir.shape import TensorType

Attrs: TypeAlias = Mapping[str, Any]


class Kind(Enum):
    """How an op is lowered; the passes ask for this and never for an op's name."""

    LEAF = "leaf"  # placeholder, variable, constant: a buffer that exists before the program
    MAP = "map"  # each output element from elements at computed indices: inlined into kernels
    VIEW = "view"  # the same bytes under another shape
    REDUCE = "reduce"  # accumulates elements into fewer
    CONTRACT = "contract"  # a matrix product, for the BLAS
    COMPOSITE = "composite"  # `expand` gives it in terms of other ops
    CONTROL = "control"  # holds sub-graphs: a loop, a branch
    REGION = "region"  # a fused region: becomes one kernel
    HOST = "host"  # calls back into Python


class Fact(Enum):
    """What passes, rules and checks ask of an op, in place of its name."""

    # Algebra.
    COMMUTATIVE = "commutative"
    IDEMPOTENT = "idempotent"  # f(f(x)) is f(x); for two operands, f(x, x) is x
    ELEMENTWISE = "elementwise"  # one scalar function, with broadcasting
    ADDS = "adds"  # the sum of its operands
    CONVERTS = "converts"  # the same number in another dtype

    # Ops that move elements.
    #
    # REINDEX: the element at an index is the first operand's element at an affine function of that
    # index, whatever the sizes and the data are. So `at` reads its operand once and makes no
    # statement; it is asked without a builder where only the function is wanted.
    REINDEX = "reindex"
    KEEPS_ALL = "keeps all"  # every element of the operand is somewhere in the result

    # What rounding and extended precision do to it, for comparing two evaluations.
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
    LOOP = "loop"  # runs its body for each step (the other CONTROL op runs one of its bodies)

    # Members are single objects, and facts are asked for at every node of a graph.
    __hash__ = object.__hash__


@dataclass(frozen=True, eq=False)
class Op:
    """One operation. Two ops are equal only if they are the same object.

    infer(types, **attrs) -> output types          the type rule; raises ShapeError, DTypeError
    numpy(*arrays, **attrs) -> array or tuple      the meaning (sizes in attrs are ints here)
    vjp(context, g, out, *inputs, **attrs)         one cotangent (or None) for each input; `g` and
                                                   `out` are tuples if the op has several outputs
    at(kernel, operands, index, out, **attrs)      MAP: the element at `index` as a kernel value
    reducer                                        REDUCE: a `Reducer`, see `ops/reduce.py`
    expand(*inputs, **attrs) -> tensor or tuple    COMPOSITE: the definition in other ops; for
                                                   others smaller ones of its kind, or None
    stacked(x, **attrs) -> tensor                  the same of each element of x along a new axis 0
    """

    name: str
    kind: Kind
    infer: Callable[..., tuple[TensorType, ...]]
    numpy: Callable[..., Any] | None = None
    vjp: Callable[..., Any] | None = None
    at: Callable[..., Any] | None = None
    reducer: Any = None
    expand: Callable[..., Any] | None = None
    stacked: Callable[..., Any] | None = None
    formula: Callable[..., Any] | None = None  # (sympy, *symbols, **attrs), scalar ops only
    facts: frozenset[Fact] = frozenset()
    cost: float = 1.0  # kernel operations for one element
    may_fail: bool = False
    differentiable: bool = True  # False: the derivative is zero everywhere it exists
    weak: bool | None = None  # whether results are weak (`Tensor.weak`); None: as the operands are
    doc: str = ""

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    @property
    def is_pure(self) -> bool:
        """Free to be duplicated, folded and moved across branches."""
        return not self.may_fail and self.kind is not Kind.HOST

    @property
    def only_moves(self) -> bool:
        """Whether the elements of the result are elements of the first operand, and nothing is
        computed: they may be in another shape or order, some not there, some there twice."""
        return self.kind is Kind.VIEW or Fact.REINDEX in self.facts


_registry: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Make `op` known by name (to the text form, the cache and tests)."""
    if op.name in _registry:
        raise ValueError(f"op {op.name!r} is defined twice")
    _registry[op.name] = op
    return op


def registry() -> Mapping[str, Op]:
    """All registered ops by name, in order of definition."""
    return _registry
