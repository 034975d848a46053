"""Keys of the cache: every part counts, nothing else does, and making one is quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from graphc.runtime import cache
from graphc.runtime.cache import environment_parts, make_key
from tests.counting import calls_of

PACKAGE = Path(cache.__file__).parents[1]
CALLS_A_FILE = 90  # 55 now


def test_each_part_alone_changes_the_key() -> None:
    parts: dict[str, str | bytes] = {
        **environment_parts(),
        "cpu": "znver4",
        "features": "+avx2,+fma",
        "graph": b"graph f() {}",
        "constants": bytes(8),
        "blas.integer_bits": "64",
    }
    keys = {make_key(parts)}
    for name, value in parts.items():
        keys.add(make_key({**parts, name: value + "x" if isinstance(value, str) else value + b"x"}))
        keys.add(make_key({**parts, name: b"" if isinstance(value, str) else ""}))
        keys.add(make_key({other: parts[other] for other in parts if other != name}))
        keys.add(make_key({**{o: parts[o] for o in parts if o != name}, name + "x": value}))
    assert len(parts) >= 15
    assert len(keys) == 4 * len(parts) + 1


def test_parts_cannot_run_together() -> None:
    cases: list[dict[str, str | bytes]] = [
        {}, {"": ""}, {"a": ""}, {"": "a"}, {"a": "bc"}, {"ab": "c"}, {"a": b"bc"}, {"abc": ""},
        {"a": "b", "c": ""}, {"a": "", "b": "c"}, {"a": "b", "c": "d"}, {"a": "bcd"}, {"a": "s"},
        {"a": "\x01\0\0\0\0\0\0\0b"}, {"a": b""}, {"é": ""}, {"e\u0301": ""}, {"\ud800": ""},
    ]  # fmt: skip
    assert len({make_key(case) for case in cases}) == len(cases)
    assert make_key({"a": "1", "b": "2"}) == make_key({"b": "2", "a": "1"})


def test_the_key_is_the_same_in_a_new_process() -> None:
    script = (
        "import json, sys; from graphc.runtime.cache import environment_parts, make_key;"
        "parts = environment_parts();"
        "print(json.dumps([make_key(parts), parts, [m for m in ('numba', 'sympy', 'llvmlite',"
        " 'scipy') if m in sys.modules]]))"
    )
    for seed in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        key, parts, heavy = json.loads(out.stdout)
        assert parts == environment_parts()
        assert key == make_key(environment_parts())
        assert heavy == []


def test_environment_parts_tell_the_versions() -> None:
    from importlib.metadata import version

    parts = environment_parts()
    for name in ("numpy", "numba", "llvmlite", "sympy", "scipy"):
        assert version(name) in parts[name]
    assert sys.version in parts["python"]
    parts["numpy"] = "changed by a caller"
    assert environment_parts()["numpy"] != parts["numpy"]
    assert cache._installed_version("no_such_package") == ""


def test_environment_parts_see_every_change_of_the_sources(tmp_path: Path) -> None:
    (tmp_path / "ir").mkdir()
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "ir" / "b.py").write_text("2")
    seen = [cache._digest_of_sources(tmp_path)]
    changes: list[Callable[[], object]] = [
        lambda: (tmp_path / "ir" / "b.py").write_text("22"),
        lambda: os.utime(tmp_path / "a.py", (1e9, 1e9)),
        lambda: (tmp_path / "ir" / "c.py").write_text(""),
        lambda: (tmp_path / "ir" / "c.py").rename(tmp_path / "c.py"),
        lambda: (tmp_path / "c.py").unlink(),
    ]
    for change in changes:
        change()
        seen.append(cache._digest_of_sources(tmp_path))
    assert len(set(seen[:-1])) == len(seen) - 1
    assert seen[-1] == seen[2], "back to what was there before the third file"
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert cache._digest_of_sources(tmp_path) == seen[-1]


def test_environment_parts_take_few_calls() -> None:
    """One look at each folder and file of the package, and at each package that it uses."""
    environment_parts()
    cache._environment.cache_clear()
    cache._names_in.cache_clear()
    assert calls_of(environment_parts)[1] <= CALLS_A_FILE * len(list(PACKAGE.rglob("*.py")))
    assert calls_of(environment_parts)[1] < 20, "and once only"


@pytest.mark.timed
def test_environment_parts_are_quick() -> None:
    """3 ms of a warm start's 300."""
    times = []
    for _ in range(7):
        cache._environment.cache_clear()
        cache._names_in.cache_clear()
        start = time.perf_counter()
        environment_parts()
        times.append(time.perf_counter() - start)
    assert min(times) < 0.003
