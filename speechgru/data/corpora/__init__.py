"""The corpora, one file each; importing this package registers them in the family "data"."""

from speechgru.data.corpora import an4, folder, fsdd, manifest, speech_commands, synth, yesno
from speechgru.data.corpora.corpus import Corpus

__all__ = ["Corpus", "an4", "folder", "fsdd", "manifest", "speech_commands", "synth", "yesno"]
