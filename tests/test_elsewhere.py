"""What is said to who types a name of Keras's or PyTorch's."""

from __future__ import annotations

import copy
import re
import statistics
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import elsewhere
from graphc.errors import ArgumentError

TABLES = [
    (module, name, text)
    for module in (
        gc.nn, gc.nn.losses, gc.optim, gc.optim.schedules, gc.train, gc.train.metrics,
    )
    for name, text in module._HERE.items()
]


@pytest.mark.parametrize(
    ("module", "name", "text"), TABLES, ids=[f"{m.__name__}.{n}" for m, n, _ in TABLES]
)
def test_names_of_modules(module: Any, name: str, text: str) -> None:
    """The hint names what is there."""
    assert not hasattr(module, name)
    with pytest.raises(AttributeError, match=re.escape(f"'{name}'; here it is {text}")):
        getattr(module, name)
    first = text.split()[0].rstrip(",")
    if first.startswith("gc."):
        assert eval(first, {"gc": gc})
    elif first.isidentifier() and first not in ("a", "the", "what"):
        assert hasattr(module, first)


@pytest.mark.parametrize("name", elsewhere.LINALG)
def test_names_of_scipy(name: str) -> None:
    """What a hint says of graphc's is there."""
    text = elsewhere.LINALG[name]
    with pytest.raises(AttributeError, match=re.escape(f"'{name}'; here it is {text}")):
        getattr(gc.linalg, name)
    for mentioned in re.findall(r"gc(?:\.\w+)+", text):
        assert callable(eval(mentioned, {"gc": gc})), mentioned


@pytest.mark.parametrize(
    ("module", "name", "here"),
    [
        (gc.linalg, "cholseky", "near it: cholesky"),
        (gc.fft, "rftt", "near it: rfft"),
        (gc.random, "choise", "near it: choice"),
        (gc, "triangular_solve", r"there is gc\.linalg\.triangular_solve"),
        (gc, "binary_cross_entropy", r"there is gc\.nn\.losses\.binary_cross_entropy"),
        (gc, "attention", r"here it is gc\.nn\.dot_product_attention"),
        (gc, "report", r"here it is gc\.compile\(inputs, outputs\)\.report"),
        (gc.nn.constraints, "MaxNorm", "here it is max_norm"),
        (gc.nn.regularizers, "L1L2", "here it is l1_l2"),
        (gc.nn.initializers, "GlorotUniform", "here it is glorot_uniform"),
        (gc.nn.losses, "MeanSquaredError", "here it is mean_squared_error"),
        (gc.train.metrics, "F1", "here it is f1"),
        (gc.nn, "Danse", "near it: Dense"),
        (gc.nn.activations, "swish", "here it is silu"),
    ],
)
def test_classes_there_are_functions_here(module: Any, name: str, here: str) -> None:
    with pytest.raises(AttributeError, match=here):
        getattr(module, name)


def test_what_is_near_nothing_is_pythons_error() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'zzzzzz'$"):
        _ = gc.nn.zzzzzz
    layer, v = gc.nn.Dense(2), gc.variable(1.0)
    for what in (layer, v):
        with pytest.raises(AttributeError, match=r"no attribute 'zzzzzz'$"):
            _ = what.zzzzzz
    assert copy.copy(v) is v
    assert not hasattr(layer, "__array__")


@pytest.mark.parametrize("name", elsewhere.MODELS)
def test_names_of_models(name: str) -> None:
    text = elsewhere.MODELS[name]
    with pytest.raises(AttributeError, match=re.escape(f"here it is {text}")):
        getattr(gc.nn.Sequential(), name)
    first = re.match(r"(\w+)\(", text)
    if first and first[1] not in ("model", "sum"):
        assert hasattr(gc.nn.Sequential, first[1])
    assert all(hasattr(gc.train.Trainer, n) for n in re.findall(r"\.\.\.\)\.(\w+)\(", text))


@pytest.mark.parametrize("name", elsewhere.TENSORS)
def test_names_of_tensors(name: str) -> None:
    text = elsewhere.TENSORS[name]
    for t in (gc.variable(1.0), gc.constant(1.0), gc.placeholder("elsewhere_x", ("n",))):
        assert not hasattr(t, name)
        with pytest.raises(AttributeError, match=re.escape(f"here it is {text}")):
            getattr(t, name)
    assert all(hasattr(gc, n) for n in re.findall(r"gc\.(\w+)", text))
    assert all(hasattr(gc.Tensor, n) for n in re.findall(r"x\.(\w+)", text))


@pytest.mark.parametrize("name", elsewhere.OPTIMIZERS)
def test_names_of_optimisers(name: str) -> None:
    for optimizer in (gc.optim.Adam(), gc.optim.LBFGS(), gc.optim.accumulate(gc.optim.SGD(), 2)):
        if hasattr(type(optimizer), name):
            continue
        here = f"here it is {elsewhere.OPTIMIZERS[name]}"
        with pytest.raises(AttributeError, match=re.escape(here)):
            getattr(optimizer, name)
    assert copy.copy(optimizer).learning_rate == 0.01


@pytest.mark.parametrize("name", elsewhere.FUNCTIONS)
def test_names_of_functions(name: str) -> None:
    text = elsewhere.FUNCTIONS[name]
    with pytest.raises(AttributeError, match=re.escape(f"here it is {text}")):
        getattr(gc, name)
    assert all(hasattr(gc, n) for n in re.findall(r"gc\.(\w+)", text))


@pytest.mark.parametrize("name", elsewhere.RANDOM)
def test_names_of_random_numbers(name: str) -> None:
    """What a hint says of graphc's is there."""
    text = elsewhere.RANDOM[name]
    with pytest.raises(AttributeError, match=re.escape(f"'{name}'; here it is {text}")):
        getattr(gc.random, name)
    for mentioned in re.findall(r"gc(?:\.\w+)+", text):
        assert eval(mentioned, {"gc": gc}), mentioned
    for called in re.findall(r"(?<![.\w])(\w+)\(", text):
        assert hasattr(gc.random, called), called


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("concatenate", "here it is gc.concat"),
        ("arccos", "here it is gc.acos"),
        ("amax", "here it is gc.max"),
        ("absolute", "here it is gc.abs"),
        ("mod", "here it is gc.remainder"),
        ("true_divide", "here it is gc.divide"),
        ("transpose", "here it is gc.permute_dims"),
        ("roots", "here it is leading zeros, which only data tell, decide the shape"),
        ("argwhere", "here it is gc.nonzero(x, size=...)"),
        ("cumsumm", "near it: gc.cumsum"),
        ("soft_max", "near it: gc.softmax"),
    ],
)
def test_names_of_numpy_and_slips_of_the_hand(name: str, here: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(f"attribute {name!r}; {here}")):
        getattr(gc, name)


@pytest.mark.parametrize("name", elsewhere.HISTORY)
def test_names_of_histories(name: str) -> None:
    history = gc.train.History()
    with pytest.raises(AttributeError, match=re.escape(f"here it is {elsewhere.HISTORY[name]}")):
        getattr(history, name)
    assert copy.deepcopy(history) == history


def test_a_layer_that_fails_to_begin_says_why() -> None:
    """The hint hides no error that a property raises."""

    class Broken(gc.nn.Layer):
        @property
        def weights(self) -> Any:
            return self.nothing_of_that_name

    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = Broken("broken").weights


# -- options and strings ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("option", "here"),
    [
        ("lr", "learning_rate"),
        ("clipnorm", "clip_norm"),
        ("eps", "epsilon"),
        ("use_ema", "gc.optim.averaged"),
        ("weight_decai", "weight_decay"),
    ],
)
def test_options_of_optimisers(option: str, here: str) -> None:
    with pytest.raises(ArgumentError, match=f"hint: .*{re.escape(here)}"):
        gc.optim.Adam(**{option: 0.1})
    with pytest.raises(ArgumentError, match=r"gc\.optim\.Momentum"):
        gc.optim.SGD(0.1, momentum=0.9)  # type: ignore[call-arg]


def test_strings_by_the_names_of_classes() -> None:
    dense = gc.nn.Dense(
        2, kernel_initializer="HeNormal", kernel_regularizer="L2", kernel_constraint="non_neg"
    )
    same = gc.nn.Dense(2, kernel_initializer="he_normal")
    assert dense.of_kernel.initializer is same.of_kernel.initializer
    gc.train.Trainer(dense, loss="MeanSquaredError", optimizer="Adam", metrics=["acc"])
    with pytest.raises(ArgumentError, match=r"hint: .*near it: .*relu"):
        gc.nn.Dense(2, "rleu")
    with pytest.raises(ArgumentError, match=r"hint: .*near it: .*rmsprop"):
        gc.train.Trainer(dense, loss="mse", optimizer="rmsprob")


def test_what_learners_do_first_is_told_what_to_do() -> None:
    t = gc.placeholder("learner_t")
    x = gc.placeholder("learner_x", ("n", 3))
    cases = [
        (lambda: gc.evaluate(t * 2), "give gc.evaluate an array for it"),
        (lambda: f"{t:.2f}", "compile and call the function to get a number"),
        (lambda: round(t), "use gc.round"),
        (lambda: gc.softmax_cross_entropy(x, x), "gc.argmax(rows, -1)"),
        (lambda: gc.nn.Dense(3, 2), "sizes of inputs are not given"),
        (lambda: gc.nn.Sequential(gc.nn.Dense(2), gc.nn.Dense(3)), "layers are given in one list"),
    ]
    for mistake, said in cases:
        with pytest.raises(gc.GraphcError) as caught:
            mistake()
        assert said in str(caught.value)
        assert "test_elsewhere.py:" in str(caught.value)
    assert f"{t}" == str(t)


def test_what_those_who_port_a_program_do_first_is_told_what_to_do() -> None:
    s, v = gc.placeholder("ported_s"), gc.placeholder("ported_v", (3,))
    kept: list[Any] = []

    def leaking(carry: Any, x: Any) -> Any:
        kept.append(carry * 2)
        return carry + x, None

    gc.scan(leaking, s, v)
    cases: list[tuple[Any, str]] = [
        (lambda: gc.compile([s, v], kept[0]), "return what is computed from it from that function"),
        (lambda: gc.compile([v], v[v > 0]), "gc.where(mask, x, 0) keeps the shape"),
        (lambda: gc.placeholder("a", (None, 3)), 'has a name: ("n", 3)'),
        (lambda: gc.jit(lambda n: gc.zeros((n,)))(np.int64(3)), "a size is a Python int"),
        (lambda: gc.jit(lambda n: gc.arange(n))(np.int64(3)), "a Python int, also of gc.jit"),
        (lambda: gc.switch(v > 0, v, -v), "gc.where(condition, x, y)"),  # type: ignore[arg-type]
        (lambda: gc.jit(lambda x: x, donate_argnums=0), "updates={variable: value}"),
        (lambda: gc.vmap(lambda x: x, axis_name="i"), "reductions inside"),
        (lambda: gc.grad(lambda x: x, argnames="x"), "argnums"),
        (lambda: gc.scan(leaking, s, v, unroll=4), "the compiler decides"),
        (lambda: gc.scan(leaking, sequences=v, outputs_info=s), "here it is xs"),
    ]
    for mistake, said in cases:
        with pytest.raises(gc.GraphcError) as caught:
            mistake()
        assert said in str(caught.value)


def test_a_library_that_takes_arrays_is_not_where_the_mistake_is() -> None:
    """The line is the user's that gave a tensor to what is installed beside graphc."""
    t = gc.placeholder("learner_library", (3,))
    with pytest.raises(gc.GraphcError) as caught:
        statistics.fmean([t[0], t[1]])
    assert "test_elsewhere.py:" in caught.value.where
