"""The training loop: shuffled mini-batches through one compiled step, with metrics and callbacks.

    trainer = gc.train.Trainer(model, loss="softmax_cross_entropy", optimizer=gc.optim.Adam())
    history = trainer.fit(x, y, epochs=10, batch_size=32)
"""

from graphc.train import metrics
from graphc.train.callbacks import EarlyStopping
from graphc.train.history import History
from graphc.train.trainer import Trainer

__all__ = ["EarlyStopping", "History", "Trainer", "metrics"]
