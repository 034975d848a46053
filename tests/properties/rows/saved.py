"""R18: writers of weights and of trainings are killed at any time. What is read afterwards is
whole, of one moment, and never older than the last save that returned."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from . import Budget, Result, Tally, chunks

FIGURE = 1_000  # kills
PART, CONTROL = 100, 200
ROOT = Path(__file__).parents[3]
KILLS = """
import mmap, os, random, signal, struct, sys, time
from pathlib import Path
import numpy as np
import graphc as gc
from graphc.errors import FileError
from graphc.nn import safetensors

if sys.argv[4] != "ours":
    os.fsync = lambda file: None
if sys.argv[4] == "in place":
    safetensors.replace = lambda path, parts: Path(path).write_bytes(b"".join(map(bytes, parts)))
if sys.argv[4] == "two files":  # the arrays, then the manifest beside them
    whole = safetensors.write
    def write(path, arrays, metadata):
        whole(path, arrays)
        whole(f"{path}.json", {}, metadata)
    def read(path):
        return whole_read(path)[0], whole_read(f"{path}.json")[1]
    whole_read, safetensors.write, safetensors.read = safetensors.read, write, read
directory, kills, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))

def trainer():
    model = gc.nn.Sequential([gc.nn.Dense(40), gc.nn.Dense(3)], name="net")
    made = gc.train.Trainer(model, loss="mse", optimizer="adam", target="reference")
    made.prepare(gc.train.step.Types.of(gc.train.batches.data(
        "row", np.ones((2, 60), np.float32), np.ones((2, 3), np.float32), None, gc.float32)))
    return made

one, other = trainer(), trainer()
weights, run = directory / "weights", directory / "run"
saved = mmap.mmap(-1, 16)  # the numbers of the last saves that returned

def assign(n):
    for v in (*one.model.variables(), *one.optimizer.state):
        v.value = np.full(v.shape, n % 1000, v.dtype.numpy)
    one.history.logs = {"loss": [float(n)]}

def check():
    '''The numbers that are read are of one moment, and not older than what was saved.'''
    done = struct.unpack("2q", saved[:])
    if done[0]:
        other.model.load_weights(weights)
        values = {float(x) for v in other.model.variables() for x in np.ravel(v.value)}
        assert len(values) == 1, "weights of several moments"
        assert values <= {done[0] % 1000, (done[0] + 1) % 1000}, f"{values} after {done[0]}"
    if done[1]:
        if sys.argv[4] == "two files":
            arrays, metadata = safetensors.read(run)
            n = float(metadata["graphc"].partition('"loss":[')[2].partition("]")[0])
            values = {float(x) for k, a in arrays.items() if "rate" not in k for x in np.ravel(a)}
        else:
            other.load(run)
            n = other.history["loss"][0]
            values = {float(x) for v in (*other.model.variables(), *other.optimizer.state)
                      for x in np.ravel(v.value)}
        assert values == {n % 1000}, f"a history of {n} with weights of {values}"
        assert n in (done[1], done[1] + 1), f"{n} after {done[1]}"
    return sum(map(bool, done))

number = reads = interrupted = 0
for _ in range(kills):
    child = os.fork()
    if child == 0:
        n = struct.unpack("2q", saved[:])[1]
        while True:
            n += 1
            assign(n)
            one.model.save_weights(weights)
            saved[:8] = struct.pack("q", n)
            one.save(run)
            saved[8:] = struct.pack("q", n)
    # After some saves, which take as long as the disk takes, and some of the next one.
    until = number + chance.randrange(3)
    while sum(struct.unpack("2q", saved[:])) < until and not os.waitpid(child, os.WNOHANG)[0]:
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    number = sum(struct.unpack("2q", saved[:]))
    interrupted += any(directory.glob(".*.part"))
    reads += check()
assign(1)
one.model.save_weights(weights), one.save(run)
left = sorted(p.name for p in directory.iterdir())
assert not [name for name in left if name.endswith(".part")], left
print(reads, interrupted)
"""


def kill_savers(
    directory: Path, kills: int, seed: int, writer: str = "ours"
) -> subprocess.CompletedProcess[str]:
    """So many writers killed, one after the other; prints how many files were read afterwards, and
    how many kills fell into a write."""
    command = [sys.executable, "-c", KILLS, str(directory), str(kills), str(seed), writer]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def saved(seeds: range) -> Tally:
    """As many kills as seeds, in a folder of their own."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        done = kill_savers(Path(folder), len(seeds), seeds.start)
    if done.returncode:
        tally.failures.append(f"seed {seeds.start}: {done.stderr[-1000:]}")
    else:
        reads, interrupted = map(int, done.stdout.split())
        tally.counts.update({"kills": len(seeds), "files read": reads, "in a write": interrupted})
    return tally


class Saved:
    name = "R18"
    promise = "killed writers leave the last whole save"

    def run(self, budget: Budget) -> Result:
        wanted = budget.of(FIGURE, least=20)
        tally = Tally.sum(budget.map(saved, chunks(0, wanted, PART)))
        counts = tally.counts
        reached = (
            f"{counts['kills']:,} kills, {counts['in a write']:,} in a write, "
            f"{counts['files read']:,} files read, {len(tally.failures)} failures"
        )
        return Result(
            not tally.failures and counts["kills"] == wanted and counts["files read"] > 0,
            reached,
            f"{wanted:,} kills, all that is read is whole and new",
            tally,
            f"0..{wanted - 1}",
        )

    def control(self) -> Result:
        """A writer that writes in place, and one that writes weights and manifest one by one."""
        seen = []
        for writer in ("in place", "two files"):
            with tempfile.TemporaryDirectory() as folder:
                done = kill_savers(Path(folder), CONTROL, 1, writer)
            if "FileError" in done.stderr or "AssertionError" in done.stderr:
                seen.append(f"{writer}: {done.stderr.strip().splitlines()[-1]}")
        tally = Tally(failures=seen)
        return Result(len(seen) < 2, "; ".join(seen) or "nothing was seen", "red", tally)


ROW = Saved()
