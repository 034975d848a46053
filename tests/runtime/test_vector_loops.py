"""Fourier transforms by the addresses of NumPy's loops: its bits, without Python in between; and by
a call back where the loops are not there."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.lower import vector_loops as lowered
from graphc.runtime import executable, vector_loops
from graphc.runtime.executable import Executable

RNG = np.random.default_rng(11)
NORMS = ("backward", "ortho", "forward")
SIZES = (1, 2, 3, 4, 5, 8, 13, 31, 100)
MODULE = "numpy.fft._pocketfft_umath"
KINDS = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn")
Array = np.ndarray[Any, Any]


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call back into Python."""
    monkeypatch.setattr(Executable, "_host", _never)


@pytest.fixture(params=["loops", "none"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With NumPy's loops, and where none is what it should be."""
    if request.param == "none":
        monkeypatch.setattr(executable, "vector_loop", lambda name: (0, 0))
    else:
        monkeypatch.setattr(Executable, "_host", _never)
    return str(request.param)


def _never(self: Executable, *arguments: object) -> int:
    raise AssertionError("a call back into Python")


def values(kind: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Real numbers for what takes these, else complex ones."""
    x = RNG.normal(size=shape)
    if kind in ("rfft", "ihfft", "rfftn"):
        return x.astype(dtype)
    return (x + 1j * RNG.normal(size=shape)).astype("c8" if dtype == "float32" else "c16")


def calls(kind: str, size: int) -> list[dict[str, Any]]:
    """Every axis and norm; cut, padded and as it is."""
    counts = (None, size + 3, max(size - 2, 1), 2 * size)
    least = 2 if kind in ("irfft", "hfft") and size == 1 else 0  # 0 numbers, of one
    return [
        {"axis": axis, "n": n if n is None else max(n, least), "norm": norm}
        for axis in (0, 1, -1)
        for n, norm in zip(counts, (*NORMS, None), strict=True)
        if not (least and n is None)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_bits_are_numpys(native: None, kind: str) -> None:
    """Of every length, along every axis."""
    for size in SIZES:
        cube = size in (1, 5)
        x = values(kind, (size, size, size) if cube else (3, size, 2), "float64")
        z = gc.placeholder(f"loops_{kind}", x.shape, str(x.dtype))
        options = [c for c in calls(kind, size) if cube or c["axis"] == 1]
        found = gc.compile([z], [getattr(gc.fft, kind)(z, **o) for o in options])(x)
        for got, option in zip(found, options, strict=True):
            wanted = getattr(np.fft, kind)(x, **option)
            np.testing.assert_array_equal(got, wanted, err_msg=f"{size} {option}")


@pytest.mark.parametrize("kind", ["fft", "ifft", "rfft", "irfft"])
def test_bits_of_float32_are_those_of_its_own_loop(native: None, kind: str) -> None:
    """`np.fft` converts float32 to float64 and back unless the factor is a float32."""
    module = pytest.importorskip(MODULE)
    for size in SIZES:
        x = values(kind, (3, size, 2), "float32")
        z = gc.placeholder(f"single_{kind}", x.shape, str(x.dtype))
        n = size if kind != "irfft" else max(2 * (size - 1), 1)
        made = [getattr(gc.fft, kind)(z, n=n, axis=1, norm=norm) for norm in NORMS]
        name = f"rfft_n_{('even', 'odd')[n % 2]}" if kind == "rfft" else kind
        powers = (1, 0.5, 0) if kind.startswith("i") else (0, 0.5, 1)
        for got, power in zip(gc.compile([z], made)(x), powers, strict=True):
            shape = (3, n // 2 + 1 if kind == "rfft" else n, 2)
            wanted = np.empty(shape, "f4" if kind == "irfft" else "c8")
            factor = np.float32(1 / np.float64(n) ** power if power != 0.5 else 1 / np.sqrt(n))
            getattr(module, name)(x, factor, axes=[(1,), (), (1,)], out=wanted)
            np.testing.assert_array_equal(got, wanted, err_msg=f"{size} {power}")


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_axes(native: None, kind: str) -> None:
    x = values(kind, (4, 5, 6, 3), "float64")
    z = gc.placeholder(f"several_{kind}", x.shape, str(x.dtype))
    options: list[dict[str, Any]] = [
        {}, {"axes": (0, 2)}, {"axes": (2, 1, 0), "norm": "ortho"}, {"axes": (1,)},
        {"s": (3, 8), "axes": (1, 3), "norm": "forward"}, {"s": (6, 2, 9), "axes": (0, 3, 1)},
    ]  # fmt: skip
    found = gc.compile([z], [getattr(gc.fft, kind)(z, **o) for o in options])(x)
    for got, option in zip(found, options, strict=True):
        np.testing.assert_array_equal(got, getattr(np.fft, kind)(x, **option), err_msg=str(option))


def test_named_sizes_one_program(loops: str) -> None:
    """Odd and even lengths choose between loops; batches may be empty."""
    x = gc.placeholder("any_x", ("b", "n", "c"), "float64")
    z = gc.complex(x, x * x)
    made = [
        gc.fft.rfft(x, axis=1), gc.fft.fft(z, axis=1, norm="ortho"), gc.fft.rfft(x),
        gc.fft.irfft(gc.fft.rfft(x, axis=1), x.shape[1], axis=1), gc.fft.ifftn(z, axes=(1, 2)),
        *gc.grad(gc.sum(gc.abs(gc.fft.rfft(gc.fft.irfft(z)) ** 2)), [x]),
    ]  # fmt: skip
    function = gc.compile([x], made)
    for shape in ((3, 4, 5), (3, 5, 4), (1, 1, 2), (0, 4, 3), (20, 7, 3), (2, 1, 8), (1, 30, 2)):
        a = RNG.normal(size=shape)
        w = a + 1j * a * a
        found = function(a)
        wanted = [
            np.fft.rfft(a, axis=1), np.fft.fft(w, axis=1, norm="ortho"), np.fft.rfft(a),
            np.fft.irfft(np.fft.rfft(a, axis=1), shape[1], axis=1), np.fft.ifftn(w, axes=(1, 2)),
        ]  # fmt: skip
        wanted += gc.evaluate(made[-1:], {x: a})
        for got, expected in zip(found, wanted, strict=True):
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


def test_gradients(loops: str) -> None:
    """By differences along a random direction."""
    x = gc.placeholder("slope_x", (3, 10), "float64")
    y = gc.fft.irfft(gc.fft.rfft(x, n=7, norm="ortho") ** 2, 7)
    loss = gc.sum(y**3) + gc.sum(gc.abs(gc.fft.ifft2(gc.exp(1j * x))) ** 4)
    function = gc.compile([x], [loss, gc.grad(loss, x)])
    at, moved = RNG.normal(size=(2, 3, 10))
    step = 1e-5
    (up, _), (down, _), (_, slope) = map(function, (at + step * moved, at - step * moved, at))
    assert np.sum(slope * moved) == pytest.approx((up - down) / (2 * step), rel=1e-7)


def test_in_loops_branches_and_batches(loops: str) -> None:
    z = gc.placeholder("inside_z", ("b", 12), "complex128")
    turned = gc.scan(lambda c, _: (gc.fft.ifft(gc.fft.fft(c) * 1j), None), z, length=3)[0]
    twice = gc.while_loop(
        lambda c: c[0] < 2, lambda c: (c[0] + 1, gc.fft.fft(c[1], axis=0)), (gc.constant(0), z)
    )[1]
    chosen = gc.cond(
        gc.real(z[0, 0]) > 0, lambda: gc.fft.fft(z), lambda: gc.fft.ifft(z, norm="forward")
    )
    mapped = gc.vmap(lambda row: gc.fft.rfft(gc.real(row), axis=0))(z)
    function = gc.compile([z], [turned, twice, chosen, mapped])
    for sign in (1, -1):
        a = RNG.normal(size=(5, 12)) + 1j
        a[0, 0] = sign
        found = function(a)
        wanted = [
            a * -1j, np.fft.fft(np.fft.fft(a, axis=0), axis=0),
            np.fft.fft(a) if sign > 0 else np.fft.ifft(a, norm="forward"), np.fft.rfft(a.real),
        ]  # fmt: skip
        for got, expected in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


# -- threads ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_bits(
    native: None, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """Rows, groups of columns, and columns of few groups are shared."""
    x = gc.placeholder("shared_x", ("b", "n", "c"), dtype)
    z = gc.complex(x, x)
    made = [gc.fft.fft(z), gc.fft.rfft(x, axis=1), gc.fft.fft2(z), gc.fft.ifft(z, axis=0)]
    looped = gc.scan(lambda c, _: (gc.fft.fft(c, axis=1, norm="ortho"), None), z, length=2)[0]
    found: dict[str, list[list[Array]]] = {}
    shapes = ((70, 33, 40), (2, 64, 90), (1, 128, 129))
    arrays = [np.random.default_rng(1).normal(size=s).astype(dtype) for s in shapes]
    for count in ("1", "2", "3"):
        monkeypatch.setenv("GRAPHC_NUM_THREADS", count)
        function = gc.compile([x], [*made, looped])
        found[count] = [function(a) for a in arrays]
    for count in ("2", "3"):
        for got, wanted in zip(found[count], found["1"], strict=True):
            for a, b in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(a, b)
    if dtype == "float64":
        for a, got in zip(arrays, found["1"], strict=True):
            np.testing.assert_array_equal(got[0], np.fft.fft(a + 1j * a))


def test_many_python_threads_at_once(loops: str) -> None:
    z = gc.placeholder("at_once", ("n",), "complex128")
    function = gc.compile([z], [gc.fft.fft(z), gc.fft.irfft(z)])

    def work(n: int) -> None:
        a = np.random.default_rng(n).normal(size=n) + 0.5j
        for _ in range(40):
            whole, back = function(a)
            np.testing.assert_array_equal(whole, np.fft.fft(a))
            np.testing.assert_array_equal(back, np.fft.irfft(a))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(2, 22)))


# -- which loops are called ------------------------------------------------------------------------
def test_large_vectors_are_left_to_a_call_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose error is raised where there is no memory, and which SciPy plans once."""
    sites: list[int] = []
    host = Executable._host

    def counted(self: Executable, call: int, site: int, *more: Any) -> int:
        sites.append(site)
        return host(self, call, site, *more)

    monkeypatch.setattr(Executable, "_host", counted)
    z = gc.placeholder("large", ("n",), "complex128")
    function = gc.compile([z], gc.fft.fft(z))
    most = lowered.MOST // 16
    for n, count in ((most, 0), (most + 1, 1)):
        a = RNG.normal(size=n) + 1j
        np.testing.assert_allclose(function(a), np.fft.fft(a), rtol=1e-9, atol=1e-9)
        assert len(sites) == count


@pytest.mark.parametrize("count", ["1", "2"])
def test_without_memory_for_a_loop_the_step_calls_back(
    monkeypatch: pytest.MonkeyPatch, count: str
) -> None:
    """With what it was given, whichever pass and thread has none."""
    monkeypatch.setenv("GRAPHC_NUM_THREADS", count)
    monkeypatch.setattr(lowered, "NEEDED", 1 << 56)
    sites: list[int] = []
    host = Executable._host

    def counted(self: Executable, call: int, site: int, *more: Any) -> int:
        sites.append(site)
        return host(self, call, site, *more)

    monkeypatch.setattr(Executable, "_host", counted)
    z = gc.placeholder("without_memory", ("b", 40, 3), "complex128")
    function = gc.compile([z], [gc.fft.fftn(z, axes=(0, 1)), gc.fft.fft(z, axis=1)], {})
    for shape in ((2, 40, 3), (200, 40, 3)):
        a = RNG.normal(size=shape) + 1j
        whole, one = function(a)
        np.testing.assert_allclose(whole, np.fft.fftn(a, axes=(0, 1)), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(one, np.fft.fft(a, axis=1), rtol=1e-9, atol=1e-9)
    assert len(sites) == 4


def test_a_manifest_has_names_and_no_addresses() -> None:
    z = gc.placeholder("named_z", ("n",), "complex64")
    function = gc.compile([z], [gc.fft.irfft(z), gc.fft.rfft(gc.real(z))])
    names = [f"{MODULE}.{n}" for n in ("irfft Ff->f", "rfft_n_even ff->F", "rfft_n_odd ff->F")]
    assert function.compilation.manifest["loops"] == names
    assert "NumPy's loop for irfft" in function.explain()


def test_only_a_loop_that_does_what_numpy_does_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    find = vector_loops.vector_loop.__wrapped__
    assert find(f"{MODULE}.fft Dd->D")[0] != find(f"{MODULE}.fft Ff->F")[0] != 0
    assert find(f"{MODULE}.fft Dd->D")[1] != find(f"{MODULE}.ifft Dd->D")[1] != 0
    missing = ("fft xx->x", "hfft Dd->D", "__doc__ Dd->D")
    names = (*(f"{MODULE}.{m}" for m in missing), "numpy.add dd->d", "numpy.nowhere.fft Dd->D")
    for name in names:
        assert find(name) == (0, 0)
    read = vector_loops._read
    other = vector_loops._ufunc(MODULE, "ifft")
    monkeypatch.setattr(vector_loops, "_read", lambda ufunc, place: read(other, place))
    assert find(f"{MODULE}.fft Dd->D") == (0, 0)
    monkeypatch.setattr(vector_loops, "_read", lambda ufunc, place: None)
    assert find(f"{MODULE}.fft Dd->D") == (0, 0)


def test_a_struct_of_another_form_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    ufunc = vector_loops._ufunc(MODULE, "fft")
    assert vector_loops._read(ufunc, 0) is not None

    fields = tuple(vector_loops._Ufunc._fields_)

    class Moved(ctypes.Structure):
        _fields_ = (("more", ctypes.c_int), *fields)

    monkeypatch.setattr(vector_loops, "_Ufunc", Moved)
    assert vector_loops._read(ufunc, 0) is None
