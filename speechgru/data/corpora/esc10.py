"""ESC-10: ten kinds of environmental sound, forty clips of five seconds each, in five folds.

- Licence: CC BY 3.0 (Karol J. Piczak; the README of the dataset credits the author of every clip).
- Size: 400 clips, 33 minutes, 44.1 kHz, about 40 MB.
- URL: https://github.com/karolpiczak/ESC-10
- Layout: ``<number> - <class>/<fold>-<freesound clip>-<take>.ogg`` (``001 - Dog bark/1-30226-A.ogg``); the class alone
  as the name of the folder (``dog_bark``) works too, and so do .wav and .flac.

Source: K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015, pp. 1015-1018.
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

CLASSES = [
    "dog_bark",
    "rain",
    "sea_waves",
    "baby_cry",
    "clock_tick",
    "person_sneeze",
    "helicopter",
    "chainsaw",
    "rooster",
    "fire_crackling",
]
FOLDS = 5
URL = "https://github.com/karolpiczak/ESC-10/archive/master.zip"
RECORDINGS = 400


@dataclasses.dataclass
class ESC10Config:
    """Which fold is tested.

    Attributes:
        root: the folder with a folder for each class.
        fold: the fold to test on, 1 to 5; the one before it (5 before 1) is for validation, the other three are for
            training. ``--multirun data.fold=1,2,3,4,5`` trains a model for each.
    """

    root: str = "data/esc10"
    fold: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.fold <= FOLDS:
            raise ConfigError(f"fold={self.fold}: from 1 to {FOLDS}")


@register("data", "esc10", ESC10Config)
class ESC10(Corpus):
    """ESC-10 as a ten-class task, one of its five folds held out; clips cut from one recording are in one fold.

    Models work at 16 kHz, so sound above 8 kHz is lost.

    Args:
        config: see :class:`ESC10Config`.
    """

    def __init__(self, config: ESC10Config):
        super().__init__(config)
        self.fold = f"{config.fold} of {FOLDS}"

    def labels(self) -> list[str]:
        """The classes in the order of the dataset: dog_bark ... fire_crackling."""
        return list(CLASSES)

    def utterances(self, split: str) -> list[Utterance]:
        """The clips of a split in class order, each class sorted by file name."""
        check_split(split)
        test = self.config.fold
        valid = test - 1 or FOLDS
        wanted = {"test": {test}, "valid": {valid}, "train": set(range(1, FOLDS + 1)) - {test, valid}}[split]
        found = [one for one, fold in _clips(existing_root(self.config.root, "esc10")) if fold in wanted]
        if not found:
            raise DataError(f"{self.config.root}: no recordings in the {split} split; is the folder complete?")
        return found

    def prepare(self, progress: bool = True) -> None:
        """Download the dataset (40 MB) to ``config.root``; does nothing if its 400 clips are there.

        GitHub packs the archive anew on demand, so no checksum of it can be relied on: the clips are counted instead.
        """
        from speechgru.data.download import fetch_archive

        root = Path(os.path.expanduser(self.config.root))
        folders = _folders(root) if root.is_dir() else {}
        missing = [label for label in CLASSES if label not in folders]
        if missing:
            refuse_occupied(root, missing)
            fetch_archive(URL, root, strip=1, progress=progress)
        count = len(_clips(root))
        if count != RECORDINGS:
            refuse_occupied(root, [f"{RECORDINGS - count} of {RECORDINGS} clips"])


def _clips(root: Path) -> list[tuple[Utterance, int]]:
    """All clips with their folds.

    Raises:
        DataError: the folder of a class is missing, or no clip has the name of one.
    """
    folders = _folders(root)
    missing = [label for label in CLASSES if label not in folders]
    if missing:
        raise DataError(f"{root}: no folder of the class {missing[0]}; run `speechgru prepare esc10`")
    found = []
    for label in CLASSES:
        for stem, path in recordings_in(folders[label]).items():
            match = re.fullmatch(rf"([1-{FOLDS}])-[0-9]+-[A-Z]", stem)
            if match:
                found.append((Utterance(path, label=label), int(match[1])))
    if not found:
        raise DataError(f"{root}: no clips named <fold>-<number>-<letter>.ogg; run `speechgru prepare esc10`")
    return found


def _folders(root: Path) -> dict[str, Path]:
    """The folders in ``root`` by class: ``001 - Dog bark`` is that of ``dog_bark``."""
    folders = [one for one in sorted(root.iterdir()) if one.is_dir()]
    return {re.sub(r"^[0-9]+ - ", "", one.name).lower().replace(" ", "_"): one for one in folders}
