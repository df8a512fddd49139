"""The corpora, one file each; importing this package registers them in the family "data"."""

from speechgru.data.corpora import (
    an4,
    arabic_digits,
    esc10,
    folder,
    fsdd,
    librispeech,
    manifest,
    read_english,
    shards,
    speakers,
    speech_commands,
    synth,
    synth_sentences,
    timit,
    wake_word,
    yesno,
)
from speechgru.data.corpora.corpus import Corpus

__all__ = [
    "Corpus",
    "an4",
    "arabic_digits",
    "esc10",
    "folder",
    "fsdd",
    "librispeech",
    "manifest",
    "read_english",
    "shards",
    "speakers",
    "speech_commands",
    "synth",
    "synth_sentences",
    "timit",
    "wake_word",
    "yesno",
]
