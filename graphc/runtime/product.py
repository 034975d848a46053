"""The matrix product of our own (`lower/gemm.py`), made native once for a machine and kept."""

from __future__ import annotations

from functools import cache, partial

from graphc.lower import gemm
from graphc.lower.processor import cpu
from graphc.runtime import native

_NAME = "product"


def prepare_product(bits: int) -> None:
    """Compile the product for floats of that width, if the machine has none yet."""
    _, features = cpu()
    if gemm.lanes(features, bits):
        native.prepare(f"{_NAME} {bits}", partial(gemm.definition, features, bits))


@cache
def product_addresses(bits: int) -> tuple[int, int]:
    """The addresses of the product and the packing for floats of that width; 0 where the
    processor has no use for them."""
    _, features = cpu()
    if not gemm.lanes(features, bits):
        return 0, 0
    text = partial(gemm.definition, features, bits)
    product, packing = native.load(f"{_NAME} {bits}", text, gemm.symbols(bits))
    return product, packing
