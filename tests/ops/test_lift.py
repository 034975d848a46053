"""float16 in memory: every value converts as NumPy's, moves cost no conversion, sums refuse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import graphc as gc

RNG = np.random.default_rng(7)
HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def hard_doubles() -> Any:
    """Between each two halves the middle and what is just beside it, which float32 cannot tell."""
    ordered = np.unique(HALVES[np.isfinite(HALVES)]).astype(np.float64)
    middle = (ordered[1:] + ordered[:-1]) / 2
    beside = [np.nextafter(middle, way) for way in (np.inf, -np.inf)]
    far = [65504, 65519.99, 65520, 1e5, 1e300, 5e-324, 1e-40, 2.0**-25, np.inf, np.nan, 0.0, -0.0]
    return np.concatenate([middle, *beside, np.array(far), -np.array(far)])


def same_bits(a: Any, b: Any) -> bool:
    nan = np.isnan(b)
    return bool(np.array_equal(a.view("u2")[~nan], b.view("u2")[~nan]) and np.isnan(a[nan]).all())


def test_every_conversion_is_numpys() -> None:
    """All halves to each dtype and back, all ties from both floats, compiled and interpreted."""
    h = gc.placeholder("half_h", ("n",), "float16")
    d, s = gc.placeholder("half_d", ("m",), "float64"), gc.placeholder("half_s", ("m",), "float32")
    i, t = gc.placeholder("half_i", ("k",), "int64"), gc.placeholder("half_t", ("k",), "bool")
    to = ("float32", "float64", "int32", "uint8", "bool")
    made = [h.astype(name) for name in to] + [x.astype("float16") for x in (d, s, i, t)]
    doubles = hard_doubles()
    ints = np.array([0, 1, -1, 2049, 2051, 65519, 65520, -70000, 2**40])
    with np.errstate(over="ignore"):
        singles = doubles.astype("float32")
        given = dict(zip((h, d, s, i, t), (HALVES, doubles, singles, ints, ints > 0), strict=True))
        back = [x.astype("float16") for x in (doubles, singles, ints, ints > 0)]
    step = gc.compile(list(given), made)
    for found in (gc.evaluate(made, given), step(*given.values())):
        np.testing.assert_array_equal(found[0], HALVES.astype("float32"))
        np.testing.assert_array_equal(found[1], HALVES.astype("float64"))
        np.testing.assert_array_equal(found[4], HALVES.astype("bool"))
        for a, b in zip(found[5:], back, strict=True):
            assert a.dtype == np.float16
            assert same_bits(a, b)
    for a, b in zip(step(*given.values())[2:4], gc.evaluate(made[2:4], given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_elementwise_is_numpys() -> None:
    """Each operation rounds, as NumPy's do; so do choices, comparisons and what picks elements."""
    x, y = (gc.placeholder(f"half_{n}", ("n",), "float16") for n in "xy")
    table = [
        lambda np, x, y: x + y, lambda np, x, y: x * y - y, lambda np, x, y: x / y,
        lambda np, x, y: np.sqrt(np.abs(x)) * 3, lambda np, x, y: np.where(x > y, x, y),
        lambda np, x, y: np.maximum(x, y), lambda np, x, y: x == y, lambda np, x, y: -x + 1,
        lambda np, x, y: np.concatenate([x, y]), lambda np, x, y: np.roll(x, 2)[::-1],
        lambda np, x, y: np.take(x, [1, 0, 1]), lambda np, x, y: np.reshape(x, (-1, 1)) * x,
        lambda np, x, y: np.isfinite(x), lambda np, x, y: np.floor(x),
        lambda np, x, y: np.pad(x, 1),
    ]  # fmt: skip
    a, b = (RNG.normal(size=9).astype("float16") * 100 for _ in range(2))
    made = [f(np, x, y) for f in table]
    wanted = [f(np, a, b) for f in table]
    for found in (gc.evaluate(made, {x: a, y: b}), gc.compile([x, y], made)(a, b)):
        for got, expected in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(got, expected, strict=True)


def test_moves_keep_the_bits() -> None:
    """Also of a NaN that is not the usual one: what only moves is not converted."""
    x = gc.placeholder("half_moved", (2, 3), "float16")
    step = gc.compile([x], [x.T, gc.flip(x), x[:, 1:], gc.reshape(x, (3, 2))])
    given = np.array([[0x7C01, 0x8000, 0xFE05], [1, 0xFC00, 0x3C00]], "uint16").view("float16")
    expected = [given.T, given[::-1, ::-1], given[:, 1:], given.reshape(3, 2)]
    for a, b in zip(step(given), expected, strict=True):
        assert a.tobytes() == np.ascontiguousarray(b).tobytes()
    assert "half" not in step.source


def test_weights_are_stored_and_computed_with_in_float32() -> None:
    """One conversion at the read, one at the write of an update; gradients of the variable."""
    w = gc.variable(RNG.normal(size=(4, 3)).astype("float16"), name="half_w")
    x = gc.placeholder("half_input", ("n", 4))
    y = x @ w.astype("float32")
    loss = gc.mean(y * y)
    slope = gc.grad(loss, w)
    assert slope.dtype is gc.float16
    step = gc.compile([x], loss, updates={w: (w.astype("float32") - 0.1 * slope).astype("float16")})
    before, given = w.value.astype("float32"), RNG.normal(size=(5, 4)).astype("float32")
    losses = [float(step(given)) for _ in range(3)]
    assert losses[0] == pytest.approx(np.mean((given @ before) ** 2), rel=1e-4)
    assert losses[0] > losses[1] > losses[2]
    assert w.value.dtype == np.float16


def test_scalars_constants_text() -> None:
    s = gc.placeholder("half_scalar", (), "float16")
    f = gc.compile([s], [s, s.astype("float32") + 1, s * 2])
    same, more, twice = f(1.5)
    assert (type(same), same, more) == (np.float16, 1.5, 2.5)
    assert (type(twice), twice) == (np.float16, 3)
    c = gc.constant(np.array([0.1, np.inf, -0.0, 6e-8], "float16"))
    kept = gc.flip(c) * s
    assert c.dtype is gc.float16
    assert gc.parse_graph(gc.print_graph(gc.Graph([s], [kept]))).outputs[0] is kept
    assert pickle.loads(pickle.dumps(kept)) is kept
    assert gc.result_type("float16", "float32") is gc.float32
    assert gc.result_type("float16", 1.0) is gc.float16
    assert gc.finfo("float16").max == 65504


@pytest.mark.parametrize(
    "op", ["sum", "mean", "max", "matmul", "prod", "softmax", "cumulative_sum"]
)
def test_what_adds_up_refuses(op: str) -> None:
    x = gc.placeholder("half_refused", (3, 3), "float16")
    call = {"matmul": lambda: x @ x, "cumulative_sum": lambda: gc.cumulative_sum(x, axis=0)}
    with pytest.raises(gc.errors.DTypeError, match="float16 is stored") as raised:
        call.get(op, lambda: getattr(gc, op)(x))()
    assert "astype('float32')" in raised.value.hint
    assert __file__ in raised.value.where
