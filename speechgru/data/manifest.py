"""Manifests: one JSON object per line with NeMo's keys, the format this package reads and writes itself.

``{"audio_filepath": "a/b.flac", "offset": 0.5, "duration": 1.25, "text": "yes", "label": "yes", "speaker": "ann"}``

Only ``audio_filepath`` (or ``file_name``, as Hugging Face has it) is required; the speaker may be part of that path
(:func:`speechgru.data.splits.speaker_of`). Relative paths are relative to the folder of the manifest. ``gain_db`` is
this package's own key.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from reprlib import repr as shown

from speechgru.data.splits import speaker_of
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError, one_line
from speechgru.files import replacing
from speechgru.text_files import read_lines

MOST_S = 366 * 24 * 3600.0
MOST_DB = 200.0
_KEYS = ("audio_filepath", "offset", "duration", "text", "label", "speaker", "gain_db")


def read_manifest(path: str | os.PathLike[str]) -> list[Utterance]:
    """The utterances of a JSON-lines manifest, in order; blank lines and unknown keys are skipped.

    Raises:
        DataError: the file cannot be read or holds no line, or a line is wrong (the message says ``file:line``, the key
            and how to fix it).
    """
    path = Path(path)
    folder = str(path.parent)
    utterances = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: is not JSON ({one_line(error)}); write one object per line") from None
        if not isinstance(row, dict):
            raise DataError(f"{where}: is {type(row).__name__}, not an object with the key 'audio_filepath'")
        utterances.append(utterance_of_row(row, folder, where))
    if not utterances:
        raise DataError(f"{path}: holds no utterance; write one JSON object per line with the key 'audio_filepath'")
    return utterances


def write_manifest(path: str | os.PathLike[str], utterances: Iterable[Utterance]) -> int:
    """Write a manifest and return the number of lines; recordings below its folder are written as relative paths.

    The file appears whole or not at all.
    """
    path = Path(path)
    folder = path.parent.resolve()
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for utterance in utterances:
            file.write(json.dumps(_row(utterance, folder), ensure_ascii=False) + "\n")
            count += 1
    return count


def resolve_audio(audio: str, folder: str | os.PathLike[str]) -> str:
    """A path as written in a list of recordings, relative to the folder of that list unless absolute."""
    audio = os.path.expanduser(audio)
    if audio.startswith("./") or "/./" in audio or "//" in audio:
        audio = str(Path(audio))
    return os.path.join("" if os.fspath(folder) == "." else folder, audio)


def read_seconds(value: object, key: str, where: str, *, positive: bool) -> float:
    """The number of seconds under ``key``, checked; a DataError names ``where`` and the key."""
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds <= MOST_S or (positive and seconds == 0):
        legal = "above 0" if positive else "of at least 0"
        raise DataError(
            f"{where}: {key}={shown(value)} is not a number of seconds {legal} (and no year); "
            "fix it or leave the key out"
        )
    return seconds


def utterance_of_row(row: dict[str, object], folder: str, where: str) -> Utterance:
    """The utterance of a line; a DataError names ``where`` and the key."""
    texts = {}
    for key in ("audio_filepath", "text", "label", "speaker"):
        value = row.get(key)
        if key == "audio_filepath" and value is None:
            value = row.get("file_name")
        if value is not None and not isinstance(value, str):
            raise DataError(f"{where}: {key}={shown(value)} is not a text; write it in quotes")
        if value and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise DataError(f"{where}: {key}={shown(value)} has half a character in it; fix it")
        texts[key] = value
    if not texts["audio_filepath"]:
        near = one_line(", ".join(key for key in row if key not in _KEYS))
        found = f" (it has {near})" if near else ""
        raise DataError(f"{where}: the key 'audio_filepath' is missing or empty{found}; it names the recording")
    gain_db = row.get("gain_db", 0.0)
    if isinstance(gain_db, bool) or not isinstance(gain_db, (int, float)) or not abs(gain_db) <= MOST_DB:
        raise DataError(
            f"{where}: gain_db={shown(gain_db)} is not a number of decibels, -200 to 200; fix it or leave the key out"
        )
    duration, offset = row.get("duration"), row.get("offset")
    return Utterance(
        audio=resolve_audio(texts["audio_filepath"], folder),
        text=texts["text"] or "",
        label=None if texts["label"] is None else sys.intern(texts["label"]),
        speaker=sys.intern(texts["speaker"] or speaker_of(texts["audio_filepath"], texts["label"] or texts["text"])),
        start_s=0.0 if offset is None else read_seconds(offset, "offset", where, positive=False),
        duration_s=None if duration is None else read_seconds(duration, "duration", where, positive=True),
        gain_db=float(gain_db),
    )


def _row(utterance: Utterance, folder: Path) -> dict[str, str | float]:
    audio = Path(utterance.audio).absolute()
    row: dict[str, str | float] = {"audio_filepath": str(audio)}
    for candidate in (audio, audio.resolve()):
        if candidate.is_relative_to(folder):
            row["audio_filepath"] = candidate.relative_to(folder).as_posix()
            break
    if utterance.start_s:
        row["offset"] = utterance.start_s
    if utterance.duration_s is not None:
        row["duration"] = utterance.duration_s
    if utterance.text:
        row["text"] = utterance.text
    if utterance.label is not None:
        row["label"] = utterance.label
    if utterance.speaker:
        row["speaker"] = utterance.speaker
    if utterance.gain_db:
        row["gain_db"] = utterance.gain_db
    return row
