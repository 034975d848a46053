"""Random graphs for many elements at once: batched, a graph gives the stack of its results.

Some of the inputs, drawn by the seed, are another array for each element; the others, and the
variables, are the same for all. The graphs have gradients among their outputs, so that derivatives
are batched too.
"""

from __future__ import annotations

import numpy as np

import graphc as gc
from graphc.autodiff.batching import batched
from graphc.errors import GraphcError

from .comparing import differences, evaluate
from .generator import random_graph
from .values import Array

ELEMENTS = 3


def check_batched(seed: int) -> None:
    """The random graph of a seed, batched, is the stack of its results for each element.

    Errors: `AssertionError` that names the seed and what differs.
    """
    made = random_graph(seed)
    graph = gc.Graph(made.graph.inputs, made.graph.outputs, name="one")
    rng = np.random.default_rng((seed, 11))
    if not graph.inputs:
        return
    chosen = {t for t in graph.inputs if rng.random() < 0.6} or {graph.inputs[0]}
    size = gc.dim("elements") if seed % 2 else ELEMENTS
    many = [
        gc.placeholder(f"{t.name} of all", (size, *t.shape), t.dtype) if t in chosen else t
        for t in graph.inputs
    ]
    found = batched(graph.outputs, dict(zip(graph.inputs, many, strict=True)), size)
    rows = _elements(made.arrays(0), [t in chosen for t in graph.inputs], rng)
    stacks = [
        np.stack(column) if t in chosen else column[0]
        for t, column in zip(graph.inputs, zip(*rows, strict=True), strict=True)
    ]
    try:
        expected = [evaluate(graph, row) for row in rows]
    except GraphcError:  # an element that fails fails all
        return
    all_at_once = evaluate(gc.Graph(many, found, name="all"), stacks)
    for i, (row, each) in enumerate(zip(rows, expected, strict=True)):
        actual = [
            a[i] if t.ndim > old.ndim else a
            for a, t, old in zip(all_at_once, found, graph.outputs, strict=True)
        ]
        differ = differences(graph, row, each, list(map(np.asarray, actual)))
        assert not differ, f"check_batched({seed}), element {i}: " + "\n".join(differ)


def _elements(
    first: list[Array], chosen: list[bool], rng: np.random.Generator
) -> list[list[Array]]:
    """The arrays of each element: those of the first, with their values in another order."""
    return [
        [
            rng.permutation(a.ravel()).reshape(a.shape) if own and i else a
            for a, own in zip(first, chosen, strict=True)
        ]
        for i in range(ELEMENTS)
    ]
