"""The kernel of every op, at the interpreter's speed, against the op's NumPy meaning.

No rule runs before, which might write the op in terms of others. What is run is the loop IR of each
region, statement by statement, and the source that Numba would compile, as plain Python.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from graphc.checking.kernels import check_region, regions_of
from graphc.errors import DTypeWarning
from graphc.fusion.region import WORK
from graphc.ir.graph import Graph
from graphc.ir.node import apply
from graphc.ir.op import Fact, Kind, Op, registry
from graphc.passes.canonical import expand_composites, lower_contractions
from graphc.pipeline.pipeline import fuse_all

from .op_samples import SAMPLES, arrays_of
from .properties.launches import check_launches, fused
from .sampling import Case

pytestmark = pytest.mark.filterwarnings(f"ignore::{DTypeWarning.__module__}.DTypeWarning")
IN_KERNELS = [
    name for name, op in registry().items()
    if op.kind in WORK | {Kind.VIEW} and name in SAMPLES
]  # fmt: skip


def faults(name: str, case: Case, tested: str) -> list[str]:
    """How kernels that compute a case of the samples of `name` differ from its meaning."""
    inputs = case.placeholders(tested)
    made = case.call(*inputs)
    graph = Graph(inputs, made if isinstance(made, tuple) else [made])
    graph = fuse_all(lower_contractions(expand_composites(graph)))
    found = [
        check_region(region)
        for arrays in arrays_of(name, tested, case)
        for region in regions_of(graph, arrays)
    ]
    return [text for text in found if text]


@pytest.mark.parametrize("name", IN_KERNELS)
def test_its_kernels_equal_its_meaning(name: str) -> None:
    """Every case in the widest dtype, some in one of each other kind, which is what kernels ask."""
    samples = SAMPLES[name]
    kinds = {tested.rstrip("0123456789"): tested for tested in samples.takes}
    for tested in kinds.values():
        for case in samples.cases if tested == samples.takes[-1] else samples.cases[:2]:
            assert not faults(name, case, tested), (case.shapes, tested)


@pytest.mark.parametrize("name", IN_KERNELS)
def test_its_launches_equal_its_meaning(name: str) -> None:
    """The same kernels for a card, simulated: some cases in each kind of dtype."""
    samples = SAMPLES[name]
    for tested in {tested.rstrip("0123456789"): tested for tested in samples.takes}.values():
        for case in samples.cases[:2]:
            inputs = case.placeholders(tested)
            made = case.call(*inputs)
            graph = Graph(inputs, made if isinstance(made, tuple) else [made])
            graph = fused(lower_contractions(expand_composites(graph)))
            check_launches(graph, arrays_of(name, tested, case), f"{name} of {tested}")


def test_a_kernel_that_is_wrong_for_some_operands_is_seen() -> None:
    """As a copysign that ignores the sign of its second operand, where its meaning does not."""

    def at(k: Any, values: Any, index: Any, out: Any) -> Any:
        x, y = (value(index) for value in values)
        return k.abs(k.copysign(x, y))

    wrong = Op(
        "copysign",
        Kind.MAP,
        lambda x, y: (x,),
        numpy=np.copysign,
        at=at,
        facts=frozenset({Fact.ELEMENTWISE, Fact.EXACT}),
    )
    case = Case(
        call=lambda x, y: apply(wrong, (x, y)).output(),
        numpy=np.copysign,
        shapes=((7,), (7,)),
    )
    assert "its loop IR" in faults("maximum", case, "float64")[0]
    right = replace(wrong, at=lambda k, values, index, out: k.copysign(*(v(index) for v in values)))
    case = replace(case, call=lambda x, y: apply(right, (x, y)).output())
    assert not faults("maximum", case, "float64")
