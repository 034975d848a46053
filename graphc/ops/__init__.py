"""All operations, one file per family. Importing this room makes every op known by name."""

from graphc.ir.operators import publish
from graphc.ops import (
    as_numpy,
    branch,
    checkpoint,
    contract,
    create,
    custom_gradient,
    diagonal,
    einsum,
    elementwise,
    formula,
    gather,
    index,
    leaf,
    linalg,
    manipulate,
    odeint,
    powers,
    random,
    reduce,
    scan,
    shape,
    signs,
    softmax,
    special,
    trigonometric,
    while_loop,
)

FAMILIES = (
    leaf, create, elementwise, formula, trigonometric, powers, signs, shape, index, gather, reduce,
    manipulate, diagonal, contract, einsum, softmax, scan, while_loop, branch,
    odeint, checkpoint, custom_gradient, linalg, random,
)  # fmt: skip

for _family in FAMILIES:
    publish(_family.FUNCTIONS, getattr(_family, "NUMPY", {}))
publish({"_special_": special.special, "_sinc_": formula.SINC}, as_numpy.NUMPY)
