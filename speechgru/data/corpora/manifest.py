"""Recordings listed in files: ``speechgru train data=manifest data.train=a.jsonl data.valid=b.jsonl``.

- Licence, size: those of the recordings. Nothing is downloaded.
- Layout: JSON-lines manifests with NeMo's keys, CSV or TSV tables, Kaldi directories; one for each split.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from speechgru.data.corpora.listed import Listed
from speechgru.data.recordings import read_recordings
from speechgru.data.splits import SPLITS
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register


@dataclasses.dataclass
class ManifestConfig:
    """One list of recordings for each split.

    Attributes:
        train: the list of training recordings.
        valid: the list of validation recordings.
        test: the list of test recordings.
        more_train: more lists of training recordings, such as those of another corpus.
        root: the folder that the paths of the lists are relative to; empty: the working directory.
        labels: the classes in order; empty: all that the lists name, sorted. Recordings of other classes are left out.
        label_is_text: take the transcript as the label where a list has no labels of its own.
        sample_rate: sample rate of the model, in Hz, at least 8000; recordings are resampled to it.
    """

    train: str = ""
    valid: str = ""
    test: str = ""
    more_train: list[str] = dataclasses.field(default_factory=list)
    root: str = ""
    labels: list[str] = dataclasses.field(default_factory=list)
    label_is_text: bool = False
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        if self.sample_rate < 8000:
            raise ConfigError(f"sample_rate={self.sample_rate}: at least 8000 Hz")


@register("data", "manifest", ManifestConfig)
class Manifest(Listed):
    """Recordings as listed. From a list with a split column, only the rows of the split it is named for are used.

    Args:
        config: see :class:`ManifestConfig`.
    """

    def _labelled(self) -> Sequence[str]:
        return [split for split in SPLITS if getattr(self.config, split)]

    def _place(self, split: str) -> str:
        return f"data.{split}={getattr(self.config, split)}"

    def _read_split(self, split: str) -> list[Utterance]:
        paths = [getattr(self.config, split), *(self.config.more_train if split == "train" else [])]
        if not paths[0]:
            raise DataError(
                f"data.{split} is empty; give the list of its recordings (.jsonl, .csv, .tsv, Kaldi folder)"
            )
        return [one for path in paths for one in self._rows(Path(self.config.root) / os.path.expanduser(path), split)]

    def _rows(self, path: Path, split: str) -> list[Utterance]:
        rows = read_recordings(path)
        # One table with a split column may be named for all three splits; a list without one is all of this split.
        return rows.get(split, []) if any(rows.get(name) for name in SPLITS) else rows.get("", [])
