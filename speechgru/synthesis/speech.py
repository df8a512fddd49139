"""What every synthesiser gives and takes: speech with the times of its words, and voices that belong to one split."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from speechgru.errors import ConfigError

# Shares of the voices; no voice is in two splits.
SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}


class Word(NamedTuple):
    """When a word is spoken, in seconds from the first sample: without the pause that follows it."""

    start_s: float
    end_s: float
    text: str


class Speech(NamedTuple):
    """Synthesised speech.

    Attributes:
        waveform: float32 samples, ``(samples,)``, full scale at 1.
        sample_rate: in Hz, 22050 for every voice of espeak-ng's own, 24000 for Kokoro's.
        words: the words with their times, in order. What is spoken as one unit ("of the"; with Kokoro the whole text)
            is one entry.
    """

    waveform: np.ndarray
    sample_rate: int
    words: list[Word]


class Synthesiser(Protocol):
    """A component of the family "synthesiser": ``Synthesiser(config)``."""

    def voices(self, split: str, count: int) -> list[str]:
        """The voices of a split in a corpus of ``count`` voices; a larger count adds voices and changes none.

        Raises:
            ConfigError: fewer than 10, or more than there are.
        """

    def speak(
        self, text: str, voice: str, *, rate_wpm: int = 175, pitch: int = 50, pitch_range: int = 50, seed: int = 0
    ) -> Speech:
        """Speaks a text; the same arguments give the same samples. As :func:`speechgru.synthesis.speak`."""


def share_of(split: str, count: int, most: int) -> int:
    """How many of ``count`` voices a split has.

    Raises:
        ConfigError: not from 10 to ``most``, or no such split.
    """
    if split not in SHARES:
        raise ConfigError(f"split {split!r} is not known (known: {', '.join(SHARES)})")
    if not 10 <= count <= most:
        raise ConfigError(f"voices={count}: from 10 to {most}")
    return part_of(split, count)


def part_of(split: str, count: int) -> int:
    """How many of ``count`` a split has, by the shares of the voices."""
    parts = {name: round(SHARES[name] * count) for name in ("valid", "test")}
    return parts.get(split, count - sum(parts.values()))
