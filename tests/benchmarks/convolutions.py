"""The convolutions and the network of `convolution_cases.py` and `cnn.py`, beside JAX and PyTorch:
`python tests/benchmarks/convolutions.py [--threads 1,2] [other options of run.py]`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.command import main
from benchmarks.convolution_cases import NAMES

if __name__ == "__main__":
    sys.exit(main([*NAMES, "cnn_step", *sys.argv[1:]]))
