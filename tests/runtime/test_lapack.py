"""Linear algebra by LAPACK's addresses: no Python in between, whatever the width of its integers,
and by NumPy where the library has no such routine."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import LinAlgError
from graphc.lower.context import routines
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.runtime import blas
from graphc.runtime.executable import Executable

RNG = np.random.default_rng(5)
Array = np.ndarray[Any, Any]
THREADS = "openblas_get_num_threads", "openblas_set_num_threads"


@pytest.fixture(params=["NumPy's", "SciPy's", "none"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """NumPy's LAPACK has integers of 64 bits where it is bundled, SciPy's has 32; or there is
    none, so that NumPy is called back."""
    blas._find.cache_clear()
    if request.param == "SciPy's":
        monkeypatch.setenv("GRAPHC_BLAS", blas._open_scipy().path)
        monkeypatch.setattr(blas, "_open_named", lambda named: blas._open_scipy())
    if request.param == "none":
        monkeypatch.setattr(blas.Blas, "routine", lambda self, name: 0)
    else:
        monkeypatch.setattr(Executable, "_host", _never)
    yield request.param
    blas._find.cache_clear()


def _never(self: Executable, *arguments: object) -> int:
    raise AssertionError("a call back into Python")


def program(dtype: str) -> tuple[list[Any], list[Any]]:
    """Every step that LAPACK computes, over batches of named sizes; one operand lacks the batch."""
    a = gc.placeholder("lapack_a", ("lb", "ln", "ln"), dtype)
    one = gc.placeholder("lapack_one", ("ln", "ln"), dtype)
    b = gc.placeholder("lapack_b", ("lb", "ln", "lk"), dtype)
    spd = a @ gc.matrix_transpose(a) + gc.eye(gc.dim("ln"), dtype=dtype)
    rows = [
        gc.linalg.solve(a, b), gc.linalg.solve(gc.matrix_transpose(a), b), gc.linalg.solve(one, b),
        gc.linalg.inv(a), gc.linalg.det(a), *gc.linalg.slogdet(a), gc.linalg.cholesky(spd),
        gc.linalg.triangular_solve(a, b), gc.linalg.triangular_solve(a, b, trans=True),
        gc.linalg.triangular_solve(one, b, lower=True, unit_diagonal=True), *gc.linalg.lu(a),
        gc.linalg.lu(b).p, gc.linalg.solve(spd, b, assume_a="pos"), gc.linalg.eigvalsh(spd),
        gc.linalg.svdvals(b), gc.linalg.solve(spd, b, assume_a="sym"),
        gc.hvp(gc.sum(gc.linalg.det(one / 3)), one, gc.matrix_transpose(one)),
    ]  # fmt: skip
    u, s, vh = gc.linalg.svd(b, full_matrices=False)
    w, v = gc.linalg.eigh(spd)
    q, r = gc.linalg.qr(b)
    rows += [(u * s[..., None, :]) @ vh, (v * w[..., None, :]) @ gc.matrix_transpose(v), q @ r]
    return [a, one, b], rows


def values(dtype: str, b: int, n: int, k: int) -> list[Array]:
    shapes = (b, n, n), (n, n), (b, n, k)
    arrays = [RNG.uniform(-1, 1, s) for s in shapes]
    arrays[0] += 3 * np.eye(n)
    arrays[1] += 3 * np.eye(n)
    return [a.astype(dtype) for a in arrays]


def test_equals_numpy_at_all_small_sizes(library: str) -> None:
    """Of 32 bits by one library, of 64 by the others."""
    dtype = "float32" if library == "SciPy's" else "float64"
    inputs, outputs = program(dtype)
    function = gc.compile(inputs, outputs)
    for b, n, k in ((3, 7, 2), (1, 1, 1), (2, 5, 0), (0, 4, 2), (2, 0, 3), (1, 70, 9)):
        arrays = values(dtype, b, n, k)
        found = function(*arrays)
        wanted = gc.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
        for got, expected in zip(found, wanted, strict=True):
            scale = np.abs(expected).max(initial=1.0)
            eps = np.finfo(dtype).eps
            np.testing.assert_allclose(got, expected, rtol=0, atol=40 * max(n, 1) * eps * scale)


def test_which_routines_a_program_calls() -> None:
    inputs, outputs = program("float32")
    graph = gc.Graph(inputs, outputs)
    assert routines(run_pipeline(graph, Stages()).program) == [
        *THREADS, "sgeqrf", "sgesdd", "sgetrf", "sgetrs", "slaswp", "sorgqr", "spotrf", "ssyevd",
        "ssysv", "strtrs",
    ]
    text = gc.compile(inputs, outputs).explain()
    assert "LAPACK's getrf for lu_by_columns" in text


def test_a_matrix_and_its_transposed_are_decomposed_once() -> None:
    a, b = gc.placeholder("once_a", ("n", "n")), gc.placeholder("once_b", ("n",))
    loss = gc.sum(gc.linalg.solve(a, b) ** 2) + gc.linalg.slogdet(a).logabsdet
    program = run_pipeline(gc.Graph([a, b], [loss, *gc.grad(loss, [a, b])]), Stages()).program
    assert str(gc.compile([a, b], [loss, *gc.grad(loss, [a, b])]).explain()).count("getrf") == 1
    assert routines(program) == [*THREADS, "sgetrf", "sgetrs"]


@pytest.mark.parametrize(
    ("name", "build", "why"),
    [
        ("solve", lambda a: gc.linalg.solve(a, np.ones(6)), "singular"),
        ("inv", lambda a: gc.linalg.inv(a), "singular"),
        ("cholesky", lambda a: gc.linalg.cholesky(a), "not positive definite"),
        ("triangular_solve", lambda a: gc.linalg.triangular_solve(a, np.ones(6)), "singular"),
    ],
)
def test_failures_have_the_names_of_what_the_user_called(
    library: str, name: str, build: Any, why: str
) -> None:
    """And leave variables as they were."""
    a = gc.placeholder("failing", ("fb", 6, 6), "float64")
    w = gc.variable(np.ones(()), name="w")
    function = gc.compile([a], build(a), {w: w + 1})
    good, bad = np.stack([np.eye(6)] * 3), np.stack([np.eye(6)] * 3)
    bad[2, 3, 3] = 0
    function(good)
    with pytest.raises(LinAlgError, match=rf"{name}: .*{why}(.|\n)*test_lapack\.py:\d+"):
        function(bad)
    assert w.value == 2


def test_a_zero_determinant_is_no_failure(library: str) -> None:
    a = gc.placeholder("flat", (2, 5, 5), "float64")
    function = gc.compile([a], [gc.linalg.det(a), *gc.linalg.slogdet(a)])
    found = function(np.zeros((2, 5, 5)))
    np.testing.assert_array_equal(found, [[0, 0], [0, 0], [-np.inf, -np.inf]])


def test_many_threads_at_once(library: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    a = gc.placeholder("shared", ("n", "n"), "float64")
    function = gc.compile([a], gc.linalg.inv(a))

    def work(i: int) -> None:
        matrix = RNG.uniform(-1, 1, (5 + i, 5 + i)) + 4 * np.eye(5 + i)
        for _ in range(20):
            np.testing.assert_allclose(function(matrix) @ matrix, np.eye(5 + i), atol=1e-12)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))


@pytest.mark.parametrize(("held", "own"), [(4, True), (1, True), (4, False)])
def test_small_matrices_are_one_threads(
    held: int, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of the library's threads is 1 while a small matrix is computed, and again what it
    was behind it, also where the routine fails. A large one has them all, and one thread stays."""
    count, heard = [held], []
    get = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: count[0])

    @ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int))
    def set_(number: Any) -> None:
        count[0] = number[0]
        heard.append(count[0])

    told = dict(zip(THREADS, (get, set_), strict=True))
    address = {name: ctypes.cast(f, ctypes.c_void_p).value or 0 for name, f in told.items()}
    real = blas.Blas.routine
    monkeypatch.setattr(blas.Blas, "routine", lambda s, name: address.get(name) or real(s, name))
    monkeypatch.setattr(blas.Blas, "has_own_threads", own)

    a = gc.placeholder("threads_a", ("n", "k", "k"), "float64")
    solve = gc.compile([a], gc.linalg.inv(a), name=f"threads{held}{own}")
    decompose = gc.compile([a], gc.linalg.cholesky(a), name=f"positive{held}{own}")
    small, large = np.stack([np.eye(5)] * 2), np.eye(210)[None]
    once = [1, held] if own and held > 1 else []
    np.testing.assert_array_equal(solve(small), small)
    assert heard == once * 4  # two matrices, two routines of each
    heard.clear()
    np.testing.assert_array_equal(solve(large), large)
    assert heard == []
    with pytest.raises(LinAlgError):
        decompose(-small)
    assert heard == once * (len(heard) // 2)
    assert bool(heard) == bool(once)
    assert count == [held]
