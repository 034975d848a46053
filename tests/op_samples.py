"""Samples for every op: how it is called, the NumPy expression it equals, and on which shapes.

`SAMPLES[name]` has one entry for each registered op, and for public functions made of several.
To add an op, add an entry: `unary` or `binary` in `elementwise_samples.py`, else
`SAMPLES[name] = Samples(cases=...)` in `structural_samples.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import (
    attention_samples,
    control_samples,
    elementwise_samples,
    fft_samples,
    gather_samples,
    image_samples,
    linalg_samples,
    linalg_step_samples,
    manipulate_samples,
    number_samples,
    running_samples,
    sorting_samples,
    statistics_samples,
    structural_samples,
)
from .sampling import Array, Case, Samples

SAMPLES: dict[str, Samples] = {
    **elementwise_samples.SAMPLES, **structural_samples.SAMPLES, **linalg_samples.SAMPLES,
    **linalg_step_samples.SAMPLES, **manipulate_samples.SAMPLES, **gather_samples.SAMPLES,
    **statistics_samples.SAMPLES, **image_samples.SAMPLES, **sorting_samples.SAMPLES,
    **running_samples.SAMPLES, **control_samples.SAMPLES, **number_samples.SAMPLES,
    **fft_samples.SAMPLES, **attention_samples.SAMPLES,
}  # fmt: skip


def arrays_of(name: str, tested: str, case: Case, wild: bool = True) -> Iterator[list[Array]]:
    """Arrays for a case: one set, or one for each value of its named dim."""
    named = any("n" in shape for shape in case.shapes)
    rng = np.random.default_rng(sum(map(ord, name + tested)))
    for n in (0, 1, 3) if named else (3,):
        yield case.arrays(tested, n, rng, wild and SAMPLES[name].wild)
