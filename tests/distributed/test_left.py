"""Nothing is left of a program that ends or is killed, with a cluster of its own.

A file of its own, as it waits: Ray's agents look for their parent once a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import graphc as gc

from .problems import LABELS, OPTIONS, X, same, trainer

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import sys
import graphc as gc
from tests.distributed.problems import LABELS, OPTIONS, X, trainer
class Wait(gc.train.Callback):
    def on_batch_end(self, step, logs):
        if sys.argv[1] == "wait" and self.trainer.history.epochs == 2 and step == 1:
            print("trained", flush=True)
            sys.stdin.read()
made = trainer(workers=2)
keep = gc.train.Checkpoint("run")
made.fit(X, LABELS, epochs=3, validation_split=0.2, callbacks=[Wait(), keep], **OPTIONS)
print("trained", flush=True)
"""


def _processes(mark: str) -> list[str]:
    """The command lines of processes with this word in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                pass
    return found


@pytest.mark.parametrize("end", ["exit", "wait"])
def test_nothing_is_left(end: str, tmp_path: Path, expected: gc.train.Trainer) -> None:
    """Behind a program that ends, and one that is killed in its third epoch, from whose file
    another goes on."""
    pytest.importorskip("ray")
    mark = f"graphc-mark-{os.getpid()}-{end}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GRAPHC_TEST_MARK": mark}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, end], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, cwd=tmp_path, env=environment,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdout.readline() == "trained\n"
        if end == "wait":
            assert len(_processes(mark)) > 3
            program.kill()
    for _ in range(6_000):
        if not (left := _processes(mark)):
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert left == []
    again = trainer()
    again.load(tmp_path / "run")
    assert again.history.epochs == (2 if end == "wait" else 3)
    options = {k: v for k, v in OPTIONS.items() if k != "seed"}
    again.fit(X, LABELS, epochs=3, validation_split=0.2, resume=True, **options)
    same(expected, again)
