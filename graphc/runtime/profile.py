"""What `step.profile(inputs)` gives: the times of steps, as data, table, picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from graphc.ir.operators import function
from graphc.keywords import Answering
from graphc.planning.program import Program
from graphc.planning.show import columns
from graphc.shown import Shown

REST = "between steps"


@dataclass(frozen=True, slots=True)
class StepTime:
    """What one step took of a call. `seconds` is for all its `calls`, inside of loops; `share` is
    of the whole call; `flops` and `bytes` are those of its cost, for all its calls; `of_limit` is
    the least time that they can take on this machine (`gc.machine()`) by the time that they
    took."""

    name: str
    kind: str
    calls: float
    seconds: float
    share: float
    flops: float
    bytes: float
    of_limit: float
    line: str


@dataclass(frozen=True, repr=False)
class Profile(Answering):
    """The times of a program's steps, in order, and what is left between them at the end: calls of
    the clock, loops, branches, looks for signals. The shares of all add up to 1.

    `seconds` is what a call took inside of the native program: the mean over the quicker half of
    the runs. What Python adds (checking arrays, making results) is not in it.
    """

    steps: tuple[StepTime, ...]
    seconds: float
    runs: int
    dims: Mapping[str, int]
    program: Program = field(repr=False, compare=False)

    def draw(self, path: Any = None, direction: str = "TB") -> Any:
        """A picture: a box for each step with its time and its share, arrows as wide as the bytes
        that they stand for. Path, result and errors are those of `gc.draw`, which takes a profile
        too."""
        return function("_draw_")(self, path, direction=direction)

    def _repr_svg_(self) -> str:
        return str(function("_repr_svg_")(self))

    def records(self) -> list[dict[str, Any]]:
        """A dict for each step, as a data frame takes them."""
        return [asdict(step) for step in self.steps]

    def table(self) -> str:
        """A line for each step, and one for the whole call."""
        head = ("step", "kind", "calls", "time", "share", "Gflop/s", "GB/s", "of limit", "line")
        lines = columns([head, *map(_row, self.steps)], numbers=range(2, 8))
        sizes = "".join(f", {name}={size}" for name, size in self.dims.items())
        end = f"a call: {duration(self.seconds)}, {self.runs} runs{sizes}"
        return Shown("\n".join([*lines, end]))

    __str__ = __repr__ = table


def _row(step: StepTime) -> tuple[str, ...]:
    rates = [f"{amount / step.seconds / 1e9:.1f}" if step.seconds and amount else ""
             for amount in (step.flops, step.bytes)]  # fmt: skip
    limit = f"{step.of_limit:.0%}" if step.of_limit else ""
    calls = f"{step.calls:g}" if step.calls else ""
    share = f"{step.share:.1%}"
    return (step.name, step.kind, calls, duration(step.seconds), share, *rates, limit, step.line)


def duration(seconds: float) -> str:
    """Seconds in the unit that leaves a number of up to three digits.

    >>> duration(0.0000125), duration(0.25), duration(3.0)
    ('12.5 us', '250 ms', '3 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
