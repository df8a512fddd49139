"""Free Spoken Digit Dataset: the ten English digits, 6 speakers, 50 takes each.

- Licence: CC BY-SA 4.0 (Zohar Jackson and contributors).
- Size: 3,000 recordings, 8 kHz, about 22 minutes, 16 MB.
- URL: https://github.com/Jakobovski/free-spoken-digit-dataset, release v1.0.10.
- Layout: ``recordings/<digit>_<speaker>_<take>.wav`` (.flac and other formats soundfile reads work too).

Labels are the words zero ... nine, so that FSDD can be joined with other corpora of digits.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from speechgru.data.corpora.corpus import Corpus, check_split, existing_root, refuse_occupied
from speechgru.data.label_folders import recordings_in
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEST_TAKES = 5
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"
RECORDINGS = 3000


@dataclasses.dataclass
class FSDDConfig:
    """How the takes are divided.

    Attributes:
        root: the folder that holds ``recordings``.
        held_out_speaker: empty for the official split; a speaker's name to test on that speaker alone.
        valid_takes: takes of every digit and speaker held out for validation, 1 to 40.
    """

    root: str = "data/fsdd"
    held_out_speaker: str = ""
    valid_takes: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.valid_takes <= 40:
            raise ConfigError(f"valid_takes={self.valid_takes}: from 1 to 40")


@register("data", "fsdd", FSDDConfig)
class FSDD(Corpus):
    """FSDD as a ten-class task, in one of two splits.

    Official (``held_out_speaker`` empty): takes 0-4 are the test, as the dataset's README says; the next
    ``valid_takes`` (5-9) are for validation, the rest for training. All speakers are in all splits.

    Leave one speaker out: all 50 takes of ``held_out_speaker`` are the test. Of the other speakers, takes 0 to
    ``valid_takes - 1`` are for validation and the rest for training, so nothing of the held-out speaker is seen before
    the test.

    Args:
        config: see :class:`FSDDConfig`.
    """

    sample_rate = 8000

    def __init__(self, config: FSDDConfig):
        super().__init__(config)
        self.fold = config.held_out_speaker

    def labels(self) -> list[str]:
        """zero ... nine."""
        return list(DIGITS)

    def speakers(self) -> list[str]:
        """The speakers, sorted, as found in the file names."""
        return sorted({one.speaker for one, _ in self._recordings()})

    def utterances(self, split: str) -> list[Utterance]:
        """The recordings of a split, sorted by file name."""
        check_split(split)
        held_out = self.config.held_out_speaker
        if held_out and held_out not in (speakers := self.speakers()):
            raise DataError(f"data.held_out_speaker={held_out} is not a speaker of FSDD (known: {', '.join(speakers)})")
        found = [one for one, take in self._recordings() if self._split(one.speaker, take) == split]
        if not found:
            raise DataError(f"{self.config.root}: no recordings in the {split} split; is the folder complete?")
        return found

    def _split(self, speaker: str, take: int) -> str:
        if self.config.held_out_speaker:
            if speaker == self.config.held_out_speaker:
                return "test"
            return "valid" if take < self.config.valid_takes else "train"
        if take < TEST_TAKES:
            return "test"
        return "valid" if take < TEST_TAKES + self.config.valid_takes else "train"

    def _recordings(self) -> list[tuple[Utterance, int]]:
        folder = existing_root(self.config.root, "fsdd") / "recordings"
        found = []
        for stem, path in recordings_in(folder).items() if folder.is_dir() else ():
            match = re.fullmatch(r"([0-9])_(.+)_([0-9]+)", stem)
            if match:
                word = DIGITS[int(match[1])]
                found.append((Utterance(path, text=word, label=word, speaker=match[2]), int(match[3])))
        if not found:
            raise DataError(f"{folder}: no recordings named <digit>_<speaker>_<take>.wav; run `speechgru prepare fsdd`")
        return found

    def prepare(self, progress: bool = True) -> None:
        """Download release v1.0.10 (16 MB) to ``config.root``; does nothing if its 3,000 recordings are there.

        GitHub packs the archive anew on demand, so no checksum of it can be relied on: the recordings are counted
        instead.
        """
        from speechgru.data.download import fetch_archive

        root = Path(os.path.expanduser(self.config.root))
        if _count(root) < RECORDINGS:
            refuse_occupied(root, ["recordings/*"])
            fetch_archive(URL, root, only=("recordings",), strip=1, progress=progress)
        if _count(root) != RECORDINGS:
            raise DataError(
                f"{root}: {_count(root)} recordings instead of {RECORDINGS}; remove the folder and prepare again"
            )


def _count(root: Path) -> int:
    folder = root / "recordings"
    return len(recordings_in(folder)) if folder.is_dir() else 0
