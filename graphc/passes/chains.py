"""The order of products: chains of matrices are multiplied in the order of least cost.

`(A @ B) @ v` costs a product of matrices, `A @ (B @ v)` two of a matrix by a vector. A chain is a
product whose operands are products that nothing else reads, seen through transposes. It is built
anew only if that saves multiply-adds with hints for named dims, so there it is never worse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from graphc.ir import origin
from graphc.ir.dim import size_hint
from graphc.ir.graph import Graph, rebuild, with_results
from graphc.ir.node import Node, Tensor
from graphc.ir.op import Kind
from graphc.ops.closure import in_bodies
from graphc.ops.contract import matmul, swaps_last_axes
from graphc.ops.shape import matrix_transpose

LONGEST = 16  # matrices in one chain at most: the search is cubic

Order: TypeAlias = "int | tuple[Order, Order]"  # a matrix by its position, or a product of two


class Chain(NamedTuple):
    """Matrices in the order of their product, each with whether it is transposed."""

    matrices: tuple[tuple[Tensor, bool], ...]
    cost: int  # multiply-adds for each index of the batch, in the order as written


def reorder_products(graph: Graph) -> Graph:
    """Chains of matrix products -> the same products in the order of least cost."""
    orders: dict[Node, tuple[Chain, Order]] = {}
    for root, chain in _chains(graph).items():
        cost, order = cheapest_order(_sizes(chain))
        if cost < chain.cost:
            orders[root] = chain, order
    if orders:
        done: dict[Tensor, Tensor] = {}
        for node in graph.nodes:
            if node in orders:
                with origin.inherit(node.origins):
                    done[node.output()] = _product(*orders[node], done)
            else:
                new = rebuild(node, [done[t] for t in node.inputs])
                done.update(zip(node.outputs, new.outputs, strict=True))
        graph = with_results(graph, [done[t] for t in graph.results])
    return in_bodies(graph, reorder_products)


def _chains(graph: Graph) -> dict[Node, Chain]:
    """The longest chains of three or more matrices, by their last product."""
    reads = Counter(t for node in graph.nodes for t in node.inputs)
    reads.update(graph.results)
    found: dict[Node, Chain] = {}
    inside: set[Node] = set()
    for node in reversed(graph.nodes):
        if node.op.kind is Kind.CONTRACT and node not in inside and _is_even(node):
            products, matrices = _flatten(node, reads)
            inside.update(products)
            if len(matrices) > 2:
                found[node] = Chain(tuple(matrices), sum(map(_work, products)))
    return found


def _flatten(root: Node, reads: Counter[Tensor]) -> tuple[list[Node], list[tuple[Tensor, bool]]]:
    """The products of a chain, and its matrices from left to right."""
    products: list[Node] = []
    matrices: list[tuple[Tensor, bool]] = []
    stack = [(root.output(), False)]
    while stack:
        tensor, turned = stack.pop()
        node, flips = tensor.node, turned
        single = node is root or reads[tensor] == 1
        if single and swaps_last_axes(node):
            node, flips = node.inputs[0].node, not turned
            single = reads[node.output()] == 1
        room = len(stack) + len(matrices) + 2 <= LONGEST
        if single and room and node.op.kind is Kind.CONTRACT and _is_even(node):
            products.append(node)
            left, right = node.inputs[::-1] if flips else node.inputs
            stack += [(right, flips), (left, flips)]
        else:
            matrices.append((tensor, turned))
    return products, matrices


def _is_even(product: Node) -> bool:
    """Whether both operands have the batch axes of the result, and an order of floats is free."""
    x, y = product.inputs
    return x.dtype.is_float and x.shape[:-2] == y.shape[:-2]


def _work(product: Node) -> int:
    x, y = product.inputs
    return size_hint(x.shape[-2]) * size_hint(x.shape[-1]) * size_hint(y.shape[-1])


def _sizes(chain: Chain) -> list[int]:
    """The sizes between which the matrices map: matrix i is [sizes[i], sizes[i + 1]]."""
    shapes = [t.shape[-2:][::-1] if turned else t.shape[-2:] for t, turned in chain.matrices]
    return [size_hint(s) for s in (*(rows for rows, _ in shapes), shapes[-1][1])]


def cheapest_order(sizes: Sequence[int]) -> tuple[int, Order]:
    """The least multiply-adds for a chain of matrices between `sizes`, and the order that has them.

    By dynamic programming over stretches of the chain (Godbole, 1973, "On efficient computation of
    matrix chain products").

    >>> cheapest_order([10, 1000, 1000, 1])
    (1010000, (0, (1, 2)))
    """
    count = len(sizes) - 1
    best: dict[tuple[int, int], tuple[int, Order]] = {(i, i): (0, i) for i in range(count)}
    for length in range(2, count + 1):
        for low in range(count - length + 1):
            high = low + length - 1
            plans: list[tuple[int, Order]] = []
            for middle in range(low, high):
                left, right = best[low, middle], best[middle + 1, high]
                work = sizes[low] * sizes[middle + 1] * sizes[high + 1]
                plans.append((left[0] + right[0] + work, (left[1], right[1])))
            best[low, high] = min(plans, key=lambda plan: plan[0])
    return best[0, count - 1]


def _product(chain: Chain, order: Order, done: dict[Tensor, Tensor]) -> Tensor:
    if isinstance(order, int):
        tensor, turned = chain.matrices[order]
        return matrix_transpose(done[tensor]) if turned else done[tensor]
    left, right = (_product(chain, part, done) for part in order)
    return matmul(left, right)
