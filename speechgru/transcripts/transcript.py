"""What was said in a recording, in segments of words with their times."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechgru.decoding.transcription import Word


@dataclasses.dataclass(frozen=True)
class Segment:
    """Words that are shown together, such as one subtitle.

    Attributes:
        id: its place in the transcript, from 0.
        words: at least one, in order.
    """

    id: int
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The words with a space between."""
        return " ".join(word.word for word in self.words)

    @property
    def start_s(self) -> float:
        """Where its first word begins, in seconds."""
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        """Where its last word ends, in seconds."""
        return self.words[-1].end_s

    @property
    def confidence(self) -> float:
        """The mean of its words' confidences, 0 to 1."""
        return sum(word.confidence for word in self.words) / len(self.words)


@dataclasses.dataclass(frozen=True)
class Transcript:
    """The outcome for one recording: what was said in it, or why that is not known.

    Attributes:
        audio: the path as it was given.
        segments: in order; none where nothing was said.
        duration_s: length of the recording in seconds.
        error: why there is no transcript; empty where there is one.
        entropy: how unsure the model is of the tokens it recognises, in nats
            (:func:`speechgru.decoding.familiarity.token_entropy`); None where it recognises none.
        familiar: whether the recording sounds like what the model knows; None where nothing was recognised or the model
            cannot tell.
    """

    audio: str
    segments: tuple[Segment, ...] = ()
    duration_s: float = 0.0
    error: str = ""
    entropy: float | None = None
    familiar: bool | None = None

    @property
    def text(self) -> str:
        """The segments with a space between."""
        return " ".join(segment.text for segment in self.segments)
