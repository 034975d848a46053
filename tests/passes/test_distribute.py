"""distribute_products: which products leave a loop, which stay, and the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.op import Kind
from graphc.ops.scan import SCAN
from graphc.passes.distribute import distribute_products
from graphc.passes.scans import drop_unused_outputs, merge_scans
from graphc.pipeline.options import Options
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from tests.properties.networks import random_network

ROWS, WIDTH = 3, 4
Step = Callable[[Any, Any], Any]


def f64(name: str, *shape: Any) -> gc.Tensor:
    return gc.placeholder(name, shape, "float64")


X, H = f64("x", "t", ROWS, WIDTH), f64("h", ROWS, WIDTH)
A, B, C = (f64(name, WIDTH, WIDTH) for name in "abc")
INPUTS = [X, H, A, B, C]


def bodies(graph: Graph) -> list[Graph]:
    found = [v for n in graph.nodes for v in n.attrs.values() if isinstance(v, Graph)]
    return found + [inner for body in found for inner in bodies(body)]


def products(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if n.op.kind is Kind.CONTRACT]


def inside(graph: Graph) -> int:
    """Products in the bodies of loops."""
    return sum(len(products(body)) for body in bodies(graph))


def cleaned(graph: Graph) -> Graph:
    return drop_unused_outputs(merge_scans(graph))


def arrays(graph: Graph, steps: int) -> list[Any]:
    rng = np.random.default_rng(7)
    shapes = ([steps if d == gc.dim("t") else d for d in t.shape] for t in graph.inputs)
    return [rng.normal(size=shape) for shape in shapes]


def assert_same_values(before: Graph, after: Graph) -> None:
    for steps in (0, 1, 5):
        given = arrays(before, steps)
        pairs = zip(evaluate_graph(before, given), evaluate_graph(after, given), strict=True)
        for expected, actual in pairs:
            np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def moved(outputs: list[Any], inputs: list[Any] = INPUTS) -> tuple[int, int, Graph]:
    """The products in loops before and after, and the graph after."""
    before = cleaned(Graph(inputs, outputs))
    after = distribute_products(before)
    assert_same_values(before, after)
    return inside(before), inside(after), after


# -- what leaves -----------------------------------------------------------------------------------
def test_a_product_of_an_x_goes_before_the_loop() -> None:
    last, ys = gc.scan(lambda h, x: ((g := gc.tanh(x @ A + h @ B)), g), H, X)
    was, is_, after = moved([last, ys])
    assert (was, is_) == (2, 1)
    (loop,) = (n for n in after.nodes if n.op is SCAN)
    assert not {A, X} & set(loop.inputs)
    assert [t is u for t, u in zip(products(after)[0].inputs, (X, A), strict=True)]


def test_a_product_of_products_of_an_x_goes_too() -> None:
    assert moved([gc.scan(lambda h, x: (gc.tanh(h + x @ A @ B), h), H, X)[1]])[:2] == (2, 0)


def test_a_product_that_is_a_y_goes_after_the_loop() -> None:
    def step(h: Any, x: Any) -> Any:
        h = gc.tanh(h @ A + x)
        return h, h @ B

    assert moved([gc.scan(step, H, X)[1]])[:2] == (2, 1)
    assert moved([gc.scan(step, H, X, reverse=True)[1]])[:2] == (2, 1)


def test_the_gradients_of_weights_are_products_over_all_steps() -> None:
    _, ys = gc.scan(lambda h, x: ((g := gc.tanh(x @ A + h @ B)), g), H, X)
    was, is_, after = moved([ys, *gc.grad(gc.sum(ys * ys), [X, A, B])])
    assert (was, is_) == (6, 2)  # of a step: h @ b, and what takes its cotangent back
    carried = [t for n in after.nodes if n.op is SCAN for t in n.inputs[: n.attrs["carries"]]]
    assert all(t.shape == H.shape for t in carried)


def test_the_gradient_of_a_bias_is_a_sum_over_all_steps() -> None:
    """Of what the products of the weights' gradients need anyhow; in either direction."""
    bias = f64("bias", WIDTH)

    def step(h: Any, x: Any) -> Any:
        g = gc.tanh(x @ A + h @ B + bias)
        return g, g

    for reverse in (False, True):
        _, ys = gc.scan(step, H, X, reverse=reverse)
        _, _, after = moved([ys, *gc.grad(gc.sum(ys * ys), [A, B, bias])], [*INPUTS, bias])
        inner = [n.op.name for body in bodies(after) for n in body.nodes]
        assert "sum" not in inner
        carried = [t for n in after.nodes if n.op is SCAN for t in n.inputs[: n.attrs["carries"]]]
        assert all(t.shape == H.shape for t in carried)
    alone, _ = gc.scan(lambda s, x: (s + gc.sum(gc.tanh(x)), None), f64("h"), X)
    before = Graph([X, f64("h")], [alone])
    assert distribute_products(before) is before  # nobody else needs what would be stacked


def test_a_weight_that_a_step_uses_twice() -> None:
    _, ys = gc.scan(lambda h, x: ((g := gc.tanh(x @ A + gc.tanh(h @ A) @ A)), g), H, X)
    assert moved([gc.grad(gc.sum(ys * ys), A)])[:2] == (8, 4)


def test_products_of_vectors_and_of_what_is_moved() -> None:
    x, h = f64("x", "t", WIDTH), f64("h", WIDTH)
    _, ys = gc.scan(lambda h, x: ((g := gc.tanh(x @ A + h @ B)), g @ C), h, x)
    outputs = [ys, *gc.grad(gc.sum(ys * ys), [x, A, C])]
    assert moved(outputs, [x, h, A, B, C])[1] == 2
    Z = f64("z", "t", WIDTH, WIDTH)
    turned = gc.scan(lambda h, x: (h + gc.matrix_transpose(x) @ A, None), A, Z)[0]
    assert inside(distribute_products(Graph([A, Z], [turned]))) == 0


def test_matrices_made_of_operands_are_made_outside() -> None:
    w = [gc.tanh(A) @ B]  # captured as it is

    def step(h: Any, x: Any) -> Any:
        return gc.tanh(x @ gc.matrix_transpose(w[0]) + h), None

    was, is_, after = moved([gc.scan(step, H, X)[0]])
    assert (was, is_) == (1, 0)
    assert len(products(after)) == 2


def test_products_leave_nested_loops() -> None:
    x = f64("x", "t", 4, ROWS, WIDTH)

    def outer(h: Any, rows: Any) -> Any:
        return gc.scan(lambda h, row: ((g := gc.tanh(row @ A + h)), g @ B), h, rows)

    _, ys = gc.scan(outer, H, x)
    before = Graph([x, H, A, B], [ys])
    after = distribute_products(before)
    assert (inside(before), inside(after), len(products(after))) == (2, 0, 2)
    assert_same_values(before, after)


def test_origins_are_those_of_the_product() -> None:
    _, ys = gc.scan(lambda h, x: (gc.tanh(x @ A + h), h), H, X)
    before = Graph(INPUTS, [ys])
    (inner,), (outer,) = products(bodies(before)[0]), products(distribute_products(before))
    assert outer.origins == inner.origins


# -- what stays ------------------------------------------------------------------------------------
def stays(step: Step, carry: Any = H, xs: Any = X, inputs: list[Any] = INPUTS) -> None:
    last, ys = gc.scan(step, carry, xs)
    graph = Graph(inputs, [last, *([] if ys is None else [ys])])
    assert products(bodies(graph)[0])
    assert distribute_products(graph) is graph


def test_products_that_the_next_step_waits_for() -> None:
    stays(lambda h, x: (gc.tanh(h @ A + x), h))
    stays(lambda h, x: (gc.tanh((x + h) @ A), h))  # what is multiplied depends on the carry
    stays(lambda h, x: (gc.tanh(h @ (A * x[0])), h))  # the matrix is another in each step


def test_a_sum_that_a_step_reads() -> None:
    stays(lambda s, x: (s + x.T @ gc.tanh(x), gc.sum(s)), A)
    stays(lambda s, x: ((t := s + x.T @ gc.tanh(x)), t), A)
    stays(lambda s, x: (s * 0.5 + x.T @ gc.tanh(x), None), A)
    stays(lambda s, x: (s + x.T @ gc.tanh(x) + x[0], None), A)


def test_products_of_ints() -> None:
    x, w = gc.placeholder("x", ("t", 2, 3), "int64"), gc.placeholder("w", (3, 3), "int64")
    stays(lambda h, x: (h + x @ w, None), gc.zeros((2, 3), "int64"), x, [x, w])


def test_products_of_many_rows() -> None:
    for rows, left in ((64, 0), (65, 1)):
        x, h = f64("x", "t", rows, WIDTH), f64("h", rows, WIDTH)
        last, _ = gc.scan(lambda h, x: (gc.tanh(x @ A + h), None), h, x)
        assert inside(distribute_products(Graph([x, h, A], [last]))) == left
        total, _ = gc.scan(lambda s, x: (s + x.T @ x, None), A, x)
        assert inside(distribute_products(Graph([x, A], [total]))) == left


def test_what_would_take_much_memory() -> None:
    """Three numbers a step of x; a hundred of the product."""
    x, w = f64("x", "t", ROWS, 3), f64("w", 3, 100)
    stays(lambda h, x: (gc.tanh(h + gc.sum(x @ w)), None), f64("h"), x, [x, w, f64("h")])
    # A sum of 3 x 3 numbers, of factors with 64 x 3.
    wide = f64("x", "t", 64, 3)
    stays(lambda s, x: (s + gc.tanh(x).T @ gc.sin(x), None), f64("s", 3, 3), wide,
          [wide, f64("s", 3, 3)])  # fmt: skip


# -- whole programs --------------------------------------------------------------------------------
def test_random_networks() -> None:
    fewer = 0
    for seed in range(60):
        graph, calls = random_network(seed)
        before = cleaned(graph)
        after = distribute_products(before)
        for given in calls:
            pairs = zip(evaluate_graph(before, given), evaluate_graph(after, given), strict=True)
            for expected, actual in pairs:
                rtol = 1e-12 if expected.dtype == np.float64 else 1e-4
                np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)
        assert inside(distribute_products(after)) == inside(after)
        fewer += inside(after) < inside(before)
    assert fewer > 50


def test_with_a_memory_budget_loops_stay_whole() -> None:
    last, _ = gc.scan(lambda h, x: (gc.tanh(x @ A + h), None), H, X)
    for budget, expected in ((None, 0), (1 << 30, 1)):
        options = Options(memory_budget=budget)
        compiled = run_pipeline(Graph(INPUTS, [last]), Stages(), options=options)
        assert inside(compiled.optimized) == expected
