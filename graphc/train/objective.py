"""What is minimised: the loss of one output, or the weighted sum of those of several."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from graphc.errors import ArgumentError, DTypeError, GradientError
from graphc.ir import origin
from graphc.ir.graph import variables_of, walk
from graphc.ir.node import Tensor
from graphc.ir.structure import flatten
from graphc.nn import losses
from graphc.ops.build import cast
from graphc.train import metrics as metric_functions
from graphc.train.classes import AUC, Confusion, Decisions
from graphc.train.metric import Mean, Metric
from graphc.train.terms import Term, given_by, joined


class Part(NamedTuple):
    """The loss, or a metric, of one output: its name there, and how the output is found."""

    name: str
    what: Any
    key: Any = None  # of the output among several; None is all of them


def loss_parts(loss: Any, weights: Any) -> list[tuple[Part, float]]:
    """The losses with their weights, from what a user gives.

    Errors: `ArgumentError` for unknown names, and for weights that are not numbers or of outputs
    that have no loss.
    """
    several = _by_output(loss)
    if several is None:
        if weights is not None:
            raise _error("weights of one loss", "loss={'a': ..., 'b': ...}", weights)
        return [(Part("loss", losses.get(loss)), 1.0)]
    given = _by_output(weights) if weights is not None else {}
    if given is None or set(given) - set(several):
        raise _error("weights of other outputs than the losses", _listing(several), weights)
    found = []
    for key, each in several.items():
        weight = given.get(key, 1.0)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not weight >= 0:
            raise _error("the weight of a loss", "a number >= 0", weight)
        found.append((Part(f"{key}_loss", losses.get(each), key), float(weight)))
    return found


def metric_parts(metrics: Any, parts: list[tuple[Part, float]]) -> list[Part]:
    """The metrics, of the one output or by output; of an output whose loss is that of two classes,
    "accuracy" is `binary_accuracy`, and counts are of each decision. Errors: `ArgumentError` for
    unknown names, what is no list, and two of one name."""
    binary = {part.key for part, _ in parts if _of_two_classes(part.what)}
    several = metrics if isinstance(metrics, Mapping) else {None: metrics}
    found: dict[str, Part] = {}
    for key, each in several.items():
        if isinstance(each, str) or not hasattr(each, "__iter__"):
            raise ArgumentError(
                "metrics is no list", op="Trainer", expected="names, functions or metrics",
                given=repr(each)[:80], hint=f"metrics=[{each!r}]",
            )  # fmt: skip
        for given in each:
            metric = metric_functions.get(given)
            if key in binary and given in ("accuracy", "acc"):
                metric = Mean(metric_functions.binary_accuracy(), metric.name)
            elif key in binary and isinstance(metric, Confusion):
                metric = Decisions(metric)
            elif key in binary and isinstance(metric, AUC):
                metric = AUC(metric.name, metric.average, metric.multi_label, decisions=True)
            name = metric.name if key is None else f"{key}_{metric.name}"
            if name == "loss" or name in found:
                raise ArgumentError(
                    "two quantities have one name",
                    op="Trainer",
                    expected="metrics of distinct names other than 'loss'",
                    given=repr(name),
                    where=origin.where(),
                )
            found[name] = Part(name, metric, key)
    return list(found.values())


def _of_two_classes(loss: Any) -> bool:
    plain = loss.func if isinstance(loss, functools.partial) else loss
    return plain in (losses.binary_cross_entropy, losses.LOSSES["binary_cross_entropy"])


class Loss(NamedTuple):
    """The loss of a batch: the scalar to minimise, and by name the terms that it is made of; "loss"
    comes first."""

    total: Tensor
    terms: dict[str, list[Term]]

    def plus(self, part: Tensor) -> Loss:
        """The same with a scalar added."""
        whole = self.terms["loss"]
        one = Term(cast(part, whole[0].values.dtype))
        return Loss(
            self.total + cast(part, self.total.dtype),
            self.terms | {"loss": joined([*whole, one])},
        )


def loss_of(
    parts: list[tuple[Part, float]], predictions: Any, targets: Any, weights: Tensor | None
) -> Loss:
    """The weighted sum of the losses of all outputs, each averaged by the weights of examples or
    of their steps."""
    terms: dict[str, list[Term]] = {}
    _for_each_output(parts, predictions)
    for (name, function, key), _ in parts:
        p, t = predictions, targets
        if key is not None:
            p, t = at(predictions, key, name), at(targets, key, name)
        if t is None and function in losses.LOSSES.values():
            raise ArgumentError(
                "the loss compares with targets, and there are none", op="Trainer",
                expected="fit(x, y)", where=origin.where(),
                hint="those of an autoencoder are its inputs: fit(x, x)",
            )  # fmt: skip
        with origin.scope(name):
            terms[name] = _checked(name, function, p, t, weights)
    outer = None if weights is None or weights.ndim > 1 else weights
    with origin.scope("loss"):
        means = {name: added(term.mean(outer) for term in each) for name, each in terms.items()}
        if list(terms) == ["loss"]:
            return Loss(means["loss"], terms)
        total = added(means[name] * weight for (name, _, _), weight in parts)
        whole = [term.times(weight) for (name, _, _), weight in parts for term in terms[name]]
    return Loss(total, {"loss": joined(whole), **terms})


def added(terms: Iterable[Tensor]) -> Tensor:
    """Their sum."""
    return functools.reduce(operator.add, terms)


def _checked(
    name: str, function: Any, predictions: Any, targets: Any, weights: Tensor | None
) -> list[Term]:
    """What a loss gives. Errors: `CallError`; `DTypeError` for what has no slope; `GradientError`
    for what no training can change."""
    made, terms = given_by(name, function, predictions, targets, weights)
    if not made.dtype.is_float:
        raise DTypeError(
            "the loss is no float", op=name, expected="a float", given=str(made.type),
            hint="what counts, as an accuracy does, has no slope: give it as a metric",
        )  # fmt: skip
    found = set(walk([made]))
    outputs = [t for t in flatten(predictions)[0] if isinstance(t, Tensor)]
    if not any(t.node in found for t in outputs) and not variables_of(found):
        raise GradientError(
            "the loss does not depend on the predictions", op=name, given=str(made.type),
            expected="a tensor that is computed from them by functions of graphc",
        )  # fmt: skip
    return terms


def _for_each_output(parts: list[tuple[Part, float]], predictions: Any) -> None:
    """Errors: `ArgumentError` for one named loss of several outputs, and for a list of losses that
    is no list of all of them; a function of one's own may take several, a dict leave some out."""
    if isinstance(predictions, Tensor):
        return
    keys = [part.key for part, _ in parts]
    single = keys == [None] and parts[0][0].what in losses.LOSSES.values()
    listed = keys[0] == 0 and isinstance(predictions, (list, tuple))
    if single or (listed and len(keys) != len(predictions)):
        kind = "{name: loss, ...}" if isinstance(predictions, Mapping) else "(loss, ...)"
        raise ArgumentError(
            "the model has several outputs", op="Trainer",
            expected=f"loss={kind}, one for each of {len(predictions)}",
            given=f"{len(parts)} loss{'es' if len(parts) > 1 else ''}", where=origin.where(),
        )  # fmt: skip


def at(tree: Any, key: Any, name: str) -> Any:
    """The output `key` of several. Errors: `ArgumentError` where there is none."""
    try:
        if not isinstance(tree, Tensor):
            return tree[key]
    except (KeyError, IndexError, TypeError):
        pass
    raise ArgumentError(
        f"there is no output {key!r}",
        op=name,
        expected="an output, and targets, of each name",
        given=_listing(tree) if isinstance(tree, Mapping) else type(tree).__name__,
        where=origin.where(),
    )


def each_metric(
    parts: list[Part], predictions: Any, targets: Any
) -> Iterator[tuple[str, Metric, Any, Any]]:
    """Every metric with what it is of."""
    for name, metric, key in parts:
        if key is None:
            yield name, metric, predictions, targets
        else:
            yield name, metric, at(predictions, key, name), at(targets, key, name)


def _by_output(given: Any) -> dict[Any, Any] | None:
    if isinstance(given, Mapping):
        return dict(given)
    return dict(enumerate(given)) if isinstance(given, (tuple, list)) else None


def _listing(tree: Any) -> str:
    return ", ".join(map(repr, tree))


def _error(message: str, expected: str, given: Any) -> ArgumentError:
    return ArgumentError(
        message, op="Trainer", expected=expected, given=repr(given)[:80], where=origin.where()
    )
