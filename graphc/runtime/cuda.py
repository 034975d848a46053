"""`gc.cuda`: which cards programs can run on, and arrays there.

gc.cuda.devices()                                       # [] where there is none
f = gc.compile([x], y, target="cuda", device=0, results="device")
f(array)                                                # a gc.cuda.Array
"""

from __future__ import annotations

from graphc.keywords import answer
from graphc.runtime import cuda_driver
from graphc.runtime.cuda_array import Array
from graphc.runtime.cuda_driver import Device

__all__ = ["Array", "Device", "devices"]


def devices() -> list[Device]:
    """The cards that programs can run on, each with `index`, `name`, `capability` and `memory` in
    bytes; none where there is no card, no driver or no cuda-bindings. What is missing is in the
    error of a call of a program for target="cuda".

    >>> import graphc as gc
    >>> all(card.capability >= (7, 5) for card in gc.cuda.devices())
    True
    """
    return cuda_driver.usable()


answer(globals())
