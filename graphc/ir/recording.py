"""Recorders: who sees every node that a thread makes, or meets again, while it records.

A node exists once, whoever makes it, so that what was computed in a stretch of a program cannot be
told from the nodes: it has to be written down as it happens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

recorders: dict[int, list[Callable[[Any], None]]] = {}  # by thread; empty almost always


def record(node: Any) -> None:
    """Tell the recorders of this thread of a node."""
    for each in recorders.get(threading.get_ident(), ()):
        each(node)


def begin(recorder: Callable[[Any], None]) -> None:
    """Tell `recorder` of the nodes of this thread from now on."""
    recorders.setdefault(threading.get_ident(), []).append(recorder)


def end(recorder: Callable[[Any], None]) -> None:
    """No longer. It has begun in this thread."""
    thread = threading.get_ident()
    recorders[thread].remove(recorder)
    if not recorders[thread]:
        del recorders[thread]
