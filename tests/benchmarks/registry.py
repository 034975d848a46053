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
    spectral,
    training,
)
from .harness import CASES

__all__ = [
    "CASES", "cases", "cnn", "convolution_cases", "derivatives", "formulas", "mlp", "models",
    "normalization", "operations", "pairs", "spectral", "training",
]  # fmt: skip
