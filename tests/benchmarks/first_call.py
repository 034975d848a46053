"""From a fresh process to a first result: `python tests/benchmarks/first_call.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.first_session import main

if __name__ == "__main__":
    main()
