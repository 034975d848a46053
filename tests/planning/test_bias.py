"""Products that add a bias by themselves: where they do, and where a kernel has to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.machines import CUDA
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Gemm, walk_steps

X, W = gc.placeholder("bias_x", ("n", 6)), gc.placeholder("bias_w", (6, 8))
B, Q = gc.placeholder("bias_b", (8,)), gc.placeholder("bias_q", ("n", 5, 6))
COLUMN = gc.placeholder("bias_column", ("n", 1))
SQUARE = gc.placeholder("bias_s", (8, 8))
WIDE = gc.placeholder("bias_d", ("n", 6), "float64")
WIDER = gc.placeholder("bias_v", (6, 8), "float64")

BIASED: dict[str, Callable[[], list[gc.Tensor]]] = {
    "behind": lambda: [X @ W + B],
    "before": lambda: [B + X @ W],
    "of a batch": lambda: [Q @ W + B],
    "of a part of a row": lambda: [gc.reshape(X @ W + B, (-1, 2, 4))],
}
NOT_BIASED: dict[str, Callable[[], list[gc.Tensor]]] = {
    "an activation": lambda: [gc.tanh(X @ W + B)],
    "another factor": lambda: [(X @ W) * B],
    "a column": lambda: [X @ W + COLUMN],
    "a whole matrix": lambda: [X @ W + X[:, :1] * B],
    "who else reads the product": lambda: [X @ W + B, gc.flip(X @ W)],
    "float64": lambda: [WIDE @ WIDER + B.astype("float64")],
    "a row of twice the columns": lambda: [
        gc.reshape(X @ W, (-1, 16)) + gc.reshape(gc.stack([B, B * 2.0]), (16,))
    ],
    "a result in place of an operand": lambda: [
        gc.scan(lambda s, q: (s @ SQUARE + B, gc.sum(q)), gc.zeros((4, 8)), Q)[0]
    ],
    "part of the product": lambda: [(X @ W)[:, :4] + B[:4]],
}


def steps(outputs: list[gc.Tensor]) -> list[Gemm]:
    inputs = [X, W, B, Q, COLUMN, SQUARE, WIDE, WIDER]
    program = run_pipeline(Graph(inputs, outputs), Stages(check=True), machine=CUDA).program
    return [step for step in walk_steps(program.steps) if isinstance(step, Gemm)]


@pytest.mark.parametrize("build", BIASED.values(), ids=list(BIASED))
def test_a_product_adds_its_bias(build: Callable[[], list[gc.Tensor]]) -> None:
    (product,) = steps(build())
    assert product.bias is not None


@pytest.mark.parametrize("build", NOT_BIASED.values(), ids=list(NOT_BIASED))
def test_a_kernel_adds_what_is_no_bias(build: Callable[[], list[gc.Tensor]]) -> None:
    assert not any(product.bias for product in steps(build()))


def test_an_operand_is_not_written_over() -> None:
    v = gc.variable(np.eye(6, dtype="float32"), "bias_variable")
    row = gc.placeholder("bias_row", (6,))
    graph = Graph([row], [], [(v, v @ v + row)])
    program = run_pipeline(graph, Stages(check=True), machine=CUDA).program
    (product,) = (step for step in walk_steps(program.steps) if isinstance(step, Gemm))
    assert product.c.ref.storage not in (product.a.ref.storage, product.b.ref.storage)


def test_explain_says_so() -> None:
    f = gc.compile([X, W, B], X @ W + B, target="cuda")
    assert "matrix product, n x 6 by 6 x 8, with (1) its bias" in f.explain()
    assert not f.kernels
    assert f.cost().at(n=3).flops == 2 * 3 * 6 * 8 + 3 * 8
