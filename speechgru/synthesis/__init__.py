"""Text into speech: the synthesisers, a file each; importing this package registers them in "synthesiser"."""

from speechgru.synthesis.espeak import Espeak, EspeakConfig
from speechgru.synthesis.espeak_ng import ACCENTS, pronounce, speak, variants
from speechgru.synthesis.kokoro import Kokoro, KokoroConfig
from speechgru.synthesis.speech import Speech, Synthesiser, Word

__all__ = [
    "ACCENTS",
    "Espeak",
    "EspeakConfig",
    "Kokoro",
    "KokoroConfig",
    "Speech",
    "Synthesiser",
    "Word",
    "pronounce",
    "speak",
    "variants",
]
