"""Patterns: formulas over variables that match nodes and build them.

    Pattern ::= Variable(name)                  a tensor, or (in attribute position) any value
              | Literal(value)                  a scalar constant of that value and sign of zero
              | Operation(op, operands, attrs)  one node; an optional one may be absent

A pattern is written with the operators of tensors (`x * 1 + y`) and the functions below, which are
named as ops are: `sum(x, axes=axes)`. A variable that occurs twice must be the same tensor twice.
Patterns are a few levels deep, so the walks over them are recursive; those over graphs never are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from graphc.ir.dtype import DType, bool_
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Fact, registry
from graphc.ir.operators import Operators
from graphc.ops.build import STRETCHES, constant, scalar_value

Number: TypeAlias = bool | int | float
Bindings: TypeAlias = dict[str, Any]


class Pattern(Operators):
    """What a rule is written with; operators and functions make larger patterns."""

    __slots__ = ()

    def _apply(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return Operation(name, tuple(pattern(a) for a in args), kwargs)


class Variable(Pattern):
    """Stands for one tensor, or for one attribute value."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


class Literal(Pattern):
    """A number: matches a constant with that one value, 0.0 and -0.0 being different."""

    __slots__ = ("value",)

    def __init__(self, value: Number) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


class Operation(Pattern):
    """A node of the op called `op`; `attrs` maps attribute names to values or variables.

    `optional`: a reshape that may be absent; its attribute is then the shape of what is there.
    """

    __slots__ = ("attrs", "op", "operands", "optional")

    def __init__(
        self,
        op: str,
        operands: tuple[Pattern, ...],
        attrs: Mapping[str, Any] | None = None,
        optional: bool = False,
    ) -> None:
        self.op, self.operands, self.attrs = op, operands, dict(attrs or {})
        self.optional = optional

    def __repr__(self) -> str:
        parts = [*map(repr, self.operands), *(f"{k}={v!r}" for k, v in self.attrs.items())]
        return f"{self.op}({', '.join(parts)})"


def pattern(value: Any) -> Pattern:
    """`value` as a pattern: itself, or the literal of a number."""
    return value if isinstance(value, Pattern) else Literal(value)


# -- the functions of rules ------------------------------------------------------------------------
class _Function:
    """`log(x)` in a rule; attributes are given by keyword, as the op calls them."""

    def __init__(self, op: str) -> None:
        self.op = op

    def __call__(self, *operands: Any, **attrs: Any) -> Pattern:
        return Operation(self.op, tuple(pattern(x) for x in operands), attrs)


abs, sqrt, square = _Function("abs"), _Function("sqrt"), _Function("square")
exp, expm1, log, log1p = (_Function(name) for name in ("exp", "expm1", "log", "log1p"))
erf, erfc, erfcx = _Function("erf"), _Function("erfc"), _Function("erfcx")
log1mexp = _Function("log1mexp")
logaddexp = _Function("logaddexp")
sin, cos, tanh = _Function("sin"), _Function("cos"), _Function("tanh")
cosh = _Function("cosh")
sigmoid, softplus, relu = _Function("sigmoid"), _Function("softplus"), _Function("relu")
equal, less, greater_equal = _Function("equal"), _Function("less"), _Function("greater_equal")
root_of_squares = _Function("root_of_squares")
minimum, maximum, where = _Function("minimum"), _Function("maximum"), _Function("where")
logical_and, logical_or = _Function("logical_and"), _Function("logical_or")
logical_not, bitwise_invert = _Function("logical_not"), _Function("bitwise_invert")
sum, max, reshape = _Function("sum"), _Function("max"), _Function("reshape")
softmax, log_softmax = _Function("softmax"), _Function("log_softmax")
logsumexp, stop_gradient = _Function("logsumexp"), _Function("stop_gradient")
weak = _Function("weak")
complex_of, real, imag = _Function("complex"), _Function("real"), _Function("imag")


def reshaped(operand: Pattern, shape: Pattern) -> Pattern:
    """`operand` under the shape `shape`, which may be its own: `keepdims`, or not."""
    return Operation("reshape", (operand,), {"shape": shape}, optional=True)


# -- matching --------------------------------------------------------------------------------------
class Match:
    """The values of a pattern's variables at one place, and the nodes that the pattern covers."""

    __slots__ = ("bindings", "nodes")

    def __init__(self) -> None:
        self.bindings: Bindings = {}
        self.nodes: list[Node] = []


def match(before: Pattern, tensor: Tensor) -> Match | None:
    """How `before` fits the graph below `tensor`, operands in the order written; None if not."""
    found = Match()
    return found if _fits(before, tensor, found) else None


def _fits(wanted: Pattern, tensor: Tensor, found: Match) -> bool:
    if isinstance(wanted, Variable):
        return found.bindings.setdefault(wanted.name, tensor) is tensor
    if isinstance(wanted, Literal):
        return is_uniform(tensor, wanted.value)
    assert isinstance(wanted, Operation)
    node = tensor.node
    if node.op.name != wanted.op or len(node.inputs) != len(wanted.operands):
        return wanted.optional and _fits_without(wanted, tensor, found)
    for name, value in wanted.attrs.items():
        given = node.attrs[name]
        if isinstance(value, Variable):
            value = found.bindings.setdefault(value.name, given)
        if value != given:
            return False
    found.nodes.append(node)
    for part, operand in zip(wanted.operands, node.inputs, strict=True):
        if not _fits(part, operand, found):
            return False
    return True


def _fits_without(wanted: Operation, tensor: Tensor, found: Match) -> bool:
    shape = wanted.attrs["shape"]
    given = found.bindings.setdefault(shape.name, tensor.shape)
    return bool(given == tensor.shape) and _fits(wanted.operands[0], tensor, found)


def is_uniform(tensor: Tensor, value: Number) -> bool:
    """Whether `tensor` is a constant with `value` everywhere, signs of zeros included."""
    given = scalar_value(tensor)
    if given is None or isinstance(given, bool) is not isinstance(value, bool) or given != value:
        return False
    return math.copysign(1, given) == math.copysign(1, value)


def orders(before: Pattern) -> Iterator[Pattern]:
    """`before` in every order of the operands of its commutative ops, as written first."""
    if not isinstance(before, Operation):
        yield before
        return
    commutes = Fact.COMMUTATIVE in registry()[before.op].facts
    for operands in itertools.product(*map(orders, before.operands)):
        yield Operation(before.op, operands, before.attrs, before.optional)
        if commutes and len({repr(x) for x in operands}) == 2:
            yield Operation(before.op, operands[::-1], before.attrs, before.optional)


class Forms:
    """A pattern in every order of commutative operands, ready to be tried on many nodes."""

    def __init__(self, before: Pattern) -> None:
        self._forms = [_Form(form) for form in orders(before)]

    def may_fit(self, operands: Sequence[str]) -> bool:
        """Whether the pattern can fit a node whose operands are nodes of the ops named."""
        last = len(operands) - 1
        return any(
            all(position <= last and operands[position] in ops for position, ops in form.ops)
            for form in self._forms
        )

    def matches(self, node: Node) -> Iterator[Match]:
        """Every way in which the pattern fits the output of `node`."""
        for form in self._forms:
            if form.looks_like(node.inputs):
                found = match(form.pattern, node.output())
                if found is not None:
                    yield found


class _Form:
    """A pattern, and what is quickly asked of a node's operands before it is matched."""

    __slots__ = ("numbers", "ops", "pattern", "same")

    def __init__(self, before: Pattern) -> None:
        self.pattern = before
        self.ops: list[tuple[int, tuple[str, ...]]] = []  # the ops that an operand may be of
        self.numbers: list[tuple[int, Number]] = []
        self.same: list[tuple[int, int]] = []  # two operands that are one tensor
        places: dict[str, int] = {}
        for position, part in enumerate(before.operands if isinstance(before, Operation) else ()):
            if isinstance(part, Literal):
                self.ops.append((position, ("constant", *STRETCHES)))
                self.numbers.append((position, part.value))
            elif isinstance(part, Operation) and not part.optional:
                self.ops.append((position, (part.op,)))
            elif isinstance(part, Variable) and places.setdefault(part.name, position) < position:
                self.same.append((places[part.name], position))

    def looks_like(self, operands: Sequence[Tensor]) -> bool:
        """Whether it is worth matching a node with these operands."""
        for position, ops in self.ops:
            if operands[position].node.op.name not in ops:
                return False
        for one, other in self.same:
            if operands[one] is not operands[other]:
                return False
        return all(is_uniform(operands[position], value) for position, value in self.numbers)


def variables(root: Pattern) -> tuple[set[str], set[str]]:
    """The names of the tensor variables and of the attribute variables of a pattern."""
    tensors: set[str] = set()
    attributes: set[str] = set()
    stack = [root]
    while stack:
        part = stack.pop()
        if isinstance(part, Variable):
            tensors.add(part.name)
        elif isinstance(part, Operation):
            stack.extend(part.operands)
            attributes |= {v.name for v in part.attrs.values() if isinstance(v, Variable)}
    return tensors, attributes


def operations(root: Pattern) -> frozenset[str]:
    """The names of the ops of a pattern, less those that may be absent."""
    if not isinstance(root, Operation):
        return frozenset()
    here = frozenset() if root.optional else frozenset([root.op])
    return here.union(*map(operations, root.operands))


# -- building --------------------------------------------------------------------------------------
def build(after: Pattern, bindings: Mapping[str, Any], dtype: DType) -> Tensor:
    """The tensor that `after` stands for; a number takes the dtype of the operands beside it, or
    `dtype` where there are none."""
    if isinstance(after, Variable):
        found: Tensor = bindings[after.name]
        return found
    if isinstance(after, Literal):
        return constant(after.value, dtype)
    assert isinstance(after, Operation)
    built: list[Tensor | Literal] = [
        x if isinstance(x, Literal) else build(x, bindings, dtype) for x in after.operands
    ]
    # The condition of `where` is a bool beside operands of another dtype.
    choice = after.op == "where"
    beside = [x for x in built[choice:] if isinstance(x, Tensor)]
    kind = beside[0].dtype if beside else dtype
    operands = [
        constant(x.value, bool_ if choice and i == 0 else kind) if isinstance(x, Literal) else x
        for i, x in enumerate(built)
    ]
    attrs = {
        name: bindings[value.name] if isinstance(value, Variable) else value
        for name, value in after.attrs.items()
    }
    if after.optional and operands[0].shape == attrs["shape"]:
        return operands[0]
    return apply(registry()[after.op], operands, **attrs).output()
