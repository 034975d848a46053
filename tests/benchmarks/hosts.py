"""Two workers on two hosts: networks of their own, a slow link, loss, a cut of 5 s, a killed host.

    sudo python -m tests.benchmarks.hosts

By hand, on Linux, as root: `ip netns` and `tc` make two network namespaces and a cable between
them, and the program removes them again, however it ends. Each host has a process with a worker, as
`DataParallel` has; what Ray does (start it, tell it whom to join) is done through pipes here. Every
training is held to one in one process, bit for bit. Packets are lost by chance where the kernel has
`netem`, and because a queue is full where it has not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np

import graphc as gc
from graphc.distributed.worker import Worker

BATCH, STEPS, LIMIT = 128, 24, 20.0
NAMES, CABLE = ("graphc-a", "graphc-b"), ("graphc-va", "graphc-vb")
ADDRESSES = ("10.213.7.1", "10.213.7.2")


# -- a host ----------------------------------------------------------------------------------------
def serve(address: str) -> None:
    """A worker that does what lines of its input say, and answers by lines."""
    gc.nn.seed(0)
    layers = [gc.nn.Dense(256, "relu"), gc.nn.Dropout(0.2), gc.nn.Dense(10)]
    trainer = gc.distributed.Trainer(
        gc.nn.Sequential(layers, name="net"), loss="softmax_cross_entropy", workers=0,
        optimizer=gc.optim.Adam(1e-3), strategy=gc.distributed.DataParallel(2),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, 784)).astype(np.float32)
    y = rng.integers(0, 10, len(x))
    trainer.step(x[:BATCH], y[:BATCH])
    programs: Any = trainer._step("fit", trainer.types).programs
    worker = Worker({})
    worker.load(programs)
    places = range(len(programs.variables))
    answer({"name": worker.listen(address) if address != "alone" else worker.about().name})
    for line in sys.stdin:
        told = json.loads(line)
        if "join" in told:
            lost = worker.join(told["join"], told["rank"], told["number"], 60.0, LIMIT)
            answer({"lost": lost or worker.walk([x, y], BATCH)})
        elif "assign" in told:
            with np.load(told["assign"]) as file:
                worker.assign(places, [file[str(i)] for i in places])
            answer({})
        elif "give" in told:
            found = worker.values(places)
            np.savez(told["give"], **{str(i): v for i, v in zip(places, found, strict=True)})
            answer({})
        else:
            start = time.monotonic()
            ran = worker.run(told["first"], told["count"], None)
            found = [v.tobytes() for v in worker.values(places)]
            answer({
                "at": ran.at, "code": ran.code, "lost": ran.lost,
                "seconds": time.monotonic() - start,
                "digest": hashlib.sha256(b"".join(found)).hexdigest(),
            })  # fmt: skip


def answer(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


# -- the program that makes the hosts --------------------------------------------------------------
class Host:
    """A process, in a network of its own if it has an address."""

    def __init__(self, place: int | None) -> None:
        inside = [] if place is None else ["ip", "netns", "exec", NAMES[place]]
        address = "alone" if place is None else ADDRESSES[place]
        self.process = subprocess.Popen(
            [*inside, sys.executable, "-m", "tests.benchmarks.hosts", address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.name = self.hear()["name"]

    def tell(self, **told: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def ask(self, **told: Any) -> dict[str, Any]:
        self.tell(**told)
        return self.hear()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def system(*words: str, check: bool = True) -> str:
    return subprocess.run(words, check=check, capture_output=True, text=True).stdout


def link(shape: list[str]) -> bool:
    """Both ends of the cable as `tc` words say; whether the kernel knows them."""
    for name, end in zip(NAMES, CABLE, strict=True):
        base = ["ip", "netns", "exec", name, "tc", "qdisc"]
        system(*base, "del", "dev", end, "root", check=False)
        if shape:
            system(*base, "add", "dev", end, "root", *shape, check=False)
    return not shape or shape[0] in qdisc()


def qdisc() -> str:
    """What the first end of the cable does, with its counts."""
    words = ("tc", "-s", "qdisc", "show", "dev", CABLE[0])
    return system("ip", "netns", "exec", NAMES[0], *words)


def dropped() -> int:
    """The packets that were lost there since `link`."""
    return sum(map(int, re.findall(r"dropped (\d+)", qdisc())))


def cable(up: bool) -> None:
    system("ip", "netns", "exec", NAMES[1], "ip", "link", "set", CABLE[1], "up" if up else "down")


def join(hosts: list[Host], number: int) -> None:
    names = [host.name for host in hosts]
    for rank, host in enumerate(hosts):
        host.tell(join=names, rank=rank, number=number)
    assert [host.hear()["lost"] for host in hosts] == [[]] * len(hosts)


def run(hosts: list[Host], first: int, count: int) -> list[dict[str, Any]]:
    for host in hosts:
        host.tell(first=first, count=count)
    return [host.hear() for host in hosts]


def main() -> None:
    folder = f"/tmp/graphc-hosts-{os.getpid()}"
    os.mkdir(folder, 0o700)
    hosts: list[Host] = []
    try:
        system("ip", "link", "add", CABLE[0], "type", "veth", "peer", "name", CABLE[1])
        for name, end, address in zip(NAMES, CABLE, ADDRESSES, strict=True):
            system("ip", "netns", "add", name)
            system("ip", "link", "set", end, "netns", name)
            inside = ("ip", "netns", "exec", name, "ip")
            system(*inside, "addr", "add", f"{address}/24", "dev", end)
            system(*inside, "link", "set", end, "up")
            system(*inside, "link", "set", "lo", "up")
        hosts = [Host(None), Host(0), Host(1)]
        scenarios(hosts, folder)
    finally:
        for host in hosts:
            host.kill()
        for name in NAMES:
            system("ip", "netns", "del", name, check=False)
        system("ip", "link", "del", CABLE[0], check=False)
        system("rm", "-rf", folder, check=False)


def scenarios(hosts: list[Host], folder: str) -> None:
    alone, *two = hosts
    start, now = f"{folder}/start.npz", f"{folder}/now.npz"
    alone.ask(give=start)
    join([alone], 1)
    digests = [alone.ask(first=i, count=1)["digest"] for i in range(STEPS)]
    number = 1

    def begin() -> None:
        nonlocal number
        number += 1
        for host in two:
            host.ask(assign=start)
        join(two, number)

    def whole(name: str, found: list[dict[str, Any]]) -> None:
        same = [a["at"] == STEPS and a["digest"] == digests[-1] for a in found]
        each = 1000 * max(a["seconds"] for a in found) / STEPS
        print(f"{name}: {each:.0f} ms a step, {'the same bits' if all(same) else f'NOT: {found}'}")
        assert all(same)

    rate = ["rate", "100mbit", "burst", "64kb", "latency", "400ms"]
    for name, shape in (
        ("a cable", []),
        ("100 Mbit/s (tbf)", ["tbf", *rate]),
        ("2 % of packets lost (netem)", ["netem", "loss", "2%"]),
        ("100 Mbit/s, queue too short", ["tbf", *rate[:2], "burst", "16kb", "limit", "20kb"]),
    ):
        if not link(shape):
            print(f"{name}: this kernel has no {shape[0]}")
            continue
        begin()
        found = run(two, 0, STEPS)
        whole(f"{name}, {dropped()} packets lost", found)

    link(["tbf", *rate])  # so that the cut falls into the training
    begin()
    cut = [threading.Timer(1.0, cable, [False]), threading.Timer(6.0, cable, [True])]
    for timer in cut:
        timer.start()
    found = run(two, 0, STEPS)
    for timer in cut:
        timer.join()
    whole("100 Mbit/s, cut for 5 s", found)

    begin()
    for host in two:
        host.tell(first=0, count=STEPS)
    time.sleep(1.0)
    cable(False)  # nothing of the host is heard any more, not even that it is gone
    two[1].kill()
    left = two[0].hear()
    print(f"a killed host: noticed behind {left['seconds']:.1f} s with a limit of {LIMIT:g} s, in "
          f"step {left['at'] + 1}")  # fmt: skip
    assert left["lost"] == [1]
    assert 0 < left["at"] < STEPS
    assert left["digest"] == digests[left["at"] - 1]
    cable(True)
    two[1] = hosts[2] = Host(1)
    two[0].ask(give=now)
    two[1].ask(assign=now)
    join(two, number + 1)
    whole("  and gone on with by another one", run(two, left["at"], STEPS - left["at"]))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        main()
