"""The text form: it reads back to the same nodes, and malformed text is refused by its line."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.errors import GraphError
from graphc.ir.dim import dim, maximum
from graphc.ir.dtype import DTYPES
from graphc.ir.graph import Graph
from graphc.ir.node import ArrayValue, apply
from graphc.ir.op import Kind, Op, registry
from graphc.ir.text import (
    format_node,
    key_text,
    parse_graph,
    print_graph,
    value_labels,
    variable_labels,
)

FEW = settings(max_examples=150, deadline=None, derandomize=True)
x = gc.placeholder("x", ("n", 4))
CARRIER = Op("carrier", Kind.REGION, lambda *types, **attrs: types)  # any attributes, any operands


@pytest.fixture
def carrier(monkeypatch: pytest.MonkeyPatch) -> Op:
    monkeypatch.setitem(registry(), "carrier", CARRIER)
    return CARRIER


def check_round_trip(graph: Graph) -> str:
    text = print_graph(graph)
    assert parse_graph(text, variable_labels(graph)) is graph
    assert parse_graph(print_graph(graph, origins=True), variable_labels(graph)) is graph
    assert print_graph(parse_graph(text)) == text  # with new variables
    key_text(graph)
    return text


# -- the form --------------------------------------------------------------------------------------
def training_step() -> Graph:
    features, labels = gc.placeholder("x", ("n", 6)), gc.placeholder("y", ("n",), "int64")
    w = gc.variable(np.zeros((6, 3), np.float32), name="w")
    steps = gc.variable(np.int64(0), name="steps", trainable=False)
    with gc.scope("dense"):
        logits = features @ w + gc.constant([0.5, -1.0, 0.0])
    loss = gc.mean(gc.softmax_cross_entropy(logits, labels))
    best = gc.max_and_argmax(logits, axis=1)[1]
    updates = [(w, w - 0.1 * (features.T @ gc.tanh(logits))), (steps, steps + 1)]
    return Graph([features, labels], [loss, best], updates, name="step")


def test_the_form(golden: Callable[[str, str], None]) -> None:
    graph = training_step()
    golden("text/training_step", check_round_trip(graph))


def test_origins_are_comments() -> None:
    y = gc.tanh(x)
    lines = print_graph(Graph([x], [y]), origins=True).split("\n")
    where = f"# test_text.py:{y.node.origins[0].line}"
    assert lines[1].endswith(where)
    assert lines[1].startswith("  %0: f32[n,4] = tanh %x  ")


def test_empty_and_trivial_graphs() -> None:
    assert check_round_trip(Graph([], [])) == "graph graph() {\n  return\n}"
    assert "  return %x, f32(2.0)" in check_round_trip(Graph([x], [x, gc.constant(2.0)]))


def test_parts_of_the_text_for_errors() -> None:
    y = gc.tanh(x * 2)
    labels = value_labels(Graph([x], [y]))
    assert [labels[t] for t in (x, y)] == ["%x", "%1"]
    assert format_node(y.node, labels) == "%1: f32[n,4] = tanh %0"
    assert format_node(y.node.inputs[0].node) == "%?: f32[n,4] = multiply %x, f32(2.0)"


# -- constants -------------------------------------------------------------------------------------
def bits(pattern: int) -> np.ndarray[Any, Any]:
    return np.array(pattern, np.uint32).view(np.float32)


@pytest.mark.parametrize(
    ("value", "text"),
    [(np.float32(0.1), "f32(0.1)"), (np.float64(0.1), "f64(0.1)"), (-0.0, "f32(-0.0)"),
     (math.inf, "f32(inf)"), (-math.inf, "f32(-inf)"), (math.nan, "f32(nan)"),
     (bits(0xFFC00000), "f32(bits=0xffc00000)"), (bits(0x7F800001), "f32(bits=0x7f800001)"),
     (bits(1), "f32(1e-45)"), (np.float32(1e20), "f32(1e+20)"), (True, "bool(True)"),
     (np.uint64(2**64 - 1), "u64(18446744073709551615)"), (np.int64(-(2**63)), f"i64({-2**63})"),
     (np.int8(-3), "i8(-3)")],
)  # fmt: skip
def test_scalar_constants_stand_where_they_are_used(value: Any, text: str) -> None:
    c = gc.constant(value)
    assert f"return {text}\n" in check_round_trip(Graph([], [c]))


@FEW
@given(st.integers(0, 2**32 - 1))
def test_every_float32_is_exact(pattern: int) -> None:
    c = gc.constant(bits(pattern))
    graph = Graph([], [c])
    assert parse_graph(print_graph(graph)) is graph


@FEW
@given(st.integers(0, 2**64 - 1))
def test_every_float64_is_exact(pattern: int) -> None:
    c = gc.constant(np.array(pattern, np.uint64).view(np.float64))
    graph = Graph([], [c])
    assert parse_graph(print_graph(graph)) is graph


@pytest.mark.parametrize("kind", DTYPES, ids=repr)
@pytest.mark.parametrize("shape", [(1,), (2, 2), (0,), (0, 3), (2, 0), (4, 5), (3, 1, 2)])
def test_array_constants(kind: Any, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(3)
    array = (random.standard_normal(shape) * 50).astype(kind.numpy)
    text = check_round_trip(Graph([], [gc.constant(array)]))
    assert ('("' in text) == (array.size == 0 or array.size > 16)


def test_arrays_with_unusual_nans_are_given_by_their_bytes() -> None:
    text = check_round_trip(Graph([], [gc.constant(np.stack([bits(0xFFC00001), bits(0)]))]))
    assert "[value=f32[2](" in text
    usual = check_round_trip(Graph([], [gc.constant([math.nan, -math.inf, -0.0])]))
    assert "[value=f32([nan, -inf, -0.0])]" in usual


def test_keys_hash_long_constants() -> None:
    big = gc.constant(np.arange(10_000.0))
    assert len(print_graph(Graph([], [big]))) > 100_000
    key = key_text(Graph([], [big]))
    assert len(key) < 300
    assert key != key_text(Graph([], [gc.constant(np.arange(10_000.0) + 1e-9)]))


# -- names -----------------------------------------------------------------------------------------
NAMES = ["x", "a.b/c", "0", "", " ", 'a "b"\n', "\0", "'", "\\", "#", "]", ") {", "%x", "größe",
         "名", "\u202e", "\u2028", "\ud800", "return", "graph", "x: f32[n]", "é" * 300]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_safe(name: str) -> None:
    w = gc.variable([1.0], name=name)
    a = gc.placeholder(name or "x", (1,))
    b = gc.placeholder((name or "x") + "x", (1,))
    graph = Graph([a, b], [gc.tanh(a * w) + b], [(w, b)], name=name)
    text = check_round_trip(graph)
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text.splitlines()) == 8
    again = parse_graph(text)
    assert (again.name, again.variables[0].name) == (name, name)
    assert [t.name for t in again.inputs] == [a.name, b.name]


def test_equal_names_of_variables_get_suffixes() -> None:
    names = ["w", "w", "w_2", "", "", "w", "_2"]
    ws = [gc.variable([float(i)], name=name) for i, name in enumerate(names)]
    total = ws[0]
    for w in ws[1:]:
        total = total + w
    graph = Graph([], [total])
    text = check_round_trip(graph)
    assert list(variable_labels(graph).values()) == ws
    assert len(variable_labels(graph)) == len(names)
    assert "variable @w_2: f32[1]" in text


def test_origins_of_odd_files_stay_comments() -> None:
    namespace: dict[str, Any] = {"gc": gc, "x": x}
    exec(compile("y = gc.exp(x * 7)", 'odd"\n  return %x #', "exec"), namespace)
    graph = Graph([x], [namespace["y"]])
    assert parse_graph(print_graph(graph, origins=True)) is graph
    assert len(print_graph(graph, origins=True).split("\n")) == 5


# -- attributes ------------------------------------------------------------------------------------
n = dim("n")
ATTRS: list[Any] = [
    None, True, False, 0, -1, 2**70, 0.1, -0.0, 1e300, math.inf, -math.inf, math.nan,
    struct.unpack("d", struct.pack("Q", 0xFFF8000000000007))[0], "", "text", "it's", '"', "]",
    "# no", "a\nb\0", "\ud800", "...", "f32", gc.float32, gc.bool_, n, 2 * n + 1, -n,
    n // 2 + n % 3, n // (n + 1), maximum(n - 3, 0), (), (1,), (1, (n, ("a", None)), 2.5),
    ArrayValue(np.arange(3)), ArrayValue(np.array(2, np.float32)), ArrayValue(np.zeros((5, 7))),
]  # fmt: skip


@pytest.mark.parametrize("value", ATTRS, ids=range(len(ATTRS)))
def test_attributes(carrier: Op, value: Any) -> None:
    node = apply(carrier, (x,), first=value, second=(value, 1))
    text = check_round_trip(Graph([x], [node.output()]))
    assert list(parse_graph(text).outputs[0].node.attrs) == ["first", "second"]


def test_numpy_floats_are_floats(carrier: Op) -> None:
    node = apply(carrier, (x,), by=np.float64(0.5))
    assert "carrier %x [by=0.5]" in check_round_trip(Graph([x], [node.output()]))


def test_what_has_no_text_does_not_read_back(carrier: Op) -> None:
    text = print_graph(Graph([x], [apply(carrier, (x,), f=len).output()]))
    assert "[f=<builtin_function_or_method>]" in text
    with pytest.raises(GraphError, match="line 2: not attributes"):
        parse_graph(text)


def test_graphs_in_attributes_are_blocks(carrier: Op) -> None:
    a = gc.placeholder("a", ("n", 4))
    inner = Graph([a], [apply(carrier, (a,), leaf=Graph([a], [a + 1], name="leaf")).output()])
    both = apply(carrier, (x,), length=n, bodies=(inner, Graph([a], [a * 2])), last=Graph([a], [a]))
    text = check_round_trip(Graph([x], [gc.tanh(both.output())]))
    assert "%0: f32[n,4] = carrier %x [length=n, bodies=(..., ...), last=...] {" in text
    assert "      %0: f32[n,4] = carrier %a [leaf=...] {\n        graph leaf(" in text


def test_variables_of_inner_graphs_are_declared_once(carrier: Op) -> None:
    a, w = gc.placeholder("a", (2,)), gc.variable([1.0, 2.0], name="w")
    node = apply(carrier, (a,), body=Graph([a], [a * w]))
    assert check_round_trip(Graph([a], [node.output() * w])).count("variable @w") == 1


# -- random graphs ---------------------------------------------------------------------------------
UNARY = ["tanh", "exp", "negative", "relu"]
BINARY = ["add", "multiply", "subtract", "maximum", "divide"]


@pytest.mark.filterwarnings("ignore::graphc.errors.DTypeWarning")
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_random_graphs(data: st.DataObject) -> None:
    functions = vars(gc) | {f: getattr(gc, f) for f in UNARY + BINARY}
    w = gc.variable(np.ones((3, 3), np.float32), name="w")
    values: list[Any] = [gc.placeholder("x", ("n", 3)), gc.placeholder("z", (3,)), w]
    for _ in range(data.draw(st.integers(1, 12))):
        pick = st.sampled_from(values)
        match data.draw(st.sampled_from(["unary", "binary", "sum", "matmul", "scalar", "arg"])):
            case "unary":
                values.append(functions[data.draw(st.sampled_from(UNARY))](data.draw(pick)))
            case "binary":
                a, b = data.draw(pick), data.draw(pick)
                if a.shape == b.shape:
                    values.append(functions[data.draw(st.sampled_from(BINARY))](a, b))
            case "sum":
                values.append(gc.sum(data.draw(pick), axis=0, keepdims=True) + values[0])
            case "matmul":
                values.append(values[0] @ w)
            case "scalar":
                values.append(data.draw(pick) * data.draw(st.floats(width=32)))
            case "arg":
                values += gc.max_and_argmax(values[0], axis=1)
    outputs = data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    check_round_trip(Graph(values[:2], outputs, [(w, w * 2)] if data.draw(st.booleans()) else []))


# -- malformed text --------------------------------------------------------------------------------
def body(*lines: str) -> str:
    return "\n".join(["graph g(%x: f32[n,4]) {", *(f"  {line}" for line in lines), "}"])


MALFORMED = [
    ("", 1, "not the head of a graph"),
    ("graph g(%x) {\n}", 1, "not the head of a graph"),
    ("graph g(%x: f33[n]) {\n  return\n}", 1, "no dtype is called 'f33'"),
    ("graph g(%x: f32[n**2]) {\n  return\n}", 1, "not a type"),
    ("graph g(%x: f32[1//0]) {\n  return\n}", 1, "not a type"),
    ('graph g(%"\\q": f32[n]) {\n  return\n}', 1, "not a name"),
    ("graph g(%x: f32[n], %x: f32[n]) {\n  return\n}", 1, "defined twice"),
    ("graph g() {\n  return", 2, "the text ends inside a graph"),
    (body("return %x", "return %x"), 3, "not a statement after return"),
    (body("return %x") + "\nmore", 4, "text after the end"),
    (body("", "# fine", "return %y"), 4, "not defined above"),
    (body("return @w"), 2, "not defined above"),
    (body("%0 = tanh %x", "return %0"), 2, "not a statement"),
    (body("%0: f32[n,4] = tanh %x [", "return %0"), 2, "not a statement"),
    (body("%0: f32[n,4] = tanhh %x", "return %0"), 2, "no operation has this name"),
    (body("%0: f32[n,4] = tanh %x, %x", "return %0"), 2, "wrong number of operands"),
    (body("%0: f32[n,5] = tanh %x", "return %0"), 2, "other types than stated"),
    (body("%x: f32[n,4] = tanh %x", "return %0"), 2, "defined twice"),
    (body("%0: f32[n,4] = sum %x", "return %0"), 2, "does not take these operands and attributes"),
    (body("%0: f32[n] = sum %x [axes=(7", "return %0"), 2, "not a statement"),
    (body("%0: f32[n] = sum %x [axes=(1]", "return %0"), 2, "not attributes"),
    (body("%0: f32[n] = sum %x [(1,)]", "return %0"), 2, "every attribute has a name"),
    (body("%0: f32[n] = sum %x [axes=(1,), by=2]", "return %0"), 2, "does not take"),
    (body("%0: f32[n] = sum %x [axes=__import__('os')]", "return %0"), 2, "not attributes"),
    (body("%0: f32[n] = sum %x [axes=...]", "return %0"), 2, "fewer graphs below"),
    (body("%0: f32[n] = sum %x [axes=(1,)] {", "graph b() {", "return", "}", "}"),
     2, "more graphs"),
    (body("%0: f32[n,4] = add %x, u8(300)", "return %0"), 2, "not a constant"),
    (body("%0: f32[n,4] = add %x, i32(1.5)", "return %0"), 2, "not a number of int32"),
    (body("%0: f32[n,4] = add %x, f32(bits=-1)", "return %0"), 2, "not a constant"),
    (body("%0: f32[n,4] = add %x, i32(1)", "return %0"), 2, "wrong dtypes"),
    (body('%0: f32[2] = constant [value=f32[2]("!!!!")]', "return %0"), 2, "not attributes"),
    (body('%0: f32[2] = constant [value=f32[3]("AAAAAA==")]', "return %0"), 2, "not attributes"),
    (body('%0: f32[2] = constant [value=f32[n]("AAAAAA==")]', "return %0"), 2, "static sizes"),
    (body("variable @w: f32[n]", "return"), 2, "static sizes"),
    (body("variable @w: f32[2]", "variable @w: f32[2]", "return"), 3, "declared twice"),
    (body("variable @w: f32[2] [colour=1]", "return"), 2, "not an attribute of a variable"),
    (body("variable @w: f32[2]", "return", "update @w <- %x"), 4, "the update has another type"),
    (body("return", "update @w <- %x"), 3, "not defined above"),
    ("graph g() {\n  %x: f32[2] = placeholder [name='x', dtype=f32, shape=(2,)]\n  return %x\n}",
     4, "not an input"),
    (body(f"%0: f32[n] = sum %x [axes={'(' * 500}{')' * 500}]", "return"), 2, "not attributes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), MALFORMED)
def test_malformed_text_names_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        parse_graph(text)
    assert caught.value.message.startswith(f"line {line}: ")
    assert message in caught.value.message
    assert caught.value.where.startswith(__file__)


def test_given_variables_must_fit() -> None:
    text = "graph g() {\n  variable @w: f32[2]\n  return @w\n}"
    w = gc.variable([1.0, 2.0])
    assert parse_graph(text, {"w": w}).outputs == (w,)
    with pytest.raises(GraphError, match="line 2: a variable is not among those given"):
        parse_graph(text, {"v": w})
    with pytest.raises(GraphError, match=r"line 2: .* another type\n  expected: f32\[2\]"):
        parse_graph(text, {"w": gc.variable([1.0])})


@FEW
@given(st.data())
def test_damaged_text_is_an_error_or_a_graph(data: st.DataObject) -> None:
    text = print_graph(training_step())
    at = data.draw(st.integers(0, len(text) - 1))
    pieces = ["", "(", "]", '"', "'", "\n", "%", "0", "#", "\0", "...", "]["]
    insert = data.draw(st.sampled_from(pieces))
    damaged = text[:at] + insert + text[at + data.draw(st.integers(0, 3)) :]
    try:
        parse_graph(damaged)
    except GraphError as error:
        message = error.message
    else:
        return
    assert message.startswith("line ")
