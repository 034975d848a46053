"""Python's constructs that ask a tensor for its value: the error names what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import SymbolicValueError

X, Y = gc.placeholder("asked_x"), gc.placeholder("asked_y")
N, V = gc.placeholder("asked_n", (), "int64"), gc.placeholder("asked_v", ("asked",))


def loop() -> None:
    while X > 0:
        pass


def loop_over_lines() -> None:
    while (
        X > 0
        and X < 3
    ):  # fmt: skip
        pass


def negated() -> Any:
    if not X:
        return 1
    return 2


def otherwise() -> Any:
    if isinstance(X, int):
        return 1
    if X:
        return 3
    return 2


def counted() -> None:
    for _ in range(2, N):
        pass


def walked() -> None:
    for _ in V:
        pass


CASES: list[tuple[Callable[[], Any], list[str]]] = [
    (loop, ["gc.while_loop"]),
    (loop_over_lines, ["gc.while_loop", "gc.logical_and"]),
    (negated, ["gc.cond", "gc.where", "gc.logical_not"]),
    (otherwise, ["gc.cond", "gc.where"]),
    (counted, ["gc.fori_loop"]),
    (walked, ["gc.scan", "gc.map"]),
    (lambda: 1 if X > 2 else 3, ["gc.cond", "gc.where"]),
    (lambda: [i * 2 for i in range(N)], ["gc.fori_loop"]),
    (lambda: [i for i in (1, 2) if i < X], ["gc.cond"]),
    (lambda: X or 3, ["gc.logical_or"]),
    (lambda: X > 0 and Y > 0, ["gc.logical_and"]),
    (lambda: not X, ["gc.logical_not"]),
    (lambda: 0 < X < 1, ["gc.logical_and"]),
    (lambda: max(X, Y), ["gc.maximum"]),
    (lambda: min(X, Y), ["gc.minimum"]),
    (lambda: any([X > 0]), ["gc.any"]),
    (lambda: all([X > 0]), ["gc.all"]),
    (lambda: [1, 2][N], ["gc.take"]),
    (lambda: [i * 2 for i in range(V.shape[0])], ["gc.fori_loop", "static size"]),
    (lambda: 1 if V.shape[0] > 2 else 3, ["static size"]),
    (lambda: (X * 2 if X + Y else 3), ["gc.cond"]),
]


@pytest.mark.parametrize(("ask", "names"), CASES)
def test_the_hint_names_what_to_write_instead(ask: Callable[[], Any], names: list[str]) -> None:
    with pytest.raises(SymbolicValueError) as caught:
        ask()
    for name in names:
        assert name in caught.value.hint
    assert "test_asked.py" in caught.value.where


def test_in_jit_too_with_the_users_line() -> None:
    @gc.jit
    def f(x: Any) -> Any:
        while x > 1:
            x = x / 2
        return x

    with pytest.raises(SymbolicValueError, match=r"gc\.while_loop") as caught:
        f(np.float32(3))
    line = f.__wrapped__.__code__.co_firstlineno + 2
    assert caught.value.where.endswith(f"test_asked.py:{line}")


def test_without_source_the_hint_is_general() -> None:
    with pytest.raises(SymbolicValueError, match=r"gc\.where or gc\.cond"):
        exec("if X: pass", {"X": X})
