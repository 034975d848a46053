"""What a long compilation says to a person who watches, and that nobody else sees it."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import pytest

import graphc as gc
from graphc.errors import ArgumentError, CompileError
from graphc.pipeline.progress import CLEAR, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Impatient:
    """A timer whose time is over at once."""

    daemon = False

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self.start, self.cancel = call, lambda: None


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr("graphc.pipeline.progress.Timer", Impatient)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("GRAPHC_PROGRESS", raising=False)
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    return Terminal()


def compiled(stream: Any, name: str = "step") -> None:
    """Compile a program; `stream` is standard error meanwhile."""
    x = gc.placeholder("x", ("n",))
    with redirect_stderr(stream):
        gc.compile([x], gc.tanh(x) * 3, name=name)


def test_stages_and_kernels_are_named_and_then_gone(terminal: Terminal) -> None:
    compiled(terminal)
    lines = terminal.getvalue().split(CLEAR)
    said = [line.removeprefix("graphc: compiling step: ") for line in lines[1:-1]]
    wanted = [
        "simplify",
        "fuse",
        "schedule",
        "numba, kernel0 of 1",
        "optimize, kernel0 of 1",
        "driver",
        "link",
    ]
    assert [stage for stage in said if stage in wanted] == wanted
    assert lines[0] == lines[-1] == ""


def test_the_line_fits_the_terminal_and_holds_no_control_character(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    compiled(terminal, "long\x1b[2J\n" * 20)
    lines = terminal.getvalue().split(CLEAR)[1:-1]
    assert max(map(len, lines)) == 39
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(("variable", "value"), [("CI", "true"), ("GRAPHC_PROGRESS", "0")])
def test_silent_where_nobody_watches(
    variable: str, value: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    compiled(terminal)
    assert terminal.getvalue() == ""


@pytest.mark.usefixtures("terminal")
def test_silent_where_there_is_no_terminal() -> None:
    for stream in (io.StringIO(), None):
        compiled(stream)
        assert stream is None or stream.getvalue() == ""


def test_a_compilation_that_fails_clears_its_line(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("graphc.pipeline.optimize.merge_scans", fails)
    with pytest.raises(CompileError, match="merge_scans"):
        compiled(terminal)
    assert terminal.getvalue().endswith(CLEAR)


def test_a_short_compilation_says_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends before the timer's time: nothing is drawn, and not afterwards either."""
    late: list[Callable[[], None]] = []
    monkeypatch.setattr(Impatient, "__init__", lambda self, seconds, call: late.append(call))
    monkeypatch.setattr(Impatient, "start", lambda self: None, raising=False)
    monkeypatch.setattr(Impatient, "cancel", lambda self: None, raising=False)
    with redirect_stderr(terminal), progress("step") as say:
        say("fuse")
    late[0]()
    assert terminal.getvalue() == ""


def test_a_setting_that_makes_no_sense(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_PROGRESS", "perhaps")
    with pytest.raises(ArgumentError, match="GRAPHC_PROGRESS"):
        compiled(terminal)


def test_where_the_system_gives_no_thread_nothing_is_said(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(Impatient):
        def __init__(self, seconds: float, call: Callable[[], None]) -> None:
            self.start, self.cancel = self._refused, lambda: None

        def _refused(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr("graphc.pipeline.progress.Timer", Refused)
    compiled(terminal)
    assert terminal.getvalue() == ""
