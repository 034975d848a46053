"""Element types: every promotion against NumPy's own; the default dtype."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DTypeError, DTypeWarning
from graphc.ir.dtype import DTYPES, EVERY, DType, dtype, promote, weak_type

SCALARS = (True, False, 0, 3, -1, 127, 128, 255, 300, -129, 2**31, 2**40, 2**63, 0.5, float("inf"))


@pytest.mark.parametrize("kind", EVERY, ids=repr)
def test_numpy_takes_a_dtype_for_its_own(kind: DType) -> None:
    """As a dtype of an array, and in comparisons, from either side."""
    assert np.dtype(kind) == np.zeros(2, kind).dtype == np.ones(2).astype(kind).dtype == kind.numpy
    for same in (kind.numpy, kind.numpy.type, kind.name, kind.short):
        assert kind == same
        assert same == kind or isinstance(same, str)
    for other in (*(d for d in EVERY if d is not kind), None, 3, "float", object, np.zeros(2)):
        assert kind != other or np.dtype(other) == kind.numpy  # "float" is float64
    assert {kind: 1}[dtype(kind.name)] == 1


@pytest.mark.filterwarnings("ignore:.*gives float64")
@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES, DTYPES)), ids=repr)
def test_promotion_is_numpys(a: DType, b: DType) -> None:
    expected = np.result_type(a.numpy, b.numpy)
    assert promote(a, b).numpy == expected
    x, y = gc.placeholder("x", (), a), gc.placeholder("y", (), b)
    assert gc.maximum(x, y).dtype.numpy == expected


@pytest.mark.parametrize("value", SCALARS)
@pytest.mark.parametrize("kind", DTYPES, ids=repr)
@pytest.mark.filterwarnings("ignore:.*gives float64")
def test_python_scalars_are_weak_as_in_numpy(kind: DType, value: Any) -> None:
    try:
        with np.errstate(all="ignore"):
            expected = np.maximum(np.ones((1,), kind.numpy), value).dtype
    except OverflowError:
        with pytest.raises(DTypeError, match="does not fit") as caught:
            gc.maximum(gc.placeholder("x", (1,), kind), value)
        assert __file__ in str(caught.value)
        return
    assert promote(kind, weak_type(value, kind)).numpy == expected
    assert gc.maximum(gc.placeholder("x", (1,), kind), value).dtype.numpy == expected


@pytest.mark.parametrize("kind", DTYPES, ids=repr)
def test_specs(kind: DType) -> None:
    for spec in (kind, kind.name, kind.short, kind.numpy, kind.numpy.type):
        assert dtype(spec) is kind
    assert dtype(kind.numpy.newbyteorder(">")) is kind
    assert kind.itemsize == kind.numpy.itemsize
    assert (repr(kind), str(kind)) == (kind.short, kind.short)
    assert kind.is_float == np.issubdtype(kind.numpy, np.floating)
    assert kind.is_integer == np.issubdtype(kind.numpy, np.integer)


def test_python_types() -> None:
    assert (dtype(bool), dtype(int), dtype(float)) == (gc.bool_, gc.int64, gc.float64)


@pytest.mark.parametrize("spec", ["clongdouble", object, "U3", "float8", np.longdouble, 3, "", [1]])
def test_others_are_refused(spec: Any) -> None:
    with pytest.raises(DTypeError, match="one of bool, int8") as caught:
        gc.placeholder("x", (2,), spec)
    assert __file__ in str(caught.value)


def test_none_is_no_dtype_where_there_is_no_default() -> None:
    with pytest.raises(DTypeError, match="one of bool, int8"):
        gc.placeholder("x", (2,)).astype(None)


# -- the default -----------------------------------------------------------------------------------
def _made() -> dict[str, Any]:
    """What takes the default dtype, by how it is made."""
    key = gc.random.key(1)
    layer = gc.nn.Dense(2)
    layer(gc.placeholder("d", ("n", 3)))
    own = gc.nn.Activation("relu")
    return {
        "placeholder": gc.placeholder("x", (2,)), "constant": gc.constant(0.1),
        "list": gc.constant([0.1, 2]), "variable": gc.variable([0.1]),
        "zeros": gc.zeros((2,)), "ones": gc.ones(()),
        "one_hot": gc.one_hot([0, 2], 3), "uniform": gc.random.uniform(key, (3,)),
        "normal": gc.random.normal(key, (3,)), "kernel": layer.kernel, "bias": layer.bias,
        "own": own.add_variable("scale", (2,), "ones"), "met": gc.ones((2,)) * gc.sqrt(2.0),
    }  # fmt: skip


def test_the_default_is_taken_where_none_is_given() -> None:
    assert {name: t.dtype for name, t in _made().items()} == dict.fromkeys(_made(), gc.float32)
    with gc.set_default_dtype("float64"):
        assert {name: t.dtype for name, t in _made().items()} == dict.fromkeys(_made(), gc.float64)
        assert gc.arange(3).dtype is gc.constant([1, 2]).dtype is gc.int64
        assert gc.constant(np.float32(0.1)).dtype is gc.placeholder("y", (), "f32").dtype
        y = gc.placeholder("y", ())
        assert gc.evaluate(gc.constant(0.1) * y, {y: 1.0}) == 0.1


def test_the_former_default_comes_back() -> None:
    with gc.set_default_dtype("float64") as chosen:
        assert chosen is gc.default_dtype() is gc.float64
        with gc.set_default_dtype(gc.float32):
            assert gc.default_dtype() is gc.float32
        assert gc.default_dtype() is gc.float64
        with pytest.raises(ZeroDivisionError), gc.set_default_dtype("float32"):
            raise ZeroDivisionError
        assert gc.default_dtype() is gc.float64
    assert gc.default_dtype() is gc.float32


def test_a_plain_call_holds_in_its_thread_and_in_tasks_of_it() -> None:
    found: dict[str, DType] = {}

    async def child() -> None:
        found["task"] = gc.default_dtype()
        gc.set_default_dtype("float32")

    async def parent() -> None:
        await asyncio.gather(child())

    def inside() -> None:
        gc.set_default_dtype("float64")
        found["here"] = gc.default_dtype()
        thread = threading.Thread(target=lambda: found.update(thread=gc.default_dtype()))
        thread.start()
        thread.join()
        asyncio.run(parent())
        found["after"] = gc.default_dtype()

    contextvars.copy_context().run(inside)
    double, single = gc.float64, gc.float32
    assert found == {"here": double, "thread": single, "task": double, "after": double}
    assert gc.default_dtype() is gc.float32


@pytest.mark.parametrize("spec", ["int32", bool, "float16", None, "complex64"])
def test_other_defaults_are_refused(spec: Any) -> None:
    with pytest.raises(DTypeError):
        gc.set_default_dtype(spec)
    assert gc.default_dtype() is gc.float32


def test_a_jitted_function_is_traced_anew_under_another_default() -> None:
    f = gc.jit(lambda a: a + gc.zeros((2,)) + [0.1, 0.2], target="reference")
    x = np.zeros(2, "float32")
    for name in ("float32", "float64", "float32"):
        with gc.set_default_dtype(name), warnings.catch_warnings():
            warnings.simplefilter("ignore", DTypeWarning)
            result = f(x)
        assert result.dtype == name
        assert result.tolist() == np.array([0.1, 0.2], name).tolist()
    assert f.programs == 2


def test_a_trainer_converts_data_to_the_default() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    for name in ("float64", "float32"):
        with gc.set_default_dtype(name):
            model = gc.nn.Sequential([gc.nn.Dense(1, seed=0)])
            trainer = gc.train.Trainer(
                model, loss="mean_squared_error", optimizer=gc.optim.SGD(0.1), target="reference"
            )
        trainer.fit(x, y, verbose=False, seed=0)
        assert trainer.predict(x).dtype == model.variables()[0].value.dtype == name
