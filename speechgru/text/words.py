"""Whole words, for small vocabularies, and whatever else transcripts separate by spaces, such as TIMIT's phones."""

from __future__ import annotations

import dataclasses

from speechgru.registry import register
from speechgru.text.units import Units, UnitsConfig


@dataclasses.dataclass
class WordsConfig(UnitsConfig):
    """Settings of words as units."""


@register("units", "words", WordsConfig)
class Words(Units):
    """Every word of the transcripts is a token."""

    def inventory(self, transcripts: list[str]) -> list[str]:
        """The words, sorted."""
        return sorted({word for text in transcripts for word in text.split()})

    def split(self, text: str) -> list[str]:
        """The words."""
        return text.split()
