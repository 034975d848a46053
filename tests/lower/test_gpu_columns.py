"""Sums of columns: a thread takes neighbouring ones, and several rows at once."""

from __future__ import annotations

from typing import Any

import pytest

import graphc as gc
from graphc.checking.simulator import Memory
from graphc.lower.gpu_source import print_launches
from tests.lower.launched import Build, assert_right, kernels, run


def total(x: gc.Tensor) -> gc.Tensor:
    return gc.sum(gc.sin(x), axis=0)


COLUMNS: dict[str, Build] = {
    "sums": lambda x: gc.sum(x, axis=0),
    "of functions": total,
    "extrema": lambda x: gc.max(x * x, axis=0),
    "stored, too": lambda x: (gc.exp(x), gc.sum(gc.exp(x), axis=0)),
    "several": lambda x: (gc.sum(x, axis=0), gc.sum(x * x, axis=0)),
}


@pytest.mark.parametrize("build", COLUMNS.values(), ids=list(COLUMNS))
def test_neighbouring_columns(build: Build) -> None:
    (kernel,) = kernels(build, 36)
    launches = print_launches(kernel)
    assert [launch.kind for launch in launches.launches][:2] == ["column", "plain"]
    for rows in (1, 20):
        assert_right(kernel, rows)


@pytest.mark.parametrize("columns", [4, 132])
def test_fewer_and_more_columns_than_a_block_has_side_by_side(columns: int) -> None:
    (kernel,) = kernels(total, columns)
    assert_right(kernel, 5)


@pytest.mark.parametrize("columns", [1, 33])
def test_columns_one_by_one(columns: int) -> None:
    (kernel,) = kernels(total, columns)
    assert "plain" not in [launch.kind for launch in print_launches(kernel).launches]
    assert_right(kernel, 9)


def test_each_element_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    read = Memory.__getitem__

    def counted(memory: Memory, place: Any) -> Any:
        seen.append((memory.name, int(place)))
        return read(memory, place)

    (kernel,) = kernels(total, 36)
    monkeypatch.setattr(Memory, "__getitem__", counted)
    run(print_launches(kernel), 40)
    inputs = [place for name, place in seen if name == "b0"]
    assert sorted(inputs) == list(range(40 * 36))


def test_the_bits_do_not_depend_on_where_arrays_begin() -> None:
    (kernel,) = kernels(total, 36)
    launches = print_launches(kernel)
    first, second = (run(launches, 20, aligned) for aligned in (True, False))
    for buffer in kernel.buffers:
        assert first[buffer].tobytes() == second[buffer].tobytes()
