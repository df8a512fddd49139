"""The recordings of a folder of shards, as a list; each is read out of its tar file when it is needed."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path

from speechgru.audio import SUFFIXES
from speechgru.audio.tar_member import members, read_member, split_member
from speechgru.data.manifest import read_manifest, utterance_of_row
from speechgru.data.shards.listing import INDEX, NAME, read_listing
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError, DataError, one_line

_MOST_JSON = 1 << 20
_TOLD = (".json", ".txt", ".cls")  # what may be beside a recording


def read_shards(folder: Path, *, are_here: bool = True) -> list[Utterance]:
    """The recordings of a folder of tar files, in their order.

    If ``shards.json`` is there (``speechgru shard`` writes it), the recordings are those in ``index.jsonl``. Otherwise
    the table of contents of each tar file is read: a recording is ``KEY.<suffix of audio>`` with what is known of it in
    ``KEY.json`` (or ``KEY.txt`` for a transcript, ``KEY.cls`` for a label).

    Args:
        folder: of the shards.
        are_here: whether the tar files are there; if so, their sizes are checked.

    Raises:
        DataError: no shards there, a shard that is not whole, a recording without audio or twice.
    """
    if (folder / NAME).exists():
        listing = read_listing(folder)
        if not listing.finished:
            raise DataError(f"{folder}: its shards are not finished; start speechgru shard again")
        for shard in listing.shards if are_here else []:
            path = folder / shard.name
            size = path.stat().st_size if path.is_file() else None
            if size != shard.bytes:
                state = "is not there" if size is None else f"has {size:,} bytes, not {shard.bytes:,}"
                raise DataError(f"{path}: {state}; write or copy it again")
        found, names = read_manifest(folder / INDEX), {str(folder / shard.name) for shard in listing.shards}
        if any(shard_of(one.audio) not in names for one in found):
            raise DataError(f"{folder / INDEX}: names a recording that is in none of the shards; write them again")
        return found
    paths = sorted(folder.glob("*.tar"))
    if not paths:
        raise DataError(f"{folder}: has no shards (*.tar); write some with speechgru shard LIST -o {folder}")
    return [one for path in paths for one in _scan(path)]


def shard_of(audio: str) -> str:
    """The tar file that a recording is in; empty where it is a file of its own."""
    place = split_member(audio)
    return place[0] if place is not None else ""


def _scan(path: Path) -> Iterator[Utterance]:
    """The recordings of a tar file, in the order of their keys' first files."""
    try:
        found = members(str(path))
        keys: dict[str, dict[str, str]] = {}
        for name in found:
            folder, base = os.path.split(name)
            if base.startswith("."):
                continue
            stem, _, suffix = base.partition(".")
            keys.setdefault(os.path.join(folder, stem), {})[f".{suffix.lower()}"] = name
        for key, names in keys.items():
            audio = [name for suffix, name in names.items() if suffix in SUFFIXES]
            if len(audio) != 1:
                count = "no recording" if not audio else "several recordings"
                raise DataError(f"{path}: the sample {one_line(repr(key))} has {count} ({' '.join(names)}); fix it")
            texts = {suffix: _text(path, name, found) for suffix, name in names.items() if suffix in _TOLD}
            yield _utterance(path, audio[0], texts)
    except AudioError as error:
        raise DataError(str(error)) from None


def _utterance(path: Path, audio: str, texts: dict[str, str]) -> Utterance:
    where = f"{path}/{audio}"
    row: object = {}
    if ".json" in texts:
        try:
            row = json.loads(texts[".json"])
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: its JSON is broken ({one_line(error)}); fix it") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: its JSON is {type(row).__name__}, not an object")
    more = {key: texts[suffix].strip() for key, suffix in (("text", ".txt"), ("label", ".cls")) if suffix in texts}
    named: dict[str, object] = {"audio_filepath": audio, **more, **row}
    return dataclasses.replace(utterance_of_row(named, "", where), audio=where)


def _text(path: Path, name: str, found: dict[str, tuple[int, int]]) -> str:
    begin, size = found[name]
    if size > _MOST_JSON:
        raise DataError(f"{path}/{name}: has {size:,} bytes; what is known of a recording is less than 1 MB")
    try:
        return read_member(str(path), begin, size).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}/{name}: is not UTF-8 (byte {error.start}); write it as UTF-8 text") from None
