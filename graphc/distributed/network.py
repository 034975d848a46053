"""Workers of several machines as each of them sees the others: TCP, and memory that is made alike.

Each worker has memory of its own. To meet is to send the others what one has written since, all of
them or the one that reads it, and to put what they have written at the same places: so behind each
meeting all memories are alike where they are read, and replicas need not know how they are
connected. Of gradients of G bytes each of W workers sends G / W to each other one, the part that
that one adds up, and then as much of the sums to all: 2 G (W - 1) / W, as in a ring.

A worker that is killed closes its sockets, so the others know at once; a machine that is gone, or
cut off, is noticed when the limit is over. A cut that is shorter than the limit costs its time: TCP
sends again what was lost.
"""

from __future__ import annotations

import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.distributed.group import NOTHING, Lost, Span, connected, left_until, receive

_HELLO = struct.Struct("<16sqq")  # the secret of a door, the number of the group, who speaks
_COUNT, _SPAN = struct.Struct("<q"), struct.Struct("<qq")
MARK = "tcp:"  # begins the names of these doors
READ, WRITE = 0, 1


class NetDoor:
    """Where a worker is reached from other machines, at one of its addresses. Who knocks says the
    secret that is in the door's name."""

    def __init__(self, address: str) -> None:
        self._secret = secrets.token_bytes(16)
        self._socket = socket.create_server((address, 0), backlog=1024)
        port = self._socket.getsockname()[1]
        self.name = f"{MARK}{address}:{port}:{self._secret.hex()}"

    def accept(self, number: int, deadline: float) -> tuple[int, socket.socket]:
        """The rank and the socket of one who knocks for the group of that number. Errors:
        `TimeoutError`."""
        while True:
            self._socket.settimeout(left_until(deadline))
            other, _ = self._socket.accept()
            try:
                other.settimeout(min(left_until(deadline), 5.0))  # a stranger may say nothing
                secret, group, rank = _HELLO.unpack(receive(other, _HELLO.size))
                if group == number and secrets.compare_digest(secret, self._secret):
                    return rank, other
            except OSError:
                pass
            other.close()

    def close(self) -> None:
        self._socket.close()


class NetGroup:
    """A worker among others, `rank` of `size`, as `Group`.

    Errors: `Lost` if the others do not come within `start` seconds.
    """

    def __init__(
        self, door: NetDoor, names: Sequence[str], rank: int, number: int, start: float, step: float
    ) -> None:
        self.rank, self.size, self._limit = rank, len(names), step
        self._memory: Any = memoryview(b"")
        self._peers = connected(door.accept, _knock, names, rank, number, start)
        for peer in self._peers.values():
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.setblocking(False)

    def memory(self, count: int) -> Any:
        """So many bytes, zeros at first, which meetings make alike."""
        made = np.zeros(max(count, 1), np.uint8)
        self._memory = made.data
        return made

    def meet(
        self, written: Sequence[Span] = (), apart: Mapping[int, Sequence[Span]] = NOTHING
    ) -> None:
        """Wait until all are here, and have what all have written, or for this one. Errors: `Lost`,
        with all who are known to be."""
        deadline = time.monotonic() + self._limit
        tasks: dict[tuple[int, int], Iterator[None]] = {}
        for rank, peer in self._peers.items():
            tasks[rank, WRITE] = self._send(peer, [*written, *apart.get(rank, ())])
            tasks[rank, READ] = self._receive(peer)
        lost: set[int] = set()
        while tasks:
            for key, task in list(tasks.items()):
                try:
                    next(task)
                except StopIteration:
                    del tasks[key]
                except (OSError, ValueError):
                    lost.add(key[0])
            tasks = {key: task for key, task in tasks.items() if key[0] not in lost}
            if tasks and not self._wait(list(tasks), deadline - time.monotonic()):
                lost |= {rank for rank, _ in tasks}
                break
        if lost:
            raise Lost(sorted(lost))

    def _wait(self, keys: Sequence[tuple[int, int]], seconds: float) -> bool:
        """Whether one of these can go on before that time is over."""
        reading, writing = (
            [self._peers[r] for r, what in keys if what == side] for side in (READ, WRITE)
        )
        ready = select.select(reading, writing, [], max(seconds, 0.0))
        return seconds > 0 and any(ready)

    def _send(self, peer: socket.socket, spans: Sequence[Span]) -> Iterator[None]:
        """Send what is at these places, some of it at each turn."""
        parts: list[Any] = [_COUNT.pack(len(spans)), *(_SPAN.pack(*span) for span in spans)]
        parts += [self._memory[start:end] for start, end in spans]
        for part in parts:
            rest = memoryview(part)
            while rest:
                try:
                    rest = rest[peer.send(rest) :]
                except BlockingIOError:
                    yield

    def _receive(self, peer: socket.socket) -> Iterator[None]:
        """Put what another one has written at its place, some of it at each turn. Errors:
        `ValueError` for a place that is none."""
        head = bytearray(_COUNT.size)
        yield from _fill(peer, memoryview(head))
        table = bytearray(_SPAN.size * _COUNT.unpack(head)[0])
        yield from _fill(peer, memoryview(table))
        for start, end in _SPAN.iter_unpack(table):
            if not 0 <= start <= end <= len(self._memory):
                raise ValueError(start, end)
            yield from _fill(peer, self._memory[start:end])

    def close(self) -> None:
        for peer in self._peers.values():
            peer.close()


def _fill(peer: socket.socket, place: memoryview) -> Iterator[None]:
    while place:
        try:
            count = peer.recv_into(place)
        except BlockingIOError:
            yield
            continue
        if not count:
            raise ConnectionResetError("closed")
        place = place[count:]


def _knock(name: str, number: int, rank: int, deadline: float) -> socket.socket:
    address, port, secret = name.removeprefix(MARK).rsplit(":", 2)
    peer = socket.create_connection((address, int(port)), left_until(deadline))
    try:
        peer.settimeout(left_until(deadline))
        peer.sendall(_HELLO.pack(bytes.fromhex(secret), number, rank))
    except BaseException:
        peer.close()
        raise
    return peer
