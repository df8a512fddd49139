"""Speakers of Speech Commands and AN4: who speaks, whatever is said.

- Licence: Speech Commands is CC BY 4.0 (Pete Warden); AN4 is free for any use, BSD-style (Carnegie Mellon University).
- Size: in full 2,618 speakers of single words and 84 of sentences, 30 hours, 2.5 GB to download.
- URL: those of the corpora ``speech_commands`` and ``an4``.
- Layout: a folder that holds ``speech_commands`` and ``an4``, each laid out as its corpus says; a part of them is
  enough.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from speechgru.data.corpora.an4 import AN4, AN4Config
from speechgru.data.corpora.corpus import Corpus, check_split, existing_root
from speechgru.data.corpora.speech_commands import SpeechCommands, SpeechCommandsConfig
from speechgru.data.splits import SPLITS, hash_percent
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register


@dataclasses.dataclass
class SpeakersConfig:
    """Which speakers are used.

    Attributes:
        root: the folder that holds ``speech_commands`` and ``an4`` (or links to them).
        least_clips: a speaker with fewer recordings is left out, at least 1.
        held_out_from: of a speaker with at least this many recordings, one is held out for validation and one for the
            test; at least 3.
    """

    root: str = "data/speakers"
    least_clips: int = 3
    held_out_from: int = 5

    def __post_init__(self) -> None:
        if self.least_clips < 1:
            raise ConfigError(f"least_clips={self.least_clips}: at least 1")
        if self.held_out_from < 3:
            raise ConfigError(f"held_out_from={self.held_out_from}: at least 3")


@register("data", "speakers", SpeakersConfig)
class Speakers(Corpus):
    """The training speakers of both corpora as classes, in all three splits with different recordings.

    A speaker with fewer than ``held_out_from`` recordings is in train only.

    The speakers of the corpora's own validation and test splits are never among them. Pairs of their recordings are
    made for a model to tell apart (``speechgru compare-speakers --trials``).

    Args:
        config: see :class:`SpeakersConfig`.
    """

    def __init__(self, config: SpeakersConfig):
        super().__init__(config)
        self._splits: dict[str, list[Utterance]] = {}

    def labels(self) -> list[str]:
        """The names of the speakers, sorted."""
        return sorted({one.speaker for one in self.utterances("train")})

    def utterances(self, split: str) -> list[Utterance]:
        """The recordings of a split, sorted by speaker; the speaker is the label."""
        check_split(split)
        if not self._splits:
            self._splits = {name: [] for name in SPLITS}
            for name, found in self._by_speaker():
                # By a hash of the names, so that a recording is always in the same split.
                found.sort(key=lambda one: (hash_percent(_name(one)), _name(one)))
                held_out = len(found) >= self.config.held_out_from
                for number, one in enumerate(found):
                    part = SPLITS[1 + number] if held_out and number < 2 else "train"
                    self._splits[part].append(dataclasses.replace(one, label=name))
        if not self._splits[split]:
            raise DataError(f"{self.config.root}: no speaker with enough recordings for the {split} split")
        return self._splits[split]

    def _by_speaker(self) -> Iterator[tuple[str, list[Utterance]]]:
        found: dict[str, list[Utterance]] = {}
        for corpus in self.corpora().values():
            for one in corpus.utterances("train"):
                found.setdefault(one.speaker, []).append(one)
        for name in sorted(found):
            if len(found[name]) >= self.config.least_clips:
                yield name, found[name]

    def corpora(self) -> dict[str, Corpus]:
        """The two corpora by name, with the splits of their own."""
        root = existing_root(self.config.root, "speakers")
        return {
            "speech_commands": SpeechCommands(SpeechCommandsConfig(root=str(root / "speech_commands"), words=["all"])),
            "an4": AN4(AN4Config(root=str(root / "an4"))),
        }

    def prepare(self, progress: bool = True) -> None:
        """Download both corpora (2.5 GB) below ``config.root``; does nothing if they are there."""
        root = Path(os.path.expanduser(self.config.root))
        root.mkdir(parents=True, exist_ok=True)
        for corpus in self.corpora().values():
            corpus.prepare(progress)


def _name(one: Utterance) -> str:
    """The last folder and the name: the same wherever the corpus is."""
    return "/".join(PurePath(one.audio).with_suffix("").parts[-2:])
