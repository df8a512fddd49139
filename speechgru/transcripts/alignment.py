"""When each word of a known text is said in a recording."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from speechgru.audio import read_audio
from speechgru.decoding.alignment import align
from speechgru.decoding.greedy import GreedyConfig
from speechgru.decoding.silence import without_silence
from speechgru.decoding.transcription import Word, transcription
from speechgru.errors import DataError, ModelError

if TYPE_CHECKING:
    from speechgru.audio.reading import Source
    from speechgru.recognizer import Recognizer
    from speechgru.text import Units
    from speechgru.tokens import Tokens


# Nats per token. Chosen on AN4's validation set, where no right text has more than 1.73 and no text of another
# utterance less than 3.94. On its test set all 130 right texts are below it, and 384 of 387 texts of other utterances
# are above.
LARGEST_SHORTFALL = 2.5


@dataclasses.dataclass(frozen=True)
class AlignedText:
    """A text with its times.

    Attributes:
        words: the words of the normalised text, each with its times and confidence.
        tokens: the same for the tokens that the text is written in (``|`` is the space between words).
        score: log-probability of the path.
        duration_s: length of the recording in seconds.
        shortfall: how much less likely the text is than what the model recognises, in nats per token; near 0 where the
            model recognises just this text.
        heard: what the model recognises, where that is another text (``is_doubtful``); empty otherwise.
    """

    words: list[Word]
    tokens: list[Word]
    score: float
    duration_s: float
    shortfall: float
    heard: str = ""

    @property
    def is_doubtful(self) -> bool:
        """Whether this is probably not the text of the recording."""
        return self.shortfall > LARGEST_SHORTFALL


def align_recording(recognizer: Recognizer, audio: Source, text: str, source_rate: int | None = None) -> AlignedText:
    """Aligns a text with the recording it is said in; the recording is computed as a whole.

    A word begins up to a frame before its first token and ends up to a frame after its last one, but not in silence: a
    network trained with CTC need not give a token when, and for as long as, it sounds.

    Args:
        recognizer: a model with a CTC head.
        audio: a path, bytes, a file object or an array (with ``source_rate``).
        text: what is said; it is normalised as the transcripts of the training were.
        source_rate: samples per second of an array.

    Raises:
        AudioError: the recording cannot be read.
        DataError: the text has no words, a symbol or word the model does not know, or is longer than the recording.
        ModelError: the model has no CTC head.
    """
    units, names = recognizer.units, recognizer.tokens
    if units is None:
        raise ModelError(f"this model has a {recognizer.task} head; align needs one with a ctc head")
    targets = units.encode(text, names)
    if not targets:
        raise DataError(f"the text {text.strip()!r} has no words; give what is said in the recording")
    waveform, rate = read_audio(audio, recognizer.sample_rate, source_rate=source_rate)
    log_probs = recognizer.log_probabilities([waveform])[0]
    duration_s, frame_s = len(waveform) / rate, recognizer.frame_s
    path = align(log_probs, targets)
    if not units.gives_words:
        path = dataclasses.replace(path, words=_spans(units, names, text))
    found = transcription(path, log_probs, names, units, frame_s, duration_s, recognizer.config.calibration)
    tokens = [
        Word(
            names.names[token],
            min(start * frame_s, duration_s),
            min(end * frame_s, duration_s),
            float(np.exp(log_probs[start:end, token].max())),
        )
        for token, start, end in zip(path.tokens, path.starts, path.ends, strict=True)
    ]
    words = without_silence(found.words, waveform.numpy(), rate)
    shortfall = (float(log_probs.max(1).sum(dtype=np.float64)) - path.score) / len(targets)
    aligned = AlignedText(words, tokens, path.score, duration_s, shortfall)
    if not aligned.is_doubtful:
        return aligned
    (heard,) = recognizer.decoder(GreedyConfig()).decode(log_probs)
    said = transcription(heard, log_probs, names, units, frame_s, duration_s, recognizer.config.calibration)
    return dataclasses.replace(aligned, heard=said.text)


def _spans(units: Units, names: Tokens, text: str) -> tuple[tuple[str, int, int], ...]:
    """The span of each word where tokens, such as phones, do not show words: the length of the word encoded alone."""
    spans, at = [], 0
    for word in units.normalize(text).split():
        end = at + len(units.encode(word, names))
        if end > at:  # a phone that is not learned, such as TIMIT's glottal stop, has no span
            spans.append((word, at, end))
        at = end
    return tuple(spans)
