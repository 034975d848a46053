"""The cache of compiled objects: damage, kills, full disks and rivals cost nothing but time."""

from __future__ import annotations

import errno
import os
import random
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from graphc.errors import ArgumentError, CacheWarning
from graphc.runtime import cache
from graphc.runtime.cache import Cache, make_key
from tests.properties.rows.killed import kill_writers

KEY = make_key({"graph": "one"})
OTHER = make_key({"graph": "two"})
MANIFEST = {"sizes": [1, 2], "name": "é\n", "nested": {"t": True, "none": None, "x": 0.1}}
OBJECT = bytes(range(64))


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """Every test starts as a process does: nothing warned of, nothing swept."""
    cache._warned.clear()
    cache._sweeper.cache_clear()
    yield
    cache._warned.clear()


@pytest.fixture
def store(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def entry(store: Cache, key: str = KEY) -> Path:
    return store.directory / f"{key}.graphc"


def filled(store: Cache) -> bytes:
    """The bytes of the one small entry, stored under KEY."""
    store.store(KEY, MANIFEST, OBJECT)
    return entry(store).read_bytes()


def misses(store: Cache, data: bytes) -> bool:
    """Whether an entry of these bytes loads as nothing. Anything but a miss or the truth fails."""
    entry(store).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        loaded = store.load(KEY)
    return loaded is None


@contextmanager
def one_warning(match: str = "") -> Iterator[None]:
    """Whatever the block does, it warns exactly once, with a CacheWarning that says `match`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [w.category for w in caught] == [CacheWarning]
    assert match in str(caught[0].message)


def temporary_files(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.startswith("tmp-")]


# What is kept


def test_round_trip(store: Cache) -> None:
    assert store.load(KEY) is None
    for manifest, obj in ((MANIFEST, OBJECT), ({}, b""), ({"n": 2**70}, os.urandom(300_000))):
        store.store(KEY, manifest, obj)
        assert store.load(KEY) == (manifest, obj)
    assert store.load(OTHER) is None
    assert [path.name for path in store.directory.iterdir()] == [f"{KEY}.graphc"]


def test_files_are_private(store: Cache) -> None:
    previous = os.umask(0)
    try:
        filled(store)
    finally:
        os.umask(previous)
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert entry(store).stat().st_mode & 0o777 == 0o600


def test_the_users_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "here"))
    monkeypatch.delenv("GRAPHC_CACHE", raising=False)
    cache.store(KEY, MANIFEST, OBJECT)
    assert cache.load(KEY) == (MANIFEST, OBJECT)
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    assert cache.load(KEY) is None
    cache.store(OTHER, MANIFEST, OBJECT)
    assert [path.name for path in (tmp_path / "here").iterdir()] == [f"{KEY}.graphc"]


@pytest.mark.parametrize("key", ["", "../" + KEY[3:], KEY.upper(), KEY + "0", KEY[:-1], KEY + "\n"])
def test_only_a_key_of_make_key_becomes_a_path(store: Cache, key: str) -> None:
    with pytest.raises(ArgumentError, match="64 hex digits"):
        store.load(key)
    with pytest.raises(ArgumentError, match="64 hex digits"):
        store.store(key, {}, b"")


# What is damaged


def test_every_truncation_is_a_miss(store: Cache) -> None:
    data = filled(store)
    assert all(misses(store, data[:length]) for length in range(len(data)))
    assert all(misses(store, data + extra) for extra in (b"\0", b"x" * 100, data))
    assert not misses(store, data)


def test_every_bit_flip_is_a_miss(store: Cache) -> None:
    data = filled(store)
    bits = random.Random(0).sample(range(8 * len(data)), 1000)
    for bit in bits:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert misses(store, bytes(damaged)), f"bit {bit} of {8 * len(data)}"


def test_without_the_hash_the_flips_would_be_seen(
    store: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: with the check planted off, damage gets through."""
    monkeypatch.setattr(cache, "_digest", lambda *pieces: bytes(32))
    data = bytearray(filled(store))
    data[-1] ^= 1
    assert not misses(store, bytes(data))


def test_foreign_files_are_misses(store: Cache) -> None:
    data = filled(store)
    for foreign in (b"", b"\x7fELF" + bytes(500), b"{}", os.urandom(4096), bytes(len(data))):
        assert misses(store, foreign)
    # A right hash over a wrong version, a wrong key, or a manifest that is none.
    for version, key, text in (
        (cache.FORMAT_VERSION + 1, KEY, b"{}"),
        (cache.FORMAT_VERSION, OTHER, b"{}"),
        (cache.FORMAT_VERSION, KEY, b"[]"),
        (cache.FORMAT_VERSION, KEY, b"{"),
        (cache.FORMAT_VERSION, KEY, b"\xff"),
        (cache.FORMAT_VERSION, KEY, b"[" * 100_000),
        (cache.FORMAT_VERSION, KEY, b'{"n": ' + b"9" * 5000 + b"}"),
    ):
        head = cache._HEAD.pack(cache._MAGIC, version, bytes.fromhex(key), len(text), 0)
        assert misses(store, head + cache._digest(head, text, b"") + text)
    huge = struct.pack("<8sI32sQQ", cache._MAGIC, 1, bytes.fromhex(KEY), 2**64 - 1, 2**64 - 1)
    assert misses(store, huge + bytes(100))


def test_an_entry_moved_to_another_key_is_a_miss(store: Cache) -> None:
    filled(store)
    os.rename(entry(store), entry(store, OTHER))
    with one_warning("damaged"):
        assert store.load(OTHER) is None


def test_what_is_no_regular_file_is_a_miss(store: Cache, tmp_path: Path) -> None:
    data = filled(store)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(data)
    makers: list[Callable[[Path], Any]] = [
        os.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to(elsewhere),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: _sparse(path, cache._MAX_ENTRY + 1),
    ]
    for make in makers:
        if entry(store).exists():
            entry(store).unlink()
        cache._warned.clear()
        make(entry(store))
        with one_warning():
            assert store.load(KEY) is None
        entry(store).rmdir() if entry(store).is_dir() else entry(store).unlink()
    assert elsewhere.read_bytes() == data


def _sparse(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        file.truncate(size)


def test_an_entry_of_another_user_is_a_miss(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(store)
    monkeypatch.setattr(Cache, "_is_safe", staticmethod(lambda directory: True))
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with one_warning():
        assert store.load(KEY) is None


def test_a_damaged_entry_is_replaced_by_the_next_store(store: Cache) -> None:
    data = filled(store)
    assert misses(store, data[:-1])
    store.store(KEY, MANIFEST, OBJECT)
    assert store.load(KEY) == (MANIFEST, OBJECT)


def test_one_warning_per_reason(store: Cache) -> None:
    filled(store)
    with one_warning(str(entry(store))):
        for _ in range(5):
            entry(store).write_bytes(b"junk")
            assert store.load(KEY) is None


# Directories and disks that will not have it


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Below a regular file, where root cannot make one either."""
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file" / "cache", tmp_path / "file"):
        cache._warned.clear()
        store = Cache(directory)
        assert store.load(KEY) is None
        with one_warning("nothing can be stored"):
            store.store(KEY, MANIFEST, OBJECT)
            store.store(OTHER, MANIFEST, OBJECT)
        assert store.load(KEY) is None


def test_a_directory_that_vanishes(store: Cache) -> None:
    filled(store)
    entry(store).unlink()
    store.directory.rmdir()
    assert store.load(KEY) is None
    store.store(KEY, MANIFEST, OBJECT)
    assert store.load(KEY) == (MANIFEST, OBJECT)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_directory_that_others_can_write_is_refused(store: Cache, mode: int) -> None:
    filled(store)
    store.directory.chmod(mode)
    with one_warning("written by other users"):
        assert store.load(KEY) is None
        store.store(OTHER, MANIFEST, OBJECT)
    assert not entry(store, OTHER).exists()
    store.directory.chmod(0o755)
    assert store.load(KEY) == (MANIFEST, OBJECT)


def test_a_directory_of_another_user_is_refused(
    store: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with one_warning("belongs to user"):
        assert store.load(KEY) is None
        store.store(OTHER, MANIFEST, OBJECT)
    assert not entry(store, OTHER).exists()


FAULTS = [
    ("write", errno.ENOSPC),
    ("write", errno.EDQUOT),
    ("fsync", errno.ENOSPC),
    ("fsync", errno.EIO),
    ("open", errno.EROFS),
    ("open", errno.EACCES),
    ("open", errno.EMFILE),
    ("replace", errno.EACCES),
    ("scandir", errno.EACCES),
]


@pytest.mark.parametrize(("call", "code"), FAULTS)
def test_a_full_or_read_only_disk(
    store: Cache, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    filled(store)
    cache._sweeper.cache_clear()
    with monkeypatch.context() as patch, one_warning():
        patch.setattr(os, call, _failing(code))
        store.store(KEY, {"new": 1}, b"new")
        store.store(OTHER, {"new": 1}, b"new")
    assert temporary_files(store.directory) == []
    kept = ({"new": 1}, b"new") if call == "scandir" else (MANIFEST, OBJECT)
    assert store.load(KEY) == kept


def test_a_disk_that_fills_up_in_the_middle(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(store)
    real, room = os.write, [100]

    def write(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "no space left")
        done = real(descriptor, data[: room[0]])
        room[0] -= done
        return done

    with monkeypatch.context() as patch, one_warning("no space left"):
        patch.setattr(os, "write", write)
        store.store(KEY, {}, bytes(1000))
    assert temporary_files(store.directory) == []
    assert store.load(KEY) == (MANIFEST, OBJECT)


def test_short_writes_are_continued(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    store.store(KEY, MANIFEST, OBJECT)
    assert store.load(KEY) == (MANIFEST, OBJECT)


def test_an_interrupted_write_leaves_nothing(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    store.directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.store(KEY, MANIFEST, OBJECT)
    assert list(store.directory.iterdir()) == []


def test_an_entry_that_cannot_be_read(store: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(store)
    with monkeypatch.context() as patch, one_warning("cannot be read"):
        patch.setattr(os, "open", _failing(errno.EACCES))
        assert store.load(KEY) is None
    with monkeypatch.context() as patch:  # a read-only disk keeps no time of use
        patch.setattr(os, "utime", _failing(errno.EROFS))
        assert store.load(KEY) == (MANIFEST, OBJECT)


def _failing(code: int) -> Callable[..., Any]:
    def fail(*arguments: object, **options: object) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


# How much is kept


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    keys = [make_key({"n": str(n)}) for n in range(10)]
    store = Cache(tmp_path, limit=20_000)
    for age, key in enumerate(keys):
        store.store(key, {}, bytes(3000))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
        if store.load(keys[0]) is not None:
            os.utime(entry(store, keys[0]), (2e9, 2e9))  # in use all the time
        if entry(store, key).exists() and key != keys[0]:
            os.utime(entry(store, key), (1e9 + age, 1e9 + age))
    kept = [n for n, key in enumerate(keys) if store.load(key) is not None]
    assert kept == [0, 5, 6, 7, 8, 9]


def test_a_load_counts_as_use(store: Cache) -> None:
    filled(store)
    os.utime(entry(store), (1e9, 1e9))
    store.load(KEY)
    assert entry(store).stat().st_mtime > 1e9


def test_an_entry_over_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = Cache(tmp_path, limit=1000)
    store.store(KEY, {}, b"small")
    store.store(OTHER, {}, bytes(1000))
    assert store.load(OTHER) is None
    assert store.load(KEY) == ({}, b"small")


def test_a_sweep_takes_stale_temporary_files_and_nothing_of_others(store: Cache) -> None:
    filled(store)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    name = "0123456789abcdef"
    stale = [f"tmp-{dead.pid}-{name}", f"tmp-{10**30}-{name}"]
    old = f"tmp-{os.getpid()}-{'a' * 16}"
    alive = [f"tmp-{os.getpid()}-{name}", "tmp-1-fedcba9876543210"]
    others = ["notes.txt", "tmp-1", "tmp-x-0123456789abcdef", ".hidden", f"{KEY}.graphc.bak"]
    for file in (*stale, old, *alive, *others):
        (store.directory / file).write_bytes(bytes(50))
    os.utime(store.directory / old, (1e9, 1e9))
    (store.directory / f"{OTHER}.graphc").mkdir()
    Cache(store.directory, limit=0).sweep()
    left = {path.name for path in store.directory.iterdir()}
    assert left == {*alive, *others, f"{OTHER}.graphc"}


# Kills and rivals

def test_kill_9_while_storing(tmp_path: Path) -> None:
    """Row R16 of the scoreboard kills more."""
    kills = 150
    done = kill_writers(tmp_path / "cache", kills, seed=kills)
    assert done.returncode == 0, done.stderr
    hits, interrupted = map(int, done.stdout.split())
    assert hits >= kills, "entries were there to be checked"
    assert interrupted >= kills // 20, "some kills fell into a write"


def test_kill_9_would_be_seen_with_a_naive_writer(tmp_path: Path) -> None:
    """The control of the test above: a writer that writes in place leaves torn entries."""
    done = kill_writers(tmp_path / "cache", 300, 1, "naive")
    assert done.returncode != 0
    assert "CacheWarning" in done.stderr


RIVAL = """
import random, sys, warnings
from pathlib import Path
from graphc.runtime.cache import Cache, make_key
warnings.simplefilter("error")
store, chance = Cache(Path(sys.argv[1]), int(sys.argv[3])), random.Random(int(sys.argv[2]))
hits = 0
for step in range(150):
    n = chance.randrange(8)
    key = make_key({"n": str(n)})
    if chance.random() < 0.5:
        store.store(key, {"n": n}, bytes([n]) * 10_000)
    else:
        loaded = store.load(key)
        assert loaded in (None, ({"n": n}, bytes([n]) * 10_000)), loaded[0]
        hits += loaded is not None
print(hits)
"""


@pytest.mark.parametrize("limit", [1 << 30, 35_000], ids=["roomy", "evicting"])
def test_processes_that_write_at_once(tmp_path: Path, limit: int) -> None:
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", RIVAL, str(tmp_path / "cache"), str(seed), str(limit)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    results = [rival.communicate(timeout=600) for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0] * 4, results
    assert all(int(out) > 10 for out, _ in results)
    assert temporary_files(tmp_path / "cache") == []
    assert len(os.listdir(tmp_path / "cache")) <= 8


def test_threads_that_write_at_once(store: Cache) -> None:
    keys = [make_key({"n": str(n)}) for n in range(4)]
    failures: list[object] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            n = chance.randrange(4)
            store.store(keys[n], {"n": n}, bytes([n]) * 5000)
            loaded = store.load(keys[n])
            if loaded != ({"n": n}, bytes([n]) * 5000):
                failures.append(loaded)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert failures == []
    assert temporary_files(store.directory) == []
