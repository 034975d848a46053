"""Bad input: a documented error that names the op, what was expected and given, and the line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc as gc
from graphc.errors import (
    ArgumentError,
    DTypeError,
    GradientError,
    GraphcError,
    GraphError,
    LinAlgError,
    RuntimeFailure,
    ShapeError,
    SymbolicValueError,
)

X = gc.placeholder("x", ("n", 3))
Y = gc.placeholder("y", ("n",), "int64")
W = gc.variable(np.ones((3, 2), "f4"), name="w")


def assert_named(error: GraphcError, line: bool = True) -> None:
    """The error says what it is about, what was given, and where in this file."""
    assert type(error) is not GraphcError
    assert error.op
    assert error.message
    assert error.given or error.expected or isinstance(error, RuntimeFailure)
    text = str(error)
    assert error.op in text
    assert error.message in text
    if line:
        assert "test_bad_input.py:" in error.where, text
        assert error.where in text


# -- calls -----------------------------------------------------------------------------------------
GOOD_X, GOOD_Y = np.ones((2, 3), "f4"), np.array([0, 1])
CALLS: dict[str, tuple[type[GraphcError], tuple[Any, ...], dict[str, Any]]] = {
    "no inputs": (ArgumentError, (), {}),
    "one missing": (ArgumentError, (GOOD_X,), {}),
    "one too many": (ArgumentError, (GOOD_X, GOOD_Y, GOOD_Y), {}),
    "an unknown name": (ArgumentError, (GOOD_X,), {"z": GOOD_Y}),
    "given twice": (ArgumentError, (GOOD_X,), {"x": GOOD_X}),
    "rank 1": (ShapeError, (np.ones(3, "f4"), GOOD_Y), {}),
    "rank 3": (ShapeError, (np.ones((2, 3, 1), "f4"), GOOD_Y), {}),
    "a scalar": (ShapeError, (1.0, GOOD_Y), {}),
    "a wrong static size": (ShapeError, (np.ones((2, 4), "f4"), GOOD_Y), {}),
    "dims that disagree": (ShapeError, (GOOD_X, np.array([0, 1, 1])), {}),
    "dims that disagree at 0": (ShapeError, (GOOD_X, np.array([], "int64")), {}),
    "None": (ArgumentError, (None, GOOD_Y), {}),
    "a string": (ArgumentError, ("abc", GOOD_Y), {}),
    "bytes": (ArgumentError, (b"abc", GOOD_Y), {}),
    "an array of objects": (ArgumentError, (np.array([[None] * 3]), GOOD_Y), {}),
    "an array of strings": (ArgumentError, (np.array([["a"] * 3]), GOOD_Y), {}),
    "complex numbers": (DTypeError, (np.ones((2, 3), complex), GOOD_Y), {}),
    "dates": (ArgumentError, (np.zeros((2, 3), "M8[s]"), GOOD_Y), {}),
    "records": (ArgumentError, (np.zeros((2, 3), "f4,f4"), GOOD_Y), {}),
    "ragged lists": (ArgumentError, ([[1, 2, 3], [1]], GOOD_Y), {}),
    "a dict": (ArgumentError, ({"x": 1}, GOOD_Y), {}),
    "a function": (ArgumentError, (len, GOOD_Y), {}),
    "a symbolic tensor": (ArgumentError, (X, GOOD_Y), {}),
    "floats for ints": (DTypeError, (GOOD_X, np.array([0.0, 1.0])), {}),
    "bools are no floats lost": (DTypeError, (GOOD_X, np.array([0.5, 1.0], "f4")), {}),
    "too large a float": (DTypeError, (np.array([[1e300, 0, 0], [np.inf, 0, 0]]), GOOD_Y), {}),
    "too large an int": (DTypeError, (GOOD_X, np.array([2**64 - 1, 0], "uint64")), {}),
}


@pytest.fixture(scope="module", params=["cpu", "reference"])
def function(request: pytest.FixtureRequest) -> Any:
    loss = gc.mean(gc.nn.losses.softmax_cross_entropy(X @ W, Y))
    return gc.compile([X, Y], loss, {W: W - gc.grad(loss, W)}, name="step", target=request.param)


@pytest.mark.parametrize("case", CALLS)
def test_a_bad_call(function: Any, case: str) -> None:
    kind, arrays, named = CALLS[case]
    before = W.value.tobytes()
    with pytest.raises(kind) as caught:
        function(*arrays, **named)
    assert_named(caught.value)
    assert "step" in caught.value.op
    assert W.value.tobytes() == before
    function(GOOD_X, GOOD_Y)  # it still works


@pytest.mark.parametrize("label", [-1, 2, 2**40])
def test_a_label_that_is_no_class_names_the_line_of_the_loss(function: Any, label: int) -> None:
    before = W.value.tobytes()
    with pytest.raises(RuntimeFailure, match="label is out of range") as caught:
        function(GOOD_X, np.array([0, label]))
    assert_named(caught.value)
    assert W.value.tobytes() == before


def test_a_singular_matrix_names_the_line_of_the_solve() -> None:
    a, b = gc.placeholder("a", (2, 2), "float64"), gc.variable(np.ones(2), name="b")
    solved = gc.linalg.solve(a, b)
    line = solved.node.inputs[0].node.origins[0].line
    loss = gc.sum(solved**2)
    function = gc.compile([a], loss, {b: b - gc.grad(loss, b)})
    with pytest.raises(LinAlgError, match=r"solve: .*singular") as caught:
        function(np.zeros((2, 2)))
    assert_named(caught.value)
    assert line
    np.testing.assert_array_equal(b.value, np.ones(2))
    np.testing.assert_allclose(function(np.eye(2)), 2)


def test_a_line_that_shares_nodes_with_an_earlier_one_is_named() -> None:
    a = gc.placeholder("a", (2, 2), "float64")
    kept = gc.sum(a)  # the same node again in the line that fails, which comes later
    choice = gc.cond(gc.sum(a) > 0, gc.linalg.inv, lambda a: a, a)
    with pytest.raises(LinAlgError) as caught:
        gc.compile([a], [kept, choice])(np.ones((2, 2)))
    assert caught.value.where == str(choice.node.origins[0])


# -- building --------------------------------------------------------------------------------------
s, v, m = gc.placeholder("s"), gc.placeholder("v", (4,)), gc.placeholder("m", (2, 3))
q = gc.placeholder("q", ("k", 3))
BUILDS: dict[str, tuple[type[GraphcError], Callable[[], Any]]] = {
    "sizes that do not broadcast": (ShapeError, lambda: v + m),
    "dims that are never equal": (ShapeError, lambda: X + gc.concat([X, gc.ones((1, 3))])),
    "dims that are equal at 0 only": (ShapeError, lambda: X + gc.concat([X, X])),
    "dims that contradict": (
        ShapeError, lambda: gc.evaluate([X + q, gc.concat([X, X]) + q], {X: GOOD_X, q: GOOD_X}),
    ),
    "a dim that is two sizes": (
        ShapeError, lambda: gc.compile([X], [X[:, 0] + gc.ones((k,)) for k in (3, 4)]),
    ),
    "matmul of other inner sizes": (ShapeError, lambda: m @ v),
    "matmul of a scalar": (ShapeError, lambda: m @ s),
    "reshape to another count": (ShapeError, lambda: gc.reshape(m, (4, 2))),
    "reshape with two -1": (GraphcError, lambda: gc.reshape(m, (-1, -1))),
    "reshape to a remainder": (ShapeError, lambda: gc.reshape(m, (4, -1))),
    "sum over an axis too far": (ShapeError, lambda: gc.sum(m, axis=2)),
    "sum over an axis too low": (ShapeError, lambda: gc.sum(m, axis=-3)),
    "sum over an axis twice": (ShapeError, lambda: gc.sum(m, axis=(0, -2))),
    "softmax over no axis": (ShapeError, lambda: gc.softmax(s, axis=0)),
    "an axis that is no int": (ArgumentError, lambda: gc.sum(m, axis="0")),
    "an axis that is a bool": (ArgumentError, lambda: gc.sum(m, axis=True)),
    "a permutation of too few": (GraphcError, lambda: gc.permute_dims(m, (0,))),
    "concat of other sizes": (ShapeError, lambda: gc.concat([m, v[None]])),
    "concat of nothing": (GraphcError, lambda: gc.concat([])),
    "an index out of range": (ShapeError, lambda: v[4]),
    "too many indices": (ShapeError, lambda: v[0, 0]),
    "a string as an index": (ArgumentError, lambda: v["a"]),
    "None plus": (ArgumentError, lambda: v + None),
    "a string plus": (ArgumentError, lambda: v + "a"),
    "objects plus": (GraphcError, lambda: v + np.array([None] * 4)),
    "a limit that is no number": (ArgumentError, lambda: gc.clip(v, "a", 2)),
    "floats as indices": (DTypeError, lambda: gc.take(v, v)),
    "what a mask selects": (ArgumentError, lambda: v[v > 0] + 1),
    "an assignment": (SymbolicValueError, lambda: v.__setitem__(0, 1.0)),
    "a scan of no function": (ArgumentError, lambda: gc.scan(v, s, v)),
    "a length that is a float": (DTypeError, lambda: gc.scan(lambda c, _: (c, c), s, None, s)),
    "a map of no function": (ArgumentError, lambda: gc.map(v, v)),
    "a map along nothing": (ArgumentError, lambda: gc.map(lambda x: x, None)),
    "a while loop of no functions": (ArgumentError, lambda: gc.while_loop(s > 0, v, v)),
    "a while loop of another type": (
        DTypeError, lambda: gc.while_loop(lambda c: c < 1, lambda c: c.astype("float64"), s),
    ),
    "a while loop of another shape": (
        ShapeError, lambda: gc.while_loop(lambda c: c[0] < 1, lambda c: c[1:], v),
    ),
    "a condition of several": (ShapeError, lambda: gc.while_loop(lambda c: c < 1, lambda c: c, v)),
    "the gradient of a while loop": (
        GradientError, lambda: gc.grad(gc.while_loop(lambda c: c < 1, lambda c: c * 2, s), s),
    ),
    "a bound that is no int": (DTypeError, lambda: gc.fori_loop(0, s, lambda i, c: c, s)),
    "a switch of no functions": (ArgumentError, lambda: gc.switch(0, [v, v])),
    "a switch by a float": (DTypeError, lambda: gc.switch(s, [abs, abs], v)),
    "a root of another shape": (ShapeError, lambda: gc.root(lambda x: x[1:], v)),
    "a root of ints": (DTypeError, lambda: gc.root(lambda x: x, v.astype("int32"))),
    "a root by no method": (ArgumentError, lambda: gc.root(lambda x: x, v, method="luck")),
    "times that are no vector": (ShapeError, lambda: gc.odeint(lambda y, t: y, v, s)),
    "a rule that is none": (ArgumentError, lambda: gc.odeint(lambda y, t: y, v, v, "rk45")),
    "a cond of no functions": (ArgumentError, lambda: gc.cond(s > 0, v, v)),
    "values for nothing": (ArgumentError, lambda: gc.evaluate(v, np.ones(4))),
    "values for names": (ArgumentError, lambda: gc.evaluate(v, {"v": np.ones(4)})),
    "the value of a number": (ArgumentError, lambda: gc.evaluate(3, {})),
    "ragged values": (ArgumentError, lambda: gc.evaluate(v, {v: [1, [2]]})),
    "a broadcast to less": (ShapeError, lambda: gc.broadcast_to(m, (3,))),
    "a shape that is none": (GraphcError, lambda: gc.placeholder("a", (1.5,))),
    "a negative size": (GraphcError, lambda: gc.placeholder("a", (-1,))),
    "a dtype that is none": (DTypeError, lambda: gc.placeholder("a", (), "longdouble")),
    "a truth value": (GraphcError, lambda: bool(v)),
    "an array of a tensor": (GraphcError, lambda: np.asarray(v)),
    "solve of no square": (ShapeError, lambda: gc.linalg.solve(m, v)),
    "a gradient of no scalar": (GraphcError, lambda: gc.grad(v, v)),
    "a ragged variable": (ArgumentError, lambda: gc.variable([[1, 2], [3]])),
    "a variable of objects": (DTypeError, lambda: gc.variable(np.array([None]))),
    "a value of another shape": (ShapeError, lambda: setattr(W, "value", np.ones(5))),
    "a value of another kind": (DTypeError, lambda: setattr(W, "value", np.ones((3, 2), complex))),
}


@pytest.mark.parametrize("case", BUILDS)
def test_a_bad_expression(case: str) -> None:
    kind, build = BUILDS[case]
    with pytest.raises(kind) as caught:
        build()
    assert_named(caught.value)


@pytest.mark.parametrize("place", ["nn.layer_norm", "nn.Embedding", "optim.Adam"])
def test_a_name_of_another_module_is_said_to_be_there(place: str) -> None:
    name = place.partition(".")[2].lower()
    with pytest.raises(AttributeError, match=rf"attribute {name!r}; there is gc\.{place}$"):
        getattr(gc, name)
    with pytest.raises(AttributeError, match=r"no attribute 'nothing_of_the_kind'$"):
        getattr(gc, "nothing_of_the_kind")  # noqa: B009 - a checker knows that it is not there


def test_hints_say_what_to_write_instead() -> None:
    with pytest.raises(SymbolicValueError, match="elements cannot be assigned") as assigned:
        W[0] += 1
    assert "gc.where" in assigned.value.hint
    with pytest.raises(ArgumentError, match=r"given:    <elements of") as masked:
        gc.tanh(v[v > 0])
    assert "gc.where(mask" in masked.value.hint
    with pytest.raises(DTypeError, match=r"expected: an integer dtype\n  given:    float32") as cut:
        v[v]
    assert "astype('int64')" in cut.value.hint
    with pytest.raises(AttributeError) as misspelt:
        gc.tahn  # type: ignore[attr-defined]  # noqa: B018
    assert (misspelt.value.name, misspelt.value.obj) == ("tahn", gc)  # Python suggests by these


def test_numpys_functions_are_named_as_they_were_called() -> None:
    with pytest.raises(ArgumentError, match=r"^numpy\.add: .*(.|\n)*given:    add\(\.\.\., out=\)"):
        np.add(v, 1, out=np.ones(4))
    with pytest.raises(ArgumentError, match=r"given:    add\.reduceat\(\.\.\.\)"):
        np.add.reduceat(v, [0])
    with pytest.raises(ArgumentError, match=r"^numpy\.intersect1d: graphc has no function"):
        np.intersect1d(v, v)


def test_a_function_that_graphc_lacks_names_the_nearest() -> None:
    for call, near in (
        (lambda: scipy.special.gammasgn(v), "gc.gamma"),
        (lambda: np.intersect1d(v, v), "gc.unique(x, size=...)"),
        (lambda: np.fill_diagonal(m, 1), "x.at[key].set(value)"),
        (lambda: np.polyder(v), "gc.arange"),
    ):
        with pytest.raises(ArgumentError, match="graphc has no function of this name") as caught:
            call()
        assert near in caught.value.hint, caught.value.hint


@pytest.mark.parametrize(
    ("call", "way_out"),
    [
        (lambda: gc.max(v, v), "gc.maximum(x, y)"),
        (lambda: v.min(v), "gc.minimum(x, y)"),
        (lambda: np.sum(v, v), "x + y"),
        (lambda: gc.argmax(v, v), ""),
        (lambda: gc.sum([v, v]), "gc.stack([x, y])"),
        (lambda: [v, v] + v, "gc.stack([x, y])"),  # noqa: RUF005  (what is tried)
        (lambda: v * (v, 1.0), "gc.stack([x, y])"),
        (lambda: gc.tanh([[v], [v]]), "gc.stack([x, y])"),
        (lambda: gc.maximum([1.0, v[0]], v[:2]), "gc.stack"),
        (lambda: np.array([v, v]), "gc.stack"),
        (lambda: math.sin(v[0]), "gc.sin for math.sin"),
        (lambda: v in [-v, v + 1], "any(v is t for t in tensors)"),
        (lambda: np.pad(v, 1, "maximum"), "gc.concat"),
        (lambda: np.pad(v, [(1, 2), (3, 4)]), ""),
    ],
)
def test_what_is_meant_is_named(call: Any, way_out: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert way_out in caught.value.hint


@pytest.mark.parametrize(
    ("arrays", "names", "message", "given"),
    [
        ([GOOD_X], {}, "inputs are missing: y", "x"),
        ([], {}, "inputs are missing: x, y", "none"),
        ([GOOD_X], {"z": GOOD_Y}, "no input has this name: z", "z"),
        ([GOOD_X], {"x": GOOD_X}, "inputs that are given twice: x", "x"),
        ([GOOD_X, GOOD_Y, GOOD_Y], {}, "too many inputs: 3 arrays", "3 arrays"),
    ],
)
def test_which_inputs_a_call_lacks(
    function: Any, arrays: list[Any], names: dict[str, Any], message: str, given: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        function(*arrays, **names)
    assert caught.value.message == message
    assert (caught.value.expected, caught.value.given) == ("x, y", given)
    assert_named(caught.value)


# -- compile ---------------------------------------------------------------------------------------
COMPILES: dict[str, tuple[type[GraphcError], Callable[[], Any]]] = {
    "an output that is no tensor": (ArgumentError, lambda: gc.compile([m], 3.0)),
    "an output in a list that is none": (ArgumentError, lambda: gc.compile([m], [m, 3.0])),
    "an output in a dict that is none": (ArgumentError, lambda: gc.compile([m], {"a": "b"})),
    "outputs of a string": (ArgumentError, lambda: gc.compile([m], "m")),
    "inputs of a string": (ArgumentError, lambda: gc.compile("m", m)),
    "an input that is no tensor": (ArgumentError, lambda: gc.compile([1], m)),
    "inputs that are None": (ArgumentError, lambda: gc.compile(None, m)),
    "an input that is computed": (GraphError, lambda: gc.compile([m + 1], m + 1)),
    "an input that is a variable": (GraphError, lambda: gc.compile([W], W + 1)),
    "an input that is missing": (GraphError, lambda: gc.compile([v], gc.sum(m) + v)),
    "one input twice": (GraphError, lambda: gc.compile([v, v], v)),
    "two inputs of one name": (GraphError, lambda: gc.compile([v, gc.placeholder("v", (2,))], v)),
    "an update of no variable": (ArgumentError, lambda: gc.compile([m], [], {m: m})),
    "an update of a constant": (
        ArgumentError, lambda: gc.compile([], [], {gc.constant(1.0): gc.constant(2.0)}),
    ),
    "an update of another shape": (GraphError, lambda: gc.compile([], [], {W: gc.sum(W)})),
    "an update to a number": (ArgumentError, lambda: gc.compile([], [], {W: 0.0})),
    "an update twice": (GraphError, lambda: gc.compile([], [], [(W, W * 2), (W, W + 1)])),
    "updates of triples": (ArgumentError, lambda: gc.compile([], [], [(W, W, W)])),
    "updates that are a number": (ArgumentError, lambda: gc.compile([], [], 3)),
    "an unknown target": (ArgumentError, lambda: gc.compile([m], m, target="tpu")),
    "a name that is no string": (ArgumentError, lambda: gc.compile([m], m, name=3)),
    "dims that nothing determines": (
        ShapeError, lambda: gc.compile([z := gc.placeholder("z", ("a*b",))], z)(np.ones(4)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPILES)
def test_a_bad_compilation(case: str) -> None:
    kind, build = COMPILES[case]
    with pytest.raises(kind) as caught:
        build()
    assert_named(caught.value)


def test_a_dim_that_no_input_determines_is_named() -> None:
    x = gc.placeholder("x", (3,))
    y = gc.sum(x) + gc.zeros(("rows", 2))
    for run in (lambda: gc.compile([x], y), lambda: gc.evaluate(y, {x: [1, 2, 3]})):
        with pytest.raises(gc.errors.GraphError, match=r"named dim is not determined") as caught:
            run()
        assert "rows" in str(caught.value)
        assert "test_bad_input.py" in str(caught.value)
