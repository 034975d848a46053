"""Branch-free scalar functions as LLVM IR, which vectorise once inlined into a loop.

A kernel declares `float @gc.exp.f32(float)` and calls it; the compiler links the module text of
`definitions` (or, on a CPU without AVX2 and FMA, of `libm_definitions`) and optimises. Error of the
inline forms: at most 1 ULP (sigmoid and softplus 2) over every float32 and float64, NaN, inf,
signed zeros and subnormals included.
"""

from graphc.lower.vector_math.library import (
    FUNCTIONS,
    available,
    definitions,
    libm_definitions,
    symbol,
)

__all__ = ["FUNCTIONS", "available", "definitions", "libm_definitions", "symbol"]
