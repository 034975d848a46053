"""vmap of every op, on all of its samples, is the stack of NumPy's results for each element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import walk
from graphc.ir.op import Fact, Kind, registry
from tests.op_samples import SAMPLES
from tests.sampling import Case
from tests.test_ops_complete import assert_same, outputs

pytestmark = pytest.mark.filterwarnings("ignore:.*gives float64:graphc.errors.DTypeWarning")


def test_every_op_says_how_it_is_batched() -> None:
    """An op that says nothing goes element by element: right, but slow."""
    silent = []
    for name, op in registry().items():
        said = Fact.ELEMENTWISE in op.facts or op.axes is not None or op.batched is not None
        if not (said or op.kind in (Kind.LEAF, Kind.REGION, Kind.HOST)):
            cases = SAMPLES[name].cases
            made = [t for case in cases for t in outputs(case.call(*case.placeholders("float32")))]
            if any(node.op is op and node.inputs for node in walk(made)):
                silent.append(name)
    assert not silent, (
        f"vmap of {silent} is a loop over the elements: say `axes={{...}}` in the Op record (which "
        "attributes speak of axes; {} if none does), or `batched=...`; see docs/add_an_op.md"
    )


def alone_and_together(case: Case) -> list[tuple[int, ...]]:
    """Which operands are mapped."""
    every = tuple(range(len(case.shapes)))
    return [*((i,) for i in every if len(every) > 1), every]


def adds_up(made: Sequence[gc.Tensor]) -> bool:
    """Whether sums are made, which another order rounds otherwise."""
    found = [node.op for node in walk(made)]
    return any(
        op.kind is Kind.CONTRACT or (op.kind is Kind.REDUCE and Fact.CHOOSES not in op.facts)
        or op is registry()["solve"]
        for op in found
    )  # fmt: skip


def compare(name: str, case: Case, tested: str, mapped: tuple[int, ...], size: int, n: int) -> None:
    """Several elements, in a batch of a named size, or of a static one that is 0 or 1."""
    samples = SAMPLES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    sums = adds_up(outputs(case.call(*case.placeholders(tested))))
    wild = samples.wild and not sums
    rows = [case.arrays(tested, n, rng, wild) for _ in range(max(size, 1))]
    inputs, arrays = [], []
    for i, t in enumerate(case.placeholders(tested)):
        shape = (size if size < 2 else "batch", *t.shape) if i in mapped else t.shape
        inputs.append(gc.placeholder(f"stack{i}", shape, t.dtype))
        stack = np.stack([row[i] for row in rows])[:size]
        arrays.append(stack if i in mapped else rows[0][i])
    axes = tuple(0 if i in mapped else None for i in range(len(inputs)))
    made = outputs(gc.vmap(case.call, in_axes=axes)(*inputs))
    found = gc.evaluate(list(made), dict(zip(inputs, arrays, strict=True)))
    with np.errstate(all="ignore"):
        each = [
            outputs(case.numpy(*(a[i] if k in mapped else a for k, a in enumerate(arrays))))
            for i in range(size)
        ] or [outputs(case.numpy(*rows[0]))]
    for position, actual in enumerate(found):
        expected = np.stack([np.asarray(e[position]) for e in each])[:size]
        ulp, unit = (32.0, 1.0) if sums else (samples.ulp, samples.unit)
        with np.errstate(all="ignore"):
            assert_same(actual, expected, ulp, unit)


def sizes(case: Case) -> Iterator[tuple[int, int]]:
    """Sizes of the batch and of the named dim."""
    named = any("n" in shape for shape in case.shapes)
    return ((size, n) for size in (3, 1, 0) for n in ((3,) if size < 3 or not named else (3, 0)))


@pytest.mark.parametrize("name", [n for n in SAMPLES if SAMPLES[n].cases[0].shapes])
def test_the_stack_of_calls(name: str) -> None:
    for tested in dict.fromkeys((SAMPLES[name].takes[0], SAMPLES[name].takes[-1])):
        for case in SAMPLES[name].cases:
            for size, n in sizes(case):
                for mapped in alone_and_together(case):
                    if size == 3 or mapped == tuple(range(len(case.shapes))):
                        compare(name, case, tested, mapped, size, n)
