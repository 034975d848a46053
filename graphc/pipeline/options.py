"""What a user may ask of the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked of the compiler. `check`: verify after every stage. `flush_subnormals`:
    numbers below the normal range may be taken as zero. `fastmath`: floats are taken as reals.
    `memory_budget`: the bytes that the arena may have, at the typical `sizes` of named dims.
    `tf32`: products of float32 may round their operands to 10 bits behind the point. `timed`: the
    program tells how long its steps take, as `profile()` asks. `announces`: it says which results
    are there while it runs, as workers ask that add up gradients."""

    check: bool = False
    flush_subnormals: bool = False
    fastmath: bool = False
    memory_budget: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    tf32: bool = False
    timed: bool = False
    announces: bool = False


DEFAULTS = Options()
