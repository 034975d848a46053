"""Signals that arrive during a call, such as Ctrl-C: what native code needs to look for them.

Native code (`lower/interrupt.py`) calls functions of Python's C interface by their addresses, which
stand in a table; what a handler raised it leaves in the context of the call.
"""

from __future__ import annotations

import ctypes
from collections.abc import MutableSequence
from functools import cache
from typing import Any

from graphc.lower.head import Head

_FUNCTIONS = ("PyGILState_Ensure", "PyErr_CheckSignals", "PyErr_Fetch", "PyGILState_Release")


@cache
def _table() -> Any:
    addresses = [ctypes.cast(getattr(ctypes.pythonapi, f), ctypes.c_void_p) for f in _FUNCTIONS]
    return (ctypes.c_void_p * len(_FUNCTIONS))(*(a.value for a in addresses))


def table_address() -> int:
    """The address of the table, which stays."""
    return ctypes.addressof(_table())


def raise_pending(words: MutableSequence[int]) -> None:
    """Raise what a handler raised during the call with this context."""
    raised = [ctypes.c_void_p(words[Head.RAISED + i]) for i in range(3)]
    words[Head.RAISED : Head.RAISED + 3] = [0, 0, 0]
    ctypes.pythonapi.PyErr_Restore(*raised)  # which ctypes then raises
