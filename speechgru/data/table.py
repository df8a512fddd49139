"""Tables of recordings: CSV and TSV files with a header line, one recording per row."""

from __future__ import annotations

import csv
import difflib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as shown

from speechgru.data.manifest import read_seconds, resolve_audio
from speechgru.data.splits import SPLITS, speaker_of, split_of
from speechgru.data.utterance import Utterance
from speechgru.errors import DataError, one_line
from speechgru.text_files import read_lines

COLUMNS = {
    "audio": ("audio", "path", "audio_filepath", "file", "filename", "file_name"),
    "text": ("text", "sentence", "transcript", "transcription"),
    "label": ("label", "class", "category"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "split": ("split", "set", "subset"),
    "offset": ("offset", "start", "start_s"),
    "duration": ("duration", "duration_s"),
}


def read_table(path: str | os.PathLike[str]) -> dict[str, list[Utterance]]:
    """The utterances of a table by split, in order; those of no split under "". See :func:`read_rows`."""
    found: dict[str, list[Utterance]] = {}
    for split, utterance in read_rows(path):
        found.setdefault(split, []).append(utterance)
    return found


def read_rows(path: str | os.PathLike[str]) -> list[tuple[str, Utterance]]:
    """The rows of a table in order, each with its split; "" where it has none.

    The header names the columns, in any order and case (:data:`COLUMNS` lists the names understood); other columns are
    skipped. A .tsv file is separated by tabs and has no quoting; any other file is separated by what its header uses
    (comma, semicolon or tab), with the usual quotes. Paths are relative to the folder of the table. An empty cell means
    unknown, and so does the speaker "-". A speaker that no cell names may be in the path
    (:func:`speechgru.data.splits.speaker_of`).

    Raises:
        DataError: unreadable, without a column for the recording, without rows, or a bad row (the message says
            ``file:line``).
    """
    path = Path(path)
    rows = _tab_rows(path) if path.suffix.lower() == ".tsv" else _comma_rows(path)
    _, header = next(rows, (0, []))
    places = _columns(path, header) if header else {}
    found = []
    for number, cells in rows:
        where = f"{path}:{number}"
        if len(cells) != len(header):
            raise DataError(f"{where}: has {len(cells)} cells, the header {len(header)}; quote or remove separators")
        row = {key: cells[place].strip() for key, place in places.items()}
        if not row["audio"]:
            raise DataError(f"{where}: the recording's path is empty; fill it in or remove the line")
        split = row.get("split", "")
        named = split_of(split) if split else ""
        if named is None:
            raise DataError(f"{where}: split {shown(split)} is not known; write {', '.join(SPLITS)} or leave it empty")
        found.append((named, _utterance(row, path.parent, where)))
    if not found:
        raise DataError(f"{path}: has no rows; it needs a header line and one line per recording")
    return found


def _tab_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            yield number, line.split("\t")


def _comma_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    lines = read_lines(path)
    first = next(lines, "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader((line + "\n" for line in itertools.chain([first], lines)), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}; check the quotes") from None


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    names = [name.strip().strip('"').lower() for name in header]
    places = {}
    for key, known in COLUMNS.items():
        for name in known:
            if name in names:
                places[key] = names.index(name)
                break
    if "audio" not in places:
        near = difflib.get_close_matches(" ".join(names[:1]), COLUMNS["audio"], n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise DataError(
            f"{path}:1: none of the columns {one_line(', '.join(names))} is the recording's path{hint}; name it 'audio'"
        )
    return places


def _utterance(row: dict[str, str], folder: Path, where: str) -> Utterance:
    label, text = row.get("label") or None, row.get("text", "")
    speaker = row.get("speaker", "") or speaker_of(row["audio"], label or text)
    offset, duration = row.get("offset"), row.get("duration")
    return Utterance(
        audio=resolve_audio(row["audio"], folder),
        text=text,
        label=label,
        speaker="" if speaker == "-" else speaker,
        start_s=read_seconds(offset, "offset", where, positive=False) if offset else 0.0,
        duration_s=read_seconds(duration, "duration", where, positive=True) if duration else None,
    )
