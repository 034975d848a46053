"""Asks KaTeX itself whether it takes the samples; run by hand, where Node.js is.

    npm install --prefix FOLDER katex
    python -m tests.equations.katex FOLDER

The default tests check the same outputs against `katex_commands.txt`, the commands that KaTeX took.
`--update` writes that list anew, if it took all.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.equations.samples import outputs

COMMANDS = Path(__file__).parent / "katex_commands.txt"
_SCRIPT = """
const katex = require(process.argv[1] + "/node_modules/katex");
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const failed = {};
for (const [name, text] of Object.entries(given)) {
  try { katex.renderToString(text, {displayMode: true, throwOnError: true, strict: "error"}); }
  catch (error) { failed[name] = error.message; }
}
console.log(JSON.stringify({version: katex.version, failed}));
"""


def commands(text: str) -> set[str]:
    """The commands in a text, and its environments."""
    found = set(re.findall(r"\\(?:[A-Za-z]+|[^A-Za-z\s])|\\ ", text))
    return found | {f"begin{{{name}}}" for name in re.findall(r"\\begin{(\w+)}", text)}


def main(folder: str, update: bool) -> int:
    texts = outputs()
    done = subprocess.run(
        ["node", "-e", _SCRIPT, str(Path(folder).resolve())],
        input=json.dumps(texts), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    for name, message in found["failed"].items():
        sys.stdout.write(f"{name}: {message}\n{texts[name]}\n\n")
    failed = len(found["failed"])
    sys.stdout.write(f"KaTeX {found['version']}: {len(texts)} outputs, {failed} failed\n")
    if update and not found["failed"]:
        used = sorted(set().union(*map(commands, texts.values())))
        COMMANDS.write_text("\n".join(used) + "\n", encoding="utf-8")
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--update" in sys.argv))
