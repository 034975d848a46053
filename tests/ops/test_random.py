"""Random numbers: published Threefry answers, reproducibility, statistics, keys."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import graphc as gc
from graphc.errors import ArgumentError, DTypeError, GradientError, RuntimeFailure, ShapeError
from graphc.ir.dim import evaluate as evaluate_size
from graphc.ir.node import apply
from graphc.loops.builder import Builder, cast_target
from graphc.loops.grammar import Affine, Buffer, Let, Load, Number, Var, of, statements
from graphc.loops.primitives import PRIMITIVES
from graphc.ops.random_bits import RANDOM_BITS

Array = np.ndarray[Any, Any]
N = 100_000


def sample(t: gc.Tensor) -> Array:
    found: Array = gc.evaluate(t)
    return found


def block(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """One block: the low word (and its sign) by the offset, the high word by it and the purpose."""
    k = gc.constant(np.array(key, np.uint32))
    offset = gc.constant(np.array(counter, ">u4").view(">i8")[0].astype(np.int64))
    words = [
        apply(RANDOM_BITS, (k, offset), shape=(), word=w, purpose=0).output() for w in (0, 1)
    ]
    first, second = gc.evaluate(words)
    return int(first), int(second)


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_published_answers(key: Any, counter: Any, expected: Any) -> None:
    """The known-answer vectors of threefry2x32-20 in the authors' Random123 distribution."""
    assert block(key, counter) == expected


def test_an_element_is_the_block_of_its_flat_index() -> None:
    key = gc.random.key(5)
    bits = sample(gc.random.random_bits(key, (3, 4)))
    assert bits.dtype == np.uint32
    for i, word in enumerate(bits.ravel()):
        assert word == block((0, 5), (0, i))[0]
    n = gc.placeholder("n", ("n",))
    symbolic = gc.random.random_bits(key, (gc.dim("n"), 4))
    np.testing.assert_array_equal(gc.evaluate(symbolic, {n: np.ones(3)}), bits)


def test_the_same_key_gives_the_same_numbers_and_another_others() -> None:
    first, second, third = (
        sample(gc.random.uniform(gc.random.key(seed), (1000,))) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first == third).mean() < 0.01


def test_keys() -> None:
    key = gc.random.key((3 << 32) + 9)
    np.testing.assert_array_equal(key.value, [3, 9])
    assert (key.name, key.trainable, key.dtype.name) == ("key", False, "uint32")
    before = sample(gc.random.random_bits(key, (4,)))
    key.value = np.array([1, 2], np.uint32)
    assert not np.array_equal(before, sample(gc.random.random_bits(key, (4,))))


def test_derived_keys_are_all_different() -> None:
    key = gc.random.key(0)
    words = [key.value, *sample(gc.random.split(key, 100))]
    words += [sample(gc.random.fold_in(key, i)) for i in (0, 1, 2, 99, -1, 2**40)]
    words += [*sample(gc.random.random_bits(key, (100, 2)))]
    assert len({tuple(w.tolist()) for w in words}) == len(words)
    a, b = gc.random.split(key)
    correlation = np.corrcoef(
        sample(gc.random.normal(a, (N,))), sample(gc.random.normal(b, (N,)))
    )[0, 1]
    assert abs(correlation) < 5 / math.sqrt(N)


def test_fold_in_takes_a_tensor_and_split_feeds_a_scan() -> None:
    key, step = gc.random.key(0), gc.placeholder("step", (), "int32")
    folded = gc.random.fold_in(key, step)
    np.testing.assert_array_equal(
        gc.evaluate(folded, {step: 7}), sample(gc.random.fold_in(key, 7))
    )

    def draw(k: Any, _: Any) -> Any:
        k, now = gc.random.split(k)
        return k, gc.random.uniform(now, (2,))

    _, ys = gc.scan(draw, key, length=50)
    assert len(np.unique(sample(ys))) == 100


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 24), ("float64", 53)])
def test_uniform(dtype: str, bits: int) -> None:
    u = sample(gc.random.uniform(gc.random.key(3), (N,), dtype))
    assert u.dtype == dtype
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    scaled = u.astype(np.float64) * 2.0**bits
    np.testing.assert_array_equal(scaled, np.floor(scaled))
    assert (scaled % 2 == 1).mean() == pytest.approx(0.5, abs=0.01)
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(u[::2] - u[1::2], stats.triang(0.5, -1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_stays_below_high(dtype: str) -> None:
    u = sample(gc.random.uniform(gc.random.key(3), (N,), dtype, low=-3, high=5))
    assert -3 <= u.min() < -2.99
    assert 4.99 < u.max() < 5
    assert u.mean() == pytest.approx(1, abs=0.05)
    narrow = (1.0, float(np.nextafter(np.dtype(dtype).type(1), np.dtype(dtype).type(2))))
    u = sample(gc.random.uniform(gc.random.key(3), (1000,), dtype, low=narrow[0], high=narrow[1]))
    np.testing.assert_array_equal(u, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("share", [(-1, 1), (-1, 0.5), (-0.3, 0.9), (0, 1), (-1, -0.5)])
def test_uniform_between_bounds_of_any_size(dtype: str, share: tuple[float, float]) -> None:
    """Also where high - low is no number of the dtype."""
    largest = float(np.finfo(dtype).max)
    low, high = (largest * s for s in share)
    u = sample(gc.random.uniform(gc.random.key(3), (N,), dtype, low=low, high=high))
    assert np.isfinite(u).all()
    assert low <= u.min()
    assert u.max() < high
    position = u / largest  # in long steps, and in float64 exact enough
    assert stats.kstest(position, "uniform", (share[0], share[1] - share[0])).pvalue > 1e-3
    assert len(np.unique(u)) > 0.99 * N


def test_uniform_between_large_bounds_compiled() -> None:
    t = gc.random.uniform(gc.random.key(1), (1000,), "float32", -3e38, 3e38)
    np.testing.assert_array_equal(gc.compile([], t)(), sample(t))


@pytest.mark.parametrize(
    ("low", "high", "given"),
    [(-np.inf, 1, "-inf"), (0, np.inf, "inf"), (np.nan, 1, "nan"), (0, np.nan, "nan"),
     (0, 1e39, "1e\\+39"), (-(10**400), 0, "-1000"), (2, 1, r"\[2, 1\)"), (0, 1e-46, "1e-46"),
     (np.zeros(2), 1, "array"), (0, gc.placeholder("high"), "high"), ("0", 1, "'0'")],
)  # fmt: skip
def test_bounds_that_are_none(low: Any, high: Any, given: str) -> None:
    with pytest.raises(ArgumentError, match=given) as caught:
        gc.random.uniform(gc.random.key(0), (3,), "float32", low, high)
    assert __file__ in caught.value.where


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal(dtype: str) -> None:
    z = sample(gc.random.normal(gc.random.key(4), (N,), dtype))
    assert z.dtype == dtype
    assert np.isfinite(z).all()
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        spread = math.sqrt({1: 1, 2: 2, 3: 15, 4: 96}[power] / N)
        assert abs((z.astype(float) ** power).mean() - moment) < 5 * spread
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 5 / math.sqrt(N)


def test_bernoulli() -> None:
    key = gc.random.key(6)
    p = gc.constant(np.array([0.0, 0.25, 1.0]))
    found = sample(gc.random.bernoulli(key, p, (N, 3)))
    assert found.dtype == bool
    assert found[:, 0].sum() == 0
    assert found[:, 2].sum() == N
    assert abs(found[:, 1].mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / N)
    assert sample(gc.random.bernoulli(key)).shape == ()
    assert sample(gc.random.bernoulli(key, p)).shape == (3,)


@pytest.mark.parametrize(
    "p", [1.5, -0.1, np.nan, np.inf, 2, np.array([0.5, np.nan]), np.nextafter(np.float32(1), 2)]
)
def test_a_number_that_is_no_probability(p: Any) -> None:
    for given in (p, gc.constant(p)):
        with pytest.raises(ArgumentError, match="not a probability") as caught:
            gc.random.bernoulli(gc.random.key(0), given, (2,))
        assert __file__ in caught.value.where


def test_a_computed_probability_is_checked_at_the_call() -> None:
    p = gc.placeholder("p", ("n",))
    drawn = gc.random.bernoulli(gc.random.key(6), p * 2)
    functions = [gc.compile([p], drawn), gc.compile([p], drawn, target="reference")]
    for f in functions:
        np.testing.assert_array_equal(f([0, 0.5]), [False, True])
        assert f(np.zeros(0)).shape == (0,)
        for bad in ([0.1, 0.6], [np.nan, 0], [-0.1, 0], [np.inf, 0]):
            with pytest.raises(RuntimeFailure, match=r"outside \[0, 1\]") as caught:
                f(bad)
            assert __file__ in caught.value.where


def test_bits_are_balanced() -> None:
    words = sample(gc.random.random_bits(gc.random.key(8), (N,)))
    for bit in range(32):
        ones = ((words >> np.uint32(bit)) & np.uint32(1)).mean()
        assert abs(ones - 0.5) < 5 * 0.5 / math.sqrt(N), bit


def test_derivatives() -> None:
    key, w = gc.random.key(0), gc.placeholder("w", (3,), "float64")
    noise = gc.random.normal(key, (3,), "float64")
    np.testing.assert_array_equal(
        gc.evaluate(gc.grad(gc.sum(w * noise), w), {w: np.ones(3)}), sample(noise)
    )
    with pytest.raises(GradientError):
        gc.grad(gc.sum(noise), w)


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: gc.random.key(-1), ArgumentError),
        (lambda: gc.random.key(2**64), ArgumentError),
        (lambda: gc.random.key(1.5), ArgumentError),
        (lambda: gc.random.uniform(np.zeros(2), (3,)), DTypeError),
        (lambda: gc.random.uniform(np.zeros(3, np.uint32), (3,)), ShapeError),
        (lambda: gc.random.uniform(gc.random.key(0), (3,), "int32"), DTypeError),
        (lambda: gc.random.uniform(gc.random.key(0), (3,), low=1, high=1), ArgumentError),
        (lambda: gc.random.fold_in(gc.random.key(0), 1.5), DTypeError),
        (lambda: gc.random.fold_in(gc.random.key(0), np.arange(2)), ShapeError),
    ],
)
def test_errors(build: Callable[[], Any], error: Any) -> None:
    with pytest.raises(error) as caught:
        build()
    assert caught.value.op.startswith("random")
    assert caught.value.given


@pytest.mark.parametrize(("shape", "offset"), [((3, 5), None), ((), 2**33 + 5), (("n", 5), None)])
@pytest.mark.parametrize("word", [0, 1])
def test_the_kernel_meaning_equals_numpys(shape: Any, offset: Any, word: int) -> None:
    """What a kernel computes for each element, one primitive after another, with NumPy's."""
    key = np.array([3, 9], np.uint32)
    inputs = [gc.placeholder("k", (2,), "uint32")]
    values = [key]
    if offset is not None:
        inputs.append(gc.placeholder("c", (), "int64"))
        values.append(np.array(offset))
    sizes = tuple(gc.dim(s) for s in shape)
    bits = apply(RANDOM_BITS, inputs, shape=sizes, word=word, purpose=1 << 30).output()
    n = gc.placeholder("n", ("n",))
    feeds = dict(zip(inputs, values, strict=True)) | {n: np.ones(3)}
    expected = gc.evaluate(bits, feeds)

    k = Builder()
    buffers = [Buffer(t.name, t.dtype, t.size) for t in inputs]
    operands = [
        Operand(lambda index, b=b: k.load(b, index[0] if index else Affine()), t.type)
        for b, t in zip(buffers, inputs, strict=True)
    ]
    with contextlib.ExitStack() as loops:
        variables = [loops.enter_context(k.loop(s)) for s in sizes]
        assert RANDOM_BITS.at is not None
        index = tuple(of(v) for v in variables)
        result = RANDOM_BITS.at(k, operands, index, bits.type, **bits.node.attrs)
    arrays = dict(zip(buffers, values, strict=True))
    for position in np.ndindex(expected.shape):
        place = dict(zip(variables, position, strict=True))
        assert run(k.scopes[0].body, result, place, arrays) == expected[position]


class Operand:
    """An operand of a kernel: `at` calls it with an index."""

    def __init__(self, read: Callable[[Any], Any], type: Any) -> None:
        self.read, self.type = read, type

    def __call__(self, index: Any) -> Any:
        return self.read(index)


def run(body: Any, result: Any, place: dict[Any, int], arrays: dict[Any, Array]) -> Any:
    """The value of `result` where the loop variables are at `place`."""
    found: dict[Any, Any] = {v: np.int64(i) for v, i in place.items()}

    def index(affine: Affine) -> int:
        terms = (int(found[v]) * evaluate_size(s, {"n": 3}) for v, s in affine.terms)
        return sum(terms) + evaluate_size(affine.const, {"n": 3})

    for stmt in statements(body):
        if isinstance(stmt, Load):
            found[stmt.var] = arrays[stmt.buffer].ravel()[index(stmt.index)]
        elif isinstance(stmt, Number):
            found[stmt.var] = np.int64(index(stmt.index))
        elif isinstance(stmt, Let):
            args = [found[a] if isinstance(a, Var) else a.value for a in stmt.args]
            target = cast_target(stmt.primitive)
            with np.errstate(over="ignore"):
                found[stmt.var] = (
                    args[0].astype(target.numpy)
                    if target
                    else PRIMITIVES[stmt.primitive].numpy(*args)
                )
    return found[result]


@pytest.mark.parametrize("given", [0, 3.5, None, "seed", (2, 3), np.arange(2), [1, 2]])
def test_what_is_no_key_is_told_how_to_make_one(given: Any) -> None:
    for call in (gc.random.normal, gc.random.uniform, gc.random.split, gc.random.bernoulli):
        with pytest.raises(DTypeError, match=r"gc\.random\.key\(seed\)") as raised:
            call(given)
        assert __file__ in raised.value.where


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "uint8"])
def test_a_key_of_a_seed_that_is_an_input(dtype: str) -> None:
    seed = gc.placeholder("seed_given", (), dtype)
    bits = gc.random.random_bits(gc.random.key(seed), (4,))
    largest = np.iinfo(dtype).max
    for value in (0, 7, int(largest) - 1):
        expected = sample(gc.random.random_bits(gc.random.key(value), (4,)))
        given = gc.evaluate(bits, {seed: np.array(value, dtype)})
        np.testing.assert_array_equal(given, expected)
    with pytest.raises(DTypeError, match="not a seed"):
        gc.random.key(gc.placeholder("seed_float", ()))
    with pytest.raises(ShapeError, match="not a seed"):
        gc.random.key(gc.placeholder("seeds", (2,), dtype))
