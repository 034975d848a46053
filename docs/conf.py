"""The site: `python -m pip install ".[docs]" && sphinx-build -W docs docs/_build/html`.

It shows the pages as they are; their code is run by `tests/test_docs.py`.
"""

project = "graphc"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "graphc"
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
pygments_style = "friendly"
pygments_dark_style = "monokai"
highlight_language = "none"
