"""Recordings of what a model does not know, such as other speech and noises: to choose and to measure a threshold."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from speechgru.audio import list_audio
from speechgru.contracts import Decoder
from speechgru.data.recordings import MANIFESTS, TABLES, read_recordings
from speechgru.data.splits import SPLITS
from speechgru.decoding.familiarity import FamiliarityConfig, choose_most_entropy
from speechgru.errors import DataError
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.recordings.parts import Stretch
from speechgru.transcripts import transcribe_recordings
from speechgru.transcripts.transcript import Transcript

Progress = Callable[[Iterable[Transcript]], Iterable[Transcript]]


@dataclasses.dataclass(frozen=True)
class ForeignSource:
    """Recordings of one folder or list.

    Attributes:
        name: what tables call it.
        items: the recordings, or stretches of them.
    """

    name: str
    items: list[Stretch]


def find_foreign(paths: Sequence[str], splits: Sequence[str]) -> list[ForeignSource]:
    """The recordings of folders, files and globs, and of lists (.jsonl, .json, .csv, .tsv).

    Args:
        paths: folders, files, globs and lists.
        splits: only these of a list that names splits, so that a model is not measured on what it was chosen on.

    Raises:
        DataError, AudioError: one is missing or holds no recording.
    """
    return [ForeignSource(_name(Path(path)), _items(path, splits)) for path in paths]


def _name(path: Path) -> str:
    folder = path.absolute().parent.name
    return folder if path.stem.lower() in ("manifest", "metadata", *SPLITS) else path.stem


def _items(path: str, splits: Sequence[str]) -> list[Stretch]:
    if Path(path).suffix.lower() not in MANIFESTS + TABLES:
        files = list_audio(path)
        if files == [(path, "")] and not os.path.exists(path):
            raise DataError(f"{path}: is not there; give a folder, a recording or a list of recordings")
        return [Stretch(*file) for file in files]
    rows = read_recordings(path)
    chosen = splits if any(rows.get(name) for name in SPLITS) else list(rows)
    found = [Stretch(one.audio, "", one.start_s, one.duration_s) for name in chosen for one in rows.get(name, [])]
    if not found:
        raise DataError(f"{path}: lists no recordings of the splits {', '.join(splits)}")
    return list(dict.fromkeys(found))


def hear(
    recognizer: Recognizer, source: ForeignSource, decoder: Decoder | None = None, progress: Progress = iter
) -> list[Transcript]:
    """The transcripts of a model for the recordings of a source; those that cannot be read have an error."""
    return list(progress(transcribe_recordings(recognizer, source.items, decoder=decoder)))


def choose_familiarity(own: Sequence[float], foreign: Sequence[float]) -> FamiliarityConfig:
    """The threshold that marks foreign recordings, from entropies of both kinds, with how many of each kind it marks.

    Raises:
        DataError: there are no entropies of one kind.
    """
    most = float(f"{choose_most_entropy(own, foreign):.4g}")
    return FamiliarityConfig(
        most,
        {
            "own": len(own),
            "own_marked": int((np.asarray(own) > most).sum()),
            "foreign": len(foreign),
            "foreign_marked": int((np.asarray(foreign) > most).sum()),
        },
    )


def measure_foreign(source: ForeignSource, transcripts: Sequence[Transcript]) -> Record:
    """How many recordings of a source are marked, and how many get no text: what ``results.json`` keeps of them."""
    heard = [one for one in transcripts if not one.error]
    return {
        "name": source.name,
        "n": len(heard),
        "failed": len(transcripts) - len(heard),
        "marked": sum(one.familiar is False for one in heard),
        "without_text": sum(not one.text for one in heard),
    }
