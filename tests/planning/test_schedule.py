"""schedule and plan_memory: the order of steps, what is written where, and what shares memory."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from graphc.ir.dim import evaluate
from graphc.planning.check_memory import check_memory
from graphc.planning.program import Branch, Call, Copy, Gemm, Loop, walk_steps
from graphc.planning.show import print_program
from tests.fusion.test_fuse import mlp_step

D = "float64"


def program(*arguments: Any) -> Any:
    return gc.compile(*arguments).compilation.compiled.program


def kinds(*arguments: Any) -> list[str]:
    return [type(s).__name__ for s in walk_steps(program(*arguments).steps)]


def test_a_training_step(golden: Any) -> None:
    golden("plan_memory/mlp_step", print_program(program(*mlp_step())))


def test_a_recurrent_step(golden: Any) -> None:
    x, w = gc.placeholder("x", ("t", "b", 3), D), gc.variable(np.ones((3, 3)), name="w")
    h = gc.variable(np.zeros((1, 3)), name="h")
    first = gc.broadcast_to(h[0], x.shape[1:])
    _, ys = gc.scan(lambda c, v: ((q := gc.tanh(c @ w + v)), q), first, x)
    loss = gc.sum(ys * ys)
    updates = {w: w - gc.grad(loss, w)}
    golden("plan_memory/recurrent_step", print_program(program([x], loss, updates)))


def test_a_convolutional_step(golden: Any) -> None:
    """A product for each convolution and each of its gradients but the first, whose windows are
    copied; one kernel pools, with bias and activation, and one undoes that."""
    random = np.random.default_rng(0)
    x, y = gc.placeholder("x", ("n", 1, 12, 12)), gc.placeholder("y", ("n",), "int64")
    shapes = {"k1": (16, 1, 3, 3), "b1": (16, 1, 1), "k2": (32, 16, 3, 3), "b2": (32, 1, 1),
              "w": (288, 10), "b": (10,)}  # fmt: skip
    k1, b1, k2, b2, w, b = parameters = [
        gc.variable(random.standard_normal(s).astype("float32"), name=n) for n, s in shapes.items()
    ]
    h = gc.max_pool(gc.relu(gc.conv(x, k1, padding=1) + b1), 2)
    h = gc.max_pool(gc.relu(gc.conv(h, k2, padding=1) + b2), 2)
    loss = gc.mean(gc.softmax_cross_entropy(gc.reshape(h, (-1, 288)) @ w + b, y))
    updates = gc.optim.SGD(0.1).minimize(loss, parameters)
    golden("plan_memory/convolutional_step", print_program(program([x, y], loss, updates)))


def test_updates_are_computed_in_place() -> None:
    w, v = gc.variable(np.zeros(4), name="w"), gc.variable(np.zeros(4), name="v")
    assert kinds([], [], {w: w + 1}) == ["Call"]
    assert kinds([], [], {w: w * v, v: v - 1}) in (["Call"], ["Call", "Call"])
    # where another element is read, the new value waits in memory of its own
    assert sorted(kinds([], [], {w: w[::-1] * 2})) == ["Call", "Copy"]


def test_an_output_of_an_updated_variable_is_copied_first() -> None:
    w = gc.variable(np.zeros(4), name="w")
    made = program([], w, {w: w + 1})
    storages = {s.kind for s in (*made.outputs, *made.variables)}
    assert storages == {"output", "variable"}
    copies = [s for s in made.steps if isinstance(s, Copy)]
    first_write = next(
        i
        for i, s in enumerate(made.steps)
        if isinstance(s, Call) and any(r.storage.kind == "variable" for r in s.written)
    )
    assert copies[0].source.storage.kind == "variable"
    assert made.steps.index(copies[0]) < first_write


def test_no_variable_is_written_before_the_last_step_that_can_fail() -> None:
    w, v = gc.variable(np.eye(3), name="w"), gc.variable(np.eye(3), name="v")
    i = gc.placeholder("i", ("k",), "int64")
    made = program([i], gc.take(v, i), {w: w + 1, v: gc.linalg.inv(v) + gc.sum(gc.take(w, i))})
    fails = [k for k, s in enumerate(made.steps) if getattr(s, "sites", ()) or hasattr(s, "site")]
    writes = [
        k
        for k, s in enumerate(made.steps)
        if any(r.storage.kind == "variable" for r in getattr(s, "written", ()))
        or (isinstance(s, Copy) and s.target.storage.kind == "variable")
    ]
    assert fails
    assert len(writes) == 2
    assert max(fails) < min(writes)


def test_moved_operands_of_products_are_not_copied() -> None:
    x, y = gc.placeholder("x", ("n", "m"), D), gc.placeholder("y", ("b", "n", "m"), D)
    products = [x.T @ x, x @ x.T, x[1:] @ x[1:].T, x[:, 2:].T @ x, x[::2] @ x[::2].T, y @ x.T]
    products += [gc.permute_dims(y, (0, 2, 1)) @ x, y[::-1] @ x.T]
    assert kinds([x, y], products) == ["Gemm"] * len(products)
    assert sorted(kinds([x, y], x[:, ::-1] @ x.T)) == ["Call", "Gemm"]


def test_a_loop_is_one_step_with_its_body() -> None:
    x = gc.placeholder("x", ("t", 4), D)
    made = program([x], gc.scan(lambda c, v: (gc.tanh(c + v), c), x[0] * 0, x))
    (loop,) = [s for s in made.steps if isinstance(s, Loop)]
    assert loop.body
    assert str(loop.extent) == "t"
    assert not [s for s in made.steps if isinstance(s, Gemm)]


def test_a_while_loop_is_a_loop_that_is_left_and_a_switch_one_branch() -> None:
    x, i = gc.placeholder("x", (4,), D), gc.placeholder("i", (), "int64")
    looped = gc.while_loop(lambda c: gc.sum(c) < 1, gc.exp, x)
    made = program([x, i], gc.switch(i, [gc.sin, gc.cos, gc.tanh], looped))
    (loop,) = [s for s in made.steps if isinstance(s, Loop)]
    assert loop.extent is None
    assert [type(s).__name__ for s in loop.body] == ["Leave", "Call"]
    (branch,) = [s for s in made.steps if isinstance(s, Branch)]
    assert [len(side) for side in branch.sides] == [1, 1, 1]
    text = print_program(made)
    for line in ("loop:", "leave unless", "if input1 <= 0:", "if input1 == 1:", "else:"):
        assert line in text
    check_memory(made)


def test_temporaries_share_memory_when_their_lives_do_not_meet() -> None:
    x = gc.placeholder("x", ("n", 64))
    h = x
    for _ in range(10):
        h = gc.tanh(h @ gc.variable(np.zeros((64, 64), "f4")))
    made = program([x], h)
    one = 4 * 64 * 1000
    assert evaluate(made.arena, {"n": 1000}) <= 2 * one + 128
    lives = [s.offset for s in made.temps]
    assert len(lives) > len(set(map(str, lives)))


def test_a_product_is_written_in_the_order_that_is_wanted() -> None:
    q = gc.placeholder("q", ("b", "t", 4, 8), D)
    heads = gc.permute_dims(q, (0, 2, 1, 3))
    scores = heads @ gc.matrix_transpose(heads)
    together = gc.reshape(gc.permute_dims(scores @ heads, (0, 2, 1, 3)), ("b", "t", 32))
    assert kinds([q], gc.stop_gradient(together)) == ["Gemm", "Gemm"]
    x, y = gc.placeholder("x", ("n", 20), D), gc.placeholder("y", (20, "m"), D)
    assert kinds([x, y], gc.reshape((x @ y).T, (-1,))) == ["Gemm"]
    both = x @ y
    assert sorted(kinds([x, y], [both, gc.reshape(both.T, (-1,))])) == ["Call", "Gemm"]
    three = gc.placeholder("three", ("n", 5, 20), D)
    neither = gc.permute_dims(three @ y, (1, 2, 0))  # rows and columns are both apart
    assert sorted(kinds([three, y], gc.reshape(neither, (-1,)))) == ["Call", "Gemm"]
