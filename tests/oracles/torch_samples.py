"""PyTorch's own samples of its operations: what graphc makes of them, values and gradients.

    python -m tests.oracles.torch_samples                  # all operations of the table
    python -m tests.oracles.torch_samples sort fft.rfft    # some

Needs torch. Each sample of `torch.testing._internal.common_methods_invocations` is computed by
torch and by `gc.evaluate`, and so are the gradients by its inputs, for a random cotangent, in
float64 and complex128. A sample is one of

- agrees: the values are torch's, and the gradients;
- refused: graphc raises one of its errors; which, is counted;
- other: what the table (`torch_counterparts.py`) does not compare, and why;
- explained: it differs, and it is known why;
- differs: it is printed.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import graphc as gc

from .torch_counterparts import TABLE, OtherError
from .torch_products import KNOWN, UP_TO_SIGN

DTYPES = torch.float64, torch.complex128, torch.int64, torch.bool
WITH_GRADIENTS = (torch.float64, torch.complex128)
CLOSE = {torch.float64: (1e-9, 1e-10), torch.complex128: (1e-9, 1e-10)}  # relative, absolute
CLOSE_IN_SINGLE = 2e-5, 1e-5  # where torch computes in float32, for ints too


class DiffersError(Exception):
    """An answer that is not torch's."""


# -- both sides ------------------------------------------------------------------------------------
class Lifted:
    """Placeholders for the tensors of a sample."""

    def __init__(self) -> None:
        self.feeds: dict[Any, Any] = {}
        self.wanted: list[tuple[Any, Any]] = []  # a placeholder and the tensor that it is for

    def __call__(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            array = value.detach().resolve_conj().resolve_neg().numpy()
            tensor = gc.placeholder(f"sample{len(self.feeds)}", array.shape, array.dtype)
            self.feeds[tensor] = array
            if value.requires_grad:
                self.wanted.append((tensor, value))
            return tensor
        if isinstance(value, (list, tuple)) and type(value) is not torch.Size:
            return type(value)(self(v) for v in value)
        return value


def results(found: Any) -> list[Any]:
    return list(found) if isinstance(found, (list, tuple)) else [found]


def compare(op: Any, dtype: torch.dtype, sample: Any) -> bool:
    """Whether gradients were compared too. Errors: `DiffersError`, `OtherError`, graphc's own."""
    theirs = op(sample.input, *sample.args, **sample.kwargs)
    lift = Lifted()
    given = [lift(v) for v in (sample.input, *sample.args)]
    ours = TABLE[name_of(op)](*given, **{k: lift(v) for k, v in sample.kwargs.items()})
    theirs, ours = results(theirs), results(ours)
    for i in UP_TO_SIGN.get(name_of(op), ()):
        theirs[i], ours[i] = torch.abs(theirs[i]), gc.abs(ours[i])
    for y, x in zip(theirs, gc.evaluate(ours, lift.feeds), strict=False):
        check("value", x, y, dtype)
    pairs = [(y, x) for y, x in zip(theirs, ours, strict=False) if y.requires_grad]
    if dtype not in WITH_GRADIENTS or not pairs or not lift.wanted:
        return False
    cotangents = [torch.randn(y.shape, dtype=y.dtype) for y, _ in pairs]
    inputs = [value for _, value in lift.wanted]
    wanted = torch.autograd.grad(
        [y for y, _ in pairs], inputs, cotangents, allow_unused=True, retain_graph=True
    )
    slopes = gc.vjp(
        [x for _, x in pairs], [t for t, _ in lift.wanted],
        [gc.constant(g.conj().resolve_conj().numpy()) for g in cotangents], unconnected="zero",
    )  # fmt: skip
    for y, value, x in zip(wanted, inputs, gc.evaluate(slopes, lift.feeds), strict=True):
        check("gradient", np.conj(x), torch.zeros_like(value) if y is None else y, dtype)
    return True


def check(what: str, ours: Any, theirs: torch.Tensor, dtype: torch.dtype) -> None:
    wanted = theirs.detach().resolve_conj().resolve_neg().numpy()
    relative, absolute = CLOSE.get(dtype, CLOSE_IN_SINGLE)
    if np.shape(ours) != wanted.shape:
        raise DiffersError(f"{what} of shape {np.shape(ours)}, not {wanted.shape}")
    size = np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted))
    with np.errstate(all="ignore"):
        right = np.allclose(
            ours, wanted, rtol=relative, atol=absolute * max(float(size), 1), equal_nan=True
        )
    if not right:
        raise DiffersError(f"{what} {np.asarray(ours).ravel()[:6]}, not {wanted.ravel()[:6]}")


# -- all samples -----------------------------------------------------------------------------------
def name_of(op: Any) -> str:
    return ".".join(filter(None, (op.name, op.variant_test_name)))


def outcomes(op: Any) -> Iterator[str]:
    for dtype in DTYPES:
        if dtype not in op.dtypes:
            continue
        differentiable = dtype in WITH_GRADIENTS and op.supports_autograd
        for sample in op.sample_inputs("cpu", dtype, requires_grad=differentiable):
            try:
                yield "agrees, with gradients" if compare(op, dtype, sample) else "agrees"
            except OtherError as error:
                yield f"other: {error}"
            except gc.GraphcError as error:
                yield f"refused: {type(error).__name__}: {str(error).splitlines()[0][:90]}"
            except RuntimeError as error:
                yield f"other: torch: {str(error)[:60]}"
            except (DiffersError, TypeError, ValueError, AttributeError, IndexError) as error:
                if isinstance(error, DiffersError) and name_of(op) in KNOWN:
                    yield f"explained: {KNOWN[name_of(op)]}"
                    continue
                given = " ".join(map(brief, (sample.input, *sample.args)))
                print(f"  {name_of(op)} {dtype} {given} {sample.kwargs}: {type(error).__name__}")
                print(f"    {str(error)[:300]}", flush=True)
                yield "differs"


def brief(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(brief, value))}]"
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else repr(value)[:40]


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    whole: Counter[str] = Counter()
    lacking = sorted({name_of(op) for op in op_db} - set(TABLE))
    for op in op_db:
        if name_of(op) not in TABLE or (names and name_of(op) not in names):
            continue
        found = Counter(outcomes(op))
        for kind, n in found.items():
            whole[kind.partition(":")[0]] += n
        parts = "; ".join(f"{n} {kind}" for kind, n in sorted(found.items()))
        print(f"{name_of(op)}: {parts}", flush=True)
    print("\n" + "; ".join(f"{n} {kind}" for kind, n in sorted(whole.items())))
    print(f"{len(set(TABLE))} in the table, {len(lacking)} not: {' '.join(lacking)}")


if __name__ == "__main__":
    main(sys.argv[1:])
