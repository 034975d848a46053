"""Word embeddings: vectors for words, learned from which words stand beside which.

    python words.py

A small grammar writes sentences of kings, witches, crowns and spells. The skip-gram model guesses a
word's neighbours from its vector alone, so words with like neighbours get like vectors: things go
to their owners, and the step from a man to a woman of one trade is that of any other. That solves
"king is to queen as wizard is to ...?" by adding and subtracting vectors.
Needs `pip install graphc[examples]`; writes `words.png`.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import graphc as gc

TRADES = {
    ("king", "queen"): ("crown", "throne", "palace"),
    ("wizard", "witch"): ("wand", "spell", "potion"),
    ("actor", "actress"): ("stage", "film", "mask"),
    ("waiter", "waitress"): ("menu", "tray", "soup"),
    ("uncle", "aunt"): ("nephew", "niece", "birthday"),
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
SENTENCES = (
    "the {who} takes {his} {thing}",
    "{he} is the {who} of the {thing}",
    "the {who} says that {he} likes the {thing}",
    "a {who} without {his} {thing} is no {who}",
    "the {thing} and the {other} are of {his} trade said the {who}",
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Word embeddings by skip-gram.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sentences", type=int, default=2000)
    parser.add_argument("--size", type=int, default=16, help="of a vector")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the picture")
    return parser.parse_args()


def write(count: int, rng: np.random.Generator) -> list[list[str]]:
    """Sentences, each a list of words."""
    found = []
    for _ in range(count):
        pair, things = list(TRADES.items())[rng.integers(len(TRADES))]
        woman = int(rng.integers(2))
        thing, other = rng.choice(things, 2, replace=False)
        sentence = SENTENCES[rng.integers(len(SENTENCES))].format(
            who=pair[woman], he=("he", "she")[woman], his=("his", "her")[woman],
            thing=thing, other=other,
        )  # fmt: skip
        found.append(sentence.split())
    return found


def neighbours(sentences: list[list[str]], places: dict[str, int]) -> np.ndarray:
    """Pairs [n, 2] of a word and another one of its sentence."""
    pairs = [pair for words in sentences for pair in itertools.permutations(words, 2)]
    return np.array([[places[a], places[b]] for a, b in pairs])


def nearest(vectors: np.ndarray, wanted: np.ndarray, without: tuple[int, ...] = ()) -> np.ndarray:
    """Which vectors have the direction most like the wanted one's, the best first."""
    likeness = vectors @ wanted / np.linalg.norm(vectors, axis=1) / np.linalg.norm(wanted)
    likeness[list(without)] = -np.inf
    return np.argsort(-likeness)


def main() -> None:
    arguments = parse_arguments()
    sentences = write(arguments.sentences, np.random.default_rng(arguments.seed))
    words = sorted({word for sentence in sentences for word in sentence})
    places = {word: i for i, word in enumerate(words)}
    pairs = neighbours(sentences, places)

    gc.nn.seed(arguments.seed)
    table = gc.nn.Embedding(len(words), arguments.size)
    model = gc.nn.Sequential([table, gc.nn.Dense(len(words))], name="skipgram")
    trainer = gc.train.Trainer(model, loss="softmax_cross_entropy", optimizer=gc.optim.Adam(5e-3))
    trainer.fit(
        pairs[:, 0], pairs[:, 1], epochs=arguments.epochs, batch_size=256, seed=arguments.seed
    )
    vectors = table.table.value - table.table.value.mean(axis=0)

    print(f"{len(words)} words, {len(pairs)} pairs\n{'word':<10}nearest")
    for word in ("king", "spell", "actress", "soup", "his"):
        near = nearest(vectors, vectors[places[word]], (places[word],))[:3]
        print(f"{word:<10}{', '.join(words[i] for i in near)}")
    right = []
    for (man, woman), (other, answer) in itertools.permutations(TRADES, 2):
        a, b, c = (places[w] for w in (man, woman, other))
        found = words[nearest(vectors, vectors[b] - vectors[a] + vectors[c], (a, b, c))[0]]
        right.append(found == answer)
        if man == "king":
            print(f"{man} is to {woman} as {other} is to {found}")
    print(f"analogies: {sum(right)} of {len(right)} right")

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    draw(figure.subplots(), vectors, places)
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output / "words.png", dpi=120)


def draw(axes: Any, vectors: np.ndarray, places: dict[str, int]) -> None:
    """The words along the step from men to women, and along the direction in which the rest of
    their vectors differs most: the first singular vector."""
    step = sum(vectors[places[b]] - vectors[places[a]] for a, b in TRADES)
    step = step / np.linalg.norm(step)
    across = vectors @ step
    chosen = [places[w] for (a, b), things in TRADES.items() for w in (a, b, *things)]
    rest = gc.constant((vectors - np.outer(across, step))[chosen])
    up = vectors @ gc.evaluate(gc.linalg.svd(rest).Vh)[0]
    for ((man, woman), things), colour in zip(TRADES.items(), COLOURS, strict=True):
        ends = [(across[places[w]], up[places[w]]) for w in (man, woman)]
        axes.annotate("", ends[1], ends[0], arrowprops={"arrowstyle": "->", "color": colour})
        for word in (man, woman, *things):
            mark = "o" if word in (man, woman) else "s"
            at = (across[places[word]], up[places[word]])
            axes.plot(*at, mark, color=colour, markersize=5)
            to_left = word in (man, things[1])
            side = {"ha": "right", "xytext": (-7, 0)} if to_left else {"xytext": (7, 0)}
            axes.annotate(word, at, textcoords="offset points", va="center", color=colour, **side)
    for word in ("he", "his", "she", "her"):
        at = (across[places[word]], up[places[word]])
        axes.plot(*at, "^", color="black")
        axes.annotate(word, at, (0, 6), textcoords="offset points", ha="center")
    axes.margins(x=0.15)
    axes.set(xlabel="along the step from men to women", ylabel="along what differs most else")
    axes.set_title("words by their vectors")


if __name__ == "__main__":
    main()
