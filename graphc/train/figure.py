"""A figure of matplotlib that a notebook shows, also without `pyplot`: only to import that
tells the notebook how figures are shown."""

from __future__ import annotations

import io

from matplotlib.figure import Figure as _Figure


class Figure(_Figure):
    """One that is its own picture."""

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.savefig(written, format="png", bbox_inches="tight")
        return written.getvalue()
