"""Where nodes come from: the user's file:line and the layer scope.

Origins are not part of a node's identity: two lines may make the same node, which then has both.
They never enter hashes, text equality or cache keys.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import lru_cache
from types import FrameType
from typing import NamedTuple

import numpy as np

from graphc.errors import DTypeWarning, locate_with

_NAME = __name__.partition(".")[0]
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# contextlib runs what it decorates in here, and NumPy's functions in Python compute with tensors.
_NOT_THE_USERS = (_PACKAGE, contextlib.__file__, os.path.dirname(np.__file__) + os.sep)
_AS_USERS_WRITE = _PACKAGE + "demo.py"  # a program that is shipped with graphc
CAP = 4  # origins kept for one node

_inherited: ContextVar[tuple[Origin, ...] | None] = ContextVar("graphc_inherited", default=None)
_scope: ContextVar[str] = ContextVar("graphc_scope", default="")


class Origin(NamedTuple):
    """One place in the user's program; `scope` is the layer's path, such as `mlp/dense1`."""

    file: str
    line: int
    scope: str = ""

    def __str__(self) -> str:
        return f"{called(self.file)}:{self.line}"

    @property
    def short(self) -> str:
        """The same without the folder."""
        return os.path.basename(str(self))


def called(file: str) -> str:
    """What the user calls a file: its path, or of a cell of a notebook `In[3]`, as IPython's own
    tracebacks say: the kernel has it under a name that no user knows."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    named = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)(file)
    return str(named[1]) if named else file


def user_frame() -> FrameType:
    """The frame of the user's that graphc was called from."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if file == _AS_USERS_WRITE or not (file.startswith(_NOT_THE_USERS) or _is_written(frame)):
            break
        frame = frame.f_back
    return frame


def _is_written(frame: FrameType) -> bool:
    """Whether it is a function that `dataclass` has written for a class of graphc."""
    package = str(frame.f_globals.get("__package__"))
    return frame.f_code.co_filename == "<string>" and package.partition(".")[0] == _NAME


def here() -> tuple[Origin, ...]:
    """The origins for a node made now: those inherited from a rewrite, else the user's line."""
    inherited = _inherited.get()
    if inherited is not None:
        return inherited
    frame = user_frame()
    return _place(frame.f_code.co_filename, frame.f_lineno, _scope.get())


@lru_cache(maxsize=4096)
def _place(file: str, line: int, scope: str) -> tuple[Origin, ...]:
    """One tuple for all nodes of a line: a loop there may make a hundred thousand."""
    return (Origin(file, line, scope),)


def where() -> str:
    """The user's `file:line` as text, for error messages."""
    origins = here()
    return str(origins[0]) if origins else ""


def outside_libraries() -> str:
    """The same, of the innermost line that is in no installed package: for what a library, such as
    one that plots, did with a tensor that it was given."""
    frame = start = user_frame()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_installed()):
        frame = frame.f_back
    found = start if frame.f_back is None else frame
    return f"{called(found.f_code.co_filename)}:{found.f_lineno}"


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    import sysconfig  # only where somebody erred

    return tuple({sysconfig.get_path(kind) + os.sep for kind in ("purelib", "platlib", "stdlib")})


locate_with(where)


def merge(first: tuple[Origin, ...], second: tuple[Origin, ...]) -> tuple[Origin, ...]:
    """The ordered, capped union."""
    if first is second or len(first) >= CAP:
        return first
    return (first + tuple(o for o in second if o not in first))[:CAP]


class inherit:  # noqa: N801  (a class for speed: it is entered for every node)
    """Nodes made inside take `origins` instead of the calling line (rewrites, derivatives)."""

    __slots__ = ("_origins", "_token")
    _token: Token[tuple[Origin, ...] | None]

    def __init__(self, origins: tuple[Origin, ...]) -> None:
        self._origins = origins

    def __enter__(self) -> None:
        self._token = _inherited.set(self._origins)

    def __exit__(self, *_: object) -> None:
        _inherited.reset(self._token)


@contextmanager
def scope(name: str) -> Iterator[None]:
    """Nodes made inside belong to the layer scope `name`, nested below the current one.

    >>> with scope("encoder"), scope("dense1"):
    ...     _scope.get()
    'encoder/dense1'
    """
    outer = _scope.get()
    token = _scope.set(f"{outer}/{name}" if outer else name)
    try:
        yield
    finally:
        _scope.reset(token)


_warned: set[tuple[str, int, type[Warning]]] = set()


def warn_once(message: str, kind: type[Warning] = DTypeWarning) -> None:
    """A warning at the user's line, once for each line and kind."""
    place = here()[0] if here() else Origin("", 0)
    if (place.file, place.line, kind) not in _warned:
        _warned.add((place.file, place.line, kind))
        warn(message, kind)


def warn(message: str, kind: type[Warning]) -> None:
    """A warning at the user's line."""
    place = here()[0] if here() else Origin("", 0)
    warnings.warn_explicit(message, kind, place.file, place.line)
