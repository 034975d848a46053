"""Connectionist temporal classification: labels without knowing at which times they are."""

from __future__ import annotations

import math
from typing import Any

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir import origin
from graphc.ir.dtype import int64
from graphc.ir.node import Tensor
from graphc.ir.shape import may_be_equal, show
from graphc.nn.loss import floats, loss
from graphc.ops.build import cast, size_as_tensor, tensor
from graphc.ops.create import arange, full
from graphc.ops.elementwise import greater, less, logical_and, maximum, not_equal, where
from graphc.ops.places import take_along_axis
from graphc.ops.powers import logaddexp
from graphc.ops.scan import scan
from graphc.ops.shape import broadcast_to, concat, permute_dims, reshape, stack
from graphc.ops.softmax import log_softmax

_NEVER = -1e30  # the logarithm of a probability of 0, whose differences are numbers


@loss
def ctc(
    predictions: Any,
    targets: Any,
    *,
    input_lengths: Any = None,
    target_lengths: Any = None,
    blank: int = 0,
) -> Tensor:
    """-log of the probability that logits [batch, time, classes] say the labels [batch, length], at
    any times, each for any time, with the class `blank` between them (between equal ones always).

    `input_lengths` and `target_lengths` [batch] say how much of each row counts; what is behind may
    be any labels. Infinite where the labels do not fit into the time.
    Shapes: -> [batch]. Dtypes: float logits, integer labels.
    Errors: `ShapeError`, `DTypeError`; `ArgumentError` for a blank that is no class; at the call a
    `RuntimeFailure` for a label that is none.
    Source: Graves et al., "Connectionist Temporal Classification" (2006), equations 5 to 8.
    """
    z, labels = floats(tensor(predictions, "ctc"), "ctc"), tensor(targets, "ctc")
    if z.ndim != 3 or labels.ndim != 2 or not may_be_equal(labels.shape[:1], z.shape[:1]):
        raise ShapeError(
            "the labels do not fit the logits",
            op="ctc",
            expected="logits (batch, time, classes), labels (batch, length)",
            given=f"{show(z.shape)}, {show(labels.shape)}",
            where=origin.where(),
        )
    if not labels.dtype.is_integer:
        raise DTypeError(
            "labels are ints", op="ctc", given=labels.dtype.name, where=origin.where()
        )
    classes = z.shape[-1]
    if not isinstance(blank, int) or not (not isinstance(classes, int) or 0 <= blank < classes):
        raise ArgumentError(
            "the blank is no class",
            op="ctc",
            expected=f"an int below {classes}",
            given=repr(blank)[:80],
            where=origin.where(),
        )
    n, time, _ = z.shape
    times = _lengths("input_lengths", input_lengths, n, time)
    counts = _lengths("target_lengths", target_lengths, n, labels.shape[1])
    states = _with_blanks(labels, counts, blank)
    size = states.shape[1]
    where_from = broadcast_to(states[:, None], (n, time, size))
    logs = permute_dims(take_along_axis(log_softmax(z), where_from, axis=-1), (1, 0, 2))
    place = arange(size)
    skips = logical_and(not_equal(states[:, 2:], states[:, :-2]), not_equal(states[:, 2:], blank))

    def step(before: Any, now: Any) -> tuple[Any, None]:
        """Forward probabilities of all states, equations 6 to 8."""
        emitted, t = now
        one = concat([_never(before, 1), before[:, :-1]], axis=1)
        over = where(skips, before[:, :-2], _NEVER)
        two = concat([_never(before, 2), over], axis=1)
        after = logaddexp(logaddexp(before, one), two) + emitted
        return where(less(t, times)[:, None], after, before), None

    first = where(less(place, 2), logs[0], _NEVER)
    last, _ = scan(step, first, (logs[1:], arange(1, time)))
    ends = stack([2 * counts, maximum(2 * counts - 1, 0)], axis=-1)
    found = take_along_axis(last, ends, axis=-1)
    short = where(greater(counts, 0), found[:, 1], _NEVER)
    result = -logaddexp(found[:, 0], short)
    return where(greater(result, -_NEVER / 10), math.inf, result)


def _never(like: Tensor, count: int) -> Tensor:
    return full((like.shape[0], count), _NEVER, dtype=like.dtype)


def _with_blanks(labels: Tensor, counts: Tensor, blank: int) -> Tensor:
    """blank, label, blank, label, ..., blank; what is not counted is blank."""
    n, length = labels.shape
    kept = where(less(arange(length), counts[:, None]), labels, blank)
    blanks = full((n, length), blank, dtype=labels.dtype)
    pairs = reshape(stack([blanks, kept], axis=-1), (n, 2 * length))
    return concat([pairs, full((n, 1), blank, dtype=labels.dtype)], axis=1)


def _lengths(name: str, given: Any, n: Any, whole: Any) -> Tensor:
    if given is None:
        return broadcast_to(size_as_tensor(whole, int64), (n,))
    found = tensor(given, "ctc")
    if found.ndim != 1 or not found.dtype.is_integer or not may_be_equal(found.shape, (n,)):
        raise ShapeError(
            f"{name} is not one int for each row",
            op="ctc",
            expected=f"integers of shape {show((n,))}",
            given=str(found.type),
            where=origin.where(),
        )
    return cast(found, int64)
