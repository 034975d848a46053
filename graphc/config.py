"""The settings of graphc, each with its environment variable, read when it is used.

You can change a setting at any time by changing `os.environ`; nothing is read at import. A value
that makes no sense raises `ArgumentError` naming the variable; an empty one counts as not set.

| variable             | meaning                                                 | default      |
|----------------------|---------------------------------------------------------|--------------|
| `GRAPHC_CACHE`       | 0 turns the cache of compiled objects off               | 1            |
| `GRAPHC_CACHE_DIR`   | the directory of the cache                              | the user's   |
| `GRAPHC_PRINT`       | stages to print, by name, comma between                 | none         |
| `GRAPHC_DUMP`        | the directory into which every stage is written         | none         |
| `GRAPHC_TRACE`       | what to log as it happens: `rules`                      | nothing      |
| `GRAPHC_PROGRESS`    | 0: nothing is said of a long compilation on a terminal  | 1            |
| `GRAPHC_NUM_THREADS` | threads of a program that is made now, at least 1       | one per core |
| `GRAPHC_BLAS`        | the BLAS to call: a path, or a name the loader knows    | NumPy's own  |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from graphc.errors import ArgumentError

_MAX_THREADS = 1024
_TOPICS = ("rules",)


@dataclass(frozen=True)
class CacheSettings:
    """Whether compiled objects are kept on disk, and where."""

    enabled: bool
    directory: Path


def cache() -> CacheSettings:
    """The cache of compiled objects: `GRAPHC_CACHE` and `GRAPHC_CACHE_DIR`."""
    switch = _switch("GRAPHC_CACHE")
    named = _read("GRAPHC_CACHE_DIR")
    if named:
        directory = Path(os.path.abspath(os.path.expanduser(named)))
    elif switch:
        # Imported only when it is asked: it costs several ms of a warm start.
        import platformdirs

        directory = platformdirs.user_cache_path("graphc", appauthor=False)
    else:
        directory = Path()
    return CacheSettings(switch, directory)


def print_stages() -> tuple[str, ...]:
    """The stages to print, in the order given: `GRAPHC_PRINT`, such as `fuse,plan_memory`.

    The pipeline knows which names exist; here a name only has to look like one.
    """
    value = _read("GRAPHC_PRINT")
    names = tuple(name.strip() for name in value.split(",")) if value else ()
    if not all(name.isidentifier() for name in names):
        raise _bad("GRAPHC_PRINT", value, "names of stages, comma between, such as fuse,numba")
    return names


def dump_directory() -> Path | None:
    """The directory into which every stage is written: `GRAPHC_DUMP`. It need not exist yet."""
    value = _read("GRAPHC_DUMP")
    if not value:
        return None
    directory = Path(os.path.abspath(os.path.expanduser(value)))
    if directory.exists() and not directory.is_dir():
        raise _bad("GRAPHC_DUMP", value, "a directory, or a path where one can be made")
    return directory


def trace_topics() -> tuple[str, ...]:
    """What to log, to the logger `graphc`, as it happens: `GRAPHC_TRACE`, such as `rules`."""
    value = _read("GRAPHC_TRACE")
    names = tuple(name.strip() for name in value.split(",")) if value else ()
    if not all(name in _TOPICS for name in names):
        raise _bad("GRAPHC_TRACE", value, " or ".join(_TOPICS) + ", with a comma between")
    return names


def progress() -> bool:
    """Whether a long compilation says on a terminal what it does: `GRAPHC_PROGRESS`."""
    return _switch("GRAPHC_PROGRESS")


def num_threads() -> int | None:
    """The number of threads the user asked for, `GRAPHC_NUM_THREADS`, or None."""
    value = _read("GRAPHC_NUM_THREADS")
    if not value:
        return None
    # isascii: int() also takes the digits of other scripts.
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    if not 1 <= number <= _MAX_THREADS:
        raise _bad("GRAPHC_NUM_THREADS", value, f"a whole number from 1 to {_MAX_THREADS}")
    return number


def blas_library() -> str | None:
    """The BLAS library the user asked for by path or name, `GRAPHC_BLAS`, or None."""
    return _read("GRAPHC_BLAS") or None


def _switch(variable: str) -> bool:
    """A setting that is on unless it is 0."""
    value = _read(variable) or "1"
    if value not in ("0", "1"):
        raise _bad(variable, value, "0 (off) or 1 (on)")
    return value == "1"


def _read(variable: str) -> str:
    return os.environ.get(variable, "").strip()


def _bad(variable: str, value: str, expected: str) -> ArgumentError:
    return ArgumentError(
        f"the environment variable {variable} has a value that makes no sense",
        op=variable,
        expected=expected,
        given=repr(value),
        hint=f"unset {variable} to get the default",
    )
