"""Prints the table of partial derivatives.

    python -m tests.symbolic.generate_partials > graphc/symbolic/partials.py

It lives outside the package because `symbolic/` is a lower room than `ops/`, whose formulas it
reads.
"""

from __future__ import annotations

import sys

from graphc.ir.op import registry
from graphc.ops.scalar import DERIVED
from graphc.symbolic import derive


def table() -> str:
    """The source of `graphc/symbolic/partials.py` for the ops as they are now."""
    ops = registry()
    formulas = {name: formula for name in DERIVED if (formula := ops[name].formula) is not None}
    return derive.table(DERIVED, formulas)


if __name__ == "__main__":
    sys.stdout.write(table())
