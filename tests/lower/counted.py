"""The instructions that a card runs for an element, as LLVM's backend prints them.

    python -m tests.lower.counted    # a table of functions of float32

A card that copies 4 bytes to 4 bytes as fast as its memory allows has time for about 57
instructions an element (H200: 132 multiprocessors of 128 lanes at 1.76 GHz, 4.15 TB/s); half as
many of those that are no multiplication or addition of float32. What takes fewer is as fast as a
copy, if threads wait for nothing else.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import graphc as gc
from graphc.ir.graph import Graph
from graphc.lower import nvptx
from graphc.lower.gpu_source import print_launches
from graphc.machines import CUDA
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps

ARCHITECTURE = "sm_90"
FREE = r"(mov|neg|abs)\."  # a sign is part of the instruction that reads the number
TOGETHER = 4  # elements of a turn of a map's loop
# Kinds of instructions, each by the words that begin it; the first that fits.
KINDS: Mapping[str, str] = {
    "branches": r"bra",
    "checked divisions and roots": r"(div|rcp|sqrt)\.rn\.f32",  # a look at exponents, and a call
    "approximations": r"\w+\.approx",
    "float64": r"\w+(\.\w+)*\.f64",
    "conversions": r"cvt\.(rn|rz|rni|rmi|rpi)",
    "arithmetic": r"(fma|add|sub|mul)\.rn\.f32",
    "choices": r"setp|selp|max|min",
    "memory": r"ld|st",
    "integers": r"",
}

FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    **{
        name: getattr(gc, name)
        for name in (
            *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sigmoid"),
            *("softplus", "erf", "erfc", "sinh", "cosh", "asinh", "atan", "asin", "cbrt", "sin"),
            *("sqrt", "reciprocal"),
        )
    },
    "gelu": gc.gelu,
    "silu": gc.silu,
}


def ptx(function: Callable[[Any], Any]) -> str:
    """Of the map of a function of float32."""
    x = gc.placeholder("counted_x", ("n",))
    program = run_pipeline(Graph([x], [function(x)]), Stages(), machine=CUDA).program
    (kernel,) = (s.kernel for s in walk_steps(program.steps) if isinstance(s, Call))
    return nvptx.compile_texts(nvptx.unoptimized(print_launches(kernel)), ARCHITECTURE)[0]


def loop(text: str) -> list[str]:
    """The instructions of the loop that loads several elements at once, and is one block."""
    (start,) = [m.start() for m in re.finditer(r"ld\.global\.nc\.v4", text)]
    label = text.rindex("$L__", 0, start)
    name = text[label : text.index(":", label)]
    end = text.index(f"bra \t{name};" if f"bra \t{name};" in text else f"bra {name};", start)
    lines = text[text.index("\n", label) : end].split("\n")
    found = [re.sub(r"@!?%p\d+", "", line).strip() for line in lines]
    assert not any(line.startswith("$L__") for line in found), "the loop has branches"
    return [line for line in found if line and not line.startswith(("//", "{", "}", "."))]


def counts(function: Callable[[Any], Any]) -> Counter[str]:
    """Of all elements of a turn, less what a map takes that does no work but one addition."""

    def of(instructions: list[str]) -> Counter[str]:
        return Counter(
            next(kind for kind, words in KINDS.items() if re.match(words, line))
            for line in instructions
            if not re.match(FREE, line)
        )

    found = of(loop(ptx(function)))
    found.subtract(of(loop(ptx(lambda x: x + x))))
    found["arithmetic"] += TOGETHER
    return found


def table(functions: Mapping[str, Callable[[Any], Any]] = FUNCTIONS) -> str:
    lines = []
    for name, function in functions.items():
        found = counts(function)
        of_one = {kind: found[kind] / TOGETHER for kind in KINDS if found[kind]}
        said = ", ".join(f"{count:g} {kind}" for kind, count in of_one.items())
        lines.append(f"{name}: {sum(of_one.values()):g} = {said}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
