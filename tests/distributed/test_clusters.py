"""Clusters of their own: one that does not answer, and nothing left of those that end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import graphc as gc

from .problems import LABELS, OPTIONS, X, same, trainer

ROOT = Path(__file__).parent.parent.parent


def test_a_cluster_that_does_not_answer() -> None:
    pytest.importorskip("ray")
    program = (
        "import socket, graphc as gc\n"
        "mute = socket.create_server(('127.0.0.1', 0))\n"
        "mute = f'127.0.0.1:{mute.getsockname()[1]}', mute\n"
        "for address in ('127.0.0.1:1', 'nowhere', 3, mute[0]):\n"
        "    try: gc.distributed.connect(address, limit=3)\n"
        "    except gc.errors.ClusterError as error: print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout.splitlines() == ["the cluster does not answer"] * 4


CLOSED = """
import graphc as gc
from graphc.errors import ClusterError, RuntimeFailure
from tests.distributed.problems import LABELS, OPTIONS, X, trainer
def refused(act, *given, kind=ClusterError, **options):
    try: act(*given, **options)
    except kind as error: print(error.message, error.where.rpartition(":")[2])
one, two = trainer(workers=1), trainer(workers=1)
with gc.distributed.connect(cpus=2):
    one.fit(X, LABELS, **OPTIONS)
    refused(one.fit, X, LABELS + 7, kind=RuntimeFailure, **OPTIONS)
    two.fit(X, LABELS, **OPTIONS)
refused(one.fit, X, LABELS, **OPTIONS)
print(len(one.report().lost))
one.close()
with gc.distributed.connect(cpus=2):
    one.fit(X, LABELS, **OPTIONS)
    refused(two.predict, X)
    two.predict(X)
    one.close()
    two.close()
"""


def test_what_is_done_behind_a_closed_cluster_is_an_error_once() -> None:
    """And errors of workers name the user's line."""
    pytest.importorskip("ray")
    done = subprocess.run(
        [sys.executable, "-c", CLOSED], capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = CLOSED.splitlines()
    called = lines.index("    try: act(*given, **options)") + 1
    closed = f"the cluster of the workers was closed, and what they held went with it {called}"
    label = f"a label is out of range for 2 classes {called}"
    assert done.stdout.splitlines() == [label, closed, "1", closed]


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
    for _ in range(6_000):  # Ray's agents look for their parent once a minute
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
