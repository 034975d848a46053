"""The training loop: shuffled mini-batches through one compiled step, with metrics and callbacks.

    trainer = gc.train.Trainer(model, loss="softmax_cross_entropy", optimizer="adam")
    history = trainer.fit(x, y, epochs=10, batch_size=32)
"""

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
