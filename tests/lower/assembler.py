"""NVIDIA's assembler, which needs no card: what each launch takes of a multiprocessor.

    python -m tests.lower.assembler    # a table of all kernels of the programs that a card is asked

It is nvJitLink's, by cuda-bindings: `pip install nvidia-nvjitlink`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import graphc as gc
from graphc.ir.graph import Graph
from graphc.loops.grammar import Kernel
from graphc.lower import nvptx
from graphc.lower.gpu_source import print_launches
from graphc.machines import CUDA
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.benchmarks import gpu_peers
from tests.properties.launches import PROGRAMS
from tests.runtime.cuda_stub import models

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")


class Used(NamedTuple):
    """What a launch takes: registers of a thread; bytes of them that went to memory; bytes of a
    thread's stack; bytes that a block shares."""

    registers: int
    spilled: int
    stack: int
    shared: int


def why_not() -> str:
    """What is missing for it, or ""."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        load_nvidia_dynamic_lib("nvJitLink")
    except Exception as error:  # each version of it has errors of its own
        return f"no nvJitLink: {str(error).splitlines()[0]}"
    return ""


def assemble(ptx: str, architecture: str) -> dict[str, Used]:
    """What each launch of a module takes. Errors: those of the assembler."""
    from cuda.bindings import nvjitlink

    text = ptx.encode()
    handle = nvjitlink.create(2, [f"-arch={architecture}", "-verbose"])
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(handle)
        said = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, said)
    finally:
        nvjitlink.destroy(handle)
    found = {}
    for part in said.decode().split("Compiling entry function ")[1:]:
        name = part.split("'")[1]
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill", part)))
        numbers = (
            int(match[1]) if (match := re.search(pattern, part)) else 0
            for pattern in (r"Used (\d+) registers", r"(\d+) bytes stack", r"(\d+) bytes smem")
        )
        registers, stack, shared = numbers
        found[name] = Used(registers, spilled, stack, shared)
    return found


def assembled(kernel: Kernel) -> Iterator[tuple[str, str, Used]]:
    """(launch, architecture, what it takes) of a kernel for each architecture."""
    text = nvptx.join(nvptx.unoptimized(print_launches(kernel)))
    for architecture in ARCHITECTURES:
        ptx = nvptx.compile_texts(nvptx.split(text), architecture)[0]
        for launch, used in assemble(ptx, architecture).items():
            yield launch, architecture, used


# -- the programs that a card is asked -------------------------------------------------------------
def _compared(made: tuple[gpu_peers.Model, Mapping[str, Any], Sequence[Any]]) -> Graph:
    """A training step of a model that others train, too."""
    model, weights, data = made
    inputs = [gc.placeholder(f"in{k}", a.shape, str(a.dtype)) for k, a in enumerate(data)]
    own = {name: gc.variable(w, name) for name, w in weights.items()}
    loss = model.graphc(own, *inputs)
    steps = zip(own.values(), gc.grad(loss, list(own.values())), strict=True)
    return Graph(inputs, [loss], [(w, w - gpu_peers.RATE * g) for w, g in steps])


def _trained(build: Callable[[], Any]) -> Graph:
    inputs, outputs, updates = build()
    return Graph(inputs, outputs, list(updates.items()))


def programs() -> dict[str, Callable[[], Graph]]:
    """The programs of `tests.benchmarks.gpu`, by name."""
    steps = (models.classifier, models.recurrent, models.attention)
    return {
        **{program.__name__: program for program in PROGRAMS},
        **{f"step of {build.__name__}": lambda b=build: _trained(b) for build in steps},
        "mlp of 256": lambda: _compared(gpu_peers.perceptron(32, 256)),
        "mlp of 4096": lambda: _compared(gpu_peers.perceptron(4096, 4096)),
        "lstm of 128": lambda: _compared(gpu_peers.lstm(32, 64, 128)),
        "attention of 512": lambda: _compared(gpu_peers.attention(32, 512, 512)),
    }


def kernels_of(graph: Graph) -> list[Kernel]:
    program = run_pipeline(graph, Stages(), machine=CUDA).program
    calls = [step for step in walk_steps(program.steps) if isinstance(step, Call)]
    return list({id(call.kernel): call.kernel for call in calls}.values())


def main() -> None:
    """The table, in Markdown; a launch that several programs have is in it once."""
    heads = [f"{a} registers" for a in ARCHITECTURES]
    _row(["program", "launch", *heads, "spilled", "stack", "shared"])
    _row(["---"] * (5 + len(heads)))
    seen = set()
    for name, build in programs().items():
        for number, kernel in enumerate(kernels_of(build())):
            source = print_launches(kernel).source
            if source in seen:
                continue
            seen.add(source)
            rows: dict[str, list[Used]] = {}
            for launch, _, used in assembled(kernel):
                rows.setdefault(launch, []).append(used)
            for launch, found in rows.items():
                most = [max(used[k] for used in found) for k in (1, 2, 3)]
                _row([name, f"{number}: {launch}", *(u.registers for u in found), *most])


def _row(cells: Sequence[object]) -> None:
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
