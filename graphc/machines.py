"""What was measured on a processor, and decides what is compiled for it.

A target hands its `Machine` down through the pipeline; passes, fusion and planning take these
numbers from there and know no processor themselves. A `Speed` decides nothing: it is what
`gc.machine()` measures on the user's own processor, for people who compare a program with it.
"""

from __future__ import annotations

from dataclasses import dataclass

LINE = 64  # bytes of a line of the host's cache, on which arrays in its memory start
PAGE = 4096  # bytes of a page: the rest of an address by them picks the set of a first cache


@dataclass(frozen=True, slots=True)
class Machine:
    """The numbers of one kind of processor.

    tiny_product: multiply-adds of one matrix of a batch, up to which it is a loop.
    step_rows: rows of a loop's step, up to which its products leave the loop.
    load, store, strided: the cost of 16 floats (one after another; written; apart), where an
        addition of them is 1 (`Op.cost`).
    unrolled: static sizes up to this stay in a kernel's code, so that short loops unroll; other
        kernels serve all sizes.
    summed: the same for the lengths of innermost loops that accumulate.
    scalar_tail: the cost of work on the results of rows (`Op.cost`), from which on it is done in a
        kernel of its own, for vectors of rows.
    product_columns: products of at most so many columns are computed some rows at a time, with the
        kernel that takes them up; 0 where none is.
    least_columns: those of fewer are not, as most of a vector would be wasted.
    packed_columns, packed_rows: those of more are, up to so many columns, where so many rows pay
        for the packing of the right operand.
    cached_bytes: so much of a right operand, if not all of its rows, stays in cache meanwhile.
    epilogues: products scale their result, and add arrays and rows to it.
    zeros: bytes of them that a kernel can read in place of a row that is beside an array; 0 where
        none are.
    apart: bytes of an arena up to which steps that run beside each other have memory of their own.
    many_threads: thousands of threads share a kernel, as `loops/nest.py` finds; else a few share
        its outer loop, and long sums of one thread are cut into runs.
    """

    tiny_product: int
    step_rows: int
    load: float
    store: float
    strided: float
    unrolled: int
    summed: int
    scalar_tail: float
    product_columns: int
    cached_bytes: int
    packed_columns: int = 0
    packed_rows: int = 0
    zeros: int = 0
    least_columns: int = 1
    epilogues: bool = False
    apart: int = 0
    many_threads: bool = False

    def is_wide(self, columns: object) -> bool:
        """Whether products of so many columns have the right operand packed, if not by a BLAS."""
        return isinstance(columns, int) and columns > self.product_columns

    def cached(self, columns: object) -> int:
        """The bytes of a right operand that are taken at once. Of a wide one fewer: its rows are
        short then, but so is the memory for it, which a program has beside all that is alive."""
        return self.cached_bytes // 2 if self.is_wide(columns) else self.cached_bytes


CPU = Machine(
    # The BLAS is called for each matrix of a batch; a loop is not, and fuses with its neighbours.
    # Microseconds as calls of the BLAS : as a loop, float32 (float64), one thread, a busy machine:
    #
    #     20,000 of 2 x 2    286 : 7 (295 : 12)        2,000 of 8 x 8      56 : 24 (59 : 77)
    #     20,000 of 3 x 3    343 : 71 (362 : 77)         500 of 16 x 16    27 : 15 (41 : 38)
    #     10,000 of 4 x 4    176 : 81 (180 : 90)
    #     20,000 of 3 x 3 by a vector    338 : 24 (348 : 31)
    tiny_product=128,
    # Milliseconds in the loops : outside, for the gradient of an LSTM of 128, one thread (two
    # threads), some thousand rows in all:
    #
    #       1 row    13.4 : 5.6 (13.5 : 5.5)      128 rows    18.7 : 19.9 (10.6 : 10.9)
    #       8 rows    3.5 : 2.4 (3.5 : 1.9)       512 rows    35.4 : 39.4 (20.6 : 22.6)
    #      32 rows   10.7 : 10.0 (10.1 : 7.1)
    step_rows=64,
    load=4.0,  # of 64 bytes that are one after another, from the second-level cache
    store=6.0,  # there, with the reading of the line that it writes to
    strided=16.0,  # of elements that are apart, for as many elements
    # A vectorised loop takes 64 floats a turn, and what is left by fewer: rows of 20 by a vector
    # took 10.8 us where the size was unknown, and 8.2 us where it was in the code.
    unrolled=64,
    # 1,000 rows of 100 by a vector: 11.2 us with an unknown size, 7.5 with the size in the code.
    summed=256,
    # Two sigmoids behind each of 1,000 rows: 10 us one by one, 1.6 as vectors.
    scalar_tail=24.0,
    # GF/s of products by the BLAS : by our own with b in place : packed, float32, processor time on
    # a busy machine; the processor does 117 at most:
    #
    #     512 x 784 x 1024    95 : 91 : 109        512 x 1024 x 1024    96 : 87 : 106
    #     128 x 512 x 512     97 : 111 : 109
    #
    # By 208 rows of b at once, or by 104: the same; by 64: 3 less.
    product_columns=512,
    packed_columns=2048,
    packed_rows=64,
    cached_bytes=7 << 17,  # of a second-level cache
    zeros=4096,  # they are in the code of each kernel that reads them
    least_columns=8,
)

# Estimates: only whole programs were measured on a card. A product is a call of a library there,
# and so is a batch of them.
CUDA = Machine(
    tiny_product=128,
    step_rows=64,
    load=4.0,
    store=6.0,
    strided=16.0,
    unrolled=64,
    summed=64,
    scalar_tail=24.0,
    product_columns=0,
    cached_bytes=0,
    epilogues=True,
    apart=64 << 20,  # a wait costs some microseconds: nothing beside steps over so much
    many_threads=True,
)

# The architectures of cards that code is made for, and the oldest version of PTX that knows each:
# so the oldest driver that takes it. Where there is no card to ask, code is for sm_80.
PTX_VERSIONS = {
    "sm_75": 63,
    "sm_80": 70,
    "sm_86": 71,
    "sm_89": 78,
    "sm_90": 78,
    "sm_100": 86,
    "sm_103": 88,
    "sm_120": 87,
    "sm_121": 88,
}
DEFAULT_ARCHITECTURE = "sm_80"


@dataclass(frozen=True, slots=True)
class Speed:
    """What this processor was seen to do at its best, on all threads: operations of a product of
    matrices of float32 a second, and bytes read and written a second, from memory and from the
    second-level cache.

    >>> Speed(flops=1e11, bandwidth=1e10, cache_bandwidth=5e10).balance
    10.0
    """

    flops: float
    bandwidth: float
    cache_bandwidth: float

    @property
    def balance(self) -> float:
        """Operations for a byte from memory, from which on they and not the bytes take the time."""
        return self.flops / self.bandwidth

    def seconds(self, flops: float, moved: float) -> float:
        """The least time that work can take: of its operations and of its bytes, the longer one.
        What fits in the second-level cache may have been there."""
        cached = moved <= CPU.cached_bytes
        bandwidth = self.cache_bandwidth if cached else self.bandwidth
        return max(flops / self.flops, moved / bandwidth)
