"""All cases: importing this module is what fills the registry of `harness`."""

from __future__ import annotations

from . import cases, derivatives, mlp, models
from .harness import CASES

__all__ = ["CASES", "cases", "derivatives", "mlp", "models"]
