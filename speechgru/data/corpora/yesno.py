"""Yesno (waves_yesno): one speaker says yes or no eight times in a row, the smallest corpus of connected speech.

- Licence: none stated; made for the Kaldi project, to be used freely (OpenSLR SLR1).
- Size: 60 recordings of eight words, 8 kHz, 6 minutes, 5 MB.
- URL: https://www.openslr.org/resources/1/waves_yesno.tar.gz
- Layout: ``waves_yesno/0_1_0_0_1_1_1_1.wav`` (.flac works too), the words in the name: 1 is yes, 0 is no.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from speechgru.data.corpora.corpus import Corpus, check_split, existing_root, refuse_occupied
from speechgru.data.label_folders import recordings_in
from speechgru.data.splits import hash_percent
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register

URL = "https://www.openslr.org/resources/1/waves_yesno.tar.gz"
RECORDINGS = 60
WORDS = {"0": "NO", "1": "YES"}


@dataclasses.dataclass
class YesnoConfig:
    """How the recordings are divided.

    Attributes:
        root: the folder that holds ``waves_yesno``, or the recordings themselves.
        valid_recordings: recordings of the training half held out for validation, 1 to 20.
    """

    root: str = "data/yesno"
    valid_recordings: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.valid_recordings <= 20:
            raise ConfigError(f"valid_recordings={self.valid_recordings}: from 1 to 20")


@register("data", "yesno", YesnoConfig)
class Yesno(Corpus):
    """Yesno as transcripts: the 29 recordings that begin with a yes are the test; the others are for training.

    Of these, ``valid_recordings`` are held out for validation, drawn by a hash of their names so that they are always
    the same. There is one speaker, who is in all splits.

    Args:
        config: see :class:`YesnoConfig`.
    """

    sample_rate = 8000

    def labels(self) -> None:
        """None: Yesno has transcripts."""
        return

    def utterances(self, split: str) -> list[Utterance]:
        """The recordings of a split, sorted by name."""
        check_split(split)
        found = self._recordings()
        rest = sorted((name for name in found if name[0] == "0"), key=hash_percent)
        names = {
            "test": [name for name in found if name[0] == "1"],
            "valid": sorted(rest[: self.config.valid_recordings]),
            "train": sorted(rest[self.config.valid_recordings :]),
        }[split]
        if not names:
            raise DataError(f"{self.config.root}: no recordings in the {split} split; is the folder complete?")
        return [Utterance(found[name], text=_text(name), speaker="yesno") for name in names]

    def _recordings(self) -> dict[str, str]:
        """The recordings by name."""
        root = existing_root(self.config.root, "yesno")
        folder = root / "waves_yesno" if (root / "waves_yesno").is_dir() else root
        found = {name: path for name, path in recordings_in(folder).items() if re.fullmatch("[01](_[01])+", name)}
        if not found:
            raise DataError(f"{folder}: no recordings named like 0_1_0_0_1_1_1_1.wav; run `speechgru prepare yesno`")
        return found

    def prepare(self, progress: bool = True) -> None:
        """Download the corpus (5 MB) to ``config.root``; does nothing if its 60 recordings are there.

        The server states no checksum, so the recordings are counted instead.
        """
        from speechgru.data.download import fetch_archive

        root = Path(os.path.expanduser(self.config.root))
        if not (root.is_dir() and any(root.glob("**/[01]_[01]_*"))):
            refuse_occupied(root, ["waves_yesno"])
            fetch_archive(URL, root, progress=progress)
        count = len(self._recordings())
        if count != RECORDINGS:
            raise DataError(f"{root}: {count} recordings instead of {RECORDINGS}; remove the folder and prepare again")


def _text(name: str) -> str:
    return " ".join(WORDS[digit] for digit in name.split("_"))
