"""The site: `python -m pip install ".[docs]" && sphinx-build -W docs docs/_build/html`.

It shows the pages as they are, and those of the reference, which are made from docstrings
(`tests/reference.py`) in `docs/api`. The code of both is run by `tests/test_docs.py`.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

project = "graphc"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "graphc"
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
pygments_style = "friendly"
pygments_dark_style = "monokai"
highlight_language = "none"


def _write_reference(app: Any) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.reference", str(HERE / "api")], cwd=HERE.parent, check=True
    )


def setup(app: Any) -> None:
    app.connect("builder-inited", _write_reference)
