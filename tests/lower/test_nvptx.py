"""Kernels as PTX, without a card; assembled where NVIDIA's assembler is installed."""

import re

import pytest

import graphc as gc
from graphc.errors import CompileError
from graphc.ir.graph import Graph
from graphc.lower import nvptx
from graphc.lower.gpu_source import print_launches
from graphc.lower.launches import Launches
from graphc.machines import CUDA, PTX_VERSIONS
from graphc.pipeline.pipeline import run_pipeline
from graphc.pipeline.stages import Stages
from graphc.planning.program import Call, walk_steps
from tests.lower.assembler import ARCHITECTURES, assemble, assembled, kernels_of, why_not
from tests.properties.launches import chain, column_sums, layer_norm


def launches_of(graph: Graph) -> list[Launches]:
    program = run_pipeline(graph, Stages(), machine=CUDA).program
    calls = [step for step in walk_steps(program.steps) if isinstance(step, Call)]
    return [print_launches(call.kernel) for call in calls]


def ptx_of(launches: Launches, architecture: str = "sm_80") -> str:
    return nvptx.compile_texts(nvptx.unoptimized(launches), architecture)[0]


@pytest.mark.parametrize("architecture", PTX_VERSIONS)
def test_every_architecture(architecture: str) -> None:
    (launches,) = launches_of(column_sums())
    text = ptx_of(launches, architecture)
    assert f".target {architecture}" in text
    for launch in launches.launches:
        assert f".visible .entry {launch.name}(" in text


def test_neighbours_are_loaded_together() -> None:
    (launches,) = launches_of(chain())
    text = ptx_of(launches)
    assert re.search(r"ld\.global\.nc\.v4\.(f32|b32)", text)
    assert re.search(r"st\.global\.v4\.(f32|b32)", text)


def test_nothing_is_contracted_and_nothing_is_atomic() -> None:
    """But for what a formula says, and the word of failures."""
    (launches,) = launches_of(layer_norm())
    text = ptx_of(launches)
    assert "fma" not in text
    assert "atom." not in text


def test_powers_and_remainders_are_functions_of_our_own() -> None:
    x, y = (gc.placeholder(f"ptx_{name}", ("n",)) for name in "xy")
    (launches,) = launches_of(Graph([x, y], [x**y + gc.remainder(x, y)]))
    assert ".visible .entry" in ptx_of(launches)


def test_what_the_backend_lacks_is_an_error_and_not_the_end_of_the_process() -> None:
    (launches,) = launches_of(chain())
    text = nvptx.join(nvptx.unoptimized(launches)).replace("gc.tanh.f32", "llvm.tanh.f32")
    with pytest.raises(CompileError, match=r"llvm\.tanh\.f32"):
        nvptx.compile_texts(nvptx.split(text), "sm_80")


@pytest.mark.skipif(why_not() != "", reason=why_not())
def test_nothing_spills() -> None:
    """Row R30 assembles all kernels of the programs that a card is asked."""
    (kernel,) = kernels_of(layer_norm())
    found = list(assembled(kernel))
    assert {architecture for _, architecture, _ in found} == set(ARCHITECTURES)
    for _, _, used in found:
        assert 8 <= used.registers < 128
        assert used.spilled == used.stack == 0
    most = dict.fromkeys(ARCHITECTURES, 0)
    for _, architecture, used in found:
        most[architecture] = max(most[architecture], used.shared)
    # A number for each thread; of sm_90, too, what the system keeps for itself, 1 KB.
    assert most["sm_80"] == most["sm_100"] == 8 * 256
    assert most["sm_90"] in (8 * 256, 8 * 256 + 1024)


@pytest.mark.skipif(why_not() != "", reason=why_not())
def test_what_spills_is_seen() -> None:
    (launches,) = launches_of(layer_norm())
    text = re.sub(r"(\.visible \.entry [^{]*\))", r"\1\n.maxnreg 24\n", ptx_of(launches))
    assert max(used.spilled for used in assemble(text, "sm_80").values()) > 0
