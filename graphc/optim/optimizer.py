"""`Optimizer`: what all optimisers share.

An optimiser is graph to graph: `minimize` differentiates the loss and returns new values, for the
parameters and for its own state, as symbolic tensors. Nothing changes before a compiled function
with these updates is called.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict, runtime_checkable

import numpy as np

from graphc.autodiff.derivatives import grad
from graphc.elsewhere import OPTIMIZERS, no_member
from graphc.errors import ArgumentError, ShapeError
from graphc.ir import origin
from graphc.ir.copying import Unsaved
from graphc.ir.dtype import DType
from graphc.ir.graph import walk
from graphc.ir.node import Tensor, Variable
from graphc.keywords import Answering, asked
from graphc.ops.build import cast, constant, is_python_scalar
from graphc.ops.leaf import variable
from graphc.optim.clipping import clip_by_global_norm, clip_by_norm, clip_by_value

Updates = dict[Variable, Tensor]


@runtime_checkable
class Model(Protocol):
    """What can be minimised over as a whole: a layer, or what has its three methods."""

    def parameters(self) -> Sequence[Variable]:
        """The variables that are trained."""

    def updates(self, *results: Tensor) -> Updates:
        """New values of its state by the calls that lead to `results`."""

    def losses(self, *results: Tensor) -> Sequence[Tensor]:
        """What these calls add to the loss."""


Trained: TypeAlias = "Model | Sequence[Variable | Model]"
"""What is minimised over."""


class Options(TypedDict, total=False):
    """What every optimiser takes beside its own parameters; see `Optimizer`."""

    weight_decay: float | Callable[[Variable], float]
    clip_value: float
    clip_norm: float
    global_clip_norm: float


class Optimizer(Answering, Unsaved):
    """Base of the optimisers.

    `learning_rate` is a number, a scalar float tensor or variable, or a schedule: a function from
    the count of steps so far, an int64 scalar, to such a tensor (`gc.optim.schedules`); it is
    computed in the same native step. `weight_decay` shrinks parameters by that part of themselves
    times the rate, apart from the gradient; a function of the variable gives each its own, for
    example none to biases: `lambda v: 0.01 if v.ndim > 1 else 0`. Source: Loshchilov and Hutter,
    "Decoupled weight decay regularization" (2019). Gradients are clipped before all else:
    `clip_value` each element, `clip_norm` each gradient's norm, `global_clip_norm` that of all
    together (as `clip_by_value`, `clip_by_norm` and `clip_by_global_norm` do).

    One optimiser keeps one state (moments, step count) for each parameter, whatever the number of
    functions it is compiled into.
    """

    _instead = "[v.value for v in optimizer.state], or a file by Trainer.save(path)"
    counts = False  # whether it counts its steps, even if the rate does not need that

    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float | Callable[[Variable], float] = 0.0,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        global_clip_norm: float | None = None,
    ) -> None:
        self.learning_rate = self._rate(learning_rate)
        self._slots: dict[tuple[Variable, str], Variable] = {}
        self._first: dict[Variable, np.ndarray[Any, Any]] = {}  # what `reset` gives its state
        self.weight_decay = self._decay(weight_decay)
        limits = zip(_CLIPS, (clip_value, clip_norm, global_clip_norm), strict=True)
        self._clips = {
            name: self._number(name, limit, math.inf) for name, limit in limits if limit is not None
        }
        scheduled = callable(self.learning_rate)
        self._count = self.own("iterations", 0, (), "int64")
        self._counted = self.counts or scheduled

    def __repr__(self) -> str:
        """Its options, as far as they are numbers now."""
        options = list(inspect.signature(type(self).__init__).parameters)
        found = {name: getattr(self, name, None) for name in options[1:]}
        now = {n: v.value.tolist() if isinstance(v, Variable) else v for n, v in found.items()}
        said = [f"{n}={v:.6g}" for n, v in now.items() if isinstance(v, (int, float))]
        return f"{type(self).__name__}({', '.join(said)})"

    if not TYPE_CHECKING:  # a checker knows what an optimiser has

        def __getattr__(self, name: str) -> Any:
            """What is not there: the hint for a name of Keras's or PyTorch's."""
            if name not in OPTIMIZERS or hasattr(type(self), name):
                return object.__getattribute__(self, name)  # Python's own error
            raise no_member(self, name, OPTIMIZERS)

    # -- what users call ---------------------------------------------------------------------------
    def minimize(self, loss: Tensor, variables: Trained) -> Updates:
        """Updates that make a step down the gradient of the scalar `loss`: {variable: new value}.

        Of a layer or model it is that of its `parameters()`, and the updates are those of its state
        too, which training calls change; a list may have variables, layers and models. Penalties of
        the variables (`Variable.regularizer`) and what layers add (`Layer.add_loss`) are added to
        the loss, unless it holds them.
        Errors: `GradientError` if the loss is no float scalar or does not depend on a variable;
        `ArgumentError` as `apply`.
        """
        targets, state, added = self._trained(loss, variables)
        return self.apply(grad(self._whole(loss, targets, added), targets), targets) | state

    def _trained(
        self, loss: Tensor, given: Trained
    ) -> tuple[list[Variable], Updates, list[Tensor]]:
        """The variables to train, and of the models that were given the new state, and what they
        add to the loss."""
        every = [given] if isinstance(given, (Tensor, Model)) else list(given)
        of_models: set[Variable] = set()  # which several models may share
        found: list[Any] = []
        state: Updates = {}
        added: list[Tensor] = []
        for each in every:
            if isinstance(each, Model):
                added += each.losses(loss)
                own = [v for v in each.parameters() if v not in of_models]
                of_models.update(own)
                found += own
                state |= each.updates(loss)
            else:
                found.append(each)
        return self._checked(found), state, added

    def _whole(self, loss: Tensor, targets: Sequence[Variable], added: Sequence[Tensor]) -> Tensor:
        """The loss with penalties and with what was added, each once."""
        penalties = [p for p in (w.penalty() for w in targets) if p is not None]
        parts = dict.fromkeys([*penalties, *added])
        held = set(walk([loss])) if parts else set()
        for part in parts:
            if part.node not in held:
                loss = loss + cast(part, loss.dtype)
        return loss

    def apply(self, grads: Sequence[Any], variables: Sequence[Variable]) -> Updates:
        """Updates for given gradients, one for each variable: {variable: new value}. Constraints of
        the variables (`Variable.constraint`) are applied to the new values.

        Errors: `ArgumentError` for no variables, what is no float variable, one that is not
        trainable or given twice, and another number of gradients; `ShapeError` for a gradient of
        another shape.
        """
        targets = self._checked(variables)
        updates: Updates = {}
        with origin.scope(self._name):
            if self._counted:
                updates[self._count] = self._count + 1
            gradients = self._fitting(targets, grads)
            for name, limit in self._clips.items():
                gradients = _CLIPS[name](gradients, limit)
            for w, g in zip(targets, gradients, strict=True):
                self.update(w, g, updates)
                self._shrink(w, updates)
                updates[w] = w.constrained(updates[w])
        return updates

    def _shrink(self, w: Variable, updates: Updates) -> None:
        decay = self.weight_decay
        part = self._number("weight_decay", decay(w), math.inf) if callable(decay) else decay
        if part:
            updates[w] = updates[w] - self.rate(w.dtype) * part * w

    @property
    def state(self) -> list[Variable]:
        """The optimiser's own variables: its count of steps, if it has one, then those of the
        parameters in order of their making."""
        return [*([self._count] if self._counted else []), *self._slots.values()]

    def reset(self) -> None:
        """Give its state (moments, count of steps) the first values again: the next step is as that
        of a new optimiser. Parameters, and the learning rate, stay as they are.

        >>> import graphc as gc
        >>> w = gc.variable([1.0], "w")
        >>> adam = gc.optim.Adam(0.1)
        >>> step = gc.compile([], w, updates=adam.minimize(gc.sum(w * w), [w]))
        >>> _ = step(), step()
        >>> adam.reset()
        >>> int(adam.iterations.value)
        0
        """
        for own, first in self._first.items():
            own.value = first

    @property
    def needs_all(self) -> bool:
        """Whether the step of one parameter depends on the gradients of the others."""
        return "global_clip_norm" in self._clips

    @property
    def iterations(self) -> Variable:
        """How many steps were made, an int64 scalar.
        Errors: `ArgumentError` for an optimiser that does not count them."""
        if not self._counted:
            raise self._error(
                "it does not count its steps", hint="give a schedule as learning_rate"
            )
        return self._count

    @property
    def _name(self) -> str:
        return type(self).__name__.lower()

    # -- what a subclass defines or uses -----------------------------------------------------------
    def update(self, w: Variable, g: Tensor, updates: Updates) -> None:
        """Add the new value of `w`, and of its state, for the gradient `g`."""
        raise NotImplementedError(f"{type(self).__name__} does not define update")

    def slot(self, w: Variable, name: str, fill: float = 0.0) -> Variable:
        """The state `name` of parameter `w`, made at first use: of its shape, full of `fill`."""
        if (w, name) not in self._slots:
            path = f"{w.name or 'variable'}/{name}"
            self._slots[w, name] = self.own(path, fill, w.value.shape, w.dtype.name)
        return self._slots[w, name]

    def own(
        self, name: str, fill: float, shape: tuple[int, ...] = (), dtype: str = "float64"
    ) -> Variable:
        """A variable of its state that belongs to no parameter, full of `fill`."""
        first = np.broadcast_to(np.asarray(fill), shape)  # which takes the memory of one number
        made = variable(first, f"{self._name}/{name}", trainable=False, dtype=dtype)
        self._first[made] = first
        return made

    def steps(self, dtype: DType, updates: Updates) -> Tensor:
        """The number of this step, from 1 on, as a scalar of the dtype."""
        return cast(updates[self._count], dtype)

    def rate(self, dtype: DType) -> Tensor:
        """The learning rate as a scalar of the dtype."""
        rate = self.learning_rate
        if callable(rate) and not isinstance(rate, Tensor):
            rate = self._checked_rate(asked(type(self).__name__, "count", rate, self._count))
        return cast(rate, dtype) if isinstance(rate, Tensor) else constant(rate, dtype)

    # -- checks ------------------------------------------------------------------------------------
    def _rate(self, rate: Any) -> Any:
        return rate if callable(rate) else self._checked_rate(rate)

    def _checked_rate(self, rate: Any) -> Any:
        if isinstance(rate, Tensor):
            if rate.shape != () or not rate.dtype.is_float:
                raise self._error(
                    "the learning rate is not a scalar",
                    expected="a scalar float tensor",
                    given=str(rate.type),
                )
            return rate
        return self._number("learning_rate", rate, math.inf)

    def _decay(self, decay: Any) -> Any:
        return decay if callable(decay) else self._number("weight_decay", decay, math.inf)

    def _number(self, name: str, value: Any, below: float) -> float:
        """A finite number in [0, below)."""
        if isinstance(value, (np.floating, np.integer)):
            value = value.item()
        if not is_python_scalar(value) or isinstance(value, bool) or not 0 <= value < below:
            raise self._error(
                f"{name} is out of range",
                expected="a finite number >= 0" if below == math.inf else f"in [0, {below:g})",
                given=repr(value)[:80],
            )
        return float(value)

    def _checked(self, variables: Any) -> list[Variable]:
        found: dict[Variable, None] = {}
        for v in [variables] if isinstance(variables, Tensor) else variables:
            if not isinstance(v, Variable) or not v.dtype.is_float:
                raise self._error(
                    "not a float variable", expected="gc.variable(...), or a layer",
                    given=repr(v)[:80],
                )  # fmt: skip
            if not v.trainable:
                raise self._error(
                    "a variable that is not trainable",
                    given=repr(v),
                    hint="leave it out, or set v.trainable = True",
                )
            if v in found:
                raise self._error("a variable is given twice", given=repr(v))
            found[v] = None
        if not found:
            raise self._error("no variables to minimize over", expected="at least one")
        return list(found)

    def _fitting(self, targets: Sequence[Variable], grads: Sequence[Any]) -> list[Tensor]:
        gradients = list(grads)
        if len(gradients) != len(targets):
            raise self._error(
                "one gradient for each variable",
                expected=f"{len(targets)} gradients",
                given=str(len(gradients)),
            )
        return [self._gradient(w, g) for w, g in zip(targets, gradients, strict=True)]

    def _gradient(self, w: Variable, g: Any) -> Tensor:
        gradient = g if isinstance(g, Tensor) else constant(g, w.dtype)
        if gradient.shape != w.shape:
            raise self._error(
                f"the gradient does not fit {w.name!r}",
                kind=ShapeError,
                expected=str(w.type),
                given=str(gradient.type),
            )
        return cast(gradient, w.dtype)

    def _error(self, message: str, *, kind: Any = ArgumentError, **sides: str) -> Exception:
        result: Exception = kind(message, op=type(self).__name__, where=origin.where(), **sides)
        return result


_CLIPS: dict[str, Callable[[list[Tensor], float], list[Tensor]]] = {
    "clip_value": clip_by_value,
    "clip_norm": clip_by_norm,
    "global_clip_norm": clip_by_global_norm,
}
