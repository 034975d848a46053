"""R21: bad input. Each case is refused by a documented error of ours that says what it is about,
what was expected or what to do, and the user's line; never by a traceback of NumPy, Numba or SymPy.

The public entries of `nn`, `optim` and `train`; the cases are made of tables, so that each entry
meets each kind of bad input that it can."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import graphc as gc
from graphc import errors
from graphc.errors import GraphcError
from graphc.ir import origin

from . import Budget, Result, Tally

FIGURE = 200  # cases
Case = tuple[str, Callable[[], Any]]

_LAYERS: dict[str, Callable[..., Any]] = {
    name: getattr(gc.nn, name)
    for name in ("Dense", "SimpleRNN", "LSTM", "GRU")
}  # fmt: skip
_NO_COUNTS = (0, -1, 2.5, True, "3", None, [4])
_NO_RATES = (-0.1, float("nan"), float("inf"), True, "x", None, [0.1], 1j)


def layers() -> Iterator[Case]:
    """Layers with wrong parameters, and called with what they do not take."""
    for name, layer in _LAYERS.items():
        for count in _NO_COUNTS:
            yield f"nn.{name}({count!r})", lambda layer=layer, count=count: layer(count)
        for option in ("kernel_initializer", "activation"):
            if option == "activation" and name in ("LSTM", "GRU"):
                continue
            yield f"nn.{name}({option})", lambda layer=layer, o=option: layer(3, **{o: "nearly"})
        yield f"nn.{name}(name='')", lambda layer=layer: layer(3, name="")
    x = gc.placeholder("x", ("n", 4))
    made: dict[str, Any] = {
        "Dense": gc.nn.Dense(3), "LSTM": gc.nn.LSTM(3), "GRU": gc.nn.GRU(3),
        "SimpleRNN": gc.nn.SimpleRNN(3), "LayerNorm": gc.nn.LayerNorm(), "RMSNorm": gc.nn.RMSNorm(),
    }  # fmt: skip
    inputs: dict[str, Any] = {
        "a scalar": gc.placeholder("s"), "ints": gc.placeholder("i", ("n", 2, 4), "int64"),
        "a named last axis": gc.placeholder("m", ("n", 2, "k")), "a dict": {"a": x},
        "a string": "x", "None": None, "complex numbers": np.ones((2, 2), complex),
    }  # fmt: skip
    for (name, layer), (what, given) in itertools.product(made.items(), inputs.items()):
        yield f"nn.{name} of {what}", lambda layer=layer, given=given: layer(given)
        if name == "Dense":
            yield f"nn.{name} of {what} and one more", lambda m=layer, g=given: m(x, g, g)
    dense = gc.nn.Dense(3)
    dense(x)
    yield "nn.Dense of another size", lambda: dense(gc.placeholder("x5", ("n", 5)))
    for rate in (*_NO_RATES, 1.0):
        yield f"nn.Dropout({rate!r})", lambda rate=rate: gc.nn.Dropout(rate)
    yield "nn.Embedding of floats", lambda: gc.nn.Embedding(3, 2)(x)
    for sizes in itertools.product((0, 2), (0, 2.5, "2")):
        yield f"nn.Embedding{sizes!r}", lambda sizes=sizes: gc.nn.Embedding(*sizes)
    for stack in ([], [3], ["dense"], [gc.nn.Dense], gc.nn.Dense(2)):
        yield f"nn.Sequential({stack!r})"[:60], lambda stack=stack: gc.nn.Sequential(stack)
    fresh = gc.nn.Dense(3)
    for method in ("variables", "parameters", "summary", "state_dict"):
        yield f"Layer.{method} before a call", lambda m=method: getattr(fresh, m)()
    for shape in ("n", -3, (2, -1), {"a": None}, 2.5):
        yield f"Layer.init({shape!r})", lambda shape=shape: gc.nn.Dense(3).init(shape)
    for bad in ({}, {"dense/kernel": np.ones(3)}, {"dense/kernel": "x", "dense/bias": 3}):
        yield f"load_state_dict({sorted(bad)})", lambda bad=bad: dense.load_state_dict(bad)


def losses() -> Iterator[Case]:
    """Losses of what does not fit."""
    pairs: dict[str, tuple[Any, Any]] = {
        "other shapes": (gc.placeholder("p", ("n", 3)), gc.placeholder("t", ("n", 4))),
        "another rank": (gc.placeholder("p", ("n", 3)), gc.placeholder("t2", ("n", 3, 2))),
        "ints": (gc.placeholder("pi", ("n", 3), "int64"), gc.placeholder("t3", ("n", 3))),
        "no predictions": ("p", gc.placeholder("t3", ("n", 3))),
    }
    table = gc.nn.losses.LOSSES
    for (name, loss), (what, pair) in itertools.product(table.items(), pairs.items()):
        yield f"losses.{name} of {what}", lambda loss=loss, pair=pair: loss(*pair)
    for delta in (0, -1.0, "x", float("inf")):
        yield f"losses.huber delta={delta!r}", lambda delta=delta: gc.nn.losses.huber(
            pairs["another rank"][0], pairs["another rank"][0], delta
        )


def optimisers() -> Iterator[Case]:
    """Optimisers with wrong numbers, and asked to minimise what they cannot."""
    names = [n for n in gc.optim.__all__ if isinstance(getattr(gc.optim, n), type)]
    kinds = [
        getattr(gc.optim, n) for n in names
        if issubclass(getattr(gc.optim, n), gc.optim.Optimizer) and n != "Optimizer"
    ]  # fmt: skip
    w, whole = gc.variable([1.0, 2.0], "w"), gc.variable([1, 2], "ints")
    fixed = gc.variable([1.0], "fixed", trainable=False)
    loss = gc.sum(w * w)
    for kind in kinds:
        name = kind.__name__
        for rate in _NO_RATES[:-1]:
            yield f"optim.{name}({rate!r})", lambda kind=kind, rate=rate: kind(rate)
        if issubclass(kind, (gc.optim.GaussNewton, gc.optim.LevenbergMarquardt)):
            continue  # of residuals of any shape
        yield f"optim.{name} of no scalar", lambda kind=kind: kind(0.1).minimize(w * w, [w])
        if issubclass(kind, (gc.optim.Newton, gc.optim.LBFGS, gc.optim.ConjugateGradient)):
            yield f"optim.{name}.apply", lambda kind=kind: kind().apply([w], [w])
            continue  # no options
        yield f"optim.{name}(decay)", lambda kind=kind: kind(0.1, weight_decay=-1.0)
        yield f"optim.{name}(clip)", lambda kind=kind: kind(0.1, clip_norm=-1.0)
        yield f"optim.{name}(option)", lambda kind=kind: kind(0.1, momentums=1.0)
    sgd = gc.optim.SGD(0.1)
    for variables in ([], [whole], [fixed], [w, w], [w * 2], ["w"]):
        yield f"minimize over {variables}"[:60], lambda v=variables: sgd.minimize(loss, v)
    other = gc.variable([1.0], "other")
    yield "minimize over another", lambda: gc.optim.SGD(0.1).minimize(loss, [other])
    for grads in ([], [w, w], [gc.constant([1.0])], ["x"]):
        yield f"apply {grads}"[:60], lambda grads=grads: gc.optim.SGD(0.1).apply(grads, [w])
    for every in _NO_COUNTS:
        yield f"accumulate({every!r})", lambda e=every: gc.optim.accumulate(gc.optim.SGD(0.1), e)
    for decay in (1.0, -0.1, "x", True):
        yield f"EMA({decay!r})", lambda decay=decay: gc.optim.EMA([w], decay)
    schedules = gc.optim.schedules
    for steps in _NO_COUNTS:
        yield f"cosine({steps!r})", lambda steps=steps: schedules.cosine(0.1, steps)
    for rate in (-0.1, float("nan"), "x", True):
        yield f"cosine of {rate!r}", lambda rate=rate: schedules.cosine(rate, 10)


X, Y = np.ones((6, 2), np.float32), np.ones((6, 1), np.float32)


def _trainer(**options: Any) -> gc.train.Trainer:
    given: dict[str, Any] = {"loss": "mse", "optimizer": "sgd", "target": "reference"} | options
    return gc.train.Trainer(given.pop("model", None) or gc.nn.Dense(1), **given)


def training() -> Iterator[Case]:
    """Trainers made of wrong parts, and given wrong data."""
    options: list[dict[str, Any]] = [
        {"model": gc.relu}, {"optimizer": "adem"}, {"optimizer": 0.1}, {"optimizer": None},
        {"loss": "nearness"}, {"loss": 3}, {"loss": {"a": "nearness"}}, {"loss": None},
        {"metrics": "accuracy"}, {"metrics": ["accurate"]}, {"metrics": [3]}, {"metrics": 3},
        {"metrics": ["mae", "mae"]}, {"loss_weights": [1.0]}, {"dtype": "float99"},
        {"loss": ["mse"], "loss_weights": [-1.0]}, {"loss": ["mse"], "loss_weights": {"b": 1.0}},
    ]  # fmt: skip
    for each in options:
        yield f"Trainer({each})"[:60], lambda each=each: _trainer(**each)
    nan = X.copy()
    nan[3, 1] = np.nan
    data: dict[str, tuple[Any, Any]] = {
        "no examples": (X[:0], Y[:0]), "other numbers": (X, Y[:5]), "a scalar": (3.0, Y),
        "strings": ([["a", "b"]] * 6, Y), "objects": (np.array([None] * 6), Y),
        "complex numbers": (X + 1j, Y), "ragged rows": ([[1.0], [1.0, 2.0]], Y[:2]),
        "no targets": (X, None), "nothing": (None, None), "other targets": (X, np.ones((6, 3))),
        "NaN": (nan, Y), "infinity": (X * np.inf, Y), "inputs of two numbers": ((X, X[:3]), Y),
        "two inputs": ((X, X), Y), "a dict": ({"a": X}, Y),
        "a masked array": (np.ma.masked_array(X, X > 0), Y),
    }  # fmt: skip
    for what, (x, y) in data.items():
        yield f"fit of {what}", lambda x=x, y=y: _trainer().fit(x, y, verbose=False)
        if what not in ("NaN", "infinity"):
            yield f"evaluate of {what}", lambda x=x, y=y: _trainer().evaluate(x, y)
        if what not in ("NaN", "infinity", "other numbers", "no targets", "other targets"):
            yield f"predict of {what}", lambda x=x: _trainer().predict(x)
    arguments: list[dict[str, Any]] = [
        *({name: v} for name in ("epochs", "batch_size") for v in _NO_COUNTS),
        *({"validation_split": v} for v in (1.0, -1.0, True, "x", 0.99)),
        *({"validation_data": v} for v in (X, (X,), 3, (X, Y[:2]))),
        *({"sample_weight": v} for v in (-np.ones(6), np.ones(5), np.ones((6, 2)), [np.nan] * 6)),
        *({"class_weight": v} for v in ({}, {0: 1.0}, [1.0], 3)),
        *({"callbacks": [v]} for v in (3, "stop", gc.train.EarlyStopping)),
        {"callbacks": [gc.train.EarlyStopping("val_loss")]}, {"steps_per_epoch": 0},
        {"callbacks": [gc.train.Checkpoint("{nothing}")]},
    ]  # fmt: skip
    for each in arguments:
        yield f"fit({each})"[:60], lambda e=each: _trainer().fit(X, Y, **{"verbose": False} | e)
    streams: dict[str, Any] = {
        "arrays": lambda: iter([X]), "nothing": lambda: iter([]), "numbers": lambda: iter([3]),
        "quadruples": lambda: iter([(X, Y, X, Y)]), "other numbers": lambda: iter([(X, Y[:1])]),
    }  # fmt: skip
    for what, stream in streams.items():
        yield f"fit of a stream of {what}", lambda s=stream: _trainer().fit(s, verbose=False)
    yield "save before a step", lambda: _trainer().save("never")
    for rate in (-1.0, float("nan"), True, float("inf")):
        yield f"rate = {rate}", lambda rate=rate: setattr(_trainer(), "learning_rate", rate)
    for patience in _NO_COUNTS:
        for kind in (gc.train.EarlyStopping, gc.train.ReduceOnPlateau):
            yield (
                f"{kind.__name__}({patience!r})",
                lambda kind=kind, patience=patience: kind(patience=patience),
            )
    yield "EarlyStopping(mode)", lambda: gc.train.EarlyStopping(mode="best")
    for factor in (0, 1, -1.0):
        yield f"ReduceOnPlateau({factor})", lambda f=factor: gc.train.ReduceOnPlateau(factor=f)
    for maker in ("precision", "recall", "f1"):
        yield f"metrics.{maker}", lambda m=maker: getattr(gc.train.metrics, m)("mean")
    for metric in ("accuracy", "precision", "auc", "r2", "confusion_matrix", "top_k_accuracy"):
        yield (
            f"metrics.{metric} of other shapes",
            lambda metric=metric: _trainer(
                loss=lambda p, t: gc.sum(p, axis=1), metrics=[metric]
            ).evaluate(X, np.ones((6, 3, 2))),
        )


def tapes() -> Iterator[Case]:
    """Tapes asked for what they have not."""
    x = gc.variable(2.0, "taped")
    with gc.GradientTape() as tape:
        y = x * 3
    tape.gradient(y, x)
    yield "a second gradient", lambda: tape.gradient(y, x)
    for bad in (3.0, "y", gc.constant([1, 2])):
        yield f"watch({bad!r})", lambda bad=bad: gc.GradientTape().watch(bad)
    yield "numpy of an input", lambda: gc.placeholder("needed").numpy()


GROUPS = (layers, losses, optimisers, training, tapes)


def judged(name: str, call: Callable[[], Any]) -> str:
    """What is wrong with how a case is refused; "" if nothing is."""
    try:
        call()
    except GraphcError as error:
        said = error.expected or error.given or error.hint
        lacking = [
            what
            for what, there in {
                "an op": error.op, "a message": error.message, "what was expected or given": said,
                "the user's line": Path(__file__).name in error.where,
                "a documented kind": type(error).__doc__ and hasattr(errors, type(error).__name__),
            }.items()
            if not there
        ]  # fmt: skip
        return f"{name}: the error lacks {', '.join(lacking)}: {error}" if lacking else ""
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"[:400]
    return f"{name}: not refused"


class Refused:
    name = "R21"
    promise = "bad input is refused by name"

    def run(self, budget: Budget) -> Result:
        tally = Tally()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for group in GROUPS:
                for number, (name, call) in enumerate(group()):
                    if number % max(1, round(1 / budget.share)):
                        continue
                    tally.counts[group.__name__] += 1
                    if problem := judged(name, call):
                        tally.failures.append(problem)
        total = tally.counts.total()
        wanted = FIGURE if budget.share == 1 else 1
        return Result(
            not tally.failures and total >= wanted,
            f"{total} cases, {len(tally.failures)} failures",
            f"{wanted} cases, all of them named, with op, sides and line",
            tally,
        )

    def control(self) -> Result:
        """Errors without the user's line."""
        nowhere = mock.patch.object(origin, "where", return_value="")
        with nowhere, mock.patch.object(errors, "_locate", str):
            return self.run(Budget(0.1))


ROW = Refused()
