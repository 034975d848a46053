"""Our own matrix product: equal to NumPy at every size around its blocks, within its borders."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from graphc.ir.dtype import float32, float64
from graphc.lower import gemm, processor
from graphc.planning.program import padded
from graphc.runtime.product import product_addresses

_INT, _POINTER = ctypes.c_int64, ctypes.c_void_p
_TYPE = ctypes.CFUNCTYPE(
    None,
    *(_POINTER, _INT, _INT, _INT),  # a: from row to row, from column to column, from tap to tap
    *(_POINTER, _INT, _INT),
    *(_POINTER, _INT),
    *(_INT, _INT, _INT, _INT, ctypes.c_bool),
    _POINTER,  # what the next call touches
    *(_POINTER, _INT),  # what is claimed
)
FEATURES = {"avx512": "+avx512f,+avx512vl,+avx2,+fma", "avx2": "+avx2,+fma", "sse": "+sse2"}
BITS = {32: np.float32, 64: np.float64}
DTYPES = {32: float32, 64: float64}


def sum_of_products(bits: int) -> Callable[..., None]:
    address = product_addresses(bits)[0]
    if not address:
        pytest.skip("this processor has no AVX2 with FMA: the BLAS computes every product")
    return _TYPE(address)


def native(bits: int) -> Callable[..., None]:
    """The routine for one product."""
    routine = sum_of_products(bits)

    def product(
        a: Any, row: int, column: int, b: Any, b_row: int, c: Any, c_row: int,
        m: int, n: int, k: int, add: bool,
    ) -> None:  # fmt: skip
        routine(a, row, column, 0, b, b_row, 0, c, c_row, m, n, k, 1, add, None, None, 0)

    return product


def check(
    product: Callable[..., None], dtype: Any, m: int, n: int, k: int, transposed: bool
) -> None:
    random = np.random.default_rng(m + 100 * n + 10_000 * k)
    a = random.standard_normal((k, m) if transposed else (m, k)).astype(dtype)
    b = random.standard_normal((k, n)).astype(dtype)
    c = np.full((m + 1, n + 3), 7, dtype)
    a_row, a_column = (1, m) if transposed else (k, 1)
    product(
        a.ctypes.data, a_row, a_column, b.ctypes.data, n, c.ctypes.data, n + 3, m, n, k, False
    )  # fmt: skip
    left = (a.T if transposed else a).astype(np.longdouble)
    expected, scale = left @ b, np.abs(left) @ np.abs(b)
    error = np.abs(c[:m, :n] - expected)
    assert np.all(error <= (k + 1) * np.finfo(dtype).eps * scale)
    assert np.all(c[m:] == 7), "written outside"
    assert np.all(c[:, n:] == 7), "written outside"


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("transposed", [False, True])
def test_equal_to_numpy_at_all_small_sizes(bits: int, transposed: bool) -> None:
    product = native(bits)
    rows = (0, 1, 2, 3, 6, 7, 8, 9, 14, 15, 28, 31)
    columns = (0, 1, 7, 8, 9, 16, 17, 31, 32, 33, 50, 65)
    for m, n, k in itertools.product(rows, columns, (0, 1, 2, 7)):
        check(product, BITS[bits], m, n, k, transposed)


@pytest.mark.parametrize("bits", BITS)
def test_equal_to_numpy_at_real_sizes(bits: int) -> None:
    product = native(bits)
    sizes = (
        (32, 128, 784, False), (784, 128, 32, True), (65, 100, 129, False), (7, 64, 9, False),
        (14, 65, 9, True), (3, 97, 4, False), (6, 160, 3, False),
    )  # fmt: skip
    for m, n, k, transposed in sizes:
        check(product, BITS[bits], m, n, k, transposed)


@pytest.mark.parametrize("columns", [9, 40])
def test_rounding_errors_hardly_grow_with_k(columns: int) -> None:
    """2^18 numbers one by one are off by thousands of units, of equal numbers."""
    product, k = native(32), 1 << 18
    random = np.random.default_rng(0)
    for draw in (
        lambda shape: np.full(shape, 0.1, "float32"),
        lambda shape: random.random(shape, dtype="float32"),
        lambda shape: random.standard_normal(shape, dtype="float32"),
        lambda shape: np.exp(4 * random.standard_normal(shape, dtype="float32")),
    ):
        a, b, c = draw((2, k)), draw((k, columns)), np.empty((2, columns), "float32")
        at, bt, ct = (x.ctypes.data for x in (a, b, c))
        product(at, k, 1, bt, columns, ct, columns, 2, columns, k, False)
        left, right = a.astype("float64"), b.astype("float64")
        scale = np.abs(left) @ np.abs(right) * np.finfo("float32").eps
        assert np.max(np.abs(c - left @ right) / scale) < 8


@pytest.mark.parametrize("bits", BITS)
def test_it_adds_to_what_is_there(bits: int) -> None:
    product, dtype = native(bits), BITS[bits]
    around = [(3, 18, k + d) for k in (gemm.CHUNK, gemm.SPAN, 2 * gemm.SPAN) for d in (-1, 0, 1)]
    for m, n, k in ((9, 33, 5), (1, 1, 1), (8, 16, 0), (17, 50, 3), *around):
        random = np.random.default_rng(m)
        a = random.integers(-9, 9, (m, k)).astype(dtype)
        b = random.integers(-9, 9, (k, n)).astype(dtype)
        c = random.integers(-9, 9, (m, n)).astype(dtype)
        expected = c + a @ b
        product(a.ctypes.data, k, 1, b.ctypes.data, n, c.ctypes.data, n, m, n, k, True)
        np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize("bits", BITS)
def test_products_that_are_added_up(bits: int) -> None:
    """Of rows that overlap, as those of windows do: around chunks, with chunks that end within a
    product, and of none."""
    routine, dtype = sum_of_products(bits), BITS[bits]
    random = np.random.default_rng(0)
    for m, n, k, taps in (
        (9, 33, 5, 3), (8, 16, 14, 20), (3, 40, 127, 3), (5, 8, 128, 2),
        (2, 50, 129, 65), (1, 17, 1, 300), (4, 9, 0, 3), (4, 9, 3, 0),
    ):  # fmt: skip
        a_row, a_tap = max(k // 2, 1), k + 3
        a = random.integers(-9, 9, (m + 1) * a_row + taps * a_tap + k).astype(dtype)
        b = random.integers(-9, 9, (taps, k + 1, n)).astype(dtype)
        left = [[a[t * a_tap + i * a_row :][:k] for i in range(m)] for t in range(taps)]
        expected = np.zeros((m, n), dtype)
        for t in range(taps):
            expected += np.reshape(left[t], (m, k)) @ b[t, :k]
        for add in (False, True):
            c = np.full((m + 1, n + 3), 7, dtype)
            routine(
                a.ctypes.data, a_row, 1, a_tap, b.ctypes.data, n, (k + 1) * n,
                c.ctypes.data, n + 3, m, n, k, taps, add, None, None, 0,
            )  # fmt: skip
            np.testing.assert_array_equal(c[:m, :n], expected + 7 * add)
            assert np.all(c[m:] == 7)
            assert np.all(c[:, n:] == 7)


def in_panels(bits: int, b: Any, turned: bool) -> Any:
    """b[k, n] as the routine packs it, from where rows or columns (`turned`) are contiguous."""
    address = product_addresses(bits)[1]
    if not address:
        pytest.skip("this processor has no AVX2 with FMA")
    pack = ctypes.CFUNCTYPE(None, _POINTER, _INT, _INT, _POINTER, _INT, _INT)(address)
    k, n = b.shape
    room = padded(n, DTYPES[bits])
    y = np.full(k * int(room) + 40, 7, b.dtype)
    x = np.full((n, k + 3) if turned else (k, n + 3), np.nan, b.dtype)
    inside = x[:, :k].T if turned else x[:, :n]
    inside[:] = b
    row, column = (s // b.itemsize for s in x.strides)
    steps = (1, row) if turned else (row, column)
    pack(x.ctypes.data, *steps, y.ctypes.data, n, k)
    assert np.all(y[k * int(room) :] == 7), "written outside"
    return y


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("turned", [False, True])
def test_packed_operands(bits: int, turned: bool) -> None:
    """At sizes around those of panels, and of what is packed at once: the same bits as unpacked."""
    product, dtype = native(bits), BITS[bits]
    for k, n in itertools.product(
        (0, 1, 3, 4, 5, 8, 15, 16, 17, 130), (1, 7, 8, 9, 16, 17, 31, 32, 33, 47, 48, 64, 65)
    ):
        random = np.random.default_rng(k)
        b = random.standard_normal((k, n)).astype(dtype)
        y = in_panels(bits, b, turned)
        for m in (1, 3, 14, 23):
            a = random.standard_normal((m, k)).astype(dtype)
            c = np.full((2, m + 1, n + 3), 7, dtype)
            for packed, place in ((y, c[0]), (b, c[1])):
                row = 0 if packed is y else n
                product(
                    a.ctypes.data, k, 1, packed.ctypes.data, row,
                    place.ctypes.data, n + 3, m, n, k, False,
                )  # fmt: skip
            np.testing.assert_array_equal(c[0], c[1])


@pytest.mark.parametrize("bits", BITS)
def test_what_the_next_call_touches_is_asked_for_only(bits: int) -> None:
    """Of any number of rows, wherever they are: asking for memory neither fails nor changes it."""
    routine, dtype = sum_of_products(bits), BITS[bits]
    random = np.random.default_rng(0)
    a, b = random.integers(-9, 9, (23, 5)).astype(dtype), random.integers(-9, 9, (5, 40))
    b, other = b.astype(dtype), np.full((7, 100), 7, dtype)
    for place, rows, share in ((other.ctypes.data, 7, 3), (0, 9, 4), (other.ctypes.data, 0, 0)):
        record = (place, 100 * bits // 8, rows, 100 * bits // 8, share)
        following, c = np.array(3 * record), np.empty((23, 40), dtype)
        at = [x.ctypes.data for x in (a, b, c, following)]
        routine(at[0], 5, 1, 0, at[1], 40, 0, at[2], 40, 23, 40, 5, 1, False, at[3], None, 0)
        np.testing.assert_array_equal(c, a @ b)
    assert np.all(other == 7)


@pytest.mark.parametrize("bits", BITS)
def test_what_is_claimed_stays_as_it_is(bits: int) -> None:
    """With rows as long as those of c and longer, beside every height and width of a block; what
    the product gives does not depend on it."""
    routine, dtype = sum_of_products(bits), BITS[bits]
    random = np.random.default_rng(0)
    for m, n, ahead in itertools.product((1, 2, 4, 8, 14, 23), (3, 32, 40, 64, 70), (0, 5)):
        a, b = random.integers(-9, 9, (m, 5)).astype(dtype), random.integers(-9, 9, (5, n))
        b, c = b.astype(dtype), np.empty((m, n), dtype)
        claimed = random.standard_normal((m, n + ahead)).astype(dtype)
        claimed[0, 0] = np.nan
        before, at = claimed.tobytes(), [x.ctypes.data for x in (a, b, c, claimed)]
        routine(
            at[0], 5, 1, 0, at[1], n, 0, at[2], n, m, n, 5, 1, False, None, at[3], n + ahead
        )  # fmt: skip
        np.testing.assert_array_equal(c, a @ b)
        assert claimed.tobytes() == before


@pytest.mark.parametrize("bits", BITS)
def test_nan_and_inf_stay(bits: int) -> None:
    product, dtype = native(bits), BITS[bits]
    a = np.array([[np.inf, 1], [np.nan, 0]], dtype)
    b = np.array([[1, 0], [2, -np.inf]], dtype)
    c = np.empty((2, 2), dtype)
    product(a.ctypes.data, 2, 1, b.ctypes.data, 2, c.ctypes.data, 2, 2, 2, 2, False)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(c, a @ b)


@pytest.mark.parametrize("kind", ["avx512", "avx2"])
@pytest.mark.parametrize("bits", BITS)
def test_every_vector_width_is_valid_and_packed(kind: str, bits: int) -> None:
    text = gemm.definition(FEATURES[kind], bits)
    processor.initialize()
    cpu = {"avx512": "x86-64-v4", "avx2": "x86-64-v3"}[kind]
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu=cpu, opt=3)
    module = llvm.parse_assembly(text)
    module.verify()
    assembly = machine.emit_assembly(module)
    register = "zmm" if kind == "avx512" else "ymm"
    suffix = "ps" if bits == 32 else "pd"
    fused = [s for s in assembly.splitlines() if "vfmadd" in s and suffix in s]
    assert len(fused) > 20
    assert all(register in s for s in fused)


def test_older_processors_have_none() -> None:
    assert processor.product_lanes(FEATURES["sse"], 32) == 0
    assert processor.product_lanes(FEATURES["avx2"], 32) == 8
    assert processor.product_lanes(FEATURES["avx512"], 64) == 8
