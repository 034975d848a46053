"""Clocks in a driver that is timed: how long each step took, and all of them, in nanoseconds.

Only `profile()` asks for them; a program that is not timed has none. Each step that does work has
two words in the context: the nanoseconds that it took and how often it ran, both added up. The two
words before them are those of the whole program. What a step shares with other threads counts as
long as the thread that called them waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from graphc.lower.function_text import FunctionText
from graphc.planning.program import Step, working_steps

WORDS = 2  # for each clock
DECLARATION = "declare i32 @clock_gettime(i32, ptr)"
_MONOTONIC = 1  # CLOCK_MONOTONIC on Linux


class Clocks:
    """The clocks of a program's steps; those of none, where `timed` is False."""

    def __init__(self, steps: Sequence[Step], timed: bool) -> None:
        found = list(working_steps(steps)) if timed else []
        self._numbers = {id(step): number for number, step in enumerate(found, 1)}
        self.words = WORDS * (1 + len(found)) if timed else 0

    @contextmanager
    def whole(self, text: FunctionText) -> Iterator[None]:
        """What is written inside is the whole program."""
        with self._running(text, 0 if self.words else None):
            yield

    @contextmanager
    def step(self, text: FunctionText, step: Step) -> Iterator[None]:
        """What is written inside is a step."""
        with self._running(text, self._numbers.get(id(step))):
            yield

    @contextmanager
    def _running(self, text: FunctionText, number: int | None) -> Iterator[None]:
        if number is None:
            yield
            return
        start = _now(text)
        yield
        taken = text.emit(f"sub i64 {_now(text)}, {start}")
        first = text.layout.clocks + WORDS * number
        for word, more in ((first, taken), (first + 1, "1")):
            place = text.emit(f"getelementptr i64, ptr %context, i64 {word}")
            before = text.emit(f"load i64, ptr {place}")
            text.store("i64", text.emit(f"add i64 {before}, {more}"), place)


def _now(text: FunctionText) -> str:
    """The nanoseconds of a clock that only goes forward."""
    place = text.stack("clock", "i64", 2)
    text.line(f"call i32 @clock_gettime(i32 {_MONOTONIC}, ptr {place})")
    seconds = text.emit(f"load i64, ptr {place}")
    rest = text.emit(f"getelementptr i64, ptr {place}, i64 1")
    whole = text.emit(f"mul i64 {seconds}, 1000000000")
    return text.emit(f"add i64 {whole}, {text.emit(f'load i64, ptr {rest}')}")
