"""Arrays on a card, on the stub: results that stay, and inputs that are there."""

from __future__ import annotations

import gc as collector
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import ArgumentError, DeviceError, DTypeError, RuntimeFailure, ShapeError
from graphc.runtime import cuda_driver
from graphc.runtime.cuda_memory import card
from tests.runtime.cuda_stub.on_this_processor import as_this_processor, number


@pytest.fixture(autouse=True)
def _stub() -> Iterator[None]:
    with as_this_processor():
        yield


class ByInterface:
    """An array of another library's: it speaks `__cuda_array_interface__` alone."""

    def __init__(self, array: gc.cuda.Array, **said: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__ | said
        self.shape = self.__cuda_array_interface__["shape"]


class ByCapsule:
    """One that speaks DLPack alone, of a version or of that before all versions."""

    def __init__(self, array: gc.cuda.Array, version: tuple[int, int] | None) -> None:
        self.array, self.version, self.streams = array, version, []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, *, stream: int) -> Any:
        self.streams.append(stream)
        return self.array.__dlpack__(max_version=self.version)


def on_card(array: Any, device: int | None = None) -> gc.cuda.Array:
    x = gc.placeholder("x", array.shape, str(array.dtype))
    f = gc.compile([x], gc.positive(x), target="cuda", results="device", device=device)
    found: gc.cuda.Array = f(array)
    return found


def allocated() -> int:
    collector.collect()
    return int(number("allocated").value)


def in_use() -> int:
    """Without blocks that were dropped and are kept for others."""
    return allocated() - card().spare_bytes


def doubled() -> tuple[Any, gc.Variable]:
    x, v = gc.placeholder("x", ("n", 5)), gc.variable(np.zeros((), "float32"))
    return gc.compile([x], [x * 2.0, gc.sum(x)], {v: v + 1.0}, target="cuda"), v


def values(n: int = 4) -> np.ndarray[Any, Any]:
    return np.arange(5.0 * n, dtype="float32").reshape(n, 5)


def test_results_stay_and_own_their_memory() -> None:
    x = gc.placeholder("x", ("n", 5))
    outputs = {"y": x * 2.0, "total": gc.sum(x), "small": x < 3.0}
    f = gc.compile([x], outputs, target="cuda", results="device")
    first = f(values())
    second = f(values() + 1.0)
    before = allocated()
    assert isinstance(first["y"], gc.cuda.Array)
    assert (first["y"].shape, first["y"].dtype, first["y"].ndim) == ((4, 5), np.float32, 2)
    assert first["y"].device == gc.cuda.devices()[0]
    for found, array in ((first, values()), (second, values() + 1.0)):
        assert np.array_equal(found["y"].numpy(), array * 2.0)
        assert np.array_equal(np.asarray(found["small"]), array < 3.0)
        assert float(found["total"]) == array.sum()
        assert len(found["y"]) == 4
    assert "float32[4, 5] on card 0" in repr(second["y"])
    del second, found
    for _ in range(3):  # where results were that nobody has any more
        again = f(values() + 2.0)
        assert np.array_equal(again["y"].numpy(), (values() + 2.0) * 2.0)
        del again
    assert allocated() == before
    assert np.array_equal(first["y"].numpy(), values() * 2.0)
    assert f(np.ones((0, 5), "float32"))["y"].numpy().shape == (0, 5)


def test_an_array_is_read_where_it_is() -> None:
    f, _ = doubled()
    array = on_card(values())
    f(array)
    copied = number("copied").value
    for _ in range(3):
        assert np.array_equal(f(array)[0], values() * 2.0)
    assert number("copied").value == copied
    others = [on_card(values() + k) for k in range(4)]
    for _ in range(3):  # at another place at each call: copied, and right
        for k, other in enumerate((*others, values())):
            assert np.array_equal(f(other)[0], (values() + k) * 2.0 if k < 4 else values() * 2.0)


def test_results_are_inputs() -> None:
    x = gc.placeholder("x", ("n", 5))
    f = gc.compile([x], x * 2.0 + 1.0, target="cuda", results="device")
    found, expected = values(), values()
    for _ in range(12):
        found, expected = f(found), expected * 2.0 + 1.0
    assert np.array_equal(np.asarray(found), expected)
    assert np.array_equal(gc.compile([x], x + 1.0)(found), expected + 1.0)  # on the CPU, too


def test_large_results_are_written_where_they_stay() -> None:
    x = gc.placeholder("x", ("n", 5))
    f = gc.compile([x], {"y": x * 2.0, "less": x - 1.0}, target="cuda", results="device")
    array = on_card(values(5000))
    for _ in range(4):
        last = f(array)
    copied = number("copied").value
    for _ in range(5):
        last = f(array)
    assert number("copied").value == copied
    several = [f(on_card(values(5000) + k)) for k in range(7)]
    for k, found in enumerate(several):
        assert np.array_equal(found["y"].numpy(), (values(5000) + k) * 2.0)
        assert np.array_equal(found["less"].numpy(), values(5000) + k - 1.0)
    assert np.array_equal(last["y"].numpy(), values(5000) * 2.0)


def test_what_is_lent_is_not_written_again() -> None:
    x = gc.placeholder("x", ("n", 5))
    f = gc.compile([x], x * 2.0, target="cuda", results="device")
    lent = f(values())
    before, address = allocated(), lent.__cuda_array_interface__["data"][0]
    del lent
    assert allocated() < before  # freed: who works with it is waited for
    kept = f(values())
    assert kept.address != address or allocated() == before


def test_an_error_that_nobody_has_waited_for() -> None:
    """The call after, who looks at a result, and who looks at a variable are told; what ran behind
    the call that failed changed no variable either."""
    x, i = gc.placeholder("x", (4,)), gc.placeholder("i", ("n",), "int64")
    v = gc.variable(np.ones((), "float32"))
    f = gc.compile([x, i], gc.sum(gc.take(x, i)) * v, {v: v + 1.0}, target="cuda", results="device")
    other = gc.compile([x], x + 1.0, target="cuda")
    rows, good, bad = np.ones(4, "float32"), np.arange(3), np.array([1, 9])
    result: list[Any] = []
    looks = {
        "the same": lambda: f(rows, good),
        "the same at other sizes": lambda: f(rows, np.arange(2)),
        "a result": lambda: result[0].numpy(),
        "an interface": lambda: result[0].__cuda_array_interface__,
        "a variable": lambda: v.value,
        "another program": lambda: other(rows),
    }
    count = 1.0
    for name, look in looks.items():
        f(rows, good)
        count += 1.0
        result[:] = [f(rows, bad)]
        with pytest.raises(RuntimeFailure, match="range"):
            look()
        assert v.value == count, name
    assert float(f(rows, good)) == 3.0 * count


def test_calls_from_many_threads_stay_in_order() -> None:
    x, v = gc.placeholder("x", ("n", 5)), gc.variable(np.zeros((), "float32"))
    f = gc.compile([x], x * 2.0 + 1.0, target="cuda", results="device")
    counting = gc.compile([], v * 1.0, {v: v + 1.0}, target="cuda", results="device")

    def work(number: int) -> float:
        found = values() + number
        for _ in range(20):
            counting()
            found = f(found)
        return float(np.asarray(found)[0, 0])

    with ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(work, range(6)))
    assert ends == [np.float32(2.0**20 * (k + 1) - 1) for k in range(6)]
    assert v.value == 120


def test_a_jitted_function_takes_them_and_leaves_results() -> None:
    @gc.jit(target="cuda", results="device")
    def f(x: Any, weight: float) -> Any:
        return {"y": x * weight}

    first = f(values(), 2.0)
    again = f(ByInterface(f(first["y"], 3.0)["y"]), 0.5)
    assert np.array_equal(again["y"].numpy(), values() * 3.0)
    assert f.programs == 1


@pytest.mark.parametrize(
    "wrap",
    [
        ByInterface,
        lambda a: ByInterface(a, strides=(20, 4)),
        lambda a: ByInterface(a, stream=2),
        lambda a: ByCapsule(a, None),
        lambda a: ByCapsule(a, (1, 0)),
    ],
    ids=["interface", "strides", "stream", "capsule", "versioned"],
)
def test_arrays_of_other_libraries(wrap: Callable[[gc.cuda.Array], Any]) -> None:
    f, _ = doubled()
    theirs = wrap(on_card(values()))
    number("followed").value = 0
    for _ in range(3):
        assert np.array_equal(f(theirs)[0], values() * 2.0)
    followed = getattr(theirs, "__cuda_array_interface__", {}).get("stream") is not None
    assert number("followed").value == (2 if followed else 0)
    if isinstance(theirs, ByCapsule):
        assert len(set(theirs.streams)) == 1  # ours, which they make wait for what they write
        assert theirs.streams[0] > 2


def test_a_part_that_is_not_at_16_bytes() -> None:
    x = gc.placeholder("x", ("n",))
    f = gc.compile([x], gc.exp(x), target="cuda")
    array = on_card(np.linspace(0, 1, 40, dtype="float32"))
    start = array.__cuda_array_interface__["data"][0]
    part = ByInterface(array, data=(start + 4, False), shape=(39,))
    np.testing.assert_allclose(f(part), np.exp(array.numpy()[1:]), rtol=1e-6)


def test_what_cannot_be_read() -> None:
    f, v = doubled()
    array = on_card(values())
    cases: list[tuple[Any, type[Exception], str]] = [
        (ByInterface(array, strides=(4, 16)), ArgumentError, "contiguous"),
        (ByInterface(array, typestr="<i4"), DTypeError, "read as it is"),
        (ByInterface(array, mask=array), ArgumentError, "mask"),
        (ByInterface(array, shape=(5, 4)), ShapeError, "axis|rank|size"),
        (on_card(values().astype("float64")), DTypeError, "read as it is"),
    ]
    for given, kind, said in cases:
        with pytest.raises(kind, match=said):
            f(given)
    assert v.value == 0
    f(array)
    assert v.value == 1


def test_dlpack_both_ways() -> None:
    array = on_card(values())
    before = in_use()
    assert array.__dlpack_device__() == (2, 0)
    assert np.array_equal(np.from_dlpack(array, device="cpu"), values())
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(array)  # which is not of the host
    with pytest.raises(BufferError):
        array.__dlpack__(dl_device=(2, 7))
    capsules = [array.__dlpack__(), array.__dlpack__(max_version=(1, 0), copy=True)]
    assert in_use() > before
    start = in_use()
    del array
    assert in_use() == start  # a capsule keeps it
    del capsules
    assert in_use() < before


def test_no_room_for_results_changes_no_variable() -> None:
    x, v = gc.placeholder("x", ("n", 5)), gc.variable(np.ones((), "float32"))
    f = gc.compile([x], x * 2.0, {v: v + 1.0}, target="cuda", results="device")
    kept = [f(values()) for _ in range(3)]
    number("memory").value = number("allocated").value + 100
    with pytest.raises(DeviceError, match="too little memory"):
        f(values(500_000))
    assert v.value == 4
    number("memory").value = number("allocated").value + 10_000
    assert np.array_equal(f(values()).numpy(), kept[0].numpy())


def test_two_cards() -> None:
    number("devices").value = 2
    cuda_driver._found.cache_clear()
    assert [card.index for card in gc.cuda.devices()] == [0, 1]
    x, v = gc.placeholder("x", (3,)), gc.variable(np.ones(3, "float32"))
    options: list[dict[str, Any]] = [
        {"target": "cuda"}, {"target": "cuda", "device": 1}, {}, {"target": "auto", "device": 1},
    ]  # fmt: skip
    programs = [gc.compile([x], v * x, {v: v + x}, **given) for given in options]
    one = np.ones(3, "float32")
    for step, number_ in enumerate((0, 1, 1, 0, 2, 1, 3, 2, 0)):
        assert programs[number_](one)[0] == step + 1
    assert v.value[0] == 10
    there = on_card(values(), device=1)
    assert there.device.index == 1
    f, _ = doubled()
    for array in (there, ByInterface(there), ByCapsule(there, None)):
        with pytest.raises(DeviceError, match="another card") as error:
            f(array)
        assert "device=1" in error.value.hint
    with pytest.raises(DeviceError, match="no card 7"):
        gc.compile([x], x * 3.0, target="cuda", device=7)(one)
