"""The order of chains of products, and products that become loops."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.dim import size_hint
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.text import print_graph
from graphc.machines import CPU
from graphc.passes.canonical import lower_contractions
from graphc.passes.chains import LONGEST, cheapest_order, reorder_products
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, Gemm
from tests.compiling import agree


def matrices(*sizes: Any) -> list[Tensor]:
    pairs = pairwise(sizes)
    return [gc.placeholder(f"m{i}", shape, "float64") for i, shape in enumerate(pairs)]


def arrays(graph: Graph, n: int = 5) -> list[Any]:
    rng = np.random.default_rng(0)
    shapes = [[n if s == gc.dim("n") else s for s in t.shape] for t in graph.inputs]
    drawn = [rng.normal(size=shape) for shape in shapes]
    return [a.astype(t.dtype.numpy) for a, t in zip(drawn, graph.inputs, strict=True)]


def reordered(inputs: list[Tensor], *outputs: Tensor) -> Graph:
    """The graph after the pass, shown to give the same values."""
    graph = Graph(inputs, outputs)
    after = reorder_products(graph)
    values = arrays(graph)
    for a, b in zip(evaluate_graph(graph, values), evaluate_graph(after, values), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-12)
    assert reorder_products(after) is after
    assert work(after) <= work(graph)
    return after


def work(graph: Graph) -> int:
    """Multiply-adds at the hints."""
    products = [n for n in graph.nodes if n.op.name == "matmul"]
    return sum(size_hint(n.types[0].size) * size_hint(n.inputs[0].shape[-1]) for n in products)


# -- the search ------------------------------------------------------------------------------------
def brute_force(sizes: list[int]) -> int:
    if len(sizes) == 2:
        return 0
    return min(
        brute_force(sizes[: i + 1]) + brute_force(sizes[i:]) + sizes[0] * sizes[i] * sizes[-1]
        for i in range(1, len(sizes) - 1)
    )


def test_the_order_of_a_textbook() -> None:
    """Cormen, Leiserson, Rivest and Stein, Introduction to Algorithms, section 15.2."""
    cost, order = cheapest_order([30, 35, 15, 5, 10, 20, 25])
    assert cost == 15125
    assert order == ((0, (1, 2)), ((3, 4), 5))


def test_the_order_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        sizes = [int(s) for s in rng.integers(1, 30, rng.integers(2, 9))]
        assert cheapest_order(sizes)[0] == brute_force(sizes)


# -- the pass --------------------------------------------------------------------------------------
def test_a_product_with_a_vector_comes_first() -> None:
    a, b, v = matrices(50, 60, 70, 1)
    after = reordered([a, b, v], (a @ b) @ v)
    assert after.outputs[0] is a @ (b @ v)


def test_named_dims_count_as_their_hint() -> None:
    x, a, b = matrices("n", 1000, 1000, 2)
    assert reordered([x, a, b], (x @ a) @ b).outputs[0] is x @ (a @ b)
    x, a, b = matrices("n", 1000, 2, 1000)
    assert reordered([x, a, b], (x @ a) @ b).outputs[0] is (x @ a) @ b


def test_the_program_of_a_chain(golden: Any) -> None:
    a, b, c, d, v = matrices(10, 100, 5, 50, 3, 1)
    golden("chains/five_matrices", print_graph(reordered([a, b, c, d, v], a @ b @ c @ d @ v)))


def test_a_chain_is_seen_through_transposes() -> None:
    a, b, v = matrices(50, 60, 70, 1)
    row = ((a @ b).T, gc.matrix_transpose(v))
    assert row[0].shape == (70, 50)
    after = reordered([a, b, v], gc.matrix_transpose(v) @ (a @ b).T)
    assert work(after) == 70 * 60 + 60 * 50


def test_batches_of_chains() -> None:
    a, b, v = (
        gc.placeholder(f"x{i}", (3, *s), "float64")
        for i, s in enumerate(((50, 60), (60, 70), (70, 1)))
    )
    assert reordered([a, b, v], (a @ b) @ v).outputs[0] is a @ (b @ v)


def test_what_is_used_again_is_kept() -> None:
    a, b, v = matrices(50, 60, 70, 1)
    inner = a @ b
    for outputs in ([inner @ v, inner], [inner @ v, gc.exp(inner)], [inner @ v, (inner @ v) * 2]):
        graph = Graph([a, b, v], outputs)
        assert reorder_products(graph) is graph or outputs[1] is not inner
    assert reordered([a, b, v], inner @ v, gc.exp(inner)).outputs[0] is inner @ v


def test_equal_costs_stay_as_they_are() -> None:
    a, b, c = matrices(7, 7, 7, 7)
    for order in ((a @ b) @ c, a @ (b @ c)):
        assert reordered([a, b, c], order).outputs[0] is order


def test_ints_and_stretched_batches_stay_as_they_are() -> None:
    x = gc.placeholder("x", (3, 50, 60), "float64")
    _, b, v = matrices(1, 60, 70, 1)
    assert reordered([x, b, v], (x @ b) @ v).outputs[0] is (x @ b) @ v
    i = [m.astype("int64") for m in matrices(50, 60, 70, 1)]
    graph = Graph([m.node.inputs[0] for m in i], [(i[0] @ i[1]) @ i[2]])
    assert reorder_products(graph) is graph


def test_bodies_of_loops() -> None:
    a, b, v = matrices(50, 60, 50, 1)
    last, _ = gc.scan(
        lambda c, x: (((a * gc.sum(x)) @ b) @ c, x), v, gc.zeros((4, 50, 1), "float64")
    )
    graph = Graph([a, b, v], [last])
    (before,) = (n.attrs["body"] for n in graph.nodes if n.op.name == "scan")
    (after,) = (n.attrs["body"] for n in reorder_products(graph).nodes if n.op.name == "scan")
    assert work(after) < work(before)


@pytest.mark.parametrize("seed", range(8))
def test_random_chains(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 12))
    sizes = [int(s) for s in rng.choice([1, 2, 5, 20, 40], count + 1)]
    inputs = matrices(*sizes)
    alive = list(inputs)
    while len(alive) > 1:
        at = int(rng.integers(len(alive) - 1))
        product = alive[at] @ alive[at + 1]
        if rng.random() < 0.3:
            product = gc.matrix_transpose(
                gc.matrix_transpose(alive[at + 1]) @ gc.matrix_transpose(alive[at])
            )
        alive[at : at + 2] = [product]
    after = reordered(inputs, alive[0])
    assert work(after) == brute_force(sizes)


def test_a_chain_longer_than_one_search() -> None:
    inputs = matrices(*([4, 8] * LONGEST))
    product = inputs[0]
    for m in inputs[1:]:
        product = product @ m
    reordered(inputs, product)


# -- products that become loops --------------------------------------------------------------------
def kinds(inputs: list[Tensor], output: Tensor) -> list[type]:
    return [
        type(s) for s in run_pipeline(Graph(inputs, [output]), Stages(check=True)).program.steps
    ]


def test_small_products_of_a_batch_fuse_with_their_neighbours() -> None:
    x, y = (gc.placeholder(name, ("n", 3, 3)) for name in "xy")
    assert kinds([x, y], gc.tanh(x @ y) + 1) == [Call]
    rng = np.random.default_rng(0)
    calls = [[rng.normal(size=(n, 3, 3)) for _ in range(2)] for n in (0, 1, 7)]
    agree([x, y], [gc.tanh(x @ y) + 1, gc.exp(y) @ x], *calls)


@pytest.mark.parametrize(
    ("left", "right", "kind"),
    [
        (("n", 4, 4), ("n", 4, 8), Call),
        (("n", 4, 4), ("n", 4, 9), Gemm),
        ((4, 4), (4, 4), Gemm),  # one call costs less than a kernel
        (("n", "m", 4), ("n", 4, 4), Gemm),  # of unknown size
        ((50, 60), (60, 1), Call),
        ((1, 60), (60, 50), Gemm),  # down the columns
        ((1, 60), (60, 1), Call),
        (("n", 1), (1, 50), Call),
    ],
)
def test_which_products_become_loops(left: Any, right: Any, kind: type) -> None:
    assert CPU.tiny_product == 4 * 4 * 8
    x, y = gc.placeholder("x", left), gc.placeholder("y", right)
    assert kinds([x, y], x @ y) == [kind]
    rng = np.random.default_rng(0)
    shapes = [[{"n": 3, "m": 2}.get(s, s) for s in shape] for shape in (left, right)]
    agree([x, y], x @ y, [rng.normal(size=s) for s in shapes])


def test_a_transposed_matrix_is_read_along_its_rows() -> None:
    v, w = gc.placeholder("v", (60,)), gc.placeholder("w", (50, 60))
    assert kinds([v, w], v @ w.T) == [Call]
    assert kinds([v, w], w @ v) == [Call]


def test_a_batch_by_one_matrix_is_one_product() -> None:
    x, w = gc.placeholder("x", ("n", 20, 30)), gc.placeholder("w", (30, 40))
    graph = lower_contractions(Graph([x, w], [x @ w]))
    (product,) = [n for n in graph.nodes if n.op.name == "matmul"]
    assert product.types[0].shape == (gc.dim("20*n"), 40)
    rng = np.random.default_rng(0)
    agree(
        [x, w], x @ w, *([rng.normal(size=(n, 20, 30)), rng.normal(size=(30, 40))] for n in (0, 3))
    )
