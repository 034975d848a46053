"""Small graphs that the tests of the passes share."""

from __future__ import annotations

import numpy as np

import graphc as gc
from graphc.ir.graph import Graph


def layer() -> Graph:
    """A dense layer with its gradient, and its weights stepped along it."""
    x = gc.placeholder("x", ("n", 20))
    w = gc.variable(np.zeros((20, 30), "float32"), name="w")
    b = gc.variable(np.zeros(30, "float32"), name="b")
    loss = gc.mean(gc.relu(x @ w + b) ** 2)
    gw, gb = gc.grad(loss, [w, b])
    return Graph([x], [loss], [(w, w - 0.1 * gw), (b, b - 0.1 * gb)], "layer")


def classifier() -> Graph:
    """Softmax cross-entropy and its gradient with respect to the logits."""
    z, y = gc.placeholder("z", ("n", 10)), gc.placeholder("y", ("n",), "int64")
    loss = gc.mean(gc.softmax_cross_entropy(z, y))
    return Graph([z, y], [loss, gc.grad(loss, z)], name="classifier")


def layer_norm() -> Graph:
    """Normalised rows."""
    x = gc.placeholder("x", ("n", 32))
    centred = x - gc.mean(x, axis=1, keepdims=True)
    scale = gc.sqrt(gc.mean(centred**2, axis=1, keepdims=True) + 1e-5)
    return Graph([x], [centred / scale], name="layer_norm")


def columns() -> Graph:
    """Three reductions over the rows of one array, and one over all of it."""
    x = gc.placeholder("x", ("n", 40))
    outputs = [gc.sum(x, axis=0), gc.max(x, axis=0), gc.argmax(x, axis=0), gc.sum(x * x)]
    return Graph([x], outputs, name="columns")


def recurrent() -> Graph:
    """A tanh recurrence over time."""
    x, h = gc.placeholder("x", ("t", 4, 8)), gc.placeholder("h", (4, 8))
    w = gc.variable(np.zeros((8, 8), "float32"), name="w")

    def step(state, row):  # type: ignore[no-untyped-def]
        new = gc.tanh(row + state @ w)
        return new, new

    last, states = gc.scan(step, h, x)
    return Graph([x, h], [last, gc.sum(states)], name="recurrent")


ALL = (layer, classifier, layer_norm, columns, recurrent)
