"""Locks in a process that forks.

A child has one thread, the one that forked; what another held in the parent stays held for ever in
the child, and what it was changing stays half changed. So a lock is of one of two kinds here.

`kept` locks guard what all threads share and change in moments: the tables of nodes and graphs, and
Numba and LLVM. A fork waits for them, so the child finds what they guard whole and unlocked.
`private` locks may be held for as long as a program runs: those of variables, of which a call holds
the ones that it writes, and of functions that are being traced. In the child they are free, unless
the thread that forked holds them. What another thread was writing is there as far as it had come.

What is asked before a fork runs in the reverse order of its registration. `logging` takes its lock
then, and both who compiles and who imports may want that lock while a fork waits for them here: so
`logging` is imported first, and its lock taken last.

A fork waits also until no other thread imports: most of graphc and all of Numba are imported when
they are first used, and a module whose import a fork cut off would be locked in the child for ever.

Source: `logging/__init__.py` of Python, which treats its handlers' locks so.
"""

from __future__ import annotations

import _imp
import logging  # noqa: F401
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

# A thread that holds a kept lock asks only for those further down: so does a fork. (The collector
# may free a program anywhere, and LLVM's lock is taken for that.)
_ORDER = ("numba", "graph", "llvm")

_kept: dict[str, Callable[[], Any]] = {}
_private: weakref.WeakSet[Any] = weakref.WeakSet()
_taken: list[Any] = []


def kept(name: str) -> Any:
    """A reentrant lock that a fork waits for; `name` is its place in the order."""
    lock = threading.RLock()
    _kept[name] = lambda: lock
    return lock


def private() -> Any:
    """A reentrant lock that no other thread holds in a forked child."""
    lock = threading.RLock()
    _private.add(lock)
    return lock


def _llvm() -> Any:
    """The lock that llvmlite takes around each call of LLVM, if llvmlite is loaded."""
    ffi = sys.modules.get("llvmlite.binding.ffi")
    return getattr(getattr(ffi, "lib", None), "_lock", None)


_kept["llvm"] = _llvm


# Python's lock of each module that is being imported, by name, as weak references.
_imports = sys.modules["_frozen_importlib"]


def _importing() -> list[str]:
    """The modules that other threads import; none where this one does: they may wait for it."""
    me = threading.get_ident()
    locks = [(name, found()) for name, found in list(_imports._module_locks.items())]
    owners = {name: lock.owner for name, lock in locks if lock is not None}
    return [] if me in owners.values() else [n for n, owner in owners.items() if owner is not None]


def _before() -> None:
    """Take all kept locks, and Python's of imports while none is under way. Who imports may need
    a kept lock, and who has one may import: so whoever imports is waited for with none held."""
    while True:
        for module in _importing():
            _imports._lock_unlock_module(module)
        for name in _ORDER:
            lock = _kept[name]() if name in _kept else None
            if lock is not None:
                lock.__enter__()
                _taken.append(lock)
        _imp.acquire_lock()
        if not _importing():
            return
        _after()


def _after() -> None:
    _imp.release_lock()
    while _taken:
        _taken.pop().__exit__(None, None, None)


def _after_in_child() -> None:
    for lock in _private:
        if not lock._is_owned():
            lock._at_fork_reinit()
    _after()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)
