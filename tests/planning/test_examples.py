"""cut_examples: which chains of steps treat the examples of a batch one by one, what that asks of
memory, and what it computes, on any number of threads."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CompileError
from graphc.ir.dim import evaluate
from graphc.ir.evaluate import evaluate_graph
from graphc.ir.graph import Graph
from graphc.lower import kernel_calls
from graphc.lower.driver import print_driver
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning import examples
from graphc.planning.check_memory import check_memory
from graphc.planning.cost import program_cost
from graphc.planning.memory import plan_memory
from graphc.planning.program import Blocks, Examples, Gemm, Program, walk_steps
from graphc.planning.show import print_program
from tests.properties.products import TAKERS

T, SIZE = 128, 64
X, R = (gc.placeholder(f"examples_{name}", ("b", 2, T, SIZE)) for name in "xr")
W = gc.placeholder("examples_w", (SIZE, SIZE))
INPUTS = [X, R, W]


def attention(x: Any, w: Any = W) -> Any:
    q = x @ w
    return gc.softmax(q @ gc.matrix_transpose(x) * 0.1) @ x


def gradients() -> list[Any]:
    loss = gc.sum(attention(X) * R)
    return [loss, *gc.grad(loss, [X, W])]


def compiled(outputs: list[Any], inputs: list[Any] = INPUTS, updates: Any = ()) -> Program:
    program = run_pipeline(Graph(inputs, outputs, updates), Stages(check=True)).program
    for b in (0, 1, 2, 5):
        check_memory(program, dict.fromkeys(program.graph.dims, b))
    return program


def chains(program: Program) -> list[Examples]:
    return [s for s in walk_steps(program.steps) if isinstance(s, Examples)]


# -- which chains ----------------------------------------------------------------------------------
def test_a_chain_with_products_of_a_batch() -> None:
    """Outside is what is added up over all examples; the scores have the room of one."""
    program = compiled(gradients())
    (chain,) = chains(program)
    assert str(chain.extent) == "b"
    assert "for __example1 in b examples:" in print_program(program)
    assert len(chain.body) >= 6
    kept = [t for t in program.temps if not t.frame and "b" in str(t.size)]
    assert len(kept) == 2  # the result and the cotangent of what w makes
    rooms = {t.size for t in program.temps if t.frame}
    assert rooms == {2 * T * T, 2 * T * SIZE, SIZE * SIZE}  # scores, rows, w packed


APART: dict[str, Any] = {
    "the examples meet": lambda: attention(X) - gc.mean(attention(X), axis=0),
    "the examples in turn": lambda: attention(attention(X)[::-1]),
}


@pytest.mark.parametrize("name", APART)
def test_what_needs_other_examples_is_no_part_of_it(name: str) -> None:
    program = compiled([APART[name]()])
    outside = [s for s in program.steps if not isinstance(s, Examples)]
    assert chains(program)
    assert outside if "meet" in name else len(chains(program)) == 2


def test_small_and_single_products_stay_steps_for_all() -> None:
    few = gc.placeholder("examples_few", (2, 2, T, SIZE))  # all of it stays in cache
    short = gc.placeholder("examples_short", ("b", 2, 8, SIZE))  # too little for a thread
    for x in (few, short):
        assert not chains(compiled([attention(x)], [x, W]))
    assert not chains(compiled([X @ W], [X, W]))


def test_a_batch_that_is_known_to_be_empty_is_no_chain() -> None:
    none = gc.placeholder("examples_none", (0, 2, T, SIZE))
    assert not chains(compiled([attention(none)], [none, W]))


def test_a_variable_is_not_written_before_what_may_fail() -> None:
    """Its update would be one of the chain, but another step may fail."""
    state = gc.variable(np.zeros((64, 2, T, SIZE), "f4"), name="examples_state")
    x = gc.placeholder("examples_y", (64, 2, T, SIZE))
    program = compiled([gc.sum(x)], [x, W], [(state, state + attention(x))])
    written = {"variable" for c in chains(program) for s in walk_steps([c]) if "variable" in str(s)}
    assert not written


def test_a_kernel_that_needs_the_number_of_its_turn_is_no_part_of_it() -> None:
    """Its own place in the batch is a number in it, which a part of the batch would have else."""
    place = gc.reshape(gc.arange(gc.shape(X)[0], dtype="float32"), (-1, 1, 1, 1))
    outputs = [attention(X) * place]
    step = gc.compile([X, W], outputs)
    rng = np.random.default_rng(4)
    given = [rng.normal(size=s).astype("f4") for s in ((3, 2, T, SIZE), (SIZE, SIZE))]
    expected = gc.compile([X, W], outputs, target="reference")(*given)
    np.testing.assert_allclose(step(*given), expected, rtol=1e-4, atol=1e-4)


# -- memory, cost ----------------------------------------------------------------------------------
def test_a_frame_is_at_the_end_of_the_arena() -> None:
    program = compiled(gradients())
    frame, program.frame = program.frame, 0
    with pytest.raises(CompileError, match="not in its place"):
        check_memory(program, {"b": 3})
    program.frame = frame
    check_memory(plan_memory(program), {"b": 3})


def test_the_cost_is_that_of_all_examples() -> None:
    program = compiled(gradients())
    work = sum(evaluate(s.flops, {"b": 7}) for s in program_cost(program).steps)
    products = 2 * 7 * 2 * T * SIZE * (SIZE * 3 + T * 6)  # by w three times, six of the scores
    assert products <= work < 1.2 * products


# -- values ----------------------------------------------------------------------------------------
def by_hand(x: Any, r: Any, w: Any) -> list[Any]:
    """The loss of `gradients` and its derivatives, in float64."""
    x, r, w = (a.astype(np.float64) for a in (x, r, w))
    q = x @ w
    e = np.exp(q @ x.swapaxes(-1, -2) * 0.1)
    p = e / e.sum(-1, keepdims=True)
    dp = r @ x.swapaxes(-1, -2)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * 0.1
    dq = ds @ x
    dx = dq @ w.T + ds.swapaxes(-1, -2) @ q + p.swapaxes(-1, -2) @ r
    return [np.sum(p @ x * r), dx, x.reshape(-1, SIZE).T @ dq.reshape(-1, SIZE)]


@pytest.mark.parametrize("own", [True, False])
def test_threads_take_examples(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By our routine, and where the processor has none; any number of threads gives one result."""
    if not own:
        monkeypatch.setattr("graphc.runtime.executable.product_addresses", lambda bits: (0, 0))
    outputs = gradients()
    steps = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("GRAPHC_NUM_THREADS", threads)
        steps.append(gc.compile(INPUTS, outputs, name=f"examples{own:d}"))
    rng = np.random.default_rng(1)
    for b in (7, 2, 1, 0):
        shapes = (b, 2, T, SIZE), (b, 2, T, SIZE), (SIZE, SIZE)
        given = [rng.normal(size=s).astype("f4") * 0.3 for s in shapes]
        first, *others = [step(*given) for step in steps]
        for found, expected in zip(first, by_hand(*given), strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)
        for other in others:
            assert [v.tobytes() for v in other] == [v.tobytes() for v in first]


def test_a_thread_that_comes_late_finds_nothing_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there alone takes all examples, in any frame."""
    number = ctypes.c_int64
    span = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, number, number)
    parts: list[int] = []

    @ctypes.CFUNCTYPE(None, span, ctypes.c_void_p, number, number, number, number)
    def share(run: Any, words: int, begin: int, end: int, unit: int, threads: int) -> None:
        parts.append(end - begin)
        for part in reversed(range(begin, end)):
            run(words, part, part + 1)

    address = ctypes.cast(share, ctypes.c_void_p).value
    monkeypatch.setattr("graphc.runtime.threads.share_address", lambda: address)
    monkeypatch.setenv("GRAPHC_NUM_THREADS", "3")
    step = gc.compile(INPUTS, gradients()[1:2], name="late")
    rng = np.random.default_rng(5)
    shapes = (7, 2, T, SIZE), (7, 2, T, SIZE), (SIZE, SIZE)
    given = [rng.normal(size=s).astype("f4") * 0.3 for s in shapes]
    np.testing.assert_allclose(step(*given)[0], by_hand(*given)[1], rtol=2e-4, atol=2e-4)
    assert parts == [3]


def test_the_driver_shares_the_whole_chain() -> None:
    """A range of parts that the pool is given; clocks look at each step instead."""
    program = compiled(gradients())
    shared = re.compile(r"call void %v\d+\(ptr @parts\d+, ptr %words")  # what shares a range
    assert len(shared.findall(print_driver(program, 32).text)) == 1
    assert not shared.findall(print_driver(program, 32, timed=True).text)


def test_a_product_of_a_chain_is_one_function() -> None:
    """Whether its examples go to threads or in order: the frame is told. The kernels are calls."""
    program = compiled(gradients())
    text = print_driver(program, 32).text
    own = {id(s.product if isinstance(s, Blocks) else s) for s in walk_steps(program.steps)
           if isinstance(s, (Blocks, Gemm))}  # fmt: skip
    made = re.findall(r"^define internal i32 @rows\d+\(", text, re.MULTILINE)
    assert len(made) == len(own) > 6


def test_whatever_takes_the_products_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels of all kinds behind products of small batches, also those that no chain may have."""
    for name in ("LEAST", "SHORT"):
        monkeypatch.setattr(examples, name, 0)
    monkeypatch.setattr(kernel_calls, "PARALLEL_WORK", 0)
    monkeypatch.setenv("GRAPHC_NUM_THREADS", "3")
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    x, w = gc.placeholder("examples_small", ("b", 2, 9, 5)), gc.placeholder("examples_v", (5, 5))
    outputs = []
    for i, taker in enumerate([*TAKERS.values()][::2]):
        made = taker((x * (i + 1)) @ w @ gc.matrix_transpose(x), gc.arange(9, dtype="float32"))
        outputs.append(made @ x if made.ndim == 4 and made.shape[-1] == 9 else made)
    step = gc.compile([x, w], outputs, name="taken_up")
    assert chains(step.compilation.compiled.program)
    rng = np.random.default_rng(2)
    for b in (1, 2, 7):
        given = [rng.normal(size=s).astype("f4") * 0.3 for s in ((b, 2, 9, 5), (5, 5))]
        expected = evaluate_graph(Graph([x, w], outputs), given)
        for found, value in zip(step(*given), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-3, atol=1e-3)
