"""All operations, one file per family. Importing this room makes every op known by name."""

from graphc.ir.operators import publish
from graphc.ops import (
    contract,
    create,
    elementwise,
    index,
    leaf,
    reduce,
    shape,
    softmax,
)

FAMILIES = (leaf, create, elementwise, shape, index, reduce, contract, softmax)

for _family in FAMILIES:
    publish(_family.FUNCTIONS)
