"""One program in a process of its own: prints a JSON line with seconds by stage and the answers.

    python -m benchmarks.first.worker CONTENDER PROGRAM SIZE [CONSTANT]

CONSTANT is one number of the formula, if it is another than usual.
The clock begins when this file is run, before anything but the standard library is imported.
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter()

import contextlib  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from typing import Any  # noqa: E402


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run_graphc(program: str, given: tuple[str, ...], clock: Clock) -> list[Any]:
    with clock.stage("import"):
        import graphc as gc

        for name in ("grad", "vjp"):  # differentiating is told apart from building
            setattr(gc, name, _timed(getattr(gc, name), clock))
    with clock.stage("build"):
        from .data import sizes_of
        from .with_graphc import PROGRAMS

        made = PROGRAMS[program](sizes_of(*given))
    clock.seconds["build"] -= clock.seconds.get("differentiate", 0.0)
    function = gc.compile(made.inputs, made.outputs, made.updates, name=program)
    clock.seconds.update(getattr(function, "timings", {}))  # an older checkout has none
    with clock.stage("first call"):
        return list(function(*made.arrays))


def _timed(function: Any, clock: Clock) -> Any:
    def timed(*args: Any, **named: Any) -> Any:
        with clock.stage("differentiate"):
            return function(*args, **named)

    return timed


def run_jax(program: str, given: tuple[str, ...], clock: Clock) -> list[Any]:
    with clock.stage("import"):
        import jax

        # As in graphc, floats of Python and of NumPy's default are 64 bits wide in these programs.
        wide = ("hamiltonian", "runge_kutta", "gaussian_process", "lennard_jones", "formula")
        jax.config.update("jax_enable_x64", program.startswith(wide))
    with clock.stage("build"):
        from .data import sizes_of
        from .with_jax import PROGRAMS

        function, arrays = PROGRAMS[program](sizes_of(*given))
    jitted = jax.jit(function)
    with clock.stage("trace"):
        traced = jitted.trace(*arrays)
    with clock.stage("lower"):
        lowered = traced.lower()
    with clock.stage("compile"):
        compiled = lowered.compile()
    with clock.stage("first call"):
        return list(jax.tree.leaves(jax.block_until_ready(compiled(*arrays))))


def run_symbols(contender: str, given: tuple[str, ...], clock: Clock) -> list[Any]:
    from . import with_symbols
    from .data import sizes_of

    with clock.stage("import"):
        __import__(contender)
    with clock.stage("build"):
        call = getattr(with_symbols, f"{contender}_formula")(sizes_of(*given))
    with clock.stage("first call"):
        answers: list[Any] = call()
        return answers


def main() -> None:
    contender, program, *rest = sys.argv[1:]
    given = tuple(rest)
    clock = Clock()
    if contender == "jax":
        answers = run_jax(program, given, clock)
    elif contender in ("symengine", "casadi"):
        answers = run_symbols(contender, given, clock)
    else:
        answers = run_graphc(program, given, clock)
    total = time.perf_counter() - BEGAN
    import numpy as np

    shown = [np.asarray(a, "float64").ravel().tolist() for a in answers[:40]]
    sys.stdout.write(json.dumps({"total": total, "stages": clock.seconds, "answers": shown}) + "\n")


if __name__ == "__main__":
    main()
