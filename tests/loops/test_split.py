"""Loops that carry something: what is dear in them has loops of its own, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.checking.kernels import check_region, regions_of
from graphc.ir.graph import Graph
from graphc.loops import split, sums
from graphc.loops.grammar import For, Kernel, statements
from graphc.pipeline.pipeline import fuse_all, run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.properties.kernels import check_kernels

x = gc.placeholder("split_x", ("split_n",))
m = gc.placeholder("split_m", ("split_a", "split_b"))
Form = Callable[[Any], Any]


def kernel_of(*outputs: gc.Tensor, inputs: Any = (x,)) -> Kernel:
    program = run_pipeline(Graph(list(inputs), list(outputs)), Stages()).program
    (call,) = [s for s in walk_steps(program.steps) if isinstance(s, Call)]
    return call.kernel


def innermost(kernel: Kernel) -> list[For]:
    loops = [s for s in statements(kernel.body) if isinstance(s, For)]
    return [loop for loop in loops if not any(isinstance(s, For) for s in loop.body)]


@pytest.mark.parametrize(
    ("form", "loops"),
    [
        (lambda x: gc.cumsum(x * 2 + 1), 1),
        (lambda x: gc.cumsum(gc.exp(x)), 2),
        (lambda x: gc.exp(gc.cumsum(x)), 2),
        (lambda x: gc.log(gc.cumsum(gc.exp(x))), 3),
        (lambda x: gc.exp(x) * gc.cumsum(x), 2),
        (lambda x: gc.cumprod(gc.tanh(x)), 2),
        (lambda x: gc.logcumsumexp(x), 4),  # the largest, exp, their sum, log
        (lambda x: gc.argmax(gc.sin(x)), 2),
        (lambda x: gc.exp(x), 1),
        (lambda x: gc.sum(gc.exp(x)), 2),  # one adds up what the parts of it gave
    ],
)
def test_what_is_dear_has_loops_of_its_own(form: Form, loops: int) -> None:
    assert len(innermost(kernel_of(form(x)))) == loops


def test_rows_stay_parallel() -> None:
    outer = [
        s for s in kernel_of(gc.log(gc.cumsum(gc.exp(m), 1)), inputs=[m]).body if isinstance(s, For)
    ]
    assert [loop.parallel for loop in outer] == [True]


@pytest.fixture
def few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, turns in (("RUN", 3), ("ROWS", 2), ("STEPS", 2), ("SHORT", 1)):
        monkeypatch.setattr(sums, name, turns)
    monkeypatch.setattr(split, "BLOCK", 4)


FORMS: dict[str, Form] = {
    "before and after": lambda x: [gc.log(gc.cumsum(gc.exp(x), -1)), gc.exp(x)],
    "backwards": lambda x: [gc.tanh(gc.cumsum(gc.exp(x), -1, reverse=True)) * gc.sin(x)],
    "several states": lambda x: [
        gc.logcumsumexp(x, -1), gc.exp(gc.cummax(gc.tanh(x), -1)), gc.cumsum(x, -1)
    ],
    "one behind another": lambda x: [gc.cumsum(gc.exp(gc.cumsum(gc.tanh(x), -1) * 0.1), -1)],
    "products behind another": lambda x: [gc.cumprod(gc.cos(gc.cumprod(x, -1)), -1)],
    "positions": lambda x: [gc.argmax(gc.sin(x), -1), gc.sum(gc.sin(x), -1)],
    "sums of it": lambda x: [gc.sum(gc.exp(gc.cumsum(x, -1) * 0.1), -1), gc.cumsum(x, -1)],
    "bools": lambda x: [gc.cummax(gc.exp(x) > 1, -1), gc.where(gc.cumsum(x, -1) > 0, gc.exp(x), x)],
    "guards": lambda x: [gc.cumsum(gc.exp(gc.roll(gc.pad(x, 1), 2, -1)), -1)],
    "derivative": lambda x: [gc.grad(gc.sum(gc.sin(gc.logcumsumexp(x, -1))), x)],
}  # fmt: skip


@pytest.mark.usefixtures("few_turns")
@pytest.mark.parametrize("name", FORMS)
def test_kernels_of_small_blocks_mean_the_same(name: str) -> None:
    rng = np.random.default_rng(0)
    for given in (x, m):
        graph = fuse_all(Graph([given], FORMS[name](given)))
        for size in (0, 1, 2, 3, 4, 5, 8, 9):
            if size == 0 and name == "positions":
                continue
            shape = (size,) if given is x else (2, size)
            array = rng.standard_normal(shape).astype("float32")
            for region in regions_of(graph, [array]):
                assert not check_region(region), size


@pytest.mark.usefixtures("few_turns")
def test_random_graphs_of_small_blocks_mean_the_same() -> None:
    assert sum(map(check_kernels, range(700, 708))) > 20


def test_compiled_as_interpreted() -> None:
    data = np.random.default_rng(1).standard_normal((3, 700)).astype("float32")
    outputs = [y for name in ("before and after", "several states") for y in FORMS[name](m)]
    found = gc.compile([m], outputs)(data)
    for ours, expected in zip(found, gc.evaluate(outputs, {m: data}), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-5)
