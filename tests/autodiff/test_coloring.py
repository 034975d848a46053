"""Colourings: that entries can be read, on random patterns; how many colours known ones take."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from graphc.autodiff.coloring import color_columns, color_symmetric, read_from

Array = np.ndarray[Any, Any]


def patterns(symmetric: bool) -> list[Array]:
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rows, columns = rng.integers(1, 14, 2)
        if symmetric:
            made = rng.random((rows, rows)) < rng.choice([0.1, 0.3, 0.8])
            found.append(made | made.T)
        else:
            found.append(rng.random((rows, columns)) < rng.choice([0.1, 0.3, 0.8]))
    return found


def read_back(pattern: Array, colors: Array, matrix: Array) -> Array:
    """The matrix from its products with the colours' sums of unit vectors."""
    sparse = csr_matrix(pattern)
    seeds = colors[None, :] == np.arange(colors.max(initial=0) + 1)[:, None]
    products = matrix @ seeds.T
    rows, of_colors = read_from(sparse, colors)
    parts = products[rows, of_colors], sparse.indices, sparse.indptr
    found: Array = csr_matrix(parts, sparse.shape).toarray()
    return found


def test_columns_of_a_colour_share_no_row() -> None:
    for pattern in patterns(symmetric=False):
        colors = color_columns(csr_matrix(pattern))
        for row in pattern:
            assert len(set(colors[row])) == row.sum()
        matrix = np.random.default_rng(0).normal(size=pattern.shape) * pattern
        np.testing.assert_allclose(read_back(pattern, colors, matrix), matrix, atol=1e-15)


def test_star_colourings() -> None:
    """Neighbours differ, no path of four vertices has two colours, and the matrix is read back."""
    for pattern in patterns(symmetric=True):
        colors = color_symmetric(csr_matrix(pattern))
        edges = [set(np.flatnonzero(row)) - {i} for i, row in enumerate(pattern)]
        for v, w in itertools.permutations(range(len(pattern)), 2):
            if w not in edges[v]:
                continue
            assert colors[v] != colors[w]
            for x, y in itertools.product(edges[v] - {w}, edges[w] - {v}):
                assert x == y or len({colors[i] for i in (x, v, w, y)}) > 2
        matrix = np.random.default_rng(0).normal(size=pattern.shape)
        matrix = (matrix + matrix.T) * pattern
        np.testing.assert_allclose(read_back(pattern, colors, matrix), matrix, atol=1e-15)


@pytest.mark.parametrize(
    ("pattern", "by_columns", "symmetric"),
    [
        (np.eye(9), 1, 1),
        (np.triu(np.tril(np.ones((9, 9)), 1), -1), 3, 3),
        (np.ones((5, 5)), 5, 5),
        (np.maximum(np.eye(9), np.maximum(np.arange(9) == 0, (np.arange(9) == 0)[:, None])), 9, 2),
    ],
)
def test_how_many(pattern: Array, by_columns: int, symmetric: int) -> None:
    sparse = csr_matrix(pattern.astype(bool))
    assert color_columns(sparse).max() + 1 == by_columns
    assert color_symmetric(sparse).max() + 1 == symmetric


def test_nothing_to_colour() -> None:
    empty = csr_matrix((3, 4), dtype=bool)
    assert color_columns(empty).tolist() == [0, 0, 0, 0]
    assert color_columns(csr_matrix((3, 0), dtype=bool)).tolist() == []


def test_large_patterns_with_a_full_row() -> None:
    """Colours are sets of bits: an arrow of 20,000 is no work that grows with its square."""
    n = 20_000
    ones, i = np.ones(n, bool), np.arange(n)
    rows = np.concatenate([i, i, np.zeros(n, int)])
    columns = np.concatenate([i, np.zeros(n, int), i])
    arrow = csr_matrix((np.concatenate([ones] * 3), (rows, columns)), (n, n))
    assert color_symmetric(arrow).max() == 1
