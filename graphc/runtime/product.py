"""The matrix product of our own (`lower/gemm.py`), made native once for a machine and kept.

What prints it is imported where it is compiled: who finds it in the cache needs no text.
"""

from __future__ import annotations

from functools import cache, partial

from graphc.lower.head import product_symbols
from graphc.lower.processor import cpu, product_lanes
from graphc.runtime import native

_NAME = "product"


def _text(bits: int) -> str:
    from graphc.lower import gemm

    _, features = cpu()
    return gemm.definition(features, bits)


def prepare_product(bits: int) -> None:
    """Compile the product for floats of that width, if the machine has none yet."""
    _, features = cpu()
    if product_lanes(features, bits):
        native.prepare(f"{_NAME} {bits}", partial(_text, bits))


@cache
def product_addresses(bits: int) -> tuple[int, int]:
    """The addresses of the product and the packing for floats of that width; 0 where the
    processor has no use for them."""
    _, features = cpu()
    if not product_lanes(features, bits):
        return 0, 0
    product, packing = native.load(f"{_NAME} {bits}", partial(_text, bits), product_symbols(bits))
    return product, packing
