"""The corpora, one file each; importing this package registers them in the family "data"."""

from speechgru.data.corpora import folder, fsdd, manifest, speech_commands, synth
from speechgru.data.corpora.corpus import Corpus

__all__ = ["Corpus", "folder", "fsdd", "manifest", "speech_commands", "synth"]
