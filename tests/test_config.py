"""Settings: defaults, good values, and an error that names the variable for every bad one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graphc import config
from graphc.errors import ArgumentError

VARIABLES = (
    "GRAPHC_CACHE",
    "GRAPHC_CACHE_DIR",
    "GRAPHC_PRINT",
    "GRAPHC_DUMP",
    "GRAPHC_TRACE",
    "GRAPHC_NUM_THREADS",
    "GRAPHC_BLAS",
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_defaults() -> None:
    cache = config.cache()
    assert cache.enabled
    assert cache.directory.is_absolute()
    assert "graphc" in cache.directory.parts
    assert config.print_stages() == ()
    assert config.dump_directory() is None
    assert config.trace_topics() == ()
    assert config.num_threads() is None
    assert config.blas_library() is None


def test_an_empty_value_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, " ")
    test_defaults()


def test_values_are_read_at_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "c"))
    assert config.cache() == config.CacheSettings(True, tmp_path / "c")
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    assert not config.cache().enabled
    monkeypatch.setenv("GRAPHC_PRINT", "fuse, schedule,plan_memory")
    assert config.print_stages() == ("fuse", "schedule", "plan_memory")
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "new"))
    assert config.dump_directory() == tmp_path / "new"
    monkeypatch.setenv("GRAPHC_TRACE", "rules")
    assert config.trace_topics() == ("rules",)
    for number in (1, 7, 1024):
        monkeypatch.setenv("GRAPHC_NUM_THREADS", str(number))
        assert config.num_threads() == number
    monkeypatch.setenv("GRAPHC_BLAS", "libblas.so.3")
    assert config.blas_library() == "libblas.so.3"


def test_a_relative_or_home_directory_becomes_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "here")
    assert config.cache().directory == Path.cwd() / "here"
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "~/cache")
    assert config.cache().directory == Path("/home/someone/cache")


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        *(("GRAPHC_CACHE", v, config.cache) for v in ("yes", "2", "-1", "off")),
        *(("GRAPHC_PRINT", v, config.print_stages) for v in ("a b", "fuse,", "../x", "1st", ",")),
        ("GRAPHC_DUMP", __file__, config.dump_directory),
        *(("GRAPHC_TRACE", v, config.trace_topics) for v in ("rule", "rules,", "1")),
        *(
            ("GRAPHC_NUM_THREADS", v, config.num_threads)
            for v in ("0", "-2", "two", "1.5", "1025", "9" * 5000, "٣", "1_0", "²", "0x4")
        ),
    ],
)
def test_a_bad_value_is_an_error_naming_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, read: Callable[[], object]
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ArgumentError) as caught:
        read()
    error = caught.value
    assert error.op == variable
    assert error.expected
    assert error.given == repr(value)
    assert variable in str(error)


def test_import_reads_nothing_and_loads_nothing_heavy() -> None:
    script = (
        "import os, sys; os.environ['GRAPHC_NUM_THREADS'] = 'bad'; import graphc.config;"
        "print([m for m in ('numba', 'sympy', 'llvmlite', 'scipy', 'platformdirs')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
