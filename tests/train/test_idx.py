"""IDX files: as the format says, and named where they are not."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import FileError

KINDS = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def _idx(array: Any, kind: int | None = None, rank: int | None = None) -> bytes:
    code = KINDS[array.dtype.str[1:]] if kind is None else kind
    head = bytes([0, 0, code, array.ndim if rank is None else rank])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_arrays(dtype: str, packed: bool, tmp_path: Path) -> None:
    for shape in ((5,), (2, 3, 4), (0, 2), ()):
        array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
        data = _idx(array)
        path = tmp_path / "file"
        path.write_bytes(gzip.compress(data) if packed else data)
        np.testing.assert_array_equal(gc.train.read_idx(path), array, strict=True)


ARRAY = np.arange(24, dtype=np.uint8).reshape(4, 6)
BAD = {
    "nothing": b"",
    "short": b"\0\0\x08",
    "not zero": b"\1" + _idx(ARRAY)[1:],
    "an unknown dtype": _idx(ARRAY, kind=7),
    "sizes cut short": _idx(ARRAY)[:7],
    "more sizes than there are bytes": _idx(ARRAY, rank=60),
    "many axes": _idx(ARRAY, rank=255),
    "cut short": _idx(ARRAY)[:-1],
    "longer": _idx(ARRAY) + b"\0",
    "huge": bytes([0, 0, 8, 2]) + b"\xff" * 8,
    "gzip cut short": gzip.compress(_idx(ARRAY))[:-9],
    "gzip of noise": b"\x1f\x8b" + b"noise" * 9,
}


@pytest.mark.parametrize("data", BAD.values(), ids=list(BAD))
def test_what_is_no_such_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(data)
    with pytest.raises(FileError):
        gc.train.read_idx(path)


def test_no_more_memory_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 1]) + bytes(1 << 24)))
    with pytest.raises(FileError, match="more than 1"):
        gc.train.read_idx(path)
    path.write_bytes(_idx(ARRAY))
    with pytest.raises(FileError, match="at most 23 bytes"):
        gc.train.read_idx(path, limit=23)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="not a file"):
        gc.train.read_idx(tmp_path / "pipe")
