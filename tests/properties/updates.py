"""Random steps of training: weights that products read whole and that updates write, in every way
that one follows the other.

Random graphs seldom have a product by a variable, the product that is its gradient and the update
behind that together; these always do.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest import mock

import numpy as np

import graphc as gc
from graphc.lower import kernel_calls

from .checking import compiled, compiled_mismatch, tiny_blocks
from .values import Array

ROWS = (1, 2, 3, 9, 16, 33)
WIDTHS = (1, 3, 8, 16, 17, 31, 32, 40, 64, 70)


class _Step:
    """A step that grows: its inputs with their arrays, its variables, what it reads and writes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = self.choose(("float32", "float64"))
        self.inputs: list[gc.Tensor] = []
        self.arrays: list[Array] = []
        self.updates: list[tuple[gc.Variable, gc.Tensor]] = []

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def choose(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def value(self, *shape: int) -> Array:
        return (self.rng.normal(size=shape) * 0.5).astype(self.dtype)

    def given(self, *shape: int, named: bool = False) -> gc.Tensor:
        name = f"x{len(self.inputs)}"
        made = gc.placeholder(name, ("rows", *shape[1:]) if named else shape, self.dtype)
        self.inputs.append(made)
        self.arrays.append(self.value(*shape))
        return made

    def kept(self, *shape: int) -> gc.Variable:
        return gc.variable(self.value(*shape), name="kept")


def _descent(step: _Step, w: gc.Variable, g: gc.Tensor) -> None:
    step.updates.append((w, w - 0.1 * g))


def _momentum(step: _Step, w: gc.Variable, g: gc.Tensor) -> None:
    m = step.kept(*w.shape)
    moved = 0.9 * m + g
    step.updates += [(m, moved), (w, w - 0.1 * (moved if step.chance(0.5) else m))]


def _adam(step: _Step, w: gc.Variable, g: gc.Tensor) -> None:
    m, v = step.kept(*w.shape), gc.variable(np.ones(w.shape, step.dtype))
    first, second = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
    step.updates += [(m, first), (v, second), (w, w - 0.01 * first / (gc.sqrt(second) + 1e-3))]


def _clipped(step: _Step, w: gc.Variable, g: gc.Tensor) -> None:
    """By the norm of the gradient, so no row is known before all are."""
    step.updates.append((w, w - g / (1 + gc.sqrt(gc.sum(g * g)))))


def _by_rows(step: _Step, w: gc.Variable, g: gc.Tensor) -> None:
    moved = w - 0.1 * g
    step.updates.append((w, moved / (1 + gc.sqrt(gc.sum(moved * moved, axis=-1, keepdims=True)))))


def _turned(step: _Step, w: gc.Variable, g: gc.Tensor) -> None:
    """Rows that are read where others are written."""
    step.updates.append((w, gc.flip(w, -2) - 0.1 * g))


def _exchanged(step: _Step, w: gc.Variable, g: gc.Tensor) -> None:
    """Two variables, each of which becomes what the other one was."""
    other = step.kept(*w.shape)
    step.updates += [(w, other - 0.1 * g), (other, w)]


RULES: tuple[Callable[[_Step, gc.Variable, gc.Tensor], None], ...] = (
    _descent, _momentum, _adam, _clipped, _by_rows, _turned, _exchanged,
)  # fmt: skip


def random_step(seed: int) -> tuple[gc.Graph, list[Array]]:
    """A step of a seed, and arrays for it."""
    step = _Step(seed)
    rows, width = step.choose(ROWS), step.choose(WIDTHS)
    heads = (step.choose((2, 3)),) if step.chance(0.2) else ()
    h = step.given(*heads, rows, width, named=step.chance(0.4) and not heads)
    weights: list[gc.Variable] = []
    read: list[gc.Tensor] = []
    for _ in range(step.choose((1, 2, 2, 3))):
        old = [w for w in weights if w.shape[-2] == width]
        wider = step.choose(WIDTHS)
        if old and step.chance(0.4):  # one that is multiplied by twice
            w = step.choose(old)
        else:
            shape = (*heads, width, wider) if step.chance(0.3) else (width, wider)
            w = step.kept(*shape)
            weights.append(w)
        if step.chance(0.2):
            read.append(step.given(4, w.shape[-2]) @ w)
        if step.chance(0.15):
            read.append(h @ (w * 0.5))
        width = w.shape[-1]
        h = step.choose((gc.tanh, gc.relu, gc.softmax, lambda t: t))(h @ w)
    loss = gc.mean(h * h) + sum((gc.sum(t * t) for t in read), gc.sum(h[..., :1]) * 0.1)
    gradients = gc.grad(loss, weights)
    for w, g in zip(weights, gradients, strict=True):
        if step.chance(0.9):
            step.choose(RULES)(step, w, g)
    outputs = [loss, *(t for t in (*read, h) if step.chance(0.3))]
    outputs += [w for w in weights if step.chance(0.2)]  # as it was
    outputs += [g for g in gradients if step.chance(0.15)]
    outputs += [new for _, new in step.updates if step.chance(0.2)]
    if step.chance(0.3):  # read behind the update, as it was before
        outputs.append(gc.sum(gc.sin(step.choose(weights))))
    return gc.Graph(step.inputs, outputs, step.updates, "step"), step.arrays


def check_step(seed: int) -> None:
    """The step of a seed equals its meaning, with products in tiny blocks or as they are, and
    whatever threads can share shared.

    Errors: `AssertionError` with the seed and what differs.
    """
    graph, arrays = random_step(seed)
    shared = mock.patch.object(kernel_calls, "PARALLEL_WORK", 0)
    with shared, tiny_blocks(depth=8) if seed % 2 else nullcontext():
        function = compiled(graph)
    found = compiled_mismatch(graph, arrays, function)
    assert not found, f"random_step({seed}):\n{found}"
