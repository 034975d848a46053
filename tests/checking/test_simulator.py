"""The simulator of threads sees what a card would do wrong, and adds in a card's order."""

import numpy as np
import pytest

from graphc.checking.simulator import Memory, RaceError, Simulator
from graphc.lower.launches import Launch


def run(body: str, *arrays: np.ndarray, threads: int = 64, blocks: int = 1) -> list[np.ndarray]:
    names = ", ".join(f"b{i}" for i in range(len(arrays)))
    source = f"def kernel({names}):\n" + "".join(f"    {line}\n" for line in body.split("\n"))
    memory = [Memory(f"b{i}", array) for i, array in enumerate(arrays)]
    Simulator(threads).run(Launch("kernel", "map", source, 1), blocks, memory)
    return [m.array for m in memory]


def test_threads_see_their_numbers() -> None:
    (found,) = run("b0[cuda.grid(1)] = cuda.grid(1)", np.zeros(128, np.int64), blocks=2)
    assert np.array_equal(found, np.arange(128))


@pytest.mark.parametrize(
    "body",
    [
        "b0[0] = cuda.grid(1)",
        "x = b0[0]\nif cuda.threadIdx.x == 3:\n    b0[0] = i64(1)",
        "b0[cuda.threadIdx.x] = i64(1)\nx = b0[63 - cuda.threadIdx.x]",
    ],
)
def test_races(body: str) -> None:
    with pytest.raises(RaceError, match="with no barrier between"):
        run(body, np.zeros(64, np.int64))


def test_a_barrier_orders_the_threads_of_a_block_and_no_others() -> None:
    body = "b0[cuda.threadIdx.x] = i64(1)\ncuda.syncthreads()\nx = b0[63 - cuda.threadIdx.x]"
    run(body, np.zeros(64, np.int64))
    with pytest.raises(RaceError, match="of block 0"):
        run(body, np.zeros(64, np.int64), blocks=2)


def test_a_barrier_that_some_threads_miss() -> None:
    with pytest.raises(RaceError, match="different barriers"):
        run("if cuda.threadIdx.x < 32:\n    cuda.syncthreads()", np.zeros(1, np.int64))


@pytest.mark.parametrize("place", ["64", "-1"])
def test_outside_of_an_array(place: str) -> None:
    with pytest.raises(IndexError, match="which has 64"):
        run(f"x = b0[{place}]", np.zeros(64, np.int64))


def test_what_a_group_adds_up_is_added_by_halves() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=128).astype("float32")
    body = "i = cuda.threadIdx.x\nb1[i] = group_add_f32(b0[i], i64(64))"
    _, found = run(body, values, np.zeros(128, "float32"), threads=128)

    def halves(part: np.ndarray) -> np.float32:
        while part.size > 1:
            part = part[: part.size // 2] + part[part.size // 2 :]
        return part[0]

    warps = [halves(values[i : i + 32]) for i in range(0, 128, 32)]
    assert np.array_equal(found, np.repeat([warps[0] + warps[1], warps[2] + warps[3]], 64))


def test_what_columns_add_up() -> None:
    values = np.arange(64, dtype=np.int64)
    body = "i = cuda.threadIdx.x\nb1[i] = column_add_i64(b0[i], i64(16))"
    _, found = run(body, values, np.zeros(64, np.int64))
    assert np.array_equal(found, np.tile(values.reshape(4, 16).sum(axis=0), 4))
