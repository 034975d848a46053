"""R17: a damaged entry of the cache is found and made again, and no fault of the disk makes a
computation fail: one warning, and the right result."""

from __future__ import annotations

import errno
import os
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import graphc as gc
from graphc.errors import CacheWarning
from graphc.runtime import cache
from graphc.runtime.compile import compile_statistics

from . import Budget, Result, Tally, chunks

FLIPS, COMPILED = 1_000, 40  # bit flips of each entry; damages after which a program is run
FAULTS = [
    ("write", errno.ENOSPC), ("write", errno.EDQUOT), ("fsync", errno.EIO), ("open", errno.EROFS),
    ("open", errno.EACCES), ("open", errno.EMFILE), ("replace", errno.EACCES),
    ("scandir", errno.EACCES), ("stat", errno.EACCES), ("mkdir", errno.EROFS),
]  # fmt: skip
A = np.linspace(-1.0, 1.0, 11)


def program(number: float = 0.3) -> Any:
    x = gc.placeholder("x", ("n",), "float64")
    return gc.compile([x], [gc.tanh(x) * number, gc.sum(x)])


def is_right(function: Any, number: float = 0.3) -> bool:
    tanh, total = function(A)
    return bool(np.allclose(tanh, np.tanh(A) * number, rtol=1e-14) and abs(total) < 1e-14)


@contextmanager
def own_cache() -> Iterator[Path]:
    """A cache of one's own, to which no warning was given yet."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings = {"GRAPHC_CACHE_DIR": folder, "GRAPHC_CACHE": "1"}
        stack.enter_context(mock.patch.dict(os.environ, settings))
        cache._sweeper.cache_clear()
        yield Path(folder)


@contextmanager
def warned() -> Iterator[list[Any]]:
    """The warnings of the cache meanwhile, as a process would see them that gave none before."""
    with mock.patch.object(cache, "_warned", {}), warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        seen: list[Any] = []
        yield seen
        seen += [w for w in found if issubclass(w.category, CacheWarning)]


def entries(folder: Path) -> list[tuple[cache.Cache, str, bytes]]:
    """The entries of a cache: where each is found, its key, its bytes."""
    found = []
    for path in sorted(folder.iterdir()):
        kind = path.name.partition(".")[2]
        found.append(
            (cache.Cache(folder, kind=kind), path.name.partition(".")[0], path.read_bytes())
        )
    return found


def flipped(data: bytes, rng: random.Random) -> bytes:
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


def damages(share: float) -> Tally:
    """Every length, and bit flips, of the entries of a program, its form and its kernels: all
    misses."""
    tally, rng = Tally(), random.Random(17)
    with own_cache() as folder, warned():
        program()
        for store, key, data in entries(folder):
            step = max(1, round(1 / share))
            lengths = range(rng.randrange(step), len(data), step)
            flips = max(10, round(FLIPS * share))
            tally.counts["truncations"] += len(lengths)
            tally.counts["bit flips"] += flips
            wrong = sum(cache._unseal(key, data[:length]) is not None for length in lengths)
            wrong += sum(cache._unseal(key, flipped(data, rng)) is not None for _ in range(flips))
            if wrong:
                tally.failures.append(f"{wrong} damages of a {store.kind} were not seen")
    return tally


def compiled_again(seeds: range) -> Tally:
    """Programs after damages of all their entries: one warning, and the right result."""
    tally = Tally()
    for seed in seeds:
        rng = random.Random(seed)
        with own_cache() as folder:
            program()
            for path in folder.iterdir():
                data = path.read_bytes()
                cut = data[: rng.randrange(len(data))]
                path.write_bytes(cut if seed % 2 else flipped(data, rng))
            before = compile_statistics()["compilations"]
            with warned() as seen:
                function = program()
            made = compile_statistics()["compilations"] - before
            if (made, len(seen), is_right(function)) != (1, 1, True):
                tally.failures.append(f"seed {seed}: {made} compilations, {len(seen)} warnings")
            with warned() as seen:
                if not is_right(program()) or seen:
                    tally.failures.append(f"seed {seed}: the entry that was made again is wrong")
        tally.counts["programs"] += 1
    return tally


def faults(failures: Sequence[tuple[str, int]]) -> Tally:
    """Programs while a call of the system fails."""
    tally = Tally()

    def failing(code: int, real: Callable[..., Any], folder: Path) -> Callable[..., Any]:
        def fail(*args: Any, **named: Any) -> Any:
            mine = args and (isinstance(args[0], int) or str(folder) in str(args[0]))
            if mine:
                raise OSError(code, os.strerror(code))
            return real(*args, **named)

        return fail

    for place, (call, code) in enumerate(failures):
        with own_cache() as folder, warned() as seen, ExitStack() as stack:
            number = 2.0 + place
            os.environ["GRAPHC_CACHE_DIR"] = str(folder / "new" if call == "mkdir" else folder)
            fail = failing(code, getattr(os, call), folder)
            stack.enter_context(mock.patch.object(os, call, fail))
            right = is_right(program(number), number)
        if not right or not 1 <= len(seen) <= 2:  # one for each reason: to read, to write
            tally.failures.append(f"{call}, {errno.errorcode[code]}: {right}, {len(seen)} warnings")
        tally.counts["faults of the disk"] += 1
    return tally


class Corrupted:
    name = "R17"
    promise = "damage and faults of the disk cost time only"

    def run(self, budget: Budget) -> Result:
        wanted = budget.of(COMPILED, least=4)
        tally = Tally.sum(budget.map(damages, [budget.share]))
        tally += Tally.sum(budget.map(faults, [FAULTS]))
        tally += Tally.sum(budget.map(compiled_again, chunks(0, wanted, 5)))
        reached = ", ".join(f"{n:,} {what}" for what, n in tally.counts.items())
        return Result(
            not tally.failures,
            f"{reached}, {len(tally.failures)} failures",
            "all found, a warning for each reason, results right",
            tally,
            f"0..{wanted - 1}",
        )

    def control(self) -> Result:
        """An entry's hash is not compared."""
        with mock.patch.object(cache, "_digest", return_value=bytes(cache._DIGEST_SIZE)):
            tally = damages(0.05)
        return Result(not tally.failures, "; ".join(tally.failures)[:200], "red", tally)


ROW = Corrupted()
