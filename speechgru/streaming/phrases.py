"""Words from scores of a CTC model, frame by frame: settled words while a phrase goes on, all its words at a pause."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from speechgru.errors import ModelError
from speechgru.streaming.event import Event
from speechgru.text.units import BLANK, SPACE

if TYPE_CHECKING:
    from speechgru.contracts import Decoder, DecoderStream, StreamingDecoder
    from speechgru.decoding.transcription import Transcription, Word
    from speechgru.streaming.model import StreamedModel

# Settled words are looked for each time this many more frames of a phrase have come.
_LOOK = 5
# A word is settled when every sequence without it is less likely than this share of the best one.
_SHARE = 1e-3


class Phrases:
    """The words of one stream of scores; any chunks give the same events.

    One search decodes a phrase; it goes on from chunk to chunk. Meanwhile a word is reported as partial once all
    sequences in the beam that are at least a thousandth as likely as the best one begin with it (and with the words
    before it). Such a word stays, except in the rare case that a later word makes it unlikely; with greedy decoding it
    always stays. A phrase ends when the blank (or the space) has been the best token of all frames for ``pause_s``,
    after ``longest_s``, or with the stream. Then its best hypothesis is final, as if the recording ended there:
    ``decoder.decode`` of its scores gives the same. The next frame begins a new search, with an empty beam and a
    language model that knows no earlier word.

    Args:
        model: with a CTC head.
        decoder: for the model's tokens.
        pause_s: seconds without a token that end a phrase, above 0.
        longest_s: seconds after which a phrase is ended without a pause; this bounds the memory.

    Raises:
        ModelError: the decoder has no ``stream``.
    """

    def __init__(self, model: StreamedModel, decoder: Decoder, pause_s: float, longest_s: float) -> None:
        if not hasattr(decoder, "stream"):
            raise ModelError("this decoder needs whole recordings; choose decoder=beam or decoder=greedy")
        self._model, self._decoder = model, cast("StreamingDecoder", decoder)
        self._pause = max(1, round(pause_s / model.frame_s))
        self._longest = max(self._pause, round(longest_s / model.frame_s))
        self._quiet = [index for index, name in enumerate(model.tokens.names) if name in (BLANK, SPACE)]
        self._first = 0  # frame with which the phrase begins
        self._begin()

    def _begin(self) -> None:
        self._search: DecoderStream = self._decoder.stream()
        self._scores: list[np.ndarray] = []
        self._frames = 0  # of the phrase
        self._silent = 0  # how many of these, at the end, are quiet
        self._told = 0  # words reported so far

    def feed(self, log_probabilities: np.ndarray) -> list[Event]:
        """The events of the next frames (time, token)."""
        quiet = np.isin(log_probabilities.argmax(1), self._quiet).tolist()
        events: list[Event] = []
        at = 0  # the first frame that the search has not read
        for frame, is_quiet in enumerate(quiet, start=1):
            self._frames += 1
            self._silent = self._silent + 1 if is_quiet else 0
            paused = self._silent == self._pause and self._silent < self._frames
            if paused or self._frames == self._longest:
                self._read(log_probabilities[at:frame])
                events += self._end()
                at = frame
            elif self._frames % _LOOK == 0:
                self._read(log_probabilities[at:frame])
                events += self._settled()
                at = frame
        self._read(log_probabilities[at:])
        return events

    def flush(self) -> list[Event]:
        """The words of the phrase with which the stream ends."""
        return self._end()

    def _read(self, log_probabilities: np.ndarray) -> None:
        if len(log_probabilities):
            self._search.feed(log_probabilities)
            self._scores.append(log_probabilities)

    def _settled(self) -> list[Event]:
        """The words that are settled now and were not before."""
        count = self._search.settled(_SHARE)
        if count <= self._told:
            return []
        words = self._transcription().words[self._told : count]
        self._told = count
        return [self._event(word, final=False) for word in words]

    def _end(self) -> list[Event]:
        events: list[Event] = []
        if self._frames:
            found = self._transcription()
            events = [self._event(word, final=True, familiar=found.familiar) for word in found.words]
        self._first += self._frames
        self._begin()
        return events

    def _transcription(self) -> Transcription:
        self._scores = [np.concatenate(self._scores)]
        duration_s = self._frames * self._model.frame_s
        return self._model.transcription(self._search.hypotheses()[0], self._scores[0], duration_s)

    def _event(self, word: Word, final: bool, familiar: bool | None = None) -> Event:
        at_s = self._first * self._model.frame_s
        return Event("word", word.word, at_s + word.start_s, at_s + word.end_s, word.confidence, final, familiar)
