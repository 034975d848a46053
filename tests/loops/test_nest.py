"""What threads can share of a kernel, and why not."""

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.loops.grammar import Kernel
from graphc.loops.nest import take_apart
from graphc.lower.gpu_source import print_launches
from graphc.machines import CUDA
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.properties.launches import PROGRAMS

KINDS = {
    "chain": "map",
    "cross_entropy": "row",
    "layer_norm": "row",
    "column_sums": "column",
    "whole_sums": "map",
    "embedding": "scatter",
    "counts": "row",
    "many_counts": "scatter",
    "positions": "row",
    "transposed": "row",
    "dropout": "map",
    "checked": "map",
}


def kernels(graph: Graph) -> list[Kernel]:
    program = run_pipeline(graph, Stages(), machine=CUDA).program
    return [step.kernel for step in walk_steps(program.steps) if isinstance(step, Call)]


def test_the_kind_of_each_program() -> None:
    found = {p.__name__: {take_apart(k).kind for k in kernels(p())} for p in PROGRAMS}
    assert found == {name: {kind} for name, kind in KINDS.items()}


def test_layer_norm_and_its_gradients_are_one_kernel_and_its_second_stage() -> None:
    (kernel,) = kernels(next(p for p in PROGRAMS if p.__name__ == "layer_norm")())
    launches = print_launches(kernel)
    assert [launch.kind for launch in launches.launches] == ["row", "finish", "finish"]


def test_a_running_sum_of_all_elements_is_ordered_and_a_position_among_them_is_not() -> None:
    x = gc.placeholder("nest_x", ("n",))
    (running,) = kernels(Graph([x], [gc.cumsum(x)]))
    nest = take_apart(running)
    assert (nest.kind, nest.why) == ("serial", "an ordered reduction over all loops")
    (position,) = kernels(Graph([x], [gc.argmax(x)]))
    assert take_apart(position).kind == "row"


def test_what_one_thread_writes_before_the_loops_others_may_read() -> None:
    """A counter that is updated in place, and used by all turns, is written when they have run."""
    count = gc.variable(np.zeros((), "float32"), "nest_count")
    w = gc.variable(np.ones((300,), "float32"), "nest_w")
    after = count + 1.0
    kernel = kernels(Graph([], [], [(count, after), (w, w * after)]))
    launches = [print_launches(k) for k in kernel]
    assert all(one.kind == "map" for one in launches)
    mains = [source for one in launches for source in [one.main.source]]
    assert all("if cuda.grid(1) == 0:" in s or "while" in s for s in mains)


@pytest.mark.parametrize("rows", [1, 40, 5000])
@pytest.mark.parametrize("columns", [1, 33, 100_000])
def test_grids_follow_from_sizes(rows: int, columns: int) -> None:
    dims = {"n": rows, "m": columns}
    for program in PROGRAMS:
        for kernel in kernels(program()):
            launches = print_launches(kernel)
            grid = launches.grid(dims)
            assert grid.width & (grid.width - 1) == 0
            assert 1 <= grid.width <= 256
            assert grid.blocks >= 1
            rooms = sum(room.elements(grid, dims) for room in launches.rooms)
            assert rooms <= 8 * 1024 * 1024
