"""What a user may ask of the compiler."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked of the compiler. `check`: verify after every stage. `flush_subnormals`:
    numbers below the normal range are taken as zero. `fastmath`: floats are taken as reals."""

    check: bool = False
    flush_subnormals: bool = False
    fastmath: bool = False
