"""Python's parser gives the same trees while the collector and other threads parse, too."""

from __future__ import annotations

import ast
import gc as collector
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import graphc
from graphc.ir.parsing import parse, parse_expression

SOURCE = "def f(x):\n" + "".join(f"    a{i} = g(h({i}, [1, 2, (3, x)]))\n" for i in range(50))


@contextmanager
def meddling() -> Iterator[list[ast.AST]]:
    """The collector runs at every object, and parses whenever it does; what it parsed. (Not a
    fixture: pytest parses too, where a test fails.)"""
    parsed: list[ast.AST] = []

    def meddle(phase: str, info: Any) -> None:
        parsed.append(ast.parse("f(g(1))"))

    before = collector.get_threshold()
    collector.callbacks.append(meddle)
    collector.set_threshold(1)
    try:
        yield parsed
    finally:
        collector.set_threshold(*before)
        collector.callbacks.remove(meddle)


def test_the_collector_parses_as_well() -> None:
    expression = "f(1, [2, (3, x)])"
    with meddling() as parsed:
        tree = parse(SOURCE)
        before = len(parsed)
        found = parse_expression(expression)
        kept = [[i] for i in range(100)]
    assert len(parsed) > before > 0, f"the collector did not run at {len(kept)} objects"
    assert ast.dump(tree) == ast.dump(ast.parse(SOURCE))
    assert ast.dump(found) == ast.dump(ast.parse(expression, mode="eval").body)


def test_what_is_no_python_is_refused_and_the_collector_goes_on() -> None:
    for text, read in (("f(", parse), ("x = 1", parse_expression)):
        with pytest.raises(SyntaxError):
            read(text)
        assert collector.isenabled()


def test_nothing_else_parses() -> None:
    folder = Path(graphc.__file__).parent
    files = [f for f in folder.rglob("*.py") if "ast.parse(" in f.read_text(encoding="utf-8")]
    assert [f.relative_to(folder).as_posix() for f in files] == ["ir/parsing.py"]
