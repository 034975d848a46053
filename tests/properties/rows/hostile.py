"""R15: files that somebody else made. Weights, saved trainings and IDX files that are crafted or
changed at random are read, or named by an error of ours: in bounded memory, and nothing else is
touched."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from . import Budget, Result, Tally, chunks

FIGURE = 20_000  # files changed at random
PART = 2_500
LEAST_CRAFTED = 80
ROOT = Path(__file__).parents[3]

# Reads files in a process that may take so much memory more, and may open nothing else. Prints a
# line for each that is neither read nor refused by an error of ours.
READER = """
import builtins, os, random, resource, signal, sys
from pathlib import Path
import numpy as np
import graphc as gc
from graphc.errors import GraphcError
from graphc.nn import safetensors
from tests.properties.rows.hostile import base_files, crafted, mutated

folder, first, count, limit, fault = Path(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5]
if fault == "dims":  # what the header says of sizes is believed
    safetensors._entry = lambda path, name, given, start: safetensors.Entry(
        given["dtype"], tuple(given["shape"]), start + given["data_offsets"][0],
        given["data_offsets"][1] - given["data_offsets"][0])

def trainer():
    model = gc.nn.Sequential([gc.nn.Dense(4), gc.nn.Dense(3)], name="net")
    return gc.train.Trainer(model, loss="mse", optimizer="adam", target="reference")

built = trainer()
x, y = np.ones((8, 5), np.float32), np.ones((8, 3), np.float32)
best = gc.train.EarlyStopping("loss", restore_best_weights=True)
built.fit(x, y, verbose=False, callbacks=[best])
path = folder / "file"
bases = base_files(built, path)
READERS = {
    "weights": [lambda p: safetensors.read(p), built.model.load_weights, built.load,
                lambda p: built.model.load_weights(p, layout="keras")],
    "training": [built.load, lambda p: trainer().load(p)],
    "idx": [lambda p: gc.train.read_idx(p, 1 << 26)],
}
for kind, data in bases:  # everything is loaded and made once
    path.write_bytes(data)
    for read in READERS[kind]:
        try: read(path)
        except GraphcError: pass

def audit(event, args):
    if not armed: return
    if event == "open" and isinstance(args[0], (str, bytes, Path)):
        if Path(os.fsdecode(args[0])) != path:
            builtins.touched = f"opens {args[0]}"
    if event in ("exec", "os.system", "subprocess.Popen", "pickle.find_class"):
        builtins.touched = f"{event} {str(args)[:150]}"
    if event == "import" and args[0] not in sys.modules and not args[0].startswith("graphc"):
        builtins.touched = f"imports {args[0]}"

armed, builtins.touched = False, ""
sys.addaudithook(audit)
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (limit << 20), resource.RLIM_INFINITY))

def slow(*_):
    raise TimeoutError("two seconds of the processor")

signal.signal(signal.SIGPROF, slow)
seeds = range(first, first + count)
files = crafted(bases) if first < 0 else (mutated(bases, seed) for seed in seeds)
tried = refused = 0
for name, kind, data in files:
    path.write_bytes(data)
    for read in READERS[kind]:
        tried, builtins.touched = tried + 1, ""
        signal.setitimer(signal.ITIMER_PROF, 2.0)
        armed = True
        try:
            read(path)
        except GraphcError as error:
            refused += 1
            if not error.op or not str(error):
                print(f"{name}: an error without a name", flush=True)
        except BaseException as error:
            armed = False
            print(f"{name}: {type(error).__name__}: {error}"[:300], flush=True)
        armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        if builtins.touched:
            print(f"{name}: {builtins.touched}", flush=True)
print("done", tried, refused)
"""


def base_files(trainer: Any, path: Path) -> list[tuple[str, bytes]]:
    """Whole files of each kind."""
    trainer.model.save_weights(path)
    weights = path.read_bytes()
    trainer.save(path)
    idx = bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + bytes(range(12))
    floats = bytes([0, 0, 13, 1, 0, 0, 0, 2]) + bytes(8)
    return [
        ("weights", weights), ("training", path.read_bytes()), ("idx", idx), ("idx", floats),
        ("idx", gzip.compress(idx * 1)),
    ]  # fmt: skip


def _split(data: bytes) -> tuple[Any, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(header: Any, rest: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


VALUES: tuple[Any, ...] = (
    -1, 0, 1 << 31, 1 << 62, 1 << 64, 1e308, None, True, "", "F64", [], [-1], [1 << 40] * 4, {},
    [[]], "../../../etc/passwd", {"__metadata__": {}}, "\0", 2.5,
)  # fmt: skip


def crafted(bases: list[tuple[str, bytes]]) -> list[tuple[str, str, bytes]]:
    """Files that each lie in one way: every field of the header of weights and of the manifest of a
    training, and the head of an IDX file."""
    found = []
    header, rest = _split(bases[0][1])
    name = next(k for k in header if k != "__metadata__")
    for field in ("dtype", "shape", "data_offsets"):
        for value in VALUES:
            lie = header | {name: header[name] | {field: value}}
            found.append((f"{field} {value!r}"[:60], "weights", _joined(lie, rest)))
    for value in VALUES:
        for key, what in (("__metadata__", "metadata"), (name, "entry")):
            lie = header | {key: value}
            found.append((f"{what} {value!r}"[:60], "weights", _joined(lie, rest)))
    for evil in ("../../x", "/etc/passwd", "\0", "x" * 10_000, "__class__", "net/../net", "\u202e"):
        renamed = {evil if k == name else k: v for k, v in header.items()}
        found.append((f"name {evil!r}"[:60], "weights", _joined(renamed, rest)))
    whole, rest = _split(bases[1][1])
    manifest = json.loads(whole["__metadata__"]["graphc"])
    for key in manifest:
        for value in VALUES:
            text = json.dumps(manifest | {key: value})
            lie = whole | {"__metadata__": {"graphc": text}}
            found.append((f"{key} {value!r}"[:60], "training", _joined(lie, rest)))
    for shape in ([1 << 30], [1 << 40], [1 << 20, 1 << 10], [0], [-5], [5, 5], [1] * 70, ["5"]):
        types = json.loads(json.dumps(manifest["types"]))
        types["arrays"][0][0] = shape
        text = json.dumps(manifest | {"types": types})
        lie = whole | {"__metadata__": {"graphc": text}}
        found.append((f"a shape {shape}", "training", _joined(lie, rest)))
    deep = "[" * 50_000 + "]" * 50_000
    lie = whole | {"__metadata__": {"graphc": deep}}
    found.append(("a deep manifest", "training", _joined(lie, rest)))
    bomb = bytes([0, 0, 8, 1]) + (1 << 30).to_bytes(4, "big")
    found.append(("a bomb", "idx", gzip.compress(bomb + bytes(1 << 26))))
    found.append(("many sizes", "idx", bytes([0, 0, 8, 255]) + b"\xff" * 1020))
    found.append(("huge sizes", "idx", bytes([0, 0, 14, 3]) + b"\xff" * 12))
    found.append(("gzip in gzip", "idx", gzip.compress(gzip.compress(bases[2][1]))))
    return found


def mutated(bases: list[tuple[str, bytes]], seed: int) -> tuple[str, str, bytes]:
    """One of the files with some bytes flipped, cut, repeated or put in from another."""
    import random

    chance = random.Random(seed)
    kind, data = chance.choice(bases)
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(made) + 1)
        # Half of the changes are where the words are, not among the numbers.
        at = chance.randrange(min(len(made) + 1, 2_000)) if chance.random() < 0.5 else at
        match chance.randrange(6):
            case 0 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 1:
                del made[at:]
            case 2:
                del made[at : at + chance.randrange(1, 20)]
            case 3:
                made[at:at] = made[at : at + chance.randrange(1, 50)]
            case 4:
                other = chance.choice(bases)[1]
                start = chance.randrange(len(other))
                made[at : at + 30] = other[start : start + chance.randrange(1, 60)]
            case _:
                made[at : at + 3] = chance.choice((b"9999999999999999", b"-1", b'"', b"{", b"\0\0"))
        if not made:
            break
    return f"seed {seed}", kind, bytes(made)


def read_in_a_process(first: int, count: int, fault: str = "none") -> Tally:
    """Read files in a child: the crafted ones for a `first` below 0, else those of seeds."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", READER, folder, str(first), str(count), "256", fault]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    *failures, last = done.stdout.splitlines() or [""]
    tally.failures += failures
    if done.returncode or not last.startswith("done"):
        tally.failures.append(f"the reader ended with {done.returncode}: {done.stderr[-500:]}")
    else:
        _, tried, refused = last.split()
        tally.counts.update({"files": count, "reads": int(tried), "refused": int(refused)})
    return tally


def of_crafted(count: int) -> Tally:
    return read_in_a_process(-1, count)


def of_seeds(seeds: range) -> Tally:
    return read_in_a_process(seeds.start, len(seeds))


class Hostile:
    name = "R15"
    promise = "hostile files are read or named"

    def run(self, budget: Budget) -> Result:
        wanted = budget.of(FIGURE, least=100)
        kinds = len(crafted(_examples()))
        tally = Tally.sum(budget.map(of_crafted, [kinds]))
        tally += Tally.sum(budget.map(of_seeds, chunks(0, wanted, PART)))
        counts = tally.counts
        reached = (
            f"{kinds} crafted, {wanted:,} changed, {counts['reads']:,} reads, "
            f"{counts['refused']:,} refused, {len(tally.failures)} failures"
        )
        return Result(
            not tally.failures and kinds >= LEAST_CRAFTED and counts["refused"] > wanted / 4,
            reached,
            f"{LEAST_CRAFTED} crafted, {wanted:,} changed, errors of ours only",
            tally,
            f"0..{wanted - 1}",
        )

    def control(self) -> Result:
        """The sizes that a header states are believed."""
        tally = read_in_a_process(-1, 0, "dims")
        seen = tally.failures[0] if tally.failures else "nothing was seen"
        return Result(not tally.failures, seen, "red", tally)


def _examples() -> list[tuple[str, bytes]]:
    """Files of the same forms, for counting what is crafted of them."""
    entry = {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    manifest = {"version": 1, "seed": 0, "history": 0, "callbacks": 0, "types": {"arrays": [[[]]]}}
    training = _joined(entry | {"__metadata__": {"graphc": json.dumps(manifest)}}, bytes(4))
    return [("weights", _joined(entry, bytes(4))), ("training", training), ("idx", b"\0\0\x08\0")]


ROW = Hostile()
