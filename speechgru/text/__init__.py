"""Text: how transcripts are normalised, and the units (characters, words, phones, sub-words) they are written in."""

from speechgru.text.characters import Characters, CharactersConfig
from speechgru.text.normalization import Step, normalize
from speechgru.text.phones import Phones, PhonesConfig
from speechgru.text.pronunciation import read_pronunciations
from speechgru.text.subwords import Subwords, SubwordsConfig
from speechgru.text.timit_phones import TimitPhones, TimitPhonesConfig
from speechgru.text.units import BLANK, SPACE, Units, UnitsConfig
from speechgru.text.words import Words, WordsConfig

__all__ = [
    "BLANK",
    "SPACE",
    "Characters",
    "CharactersConfig",
    "Phones",
    "PhonesConfig",
    "Step",
    "Subwords",
    "SubwordsConfig",
    "TimitPhones",
    "TimitPhonesConfig",
    "Units",
    "UnitsConfig",
    "Words",
    "WordsConfig",
    "normalize",
    "read_pronunciations",
]
