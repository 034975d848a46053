"""In which order several labelled tensors are contracted, two at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import prod
from typing import TypeAlias

from graphc.ops.contract import Labels

EXACT = 8  # terms up to which every order is tried

Sizes: TypeAlias = "Mapping[str, int]"
Pair: TypeAlias = "tuple[int, int]"
Tree: TypeAlias = "int | tuple[Tree, Tree]"  # a term, or the product of two trees
Plan: TypeAlias = "tuple[int, int, Tree]"  # multiplications, elements of results, what is made


def contraction_order(terms: Sequence[Sequence[str]], output: Labels, sizes: Sizes) -> list[Pair]:
    """Pairs of positions: each pair is taken out of the list, and its product put at its end.

    Cost: multiplications, then elements of intermediate results. Up to 8 terms the best of all
    orders, by dynamic programming over subsets (as in Smith and Gray, 2018, "opt_einsum"); beyond
    that the pair whose product is smallest beside its operands, again and again.

    >>> contraction_order(["ij", "jk", "k"], ("i",), {"i": 9, "j": 9, "k": 9})
    [(1, 2), (0, 1)]
    """
    if len(terms) > EXACT:
        return _greedy_order(terms, output, sizes)
    return _as_pairs(_best_tree(terms, output, sizes), len(terms))


def _best_tree(terms: Sequence[Sequence[str]], output: Labels, sizes: Sizes) -> Tree:
    everything = frozenset(range(len(terms)))
    labels: dict[frozenset[int], set[str]] = {}
    best: dict[frozenset[int], Plan] = {}
    for i in everything:
        labels[frozenset((i,))], best[frozenset((i,))] = set(terms[i]), (0, 0, i)
    for count in range(2, len(terms) + 1):
        for chosen in combinations(range(len(terms)), count):
            part = frozenset(chosen)
            outside = {*output, *(a for i in everything - part for a in terms[i])}
            labels[part] = outside.intersection(a for i in chosen for a in terms[i])
            plans: list[Plan] = []
            for half in _halves(chosen):
                a, b = frozenset(half), part - frozenset(half)
                work = best[a][0] + best[b][0] + _size(labels[a] | labels[b], sizes)
                memory = best[a][1] + best[b][1] + _size(labels[part], sizes)
                plans.append((work, memory, (best[a][2], best[b][2])))
            best[part] = min(plans, key=lambda plan: plan[:2])
    return best[everything][2]


def _size(labels: Iterable[str], sizes: Sizes) -> int:
    return prod(sizes[a] for a in labels)


def _halves(chosen: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The proper subsets that hold the first element: one of each pair of complements."""
    first, *others = chosen
    for count in range(len(others)):
        for rest in combinations(others, count):
            yield (first, *rest)


def _as_pairs(tree: Tree, count: int) -> list[Pair]:
    """The pairs of a tree of terms, inner ones first."""
    alive: list[Tree] = list(range(count))
    pairs: list[Pair] = []

    def reduce(node: Tree) -> None:
        if not isinstance(node, int):
            for part in node:
                reduce(part)
            first, second = (alive.index(part) for part in node)
            pairs.append((first, second))
            alive[:] = [t for i, t in enumerate(alive) if i not in (first, second)] + [node]

    reduce(tree)
    return pairs


def _greedy_order(terms: Sequence[Sequence[str]], output: Labels, sizes: Sizes) -> list[Pair]:
    alive = [set(t) for t in terms]
    pairs: list[Pair] = []

    def product(i: int, j: int) -> set[str]:
        others = (t for k, t in enumerate(alive) if k not in (i, j))
        return (alive[i] | alive[j]) & set(output).union(*others)

    def cost(pair: Pair) -> tuple[int, int]:
        x, y = (alive[i] for i in pair)
        growth = _size(product(*pair), sizes) - _size(x, sizes) - _size(y, sizes)
        return growth, _size(x | y, sizes)

    while len(alive) > 1:
        i, j = min(combinations(range(len(alive)), 2), key=cost)
        made = product(i, j)
        pairs.append((i, j))
        alive = [t for k, t in enumerate(alive) if k not in (i, j)] + [made]
    return pairs
