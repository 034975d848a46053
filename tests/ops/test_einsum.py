"""einsum and its relatives against NumPy's, their gradients against differences, their errors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, GraphcError, ShapeError
from graphc.ir.dim import size_hint
from graphc.ir.graph import Graph, walk
from graphc.ops.contraction_order import EXACT, contraction_order
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, Gemm

Array = np.ndarray[Any, Any]


def run(call: Callable[..., Any], *arrays: Array) -> Array:
    inputs = [gc.placeholder(f"x{i}", a.shape, str(a.dtype)) for i, a in enumerate(arrays)]
    value: Array = gc.evaluate(call(*inputs), dict(zip(inputs, arrays, strict=True)))
    return value


def assert_as_numpy(text: str, *arrays: Array) -> None:
    expected = np.asarray(np.einsum(text, *arrays))
    found = run(lambda *xs: gc.einsum(text, *xs), *arrays)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), text
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=text)


def draw(rng: np.random.Generator, shape: Any, dtype: str = "float64") -> Array:
    values = rng.integers(-3, 4, shape)
    return values > 0 if dtype == "bool" else values.astype(dtype)


# -- values ----------------------------------------------------------------------------------------
STRINGS: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
    ("ij,jk", ((2, 3), (3, 4))),
    ("ij,jk->", ((2, 3), (3, 4))),
    (" i j , j k -> k i ", ((2, 3), (3, 4))),
    ("ba", ((2, 3),)),
    ("aB,Bc", ((2, 3), (3, 2))),
    ("", ((),)),
    (",", ((), ())),
    ("->", ((),)),
    ("i,->i", ((3,), ())),
    ("ii", ((3, 3),)),
    ("ii->i", ((3, 3),)),
    ("iii->i", ((3, 3, 3),)),
    ("iji->j", ((3, 2, 3),)),
    ("ijij->ji", ((3, 2, 3, 2),)),
    ("ij->", ((3, 2),)),
    ("i,j->ji", ((3,), (2,))),
    ("i,i,i->i", ((3,), (3,), (3,))),
    ("...", ((3, 2),)),
    ("...i->i...", ((3, 2, 4),)),
    ("...i,...i", ((4, 2, 3), (1, 3))),
    ("i...,...i->...", ((3, 4, 2), (2, 3))),
    ("...,...->...", ((3, 1), (4,))),
    ("ij,jk->ik", ((2, 1), (3, 4))),
    ("i,i->i", ((1,), (5,))),
    ("bthd,bshd->bhts", ((2, 3, 2, 4), (2, 5, 2, 4))),
    ("bhts,bshd->bthd", ((2, 2, 3, 5), (2, 5, 2, 4))),
    ("bthd,hde->bte", ((2, 3, 2, 4), (2, 4, 5))),
    ("btd,dhe->bhte", ((2, 3, 4), (4, 2, 5))),
    ("bi,ij,bj->b", ((4, 2), (2, 3), (4, 3))),
    ("ab,bc,cd,de->ae", ((2, 9), (9, 2), (2, 9), (9, 2))),
    ("xab,xcb,dx->cad", ((2, 3, 4), (2, 5, 4), (3, 2))),
    ("abc,cba->", ((2, 3, 4), (4, 3, 2))),
    ("ijk,kl->lij", ((0, 3, 2), (2, 4))),
    ("ij,jk", ((2, 0), (0, 3))),
]


@pytest.mark.parametrize(("text", "shapes"), STRINGS, ids=[repr(s) for s, _ in STRINGS])
def test_equals_numpy(text: str, shapes: Any) -> None:
    rng = np.random.default_rng(0)
    for dtype in ("float64", "int8", "uint16", "bool"):
        assert_as_numpy(text, *(draw(rng, s, dtype) for s in shapes))


def random_call(rng: np.random.Generator) -> tuple[str, list[Array]]:
    """A string of one to five operands, and operands: often diagonals, ellipses, axes of size 1."""
    letters = "abcdEF"[: rng.integers(1, 6)]
    sizes = {a: int(rng.integers(1, 4)) for a in letters}
    under_dots = [int(s) for s in rng.integers(1, 4, rng.integers(0, 3))]
    with_dots = rng.random() < 0.3
    dtype = str(rng.choice(["float64", "float64", "int8", "bool", "int32"]))
    parts, operands = [], []
    for _ in range(rng.integers(1, 6)):
        part = [str(a) for a in rng.choice(list(letters), rng.integers(0, 4))]
        twice = len(set(part)) < len(part)  # NumPy stretches no diagonal
        shape = [sizes[a] if twice or rng.random() < 0.85 else 1 for a in part]
        if with_dots and rng.random() < 0.8:
            at = int(rng.integers(0, len(part) + 1))
            own = under_dots[len(under_dots) - int(rng.integers(0, len(under_dots) + 1)) :]
            part.insert(at, "...")
            shape[at:at] = [s if rng.random() < 0.8 else 1 for s in own]
        parts.append("".join(part))
        operands.append(draw(rng, shape, dtype))
    text = ",".join(parts)
    if rng.random() < 0.7:
        found = sorted(set(text) - {".", ","})
        out = [str(a) for a in rng.permutation(found)[: rng.integers(0, len(found) + 1)]]
        if "..." in text:
            out.insert(int(rng.integers(0, len(out) + 1)), "...")
        text += "->" + "".join(out)
    return text, operands


@pytest.mark.parametrize("seed", range(10))
def test_random_strings_equal_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        text, operands = random_call(rng)
        assert_as_numpy(text, *operands)


@pytest.mark.parametrize("seed", range(10))
def test_gradients_of_random_strings(seed: int) -> None:
    """einsum is linear in each operand, so a central difference is exact but for rounding."""
    rng = np.random.default_rng(100 + seed)
    for _ in range(3):
        text, drawn = random_call(rng)
        operands = [rng.normal(size=o.shape) for o in drawn]
        directions = [rng.normal(size=o.shape) for o in operands]
        weights = rng.normal(size=np.einsum(text, *operands).shape)
        inputs = [gc.placeholder(f"x{i}", o.shape, "float64") for i, o in enumerate(operands)]
        loss = gc.sum(gc.einsum(text, *inputs) * gc.constant(weights, "float64"))
        gradients = gc.evaluate(gc.grad(loss, inputs), dict(zip(inputs, operands, strict=True)))
        for i, (gradient, direction) in enumerate(zip(gradients, directions, strict=True)):
            moved = [
                [o + step * direction if j == i else o for j, o in enumerate(operands)]
                for step in (0.5, -0.5)
            ]
            above, below = (np.sum(weights * np.einsum(text, *m)) for m in moved)
            np.testing.assert_allclose(
                np.sum(gradient * direction), above - below, rtol=1e-9, atol=1e-9, err_msg=text
            )


def test_numbers_instead_of_letters() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 3))
    for arguments in (
        lambda x, y: (x, [0, 1, 2], y, [2, 1], [1, 0]),
        lambda x, y: (x, [0, 1, 2], y, [2, 51]),
        lambda x, y: (x, [Ellipsis, 2], y, [2, 30], [30, Ellipsis]),
    ):
        found = run(lambda x, y, f=arguments: gc.einsum(*f(x, y)), a, b)
        np.testing.assert_allclose(found, np.einsum(*arguments(a, b)), rtol=1e-12)


def test_numpys_functions_build_nodes() -> None:
    x, y = gc.placeholder("x", (3, 3)), gc.placeholder("y", (3, 3))
    assert np.einsum("ij,jk", x, y, optimize=True) is gc.einsum("ij,jk", x, y)
    assert np.tensordot(x, y, axes=1) is gc.tensordot(x, y, 1)
    assert np.outer(x, y) is gc.outer(x, y)
    assert np.inner(x, y) is gc.inner(x, y)
    assert np.vdot(x, y) is gc.vdot(x, y)
    assert np.vecdot(x, y) is gc.vecdot(x, y)
    assert np.trace(x, 1) is gc.trace(x, 1)
    assert np.diagonal(x) is gc.diagonal(x)


def test_dtypes_promote_and_numbers_are_weak() -> None:
    x, i = gc.placeholder("x", (3,)), gc.placeholder("i", (3,), "int16")
    assert gc.einsum("i,->i", x, 2.5).dtype is gc.float32
    assert gc.einsum("i,i", i, i).dtype is gc.int16
    assert gc.einsum("i,i", x, i).dtype is gc.float32
    assert gc.tensordot(i, gc.placeholder("j", (3,), "int64"), 1).dtype is gc.int64


def test_symbolic_sizes() -> None:
    x, y = gc.placeholder("x", ("n", "m", 3)), gc.placeholder("y", ("m", "n"))
    z = gc.einsum("nmd,mn->dn", x, y)
    assert [str(s) for s in z.shape] == ["3", "n"]
    rng = np.random.default_rng(0)
    for n, m in ((0, 2), (1, 1), (4, 0), (5, 3)):
        a, b = rng.normal(size=(n, m, 3)), rng.normal(size=(m, n))
        a, b = a.astype("float32"), b.astype("float32")
        np.testing.assert_allclose(
            gc.evaluate(z, {x: a, y: b}), np.einsum("nmd,mn->dn", a, b), rtol=1e-5, atol=1e-6
        )


def test_named_dims_that_meet_are_equal() -> None:
    x, y = gc.placeholder("x", ("n", 3), "float64"), gc.placeholder("y", ("m", 3), "float64")
    f = gc.compile([x, y], [gc.einsum("ij,ij->j", x, y), gc.tensordot(x, y, ([0], [0]))])
    a = np.random.default_rng(0).normal(size=(4, 3))
    first, second = f(a, 2 * a)
    np.testing.assert_allclose(first, (2 * a * a).sum(0), rtol=1e-12)
    np.testing.assert_allclose(second, 2 * a.T @ a, rtol=1e-12)
    with pytest.raises(ShapeError):
        f(a, a[:3])


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool"])
def test_relatives(dtype: str) -> None:
    rng = np.random.default_rng(0)
    a, b, v = (draw(rng, s, dtype) for s in ((2, 3, 4), (4, 3, 2), (4,)))
    same: list[Callable[[Any], Callable[..., Any]]] = [
        lambda m: lambda x, y, w: m.tensordot(x, y, ([1, 2], [1, 0])),
        lambda m: lambda x, y, w: m.tensordot(x, y, ((0,), (2,))),
        lambda m: lambda x, y, w: m.tensordot(x, w, 1),
        lambda m: lambda x, y, w: m.tensordot(x, y, 0),
        lambda m: lambda x, y, w: m.inner(x, w),
        lambda m: lambda x, y, w: m.outer(y, w),
        lambda m: lambda x, y, w: m.vdot(x, y),
        lambda m: lambda x, y, w: m.vecdot(x, w),
        lambda m: lambda x, y, w: m.vecdot(x, x[:1], axis=1),
    ]
    for make in same:
        expected = np.asarray(make(np)(a, b, v))
        found = run(make(gc), a, b, v)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(found, expected)


# -- which products --------------------------------------------------------------------------------
def steps(text: str, *shapes: Any) -> list[Any]:
    inputs = [gc.placeholder(f"x{i}", s) for i, s in enumerate(shapes)]
    return run_pipeline(Graph(inputs, [gc.einsum(text, *inputs)]), Stages(check=True)).program.steps


@pytest.mark.parametrize(
    ("text", "shapes", "kinds"),
    [
        ("ij,jk->ik", (("n", 9), (9, 8)), [Gemm]),
        ("ij,jk->ki", (("n", 9), (9, 8)), [Gemm]),
        ("ji,kj->ik", ((9, "n"), (8, 9)), [Gemm]),
        ("bthd,bshd->bhts", (("b", 16, 4, 8), ("b", 16, 4, 8)), [Gemm]),
        ("bhts,bshd->bhtd", (("b", 4, 16, 16), ("b", 16, 4, 8)), [Gemm]),
        ("bthd,hde->bte", (("b", 16, 4, 8), (4, 8, 32)), [Gemm]),
        ("btd,dhe->bthe", (("b", 16, 8), (8, 4, 32)), [Gemm]),
        ("ij,j->i", ((20, 30), (30,)), [Call]),
        ("i,i->", ((30,), (30,)), [Call]),
        ("i,j->ij", ((30,), (20,)), [Call]),
        ("ij,ij->i", ((30, 4), (30, 4)), [Call]),
        ("ii->i", ((30, 30),), [Call]),
        ("nij,njk->nik", (("n", 3, 3), ("n", 3, 3)), [Call]),
    ],
)
def test_operands_are_read_in_place(text: str, shapes: Any, kinds: Any) -> None:
    assert [type(s) for s in steps(text, *shapes)] == kinds


def test_products_of_ints_are_exact_and_no_gemm() -> None:
    big = 2**53 + 1
    a = np.array([[big, 1]], np.int64)
    assert run(lambda x: gc.einsum("ij,kj->ik", x, x), np.array([[3, 1]], np.int64)) == [[10]]
    assert run(lambda x: gc.einsum("ij->i", x), a) == [big + 1]


# -- the order of several operands -----------------------------------------------------------------
def work(terms: list[str], output: str, sizes: dict[str, int], pairs: Any) -> int:
    alive, total = [set(t) for t in terms], 0
    for i, j in pairs:
        union = alive[i] | alive[j]
        total += int(np.prod([sizes[a] for a in union]))
        alive = [t for k, t in enumerate(alive) if k not in (i, j)]
        alive.append(union & set(output).union(*alive))
    assert len(alive) == 1
    return total


def every_order(count: int) -> list[list[tuple[int, int]]]:
    if count == 1:
        return [[]]
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    return [[pair, *rest] for rest in every_order(count - 1) for pair in pairs]


def test_the_order_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        terms = ["".join(rng.choice(list("abcde"), 2, replace=False)) for _ in range(5)]
        sizes = {a: int(rng.integers(1, 20)) for a in "abcde"}
        found = work(terms, "a", sizes, contraction_order(terms, ("a",), sizes))
        assert found == min(work(terms, "a", sizes, order) for order in every_order(5))


def test_many_operands_in_a_good_order() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    terms = [letters[i : i + 2] for i in range(20)]
    sizes = dict.fromkeys(letters, 10)
    pairs = contraction_order(terms, ("a", "u"), sizes)
    assert len(terms) > EXACT
    assert work(terms, "au", sizes, pairs) == 19 * 1000  # 19 products of matrices
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 2)) for _ in terms]
    found = run(lambda *xs: gc.einsum(",".join(terms), *xs), *arrays)
    np.testing.assert_allclose(found, np.linalg.multi_dot(arrays), rtol=1e-9)


def test_hints_stand_for_named_dims() -> None:
    assert size_hint(gc.dim("2*n + 1")) == 129
    assert size_hint(gc.dim("n - 100")) == 0
    assert size_hint(gc.dim("m // (n - 64)")) > 0
    a, b = gc.placeholder("a", ("n", 1000)), gc.placeholder("b", (1000, 1000))
    v = gc.placeholder("v", (1000,))
    products = [n for n in walk([gc.einsum("ij,jk,k->i", a, b, v)]) if n.op.name == "matmul"]
    assert products[0].types[0].size == 1000  # b v first


# -- errors ----------------------------------------------------------------------------------------
def line_before(lines: int) -> str:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno - lines}"


X, Y, V = (gc.placeholder(n, s) for n, s in (("x", (2, 3)), ("y", (4, 5)), ("v", ("n",))))
BAD: list[tuple[tuple[Any, ...], type[GraphcError], str]] = [
    (("i$", X), ArgumentError, r"letters, one `\.\.\.`.*\n.*\$"),
    (("i1", X), ArgumentError, "makes no sense"),
    (("i..", X), ArgumentError, "makes no sense"),
    (("...i...", X), ArgumentError, "makes no sense"),
    (("i-j", X), ArgumentError, "makes no sense"),
    (("ij->i->j", X), ArgumentError, "makes no sense"),
    (("ij->k", X), ArgumentError, "letters of the operands behind the arrow"),
    (("ij->ii", X), ArgumentError, "each letter once behind the arrow"),
    (("ij,jk", X), ArgumentError, "2 operands"),
    (("ij", X, Y), ArgumentError, "1 operands"),
    (("i", X), ShapeError, r"rank 1 for 'i'(.|\n)*`\.\.\.` stands for the other axes"),
    (("ijk", X), ShapeError, "rank 3 for 'ijk'"),
    (("...ijk", X), ShapeError, "or more"),
    (("i...->i", X), ArgumentError, r"`\.\.\.` in the result"),
    (("ij,jk", X, Y), ShapeError, r"the letter 'j' stands for two sizes(.|\n)*3 and 4"),
    (("i,i", V, gc.placeholder("m", ("n + 1",))), ShapeError, r"n and n \+ 1"),
    (("...,...", X, Y), ShapeError, r"an axis of `\.\.\.` stands for two sizes"),
    (("ii", X), ShapeError, "the letter 'i' stands for two sizes"),
    (
        ("i,aabcb", gc.ones((3,)), gc.ones((3, 3, 4, 5, 6))),
        ShapeError,
        r"letter 'b' (.|\n)*axes 2 and 4 of operand 1, \(3, 3, 4, 5, 6\)",
    ),
    ((X, "ij"), ArgumentError, "neither a string nor lists"),
    ((X, [0, 52]), ArgumentError, "neither a string nor lists"),
]


@pytest.mark.parametrize(("arguments", "kind", "text"), BAD)
def test_errors_say_what_and_where(arguments: Any, kind: type[GraphcError], text: str) -> None:
    with pytest.raises(kind) as caught:
        gc.einsum(*arguments)
    line = line_before(1)
    assert re.search(text, str(caught.value)), str(caught.value)
    assert caught.value.op == "einsum"
    assert caught.value.where == line


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: gc.tensordot(X, Y, 1), ShapeError, "axis 1 of the first as axis 0"),
        (lambda: gc.tensordot(X, Y, 3), ShapeError, "0 <= axes <= 2"),
        (lambda: gc.tensordot(X, Y, ([0, 0], [0, 1])), ArgumentError, "two lists"),
        (lambda: gc.tensordot(X, Y, ([0], [0, 1])), ArgumentError, "two lists"),
        (lambda: gc.tensordot(X, Y, "ij"), ArgumentError, "two lists"),
        (lambda: gc.vecdot(X, Y), ShapeError, "sizes of axes"),
        (lambda: gc.inner(X, Y), ShapeError, "sizes of axes"),
        (lambda: gc.vdot(X, Y), ShapeError, "sizes of axes"),
        (lambda: gc.diagonal(V), ShapeError, "axis out of range"),
        (lambda: gc.trace(X, 0, 1, 1), ShapeError, "given twice"),
    ],
)
def test_errors_of_relatives(call: Any, kind: type[GraphcError], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        call()
    assert caught.value.where.startswith(__file__)
    assert caught.value.op in ("tensordot", "vecdot", "inner", "vdot", "diagonal")
