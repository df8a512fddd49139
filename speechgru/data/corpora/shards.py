"""Recordings in tar files: ``speechgru train data=shards data.root=FOLDER_OR_ADDRESS``.

- Licence, size: those of the recordings. Shards at an address are fetched one by one, when they are read.
- Layout: a folder for each split (train, valid, test) with the tar files that ``speechgru shard`` writes; on this
  machine, also tar files in WebDataset's convention (KEY.flac beside KEY.json, KEY.txt or KEY.cls).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from speechgru.data.corpora.listed import Listed
from speechgru.data.shards.reading import read_shards
from speechgru.data.shards.remote import cache_folder, is_address, open_address
from speechgru.data.splits import SPLITS
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register


@dataclasses.dataclass
class ShardsConfig:
    """Where shards are.

    Attributes:
        root: a folder, or an http or https address, with a folder of shards for each split.
        labels: the classes in order; empty: all that are found, sorted. Recordings of other classes are left out.
        label_is_text: take the transcript as the label where a recording has no label of its own.
        cache: the folder in which shards of an address are kept; empty: speechgru in the user's cache.
        cache_gb: largest size of what is kept there of each split, in GB, above 0; choose at least a few shards for
            each worker.
        sample_rate: sample rate of the model, in Hz, at least 8000; recordings are resampled to it.
    """

    root: str = "shards"
    labels: list[str] = dataclasses.field(default_factory=list)
    label_is_text: bool = False
    cache: str = ""
    cache_gb: float = 50.0
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        if self.cache_gb <= 0:
            raise ConfigError(f"cache_gb={self.cache_gb}: above 0")
        if self.sample_rate < 8000:
            raise ConfigError(f"sample_rate={self.sample_rate}: at least 8000 Hz")


@register("data", "shards", ShardsConfig)
class Shards(Listed):
    """Recordings in tar files.

    Args:
        config: see :class:`ShardsConfig`.
    """

    def _labelled(self) -> Sequence[str]:
        return SPLITS[:2]  # for training and validation

    def _place(self, split: str) -> str:
        return f"data.root={self.config.root}"

    def _read_split(self, split: str) -> list[Utterance]:
        root = self.config.root
        if is_address(root):
            address = f"{root.rstrip('/')}/{split}"
            folder = cache_folder(self.config.cache, address)
            open_address(address, folder, self.config.cache_gb)
            return read_shards(folder, are_here=False)
        folder = Path(os.path.expanduser(root)) / split
        if not folder.is_dir():
            raise DataError(f"{folder.absolute()}: is not there; speechgru shard LIST -o {root}/{split} writes it")
        return read_shards(folder)
