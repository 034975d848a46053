"""What a long compilation says to a person who watches: one line on the terminal, gone at its end.

Silent for the first second, where standard error is no terminal, in continuous integration (`CI` is
set), and with `GRAPHC_PROGRESS=0`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Timer
from typing import TextIO

from graphc import config

PATIENCE = 1.0  # seconds
CLEAR = "\r\x1b[K"  # to the start of the line, and nothing behind it


class _Line:
    """The line of one compilation. It is drawn from the timer's thread too."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self.stream, self.name = stream, name
        self.lock = Lock()
        self.stage = ""
        self.visible = self.ended = False

    def say(self, stage: str) -> None:
        with self.lock:
            self.stage = stage
            if self.visible:
                self._draw()

    def appear(self) -> None:
        with self.lock:
            if not self.ended:
                self.visible = True
                self._draw()

    def end(self) -> None:
        with self.lock:
            self.ended = True
            if self.visible:
                self.stream.write(CLEAR)
                self.stream.flush()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        text = f"graphc: compiling {self.name}: {self.stage}"
        self.stream.write(CLEAR + "".join(c if c.isprintable() else "?" for c in text)[:width])
        self.stream.flush()


@contextmanager
def progress(name: str) -> Iterator[Callable[[str], None]]:
    """What to call with each stage of the compilation of the program `name`."""
    stream = sys.stderr
    if not (config.progress() and stream is not None and stream.isatty()) or os.environ.get("CI"):
        yield lambda stage: None
        return
    line = _Line(stream, name)
    timer = Timer(PATIENCE, line.appear)
    timer.daemon = True
    with suppress(RuntimeError):  # the system gives no thread: then nothing is said
        timer.start()
    try:
        yield line.say
    finally:
        timer.cancel()
        line.end()
