"""Targets: another machine's numbers give another program, another target another cache entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError
from graphc.ir.graph import Graph
from graphc.machines import CPU, Machine
from graphc.pipeline.options import DEFAULTS
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Blocks, Call, walk_steps
from graphc.planning.show import print_program
from graphc.runtime import programs
from graphc.runtime.target import TARGETS, Target


# -- the numbers of a machine ----------------------------------------------------------------------
def tiny_products() -> Graph:
    a, b = gc.placeholder("a", ("n", 3, 3)), gc.placeholder("b", ("n", 3, 3))
    return Graph([a, b], [a @ b])


def recurrence() -> Graph:
    x, w = gc.placeholder("x", (20, 4, 8)), gc.placeholder("w", (8, 8))
    _, ys = gc.scan(lambda h, v: (gc.tanh(h + v @ w), h), gc.zeros((4, 8)), x)
    return Graph([x, w], [ys])


def layer() -> Graph:
    x, w = gc.placeholder("x", ("n", 64)), gc.placeholder("w", (64, 32))
    b = gc.placeholder("b", (32,))
    return Graph([x, w, b], [gc.tanh(x @ w + b)])


def narrow() -> Graph:
    """A loop by the transpose of a matrix, which is made before it where products are wide."""
    x, w = gc.placeholder("x", (20, 4, 4)), gc.placeholder("w", (4, 4))
    _, ys = gc.scan(lambda h, v: (gc.tanh(h @ w.T + v), h), gc.zeros((4, 4)), x)
    return Graph([x, w], [ys])


def padded() -> Graph:
    """Windows of images with zeros around them, of which a kernel reads rows."""
    x, w = gc.placeholder("x", ("n", 6, 6, 16)), gc.placeholder("w", (3, 3, 1, 16))
    return Graph([x, w], [gc.conv(x, w, groups=16, padding="same", data_format="NHWC")])


def biased() -> Graph:
    x, w = gc.placeholder("x", ("n", 64)), gc.placeholder("w", (64, 32))
    b = gc.placeholder("b", (32,))
    return Graph([x, w, b], [x @ w + b])


def transposed() -> Graph:
    x, w = gc.placeholder("x", ("n", 64)), gc.placeholder("w", (32, 64))
    return Graph([x, w], [x @ w.T])


def short_loops() -> Graph:
    x = gc.placeholder("x", ("n", 4))
    return Graph([x], [gc.sum(x * x, axis=1)])


def read_twice() -> Graph:
    """A value that costs 8, read by two kernels: less than a store and a load, which are 10."""
    x = gc.placeholder("x", ("n", 64))
    y = gc.sqrt(gc.sqrt(x))
    return Graph([x], [gc.flip(y, 0) * 2.0, gc.flip(y, 1) * 3.0])


def read_apart() -> Graph:
    """A value that costs 16, read down the columns by one that reads there anyhow what it is of."""
    x = gc.placeholder("x", ("n", 64))
    y = gc.sqrt(gc.sqrt(gc.sqrt(gc.sqrt(x))))
    return Graph([x], [gc.flip(y, 0) * 2.0, y.T + x.T])


def sums_of_a_hundred() -> Graph:
    x = gc.placeholder("x", ("n", 100))
    return Graph([x], [gc.tanh(gc.tanh(gc.sum(x * x, axis=1)))])


def wide() -> Graph:
    """A product of many columns and a hundred rows."""
    x, w = gc.placeholder("x", (100, 40)), gc.placeholder("w", (40, 600))
    return Graph([x, w], [gc.tanh(x @ w)])


def two_chains() -> Graph:
    """Products that do not need each other, of which the later ones use memory of the others."""
    x, w, u = (gc.placeholder(name, (64, 64)) for name in "xwu")
    return Graph([x, w, u], [gc.exp(x @ w) @ w, gc.exp(x @ u) @ u])


CHANGES: dict[str, tuple[Callable[[], Graph], float]] = {
    "tiny_product": (tiny_products, 0),
    "step_rows": (recurrence, 0),
    "load": (read_twice, 0.0),
    "store": (read_twice, 0.0),
    "strided": (read_apart, 0.0),
    "unrolled": (short_loops, 0),
    "summed": (sums_of_a_hundred, 0),
    "scalar_tail": (sums_of_a_hundred, 1e9),
    "product_columns": (layer, 0),
    "packed_columns": (wide, 512),
    "packed_rows": (wide, 128),
    "cached_bytes": (transposed, 64),
    "zeros": (padded, 0),
    "least_columns": (narrow, 1),
    "epilogues": (biased, True),
    "apart": (two_chains, 1 << 20),
    "many_threads": (short_loops, True),
}


def shown(graph: Graph, machine: Machine) -> str:
    program = run_pipeline(graph, Stages(check=True), machine=machine).program
    kernels = [str(s.kernel) for s in walk_steps(program.steps) if isinstance(s, Call)]
    return "\n".join([print_program(program), *kernels])


@pytest.mark.parametrize("number", [field.name for field in fields(Machine)])
def test_every_number_of_a_machine_decides_something(number: str) -> None:
    build, value = CHANGES[number]
    graph = build()
    other = replace(CPU, **{number: value})
    assert shown(graph, CPU) == shown(graph, CPU)
    assert shown(graph, other) != shown(graph, CPU)


def test_without_tiny_products_no_product_becomes_a_loop() -> None:
    for most, products in ((CPU.tiny_product, 0), (0, 1)):
        text = shown(tiny_products(), replace(CPU, tiny_product=most))
        assert text.count("input0 @ input1") == products


def test_without_columns_no_kernel_takes_up_a_product() -> None:
    for columns, blocks in ((CPU.product_columns, 1), (0, 0)):
        machine = replace(CPU, product_columns=columns)
        steps = walk_steps(run_pipeline(layer(), Stages(), machine=machine).program.steps)
        assert sum(isinstance(step, Blocks) for step in steps) == blocks


# -- a target of its own ---------------------------------------------------------------------------
@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> tuple[Target, list[str]]:
    """The CPU under another name, with other numbers, that notes what it is asked for."""
    used: list[str] = []
    cpu = TARGETS["cpu"]

    def noted(name: str) -> Callable[..., Any]:
        def function(*args: Any) -> Any:
            used.append(name)
            return getattr(cpu, name)(*args)

        return function

    made = {name: noted(name) for name in ("compile_kernel", "print_driver", "link", "load")}
    machine = replace(CPU, tiny_product=0)
    target = replace(cpu, name="fake", machine=machine, **made)
    monkeypatch.setitem(TARGETS, "fake", target)
    return target, used


def test_a_target_is_handed_down(
    fake: tuple[Target, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    _, used = fake
    graph = tiny_products()
    arrays = [np.random.default_rng(i).random((5, 3, 3)).astype("float32") for i in (0, 1)]
    ours = gc.compile(list(graph.inputs), list(graph.outputs), target="fake")
    np.testing.assert_allclose(ours(*arrays)[0], arrays[0] @ arrays[1], rtol=1e-6)
    assert used == ["print_driver", "link", "load"]  # there is no kernel: the product is none
    assert "matrix products: 1" in ours.explain()
    assert not ours.kernels
    used.clear()
    again = gc.compile(list(graph.inputs), list(graph.outputs), target="fake")
    assert used == ["load"]  # from the cache, by its own entry
    assert not again.kernels
    assert gc.compile(list(graph.inputs), list(graph.outputs)).kernels


def test_the_key_of_the_cache_has_the_name(fake: tuple[Target, list[str]]) -> None:
    graph, cpu = tiny_products(), TARGETS["cpu"]
    key = programs.program_key(graph, DEFAULTS, cpu)
    assert key == programs.program_key(graph, DEFAULTS, replace(cpu))
    assert key != programs.program_key(graph, DEFAULTS, replace(cpu, name="other"))
    assert key != programs.program_key(graph, DEFAULTS, fake[0])


def test_an_unknown_target_is_an_error_that_lists_them() -> None:
    x = gc.placeholder("x", (3,))
    with pytest.raises(ArgumentError, match="unknown target") as error:
        gc.compile([x], x, target="abacus")
    assert error.value.expected == "cpu or cuda or auto or reference"


def test_the_page_on_targets_names_every_function() -> None:
    page = (Path(__file__).parents[2] / "docs" / "add_a_target.md").read_text(encoding="utf-8")
    missing = [f.name for f in fields(Target) if f"`{f.name}`" not in page and f.name != "name"]
    assert not missing
