"""Python's collector rests while a process compiles its first program.

That is when Numba is imported and most of what a process keeps is made, and hardly any of it is
garbage: the collector would walk through all of it again and again, for a tenth of a first call.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_rested = False


@contextmanager
def resting() -> Iterator[None]:
    """Around what makes a program; it does something for the first one, if the collector is on."""
    global _rested
    if _rested or not gc.isenabled():
        yield
        return
    _rested = True
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:  # else what the user has frozen would be thawed
            gc.freeze()  # both only join lists: what was made is old now, with no walk through it
            gc.unfreeze()
        gc.enable()
