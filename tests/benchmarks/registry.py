"""All cases: importing this module is what fills the registry of `harness`."""

from __future__ import annotations

from . import (
    cases,
    cnn,
    convolution_cases,
    derivatives,
    formulas,
    mlp,
    models,
    normalization,
    operations,
    pairs,
    training,
)
from .harness import CASES

__all__ = [
    "CASES", "cases", "cnn", "convolution_cases", "derivatives", "formulas", "mlp", "models",
    "normalization", "operations", "pairs", "training",
]  # fmt: skip
