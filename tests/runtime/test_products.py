"""Products of every size and layout, with what takes them up: equal to NumPy on any threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.runtime import executable
from tests.compiling import printed_on_threads

SIZES = [  # m, k, n: none of one kind, few columns, ours in one part and in several, the BLAS's
    (0, 5, 9), (5, 0, 9), (5, 9, 0), (1, 1, 1), (3, 7, 7), (3, 7, 8), (7, 20, 33), (8, 20, 33),
    (130, 700, 300), (9, 2000, 512), (33, 30, 513), (70, 120_000, 9),
]  # fmt: skip


@pytest.fixture(params=["ours", "none of ours"])
def routine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With our own routine, and as on processors that it is not made for."""
    if request.param == "none of ours":
        monkeypatch.setattr(executable, "product_addresses", lambda bits: (0, 0))


@pytest.mark.usefixtures("routine")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_way_to_compute_a_product(dtype: str) -> None:
    a, at = gc.placeholder("a", ("m", "k"), dtype), gc.placeholder("at", ("k", "m"), dtype)
    b, bt = gc.placeholder("b", ("k", "n"), dtype), gc.placeholder("bt", ("n", "k"), dtype)
    products = [a @ b, at.T @ b, a @ bt.T, at.T @ bt.T]
    taken = [gc.maximum(p + gc.sum(b, axis=0), 0) for p in products]
    function = gc.compile([a, at, b, bt], products + taken)
    rng = np.random.default_rng(0)
    for m, k, n in SIZES:
        x, w = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        given = [x, np.ascontiguousarray(x.T), w, np.ascontiguousarray(w.T)]
        expected = x.astype("f8") @ w.astype("f8")
        allowed = (k + 4) * np.finfo(dtype).eps * (np.abs(x) @ np.abs(w) + np.abs(w).sum(axis=0))
        found = function(*given)
        for product in found[:4]:
            assert np.all(np.abs(product - expected) <= allowed), (m, k, n)
        for activation in found[4:]:
            wanted = np.maximum(expected + w.astype("f8").sum(axis=0), 0)
            assert np.all(np.abs(activation - wanted) <= 2 * allowed), (m, k, n)


@pytest.mark.usefixtures("routine")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_many_columns(dtype: str) -> None:
    """Packed in parts of k, at sizes around those of panels, by rows and turned."""
    n = 577
    a, at = gc.placeholder("a", ("m", "k"), dtype), gc.placeholder("at", ("k", "m"), dtype)
    b, bt = gc.placeholder("b", ("k", n), dtype), gc.placeholder("bt", (n, "k"), dtype)
    taken = gc.maximum(a @ b + gc.sum(b, axis=0), 0)
    function = gc.compile([a, at, b, bt], [a @ b, at.T @ b, a @ bt.T, taken])
    rng = np.random.default_rng(0)
    for m, k in ((0, 5), (70, 0), (70, 1), (63, 9), (64, 512), (79, 513), (200, 1030)):
        x, w = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        wide, sums = x.astype("f8") @ w.astype("f8"), w.astype("f8").sum(axis=0)
        allowed = (k + 4) * np.finfo(dtype).eps * (np.abs(x) @ np.abs(w) + np.abs(w).sum(axis=0))
        *found, activation = function(x, np.ascontiguousarray(x.T), w, np.ascontiguousarray(w.T))
        for product in found:
            assert np.all(np.abs(product - wide) <= allowed), (m, k)
        assert np.all(np.abs(activation - np.maximum(wide + sums, 0)) <= 2 * allowed), (m, k)


@pytest.mark.usefixtures("routine")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_with_what_takes_them_up(dtype: str) -> None:
    q = gc.placeholder("q", ("b", "h", "t", "d"), dtype)
    k = gc.placeholder("k", ("b", "h", "s", "d"), dtype)
    scores = gc.softmax(gc.einsum("bhtd,bhsd->bhts", q, k))
    mixed = gc.tanh(gc.einsum("bhts,bhsd->bhtd", scores, k))
    function = gc.compile([q, k], [scores, mixed])
    rng = np.random.default_rng(0)
    for b, h, t, s, d in ((2, 3, 9, 17, 4), (1, 2, 64, 130, 300), (0, 2, 3, 3, 3), (2, 2, 1, 1, 1)):
        x = rng.normal(size=(b, h, t, d)).astype(dtype) / max(d, 1) ** 0.5
        y = rng.normal(size=(b, h, s, d)).astype(dtype)
        e = np.exp(np.einsum("bhtd,bhsd->bhts", x.astype("f8"), y.astype("f8")))
        wanted = e / e.sum(axis=-1, keepdims=True)
        found = function(x, y)
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(found[0], wanted, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(found[1], np.tanh(wanted @ y), rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("routine")
def test_results_in_another_order() -> None:
    a = gc.placeholder("a", ("b", "h", "t", "s"), "float64")
    v = gc.placeholder("v", ("b", "h", "s", "d"), "float64")
    orders = ("bthd", "btdh", "hbtd", "bhdt", "tdbh", "dthb", "hdbt")
    results = [gc.einsum(f"bhts,bhsd->{order}", a, v) for order in orders]
    flat = [gc.reshape(r, (-1,)) for r in results]
    function = gc.compile([a, v], [*results, *flat])
    rng = np.random.default_rng(0)
    sizes = [
        (2, 3, 20, 5, 9), (1, 1, 1, 1, 1), (2, 0, 3, 4, 5), (1, 4, 1, 9, 16), (3, 2, 5, 0, 8),
        (2, 2, 0, 3, 8), (2, 2, 8, 3, 0), (2, 5, 33, 7, 1),
    ]  # fmt: skip
    for b, h, t, s, d in sizes:
        x, y = rng.normal(size=(b, h, t, s)), rng.normal(size=(b, h, s, d))
        found = function(x, y)
        for order, result, line in zip(orders, found, found[len(orders) :], strict=False):
            expected = np.einsum(f"bhts,bhsd->{order}", x, y)
            np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(line, expected.ravel(), rtol=1e-12, atol=1e-12)


def test_inside_a_loop_the_counter_reaches_the_rows() -> None:
    x, w = gc.placeholder("x", ("t", "n", 40)), gc.placeholder("w", (40, 40))
    last, states = gc.scan(lambda c, v: ((c @ w.T + v) * 0.5,) * 2, gc.zeros(("n", 40)), x)
    function = gc.compile([x, w], [last, states, *gc.grad(gc.sum(states * states), [x, w])])
    rng = np.random.default_rng(0)
    xs, ws = rng.normal(size=(5, 200, 40)), rng.normal(size=(40, 40)) / 7
    found = function(xs.astype("f4"), ws.astype("f4"))
    states_, state = [], np.zeros((200, 40))
    for v in xs:
        state = (state @ ws.T + v) * 0.5
        states_.append(state)
    np.testing.assert_allclose(found[0], state, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[1], states_, rtol=1e-4, atol=1e-4)
    later, towards_w = np.zeros((200, 40)), np.zeros((40, 40))
    for i in reversed(range(5)):
        later = (2 * states_[i] + later) * 0.5
        np.testing.assert_allclose(found[2][i], later, rtol=1e-3, atol=1e-3)
        towards_w += later.T @ (states_[i - 1] if i else np.zeros((200, 40)))
        later = later @ ws
    np.testing.assert_allclose(found[3], towards_w, rtol=1e-3, atol=1e-2)


_PROGRAM = """
import hashlib
import numpy as np
import graphc as gc

rng = np.random.default_rng(0)
x, y = gc.placeholder("x", ("n", 300)), gc.placeholder("y", ("n",), "int64")
w = gc.variable(rng.normal(size=(300, 200)).astype("f4") * 0.1)
v = gc.variable(rng.normal(size=(200, 12)).astype("f4") * 0.1)
loss = gc.mean(gc.nn.losses.softmax_cross_entropy(gc.relu(x @ w) @ v, y))
updates = {p: p - 0.1 * g for p, g in zip((w, v), gc.grad(loss, [w, v]))}
step = gc.compile([x, y], loss, updates=updates)
q = gc.placeholder("q", (16, 90, 50))
scores = gc.compile([q], gc.softmax(gc.einsum("btd,bsd->bts", q, q)))
u, t = gc.placeholder("u", (300, 700)), gc.placeholder("t", (700, "n"))
wide = gc.compile([x, u, t], [gc.tanh(x @ u), gc.grad(gc.sum(gc.tanh(x @ u)), x), t @ x])

data, labels = rng.normal(size=(1001, 300)).astype("f4"), rng.integers(0, 12, 1001)
found = [step(data[:n], labels[:n]) for n in (1001, 1001, 7, 64, 0, 1001)]
found += [w.value, v.value, scores(rng.normal(size=(16, 90, 50)).astype("f4"))]
found += wide(data, *(rng.normal(size=s).astype("f4") for s in ((300, 700), (700, 1001))))
print(hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in found)).hexdigest())
"""


def test_every_number_of_threads_gives_the_same_bits(tmp_path: Path) -> None:
    assert len(printed_on_threads(_PROGRAM, tmp_path, (1, 2, 3, 7))) == 1
