"""`Trainer`: a model, a loss, an optimiser and metrics as compiled functions, and the loop."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.dtype import dtype_or_default
from graphc.ir.node import Tensor
from graphc.nn import losses
from graphc.nn.module import Layer
from graphc.ops.build import tensor
from graphc.ops.leaf import placeholder
from graphc.ops.reduce import mean
from graphc.optim.optimizer import Optimizer
from graphc.runtime.compile import compile as compile_function
from graphc.train import metrics as metric_functions
from graphc.train.batches import Array, batches, examples, fault, pair, positive
from graphc.train.callbacks import Callback
from graphc.train.history import History
from graphc.train.progress import Silent, progress

Logs = dict[str, float]


class Trainer:
    """Fits a model by mini-batches.

    `loss` and each of `metrics` is a name or a function (predictions, targets) -> tensor, which is
    averaged over the examples. Float data is converted to `dtype`, or else to the default one. The
    first axis of data is a named dim, so one compiled step runs every batch, the last and smaller
    one too.
    Errors: `ArgumentError` for what is no layer or optimiser, and unknown names.
    """

    def __init__(
        self,
        model: Layer,
        *,
        loss: Any,
        optimizer: Optimizer,
        metrics: Sequence[Any] = (),
        dtype: Any = None,
        target: str = "cpu",
    ) -> None:
        for name, value, kind in (("model", model, Layer), ("optimizer", optimizer, Optimizer)):
            if not isinstance(value, kind):
                raise ArgumentError(
                    f"{name} is of another kind",
                    op="Trainer",
                    expected=f"a graphc {kind.__name__}",
                    given=repr(value)[:80],
                    where=origin.where(),
                )
        self.model, self.optimizer = model, optimizer
        self.loss = losses.get(loss)
        self.metrics = _by_name([metric_functions.get(m) for m in _listed(metrics)])
        self.dtype, self.target = dtype_or_default(dtype), target
        self._compiled: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self._trained: list[int] = []  # the parameters of the compiled steps

    # -- the three entry points --------------------------------------------------------------------
    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        callbacks: Iterable[Callback] = (),
        verbose: bool = True,
    ) -> History:
        """Train on examples `x` and targets `y`; the means over each epoch as a `History`.

        Losses and metrics of the training data are those of the steps, from before each update.
        `seed` fixes the order of the examples; `gc.nn.seed` fixes the model's first values.
        A loss that is not finite stops the training with a `RuntimeWarning`, which names the first
        NaN or infinity of the data, if there is one.
        Errors: `ShapeError` for no examples or different numbers of `x` and `y`;
        `ArgumentError` for epochs or a batch size that is no int >= 1.
        """
        inputs, targets = pair("fit", x, y, self.dtype)
        epochs = positive("fit", "epochs", epochs)
        batch_size = positive("fit", "batch_size", batch_size)
        held_out = None if validation_data is None else self._validation(validation_data)
        self.step(inputs, targets)  # compiled before the bar starts
        order = np.random.default_rng(seed)
        history, watching = History(), list(callbacks)
        steps = -(-len(inputs) // batch_size)
        with progress(epochs * steps, verbose) as bar:
            for epoch in range(epochs):
                bar.epoch(epoch + 1, epochs)
                chosen = order.permutation(len(inputs)) if shuffle else None
                logs, failed = self._epoch(inputs, targets, batch_size, chosen, bar)
                if failed:
                    place = f"epoch {epoch + 1}, step {failed}"
                    culprit = fault(x=inputs, y=targets)
                    history.stopped = f"the loss is {logs['loss']} in {place}"
                    history.stopped += f", and {culprit}" * bool(culprit)
                if held_out is not None:
                    validated = self.evaluate(*held_out)
                    logs |= {f"val_{name}": value for name, value in validated.items()}
                history.add(logs)
                bar.show(logs)
                if failed:
                    break
                wishes = [callback(epoch, dict(logs)) for callback in watching]
                if any(wishes):
                    history.stopped = f"a callback stopped it after epoch {epoch + 1}"
                    break
        if failed:
            advice = "mend the data" if culprit else "try a smaller learning rate"
            warnings.warn(
                f"training stopped: {history.stopped}; {advice}",
                RuntimeWarning,
                stacklevel=2,
            )
        return history

    def _epoch(
        self, x: Array, y: Array, batch_size: int, order: Array | None, bar: Silent
    ) -> tuple[Logs, int]:
        """The means over one epoch; and the number of the step whose loss is not finite, or 0."""
        step, mean_of = self.step(x, y), _Mean()
        for number, batch in enumerate(batches((x, y), batch_size, order), start=1):
            logs = mean_of.add(step(*batch), len(batch[0]))
            bar.advance()
            if not math.isfinite(logs["loss"]):
                return mean_of.value(), number
        return mean_of.value(), 0

    def evaluate(self, x: Any, y: Any, batch_size: int = 1024) -> Logs:
        """The means of loss and metrics over examples `x` and targets `y`, without training."""
        inputs, targets = pair("evaluate", x, y, self.dtype)
        size = positive("evaluate", "batch_size", batch_size)
        function = self._function("evaluate", inputs, targets)
        mean_of = _Mean()
        for batch in batches((inputs, targets), size):
            mean_of.add(function(*batch), len(batch[0]))
        return mean_of.value()

    def predict(self, x: Any, batch_size: int = 1024) -> Array:
        """The model's results for examples `x`, without training."""
        inputs = examples("predict", "x", x, self.dtype)
        size = positive("predict", "batch_size", batch_size)
        function = self._function("predict", inputs)
        return np.concatenate([function(*batch) for batch in batches((inputs,), size)])

    def step(self, x: Any, y: Any) -> Callable[..., Any]:
        """The compiled training step for data like `x` and `y`: (x, y) -> {"loss": ..., ...}."""
        return self._function("fit", *pair("step", x, y, self.dtype))

    # -- compiled functions ------------------------------------------------------------------------
    def _function(self, purpose: str, *data: Array) -> Callable[..., Any]:
        key = (purpose, *((a.shape[1:], a.dtype.str) for a in data))
        if key in self._compiled and purpose == "fit" and self._trained != self._parameters():
            self._compiled = {k: f for k, f in self._compiled.items() if k[0] != "fit"}
        if key not in self._compiled:
            inputs = [
                placeholder(name, ("n", *a.shape[1:]), a.dtype)
                for name, a in zip("xy", data, strict=False)
            ]
            predictions = self.model(inputs[0], training=purpose == "fit")
            outputs = predictions if purpose == "predict" else self._scores(predictions, inputs[1])
            updates: dict[Any, Tensor] = {}
            if purpose == "fit":
                updates = self.optimizer.minimize(outputs["loss"], self.model.parameters())
                updates |= self.model.updates()
                self._trained = self._parameters()
            self._compiled[key] = compile_function(
                inputs,
                outputs,
                updates=updates,
                target=self.target,
                name=purpose,
                flush_subnormals=True,
            )
        return self._compiled[key]

    def _parameters(self) -> list[int]:
        """What a step trains, by identity."""
        return [id(v) for v in self.model.parameters()]

    def _scores(self, predictions: Tensor, targets: Tensor) -> dict[str, Tensor]:
        scores = {}
        for name, function in {"loss": self.loss, **self.metrics}.items():
            with origin.scope(name):
                values = tensor(function(predictions, targets), name)
                scores[name] = mean(values) if values.ndim else values
        return scores

    def _validation(self, data: Any) -> tuple[Array, Array]:
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise ArgumentError(
                "validation_data is no pair",
                op="fit",
                expected="a pair (x, y)",
                given=repr(type(data).__name__),
                where=origin.where(),
            )
        return pair("fit: validation_data", data[0], data[1], self.dtype)


class _Mean:
    """Means over examples of what batches report."""

    def __init__(self) -> None:
        self._sums: Logs = {}
        self._count = 0

    def add(self, values: dict[str, Any], count: int) -> Logs:
        """Add the means over a batch of `count` examples; they are returned as floats."""
        logs = {name: float(value) for name, value in values.items()}
        for name, value in logs.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * count
        self._count += count
        return logs

    def value(self) -> Logs:
        """The means over all examples so far."""
        return {name: total / self._count for name, total in self._sums.items()}


def _listed(metrics: Any) -> list[Any]:
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        raise ArgumentError(
            "metrics is no list", op="Trainer", expected="names or functions", given=repr(metrics),
            hint=f"metrics=[{metrics!r}]",
        )  # fmt: skip
    return list(metrics)


def _by_name(metrics: list[Callable[..., Tensor]]) -> dict[str, Callable[..., Tensor]]:
    found: dict[str, Callable[..., Tensor]] = {}
    for metric in metrics:
        name = getattr(metric, "__name__", type(metric).__name__)
        if name == "loss" or name in found:
            raise ArgumentError(
                "two quantities have one name",
                op="Trainer",
                expected="metrics of distinct names other than 'loss'",
                given=repr(name),
                where=origin.where(),
            )
        found[name] = metric
    return found
