"""Phones, through a pronunciation dictionary."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from speechgru.errors import ConfigError, DataError
from speechgru.registry import register
from speechgru.text.pronunciation import Pronunciations, format_pronunciations, read_pronunciations
from speechgru.text.units import Units, UnitsConfig

FILE = "pronunciations.txt"


@dataclasses.dataclass
class PhonesConfig(UnitsConfig):
    """Settings of phones as units.

    Attributes:
        dictionary: the pronunciation dictionary; a model folder brings its own.
        stress: keep the digits that mark stressed vowels.
        usual: pronunciations to prefer to the dictionary's first, each a word and its phones, such as ``A EY``.
    """

    dictionary: str = ""
    stress: bool = False
    usual: list[str] = dataclasses.field(default_factory=list)


@register("units", "phones", PhonesConfig)
class Phones(Units):
    """Every phone of the dictionary is a token; a transcript is written in the first pronunciation of its words.

    The phones of a sentence do not show where words end: without a decoder that knows the dictionary, each phone counts
    as a word, so that the word error rate is the phone error rate.
    """

    config: PhonesConfig
    gives_words = False

    @functools.cached_property
    def pronunciations(self) -> Pronunciations:
        """The pronunciations of every word; words are normalised as transcripts are.

        Raises:
            ConfigError: no dictionary is named.
            DataError: it cannot be read.
        """
        if not self.config.dictionary:
            raise ConfigError("units.dictionary is empty; phones need a pronunciation dictionary, such as cmudict")
        return self._read(self.config.dictionary)

    def _read(self, path: str | Path) -> Pronunciations:
        found: Pronunciations = {}
        for word, variants in read_pronunciations(path, stress=self.config.stress).items():
            word = self.normalize(word)
            if word and " " not in word:  # two words have their own entries
                known = found.setdefault(word, [])
                known += [phones for phones in variants if phones not in known]
        for entry in self.config.usual:
            word, *phones = entry.split() or [""]
            variants = found.get(self.normalize(word), [])
            if tuple(phones) not in variants:
                raise DataError(f"{path}: units.usual={entry!r} is not one of its pronunciations; add it there")
            variants.insert(0, variants.pop(variants.index(tuple(phones))))
        return found

    def inventory(self, transcripts: list[str]) -> list[str]:
        """The phones of the dictionary, sorted, whether the transcripts have them or not."""
        if not any(transcripts):
            return []
        return sorted({phone for variants in self.pronunciations.values() for phones in variants for phone in phones})

    def split(self, text: str) -> list[str]:
        """The phones of the words, in their first pronunciation."""
        words = text.split()
        missing = list(dict.fromkeys(word for word in words if word not in self.pronunciations))
        if missing:
            named = ", ".join(map(repr, missing[:5])) + (" ..." if len(missing) > 5 else "")
            raise DataError(f"{named} not in the pronunciation dictionary; add it there")
        return [phone for word in words for phone in self.pronunciations[word][0]]

    def files(self) -> dict[str, bytes]:
        """The dictionary, as it was read."""
        return {FILE: format_pronunciations(self.pronunciations).encode()}

    def restore(self, folder: Path) -> None:
        """Takes the model folder's dictionary instead of the one the config names."""
        self.pronunciations = self._read(folder / FILE)

    def portable_config(self) -> PhonesConfig:
        """Without the path of the dictionary."""
        return dataclasses.replace(self.config, dictionary="")
