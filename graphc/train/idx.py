"""IDX files, the format of the MNIST images and labels: `read_idx`."""

from __future__ import annotations

import gzip
import math
import os
import stat
import zlib
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from graphc.errors import FileError
from graphc.keywords import answering

Array: TypeAlias = np.ndarray[Any, Any]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"


@answering
def read_idx(path: Any, limit: int = 1 << 31) -> Array:
    """The array of an IDX file, also of one that gzip has packed.

    Bytes in order: two of 0, one for the dtype, one for the rank, the sizes as big-endian 32-bit
    numbers, the elements in C order, big-endian.
    Dtypes: as in the file, uint8 for images and labels. Errors: `FileError` for what is no such
    file, is cut short or longer than it says, or has more than `limit` bytes of elements.
    Source: yann.lecun.com/exdb/mnist, "The IDX file format".
    """
    place = Path(path)
    found = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(found, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileError("not a file", op=str(place), expected="an IDX file")
        packed = file.read(2) == _GZIP
        file.seek(0)
        if not packed:
            return _read(file, str(place), limit)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(unpacked, str(place), limit)  # type: ignore[arg-type]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FileError(f"gzip cannot unpack it: {error}", op=str(place)) from None


def _read(file: BinaryIO, path: str, limit: int) -> Array:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES or head[3] > 64:
        raise FileError(
            "not an IDX file", op=path, expected="0, 0, a dtype, a rank", given=head.hex(" ")
        )
    dtype, rank = np.dtype(_DTYPES[head[2]]), head[3]
    sizes = file.read(4 * rank)
    shape = tuple(int(n) for n in np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4"))
    wanted = math.prod(shape) * dtype.itemsize
    if len(shape) != rank or wanted > limit:
        raise FileError(
            "the sizes are cut short" if len(shape) != rank else "more than the limit", op=path,
            expected=f"{rank} sizes" if len(shape) != rank else f"at most {limit} bytes",
            given=f"{len(shape)} sizes" if len(shape) != rank else f"{wanted} bytes",
        )  # fmt: skip
    data = _up_to(file, wanted + 1)
    if len(data) != wanted:
        raise FileError(
            "cut short" if len(data) < wanted else "longer than it says", op=path,
            expected=f"{wanted} bytes for the shape {shape}",
            given=f"{len(data)} bytes" if len(data) < wanted else f"more than {wanted}",
        )  # fmt: skip
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _up_to(file: BinaryIO, count: int) -> bytes:
    """What is left of the file, at most `count` bytes: memory for what is there, not for what the
    sizes say."""
    parts = []
    while count > 0 and (part := file.read(min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
