"""The workers of one machine as each of them sees the others: sockets, and memory that all share.

Every two workers are connected by a Unix socket without a name in any folder. A word is a byte; to
meet is to send one to all others and to read one of each: who dies closes his sockets, so the
others know at once, and who hangs is noticed when the limit is over. The memory is a file without a
name, which the first worker makes and hands to the others through their sockets. So whatever is
killed, nothing is left behind.
"""

from __future__ import annotations

import mmap
import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

_HELLO = struct.Struct("<qq")  # the number of the group, the rank of who speaks
Span = tuple[int, int]  # where bytes begin and end
Spans = Sequence[Span]
Apart = Mapping[int, Spans]  # of each rank
Words = list[tuple[int, bytes]]  # who says something, and what
NOTHING: Apart = MappingProxyType({})
_CREDENTIALS = struct.Struct("3i")  # process, user, group: what Linux says of who is connected


class Lost(Exception):  # noqa: N818  (it is caught here: the workers that are left go on)
    """Some of the others do not answer any more: their ranks."""

    def __init__(self, ranks: Sequence[int]) -> None:
        super().__init__(*ranks)
        self.ranks = tuple(ranks)


class Exchange(Protocol):
    """What workers share: memory, and words. The last of them are servers, if any."""

    rank: int
    size: int
    limit: float  # seconds that a step may take

    def memory(self, count: int) -> Any:
        """So many bytes that all of them see, zeros at first."""

    def meet(self, written: Spans = (), apart: Apart = NOTHING) -> None:
        """Wait until all are here; then all see what each has written at these places, and some
        what was written for them."""

    def say(self, word: bytes, written: Spans = (), apart: Apart = NOTHING) -> None:
        """Send a byte to all others, who see what was written once they hear it. What is not sent
        yet, to those in `unsent`, goes on its way while words are waited for. Errors: `Lost`."""

    def tell(self, rank: int, word: bytes, written: Spans = ()) -> None:
        """The same for one of them."""

    @property
    def unsent(self) -> Collection[int]: ...

    def words(self, ranks: Collection[int], file: int | None, seconds: float) -> Words:
        """Wait until one of these has said something, a file can be read or the time is over: what
        they have said, one word of each at most. Errors: `Lost`."""


def heard(exchange: Exchange, ranks: Collection[int]) -> Words:
    """What some of these have said. Errors: `Lost` if none does within the limit."""
    deadline = time.monotonic() + exchange.limit
    while not (found := exchange.words(ranks, None, max(deadline - time.monotonic(), 0.0))):
        if time.monotonic() >= deadline:
            raise Lost(list(ranks))
    return sorted(found)


class Door:
    """Where a worker is reached. Its name is a secret of those who are told it."""

    def __init__(self) -> None:
        self.name = f"graphc-{secrets.token_hex(16)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.bind(f"\0{self.name}")
        self._socket.listen(1024)

    def accept(self, number: int, deadline: float) -> tuple[int, socket.socket]:
        """The rank and the socket of one who knocks for the group of that number; others are those
        of groups that are no more. Errors: `TimeoutError`."""
        while True:
            self._socket.settimeout(left_until(deadline))
            other, _ = self._socket.accept()
            try:
                seen = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                other.settimeout(left_until(deadline))
                group, rank = _HELLO.unpack(receive(other, _HELLO.size))
                if group == number and _CREDENTIALS.unpack(seen)[1] == os.getuid():
                    return rank, other
            except ConnectionError:
                pass
            other.close()

    def close(self) -> None:
        self._socket.close()


class Group:
    """A worker among others, `rank` of `size`. `number` tells groups apart that follow each other.

    Errors: `Lost` if the others do not come within `start` seconds.
    """

    def __init__(
        self, door: Door, names: Sequence[str], rank: int, number: int, start: float, step: float
    ) -> None:
        self.rank, self.size, self.limit = rank, len(names), step
        self._peers = connected(door.accept, _knock, names, rank, number, start)

    def meet(self, written: Spans = (), apart: Apart = NOTHING) -> None:
        """Wait until all are here; what one has written all see anyhow. Errors: `Lost`, with all
        who are known to be."""
        deadline = time.monotonic() + self.limit
        lost = []
        for rank, peer in self._peers.items():
            try:
                peer.sendall(b".")
            except OSError:
                lost.append(rank)
        for rank, peer in self._peers.items():
            try:
                peer.settimeout(left_until(deadline))
                receive(peer, 1)
            except OSError:
                lost.append(rank)
        if lost:
            raise Lost(sorted(set(lost)))

    unsent: Collection[int] = ()

    def say(self, word: bytes, written: Spans = (), apart: Apart = NOTHING) -> None:
        """Send a byte to all others. Errors: `Lost`."""
        for rank in self._peers:
            self.tell(rank, word)

    def words(self, ranks: Collection[int], file: int | None, seconds: float) -> Words:
        """What some of these have said, a byte of each at most, once they have or a file can be
        read. Errors: `Lost`."""
        files = {self._peers[rank].fileno(): rank for rank in ranks}
        ready, _, _ = select.select([*files, *([] if file is None else [file])], [], [], seconds)
        return [(files[f], self.hear(files[f])) for f in ready if f != file]

    def tell(self, rank: int, word: bytes, written: Spans = ()) -> None:
        """Send a byte to one of them. Errors: `Lost`."""
        _or_lost(rank, self._peers[rank].sendall, word)

    def hear(self, rank: int) -> bytes:
        """A byte of one of them. Errors: `Lost`."""
        peer = self._peers[rank]
        peer.settimeout(self.limit)
        word: bytes = _or_lost(rank, receive, peer, 1)
        return word

    def memory(self, count: int) -> Any:
        """So many bytes that all of them see. Errors: `Lost`; `OSError` where memory is short."""
        deadline = time.monotonic() + self.limit
        if self.rank == 0:
            handle = os.memfd_create("graphc", os.MFD_CLOEXEC)
            try:
                os.posix_fallocate(handle, 0, max(count, 1))  # an error now, not a signal later
                for rank, peer in self._peers.items():
                    _or_lost(rank, socket.send_fds, peer, [b"m"], [handle])
                return mmap.mmap(handle, max(count, 1))
            finally:
                os.close(handle)
        first = self._peers[0]
        first.settimeout(left_until(deadline))
        message, handles, _, _ = _or_lost(0, socket.recv_fds, first, 1, 1)
        if message != b"m" or not handles:
            raise Lost([0])
        try:
            return mmap.mmap(handles[0], max(count, 1))
        finally:
            os.close(handles[0])

    def close(self) -> None:
        for peer in self._peers.values():
            peer.close()


Accept = Callable[[int, float], tuple[int, socket.socket]]  # as `Door.accept`
Knock = Callable[[str, int, int, float], socket.socket]  # at a name, for a group, by a rank, until


def connected(
    accept: Accept, knock: Knock, names: Sequence[str], rank: int, number: int, start: float
) -> dict[int, socket.socket]:
    """The sockets of all others, by their ranks: those of lower rank are knocked at, the others
    come. Errors: `Lost` if they do not within `start` seconds."""
    peers: dict[int, socket.socket] = {}
    deadline = time.monotonic() + start
    try:
        for other in range(rank):
            peers[other] = knock(names[other], number, rank, deadline)
        while len(peers) < len(names) - 1:
            other, peer = accept(number, deadline)
            peers[other] = peer
    except OSError:  # TimeoutError is one
        for peer in peers.values():
            peer.close()
        missing = [r for r in range(len(names)) if r != rank and r not in peers]
        raise Lost(missing) from None
    return peers


def _or_lost(rank: int, call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except OSError:
        raise Lost([rank]) from None


def _knock(name: str, number: int, rank: int, deadline: float) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        peer.settimeout(left_until(deadline))
        peer.connect(f"\0{name}")
        peer.sendall(_HELLO.pack(number, rank))
    except BaseException:
        peer.close()
        raise
    return peer


def receive(peer: socket.socket, count: int) -> bytes:
    """So many bytes. Errors: `ConnectionError` if the other side is closed."""
    data = b""
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            raise ConnectionResetError("closed")
        data += part
    return data


def left_until(deadline: float) -> float:
    """Seconds until then. Errors: `TimeoutError`."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
