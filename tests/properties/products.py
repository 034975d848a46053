"""Random programs about one product: its layouts, its batch, and what is made of it.

Random graphs seldom have a product, its consumer and the right sizes together; these always do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc

from .checking import compiled, compiled_mismatch, tiny_blocks
from .values import Array

SIZES = (1, 2, 3, 4, 5, 8, 9, 17)
Taker = Callable[[gc.Tensor, gc.Tensor], gc.Tensor]  # of the product, and of a vector

TAKERS: dict[str, Taker] = {
    "nothing": lambda p, v: p,
    "activation": lambda p, v: gc.tanh(p),
    "bias": lambda p, v: gc.maximum(p + v, 0),
    "softmax": lambda p, v: gc.softmax(p),
    "sum of rows": lambda p, v: gc.sum(p * p, axis=-1),
    "sum of columns": lambda p, v: gc.sum(p * p, axis=-2),
    "sum": lambda p, v: gc.sum(p),
    "rows upside down": lambda p, v: p[..., ::-1, :] + v,
    "columns upside down": lambda p, v: p[..., ::-1] * 2,
    "neighbours": lambda p, v: p[..., 1:, :] - p[..., :-1, :],
    "rolled": lambda p, v: gc.concat([p[..., 1:, :], p[..., :1, :]], axis=-2) * 2,
    "first row": lambda p, v: p - p[..., :1, :],
    "last column": lambda p, v: p - p[..., -1:],
    "transposed": lambda p, v: gc.matrix_transpose(p) * 2,
    "both ways": lambda p, v: gc.sum(p, axis=-1, keepdims=True) + gc.sum(p, axis=-2, keepdims=True),
    "residual": lambda p, v: p + gc.broadcast_to(v, p.shape),
    "normalised": lambda p, v: p / (1 + gc.var(p, axis=-1, keepdims=True)),
}


def random_product(seed: int) -> tuple[gc.Graph, list[Array]]:
    """A program and arrays for it."""
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(["float32", "float64"]))
    m, k, n = (int(s) for s in rng.choice(SIZES, 3))
    if rng.random() < 0.4:
        m = n = k  # so that the result may take the place of an operand
    batch = tuple(int(s) for s in rng.choice(SIZES[:4], rng.choice([0, 0, 0, 1, 2])))
    replaced = rng.random() < 0.15  # the left operand becomes what is made of the product
    if replaced:
        m, n, batch = k, k, ()
    arrays: list[Array] = []
    inputs: list[gc.Tensor] = []
    variables: list[gc.Tensor] = []

    def operand(*shape: int) -> gc.Tensor:
        turned, sliced = rng.random(2) < 0.3
        stored = list(shape)
        stored[-1] += int(sliced)
        if turned:
            stored[-2:] = stored[:-3:-1]
        value = rng.normal(size=stored).astype(dtype)
        made: gc.Tensor
        if rng.random() < 0.4 or (replaced and not variables and not inputs):
            made = gc.variable(value)
            variables.append(made)
        else:
            names = [f"{'abc'[len(inputs)]}{i}" if rng.random() < 0.3 else s
                     for i, s in enumerate(stored)]  # fmt: skip
            names[-1 - int(turned)] = stored[-1 - int(turned)]  # what is sliced has a known size
            names[-2 + int(turned)] = stored[-2 + int(turned)]
            made = gc.placeholder("abc"[len(inputs)], tuple(names), dtype)
            inputs.append(made)
            arrays.append(value)
        made = gc.matrix_transpose(made) if turned else made
        return made[..., :-1] if sliced else made

    a = operand(*batch, m, k)
    b = operand(*(batch if rng.random() < 0.6 else ()), k, n)
    product = a @ b
    order = [int(i) for i in rng.permutation(product.ndim)]
    if rng.random() < 0.3:
        product = gc.reshape(gc.permute_dims(product, order), (-1, product.shape[order[-1]]))
    v = gc.ones(product.shape[-1:], dtype) * float(rng.normal())
    if replaced and product.shape == variables[0].shape:
        name = str(rng.choice(["activation", "bias", "softmax", "nothing", "residual"]))
        return gc.Graph(inputs, [], [(variables[0], TAKERS[name](product, v))]), arrays
    names_ = [str(name) for name in rng.choice(list(TAKERS), rng.integers(1, 4))]
    results = [TAKERS[name](product, v) for name in names_]
    updates = []
    for variable in variables:
        fitting = [r for r in results if r.shape == variable.shape]
        if fitting and rng.random() < 0.8:
            updates.append((variable, fitting[0]))
    outputs = results if not updates or rng.random() < 0.5 else results[1:]
    loss = gc.sum(gc.tanh(results[-1]))
    wanted: list[Any] = [*inputs, *variables]
    if rng.random() < 0.5:
        outputs = [*outputs, *gc.grad(loss, wanted)]
    return gc.Graph(inputs, outputs or [loss], updates), arrays


def check_product(seed: int) -> None:
    """The program of a seed, in tiny blocks of whole or partial sums, equals its meaning.

    Errors: `AssertionError` with the seed and what differs.
    """
    graph, arrays = random_product(seed)
    if graph.sizes.needed:  # sizes that agree only by an equation
        return
    with tiny_blocks(depth=32 if seed % 2 else 2):
        function = compiled(graph)
    found = compiled_mismatch(graph, arrays, function)
    assert not found, f"random_product({seed}):\n{found}"
