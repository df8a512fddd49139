"""Arabic digits: zero to nine in Arabic by 30 speakers, of the Arabic Speech Commands Dataset.

- Licence: CC BY 4.0 (Abdulkader Ghandoura).
- Size: 3,000 clips of a second, 16 kHz, 50 minutes; the archive holds 12,000 clips of 40 words, 384 MB unpacked.
- URL: https://github.com/abdulkaderghandoura/arabic-speech-commands-dataset
- Layout: ``dataset/<word>/<speaker>_NO_<take>.wav``, the words in English (zero, one ...); ``dataset`` may be missing,
  .flac and .ogg work too.

Source: A. Ghandoura, F. Hjabo, O. Al Dakkak, "Building and benchmarking an Arabic Speech Commands dataset for
small-footprint keyword spotting", Engineering Applications of Artificial Intelligence 102, 2021.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from speechgru.data.corpora.corpus import Corpus, check_split, existing_root, refuse_occupied
from speechgru.data.label_folders import recordings_in
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.registry import register

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# The speakers of the lists that come with the dataset; all others are for training.
HELD_OUT = {
    "valid": {"00000002", "00000007", "00000008", "00000012", "00000021", "00000025"},
    "test": {"00000003", "00000004", "00000010", "00000014", "00000026", "00000028"},
}
URL = "https://github.com/abdulkaderghandoura/arabic-speech-commands-dataset/archive/master.zip"
RECORDINGS = 3000


@dataclasses.dataclass
class ArabicDigitsConfig:
    """Where the recordings are.

    Attributes:
        root: the folder that holds ``dataset``, or the folders of the words themselves.
    """

    root: str = "data/arabic_digits"


@register("data", "arabic_digits", ArabicDigitsConfig)
class ArabicDigits(Corpus):
    """Ten Arabic digits, split by the dataset's own lists: 18 speakers for training, 6 for validation, 6 for the test.

    Labels are the English words, so that the corpus can be joined with others of digits. No speaker is in two splits.

    Args:
        config: see :class:`ArabicDigitsConfig`.
    """

    def labels(self) -> list[str]:
        """zero ... nine."""
        return list(DIGITS)

    def utterances(self, split: str) -> list[Utterance]:
        """The recordings of a split, digit by digit, each sorted by file name."""
        check_split(split)
        found = [one for one in _recordings(existing_root(self.config.root, "arabic_digits")) if _split(one) == split]
        if not found:
            raise DataError(f"{self.config.root}: no recordings in the {split} split; is the folder complete?")
        return found

    def prepare(self, progress: bool = True) -> None:
        """Download the dataset to ``config.root``; does nothing if the 3,000 recordings of digits are there.

        GitHub packs the archive anew on demand, so no checksum of it can be relied on: the recordings are counted
        instead.
        """
        from speechgru.data.download import fetch_archive

        root = Path(os.path.expanduser(self.config.root))
        if not any((folder / word).is_dir() for folder in (root, root / "dataset") for word in DIGITS):
            refuse_occupied(root, ["dataset"])
            fetch_archive(URL, root, only=("dataset",), strip=1, progress=progress)
        count = len(_recordings(root))
        if count != RECORDINGS:
            refuse_occupied(root, [f"{RECORDINGS - count} of {RECORDINGS} recordings"])


def _split(one: Utterance) -> str:
    return next((split for split, speakers in HELD_OUT.items() if one.speaker in speakers), "train")


def _recordings(root: Path) -> list[Utterance]:
    folder = root / "dataset" if (root / "dataset").is_dir() else root
    found = []
    for word in DIGITS:
        for stem, path in recordings_in(folder / word).items() if (folder / word).is_dir() else ():
            match = re.fullmatch(r"([0-9]{8})_NO_[0-9]+", stem)
            if match:
                found.append(Utterance(path, text=word, label=word, speaker=match[1]))
    if not found:
        raise DataError(
            f"{folder}: no recordings named <word>/<speaker>_NO_<take>.wav; run `speechgru prepare arabic_digits`"
        )
    return found
