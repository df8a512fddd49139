"""The weights of language model and priors and the word bonus with which recognizers make the fewest errors."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from speechgru.contracts import Decoder
from speechgru.data.batching import Batch
from speechgru.decoding.beam import BeamConfig, BeamDecoder
from speechgru.decoding.calibration import Calibration
from speechgru.errors import DataError
from speechgru.evaluation.error_rate import correct_words, edit_distance
from speechgru.recognizer import Recognizer


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """The scores of a recognizer for a recording, to be decoded in many ways.

    Attributes:
        reference: the words said, normalised.
        log_probabilities: (time, token).
        duration_s: length of the recording in seconds.
    """

    reference: list[str]
    log_probabilities: np.ndarray
    duration_s: float


@torch.no_grad()
def score(recognizer: Recognizer, batches: Iterable[Batch]) -> tuple[list[Scored], list[str]]:
    """The scores of every utterance, and a line for each that cannot be read."""
    units = recognizer.transcript_units
    found, errors = [], []
    for batch in batches:
        errors += batch.errors
        waveforms = [row[:length] for row, length in zip(batch.waveforms, batch.lengths.tolist(), strict=True)]
        scores = recognizer.log_probabilities(waveforms)
        for utterance, waveform, row in zip(batch.utterances, waveforms, scores, strict=True):
            reference = units.normalize(utterance.text).split()
            found.append(Scored(reference, row, len(waveform) / recognizer.sample_rate))
    if not any(one.reference for one in found):
        raise DataError(f"no utterance with words to choose on ({len(errors)} cannot be read)")
    return found, errors


def token_shares(scored: Sequence[Scored]) -> list[float]:
    """The mean posterior of each token, with one frame of each token added so that none is 0; they sum to 1."""
    frames = sum(len(one.log_probabilities) for one in scored)
    total = sum(np.exp(one.log_probabilities, dtype=np.float64).sum(0) for one in scored) + 1.0
    return [round(float(share), 8) for share in total / (frames + len(total))]


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Word errors by setting.

    Attributes:
        prior_weight: of the tokens' priors, the same in all of the grid.
        lm_weights: of the language model, ascending.
        word_bonuses: in nats, ascending.
        errors: (word bonus, weight), word errors.
        words: number of words in all references.
    """

    lm_weights: list[float]
    word_bonuses: list[float]
    errors: np.ndarray
    words: int
    prior_weight: float = 0.0

    @property
    def best(self) -> tuple[int, int]:
        """Row and column of the fewest errors; of equal ones, that whose neighbours make the fewest, then the first.

        Few recordings make a jagged grid, and a good setting between bad ones is luck.
        """
        row, column = min(np.ndindex(self.errors.shape), key=self._quality)
        return row, column

    @property
    def quality(self) -> tuple[int, float]:
        """The errors of the best setting and the mean of its neighbours', by which grids are compared."""
        return self._quality(self.best)

    def _quality(self, place: tuple[int, ...]) -> tuple[int, float]:
        around = self.errors[tuple(slice(max(0, index - 1), index + 2) for index in place)]
        return int(self.errors[place]), float(around.mean())

    @property
    def at_edge(self) -> bool:
        """Whether a wider grid might hold something better."""
        sizes = zip(self.best, self.errors.shape, strict=True)
        return any(size > 1 and place in (0, size - 1) for place, size in sizes)


def word_errors(scored: Sequence[Scored], decoder: Decoder, recognizer: Recognizer) -> int:
    """Word errors of a decoder over all utterances."""
    units = recognizer.transcript_units
    errors = 0
    for one in scored:
        found = decoder.decode(one.log_probabilities)[0]
        words = found.words or units.words(found.tokens, recognizer.tokens)
        errors += edit_distance(one.reference, [word for word, _, _ in words])
    return errors


def measure_grid(
    models: Sequence[tuple[Recognizer, Sequence[Scored]]],
    config: BeamConfig,
    lm_weights: Sequence[float],
    word_bonuses: Sequence[float],
    prior_weight: float = 0.0,
    progress: Callable[[list[tuple[int, int]]], Iterable[tuple[int, int]]] = iter,
) -> Grid:
    """The word errors of all models together with every weight and bonus.

    Args:
        models: recognizers and what they scored; with several of one recipe the choice depends less on luck than with
            one.
        config: all other settings of the decoder; it must name a language model.
        lm_weights: to try.
        word_bonuses: to try, in nats.
        prior_weight: weight of the priors, which are the share of each token in what the model scored.
        progress: wraps the iterable of settings, such as ``tqdm``.
    """
    from speechgru.decoding.language_model import LanguageModel

    weights, bonuses = sorted(set(lm_weights)), sorted(set(word_bonuses))
    language_model = LanguageModel.read(config.language_model)
    errors = np.zeros((len(bonuses), len(weights)), np.int64)
    priors = [token_shares(scored) for _, scored in models]
    for row, column in progress(list(itertools.product(range(len(bonuses)), range(len(weights))))):
        setting = dataclasses.replace(config, lm_weight=weights[column], word_bonus=bonuses[row])
        for (recognizer, scored), shares in zip(models, priors, strict=True):
            own = dataclasses.replace(setting, priors=shares, prior_weight=prior_weight)
            decoder = BeamDecoder(recognizer.tokens, recognizer.units, own, language_model)
            errors[row, column] += word_errors(scored, decoder, recognizer)
    words = sum(len(one.reference) for _, scored in models for one in scored)
    return Grid(weights, bonuses, errors, words, prior_weight)


def calibrate(recognizer: Recognizer, scored: Sequence[Scored], decoder: Decoder) -> Calibration:
    """What corrects the confidences that the recognizer gives to the words of this decoder."""
    plain = dataclasses.replace(recognizer.config, calibration=Calibration())
    before, recognizer.config = recognizer.config, plain
    try:
        confidences, correct = [], []
        for one in scored:
            best = decoder.decode(one.log_probabilities)[0]
            words = recognizer.transcription(best, one.log_probabilities, one.duration_s).words
            confidences += [word.confidence for word in words]
            correct += correct_words(one.reference, [word.word for word in words])
    finally:
        recognizer.config = before
    return Calibration.fit(confidences, correct) if confidences else before.calibration
