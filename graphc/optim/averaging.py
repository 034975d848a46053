"""Over several steps: gradients added up before one step is made, and averages of parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from graphc.errors import ArgumentError
from graphc.ir import origin
from graphc.ir.copying import Unsaved
from graphc.ir.dtype import DType
from graphc.ir.node import Tensor, Variable
from graphc.keywords import Answering, answering
from graphc.ops.branch import cond
from graphc.ops.build import scalar_like
from graphc.ops.elementwise import where
from graphc.ops.leaf import variable
from graphc.optim.optimizer import Model, Optimizer, Trained, Updates


class Around(Optimizer):
    """An optimiser that does something besides the steps of another one."""

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise self._error(
                "not an optimiser", expected="gc.optim.SGD(...) ...", given=repr(optimizer)[:80]
            )
        self.optimizer = optimizer
        super().__init__(optimizer.learning_rate)

    @property
    def learning_rate(self) -> Any:
        """That of the optimiser which makes the steps."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, new: Any) -> None:
        self.optimizer.learning_rate = new

    def rate(self, dtype: DType) -> Tensor:
        return self.optimizer.rate(dtype)

    @property
    def state(self) -> list[Variable]:
        return [*super().state, *self.optimizer.state]

    @property
    def needs_all(self) -> bool:
        return super().needs_all or self.optimizer.needs_all

    def reset(self) -> None:
        super().reset()
        self.optimizer.reset()


class Accumulated(Around):
    """What `accumulate` gives."""

    counts = True

    def __init__(self, optimizer: Optimizer, every: int) -> None:
        super().__init__(optimizer)
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise self._error(
                "not a count of steps", expected="an int >= 1", given=repr(every)[:80]
            )
        self.every = every

    def apply(self, grads: Sequence[Any], variables: Sequence[Variable]) -> Updates:
        targets = self._checked(variables)
        gradients = self._fitting(targets, grads)
        with origin.scope(self._name):
            updates: Updates = {self._count: self._count + 1}
            due = updates[self._count] % self.every == 0
            sums = [self.slot(w, "gradient") for w in targets]
            totals = [s + g for s, g in zip(sums, gradients, strict=True)]
            for s, total in zip(sums, totals, strict=True):
                updates[s] = where(due, scalar_like(0, total), total)
        means = [total / self.every for total in totals]
        written = list(self.optimizer.apply(means, targets))
        new = cond(
            due, lambda: list(self.optimizer.apply(means, targets).values()), lambda: written
        )
        return updates | dict(zip(written, new, strict=True))


@answering
def accumulate(optimizer: Optimizer, every: int) -> Accumulated:
    """An optimiser that makes a step of `optimizer` at every `every`-th call only, with the mean of
    the gradients of these calls: a batch of `every` batches, in the memory of one.

    Between steps parameters and the optimiser's state stay as they are.
    Errors: `ArgumentError` for what is no optimiser, or a count below 1.

    >>> import graphc as gc
    >>> w, g = gc.variable([1.0], "w"), gc.placeholder("g", (1,))
    >>> twice = gc.optim.accumulate(gc.optim.SGD(0.5), 2)
    >>> step = gc.compile([g], w, updates=twice.apply([g], [w]))
    >>> [float(step([v])[0]) for v in (1.0, 3.0, 0.0)]
    [1.0, 1.0, 0.0]
    """
    return Accumulated(optimizer, every)


class EMA(Answering, Unsaved):
    """Exponential moving averages of variables: a <- decay * a + (1 - decay) * w after each step.

    Of a layer or model they are of its `parameters()`. `update(updates)` adds those of all
    parameters that a step writes; the averages start at the variables' values. `averages[w]` is the
    variable that holds one, `assign()` writes all of them into their parameters.
    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    Errors: `ArgumentError` for a decay outside of [0, 1), or variables that are not float.

    >>> import graphc as gc
    >>> w = gc.variable([1.0], "w")
    >>> ema = gc.optim.EMA([w], 0.5)
    >>> step = gc.compile([], [], updates=ema.update(gc.optim.SGD(1.0).minimize(gc.sum(w), [w])))
    >>> step(), step()
    ([], [])
    >>> float(w.value[0]), float(ema.averages[w].value[0])
    (-1.0, -0.25)
    """

    _instead = "[v.value for v in ema.averages.values()]"

    def __init__(self, variables: Sequence[Variable] | Model, decay: float = 0.999) -> None:
        number = isinstance(decay, (int, float)) and not isinstance(decay, bool)
        if not number or not 0 <= decay < 1:
            raise _error("decay is out of range", expected="in [0, 1)", given=repr(decay)[:80])
        self.decay = float(decay)
        self.averages: dict[Variable, Variable] = {}
        for w in variables.parameters() if isinstance(variables, Model) else variables:
            if not isinstance(w, Variable) or not w.dtype.is_float:
                raise _error(
                    "not a float variable", expected="gc.variable(...)", given=repr(w)[:80]
                )
            self.add(w)

    def add(self, w: Variable) -> None:
        """Keep an average of `w` too, which starts at its value."""
        if w not in self.averages:
            self.averages[w] = variable(w.value, f"ema/{w.name or 'variable'}", trainable=False)

    def update(self, updates: Mapping[Variable, Tensor]) -> Updates:
        """`updates`, and those of the averages."""
        result = dict(updates)
        with origin.scope("ema"):
            for w, average in self.averages.items():
                result[average] = self.decay * average + (1 - self.decay) * result.get(w, w)
        return result

    def assign(self) -> None:
        """Write the averages into the parameters."""
        for w, average in self.averages.items():
            w.value = average.value

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside of the block parameters are their averages, and then again what they were."""
        before = {w: w.value for w in self.averages}
        self.assign()
        try:
            yield
        finally:
            for w, value in before.items():
                w.value = value


class Averaged(Around):
    """What `averaged` gives; `ema` has the averages."""

    def __init__(self, optimizer: Optimizer, decay: float) -> None:
        super().__init__(optimizer)
        self._counted = False  # steps are the other's
        self.ema = EMA([], decay)

    @property
    def state(self) -> list[Variable]:
        return [*super().state, *self.ema.averages.values()]

    @property
    def iterations(self) -> Variable:
        return self.optimizer.iterations

    def reset(self) -> None:
        """As of other optimisers; the averages are the parameters again."""
        super().reset()
        for w, average in self.ema.averages.items():
            average.value = w.value

    def minimize(self, loss: Tensor, variables: Trained) -> Updates:
        return self._averaged(self.optimizer.minimize(loss, variables))

    def apply(self, grads: Sequence[Any], variables: Sequence[Variable]) -> Updates:
        return self._averaged(self.optimizer.apply(grads, variables))

    def _averaged(self, updates: Updates) -> Updates:
        for w in updates:
            if w.trainable and w.dtype.is_float:
                self.ema.add(w)
        return self.ema.update(updates)


@answering
def averaged(optimizer: Optimizer, decay: float = 0.999) -> Averaged:
    """An optimiser that also keeps moving averages of the parameters, as `EMA`, in the same step:
    for a trainer, whose model may be made at the first batch.

    Its `ema` has them: `with optimizer.ema.applied(): trainer.evaluate(x, y)`, and at the end
    `optimizer.ema.assign()`. They are part of its state, which `Trainer.save` keeps.
    Errors: `ArgumentError` for what is no optimiser, or a decay outside of [0, 1).

    >>> import graphc as gc
    >>> w = gc.variable([1.0], "w")
    >>> optimizer = gc.optim.averaged(gc.optim.SGD(1.0), 0.5)
    >>> step = gc.compile([], [], updates=optimizer.minimize(gc.sum(w), [w]))
    >>> step(), step()
    ([], [])
    >>> with optimizer.ema.applied():
    ...     print(w.value)
    [-0.25]
    >>> w.value
    array([-1.], dtype=float32)
    """
    return Averaged(optimizer, decay)


def _error(message: str, **sides: str) -> ArgumentError:
    return ArgumentError(message, op="EMA", where=origin.where(), **sides)
