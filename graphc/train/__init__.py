"""The training loop: shuffled mini-batches through one compiled step, with metrics and callbacks.

    trainer = gc.train.Trainer(model, loss="softmax_cross_entropy", optimizer="adam")
    history = trainer.fit(x, y, epochs=10, batch_size=32)
"""

from typing import TYPE_CHECKING

from graphc.elsewhere import finder
from graphc.keywords import answer
from graphc.train import metrics
from graphc.train.callbacks import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    LearningRateSchedule,
    PlotCurves,
    ReduceOnPlateau,
)
from graphc.train.history import History
from graphc.train.idx import read_idx
from graphc.train.metric import Metric
from graphc.train.trainer import Trainer

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LearningRateSchedule",
    "Metric",
    "PlotCurves",
    "ReduceOnPlateau",
    "Trainer",
    "metrics",
    "read_idx",
]
answer(globals(), __all__)

_HERE = {
    "BackupAndRestore": "Checkpoint, and Trainer.load and fit(..., resume=True)",
    "CSVLogger": "CSVLog",
    "DataLoader": "fit(x, y, batch_size=..., shuffle=True), or any iterable of batches",
    "Dataset": "what fit takes: arrays, or any iterable of batches",
    "LambdaCallback": "a function (epoch, logs)",
    "LearningRateScheduler": "LearningRateSchedule",
    "ModelCheckpoint": "Checkpoint",
    "ReduceLROnPlateau": "ReduceOnPlateau",
    "TensorBoard": "CSVLog or PlotCurves for the numbers, gc.draw for the graph",
    "TerminateOnNaN": "what fit does by itself, with a DivergenceError",
}


if not TYPE_CHECKING:  # a checker knows the names above, and so a misspelt one
    __getattr__ = finder(__name__, _HERE)
