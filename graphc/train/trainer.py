"""`Trainer`: a model, a loss, an optimiser, metrics, and the loop that fits one by the others.

Data in memory runs in native chunks of steps, of about a tenth of a second each: between them
Python shows the bar and takes signals. Callbacks of batches, and data that comes as a stream, run
step by step.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from graphc.errors import ArgumentError, DivergenceError, LossWarning, RuntimeFailure
from graphc.ir import origin
from graphc.ir.dtype import DType, float64
from graphc.ir.node import Tensor, Variable
from graphc.ir.structure import unflatten
from graphc.keywords import Answering
from graphc.nn.module import Layer
from graphc.nn.named import given_seed
from graphc.ops.leaf import variable
from graphc.optim.optimizer import Optimizer
from graphc.runtime.batches import Batches
from graphc.runtime.compile import Function
from graphc.train import checkpoint, named
from graphc.train.batches import (
    Array,
    Data,
    class_weights,
    data,
    fault,
    float_dtype,
    is_stream,
    label_named,
    positive,
    stream,
)
from graphc.train.callbacks import Callbacks, Stop
from graphc.train.history import History
from graphc.train.objective import Loss, loss_of, loss_parts, metric_parts
from graphc.train.progress import Silent, progress
from graphc.train.step import Logs, Step, Types, Walk, diverged, prediction

CHUNK = 0.1  # seconds of steps between two looks at the bar and at signals


class Trainer(Answering):
    """Fits a model by mini-batches.

    `loss` is a name or a function (predictions, targets) -> a value for each example, which is
    averaged; `metrics` are names, such functions, or a `gc.train.Metric`. Of several outputs `loss`
    is a dict or tuple by output, summed by `loss_weights`, and `metrics` a dict of lists. The
    optimiser is one of `gc.optim`, or a name. Float data is converted to `dtype`, or else to the
    default one. The first axis of data is a named dim, so one compiled step runs every batch, the
    last and smaller one too. `target` and `device` are those of `gc.compile`.
    Errors: `ArgumentError` for what is no layer or optimiser, and unknown names.
    """

    def __init__(
        self,
        model: Layer,
        *,
        loss: Any,
        optimizer: Any,
        metrics: Any = (),
        loss_weights: Any = None,
        dtype: Any = None,
        target: str = "cpu",
        device: int | None = None,
    ) -> None:
        self.model, self.optimizer = model, named.optimizer(optimizer)
        parts = (("model", model, Layer), ("optimizer", self.optimizer, Optimizer))
        for name, value, kind in parts:
            if not isinstance(value, kind):
                raise ArgumentError(
                    f"{name} is of another kind",
                    op="Trainer",
                    expected=f"a graphc {kind.__name__}",
                    given=repr(value)[:80],
                    where=origin.where(),
                )
        self._losses = loss_parts(loss, loss_weights)
        self._metrics = metric_parts(metrics, self._losses)
        self.dtype = float_dtype("Trainer", _own_dtype(model) if dtype is None else dtype)
        self.target, self.device = target, device
        self.history = History()  # of the last fit, as far as it came
        self.seed: int | None = None  # of the last fit: what its orders are drawn by
        self._steps: dict[tuple[Any, ...], Any] = {}
        self._trained: list[int] = []  # the parameters of the compiled steps
        self.types: Types | None = None  # of the data of the last training step
        self.callbacks = Callbacks(())

    # -- fitting -----------------------------------------------------------------------------------
    def __repr__(self) -> str:
        done = f", {self.history.epochs} epochs" if self.history.epochs else ""
        return f"<Trainer of {self.model!r} by {self.optimizer!r}{done}>"

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Any = None,
        shuffle: bool = True,
        seed: int | None = None,
        steps_per_epoch: int | None = None,
        callbacks: Iterable[Any] = (),
        resume: bool = False,
        verbose: bool = True,
        label: str = "",
    ) -> History:
        """Train on examples `x` and targets `y`; the numbers of each epoch as a `History`.

        `x` and `y` are arrays, or tuples and dicts of arrays. Or `x` gives the batches itself,
        (x, y) or (x, y, sample_weight): an iterator, something to iterate over in each epoch, as a
        list of such tuples is, or a function that makes an iterator; `steps_per_epoch` is how many
        batches are an epoch, and is needed only of an iterator that goes on. A batch is at most as
        large as the data.

        Losses and metrics of the training data are those of the steps, from before each update.
        `validation_data` is (x, y) or (x, y, sample_weight), or gives such batches anew in each
        epoch; or `validation_split` is the part of the data, at its end, that is held out. A weight
        counts an example so many times, in the loss (a weighted mean) and in the metrics; weights
        [n, time] those of the steps of sequences. `class_weight` is a dict from class to weight.
        `seed` fixes the order of the examples; `gc.nn.seed` fixes the model's first values. The
        order of an epoch depends on the seed and its number only. `resume` goes on with the
        history, the seed and the state of callbacks that `load` read or an interrupt left, up to
        `epochs` in all.
        With `verbose` a bar shows the numbers so far and the time that is left, behind `label`.
        A step whose loss is not finite changes nothing and ends the training. However it ends,
        `trainer.history` has the epochs so far, and the model what the steps made of it.
        Errors: `DivergenceError`, naming epoch and step, and the first NaN or infinity of the data;
        `ShapeError` for no examples or different numbers of them; `ArgumentError` for epochs or a
        batch size that is no int >= 1, and for arguments that do not go together.
        """
        epochs = positive("fit", "epochs", epochs)
        batch_size = positive("fit", "batch_size", batch_size)
        if not isinstance(label, str):
            raise ArgumentError(
                "label is no text", op="fit", expected="a string that the bar shows",
                given=repr(label)[:80], where=origin.where(),
            )  # fmt: skip
        if steps_per_epoch is not None:
            steps_per_epoch = positive("fit", "steps_per_epoch", steps_per_epoch)
        watching, before = Callbacks(callbacks), self.callbacks.states()
        if not resume:
            self.history, self.seed = History(), None
        self.callbacks = watching
        self.history.stopped = ""
        if seed is not None:
            self.seed = given_seed("fit", seed)
        elif self.seed is None:
            self.seed = int(np.random.default_rng().integers(1 << 32))
        watching.begin(self)
        if resume:
            watching.restore(before)
        source: _Source
        if y is None and is_stream(x):
            for name, value in (
                ("validation_split", validation_split), ("sample_weight", sample_weight),
                ("class_weight", class_weight),
            ):  # fmt: skip
                if value is not None and value != 0.0:
                    raise ArgumentError(
                        f"{name} is for data in memory", op="fit", where=origin.where(),
                        hint="a stream gives (x, y, sample_weight) itself",
                    )  # fmt: skip
            source = _Stream(self, x, steps_per_epoch)
        else:
            given, held_out = self._given(
                x, y, sample_weight, class_weight, validation_split, validation_data
            )
            validation_data = held_out if validation_data is None else validation_data
            source = _Memory(self, given, batch_size, shuffle, steps_per_epoch)
        validation = None if validation_data is None else self._validation(validation_data)
        if isinstance(validation, Data):  # compiled before the bar starts
            self._step("evaluate", Types.of(validation))
        steps = source.steps and (epochs - self.history.epochs) * source.steps
        with progress(steps, verbose, label) as bar:
            self._run(source, epochs, validation, watching, bar)
        watching.end()
        return self.history

    def _given(
        self, x: Any, y: Any, sample_weight: Any, class_weight: Any, split: Any, validation: Any
    ) -> tuple[Data, Data | None]:
        """The data to train on, with weights, and what of it is held out."""
        given = data("fit", x, y, sample_weight, self.dtype)
        if class_weight is not None:
            targets = unflatten(given.structure, given.arrays)[1]
            weights = class_weights("fit", targets, class_weight)
            if sample_weight is not None:
                own = given.arrays[-1]
                weights = weights.reshape(-1, *(1 for _ in own.shape[1:])) * own
            given = data("fit", x, y, weights, self.dtype)
        if isinstance(split, bool) or not isinstance(split, (int, float)) or not 0 <= split < 1:
            raise ArgumentError(
                "validation_split is no part of the data", op="fit", expected="in [0, 1)",
                given=repr(split)[:80], where=origin.where(),
            )  # fmt: skip
        if not split or validation is not None:
            return given, None
        kept = given.examples - max(1, round(given.examples * split))
        if kept < 1:
            raise ArgumentError(
                "nothing is left to train on", op="fit", where=origin.where(),
                given=f"{given.examples} examples, validation_split={split}",
            )  # fmt: skip
        return given.part(slice(kept)), given.part(slice(kept, None))

    def _run(
        self, source: _Source, epochs: int, validation: Any, watching: Callbacks, bar: Silent
    ) -> None:
        history = self.history
        try:
            while history.epochs < epochs:
                epoch = history.epochs
                bar.epoch(epoch + 1, epochs)
                watching.epoch_begin(epoch)
                logs = source.epoch(epoch, watching, bar)
                if validation is not None:
                    held_out = self._held_out(validation)
                    logs |= {f"val_{name}": value for name, value in held_out.items()}
                history.add(logs)
                bar.show(logs)
                if watching.epoch_end(epoch, logs):
                    history.stopped = f"a callback stopped it after epoch {epoch + 1}"
                    break
        except Stop:
            history.stopped = f"a callback stopped it in epoch {history.epochs + 1}"
        except RuntimeFailure as error:
            if diverged(error):
                raise self._divergence(source) from None
            history.stopped = f"{error.message} in epoch {history.epochs + 1}"
            raise source.named(error) from None
        except KeyboardInterrupt:
            history.stopped = f"interrupted in epoch {history.epochs + 1}"
            raise
        except Exception as error:
            history.stopped = f"{type(error).__name__} after {history.epochs} whole epochs"
            raise

    def _divergence(self, source: _Source) -> DivergenceError:
        place = f"epoch {self.history.epochs + 1}, step {source.step + 1}"
        culprit = source.fault()
        self.history.stopped = f"the loss is not finite in {place}" + f", and {culprit}" * bool(
            culprit
        )
        return DivergenceError(
            self.history.stopped,
            op="fit",
            where=origin.where(),
            hint="mend the data" if culprit else "try a smaller learning rate, or clip gradients: "
            "the model is as it was before that step",
        )

    # -- without training --------------------------------------------------------------------------
    def evaluate(
        self, x: Any, y: Any = None, batch_size: int = 1024, *, sample_weight: Any = None
    ) -> Logs:
        """Loss and metrics over examples `x` and targets `y`, or a stream, untrained."""
        size = positive("evaluate", "batch_size", batch_size)
        if y is None and is_stream(x):
            return self._evaluate_stream(x)
        return self._evaluate(data("evaluate", x, y, sample_weight, self.dtype), size)

    def _evaluate(self, given: Data, size: int) -> Logs:
        step: Step = self._step("evaluate", Types.of(given))
        step.reset()
        walk = step.walk(given.arrays, min(size, given.examples))
        try:
            for _ in _chunks(walk, walk.count, None):
                pass
        except RuntimeFailure as error:
            raise label_named(error, given) from None
        logs = step.logs(walk.results)
        if not np.isfinite(logs["loss"]) and (culprit := fault(given.names, given.arrays)):
            origin.warn_once(f"the loss is {logs['loss']}, and {culprit}", LossWarning)
        return logs

    def _held_out(self, given: Any) -> Logs:
        if isinstance(given, Data):
            return self._evaluate(given, 1024)
        return self._evaluate_stream(given)

    def _evaluate_stream(self, x: Any) -> Logs:
        source = _Stream(self, x, None, "evaluate")
        return source.epoch(0, Callbacks(()), Silent())

    def predict(self, x: Any, batch_size: int = 1024) -> Any:
        """The model's results for examples `x`, without training."""
        size = positive("predict", "batch_size", batch_size)
        given = data("predict", x, None, None, self.dtype)
        function, structure = self._step("predict", Types.of(given))
        walk = Batches(function, given.arrays, min(size, given.examples))
        for _ in _chunks(walk, walk.count, None):
            pass
        return unflatten(structure, walk.results)

    def step(self, x: Any, y: Any) -> Function:
        """The compiled training step for data like `x` and `y`: (x, y) -> {"loss": ...}."""
        step: Step = self._step("fit", Types.of(data("step", x, y, None, self.dtype)))
        return step.function

    # -- compiled functions ------------------------------------------------------------------------
    def _step(self, purpose: str, types: Types) -> Any:
        if purpose == "fit" and self._steps and self._trained != self._parameters():
            self._forget_steps()
        key = (purpose, types)
        if key not in self._steps:
            if purpose == "predict":
                self._steps[key] = prediction(
                    types, self._predict, self.target, self.device
                )
            elif purpose == "fit":
                self._steps[key] = self._training_step(types)
            else:
                self._steps[key] = Step(
                    types, self._predict, self._loss, self._metrics, None, self.target, self.device
                )
        if purpose == "fit":
            self._trained, self.types = self._parameters(), types
        return self._steps[key]

    def _training_step(self, types: Types) -> Step:
        """What makes a step of the training, with the interface of `Step`."""
        return Step(
            types, self._forward, self._loss, self._metrics, self._training, self.target,
            self.device,
        )  # fmt: skip

    def prepare(self, types: Types) -> None:
        """Make the variables of model and optimiser for such data, and compile nothing."""
        _, (x, targets, weights) = types.placeholders()
        self._training(self._loss(self._forward(x), targets, weights).total)
        self.types = types

    def _forget_steps(self) -> None:
        self._steps = {key: step for key, step in self._steps.items() if key[0] != "fit"}

    def _predict(self, x: Any) -> Any:
        return self.model(x)

    def _forward(self, x: Any) -> Any:
        return self.model(x, training=True)

    def _training(self, loss: Tensor) -> dict[Variable, Tensor]:
        self._keep_rate()
        updates: dict[Variable, Tensor]
        updates = self.optimizer.minimize(loss, self.model)
        return updates

    def _keep_rate(self) -> None:
        """The rate becomes a variable, so that it can be changed between steps."""
        rate = self.optimizer.learning_rate
        if not callable(rate) and not isinstance(rate, Tensor):
            self.optimizer.learning_rate = variable(rate, "learning_rate", False, float64)

    def _loss(self, predictions: Any, targets: Any, weights: Tensor | None) -> Loss:
        """The loss of a batch, with what regularisers and layers add to it."""
        found = loss_of(self._losses, predictions, targets, weights)
        added = self.model.losses(found.total)
        if any(v.regularizer for v in self.model.parameters()):
            added.append(self.model.penalty())
        with origin.scope("loss"):
            for part in added:
                found = found.plus(part)
        return found

    def _parameters(self) -> list[int]:
        """What a step trains, by identity."""
        try:
            return [id(v) for v in self.model.parameters()]
        except ArgumentError:  # not built yet
            return []

    def _validation(self, given: Any) -> Any:
        """What is held out: data, or a stream of it."""
        if isinstance(given, Data) or (is_stream(given) and not hasattr(given, "__next__")):
            return given
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise ArgumentError(
                "validation_data is no pair",
                op="fit",
                expected="(x, y) or (x, y, sample_weight), or a function that makes an iterator",
                given=repr(type(given).__name__),
                where=origin.where(),
            )
        x, y, *weights = given
        return data(
            "fit: validation_data", x, y, weights[0] if weights else None, self.dtype
        )

    # -- the learning rate -------------------------------------------------------------------------
    @property
    def learning_rate(self) -> float:
        """The optimiser's rate, of a schedule that of the next step. It can be set between steps,
        unless it is a schedule: `ArgumentError`."""
        return float(self.optimizer.rate(float64).numpy())

    @learning_rate.setter
    def learning_rate(self, new: float) -> None:
        rate = self.optimizer.learning_rate
        if callable(rate) or (isinstance(rate, Tensor) and not isinstance(rate, Variable)):
            raise ArgumentError(
                "the learning rate is a schedule", op="Trainer", where=origin.where(),
                hint="give the optimiser a number, which callbacks can change",
            )  # fmt: skip
        if isinstance(new, bool) or not 0 <= new < float("inf"):
            raise ArgumentError(
                "not a learning rate", op="Trainer", expected="a finite number >= 0",
                given=repr(new)[:80], where=origin.where(),
            )  # fmt: skip
        if isinstance(rate, Variable):
            rate.value = new
        else:
            self.optimizer.learning_rate = float(new)

    # -- files -------------------------------------------------------------------------------------
    def save(self, path: Any) -> None:
        """Write all that training goes on from into one file: weights, the optimiser's state,
        random keys, the numbers of all epochs, the state of callbacks (docs/saving.md).

        The file is written beside its place, synced and renamed: whatever happens meanwhile, at
        `path` there is what was there before, or all of the new.
        Errors: `ArgumentError` before the first training step; `OSError` of the disk.
        """
        checkpoint.save(self, path)

    def load(self, path: Any) -> None:
        """Go on where `save` was: `fit(..., resume=True)` gives the same bits as if it had never
        stopped. The model, loss and optimiser are those of this trainer, and have to be alike.

        Errors: `FileError` for what is no such file, naming all that is missing, is more or has
        another shape; this trainer is then as it was.
        """
        checkpoint.load(self, path)


class _Source:
    """Where the batches of an epoch come from."""

    steps: int | None = None  # of an epoch
    step = 0  # that runs, from 0 on

    def epoch(self, epoch: int, watching: Callbacks, bar: Silent) -> Logs:
        """Run all steps; the numbers of the epoch."""
        raise NotImplementedError

    def fault(self) -> str:
        """What of the data is not finite."""
        return ""

    def named(self, error: RuntimeFailure) -> RuntimeFailure:
        """The error of a step, with what of the data it is about."""
        return error


class _Memory(_Source):
    """Arrays, in native chunks of steps."""

    def __init__(
        self, trainer: Trainer, given: Data, size: int, shuffle: bool, steps: int | None
    ) -> None:
        self._trainer, self._given, self._shuffle = trainer, given, shuffle
        self._step: Step = trainer._step("fit", Types.of(given))
        self._walk = self._step.walk(given.arrays, min(size, given.examples))
        self.steps = min(self._walk.count, steps or self._walk.count)

    def epoch(self, epoch: int, watching: Callbacks, bar: Silent) -> Logs:
        order = None
        if self._shuffle:
            draw = np.random.default_rng([self._trainer.seed or 0, epoch])
            order = draw.permutation(self._given.examples)
        self._step.reset()
        self.step = 0
        assert self.steps is not None
        if watching.see_batches:
            for number in range(self.steps):
                watching.batch_begin(number)
                self._walk.run(number, 1, order)
                self.step = number + 1
                bar.advance(1, None)
                watching.batch_end(number, self._step.running())
        else:
            chunks = _chunks(self._walk, self.steps, order)
            try:
                for done in chunks:
                    self.step += done
                    bar.advance(done, self._step.shown)
            except RuntimeFailure:
                self.step += self._walk.done
                raise
        rows = min(self.steps * self._walk.size, self._given.examples)
        return self._step.logs([r[:rows] for r in self._walk.results])

    def fault(self) -> str:
        return fault(self._given.names, self._given.arrays)

    def named(self, error: RuntimeFailure) -> RuntimeFailure:
        return label_named(error, self._given)


class _Stream(_Source):
    """Batches that something else gives, step by step."""

    def __init__(
        self, trainer: Trainer, x: Any, steps: int | None, purpose: str = "fit"
    ) -> None:
        self._trainer, self._x, self.steps, self._purpose = trainer, x, steps, purpose
        self._is_endless = hasattr(x, "__next__")  # it cannot begin again
        self._open: Iterator[Data] | None = None
        self._last: Data | None = None

    def epoch(self, epoch: int, watching: Callbacks, bar: Silent) -> Logs:
        if self._open is None or not self._is_endless:
            self._open = stream(self._purpose, self._x, self._trainer.dtype)
        step: Step | None = None
        kept: list[list[Array]] = []
        self.step = 0
        while self.steps is None or self.step < self.steps:
            batch = next(self._open, None)
            if batch is None:
                break
            self._last, made = batch, self._trainer._step(self._purpose, Types.of(batch))
            if step is None:
                made.reset()
            elif made is not step:
                raise ArgumentError(
                    "batches of other types than the first one",
                    op=self._purpose,
                    expected="the same shapes and dtypes, but for the number of examples",
                    where=origin.where(),
                )
            step = made
            watching.batch_begin(self.step)
            kept.append(step.kept(batch.arrays))
            self.step += 1
            bar.advance(1, None)
            if watching.see_batches:
                watching.batch_end(self.step - 1, step.running())
        if step is None or (self.steps is not None and self.step < self.steps):
            raise ArgumentError(
                "the data ended early",
                op=self._purpose,
                expected=f"{self.steps or 'some'} batches in epoch {epoch + 1}",
                given=str(self.step),
                where=origin.where(),
                hint="give steps_per_epoch, or a function that makes a new iterator",
            )
        return step.logs([np.concatenate(parts) for parts in zip(*kept, strict=True)])

    def fault(self) -> str:
        return "" if self._last is None else fault(self._last.names, self._last.arrays)

    def named(self, error: RuntimeFailure) -> RuntimeFailure:
        return error if self._last is None else label_named(error, self._last)


def _own_dtype(model: Layer) -> DType | None:
    """The dtype of a model that was built; None of one that was not, or has several."""
    try:
        found = {v.dtype for v in model.parameters()}
    except ArgumentError:
        return None
    return found.pop() if len(found) == 1 else None


def _chunks(walk: Walk, count: int, order: Array | None) -> Iterator[int]:
    """Run the batches; how many were done, about every tenth of a second. How many go together
    depends on a clock, what is computed does not."""
    first, together = 0, 1
    while first < count:
        together = min(together, count - first)
        start = time.perf_counter()
        walk.run(first, together, order)
        seconds = time.perf_counter() - start
        yield together
        first += together
        together = max(1, min(2 * together, int(together * CHUNK / max(seconds, 1e-6))))


