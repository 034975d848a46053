"""R27 at its figure: who trains is killed, and the weights are those of undisturbed trainings.

    python -m tests.benchmarks.kills [--kills 70] [--seed 0] [--from 0] [--only driver]

By hand; needs Ray. Two of seven kills are of a program that trains, behind a step that the seed
draws: another program goes on from its file. All others are of a worker or a server, from inside,
before a word to the others that the seed draws, so inside of a step or of a meeting as well as
between them. Behind each the weights, the optimiser's state and the history are those of the
undisturbed training, bit for bit; behind all, no process is left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import graphc as gc
from tests.distributed.problems import LABELS, OPTIONS, PARTS, X, model, same

MARK = "GRAPHC_TEST_MARK"
EPOCHS, STEPS = 3, 15
TURN = ("shards", "driver", "stages", "server", "shards", "driver", "servers' worker")
DRIVEN = ("shards", "server", "stages")


def trainer(kind: str, workers: int) -> Any:
    """A training by so many workers, of which one is to be killed."""
    strategy: Any = gc.distributed.DataParallel(2, bucket_bytes=1)
    if kind == "stages":
        strategy = gc.distributed.Pipeline(2, 3)
    elif "server" in kind:
        strategy = gc.distributed.ParameterServer(2, shards=2)
    return gc.distributed.Trainer(
        model(), optimizer=gc.optim.Adam(0.03), **PARTS, strategy=strategy, workers=workers
    )


def fit(made: Any, **options: Any) -> None:
    made.fit(X, LABELS, epochs=EPOCHS, **{**OPTIONS, **options})


def undisturbed(kind: str) -> Any:
    """The same in one process."""
    made = trainer(kind, 0)
    fit(made)
    return made


# -- inside of a worker ----------------------------------------------------------------------------
def arm(worker: Any, last: int | None) -> None:
    """Count what is said to others, and die instead of saying the `last`."""
    from graphc.distributed.group import Group

    worker.said = 0

    def counted(act: Any) -> Any:
        def acted(*given: Any) -> Any:
            worker.said += 1
            if worker.said == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*given)

        return acted

    for name in ("meet", "tell", "hear"):
        setattr(Group, name, counted(getattr(Group, name)))


def said(worker: Any) -> int:
    count: int = worker.said
    return count


def tell(made: Any, rank: int, what: Any, *given: Any) -> Any:
    import ray

    return ray.get(made._crew.members[rank].actor.__ray_call__.remote(what, *given))


# -- kills -----------------------------------------------------------------------------------------
def words(kind: str, rank: int, expected: Any) -> int:
    """How much a worker says in the undisturbed training."""
    with trainer(kind, 2) as made:
        made._crew.start()
        tell(made, rank, arm, None)
        fit(made)
        same(expected, made)
        count: int = tell(made, rank, said)
        return count


def kill_one(kind: str, rank: int, word: int, expected: Any) -> None:
    with trainer(kind, 2) as made:
        made._crew.start()
        pids = [m.about.pid for m in made._crew.members]
        tell(made, rank, arm, word)
        fit(made)
        same(expected, made)
        lost = made.report().lost
        assert len(lost) == 1, lost
        assert str(pids[rank]) in lost[0], lost
        pids += [m.about.pid for m in made._crew.members]
    gone(lambda: [pid for pid in pids if Path(f"/proc/{pid}").exists()])


def drive(kind: str, path: str) -> None:
    """A program that trains, and says how far it is."""

    class Say(gc.train.Callback):
        def on_batch_end(self, step: int, logs: Any) -> None:
            print("step", flush=True)

    made = trainer(kind, 2)
    fit(made, callbacks=[Say(), gc.train.Checkpoint(path)])


def kill_driver(kind: str, step: int, workers: int, expected: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        mark = f"graphc-{os.getpid()}-{time.monotonic_ns()}"
        with subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.kills", "--drive", kind, str(path)],
            stdout=subprocess.PIPE, text=True, env={**os.environ, MARK: mark},
        ) as program:  # fmt: skip
            assert program.stdout is not None
            for _ in range(step):
                assert program.stdout.readline() == "step\n"
            program.kill()
        gone(lambda: marked(mark))
        assert [p.name for p in Path(folder).iterdir()] in ([], ["run"])
        with trainer(kind, workers) as again:
            if path.exists():
                again.load(path)
            assert step - again.history.epochs * STEPS // EPOCHS in range(STEPS // EPOCHS + 1)
            given = {k: v for k, v in OPTIONS.items() if k != "seed"}
            if path.exists():
                again.fit(X, LABELS, epochs=EPOCHS, resume=True, **given)
            else:
                fit(again)
            same(expected, again)


def marked(mark: str) -> list[int]:
    """The other processes with this word in the environment that they were started with."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def gone(left: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while found := left():
        assert time.monotonic() < deadline, f"left running: {found}"
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill what trains, and compare what comes out.")
    parser.add_argument("--kills", type=int, default=70)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the kill to begin with")
    parser.add_argument("--only", help=f"one kind of {', '.join(sorted(set(TURN)))}")
    parser.add_argument("--drive", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        drive(*given.drive)
        return
    if MARK not in os.environ:  # what a process was started with is all that others see of it
        mark = f"graphc-kills-{os.getpid()}"
        os.execve(sys.executable, [*sys.orig_argv], {**os.environ, MARK: mark})
    expected = {kind: undisturbed(kind) for kind in {*TURN} - {"driver"}}
    counts: dict[tuple[str, int], int] = {}
    done = dict.fromkeys(TURN, 0)
    with gc.distributed.connect(cpus=4):
        for i in range(given.first, given.kills):
            kind, rng = TURN[i % len(TURN)], random.Random(f"{given.seed} {i}")
            if given.only not in (None, kind):
                continue
            start = time.monotonic()
            if kind == "driver":
                kind, workers = rng.choice(DRIVEN), rng.choice((0, 1, 2))
                what = kind, rng.randint(1, STEPS - 1), workers
                print(i, "driver of {}, behind step {}, gone on with by {}".format(*what), end="")
                kill_driver(*what, expected[kind])
                done["driver"] += 1
            else:
                rank = rng.randint(2, 3) if kind == "server" else rng.randint(0, 1)
                if (kind, rank) not in counts:
                    counts[kind, rank] = words(kind, rank, expected[kind])
                what = kind, rank, rng.randint(1, counts[kind, rank])
                print(i, "{}, place {}, at word {}".format(*what), end="")
                kill_one(*what, expected[kind])
                done[kind] += 1
            print(f": the same bits ({time.monotonic() - start:.0f} s)", flush=True)
    gone(lambda: marked(os.environ[MARK]))
    print(f"{sum(done.values())} kills ({', '.join(f'{n} {k}' for k, n in done.items())}): the "
          "weights of the undisturbed trainings, nothing left running")  # fmt: skip


if __name__ == "__main__":
    main()
