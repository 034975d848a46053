"""What of a gradient products do by themselves: the mask of relu, sums of columns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.machines import CUDA
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, Epilogue, Gemm, Program, walk_steps

X, W = gc.placeholder("masked_x", ("n", 6)), gc.placeholder("masked_w", (6, 8))
B, U = gc.placeholder("masked_b", (8,)), gc.placeholder("masked_u", (8, 5))
C, V = gc.placeholder("masked_c", (5,)), gc.placeholder("masked_v", (5, 3))
Q = gc.placeholder("masked_q", ("n", 4, 6))
R = gc.variable([[0.0] * 5] * 8, "masked_r", dtype="float32")
INPUTS = [X, W, B, U, C, V, Q]
WRT = [W, B, U, C, V]


def loss(activation: Callable[[gc.Tensor], gc.Tensor], x: gc.Tensor = X) -> gc.Tensor:
    hidden = activation(activation(x @ W + B) @ U + C)
    return gc.sum(gc.square(hidden @ V))


def program(outputs: list[gc.Tensor], updates: list[tuple[gc.Variable, gc.Tensor]]) -> Program:
    graph = Graph(INPUTS, outputs, updates)
    return run_pipeline(graph, Stages(check=True), machine=CUDA).program


def found(outputs: list[gc.Tensor]) -> tuple[list[Epilogue], int, int]:
    """The epilogues of products; how many kernels always run, and how many where these do not."""
    steps = list(walk_steps(program(outputs, []).steps))
    epilogues = [s.epilogue for s in steps if isinstance(s, Gemm) and s.epilogue is not None]
    spared = [s.spared for s in steps if isinstance(s, Call)]
    return epilogues, spared.count(False), spared.count(True)


def count(epilogues: list[Epilogue], name: str) -> int:
    return sum(getattr(epilogue, name) is not None for epilogue in epilogues)


def test_the_backward_pass_of_a_perceptron_is_products() -> None:
    epilogues, kernels, spared = found(gc.grad(loss(gc.relu), WRT))
    names = ("keeps", "masked", "sums")
    assert [count(epilogues, name) for name in names] == [2, 2, 2]
    assert (kernels, spared) == (0, 4)
    kept = {e.keeps for e in epilogues} - {None}
    assert kept == {e.masked for e in epilogues} - {None}


def test_a_gradient_of_another_activation_gives_up_its_sums() -> None:
    epilogues, kernels, spared = found(gc.grad(loss(gc.tanh), WRT))
    assert [count(epilogues, name) for name in ("keeps", "masked", "sums")] == [0, 0, 2]
    assert spared == 2
    assert kernels


def test_a_weight_that_is_read_and_updated_meanwhile() -> None:
    """The product waits for nothing: the update of the weight is behind it."""
    hidden = gc.relu(X @ W + B)
    cost = gc.sum(gc.square(hidden @ R))
    update = R - 0.5 * gc.grad(cost, R)
    steps = list(walk_steps(program(gc.grad(cost, [W, B]), [(R, update)]).steps))
    epilogues = [s.epilogue for s in steps if isinstance(s, Gemm) and s.epilogue is not None]
    assert [count(epilogues, name) for name in ("keeps", "masked", "sums")] == [1, 1, 1]


NOT: dict[str, Callable[[], list[gc.Tensor]]] = {
    "float64": lambda: gc.grad(
        gc.sum(gc.relu(X.astype("float64") @ W.astype("float64")) ** 2), [W]
    ),
    "who else wants the product": lambda: [
        *gc.grad(gc.sum(gc.tanh(gc.relu(X @ W) @ U)), [W]),
        gc.relu(X @ W) * 2.0,
    ][-1:],
    "relu of no product": lambda: gc.grad(gc.sum(gc.square(gc.relu(X) @ W)), [X]),
    "a sum of rows": lambda: [gc.sum(gc.tanh(X @ W), axis=1)],
    "a sum that no product reads": lambda: [gc.sum(gc.tanh(X @ W), axis=0)],
}


@pytest.mark.parametrize("build", NOT.values(), ids=list(NOT))
def test_what_kernels_do(build: Callable[[], list[gc.Tensor]]) -> None:
    epilogues, kernels, spared = found(build())
    assert not any(count(epilogues, name) for name in ("keeps", "masked", "sums"))
    assert kernels
    assert not spared


def test_explain_and_cost_say_so() -> None:
    f = gc.compile(INPUTS, gc.grad(loss(gc.relu), WRT), target="cuda")
    said = f.explain()
    assert said.count("which keeps where it is positive") == 2
    assert said.count("which adds up the columns of what is on its right") == 2
    assert said.count("the same, where the library does not") == 4
    assert all(step.kind == "product" for step in f.cost().steps)
