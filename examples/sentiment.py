"""A classifier of sentences, liked or not: words in, the encoder and head made for speech, a label out.

    python examples/sentiment.py [cell]

``sentiment.tsv`` holds 1,479 sentences of reviews of products at Amazon (Hu and Liu, 2004), those of at most 25 words
that twenty people rated 1.5 or more away from 0 on a scale of -4 to 4 (VADER, Hutto and Gilbert, ICWSM 2014; MIT
licence in ``sentiment.LICENSE``). No review is in two parts of the data. With so few sentences, counting words works
better; it is run beside the network. The example shows how to do it, not that you should.
"""

from __future__ import annotations

import collections
import math
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from speechgru.data.splits import hash_percent
from speechgru.encoders import GRUEncoder
from speechgru.heads import ClassificationHead
from speechgru.tokens import Tokens

LABELS = Tokens(["disliked", "liked"])
Sentence = tuple[list[str], int]  # words and label


def read_sentences() -> dict[str, list[Sentence]]:
    """The sentences by part; a hash of a review's number draws whole reviews, always the same ones."""
    parts: dict[str, list[Sentence]] = {"train": [], "valid": [], "test": []}
    lines = Path(__file__).with_name("sentiment.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for number, rating, text in (line.split("\t") for line in lines):
        percent = hash_percent(number.partition("_")[0])
        part = "test" if percent < 20 else "valid" if percent < 40 else "train"
        parts[part].append((text.lower().split(), int(float(rating) > 0)))
    return parts


class Classifier(nn.Module):
    """Vectors of words, a recurrent encoder, attention over the words, two scores."""

    def __init__(self, words: list[str], cell: str = "gru") -> None:
        super().__init__()
        self.numbers = {word: number for number, word in enumerate(words, 1)}  # 0: a word never seen
        self.vectors = nn.Embedding(len(words) + 1, 32)
        self.encoder = GRUEncoder(32, hidden_size=32, num_layers=1, cell=cell, dropout=0.3)
        self.head = ClassificationHead(self.encoder.output_size, LABELS)

    def forward(self, sentences: list[list[str]]) -> Tensor:
        """Scores of the labels, (sentences, 2)."""
        rows = [torch.tensor([self.numbers.get(word, 0) for word in words]) for words in sentences]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        vectors = nn.functional.dropout(self.vectors(padded), 0.3, self.training)
        return self.head(*self.encoder(vectors, torch.tensor([len(row) for row in rows])))

    @torch.no_grad()
    def guess(self, sentences: list[Sentence]) -> list[int]:
        return self.eval()([words for words, _ in sentences]).argmax(1).tolist()


def accuracy(guesses: list[int], sentences: list[Sentence]) -> float:
    return sum(guess == label for guess, (_, label) in zip(guesses, sentences, strict=True)) / len(sentences)


def train(model: Classifier, parts: dict[str, list[Sentence]], epochs: int) -> None:
    """Fits the model and keeps the weights of the epoch with the best validation accuracy."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-2)
    best, kept = -1.0, model.state_dict()
    for _ in range(epochs):
        model.train()
        for chosen in torch.randperm(len(parts["train"])).split(32):
            batch = [parts["train"][number] for number in chosen.tolist()]
            scores = model([words for words, _ in batch])
            loss = model.head.loss(scores, torch.tensor([]), torch.tensor([label for _, label in batch])).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        right = accuracy(model.guess(parts["valid"]), parts["valid"])
        if right > best:
            best, kept = right, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)


def naive_bayes(learn: list[Sentence], sentences: list[Sentence], words: list[str]) -> list[int]:
    """Labels by word counts alone, one added to each count (Laplace smoothing)."""
    counts = [collections.Counter(word for one, label in learn if label == kind for word in one) for kind in (0, 1)]
    totals = [sum(count[word] + 1 for word in words) for count in counts]
    prior = [math.log(sum(label == kind for _, label in learn)) for kind in (0, 1)]
    known = set(words)

    def score(one: list[str], k: int) -> float:
        return prior[k] + sum(math.log((counts[k][word] + 1) / totals[k]) for word in one if word in known)

    return [int(score(one, 1) > score(one, 0)) for one, _ in sentences]


def main(cell: str = "gru", epochs: int = 12, seed: int = 0) -> dict[str, float]:
    """Trains and compares on the test sentences; returns the accuracies."""
    torch.manual_seed(seed)
    parts = read_sentences()
    test, seen = parts["test"], collections.Counter(word for words, _ in parts["train"] for word in words)
    words = sorted(word for word, count in seen.items() if count > 1)
    model = Classifier(words, cell)
    train(model, parts, epochs)
    guesses = {"always liked": [1] * len(test), "naive Bayes": naive_bayes(parts["train"], test, words)}
    found = {name: accuracy(one, test) for name, one in {**guesses, cell: model.guess(test)}.items()}
    print(
        f"learned from {len(parts['train'])} sentences; right of {len(test)} others (one is {100 / len(test):.2f} %):"
    )
    for name, right in found.items():
        print(f"  {name:<14} {100 * right:.1f} %")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:2])
