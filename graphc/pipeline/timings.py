"""How long each stage took that made a program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timings(dict[str, float]):
    """Seconds by stage, in the order in which the stages began."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What runs inside is the stage `name`; its time is added to what the stage took before."""
        self.setdefault(name, 0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            self[name] += time.perf_counter() - start
