"""All operations, one file per family. Importing this room makes every op known by name."""

from graphc.ir.operators import explain, publish
from graphc.ops import (
    activations,
    as_numpy,
    at,
    attention,
    bessel,
    branch,
    checkpoint,
    complex,
    contract,
    convolution,
    create,
    cumulative,
    custom_gradient,
    diagonal,
    differences,
    dynamic,
    einsum,
    elementwise,
    ensure,
    fft,
    formula,
    gamma,
    gather,
    getitem,
    incomplete,
    index,
    leaf,
    lift,
    linalg,
    manipulate,
    numbers,
    odeint,
    order_statistics,
    places,
    polynomials,
    pooling,
    powers,
    quantile,
    random,
    reduce,
    repeats,
    resample,
    scan,
    searching,
    segments,
    shape,
    signal,
    signs,
    softmax,
    sorting,
    special,
    statistics,
    trigonometric,
    types,
    unique,
    while_loop,
    windows,
)

FAMILIES = (
    leaf, create, elementwise, formula, trigonometric, powers, signs, gamma, incomplete, bessel,
    quantile, activations, shape, index, gather, places, dynamic, getitem, reduce, statistics,
    segments, cumulative, sorting, searching, unique, order_statistics, manipulate, repeats,
    differences, numbers, polynomials, diagonal, contract, einsum, windows, convolution, pooling,
    resample, softmax, attention, scan, while_loop, branch, odeint, checkpoint, custom_gradient,
    linalg, random, types, ensure, complex, fft, signal,
)  # fmt: skip

for _family in FAMILIES:
    publish(_family.FUNCTIONS, getattr(_family, "NUMPY", {}))
publish({"_special_": special.special, "_sinc_": formula.SINC}, as_numpy.NUMPY)
publish(as_numpy.FUNCTIONS)
explain(as_numpy.ABSENT)
publish({"_lifted_": lift.lifted})
publish({"_at": at.At, "_selected": at.Selected})
