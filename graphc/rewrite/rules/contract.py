"""Rules about matrix products: what is transposed or summed behind one is done by it."""

from __future__ import annotations

from graphc.ir.node import Node, Tensor
from graphc.ir.shape import show
from graphc.ops.contract import Labelled, matmul, swaps_last_axes
from graphc.ops.contract import contract as contract_labelled
from graphc.ops.shape import matrix_transpose
from graphc.rewrite.ruleset import ORDER, Result, Ruleset

contract = Ruleset("contract")


@contract.rewrite(ORDER, "permute_dims")
def transpose_before_product(node: Node) -> Result:
    """(x.T @ y.T).T -> y @ x, and (x @ y.T).T -> y @ x.T: operands are read transposed for free"""
    (product,) = node.inputs
    if product.node.op.name != "matmul" or not swaps_last_axes(node):
        return None
    x, y = product.node.inputs
    if not (swaps_last_axes(x.node) or swaps_last_axes(y.node)):
        return "neither operand is transposed"
    return matmul(_transposed(y), _transposed(x))


def _transposed(t: Tensor) -> Tensor:
    return t.node.inputs[0] if swaps_last_axes(t.node) else matrix_transpose(t)


@contract.rewrite(ORDER, "sum")
def sum_batch_by_product(node: Node) -> Result:
    """sum(x @ y) over axes of the batch -> one product that sums over them too

    The gradient of a weight that multiplies a batch of matrices: a product for each, then their
    sum, becomes one product with as many rows as they have together.
    """
    (product,) = node.inputs
    axes = node.attrs["axes"]
    if product.node.op.name != "matmul" or any(a >= product.ndim - 2 for a in axes):
        return None
    x, y = product.node.inputs
    if not x.dtype.is_float:
        return "ints are no product for the BLAS"
    if _is_stretched(x, product, axes) or _is_stretched(y, product, axes):
        return f"a batch of {show(x.shape)} @ {show(y.shape)} is stretched"
    batch = [f"b{a}" for a in range(product.ndim - 2)]
    left, right = _labelled(x, [*batch, "m", "k"]), _labelled(y, [*batch, "k", "n"])
    kept = [label for a, label in enumerate(batch) if a not in axes]
    return contract_labelled(left, right, (*kept, "m", "n")).tensor


def _labelled(t: Tensor, labels: list[str]) -> Labelled:
    return Labelled(t, tuple(labels[len(labels) - t.ndim :]))


def _is_stretched(t: Tensor, product: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether the operand lacks one of the axes that are summed, or stretches any."""
    missing = product.ndim - t.ndim
    stretched = t.shape[:-2] != product.shape[missing:-2]
    return stretched or any(a < missing for a in axes)
