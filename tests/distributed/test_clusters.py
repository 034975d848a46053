"""Clusters of their own: one that does not answer, and one that was closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
