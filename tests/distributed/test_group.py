"""Workers that meet, here as threads: nobody waits for ever, and memory is shared."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest

from graphc.distributed.group import Door, Group, Lost

LONG, SHORT = 600.0, 0.05


def _all(count: int, work: Callable[[Group], Any], step: float = LONG) -> list[Any]:
    doors = [Door() for _ in range(count)]
    names = [door.name for door in doors]

    def one(rank: int) -> Any:
        group = Group(doors[rank], names, rank, 7, LONG, step)
        try:
            return work(group)
        finally:
            group.close()

    with ThreadPoolExecutor(count) as pool:
        found = [pool.submit(one, rank) for rank in range(count)]
        results = [f.exception(LONG) or f.result() for f in found]
    for door in doors:
        door.close()
    return results


def test_what_one_writes_all_see() -> None:
    def work(group: Group) -> list[int]:
        seen = np.frombuffer(group.memory(24), np.int64)
        seen[group.rank] = group.rank + 1
        group.meet()
        found = seen.tolist()
        group.meet()
        return found

    assert _all(3, work) == [[1, 2, 3]] * 3


def test_who_leaves_is_noticed_at_once() -> None:
    def work(group: Group) -> tuple[int, ...]:
        group.meet()
        if group.rank == 1:
            return ()
        with pytest.raises(Lost) as caught:
            group.meet()
        group.close()  # so that the third one does not wait for this one
        return caught.value.ranks

    first, second, third = _all(3, work)
    assert second == ()
    assert 1 in first + third


def test_who_hangs_is_noticed_when_the_limit_is_over() -> None:
    noticed = Event()

    def work(group: Group) -> tuple[int, ...]:
        if group.rank == 1:
            noticed.wait(LONG)
            return ()
        with pytest.raises(Lost) as caught:
            group.meet()
        noticed.set()
        return caught.value.ranks

    assert _all(2, work, SHORT)[0] == (1,)


def test_strangers_are_sent_away() -> None:
    """Who knocks with another group's number, or says nothing to the point, is not let in."""
    doors = [Door(), Door()]
    names = [door.name for door in doors]
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stranger.connect(f"\0{names[0]}")
    stranger.sendall(b"\xff" * 16)
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(Group, doors[r], names, r, 3, LONG, LONG) for r in (0, 1)]
        groups = [f.result(LONG) for f in made]
        assert [f.result(LONG) for f in [pool.submit(g.meet) for g in groups]] == [None, None]
    assert stranger.recv(1) == b""
    for end in (*groups, *doors, stranger):
        end.close()


def test_who_does_not_come_is_named() -> None:
    doors = [Door(), Door()]
    with pytest.raises(Lost) as caught:
        Group(doors[0], [door.name for door in doors], 0, 1, SHORT, SHORT)
    assert caught.value.ranks == (1,)
    for door in doors:
        door.close()
