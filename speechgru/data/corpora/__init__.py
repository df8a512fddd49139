"""The corpora, one file each; importing this package registers them in the family "data"."""

from speechgru.data.corpora import fsdd, speech_commands
from speechgru.data.corpora.corpus import SPLITS, Corpus

__all__ = ["SPLITS", "Corpus", "fsdd", "speech_commands"]
