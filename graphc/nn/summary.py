"""The table of a model: each layer with its path, result, parameters and operations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from graphc.ir.dim import Size, total
from graphc.ir.graph import bodies, walk
from graphc.ir.node import Node, Tensor
from graphc.planning import work
from graphc.shown import Shown


class Row(NamedTuple):
    """One layer; `flops` is None where it has not been called."""

    path: str
    kind: str
    output: str
    parameters: int
    flops: Size | None


def table(name: str, rows: Sequence[Row], parameters: int, frozen: int) -> str:
    """The rows below the model's name, and the totals; `frozen` of the parameters are not trained.

    The operations are those of one call at its sizes, as `cost()` counts them: an addition is 1, a
    product of [m, k] and [k, n] is 2*m*n*k, and what only moves elements is none.
    """
    called = [row.flops for row in rows if row.flops is not None]
    head = ("layer", "output shape", "parameters", "flops")
    body = [
        (
            f"{row.path} ({row.kind})",
            row.output,
            f"{row.parameters:,}",
            "" if row.flops is None else _count(row.flops),
        )
        for row in rows
    ]
    totals = [("total", "", f"{parameters:,}", _count(total(called)) if called else "")]
    if frozen:
        totals.append(("frozen", "", f"{frozen:,}", ""))
    widths = [max(len(line[i]) for line in (head, *body, *totals)) for i in range(4)]
    lines = [
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
        for a, b, c, d in (head, *body, *totals)
    ]
    rule, end = "-" * len(lines[0]), 1 + len(body)
    return Shown("\n".join([name, rule, lines[0], rule, *lines[1:end], rule, *lines[end:]]))


def _count(size: Size) -> str:
    return f"{size:,}" if isinstance(size, int) else str(size)


def operations(inputs: Collection[Tensor], outputs: Iterable[Tensor]) -> Size:
    """The scalar operations of what leads from `inputs` to `outputs`."""
    return _operations(walk(outputs, stop=set(inputs)))


def _operations(nodes: Iterable[Node]) -> Size:
    return total(map(_of_node, nodes))


def _of_node(node: Node) -> Size:
    inside = None if node.op.expand is None else node.op.expand(*node.inputs, **node.attrs)
    if inside is not None:  # else it is computed as it is
        outputs = [inside] if isinstance(inside, Tensor) else list(inside)
        return _operations(walk(outputs, stop=set(node.inputs)))
    if held := bodies(node):
        turns: Size = node.attrs.get("length", 1)  # what only the data tell counts once
        return turns * total(_operations(body.nodes) for body in held)
    return 0 if node.op.only_moves else work.operations([node])
