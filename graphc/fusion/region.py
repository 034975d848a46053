"""A fused region: a node that holds a sub-graph and becomes one kernel.

`space` is the iteration space of its loops. The first `outer` of them are shared by all its stages;
the rest are run once a stage. A stage ends where a reduction over the inner loops is complete, and
the next stage may use its result: softmax is three stages over each row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphc.ir.dim import Size
from graphc.ir.dtype import int64
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Fact, Kind, Op, register
from graphc.ir.shape import Shape, TensorType, moves_unit_axes
from graphc.loops.builder import Builder
from graphc.loops.grammar import Affine, Var, of


def _infer_fused(
    *types: TensorType, body: Graph, space: Shape, outer: int
) -> tuple[TensorType, ...]:
    return tuple(t.type for t in body.outputs)


def _numpy_fused(
    *arrays: Any, body: Graph, space: Any, outer: int, sizes: Mapping[str, int]
) -> tuple[Any, ...]:
    return tuple(evaluate_graph(body, arrays, dims=sizes))


FUSED = register(
    Op(
        "fused",
        Kind.REGION,
        _infer_fused,
        numpy=_numpy_fused,
        facts=frozenset({Fact.AS_STORED}),
        doc="Several ops in one kernel.",
    )
)


WORK = frozenset({Kind.MAP, Kind.REDUCE, Kind.RUNNING, Kind.KERNEL})  # what kernels compute


# -- how nodes read their operands -----------------------------------------------------------------
def is_free(node: Node) -> bool:
    """Whether a kernel computes through the node at no cost, so that it is never stored for its
    own sake: moved elements, positions, sizes, scalar constants."""
    known = node.op.kind is Kind.MAP and not node.inputs  # from the index alone
    return known or reindexes(node) or is_scalar_constant(node)


def reindexes(node: Node) -> bool:
    """Whether the node only moves elements, by an affine function of the index (`Fact.REINDEX`). A
    view of the same bytes does if axes of size 1 are all that comes and goes."""
    if node.op.kind is Kind.VIEW and node.op.at is not None:
        return moves_unit_axes(node.inputs[0].shape, node.types[0].shape)
    return Fact.REINDEX in node.op.facts


def is_scalar_constant(node: Node) -> bool:
    return Fact.CONSTANT in node.op.facts and node.types[0].size == 1


def is_member(node: Node) -> bool:
    """Whether the node does work inside a kernel."""
    return node.op.kind in WORK and not is_free(node)


def space_of(node: Node) -> Shape:
    """The iteration space of a node, without axes of static size 1."""
    if node.op.kind is Kind.REDUCE:
        shape = node.op.reducer.space([t.type for t in node.inputs], **node.attrs)
    else:
        shape = node.types[0].shape
    return squeezed(shape)


def squeezed(shape: Shape) -> Shape:
    return tuple([s for s in shape if s != 1]) if shape else shape


def canonical_index(shape: Shape, loops: tuple[Var, ...]) -> tuple[Affine, ...]:
    """The index of an element of `shape` in terms of the loops over its squeezed axes."""
    return index_at(shape, tuple(map(of, loops[: len(shape)])))


def index_at(shape: Shape, positions: Sequence[Affine]) -> tuple[Affine, ...]:
    """The index of the element of `shape` at `positions` along its squeezed axes."""
    rest = iter(positions)
    return tuple(Affine() if s == 1 else next(rest) for s in shape)


LOOPS = tuple(Var(f"i{k}", int64) for k in range(16))  # for asking ops how they index


def probe(node: Node) -> Builder:
    """A builder in which the loops over the node's space are open, for asking where it reads."""
    builder = Builder()
    for loop in LOOPS:  # those of a node with more axes that reads through this one, too
        builder.levels[loop] = 0
    return builder


def kept_loops(node: Node) -> list[Var]:
    """The loops that the place of a reduction's result depends on, in order of its axes."""
    builder = probe(node)
    operands = [
        Operand(t, lambda t, at: builder.declare(builder.const(0, t.dtype))) for t in node.inputs
    ]
    index = canonical_index(full_space(node), LOOPS)
    target = node.op.reducer.target(builder, operands, index, **node.attrs)
    return [loop for i in target for loop, _ in i.terms]


def carried_loop(node: Node) -> int | None:
    """The loop, of those over its space, along which a running reduction carries its state; None
    if that axis has one element."""
    shape, axis = node.types[0].shape, node.attrs["axis"]
    return None if shape[axis] == 1 else len(squeezed(shape[:axis]))


def directions(nodes: Iterable[Node]) -> dict[int, bool]:
    """The loops that the nodes need to run in one direction: True if that is backwards."""
    found: dict[int, bool] = {}
    for node in nodes:
        if node.op.kind is Kind.RUNNING:
            loop = carried_loop(node)
            if loop is not None:
                found[loop] = node.attrs["reverse"]
        elif node.op.kind is Kind.REDUCE and node.op.reducer.scatters:
            found |= dict.fromkeys(range(len(space_of(node))), False)
    return found


def fits(node: Node, space: Shape, outer: int) -> bool:
    """Whether the node has a turn in the loops over `space`: in the inner ones, once for each turn
    of the outer ones, or once."""
    return space_of(node) in (space, space[:outer], ())


def full_space(node: Node) -> Shape:
    """The iteration space of a node, with its axes of size 1."""
    if node.op.kind is Kind.REDUCE:
        shape: Shape = node.op.reducer.space([t.type for t in node.inputs], **node.attrs)
        return shape
    return node.types[0].shape


def flat_index(index: tuple[Affine, ...], strides: tuple[Size, ...]) -> Affine:
    """The offset of an element in a row-major buffer."""
    total = Affine()
    for i, step in zip(index, strides, strict=True):
        total = total + i * step
    return total


class Operand:
    """What `at` and reducers see of an operand: its type, and the element at an index."""

    __slots__ = ("_read", "tensor")

    def __init__(self, tensor: Tensor, read: Any) -> None:
        self.tensor, self._read = tensor, read

    @property
    def type(self) -> TensorType:
        return self.tensor.type

    def __call__(self, index: tuple[Affine, ...]) -> Any:
        return self._read(self.tensor, index)
