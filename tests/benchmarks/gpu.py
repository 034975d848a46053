"""All that a card is asked, in one call: cheap questions first, figures written as they come.

    python -m tests.benchmarks.gpu [--minutes 10] [--out gpu.jsonl] [--stub] [--only WORDS]
    python -m tests.benchmarks.gpu --report gpu.jsonl

Every line of the file is one answer, and how long it took. First what decides how programs are run:
what is there, the bandwidth of copies, whether cuBLASLt's epilogues mean what graphc means by them,
what a launch costs. Then what has changed since the last card: the bits of functions beside this
processor's, small products by each algorithm that cuBLASLt proposes, and with epilogues, the
bandwidth of kernels over large arrays, training steps of graphc alone, with and without these
epilogues. Then training steps beside those of PyTorch and JAX, where these are installed
(`gpu_peers.py`), with answers compared. Then all that is right or wrong: whether kernels give what
the interpreter gives, and the very bits that the simulator of threads gives (but for functions such
as exp, which are NumPy's there); whether training steps give what the CPU gives; what
compute-sanitizer says, where it is found. What fails is an answer too, and the next question is
asked.

`--stub` asks the driver of tests/runtime/cuda_stub, where times mean nothing; `--only` asks what
has these words in it. `--report` prints the tables of such a file, for docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("GRAPHC_CACHE", "0")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # others use the card, too

import numpy as np

import graphc as gc
from graphc.checking.kernels import regions_of
from graphc.checking.simulator import Simulator, run_launches
from graphc.fusion.kernel import build_kernel
from graphc.ir.dim import evaluate
from graphc.lower.gpu_source import print_launches
from graphc.machines import CUDA
from graphc.runtime import cuda_driver, cuda_epilogues, cuda_memory
from graphc.runtime.cuda_driver import done
from graphc.runtime.cuda_memory import Card
from tests.benchmarks import gpu_peers, gpu_products
from tests.properties.launches import PROGRAMS, Program, arrays_at, optimised
from tests.runtime.cuda_stub import models as steps

Answer = dict[str, Any]
TIMES = 20


class Asked:
    """The questions of one run, until the time is up."""

    def __init__(self, path: Path, minutes: float, small: bool, contenders: Sequence[str]) -> None:
        self.path, self.small, self.contenders = path, small, contenders
        self.end = time.monotonic() + 60 * minutes
        self.answers: list[Answer] = []
        self.path.write_text("", encoding="utf-8")

    def ask(self, question: str, answer: Callable[[], Answer]) -> None:
        started = time.monotonic()
        if self.left() < 0:
            found: Answer = {"left out": "the time is up"}
        else:
            try:
                found = answer()
            except Exception as error:  # an answer, too
                found = {"failed": f"{type(error).__name__}: {error}"[:2000]}
        found["asked for s"] = round(time.monotonic() - started, 2)
        self.answers.append({"question": question, **found})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.answers[-1]) + "\n")
        print(question, "|", ", ".join(f"{k}: {v}" for k, v in found.items()), flush=True)

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    @property
    def bandwidth(self) -> float:
        return next((a["GB/s"] for a in self.answers if "copies" in a["question"]), float("nan"))


def settle() -> None:
    """Wait for what graphc gave the card."""
    card = cuda_memory.card()
    with card.entered():
        card.settle()


def in_a_row(call: Callable[[], Any], times: int) -> Callable[[], None]:
    """Calls that do not wait for the one before, and the end of all."""

    def some() -> None:
        for _ in range(times):
            call()
        settle()

    return some


def seconds(call: Callable[[], Any], times: int) -> float:
    """Of one call, the median; it waits for the card."""
    call()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return float(np.median(found))


# -- the questions ---------------------------------------------------------------------------------
def what_is_there() -> Answer:
    device = cuda_driver.devices()[0]
    packages = {}
    for name in ("graphc", "cuda-bindings", "nvidia-cublas", "numba", "torch", "jax"):
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    driver = done(cuda_driver.driver().cuDriverGetVersion(), "asking the driver")
    return {
        "card": device.name,
        "architecture": device.architecture,
        "memory": device.memory,
        "driver": int(driver),
        "python": platform.python_version(),
        **packages,
    }


def copies(size: int) -> Answer:
    """Bytes read and written a second by a copy on the card."""
    card = cuda_memory.card()
    with card.waiting() as stream:
        blocks = [card.allocate(size) for _ in range(2)]

        def copy() -> None:
            for _ in range(10):
                card.copy(*blocks, size, stream)
            card.wait(stream)

        taken = seconds(copy, 5) / 10
        for block in blocks:
            card.free(block)
    return {"bytes": size, "GB/s": round(2 * size / taken / 1e9, 1)}


def a_launch(kernels: int) -> Answer:
    """A call of a program of small kernels, each of which waits for the one before."""
    x = gc.placeholder("gpu_x", (64,))
    y = x
    for _ in range(kernels):
        y = gc.flip(y / (1.0 + gc.sum(y)))
    f, stays = (gc.compile([x], y, target="cuda", results=r) for r in ("host", "device"))
    array = np.ones(64, "float32")
    there = stays(array)
    calls = sum(len(kernel.calls) for kernel in f.kernels)
    taken = {"waited for": seconds(lambda: f(array), TIMES)}
    taken["in a row"] = seconds(in_a_row(lambda: stays(there), 50), 5) / 50
    return {"kernels": calls, **{f"us {k}": round(1e6 * s, 1) for k, s in taken.items()}}


def equals_the_interpreter(program: Program, n: int, m: int) -> Answer:
    graph = program()
    arrays = arrays_at(graph, n, m)
    card, cpu = (
        gc.compile(list(graph.inputs), list(graph.outputs), target=target)
        for target in ("cuda", "reference")
    )
    worst = 0.0
    for a, e in zip(card(*arrays), cpu(*arrays), strict=True):
        np.testing.assert_allclose(a, e, rtol=2e-4, atol=2e-4)
        worst = max([worst, *np.ravel(np.abs(np.asarray(a, float) - e))])
    return {"n": n, "m": m, "largest difference": float(worst)}


def has_the_bits_of_the_simulator(program: Program, n: int, m: int) -> Answer:
    """Of a program that is one kernel."""
    graph = program()
    arrays = arrays_at(graph, n, m)
    (region,) = regions_of(optimised(graph), arrays)
    built = build_kernel(**region.node.attrs, machine=CUDA)
    memory = {}
    for buffer in built.kernel.buffers:
        memory[buffer] = np.zeros(evaluate(buffer.size, region.dims), buffer.dtype.numpy)
    for buffer, array in zip(built.inputs, region.operands, strict=True):
        memory[buffer][...] = np.ravel(array)
    threads = Simulator(Card.threads, races=False)
    run_launches(print_launches(built.kernel), threads, memory, region.dims)
    found = gc.compile(list(region.body.inputs), list(region.body.outputs), target="cuda")
    differ = sum(
        int((np.ravel(a).view(np.uint8) != memory[b].view(np.uint8)).any())
        for a, b in zip(found(*region.operands), built.outputs, strict=True)
    )
    return {"n": n, "m": m, "results": len(built.outputs), "of other bits": differ}


def has_the_bits_of_the_processor(program: Program, n: int, m: int) -> Answer:
    graph = program()
    arrays = arrays_at(graph, n, m)
    card, cpu = (
        gc.compile(list(graph.inputs), list(graph.outputs), target=target)
        for target in ("cuda", "cpu")
    )
    found = list(zip(card(*arrays), cpu(*arrays), strict=True))
    differ = sum(int(np.sum(np.asarray(a) != np.asarray(e))) for a, e in found)
    return {"n": n, "m": m, "elements": sum(np.size(a) for a, _ in found), "differ": differ}


# Of float32, with formulas of graphc's own on both sides.
SCALAR = (
    *("exp", "exp2", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "erf", "erfc"),
    *("sinh", "cosh", "atan", "asinh", "sin", "cbrt"),
)


def functions_have_the_bits_of_the_processor(count: int) -> Answer:
    """At so many float32 of all exponents, of either sign: how many differ, by function."""
    x = gc.placeholder("gpu_x", ("n",))
    every = np.linspace(0, 2**32 - 1, count).astype(np.uint32).view(np.float32)
    results = [getattr(gc, name)(x) for name in SCALAR]
    card, cpu = (gc.compile([x], results, target=target)(every) for target in ("cuda", "cpu"))
    answer: Answer = {"elements": count}
    for name, found, expected in zip(SCALAR, card, cpu, strict=True):
        other = found.view(np.uint32) != expected.view(np.uint32)
        other &= ~(np.isnan(found) & np.isnan(expected))
        if other.any():
            first = int(other.argmax())
            said = f"{other.sum()}, at {every[first]!r} {found[first]!r}, not {expected[first]!r}"
            answer[name] = said
    return answer | {"functions that differ": len(answer) - 1}


def a_step(build: Any, n: int, m: int) -> Answer:
    """Training steps against the CPU's, and how long one takes."""
    arrays = steps.data(build.__name__, n, m)
    (cpu, ours), (card, theirs) = steps.both(build)
    for _ in range(5):
        steps.assert_close(card(*arrays), cpu(*arrays))
    steps.assert_close([v.value for v in theirs], [v.value for v in ours])
    taken = {"card": seconds(lambda: card(*arrays), TIMES), "cpu": seconds(lambda: cpu(*arrays), 3)}
    return {"n": n, "m": m, **{f"{k} ms": round(1000 * s, 3) for k, s in taken.items()}}


def normalised(x: gc.Tensor) -> gc.Tensor:
    """Layer norm, without weights."""
    mean = gc.mean(x, axis=1, keepdims=True)
    return (x - mean) / gc.sqrt(gc.var(x, axis=1, keepdims=True) + 1e-5)


OF_LARGE: Mapping[str, Callable[[gc.Tensor], gc.Tensor]] = {
    "x / 2 + 1": lambda x: x * 0.5 + 1.0,
    "exp": gc.exp,
    "tanh": gc.tanh,
    "sigmoid": gc.sigmoid,
    "log": lambda x: gc.log(gc.abs(x)),
    "gelu": gc.gelu,
    "softmax of rows": gc.softmax,
    "layer norm of rows": normalised,
    "sums of rows": lambda x: gc.sum(x, axis=1),
    "sums of columns": lambda x: gc.sum(x, axis=0),
}


def large(name: str, megabytes: int, bandwidth: float) -> Answer:
    """A kernel over arrays that stay on the card, a variable and a result."""
    n = megabytes * (1 << 20) // 4 // 1024
    rng = np.random.default_rng(0)
    x = gc.variable(rng.standard_normal((n, 1024), dtype=np.float32), "gpu_large")
    y = OF_LARGE[name](x)
    f = gc.compile([], y, target="cuda", results="device")
    taken = seconds(in_a_row(f, 20), 5) / 20
    reached = (n * 4096 + f().nbytes) / taken / 1e9
    return {"MB": megabytes, "GB/s": round(reached, 1), "of copies": round(reached / bandwidth, 3)}


def an_input(kilobytes: int) -> Answer:
    """What an input costs that is on the card already, and one that is not."""
    x = gc.placeholder("gpu_input", ("n",))
    f = gc.compile([x], gc.max(x), target="cuda")
    array = np.ones(256 * kilobytes, "float32")
    there = gc.compile([x], gc.positive(x), target="cuda", results="device")(array)
    settle()
    taken = {"host": seconds(lambda: f(array), TIMES), "card": seconds(lambda: f(there), TIMES)}
    return {"KB": kilobytes, **{f"{k} us": round(1e6 * s, 1) for k, s in taken.items()}}


def relu_of_nan() -> Answer:
    """What the library's relu makes of NaN; how far it is otherwise."""
    x, w = gc.placeholder("gpu_x", (64, 64)), gc.placeholder("gpu_w", (64, 64))
    f = gc.compile([x, w], gc.relu(x @ w), target="cuda")
    arrays = [np.random.default_rng(k).normal(size=(64, 64)).astype("float32") for k in range(2)]
    expected = np.maximum(np.matmul(*arrays), 0)
    arrays[0][0, 0] = np.nan
    found = f(*arrays)
    return {"NaN": float(found[0, 0]), "differs by": float(np.abs(found - expected)[1:].max())}


def alone(made: Any, times: int) -> Answer:
    """A training step of graphc's: its time, and that where kernels do what epilogues of products
    would do for gradients."""
    model, weights, data = made
    answer: Answer = {"model": model.name}
    agrees = cuda_epilogues._agrees
    known = dict(agrees)
    try:
        for name in ("us", "us by kernels"):
            contender = gpu_peers.graphc_step(model, weights, data)
            contender.step()
            contender.wait()

            def some(contender: gpu_peers.Contender = contender) -> None:
                for _ in range(times):
                    contender.step()
                contender.wait()

            answer[name] = round(1e6 * seconds(some, 5) / times, 1)
            agrees[cuda_memory.card()] = False
    finally:
        agrees.clear()
        agrees.update(known)
    return answer


def beside_others(made: Any, steps: int, contenders: Sequence[str]) -> Answer:
    """Training steps of all contenders: how long one takes, and the first one with all before it;
    and how far losses and weights are from graphc's."""
    model, weights, data = made
    answer: Answer = {"model": model.name}
    expected: Any = None
    for name in (n for n in gpu_peers.there() if n in contenders):
        started = time.perf_counter()
        try:
            contender = gpu_peers.CONTENDERS[name](model, weights, data)
            contender.step()
            loss = contender.loss()
        except Exception as error:  # that of one is no other's
            answer[f"{name} failed"] = f"{type(error).__name__}: {error}"[:500]
            continue
        answer[f"{name} first s"] = round(time.perf_counter() - started, 3)
        found = {"loss": np.float32(loss), **contender.weights()}
        if expected is None:
            expected = found
        answer[f"{name} differs by"] = max(
            float(np.max(np.abs(found[k] - expected[k])) / np.max(np.abs(expected[k])))
            for k in expected
        )

        def some(contender: gpu_peers.Contender = contender) -> None:
            for _ in range(steps):
                contender.step()
            contender.wait()

        answer[f"{name} us"] = round(1e6 * seconds(some, 5) / steps, 1)
    others = [answer[f"{n} us"] for n in ("torch", "jax") if f"{n} us" in answer]
    if others and "graphc us" in answer:
        answer["of the best"] = round(answer["graphc us"] / min(others), 3)
    return answer


def sanitized(tool: str, most: float) -> Answer:
    """What compute-sanitizer says of all kernels, in a process of its own."""
    found = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not Path(found).exists():
        return {"left out": "there is no compute-sanitizer"}
    with tempfile.TemporaryDirectory() as folder:
        options = ["--out", f"{folder}/gpu.jsonl", "--only", "against the interpreter"]
        command = [sys.executable, "-m", "tests.benchmarks.gpu", "--small", *options]
        checked = [found, "--tool", tool, "--error-exitcode", "9", *command]
        done = subprocess.run(checked, capture_output=True, text=True, check=False, timeout=most)
    said = [line for line in done.stdout.splitlines() if line.startswith("=========")]
    return {"exit": done.returncode, "says": " ".join(said[-3:])[:1000]}


def questions(asked: Asked) -> Iterator[tuple[str, Callable[[], Answer]]]:
    """From the cheapest and most telling on."""
    small = asked.small
    yield "what is there", what_is_there
    yield "copies", lambda: copies(1 << (20 if small else 28))
    yield "epilogues", gpu_products.algorithms
    yield "relu of NaN", relu_of_nan
    yield "a launch", lambda: a_launch(2)
    yield "launches", lambda: a_launch(4 if small else 25)
    yield "inputs", lambda: an_input(4 if small else 1 << 14)
    yield (
        "functions beside this processor's bits",
        lambda: functions_have_the_bits_of_the_processor(10_001 if small else 1 << 22),
    )
    for shape in list(gpu_products.SHAPES)[: 2 if small else None]:
        yield "products", lambda k=shape: gpu_products.times(k, 2 if small else 50)
    for name in OF_LARGE:
        for megabytes in (1,) if small else (64, 256):
            kind = f"{name} over large arrays"
            yield kind, lambda k=name, s=megabytes: large(k, s, asked.bandwidth)
    for made, times in compared(small):
        yield "steps alone", lambda m=made, t=times: alone(m(), t)
    for program in PROGRAMS:
        yield _against(program), lambda p=program: equals_the_interpreter(p, 33, 5)
    for made, times in compared(small):
        yield (
            "steps beside others",
            lambda m=made, t=times: beside_others(m(), t, asked.contenders),
        )
    yield from of_all_kernels(small)
    for tool in () if small else ("memcheck", "racecheck"):
        most = min(240.0, max(asked.left(), 1.0))
        yield f"compute-sanitizer, {tool}", lambda t=tool, m=most: sanitized(t, m)


def _against(program: Program) -> str:
    return f"{program.__name__} against the interpreter"


def of_all_kernels(small: bool) -> Iterator[tuple[str, Callable[[], Answer]]]:
    """Whether they are right at larger sizes, and bit by bit."""
    for program in PROGRAMS:
        for n, m in () if small else ((257, 300), (1025, 1025)):
            yield _against(program), lambda p=program, n=n, m=m: equals_the_interpreter(p, n, m)
    for program in PROGRAMS:
        name = f"{program.__name__} bit by bit"
        yield name, lambda p=program: has_the_bits_of_the_simulator(p, 33, 5)
    for program in PROGRAMS:
        if program.__name__ in ("chain", "dropout", "transposed"):  # no sums in another order
            name = f"{program.__name__} beside this processor's bits"
            yield name, lambda p=program: has_the_bits_of_the_processor(p, 1025, 33)
    for build in (steps.classifier, steps.recurrent, steps.attention):
        for n, m in ((4, 6),) if small else ((32, 16), (128, 64), (4096, 64)):
            yield f"steps of {build.__name__}", lambda b=build, n=n, m=m: a_step(b, n, m)


def compared(small: bool) -> list[tuple[Callable[[], Any], int]]:
    """Models that all contenders train, and how many steps are timed together."""
    if small:
        return [
            (lambda: gpu_peers.perceptron(8, 16), 2),
            (lambda: gpu_peers.lstm(3, 4, 8), 2),
            (lambda: gpu_peers.attention(2, 6, 8), 2),
        ]
    return [
        (lambda: gpu_peers.perceptron(32, 256), 50),
        (lambda: gpu_peers.perceptron(128, 256), 50),
        (lambda: gpu_peers.lstm(32, 64, 128), 10),
        (lambda: gpu_peers.perceptron(4096, 4096), 3),
        (lambda: gpu_peers.attention(32, 512, 512), 5),
    ]


def report(path: Path) -> str:
    """The answers of a file as tables, one for each kind of question."""
    kinds: dict[tuple[str, ...], list[Answer]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        answer = json.loads(line)
        kinds.setdefault(tuple(answer), []).append(answer)
    tables = []
    for columns, answers in kinds.items():
        rows = [columns, ["---"] * len(columns), *([a[c] for c in columns] for a in answers)]
        tables.append("\n".join(f"| {' | '.join(map(str, row))} |" for row in rows))
    return "\n\n".join(tables)


def main() -> int:
    parser = argparse.ArgumentParser(prog="gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--stub", action="store_true")
    parser.add_argument("--small", action="store_true", help="small sizes, as for the stub")
    parser.add_argument("--only", default="", help="questions with these words")
    parser.add_argument("--contenders", default=",".join(gpu_peers.CONTENDERS), help="of the steps")
    parser.add_argument("--report", type=Path, help="print the tables of such a file")
    given = parser.parse_args()
    if given.report is not None:
        print(report(given.report))
        return 0
    small, contenders = given.stub or given.small, given.contenders.split(",")
    asked = Asked(given.out, given.minutes, small, contenders)
    context: Any = nullcontext()
    if given.stub:
        from tests.runtime.cuda_stub.on_this_processor import as_this_processor

        context = as_this_processor()
    with context:
        for question, answer in questions(asked):
            if given.only in question:
                asked.ask(question, answer)
    failed = [a["question"] for a in asked.answers if "failed" in a]
    print(f"{len(asked.answers)} questions, {len(failed)} failed: {', '.join(failed)}")
    return min(len(failed), 1)


if __name__ == "__main__":
    sys.exit(main())
