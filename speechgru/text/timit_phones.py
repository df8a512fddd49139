"""The phones of TIMIT: 61 in its transcripts, 48 to learn, 39 to score, as in Lee and Hon (1989)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from speechgru.errors import DataError
from speechgru.registry import register
from speechgru.text.normalization import Step
from speechgru.text.units import Units, UnitsConfig
from speechgru.tokens import Tokens

# Of the 61, those that are learned as another; the glottal stop q is left out.
_LEARNED_AS = {
    "ax-h": "ax",
    "axr": "er",
    "em": "m",
    "eng": "ng",
    "hv": "hh",
    "nx": "n",
    "ux": "uw",
    **dict.fromkeys(("pcl", "tcl", "kcl"), "cl"),
    **dict.fromkeys(("bcl", "dcl", "gcl"), "vcl"),
    **dict.fromkeys(("h#", "pau"), "sil"),
}
_LEFT_OUT = "q"
# fmt: off
LEARNED = (
    "aa", "ae", "ah", "ao", "aw", "ax", "ay", "b", "ch", "cl", "d", "dh", "dx", "eh", "el", "en", "epi", "er", "ey",
    "f", "g", "hh", "ih", "ix", "iy", "jh", "k", "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "sil", "t",
    "th", "uh", "uw", "v", "vcl", "w", "y", "z", "zh",
)
# fmt: on
# Of the 48, those that are scored as another.
_SCORED_AS = {
    "ao": "aa",
    "ax": "ah",
    "el": "l",
    "en": "n",
    "ix": "ih",
    "zh": "sh",
    **dict.fromkeys(("cl", "vcl", "epi"), "sil"),
}


@dataclasses.dataclass
class TimitPhonesConfig(UnitsConfig):
    """Settings of TIMIT's phones as units; they are written in small letters, so there is nothing to normalise."""

    normalization: list[Step] = dataclasses.field(default_factory=list)


@register("units", "timit_phones", TimitPhonesConfig)
class TimitPhones(Units):
    """48 phones are tokens; each counts as a word by the name it is scored under, so the word error rate is the PER.

    Source: Lee and Hon, Speaker-independent phone recognition using hidden Markov models, IEEE Transactions on
    Acoustics, Speech and Signal Processing 37(11), 1989, tables I and II.
    """

    gives_words = False

    def inventory(self, transcripts: list[str]) -> list[str]:
        """All 48, whether the transcripts have them or not."""
        return list(LEARNED) if any(transcripts) else []

    def split(self, text: str) -> list[str]:
        """A transcript in the 61 phones (or already in the 48), as phones of the 48."""
        phones = [phone for phone in text.split() if phone != _LEFT_OUT]
        strange = [phone for phone in phones if phone not in _LEARNED_AS and phone not in LEARNED]
        if strange:
            raise DataError(f"{', '.join(map(repr, dict.fromkeys(strange)))} not among the phones of TIMIT")
        return [_LEARNED_AS.get(phone, phone) for phone in phones]

    def words(self, indices: Sequence[int], tokens: Tokens) -> list[tuple[str, int, int]]:
        """Each phone as a word of its own, one of the 39."""
        names = [tokens.names[index] for index in indices]
        return [(_SCORED_AS.get(name, name), place, place + 1) for place, name in enumerate(names)]
