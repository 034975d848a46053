"""What Graphviz writes to stderr, and the first text that it measures in a process, without what
fontconfig says of it.

The fontconfig inside pygraphviz's wheel is older than many systems' configuration, and writes to
stderr about each part of it that it does not know, whatever file `FONTCONFIG_FILE` names: it reads
a folder of templates that is compiled into it (`FC_TEMPLATEDIR`). It does so once, so the first
drawing of a process begins with one of a single letter, whose messages are looked through: what is
not fontconfig's is written to stderr after all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STDERR = 2
_ITS_MESSAGES = (b"Fontconfig ",)

_done = False


def load_fonts(first: Callable[[], object]) -> None:
    """Run `first`, which measures some text, if none was measured yet. Who calls holds a lock."""
    global _done
    if not _done:
        with without_messages(_ITS_MESSAGES):
            first()
        _done = True


@contextmanager
def without_messages(known: tuple[bytes, ...]) -> Iterator[list[bytes]]:
    """What C code writes to stderr inside comes afterwards, but for lines that begin in known ways;
    those are in the list behind the block."""
    found: list[bytes] = []
    try:
        kept = os.dup(_STDERR)
    except OSError:  # there is no stderr
        yield found
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), _STDERR)
        try:
            yield found
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            file.seek(0)
            rest: list[bytes] = []
            for line in file:
                (found if line.startswith(known) else rest).append(line)
            if rest:
                os.write(_STDERR, b"".join(rest))
