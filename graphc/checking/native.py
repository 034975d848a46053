"""The machine code of single kernels: each region compiled as a program of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.checking.kernels import Region
from graphc.checking.values import Array, differences
from graphc.errors import GraphcError
from graphc.ir.evaluate import evaluate_graph


def guilty_kernel(
    regions: Sequence[Region], compile: Callable[..., Any]
) -> tuple[Region, str] | None:
    """The first region whose machine code, called by itself, gives something else, and how.

    `compile` is `gc.compile`, which this file is below.
    """
    for region in regions:
        try:
            expected = evaluate_graph(region.body, region.operands, region.dims)
            actual = _run(region, compile)
        except GraphcError:
            continue  # it fails by itself, or a dim of it is not known from its operands
        body, operands = region.body, region.operands
        found = differences(body, operands, expected, actual, region.dims)
        if found:
            return region, "\n".join(found)
    return None


def _run(region: Region, compile: Callable[..., Any]) -> list[Array]:
    function = compile(list(region.body.inputs), list(region.body.outputs), name="kernel")
    return [np.asarray(r) for r in function(*region.operands)]
