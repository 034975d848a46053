"""Loop distribution: matrix products that the next step does not wait for leave the loop.

A step of a recurrent network multiplies a few rows; all its steps together are one large product,
which reuses the matrix in a cache and has work for every thread. A product of a step's x goes
before the loop, one that is a y after it. So does a sum of products over the steps, such as the
gradient of a weight: x[0].T @ g[0] + x[1].T @ g[1] + ... is one product over the rows of all steps.
Where the values of all steps are there anyway, sums of them leave too: the gradient of a bias.

The values of all steps are then in memory at once: what that takes more is at most `SPREAD` times
what the xs and ys of the loop take. Where a step has many rows itself, its products stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain

from graphc.ir import origin
from graphc.ir.dim import product as size_product
from graphc.ir.dim import size_hint
from graphc.ir.graph import Graph, map_graph, transform
from graphc.ir.node import Node, Tensor, apply
from graphc.ir.op import Fact, Kind
from graphc.machines import CPU, Machine
from graphc.ops.closure import above, close, frontier, in_bodies, is_pure, shows_all
from graphc.ops.contract import Labelled, contract, matmul
from graphc.ops.elementwise import add
from graphc.ops.scan import SCAN
from graphc.planning.work import bytes_of

SPREAD = 4


def distribute_products(graph: Graph, machine: Machine = CPU) -> Graph:
    """Products in the bodies of loops -> products over all steps, before or after the loop."""
    graph = in_bodies(graph, partial(distribute_products, machine=machine))
    if not any(Fact.LOOP in node.op.facts for node in graph.nodes):
        return graph

    def rewrite(node: Node, inputs: tuple[Tensor, ...]) -> Sequence[Tensor] | None:
        if Fact.LOOP not in node.op.facts:
            return None
        return _Loop(node, inputs, machine.step_rows).distributed()

    return map_graph(graph, rewrite)


class _Loop:
    """A scan that is taken apart: tensors of its body, and what holds their values outside."""

    def __init__(self, node: Node, inputs: Sequence[Tensor], rows: int) -> None:
        """Products of a step of at most `rows` rows may leave."""
        self.attrs, self.rows = node.attrs, rows
        self.body: Graph = node.attrs["body"]
        order, parameters = self.body.nodes, self.body.inputs
        first, last = node.attrs["carries"], node.attrs["carries"] + node.attrs["xs"]
        self.given: dict[Tensor, Tensor] = dict(zip(parameters, inputs, strict=True))
        # Tensors of the body whose values for all steps are in one, along its axis 0.
        self.stacked: dict[Tensor, Tensor] = dict(
            zip(parameters[first:last], inputs[first:last], strict=True)
        )
        self.nexts = dict(zip(parameters[:first], self.body.outputs, strict=False))
        self.ys = dict.fromkeys(y for y in self.body.outputs[first:] if y not in self.stacked)
        stepped = {t.node for t in parameters[:last]}
        self.varying = above(order, stepped | {n for n in order if not is_pure(n)})
        self.readers = Counter(chain(self.body.outputs, *(n.inputs for n in order)))
        self.room = SPREAD * _bytes({*self.stacked, *self.ys})

    def distributed(self) -> Sequence[Tensor] | None:
        """The scan's outputs, of a scan with fewer products; None where none can leave."""
        early = [n for n in self.body.nodes if self._goes_before(n)]
        late = [y for y in list(self.ys) if self._goes_after(y)]
        sums: dict[Tensor, list[Tensor]] = {}
        for _ in range(2):  # what the products of the first round need, others may sum up
            for c, after in self.nexts.items():
                if c not in sums and (terms := self._summed(c, after)):
                    sums[c] = terms
        if not (early or late or sums):
            return None
        carries = [c for c in self.nexts if c not in sums]
        made = self._apply(carries).outputs
        self.stacked |= zip(self.ys, made[len(carries) :], strict=True)
        self.stacked |= {t: self._product(t) for t in map(_base, late)}
        last = dict(zip(carries, made, strict=False))
        last |= {c: self._total(c, terms) for c, terms in sums.items()}
        ys = self.body.outputs[len(self.nexts) :]
        return [*(last[c] for c in self.nexts), *map(self._steps, ys)]

    def _apply(self, carries: Sequence[Tensor]) -> Node:
        """The loop over these carries with the ys that there are now."""
        outputs = [*(self.nexts[c] for c in carries), *self.ys]
        read = frontier(outputs, lambda t: t not in self.given and t not in self.stacked)
        xs = [t for t in read if t in self.stacked]
        operands = [t for t in read if t not in self.stacked and t not in self.nexts]
        parameters = [*carries, *xs, *operands]
        outside = self.given | self.stacked
        body = close(outputs, parameters)
        attrs = {**self.attrs, "body": body, "carries": len(carries), "xs": len(xs)}
        return apply(SCAN, [outside[t] for t in parameters], **attrs)

    # -- what may leave ----------------------------------------------------------------------------
    def _goes_before(self, node: Node) -> bool:
        """x @ w for what is known of all steps, and a matrix that is the same in all."""
        product = node.output()
        if not self._by_a_matrix(product) or _base(node.inputs[0]) not in self.stacked:
            return False
        if _bytes([product]) > self.room:
            return False
        self.room -= _bytes([product])
        self.stacked[product] = self._product(product)
        self.ys.pop(product, None)
        return True

    def _goes_after(self, y: Tensor) -> bool:
        """x @ w that only the result reads."""
        product, read = _base(y), [y]
        while read[-1] is not product:
            read += read[-1].node.inputs
        if not self._by_a_matrix(product) or any(self.readers[t] > 1 for t in read):
            return False
        if not self._take(product.node.inputs[:1], self.room):
            return False
        del self.ys[y]
        return True

    def _by_a_matrix(self, t: Tensor) -> bool:
        """Whether t is x @ w for a float matrix w that is the same in all steps."""
        if t.node.op.kind is not Kind.CONTRACT or not t.dtype.is_float:
            return False
        x, w = t.node.inputs
        few = size_hint(size_product(x.shape[:-1])) <= self.rows
        return few and w.ndim == 2 and w.node not in self.varying

    def _summed(self, carry: Tensor, after: Tensor) -> list[Tensor]:
        """The products and sums that each step adds to a carry which nothing else reads, or
        none."""
        terms = self._terms(after)
        added = [t for t in terms if t is not carry]
        if len(added) == len(terms) or self.readers[carry] > 1:
            return []
        products = [t for t in added if self._is_a_product(t)]
        if not all(self._is_a_product(t) or self._is_a_sum(t) for t in added):
            return []
        factors = chain(*(t.node.inputs for t in added))
        return added if self._take(factors, _bytes(products)) else []

    def _is_a_product(self, t: Tensor) -> bool:
        """Whether t is a product of matrices, summed over few rows, that has one reader."""
        if t.node.op.kind is not Kind.CONTRACT or t.ndim != 2 or self.readers[t] > 1:
            return False
        return size_hint(t.node.inputs[0].shape[-1]) <= self.rows

    def _is_a_sum(self, t: Tensor) -> bool:
        """Whether t is a sum over axes that has one reader."""
        return Fact.TOTALS in t.node.op.facts and self.readers[t] == 1

    def _terms(self, total: Tensor) -> list[Tensor]:
        """What `total` adds up, of its shape, where nothing else reads the sums."""
        found, pending = [], [total]
        while pending:
            t = pending.pop()
            whole = all(x.shape == total.shape for x in t.node.inputs)
            if Fact.ADDS in t.node.op.facts and t.dtype.is_float and self.readers[t] == 1 and whole:
                pending.extend(reversed(t.node.inputs))
            else:
                found.append(t)
        return found

    def _take(self, factors: Iterable[Tensor], most: int) -> bool:
        """Make ys of what `factors` show, if they vary and that takes `most` bytes a step."""
        bases = map(_base, factors)
        new = dict.fromkeys(t for t in bases if t not in self.stacked and t not in self.ys)
        if any(t.node not in self.varying for t in new) or _bytes(new) > min(most, self.room):
            return False
        self.room -= _bytes(new)
        self.ys |= new
        return True

    # -- outside -----------------------------------------------------------------------------------
    def _product(self, t: Tensor) -> Tensor:
        """The products of all steps by a matrix."""
        x, w = t.node.inputs
        with origin.inherit(t.node.origins):
            return matmul(self._steps(x), *transform([w], replace=self.given))

    def _total(self, carry: Tensor, terms: Sequence[Tensor]) -> Tensor:
        """The carry after the last step."""
        total = self.given[carry]
        for term in terms:
            with origin.inherit(term.node.origins):
                total = add(total, self._over_steps(term))
        return total

    def _over_steps(self, term: Tensor) -> Tensor:
        """What a product, or a sum, comes to in all steps together."""
        factors = [self._steps(t) for t in term.node.inputs]
        if Fact.TOTALS in term.node.op.facts:
            (x,) = factors
            axes = (0, *(axis + 1 for axis in term.node.attrs["axes"]))
            return apply(term.node.op, (x,), axes=axes).output()
        x, y = factors
        return contract(
            Labelled(x, ("step", "row", "inner")),
            Labelled(y, ("step", "inner", "column")),
            ("row", "column"),
        ).tensor

    def _steps(self, t: Tensor) -> Tensor:
        """The values of t in all steps."""
        moves: list[Tensor] = []
        while t not in self.stacked:
            moves.append(t)
            t = t.node.inputs[0]
        found = self.stacked[t]
        for t in reversed(moves):
            attrs = t.node.op.behind_one_more(t.node.attrs, found.shape[0])
            found = apply(t.node.op, (found,), **attrs).output()
        return found


def _base(t: Tensor) -> Tensor:
    """The tensor that t shows in another shape or order."""
    while shows_all(t.node) and t.node.op.axes is not None:
        t = t.node.inputs[0]
    return t


def _bytes(tensors: Iterable[Tensor]) -> int:
    """About how many bytes tensors take."""
    return size_hint(bytes_of(tensors))
