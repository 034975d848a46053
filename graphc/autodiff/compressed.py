"""Sparse derivatives: a few passes give all entries, for columns that share no row go together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphc.autodiff.batching import batched
from graphc.autodiff.coloring import color_columns, color_symmetric, read_from
from graphc.autodiff.derivatives import gradient, pulled, pushed
from graphc.autodiff.sparsity import dependencies
from graphc.errors import ArgumentError
from graphc.ir.node import Tensor
from graphc.ops.build import constant
from graphc.ops.closure import fresh
from graphc.ops.create import iota, zeros
from graphc.ops.elementwise import astype, equal
from graphc.ops.gather import take
from graphc.ops.places import SCATTER_SUM, scatter
from graphc.ops.shape import broadcast_to, reshape

Array = np.ndarray[Any, Any]


class Compressed(NamedTuple):
    """A sparse derivative: its entries as a tensor, in the order of the pattern's CSR form; the
    colour of each column ("forward"), of each row ("reverse"), of both ("symmetric")."""

    values: Tensor
    pattern: Any
    colors: Array
    mode: str

    @property
    def passes(self) -> int:
        """How many colours there are: so many passes a call takes, all at once."""
        return int(self.colors.max(initial=-1)) + 1


def compressed_jacobian(op: str, y: Tensor, x: Tensor) -> Compressed:
    """By columns or by rows, whichever need fewer colours."""
    _static(op, y, x)
    (unit,) = fresh("unit", [x.type])
    (column,) = pushed([y], [x], [unit])
    pattern = _pattern(column, unit, int(y.size))
    by_column, by_row = color_columns(pattern), color_columns(pattern.T.tocsr())
    if column is None or by_column.max(initial=-1) <= by_row.max(initial=-1):
        values = _entries(column, unit, pattern, by_column)
        return Compressed(values, pattern, by_column, "forward")
    (cotangent,) = fresh("unit", [y.type])
    (row,) = pulled([y], [x], [cotangent])
    # The entries of the transpose, in the order of its columns: that of the rows of the pattern.
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    made = _all_passes(row, cotangent, by_row)
    values = _picked(made, by_row[rows], pattern.indices, int(x.size))
    return Compressed(values, pattern, by_row, "reverse")


def compressed_hessian(op: str, y: Tensor, x: Tensor) -> Compressed:
    """By a star colouring: forward over reverse mode."""
    _static(op, y, x)
    slope: Tensor = gradient(op, y, x, "zero")
    (unit,) = fresh("unit", [x.type])
    (column,) = pushed([slope], [x], [unit])
    pattern = _pattern(column, unit, int(x.size))
    pattern = (pattern + pattern.T).tocsr()
    pattern.sort_indices()
    colors = color_symmetric(pattern)
    return Compressed(_entries(column, unit, pattern, colors), pattern, colors, "symmetric")


def dense(found: Compressed) -> Tensor:
    """The whole matrix, with its zeros: [rows, columns]."""
    rows, columns = found.pattern.shape
    if not found.pattern.nnz:
        return zeros((rows, columns), found.values.dtype)
    of_entries = np.repeat(np.arange(rows), np.diff(found.pattern.indptr))
    places = of_entries * columns + found.pattern.indices
    flat = scatter(SCATTER_SUM, [constant(places)], found.values, (rows * columns,), (-1,), 0)
    return reshape(flat, (rows, columns))


def is_static(*tensors: Tensor) -> bool:
    """Whether the pattern of a derivative by them can be known."""
    return all(isinstance(size, int) for t in tensors for size in t.shape)


def _static(op: str, *tensors: Tensor) -> None:
    for t in tensors:
        if not is_static(t):
            raise ArgumentError(
                "the pattern of a sparse derivative needs sizes that are known",
                op=op,
                expected="placeholders of static shapes",
                given=repr(t),
                hint=f"gc.{op}(f) takes them from the arrays that it is called with",
            )


def _pattern(column: Tensor | None, unit: Tensor, rows: int) -> Any:
    from scipy.sparse import csr_matrix

    found = None if column is None else dependencies([column], unit)[0]
    if found is None:
        return csr_matrix((rows, int(unit.size)), dtype=bool)
    found.sort_indices()
    return found


def _entries(column: Tensor | None, unit: Tensor, pattern: Any, colors: Array) -> Tensor:
    if column is None or not pattern.nnz:
        return zeros((0,), unit.dtype)
    rows, of_colors = read_from(pattern, colors)
    return _picked(_all_passes(column, unit, colors), of_colors, rows, pattern.shape[0])


def _all_passes(linear: Tensor | None, unit: Tensor, colors: Array) -> Tensor:
    """What a linear function gives for the sum of the units of each colour: [colours, elements]."""
    assert linear is not None
    count = int(colors.max()) + 1
    seeds = equal(iota((count, 1), 0), constant(colors))
    at_once = reshape(astype(seeds, unit.dtype), (count, *unit.shape))
    (made,) = batched([linear], {unit: at_once}, count)
    wide = made if made.ndim > linear.ndim else broadcast_to(made, (count, *made.shape))
    return reshape(wide, (count, linear.size))


def _picked(made: Tensor, of_colors: Array, elements: Array, size: int) -> Tensor:
    places = of_colors.astype(np.int64) * size + elements
    return take(reshape(made, (-1,)), constant(places), 0)
