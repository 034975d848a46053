"""How much is recorded for a step of the programs that a card is asked, and how much of it runs one
behind the other: run by `test_cuda_programs.py`. What each node costs a card, some microseconds, is
what small steps take."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.runtime import cuda_epilogues, cuda_products, cuda_staging
from tests.benchmarks import gpu_peers
from tests.runtime.cuda_stub import models
from tests.runtime.cuda_stub.on_this_processor import as_this_processor, number, stub

KINDS = "kernels", "copies", "fills", "products"
STEPS: dict[str, Callable[[], Any]] = {
    "mlp 32 x 256": lambda: gpu_peers.perceptron(32, 256),
    "lstm 32 x 64 x 128": lambda: gpu_peers.lstm(32, 64, 128),
    "attention 2 x 64 x 64": lambda: gpu_peers.attention(2, 64, 64),
}


@pytest.fixture(autouse=True)
def _stub() -> Iterator[None]:
    with as_this_processor():
        yield
    number("workspace").value = number("idle").value = 0
    cuda_epilogues.forget()


class Recorded(NamedTuple):
    """The nodes of the last recording, by kind, and the longest chain of them."""

    nodes: list[int]
    chain: int

    def __str__(self) -> str:
        kinds = (f"{n} {kind}" for n, kind in zip(self.nodes, KINDS, strict=True) if n)
        return f"{sum(self.nodes)} nodes, {self.chain} of them in a row ({', '.join(kinds)})"


def recorded() -> Recorded:
    nodes = (ctypes.c_int64 * len(KINDS)).in_dll(stub(), "stub_nodes")
    return Recorded(list(nodes), number("chain").value)


def of_step(name: str) -> Recorded:
    """Of one whose inputs and results are on the card."""
    gpu_peers.graphc_step(*STEPS[name]()).step()
    return recorded()


def test_what_steps_record(
    golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that falls is good news; one that grows has to be worth it."""
    monkeypatch.setattr(cuda_epilogues, "_ask", lambda products: True)
    number("idle").value = 1
    lines = [f"{name}: {of_step(name)}" for name in STEPS]
    for build in (models.classifier, models.recurrent, models.attention):
        (_, _), (card, _) = models.both(build)
        card(*models.data(build.__name__, 4, 6))
        lines.append(f"{build.__name__}, arrays of the host: {recorded()}")
    golden("runtime/recordings", "\n".join(lines))


def test_products_have_workspaces_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as these are small; the answers are those of `programs.py`."""
    monkeypatch.setattr(cuda_epilogues, "_ask", lambda products: True)
    number("idle").value = 1
    alone = of_step("mlp 32 x 256")
    for size, more in ((1 << 20, 0), (cuda_products.WORKSPACE, 1)):
        number("workspace").value, number("idle").value = size, 1
        found = of_step("mlp 32 x 256")
        assert found.nodes == alone.nodes
        assert (found.chain > alone.chain) == bool(more)
        number("idle").value = 0
        (cpu, _), (card, _) = models.both(models.attention)
        arrays = models.data("attention", 3, 5)
        models.assert_close(card(*arrays), cpu(*arrays))


def test_small_neighbours_are_brought_by_one_copy() -> None:
    """Inputs from the host and from the card, of which each is in its place afterwards."""
    sizes = [3, 5, cuda_staging.SMALL, 2, 7, 1]
    inputs = [gc.placeholder(f"x{i}", (n,), "float64") for i, n in enumerate(sizes)]
    sums = [gc.sum(x) + i for i, x in enumerate(inputs)]
    f = gc.compile(inputs, [*sums, inputs[2] + 1.0, inputs[4] * 2.0], target="cuda")
    arrays = [np.arange(n) + 0.5 for n in sizes]
    place = gc.compile(inputs, [gc.positive(x) for x in inputs], target="cuda", results="device")
    there = place(*arrays)
    for on_card, copies in (((), 3 + 3), ((4,), 4 + 3), ((0, 1, 2, 3, 4, 5), 3), ((2, 5), 2 + 3)):
        given = [there[i] if i in on_card else a for i, a in enumerate(arrays)]
        *found, large, small = f(*given)
        assert recorded().nodes[1] == copies, on_card
        np.testing.assert_allclose(found, [a.sum() + i for i, a in enumerate(arrays)])
        np.testing.assert_array_equal(large, arrays[2] + 1.0)
        np.testing.assert_array_equal(small, arrays[4] * 2.0)
