"""Named dims that are equal by what is done with them: values, gradients, and errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphError, ShapeError
from graphc.runtime.compile import compile_statistics

D = "float64"


def inputs() -> dict[str, Any]:
    shapes = {
        "x": ("n",), "y": ("m",), "a": ("n", 3), "b": ("m", 3), "c": (3, "n"), "e": (3, "m"),
        "s": ("k", "k2"), "five": ("p",), "odd": ("2*n + 1",), "z": ("r",), "long": ("q",),
    }  # fmt: skip
    return {name: gc.placeholder(name, shape, D) for name, shape in shapes.items()}


T = inputs()
X, Y, A, B, C, E_, S, FIVE, ODD, Z, LONG = T.values()
DIMS = {"n": 4, "m": 4, "k": 3, "k2": 3, "p": 5, "r": 9, "q": 8}
SHAPES = {
    "x": (4,), "y": (4,), "a": (4, 3), "b": (4, 3), "c": (3, 4), "e": (3, 4), "s": (3, 3),
    "five": (5,), "odd": (9,), "z": (9,), "long": (8,),
}  # fmt: skip
W = gc.variable(np.arange(5.0), name="w")


def step(carry: Any, x: Any) -> tuple[Any, Any]:
    return carry + x * Y[:3], carry


# what is built, and the same by NumPy; each is summed with weights to have a gradient
CASES: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "add": (lambda: X + Y, lambda x, y: x + y),
    "multiply": (lambda: Y * X * X, lambda y, x: y * x * x),
    "where": (lambda: gc.where(X > 0, X, Y * Y), lambda x, y: np.where(x > 0, x, y * y)),
    "rows": (lambda: A * X[:, None] + B, lambda a, x, b: a * x[:, None] + b),
    "matmul": (lambda: C @ B, lambda c, b: c @ b),
    "matmul vector": (lambda: C @ Y, lambda c, y: c @ y),
    "batch": (lambda: A[:, None] @ B[:, :, None], lambda a, b: a[:, None] @ b[:, :, None]),
    "concat": (lambda: gc.concat([C, E_ * 2]), lambda c, e: np.concatenate([c, e * 2])),
    "stack": (lambda: gc.stack([X, Y * Y]), lambda x, y: np.stack([x, y * y])),
    "a static size": (lambda: FIVE * W, lambda five: five * np.arange(5.0)),
    "an expression": (lambda: ODD * Z, lambda odd, z: odd * z),
    "products": (lambda: LONG * gc.concat([X, Y]), lambda q, x, y: q * np.concatenate([x, y])),
    "reshape": (lambda: gc.reshape(A, ("m", 3)) * B, lambda a, b: a * b),
    "halves": (lambda: gc.reshape(LONG, (-1, 2)) ** 2, lambda q: q.reshape(-1, 2) ** 2),
    "halves beside": (
        lambda: gc.reshape(LONG, (2, -1)) * X, lambda q, x: q.reshape(2, -1) * x,
    ),
    "by a dim": (lambda: gc.reshape(LONG, ("n", -1)) * X[:, None],
                 lambda q, x: q.reshape(4, -1) * x[:, None]),
    "inverse": (lambda: gc.linalg.inv(S), np.linalg.inv),
    "scan": (
        lambda: gc.scan(lambda h, r: (h + r, h * r), X, B[:, 0][:, None] * Y)[1],
        lambda x, b, y: np.stack([
            (x + (b[:i, 0, None] * y).sum(0)) * b[i, 0] * y for i in range(4)
        ]),
    ),
    "switch": (lambda: gc.switch(1, [lambda: X, lambda: X - Y]), lambda x, y: x - y),
    "cond": (
        lambda: gc.cond(gc.sum(X) > 0, lambda: X * 2, lambda: Y * 3),
        lambda x, y: x * 2 if x.sum() > 0 else y * 3,
    ),
    "softmax": (lambda: gc.softmax(X * Y), lambda x, y: np.exp(x * y) / np.exp(x * y).sum()),
    "mean": (lambda: gc.mean(X - Y) + X, lambda x, y: (x - y).mean() + x),
    "loss": (
        lambda: gc.nn.losses.mean_squared_error(X, Y), lambda x, y: (x - y) ** 2,
    ),
    "no name alone": (
        lambda: gc.reshape(A, (-1,)) * gc.reshape(gc.stack([LONG, LONG]), (-1,))[4:],
        lambda a, q: a.reshape(-1) * np.concatenate([q, q])[4:],
    ),
}  # fmt: skip


def arrays_of(ts: list[Any]) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(3)
    drawn = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    return [drawn[t.name] for t in ts]


def leaves(t: Any) -> list[Any]:
    found: dict[str, Any] = {}
    stack = [t]
    seen = set()
    while stack:
        u = stack.pop()
        if u in seen:
            continue
        seen.add(u)
        if u.node.op.name == "placeholder":
            found[u.name] = u
        stack.extend(u.node.inputs)
    return list(found.values())


@pytest.mark.parametrize("target", ["cpu", "reference"])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(case: str, target: str) -> None:
    build, numpy = CASES[case]
    out = build()
    by_name = {t.name: t for t in leaves(out)}
    order = [{"q": "long"}.get(p, p) for p in inspect.signature(numpy).parameters]
    ts = list(by_name.values()) if case == "inverse" else [by_name[p] for p in order]
    arrays = arrays_of(ts)
    expected = numpy(*arrays)
    weights = np.random.default_rng(5).standard_normal(expected.shape)
    loss = gc.sum(out * gc.constant(weights))
    gradients = gc.grad(loss, ts)
    for t, g in zip(ts, gradients, strict=True):
        assert g.type == t.type
    f = gc.compile(ts, [out, *gradients], target=target)
    values = f(*arrays)
    np.testing.assert_allclose(values[0], expected, rtol=1e-12)
    for i, found in enumerate(values[1:]):
        assert found.shape == arrays[i].shape
        for at in np.ndindex(found.shape):
            h = np.zeros_like(arrays[i])
            h[at] = 1e-6
            up, down = (
                numpy(*(a + s * h if j == i else a for j, a in enumerate(arrays))) for s in (1, -1)
            )
            np.testing.assert_allclose(
                found[at], np.sum(weights * (up - down)) / 2e-6, rtol=1e-5, atol=1e-7
            )


def test_the_program_sees_one_name() -> None:
    f = gc.compile([X, Y], gc.sum(gc.tanh(X + Y) * Y))
    assert f.optimized.dims == ("n",)
    assert len(f.kernels) == 1
    g = gc.compile([FIVE], FIVE * W)
    assert g.optimized.dims == ()


def test_a_program_from_the_cache_checks_the_same() -> None:
    inputs = [Z, ODD, gc.placeholder("w", ("w",), D)]
    before = compile_statistics()["cache_hits"]
    for _ in range(2):
        f = gc.compile(inputs, inputs[0] * inputs[1] * inputs[2])
        np.testing.assert_array_equal(f(*[np.full(9, 2.0)] * 3), np.full(9, 8.0))
        with pytest.raises(ShapeError, match=r"(?s)do not agree.*w = 7"):
            f(np.ones(9), np.ones(9), np.ones(7))
    assert compile_statistics()["cache_hits"] > before


def test_a_dim_that_only_an_equation_determines() -> None:
    f = gc.compile([A], gc.reshape(A, ("rows", 3)) * 2)
    np.testing.assert_array_equal(f(np.ones((4, 3))), np.full((4, 3), 2.0))
    with pytest.raises(GraphError, match="not determined"):
        gc.compile([X], gc.reshape(X, ("u", "v")))


# -- arrays that do not agree ----------------------------------------------------------------------
@pytest.mark.parametrize("target", ["cpu", "reference"])
def test_arrays_that_do_not_agree(target: str) -> None:
    w = gc.variable(0.0, name="total", dtype=D)
    out = X + Y
    line = out.node.origins[0].line
    f = gc.compile([X, Y], out, {w: w + gc.sum(out)}, target=target, name="step")
    with pytest.raises(ShapeError) as caught:
        f(np.ones(3), np.ones(4))
    text = str(caught.value)
    assert "step: the sizes of the inputs do not agree" in text
    assert "n = m, for add at" in text
    assert "m = 4 (axis 0 of input 'y'), n = 3 (axis 0 of input 'x')" in text
    assert caught.value.where == f"{__file__}:{line}"
    assert w.value == 0
    f(np.ones(3), np.ones(3))
    assert w.value == 6


@pytest.mark.parametrize("target", ["cpu", "reference"])
@pytest.mark.parametrize("sizes", [(1, 5), (5, 1), (0, 1), (0, 5), (5, 6)])
def test_a_size_of_one_is_not_stretched(sizes: tuple[int, int], target: str) -> None:
    f = gc.compile([X, Y], X * Y, target=target)
    with pytest.raises(ShapeError, match="do not agree"):
        f(np.ones(sizes[0]), np.ones(sizes[1]))


def test_more_calls_that_do_not_agree() -> None:
    for given, out, arrays, text in (
        ([FIVE], FIVE * W, [np.ones(6)], "p = 5"),
        ([ODD, Z], ODD * Z, [np.ones(9), np.ones(7)], "2*n + 1 = r"),
        ([LONG], gc.reshape(LONG, (-1, 2)), [np.ones(7)], "q = 2*((q) // (2))"),
        ([LONG, X], gc.reshape(LONG, ("n", -1)), [np.ones(7), np.ones(2)], "q = ((q) // (n))*n"),
        ([LONG, X], gc.reshape(LONG, ("n", -1)), [np.ones(7), np.ones(0)], "q = ((q) // (n))*n"),
    ):
        for target in ("cpu", "reference"):
            with pytest.raises(ShapeError, match="do not agree") as caught:
                gc.compile(given, out, target=target)(*arrays)
            left, _, right = caught.value.expected.split(",")[0].partition(" = ")
            assert text in (f"{left} = {right}", f"{right} = {left}") or text in (left, right)


def test_gradients_keep_the_equation_that_they_need() -> None:
    (g,) = gc.grad(gc.sum(gc.concat([C, E_]) * gc.concat([C, E_])), [E_])
    f = gc.compile([C, E_], g)
    with pytest.raises(ShapeError):
        f(np.ones((3, 2)), np.ones((3, 9)))


# -- contradictions --------------------------------------------------------------------------------
def test_two_lines_that_contradict_each_other() -> None:
    first = X + Y
    second = X * gc.concat([Y, gc.zeros((1,), D)])
    lines = [t.node.origins[0].line for t in (first, second)]
    for collect in (
        lambda: gc.compile([X, Y], [first, second]),
        lambda: gc.compile([X, Y], [first, second], target="reference"),
        lambda: gc.evaluate([first, second], {X: np.ones(2), Y: np.ones(2)}),
    ):
        with pytest.raises(ShapeError) as caught:
            collect()
        text = str(caught.value)
        assert "n = m      # add at" in text
        assert "n = m + 1  # multiply at" in text
        for line in lines:
            assert f"test_sizes.py:{line}" in text
        assert caught.value.where.endswith(f":{lines[1]}")


def test_two_constants_and_a_name() -> None:
    five, six = FIVE * W, FIVE * gc.ones((6,), D)
    with pytest.raises(ShapeError, match=r"p = 5 .*\n.*p = 6 "):
        gc.compile([FIVE], [five, six])


@pytest.mark.parametrize(
    "build",
    [
        lambda: X + gc.concat([X, X]),
        lambda: X + gc.concat([X, gc.ones((1,), D)]),
        lambda: X + gc.zeros((0,), D),
        lambda: gc.reshape(ODD, (-1, 2)),
        lambda: gc.reshape(gc.concat([X, X]), (gc.placeholder("u", ("n",)).shape[0], 3)),
        lambda: C @ gc.concat([X, X]),
        lambda: gc.concat([C, gc.concat([E_, E_, C], axis=1)]),
        lambda: gc.cond(gc.sum(X) > 0, lambda: X, lambda: gc.concat([X, X])),
        lambda: gc.scan(lambda h, r: (gc.concat([h, h]), r), X, Y),
    ],
)
def test_sizes_that_are_never_equal_are_refused_where_they_meet(build: Callable[[], Any]) -> None:
    with pytest.raises(ShapeError) as caught:
        build()
    assert "test_sizes.py:" in caught.value.where


# -- jit -------------------------------------------------------------------------------------------
def test_jit_traces_once_and_refuses_what_does_not_fit() -> None:
    traces = []

    @gc.jit
    def f(x: Any, w: Any) -> Any:
        traces.append(1)
        return gc.reshape(x, (-1, 2)) @ w

    w = np.ones((2, 3))
    for n in (4, 6, 8):
        np.testing.assert_array_equal(f(np.ones(n), w), np.full((n // 2, 3), 2.0))
    assert f.programs == 1
    with pytest.raises(ShapeError):
        f(np.ones(5), w)
    with pytest.raises(ShapeError):
        f(np.ones(4), np.ones((3, 3)))


def test_jit_takes_the_way_of_each_size() -> None:
    @gc.jit
    def f(x: Any, y: Any) -> Any:
        try:
            return x + y
        except ShapeError:
            return gc.concat([x, y])

    assert f(np.ones(3), np.ones(3)).shape == (3,)
    assert f(np.ones(3), np.ones(4)).shape == (7,)
    assert f(np.ones(5), np.ones(5)).shape == (5,)
