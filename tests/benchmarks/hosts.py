"""Trainings on a Ray cluster of several hosts: a slow link, loss, a cut of 5 s, a killed host.

    sudo python -m tests.benchmarks.hosts [strategy ...]

By hand, on Linux, as root, with Ray, `ip`, `tc` and `iptables`. Each host is a network namespace
with a disk of its own; cables lead from all of them to a bridge, and the program removes them
again, however it ends. `ray start` makes a head on the first one, where the client runs too, and
has no processor for workers; each of three others has room for one worker, so that none shares
memory with another, and one host is free to take a place. Every training is held to the undisturbed
one in one process, bit for bit.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gc
from graphc.distributed import DataParallel, ParameterServer, Pipeline

RUN = os.environ.setdefault("GRAPHC_TEST_RUN", f"graphc-{os.getpid()}")  # the client's too
NET, HOSTS = f"{RUN}-net", [f"{RUN}-h{i}" for i in range(4)]
PORT, LIMIT = 6390, 20.0
HEAD = f"10.213.7.1:{PORT}"
BATCH, STEPS, EPOCHS = 128, 24, 2
STRATEGIES: dict[str, Any] = {
    "DataParallel": DataParallel(2),
    "Pipeline": Pipeline(2, 4),
    "ParameterServer": ParameterServer(1, shards=2),
}
SLOW = ("tbf", "rate", "100mbit", "burst", "64kb", "latency", "400ms")


def system(*words: str, check: bool = True) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def inside(host: str, *words: str, check: bool = True) -> str:
    return system("ip", "netns", "exec", host, *words, check=check)


# -- hosts -----------------------------------------------------------------------------------------
@contextlib.contextmanager
def network() -> Iterator[None]:
    """Namespaces, cables and a bridge; whatever runs in them ends with them."""
    try:
        for name in (NET, *HOSTS):
            system("ip", "netns", "add", name)
            system("ip", "-n", name, "link", "set", "lo", "up")
        system("ip", "-n", NET, "link", "add", "bridge", "type", "bridge")
        system("ip", "-n", NET, "link", "set", "bridge", "up")
        for i, host in enumerate(HOSTS):
            peer = ("peer", "name", f"port{i}", "netns", NET)
            system("ip", "-n", host, "link", "add", "eth0", "type", "veth", *peer)
            system("ip", "-n", host, "addr", "add", f"10.213.7.{i + 1}/24", "dev", "eth0")
            system("ip", "-n", host, "link", "set", "eth0", "up")
            system("ip", "-n", NET, "link", "set", f"port{i}", "up", "master", "bridge")
        yield
    finally:
        for host in HOSTS:
            kill(host)
        for name in (*HOSTS, NET):
            system("ip", "netns", "del", name, check=False)


def running(host: str) -> list[int]:
    return [int(pid) for pid in system("ip", "netns", "pids", host, check=False).split()]


def kill(host: str) -> int:
    """All processes of a host at once; how many there were."""
    pids = running(host)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while running(host) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(pids)


def on(place: int, folder: str, *words: str) -> list[str]:
    """A command on a host, which has a disk of its own at `folder/disk`."""
    disk = f'mount --bind "{folder}/disk{place}" "{folder}/disk" && exec "$@"'
    return ["ip", "netns", "exec", HOSTS[place], "sh", "-c", disk, "sh", sys.executable, *words]


def start(place: int, folder: str) -> None:
    """A host's part of the cluster."""
    head = ["--head", f"--port={PORT}", "--include-dashboard=false", "--num-cpus=0"]
    other = [f"--address={HEAD}", "--num-cpus=1"]
    words = [
        "-m", "ray.scripts.scripts", "start", f"--node-ip-address=10.213.7.{place + 1}",
        "--object-store-memory=800000000", "--disable-usage-stats", "--block",
        f"--temp-dir={folder}/disk/ray", *(other if place else head),
    ]  # fmt: skip
    with Path(folder, f"host{place}").open("a") as log:
        subprocess.Popen(on(place, folder, *words), stdout=log, stderr=log, start_new_session=True)


def cable(host: str, up: bool) -> None:
    system("ip", "-n", host, "link", "set", "eth0", "up" if up else "down")


def cut(host: str) -> None:
    cable(host, False)
    threading.Timer(5.0, cable, (host, True)).start()


def shape(*words: str) -> None:
    """What each end of all cables does with packets, as `tc` says it; nothing without words."""
    for host in HOSTS:
        inside(host, "tc", "qdisc", "del", "dev", "eth0", "root", check=False)
        if words:
            inside(host, "tc", "qdisc", "add", "dev", "eth0", "root", *words)


def lose(part: float) -> int:
    """Each host loses this part of the packets that come, by chance; how many it was so far."""
    count = 0
    for host in HOSTS:
        told = inside(host, "iptables", "-nvxL", "INPUT", check=False)
        count += sum(int(n) for n in re.findall(r"^ *(\d+) .* DROP ", told, re.MULTILINE)[:1])
        inside(host, "iptables", "-F", "INPUT")
        if part:
            match = ("-m", "statistic", "--mode", "random", "--probability", str(part))
            inside(host, "iptables", "-A", "INPUT", "-i", "eth0", *match, "-j", "DROP")
    return count


# -- trainings, in the first host ------------------------------------------------------------------
def trainer(strategy: Any, workers: int) -> Any:
    gc.nn.seed(0)
    layers = [gc.nn.Dense(256, "relu"), gc.nn.Dropout(0.2), gc.nn.Dense(10)]
    return gc.distributed.Trainer(
        gc.nn.Sequential(layers, name="net"), loss="softmax_cross_entropy", metrics=["accuracy"],
        optimizer=gc.optim.Adam(1e-3), strategy=strategy, workers=workers,
        limits=gc.distributed.Limits(step=LIMIT),
    )  # fmt: skip


def fit(made: Any, *callbacks: Any) -> float:
    """Seconds of a step."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, 784)).astype(np.float32)
    y = rng.integers(0, 10, len(x))
    began = time.monotonic()
    made.fit(x, y, epochs=EPOCHS, batch_size=BATCH, seed=0, verbose=False, callbacks=callbacks)
    return (time.monotonic() - began) / (STEPS * EPOCHS)


class Once(gc.train.Callback):
    """Something that happens behind the fifth step of the second epoch."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act, self._epoch = act, 0

    def on_epoch_begin(self, epoch: int) -> None:
        self._epoch = epoch

    def on_batch_end(self, step: int, logs: dict[str, Any]) -> None:
        if (self._epoch, step) == (1, 4):
            self._act()


def client(folder: str, names: list[str]) -> None:
    cluster = gc.distributed.connect(HEAD)
    wait_for(3)
    for name in names:
        scenarios(name, STRATEGIES[name], folder)
    cluster.close()


def wait_for(processors: int) -> None:
    from graphc.distributed import engine

    deadline = time.monotonic() + 120
    while engine.free("CPU") < processors:
        assert time.monotonic() < deadline, "hosts do not join"
        time.sleep(0.2)


def scenarios(name: str, strategy: Any, folder: str) -> None:
    expected = trainer(strategy, 0)
    fit(expected)

    def same(what: str, made: Any, taken: float, lost: bool = False) -> None:
        pairs = zip(expected.model.variables(), made.model.variables(), strict=True)
        assert all((a.value == b.value).all() for a, b in pairs), what
        assert expected.history.logs == made.history.logs, what
        assert bool(made.report().lost) == lost, made.report().lost
        print(f"{name}, {what}: {1000 * taken:.0f} ms a step, the same bits", flush=True)

    def host(made: Any, rank: int) -> str:
        """The host of a worker."""
        return next(h for h in HOSTS if made._crew.members[rank].about.pid in running(h))

    with trainer(strategy, 2) as made:
        same("a cable", made, fit(made))
        members = made._crew.members
        assert len({host(made, r) for r in range(len(members))}) > 1
    with trainer(strategy, 2) as made:
        shape(*SLOW)
        same("100 Mbit/s (tbf)", made, fit(made))
    with trainer(strategy, 2) as made:
        made._crew.start()
        taken = fit(made, Once(partial(cut, host(made, 1))))
        same("100 Mbit/s, a host cut off for 5 s", made, taken)
    shape()
    with trainer(strategy, 2) as made:
        lose(0.02)
        taken = fit(made)
        same(f"2 % lost ({lose(0)} packets)", made, taken)
    for what, act in (("killed", kill), ("cut off for ever", partial(cable, up=False))):
        with trainer(strategy, 2) as made:
            made._crew.start()
            victim = host(made, 1)
            since = time.monotonic()
            taken = fit(made, Once(partial(act, victim)))
            print(f"  {time.monotonic() - since:.1f} s, {made.report().lost}")
            same(f"a host {what}", made, taken, True)
        kill(victim)
        cable(victim, True)
        start(HOSTS.index(victim), folder)
        wait_for(3)


def on_a_cluster(module: str, names: list[str]) -> None:
    """Run a program, as `--client folder names`, on the first host of a cluster of all."""
    with tempfile.TemporaryDirectory(prefix="gc-") as folder, network():
        os.environ |= {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "GRAPHC_CACHE_DIR": f"{folder}/disk/cache",
        }  # fmt: skip
        for name in ("", *map(str, range(len(HOSTS)))):
            os.mkdir(f"{folder}/disk{name}", 0o700)
        for place in range(len(HOSTS)):
            start(place, folder)
            time.sleep(5.0 if place == 0 else 0.0)
        done = subprocess.run(on(0, folder, "-m", module, "--client", folder, *names), check=False)
        print("processes that were running at the end:", sum(map(kill, HOSTS)))
        if done.returncode:
            for log in sorted(Path(folder).glob("host?")):
                print(log.name, log.read_text()[-500:])
    left = [host for host in HOSTS if running(host)]
    if done.returncode or left:
        raise SystemExit(f"failed; left running on {left}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client(sys.argv[2], sys.argv[3:])
    else:
        on_a_cluster("tests.benchmarks.hosts", sys.argv[1:] or list(STRATEGIES))
