"""gc.checkpoint: the same values and gradients from less memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.ir.dim import evaluate
from graphc.ir.graph import Graph
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.check_memory import check_memory
from graphc.planning.program import Program, walk_steps

Body = Callable[..., Any]
LAYERS, BLOCK, WIDTH = 16, 4, 8


def network(wrap: Callable[[Body], Body]) -> tuple[Any, list[Any], Any]:
    """(input, weights, loss) of a deep net whose blocks of layers are wrapped."""
    rng = np.random.default_rng(0)
    x = gc.placeholder("x", ("n", WIDTH))
    weights = [
        gc.variable(rng.standard_normal((WIDTH, WIDTH)).astype("float32"), name=f"w{i}")
        for i in range(LAYERS)
    ]

    def block(h: Any, group: list[Any]) -> Any:
        for w in group:
            h = gc.tanh(h @ w)
        return h

    h = x
    for i in range(0, LAYERS, BLOCK):
        h = wrap(block)(h, weights[i : i + BLOCK])
    return x, weights, gc.mean(h * h)


def program(wrap: Callable[[Body], Body]) -> Program:
    x, weights, loss = network(wrap)
    gradients = gc.grad(loss, weights)
    updates = [(w, w - 0.1 * g) for w, g in zip(weights, gradients, strict=True)]
    return run_pipeline(Graph([x], [loss], updates), Stages(check=True)).program


def test_the_peak_is_lower() -> None:
    """All activations are alive at once; with checkpoints the blocks' inputs and those of one
    block are."""
    plain, saved = program(lambda f: f), program(gc.checkpoint)
    check_memory(saved)
    unit = 4096 * WIDTH * 4
    assert evaluate(plain.arena, {"n": 4096}) > LAYERS * unit
    assert evaluate(saved.arena, {"n": 4096}) < 13 * unit


def test_a_block_is_computed_again() -> None:
    def products(made: Program) -> int:
        return sum(type(s).__name__ == "Gemm" for s in walk_steps(made.steps))

    plain, saved = products(program(lambda f: f)), products(program(gc.checkpoint))
    assert saved - plain in range(LAYERS - LAYERS // BLOCK, LAYERS + 1)


def test_values_and_gradients_are_the_same() -> None:
    data = np.random.default_rng(1).standard_normal((5, WIDTH)).astype("float32")
    found = []
    for wrap in (lambda f: f, gc.checkpoint):
        x, weights, loss = network(wrap)
        run = gc.compile([x], [loss, *gc.grad(loss, [x, *weights])])
        found.append(run(data))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def both(function: Body, *arrays: Any) -> None:
    """Outputs and gradients of a function with and without a checkpoint, compiled and not."""
    inputs = [gc.placeholder(f"x{i}", a.shape, a.dtype) for i, a in enumerate(arrays)]
    results = []
    for f in (function, gc.checkpoint(function)):
        found = f(*inputs)
        outputs = list(found) if isinstance(found, (tuple, list)) else [found]
        loss = sum((gc.sum(gc.sin(y)) for y in outputs), start=gc.constant(0.0, "float64"))
        floats = [x for x in inputs if x.dtype.is_float]
        wanted = [*outputs, *gc.grad(loss, floats)]
        results.append(gc.evaluate(wanted, dict(zip(inputs, arrays, strict=True))))
        results.append(gc.compile(inputs, wanted, check=True)(*arrays))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


A, B = np.linspace(-2, 2, 12).reshape(3, 4), np.linspace(0.5, 1, 4)


def test_several_arguments_and_results() -> None:
    both(lambda x, y: (gc.tanh(x * y), gc.exp(y) + 1), A, B)


def test_an_argument_given_twice_or_returned_as_it_is() -> None:
    both(lambda x: gc.checkpoint(lambda a, b: gc.tanh(a) * gc.sin(b))(x, x), A)
    both(lambda x, y: (x, gc.exp(y)), A, B)


def test_checkpoints_inside_one_another() -> None:
    both(lambda x: gc.sin(gc.checkpoint(lambda t: gc.exp(gc.tanh(t)))(x)), A)


def test_random_numbers_are_the_same_again() -> None:
    key = gc.random.key(3)
    both(lambda x: gc.tanh(x) * gc.random.uniform(key, (3, 4), dtype="float64"), A)


def test_integers_and_moved_operands() -> None:
    indices = np.array([2, 0, 1])
    both(lambda x, i: gc.take(gc.exp(x), i, axis=0), A, indices)
    both(lambda x: gc.tanh(gc.permute_dims(x, (1, 0)) @ x), A)


def test_inside_a_loop() -> None:
    def step(carry: Any, x: Any) -> Any:
        new = gc.checkpoint(lambda c, v: gc.tanh(gc.sin(c) * v))(carry, x)
        return new, new

    both(lambda x, c: gc.scan(step, c, x)[1], A, B)


def test_second_derivatives() -> None:
    x = gc.placeholder("x", (), "float64")
    values = []
    for wrap in (lambda f: f, gc.checkpoint):
        y = wrap(lambda t: gc.exp(gc.sin(t)))(x)
        values.append(float(gc.evaluate(gc.grad(gc.grad(y, x), x), {x: np.float64(0.7)})))
    s, c = np.sin(0.7), np.cos(0.7)
    np.testing.assert_allclose(values, np.exp(s) * (c * c - s), rtol=1e-12)


def test_the_same_function_without_a_checkpoint_before() -> None:
    """Nodes are interned: that the plain values exist already must not keep them."""
    assert program(gc.checkpoint).arena == program(gc.checkpoint).arena
    plain = program(lambda f: f)
    assert str(program(gc.checkpoint).arena) != str(plain.arena)


def test_what_is_no_tensor() -> None:
    with pytest.raises(ArgumentError, match="not a tensor"):
        gc.checkpoint(lambda x: "text")(gc.placeholder("x", ()))
