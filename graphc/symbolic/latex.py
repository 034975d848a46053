r"""Readable LaTeX of any tensor: `latex(grad(loss, w))`.

Each operation reads as `notation.py` says. A tensor that is used twice, or that would make a
formula too long, gets a name of its own; the result is then an `aligned` block of equations, one
line a name, the tensor last. Different computations read differently; what reads the same is listed
here.

    matmul         x w                      juxtaposed
    multiply       x \odot w, 2 \cdot x     of elements; \cdot where one side is a scalar
    outer          u \otimes v
    power          x^{\circ 2}              of elements; x^{2} of a scalar
    sum, max       \sum_{i=1}^{n} x_{i,:}   over the indices of the reduced axes, from 1
    mean           \frac{1}{n} \sum_{i=1}^{n} x_{i,:}
    x[0, 1:3]      x_{[0, 1:3]}             positions from 0, and `new` for an axis of size 1
    transpose      x^{\top}                 of the last two axes
    softmax        softmax                  over the last axis, unless others are named
    attention      softmax(Q K' / sqrt(d)) V, below it `causal` and which places a mask shows
    heads          Q_{i}                    features of head i; concat(head_{1:h}) side by side;
                   heads_{h}(x)             elsewhere, with the heads as an axis before the last two
    where, cond    cases                    with `for` and `otherwise`, or with `if` and `else`
    switch         cases                    with `if` and the index, the first and last clamped
    scan           h_{t} = ..., t = 1, ...  a recurrence; what is stacked of it is y_{1:n}
    while_loop     h_{t} = ..., t = 1, ...  up to T, the first t at which the condition fails
    expm1          0.9^{t} - 1              of scalars, where log(0.9) is a factor; else by its name
    dropout        m \odot x                m a mask of 0 and 1, which has a line of its own
    zeros, full    0_{3 \times 4}           a number everywhere in a shape

Sums read in the order in which they were written, and of a product a number comes first. A leaf is
its name, and a number has its digits, without shape or dtype; of two leaves with one name the
second is marked. `square(x)` is a power, `1 * x` is x, `x + -1` is x - 1, `x[0]` is `take(x, 0)`, a
sum of one element is that; what is stretched to the shape of the operand beside it is not marked,
and checks of operands, checkpoints and gradients of one's own are not shown, nor what a loop
computes and nobody reads.
An op without a notation that has a formula is written as that, in SymPy's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc.ir.node import Tensor
from graphc.symbolic.texts import below, escape
from graphc.symbolic.writer import Line, Sheet, Writer

__all__ = ["equations", "escape", "latex"]
_RESULTS = ("y", "z", "f", "g")


def latex(tensor: Tensor) -> str:
    r"""LaTeX for a tensor in terms of placeholders, variables and constants.

    >>> import graphc as gc
    >>> x, w = gc.placeholder("x", ("n", 3)), gc.placeholder("w", (3,))
    >>> latex(gc.sum(gc.tanh(x @ w)))
    '\\sum_{i=1}^{n} \\left(\\tanh\\left(x w\\right)\\right)_{i}'
    """
    sheet = Sheet()
    (text,) = Writer([tensor], sheet).results()
    if not sheet.lines:
        return text.text
    sheet.lines.append(Line(sheet.one_of(_RESULTS), text.text))
    return sheet.block()


def equations(
    results: Sequence[tuple[str, Tensor]],
    updates: Sequence[tuple[Tensor, Tensor]] = (),
    names: Mapping[str, Tensor] | None = None,
    leaves: Mapping[Tensor, str] | None = None,
) -> str:
    r"""Equations for tensors with their names (those of "" are called y), then for the new values
    of variables; `names` has tensors inside that get a line, `leaves` other names for leaves.

    >>> import graphc as gc
    >>> x = gc.placeholder("x")
    >>> print(equations([("loss", gc.exp(x))]))
    \begin{aligned}
    \mathrm{loss} &= \exp\left(x\right)
    \end{aligned}
    """
    sheet = Sheet()
    tensors, values = [t for _, t in results], [t for _, t in updates]
    given = {t: below(sheet.unused(escape(name))) for t, name in (leaves or {}).items()}
    writer = Writer([*tensors, *values, *(v for v, _ in updates)], sheet, given)
    several = sum(not name for name, _ in results) > 1
    labels = []
    for name, t in results:
        if name:
            label = sheet.unused(escape(name))
        else:
            label = sheet.numbered("y") if several else sheet.one_of(_RESULTS)
        labels.append(writer.name(t, label))
    for name, t in (names or {}).items():
        if writer.shows(t):
            writer.name(t, sheet.unused(escape(name)))
    texts = writer.results()
    for label, text in zip(labels, texts, strict=False):
        if label != text.text:  # a leaf, or what another label has
            sheet.lines.append(Line(label, text.text))
    new, old = texts[len(tensors) : len(tensors) + len(values)], texts[len(tensors) + len(values) :]
    sheet.lines += [Line(v.text, t.text, r"\leftarrow") for v, t in zip(old, new, strict=True)]
    return sheet.block()
