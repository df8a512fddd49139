"""Characters: letters, digits, marks, and a token for the space between words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from speechgru.errors import DataError
from speechgru.registry import register
from speechgru.text.units import SPACE, Units, UnitsConfig
from speechgru.tokens import Tokens


@dataclasses.dataclass
class CharactersConfig(UnitsConfig):
    """Settings of characters as units."""


@register("units", "characters", CharactersConfig)
class Characters(Units):
    """Every code point of the transcripts is a token; the space is written ``|``."""

    def inventory(self, transcripts: list[str]) -> list[str]:
        """The space, then the characters, sorted."""
        found = sorted({symbol for text in transcripts for symbol in self.split(text)} - {SPACE})
        return [SPACE, *found] if found else []

    def split(self, text: str) -> list[str]:
        """The characters."""
        if SPACE in text:
            raise DataError(f"{SPACE!r} stands for the space between words; take it out, or add units.normalization")
        return list(text.replace(" ", SPACE))

    def words(self, indices: Sequence[int], tokens: Tokens) -> list[tuple[str, int, int]]:
        """What is between spaces; there may be several spaces in a row."""
        found = []
        start, letters = 0, ""
        for place, index in enumerate([*indices, tokens.index(SPACE)]):
            name = tokens.names[index]
            if name != SPACE:
                letters += name
                continue
            if letters:
                found.append((letters, start, place))
            start, letters = place + 1, ""
        return found
