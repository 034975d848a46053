"""Running reductions in kernels: what they fuse with, where their state is, which way loops go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import graphc as gc
from graphc.checking.kernels import check_region, regions_of
from graphc.ir.graph import Graph
from graphc.pipeline.pipeline import fuse_all, run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
x = gc.placeholder("running_x", ("running_n", 5))
z = gc.placeholder("running_z", (3, 4, 5))
DATA = np.random.default_rng(0).standard_normal((7, 5)).astype("float32")
CUBE = np.random.default_rng(1).standard_normal((3, 4, 5)).astype("float32")


def kernels(
    inputs: Sequence[gc.Tensor], outputs: Sequence[gc.Tensor], *arrays: Array
) -> int:
    """How many kernels compute the outputs; each of them equals what it means."""
    regions = list(regions_of(fuse_all(Graph(inputs, outputs)), arrays))
    faults = [text for text in map(check_region, regions) if text]
    assert not faults, faults[0]
    return len(regions)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("reverse", [False, True])
def test_producers_and_consumers_are_in_its_kernel(axis: int, reverse: bool) -> None:
    made = gc.exp(gc.cumsum(gc.tanh(x) * 2, axis, reverse=reverse)) + x
    assert kernels([x], [made], DATA) == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_along_each_axis_of_three(axis: int, reverse: bool) -> None:
    outputs = [
        f(z, axis, reverse=reverse) for f in (gc.cumsum, gc.cumprod, gc.cummin, gc.logcumsumexp)
    ]
    assert kernels([z], outputs, CUBE) == 1


def test_sums_along_two_axes_are_one_kernel() -> None:
    assert kernels([x], [gc.cumsum(gc.cumsum(x, 0), 1)], DATA) == 1
    assert kernels([z], [gc.cumsum(gc.cumsum(gc.cumsum(z, 0), 1, reverse=True), 2)], CUBE) == 1


def test_loops_go_one_way_only() -> None:
    both = [gc.cumsum(x, 0), gc.cumsum(x, 0, reverse=True)]
    assert kernels([x], both, DATA) == 2
    assert kernels([x], [both[0], gc.cumsum(x, 1, reverse=True)], DATA) == 1


def test_the_first_of_equals_is_found_in_either_direction() -> None:
    for reverse in (False, True):
        there = gc.cumsum(x, 1, reverse=reverse)
        assert kernels([x], [there, gc.argmax(gc.floor(x), axis=1)], DATA) == 1


def test_between_stages() -> None:
    """Of rows that are reduced before and after it, and rows of sums themselves."""
    p = gc.softmax(x, axis=1)
    assert kernels([x], [gc.cumsum(p, 1)], DATA) == 1
    assert kernels([x], [gc.cumsum(p, 0)], DATA) == 1
    running = gc.cumsum(x * x, 1)
    assert kernels([x], [running / gc.sum(running + 1, axis=1, keepdims=True)], DATA) == 1
    total = gc.cumsum(gc.sum(x * x, axis=1), 0)
    assert kernels([x], [x / total[:, None], total], DATA) == 1


def test_a_running_sum_and_a_sum_of_it() -> None:
    c = gc.cumsum(x, 1)
    outputs = [c, gc.sum(c), gc.sum(c, axis=0), gc.max(c, axis=1), gc.sum(x * x, axis=1)]
    kernels([x], outputs, DATA)


def test_axes_of_one_element() -> None:
    one = gc.placeholder("running_one", (1, "running_n", 1))
    data = DATA[None, :, :1]
    outputs = [f(one, a) for f in (gc.cumsum, gc.cummax, gc.logcumsumexp) for a in (0, 1, 2)]
    assert kernels([one], outputs, data) == 1


def test_the_other_axes_are_parallel() -> None:
    """Along the last axis rows are; along the middle one each turn has a state of its own."""
    big = gc.placeholder("running_big", ("running_n", 400, 600))
    for axis, parallel in ((2, True), (1, True), (0, False)):
        outputs = [f(gc.exp(big), axis) for f in (gc.cumsum, gc.cumprod, gc.cummax)]
        program = run_pipeline(Graph([big], outputs), Stages()).program
        (call,) = [s for s in walk_steps(program.steps) if isinstance(s, Call)]
        loops = [s for s in call.kernel.body if getattr(s, "parallel", None) is not None]
        assert any(loop.parallel for loop in loops) is parallel, axis


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(3).standard_normal((64, 9000)).astype("float32")
    y = gc.placeholder("running_y", (64, 9000))
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("GRAPHC_NUM_THREADS", threads)
        function = gc.compile([y], [gc.cumsum(y, 1), gc.exp(gc.cumprod(y, 1))])
        found.append([a.tobytes() for a in function(data)])
    assert found[0] == found[1]


def test_in_place() -> None:
    """A variable becomes its running sums."""
    v = gc.variable(DATA, name="running_v")
    step = gc.compile([], [], updates={v: gc.cumsum(v, 1)})
    step()
    np.testing.assert_allclose(v.value, np.cumsum(DATA, 1), rtol=1e-6)
