"""Random recurrent networks: loops with products that leave them and products that may not.

Random graphs have few loops with products; these always do.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

import graphc as gc

from .checking import compiled, compiled_mismatch, tiny_blocks
from .values import Array

SIZES = (1, 2, 3, 5, 8)
STEPS = (0, 1, 2, 6)


def random_network(seed: int) -> tuple[gc.Graph, list[list[Array]]]:
    """A loop over xs with two carries, one of which is mostly a sum of products, with gradients of
    some of its inputs; and arrays for each number of `STEPS`."""
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(["float32", "float64"]))
    rows, width, hidden = (int(n) for n in rng.choice(SIZES, 3))
    vectors = chance(rng, 0.15)
    state = (hidden,) if vectors else (rows, hidden)
    shapes: dict[str, tuple[Any, ...]] = {
        "x": ("t", *state[:-1], width), "h": state, "s": (width, hidden), "a": (width, hidden),
        "b": (hidden, hidden), "c": (hidden, hidden),
    }  # fmt: skip
    inputs = {name: gc.placeholder(name, shape, dtype) for name, shape in shapes.items()}
    x, h, s, a, b, c = inputs.values()
    if chance(rng, 0.2):
        b = gc.matrix_transpose(b)

    def column(t: gc.Tensor) -> gc.Tensor:
        """As a matrix that a matrix of the other sizes multiplies: [n, rows]."""
        return gc.expand_dims(t, 1) if vectors else t.T

    def matrix(t: gc.Tensor) -> gc.Tensor:
        return gc.expand_dims(t, 0) if vectors else t

    def step(state: Any, x: gc.Tensor) -> Any:
        h, s = state
        if chance(rng, 0.2):
            x = gc.tanh(x)
        if chance(rng, 0.2):
            x = gc.reshape(gc.reshape(x, (-1,)), x.shape)
        z = h @ b if chance(rng, 0.7) else h * 0.5
        z = z + x @ a if chance(rng, 0.8) else z + gc.sum(x)
        after = gc.tanh(z) * 0.7
        total = s + column(x) @ matrix(after if chance(rng, 0.5) else h)
        if chance(rng, 0.3):
            total = column(gc.sin(x)) @ matrix(h) + total
        if chance(rng, 0.15):
            after = after + gc.sum(total) * 0.01
        if chance(rng, 0.15):
            total = total * 0.9
        ys = [after, after @ c, x @ a @ c, gc.reshape(h @ c, (-1,)), total[0] + after, x]
        return (after, total), ys[int(rng.integers(len(ys)))]

    (last, total), ys = gc.scan(step, (h, s), x, reverse=chance(rng, 0.4))
    outputs = [last, total, ys]
    loss = gc.sum(gc.sin(last)) + gc.sum(gc.cos(total)) + gc.sum(ys * ys)
    reached = {node.output() for node in gc.Graph(inputs.values(), [loss]).nodes}
    wanted = [t for t in inputs.values() if t in reached and chance(rng, 0.6)]
    if wanted:
        outputs += gc.grad(loss, wanted)
    calls = [
        [rng.normal(size=[steps if n == "t" else n for n in shape]).astype(dtype) * 0.7
         for shape in shapes.values()]
        for steps in STEPS
    ]  # fmt: skip
    return gc.Graph(inputs.values(), outputs), calls


def chance(rng: np.random.Generator, p: float) -> bool:
    return bool(rng.random() < p)


def check_network(seed: int) -> None:
    """The network of a seed equals its meaning; that of an odd seed is compiled in tiny blocks.

    Errors: `AssertionError` with the seed and what differs.
    """
    graph, calls = random_network(seed)
    with tiny_blocks() if seed % 2 else nullcontext():
        function = compiled(graph)
    for arrays in calls:
        found = compiled_mismatch(graph, arrays, function)
        assert not found, f"random_network({seed}):\n{found}"
