"""Workers of several machines as each of them sees the others: TCP, and memory that is made alike.

Each worker has memory of its own. With a word goes what one has written since, to all others or to
the one that reads it, and is put at the same places there before the word is heard: so all memories
are alike where they are read, and replicas need not know how they are connected. Of gradients of G
bytes each of W workers sends G / W to each other one, the part that that one adds up, and then as
much of the sums to all: 2 G (W - 1) / W, as in a ring.

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
from collections import deque
from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from graphc.distributed.group import (
    NOTHING,
    Apart,
    Lost,
    Spans,
    Words,
    connected,
    left_until,
    receive,
)

_HELLO = struct.Struct("<16sqq")  # the secret of a door, the number of the group, who speaks
_WORD, _SPAN = struct.Struct("<cq"), struct.Struct("<qq")  # and how many places; a place
MET, _THROUGH = b".", object()
MARK = "tcp:"  # begins the names of these doors


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
        self.rank, self.size, self.limit = rank, len(names), step
        self._memory: Any = memoryview(b"")
        self._peers = connected(door.accept, _knock, names, rank, number, start)
        for peer in self._peers.values():
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.setblocking(False)
        self._sending: dict[int, deque[Iterator[None]]] = {r: deque() for r in self._peers}
        self._receiving: dict[int, Generator[None, None, bytes]] = {}
        self._lost: set[int] = set()  # of whom nobody was told yet

    def memory(self, count: int) -> Any:
        """So many bytes, zeros at first, which meetings make alike."""
        made = np.zeros(max(count, 1), np.uint8)
        self._memory = made.data
        return made

    def meet(self, written: Spans = (), apart: Apart = NOTHING) -> None:
        """Wait until all are here, and have what all have written, or for this one. Errors: `Lost`,
        with all who are known to be."""
        deadline = time.monotonic() + self.limit
        self.say(MET, written, apart)
        awaited, lost = set(self._peers), set[int]()
        while awaited or self.unsent:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                lost |= {*awaited, *self.unsent}
                break
            try:
                awaited -= {rank for rank, _ in self.words(awaited, None, seconds)}
            except Lost as error:
                lost |= set(error.ranks)
                awaited -= lost
        if lost:
            raise Lost(sorted(lost))

    def say(self, word: bytes, written: Spans = (), apart: Apart = NOTHING) -> None:
        """Begin to send the others a word, and what was written for all or for each of them; who is
        lost is told by `words`."""
        for rank in self._peers:
            self._add(rank, word, [*written, *apart.get(rank, ())])
        self._push()

    def tell(self, rank: int, word: bytes, written: Spans = ()) -> None:
        """The same for one of them."""
        self._add(rank, word, written)
        self._push()

    def _add(self, rank: int, word: bytes, spans: Spans) -> None:
        self._sending[rank].append(self._send(self._peers[rank], word, spans))

    @property
    def unsent(self) -> Collection[int]:
        """To whom something is not sent yet."""
        return [rank for rank, parts in self._sending.items() if parts]

    def words(self, ranks: Collection[int], file: int | None, seconds: float) -> Words:
        """What some of these have said, once they have or a file can be read; meanwhile what is
        unsent is sent. Errors: `Lost`, with all who are known to be."""
        deadline = time.monotonic() + seconds
        files = [] if file is None else [file]
        while True:
            if self._lost:
                lost, self._lost = self._lost, set()
                raise Lost(sorted(lost))
            reading: list[Any] = [self._peers[rank] for rank in ranks]
            writing = [self._peers[rank] for rank in self.unsent]
            left = max(deadline - time.monotonic(), 0.0)
            ready, _, _ = select.select([*reading, *files], writing, [], left)
            self._push()
            found = self._pull([r for r in ranks if self._peers[r] in ready])
            if found or not left or file in ready or (writing and not self.unsent):
                return found

    def _push(self) -> None:
        """Send what can be sent now."""
        for rank, parts in self._sending.items():
            try:
                while parts and next(parts[0], _THROUGH) is _THROUGH:
                    parts.popleft()
            except OSError:
                self._forget(rank)

    def _pull(self, ranks: Collection[int]) -> Words:
        """Read what these have sent: the words of those that are through."""
        found = []
        for rank in ranks:
            if rank not in self._receiving:
                self._receiving[rank] = self._receive(self._peers[rank])
            try:
                next(self._receiving[rank])
            except StopIteration as end:
                found.append((rank, end.value))
                del self._receiving[rank]
            except (OSError, ValueError):
                del self._receiving[rank]
                self._forget(rank)
        return found

    def _forget(self, rank: int) -> None:
        """Another one is lost."""
        self._sending[rank].clear()
        self._lost.add(rank)

    def _send(self, peer: socket.socket, word: bytes, spans: Spans) -> Iterator[None]:
        """Send a word and what is at these places, some of it at each turn."""
        parts: list[Any] = [_WORD.pack(word, len(spans)), *(_SPAN.pack(*span) for span in spans)]
        parts += [self._memory[start:end] for start, end in spans]
        for part in parts:
            rest = memoryview(part)
            while rest:
                try:
                    rest = rest[peer.send(rest) :]
                except BlockingIOError:
                    yield

    def _receive(self, peer: socket.socket) -> Generator[None, None, bytes]:
        """Put what another one has written at its place, some of it at each turn: its word. Errors:
        `ValueError` for a place that is none."""
        head = bytearray(_WORD.size)
        yield from _fill(peer, memoryview(head))
        word: bytes
        word, count = _WORD.unpack(head)
        table = bytearray(_SPAN.size * count)
        yield from _fill(peer, memoryview(table))
        for start, end in _SPAN.iter_unpack(table):
            if not 0 <= start <= end <= len(self._memory):
                raise ValueError(start, end)
            yield from _fill(peer, self._memory[start:end])
        return word

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
