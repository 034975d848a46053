"""Train a network on scikit-learn's handwritten digits by two workers, on Ray.

    python digits_distributed.py [--workers 2] [--servers 1] [--mode sync|async] [--stages 0]

1,797 images of 8 x 8 pixels, a quarter of them held out. Each batch is cut into two shards, and a
process of its own computes the gradients of each; a parameter server holds the parameters, or with
`--servers 0` every worker does. With `--stages 2` the network itself is cut in two. Needs
`pip install graphc[examples,distributed]`. Without `--address` a Ray cluster is started on this
machine, and ends with the program. Writes `digits-placement.svg`: who holds what, and what moves in
a step.
"""

from __future__ import annotations

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import graphc as gc


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a digit classifier by several processes.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--servers", type=int, default=1, help="0: every worker has all parameters")
    parser.add_argument("--mode", choices=["sync", "async"], default="sync", help="of the servers")
    parser.add_argument("--stages", type=int, default=0, help="of the network, in place of servers")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the split, weights and batches")
    parser.add_argument("--address", help="of a Ray cluster, as host:port or auto")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        images / 16, labels, test_size=0.25, stratify=labels, random_state=arguments.seed
    )

    gc.nn.seed(arguments.seed)
    layers = [gc.nn.Dense(256, "relu"), gc.nn.Dropout(0.3), gc.nn.Dense(128, "relu")]
    model = gc.nn.Sequential([*layers, gc.nn.Dense(10)], name="digits")
    strategy = gc.distributed.DataParallel()
    if arguments.stages:
        strategy = gc.distributed.Pipeline(arguments.stages)
    elif arguments.servers:
        strategy = gc.distributed.ParameterServer(arguments.servers, arguments.mode)
    with gc.distributed.connect(arguments.address) as cluster:
        print(cluster)
        trainer = gc.distributed.Trainer(
            model,
            loss="softmax_cross_entropy",
            optimizer=gc.optim.Adam(2e-3),
            metrics=["accuracy"],
            strategy=strategy,
            workers=arguments.workers,
        )
        with trainer:
            trainer.fit(x, y, epochs=arguments.epochs, batch_size=64, seed=arguments.seed)
            print(trainer.report())
            gc.draw(trainer, "digits-placement.svg", view="placement")
        print(f"test accuracy: {trainer.evaluate(x_test, y_test)['accuracy']:.4f}")


if __name__ == "__main__":
    main()
