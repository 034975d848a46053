"""Derivatives of mapped functions, maps of derivatives, and both compiled."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.autodiff.batching import batched
from graphc.errors import RuntimeFailure
from graphc.ir.graph import Graph
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, Gemm, walk_steps

from .mapped import RNG, given, stack_of_calls


def _network(layers: Sequence[tuple[Any, Any]], x: gc.Tensor) -> gc.Tensor:
    for w, b in layers[:-1]:
        x = gc.tanh(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


def _layers(*sizes: int) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    return [
        (gc.variable(rng.normal(size=(m, n)) / 4), gc.variable(rng.normal(size=n)))
        for m, n in pairwise(sizes)
    ]


def _loss(layers: Sequence[tuple[Any, Any]], x: gc.Tensor, y: gc.Tensor) -> gc.Tensor:
    return gc.softmax_cross_entropy(_network(layers, x), y)


def test_gradients_of_each_example() -> None:
    """As of examples one by one; their sum is the gradient of the sum."""
    layers = _layers(8, 16, 12, 10)
    parameters = [v for layer in layers for v in layer]
    x, y = given("mx", "b", 8), given("my", "b", dtype="int64")

    each = gc.vmap(lambda x, y: gc.grad(_loss(layers, x, y), parameters))(x, y)
    total = gc.grad(gc.sum(_loss(layers, x, y)), parameters)
    a, labels = RNG.normal(size=(5, 8)), RNG.integers(0, 10, 5)
    run = gc.compile([x, y], [*each, *total], name="vmap_each")
    values = run(a, labels)
    for one, summed in zip(values[: len(each)], values[len(each) :], strict=True):
        np.testing.assert_allclose(one.sum(0), summed, rtol=1e-11, atol=1e-13)
    first = gc.evaluate(gc.grad(_loss(layers, x[0], y[0]), parameters), {x: a[:1], y: labels[:1]})
    for one, value in zip(values[: len(each)], first, strict=True):
        np.testing.assert_allclose(one[0], value, rtol=1e-11, atol=1e-13)


def test_gradients_of_each_example_have_the_products_of_a_batch() -> None:
    """One product for each layer forward, one for each but the first backward. The gradients of
    weights, which are three more products for a batch, are outer products of each example, each a
    kernel of its own."""
    layers = _layers(32, 64, 48, 40)
    x, y = given("gx", "b", 32), given("gy", "b", dtype="int64")
    parameters = [v for layer in layers for v in layer]
    each = gc.vmap(lambda x, y: gc.grad(_loss(layers, x, y), parameters))(x, y)
    total = gc.grad(gc.sum(_loss(layers, x, y)), parameters)
    found = [run_pipeline(Graph([x, y], made), Stages()).program for made in (each, total)]
    steps = [list(walk_steps(program.steps)) for program in found]
    assert [sum(isinstance(s, Gemm) for s in program) for program in steps] == [5, 8]
    assert [sum(isinstance(s, Call) for s in program) for program in steps] == [8, 5]


@pytest.mark.parametrize(
    "f",
    [
        lambda v: gc.sum(gc.take(gc.sin(v), gc.constant(np.array([1, 0, 1]))) * v),
        lambda v: gc.sum(gc.log_softmax(v) * gc.flip(v)),
        lambda v: gc.max(v) * gc.min(gc.square(v)) + gc.prod(v),
        lambda v: gc.linalg.det(gc.outer(v, v) + np.eye(3)) + v[-1],
        lambda v: gc.checkpoint(lambda t: gc.sum(gc.exp(t) * gc.pad(t, (0, 1))[1:]))(v),
        lambda v: gc.sum(gc.where(v > 0, gc.sqrt(v), 0.0) * gc.concat([v[:1], v[:-1]])),
    ],
)
def test_derivatives_in_either_order(f: Any) -> None:
    """grad of vmap, vmap of grad, and compiled, are the gradients one by one."""
    x, a = given("x", "b", 3), RNG.normal(size=(4, 3))
    expected = stack_of_calls(lambda v: gc.grad(f(v), v), a)
    both = [gc.vmap(lambda v: gc.grad(f(v), v))(x), gc.grad(gc.sum(gc.vmap(f)(x)), x)]
    for found in gc.evaluate(both, {x: a}):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def test_indices_of_each_element_compiled_with_their_gradient() -> None:
    @gc.jit
    def both(x: Any, i: Any) -> Any:
        def f(v: Any, at: Any) -> Any:
            return gc.sum(gc.square(gc.take(v, at)))

        return gc.vmap(lambda v, at: (f(v, at), gc.grad(f(v, at), v)))(x, i)

    a, at = RNG.normal(size=(3, 6)), RNG.integers(-6, 6, (3, 4))
    value, slope = both(a, at)
    rows = np.arange(3)[:, None]
    expected = np.zeros_like(a)
    np.add.at(expected, (rows, at), 2 * a[rows, at])
    np.testing.assert_allclose(value, np.square(a[rows, at]).sum(1), rtol=1e-12)
    np.testing.assert_allclose(slope, expected, rtol=1e-12)
    with pytest.raises(RuntimeFailure):
        both(a, at + 6)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_sizes_of_the_batch(size: int) -> None:
    x = given("x", "b", 2, 3)
    f = gc.compile([x], gc.vmap(lambda v: gc.softmax(v @ v.T, 0) + gc.max(v))(x), name="vmap_sizes")
    a = RNG.normal(size=(size, 2, 3))
    p = np.exp(a @ a.swapaxes(1, 2))
    expected = p / p.sum(1, keepdims=True) + a.max((1, 2), initial=-np.inf)[:, None, None]
    np.testing.assert_allclose(f(a), expected, rtol=1e-12)


def test_cotangents_as_a_batch_make_a_jacobian() -> None:
    """What derivatives are made of: a graph that was there, batched over its cotangent."""
    x, g = given("x", 3), given("g", 2)
    y = gc.stack([gc.prod(x), gc.sum(gc.sin(x))])
    (rows,) = batched([gc.vjp(y, x, g)], {g: gc.constant(np.eye(2))}, 2)
    a = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(gc.evaluate(rows, {x: a}), [[6, 3, 2], np.cos(a)], rtol=1e-12)


def test_roots_and_hessians_of_each_element() -> None:
    x = given("roots", "b")
    f = lambda v: gc.root(lambda t: t * t * t - v, v)  # noqa: E731
    slopes = [gc.vmap(lambda v: gc.grad(f(v), v))(x), gc.grad(gc.sum(gc.vmap(f)(x)), x)]
    a = np.array([1.0, 8.0, 27.0])
    roots, *found = gc.evaluate([gc.vmap(f)(x), *slopes], {x: a})
    np.testing.assert_allclose(roots, [1, 2, 3], rtol=1e-9)
    for slope in found:
        np.testing.assert_allclose(slope, 1 / (3 * roots**2), rtol=1e-9)
    m = given("hessians", "b", 3)
    h = gc.vmap(lambda v: gc.hessian(gc.prod(v), v))(m)
    b = RNG.normal(size=(2, 3))
    expected = [[[0, r[2], r[1]], [r[2], 0, r[0]], [r[1], r[0], 0]] for r in b]
    np.testing.assert_allclose(gc.evaluate(h, {m: b}), expected, rtol=1e-12, atol=1e-15)
