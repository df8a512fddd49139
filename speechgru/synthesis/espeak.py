"""The synthesiser ``espeak``: espeak-ng in eight accents of English, each in fifty-four voices."""

from __future__ import annotations

import dataclasses

from speechgru.registry import register
from speechgru.synthesis.espeak_ng import ACCENTS, speak
from speechgru.synthesis.speech import Speech, share_of

# espeak-ng's variants that sound like a person, one of each group of very similar ones (left out: robots, whispers,
# echoes).
# fmt: off
SPEAKERS = {
    "train": (
        "f1", "m2", "Alicia", "m4", "f3", "Diogo", "belinda", "m5", "f5", "Jacky", "grandma", "m6", "shelby", "m8",
        "zac", "Alex", "Lee", "Marco", "Mario", "Michael", "Mike", "Storm", "antonio", "boris", "david", "grandpa",
        "gustave", "iven4", "klatt4", "norbert", "pablo", "rob", "sandro", "victor",
    ),
    "valid": ("f4", "m1", "Andrea", "Denis", "anika", "ed", "quincy", "edward"),
    "test": ("f2", "m3", "Annie", "m7", "steph", "Gene", "linda", "Andy", "paul", "adam", "Nguyen", "travis"),
}
# fmt: on
MOST_VOICES = 380


@dataclasses.dataclass
class EspeakConfig:
    """The synthesiser espeak has no settings."""


@register("synthesiser", "espeak", EspeakConfig)
class Espeak:
    """espeak-ng (extra ``synth``; GPL-3.0, a program of its own): robotic, quick, and the same on every machine.

    A voice is an accent spoken by one of the variants (a vocal tract: "en-gb-scotland+f3"). Each variant belongs to one
    split; the accents are in all splits.

    Args:
        config: see :class:`EspeakConfig`.
    """

    def __init__(self, config: EspeakConfig | None = None) -> None:
        self.config = config or EspeakConfig()

    def voices(self, split: str, count: int) -> list[str]:
        """The voices of a split ("en-us+f3") in a corpus of ``count`` voices, 10 to 380."""
        share = share_of(split, count, MOST_VOICES)
        speakers = SPEAKERS[split]
        found = []
        for index in range(share):
            # The first round gives every speaker one accent, the next round the next accent.
            number, speaker = divmod(index, len(speakers))
            found.append(f"{ACCENTS[(speaker + number) % len(ACCENTS)]}+{speakers[speaker]}")
        return found

    def speak(
        self, text: str, voice: str, *, rate_wpm: int = 175, pitch: int = 50, pitch_range: int = 50, seed: int = 0
    ) -> Speech:
        """See :func:`speechgru.synthesis.speak`."""
        return speak(text, voice, rate_wpm=rate_wpm, pitch=pitch, pitch_range=pitch_range, seed=seed)
