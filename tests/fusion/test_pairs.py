"""Interactions of pairs of points: no array of all pairs, loops over vectors, sums in registers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.fusion.turns import COORDINATES
from graphc.ir.graph import Graph
from graphc.loops.grammar import Accumulate, For, Kernel, Store, statements
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, Program, walk_steps
from tests.properties.kernels import check_program

Array = np.ndarray[Any, Any]
Tensors = list[gc.Tensor]


def program(inputs: Tensors, outputs: Tensors) -> Program:
    return run_pipeline(Graph(inputs, outputs), Stages()).program


def kernels(inputs: Tensors, outputs: Tensors) -> list[Kernel]:
    steps = walk_steps(program(inputs, outputs).steps)
    return [s.kernel for s in steps if isinstance(s, Call)]


def innermost(kernel: Kernel) -> For:
    """The longest loop without loops in it."""
    loops = [s for s in statements(kernel.body) if isinstance(s, For)]
    alone = [f for f in loops if not any(isinstance(s, For) for s in f.body)]
    return max(alone, key=lambda loop: len(loop.body))


def points(n: int, d: int, dtype: str = "float64") -> Array:
    """Points that lie apart."""
    grid = np.stack(np.unravel_index(np.arange(n), (8,) * d), axis=-1)
    return (grid + np.random.default_rng(0).uniform(-0.1, 0.1, grid.shape)).astype(dtype)


def lennard_jones(n: Any, d: int, dtype: str) -> tuple[Tensors, Tensors]:
    x = gc.placeholder("pairs_x", (n, d), dtype)
    difference = x[:, None, :] - x[None, :, :]
    i = gc.arange(x.shape[0])
    same = i[:, None] == i[None, :]
    r2 = gc.where(same, 1.0, gc.sum(difference * difference, axis=-1))
    six = r2**-3
    energy = 2 * gc.sum(gc.where(same, 0.0, six * six - six))
    return [x], [energy, gc.grad(energy, x)]


def lennard_jones_by_hand(x: Array) -> tuple[Array, Array]:
    d = x[:, None, :] - x[None, :, :]
    r2 = np.sum(d * d, axis=-1)
    np.fill_diagonal(r2, np.inf)
    six = r2**-3
    slope = 24 * (six - 2 * six * six) / r2
    return np.sum(2 * (six * six - six)), np.sum(slope[:, :, None] * d, axis=1)


# -- values ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-4), ("float64", 1e-11)])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 9])
def test_energies_and_forces(d: int, dtype: str, rtol: float) -> None:
    compiled = gc.compile(*lennard_jones("n", d, dtype))
    for n in (1, 2, 7, min(64, 8**d)):
        given = points(n, d, dtype)
        energy, gradient = compiled(given)
        by_hand = lennard_jones_by_hand(given.astype("float64"))
        np.testing.assert_allclose(energy, by_hand[0], rtol=rtol, atol=rtol)
        scale = 1 + np.abs(by_hand[1]).max()
        np.testing.assert_allclose(gradient, by_hand[1], rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("n", [3, 300])
def test_runs_of_long_sums(n: int) -> None:
    """Sums along rows and columns are cut into runs; of known sizes and of others."""
    given = np.random.default_rng(1).standard_normal((n, 3))
    difference = given[None] - given[:, None]
    weight = (np.sum(difference**2, axis=-1) + 0.1) ** -1.5
    expected = np.sum(weight[:, :, None] * difference, axis=1)
    for size in ("n", n):
        x = gc.placeholder("pairs_x", (size, 3), "float64")
        d = x[None, :, :] - x[:, None, :]
        w = (gc.sum(d * d, axis=-1) + 0.1) ** -1.5
        for axis, sign in ((1, 1), (0, -1)):
            found = gc.compile([x], gc.sum(w[:, :, None] * d, axis=axis))(given)
            np.testing.assert_allclose(found, sign * expected, rtol=1e-11, atol=1e-11)


def test_points_of_two_kinds_in_batches() -> None:
    x, y = gc.placeholder("pairs_b", ("b", "n", 3)), gc.placeholder("pairs_c", ("b", "m", 3))
    d = x[:, :, None, :] - y[:, None, :, :]
    energy = gc.sum(gc.exp(-gc.sum(d * d, axis=-1)))
    outputs = [energy, *gc.grad(energy, [x, y])]
    random = np.random.default_rng(2)
    a, b = (random.standard_normal((2, n, 3)).astype("float32") for n in (5, 9))
    d_ = a.astype("float64")[:, :, None] - b.astype("float64")[:, None]
    e = np.exp(-np.sum(d_**2, axis=-1))
    by_x = -2 * np.sum(e[..., None] * d_, axis=2)
    by_y = 2 * np.sum(e[..., None] * d_, axis=1)
    found = gc.compile([x, y], outputs)(a, b)
    for value, expected in zip(found, (e.sum(), by_x, by_y), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_extrema_and_products_along_rows() -> None:
    x = gc.placeholder("pairs_e", ("n", 3), "float64")
    d = x[:, None, :] - x[None, :, :]
    w = gc.exp(-gc.sum(d * d, axis=-1))[:, :, None] * d
    given = points(20, 3)
    d_ = given[:, None] - given[None]
    w_ = np.exp(-np.sum(d_ * d_, axis=-1))[:, :, None] * d_
    for name, numpy in (("max", np.max), ("min", np.min), ("prod", np.prod)):
        reduce: Callable[..., gc.Tensor] = getattr(gc, name)
        outputs = [reduce(w + 0.7, axis=1), gc.sum(w, axis=0)]
        found = gc.compile([x], outputs)(given)
        np.testing.assert_allclose(found[0], numpy(w_ + 0.7, axis=1), rtol=1e-12)
        np.testing.assert_allclose(found[1], np.sum(w_, axis=0), rtol=1e-11, atol=1e-12)


# -- long sums, and threads ------------------------------------------------------------------------
def test_sums_along_columns_keep_their_digits() -> None:
    """Each coordinate of the few points gets 200,000 numbers near 1, one by one in memory."""
    n = 200_000
    x, y = gc.placeholder("pairs_l", ("n", 3)), gc.placeholder("pairs_m", (2, 3))
    d = x[:, None, :] - y[None, :, :]
    w = 1.0 / (1.0 + 1e-3 * gc.sum(d * d, axis=-1))
    outputs = [gc.sum(w[:, :, None] * (1.0 + d), axis=0), gc.sum(w[:, :, None] * d, axis=1)]
    random = np.random.default_rng(3)
    a, b = (random.uniform(0, 0.1, (k, 3)).astype("float32") for k in (n, 2))
    d_ = a.astype("float64")[:, None] - b.astype("float64")[None]
    w_ = 1 / (1 + 1e-3 * np.sum(d_ * d_, axis=-1))
    found = gc.compile([x, y], outputs)(a, b)
    np.testing.assert_allclose(found[0], np.sum(w_[:, :, None] * (1 + d_), axis=0), rtol=5e-7)
    np.testing.assert_allclose(found[1], np.sum(w_[:, :, None] * d_, axis=1), atol=1e-6)


def test_threads_share_the_loop_over_points() -> None:
    """What meets, the sums along columns and the energy, is added up in parts."""
    for n, parts in ((64, False), (1024, True), (4096, True)):
        kernel = max(kernels(*lennard_jones(n, 3, "float32")), key=lambda k: len(innermost(k).body))
        assert any(s.parallel for s in kernel.body if isinstance(s, For)) is parts, n


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    given = (5 * random.standard_normal((600, 3))).astype("float32")
    compiled = gc.compile(*lennard_jones(600, 3, "float32"))
    results = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("GRAPHC_NUM_THREADS", threads)
        results.append(compiled(given))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


# -- kernels ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("d", [2, 3, 4])
def test_sums_along_rows_are_in_registers(d: int) -> None:
    """The loop over the other points has no loop in it, adds up the energy, the square of a
    distance, and a number for each coordinate; in memory there is one for each coordinate of the
    other point."""
    kernel = max(kernels(*lennard_jones(64, d, "float32")), key=lambda k: len(innermost(k).body))
    body = innermost(kernel).body
    assert len({s.var for s in body if isinstance(s, Accumulate)}) == d + 2
    assert sum(isinstance(s, Store) for s in body) == d


def test_no_array_of_all_pairs() -> None:
    for buffer in (b for k in kernels(*lennard_jones("n", 3, "float32")) for b in k.buffers):
        assert "n^2" not in str(buffer.size), buffer
        assert "n**2" not in str(buffer.size), buffer


def test_many_coordinates_stay_a_loop() -> None:
    few, many = (
        len(innermost(kernels(*lennard_jones(64, d, "float32"))[0]).body)
        for d in (3, COORDINATES + 1)
    )
    assert many < few


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "float"), ("float64", "double")])
def test_the_loop_over_pairs_is_vectors(dtype: str, kind: str) -> None:
    text = gc.compile(*lennard_jones(64, 3, dtype)).llvm
    assert re.search(rf"fdiv <\d+ x {kind}>", text)
    assert "@pow" not in text
    assert "@llvm.pow" not in text


def test_the_loop_ir_and_its_source_mean_the_same() -> None:
    inputs, outputs = lennard_jones("n", 3, "float64")
    assert check_program(Graph(inputs, outputs), [[points(9, 3)]], "pairs") > 0
