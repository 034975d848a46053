"""`gc.compile(..., check=...)`: what is verified, when, and what is said about what is wrong.

`check=True` verifies the graph after every stage, once. `check="all"` compares, at each call and on
the caller's own arrays, the graph after every stage, every kernel (its loop IR, its printed source)
and the native results with the interpreter, and names the first that differs. `check="nan"` runs
natively first; if a result is not finite, the call is run again by the interpreter from the
variables' values before it, and the operation that made the first NaN or infinity is named. After a
check that fails the variables are as they were before the call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import ArgumentError, CheckError, NonFiniteError, RuntimeFailure
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Variable
from graphc.ir.op import Kind
from graphc.machines import CPU, Machine
from graphc.pipeline.options import DEFAULTS, Options
from graphc.runtime.arguments import as_input
from graphc.runtime.caller import hold

if TYPE_CHECKING:
    from graphc.checking.kernels import Region

Array = np.ndarray[Any, Any]
Call = Callable[..., Any]
MODES = (False, True, "all", "nan")
LIMIT = 1_000_000  # statements of one kernel that `check="all"` interprets at most


def check_mode(given: Any) -> bool | str:
    """The argument `check`. Errors: `ArgumentError` for what is none of `MODES`."""
    if isinstance(given, (bool, str)) and given in MODES:
        return given
    raise ArgumentError(
        "unknown check",
        op="compile",
        expected="True, False, 'all' or 'nan'",
        given=repr(given)[:80],
    )


class Checked:
    """A call that is checked: stands for the call of a function, and gives what it gives.

    `explained` counts, over all calls, results that differ for a reason that is no fault;
    `skipped` counts kernels that were too long to interpret.
    """

    def __init__(
        self,
        graph: Graph,
        call: Call,
        mode: str,
        compile: Call,
        options: Options = DEFAULTS,
        machine: Machine = CPU,
    ) -> None:
        """`call` is the function's own, made with `options` for `machine`; `compile` makes one of a
        graph, for parts of it."""
        self.graph, self.inner, self.compile = graph, call, compile
        self.options, self.machine = options, machine
        self.explained: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.call = self._all if mode == "all" else self._nan
        self._stages: list[tuple[str, Graph]] | None = None

    def _arrays(self, given: Sequence[Any]) -> list[Array]:
        name = self.graph.name
        return [as_input(a, t, name) for a, t in zip(given, self.graph.inputs, strict=True)]

    # -- check="all" -------------------------------------------------------------------------------
    def _all(self, *given: Any) -> Any:
        """Stages, then kernels, then the call. Errors: `CheckError` naming what is guilty."""
        from graphc.checking.stages import attempt
        from graphc.checking.values import differences

        graph, arrays = self.graph, self._arrays(given)
        with hold(graph.variables), _restoring(graph) as before:
            self._check_stages(arrays)
            regions = self._check_kernels(arrays)
            expected, failure = attempt(graph, arrays)
            try:
                results = self.inner(*arrays)
            except RuntimeFailure as error:
                if failure is None:
                    raise CheckError(
                        f"the native program fails where its meaning does not: {error.message}",
                        op=graph.name,
                        where=error.where,
                    ) from error
                raise
            if failure is not None:
                raise CheckError(
                    "the native program gives results where its meaning fails",
                    op=graph.name,
                    expected=failure.message,
                    where=failure.where,
                )
            after = _values(graph)
            _assign(before)
            updated = [after[v] for v, _ in graph.updates]
            actual = [np.asarray(r) for r in (*results, *updated)]
            found = differences(graph, arrays, expected, actual, explained=self.explained)
            if found:
                raise self._native_error(found, regions)
            _assign(after)
            return results

    def _check_stages(self, arrays: Sequence[Array]) -> None:
        from graphc.checking.stages import first_guilty_stage, stages_of

        if self._stages is None:
            self._stages = stages_of(self.graph, self.options, self.machine)
        guilt = first_guilty_stage(self.graph, arrays, self._stages, self.explained)
        if guilt.stage:
            raise CheckError(
                "the graph means something else after this stage",
                op=f"stage {guilt.stage!r}",
                given=guilt.found,
                where=_line_of_result(self.graph, guilt.result),
                hint="GRAPHC_DUMP=dir writes the graph before and after each stage",
            )

    def _check_kernels(self, arrays: Sequence[Array]) -> list[Region]:
        from graphc.checking.kernels import check_region, regions_of

        assert self._stages is not None
        regions = regions_of(self._stages[-1][1], arrays)
        for region in regions:
            found = check_region(region, LIMIT, self.explained)
            if found is None:
                self.skipped["kernels too long to interpret"] += 1
            elif found:
                raise CheckError(
                    "a kernel means something else than its region",
                    op=f"kernel {_names(region.node)}",
                    given=found,
                    where=_line(region.node),
                )
        return regions

    def _native_error(self, found: list[str], regions: Sequence[Region]) -> CheckError:
        """Stages and kernels are right, the results are not: it is the machine code of one kernel,
        which then differs by itself, or how the program puts them together."""
        from graphc.checking.native import guilty_kernel

        guilty = guilty_kernel(regions, self.compile)
        if guilty is not None:
            return CheckError(
                "the machine code of a kernel gives something else than its region",
                op=f"kernel {_names(guilty[0].node)}",
                given=guilty[1],
                where=_line(guilty[0].node),
            )
        return CheckError(
            "stages and kernels are right, the program of them is not: its order, its memory, "
            "its matrix products or its constants",
            op=self.graph.name,
            given="\n".join(found),
            where=_line_of_result(self.graph, int(found[0].split()[1].rstrip(":"))),
            hint="GRAPHC_PRINT=plan_memory prints the program",
        )

    # -- check="nan" -------------------------------------------------------------------------------
    def _nan(self, *given: Any) -> Any:
        """The native call, and a replay if a result is not finite. Errors: `NonFiniteError`."""
        from graphc.checking.finite import is_finite, trace_back

        graph, arrays = self.graph, self._arrays(given)
        with hold(graph.variables), _restoring(graph) as before:
            results = self.inner(*arrays)
            after = _values(graph)
            updated = [after[v] for v, _ in graph.updates]
            if all(is_finite(np.asarray(r)) for r in (*results, *updated)):
                return results
            _assign(before)
            culprit = trace_back(graph, arrays)
            if culprit is not None:
                node, values, found = culprit
                raise NonFiniteError(
                    f"{_what(found)} from operands that have none",
                    op=node.op.name,
                    given="\n            ".join(map(_range, values)) or "no operands",
                    where=_line(node),
                )
            _assign(after)  # what came in was not finite: nothing was made here
            return results


# -- variables -------------------------------------------------------------------------------------
def _values(graph: Graph) -> dict[Variable, Array]:
    return {v: v.value for v, _ in graph.updates}


def _assign(values: Mapping[Variable, Array]) -> None:
    for variable, value in values.items():
        variable.value = value


@contextmanager
def _restoring(graph: Graph) -> Iterator[dict[Variable, Array]]:
    """The values that updated variables have now, which they get back if the body raises."""
    before = _values(graph)
    try:
        yield before
    except Exception:
        _assign(before)
        raise


# -- what messages say -----------------------------------------------------------------------------
def _line(node: Node) -> str:
    return str(node.origins[0]) if node.origins else ""


def _line_of_result(graph: Graph, place: int | None) -> str:
    return "" if place is None else _line(graph.results[place].node)


def _names(region: Node) -> str:
    """The ops in a region, for people."""
    body: Graph = region.attrs["body"]
    names = [n.op.name for n in body.nodes if n.op.kind is not Kind.LEAF]
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _what(found: Array) -> str:
    count = int(np.isnan(found).sum())
    infinite = int(np.isinf(found).sum())
    parts = [f"{count} NaN"] * bool(count) + [f"{infinite} infinite"] * bool(infinite)
    return f"{' and '.join(parts)} of {found.size} values"


def _range(value: Array) -> str:
    """An operand in a few words: type, and the range of its finite values."""
    shape = f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    finite = value[np.isfinite(value)] if value.dtype.kind in "fc" else value.ravel()
    if not finite.size:
        return f"{shape} without a finite value"
    return f"{shape} from {finite.min()} to {finite.max()}"
