"""An op's samples compiled: all cases of it at one dtype in one program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from tests.op_samples import SAMPLES
from tests.sampling import Array, Case
from tests.test_ops_complete import outputs


def pairs() -> list[tuple[str, str]]:
    """Each op or function that has samples, with each dtype that it takes."""
    return [(name, tested) for name in sorted(SAMPLES) for tested in SAMPLES[name].takes]


def every(items: Sequence[Any], wanted: int) -> list[Any]:
    """So many of the items, spread evenly over them."""
    wanted = min(wanted, len(items))
    return [items[i * len(items) // wanted] for i in range(wanted)]


class Program:
    """The cases of an op at a dtype, those that can be called, and the compiled program of all."""

    def __init__(self, name: str, tested: str, cases: Sequence[Case] = (), **options: Any) -> None:
        self.name, self.tested = name, tested
        self.cases = list(cases or SAMPLES[name].cases)
        self.inputs: list[list[Any]] = []
        self.made: list[tuple[Any, ...]] = []
        for number, case in enumerate(self.cases):
            inputs = [
                gc.placeholder(f"{name} {number} {i}", shape, case.dtype(i, tested))
                for i, shape in enumerate(case.shapes)
            ]
            self.inputs.append(inputs)
            self.made.append(outputs(case.call(*inputs)))
        self.function = gc.compile(
            [t for inputs in self.inputs for t in inputs],
            [t for made in self.made for t in made],
            name=f"{name} {tested}",
            **options,
        )
        self.graph = self.function.graph

    def arrays(self, wild: bool) -> Iterator[list[list[Array]]]:
        """Operands of all cases, for each value of the named dim where one has any."""
        named = any("n" in shape for case in self.cases for shape in case.shapes)
        seed = sum(map(ord, self.name + self.tested))
        for n in (0, 1, 3) if named else (3,):
            yield [
                case.arrays(self.tested, n, np.random.default_rng(seed), wild)
                for case in self.cases
            ]

    def run(self, arrays: Sequence[Sequence[Any]]) -> list[Array]:
        """The results of all cases, one after another."""
        return [np.asarray(r) for r in self.function(*(a for case in arrays for a in case))]

    def by_numpy(self, arrays: Sequence[Sequence[Array]]) -> list[Array]:
        with np.errstate(all="ignore"):
            found = [c.numpy(*a) for c, a in zip(self.cases, arrays, strict=True)]
        return [np.asarray(r) for result in found for r in outputs(result)]
