"""Branch-free scalar functions as LLVM IR, which vectorise once inlined into a loop.

A kernel declares `float @gc.exp.f32(float)` and calls it; the compiler links the module text of
`definitions` (or, on a CPU without AVX2 and FMA, of `libm_definitions`) and optimises. The error of
the inline forms stands in docs/accuracy.md; it holds over every float32 and float64, NaN, inf,
signed zeros and subnormals included.
"""

from graphc.lower.vector_math.library import (
    BINARY,
    FUNCTIONS,
    OF_LIBM,
    UNARY,
    available,
    definitions,
    definitions_anywhere,
    libm_definitions,
    symbol,
)
from graphc.lower.vector_math.powers import of_exponent

__all__ = [
    "BINARY",
    "FUNCTIONS",
    "OF_LIBM",
    "UNARY",
    "available",
    "definitions",
    "definitions_anywhere",
    "libm_definitions",
    "of_exponent",
    "symbol",
]
