"""Kernels that take up a product in blocks: where they may, where they must wait, and in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CompileError
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.check_memory import check_memory
from graphc.planning.program import Blocks, Loop, Program, walk_steps

Build = Callable[[gc.Tensor, gc.Tensor], gc.Tensor | list[gc.Tensor]]


def compiled(build: Build, n: int | str = "n", k: int = 20, m: int = 30) -> Program:
    x, w = gc.placeholder("x", (n, k)), gc.placeholder("w", (k, m))
    made = build(x, w)
    outputs = made if isinstance(made, list) else [made]
    program = run_pipeline(gc.Graph([x, w], outputs), Stages(check=True)).program
    check_memory(program)
    return program


def blocks(program: Program) -> list[Blocks]:
    return [s for s in walk_steps(program.steps) if isinstance(s, Blocks)]


JOINED: dict[str, tuple[Build, str]] = {  # and the turns of the kernel's loop for each row
    "activation": (lambda x, w: gc.tanh(x @ w), "30"),
    "bias and activation": (lambda x, w: gc.maximum(x @ w + w[0], 0), "1"),
    "residual": (lambda x, w: x + (x @ w) @ w.T, "20"),
    "softmax": (lambda x, w: gc.softmax(x @ w), "1"),
    "row sums": (lambda x, w: gc.sum(x @ w, axis=1), "1"),
    "part of each row": (lambda x, w: gc.exp((x @ w)[:, 3:7]), "1"),
    "softmax by matrices": (lambda x, w: gc.softmax(gc.stack([x, x]) @ gc.stack([w, w])), "n"),
}


@pytest.mark.parametrize("name", JOINED)
def test_a_kernel_that_reads_row_by_row_is_joined(name: str) -> None:
    build, turns = JOINED[name]
    found = blocks(compiled(build))
    assert str(found[-1].turns) == turns


APART: dict[str, Build] = {
    "column sums": lambda x, w: gc.sum(x @ w, axis=0),
    "transposed": lambda x, w: gc.exp((x @ w).T) + gc.zeros((30, 1)),
    "upside down": lambda x, w: gc.exp((x @ w)[::-1]),
    "shifted": lambda x, w: (x @ w)[1:] - (x @ w)[:-1],
    "gathered": lambda x, w: gc.take(x @ w, gc.astype(x[:, 0], "int64"), axis=0) * 2,
    "pairs of rows": lambda x, w: gc.sum(gc.reshape(x @ w, (-1, 60)), axis=1),
}


@pytest.mark.parametrize("name", APART)
def test_a_kernel_that_reads_other_rows_waits(name: str) -> None:
    n = 40 if name == "pairs of rows" else "n"
    assert not blocks(compiled(APART[name], n=n))


def test_a_product_of_many_columns_comes_whole() -> None:
    assert blocks(compiled(lambda x, w: gc.tanh(x @ w), k=5000, m=512))
    assert blocks(compiled(lambda x, w: gc.tanh(x @ w), k=50, m=513))  # packed
    assert not blocks(compiled(lambda x, w: gc.tanh(x @ w), n=50, k=50, m=513))
    assert not blocks(compiled(lambda x, w: gc.tanh(x @ w), k=50, m=2049))


def test_of_many_columns_some_are_computed_at_a_time() -> None:
    """So each thread packs what it multiplies by, and a program has no memory for it; where the
    left operand is stored transposed, it would be read from far apart too often."""
    shapes = ((70, 40), (40, 70), (40, 600), (600, 40))
    x, u, w, v = (gc.placeholder(f"many_{i}", shape) for i, shape in enumerate(shapes))
    for product, by_columns in ((x @ w, True), (x @ v.T, True), (u.T @ w, False)):
        for taken in (product, gc.tanh(product)):
            program = run_pipeline(gc.Graph([x, u, w, v], [taken]), Stages(check=True)).program
            (step,) = blocks(program) or program.steps
            found = step.product if isinstance(step, Blocks) else step
            assert found.by_columns == by_columns
            assert (found.packed is None) == by_columns == (not program.temps)


def test_what_later_rows_are_computed_from_is_not_overwritten() -> None:
    w = gc.variable(np.eye(20, dtype="f4"))
    x = gc.placeholder("x", (20, 20))
    for new in (x @ w, w.T @ x):
        updated = run_pipeline(gc.Graph([x], [], [(w, gc.tanh(new))]), Stages(check=True)).program
        assert not blocks(updated)
    rows = run_pipeline(gc.Graph([x], [], [(w, gc.tanh(w @ x))]), Stages(check=True)).program
    assert len(blocks(rows)) == 1  # each row of w comes from that row alone
    other = run_pipeline(gc.Graph([x], [], [(w, w - x @ x)]), Stages(check=True)).program
    assert len(blocks(other)) == 1


def test_the_result_takes_the_place_of_the_product() -> None:
    program = compiled(lambda x, w: gc.maximum(x @ w + w[0], 0))
    assert not program.temps
    (block,) = blocks(program)
    assert block.product.c.ref in block.call.written
    kept = compiled(lambda x, w: [gc.softmax(x @ w)])  # reads the row again after it has written
    assert len(kept.temps) == 1
    both = compiled(lambda x, w: [x @ w, gc.tanh(x @ w)])
    (block,) = blocks(both)
    assert block.product.c.ref not in block.call.written


def test_a_product_over_its_own_operand_is_found() -> None:
    (block,) = blocks(program := compiled(lambda x, w: gc.softmax(x @ w)))
    block.product.c = replace(block.product.c, ref=block.product.a.ref)
    with pytest.raises(CompileError, match="a product writes over what it reads"):
        check_memory(program)


def test_in_the_body_of_a_loop() -> None:
    w = gc.variable(np.eye(4, dtype="f4"))
    x = gc.placeholder("x", ("t", "n", 4))
    state = gc.scan(lambda c, v: (gc.tanh(c @ w + v), c), gc.zeros(("n", 4)), x)
    program = run_pipeline(gc.Graph([x], list(state)), Stages(check=True)).program
    (loop,) = [s for s in program.steps if isinstance(s, Loop)]
    assert any(isinstance(s, Blocks) for s in loop.body)


def test_an_update_claims_the_weights_that_threads_have_read() -> None:
    """Not what no product reads whole, or in rows of another length."""
    x, d = gc.placeholder("claims_x", ("n", 40)), gc.placeholder("claims_d", ("n", 64))
    w = gc.variable(np.ones((40, 64), "float32"), name="w")

    def claimed(read: gc.Tensor) -> list[str | None]:
        updates = [(w, w - 0.1 * (x.T @ d))]
        program = run_pipeline(gc.Graph([x, d], [read], updates), Stages(check=True)).program
        found = [s.claimed for s in blocks(program) if len(s.call.written) == 1]
        return [None if ref is None else ref.storage.kind for ref in found]

    assert claimed(x @ w) == ["variable"]
    assert claimed(d * 2) == [None]
    assert claimed(w @ d.T) == [None]


def test_the_explanation_says_so() -> None:
    x, w = gc.placeholder("x", ("n", 20)), gc.variable(np.ones((20, 30), "f4"))
    text = str(gc.compile([x], gc.softmax(x @ w)).explain())
    assert "then on each block of rows, while it is in cache: (1) kernel0" in text
