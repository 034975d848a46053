"""The passes one by one: goldens of what they make, and what every one of them promises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CompileError, ShapeError
from graphc.ir.check import check_graph
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.ir.op import Kind
from graphc.ir.text import parse_graph, print_graph, variable_labels
from graphc.lower.numba_source import print_kernel
from graphc.pipeline.pipeline import fuse_all, run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.memory import ALIGN
from graphc.planning.program import Call, Gemm, Loop, Program, touched, walk_steps
from graphc.planning.show import print_program
from tests.pipeline import programs


def compiled(build: Callable[[], Graph]) -> Any:
    return run_pipeline(build(), Stages(check=True))


def arrays_for(graph: Graph, **dims: int) -> list[Any]:
    random = np.random.default_rng(0)
    result = []
    for tensor in graph.inputs:
        shape = [s if isinstance(s, int) else dims[str(s)] for s in tensor.shape]
        drawn = (
            random.standard_normal(shape) if tensor.dtype.is_float else random.integers(0, 9, shape)
        )
        result.append(drawn.astype(tensor.dtype.numpy))
    return result


# -- goldens ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("build", programs.ALL, ids=lambda f: f.__name__)
def test_fuse(build: Callable[[], Graph], golden: Any) -> None:
    golden(f"fuse/{build.__name__}", print_graph(compiled(build).optimized))


@pytest.mark.parametrize("build", programs.ALL, ids=lambda f: f.__name__)
def test_program(build: Callable[[], Graph], golden: Any) -> None:
    golden(f"program/{build.__name__}", print_program(compiled(build).program))


@pytest.mark.parametrize("build", programs.ALL, ids=lambda f: f.__name__)
def test_kernel_source(build: Callable[[], Graph], golden: Any) -> None:
    program = compiled(build).program
    calls = [s for s in walk_steps(program.steps) if isinstance(s, Call)]
    sources = dict.fromkeys(print_kernel(c.kernel) for c in calls)
    golden(f"kernels/{build.__name__}", "\n".join(sources))


# -- how many kernels ------------------------------------------------------------------------------
def count(build: Callable[[], Graph], kind: type) -> int:
    return sum(isinstance(s, kind) for s in walk_steps(compiled(build).program.steps))


@pytest.mark.parametrize(
    ("build", "kernels", "products"),
    [
        (programs.classifier, 1, 0),
        (programs.layer_norm, 1, 0),
        (programs.columns, 2, 0),
        (programs.layer, 3, 2),
    ],
    ids=lambda f: getattr(f, "__name__", str(f)),
)
def test_kernel_counts(build: Callable[[], Graph], kernels: int, products: int) -> None:
    assert count(build, Call) == kernels
    assert count(build, Gemm) == products


def test_a_step_of_a_loop_is_one_product_and_one_kernel() -> None:
    (loop,) = [s for s in compiled(programs.recurrent).program.steps if isinstance(s, Loop)]
    kinds = [type(s) for s in walk_steps(loop.body)]
    assert kinds.count(Gemm) == 1
    assert kinds.count(Call) == 1


def test_equal_layers_share_their_kernels() -> None:
    x = gc.placeholder("x", ("n", 100))
    h = x
    for size in (100, 90, 80, 70):  # narrower ones are in the kernel's code
        w = gc.variable(np.zeros((h.shape[1], size), "float32"))
        h = gc.relu(h @ w + gc.variable(np.zeros(size, "float32")))
    program = run_pipeline(Graph([x], [h]), Stages()).program
    calls = [s for s in walk_steps(program.steps) if isinstance(s, Call)]
    assert len(calls) == 4
    assert len({print_kernel(c.kernel) for c in calls}) == 1


# -- what every stage promises ---------------------------------------------------------------------
@pytest.mark.parametrize("build", programs.ALL, ids=lambda f: f.__name__)
def test_the_fused_graph_means_the_same_and_is_text(build: Callable[[], Graph]) -> None:
    graph = build()
    optimized = run_pipeline(graph, Stages()).optimized
    check_graph(optimized)
    arrays = arrays_for(graph, n=5, t=6)
    expected, found = evaluate_graph(graph, arrays), evaluate_graph(optimized, arrays)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    assert parse_graph(print_graph(optimized), variable_labels(optimized)) is optimized


@pytest.mark.parametrize("build", programs.ALL, ids=lambda f: f.__name__)
def test_all_scalar_work_is_in_regions(build: Callable[[], Graph]) -> None:
    for node in compiled(build).optimized.nodes:
        assert node.op.kind not in (Kind.REDUCE, Kind.COMPOSITE), node


def test_fusing_twice_changes_nothing() -> None:
    once = compiled(programs.layer).optimized
    assert fuse_all(once) is once


# -- memory ----------------------------------------------------------------------------------------
def live_ranges(program: Program) -> dict[Any, tuple[int, int]]:
    """First and last use of each temporary, by simulation of straight-line programs."""
    found: dict[Any, tuple[int, int]] = {}
    for position, step in enumerate(program.steps):
        for refs in touched(step):
            for ref in refs:
                if ref.storage.kind == "temp":
                    first, _ = found.get(ref.storage, (position, position))
                    found[ref.storage] = (first, position)
    return found


@pytest.mark.parametrize("n", [0, 1, 3, 64, 1000])
@pytest.mark.parametrize("build", [programs.layer, programs.classifier], ids=lambda f: f.__name__)
def test_no_two_live_temporaries_overlap(build: Callable[[], Graph], n: int) -> None:
    from graphc.ir.dim import evaluate

    program = compiled(build).program
    ranges = live_ranges(program)
    places = {
        s: (evaluate(s.offset, {"n": n}), evaluate(s.size * s.dtype.itemsize, {"n": n}))
        for s in ranges
    }
    for a, (first_a, last_a) in ranges.items():
        start, size = places[a]
        assert start % ALIGN == 0
        assert start + size <= evaluate(program.arena, {"n": n})
        for b, (first_b, last_b) in ranges.items():
            if a is not b and first_a <= last_b and first_b <= last_a:
                other, length = places[b]
                assert start + size <= other or other + length <= start


def test_memory_is_reused() -> None:
    x = gc.placeholder("x", (64, 64))
    h = x
    for _ in range(10):
        h = gc.tanh(h) @ x
    program = run_pipeline(Graph([x], [h]), Stages()).program
    assert isinstance(program.arena, int)
    assert program.arena <= 2 * 64 * 64 * 4
    assert len(program.temps) == 10  # tanh is written over the product


def test_variables_are_updated_in_place() -> None:
    w, v = (gc.variable(np.zeros(100, "float32")) for _ in range(2))
    g = gc.placeholder("g", (100,))
    new = 0.9 * v + g
    program = run_pipeline(Graph([g], [], [(v, new), (w, w - 0.1 * new)]), Stages()).program
    (call,) = program.steps
    assert isinstance(call, Call)
    assert len(call.buffers) == 3
    assert program.arena == 0


# -- settings --------------------------------------------------------------------------------------
def test_dump_writes_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "dump"))
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    graph = programs.layer()
    x = graph.inputs[0]
    gc.compile([x], graph.outputs[0], graph.updates)
    names = sorted(p.name for p in (tmp_path / "dump").iterdir())
    assert names[0] == "00-input.txt"
    assert [n.split("-", 1)[1].removesuffix(".txt") for n in names][-3:] == [
        "plan_memory", "numba", "driver",
    ]  # fmt: skip
    assert "def kernel(" in next((tmp_path / "dump").glob("*numba*")).read_text()


def test_print_shows_the_wanted_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHC_PRINT", "fuse")
    compiled(programs.classifier)
    shown = capsys.readouterr().err
    assert shown.startswith("# fuse\n")
    assert shown.count("# ") >= 1
    assert "fused" in shown


def test_a_stage_that_fails_is_named() -> None:
    def broken(graph: Graph) -> Graph:
        raise KeyError("lost")

    with pytest.raises(CompileError, match=r"stage 'mine'.*KeyError"):
        Stages().graph("mine", broken, programs.layer())

    def refuses(graph: Graph) -> Graph:
        raise ShapeError("no")

    with pytest.raises(ShapeError) as caught:
        Stages().graph("mine", refuses, programs.layer())
    assert any("mine" in note for note in caught.value.__notes__)


_PRINT_ALL = """
import sys
from graphc.pipeline.pipeline import run_pipeline
from graphc.planning.program import Call, walk_steps
from graphc.planning.show import print_program
from graphc.pipeline.stages import Stages
from graphc.ir.text import key_text, print_graph
from graphc.lower.driver import print_driver
from graphc.lower.numba_source import print_kernel
from tests.pipeline import programs
for build in programs.ALL:
    graph = build()
    made = run_pipeline(graph, Stages())
    for step in walk_steps(made.program.steps):
        if isinstance(step, Call):
            step.name = "kernel"
            print(print_kernel(step.kernel))
    print(key_text(graph), print_graph(made.optimized), print_program(made.program))
    print(print_driver(made.program, 64).text)
"""


def test_text_keys_and_source_do_not_depend_on_the_hash_seed() -> None:
    root = Path(__file__).parents[2]
    texts = {
        subprocess.run(
            [sys.executable, "-c", _PRINT_ALL],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1
    assert len(texts.pop()) > 5000


# -- the user's lines ------------------------------------------------------------------------------
def test_what_passes_make_is_of_the_lines_that_it_is_for() -> None:
    x, w = gc.placeholder("x", (8, 12, 16)), gc.variable(np.zeros((16, 16), "float32"))
    product = x @ w  # becomes one product of 96 rows
    soft = gc.softmax(product)  # is expanded
    graph = run_pipeline(Graph([x], [soft]), Stages()).optimized
    lines = {o.line for n in graph.nodes for o in n.origins if o.file == __file__}
    made = {product.node.origins[0].line, soft.node.origins[0].line}
    assert lines - {o.line for t in (x, w) for o in t.node.origins} == made
