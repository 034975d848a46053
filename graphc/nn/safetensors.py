"""Files of named arrays in the safetensors format: they hold no code, and are written whole.

A file is the length of a header (8 bytes, little-endian), the header (JSON: for each name a dtype,
a shape, and from where to where its bytes are; `__metadata__` maps strings to strings), the bytes.
Source: the format as github.com/huggingface/safetensors states it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np

from graphc.errors import ArgumentError, FileError

Array: TypeAlias = np.ndarray[Any, Any]

DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1", "BF16": "<u2",
}  # fmt: skip
_NAMES = {np.dtype(code).newbyteorder("="): name for name, code in DTYPES.items() if name != "BF16"}
HEADER = 1 << 23  # bytes of a header at most: what it takes as objects of Python is many times that
RANK = 64  # of an array, NumPy's limit
METADATA = "__metadata__"


class Entry(NamedTuple):
    """Where a tensor lies in its file."""

    dtype: str
    shape: tuple[int, ...]
    start: int  # from the beginning of the file
    size: int


class TensorFile:
    """An open file, whose header has been checked: tensors are read one by one, when asked for.

    Errors: `FileError` for what is no such file; `OSError` for one that cannot be read.
    """

    def __init__(self, path: Any) -> None:
        self.path = Path(path)
        self._file: BinaryIO = _open(self.path)
        try:
            self.entries, self.metadata = _header(self._file, str(self.path))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str) -> Array:
        """The array of that name. bfloat16 is read as float32, which holds all of it."""
        entry = self.entries[name]
        self._file.seek(entry.start)
        data = self._file.read(entry.size)
        if len(data) != entry.size:
            raise FileError("the file became shorter while it was read", op=str(self.path))
        array: Array = np.frombuffer(data, DTYPES[entry.dtype]).reshape(entry.shape)
        if entry.dtype == "BF16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        if entry.dtype == "BOOL":
            return np.not_equal(array.view(np.uint8), 0)  # whatever the byte is
        return array.astype(array.dtype.newbyteorder("="), copy=False)


def read(path: Any) -> tuple[dict[str, Array], dict[str, str]]:
    """All arrays of a file, and its metadata. Errors: as `TensorFile`."""
    with TensorFile(path) as file:
        return {name: file.read(name) for name in file.entries}, file.metadata


def write(
    path: Any, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name: beside their place, synced, then renamed to it.

    Errors: `ArgumentError` for a dtype that the format lacks, or the name that it keeps to itself;
    `OSError` of the disk, after which the old file is as it was.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    # Large elements first, so that each array is aligned.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    end = 0
    for name, array in ordered:
        kind = _NAMES.get(array.dtype.newbyteorder("="))
        if kind is None or name == METADATA:
            raise ArgumentError(
                "safetensors cannot hold this", op=str(path),
                expected=f"{', '.join(_NAMES.values())}", given=f"{name!r} of dtype {array.dtype}",
            )  # fmt: skip
        place = [end, end + array.nbytes]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": place}
        end = place[1]
    text = json.dumps(header, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER:
        raise ArgumentError(
            "too much to say of the arrays", op=str(path), expected=f"a header of {HEADER} bytes",
            given=f"{len(text)} bytes",
        )  # fmt: skip
    parts = (np.ascontiguousarray(a).astype(a.dtype.newbyteorder("<")) for _, a in ordered)
    replace(path, itertools.chain([len(text).to_bytes(8, "little"), text], map(_bytes, parts)))


def _bytes(array: Array) -> Any:
    return array.reshape(-1).view(np.uint8).data if array.size else b""


# -- reading ---------------------------------------------------------------------------------------
def _open(path: Path) -> BinaryIO:
    """Opened only if it is a file: a pipe would wait for ever."""
    try:
        found = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:  # a NUL in it
        raise FileError(f"not a path: {error}", op=ascii(str(path))[:200]) from None
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise FileError("not a file", op=str(path), expected="a file of safetensors")
    return os.fdopen(found, "rb")


def _header(file: BinaryIO, path: str) -> tuple[dict[str, Entry], dict[str, str]]:
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(size - 8, HEADER):
        raise FileError(
            "not a file of safetensors, or it is cut short", op=path,
            expected=f"a header of at most {max(min(size - 8, HEADER), 0)} bytes",
            given=f"{size} bytes, which say {length}",
        )  # fmt: skip
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise FileError(
            f"the header is no JSON: {str(error)[:200]}", op=path, expected="a file of safetensors"
        ) from None
    if not isinstance(header, dict):
        raise FileError("the header is no object", op=path, given=type(header).__name__)
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FileError("the metadata are no strings", op=path)
    entries = {name: _entry(path, name, given, 8 + length) for name, given in header.items()}
    _check_places(path, entries, 8 + length, size)
    return entries, metadata


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _entry(path: str, name: str, given: Any, start: int) -> Entry:
    """Errors: `FileError` for what is no description of a tensor."""
    fields = ("dtype", "shape", "data_offsets")
    if not isinstance(given, dict) or set(given) != set(fields):
        raise _bad(path, name, given, "a dtype, a shape and offsets")
    dtype, shape, offsets = (given[f] for f in fields)
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _bad(path, name, dtype, f"a dtype of {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > RANK:
        raise _bad(path, name, shape, f"at most {RANK} sizes")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise _bad(path, name, offsets, "two offsets")
    size = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != size:
        raise _bad(path, name, offsets, f"{size} bytes")
    return Entry(dtype, tuple(shape), start + offsets[0], size)


def _are_sizes(given: Any) -> bool:
    return isinstance(given, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in given)


def _bad(path: str, name: str, given: Any, expected: str) -> FileError:
    return FileError(
        f"what the header says of {name[:80]!r} is wrong", op=path, expected=expected,
        given=repr(given)[:80],
    )  # fmt: skip


def _check_places(path: str, entries: Mapping[str, Entry], start: int, end: int) -> None:
    """The tensors fill the rest of the file, each byte once."""
    at = start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].size)):
        if entry.start != at:
            raise _bad(path, name, f"bytes from {entry.start} on", f"bytes from {at} on")
        at += entry.size
    if at != end:
        raise FileError(
            "the file is cut short" if at > end else "more is in the file than it says",
            op=path, expected=f"{at} bytes", given=f"{end} bytes",
        )  # fmt: skip


# -- writing ---------------------------------------------------------------------------------------
_numbers = itertools.count()


def replace(path: Any, parts: Iterable[Any]) -> None:
    """Write bytes to a file beside `path`, sync them, rename it to `path`, sync the directory.

    Whenever the process or the machine ends, `path` is the old file or all of the new. What writers
    left that were killed is removed.
    """
    target = Path(os.path.realpath(path))
    for left in _left(target):
        with contextlib.suppress(OSError):
            left.unlink()
    beside = target.parent / f".{target.name}.{os.getpid()}-{next(_numbers)}.part"
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(file, "wb") as out:
            for part in parts:
                out.write(part)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _left(target: Path) -> Iterator[Path]:
    """Unfinished files of `target` whose writers are dead."""
    form = re.compile(re.escape(f".{target.name}.") + r"(\d+)-\d+\.part")
    with contextlib.suppress(OSError):
        for found in target.parent.iterdir():
            match = form.fullmatch(found.name)
            if match and not _is_alive(int(match[1])):
                yield found


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
