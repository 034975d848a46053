"""Nodes and tensors: interning, life and death, threads, and what a tensor without value cannot."""

from __future__ import annotations

import copy
import gc as collector
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    GraphcError,
    ShapeError,
    SymbolicValueError,
)
from graphc.ir.node import ArrayValue, apply, current_serial
from graphc.ir.op import registry
from graphc.machines import LINE, PAGE


# -- interning -------------------------------------------------------------------------------------
def test_the_same_expression_is_the_same_object() -> None:
    x = gc.placeholder("x", ("n", 4))
    assert gc.placeholder("x", ("n", 4)) is x
    assert gc.placeholder("x", ("n", 4), "float64") is not x
    assert (gc.tanh(x) * 2 + x[1]) is (gc.tanh(x) * 2 + x[1])
    assert gc.sum(x, axis=0) is gc.sum(x, axis=-2)
    assert (x + 1) is not (x + 2)
    assert gc.constant([1.0, 2.0]) is gc.constant(np.array([1, 2], np.float32))


def test_the_order_of_attributes_makes_no_other_node() -> None:
    x = gc.placeholder("x", (3,))
    attrs = {"starts": (0,), "sizes": (2,), "steps": (1,)}
    turned = dict(reversed(attrs.items()))
    assert list(turned) != list(attrs)
    assert apply(registry()["slice"], (x,), **turned) is apply(registry()["slice"], (x,), **attrs)


def test_constants_differ_by_their_bytes() -> None:
    assert gc.constant(0.0) is not gc.constant(-0.0)
    assert gc.constant(1) is not gc.constant(1.0)
    assert gc.constant(np.float32(1)) is not gc.constant(np.float64(1))
    assert gc.constant([[1.0]]) is not gc.constant([1.0])
    nan = np.array(np.nan, np.float32)
    assert gc.constant(nan) is gc.constant(nan)
    assert gc.constant(nan) is not gc.constant(-nan)


def test_float_attributes_differ_by_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gc.placeholder("x", (3,))
    scaled = gc.ir.op.Op("scaled", gc.ir.op.Kind.MAP, lambda t, **attrs: (t,))
    monkeypatch.setitem(registry(), "scaled", scaled)
    nodes = {apply(scaled, (x,), by=by) for by in (0.0, -0.0, 0, 1, 1.0, (0.0,), (-0.0,))}
    assert len(nodes) == 7


def test_an_array_value_is_a_read_only_copy() -> None:
    given = np.arange(6.0).reshape(2, 3).T
    value = ArrayValue(given)
    given[0, 0] = 9
    assert value.array[0, 0] == 0
    assert value.array.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        value.array[0, 0] = 1
    assert value == ArrayValue(np.array(value.array, ">f8"))
    assert value != ArrayValue(value.array.astype(np.float32))


def test_variables_have_identity() -> None:
    a, b = gc.variable([1.0], name="w"), gc.variable([1.0], name="w")
    assert a is not b
    assert (a + 1) is not (b + 1)
    assert a.node.output() is a
    assert isinstance(a, gc.Variable)


def test_serials_grow_from_operands_to_users() -> None:
    before = current_serial()
    x = gc.placeholder("serial", (3,))
    y = gc.exp(gc.exp(x))
    assert before < x.node.serial < y.node.inputs[0].node.serial < y.node.serial


def test_what_is_dropped_is_freed() -> None:
    x = gc.placeholder("freed", (3,))
    y = gc.tanh(x) * 2
    alive = [weakref.ref(y), weakref.ref(y.node), weakref.ref(y.node.inputs[0].node)]
    del y
    collector.collect()
    assert [r() for r in alive] == [None] * 3
    again = gc.tanh(x) * 2
    assert again.node.types[0] == x.type


def test_several_outputs() -> None:
    x = gc.placeholder("x", ("n", 4))
    value, position = gc.max_and_argmax(x, axis=1)
    assert value.node is position.node
    assert (value.index, position.index) == (0, 1)
    assert (str(value.type), str(position.type)) == ("f32[n]", "i64[n]")
    assert gc.max_and_argmax(x, axis=1)[1] is position
    assert value.node.outputs == (value, position)
    node = value.node
    del value, position
    assert [t.index for t in node.outputs] == [0, 1]


def test_threads_build_the_same_nodes() -> None:
    x = gc.placeholder("shared", ("n",))
    barrier, results = threading.Barrier(8), []

    def build() -> None:
        barrier.wait()
        y = x
        for i in range(300):
            y = gc.tanh(y) * (i % 7)
        results.append(y)

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert len(set(map(id, results))) == 1


# -- variables -------------------------------------------------------------------------------------
def test_a_copy_of_a_tensor_is_itself_and_a_deep_copy_of_a_variable_is_new() -> None:
    x, w = gc.placeholder("x", (2,)), gc.variable([1.0, 2.0], name="w", trainable=False)
    assert copy.copy(x) is copy.deepcopy(x) is x
    assert copy.copy(w) is w
    copied = copy.deepcopy({"w": w, "again": [w]})
    new = copied["w"]
    assert isinstance(new, gc.Variable)
    assert copied["again"][0] is new
    new.value = [3.0, 4.0]
    assert (w.value.tolist(), new.name, new.trainable) == ([1.0, 2.0], "w", False)


def test_values_are_copied_in_and_out() -> None:
    array = np.ones(3, np.float32)
    w = gc.variable(array, name="w", trainable=False)
    array[0] = 5
    with pytest.raises(ValueError, match="read-only"):
        w.value[1] = 5
    np.array(w.value)[1] = 5
    np.testing.assert_array_equal(w.value, [1, 1, 1])
    w.value = [1, 2, 3]
    np.testing.assert_array_equal(w.value, [1, 2, 3])
    assert (w.name, w.trainable, w.value.dtype) == ("w", False, np.float32)


def test_a_value_that_does_not_fit_is_refused() -> None:
    w = gc.variable([1, 2], name="w")
    with pytest.raises(ShapeError, match=r"expected: \(2,\)\n  given:    \(3,\)"):
        w.value = [1, 2, 3]
    with pytest.raises(DTypeError, match=r"expected: int64\n  given:    an array of float64"):
        w.value = [1.5, 2.5]
    np.testing.assert_array_equal(w.value, [1, 2])


# -- what a tensor without a value cannot do -------------------------------------------------------
NO_VALUE: list[tuple[Callable[[Any], Any], str]] = [
    (lambda t: bool(t), "astype"),
    (lambda t: t and t, "gc.logical_and"),
    (lambda t: int(t), "astype"),
    (lambda t: float(t), "compile and call"),
    (lambda t: [1, 2][t], "gc.take"),
    (lambda t: len(t), ".shape"),
    (lambda t: list(t), "gc.scan"),
    (lambda t: np.asarray(t), "gc.evaluate"),
    (lambda t: np.zeros(3) + np.array(t), "gc.evaluate"),
    (lambda t: 3 in t, "comparison"),
]


@pytest.mark.parametrize(("use", "hint"), NO_VALUE)
def test_a_symbolic_tensor_has_no_value(use: Callable[[Any], Any], hint: str) -> None:
    with pytest.raises(SymbolicValueError) as caught:
        use(gc.placeholder("x", ("n", 2)))
    assert hint in caught.value.hint
    assert caught.value.where == f"{__file__}:{use.__code__.co_firstlineno}"


def test_a_static_first_axis_can_be_iterated() -> None:
    x = gc.placeholder("x", (3, "n"))
    assert len(x) == 3
    rows = list(x)
    assert rows[1] is x[1]
    with pytest.raises(ShapeError, match="a scalar has no length"):
        len(gc.placeholder("x", ()))


def test_hash_is_identity_and_equality_builds_a_node() -> None:
    x = gc.placeholder("x", (3,))
    assert {x: 1}[x] == 1
    assert str((x == x).type) == "bool[3]"
    assert (x != 2).node.op.name == "not_equal"


# -- errors name the op, what was expected, what was given, and the user's line --------------------
def x() -> Any:
    return gc.placeholder("x", ("n", 4))


ERRORS: list[tuple[type[GraphcError], str, Callable[[], Any]]] = [
    (ShapeError, "add", lambda: x() + gc.placeholder("y", ("n + 1", 4))),
    (ShapeError, "matmul", lambda: x() @ gc.zeros((3, 4))),
    (ShapeError, "matmul", lambda: x() @ 2.0),
    (ShapeError, "reshape", lambda: x().reshape(3)),
    (ShapeError, "reshape", lambda: x().reshape(-1, -1)),
    (ShapeError, "sum", lambda: gc.sum(x(), axis=5)),
    (ShapeError, "sum", lambda: gc.sum(x(), axis=(0, 0))),
    (ArgumentError, "sum", lambda: gc.sum(x(), axis="rows")),
    (ShapeError, "getitem", lambda: x()[0, 0, 0]),
    (ShapeError, "getitem", lambda: x()[:, 9]),
    (ArgumentError, "getitem", lambda: x()["rows"]),
    (ArgumentError, "getitem", lambda: x()[..., ...]),
    (ArgumentError, "getitem", lambda: x()[::0]),
    (ArgumentError, "placeholder", lambda: gc.placeholder("", (2,))),
    (ArgumentError, "dim", lambda: gc.placeholder("q", (-2,))),
    (DTypeError, "dtype", lambda: gc.placeholder("q", (2,), "longdouble")),
    (DTypeError, "constant", lambda: gc.constant("text")),
    (ArgumentError, "constant", lambda: gc.constant([[1], [1, 2]])),
    (ArgumentError, "add", lambda: gc.add(x(), None)),
    (ArgumentError, "tanh", lambda: gc.tanh("text")),
    (ArgumentError, "variable", lambda: gc.variable([1.0], name=3)),
    (DTypeError, "bitwise_invert", lambda: ~x()),
    (ArgumentError, "concat", lambda: gc.concat([])),
    (ShapeError, "concat", lambda: gc.concat([x(), gc.placeholder("y", ("m", 5))])),
    (ShapeError, "permute_dims", lambda: x().transpose(0, 0)),
    (ShapeError, "squeeze", lambda: gc.squeeze(x(), 0)),
    (ShapeError, "broadcast_to", lambda: gc.broadcast_to(x(), (3, 5))),
    (DTypeError, "take", lambda: gc.take(x(), gc.constant([0.5]))),
    (ShapeError, "split", lambda: gc.split(x(), 3, axis=1)),
    (ArgumentError, "split", lambda: gc.split(x(), x().shape[0])),
    (ArgumentError, "split", lambda: gc.split(x(), 1.5)),
    (ShapeError, "pad", lambda: gc.pad(x(), [(1, 2, 3)])),
    (ArgumentError, "dim", lambda: gc.pad(x(), 1.5)),
    (ArgumentError, "dim", lambda: gc.pad(x(), None)),
    (ArgumentError, "dim", lambda: gc.pad(x(), [1.5])),
    (DTypeError, "dtype", lambda: x().astype("text")),
    (GradientError, "grad", lambda: gc.grad(x(), x())),
    (ArgumentError, "grad", lambda: gc.grad(3, x())),
    (ArgumentError, "numpy.linalg.eigvals", lambda: np.linalg.eigvals(x())),
    (ArgumentError, "numpy.sort_complex", lambda: np.sort_complex(x())),
    (ArgumentError, "numpy.add", lambda: np.add(x(), x(), out=np.zeros(3))),
    (ArgumentError, "numpy.add", lambda: np.add.reduceat(x(), [0])),
    (ShapeError, "evaluate", lambda: gc.evaluate(x(), {x(): np.zeros((2, 3))})),
    (ShapeError, "evaluate", lambda: gc.evaluate(x(), {x(): np.zeros(2)})),
    (ArgumentError, "evaluate", lambda: gc.evaluate("text", {})),
]


@pytest.mark.parametrize(("kind", "op", "wrong"), ERRORS)
def test_errors_say_what_and_where(
    kind: type[GraphcError], op: str, wrong: Callable[[], Any]
) -> None:
    with pytest.raises(kind) as caught:
        wrong()
    error, message = caught.value, str(caught.value)
    assert error.op.split(".")[-1] == op.split(".")[-1]
    assert message.startswith(f"{error.op}: ")
    assert error.expected or error.given or error.hint
    assert error.where == f"{__file__}:{wrong.__code__.co_firstlineno}"
    assert f"  at:       {error.where}" in message


def test_values_of_variables_start_lines_and_large_ones_differ_in_their_pages() -> None:
    """A parameter and the optimiser's state of it are walked over in step."""
    random = np.random.default_rng(0)
    values = [random.random(size).astype(kind) for size in (1, 7, 9_000) for kind in ("f4", "f8")]
    for value in values:
        held = gc.variable(value, name="held").cell.array
        assert held.ctypes.data % LINE == 0
        np.testing.assert_array_equal(held, value)
    large = [gc.variable(np.zeros(9_000 + i, "f4"), name=f"large{i}") for i in range(64)]
    assert len({v.cell.array.ctypes.data % PAGE for v in large}) == len(large)
