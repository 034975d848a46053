"""What all sides of a program share: arrays, sizes, and the formula of many scalar operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

Arrays = list[np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a program has that is unrolled in its graph, or that takes time when it runs."""

    sinkhorn: int  # iterations
    draws: int  # of the formula: each is one to four operations
    layers: int  # of the physics-informed network
    steps: int  # of loops
    constant: float = 0.3  # one number of the formula


SIZES = {"full": Sizes(40, 450, 4, 1000), "small": Sizes(6, 60, 2, 20)}


def sizes_of(name: str, constant: str = "") -> Sizes:
    """Those of a name, and a number of the formula if it is another than usual."""
    sizes = SIZES[name]
    return replace(sizes, constant=float(constant)) if constant else sizes


def normal(seed: int, *shapes: tuple[int, ...], scale: float = 1.0, dtype: str = "float32") -> Any:
    """Arrays of normal numbers, one for each shape."""
    random = np.random.default_rng(seed)
    return [(scale * random.standard_normal(shape)).astype(dtype) for shape in shapes]


def layers(seed: int, widths: Sequence[int]) -> Arrays:
    """Weights and biases of dense layers, in turn."""
    random, made = np.random.default_rng(seed), []
    for m, n in pairwise(widths):
        made.append((random.standard_normal((m, n)) / np.sqrt(m)).astype("float32"))
        made.append(np.zeros(n, "float32"))
    return made


def points(count: int) -> Arrays:
    """Inputs and observations of a regression, and three parameters."""
    x = np.linspace(0.0, 4.0, count)
    return [x, np.sin(x) + 0.1 * np.cos(17 * x), np.array([-0.3, 0.2, -1.5])]


def cluster() -> np.ndarray[Any, Any]:
    """Thirteen atoms: corners of an icosahedron around one."""
    golden, corners = (1 + 5**0.5) / 2, [(0.0, 0.0, 0.0)]
    for a in (-1.0, 1.0):
        for b in (-golden, golden):
            corners += [(0.0, a, b), (a, b, 0.0), (b, 0.0, a)]
    return np.array(corners) * 0.6


def pairs() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The two atoms of each pair of the cluster."""
    return np.triu_indices(13, 1)


def extended_labels(batch: int, length: int, classes: int) -> Arrays:
    """Labels with blanks (0) between them, and where a blank may be skipped."""
    labels = np.random.default_rng(5).integers(1, classes, (batch, length))
    extended = np.zeros((batch, 2 * length + 1), "int64")
    extended[:, 1::2] = labels
    skips = np.zeros(extended.shape, bool)
    skips[:, 2:] = (extended[:, 2:] != 0) & (extended[:, 2:] != extended[:, :-2])
    return [extended, skips]


FORMULA_INPUTS, FORMULA_OUTPUTS = 12, 26
CHANGED = 50  # the draw with the number that may be another one


def formula(inputs: Sequence[Any], sizes: Sizes, functions: Any) -> Any:
    """Twenty-six expressions of scalars that share most of their operations, two for each draw.

    `functions` has sin, cos, exp, log, sqrt. What is drawn depends on the number alone.
    """
    random = np.random.default_rng(7)
    known = list(inputs)
    for count in range(sizes.draws):
        i, j = (len(known) - 1 - int(random.integers(min(len(known), 30))) for _ in range(2))
        a, b = known[min(i, count)], known[j]  # each input is used
        match int(random.integers(9)):
            case 0 | 1:
                known.append(a + b)
            case 2:
                known.append(a - b)
            case 3 | 4:
                known.append(sizes.constant * a if count == CHANGED else 0.5 * a * b)
            case 5:
                known.append(a / functions.sqrt(b * b + 2.0))
            case 6:
                known.append(functions.sin(a))
            case 7:
                known.append(functions.cos(a + b))
            case 8:
                known.append(functions.exp(functions.sin(a)) * 0.4)
    return known[-FORMULA_OUTPUTS:]
