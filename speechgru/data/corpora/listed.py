"""A corpus whose recordings and labels are in lists, one list for each split."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from speechgru.data.corpora.corpus import Corpus, check_split
from speechgru.data.corpora.folder import label_by_text
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError


class Listed(Corpus):
    """Reads each split once, when it is first asked for; subclasses say where it is.

    Args:
        config: with ``labels``, ``label_is_text`` and ``sample_rate``, as of
            :class:`speechgru.data.corpora.manifest.ManifestConfig`.
    """

    def __init__(self, config: Any):
        super().__init__(config)
        self.sample_rate = config.sample_rate
        self._read: dict[str, list[Utterance]] = {}

    def labels(self) -> list[str] | None:
        """The configured classes, else those that are found, sorted; None where no recording has a label."""
        if self.config.labels:
            return list(self.config.labels)
        found = {one.label for split in self._labelled() for one in self._list(split) if one.label is not None}
        return sorted(found) or None

    def utterances(self, split: str) -> list[Utterance]:
        """The utterances of a split, in the order they are listed."""
        check_split(split)
        found = self._list(split)
        if self.config.labels:
            found = [one for one in found if one.label in set(self.config.labels)]
        if not found:
            raise DataError(f"{self._place(split)}: lists no recordings of the {split} split")
        return found

    def _list(self, split: str) -> list[Utterance]:
        if split not in self._read:
            found = self._read_split(split)
            self._read[split] = [label_by_text(one) for one in found] if self.config.label_is_text else found
        return self._read[split]

    @abc.abstractmethod
    def _labelled(self) -> Sequence[str]:
        """The splits whose labels are the classes, if no classes are configured."""

    @abc.abstractmethod
    def _place(self, split: str) -> str:
        """The setting that says where a split is, as on the command line."""

    @abc.abstractmethod
    def _read_split(self, split: str) -> list[Utterance]:
        """All utterances listed for a split; DataError if the list cannot be read."""
