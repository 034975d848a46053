"""R16: writers of the cache are killed at any time. What is read afterwards is right or a miss, and
the next sweep leaves nothing of the dead."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from . import Budget, Result, Tally, chunks

FIGURE = 2_000  # kills
PART, CONTROL = 100, 300
ROOT = Path(__file__).parents[3]
KILLS = """
import os, random, signal, sys, time, warnings
from pathlib import Path
from graphc.runtime import cache
from graphc.runtime.cache import Cache, make_key
warnings.simplefilter("error")  # a torn entry would warn
if sys.argv[4] == "naive":
    cache._write = lambda path, data, sync: path.write_bytes(data)
directory, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
kinds = (cache.PROGRAM, cache.KERNEL)
stores, chance = [Cache(directory, kind=kind) for kind in kinds], random.Random(seed)
keys = [make_key({"n": str(n)}) for n in range(3)]

def check():
    hits = 0
    for store in stores:
        for key in keys:
            loaded = store.load(key)
            if loaded is not None:
                n = loaded[0]["n"]
                assert loaded == ({"n": n}, bytes([n % 256]) * (20_000 + n)), "a wrong object"
                hits += 1
    return hits

interrupted = hits = 0
for _ in range(kills):
    child = os.fork()
    if child == 0:
        n = chance.randrange(1000)
        while True:
            n += 1
            stores[n % 2].store(keys[n % 3], {"n": n}, bytes([n % 256]) * (20_000 + n))
    time.sleep(chance.uniform(0, 0.006))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    # The next writer begins with a sweep, so what is here is of this kill.
    interrupted += any(directory.glob("tmp-*"))
    hits += check()
stores[0].sweep()
left = len(os.listdir(directory)) if directory.exists() else 0  # all may die before they write
assert left == sum(store._path(key).exists() for store in stores for key in keys), "more is left"
print(hits, interrupted)
"""


def kill_writers(
    directory: Path, kills: int, seed: int, writer: str = "ours"
) -> subprocess.CompletedProcess[str]:
    """So many writers killed, one after the other; prints how many entries were read afterwards,
    and how many kills fell into a write."""
    command = [sys.executable, "-c", KILLS, str(directory), str(kills), str(seed), writer]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def killed(seeds: range) -> Tally:
    """As many kills as seeds, in a cache of their own."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        done = kill_writers(Path(folder) / "cache", len(seeds), seeds.start)
    if done.returncode:
        tally.failures.append(f"seed {seeds.start}: {done.stderr[-1000:]}")
    else:
        hits, interrupted = map(int, done.stdout.split())
        tally.counts.update({"kills": len(seeds), "entries read": hits, "in a write": interrupted})
    return tally


class Killed:
    name = "R16"
    promise = "killed writers leave a cache that is right"

    def run(self, budget: Budget) -> Result:
        wanted = budget.of(FIGURE, least=20)
        tally = Tally.sum(budget.map(killed, chunks(0, wanted, PART)))
        counts = tally.counts
        reached = (
            f"{counts['kills']:,} kills, {counts['in a write']:,} in a write, "
            f"{counts['entries read']:,} entries read, {len(tally.failures)} failures"
        )
        seen = counts["entries read"] > 0
        return Result(
            not tally.failures and counts["kills"] == wanted and seen,
            reached,
            f"{wanted:,} kills, nothing wrong, nothing left",
            tally,
            f"0..{wanted - 1}",
        )

    def control(self) -> Result:
        """A writer that writes in place."""
        with tempfile.TemporaryDirectory() as folder:
            done = kill_writers(Path(folder) / "cache", CONTROL, 1, "naive")
        torn = "CacheWarning" in done.stderr
        tally = Tally(failures=[done.stderr[-500:]] if torn else [])
        return Result(not torn, "a torn entry" if torn else "nothing was seen", "red", tally)


ROW = Killed()
