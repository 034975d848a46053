"""Python's cyclic collector, paused while a large graph is being built.

Graphs hold no reference cycles, so the collector never finds anything in them, yet it visits all of
them again and again while they grow; that doubles the time of a derivative of 100,000 nodes.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pausing: list[int] = []  # the threads inside


@contextmanager
def paused_collector() -> Iterator[None]:
    """No cyclic collection inside. Afterwards the collector is as the user had it, also when
    several threads are inside at once."""
    thread = threading.get_ident()
    with _lock:
        mine = gc.isenabled() or bool(_pausing)
        if mine:
            _pausing.append(thread)
            gc.disable()
    try:
        yield
    finally:
        if mine:
            with _lock:
                _pausing.remove(thread)
                if not _pausing:
                    gc.enable()


def _after_fork() -> None:
    """In a child only the thread that forked goes on."""
    global _lock
    _lock = threading.Lock()
    others = [thread for thread in _pausing if thread != threading.get_ident()]
    for thread in others:
        _pausing.remove(thread)
    if others and not _pausing:
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
