"""Functions as values: how the step of a loop or the branch of a `cond` becomes a closed graph.

A function is traced with fresh placeholders; what it uses from outside becomes further inputs
(its operands), and all inputs are renamed `p0`, `p1`, ... so that equal bodies are one graph.
Structured arguments (`ir/structure.py`) are flattened on the way in and rebuilt on the way out.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.graph import Graph, bodies, map_graph, rebuild, transform, walk, with_bodies
from graphc.ir.node import Node, Tensor, apply, current_serial
from graphc.ir.op import Batch, Fact, Kind
from graphc.ir.shape import TensorType, agree_on_shape
from graphc.ir.structure import Structure, at_leaf, flatten, paths, same_structure, unflatten
from graphc.ops.build import WEAK, beside, cast, operands, settle, tensor, weak_like
from graphc.ops.leaf import PLACEHOLDER


# -- arguments and results -------------------------------------------------------------------------
def tensors(op: str, tree: Any, root: str) -> tuple[list[Tensor], Structure]:
    """The leaves of a tree as tensors. Errors: `ArgumentError` for a leaf that is none, named from
    `root`, the name of the tree."""
    leaves, structure = flatten(tree)
    found: list[Tensor] = []
    for i, leaf in enumerate(leaves):
        try:
            found.append(tensor(leaf, op))
        except ArgumentError as error:
            raise at_leaf(error, structure, i, root) from None
    return found, structure


def same_type(op: str, what: str, expected: TensorType, given: TensorType) -> None:
    """Errors: `ShapeError`, `DTypeError` where a tensor has another type than is expected."""
    if expected.dtype is given.dtype and agree_on_shape(expected.shape, given.shape):
        return
    error = DTypeError if expected.dtype is not given.dtype else ShapeError
    raise error(
        what, op=op, expected=str(expected), given=str(given),
        hint="use .astype" if error is DTypeError else "",
    )  # fmt: skip


def check_callable(op: str, what: str, function: object) -> None:
    """Errors: `ArgumentError` for what cannot be called."""
    if not callable(function):
        raise ArgumentError(
            f"{what} is a function",
            op=op,
            expected="a callable",
            given=repr(function)[:80],
            hint="write lambda: ... around a value that is already there",
        )


# -- placeholders ----------------------------------------------------------------------------------
_traces = count(1)


_fresh: weakref.WeakSet[Node] = weakref.WeakSet()
_stand_ins: weakref.WeakKeyDictionary[Node, Tensor] = weakref.WeakKeyDictionary()


def fresh(what: str, types: Iterable[TensorType]) -> list[Tensor]:
    """Placeholders that nothing else uses."""
    prefix = f"{what}#{next(_traces)}."
    made = [_placeholder(f"{prefix}{i}", t) for i, t in enumerate(types)]
    _fresh.update(p.node for p in made)
    return made


def is_fresh(node: Node) -> bool:
    """Whether it is a placeholder that a function was traced with."""
    return node in _fresh


def stand_in(placeholders: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Remember what the placeholders of a trace stand for, where it became part of a graph."""
    _stand_ins.update(zip((p.node for p in placeholders), values, strict=True))


def inlined(x: Tensor) -> Tensor:
    """`x`, which may be from within a trace, over what its placeholders stand for."""
    while found := {n.output(): _stand_ins[n] for n in walk([x]) if n in _stand_ins}:
        (x,) = transform([x], replace=found)
    return x


def parameters(
    what: str, types: Iterable[TensorType], sources: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Placeholders that nothing else uses, and what a function is traced with: the same, each weak
    where the tensor is that it stands for."""
    made = fresh(what, types)
    return made, [weak_like(p, t) for p, t in zip(made, sources, strict=True)]


def numbered(letter: str, types: Iterable[TensorType]) -> list[Tensor]:
    """The placeholders `p0`, `p1`, ... of a body (for the letter p)."""
    return [_placeholder(f"{letter}{i}", t) for i, t in enumerate(types)]


def _placeholder(name: str, t: TensorType) -> Tensor:
    return apply(PLACEHOLDER, name=name, dtype=t.dtype, shape=t.shape).output()


# -- steps -----------------------------------------------------------------------------------------
class Step(NamedTuple):
    """A step of a loop as it was traced: the first carries, in the dtypes that they have in the
    loop; the placeholders of carries and further arguments; the carries after it; what else the
    function returned; and the serial before the trace."""

    first: list[Tensor]
    placeholders: list[Tensor]
    after: list[Tensor]
    further: Any
    start: int


class Names(NamedTuple):
    """What errors call the value that a step takes and gives again, what it gives, and what it does
    where the type is another one."""

    value: str
    returned: str
    changes: str


CARRY = Names("carry", "the carry that the step returns", "the step changes the type of")


def trace_step(
    op: str,
    function: Callable[[Any, Sequence[Tensor]], tuple[Any, Any]],
    first: Sequence[Tensor],
    structure: Structure,
    types: Sequence[TensorType] = (),
    sources: Sequence[Tensor] = (),
    names: Names = CARRY,
) -> Step:
    """A step of a loop: `function(carry, arguments)` gives the next carry, and anything else. The
    arguments have these types and are weak where their sources are.

    A carry that starts as a Python number takes the dtype of the step's result; the function then
    runs once more, with the carry in this dtype.
    Errors: `ArgumentError`, `DTypeError`, `ShapeError` where the carry after a step is another one.
    """
    given = list(first)
    while True:
        start = current_serial()
        placeholders, inner = parameters(
            op, [*(t.type for t in given), *types], [*given, *sources]
        )
        value, arguments = unflatten(structure, inner[: len(given)]), inner[len(given) :]
        returned, further = function(value, arguments)
        after, after_structure = tensors(op, returned, names.value)
        same_structure(op, names.returned, names.value, structure, after_structure)
        before, after = _carried(op, given, after)
        if all(map(operator.is_, before, given)):
            break
        given = before
    for path, old, new in zip(paths(structure, names.value), given, after, strict=True):
        same_type(op, f"{names.changes} {path}", old.type, new.type)
    return Step(given, placeholders, after, further, start)


def _carried(
    op: str, before: Sequence[Tensor], after: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The carries before and after a step: weak ones adapt to those that are not."""
    first: list[Tensor] = []
    then: list[Tensor] = []
    for old, new in zip(before, after, strict=True):
        if old.weak:
            adapted, new = operands(op, old, new)
            old = adapted if new.weak else settle(old, adapted.dtype)
        elif new.weak and beside(new, old.dtype) is old.dtype:
            new = cast(new, old.dtype)
        first.append(old)
        then.append(new)
    return first, then


# -- closures --------------------------------------------------------------------------------------
def is_source(node: Node) -> bool:
    """Whether the node's value is given from outside any graph that is made of it."""
    return node.op.kind is Kind.LEAF and Fact.CONSTANT not in node.op.facts


def is_literal(node: Node) -> bool:
    """Whether the node needs nothing: a constant, a size, positions along an axis."""
    while node.op is WEAK:
        node = node.inputs[0].node
    return not node.inputs and not is_source(node)


def shows_all(node: Node) -> bool:
    """Whether the node shows all of its operand's elements elsewhere: free inside a kernel, and no
    smaller than the operand."""
    return Fact.KEEPS_ALL in node.op.facts


def is_pure(node: Node) -> bool:
    """Whether the node may be moved out of a branch or a loop: neither it nor a body can fail, and
    it surely ends."""
    if node.op.kind is not Kind.CONTROL or Fact.WHILE in node.op.facts:
        return node.op.is_pure
    return all(is_pure(inner) for body in bodies(node) for inner in body.nodes)


def above(nodes: Iterable[Node], seeds: Iterable[Node]) -> set[Node]:
    """`seeds`, and those of `nodes` (operands before users) that depend on one."""
    found = set(seeds)
    for node in nodes:
        if any(t.node in found for t in node.inputs):
            found.add(node)
    return found


def frontier(roots: Iterable[Tensor], inside: Callable[[Tensor], bool]) -> list[Tensor]:
    """The tensors not `inside` that are roots or that those inside read, in order of first use."""
    found: dict[Tensor, None] = {}
    seen: set[Tensor] = set()
    stack = list(roots)[::-1]
    while stack:
        t = stack.pop()
        if t in seen:
            continue
        seen.add(t)
        if inside(t):
            stack.extend(reversed(t.node.inputs))
        else:
            found[t] = None
    return list(found)


def captured(
    outputs: Sequence[Tensor], parameters: Sequence[Tensor], start: int, *, hoist: bool
) -> list[Tensor]:
    """What a traced function uses from outside, besides its parameters.

    `start` is `current_serial()` from before the trace. A tensor that existed then is captured;
    one that only moves elements of a captured tensor, or is a literal, is made again inside, and so
    is one number that literals decide: there the rules know it.
    `hoist`: captured is also every other pure expression that does not depend on a parameter, as
    large as it comes.
    """
    made = made_since(outputs, start)
    if hoist:
        seeds = {p.node for p in parameters} | {node for node in made if not is_pure(node)}
        stays = above(made, seeds)
    else:
        stays = {node for node in made if not is_source(node)} | {p.node for p in parameters}

    known: dict[Node, bool] = {}

    def inside(t: Tensor) -> bool:
        node = t.node
        return (
            node in stays or is_literal(node) or shows_all(node) or _is_one_number(node, known)
        )

    return frontier(outputs, inside)


def _is_one_number(node: Node, known: dict[Node, bool]) -> bool:
    """Whether all elements are one number that literals decide, such as the exponent of a
    derivative. `known` remembers what was found."""
    stack = [node]
    while stack:
        here = stack[-1]
        below = [t.node for t in here.inputs]
        if not (here.op.kind in (Kind.MAP, Kind.VIEW) and here.op.is_pure):
            known[here] = is_literal(here) and not any(t.shape for t in here.outputs)
        elif all(n in known for n in below) or not all(known.get(n, True) for n in below):
            known[here] = all(known.get(n, False) for n in below)
        if here in known:
            stack.pop()
        else:
            stack.extend(n for n in below if n not in known)
    return known[node]


def made_since(
    roots: Iterable[Tensor], start: int, stop: Collection[Tensor] = ()
) -> list[Node]:
    """The nodes below `roots` that are younger than `start`, operands before users; what only
    tensors of `stop` depend on is left out."""
    found: set[Node] = set()
    stack = [t.node for t in roots if t not in stop]
    while stack:
        node = stack.pop()
        if node.serial > start and node not in found:
            found.add(node)
            stack.extend(t.node for t in node.inputs if t not in stop)
    return sorted(found, key=lambda node: node.serial)


def close(outputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> Graph:
    """The graph from `parameters` (any tensors, cut there) to `outputs`, with canonical inputs."""
    inputs = numbered("p", (t.type for t in parameters))
    done: dict[Tensor, Tensor] = dict(zip(parameters, inputs, strict=True))
    stack = list(outputs)[::-1]
    while stack:
        t = stack[-1]
        missing = [] if t in done else [s for s in t.node.inputs if s not in done]
        if missing:
            stack.extend(reversed(missing))
            continue
        stack.pop()
        if t not in done:
            made = rebuild(t.node, [done[s] for s in t.node.inputs])
            for old, new in zip(t.node.outputs, made.outputs, strict=True):
                done.setdefault(old, new)
    return Graph(inputs, [done[t] for t in outputs], name="body")


def in_bodies(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """`graph` with `change` applied to every body that its nodes hold."""
    if not any(node.op.kind is Kind.CONTROL for node in graph.nodes):
        return graph

    def rewrite(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if node.op.kind is not Kind.CONTROL:
            return None
        attrs = {k: with_bodies(v, change) for k, v in node.attrs.items()}
        with origin.inherit(node.origins):
            return apply(node.op, inputs, **attrs).outputs

    return map_graph(graph, rewrite)


# -- batches ---------------------------------------------------------------------------------------
class BatchedStep(NamedTuple):
    """The step of a loop for all elements: its inputs and outputs, and which inputs have the new
    axis."""

    batch: Batch
    inputs: list[Tensor]
    outputs: list[Tensor]
    has: list[bool]

    def given(self, inputs: Sequence[Tensor]) -> Iterator[Tensor]:
        """What the loop is given: a carry that gets the new axis has it from the start on."""
        for i, t in enumerate(inputs):
            yield self.batch.spread(t) if self.has[i] and not self.batch.has(i) else t


def batched_step(batch: Batch, body: Graph, carries: int, every: bool = False) -> BatchedStep:
    """`body` for all elements. A carry has the new axis if it has it at first, or a step makes it
    so, in some number of steps; `every`: all of them have it."""
    has = [(every and i < carries) or batch.has(i) for i in range(len(body.inputs))]
    while True:
        types = (
            TensorType(t.dtype, (batch.size, *t.shape) if new else t.shape)
            for t, new in zip(body.inputs, has, strict=True)
        )
        inputs = fresh("step", types)
        outputs = batch.outputs(body, inputs)
        made = [new.ndim > old.ndim for new, old in zip(outputs, body.outputs, strict=True)]
        if all(has[i] or not made[i] for i in range(carries)):
            break
        has[:carries] = [has[i] or made[i] for i in range(carries)]
    for i in range(carries):
        if has[i] and not made[i]:
            outputs[i] = batch.spread(outputs[i])
    return BatchedStep(batch, inputs, outputs, has)
