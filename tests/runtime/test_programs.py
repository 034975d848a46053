"""Programs that differ in numbers of their arithmetic are one program with other numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CacheWarning, RuntimeFailure
from graphc.ir.node import Tensor
from graphc.loops.builder import Builder
from graphc.loops.grammar import Const
from graphc.loops.numbers import is_number
from graphc.passes.numbers import find_numbers
from graphc.runtime import cache
from graphc.runtime.compile import compile_statistics
from tests.compiling import counted
from tests.properties.checking import compiled as compiled_of
from tests.properties.checking import compiled_mismatch
from tests.properties.faults import scaled
from tests.properties.generator import random_graph

D = "float64"
A = np.linspace(-1.5, 2.0, 9)
B = np.random.default_rng(0).standard_normal((4, 3))


pytestmark = pytest.mark.usefixtures("directory")
compiled = partial(counted, "compilations")


def forms(directory: Path) -> list[Path]:
    return list(directory.glob(f"*.{cache.FORM}"))


# -- what is found ---------------------------------------------------------------------------------
def formula(*c: float) -> Any:
    x, y = (gc.placeholder(f"{n} of a formula", ("n",), D) for n in "xy")
    made = gc.tanh(c[0] * x + y / c[1]) - c[2]
    return gc.compile([x, y], [made, *gc.vjp(made, [x, y], gc.ones_like(made))])


def formula_by_numpy(*c: float) -> list[Any]:
    t = np.tanh(c[0] * A + A[::-1] / c[1])
    return [t - c[2], (1 - t * t) * c[0], (1 - t * t) / c[1]]


def test_a_number_that_changed_compiles_nothing(directory: Path) -> None:
    first, anew = compiled(lambda: formula(0.3, 0.7, 1.9))
    assert (anew, len(forms(directory))) == (1, 1)
    hits = compile_statistics()["cache_hits"]
    changed, anew = compiled(lambda: formula(0.31, 0.9, -5.5))
    assert (anew, compile_statistics()["cache_hits"] - hits) == (0, 1)
    assert {"simplify", "load"} <= set(changed.timings)
    assert not {"fuse", "schedule", "driver", "link"} & set(changed.timings)
    for step, numbers in ((first, (0.3, 0.7, 1.9)), (changed, (0.31, 0.9, -5.5))):
        for found, right in zip(step(A, A[::-1]), formula_by_numpy(*numbers), strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-14)
    again, anew = compiled(lambda: formula(0.31, 0.9, -5.5))
    assert list(again.timings) == ["key", "cache", "load"]  # found as it is
    for found, right in zip(again(A, A[::-1]), changed(A, A[::-1]), strict=True):
        np.testing.assert_array_equal(found, right)


def test_people_see_the_new_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    formula(0.3, 0.7, 1.9)
    changed, anew = compiled(lambda: formula(0.31, 0.9, -5.5))
    assert anew == 0
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    fresh = formula(0.31, 0.9, -5.5)
    assert changed.optimized is fresh.optimized
    assert changed.source == fresh.source
    assert "f64(0.31)" in changed.source
    assert "f64(-5.5)" in changed.source or "f64(5.5)" in changed.source
    assert changed.explain() == fresh.explain()
    profile = changed.profile([A, A[::-1]], runs=1)  # by another driver, with the same numbers
    assert profile.steps


@pytest.mark.parametrize(
    "numbers",
    [(1.0, 0.7, 1.9), (0.3, 2.0, 1.9), (0.3, 0.7, 0.0), (0.3, 0.3, 1.9), (np.inf, 0.7, 1.9)],
    ids=["one", "a power of two", "zero", "two are equal", "infinite"],
)
def test_numbers_by_which_code_is_another_are_of_another_form(numbers: tuple[float, ...]) -> None:
    formula(0.3, 0.7, 1.9)
    special, anew = compiled(lambda: formula(*numbers))
    assert anew == 1
    with np.errstate(all="ignore"):
        for found, right in zip(special(A, A[::-1]), formula_by_numpy(*numbers), strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-13, atol=1e-15)


def test_what_is_no_operand_of_arithmetic_is_of_the_form() -> None:
    x = gc.placeholder("x of bounds", ("n",), D)

    def bounded(bound: float, other: float) -> Any:
        return gc.compile([x], [gc.maximum(x, bound) * other, gc.where(x > 0, bound, x)])

    bounded(0.3, 0.7)
    assert compiled(lambda: bounded(0.3, 0.9))[1] == 0
    changed, anew = compiled(lambda: bounded(0.4, 0.9))
    assert anew == 1
    np.testing.assert_allclose(changed(A)[0], np.maximum(A, 0.4) * 0.9)
    np.testing.assert_array_equal(changed(A)[1], np.where(A > 0, 0.4, A))


# -- programs of all kinds -------------------------------------------------------------------------
def training(rate: float) -> list[Any]:
    w = gc.variable(np.ones((3, 2), "float32"), "w")
    x = gc.placeholder("x of a step", ("n", 3))
    loss = gc.mean(gc.tanh(x @ w) ** 2)
    step = gc.compile([x], loss, gc.optim.Adam(rate).minimize(loss, [w]))
    arrays = [B.astype("float32"), 2 * B.astype("float32")]
    return [*(step(a) for a in arrays), w.value]


def looped(rate: float) -> list[Any]:
    x = gc.placeholder("x of a loop", ("n", 3), D)

    def step(h: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        h = h + rate * gc.sin(v)
        return h, gc.cond(gc.sum(h) > 0, lambda: h * rate, lambda: h / 3.7)

    return list(gc.compile([x], gc.scan(step, gc.zeros(3, D), x))(B))


def batched(rate: float) -> list[Any]:
    x = gc.placeholder("x of a batch", ("n", 3), D)
    return [gc.compile([x], gc.vmap(lambda row: gc.sum(gc.cos(row) * rate) + row)(x))(B)]


@pytest.mark.parametrize("run", [training, looped, batched])
def test_programs_of_all_kinds(run: Callable[[float], list[Any]]) -> None:
    run(0.03)
    changed, anew = compiled(lambda: run(0.07))
    assert anew == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHC_CACHE", "0")
        fresh = run(0.07)
    for found, right in zip(changed, fresh, strict=True):
        np.testing.assert_array_equal(found, right)


def test_random_programs() -> None:
    drawn = (random_graph(seed) for seed in count())
    small = (made for made in drawn if find_numbers(made.graph) and len(made.graph.nodes) < 100)
    for made in islice(small, 2):
        compiled_of(made.graph)
        other = scaled(made.graph, 1.1)
        function, anew = compiled(lambda other=other: compiled_of(other))
        assert (other is made.graph, anew) == (False, 0), made.seed
        for call in range(len(made.sizes)):
            assert not compiled_mismatch(other, made.arrays(call), function), made.seed


def test_an_error_names_the_line_of_the_program_that_runs() -> None:
    x = gc.placeholder("x of lines", ("n",), D)
    at = gc.placeholder("at", (), "int64")

    def first() -> Any:
        return gc.compile([x, at], gc.take(x * 0.3, at) + 0.7)

    def second() -> Any:
        scaled = x * 0.31
        taken = gc.take(scaled, at)
        return gc.compile([x, at], taken + 0.71)

    first()
    changed, anew = compiled(second)
    assert anew == 0
    with pytest.raises(RuntimeFailure) as error:
        changed(A, 99)
    line = second.__code__.co_firstlineno + 2
    assert str(error.value.where).endswith(f"test_programs.py:{line}")


# -- what may not be shared ------------------------------------------------------------------------
@contextmanager
def planted(change: Callable[..., Any]) -> Iterator[None]:
    """A builder of kernels that does something with numbers, before any pass could know."""
    prim = Builder.prim

    def changed(k: Builder, name: str, *args: Any) -> Any:
        if name == "multiply" and isinstance(args[1], Const) and is_number(name, args[1]):
            return change(lambda *given: prim(k, *given), k, *args)
        return prim(k, name, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Builder, "prim", changed)
        yield


def halved(prim: Any, k: Builder, x: Any, c: Const) -> Any:
    """x * c as (x + x) * (c / 2)."""
    return prim("multiply", prim("add", x, x), k.const(c.value / 2, c.dtype))


def bounded(prim: Any, k: Builder, x: Any, c: Const) -> Any:
    """x * c as x * max(c, c)."""
    return prim("multiply", x, prim("maximum", c, c))


@pytest.mark.parametrize("change", [halved, bounded])
def test_a_number_that_comes_into_the_code_is_seen(change: Any, directory: Path) -> None:
    x = gc.placeholder("x of faults", ("n",), D)

    def build(c: float) -> Any:
        return gc.compile([x], gc.cos(x) * c)

    with planted(change):
        for c in (0.3, 0.7):
            function, anew = compiled(lambda c=c: build(c))
            assert anew == 1
            np.testing.assert_allclose(function(A), np.cos(A) * c, rtol=1e-15)
    assert not forms(directory)


# -- entries ---------------------------------------------------------------------------------------
def test_a_form_whose_program_is_gone_is_compiled(directory: Path) -> None:
    formula(0.3, 0.7, 1.9)
    for path in directory.glob(f"*.{cache.PROGRAM}"):
        path.unlink()
    assert compiled(lambda: formula(0.31, 0.7, 1.9))[1] == 1
    assert compiled(lambda: formula(0.32, 0.7, 1.9))[1] == 0


def test_a_damaged_form_is_made_again(directory: Path) -> None:
    formula(0.3, 0.7, 1.9)
    (path,) = forms(directory)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(CacheWarning, match="damaged"):
        assert compiled(lambda: formula(0.31, 0.7, 1.9))[1] == 1
    assert compiled(lambda: formula(0.32, 0.7, 1.9))[1] == 0


def test_who_looks_at_stages_compiles(
    monkeypatch: pytest.MonkeyPatch, directory: Path, tmp_path: Path
) -> None:
    formula(0.3, 0.7, 1.9)
    with monkeypatch.context() as patch:
        patch.setenv("GRAPHC_DUMP", str(tmp_path / "dump"))
        watched, anew = compiled(lambda: formula(0.31, 0.7, 1.9))
    assert anew == 1
    assert "f64(0.31)" in next((tmp_path / "dump").glob("*-fuse.txt")).read_text()
    np.testing.assert_allclose(watched(A, A[::-1])[0], formula_by_numpy(0.31, 0.7, 1.9)[0])
    assert compiled(lambda: formula(0.32, 0.7, 1.9))[1] == 0
