"""`predict_scaling`: how long a step takes with more workers than there are, by formulas.

The time of a worker's rows is the sum over the program's steps of the longer of two times, that of
its operations and that of its bytes, as `gc.machine()` has both (the roofline). What gradients take
depends on how workers are connected. Buckets of them move in the order in which the program has
them, each behind the one before it, while the next ones are computed. Nothing is run: the numbers
are those of the symbolic costs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from graphc.distributed.buckets import when_ready
from graphc.distributed.programs import Programs
from graphc.distributed.strategy import DataParallel
from graphc.distributed.trainer import Trainer
from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dim import evaluate
from graphc.machines import Speed
from graphc.planning.show import columns
from graphc.runtime.compile import Function
from graphc.show.html import Html, tag
from graphc.train.batches import positive

if TYPE_CHECKING:
    from graphc.planning.cost import StepCost
    from graphc.planning.program import Program

POWERS = tuple(1 << i for i in range(11))  # 1 to 1,024 workers


@dataclass(frozen=True)
class Network:
    """Workers on machines of their own: seconds until a byte arrives, and bytes a second that each
    can send.

    W workers add up G bytes in 2 (W - 1) messages of G / W bytes from each, one behind the other:
    as in a ring (Patarasuk and Yuan, 2009), and at most as from each to each, as it is done here.
    What moves takes no time of processors, so it moves beside the computation.
    Errors: `ArgumentError` for a latency below 0, and a bandwidth that is not above 0.
    """

    latency: float
    bandwidth: float

    beside = True

    def __post_init__(self) -> None:
        _check(self)

    def seconds(self, moved: float, workers: int) -> float:
        """How long it takes to add up gradients of so many bytes."""
        turns = 2 * (workers - 1)
        return turns * (self.latency + moved / (workers * self.bandwidth))


@dataclass(frozen=True)
class SharedMemory:
    """Workers of one machine, as `DataParallel` has them: seconds until a byte that one writes to a
    socket is read by another, and bytes a second of the memory, which all share.

    Gradients are written where all see them. Each of W workers adds up a W-th of G bytes of all of
    them, which is to read G and to write G / W bytes, and speaks twice, by a byte to each. That is
    work of the processors and the memory that compute, so it takes its time where all of them are
    busy: no part of it is taken to be hidden.
    Errors: `ArgumentError` as of `Network`.
    """

    latency: float
    bandwidth: float

    beside = False

    def __post_init__(self) -> None:
        _check(self)

    def seconds(self, moved: float, workers: int) -> float:
        """How long it takes to add up gradients of so many bytes."""
        return 2 * (workers - 1) * self.latency + (workers + 1) * moved / self.bandwidth


@dataclass(frozen=True)
class ScalingPoint:
    """A step by so many workers: seconds of computing and of adding up gradients, and of the step,
    in which they overlap; how many times the examples a second of one worker."""

    workers: int
    rows: int
    compute: float
    communicate: float
    seconds: float
    speedup: float

    @property
    def hidden(self) -> float:
        """Seconds of adding up that were beside computing."""
        return max(self.compute + self.communicate - self.seconds, 0.0)

    @property
    def efficiency(self) -> float:
        return self.speedup / self.workers


@dataclass(frozen=True)
class Scaling:
    """What `predict_scaling` gives: points, as a table in text, and as a curve."""

    points: tuple[ScalingPoint, ...]
    gradients: int  # bytes

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("workers", "rows", "compute", "communicate", "hidden", "step", "speedup", "efficiency")
        ]
        for p in self.points:
            times = (f"{1000 * s:.3g} ms" for s in (p.compute, p.communicate, p.hidden, p.seconds))
            shown = (f"{p.speedup:.4g}", f"{100 * p.efficiency:.0f} %")
            rows.append((str(p.workers), str(p.rows), *times, *shown))
        return "\n".join(columns(rows))

    def draw(
        self, path: str | os.PathLike[str], measured: Mapping[int, float] | None = None
    ) -> Path:
        """Write the curve as SVG. `measured` are seconds of a step by numbers of workers, that of
        one among them, which are drawn as dots.

        Errors: `ArgumentError` for another suffix, and for what was measured without one worker.
        """
        target = Path(path)
        if target.suffix != ".svg":
            raise ArgumentError(
                "a curve is drawn as SVG", op="Scaling.draw", expected="a path that ends in .svg",
                given=str(path)[:80], where=origin.where(),
            )  # fmt: skip
        target.write_text(self._svg(self._measured(measured or {})), encoding="utf-8")
        return target

    def _measured(self, seconds: Mapping[int, float]) -> dict[int, float]:
        """Speedups of what was measured."""
        rows = {p.workers: p.rows for p in self.points}
        if seconds and (1 not in seconds or not seconds.keys() <= rows.keys()):
            raise ArgumentError(
                "what was measured does not fit the curve", op="Scaling.draw",
                expected="seconds by numbers of workers of the curve, 1 among them",
                given=", ".join(map(str, seconds)), where=origin.where(),
            )  # fmt: skip
        return {
            w: w * rows[w] / rows[1] * seconds[1] / taken for w, taken in seconds.items()
        }

    def _repr_svg_(self) -> str:
        return self._svg({})

    def _svg(self, measured: Mapping[int, float]) -> str:
        return str(_curve(self.points, measured))


def predict_scaling(
    step: Trainer | Function,
    machine: Speed,
    network: Network | SharedMemory,
    workers: Iterable[int] = POWERS,
    *,
    batch: int | None = None,
    rows: int | None = None,
) -> Scaling:
    """The time of a training step by many workers with `DataParallel`, computed and not measured.

    `step` is a `gc.distributed.Trainer` with `DataParallel` that has been fitted or asked for its
    `step`: its buckets move as they are computed. Or it is the compiled step of one process, as
    `gc.train.Trainer.step` gives it: of that, which computes new values and no gradients, all
    bytes move at the end. `machine` is what each worker has (`gc.machine()`,
    measured with the threads that a worker has), `network` how gradients move. `batch` is the
    number of examples of a step, which workers share; or `rows` is that of each worker, however
    many there are.
    Errors: `ArgumentError` for what is no step with updates, another strategy, several named dims,
    no or two sizes, and a batch smaller than the number of workers.

    >>> import numpy as np
    >>> import graphc as gc
    >>> from graphc.machines import Speed
    >>> x, w = gc.placeholder("x", ("n", 100)), gc.variable(np.zeros((100, 10), "f"), name="w")
    >>> loss = gc.mean((x @ w) ** 2)
    >>> step = gc.compile([x], loss, updates=[(w, w - 0.1 * gc.grad(loss, w))])
    >>> network = gc.distributed.Network(latency=1e-5, bandwidth=1e9)
    >>> found = gc.distributed.predict_scaling(
    ...     step, Speed(1e11, 1e10, 4e10), network, (1, 2), batch=4096
    ... )
    >>> found.gradients, f"{found.points[1].communicate:.3g}"
    (4000, '2.4e-05')
    """
    work = _work(step)
    dims = work.dims
    if len(dims) != 1 or (batch is None) == (rows is None):
        raise ArgumentError(
            "the size of a step is one number", op="predict_scaling", where=origin.where(),
            expected="one named dim, and batch=examples of all workers or rows=those of each",
            given=f"{len(dims)} named dims, batch={batch!r}, rows={rows!r}",
        )  # fmt: skip
    size = positive("predict_scaling", "batch" if rows is None else "rows", batch or rows)

    def point(count: int) -> tuple[int, float, float, float]:
        own = size if rows is not None else -(-size // count)
        return own, *work.seconds(machine, network, {dims[0]: own}, count)

    alone = point(1)
    found = []
    for given in workers:
        count = positive("predict_scaling", "workers", given)
        if rows is None and count > size:
            raise ArgumentError(
                "a batch is smaller than the number of workers", op="predict_scaling",
                expected=f"at most {size} workers", given=str(count), where=origin.where(),
                hint="rows=... keeps the examples of each worker, however many there are",
            )  # fmt: skip
        own, compute, communicate, seconds = point(count)
        whole = size if rows is None else own * count
        speedup = whole / seconds * alone[3] / alone[0]
        found.append(ScalingPoint(count, own, compute, communicate, seconds, speedup))
    return Scaling(tuple(found), sum(moved for _, moved in work.parts))


class Work(NamedTuple):
    """What a worker does in a step: steps of the program, and the bytes of gradients that are there
    behind them; the steps behind all of these; and the update, for which all sums are needed."""

    dims: tuple[str, ...]
    parts: list[tuple[Sequence[StepCost], int]]
    rest: Sequence[StepCost] = ()
    update: Sequence[StepCost] = ()

    def seconds(
        self, machine: Speed, network: Network | SharedMemory, at: Mapping[str, int], workers: int
    ) -> tuple[float, float, float]:
        """The time of computing, of adding up, and of both."""

        def taken(steps: Sequence[StepCost]) -> float:
            return sum(
                machine.seconds(evaluate(s.flops, at), evaluate(s.bytes, at)) for s in steps
            )

        computed = moved = communicate = 0.0
        for steps, count in self.parts:
            computed += taken(steps)
            more = network.seconds(count, workers)
            moved, communicate = max(computed, moved) + more, communicate + more
        computed, update = computed + taken(self.rest), taken(self.update)
        both = max(computed, moved) if network.beside else computed + communicate
        return computed + update, communicate, both + update


def _work(step: object) -> Work:
    """What a worker does in a step. Errors: `ArgumentError` for what is no training step."""
    if isinstance(step, Trainer) and isinstance(step.strategy, DataParallel):
        return _in_buckets(step._programs_("predict_scaling"))
    if isinstance(step, Function):
        moved = sum(v.value.nbytes for v, _ in step.graph.updates if v.trainable)
        if moved:
            return Work(step.graph.dims, [(step.cost().steps, moved)])
    raise ArgumentError(
        "not a training step", op="predict_scaling", given=repr(step)[:80], where=origin.where(),
        expected="a gc.distributed.Trainer with DataParallel, or a compiled function that updates "
        "parameters, as gc.train.Trainer.step gives it",
    )  # fmt: skip


def _in_buckets(programs: Programs) -> Work:
    """The steps of the program of gradients before each of its buckets, and of the update."""
    gradient = programs.gradient
    caller = gradient.caller
    assert caller is not None
    program = gradient.compilation.compiled.program
    count, start = len(program.steps), 0
    parts: list[tuple[Sequence[StepCost], int]] = []
    for bucket, ready in zip(
        programs.buckets, when_ready(programs.buckets, caller.announced), strict=True
    ):
        end = max(count - caller.announced[ready.announcements - 1][0], start)
        parts.append((_costs(program, start, end), bucket.bytes))
        start = end
    update = [s for part in programs.parts for s in part.update.cost().steps]
    return Work(gradient.graph.dims, parts, _costs(program, start, count), update)


def _costs(program: Program, start: int, end: int) -> Sequence[StepCost]:
    """What some steps of a program cost."""
    from graphc.planning.cost import program_cost

    return program_cost(replace(program, steps=program.steps[start:end])).steps


def _check(network: Network | SharedMemory) -> None:
    if not (0 <= network.latency < math.inf and 0 < network.bandwidth < math.inf):
        raise ArgumentError(
            "no network", op=type(network).__name__, given=str(network)[:80], where=origin.where(),
            expected="latency >= 0 s, bandwidth > 0 bytes/s",
        )  # fmt: skip


# -- the curve -------------------------------------------------------------------------------------
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 420, 60, 20, 20, 50


def _curve(points: Iterable[ScalingPoint], measured: Mapping[int, float]) -> Html:
    """Speedup over workers, both by powers of two; dashed, as many times as there are workers."""
    drawn = sorted(points, key=lambda p: p.workers)
    powers = max(1, math.ceil(math.log2(drawn[-1].workers)))
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(workers: float, speedup: float) -> tuple[float, float]:
        x = LEFT + math.log2(workers) / powers * across
        y = TOP + down - min(max(math.log2(speedup) / powers, 0.0), 1.0) * down
        return round(x, 1), round(y, 1)

    parts = [tag("rect", x=0, y=0, width=WIDTH, height=HEIGHT, fill="white")]
    for power in range(powers + 1):
        x, y = place(1 << power, 1 << power)
        parts.append(tag("line", x1=x, y1=TOP, x2=x, y2=TOP + down, stroke="#dddddd"))
        parts.append(tag("line", x1=LEFT, y1=y, x2=LEFT + across, y2=y, stroke="#dddddd"))
        parts.append(_text(x, TOP + down + 18, f"{1 << power:,}", "middle"))
        parts.append(_text(LEFT - 6, y + 4, f"{1 << power:,}", "end"))
    ends = " ".join(f"{x},{y}" for x, y in (place(1, 1), place(1 << powers, 1 << powers)))
    dashes = {"stroke-dasharray": "5 4"}
    parts.append(tag("polyline", points=ends, fill="none", stroke="#888888", **dashes))
    line = " ".join(f"{x},{y}" for x, y in (place(p.workers, p.speedup) for p in drawn))
    width = {"stroke-width": "2"}
    parts.append(tag("polyline", points=line, fill="none", stroke="#0072b2", **width))
    for workers, speedup in sorted(measured.items()):
        x, y = place(workers, speedup)
        shown = tag("title", f"measured: {speedup:.3g} by {workers} workers")
        parts.append(tag("circle", shown, cx=x, cy=y, r=5, fill="#d55e00"))
    parts.append(_text(LEFT + across / 2, HEIGHT - 10, "workers", "middle"))
    parts.append(_text(LEFT + 10, TOP + 16, "times the examples a second of one worker", "start"))
    if measured:
        parts.append(_text(LEFT + 10, TOP + 34, "line: computed, dots: measured", "start"))
    label = "Speedup over workers"
    return tag(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img", aria_label=label,
    )  # fmt: skip


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    look = {"font-family": "sans-serif", "font-size": "12"}
    return tag("text", text, x=x, y=y, text_anchor=anchor, fill="#444444", **look)
