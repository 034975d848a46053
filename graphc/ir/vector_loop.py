"""What an op says of the inner loops of NumPy's generalised ufuncs that compute it.

A generalised ufunc of the signature `(n),()->(m)` makes vectors of vectors, and a number that it
multiplies by. Behind it are C functions, one for each dtype, that go through many vectors at once,
at any step between elements and between vectors. An op states one for each pass over its data; the
first one reads the operand, the others go over the result in place. Nothing here, and nothing that
reads it, knows a ufunc by name.

>>> # along axis 1 of a tensor [b, 8], divided by 8 in all
>>> VectorLoop("numpy.fft._pocketfft_umath", ("ifft",), 0, axis=1, size=8, power=1.0, work=800).axis
1
"""

from __future__ import annotations

from typing import NamedTuple

from graphc.ir.dim import Size


class VectorLoop(NamedTuple):
    """One pass, along `axis`: the module, and the ufuncs in it, of which `choice` is the place of
    the one to call. `size` is how many elements belong together in a vector, and the number that is
    multiplied by is `size ** -power`, for a power of 0, 1/2 or 1. `work`: about how many scalar
    operations the pass takes."""

    module: str
    ufuncs: tuple[str, ...]
    choice: Size
    axis: int
    size: Size
    power: float
    work: Size

    @property
    def time(self) -> Size:
        """How many operations a kernel does meanwhile: a loop's are seldom vectors."""
        return self.work * 4
