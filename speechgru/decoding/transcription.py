"""What a recording was transcribed as: words with their times and confidences, from a hypothesis of a decoder."""

from __future__ import annotations

import dataclasses

import numpy as np

from speechgru.decoding.calibration import Calibration
from speechgru.decoding.familiarity import token_entropy
from speechgru.decoding.hypothesis import Hypothesis
from speechgru.text import Units
from speechgru.tokens import Tokens


@dataclasses.dataclass(frozen=True)
class Word:
    """A word that was heard.

    Attributes:
        word: as the transcript has it.
        start_s: where it begins in the recording, in seconds.
        end_s: where it ends.
        confidence: the probability that it is right, 0 to 1.
    """

    word: str
    start_s: float
    end_s: float
    confidence: float


@dataclasses.dataclass(frozen=True)
class Transcription:
    """What a recording was transcribed as.

    Attributes:
        text: the words, one space between them; empty where nothing was said.
        words: each with its times and confidence.
        tokens: the names of the tokens that were heard, without blanks.
        confidence: the mean of the words' confidences; without words the mean probability of the blank.
        duration_s: length of the recording in seconds.
        entropy: how unsure the model is of the tokens it hears, in nats
            (:func:`speechgru.decoding.familiarity.token_entropy`).
        familiar: whether the recording sounds like what the model knows; None where nothing was heard, or where the
            model's folder has no threshold for it (``speechgru tune-lm --foreign``).
    """

    text: str
    words: list[Word]
    tokens: list[str]
    confidence: float
    duration_s: float
    entropy: float = 0.0
    familiar: bool | None = None


def transcription(
    hypothesis: Hypothesis,
    log_probabilities: np.ndarray,
    tokens: Tokens,
    units: Units,
    frame_s: float,
    duration_s: float,
    calibration: Calibration,
) -> Transcription:
    """The words of a hypothesis.

    CTC gives a token for less time than it sounds. So each word is longer than its tokens by up to a frame on both
    sides, at most to the middle between it and its neighbour.

    The confidence of a word is the mean over its tokens of the token's posterior in the best of its frames, corrected
    by ``calibration``.

    Args:
        hypothesis: what a decoder found.
        log_probabilities: the scores it was found in, (time, token).
        tokens: the names of the tokens.
        units: what finds words in them (:class:`speechgru.text.Units`).
        frame_s: seconds from one frame to the next.
        duration_s: length of the recording in seconds.
        calibration: of confidences.
    """
    columns = zip(hypothesis.tokens, hypothesis.starts, hypothesis.ends, strict=True)
    best = np.array([log_probabilities[start:end, token].max() for token, start, end in columns], dtype=np.float64)
    spans = list(hypothesis.words) or units.words(hypothesis.tokens, tokens)
    raw = [float(np.exp(best[first:last]).mean()) for _, first, last in spans]
    edges = _edges([(hypothesis.starts[first], hypothesis.ends[last - 1]) for _, first, last in spans])
    words = [
        Word(word, min(start * frame_s, duration_s), min(end * frame_s, duration_s), float(confidence))
        for (word, _, _), (start, end), confidence in zip(spans, edges, calibration.apply(raw), strict=True)
    ]
    if words:
        confidence = float(np.mean([word.confidence for word in words]))
    else:
        confidence = float(np.exp(log_probabilities[:, 0], dtype=np.float64).mean()) if len(log_probabilities) else 1.0
    text = " ".join(word.word for word in words)
    names = [tokens.names[index] for index in hypothesis.tokens]
    return Transcription(text, words, names, confidence, duration_s, token_entropy(log_probabilities))


def _edges(spans: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """Half-open spans of frames, each longer by up to a frame on both sides; neighbours share what is between them."""
    found = []
    for place, (start, end) in enumerate(spans):
        before = start - spans[place - 1][1] if place else 2 * start
        after = spans[place + 1][0] - end if place + 1 < len(spans) else 2
        found.append((start - min(1.0, max(0, before) / 2), end + min(1.0, max(0, after) / 2)))
    return found
