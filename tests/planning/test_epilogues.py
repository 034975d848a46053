"""What products do to their result by themselves, and what a kernel has to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.machines import CUDA
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, Epilogue, Gemm, Step, walk_steps

X, W = gc.placeholder("bias_x", ("n", 6)), gc.placeholder("bias_w", (6, 8))
B, Q = gc.placeholder("bias_b", (8,)), gc.placeholder("bias_q", ("n", 5, 6))
COLUMN = gc.placeholder("bias_column", ("n", 1))
SQUARE = gc.placeholder("bias_s", (8, 8))
WIDE = gc.placeholder("bias_d", ("n", 6), "float64")
WIDER = gc.placeholder("bias_v", (6, 8), "float64")
Y = gc.placeholder("bias_y", ("n", 8))
INPUTS = [X, W, B, Q, COLUMN, SQUARE, WIDE, WIDER, Y]

BIASED: dict[str, Callable[[], list[gc.Tensor]]] = {
    "behind": lambda: [X @ W + B],
    "before": lambda: [B + X @ W],
    "of a batch": lambda: [Q @ W + B],
    "of a part of a row": lambda: [gc.reshape(X @ W + B, (-1, 2, 4))],
}
ADDED: dict[str, tuple[Callable[[], list[gc.Tensor]], float]] = {
    "a residual": (lambda: [Y + X @ W], 1.0),
    "a step of descent": (lambda: [Y - 0.5 * (X @ W)], -0.5),
    "a product alone": (lambda: [(X @ W) * -3.0], -3.0),
    "a difference": (lambda: [(X @ W) - Y * 1.0 - B], 0.0),  # what is taken away is no epilogue
    "of float64": (lambda: [WIDE @ WIDER * 0.25 + Y.astype("float64")], 0.0),  # converted: no array
    "of a sum over rows": (lambda: [SQUARE - 0.125 * (Y.T @ Y)], -0.125),
}
NOT: dict[str, Callable[[], list[gc.Tensor]]] = {
    "an activation": lambda: [gc.tanh(X @ W + B)],
    "relu of float64": lambda: [gc.relu(WIDE @ WIDER)],
    "another factor": lambda: [(X @ W) * B],
    "a column": lambda: [X @ W + COLUMN],
    "a matrix that is made there": lambda: [X @ W + X[:, :1] * B],
    "two arrays": lambda: [X @ W + Y + gc.flip(Y, 1)],
    "who else reads the product": lambda: [X @ W + B, gc.flip(X @ W)],
    "a bias of float64": lambda: [WIDE @ WIDER + B.astype("float64")],
    "a row of twice the columns": lambda: [
        gc.reshape(X @ W, (-1, 16)) + gc.reshape(gc.stack([B, B * 2.0]), (16,))
    ],
    "a result in place of an operand": lambda: [
        gc.scan(lambda s, q: (s @ SQUARE + B, gc.sum(q)), gc.zeros((4, 8)), Q)[0]
    ],
    "part of the product": lambda: [(X @ W)[:, :4] + B[:4]],
}


def steps(outputs: list[gc.Tensor]) -> list[Step]:
    program = run_pipeline(Graph(INPUTS, outputs), Stages(check=True), machine=CUDA).program
    return list(walk_steps(program.steps))


def epilogues(found: list[Step]) -> list[Epilogue]:
    return [s.epilogue for s in found if isinstance(s, Gemm) and s.epilogue is not None]


def kernels(found: list[Step]) -> int:
    return sum(isinstance(step, Call) for step in found)


@pytest.mark.parametrize("build", BIASED.values(), ids=list(BIASED))
def test_a_product_adds_its_bias(build: Callable[[], list[gc.Tensor]]) -> None:
    found = steps(build())
    (epilogue,) = epilogues(found)
    assert epilogue.row is not None
    assert epilogue.added is None
    assert not kernels(found)


@pytest.mark.parametrize(("build", "scale"), ADDED.values(), ids=list(ADDED))
def test_a_product_is_scaled_and_added(
    build: Callable[[], list[gc.Tensor]], scale: float
) -> None:
    found = steps(build())
    assert [e.scale for e in epilogues(found)] == ([scale] if scale else [])
    assert kernels(found) == (not scale)


def test_products_are_added_up() -> None:
    found = steps([X @ W + Y @ SQUARE - 2.0 * (X @ W[:, ::-1])])
    first, second, third = (s for s in found if isinstance(s, Gemm) and s.epilogue is not None)
    done = epilogues([first, second, third])
    assert sorted(e.scale for e in done) == [-2.0, 1.0, 1.0]
    assert [e.added for e in done] == [None, first.c.ref, first.c.ref]
    assert second.c.ref == third.c.ref == first.c.ref
    assert [e.node is None for e in done] == [True, True, False]  # whose work is counted once


@pytest.mark.parametrize("build", [lambda: X @ W + B, lambda: X @ W, lambda: Y + X @ W])
def test_relu(build: Callable[[], gc.Tensor]) -> None:
    found = steps([gc.relu(build())])
    (epilogue,) = epilogues(found)
    assert epilogue.positive
    assert not kernels(found)


@pytest.mark.parametrize("build", NOT.values(), ids=list(NOT))
def test_what_a_kernel_has_to_do(build: Callable[[], list[gc.Tensor]]) -> None:
    found = steps(build())
    assert not epilogues(found)
    assert kernels(found)


def test_an_operand_is_not_written_over() -> None:
    v = gc.variable(np.eye(6, dtype="float32"), "bias_variable")
    row = gc.placeholder("bias_row", (6,))
    for new in (v @ v + row, v - 0.5 * (v @ v)):
        graph = Graph([row], [], [(v, new)])
        program = run_pipeline(graph, Stages(check=True), machine=CUDA).program
        (product,) = (step for step in walk_steps(program.steps) if isinstance(step, Gemm))
        assert product.c.ref.storage not in (product.a.ref.storage, product.b.ref.storage)


def test_a_weight_is_updated_where_it_is_once_it_has_been_read() -> None:
    """The product waits until another one has read the weight."""
    w = gc.variable(np.ones((6, 8), "float32"), "bias_weight")
    loss = gc.sum(gc.tanh(gc.tanh(X * 2.0) @ w))
    x, new = gc.grad(loss, X), w - 0.5 * gc.grad(loss, w)
    program = run_pipeline(Graph([X], [x], [(w, new)]), Stages(check=True), machine=CUDA).program
    updates = [s for s in walk_steps(program.steps) if isinstance(s, Gemm) and s.epilogue]
    (update,) = updates
    assert update.c.ref.storage.kind == "variable"
    assert update.epilogue is not None
    assert update.epilogue.added == update.c.ref
    behind = program.steps[program.steps.index(update) + 1 :]
    assert not any(isinstance(step, Gemm) for step in behind)


def test_explain_says_so() -> None:
    f = gc.compile([X, W, B], X @ W + B, target="cuda")
    assert "matrix product, n x 6 by 6 x 8, with (1) add over (n, 8)" in f.explain()
    assert not f.kernels
    cost = f.cost().at(n=3)
    assert cost.flops == 2 * 3 * 6 * 8 + 3 * 8
    assert cost.bytes == 4 * (3 * 6 + 6 * 8 + 8 + 3 * 8)
