"""A store of compiled objects on disk, which costs time when it fails and never correctness.

Programs are kept, and their kernels one by one, so that another program compiles only what is new.
You make a key from everything the object depends on (`make_key`, with `environment_parts` for what
all programs share), and `load` it or `store` it. An entry is one file, written beside its place,
synced and renamed, so that readers see all of it or nothing. Whatever is wrong with an entry, the
directory or the disk, `load` returns None and `store` does nothing; a `CacheWarning` says so once
per process and reason. (Only a filter of the user's own turns that warning into an exception.)

An entry, little-endian:

    magic 8 | format version u32 | key 32 | length of manifest u64 | length of object u64
    | SHA-256 of everything else 32 | manifest, JSON | object

The hash finds damage; it is no signature. Against forgery stands the directory: one that another
user owns or can write is refused, and so is an entry of another user. Nothing read is executed or
unpickled before these checks.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import platform
import re
import stat
import struct
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphc import config
from graphc.errors import ArgumentError, CacheWarning
from graphc.ir import origin

Manifest = dict[str, Any]

FORMAT_VERSION = 1
_MAGIC = b"graphc\r\n"  # a transfer that changes line ends breaks it at once
_HEAD = struct.Struct("<8sI32sQQ")
_DIGEST_SIZE = 32
_MAX_ENTRY = 256 << 20
_DEFAULT_LIMIT = 1 << 30

# Kinds of entries, by which their files end. One of FORM says which program serves all graphs that
# differ in numbers; SPEED is what `gc.machine()` measured.
PROGRAM, KERNEL, FORM, SPEED = "graphc", "graphc-kernel", "graphc-form", "graphc-speed"
_ENTRY_NAME = re.compile(rf"[0-9a-f]{{64}}\.(?:{PROGRAM}|{KERNEL}|{FORM}|{SPEED})")
_TEMP_NAME = re.compile(r"tmp-(\d+)-[0-9a-f]{16}")
_TEMP_LIFETIME = 3600.0  # seconds; no write takes so long

# Packages whose version decides what code is generated.
_COMPILED_WITH = ("numpy", "numba", "llvmlite", "sympy", "scipy")

# Reasons that were warned of. `setdefault` is atomic, so no lock, which a fork could leave held.
_warned: dict[str, object] = {}


def load(key: str, kind: str = PROGRAM) -> tuple[Manifest, bytes] | None:
    """The manifest and the object stored under `key` in the user's cache, or None."""
    settings = config.cache()
    return Cache(settings.directory, kind=kind).load(key) if settings.enabled else None


def store(key: str, manifest: Manifest, obj: bytes, kind: str = PROGRAM) -> None:
    """Keep an object and its manifest under `key` in the user's cache, if that is possible."""
    settings = config.cache()
    if settings.enabled:
        Cache(settings.directory, kind=kind).store(key, manifest, obj)


@dataclass(frozen=True)
class Cache:
    """A cache in one directory, of about `limit` bytes at most; least recently used goes first.

    The manifest must survive JSON: dicts with string keys, lists, strings, numbers, bools, None.
    Only programs are synced: a crash of the machine may damage other entries, which are many and
    small, and that is found as any damage is.
    Errors: ArgumentError for a key that is not 64 hex digits.
    """

    directory: Path
    limit: int = _DEFAULT_LIMIT
    kind: str = PROGRAM

    def load(self, key: str) -> tuple[Manifest, bytes] | None:
        path = self._path(key)
        try:
            if not self._is_safe(self.directory):
                return None
            data = _read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None  # a miss; where no directory can be made, `store` says so
        except OSError as error:
            _warn("unreadable", f"the entry {path} cannot be read: {error}")
            return None
        entry = None if data is None else _unseal(key, data)
        if entry is None:
            _warn("damaged", f"the entry {path} is damaged or not graphc's; it is made anew")
            return None
        # The time of last use, which decides what goes first. A read-only cache keeps none.
        with contextlib.suppress(OSError):
            os.utime(path)
        return entry

    def store(self, key: str, manifest: Manifest, obj: bytes) -> None:
        path = self._path(key)
        data = _seal(key, manifest, obj)
        if len(data) > min(_MAX_ENTRY, self.limit):
            return
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_safe(self.directory):
                return
            _write(path, data, sync=self.kind == PROGRAM)
            _sweeper(self.directory).wrote(len(data), self.limit)
        except OSError as error:
            _warn("unwritable", f"nothing can be stored in {self.directory}: {error}")

    def sweep(self) -> None:
        """Remove what killed writers left, then the least recently used entries over the limit."""
        entries = []
        now = time.time()
        for name, info in _files(self.directory):
            if _is_stale(name, info.st_mtime, now):
                _remove(self.directory / name)
            elif _ENTRY_NAME.fullmatch(name):
                entries.append((info.st_mtime_ns, name, info.st_size))
        excess = sum(size for _, _, size in entries) - self.limit
        for _, name, size in sorted(entries):
            if excess <= 0:
                break
            _remove(self.directory / name)
            excess -= size

    def entries(self) -> list[tuple[str, int]]:
        """The files of all entries of any kind, and their bytes."""
        try:
            found = [(n, i.st_size) for n, i in _files(self.directory) if _ENTRY_NAME.fullmatch(n)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found)

    def clear(self) -> int:
        """Remove all entries, and nothing else; how many there were."""
        names = [name for name, _ in self.entries()]
        for name in names:
            _remove(self.directory / name)
        return len(names)

    def verify(self) -> list[str]:
        """The files of entries that are damaged, or cannot be read."""
        return [name for name, _ in self.entries() if not self._is_whole(name)]

    def _is_whole(self, name: str) -> bool:
        try:
            data = _read(self.directory / name)
        except OSError:
            return False
        return data is not None and _unseal(name.partition(".")[0], data) is not None

    def _path(self, key: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", key):  # it becomes part of a path
            raise ArgumentError(
                "not the key of a cache entry",
                op="cache",
                expected="64 hex digits, as make_key returns them",
                given=repr(key[:80]),
            )
        return self.directory / f"{key}.{self.kind}"

    @staticmethod
    def _is_safe(directory: Path) -> bool:
        """Whether nobody else can have put files there; warns where somebody can."""
        if os.name != "posix":
            return True
        info = directory.stat()
        if info.st_uid != os.geteuid():
            problem = f"belongs to user {info.st_uid}, not to {os.geteuid()}"
        elif info.st_mode & 0o022:
            problem = "can be written by other users (chmod go-w would do)"
        else:
            return True
        _warn("unsafe", f"the directory {directory} is not used: it {problem}")
        return False


def make_key(parts: Mapping[str, str | bytes]) -> str:
    """A key, 64 hex digits, that changes with every name and every value of `parts`.

    The order of the mapping does not matter. Every piece is hashed with its length in front, so
    that no two can run together, and with its kind: "1" and b"1" differ.
    """
    digest = hashlib.sha256()
    for name in sorted(parts):
        value = parts[name]
        kind = b"s" if isinstance(value, str) else b"b"
        for piece in (_bytes(name), kind, _bytes(value)):
            digest.update(len(piece).to_bytes(8, "little"))
            digest.update(piece)
    return digest.hexdigest()


def environment_parts() -> dict[str, str]:
    """The parts of a key that all programs of this process share: who compiles, and where.

    graphc (its version and its source files), Python, the packages code is generated with, and the
    platform. What the target adds (the name and features of the CPU) is up to the caller.
    """
    return dict(_environment())


@functools.cache
def _environment() -> dict[str, str]:
    package = sys.modules[__name__.partition(".")[0]]
    source = Path(__file__).parent.parent
    parts = {
        "format": str(FORMAT_VERSION),
        "graphc": str(getattr(package, "__version__", "")),
        "graphc.sources": _digest_of_sources(source),
        "python": f"{sys.implementation.name} {sys.version}",
        "platform": f"{sys.platform} {platform.machine()} {8 * struct.calcsize('P')} bits "
        f"{sys.byteorder}-endian",
    }
    return parts | {name: _installed_version(name) for name in _COMPILED_WITH}


def _digest_of_sources(package: Path) -> str:
    """A digest of the name, size and time of change of every Python file below `package`."""
    found = []
    root = str(package)
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        folders.append(entry.path)
                elif entry.name.endswith(".py"):
                    info = entry.stat()
                    name = entry.path[len(root) :]
                    found.append(f"{name} {info.st_size} {info.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(found)).encode(errors="surrogateescape")).hexdigest()


def _installed_version(name: str) -> str:
    """The version of an installed package, without importing it; "" where there is none.

    It is in the name of the folder of metadata beside the package: 0.1 ms, where
    `importlib.metadata` takes 20 ms for its import alone.
    """
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module somebody put into sys.modules without a spec
        return ""
    if spec is None or not spec.submodule_search_locations:
        return ""
    metadata = re.compile(re.escape(name) + r"-(.+)\.(?:dist|egg)-info", re.IGNORECASE)
    beside = _names_in(os.path.dirname(next(iter(spec.submodule_search_locations))))
    # All of them: an upgrade can leave the old folder behind.
    if versions := [match[1] for file in beside if (match := metadata.fullmatch(file))]:
        return " ".join(versions)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@functools.cache
def _names_in(directory: str) -> tuple[str, ...]:
    return tuple(sorted(os.listdir(directory)))


def _seal(key: str, manifest: Manifest, obj: bytes) -> bytes:
    text = json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode()
    head = _HEAD.pack(_MAGIC, FORMAT_VERSION, bytes.fromhex(key), len(text), len(obj))
    return b"".join((head, _digest(head, text, obj), text, obj))


def _unseal(key: str, data: bytes) -> tuple[Manifest, bytes] | None:
    """The manifest and the object in an entry's bytes, or None if anything at all is wrong."""
    start = _HEAD.size + _DIGEST_SIZE
    if len(data) < start:
        return None
    head, digest = data[: _HEAD.size], data[_HEAD.size : start]
    magic, version, key_inside, text_length, object_length = _HEAD.unpack(head)
    if (magic, version, key_inside) != (_MAGIC, FORMAT_VERSION, bytes.fromhex(key)):
        return None
    if len(data) != start + text_length + object_length:
        return None
    text, obj = data[start : start + text_length], data[start + text_length :]
    if _digest(head, text, obj) != digest:
        return None
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):  # a forged entry can have the right hash
        return None
    return (manifest, obj) if isinstance(manifest, dict) else None


def _digest(*pieces: bytes) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _read(path: Path) -> bytes | None:
    """The bytes of an entry; None for what cannot be one: a pipe, another user's, too large."""
    # Without O_NONBLOCK, opening a pipe that somebody put there would wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_ENTRY:
            return None
        if os.name == "posix" and info.st_uid != os.geteuid():
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_MAX_ENTRY + 1)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, sync: bool) -> None:
    """Put `data` at `path` so that a reader finds all of it or what was there before. `sync`: even
    after a crash of the machine, which could leave the new name on an empty file."""
    temp = path.parent / f"tmp-{os.getpid()}-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temp, flags, 0o600)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temp, path)
    except BaseException:
        _remove(temp)
        raise


class _Sweeper:
    """When this process sweeps a directory: at its first write, then each sixteenth of the limit.

    So the limit may be passed by a sixteenth for every process that writes.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._written: float = float("inf")

    def wrote(self, size: int, limit: int) -> None:
        self._written += size
        if self._written > limit / 16:
            self._written = 0
            Cache(self.directory, limit).sweep()


@functools.cache
def _sweeper(directory: Path) -> _Sweeper:
    return _Sweeper(directory)


def _files(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The files of a directory with what `stat` says; one that another process removes is left."""
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    yield entry.name, entry.stat(follow_symlinks=False)


def _is_stale(name: str, changed: float, now: float) -> bool:
    """Whether a file is a temporary one whose writer is gone.

    A writer on another machine (a shared directory) can look gone: its rename then fails, and its
    entry is not stored.
    """
    match = _TEMP_NAME.fullmatch(name)
    if not match:
        return False
    return now - changed > _TEMP_LIFETIME or not _is_alive(int(match[1]))


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # os.kill would end it there; such files go by age
    try:
        with contextlib.suppress(PermissionError):  # it lives, and is another user's
            os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # no process, or no number of one
        return False
    return True


def _remove(path: Path) -> None:
    # Another process may have removed it, or a read-only disk may keep it.
    with contextlib.suppress(OSError):
        os.unlink(path)


def _warn(reason: str, message: str) -> None:
    mark = object()
    if _warned.setdefault(reason, mark) is mark:
        message = f"graphc's cache: {message}"
        if place := origin.here():
            warnings.warn_explicit(message, CacheWarning, place[0].file, place[0].line)
        else:
            warnings.warn(message, CacheWarning, stacklevel=4)


def _bytes(text: str | bytes) -> bytes:
    return text.encode(errors="surrogatepass") if isinstance(text, str) else text
