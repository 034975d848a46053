"""The rules. `DEFAULT` are those of the default pipeline, in the order in which they are tried."""

from graphc.rewrite.rules import algebra, contract, fold, layout, shape, stable

DEFAULT = (fold.fold, algebra.algebra, shape.shape, layout.layout, contract.contract, stable.stable)

# After composite ops have been expanded: without the rules that would compose them again, and with
# those that wait for what they are expanded to.
LOWERED = (
    fold.fold, algebra.algebra, algebra.roots, shape.shape, layout.layout, layout.tiles,
    contract.contract,
)  # fmt: skip
