"""Read English: four readers, two hours of LibriSpeech and LJ Speech, between AN4 and LibriSpeech's hundred hours.

- Licence: LibriSpeech is CC BY 4.0 (Vassil Panayotov and others, 2015); LJ Speech is in the public domain.
- Size: 751 recordings of 1.9 hours; the archives that hold them are 10 GB to download.
- URL: https://www.openslr.org/12 and https://keithito.com/LJ-Speech-Dataset
- Layout: a folder that holds ``librispeech`` and ``lj_speech`` (or links to them), each as published, or with a table
  ``manifest.tsv`` that has the columns audio, text and speaker. The recordings keep their names.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from speechgru.data.corpora.corpus import Corpus, check_split, existing_root
from speechgru.data.corpora.librispeech import LibriSpeech, LibriSpeechConfig
from speechgru.data.label_folders import recordings_in
from speechgru.data.splits import hash_percent
from speechgru.data.table import read_table
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register
from speechgru.text_files import read_lines

LIBRISPEECH, LJ_SPEECH = "librispeech", "lj_speech"
LJ_URL = "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2"
LJ_SHA256 = "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5"
RECORDINGS = {LIBRISPEECH: 367, LJ_SPEECH: 384}
# Speaker 27 is not in training: one chapter is for validation, the other one for the test.
_LIBRISPEECH = {"19": "train", "26": "train", "27-123349": "valid", "27-124992": "test"}
# Of LJ's sentences, the first of a book are for training, in the order they are read.
_LAST_OF_LJ = {"train": "LJ002-0099", "valid": "LJ002-0149", "test": "LJ002-0199"}


@dataclasses.dataclass
class ReadEnglishConfig:
    """Where the recordings are, how many are for training, and what is tested.

    Attributes:
        root: the folder that holds ``librispeech`` and ``lj_speech``.
        train_percent: percentage of the training recordings that are used, above 0 to 100, to see what more of them
            bring.
        test: what the test split is made of: librispeech, lj_speech, or another folder of ``root`` that has a table
            ``manifest.tsv``, from which the rows of the test split are used.
    """

    root: str = "data/read_english"
    train_percent: float = 100.0
    test: list[str] = dataclasses.field(default_factory=lambda: [LIBRISPEECH, LJ_SPEECH])

    def __post_init__(self) -> None:
        if not 0 < self.train_percent <= 100:
            raise ConfigError(f"train_percent={self.train_percent:g}: above 0 and up to 100")
        if not self.test or len(set(self.test)) != len(self.test):
            raise ConfigError(f"test=[{','.join(self.test)}]: at least one corpus, each once")


@register("data", "read_english", ReadEnglishConfig)
class ReadEnglish(Corpus):
    """A little of LibriSpeech and LJ Speech as transcripts; no text is in two splits, one reader is not in training.

    The training split is the speakers 19 and 26 of LibriSpeech's train-clean-100 and LJ001-0001 to LJ002-0099. The
    validation split is chapter 123349 of speaker 27 and the next 50 sentences of LJ Speech. The test split is chapter
    124992 of speaker 27 and the 50 sentences after those.

    Args:
        config: see :class:`ReadEnglishConfig`.
    """

    def __init__(self, config: ReadEnglishConfig):
        super().__init__(config)
        self.test_of = list(config.test)

    def labels(self) -> None:
        """None: the corpus has transcripts."""
        return

    def utterances(self, split: str) -> list[Utterance]:
        """The recordings of a split, corpus by corpus, each sorted by name."""
        check_split(split)
        root = existing_root(self.config.root, "read_english")
        corpora = self.config.test if split == "test" else [LIBRISPEECH, LJ_SPEECH]
        found = [one for corpus in corpora for one in self._of(root, corpus, split)]
        if split == "train":
            found = [one for one in found if hash_percent(Path(one.audio).stem) < self.config.train_percent]
        if not found:
            raise DataError(f"{root}: no recordings in the {split} split; run `speechgru prepare read_english`")
        return found

    def prepare(self, progress: bool = True) -> None:
        """Download both corpora (10 GB) below ``config.root``; does nothing if they are there.

        Each archive is checked by its published checksum, and the recordings are counted.
        """
        from speechgru.data.download import fetch_archive

        root = Path(os.path.expanduser(self.config.root))
        if not (root / LIBRISPEECH / "manifest.tsv").is_file():
            LibriSpeech(LibriSpeechConfig(root=str(root / LIBRISPEECH))).prepare(progress)
        if not (root / LJ_SPEECH).is_dir():
            fetch_archive(LJ_URL, root / LJ_SPEECH, sha256=LJ_SHA256, strip=1, progress=progress)
        for corpus, expected in RECORDINGS.items():
            count = len(_recordings(root / corpus, corpus))
            if count < expected:
                raise DataError(
                    f"{root / corpus}: {count} of {expected} recordings; remove the folder and prepare again"
                )

    def _of(self, root: Path, corpus: str, split: str) -> list[Utterance]:
        folder = root / corpus
        if corpus in RECORDINGS:
            return [one for one in _recordings(folder, corpus) if _split(one) == split]
        if not (folder / "manifest.tsv").is_file():
            raise DataError(
                f"{folder / 'manifest.tsv'}: is not there; test=[{corpus}] names a folder with such a table"
            )
        return read_table(folder / "manifest.tsv").get(split, [])


def _recordings(folder: Path, corpus: str) -> list[Utterance]:
    """The recordings of the corpus that are in one of the splits, sorted by name."""
    if not folder.is_dir():
        raise DataError(f"{folder}: is not there; run `speechgru prepare read_english` or put {corpus} there")
    if (folder / "manifest.tsv").is_file():
        found = [one for rows in read_table(folder / "manifest.tsv").values() for one in rows]
    elif corpus == LIBRISPEECH:
        found = LibriSpeech(LibriSpeechConfig(root=str(folder))).utterances("train")
    else:
        found = _lj_speech(folder)
    return sorted((one for one in found if _split(one)), key=lambda one: Path(one.audio).stem)


def _lj_speech(folder: Path) -> list[Utterance]:
    """LJ Speech as published: ``metadata.csv`` with NAME|TEXT|TEXT IN WORDS, the recordings in ``wavs``."""
    recordings = recordings_in(folder / "wavs") if (folder / "wavs").is_dir() else {}
    found = []
    for number, line in enumerate(read_lines(folder / "metadata.csv"), 1):
        name, *texts = line.rstrip("\n").split("|")
        if not texts or name not in recordings:
            raise DataError(f"{folder / 'metadata.csv'}:{number}: is not NAME|TEXT|TEXT of a recording in wavs")
        found.append(Utterance(recordings[name], text=texts[-1].strip(), speaker="LJ"))
    return found


def _split(one: Utterance) -> str:
    """The split of a recording by its name; empty for one that is in none."""
    stem = Path(one.audio).stem
    if re.fullmatch(r"LJ[0-9]{3}-[0-9]{4}", stem):
        return next((split for split, last in _LAST_OF_LJ.items() if stem <= last), "")
    speaker, _, rest = stem.partition("-")
    return _LIBRISPEECH.get(speaker) or _LIBRISPEECH.get(f"{speaker}-{rest.partition('-')[0]}", "")
