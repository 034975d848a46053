"""Training by several processes, on Ray: `gc.distributed.connect` and `gc.distributed.Trainer`.

The client builds the model. The master makes the programs of a step once; workers hold copies of
the variables and compute shards of each batch natively. Importing this loads nothing of Ray, which
`pip install graphc[distributed]` installs.
"""

from graphc.distributed.cluster import Cluster, connect
from graphc.distributed.limits import Limits
from graphc.distributed.scaling import Network, Scaling, SharedMemory, predict_scaling
from graphc.distributed.strategy import DataParallel, ParameterServer, Pipeline
from graphc.distributed.trainer import Trainer
from graphc.keywords import answer

__all__ = [
    "Cluster",
    "DataParallel",
    "Limits",
    "Network",
    "ParameterServer",
    "Pipeline",
    "Scaling",
    "SharedMemory",
    "Trainer",
    "connect",
    "predict_scaling",
]

answer(globals(), __all__)
