"""The first step of the network of `cnn.py` in PyTorch, from nothing to the printed loss."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import cnn

print(float(cnn.torch_step(cnn.problem(), "channels_last")()), flush=True)
