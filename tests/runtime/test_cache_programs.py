"""The cache of compiled programs: what hits, what misses, and what a bad cache costs."""

from __future__ import annotations

import gc as garbage
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import CacheWarning
from graphc.runtime import cache
from graphc.runtime.compile import compile_statistics

D = "float64"
X = gc.placeholder("x", ("n",), D)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own; warnings that were given before may be given again."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned", {})
    return tmp_path / "cache"


def counted(build: Callable[[], Any]) -> tuple[Any, int, int]:
    """What `build` gives; how many compilations and cache hits that took."""
    before = compile_statistics()
    made = build()
    after = compile_statistics()
    return made, *(after[k] - before[k] for k in ("compilations", "cache_hits"))


def program(scale: float = 2.0, big: float = 1.0) -> Any:
    table = np.full(5000, big)
    table[7] = 3
    return gc.compile([X], [gc.tanh(X) * scale, gc.sum(X) + gc.constant(table)[:9]])


def test_the_same_program_is_compiled_once(directory: Path) -> None:
    a = np.arange(4.0)
    first, compiled, hits = counted(program)
    assert (compiled, hits) == (1, 0)
    second, compiled, hits = counted(program)
    assert (compiled, hits) == (0, 1)
    for x, y in zip(first(a), second(a), strict=True):
        np.testing.assert_array_equal(x, y)
    assert second(a)[1][7] == 9
    assert len(list(directory.glob("*.graphc"))) == 1


def test_what_is_shown_of_a_program_from_the_cache(directory: Path) -> None:
    first, second = program(), program()
    assert first.source == second.source
    assert str(first.optimized) == str(second.optimized)
    assert [k.name for k in first.kernels] == [k.name for k in second.kernels]


OTHERS: dict[str, Callable[[], Any]] = {
    "a scalar": lambda: program(scale=3.0),
    "a scalar's sign": lambda: program(scale=-2.0),
    "one element of a large constant": lambda: program(big=1.5),
    "an op": lambda: gc.compile([X], [gc.sin(X) * 2.0]),
    "an axis": lambda: gc.compile([X], [gc.flip(X, 0)]),
    "the order of outputs": lambda: gc.compile([X], [gc.sum(X), gc.tanh(X)]),
    "a dim": lambda: gc.compile([y := gc.placeholder("x", (4,), D)], [gc.tanh(y) * 2.0]),
    "a dtype": lambda: gc.compile([y := gc.placeholder("x", ("n",))], [gc.tanh(y) * 2.0]),
}


def test_what_changes_a_program_misses(directory: Path) -> None:
    assert counted(program)[1:] == (1, 0)
    for case, build in OTHERS.items():
        assert counted(build)[1:] == (1, 0), case
        assert counted(build)[1:] == (0, 1), case
    a = np.ones(9)
    assert program(big=1.5)(a)[1][0] == 10.5
    assert program(big=1.0)(a)[1][0] == 10.0


def test_zeros_and_nans_are_told_apart(directory: Path) -> None:
    def add(c: float) -> Any:
        return gc.compile([X], X * gc.constant(c, D))

    assert np.signbit(add(-0.0)(np.ones(2))).all()
    assert not np.signbit(add(0.0)(np.ones(2))).any()
    assert counted(lambda: add(0.0))[1:] == (0, 1)


def test_variables_share_a_program_and_keep_their_own_values(directory: Path) -> None:
    def stepping(value: float) -> tuple[Any, Any]:
        w, v = gc.variable(np.full(3, value), name="w"), gc.variable(np.zeros(3), name="v")
        return gc.compile([X], w, {v: v + 1, w: w * 2 + v}), w

    (first, w1), compiled, _ = counted(lambda: stepping(1.0))
    (second, w2), again, hits = counted(lambda: stepping(5.0))
    assert (compiled, again, hits) == (1, 0, 1)
    for function, w, value in ((first, w1, 1.0), (second, w2, 5.0)):
        function(np.zeros(1)), function(np.zeros(1))
        np.testing.assert_array_equal(w.value, np.full(3, value * 4 + 1))


def test_failures_name_the_line_of_this_program_not_of_the_cached_one(directory: Path) -> None:
    a = gc.placeholder("a", (2, 2), D)
    gc.compile([a], gc.linalg.inv(a))
    garbage.collect()  # while a node lives, another line that makes it is only added to it
    here = sys._getframe().f_lineno + 1
    function, _, hits = counted(lambda: gc.compile([a], gc.linalg.inv(a)))
    assert hits == 1
    with pytest.raises(gc.GraphcError, match=f"(?s)inv.*test_cache_programs.py:{here}"):
        function(np.zeros((2, 2)))


# -- a bad cache costs a compilation and a warning -------------------------------------------------
def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def another_programs(path: Path) -> None:
    before = set(path.parent.glob("*.graphc"))
    gc.compile([X], X * 17.0)
    (other,) = set(path.parent.glob("*.graphc")) - before
    path.write_bytes(other.read_bytes())


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit, another_programs, a_folder])
def test_a_damaged_entry_is_made_again(directory: Path, damage: Callable[[Path], None]) -> None:
    a = np.arange(4.0)
    expected = program()(a)
    (path,) = directory.glob("*.graphc")
    damage(path)
    with pytest.warns(CacheWarning) as warned:
        function, compiled, hits = counted(program)
    assert (compiled, hits, len(warned)) == (1, 0, 1 + (damage is a_folder))
    for x, y in zip(function(a), expected, strict=True):
        np.testing.assert_array_equal(x, y)
    if damage is not a_folder:
        assert counted(program)[1:] == (0, 1)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_warned", {})
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.warns(CacheWarning, match="nothing can be stored") as warned:
        (first, second), *counts = counted(lambda: (program(), program()))
    assert (counts, len(warned)) == ([2, 0], 1)
    assert warned[0].filename == __file__  # the line of gc.compile
    np.testing.assert_array_equal(first(np.ones(3))[0], second(np.ones(3))[0])


def test_the_cache_can_be_off(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    assert counted(program)[1:] == (1, 0)
    assert counted(program)[1:] == (1, 0)
    assert not directory.exists()


@pytest.mark.parametrize("setting", ["GRAPHC_PRINT=fuse", "GRAPHC_DUMP=dump", "GRAPHC_TRACE=rules"])
def test_who_looks_at_the_stages_sees_them(
    setting: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert counted(program)[1:] == (1, 0)
    monkeypatch.chdir(directory)
    with monkeypatch.context() as watched:
        watched.setenv(*setting.split("="))
        assert counted(program)[1:] == (1, 0)
    assert counted(program)[1:] == (0, 1)


# -- processes -------------------------------------------------------------------------------------
SCRIPT = textwrap.dedent(
    """
    import sys
    import numpy as np
    import graphc as gc

    x = gc.placeholder("x", ("n", 3), "float64")
    w = gc.variable(np.arange(6.0).reshape(3, 2), name="w")
    h = gc.variable(np.ones(2), name="h")
    table = gc.constant(np.arange(3000.0))
    last, ys = gc.scan(lambda c, v: ((q := gc.tanh(v @ w + c)), q), h, x)
    solved = gc.linalg.solve(w.T @ w, last)
    loss = gc.sum(ys) + gc.sum(table[:7]) + gc.sum(solved)
    step = gc.compile([x], [loss, gc.grad(loss, x)], {w: w - 0.1 * gc.grad(loss, w), h: last})
    for _ in range(2):
        loss, gradient = step(np.linspace(-1, 1, 12).reshape(4, 3))
    from graphc.runtime.compile import compile_statistics
    found = [loss, *gradient.ravel(), *w.value.ravel(), *h.value]
    print(compile_statistics()["compilations"], [float(v).hex() for v in found])
    print(*(m for m in sys.modules if m in ("numba", "sympy", "scipy") or m.startswith("graphc.")))
    """
)


def start(directory: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"GRAPHC_CACHE_DIR": str(directory), "PYTHONHASHSEED": "random"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    return out.splitlines()


# Rooms of which a program from the cache needs nothing, and all that it needs of `lower`.
COMPILER = ("numba", "sympy", "scipy", "graphc.fusion", "graphc.planning", "graphc.passes")
LOWER = {"", ".head", ".processor"}


def test_processes_share_an_entry_and_a_warm_one_imports_no_compiler(directory: Path) -> None:
    cold = finish(start(directory))
    assert cold[0].startswith("1 ")
    entries = sorted(directory.glob("*.graphc"))
    for values, imported in [finish(p) for p in [start(directory) for _ in range(2)]]:
        assert values == "0 " + cold[0][2:]
        assert not [m for m in imported.split() if m.startswith(COMPILER)]
        lower = {m for m in imported.split() if m.startswith("graphc.lower")}
        assert {m.removeprefix("graphc.lower") for m in lower} <= LOWER
    assert sorted(directory.glob("*.graphc")) == entries


def test_two_processes_that_compile_at_once(directory: Path) -> None:
    first, second = (finish(p) for p in [start(directory) for _ in range(2)])
    assert first[0][2:] == second[0][2:]
    entries = sorted(directory.glob("*.graphc"))
    assert finish(start(directory))[0] == "0 " + first[0][2:]
    assert sorted(directory.glob("*.graphc")) == entries
