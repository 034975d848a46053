"""Whether a card's cuBLASLt means by the epilogues of gradients what graphc means: it is asked
once, by products of which the answer is known.

The derivative of relu is 0 at 0 and at -0, and where NaN is. What the library's mask says there its
documentation does not tell, nor that a sum of columns is none of scaled numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.runtime.cuda_memory import Card
from graphc.runtime.cuda_products import MASK_BITS, Matrix, Products, Work

SIZE = 64  # rows and columns of each matrix
_agrees: dict[Card, bool] = {}


def agree(products: Products) -> bool:
    """Whether it does: a mask is of what is positive, and takes away the rest; sums are sums.
    Nothing may be under way in the stream of the products, and nothing be recorded there."""
    card = products.card
    if card not in _agrees:
        _agrees[card] = _ask(products)
    return _agrees[card]


def forget() -> None:
    """What was answered, as if no card had been asked."""
    _agrees.clear()


def _ask(products: Products) -> bool:
    card, stream = products.card, products.stream
    one = np.eye(SIZE, dtype=np.float32)
    place = np.add.outer(np.arange(SIZE), np.arange(SIZE))
    signs = np.array([1, -1, 0, -0.0, 2.0**-20, -(2.0**-20), 3], np.float32)[place % 7]
    signs[1, 2] = np.nan  # in a product with zeros: NaN in all of a column
    positive = signs > 0
    positive[:, 2] = False
    numbers = (place % 5 - 1).astype(np.float32)

    arrays = [one, signs, numbers, np.zeros_like(one), np.zeros_like(one)]
    arrays += [np.zeros(SIZE, np.float32), np.zeros(SIZE * MASK_BITS // 8, np.uint8)]
    steps = np.cumsum([0, *(a.nbytes for a in arrays)])
    start = card.allocate(int(steps[-1]))
    try:
        for array, step in zip(arrays, steps, strict=False):
            card.upload(start + int(step), array, stream)
        a, b, c, kept, cut, sums, mask = (start + int(step) for step in steps[:-1])
        works = [
            _work(a, b, kept)._replace(positive=True, keeps=mask),
            _work(a, c, cut)._replace(masked=mask),
            _work(a, c, kept)._replace(sums=sums),
        ]
        if not all(products.has(work, 32) for work in works):
            return False
        for work in works:
            products.enqueue(work, 32, products.parts(work, 32))
        masked, added = np.zeros_like(one), np.zeros(SIZE, np.float32)
        card.download(masked, cut, stream)
        card.download(added, sums, stream)
        card.wait(stream)
    finally:
        card.free(start)
    right = np.where(positive, numbers, np.float32(0))
    return bool((masked == right).all() and (added == numbers.sum(0)).all())


def _work(a: int, b: int, c: int) -> Work:
    matrices: list[Any] = [Matrix(address, SIZE, False, [], []) for address in (a, b, c)]
    return Work(matrices, SIZE, SIZE, SIZE, [], [])
