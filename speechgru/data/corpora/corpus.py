"""What every corpus can do, whatever its layout on disk."""

from __future__ import annotations

import abc
import os
from pathlib import Path
from typing import Any

from speechgru.data.utterance import Utterance
from speechgru.errors import DataError

SPLITS = ("train", "valid", "test")
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aif", ".aiff", ".aifc", ".sph", ".w64"})


class Corpus(abc.ABC):
    """A set of recordings in three splits. Subclasses are registered in the family "data", one file each.

    Attributes:
        config: the settings; ``config.root`` is the folder of the corpus, relative to the working directory.
        sample_rate: the rate models of this corpus work at, in Hz.
    """

    sample_rate: int = 16000

    def __init__(self, config: Any):
        self.config = config

    @abc.abstractmethod
    def utterances(self, split: str) -> list[Utterance]:
        """The utterances of "train", "valid" or "test", always in the same order.

        Raises:
            DataError: the folder is not there or not what it should be, or there is no such split.
        """

    @abc.abstractmethod
    def labels(self) -> list[str] | None:
        """The class names in the order of a classifier's outputs; None for a corpus of transcripts."""

    def prepare(self, progress: bool = True) -> None:
        """Download or make the recordings below ``config.root``; done already is quick.

        Raises:
            DataError: the corpus cannot be fetched; the message says what to do instead.
        """
        raise DataError(f"{type(self).__name__} has nothing to prepare: point data.root at recordings of your own")


def check_split(split: str) -> None:
    """DataError unless ``split`` is one of :data:`SPLITS`."""
    if split not in SPLITS:
        raise DataError(f"split {split!r} is not known (known: {', '.join(SPLITS)})")


def existing_root(root: str, corpus: str) -> Path:
    """The folder of a corpus; DataError that names the two mends where it is missing."""
    path = Path(root).expanduser()
    if not path.is_dir():
        raise DataError(
            f"{path.absolute()}: the folder of {corpus} is not there; "
            f"run `speechgru prepare {corpus}` or say where it is with data.root=FOLDER"
        )
    return path


def recordings_in(folder: Path) -> dict[str, str]:
    """The recordings right in a folder, ``{name without suffix: path}``, sorted by name; .wav before a twin .flac."""
    found: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for name in sorted(entry.name for entry in entries if not entry.name.startswith(".")):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in AUDIO_SUFFIXES and (stem not in found or suffix.lower() == ".wav"):
                found[stem] = os.path.join(folder, name)
    return dict(sorted(found.items()))
