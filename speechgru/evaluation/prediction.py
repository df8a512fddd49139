"""Runs a recognizer over utterances and collects what evaluation needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from speechgru.contracts import Decoder
from speechgru.data.batching import Batch
from speechgru.data.utterance import Utterance
from speechgru.decoding.transcription import Transcription
from speechgru.errors import DataError
from speechgru.evaluation.error_rate import edit_distance
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


@dataclasses.dataclass
class Transcripts:
    """What a CTC model heard in a list of utterances.

    Attributes:
        references: the true transcripts, normalised; phone by phone where the decoder gives no words.
        transcriptions: what was heard, with times and confidences.
        losses: the head's loss of each utterance whose transcript its frames can hold, in nats; empty where the batches
            had no targets.
        utterances: what was transcribed, in the order of the rows above.
        errors: one line for every file that could not be used.
        frames: the encoder's frames of all utterances.
        blank_frames: those whose best token is the blank.
        reference_tokens: units of all targets.
    """

    references: list[str]
    transcriptions: list[Transcription]
    losses: list[float]
    utterances: list[Utterance]
    errors: list[str]
    frames: int = 0
    blank_frames: int = 0
    reference_tokens: int = 0

    @property
    def hypotheses(self) -> list[str]:
        """The texts heard."""
        return [one.text for one in self.transcriptions]

    @property
    def confidences(self) -> list[list[float]]:
        """Of each word heard."""
        return [[word.confidence for word in one.words] for one in self.transcriptions]

    @property
    def wer(self) -> float:
        """Word errors over the words of all references."""
        pairs = zip(self.references, self.hypotheses, strict=True)
        errors = sum(edit_distance(reference.split(), hypothesis.split()) for reference, hypothesis in pairs)
        return errors / max(1, sum(len(reference.split()) for reference in self.references))

    @property
    def cer(self) -> float:
        """Character errors over the characters of all references, spaces among them."""
        errors = sum(map(edit_distance, self.references, self.hypotheses))
        return errors / max(1, sum(map(len, self.references)))

    @property
    def loss(self) -> float:
        """Mean loss of an utterance; 0 where there are none."""
        return float(np.mean(self.losses)) if self.losses else 0.0

    @property
    def blank_share(self) -> float:
        """Share of the frames whose best token is the blank."""
        return self.blank_frames / max(1, self.frames)

    @property
    def empty(self) -> bool:
        """Whether nothing was heard in any utterance."""
        return bool(self.transcriptions) and not any(self.hypotheses)


@torch.no_grad()
def predict_transcripts(
    recognizer: Recognizer, batches: Iterable[Batch], decoder: Decoder | None = None
) -> Transcripts:
    """Transcribes every utterance of ``batches`` on the recognizer's device; its mode is put back after.

    Args:
        recognizer: with a CTC head.
        batches: their targets are for the loss alone; batches read without tokens have none.
        decoder: what ``recognizer.decoder()`` gave; None means the model's own.
    """
    decoder = decoder or recognizer.decoder()
    found = Transcripts([], [], [], [], [])
    in_words = decoder.gives_words
    training, device = recognizer.training, recognizer.device
    recognizer.eval()
    for batch in batches:
        found.errors += batch.errors
        if not batch.utterances:
            continue
        scores, lengths = recognizer(batch.waveforms.to(device), batch.lengths.to(device))
        if batch.targets.ndim == 2:
            targets, target_lengths = batch.targets.to(device), batch.target_lengths.to(device)
            losses = recognizer.head.loss(scores, lengths, targets, target_lengths)
            found.losses += losses[losses.isfinite()].tolist()
            found.reference_tokens += int(target_lengths.sum())
        rows = zip(scores.cpu().numpy(), lengths.tolist(), batch.lengths.tolist(), batch.utterances, strict=True)
        for row, frames, samples, utterance in rows:
            row = row[:frames]
            best = decoder.decode(row)[0]
            in_words = in_words or bool(best.words)
            found.transcriptions.append(recognizer.transcription(best, row, samples / recognizer.sample_rate))
            found.utterances.append(utterance)
            found.frames += frames
            found.blank_frames += int((row.argmax(1) == 0).sum())
    recognizer.train(training)
    found.references = [_reference(recognizer, utterance, in_words) for utterance in found.utterances]
    return found


def _reference(recognizer: Recognizer, utterance: Utterance, in_words: bool) -> str:
    """The transcript as it is to be compared: in words, or in what the units give for words."""
    units: Any = recognizer.units
    if not in_words and not units.gives_words:
        try:
            return units.text(units.encode(utterance.text, recognizer.tokens), recognizer.tokens)
        except DataError as error:
            raise DataError(f"{utterance.audio}: its transcript: {error}") from None
    return units.normalize(utterance.text)
