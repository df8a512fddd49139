"""Your own recordings: ``speechgru train data=folder data.root=my_recordings``.

- Licence, size: those of the recordings. Nothing is downloaded.
- Layout: any that :func:`speechgru.data.recordings.read_recordings` understands: a folder per class, a manifest, a CSV
  or TSV table, or a Kaldi directory.
"""

from __future__ import annotations

import dataclasses

from speechgru.data.corpora.corpus import Corpus, check_split
from speechgru.data.recordings import read_recordings
from speechgru.data.splits import SPLITS, Division, divide, divide_into_folds
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register


@dataclasses.dataclass
class FolderConfig:
    """Where recordings are and how they are divided.

    Attributes:
        root: the folder (or the list) of the recordings.
        labels: the classes in order; empty: all that are found, sorted. Recordings of other classes are left out.
        label_is_text: take the transcript as the label where a list has no labels of its own.
        valid_percent: percentage of the recordings for validation, if none are named so: above 0, below 100.
        test_percent: percentage of the recordings for the test, if none are named so: 0 or more; both together below
            100.
        folds: parts of a cross-validation, 3 to 100, for few recordings; 0: no cross-validation. With one,
            ``valid_percent`` and ``test_percent`` have no effect. ``--multirun data.folds=5 data.fold=0,1,2,3,4``
            trains one model for each part.
        fold: the part to test on, from 0 to below ``folds``; the next one is for validation.
        sample_rate: sample rate of the model, in Hz, at least 8000; recordings are resampled to it.
    """

    root: str = "recordings"
    labels: list[str] = dataclasses.field(default_factory=list)
    label_is_text: bool = False
    valid_percent: float = 10.0
    test_percent: float = 10.0
    folds: int = 0
    fold: int = 0
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        if not 0 < self.valid_percent < 100:
            raise ConfigError(f"valid_percent={self.valid_percent}: above 0 and below 100")
        if not 0 <= self.test_percent < 100 - self.valid_percent:
            raise ConfigError(f"test_percent={self.test_percent}: from 0 to below 100 - valid_percent")
        if self.folds and not 3 <= self.folds <= 100:
            raise ConfigError(f"folds={self.folds}: 0 for no cross-validation, else from 3 to 100")
        if not 0 <= self.fold < max(self.folds, 1):
            raise ConfigError(f"fold={self.fold}: from 0 to below folds={self.folds}")
        if self.sample_rate < 8000:
            raise ConfigError(f"sample_rate={self.sample_rate}: at least 8000 Hz")


@register("data", "folder", FolderConfig)
class Folder(Corpus):
    """Your own recordings, divided by the splits that they name, else by a hash of speaker or file name.

    Args:
        config: see :class:`FolderConfig`.
    """

    def __init__(self, config: FolderConfig):
        super().__init__(config)
        self.sample_rate = config.sample_rate
        self.fold = f"{config.fold} of {config.folds}" if config.folds else ""
        self._splits: dict[str, list[Utterance]] | None = None

    def labels(self) -> list[str] | None:
        """The configured classes, else those found, sorted; None where no recording has a label."""
        if self.config.labels:
            return list(self.config.labels)
        return sorted({one.label for rows in self._read().values() for one in rows if one.label is not None}) or None

    def utterances(self, split: str) -> list[Utterance]:
        """The utterances of a split, in the order they are listed (label folders: sorted by path)."""
        check_split(split)
        found = self._read()[split]
        if not found:
            mend = "lower data.valid_percent" if split == "train" else f"raise data.{split}_percent"
            raise DataError(
                f"{self.config.root}: no recordings in the {split} split; add some, {mend}, or name the splits "
                f"(folders or a column with train, valid, test)"
            )
        return found

    def _read(self) -> dict[str, list[Utterance]]:
        if self._splits is None:
            found = read_recordings(self.config.root)
            if self.config.label_is_text:
                found = {split: [label_by_text(one) for one in rows] for split, rows in found.items()}
            if self.config.labels:
                found = {
                    split: [one for one in rows if one.label in self.config.labels] for split, rows in found.items()
                }
            self.can_fold = not self.config.folds and not any(found.get(split) for split in SPLITS)
            division = self._divide(found)
            self._splits, self.split_rule = division.splits, division.rule
        return self._splits

    def _divide(self, found: dict[str, list[Utterance]]) -> Division:
        config = self.config
        if not config.folds:
            return divide(found, config.valid_percent, config.test_percent)
        named = [split for split in SPLITS if found.get(split)]
        if named:
            raise ConfigError(
                f"data.folds={config.folds}: {config.root} names its splits ({', '.join(named)}); "
                f"leave data.folds out, or take the names away"
            )
        return divide_into_folds(found.get("", []), config.folds, config.fold)


def label_by_text(utterance: Utterance) -> Utterance:
    """The utterance with its transcript as label, if it has none of its own."""
    if utterance.label is not None or not utterance.text:
        return utterance
    return dataclasses.replace(utterance, label=utterance.text)
