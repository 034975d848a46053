"""Whole programs on the stub: run by `test_cuda_programs.py`, in a process that finds it."""

from __future__ import annotations

import gc as collector
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DeviceError, RuntimeFailure
from graphc.runtime import cuda_driver, cuda_order, cuda_plan, cuda_products
from tests.runtime.cuda_stub.models import (
    assert_close,
    attention,
    both,
    classifier,
    data,
    recurrent,
    weight,
)
from tests.runtime.cuda_stub.on_this_processor import MOST, as_this_processor, number


@pytest.fixture(autouse=True)
def _stub() -> Iterator[None]:
    with as_this_processor():
        yield


def gc_collect() -> None:
    for _ in range(3):
        collector.collect()


@pytest.mark.parametrize("build", [classifier, recurrent, attention])
def test_steps_equal_those_of_the_cpu(build: Any) -> None:
    (cpu, ours), (card, theirs) = both(build)
    for n, m in ((4, 6), (33, 1), (1, 1), (4, 6), (3, 17), (4, 6)):
        arrays = data(build.__name__, n, m)
        assert_close(card(*arrays), cpu(*arrays))
    assert_close([v.value for v in theirs], [v.value for v in ours])


def test_what_is_recorded_is_not_recorded_again() -> None:
    (_, _), (card, _) = both(classifier)
    arrays = data("classifier", 5, 1)
    card(*arrays)
    recorded, replayed = number("recorded").value, number("replayed").value
    for _ in range(3):
        card(*arrays)
    assert number("recorded").value == recorded
    assert number("replayed").value == replayed + 3  # what fails and what writes are one
    card(*data("classifier", 6, 1))
    assert number("recorded").value > recorded


def test_steps_that_wait_for_nothing_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stub runs what was recorded in any order that it may."""
    monkeypatch.setattr(cuda_order.Order, "_needed", lambda order, reads, writes: [])
    (cpu, _), (card, _) = both(recurrent)
    arrays = data("recurrent", 5, 9)
    with pytest.raises(AssertionError):
        assert_close(card(*arrays), cpu(*arrays))


def test_what_needs_nothing_of_the_rest_is_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of products and kernels, and a product that nothing else reads."""
    longest: list[int] = []
    ends = cuda_order.Order._ends

    def noted(order: cuda_order.Order, needed: Sequence[int]) -> set[int]:
        found = ends(order, needed)
        longest.extend(order.above[number].bit_count() + 1 for number in found)
        return found

    monkeypatch.setattr(cuda_order.Order, "_ends", noted)
    x, w, u = gc.placeholder("x", (9, 9)), weight(9, 9), weight(9, 9, seed=1)
    y = gc.tanh(gc.tanh(x @ w) @ w)
    f = gc.compile([x], [y, gc.tanh(x @ u)], target="cuda", results="device")
    f(np.ones((9, 9), "float32"))
    assert len(longest) == 7  # an input and six steps
    assert max(longest) < 7  # which they would be one behind the other


def test_variables_have_two_homes() -> None:
    x, v = gc.placeholder("x", (3,)), gc.variable(np.ones(3, "float32"))
    on_card = gc.compile([x], [v * x], {v: v + x}, target="cuda")
    on_cpu = gc.compile([x], [v * x], {v: v + x})
    one = np.ones(3, "float32")
    for step, f in enumerate((on_card, on_cpu, on_card, on_card, on_cpu)):
        assert f(one)[0][0] == step + 1
    v.value = np.full(3, 7, "float32")
    assert on_card(one)[0][0] == 7
    assert v.value[0] == 8
    assert gc.evaluate(v * 2.0)[0] == 16


def test_a_value_stays_on_the_card_until_somebody_looks() -> None:
    (_, _), (card, _) = both(classifier)
    arrays = data("classifier", 4, 1)
    card(*arrays)
    card(*arrays)
    before = number("uploaded").value
    card(*arrays)
    assert number("uploaded").value == before  # only what was recorded copies: no variable does


def test_a_label_out_of_range_changes_no_variable() -> None:
    (_, _), (card, variables) = both(classifier)
    x, t = data("classifier", 9, 1)
    card(x, t)
    before = [v.value for v in variables]
    t[4] = 70
    with pytest.raises(RuntimeFailure, match="range"):
        card(x, t)
    assert_close([v.value for v in variables], before)
    t[4] = 0
    card(x, t)


def test_branches_loops_and_calls_back() -> None:
    x = gc.placeholder("x", ("n", "n"))
    cases = {
        "cond": gc.cond(gc.sum(x) > 0.0, lambda: x * 2.0, lambda: x - 1.0),
        "while": gc.while_loop(lambda s: gc.sum(s) < 100.0, lambda s: s * 2.0 + 1.0, x * x),
        "host": gc.linalg.solve(x @ x.T + gc.eye(x.shape[0]), x) + 1.0,
        "host in a loop": gc.scan(
            lambda s, row: (gc.linalg.eigvalsh(gc.outer(row, row)) + gc.tanh(s), s), x[0], x
        ),
    }
    for seed, n in ((0, 3), (1, 5)):
        array = np.random.default_rng(seed).normal(size=(n, n)).astype("float32")
        for name, result in cases.items():
            outputs = list(result) if isinstance(result, (tuple, list)) else [result]
            card, cpu = (gc.compile([x], outputs, target=t) for t in ("cuda", "cpu"))
            assert_close(card(array), cpu(array)), name


def test_products_of_all_layouts() -> None:
    rng = np.random.default_rng(0)
    a, b = gc.placeholder("a", ("i", 3, 4, "k")), gc.placeholder("b", ("i", 3, "k", 5))
    turned = gc.permute_dims(b, (0, 1, 3, 2))
    outputs = [a @ b, gc.permute_dims(a @ b, (0, 1, 3, 2)), (turned @ b) * 2.0, a[0, 1] @ b[0, 2]]
    card, cpu = (gc.compile([a, b], outputs, target=t) for t in ("cuda", "cpu"))
    for i, k in ((2, 9), (1, 1), (2, 0)):
        arrays = [rng.normal(size=s).astype("float32") for s in ((i, 3, 4, k), (i, 3, k, 5))]
        assert_close(card(*arrays), cpu(*arrays))


def test_products_add_their_bias() -> None:
    rng = np.random.default_rng(0)
    x, w = gc.placeholder("x", ("n", "m", 12)), gc.placeholder("w", (12, 8))
    b, v = gc.placeholder("b", (8,)), gc.variable(rng.normal(size=(8, 8)).astype("float32"))
    y = x @ w + b
    outputs = [y, gc.permute_dims(gc.reshape(y, (x.shape[0], -1, 2, 4)), (0, 2, 1, 3)) @ v[:4]]
    shapes = [((n, m, 12), (12, 8), (8,)) for n, m in ((2, 5), (1, 1), (0, 3))]
    calls = [[rng.normal(size=s).astype("float32") for s in given] for given in shapes]
    before, found = v.value, {}
    for target in ("cuda", "cpu"):
        f = gc.compile([x, w, b], outputs, {v: v @ v * 0.1 + b}, target=target)
        assert (", with (1) add" in f.explain()) == (target == "cuda")
        v.value = before
        found[target] = [[*f(*arrays), v.value] for arrays in calls]
    for ours, theirs in zip(found["cuda"], found["cpu"], strict=True):
        assert_close(ours, theirs)


def test_products_scale_and_add() -> None:
    """Residuals, sums of products, steps of descent; no rows, too, of which a sum is nothing."""
    rng = np.random.default_rng(0)
    x, y = gc.placeholder("x", ("n", 12)), gc.placeholder("y", ("n", 8))
    w, u = gc.placeholder("w", (12, 8)), gc.placeholder("u", (8, 8))
    v = gc.variable(rng.normal(size=(12, 8)).astype("float32"))
    wide = gc.placeholder("wide", ("n", 12, 12), "float64")
    outputs = [y - 0.5 * (y @ u), x @ w + x @ v * 2.0 - y @ u.T, wide @ wide * 3.0 + wide]
    shapes = [((n, 12), (n, 8), (12, 8), (8, 8), (n, 12, 12)) for n in (5, 1, 0)]
    calls = [[rng.normal(size=s).astype("float32") for s in given] for given in shapes]
    before, found = v.value, {}
    for target in ("cuda", "cpu"):
        f = gc.compile([x, y, w, u, wide], outputs, {v: v - 0.1 * (x.T @ y)}, target=target)
        assert (not f.kernels) == (target == "cuda")
        v.value = before
        found[target] = [[*f(*a[:4], a[4].astype(float)), v.value] for a in calls]
    for ours, theirs in zip(found["cuda"], found["cpu"], strict=True):
        assert_close(ours, theirs)


def test_products_in_loops_add_rows_of_arrays() -> None:
    rng = np.random.default_rng(0)
    xs, u = gc.placeholder("xs", (4, "n", 8)), gc.placeholder("u", (8, 8))
    _, ys = gc.scan(lambda s, x: (gc.tanh(s @ u), x - 0.5 * (x @ s)), u, xs)
    card, cpu = (gc.compile([xs, u], ys, target=target) for target in ("cuda", "cpu"))
    assert "with (" in card.explain()
    for n in (3, 1):
        arrays = [rng.normal(size=shape).astype("float32") for shape in ((4, n, 8), (8, 8))]
        assert_close(card(*arrays), cpu(*arrays))


def test_loops_that_give_all_their_carries() -> None:
    """Before and after each step, from either end; of no steps; carries that change places."""
    rng = np.random.default_rng(0)
    xs, h = gc.placeholder("xs", ("m", "n", 4)), gc.placeholder("h", ("n", 4))
    u = gc.placeholder("u", (4, 4))

    def turn(state: Any, x: Any) -> Any:
        a, b = state
        new = gc.tanh(a @ u + x)
        return (new, a), (new, a, gc.sum(b))

    found = []
    for reverse in (False, True):
        last, (news, olds, sums) = gc.scan(turn, (h, h * 2.0), xs, reverse=reverse)
        found += [v * 1.0 for v in (*last, news, olds, sums)]
        found += gc.grad(gc.sum(news * news) + gc.sum(last[1] * olds[0]), [xs, h, u])
        found += [gc.scan(lambda s, x: (s @ u, s), h, xs, reverse=reverse)[1]]  # an output itself
    card, cpu = (gc.compile([xs, h, u], found, target=target) for target in ("cuda", "cpu"))
    for m, n in ((5, 3), (1, 1), (2, 0)):
        shapes = (m, n, 4), (n, 4), (4, 4)
        arrays = [rng.normal(size=shape).astype("float32") for shape in shapes]
        assert_close(card(*arrays), cpu(*arrays))


def test_products_keep_what_is_positive() -> None:
    rng = np.random.default_rng(0)
    x, w = gc.placeholder("x", ("n", 12)), gc.placeholder("w", (12, 8))
    b = gc.placeholder("b", (8,))
    shapes = [((n, 12), (12, 8), (8,)) for n in (5, 0)]
    calls = [[rng.normal(size=s).astype("float32") for s in given] for given in shapes]
    for y in (x @ w, x @ w + b):
        card = gc.compile([x, w, b], gc.relu(y), target="cuda")
        cpu = gc.compile([x, w, b], gc.relu(y))
        assert not card.kernels
        calls[0][0][0, 0] = np.nan
        for arrays in calls:
            np.testing.assert_allclose(card(*arrays), cpu(*arrays), rtol=1e-5, atol=1e-6)


def test_convolutions_are_sums_of_products() -> None:
    rng = np.random.default_rng(0)
    x, w = gc.placeholder("x", ("n", 6, "m", 16)), gc.placeholder("w", (3, 3, 16, 24))
    for options in ({}, {"stride": 2, "padding": 1}):
        y = gc.conv(x, w, data_format="NHWC", **options)
        outputs = [y, *gc.grad(gc.sum(gc.tanh(y)), [x, w])]
        card, cpu = (gc.compile([x, w], outputs, target=t) for t in ("cuda", "cpu"))
        assert "for each of" in card.explain()
        for n, m in ((2, 7), (1, 6)):
            shapes = (n, 6, m, 16), (3, 3, 16, 24)
            arrays = [0.1 * rng.normal(size=s).astype("float32") for s in shapes]
            assert_close(card(*arrays), cpu(*arrays))


def test_complex_numbers_and_halves() -> None:
    rng = np.random.default_rng(0)
    z, h = gc.placeholder("z", ("n", 8), "complex64"), gc.placeholder("h", ("n", 8), "float16")
    spectrum = gc.fft.fft(z) * (0.5 + 2j)
    x = h.astype("float32")
    outputs = [spectrum, gc.abs(spectrum), gc.sum(z * gc.conj(z), axis=0), gc.sum(x, axis=1)]
    outputs.append(gc.tanh(x).astype("float16"))
    card, cpu = (gc.compile([z, h], outputs, target=t) for t in ("cuda", "cpu"))
    for n in (5, 1, 0):
        real, imag, halves = rng.normal(size=(3, n, 8))
        arrays = (real + 1j * imag).astype("complex64"), halves.astype("float16")
        assert_close(card(*arrays), cpu(*arrays))


def test_random_numbers_are_those_of_the_cpu_bit_by_bit() -> None:
    key, m = gc.placeholder("key", (2,), "uint32"), gc.placeholder("m", ("m",))
    shape = (m.shape[0], 5)
    outputs = [
        gc.random.uniform(key, shape),
        gc.random.bernoulli(key, 0.3, shape),
        gc.random.randint(key, shape, 0, 1000),
        gc.random.permutation(key, m.shape[0]),
    ]
    card, cpu = (gc.compile([key, m], outputs, target=t) for t in ("cuda", "cpu"))
    for n in (1, 33, 257):
        arrays = np.array([n, 7], "uint32"), np.zeros(n, "float32")
        for ours, theirs in zip(card(*arrays), cpu(*arrays), strict=True):
            assert ours.tobytes() == theirs.tobytes()


def test_a_loop_too_long_to_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_plan, "MOST_NODES", 30)
    (cpu, ours), (card, theirs) = both(recurrent)
    arrays = data("recurrent", 3, 17)
    for _ in range(3):
        recorded = number("recorded").value
        assert_close(card(*arrays), cpu(*arrays))
    assert number("recorded").value == recorded
    assert_close([v.value for v in theirs], [v.value for v in ours])
    short = data("recurrent", 3, 2)
    assert_close(card(*short), cpu(*short))
    assert number("recorded").value > recorded + 30


def test_float64() -> None:
    x = gc.placeholder("x", ("n", "n"), "float64")
    card, cpu = (gc.compile([x], [x @ x, gc.sum(x)], target=t) for t in ("cuda", "cpu"))
    array = np.random.default_rng(0).normal(size=(5, 5))
    for a, e in zip(card(array), cpu(array), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-14)


def test_out_of_memory() -> None:
    (_, _), (card, variables) = both(classifier)
    card(*data("classifier", 4, 1))
    before = [v.value for v in variables]
    number("memory").value = number("allocated").value + 100_000
    with pytest.raises(DeviceError, match="too little memory") as error:
        card(*data("classifier", 100_000, 1))
    assert "memory_budget" in str(error.value.hint)
    assert_close([v.value for v in variables], before)
    card(*data("classifier", 4, 1))


def test_memory_is_given_back() -> None:
    gc_collect()
    before = number("allocated").value
    x, v = gc.placeholder("x", ("n", 7)), weight(7, 3)
    f = gc.compile([x], [x @ v], {v: v * 0.5}, target="cuda")
    for n in range(1, 40):  # more tuples of sizes than are kept
        f(np.ones((n, 7), "float32"))
    most = number("allocated").value
    assert most < before + (40 << 20)
    del f, v
    gc_collect()
    assert number("allocated").value < most - (30 << 20)


def test_a_card_that_is_lost() -> None:
    x, v = gc.placeholder("x", (3,)), gc.variable(np.ones(3, "float32"))
    f = gc.compile([x], [gc.exp(x) * v], {v: v + x}, target="cuda")
    one = np.ones(3, "float32")
    f(one)
    assert v.value[0] == 2
    number("launches").value = 0
    with pytest.raises(DeviceError, match="the driver says"):
        f(one)
    assert v.value[0] == 2
    number("launches").value = MOST
    f(one)
    number("launches").value = -1
    with pytest.raises(DeviceError, match="card that is lost") as error:
        _ = v.value
    assert "last came home" in error.value.hint
    assert v.value[0] == 2
    assert gc.compile([x], [x + 1.0])(one)[0][0] == 2


def test_a_fork_after_cuda_began() -> None:
    x = gc.placeholder("x", (3,))
    f = gc.compile([x], [x + 1.0], target="cuda")
    one = np.ones(3, "float32")
    f(one)
    child = os.fork()
    if child == 0:
        try:
            f(one)
        except DeviceError as error:
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    f(one)


def test_a_driver_without_a_device() -> None:
    x = gc.placeholder("x", (3,))
    number("devices").value = -1
    cuda_driver._started.cache_clear()
    with pytest.raises(DeviceError, match="no device that can run this") as error:
        gc.compile([x], x + 1.0, target="cuda")(np.ones(3, "float32"))
    assert "CUDA_ERROR_NO_DEVICE" in str(error.value.given)
    assert gc.cuda.devices() == []
    number("devices").value = 1
    assert gc.compile([x], x + 1.0, target="cuda")(np.ones(3, "float32"))[0] == 2


def test_devices_that_do_not_do() -> None:
    x = gc.placeholder("x", (3,))
    for name, value, said in (("devices", 0, "no device"), ("major", 6, "sm_6")):
        kept = number(name).value
        number(name).value = value
        cuda_driver._found.cache_clear()
        with pytest.raises(DeviceError) as error:
            gc.compile([x], x + 1.0, target="cuda")(np.ones(3, "float32"))
        assert said in str(error.value.given)
        assert gc.cuda.devices() == []
        assert gc.compile([x], x + 1.0, target="auto")(np.ones(3, "float32"))[0] == 2
        number(name).value = kept
    cuda_driver._found.cache_clear()
    (card,) = gc.cuda.devices()
    assert (card.index, card.name, card.capability) == (0, "this processor", (9, 0))
    assert card.memory == 1 << 30


def test_a_grid_past_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, v = gc.placeholder("x", ("n",)), gc.variable(np.ones(3, "float32"))
    f = gc.compile([x], [gc.exp(x)], {v: v * 2.0}, target="cuda")
    monkeypatch.setattr(cuda_plan, "MOST_BLOCKS", 16)
    with pytest.raises(DeviceError, match="more blocks") as error:
        f(np.ones(100_000, "float32"))
    assert "100000" in str(error.value.given)
    assert v.value[0] == 1
    f(np.ones(10, "float32"))
    assert v.value[0] == 2


def test_cublas_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise DeviceError("not found", hint="pip install nvidia-cublas")

    v = weight(3, 3)
    f = gc.compile([], [v @ v], {v: v * 2.0}, target="cuda")
    before = v.value
    with monkeypatch.context() as patched:
        patched.setattr(cuda_products, "library", missing)
        with pytest.raises(DeviceError) as error:
            f()
    assert "cublas" in error.value.hint
    assert np.array_equal(v.value, before)
    assert_close(f(), [before @ before])


def test_products_of_tensor_cores_are_only_by_name() -> None:
    rng = np.random.default_rng(0)
    x = gc.placeholder("x", ("n", 64))
    array = rng.normal(size=(9, 64)).astype("float32")
    exact = array.astype(float) @ array.T.astype(float)
    plain, rounded = (
        np.abs(gc.compile([x], x @ x.T, target="cuda", tf32=tf32)(array) - exact).max()
        for tf32 in (False, True)
    )
    assert plain < 1e-4 < rounded < 0.1
    wide = gc.placeholder("x", ("n", 64), "float64")
    f = gc.compile([wide], wide @ wide.T, target="cuda", tf32=True)
    assert np.abs(f(array.astype(float)) - exact).max() < 1e-12


def test_threads_have_contexts_of_their_own() -> None:
    x, v = gc.placeholder("x", ("n", 9)), gc.variable(np.zeros((), "float32"))
    f = gc.compile([x], [gc.softmax(x @ x.T), gc.sum(x)], target="cuda")
    counting = gc.compile([], [], {v: v + 1.0}, target="cuda")
    arrays = [np.random.default_rng(n).normal(size=(n, 9)).astype("float32") for n in range(1, 9)]
    cpu = gc.compile([x], [gc.softmax(x @ x.T), gc.sum(x)])
    expected = [cpu(array) for array in arrays]

    def work(number: int) -> None:
        for _ in range(20):
            counting()
            assert_close(f(arrays[number]), expected[number])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert v.value == 160
