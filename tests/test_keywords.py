"""Wrong calls: every public function, constructor and method names a keyword that it does not take,
and what is near; all else about it is as it was written."""

from __future__ import annotations

import inspect
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.elsewhere import KEYWORDS, OF_OPERATIONS
from graphc.errors import ArgumentError, CallError, UnreadableError
from graphc.ir import operators

X = gc.placeholder("keywords_x", ("n", 3))
MODULES = (
    gc, gc.linalg, gc.fft, gc.random, gc.cuda, gc.distributed, gc.nn, gc.nn.activations,
    gc.nn.losses, gc.nn.initializers, gc.nn.regularizers, gc.nn.constraints, gc.optim,
    gc.optim.schedules, gc.train, gc.train.metrics,
)  # fmt: skip
NOT_CALLED = (  # what users do not make themselves, and a type
    "Array", "Device", "Dim", "DType", "GraphcError", "Loss", "Tensor", "Variable", "bool"
)  # fmt: skip
METHODS = {
    gc.train.Trainer: ("fit", "evaluate", "predict", "step", "save", "load"),
    gc.nn.Layer: ("init", "summary", "state_dict", "load_state_dict", "save_weights", "updates"),
    gc.optim.Optimizer: ("minimize", "apply", "reset"),
}


METHODS[gc.Tensor] = tuple(  # type: ignore[index]
    n for n, v in vars(operators.Operators).items() if n[0] != "_" and inspect.isfunction(v)
)


def own(module: Any) -> list[str]:
    tables = (getattr(module, name, ()) for name in ("FUNCTIONS", "ALSO", "ACTIVATIONS"))
    also = [name for table in tables for name in table]
    return also + [
        n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
    ]


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in MODULES:
        for name in dict.fromkeys(getattr(module, "__all__", None) or own(module)):
            value = getattr(module, name)
            if callable(value) and name[0] != "_" and name not in NOT_CALLED:
                assert getattr(value, "__module__", "").startswith("graphc"), name
                yield f"{module.__name__}.{name}", value
    for cls, methods in METHODS.items():
        for method in methods:
            yield f"{cls.__name__}.{method}", getattr(cls, method)


CALLABLES = dict(public())


def some(function: Callable[..., Any]) -> list[Any]:
    """As many positional arguments as there have to be."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [object() for p in parameters if p.kind in kinds and p.default is p.empty]


@pytest.mark.parametrize("name", CALLABLES)
def test_an_unknown_keyword_is_named(name: str) -> None:
    function = CALLABLES[name]
    with pytest.raises(CallError) as caught:
        function(*some(function), nonsense_of_mine=3)
    error = caught.value
    assert isinstance(error, TypeError)
    assert isinstance(error, ArgumentError)
    assert error.message == "it takes no nonsense_of_mine"
    assert error.op == function.__name__.rstrip("_")
    assert error.given == "nonsense_of_mine=3"
    assert f"{__file__}:" in error.where
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize("name", CALLABLES)
def test_a_keyword_that_is_misspelt_is_told(name: str) -> None:
    """One letter is missing of the longest keyword that it has."""
    function = CALLABLES[name]
    parameters = list(inspect.signature(function).parameters.values())
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    names = [p.name for p in parameters if p.kind in plain and p.name != "self"]
    known = max(names, key=len, default="")
    if len(known) > 3:
        with pytest.raises(CallError, match=f"hint: .*{known}"):
            function(*some(function), **{known[:2] + known[3:]: 1})


def test_what_is_handed_on_is_known_too() -> None:
    """A keyword that a base takes is among those that are named, whichever constructor refuses."""
    with pytest.raises(CallError, match=r"near it: return_sequences") as caught:
        gc.nn.LSTM(3, return_sequence=True)
    assert {"unit_forget_bias", "units", "seed", "name"} <= {*caught.value.expected.split(", ")}
    with pytest.raises(CallError, match=r"near it: .*global_clip_norm"):
        gc.optim.AdamW(1e-3, global_clip_nrm=1.0)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: gc.nn.Dense(), r"missing a required argument: 'units'[\s\S]*Dense\(units, act"),
        (lambda: gc.nn.Dense(3, units=4), "multiple values for argument 'units'"),
        (lambda: gc.nn.LSTM(3, 4), "too many positional arguments"),
        (lambda: gc.nn.losses.huber(1.0), "missing a required argument: 'targets'"),
        (lambda: gc.nn.Dense(3, bias=False), "here it is use_bias"),
        (lambda: gc.nn.Conv2D(3, 2, stride=2), "here it is strides"),
        (lambda: gc.nn.Dense(3, input_shape=(4,)), r"here it is model\.init\(shape\)"),
        (lambda: gc.nn.MultiHeadAttention(num_heads=2), "here it is heads"),
        (lambda: gc.optim.SGD(0.1, momentum=0.9), r"here it is gc\.optim\.Momentum"),
        (lambda: gc.nn.losses.mean_squared_error(y_true=1, y_pred=2), "here it is"),
        (lambda: gc.train.Checkpoint(filepath="x"), "here it is path"),
        (lambda: gc.sum(X, dim=1), "here it is axis"),
        (lambda: X.sum(axes=1), "here it is axis"),
        (lambda: X.mean(keepdim=True), "here it is keepdims"),
        (lambda: gc.permute_dims(X, axis=(1, 0)), "here it is axes"),
        (lambda: gc.exp(X, dtype="float64"), r"here it is x\.astype\(dtype\)"),
        (lambda: gc.add(X, 1, out=X), "here it is nothing: results are new"),
        (lambda: gc.linalg.norm(X, dim=0), "here it is axis"),
        (lambda: gc.random.normal(gc.random.key(0), size=(3,)), "here it is shape"),
        (lambda: gc.sum(), r"missing a required argument: 'x'[\s\S]*sum\(x, axis=\.\.\.,"),
        (lambda: gc.tanh(X, X), "too many positional arguments"),
        (lambda: gc.grad(X, X, argnum=0), "near it: argnums"),
        (lambda: gc.jit(gc.sum, static_argnums=0), "here it is static_argnames"),
        (lambda: gc.variable(1.0, trainble=False), "near it: trainable"),
        (lambda: gc.distributed.connect(cpu=3), "near it: cpus"),
        (lambda: gc.distributed.DataParallel(shard=3), "near it: shards"),
        (lambda: gc.Graph([X], output=[X]), "near it: outputs"),
        (lambda: gc.scope("a", "b"), "too many positional arguments"),
        (lambda: gc.elementwise("f", lambda x: x, att={}), "near it: at"),
        (lambda: gc.elementwise("f_kw", lambda x: x * x)(X, out=X), "here it is nothing: results"),
        (lambda: X.at[0].set(1.0, mode="drop"), "here it is nothing: an index out of range is an"),
        (lambda: X[X > 0].sum(axes=0), "here it is axis"),
        (lambda: gc.compile([X], [X]).report(htlm=True), "it takes no htlm"),
        (lambda: gc.compile([X], [X]).profile(run=3), "near it: runs"),
    ],
)
def test_other_wrong_calls(call: Callable[[], Any], told: str) -> None:
    with pytest.raises(CallError, match=told):
        call()


def test_what_stands_in_a_namespace_is_as_it_was_written() -> None:
    """Signatures, pickles and identity; graphc's own code, operators and NumPy call what is behind
    it."""
    assert str(inspect.signature(gc.sum)).startswith("(x: 'Any', axis: 'Any' = None, keepdims:")
    assert inspect.getsource(gc.sum).startswith("def sum(")
    assert gc.sum.__doc__ == inspect.unwrap(gc.sum).__doc__
    for name, function in CALLABLES.items():
        if inspect.isfunction(function) and "Trainer" not in name and function.__module__ in (
            "graphc", "graphc.ops.linalg", "graphc.ops.random", "graphc.nn.activations",
        ):  # fmt: skip
            assert pickle.loads(pickle.dumps(function)) is function, name
    assert gc.relu is gc.nn.activations.relu
    assert operators.functions()["sum"] is inspect.unwrap(gc.sum) is not gc.sum
    assert gc.sum(X) is X.sum() is np.sum(X)  # type: ignore[comparison-overlap]


def test_a_function_that_a_user_publishes_refuses_too() -> None:
    def thrice_for_keywords(x: Any) -> Any:
        return 3 * x

    operators.publish({"thrice_for_keywords": thrice_for_keywords})
    try:
        with pytest.raises(CallError, match="it takes no times"):
            gc.thrice_for_keywords(X, times=4)
    finally:
        del operators._functions["thrice_for_keywords"]  # type: ignore[attr-defined]
        vars(gc).pop("thrice_for_keywords", None)


def test_an_error_from_inside_that_an_argument_led_to() -> None:
    """It names the public function, what was given and the line; the error itself is its cause."""
    with pytest.raises(UnreadableError) as caught:
        gc.sum(X, keepdims=np.array([1, 2]))  # type: ignore[arg-type]
    error = caught.value
    assert (error.op, isinstance(error.__cause__, ValueError)) == ("sum", True)
    assert "keepdims=array([1, 2])" in error.given
    assert error.hint.startswith("ValueError: The truth value")
    assert f"{__file__}:" in error.where
    assert isinstance(error, TypeError)
    assert isinstance(error, ValueError)
    for call in (lambda: X.sum(keepdims=np.ones(2)), lambda: gc.nn.Permute((None, None))):  # type: ignore[arg-type]
        with pytest.raises(UnreadableError):
            call()

    class Odd:
        def __index__(self) -> int:
            raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        gc.sum(X, axis=Odd())


def test_a_layer_says_so_of_its_call() -> None:
    x = gc.placeholder("x", ("n", 4))
    with pytest.raises(CallError, match="near it: training"):
        gc.nn.Dense(3)(x, trainning=True)
    with pytest.raises(CallError, match="another number of inputs"):
        gc.nn.Dense(3)(x, x)


def test_errors_from_inside_stay_as_they_are() -> None:
    """A `TypeError` of the user's own function, or of his subclass, is Python's."""

    def schedule(epoch: int) -> float:
        return len(epoch)  # type: ignore[arg-type]

    model = gc.nn.Dense(1)
    trainer = gc.train.Trainer(model, loss="mse", optimizer="sgd", target="reference")
    x = np.ones((4, 2), "float32")
    with pytest.raises(TypeError, match="has no len") as caught:
        trainer.fit(x, x[:, :1], callbacks=[gc.train.LearningRateSchedule(schedule)], verbose=False)
    assert not isinstance(caught.value, CallError)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "schedule"

    class Mine(gc.nn.Layer):
        def __init__(self, width: int) -> None:
            super().__init__(nme="mine")  # type: ignore[call-arg]
            self.width = width

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        Mine()  # type: ignore[call-arg]
    with pytest.raises(CallError, match="near it: name"):
        Mine(3)


@pytest.mark.parametrize("keyword", {**KEYWORDS, **OF_OPERATIONS})
def test_the_table_of_keywords_names_what_is_there(keyword: str) -> None:
    known = set[str]()
    for function in CALLABLES.values():
        known |= inspect.signature(function).parameters.keys()
    for text in (*KEYWORDS.get(keyword, ()), *OF_OPERATIONS.get(keyword, ())):
        assert not text.isidentifier() or text in known
        for name in re.findall(r"gc((?:\.\w+)+)", text):
            assert eval(f"gc{name}", {"gc": gc})
