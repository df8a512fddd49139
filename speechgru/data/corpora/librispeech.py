"""LibriSpeech: a thousand hours of read English books, 2,484 speakers.

- Licence: CC BY 4.0 (Vassil Panayotov and others, 2015).
- Size: 28,539 training recordings of 100 hours (all: 281,241 of 960 hours), 16 kHz; 7 GB (all: 61 GB).
- URL: https://www.openslr.org/12
- Layout: ``train-clean-100/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac`` (.wav works too) with the transcripts of a
  chapter in ``SPEAKER-CHAPTER.trans.txt``; the parts may be in a folder ``LibriSpeech``.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path

from speechgru.data.corpora.corpus import Corpus, check_split, existing_root
from speechgru.data.label_folders import recordings_in
from speechgru.data.utterance import Utterance
from speechgru.errors import ConfigError, DataError
from speechgru.registry import register
from speechgru.text_files import read_lines

URL = "https://www.openslr.org/resources/12"
# MD5 sums of the archives as published there (md5sum.txt), and how many recordings each holds.
PARTS = {
    "dev-clean": ("42e2234ba48799c1f50f24a7926300a1", 2703),
    "dev-other": ("c8d0bcc9cca99d4f8b62fcc847357931", 2864),
    "test-clean": ("32fa31d27d2e1cad72775fee3f4849a9", 2620),
    "test-other": ("fb5a50374b501bb3bac4815ee91d3135", 2939),
    "train-clean-100": ("2a93770f6d5c6c964bc36631d331a522", 28539),
    "train-clean-360": ("c0e676e450a7ff2f54aeade5171606fa", 104014),
    "train-other-500": ("d1a0fd59409feb2c614ce4d30c387708", 148688),
}


@dataclasses.dataclass
class LibriSpeechConfig:
    """Where the corpus is and which of its parts make each split.

    Attributes:
        root: the folder that holds the parts, or the folder ``LibriSpeech`` with them.
        train: parts for training.
        valid: parts for validation.
        test: parts for the test; ``[test-other]`` is the harder half of the test.
    """

    root: str = "data/librispeech"
    train: list[str] = dataclasses.field(default_factory=lambda: ["train-clean-100"])
    valid: list[str] = dataclasses.field(default_factory=lambda: ["dev-clean"])
    test: list[str] = dataclasses.field(default_factory=lambda: ["test-clean"])

    def __post_init__(self) -> None:
        for key in ("train", "valid", "test"):
            parts = list(getattr(self, key))
            if not parts or len(set(parts)) != len(parts) or not set(parts) <= set(PARTS):
                raise ConfigError(f"{key}=[{','.join(parts)}]: at least one of {', '.join(PARTS)}, each once")
        shared = {part for part in (*self.valid, *self.test) if part in self.train} | set(self.valid) & set(self.test)
        if shared:
            raise ConfigError(f"train, valid, test: {', '.join(sorted(shared))} is in two of them; no part may be")


@register("data", "librispeech", LibriSpeechConfig)
class LibriSpeech(Corpus):
    """LibriSpeech as transcripts, in its own parts.

    Args:
        config: see :class:`LibriSpeechConfig`.
    """

    def labels(self) -> None:
        """None: LibriSpeech has transcripts."""
        return

    def utterances(self, split: str) -> list[Utterance]:
        """The recordings of a split's parts, by speaker, chapter and number."""
        check_split(split)
        root = _folder_of_parts(existing_root(self.config.root, "librispeech"))
        return [one for part in getattr(self.config, split) for one in _read(root / part)]

    def prepare(self, progress: bool = True) -> None:
        """Download the parts of the three splits that are not there yet to ``config.root``.

        An interrupted download goes on where it stopped, and each archive is checked by its published MD5 sum. The
        recordings of a part that is there are counted.
        """
        from speechgru.data.download import fetch_archive

        root = _folder_of_parts(Path(os.path.expanduser(self.config.root)))
        _read.cache_clear()
        for part in dict.fromkeys([*self.config.train, *self.config.valid, *self.config.test]):
            md5, count = PARTS[part]
            if not (root / part).is_dir():
                fetch_archive(f"{URL}/{part}.tar.gz", root, md5=md5, only=(part,), strip=1, progress=progress)
            found = len(_read(root / part))
            if found != count:
                raise DataError(
                    f"{root / part}: {found} recordings instead of {count}; remove the folder and prepare again"
                )


def _folder_of_parts(root: Path) -> Path:
    return root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root


@functools.cache
def _read(folder: Path) -> tuple[Utterance, ...]:
    """The utterances of a part."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: is not there; run `speechgru prepare librispeech` with the same train=, valid= and test="
        )
    found = []
    for path in sorted(folder.glob("*/*/*.trans.txt"), key=_numbers):
        recordings = recordings_in(path.parent)
        for number, line in enumerate(read_lines(path), 1):
            name, _, text = line.partition(" ")
            if not text.strip():
                raise DataError(f"{path}:{number}: is not 'SPEAKER-CHAPTER-NUMBER TEXT'; unpack {folder.name} again")
            if name not in recordings:
                raise DataError(f"{path}:{number}: there is no recording {name}.flac; unpack {folder.name} again")
            found.append(Utterance(recordings[name], text=text.strip(), speaker=path.parent.parent.name))
    if not found:
        raise DataError(f"{folder}: no SPEAKER/CHAPTER/*.trans.txt below it; is it a part of LibriSpeech?")
    return tuple(found)


def _numbers(path: Path) -> tuple[tuple[int, str], ...]:
    """Speaker 84 before speaker 174."""
    return tuple((len(part), part) for part in path.parts[-3:])
