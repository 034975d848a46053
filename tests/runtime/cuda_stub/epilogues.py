"""What products do for gradients on the stub: masks of relu, sums of columns; and what is done
where the library has none of it, or means something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime import cuda_epilogues
from tests.runtime.cuda_stub.models import assert_close, both, weight
from tests.runtime.cuda_stub.on_this_processor import as_this_processor, number

ABSENT, RIGHT, WITH_ZEROS, SCALED = range(4)  # what the stub's library makes of these epilogues


@pytest.fixture(autouse=True)
def _stub() -> Iterator[None]:
    with as_this_processor():
        yield
    number("masks").value = RIGHT
    cuda_epilogues.forget()


def perceptron() -> tuple[Any, Any, Any]:
    """Two layers with relu, of which the first is 0 at zeros: its derivative there is 0."""
    x, t = gc.placeholder("x", ("n", 20)), gc.placeholder("t", ("n", 7))
    w1, w2, w3 = weight(20, 33), weight(33, 40, seed=1), weight(40, 7, seed=2)
    b1, b2 = gc.variable(np.zeros(33, "float32")), weight(40, seed=3)
    hidden = gc.relu(gc.relu(x @ w1 + b1) @ w2 + b2)
    loss = gc.mean(gc.square(hidden @ w3 - t))
    return [x, t], [loss], dict(gc.optim.Adam(1e-2).minimize(loss, [w1, b1, w2, b2, w3]))


def data(n: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(n)
    x, t = (rng.normal(size=(n, k)).astype("float32") for k in (20, 7))
    x[::2] = 0
    return [x, t]


def trained() -> int:
    """Some steps equal the CPU's; how many nodes were recorded for the first sizes."""
    (cpu, ours), (card, theirs) = both(perceptron)
    before, nodes = number("recorded").value, []
    for n in (34, 5, 1, 34):
        assert_close(card(*data(n)), cpu(*data(n)))
        nodes.append(number("recorded").value - before)
    assert_close([v.value for v in theirs], [v.value for v in ours])
    return int(nodes[0])


@pytest.mark.parametrize("library", [ABSENT, WITH_ZEROS, SCALED])
def test_what_the_library_has_not_or_means_otherwise_kernels_do(library: int) -> None:
    nodes = trained()
    number("masks").value = library
    cuda_epilogues.forget()
    kernels = trained() - nodes
    assert kernels == 2 + 2 * 2  # two masks; two sums of columns, and what adds up parts of these


@pytest.mark.parametrize("library", [WITH_ZEROS, SCALED])
def test_other_masks_and_sums_are_seen(monkeypatch: pytest.MonkeyPatch, library: int) -> None:
    number("masks").value = library
    monkeypatch.setattr(cuda_epilogues, "_ask", lambda products: True)
    with pytest.raises(AssertionError):
        trained()


def test_no_rows() -> None:
    """A product of nothing stores no mask and no sums: the kernels do."""
    x, g = gc.placeholder("x", ("n", 8)), gc.placeholder("g", ("n", 4))
    w, b, u = weight(8, 12), weight(12), weight(12, 4)
    outputs = gc.grad(gc.sum(gc.relu(x @ w + b) @ u * g), [w, b, u])
    card, cpu = (gc.compile([x, g], outputs, target=t) for t in ("cuda", "cpu"))
    for n in (0, 3, 0):
        arrays = np.ones((n, 8), "float32"), np.ones((n, 4), "float32")
        assert_close(card(*arrays), cpu(*arrays))
