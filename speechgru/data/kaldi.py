"""Kaldi data directories: wav.scp, and segments, text and utt2spk where they exist."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as shown

from speechgru.data.manifest import read_seconds
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError
from speechgru.text_files import read_lines

# path of the recording, start and duration in seconds (None: to the end)
Span = tuple[str, float, float | None]


def read_kaldi(folder: str | os.PathLike[str]) -> list[Utterance]:
    """The utterances of a Kaldi data directory, in the order of ``segments`` or else of ``wav.scp``.

    A relative path is looked for from the directory itself, then (as Kaldi does) from the working directory. Without
    ``utt2spk``, speakers are unknown; without ``text``, transcripts are empty. A file that is there must cover every
    utterance.

    Raises:
        DataError: no wav.scp, a command ("... |") or an archive offset in it, a line not understood, an id that
            is there twice or missing elsewhere; the message says ``file:line`` or the id.
    """
    folder = Path(folder)
    recordings = {}
    for number, key, value in _table(folder / "wav.scp"):
        where = f"{folder / 'wav.scp'}:{number}: {shown(key)}"
        if value.endswith("|") or value.startswith("|"):
            raise DataError(
                f"{where} is a command ({value[:60]!r}), and commands are not run; write its output to a file"
            )
        if re.fullmatch(r"[^\[\]]*\.ark:\d+(\[[^\[\]]*\])?", value):
            raise DataError(f"{where} lies inside an archive; extract it to a file")
        recordings[key] = _locate(value, folder)
    spans: dict[str, Span] = {key: (path, 0.0, None) for key, path in recordings.items()}
    if (folder / "segments").exists():
        spans = _segments(folder / "segments", recordings)
    texts = _optional(folder / "text", spans)
    speakers = _optional(folder / "utt2spk", spans)
    return [
        Utterance(path, text=texts.get(key, ""), speaker=speakers.get(key, ""), start_s=start_s, duration_s=duration_s)
        for key, (path, start_s, duration_s) in spans.items()
    ]


def _segments(path: Path, recordings: dict[str, str]) -> dict[str, Span]:
    spans: dict[str, Span] = {}
    for number, key, value in _table(path):
        where = f"{path}:{number}"
        parts = value.split()
        if len(parts) != 3:
            raise DataError(f"{where}: {shown(key)} is followed by {len(parts)} fields; it needs: recording start end")
        recording, start, end = parts
        if recording not in recordings:
            raise DataError(f"{where}: recording {shown(recording)} is not in wav.scp; add it or remove the segment")
        start_s = read_seconds(start, "start", where, positive=False)
        duration_s = None  # an end of -1 means the end of the recording
        if end not in ("-1", "-1.0"):
            duration_s = read_seconds(end, "end", where, positive=True) - start_s
            if duration_s <= 0:
                raise DataError(f"{where}: {key!r} ends at {end} s, not after its start at {start} s; fix the times")
        spans[key] = (recordings[recording], start_s, duration_s)
    return spans


def _optional(path: Path, spans: dict[str, Span]) -> dict[str, str]:
    if not path.exists():
        return {}
    values = {key: value for _, key, value in _table(path, empty=path.name == "text")}
    missing = [key for key in spans if key not in values]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} utterances have no line here, the first is {shown(missing[0])}; add them"
        )
    return values


def _table(path: Path, empty: bool = False) -> Iterator[tuple[int, str, str]]:
    """The number, the id and what follows it, of each line that is not empty."""
    seen: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        key, _, value = line.strip().replace("\t", " ", 1).partition(" ")
        if not value.strip() and not empty:
            raise DataError(f"{path}:{number}: nothing follows the id {shown(key)}")
        if key in seen:
            raise DataError(f"{path}:{number}: the id {shown(key)} is there already, on line {seen[key]}; remove one")
        seen[key] = number
        yield number, key, value.strip()
    if not seen:
        raise DataError(f"{path}: is empty; it needs one line per recording or utterance")


def _locate(value: str, folder: Path) -> str:
    path, here = os.path.expanduser(value), os.path.join(folder, os.path.expanduser(value))
    if os.path.isabs(path) or os.path.exists(here) or not os.path.exists(path):
        return here
    return os.path.abspath(path)
