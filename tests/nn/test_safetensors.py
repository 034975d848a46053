"""Files of safetensors: what is written is read, as the format says; all else is named."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, FileError
from graphc.nn import safetensors

RNG = np.random.default_rng(3)
ARRAYS: dict[str, Any] = {
    "kernel": RNG.normal(size=(2, 3)).astype(np.float32),
    "scalar": np.float64(-0.0).reshape(()),
    "empty": np.empty((0, 4), np.int16),
    "odd": np.arange(3, dtype=np.uint8),
    "flags": np.array([True, False]),
    'a name "with" \n all/of ../it é': np.array([np.nan, np.inf], np.float16),
    "big": np.array([1, 2], ">i8"),
}


def _file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.write(path, ARRAYS, {"about": "ünïcode"})
    found, metadata = safetensors.read(path)
    assert metadata == {"about": "ünïcode"}
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_the_format(tmp_path: Path) -> None:
    """Read by the format's own words, not by what wrote it."""
    path = tmp_path / "a.safetensors"
    safetensors.write(path, {"b": np.arange(3, dtype=np.int8), "a": np.ones(2, np.float32)})
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length])
    assert header == {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "I8", "shape": [3], "data_offsets": [8, 11]},
    }
    assert data[8 + length :] == struct.pack("<2f3b", 1, 1, 0, 1, 2)


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    data = np.float32([1.5, -2.0]).view(np.uint32) >> 16
    header = {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    path.write_bytes(_file(header, data.astype("<u2").tobytes()))
    np.testing.assert_array_equal(safetensors.read(path)[0]["w"], np.float32([1.5, -2.0]))


def _w(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


BAD = {
    "nothing": b"",
    "short": b"\x05\0\0",
    "a length beyond the file": _file({}, length=1 << 60),
    "a negative length": _file({}, length=(1 << 64) - 1),
    "no JSON": _file(b"{'w': 1}"),
    "no UTF-8": _file(b"\xff\xfe{}"),
    "deep": _file(b"[" * 100_000),
    "a long number": _file(b'{"w": ' + b"9" * 10_000 + b"}"),
    "a list": _file([1, 2]),
    "twice": _file(b'{"w": {}, "w": {}}'),
    "metadata of numbers": _file({"__metadata__": {"a": 1}}),
    "metadata of a list": _file({"__metadata__": []}),
    "no dictionary": _file({"w": 3}),
    "another field": _file(_w(more=1), bytes(8)),
    "a missing field": _file({"w": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "an unknown dtype": _file(_w(dtype="F80"), bytes(8)),
    "a dtype of another kind": _file(_w(dtype=["F32"]), bytes(8)),
    "a negative size": _file(_w(shape=[-2]), bytes(8)),
    "a size that is true": _file(_w(shape=[True, 2]), bytes(8)),
    "a size of another kind": _file(_w(shape=[2.0]), bytes(8)),
    "a huge size": _file(_w(shape=[1 << 61]), bytes(8)),
    "sizes that overflow": _file(_w(shape=[1 << 40, 1 << 40], data_offsets=[0, 0]), b""),
    "too many axes": _file(_w(shape=[1] * 65, data_offsets=[0, 4]), bytes(4)),
    "offsets the wrong way": _file(_w(data_offsets=[8, 0]), bytes(8)),
    "offsets of three": _file(_w(data_offsets=[0, 4, 8]), bytes(8)),
    "bytes of another number": _file(_w(data_offsets=[0, 4]), bytes(4)),
    "a hole": _file(_w(data_offsets=[4, 12]), bytes(12)),
    "cut short": _file(_w(), bytes(7)),
    "longer": _file(_w(), bytes(9)),
    "one over the other": _file(_w() | {"v": _w()["w"]}, bytes(8)),
}


@pytest.mark.parametrize("data", BAD.values(), ids=list(BAD))
def test_what_is_no_such_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(FileError, match=r"bad\.safetensors"):
        safetensors.read(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(FileError, match="not a file"):
            safetensors.read(path)
    with pytest.raises(FileError, match="not a path"):
        safetensors.read("a\0b")
    with pytest.raises(FileNotFoundError):
        safetensors.read(tmp_path / "none")


def test_what_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.write(path, {"w": np.ones(2)})
    for bad in ({"w": np.ones(2, complex)}, {"__metadata__": np.ones(2)}):
        with pytest.raises(ArgumentError, match="cannot hold this"):
            safetensors.write(path, bad)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            safetensors.write(path, {"w": np.zeros(2)})
    np.testing.assert_array_equal(safetensors.read(path)[0]["w"], np.ones(2))
    (tmp_path / ".a.safetensors.999999999-0.part").write_bytes(b"left by the dead")
    (tmp_path / "other.part").write_bytes(b"of somebody else")
    (tmp_path / "link").symlink_to(path)
    safetensors.write(tmp_path / "link", {"w": np.zeros(2)})
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors", "link", "other.part"]
    assert (tmp_path / "link").is_symlink()
    np.testing.assert_array_equal(safetensors.read(path)[0]["w"], np.zeros(2))


def test_weights_by_path(tmp_path: Path) -> None:
    def model(seed: int, name: str = "net") -> gc.nn.Sequential:
        layers = [gc.nn.Dense(3, seed=seed), gc.nn.Dropout(0.5), gc.nn.Dense(2, seed=seed + 1)]
        return gc.nn.Sequential(layers, name=name)

    one, other, path = model(0).init(("n", 4)), model(5).init(("n", 4)), tmp_path / "w"
    with pytest.raises(ArgumentError, match="no variables before its first call"):
        model(1).save_weights(path)
    one.save_weights(path)
    other.load_weights(path)
    before = one.state_dict()
    assert "net/dense1/kernel" in before
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, before[name], strict=True)
    before["net/dense1/kernel"][:] = 0  # a copy
    assert other.state_dict()["net/dense1/kernel"].any()

    changed = dict(other.state_dict())
    del changed["net/dense1/bias"]
    changed["more"], changed["net/dense2/bias"] = np.ones(1), np.ones(7)
    safetensors.write(path, changed)
    errors: list[tuple[Any, Any]] = [
        (FileError, lambda: other.load_weights(path)),
        (ArgumentError, lambda: other.load_state_dict(changed)),
    ]
    for kind, load in errors:
        with pytest.raises(kind, match="1 missing; 1 unknown; 1 of another shape") as caught:
            load()
        for part in ("missing: net/dense1/bias", "unknown: more", "net/dense2/bias: (7,) for (2,)"):
            assert part in str(caught.value)
    with pytest.raises(FileError, match="1 of another shape"):
        other.load_weights(path, strict=False)
    for name, value in one.state_dict().items():  # nothing was assigned
        np.testing.assert_array_equal(other.state_dict()[name], value)
    del changed["net/dense2/bias"]
    other.load_state_dict(changed, strict=False)
    with pytest.raises(gc.errors.DTypeError, match="net/dense1/bias"):
        other.load_state_dict(
            {"net/dense2/bias": [9.0, 9.0], "net/dense1/bias": [1e300] * 3}, strict=False
        )
    assert not (other.state_dict()["net/dense2/bias"] == 9).any()
