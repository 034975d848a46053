"""`GradientTape`: derivatives of what was computed inside a `with` block.

A tape writes down the nodes that its thread makes or meets, and derivatives go through these alone:
what was computed before the block is a constant. Nothing is executed, the gradient is a tensor like
any other; `.numpy()` computes the value of one that needs no input.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from graphc.autodiff.derivatives import pulled
from graphc.autodiff.given import floats
from graphc.errors import ArgumentError, GradientError
from graphc.ir import origin, recording
from graphc.ir.graph import transform, walk
from graphc.ir.node import Node, Tensor, Variable
from graphc.ir.structure import flatten, unflatten
from graphc.keywords import Answering
from graphc.ops.create import ones_like, zeros_like
from graphc.ops.leaf import placeholder


class GradientTape(Answering):
    """Records what is computed inside its block from trainable variables and watched tensors.

    `gradient` may be asked once, or with `persistent` as often as wanted. Without
    `watch_accessed_variables` variables have to be watched too. A tape belongs to the thread that
    opened it; tapes may be nested, and the outer one records what the inner one's `gradient` makes.

    >>> import graphc as gc
    >>> x = gc.variable(3.0)
    >>> with gc.GradientTape() as tape:
    ...     y = x**2
    >>> float(tape.gradient(y, x).numpy())
    6.0
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self.persistent, self._watch_variables = bool(persistent), bool(watch_accessed_variables)
        self._nodes: dict[Node, None] = {}
        self._watched: dict[Tensor, None] = {}
        self._open = self._used = False

    # -- recording ---------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        if self._open:
            raise self._error("this tape is recording already")
        recording.begin(self._record)
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            recording.end(self._record)
        self._open = False

    def _record(self, node: Node) -> None:
        self._nodes[node] = None

    def watch(self, tensors: Any) -> None:
        """Take derivatives by these tensors too: constants, inputs, variables that are not
        trainable. Errors: `ArgumentError` for what is no tensor, `GradientError` for ints."""
        leaves, _ = floats("GradientTape.watch", tensors, "tensors")
        self._watched |= dict.fromkeys(leaves)

    def reset(self) -> None:
        """Forget all that was recorded and watched."""
        self._nodes, self._watched, self._used = {}, {}, False

    def watched_variables(self) -> tuple[Variable, ...]:
        """The variables that derivatives can be taken by, in the order in which they were met."""
        met = [t for node in self._nodes for t in node.inputs]
        found = dict.fromkeys(t for t in (*met, *self._watched) if isinstance(t, Variable))
        return tuple(v for v in found if self._is_source(v))

    # -- derivatives -------------------------------------------------------------------------------
    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: str = "none",
    ) -> Any:
        """The derivative of `target`, summed over its elements, by each of `sources`: tensors in
        their structure.

        A source may be a variable, a watched tensor, or one that was computed inside from these.
        None stands for one that the target does not depend on inside the block, such as a
        constant or a variable that is not trainable, unless `unconnected_gradients` is "zero".
        Several targets are added up; `output_gradients`, in their structure, are factors of their
        elements.
        Errors: `GradientError` for a second use of a tape that is not persistent, and for ints;
        `ArgumentError` for what is no tensor.
        """
        if self._used and not self.persistent:
            raise GradientError(
                "this tape has been used: its gradient can be asked once",
                op="GradientTape.gradient", where=origin.where(),
                hint="GradientTape(persistent=True)",
            )  # fmt: skip
        if unconnected_gradients not in ("none", "zero"):
            raise self._error(
                "what to give for a source without a gradient", expected="'none' or 'zero'",
                given=repr(unconnected_gradients)[:80],
            )  # fmt: skip
        outputs, _ = floats("GradientTape.gradient", target, "target")
        wanted, structure = flatten(sources)
        for t in wanted:
            if not isinstance(t, Tensor):
                raise self._error("not a tensor", expected="a tensor", given=repr(t)[:80])
        factors = self._factors(outputs, output_gradients)
        self._used = True
        flowing = self._flowing(outputs)
        reached = [(t, f) for t, f in zip(outputs, factors, strict=True) if t in flowing]
        outputs, factors = [t for t, _ in reached], [f for _, f in reached]
        # What was computed before the block is a constant: an input, until the derivative is there.
        outside = {
            t: placeholder(f"_before{i}", t.shape, t.dtype)
            for i, t in enumerate(self._outside(outputs, flowing))
        }
        back = {inner: t for t, inner in outside.items()}
        inner = transform(outputs, replace=outside) if outside else outputs
        sought = [t for t in dict.fromkeys(wanted) if t in flowing]
        inside = transform(sought, replace=outside) if outside else sought
        found = pulled(inner, inside, factors) if sought else []
        made = [t for t in found if t is not None]
        if outside:
            made = transform(made, replace=back)
        results = iter(made)
        gradients = {
            source: None if g is None else next(results)
            for source, g in zip(sought, found, strict=True)
        }
        if unconnected_gradients == "zero":
            gradients |= {t: zeros_like(t) for t in wanted if gradients.get(t) is None}
        return unflatten(structure, [gradients.get(t) for t in wanted])

    def _factors(self, outputs: list[Tensor], given: Any) -> list[Tensor]:
        if given is None:
            return [ones_like(t) for t in outputs]
        factors = flatten(given)[0]
        if len(factors) != len(outputs):
            raise self._error(
                "factors for other targets", expected=str(len(outputs)), given=str(len(factors))
            )
        return [ones_like(t) * f for t, f in zip(outputs, factors, strict=True)]

    def _is_source(self, t: Tensor) -> bool:
        """Whether derivatives are taken by it, though nothing of it was computed inside."""
        variable = self._watch_variables and isinstance(t, Variable) and t.trainable
        return t in self._watched or variable

    def _flowing(self, outputs: Iterable[Tensor]) -> dict[Tensor, bool]:
        """What a derivative may flow through, and whether it was computed inside from sources; if
        not it is a source."""
        found: dict[Tensor, bool] = {}
        for node in walk(outputs):
            inside = node in self._nodes and any(t in found for t in node.inputs)
            found |= {t: inside for t in node.outputs if inside or self._is_source(t)}
        return found

    def _outside(self, outputs: list[Tensor], flowing: dict[Tensor, bool]) -> list[Tensor]:
        """What of the formula was not computed inside, though it is no leaf."""
        nodes = [node for node in walk(outputs) if any(flowing.get(t) for t in node.outputs)]
        used = dict.fromkeys([*outputs, *(t for node in nodes for t in node.inputs)])
        return [t for t in used if not flowing.get(t) and t.node.inputs]

    def _error(self, message: str, **sides: str) -> ArgumentError:
        return ArgumentError(message, op="GradientTape", where=origin.where(), **sides)
