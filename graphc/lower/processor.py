"""The processor that this runs on, as LLVM knows it: its name, its features, a machine for it.

A file of its own, since loading a program from the cache needs no more of what makes code.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import llvmlite.binding as llvm

# Elements that lie at one distance, of which LLVM loads all together, up to this distance: a matrix
# of 3 x 3. LLVM's own 8 makes gathers of those: 100,000 determinants of float32 take 0.35 ms so,
# and 0.15 by vectors that are loaded whole; equations 0.57 and 0.27. It knows this as an option of
# the process only. No more than is needed: at a distance of 14 its two models of costs disagreed,
# which ends the process.
INTERLEAVED = 9
# What LLVM may spend on the number of turns of a loop, before it, to write several turns out at
# once. A part of a loop ends at its own end or at the whole loop's, which costs 5 or 6, more than
# LLVM's own 4: 1,000,000 numbers are counted in 0.65 ms so, and in 0.8 one by one.
TURNS = 6


# LLVM 22 makes `vpmovd2m` and `kmov`, which take the signs of numbers to a register, one
# instruction (`vmovmskps`, or its like for other widths). It does so also where the vector is one
# that this instruction cannot name, and where the mask is wanted again behind a branch: wrong
# numbers then (llvm-project, issues 191304 and 174871). Where that may have happened, code is made
# without the features to which `vpmovd2m` belongs.
_SIGNS = re.compile(
    rb"\xc5[\x78\x79\x7c\x7d\xf8\xf9\xfc\xfd][\x50\xd7]"
    rb"|\xc4[\x01\x21\x41\x61\x81\xa1\xc1\xe1][\x78\x79\x7c\x7d\xf8\xf9\xfc\xfd][\x50\xd7]"
)
_MASKS_OF_SIGNS = ",-avx512dq,-avx512bw"


def emit_object(module: Any, machine: Any) -> bytes:
    """The code of an optimised module, for this processor."""
    data: bytes = machine.emit_object(module)
    if "+avx512dq" in cpu()[1] and _SIGNS.search(data):
        data = _cautious().emit_object(module)
    return data


@cache
def _cautious() -> Any:
    return target_machine(without=_MASKS_OF_SIGNS)


@cache
def initialize() -> None:
    """Make the native target and the C library's symbols known to LLVM, once."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.set_option("graphc", f"-max-interleave-group-factor={INTERLEAVED}")
    llvm.set_option("graphc", f"-scev-cheap-expansion-budget={TURNS}")
    for library in ("libm.so.6", "libc.so.6"):
        try:
            llvm.load_library_permanently(library)
        except RuntimeError:  # another platform: the process has the symbols already
            continue


@cache
def cpu() -> tuple[str, str]:
    """The name and features of this processor, as LLVM calls them."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def product_lanes(features: str, bits: int) -> int:
    """Elements in a vector register of our own matrix product, or 0 where that does not pay (no
    AVX2 with FMA)."""
    names = set(features.split(","))
    if "+avx512f" in names and "+avx512vl" in names:
        return 512 // bits
    return 256 // bits if {"+avx2", "+fma"} <= names else 0


def target_machine(level: int = 3, without: str = "") -> Any:
    """The machine that code is made for: this one. `level`: how much its code is optimised;
    `without`: features that it is not to use."""
    initialize()
    name, features = cpu()
    features += without
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=name, features=features, opt=level, reloc="pic", codemodel="default"
    )
