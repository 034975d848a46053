"""Sums of products over labelled axes: `einsum`, `tensordot`, and products of vectors by name.

A string is read once, into operands whose axes have labels. Diagonals are views, what only one
operand has is summed first, and then two operands at a time become one (`contract`), in the order
that takes the fewest multiplications.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from string import ascii_letters, ascii_lowercase, ascii_uppercase
from typing import Any

from graphc.errors import ArgumentError, DTypeError, ShapeError
from graphc.ir.conditions import never_equal
from graphc.ir.dim import Size, size_hint
from graphc.ir.dtype import bool_
from graphc.ir.node import Tensor
from graphc.ir.shape import normalize_axis, show
from graphc.ops.build import operands as to_operands
from graphc.ops.complex import conj
from graphc.ops.contract import Labelled, Labels, contract, permuted, sum_out
from graphc.ops.contraction_order import contraction_order
from graphc.ops.diagonal import main_diagonal
from graphc.ops.elementwise import multiply
from graphc.ops.shape import expand_dims, matrix_transpose, permute_dims, reshape

FUNCTIONS: dict[str, Callable[..., Any]] = {}
_NUMBERED = ascii_uppercase + ascii_lowercase  # the letters of 0, 1, ... in the form with lists


def einsum(subscripts: Any, *operands: Any, optimize: Any = True) -> Tensor:
    """The sum of products that `subscripts` states, as `numpy.einsum`.

    A letter for each axis, a comma between operands: `"ij,jk->ik"` is a matrix product. Letters
    that are not behind the arrow are summed over; without an arrow, the result has the letters
    that occur once, in alphabetic order. A letter twice in one operand is its diagonal; `...`
    stands for axes that broadcast. `einsum(x, [0, 1], y, [1, 2], [0, 2])` is the same with numbers.

    The order of pairs is that of least cost (by `size_hint` for named dims) up to 8 operands, and
    near it for more; `optimize` is taken for NumPy's sake and changes nothing.
    Dtypes: the operands' common one, also of the sum: ints wrap, bools multiply by `and` and add
    by `or`. Errors: `ArgumentError` for a string that makes no sense, `ShapeError` for axes that
    do not fit it.

    >>> import graphc as gc
    >>> q, k = (gc.placeholder(name, ("b", "t", 4, 8)) for name in "qk")
    >>> gc.einsum("bthd,bshd->bhts", q, gc.einsum("bthd->bthd", k)).shape
    (b, 4, t, t)
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _from_lists((subscripts, *operands))
    tensors = to_operands("einsum", *operands) if operands else []
    terms, output = _parse(subscripts, tensors)
    for number, (t, labels) in enumerate(terms):
        _check_repeated(number, t, labels)
    return _evaluate(_unstretched([_diagonals(t, labels) for t, labels in terms]), output)


def _from_lists(arguments: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """The string and operands of the form with lists of numbers."""
    pairs = len(arguments) // 2
    parts = [_letters(arguments[2 * i + 1]) for i in range(pairs)]
    arrow = f"->{_letters(arguments[-1])}" if len(arguments) % 2 else ""
    return ",".join(parts) + arrow, tuple(arguments[0 : 2 * pairs : 2])


def _letters(numbers: Any) -> str:
    found = ""
    for n in numbers if isinstance(numbers, (list, tuple)) else [None]:
        if n is Ellipsis:
            found += "..."
        elif isinstance(n, int) and 0 <= n < len(_NUMBERED):
            found += _NUMBERED[n]
        else:
            raise ArgumentError(
                "neither a string nor lists of axes",
                op="einsum",
                expected="a string first, or a list of numbers from 0 to 51 behind each operand",
                given=repr(numbers)[:80],
            )
    return found


# -- reading the string ----------------------------------------------------------------------------
def _parse(text: str, tensors: Sequence[Tensor]) -> tuple[list[tuple[Tensor, Labels]], Labels]:
    """Each operand with its labels (a letter, or `...k` for axis k of the ellipsis counted from
    the last), and the labels of the result."""
    left, arrow, right = text.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(tensors):
        raise _bad(text, f"{len(parts)} operands", f"{len(tensors)}")
    terms = []
    for part, t in zip(parts, tensors, strict=True):
        rank = t.ndim - len(_checked(part, text).replace("...", ""))
        if rank < 0 or (rank > 0 and "..." not in part):
            raise ShapeError(
                "a letter is needed for each axis",
                op="einsum",
                expected=f"rank {t.ndim - rank} for {part!r}" + (" or more" * ("..." in part)),
                given=show(t.shape),
                hint="" if rank < 0 else "`...` stands for the other axes",
            )
        terms.append((t, _expanded(part, rank)))
    found = dict.fromkeys(a for _, labels in terms for a in labels)
    dots = sorted((a for a in found if len(a) > 1), key=lambda a: -int(a[3:]))
    if not arrow:
        every = [a for _, labels in terms for a in labels]
        once = sorted(a for a in found if len(a) == 1 and every.count(a) == 1)
        return terms, (*dots, *once)
    output = _expanded(_checked(right, text), len(dots))
    if dots and "..." not in right:
        raise _bad(text, "`...` in the result, as there are axes under that of the operands", right)
    unknown = [a for a in output if a not in found]
    if unknown:
        raise _bad(text, "letters of the operands behind the arrow", repr(unknown[0]))
    if len(set(output)) != len(output):
        raise _bad(text, "each letter once behind the arrow", repr(right))
    return terms, output


def _checked(part: str, text: str) -> str:
    """The letters and at most one `...` of one operand."""
    rest = part.replace("...", "", 1)
    for letter in rest:
        if letter not in ascii_letters:
            raise _bad(text, "letters, one `...` for each operand, commas and one `->`", letter)
    return part


def _bad(text: str, expected: str, given: str) -> ArgumentError:
    return ArgumentError(
        f"the string {text!r} makes no sense", op="einsum", expected=expected, given=given
    )


def _expanded(part: str, rank: int) -> Labels:
    """The labels of a part whose `...` stands for `rank` axes."""
    before, dots, after = part.partition("...")
    return (*before, *(f"...{k}" for k in reversed(range(rank if dots else 0))), *after)


# -- operands in normal form -----------------------------------------------------------------------
def _check_repeated(number: int, t: Tensor, labels: Labels) -> None:
    """Axes of one operand under one letter are of one size."""
    for second, label in enumerate(labels):
        first = labels.index(label)
        if never_equal(t.shape[first], t.shape[second]):
            raise ShapeError(
                f"the letter {label!r} stands for two sizes",
                op="einsum",
                expected="equal sizes for a diagonal",
                given=f"axes {first} and {second} of operand {number}, {show(t.shape)}",
            )


def _diagonals(t: Tensor, labels: Labels) -> Labelled:
    """The diagonals over labels that occur twice."""
    while len(set(labels)) < len(labels):
        label = next(a for a in labels if labels.count(a) > 1)
        first = labels.index(label)
        second = labels.index(label, first + 1)
        t = main_diagonal(t, (first, second))
        labels = (*(a for i, a in enumerate(labels) if i not in (first, second)), label)
    return Labelled(t, labels)


def _unstretched(terms: list[Labelled]) -> list[Labelled]:
    """The operands without axes of static size 1 that others stretch."""
    sizes: dict[str, Size] = {}
    for term in terms:
        for label, size in zip(term.labels, term.tensor.shape, strict=True):
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size != 1 and never_equal(size, known):
                axis = f"the letter {label!r}" if len(label) == 1 else "an axis of `...`"
                raise ShapeError(
                    f"{axis} stands for two sizes",
                    op="einsum",
                    expected="equal sizes, or a static 1, for each letter",
                    given=f"{known} and {size}",
                )
    result = []
    for t, labels in terms:
        kept = [i for i, a in enumerate(labels) if t.shape[i] != 1 or sizes[a] == 1]
        shape = tuple(t.shape[i] for i in kept)
        result.append(Labelled(reshape(t, shape), tuple(labels[i] for i in kept)))
    return result


def _evaluate(terms: list[Labelled], output: Labels) -> Tensor:
    """The sum over all labels that are not in `output` of the product of all terms."""
    for i, term in enumerate(terms):
        others = [a for j, other in enumerate(terms) if j != i for a in other.labels]
        terms[i] = sum_out(term, (*others, *output))
    sizes = {a: size_hint(s) for t in terms for a, s in zip(t.labels, t.tensor.shape, strict=True)}
    for i, j in contraction_order([t.labels for t in terms], output, sizes):
        x, y = terms[i], terms[j]
        terms = [t for k, t in enumerate(terms) if k not in (i, j)]
        kept = {*output, *(a for t in terms for a in t.labels)}
        shared = tuple(a for a in x.labels if a in y.labels)
        rows = (a for a in x.labels if a not in shared)
        columns = (a for a in y.labels if a not in shared)
        natural = tuple(a for a in (*shared, *rows, *columns) if a in kept)
        terms.append(contract(x, y, natural if terms else output))
    return permuted(terms[0], output).tensor


# -- products by name ------------------------------------------------------------------------------
def tensordot(x: Any, y: Any, axes: Any = 2) -> Tensor:
    """The sum of products over the last `axes` axes of x and the first of y, or over two lists.

    Shapes: `axes=1` of matrices is their product; `axes=([1, 0], [0, 1])` pairs axis 1 of x with
    axis 0 of y, and 0 with 1. The axes that are left follow in order, those of x first.
    Errors: `ShapeError` for sizes that differ, `ArgumentError` for lists of different lengths.
    """
    a, b = to_operands("tensordot", x, y)
    left, right = _paired_axes(axes, a.ndim, b.ndim)
    for i, j in zip(left, right, strict=True):
        if never_equal(a.shape[i], b.shape[j]):
            raise ShapeError(
                "sizes of axes that are summed over differ",
                op="tensordot",
                expected=f"axis {i} of the first as axis {j} of the second",
                given=f"{show(a.shape)} and {show(b.shape)}",
            )
    first = [f"x{i}" for i in range(a.ndim)]
    second = [f"y{j}" for j in range(b.ndim)]
    for i, j in zip(left, right, strict=True):
        second[j] = first[i]
    kept = [label for label in (*first, *second) if (label in first) != (label in second)]
    return contract(Labelled(a, tuple(first)), Labelled(b, tuple(second)), tuple(kept)).tensor


def _paired_axes(axes: Any, left: int, right: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        if not 0 <= axes <= min(left, right):
            raise ShapeError(
                "more axes than there are",
                op="tensordot",
                expected=f"0 <= axes <= {min(left, right)}",
                given=str(axes),
            )
        return list(range(left - axes, left)), list(range(axes))
    if isinstance(axes, (tuple, list)) and len(axes) == 2:
        lists = [list(a) if isinstance(a, (tuple, list)) else [a] for a in axes]
        if len(lists[0]) == len(lists[1]):
            pair = [
                [normalize_axis("tensordot", a, rank) for a in chosen]
                for chosen, rank in zip(lists, (left, right), strict=True)
            ]
            if all(len(set(p)) == len(p) for p in pair):
                return pair[0], pair[1]
    raise ArgumentError(
        "not axes to sum over",
        op="tensordot",
        expected="an int, or two lists of distinct axes of one length",
        given=repr(axes)[:80],
    )


def vecdot(x: Any, y: Any, axis: int = -1) -> Tensor:
    """The products of vectors along `axis`, summed; the other axes broadcast. Complex numbers of
    the first are conjugated.

    Shapes: [..., n, ...] x [..., n, ...] -> [..., ...]. Dtypes: the operands' common one.
    """
    a, b = (_axis_last("vecdot", t, axis) for t in to_operands("vecdot", x, y))
    return _last_axes("vecdot", "...i,...i->...", _conjugated(a), b)


def matvec(x: Any, y: Any) -> Tensor:
    """The products of matrices and vectors; leading axes broadcast.

    Shapes: [..., m, n] x [..., n] -> [..., m]. Errors: `ShapeError`; `DTypeError` for bools.
    """
    a, b = _with_axes("matvec", x, y, 2, 1)
    return _last_axes("matvec", "...ij,...j->...i", a, b)


def vecmat(x: Any, y: Any) -> Tensor:
    """The products of vectors and matrices; leading axes broadcast. Complex numbers of the vectors
    are conjugated.

    Shapes: [..., n] x [..., n, m] -> [..., m]. Errors: `ShapeError`; `DTypeError` for bools.
    """
    a, b = _with_axes("vecmat", x, y, 1, 2)
    return _last_axes("vecmat", "...i,...ji->...j", _conjugated(a), matrix_transpose(b))


def _with_axes(op: str, x: Any, y: Any, left: int, right: int) -> list[Tensor]:
    """Numbers of one dtype with at least so many axes. Errors: `ShapeError`, `DTypeError`."""
    a, b = to_operands(op, x, y)
    if a.ndim < left or b.ndim < right:
        raise ShapeError(
            "too few axes", op=op, expected=f"ranks of at least {left} and {right}",
            given=f"{show(a.shape)} and {show(b.shape)}",
        )  # fmt: skip
    if a.dtype is bool_:
        raise DTypeError("no product of bools", op=op, expected="numeric dtypes", given="bool")
    return [a, b]


def _conjugated(t: Tensor) -> Tensor:
    return conj(t) if t.dtype.is_complex else t


def inner(x: Any, y: Any) -> Tensor:
    """The sum of products over the last axes of both; of scalars, their product.

    Shapes: [*a, n] x [*b, n] -> [*a, *b].
    """
    a, b = to_operands("inner", x, y)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    _same_last("inner", a, b)
    return tensordot(a, b, ([-1], [-1]))


def vdot(x: Any, y: Any) -> Tensor:
    """The sum of products of all elements in row-major order; complex ones of x are conjugated."""
    a, b = (reshape(t, (t.size,)) for t in to_operands("vdot", x, y))
    return _last_axes("vdot", "i,i->", _conjugated(a), b)


def outer(x: Any, y: Any) -> Tensor:
    """The product of each element of x with each of y, both taken as vectors.

    Shapes: [*a] x [*b] -> [size of x, size of y].
    """
    a, b = (reshape(t, (t.size,)) for t in to_operands("outer", x, y))
    return multiply(expand_dims(a, 1), expand_dims(b, 0))


def kron(x: Any, y: Any) -> Tensor:
    """The Kronecker product: blocks of y, each multiplied by an element of x.

    Shapes: [m, n] x [p, q] -> [m p, n q]; the shorter shape gets ones in front.
    """
    a, b = to_operands("kron", x, y)
    rank = max(a.ndim, b.ndim)
    first, second = ((*(1,) * (rank - t.ndim), *t.shape) for t in (a, b))
    wide = reshape(a, [s for size in first for s in (size, 1)])
    tall = reshape(b, [s for size in second for s in (1, size)])
    return reshape(multiply(wide, tall), [s * t for s, t in zip(first, second, strict=True)])


def _axis_last(op: str, t: Tensor, axis: int) -> Tensor:
    at = normalize_axis(op, axis, t.ndim)
    return permute_dims(t, [*(a for a in range(t.ndim) if a != at), at])


def _last_axes(op: str, subscripts: str, a: Tensor, b: Tensor) -> Tensor:
    _same_last(op, a, b)
    return einsum(subscripts, a, b)


def _same_last(op: str, a: Tensor, b: Tensor) -> None:
    if never_equal(a.shape[-1], b.shape[-1]):
        raise ShapeError(
            "sizes of axes that are summed over differ",
            op=op,
            expected=f"{a.shape[-1]}",
            given=f"{b.shape[-1]}",
        )


FUNCTIONS |= {
    f.__name__: f
    for f in (einsum, tensordot, vecdot, matvec, vecmat, inner, vdot, outer, kron)
}
