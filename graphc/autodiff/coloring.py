"""Colourings of sparse matrices: which columns one product with a vector can tell apart.

Columns of one colour share no row, so that the product of the matrix with the sum of their unit
vectors holds their entries side by side. Of a symmetric matrix an entry may be read in its row or
in its column, so that fewer colours do. All are greedy, in the order of decreasing degree.
Source: Gebremedhin, Manne and Pothen, 2005, "What color is your Jacobian?"; the star colouring is
their algorithm 4.1, with sets of colours as the bits of ints.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def color_columns(pattern: Any) -> Array:
    """A colour for each column of a pattern in CSR form; no two of a row are equal.

    >>> from scipy.sparse import csr_matrix
    >>> color_columns(csr_matrix([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]))
    array([1, 0, 1, 0])
    """
    columns = pattern.tocsc()
    used = [0] * pattern.shape[0]  # for each row the colours of its columns, as bits
    colors = np.zeros(pattern.shape[1], np.int64)
    for column in _by_degree(columns):
        rows = _part(columns, column)
        color = _lowest_free(_union(used, rows))
        colors[column] = color
        for row in rows:
            used[row] |= 1 << color
    return colors


def color_symmetric(pattern: Any) -> Array:
    """A star colouring of a symmetric pattern in CSR form: neighbours differ, and of every path of
    four vertices three do. So each entry is alone in its row or in its column; see `read_from`."""
    count = pattern.shape[0]
    colors = np.full(count, -1, np.int64)
    near = [0] * count  # the colours of a vertex's neighbours
    twice = [0] * count  # the colours that two neighbours of a vertex have
    # For a coloured vertex w: the colours of its neighbours that have another neighbour of w's
    # colour, so that w's other neighbours cannot have them.
    closed = [0] * count
    for v in map(int, _by_degree(pattern)):
        neighbours = [int(w) for w in _part(pattern, v) if w != v]
        forbidden = 0
        for w in neighbours:
            forbidden |= 1 << int(colors[w]) | closed[w] if colors[w] >= 0 else near[w]
        color = _lowest_free(forbidden)
        colors[v], bit = color, 1 << color
        for w in neighbours:
            again = near[w] & bit and not twice[w] & bit
            twice[w] |= near[w] & bit
            near[w] |= bit
            if colors[w] < 0:
                continue
            if again:  # w is now between two vertices of this colour
                for u in map(int, _part(pattern, w)):
                    if u != w and colors[u] == color:
                        closed[u] |= 1 << int(colors[w])
            elif twice[w] & bit:
                closed[v] |= 1 << int(colors[w])
            if twice[v] >> int(colors[w]) & 1:
                closed[w] |= bit
    return colors


def read_from(pattern: Any, colors: Array) -> tuple[Array, Array]:
    """For each entry of a coloured pattern, in the order of CSR, the row and the colour where it is
    alone: its own row, or, where its row has two of the colour, that of its column."""
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    columns, of_column = pattern.indices, colors[pattern.indices]
    count = int(colors.max(initial=0)) + 1
    _, place, times = np.unique(rows * count + of_column, return_inverse=True, return_counts=True)
    shared = times[place] > 1
    of_column[shared] = colors[rows[shared]]
    return np.where(shared, columns, rows), of_column


def _by_degree(matrix: Any) -> Array:
    order: Array = np.argsort(-np.diff(matrix.indptr), kind="stable")
    return order


def _part(matrix: Any, i: int) -> Any:
    return matrix.indices[matrix.indptr[i] : matrix.indptr[i + 1]]


def _union(sets: list[int], which: Any) -> int:
    total = 0
    for i in which:
        total |= sets[i]
    return total


def _lowest_free(taken: int) -> int:
    return (~taken & (taken + 1)).bit_length() - 1
