"""Recordings listed in files: ``speechgru train data=manifest data.train=a.jsonl data.valid=b.jsonl``.

- Licence, size: those of the recordings. Nothing is downloaded.
- Layout: JSON-lines manifests with NeMo's keys, CSV or TSV tables, Kaldi directories; one for each split.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from speechgru.data.corpora.corpus import Corpus, check_split
from speechgru.data.corpora.folder import label_by_text
from speechgru.data.recordings import read_recordings
from speechgru.data.splits import SPLITS
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register


@dataclasses.dataclass
class ManifestConfig:
    """One list of recordings for each split.

    Attributes:
        train: the list to learn from.
        valid: the list to choose on.
        test: the list to report on.
        more_train: lists that are added to the one to learn from, such as those of another corpus.
        root: the folder where relative paths of the lists begin; empty: the working directory.
        labels: the classes in order; empty: all that the lists name, sorted. Recordings of other classes are left out.
        label_is_text: take the transcript as the label where a list has no labels of its own.
        sample_rate: rate the model works at, in Hz, at least 8000; recordings are resampled to it.
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
class Manifest(Corpus):
    """Recordings as listed. Of a list with a split column only the rows of the split it is named for are taken.

    Args:
        config: see :class:`ManifestConfig`.
    """

    def __init__(self, config: ManifestConfig):
        super().__init__(config)
        self.sample_rate = config.sample_rate
        self._read: dict[str, list[Utterance]] = {}

    def labels(self) -> list[str] | None:
        """The configured classes, else those of all lists, sorted; None where no recording has a label."""
        if self.config.labels:
            return list(self.config.labels)
        named = [split for split in SPLITS if getattr(self.config, split)]
        found = {one.label for split in named for one in self._list(split) if one.label is not None}
        return sorted(found) or None

    def utterances(self, split: str) -> list[Utterance]:
        """The utterances of a split, in the order they are listed."""
        check_split(split)
        found = self._list(split)
        if self.config.labels:
            found = [one for one in found if one.label in set(self.config.labels)]
        if not found:
            raise DataError(f"data.{split}={getattr(self.config, split)}: lists no recordings of the {split} split")
        return found

    def _list(self, split: str) -> list[Utterance]:
        if split not in self._read:
            paths = [getattr(self.config, split), *(self.config.more_train if split == "train" else [])]
            if not paths[0]:
                raise DataError(
                    f"data.{split} is empty; give the list of its recordings (.jsonl, .csv, .tsv, Kaldi folder)"
                )
            found = [
                one for path in paths for one in self._rows(Path(self.config.root) / os.path.expanduser(path), split)
            ]
            self._read[split] = [label_by_text(one) for one in found] if self.config.label_is_text else found
        return self._read[split]

    def _rows(self, path: Path, split: str) -> list[Utterance]:
        rows = read_recordings(path)
        # One table with a split column may be named for all three splits; a list without one is all of this split.
        return rows.get(split, []) if any(rows.get(name) for name in SPLITS) else rows.get("", [])
