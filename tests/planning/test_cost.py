"""cost(): operations, bytes and peak memory as formulas."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.errors import ArgumentError
from graphc.fusion.region import is_member
from graphc.ir.dim import dim, evaluate
from graphc.ir.graph import walk
from graphc.ir.op import Fact
from graphc.loops import simplify
from graphc.loops.interpret import interpret_kernel
from graphc.machines import Speed
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.cost import program_cost
from graphc.planning.program import Blocks, Call, Copy, Gemm, Leave, Loop, Step
from graphc.symbolic.dims import readable, to_sympy


def test_a_product_and_a_kernel() -> None:
    x = gc.placeholder("x", ("n", 20))
    w = gc.variable(np.zeros((20, 30), "float32"), name="w")
    cost = gc.compile([x], gc.tanh(x @ w)).cost()
    n = sp.Symbol("n", integer=True, nonnegative=True)
    assert cost.flops == 2 * n * 20 * 30 + 16 * 30 * n
    assert cost.bytes == 4 * (20 * n + 600 + 30 * n) + 4 * (30 * n + 30 * n)
    assert [s.kind for s in cost.steps] == ["product", "kernel"]
    assert cost.at(n=64).flops == cost.flops.subs(n, 64)
    assert cost.at(n=64).peak_bytes in (64 * 30 * 4, 2 * 64 * 30 * 4)


def test_peak_is_arena_and_outputs() -> None:
    x = gc.placeholder("x", ("n", 16))
    f = gc.compile([x], [gc.sum(gc.exp(x) @ gc.exp(x).T), x + 1])
    arena = f.compilation.compiled.program.arena
    assert str(f.cost().sizes[2]) == str(arena + 4 + 64 * gc.dim("n"))


def test_a_loop_counts_its_turns() -> None:
    x, h = gc.placeholder("x", ("t", 8)), gc.placeholder("h", (8,))
    f = gc.compile([x, h], gc.scan(lambda c, v: (c * v + 1, c), h, x)[0])
    (step,) = [s for s in f.cost().steps if s.kind == "kernel"]
    assert str(step.flops) == "16*t"
    assert f.cost().at(t=5).flops == 80


def test_a_branch_is_as_dear_as_its_dearer_side() -> None:
    p, x = gc.placeholder("p", (), "bool"), gc.placeholder("x", (10,))
    f = gc.compile([p, x], gc.cond(p, lambda t: gc.exp(t), lambda t: t + 1, x))
    assert f.cost().at().flops == 120


def test_a_reduction_counts_its_elements() -> None:
    x = gc.placeholder("x", ("n", "m"))
    assert gc.compile([x], gc.sum(x, axis=0)).cost().at(n=3, m=5).flops == 15


def test_the_table_names_steps_and_lines() -> None:
    x = gc.placeholder("x", ("n", 4))
    text = str(gc.compile([x], gc.exp(x)).cost())
    assert re.search(r"kernel0 +kernel +48\*n +16\*n +16\*n +\S*test_cost.py:\d+", text)
    assert "peak bytes: 16*n" in text


def test_a_missing_size() -> None:
    x = gc.placeholder("x", ("n", 4))
    with pytest.raises(ArgumentError, match="no size"):
        gc.compile([x], gc.exp(x)).cost().at(m=3)


# -- formulas for people ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("size", "text"),
    [
        (dim("2*n*m + 16*n"), "2*n*(m + 8)"),
        (dim("n*n + n"), "n**2 + n"),
        (dim("(4*n + 63) // 64 * 64"), "64*ceiling(n/16)"),
        (dim("(n + 2) // 3"), "ceiling(n/3)"),
        (dim("(n + 1) // 3"), "floor((n + 1)/3)"),
        (dim("max(3*n, 12) + n * 0"), "Max(12, 3*n)"),
        (7, "7"),
    ],
)
def test_readable_sizes(size: Any, text: str) -> None:
    found = readable(size)
    assert str(found) == text
    for n in range(40):
        at = {s: n if s.name == "n" else 3 * n + 1 for s in found.free_symbols}
        assert found.subs(at) == to_sympy(size).subs(at)


def test_intensity() -> None:
    x, y = gc.placeholder("x", ("n", "n")), gc.placeholder("y", ("n", "n"))
    cost = gc.compile([x, y], x @ y).cost()
    n = sp.Symbol("n", integer=True, nonnegative=True)
    assert sp.simplify(cost.intensity - 2 * n**3 / (12 * n**2)) == 0
    assert cost.at(n=60).intensity == 10
    assert gc.compile([], gc.constant(2.0)).cost().intensity == 0
    assert "flops per byte: n/6" in str(cost)


@pytest.mark.parametrize("balance", [0.4, 5.0, 9.99, 10.0, 10.01, 123.4])
def test_from_which_size_on_it_is_compute_bound(balance: float) -> None:
    """By the formula: 2 n^2 k over 4 (2 n k + n^2) bytes."""
    x, y = gc.placeholder("x", ("n", "k")), gc.placeholder("y", ("k", "n"))
    cost = gc.compile([x, y], x @ y).cost()
    machine = Speed(balance * 1e9, 1e9, 4e9)
    n, k = sp.Symbol("n", positive=True), 256
    exact = sp.solve(2 * n * k - sp.nsimplify(balance) * 4 * (2 * k + n), n)
    expected = next((max(math.ceil(root), 1) for root in exact if root > 0), None)
    assert cost.compute_bound(machine, k=k) == expected
    if expected is not None:
        assert cost.at(n=expected, k=k).intensity >= machine.balance
        assert expected == 1 or cost.at(n=expected - 1, k=k).intensity < machine.balance


def test_what_never_is_compute_bound_and_what_is_not_one_size() -> None:
    x = gc.placeholder("x", ("n", "m"))
    cost = gc.compile([x], x + 1).cost()
    machine = Speed(1e11, 1e10, 4e10)
    assert cost.compute_bound(machine, m=5) is None
    for given in ({}, {"n": 2, "m": 3}):
        with pytest.raises(ArgumentError, match="one size is solved for"):
            cost.compute_bound(machine, **given)


# -- formulas beside what is counted ---------------------------------------------------------------
N, M = 5, 7  # the sizes at which it is counted


def x(*shape: Any) -> gc.Tensor:
    return gc.placeholder(f"counted {shape}", shape or ("n", "m"))


def w(*shape: int) -> gc.Variable:
    return gc.variable(np.zeros(shape, "float32"), name="w")


def _rnn() -> gc.Tensor:
    cell, start = w(4, 4), gc.zeros((4,))
    return gc.scan(lambda h, v: (gc.tanh(h[None] @ cell)[0] + v, h), start, x("n", 4))[0]


COUNTED: dict[str, Callable[[], Any]] = {
    "sum": lambda: x() + x() * 2.0,
    "exp": lambda: gc.exp(x()),
    "chain": lambda: gc.sqrt(gc.tanh(x()) - gc.sin(x())),
    "reused": lambda: [gc.exp(x()) * 2.0, gc.exp(x()) - x()],
    "row": lambda: x() * gc.exp(x("m")),
    "column": lambda: x() - gc.exp(x("n"))[:, None],
    "whole sum": lambda: gc.sum(x()),
    "sum of rows": lambda: gc.sum(gc.exp(x()), axis=1),
    "largest of columns": lambda: gc.max(x("n + 1", "m") * 2.0, axis=0),
    "largest": lambda: gc.max(x("n", 6), axis=1),
    "exp of sums": lambda: gc.exp(gc.sum(x(), axis=1)),
    "scaled by sums": lambda: x() * gc.sum(x(), axis=1, keepdims=True),
    "two sums": lambda: gc.exp(x()) / gc.sum(gc.sqrt(x()), axis=1, keepdims=True),
    "product": lambda: x("n", 4) @ w(4, 64),
    "layer": lambda: gc.tanh(x("n", 4) @ w(4, 64) + w(64)),
    "batch": lambda: x(3, "n", 16) @ x(3, 16, "m"),
    "gradient": lambda: gc.grad(gc.sum(gc.exp(gc.tanh(x()))), x()),
    "layer's gradient": lambda: _weight_gradient(),
    "loop": lambda: gc.scan(lambda h, v: (gc.sin(h) * v, h + v), gc.zeros((4,)), x("n", 4))[0],
    "recurrent": _rnn,
    "scalars": lambda: gc.exp(x(1)) * 3.0,
    "transposed": lambda: gc.exp(x()).T - 1.0,
}


def _weight_gradient() -> gc.Tensor:
    weight = w(4, 64)
    return gc.grad(gc.sum(gc.tanh(x("n", 4) @ weight)), weight)


class Seen:
    """The memory of a buffer, which notes the elements that a kernel reads and writes."""

    def __init__(self, size: int, dtype: Any) -> None:
        self.values = np.zeros(size, dtype)
        self.read: set[int] = set()
        self.written: set[int] = set()

    def __getitem__(self, place: int) -> Any:
        if place not in self.written:
            self.read.add(place)
        return self.values[place]

    def __setitem__(self, place: int, value: Any) -> None:
        self.written.add(place)
        self.values[place] = value


PRIMITIVES = {"square": "multiply", "max": "maximum"}  # else of the op's name


def operations(call: Call, times: Counter[str]) -> float:
    """What was counted of the operations in a region. How a sum keeps its digits is not counted:
    a few additions for each run of many."""
    members = {n.op for n in call.node.attrs["body"].nodes if is_member(n)}
    costs = {PRIMITIVES.get(op.name, op.name): op.cost for op in members}
    return sum(costs.get(name, 0) * n for name, n in times.items()) + times["accumulate"]


def counted(steps: Sequence[Step], dims: Mapping[str, int], turns: int = 1) -> Iterator[Any]:
    """Operations and bytes of each step, by running its loops and counting."""
    for step in steps:
        match step:
            case Loop(extent=extent, body=body):
                assert extent is not None
                yield from counted(body, dims, turns * evaluate(extent, dims))
            case Blocks(product=product, call=call):
                yield from counted([product, call], dims, turns)
            case Call(kernel=kernel):
                memory: Any = {
                    b: Seen(evaluate(b.size, dims), b.dtype.numpy) for b in kernel.buffers
                }
                times: Counter[str] = Counter()
                interpret_kernel(kernel, memory, dims, times)
                own = len(step.node.inputs) + len(step.node.outputs)  # before what it needs itself
                moved = sum(
                    (len(memory[b].read) + len(memory[b].written)) * b.dtype.itemsize
                    for b in kernel.buffers[:own]
                )
                yield operations(step, times) * turns, moved * turns
            case Gemm():
                sizes = [evaluate(s, dims) for s in (step.m, step.n, step.k, *step.batch)]
                adds = sum(1 for _ in np.ndindex(*sizes))
                m, n, k, *batch = sizes
                elements = (m * k + k * n + m * n) * math.prod(batch)
                yield 2 * adds * turns, elements * step.dtype.itemsize * turns
            case Copy(size=size, target=target):
                moved = 2 * evaluate(size, dims) * target.storage.dtype.itemsize
                yield 0, moved * turns
            case _:
                assert isinstance(step, Leave)


@pytest.mark.parametrize("name", COUNTED)
def test_formulas_equal_what_is_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What adds up the parts of a reduction is not counted either: there are none here."""
    monkeypatch.setattr(simplify, "share_reductions", lambda kernel: kernel)
    made = COUNTED[name]()
    outputs = made if isinstance(made, list) else [made]
    inputs = [n.output() for n in walk(outputs) if Fact.INPUT in n.op.facts]
    program = run_pipeline(gc.Graph(inputs, outputs), Stages()).program
    dims = {"n": N, "m": M}
    cost = program_cost(program)
    found = list(counted(program.steps, dims))
    expected = [(evaluate(s.flops, dims), evaluate(s.bytes, dims)) for s in cost.steps]
    assert found == expected, str(cost)
    assert cost.at(**dims).flops == sum(flops for flops, _ in found)
