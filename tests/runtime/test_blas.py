"""The BLAS addresses, called as compiled code calls them and compared with NumPy."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphc.errors import CompileError
from graphc.runtime import blas
from graphc.runtime.blas import Blas, find_blas

REAL: dict[str, tuple[Any, Any]] = {
    "s": (np.float32, ctypes.c_float),
    "d": (np.float64, ctypes.c_double),
}
NAN = float("nan")
CALLS = 250  # 135 now


@pytest.fixture(autouse=True)
def _unnamed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test searches anew, with no library named."""
    monkeypatch.delenv("GRAPHC_BLAS", raising=False)
    blas._find.cache_clear()
    yield
    blas._find.cache_clear()


def libraries() -> dict[str, Blas]:
    """Every way graphc has to a BLAS on this machine, as it would be found."""
    blas._find.cache_clear()
    return {"default": find_blas(), "scipy": blas._open_scipy()}


@pytest.fixture(scope="module", params=["default", "scipy"])
def library(request: pytest.FixtureRequest) -> Blas:
    return libraries()[request.param]


def call(library: Blas, routine: str, *arguments: object) -> None:
    """Call a routine with everything by pointer: str is a flag, int an integer, float a real."""
    integer = {32: ctypes.c_int32, 64: ctypes.c_int64}[library.integer_bits]
    _, real = REAL[routine[0]]
    passed: list[object] = []
    for argument in arguments:
        if isinstance(argument, str):
            passed.append(ctypes.c_char_p(argument.encode()))
        elif isinstance(argument, int):
            passed.append(ctypes.byref(integer(argument)))
        elif isinstance(argument, float):
            passed.append(ctypes.byref(real(argument)))
        else:
            assert isinstance(argument, np.ndarray)
            passed.append(ctypes.c_void_p(argument.ctypes.data))
    # The trailing lengths of character arguments, which a Fortran library may read.
    lengths = [ctypes.c_size_t(1)] * sum(isinstance(a, str) for a in arguments)
    prototype = ctypes.CFUNCTYPE(None)
    prototype(library.addresses[routine])(*passed, *lengths)


def stored(matrix: np.ndarray, leading: int) -> np.ndarray:
    """Column-major storage of a matrix with the given leading dimension, the padding NaN."""
    rows, columns = matrix.shape
    storage = np.full((max(columns, 1), leading), NAN, matrix.dtype)
    storage[:columns, :rows] = matrix.T
    return storage


SIZES = [
    (1, 1, 1), (2, 3, 5), (7, 1, 4), (1, 7, 4), (17, 33, 9), (64, 48, 130), (3, 2, 0), (1, 1, 0),
    (65, 1, 0), (1, 65, 0), (0, 3, 2), (3, 0, 2), (0, 0, 0), (130, 1, 257), (1, 130, 257),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["s", "d"])
@pytest.mark.parametrize("flags", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gemm_equals_numpy(
    library: Blas, kind: str, flags: str, size: tuple[int, int, int]
) -> None:
    m, n, k = size
    dtype = REAL[kind][0]
    random = np.random.default_rng(m * 1000 + n * 10 + k)
    a = random.standard_normal((m, k) if flags[0] == "N" else (k, m)).astype(dtype)
    b = random.standard_normal((k, n) if flags[1] == "N" else (n, k)).astype(dtype)
    c = random.standard_normal((m, n)).astype(dtype)
    left = (a if flags[0] == "N" else a.T).astype(np.float64)
    right = (b if flags[1] == "N" else b.T).astype(np.float64)
    # |error| <= k eps |A||B|, doubled, and two roundings for alpha and beta.
    slack = (2 * k + 4) * np.finfo(dtype).eps * (np.abs(left) @ np.abs(right) * 1.5 + np.abs(c) + 1)
    for pad, alpha, beta in ((0, 1.0, 0.0), (3, 1.0, 0.0), (2, 1.5, -0.5), (0, 1.0, 1.0)):
        before = np.full_like(c, NAN) if beta == 0 else c
        lda, ldb, ldc = (max(1, x.shape[0]) + pad for x in (a, b, c))
        result = stored(before, ldc)
        call(
            library, f"{kind}gemm", flags[0], flags[1], m, n, k,
            alpha, stored(a, lda), lda, stored(b, ldb), ldb, beta, result, ldc,
        )  # fmt: skip
        expected = alpha * (left @ right) + (beta * c if beta else 0)
        got = result[:n, :m].T
        # With k = 0 and beta = 0 this also says: exactly zero, though C was full of NaN.
        assert np.all(np.abs(got - expected) <= (slack if k else slack * (beta != 0)))
        assert np.all(np.isnan(result[:n, m:])), "wrote into the padding"


def test_what_is_found() -> None:
    found = find_blas()
    assert found is find_blas()
    assert found.integer_bits in (32, 64)
    assert set(found.addresses) == set(blas.ROUTINES)
    assert all(found.addresses.values())
    assert len(set(found.addresses.values())) == len(blas.ROUTINES)
    assert os.path.exists(found.path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.addresses["sgemm"] = 0  # type: ignore[index]


def test_a_named_library_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed = find_blas()
    if unnamed.name != "numpy":
        pytest.skip("NumPy's BLAS cannot be named here")
    monkeypatch.setenv("GRAPHC_BLAS", unnamed.path)
    named = find_blas()
    assert named.name == "GRAPHC_BLAS"
    assert named.addresses == unnamed.addresses
    monkeypatch.delenv("GRAPHC_BLAS")
    assert find_blas() is unnamed


def test_a_plainly_spelled_library_has_32_bit_integers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [f"{name}_" for name in blas.ROUTINES]
    monkeypatch.setenv("GRAPHC_BLAS", str(shared_library(tmp_path, names)))
    assert find_blas().integer_bits == 32


def test_a_library_with_both_spellings_is_called_with_64_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [f"{name}{end}" for name in blas.ROUTINES for end in ("_", "_64_")]
    monkeypatch.setenv("GRAPHC_BLAS", str(shared_library(tmp_path, names)))
    assert find_blas().integer_bits == 64


def test_a_named_library_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing, text = tmp_path / "none.so", tmp_path / "text.so"
    text.write_text("not a library")
    partial = shared_library(tmp_path, ["sgemm_"])
    for path in (missing, text, partial):
        monkeypatch.setenv("GRAPHC_BLAS", str(path))
        with pytest.raises(CompileError, match="GRAPHC_BLAS") as caught:
            find_blas()
        assert caught.value.given == str(path)
        assert caught.value.hint
        assert caught.value.expected


def test_without_numpys_library_scipys_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_numpy_candidates", lambda: iter(["/nowhere/libblas.so"]))
    assert (find_blas().name, find_blas().integer_bits) == ("scipy", 32)


def test_without_any_library_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_numpy_candidates", lambda: iter(()))
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    with pytest.raises(CompileError, match="no BLAS found") as caught:
        find_blas()
    assert "GRAPHC_BLAS" in caught.value.hint


def test_numpys_own_extension_module_leads_to_the_same_routines() -> None:
    """What a build without a bundled library relies on: the loader's search through NumPy."""
    last = list(blas._numpy_candidates())[-1]
    opened = blas._load(last)
    assert opened is not None
    found = blas._routines(opened)
    if find_blas().name != "numpy":
        pytest.skip("NumPy has no BLAS that can be called")
    assert found == (find_blas().integer_bits, find_blas().addresses)


def test_finding_numpys_library_takes_few_calls_and_imports_no_scipy() -> None:
    """First call in a fresh process, NumPy loaded: no search beyond NumPy's own folder."""
    script = (
        "import sys, numpy\n"
        "from graphc.runtime.blas import find_blas\n"
        "from tests.counting import calls_of\n"
        "found, calls = calls_of(find_blas)\n"
        "print(found.name, calls, 'scipy' in sys.modules, 'numba' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    name, calls, *heavy = out.stdout.split()
    if name != "numpy":
        pytest.skip("NumPy's BLAS cannot be called here")
    assert heavy == ["False", "False"]
    assert int(calls) <= CALLS


@pytest.mark.timed
def test_finding_numpys_library_is_quick() -> None:
    """First call in a fresh process, NumPy loaded: 5 ms of a warm start's 300 at most."""
    script = (
        "import sys, time, numpy\n"
        "from graphc.runtime.blas import find_blas\n"
        "start = time.perf_counter(); found = find_blas(); end = time.perf_counter()\n"
        "print(found.name, end - start)"
    )
    times = []
    for _ in range(3):
        out = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        name, seconds = out.stdout.split()
        if name != "numpy":
            pytest.skip("NumPy's BLAS cannot be called here")
        times.append(float(seconds))
    assert min(times) < 0.005


def test_calls_from_many_threads(library: Blas) -> None:
    random = np.random.default_rng(0)
    a = random.standard_normal((96, 96))
    expected = (a.T @ a.T).T  # column-major storage of the product
    failures: list[float] = []

    def work() -> None:
        for _ in range(20):
            c = np.full((96, 96), NAN)
            call(library, "dgemm", "N", "N", 96, 96, 96, 1.0, a, 96, a, 96, 0.0, c, 96)
            worst = float(np.max(np.abs(c - expected)))
            if not worst < 1e-11:
                failures.append(worst)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []


def shared_library(directory: Path, symbols: list[str]) -> Path:
    """A shared library that exports functions of these names, made with the system's linker."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    path = directory / f"lib{len(symbols)}.so"
    source = directory / "made.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in symbols))
    try:
        subprocess.run([compiler, "-shared", "-fPIC", "-o", path, source], check=True)
    except OSError:
        pytest.skip("no C compiler")
    return path
