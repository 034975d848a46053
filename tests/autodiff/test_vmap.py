"""vmap: axes, structures, nesting, control flow, random keys, derivatives, and what is refused.

That it is the stack of calls for every op is shown in `test_vmap_of_ops.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GraphcError, RuntimeFailure, ShapeError
from graphc.ir.graph import Graph, walk
from graphc.ir.node import apply
from graphc.ir.op import Kind, Op
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.show import print_program

from .mapped import RNG, agree, given, kinds, stack_of_calls


# -- axes and structures ---------------------------------------------------------------------------
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("out", [0, 1, -1, -2])
def test_any_axis_in_and_out(axis: int, out: int) -> None:
    x = RNG.normal(size=(2, 3, 4))
    a = given("a", *x.shape)
    f = gc.vmap(lambda v: v.T * 2, in_axes=axis, out_axes=out)
    each = [part.T * 2 for part in np.moveaxis(x, axis, 0)]
    np.testing.assert_array_equal(gc.evaluate(f(a), {a: x}), np.stack(each, out))


def test_axes_are_nested_as_the_arguments_are() -> None:
    x, y, z = given("x", "b", 3), given("y", 3, "b"), given("z", 3)

    def f(pair: Any, more: Any) -> Any:
        assert isinstance(pair["xs"], list)
        return {"sum": pair["xs"][0] + pair["xs"][1], "all": (more, pair["xs"][0][0])}

    axes = ({"xs": [0, -1]}, None)
    found = gc.vmap(f, in_axes=axes, out_axes={"sum": 1, "all": 0})({"xs": [x, y]}, z)
    a, b, c = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 5)), RNG.normal(size=3)
    tensors = [found["sum"], *found["all"]]
    values = gc.evaluate(tensors, {x: a, y: b, z: c})
    np.testing.assert_array_equal(values[0], a.T + b)
    np.testing.assert_array_equal(values[1], np.stack([c] * 5))
    np.testing.assert_array_equal(values[2], a[:, 0])


def test_what_is_not_mapped_is_given_as_it_is() -> None:
    x, seen = given("x", 4, 2), []

    def f(x: gc.Tensor, how: str, w: gc.Tensor, *, scale: float) -> tuple[gc.Tensor, gc.Tensor]:
        seen.append((how, w, scale))
        return x * scale + w, gc.exp(w)

    w = given("w", 2)
    mapped = gc.vmap(f, in_axes=(0, None, None), out_axes=(0, None))
    each, same = mapped(x, "as it is", w, scale=2.0)
    assert seen == [("as it is", w, 2.0)]
    assert same is gc.exp(w)
    assert each.shape == (4, 2)


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass
class State:
    x: Any
    step: Any


def test_axes_of_named_tuples_and_dataclasses() -> None:
    x, step = given("x", 3, 4), given("step")

    def f(state: State) -> State:
        return State(Pair(gc.sum(state.x.first), state.step), state.step + 1)

    axes = State(Pair(1, None), None)
    found = gc.vmap(f, in_axes=(axes,), out_axes=State(0, None))(State(Pair(x, x), step))
    assert isinstance(found, State)
    assert isinstance(found.x, Pair)
    assert [t.shape for t in (*found.x, found.step)] == [(4,), (4,), ()]


def test_a_size_of_one_argument_decides_for_those_of_another_name() -> None:
    x, y = given("x", "p", 2), given("y", 3, 2)
    z = gc.vmap(lambda a, b: a * b)(x, y)
    assert z.shape == (3, 2)
    with pytest.raises(ShapeError):
        gc.evaluate(z, {x: np.ones((1, 2)), y: np.ones((3, 2))})


def test_a_static_1_does_not_stretch_to_the_other_elements() -> None:
    x, y = given("x", 1, 2), given("y", "p", 2)
    z = gc.vmap(lambda a, b: a * b)(x, y)
    assert z.shape == (1, 2)
    with pytest.raises(ShapeError):
        gc.evaluate(z, {x: np.ones((1, 2)), y: np.ones((3, 2))})


def test_weak_results_stay_weak() -> None:
    z = gc.vmap(lambda a: a * 2)(gc.full((2,), 1.5))
    assert z.weak
    assert (z * given("x", 2, dtype="float32")).dtype is gc.float32


# -- nesting ---------------------------------------------------------------------------------------
def test_nested_twice() -> None:
    """All pairs: the inner function maps over one argument, the outer over the other."""
    x, y = given("x", "b", 3), given("y", "c", 3)
    pairs = gc.vmap(lambda a: gc.vmap(lambda b: a @ b)(y))(x)
    a, b = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3))
    np.testing.assert_allclose(gc.evaluate(pairs, {x: a, y: b}), a @ b.T, rtol=1e-12)


def test_nested_over_one_argument() -> None:
    x, i = given("x", "b", 2, 5), given("i", "b", 2, 3, dtype="int64")
    z = gc.vmap(gc.vmap(lambda v, at: gc.take(v, at) * gc.softmax(v)[:3]))(x, i)
    a, at = RNG.normal(size=(4, 2, 5)), RNG.integers(-5, 5, (4, 2, 3))
    soft = np.exp(a) / np.exp(a).sum(-1, keepdims=True)
    expected = np.take_along_axis(a, at, -1) * soft[..., :3]
    np.testing.assert_allclose(gc.evaluate(z, {x: a, i: at}), expected, rtol=1e-12)


# -- products --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((1, 2, 3), (5, 3, 4)),
        ((5, 2, 3), (6, 1, 3, 4)), ((3,), (3,)), ((1, 3), (3, 4)), ((2, 1), (1, 4)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_products_by_what_is_not_mapped(x: Any, y: Any, first: bool) -> None:
    a, b = RNG.normal(size=(4, *x)), RNG.normal(size=y)
    if first:
        agree(lambda v: v @ b, a)
    else:
        c = RNG.normal(size=(4, *y))
        agree(lambda v: a[0] @ v, c)


@pytest.mark.parametrize(
    "make",
    [lambda x, w: x @ w, lambda x, w: w.T @ x, lambda x, w: gc.outer(x, x) @ w,
     lambda x, w: w.T @ gc.outer(x, x)],
)  # fmt: skip
def test_a_product_by_one_matrix_is_one_product(make: Any) -> None:
    x, w = given("x", "b", 3), given("w", 3, 5)
    made = gc.vmap(lambda v: make(v, w))(x)
    (product,) = [n for n in walk([made]) if n.op.kind is Kind.CONTRACT]
    assert all(t.ndim == 2 for t in product.inputs)


def test_one_matrix_is_decomposed_once() -> None:
    x, a = given("x", "b", 3), given("a", 3, 3)
    made = gc.vmap(lambda v: gc.linalg.solve(a, v))(x)
    (solve,) = [n for n in walk([made]) if n.op.name == "solve"]
    assert [t.ndim for t in solve.inputs] == [2, 2]
    matrix, rows = RNG.normal(size=(3, 3)) + 4 * np.eye(3), RNG.normal(size=(4, 3))
    expected = np.linalg.solve(matrix, rows.T).T
    np.testing.assert_allclose(gc.evaluate(made, {x: rows, a: matrix}), expected, rtol=1e-12)


# -- branches and loops ----------------------------------------------------------------------------
def test_a_predicate_of_all_elements_stays_a_branch() -> None:
    x, p = given("x", "b", 2), given("p", dtype="bool")
    made = gc.vmap(lambda v: gc.cond(p, lambda: v * 2, lambda: gc.zeros((2,), "float64")))(x)
    assert "switch" in kinds(made)
    a = RNG.normal(size=(3, 2))
    for choice in (True, False):
        np.testing.assert_array_equal(gc.evaluate(made, {x: a, p: choice}), a * 2 * choice)


def test_a_predicate_of_each_element_is_a_choice() -> None:
    def f(v: gc.Tensor) -> gc.Tensor:
        return gc.cond(v[0] > 0, lambda t: gc.log(t) @ t, lambda t: gc.sum(t) * 3, v)

    made = agree(f, np.array([[1.0, 2.0], [-1.0, 3.0], [0.0, 1.0]]))
    assert "switch" not in kinds(made)


def test_an_index_of_each_element_is_a_choice() -> None:
    def f(i: gc.Tensor) -> gc.Tensor:
        return gc.switch(i, [lambda: 1.0 * i, lambda: 10.0 * i, lambda: 100.0 * i])

    made = agree(f, np.array([-1, 0, 1, 2, 3]))
    assert "switch" not in kinds(made)


def test_an_untaken_branch_does_not_reach_the_gradient() -> None:
    x = given("x", "b")

    def f(v: gc.Tensor) -> gc.Tensor:
        return gc.cond(v > 0, gc.log, lambda t: t * 2, v)

    expected = [0.5, 2.0, 2.0]
    for g in (gc.vmap(lambda v: gc.grad(f(v), v))(x), gc.grad(gc.sum(gc.vmap(f)(x)), x)):
        np.testing.assert_array_equal(gc.evaluate(g, {x: [2.0, 0.0, -1.0]}), expected)


def test_an_untaken_loop_does_not_reach_the_gradient() -> None:
    x = given("x", "b", 2)

    def f(v: gc.Tensor) -> gc.Tensor:
        def then() -> gc.Tensor:
            product = gc.scan(lambda c, a: (c * gc.sqrt(a), None), 1.0, v)[0]
            return product + gc.sum(gc.checkpoint(gc.log)(v))

        return gc.cond(v[0] > 0, then, lambda: v[1])

    for g in (gc.vmap(lambda v: gc.grad(f(v), v))(x), gc.grad(gc.sum(gc.vmap(f)(x)), x)):
        found = gc.evaluate(g, {x: [[0.0, 1.0], [1.0, 4.0]]})
        np.testing.assert_allclose(found, [[0, 1], [1 + 1, 0.25 + 0.25]], rtol=1e-12)


def test_gradients_where_what_may_fail_runs_in_the_branch_taken_only() -> None:
    x, i = given("x", "b", 3), given("i", "b", dtype="int64")

    def f(v: gc.Tensor, at: gc.Tensor) -> gc.Tensor:
        return gc.cond(at < 3, lambda: gc.square(gc.take(v, at)), lambda: v[0] * 3)

    a = np.arange(6.0).reshape(2, 3)
    each = gc.vmap(lambda v, at: gc.grad(f(v, at), v))(x, i)
    total = gc.grad(gc.sum(gc.vmap(f)(x, i)), x)
    for found in gc.evaluate([each, total], {x: a, i: [2, 9]}):
        np.testing.assert_array_equal(found, [[0, 0, 4], [3, 0, 0]])


def test_what_may_fail_runs_in_the_branch_taken_only() -> None:
    table = gc.constant(np.arange(3.0))

    def f(i: gc.Tensor) -> gc.Tensor:
        return gc.cond(i < 3, lambda at: gc.take(table, at), lambda at: -1.0 * at, i)

    made = agree(f, np.array([0, 7, 2]))
    assert {"scan", "switch"} & set(kinds(made)) == {"scan"}
    run = gc.compile([i := given("i", "b", dtype="int64")], gc.vmap(f)(i), name="vmap_fails")
    np.testing.assert_array_equal(run(np.array([2, 5])), [2.0, -5.0])
    taken = gc.compile([i], gc.vmap(lambda at: gc.take(table, at))(i), name="vmap_fails_all")
    with pytest.raises(RuntimeFailure):
        taken(np.array([2, 5]))


def test_a_carry_becomes_one_for_each_element_where_a_step_makes_it_so() -> None:
    """The first carry is from the second on, which is from x."""
    x = given("x", "b", 4)

    def f(v: gc.Tensor) -> gc.Tensor:
        def step(c: Any, xs: gc.Tensor) -> Any:
            first, second, count = c
            return (first + second, second * xs, count + 1), (first, count)

        (first, _, count), (firsts, counts) = gc.scan(step, (0.0, 1.0, 0.0), v)
        return first + gc.sum(firsts * counts) + count

    made = agree(f, RNG.normal(size=(3, 4)))
    (loop,) = [n for n in walk([made]) if n.op.kind is Kind.CONTROL]
    body: Graph = loop.attrs["body"]
    assert [t.shape for t in body.inputs[:3]] == [(x.shape[0],), (x.shape[0],), ()]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mapped", ["xs", "carry", "operand"])
def test_loops(mapped: str, reverse: bool) -> None:
    xs, carry, w = RNG.normal(size=(3, 5, 2)), RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2, 2))

    def f(v: gc.Tensor) -> gc.Tensor:
        start = v if mapped == "carry" else carry[0]
        rows = v if mapped == "xs" else xs[0]
        by = v if mapped == "operand" else gc.constant(w[0])

        def step(c: gc.Tensor, x: gc.Tensor) -> Any:
            c = gc.tanh(c @ by + x)
            return c, c * x

        last, ys = gc.scan(step, gc.constant(start) if mapped != "carry" else start, rows,
                           reverse=reverse)  # fmt: skip
        return gc.sum(ys, 0) + last

    arrays = {"xs": xs, "carry": carry, "operand": w}
    agree(f, arrays[mapped])
    agree(lambda v: gc.grad(gc.sum(f(v) ** 2), v), arrays[mapped])


def test_a_loop_is_the_program_that_is_written_for_a_batch() -> None:
    """With its gradient: products that leave the loop, loops that become one, and all."""
    w, u = (gc.variable(RNG.normal(size=(k, 32)).astype("float32")) for k in (16, 32))
    x = given("recurrent", "b", 20, 16, dtype="float32")

    def last(carry: gc.Tensor, xs: gc.Tensor) -> gc.Tensor:
        def step(c: gc.Tensor, v: gc.Tensor) -> Any:
            return gc.tanh(v @ w + c @ u), None

        return gc.scan(step, carry, xs)[0]

    zeros = gc.zeros((32,), "float32")
    each = gc.vmap(lambda v: gc.sum(last(zeros, v) ** 2))(x)
    written = last(gc.broadcast_to(zeros, (x.shape[0], 32)), gc.permute_dims(x, (1, 0, 2)))
    programs = [
        run_pipeline(Graph([x], [y, *gc.grad(y, [w, u])], name="loop"), Stages()).program
        for y in (gc.sum(each), gc.sum(written**2))
    ]
    texts = [print_program(program) for program in programs]
    assert texts[0] == texts[1]
    assert texts[0].count(" @ ") == 5


def test_a_loop_of_a_loop_in_a_branch() -> None:
    def f(v: gc.Tensor) -> gc.Tensor:
        def inner(t: gc.Tensor) -> gc.Tensor:
            return gc.scan(lambda c, x: (c * x + t[0], None), 1.0, t)[0]

        def step(c: gc.Tensor, x: gc.Tensor) -> Any:
            return gc.cond(x > 0, lambda: c + inner(v), lambda: c * x), None

        return gc.scan(step, 0.5, v)[0]

    a = RNG.normal(size=(6, 3))
    agree(f, a)
    agree(lambda v: gc.grad(f(v), v), a)
    agree(gc.vmap(f), a.reshape(2, 3, 3))


def _halvings(v: gc.Tensor) -> gc.Tensor:
    """Of v[0], until it is at most 1; v[1] is multiplied at each."""
    last = gc.while_loop(
        lambda c: c["x"] > 1,
        lambda c: {"count": c["count"] + 1, "x": c["x"] / 2, "y": c["y"] * v[1]},
        {"count": 0, "x": v[0], "y": 1.0},
    )
    return last["count"] + 10 * last["x"] + last["y"]


@pytest.mark.parametrize("size", ["b", 3])
def test_a_loop_ends_for_each_element_at_its_own_turn(size: Any) -> None:
    a = np.array([[100.0, 2.0], [0.5, 3.0], [7.0, -1.0]])
    made = agree(_halvings, a, size=size)
    assert "scan" not in kinds(made)
    run = gc.compile([x := given("x", size, 2)], gc.vmap(_halvings)(x), name="vmap_while")
    np.testing.assert_allclose(run(a), stack_of_calls(_halvings, a), rtol=1e-14)
    if size == "b":
        assert run(a[:0]).shape == (0,)


def test_a_loop_of_as_many_turns_for_all_elements() -> None:
    """Its condition needs no choice; the carries that elements do not reach stay one."""
    n = given("count", dtype="int64")
    x = given("x", "b")
    made = gc.vmap(lambda v: gc.fori_loop(0, n, lambda i, c: c * v + 1, 1.0))(x)
    (loop,) = [node for node in walk([made]) if node.op.kind is Kind.CONTROL]
    assert [t.shape for t in loop.attrs["body"].inputs[:2]] == [(), (x.shape[0],)]
    assert not loop.attrs["condition"].outputs[0].shape
    found = gc.evaluate(made, {x: [0.0, 1.0, 2.0], n: 3})
    np.testing.assert_array_equal(found, [1.0, 4.0, 15.0])


def test_what_may_fail_does_not_run_for_elements_that_have_ended() -> None:
    table = gc.constant(np.array([1, 2, 5]))

    def f(i: gc.Tensor) -> gc.Tensor:  # a walk through the table, as long as it has a place
        return gc.while_loop(lambda at: at < 3, lambda at: gc.take(table, at), i)

    made = agree(f, np.array([0, 2, 4]))
    assert "scan" in kinds(made)


def test_an_op_that_says_nothing_goes_element_by_element() -> None:
    op = Op(
        "undeclared", Kind.HOST, lambda x, y: (x,), numpy=lambda x, y: np.sort(x) * y[0],
    )  # fmt: skip
    a, b = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 2))
    made = agree(lambda v, w: apply(op, (v, w)).output(), a, b)
    assert [n.attrs["xs"] for n in walk([made]) if n.op.kind is Kind.CONTROL] == [2]
    agree(lambda w: apply(op, (gc.constant(a[0]), w)).output(), b)


@pytest.mark.parametrize("vjp", [None, lambda context, g, out, x: [g * 10.0]])
def test_a_composite_that_says_nothing_is_its_definition(vjp: Any) -> None:
    """Unless it has a derivative of its own, which that of the definition need not be."""
    op = Op(
        "undeclared_composite", Kind.COMPOSITE, lambda x: (x,), numpy=lambda x: x - x.sum(),
        expand=lambda x: x - gc.sum(x), vjp=vjp,
    )  # fmt: skip

    def f(v: gc.Tensor) -> gc.Tensor:
        return apply(op, (v * 2,)).output()

    made = agree(f, RNG.normal(size=(3, 4)))
    assert ("scan" in kinds(made)) == bool(vjp)
    x = given("composite", 3, 4)
    if vjp:
        slope = gc.grad(gc.sum(gc.vmap(f)(x)), x)
        np.testing.assert_array_equal(gc.evaluate(slope, {x: np.ones((3, 4))}), np.full((3, 4), 20))


# -- random numbers --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "draw",
    [
        lambda key: gc.random.normal(key, (3,), "float64"),
        lambda key: gc.random.uniform(gc.random.split(key, 3)[1], (2, 2), "float64"),
        lambda key: gc.random.bernoulli(gc.random.fold_in(key, 3), 0.5, (5,)),
        lambda key: gc.random.random_bits(key),
    ],
)
def test_keys_of_all_elements_are_as_each_by_itself(draw: Any) -> None:
    keys = gc.random.split(gc.random.key(3), 4)
    each = gc.evaluate([draw(k) for k in keys], {})
    np.testing.assert_array_equal(gc.evaluate(gc.vmap(draw)(keys), {}), np.stack(each))


def test_a_key_that_is_not_mapped_is_one_for_all() -> None:
    key, x = gc.random.key(3), given("x", 3, 2)
    made = gc.vmap(lambda v: v + gc.random.normal(key, (2,), "float64"))(x)
    found = gc.evaluate(made, {x: np.zeros((3, 2))})
    assert (found == found[0]).all()


def test_folding_in_each_element() -> None:
    key, i = gc.random.key(5), given("i", 4, dtype="int64")
    made = gc.vmap(lambda at: gc.random.fold_in(key, at))(i)
    each = gc.evaluate([gc.random.fold_in(key, at) for at in (3, 1, 4, 1)], {})
    np.testing.assert_array_equal(gc.evaluate(made, {i: [3, 1, 4, 1]}), each)


# -- bad input -------------------------------------------------------------------------------------
def _id(*values: Any) -> Any:
    return values[0]


@pytest.mark.parametrize(
    ("build", "kind", "expected", "told"),
    [
        (lambda x: gc.vmap(3)(x), ArgumentError, "a callable", "3"),
        (lambda x: gc.vmap(_id, in_axes=None)(x), ArgumentError, "an int for one", "None for all"),
        (lambda x: gc.vmap(_id)(), ArgumentError, "an int for one", "no arguments"),
        (lambda x: gc.vmap(_id, in_axes=(0, 0))(x), ArgumentError, "(tensor,)", "(0, 0)"),
        (lambda x: gc.vmap(_id, in_axes=({"a": 0},))(x), ArgumentError, "tensor", "{'a': 0}"),
        (lambda x: gc.vmap(_id, in_axes=([0, 1],))([x]), ArgumentError, "[tensor]", "[0, 1]"),
        (lambda x: gc.vmap(_id, in_axes=1.5)(x), ArgumentError, "an int, None", "1.5"),
        (lambda x: gc.vmap(_id, in_axes=True)(x), ArgumentError, "an int, None", "True"),
        (lambda x: gc.vmap(_id, in_axes=2)(x), ShapeError, "-2 <= axis < 2", "axis 2 of f64"),
        (lambda x: gc.vmap(_id, in_axes=-3)(x), ShapeError, "-2 <= axis < 2", "axis -3 of f64"),
        (lambda x: gc.vmap(_id)(2.0), ShapeError, "a tensor with axes", "axis 0"),
        (lambda x: gc.vmap(_id)("x"), ArgumentError, "a tensor", "'x'"),
        (
            lambda x: gc.vmap(_id, in_axes=(0, 1))(x, x), ShapeError,
            "4 elements", "4 along axis 0 of arguments[0], 3 along axis 1 of arguments[1]",
        ),
        (lambda x: gc.vmap(_id, out_axes=2)(x), ShapeError, "-2 <= axis < 2", "axis 2"),
        (lambda x: gc.vmap(_id, out_axes=None)(x), ArgumentError, "the axis", "None"),
        (lambda x: gc.vmap(_id, out_axes=(0, 0))(x), ArgumentError, "tensor", "(0, 0)"),
        (lambda x: gc.vmap(lambda v: "no")(x), ArgumentError, "a tensor", "'no'"),
    ],
)  # fmt: skip
def test_errors(build: Any, kind: type[GraphcError], expected: str, told: str) -> None:
    with pytest.raises(kind) as caught:
        build(given("x", 4, 3))
    error = caught.value
    assert error.op == "vmap"
    assert expected in error.expected
    assert told in error.given
    assert __file__ in error.where
