"""Runs a recognizer over utterances and collects what evaluation needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch

from speechgru.data.batching import Batch
from speechgru.data.utterance import Utterance
from speechgru.recognizer import Recognizer


@dataclasses.dataclass
class Predictions:
    """What a classifier said of a list of utterances.

    Attributes:
        references: the true labels.
        predictions: the labels it gave.
        scores: log-probabilities, (utterances, labels).
        losses: the head's loss of each utterance, (utterances,).
        utterances: what was classified, in the order of the rows above.
        errors: one line for every file that could not be used.
    """

    references: list[str]
    predictions: list[str]
    scores: np.ndarray
    losses: np.ndarray
    utterances: list[Utterance]
    errors: list[str]

    @property
    def accuracy(self) -> float:
        """Share of utterances whose label was right; 0 where there are none."""
        right = sum(a == b for a, b in zip(self.references, self.predictions, strict=True))
        return right / max(1, len(self.references))

    @property
    def loss(self) -> float:
        """Mean loss of an utterance; 0 where there are none."""
        return float(self.losses.mean()) if len(self.losses) else 0.0


@torch.no_grad()
def predict(recognizer: Recognizer, batches: Iterable[Batch]) -> Predictions:
    """Classifies every utterance of ``batches`` on the recognizer's device; its mode is put back after."""
    names = recognizer.tokens.names
    found = Predictions([], [], np.zeros((0, len(names)), np.float32), np.zeros(0, np.float32), [], [])
    scores, losses = [found.scores], [found.losses]
    training, device = recognizer.training, recognizer.device
    recognizer.eval()
    for batch in batches:
        found.errors += batch.errors
        if not batch.utterances:
            continue
        targets = batch.targets.to(device)
        raw, lengths = recognizer(batch.waveforms.to(device), batch.lengths.to(device))
        losses.append(recognizer.head.loss(raw, lengths, targets).float().cpu().numpy())
        scores.append(raw.float().log_softmax(1).cpu().numpy())
        found.references += [names[index] for index in batch.targets.tolist()]
        found.predictions += [names[index] for index in raw.argmax(1).tolist()]
        found.utterances += batch.utterances
    recognizer.train(training)
    found.scores, found.losses = np.concatenate(scores), np.concatenate(losses)
    return found
