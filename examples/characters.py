"""Text, character by character: an LSTM and a small transformer learn graphc's own docstrings.

    python characters.py

Both guess each next character from those before. How well is measured in bits, on a part of the
text that they have not seen, beside two counts: of the characters, and of the characters behind
each character. A model that begins to learn the text by heart is stopped. Then both write.
Needs `pip install graphc[examples]`; writes `characters.png`.
"""

from __future__ import annotations

import argparse
import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import graphc as gc

STYLES = {"LSTM": ("#0072B2", "-"), "transformer": ("#D55E00", "--")}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Models of characters.")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--characters", type=int, default=40_000, help="of the text")
    parser.add_argument("--time", type=int, default=48, help="characters that a model sees")
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--blocks", type=int, default=2, help="of the transformer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def own_text(length: int, rng: np.random.Generator) -> str:
    """The docstrings of what graphc offers, in any order."""
    found = []
    for module in (gc, gc.nn, gc.nn.losses, gc.optim, gc.train):
        for name in sorted(vars(module)):
            value = getattr(module, name)
            if not name.startswith("_") and callable(value):
                found.append(f"{name}\n{inspect.getdoc(value) or ''}\n")
    return "\n".join(rng.permutation(sorted(set(found))))[:length]


def windows(places: np.ndarray, time: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Parts [n, time] of the text, and the character behind each of theirs."""
    starts = range(0, len(places) - time - 1, stride)
    x = np.array([places[s : s + time] for s in starts])
    y = np.array([places[s + 1 : s + time + 1] for s in starts])
    return x, y


def models(kinds: int, arguments: argparse.Namespace) -> dict[str, gc.nn.Layer]:
    width = arguments.width
    block = lambda: gc.nn.TransformerBlock(4, 2 * width, causal=True, dropout=0.1)  # noqa: E731
    return {
        "LSTM": gc.nn.Sequential(
            [
                gc.nn.Embedding(kinds, width // 2),
                gc.nn.LSTM(width, return_sequences=True),
                gc.nn.Dense(kinds),
            ],
            name="lstm",
        ),
        "transformer": gc.nn.Sequential(
            [
                gc.nn.Embedding(kinds, width),
                gc.nn.PositionEmbedding(arguments.time),
                *(block() for _ in range(arguments.blocks)),
                gc.nn.LayerNorm(),
                gc.nn.Dense(kinds),
            ],
            name="transformer",
        ),
    }


def counted(seen: np.ndarray, new: np.ndarray, kinds: int) -> tuple[float, float]:
    """Bits for each new character by how often each occurs, and occurs behind the one before."""
    alone = np.bincount(seen, minlength=kinds) + 1.0
    pairs = np.ones((kinds, kinds))
    np.add.at(pairs, (seen[:-1], seen[1:]), 1)
    behind = pairs / pairs.sum(axis=1, keepdims=True)
    return (
        -float(np.mean(np.log2(alone / alone.sum())[new])),
        -float(np.mean(np.log2(behind)[new[:-1], new[1:]])),
    )


def write(trainer: Any, start: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
    """So many characters more, each drawn by the probabilities that the model gives it."""
    places = list(start)
    for _ in range(count):
        logits = trainer.predict(np.array([places[-len(start) :]]))[0, -1]
        p = np.exp((logits - logits.max()) / 0.7)  # a bit bolder than the model is
        places.append(int(rng.choice(len(p), p=p / p.sum())))
    return places[len(start) :]


def main() -> None:
    arguments = parse_arguments()
    text = own_text(arguments.characters, np.random.default_rng(arguments.seed))
    kinds = sorted(set(text))
    places = np.array([kinds.index(c) for c in text])
    cut = len(places) * 9 // 10
    seen, new = places[:cut], places[cut:]
    x, y = windows(seen, arguments.time, arguments.time // 3)
    x_new, y_new = windows(new, arguments.time, arguments.time)
    alone, behind = counted(seen, new, len(kinds))

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    curves, surprise = figure.subplots(1, 2, width_ratios=(1, 2))
    rows, texts = [], []
    for name, model in models(len(kinds), arguments).items():
        gc.nn.seed(arguments.seed)
        trainer = gc.train.Trainer(
            model, loss="softmax_cross_entropy",
            optimizer=gc.optim.Adam(3e-3, global_clip_norm=1.0), metrics=["accuracy"],
        )  # fmt: skip
        history = trainer.fit(
            x, y, epochs=arguments.epochs, batch_size=32, seed=arguments.seed,
            validation_data=(x_new, y_new),
            callbacks=[gc.train.EarlyStopping(patience=2, restore_best_weights=True)],
        )  # fmt: skip
        bits = np.array(history["val_loss"]) / math.log(2)
        rows.append((name, sum(v.size for v in model.parameters()), bits.min()))
        written = write(trainer, x_new[0], 200, np.random.default_rng(arguments.seed))
        texts.append((name, "".join(kinds[i] for i in written)))

        colour, line = STYLES[name]
        curves.plot(range(1, len(bits) + 1), bits, line, color=colour, label=name)
        logits = trainer.predict(x_new[:1])[0]
        logarithms = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        each = -logarithms[np.arange(len(logits)), y_new[0]] / math.log(2)
        surprise.plot(each, line, color=colour, marker=".", label=name)

    print(f"{len(text)} characters of {len(kinds)} kinds; bits for a character that is new:")
    print(f"{'model':<20}{'parameters':>12}{'bits':>8}")
    print(f"{'how often each is':<20}{len(kinds):>12}{alone:>8.3f}")
    print(f"{'behind the last one':<20}{len(kinds) ** 2:>12}{behind:>8.3f}")
    for name, count, bits in rows:
        print(f"{name:<20}{count:>12}{bits:>8.3f}")
    for name, written in texts:
        print(f"\n--- {name} writes ---\n{written}")

    curves.axhline(alone, color="grey", linestyle=":", label="how often each is")
    curves.axhline(behind, color="grey", linestyle="-.", label="behind the last one")
    curves.set(xlabel="epoch", ylabel="bits for a new character", title="learning")
    curves.legend(fontsize=8)
    shown = [kinds[i].replace(" ", "␣").replace("\n", "↵") for i in y_new[0]]
    surprise.set_xticks(range(len(shown)), shown, family="monospace", fontsize=9)
    surprise.set(xlabel="next character", ylabel="bits", title="surprise, in a text that is new")
    surprise.legend(fontsize=8)
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "characters.png", dpi=120)


if __name__ == "__main__":
    main()
