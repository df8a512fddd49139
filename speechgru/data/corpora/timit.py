"""TIMIT: sentences of 630 American speakers, transcribed phone by phone; the classic test of phone recognition.

- Licence: LDC User Agreement; a copy of your own is needed (LDC93S1).
- Size: 3,696 training sentences of 462 speakers, 400 of 50 to choose on, 192 of 24 in the core test; 16 kHz, 440 MB.
- URL: https://catalog.ldc.upenn.edu/LDC93S1
- Layout: ``TRAIN/DR1/FCJF0/SI1027.WAV`` (NIST SPHERE; .flac and ``SI1027.WAV.wav`` work too) with ``SI1027.PHN`` and
  ``SI1027.TXT`` beside it and ``TEST`` beside ``TRAIN``; names in capitals or not, all below ``TIMIT`` or not.

The dialect sentences SA1 and SA2, which every speaker reads, are in no split.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import os
from pathlib import Path

from speechgru.data.corpora.corpus import Corpus, check_split
from speechgru.data.label_folders import recordings_in
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.registry import register
from speechgru.text_files import read_lines

# fmt: off
# The core test set of TIMIT's own documentation (testset.doc): two men and a woman of each dialect region.
CORE_TEST = {
    "mdab0", "mwbt0", "felc0", "mtas1", "mwew0", "fpas0", "mjmp0", "mlnt0", "fpkt0", "mlll0", "mtls0", "fjlm0",
    "mbpm0", "mklt0", "fnlp0", "mcmj0", "mjdh0", "fmgd0", "mgrt0", "mnjm0", "fdhc0", "mjln0", "mpam0", "fmld0",
}
# The development set of Halberstadt (Heterogeneous acoustic measurements and multiple classifiers, MIT 1998): 50 other
# speakers of the full test set.
DEVELOPMENT = {
    "faks0", "fdac1", "fjem0", "mgwt0", "mjar0", "mmdb1", "mmdm2", "mpdf0", "fcmh0", "fkms0", "mbdg0", "mbwm0",
    "mcsh0", "fadg0", "fdms0", "fedw0", "mgjf0", "mglb0", "mrtk0", "mtaa0", "mtdt0", "mthc0", "mwjg0", "fnmr0",
    "frew0", "fsem0", "mbns0", "mmjr0", "mdls0", "mdlf0", "mdvc0", "mers0", "fmah0", "fdrw0", "mrcs0", "mrjm4",
    "fcal1", "mmwh0", "fjsj0", "majc0", "mjsw0", "mreb0", "fgjd0", "fjmg0", "mroa0", "mteb0", "mjfc0", "mrjr0",
    "fmml0", "mrws1",
}
# fmt: on
SENTENCES = {"train": 3696, "valid": 400, "test": 192}


class Transcript(enum.Enum):
    """What the transcripts are: the 61 phones of the .PHN files, or the words of the .TXT files."""

    phones = "phones"
    words = "words"


@dataclasses.dataclass
class TimitConfig:
    """Where the copy is and what is learned.

    Attributes:
        root: the folder that holds ``TRAIN`` and ``TEST``, or one above it.
        transcript: phones (for units=timit_phones) or words.
    """

    root: str = "data/timit"
    transcript: Transcript = Transcript.phones


@register("data", "timit", TimitConfig)
class Timit(Corpus):
    """TIMIT as transcripts: valid and test are speakers of its test set, the 50 of Halberstadt and the core 24.

    Args:
        config: see :class:`TimitConfig`.
    """

    def labels(self) -> None:
        """None: TIMIT has transcripts."""
        return

    def utterances(self, split: str) -> list[Utterance]:
        """The sentences of a split, by dialect region, speaker and sentence."""
        check_split(split)
        root = Path(os.path.expanduser(self.config.root))
        found = [
            one
            for one in _read(root, "train" if split == "train" else "test", self.config.transcript)
            if split == "train" or one.speaker in {"valid": DEVELOPMENT, "test": CORE_TEST}[split]
        ]
        if not found:
            raise DataError(f"{root}: no sentence of the {split} split; is the copy complete?")
        return found

    def prepare(self, progress: bool = True) -> None:
        """Count the sentences of the copy in ``config.root``; TIMIT cannot be downloaded."""
        counts = {split: len(self.utterances(split)) for split in SENTENCES}
        if counts != SENTENCES:
            raise DataError(f"{self.config.root}: {counts} sentences instead of {SENTENCES}; copy the disc again")


@functools.cache
def _read(root: Path, part: str, transcript: Transcript) -> tuple[Utterance, ...]:
    """The sentences of TRAIN or TEST except the dialect sentences."""
    found = []
    for speaker in _speakers(_part(root, part)):
        files = {path.name.lower(): path for path in speaker.iterdir()}
        # Copies that were converted are called SI1027.WAV.wav.
        audio = {name.lower().removesuffix(".wav"): path for name, path in recordings_in(speaker).items()}
        for name in sorted(audio):
            if name.startswith(("si", "sx")):
                text = _text(files, f"{name}.{'phn' if transcript is Transcript.phones else 'txt'}", speaker)
                found.append(Utterance(audio[name], text=text, speaker=speaker.name.lower()))
    return tuple(found)


def _part(root: Path, part: str) -> Path:
    """The folder TRAIN or TEST, in ``root`` or in the folder TIMIT in it."""
    for folder in (root, *_folders(root, "timit")):
        for found in _folders(folder, part):
            return found
    raise DataError(
        f"{root.absolute()}: no folder {part.upper()} of TIMIT; put a copy there (LDC93S1, "
        "https://catalog.ldc.upenn.edu/LDC93S1), or say where it is with data.root=FOLDER"
    )


def _folders(root: Path, name: str) -> list[Path]:
    """The folders of that name, in capitals or not."""
    return [path for path in sorted(root.glob("*")) if path.name.lower() == name and path.is_dir()]


def _speakers(part: Path) -> list[Path]:
    regions = [path for path in part.iterdir() if path.name.lower().startswith("dr") and path.is_dir()]
    return sorted(path for region in regions for path in region.iterdir() if path.is_dir())


def _text(files: dict[str, Path], name: str, speaker: Path) -> str:
    """The third column of a .PHN file, or the sentence of a .TXT file."""
    if name not in files:
        raise DataError(f"{speaker / name}: is not there, and its recording is; copy the disc again")
    path = files[name]
    rows = [line.split(maxsplit=2) for line in read_lines(path) if line.strip()]
    if not rows or any(len(row) != 3 for row in rows):
        raise DataError(f"{path}: is not 'FIRST LAST TEXT' line by line; copy the disc again")
    return " ".join(row[2].strip() for row in rows)
