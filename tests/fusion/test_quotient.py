"""quotient: joining vertices keeps a topological order, and no cycle is ever made."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from graphc.fusion import quotient
from graphc.fusion.quotient import Vertex, current, join, put_in_order


def random_graph(seed: int) -> list[Vertex]:
    rng = random.Random(seed)
    vertices = [Vertex() for _ in range(rng.randint(2, 30))]
    for k, vertex in enumerate(vertices[1:], 1):
        for _ in range(rng.randint(0, 3)):
            vertex.use(vertices[rng.randrange(k)])
    put_in_order(vertices)
    return vertices


def reaches(start: Vertex, goal: Vertex) -> bool:
    """Whether a path of two or more edges leads from one to the other, by looking everywhere."""
    stack = [u for u in map(current, start.users) if u not in (start, goal)]
    seen = set(stack)
    while stack:
        for user in map(current, stack.pop().users):
            if user is goal:
                return True
            if user not in seen and user is not start:
                seen.add(user)
                stack.append(user)
    return False


def check_order(vertices: list[Vertex]) -> None:
    alive = list(dict.fromkeys(map(current, vertices)))
    first = next(v for v in alive if v.before is None)
    listed = [first]
    while listed[-1].after is not None:
        assert listed[-1].after.before is listed[-1]
        listed.append(listed[-1].after)
    assert set(listed) == set(alive)
    assert all(a.label < b.label for a, b in pairwise(listed))
    for vertex in alive:
        for user in map(current, vertex.users):
            assert user is vertex or vertex.label < user.label


@pytest.mark.parametrize("gap", [1 << 40, 2])
def test_joins_are_refused_only_where_a_cycle_would_arise(
    gap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotient, "GAP", gap)  # a small one closes: labels are given anew
    joined = refused = 0
    for seed in range(300):
        vertices = random_graph(seed)
        rng = random.Random(seed)
        for _ in range(40):
            a, b = map(current, rng.sample(vertices, 2))
            if a is b:
                continue
            cycle = reaches(a, b) or reaches(b, a)
            assert join(a, b) is not cycle
            joined, refused = joined + (not cycle), refused + cycle
            check_order(vertices)
    assert joined > 1000
    assert refused > 1000


def test_two_far_apart_are_left_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotient, "SIGHT", 4)
    vertices = [Vertex() for _ in range(20)]
    for a, b in pairwise(vertices):
        b.use(a)
    put_in_order(vertices)
    assert not join(vertices[0], vertices[-1])
    assert join(vertices[0], vertices[1])
